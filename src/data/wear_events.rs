//! Wear events, by owner.

use std::sync::Arc;

use futures::Stream;
use time::{Date, Duration, OffsetDateTime, UtcOffset};

use super::{Result, pages};
use crate::model::ids::{ItemId, UserId};
use crate::model::numbers::WearNumbers;
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::WearEvent;
use crate::store::query::Comparison;
use crate::store::{ChangeMark, Container, Direction, DocumentStore, Filter, Query};

/// Wear events of all users.
#[derive(Clone)]
pub struct WearEvents(pub(super) Arc<dyn DocumentStore>);

impl WearEvents {
    /// Item and time of all wear events of a user since `since`, and of some before, in pages, the newest first. Elements are
    /// `None` for events that do not say both.
    pub fn numbers_since(
        &self,
        user: &UserId,
        since: OffsetDateTime,
    ) -> impl Stream<Item = Result<Vec<Option<(String, Timestamp)>>>> + Send + '_ {
        // Texts are compared: with an offset one may name a moment that another text, a day apart from it, names as well.
        let day = since.to_offset(UtcOffset::UTC).date().saturating_sub(time::Duration::days(2));
        let query = Query::partition(Container::WearEvents, user.as_str())
            .matching(Filter::Compare("occurredAt", Comparison::GreaterOrEqual, day.to_string().into()))
            .order_by("occurredAt", Direction::Descending)
            .select(WearNumbers::FIELDS)
            .limit(pages::PAGE_OF_SHORT);
        pages::converted_pages(&*self.0, query, WearNumbers::read)
    }

    /// Returns a mark of the current state of the wear events; `None` if the store has none.
    pub async fn changes(&self, user: &UserId) -> Result<Option<ChangeMark>> {
        Ok(self.0.changes(Container::WearEvents, user.as_str()).await?)
    }

    /// The newest wear events from the day `first` to the day `last` and about them, at most `limit`.
    pub async fn between(&self, user: &UserId, first: Date, last: Date, limit: usize) -> Result<Vec<WearEvent>> {
        // Texts are compared, which may have an offset: a day more on both sides has all that is meant.
        let from = first.saturating_sub(Duration::days(1)).to_string();
        let to = last.saturating_add(Duration::days(2)).to_string();
        let query = Query::partition(Container::WearEvents, user.as_str())
            .matching(Filter::All(vec![
                Filter::Compare("occurredAt", Comparison::GreaterOrEqual, from.into()),
                Filter::Compare("occurredAt", Comparison::Less, to.into()),
            ]))
            .order_by("occurredAt", Direction::Descending);
        pages::take(pages::walk(&*self.0, query), limit).await
    }

    /// Finds the newest wear events of an item.
    pub async fn newest_of_item(&self, user: &UserId, item: &ItemId, limit: usize) -> Result<Vec<WearEvent>> {
        let query = Query::partition(Container::WearEvents, user.as_str())
            .matching(Filter::equal("itemId", item.as_str()))
            .order_by("itemId", Direction::Ascending)
            .order_by("occurredAt", Direction::Descending)
            .limit(limit);
        pages::page(&*self.0, &query).await
    }
}
