//! Wear events, by owner.

use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use serde_json::Value;
use time::{Duration, OffsetDateTime, UtcOffset};

use super::update::won;
use super::{Result, pages};
use crate::model::ids::{ItemId, UserId};
use crate::model::numbers::WearNumbers;
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::WearEvent;
use crate::store::query::Comparison;
use crate::store::{ChangeMark, Container, Direction, DocumentStore, Filter, Key, Query};

/// Number of events from which the oldest is chosen.
const OLDEST: usize = 10;

/// Wear events of all users.
#[derive(Clone)]
pub struct WearEvents(pub(super) Arc<dyn DocumentStore>);

impl WearEvents {
    /// Streams item and time of all wear events of a user since `since`, and of some earlier ones, in pages, newest
    /// first. Elements are `None` for events that lack either.
    pub fn numbers_since(
        &self,
        user: &UserId,
        since: OffsetDateTime,
    ) -> impl Stream<Item = Result<Vec<Option<(String, Timestamp)>>>> + Send + '_ {
        // Times are compared as texts: with UTC offsets, the same moment can have texts a day apart.
        let day = since.to_offset(UtcOffset::UTC).date().saturating_sub(time::Duration::days(2));
        let query = Query::partition(Container::WearEvents, user.as_str())
            .matching(Filter::at_least("occurredAt", day.to_string()))
            .order_by("occurredAt", Direction::Descending)
            .select(WearNumbers::FIELDS)
            .limit(pages::PAGE_OF_SHORT);
        pages::converted_pages(&*self.0, query, WearNumbers::read)
    }

    /// Returns a token that identifies the current state of the wear events; `None` if the store does not track
    /// changes.
    pub async fn changes(&self, user: &UserId) -> Result<Option<ChangeMark>> {
        Ok(self.0.changes(Container::WearEvents, user.as_str()).await?)
    }

    /// Lists at most `limit` newest wear events at or after `from` and before `until`.
    pub async fn between(
        &self,
        user: &UserId,
        from: Option<OffsetDateTime>,
        until: Option<OffsetDateTime>,
        limit: usize,
    ) -> Result<Vec<WearEvent>> {
        // The order is only defined for events that have a time.
        let timed = from.is_none().then(|| Filter::at_least("occurredAt", ""));
        let query =
            Query::partition(Container::WearEvents, user.as_str()).order_by("occurredAt", Direction::Descending);
        let query = timed.into_iter().chain(days_around(from, until)).fold(query, Query::matching);
        let is_within = move |event: &WearEvent| event.occurred_at.is_some_and(|at| at.is_within(from, until));
        let within =
            pages::walk::<WearEvent>(&*self.0, query).try_filter(move |event| std::future::ready(is_within(event)));
        pages::take(within, limit).await
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

    /// Returns the key of a wear event.
    pub fn key(user: &UserId, id: &str) -> Key {
        Key::new(Container::WearEvents, user.as_str(), id)
    }

    /// Whether the wear event exists.
    pub async fn exists(&self, user: &UserId, id: &str) -> Result<bool> {
        Ok(self.0.read(&Self::key(user, id)).await?.is_some())
    }

    /// Creates a wear event from its document; an existing one of the same id is kept.
    pub async fn create(&self, user: &UserId, id: &str, event: &Value) -> Result<()> {
        won(self.0.create(&Self::key(user, id), event).await).map(drop)
    }

    /// Finds the wear events of an item between two points in time, newest first, at most `limit`.
    pub async fn history(
        &self,
        user: &UserId,
        item: &ItemId,
        from: Option<OffsetDateTime>,
        to: Option<OffsetDateTime>,
        limit: usize,
    ) -> Result<Vec<WearEvent>> {
        let query = days_around(from, to).fold(Self::of_item(user, item), Query::matching);
        let query = query.order_by("itemId", Direction::Ascending).order_by("occurredAt", Direction::Descending);
        let is_within = |event: &WearEvent| match event.occurred_at {
            Some(at) => from.is_none_or(|from| at.get() >= from) && to.is_none_or(|to| at.get() <= to),
            None => from.is_none() && to.is_none(),
        };
        let within =
            pages::walk::<WearEvent>(&*self.0, query).try_filter(move |event| std::future::ready(is_within(event)));
        let mut events = pages::take(within, limit).await?;
        events.sort_by_key(|event| std::cmp::Reverse(event.occurred_at));
        Ok(events)
    }

    /// Counts the wear events of an item.
    pub async fn count_of_item(&self, user: &UserId, item: &ItemId) -> Result<u64> {
        Ok(self.0.count(&Self::of_item(user, item)).await?)
    }

    /// Finds the time of the oldest wear event of an item.
    pub async fn oldest_of_item(&self, user: &UserId, item: &ItemId) -> Result<Option<Timestamp>> {
        // The first few texts: with a UTC offset, a text may denote a later moment than the next one.
        let query = Self::of_item(user, item)
            .matching(Filter::at_least("occurredAt", ""))
            .order_by("itemId", Direction::Descending)
            .order_by("occurredAt", Direction::Ascending)
            .limit(OLDEST);
        let events: Vec<WearEvent> = pages::page(&*self.0, &query).await?;
        Ok(events.iter().filter_map(|event| event.occurred_at).min())
    }

    fn of_item(user: &UserId, item: &ItemId) -> Query {
        Query::partition(Container::WearEvents, user.as_str()).matching(Filter::equal("itemId", item.as_str()))
    }
}

/// Returns filters for the days from `from` to `to`. Times are compared as texts and may have a UTC offset, so another
/// day is included on both sides.
fn days_around(from: Option<OffsetDateTime>, to: Option<OffsetDateTime>) -> impl Iterator<Item = Filter> {
    let day = |at: OffsetDateTime, more: Duration| at.date().saturating_add(more).to_string();
    let from = from.map(|at| Filter::at_least("occurredAt", day(at, -Duration::DAY)));
    let to = to.map(|at| Filter::Compare("occurredAt", Comparison::Less, day(at, 2 * Duration::DAY).into()));
    from.into_iter().chain(to)
}
