//! How far the timers have come: one document each, in the partition of nobody among the long operations.

use std::sync::Arc;

use super::Result;
use super::update::{Edit, update};
use crate::model::timer::TimerState;
use crate::store::{Container, DocumentStore, Key};

/// The partition of what belongs to the service itself.
pub const PARTITION: &str = "system";

/// How far the timers have come.
#[derive(Clone)]
pub struct Timers(Arc<dyn DocumentStore>);

impl Timers {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// Id of a function's document.
    pub fn id(function: &str) -> String {
        format!("timer-{function}")
    }

    /// How far a function's timer has come.
    ///
    /// # Errors
    /// When the store fails or the document is not what it should be.
    pub async fn find(&self, function: &str) -> Result<Option<TimerState>> {
        let stored = self.0.read(&key(function)).await?;
        Ok(stored.map(|stored| stored.parse()).transpose()?)
    }

    /// Edits that by compare-and-swap, as [`update`].
    ///
    /// # Errors
    /// As [`update`].
    pub async fn edit<R>(
        &self,
        function: &str,
        edit: impl FnMut(Option<TimerState>) -> Edit<TimerState, R>,
    ) -> Result<R> {
        update(&*self.0, &key(function), edit).await
    }
}

fn key(function: &str) -> Key {
    Key::new(Container::Jobs, PARTITION, Timers::id(function))
}
