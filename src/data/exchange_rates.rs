//! The newest exchange rates: one document, beside the computed insights, in the partition of nobody.

use std::sync::Arc;

use super::Result;
use super::update::{Edit, update};
use crate::model::exchange_rates::KeptRates;
use crate::store::{Container, DocumentStore, Key};

/// The partition of what belongs to the service itself.
const PARTITION: &str = "system";

const ID: &str = "fx-rates";

/// The newest exchange rates.
#[derive(Clone)]
pub struct ExchangeRates(Arc<dyn DocumentStore>);

impl ExchangeRates {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// Edits them by compare-and-swap, as [`update`]; what is new begins empty.
    ///
    /// # Errors
    /// As [`update`].
    pub async fn edit<R>(&self, mut edit: impl FnMut(KeptRates) -> Edit<KeptRates, R>) -> Result<R> {
        let key = Key::new(Container::VaultInsightsCache, PARTITION, ID);
        update(&*self.0, &key, |kept: Option<KeptRates>| edit(kept.unwrap_or_else(|| KeptRates::empty(ID, PARTITION))))
            .await
    }
}
