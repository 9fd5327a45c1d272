//! Exchange rates as stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient;
use super::timestamp::Timestamp;

/// The latest exchange rates, and attempts to update them; a single document.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptRates {
    /// Fixed document id.
    pub id: String,
    /// Fixed partition.
    pub user_id: String,
    /// SHA-256 of the feed's URL, in hex; after a change of the feed the rates are fetched again at once.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub feed: String,
    /// Date of the rates, `YYYY-MM-DD`; empty before the first fetch.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub date: String,
    /// Value of one euro as a decimal number, by ISO 4217 code.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub per_euro: BTreeMap<String, String>,
    /// Time of the last successful fetch.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<Timestamp>,
    /// Time of the last attempt.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
}

impl KeptRates {
    /// Creates an empty record with this id and partition.
    pub fn empty(id: &str, nobody: &str) -> Self {
        Self { id: id.to_owned(), user_id: nobody.to_owned(), ..Self::default() }
    }
}
