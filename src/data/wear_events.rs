//! When clothes were worn, by owner.

use std::sync::Arc;

use super::{Result, pages};
use crate::model::ids::{ItemId, UserId};
use crate::model::wardrobe::WearEvent;
use crate::store::{Container, Direction, DocumentStore, Filter, Query};

/// The wear events of all users.
#[derive(Clone)]
pub struct WearEvents(Arc<dyn DocumentStore>);

impl WearEvents {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// The newest wear events of one item, at most `limit`.
    pub async fn newest_of_item(&self, user: &UserId, item: &ItemId, limit: usize) -> Result<Vec<WearEvent>> {
        let query = Query::partition(Container::WearEvents, user.as_str())
            .matching(Filter::equal("itemId", item.as_str()))
            .order_by("itemId", Direction::Ascending)
            .order_by("occurredAt", Direction::Descending)
            .limit(limit);
        pages::page(&*self.0, &query).await
    }
}
