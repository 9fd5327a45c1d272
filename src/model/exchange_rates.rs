//! The newest exchange rates, as they are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient;
use super::timestamp::Timestamp;

/// The newest exchange rates and the attempts to get newer ones. One document, which nobody owns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptRates {
    /// Always the same.
    pub id: String,
    /// Nobody.
    pub user_id: String,
    /// SHA-256 of the feed's address, in hex: what another feed said is due at once.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub feed: String,
    /// The day of the rates, `YYYY-MM-DD`; empty before there were any.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub date: String,
    /// What one euro is worth, as decimal numbers, by ISO 4217 code.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub per_euro: BTreeMap<String, String>,
    /// When they were fetched.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<Timestamp>,
    /// When the feed was asked last, with whatever success.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
}

impl KeptRates {
    /// Nothing yet, to be kept under these names.
    pub fn empty(id: &str, nobody: &str) -> Self {
        Self { id: id.to_owned(), user_id: nobody.to_owned(), ..Self::default() }
    }
}
