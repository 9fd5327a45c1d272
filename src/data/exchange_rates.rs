//! The latest exchange rates: one document in the container of cached insights.

use std::sync::Arc;

use super::Result;
use super::update::{Edit, update};
use crate::model::exchange_rates::KeptRates;
use crate::store::{Container, DocumentStore, Key};

/// Partition of data that belongs to the service itself.
const PARTITION: &str = "system";

const ID: &str = "fx-rates";

/// The latest exchange rates.
#[derive(Clone)]
pub struct ExchangeRates(pub(super) Arc<dyn DocumentStore>);

impl ExchangeRates {
    /// Edits the rates by compare-and-swap, starting with an empty record.
    ///
    /// # Errors
    /// [`super::Error::Contended`], [`super::Error::Unwritable`] or [`super::Error::Store`], as for [`update`].
    pub async fn edit<R>(&self, mut edit: impl FnMut(KeptRates) -> Edit<KeptRates, R>) -> Result<R> {
        let key = Key::new(Container::VaultInsightsCache, PARTITION, ID);
        update(&*self.0, &key, |kept: Option<KeptRates>| edit(kept.unwrap_or_else(|| KeptRates::empty(ID, PARTITION))))
            .await
    }
}
