//! Usage of models: a document per user and day, and one per day for the service's own calls.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde_json::Map;
use time::Date;

use super::update::{self, Edit, compare_and_swap};
use super::{Result, pages};
use crate::llm::Payer;
use crate::model::ids::UserId;
use crate::model::usage::{ModelUsage, UsageDay};
use crate::store::{Container, Direction, DocumentStore, ETag, Filter, Key, Query};

/// Days for which usage is kept, and the most that can be listed.
pub const KEPT_DAYS: u16 = 400;
/// Seconds after the last write until the store deletes a document.
const LIFE_SECONDS: u32 = KEPT_DAYS as u32 * 24 * 60 * 60;
/// Ids of earlier writes in a document. A lost answer is noticed within seconds, so few are needed.
const KEPT_WRITES: usize = 16;

/// A change of a day: tokens of the budget, and calls that ended.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Identifies the write, so that it takes effect once, however often it is tried.
    pub id: String,
    /// Tokens to add to the budget's total, or to subtract.
    pub tokens: i64,
    /// Calls to add, by model.
    pub models: Vec<ModelUsage>,
}

/// Usage of all users.
#[derive(Clone)]
pub struct Usage(pub(super) Arc<dyn DocumentStore>);

impl Usage {
    /// Finds the payer's day, and its version.
    ///
    /// # Errors
    /// When the store fails or the document is invalid.
    pub async fn find(&self, payer: &Payer, day: Date) -> Result<Option<(UsageDay, ETag)>> {
        let stored = self.0.read(&place(payer, day)).await?;
        stored.map(|stored| Ok((stored.parse()?, stored.etag))).transpose()
    }

    /// Applies a change to the payer's day, once, and returns the day with its version. `known` is the day as last
    /// found or changed, if any.
    ///
    /// # Errors
    /// [`super::Error::Contended`], [`super::Error::Unwritable`] or [`super::Error::Store`], as for [`update::update`].
    pub async fn add(
        &self,
        payer: &Payer,
        day: Date,
        change: &Change,
        known: Option<(UsageDay, ETag)>,
    ) -> Result<(UsageDay, Option<ETag>)> {
        let place = place(payer, day);
        compare_and_swap(update::ATTEMPTS, &*self.0, &place, known, |found: Option<UsageDay>, _| {
            let mut day = found.unwrap_or_else(|| UsageDay {
                id: place.id.clone(),
                user_id: UserId::from(place.partition.as_str()),
                date: place.id.clone(),
                tokens: 0,
                models: Vec::new(),
                writes: Vec::new(),
                ttl: LIFE_SECONDS,
                other: Map::new(),
            });
            if day.writes.contains(&change.id) {
                return Edit::Keep(day);
            }
            day.tokens = day.tokens.saturating_add_signed(change.tokens);
            for more in &change.models {
                more.add_to(&mut day.models);
            }
            let surplus = (day.writes.len() + 1).saturating_sub(KEPT_WRITES);
            day.writes.drain(..surplus);
            day.writes.push(change.id.clone());
            Edit::Save(day.clone(), day)
        })
        .await
    }

    /// Lists a user's days since `first`, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn days(&self, user: &UserId, first: Date) -> Result<Vec<UsageDay>> {
        let query = since(Query::partition(Container::Usage, user.as_str()), first);
        pages::walk(&*self.0, query).take(usize::from(KEPT_DAYS)).try_collect().await
    }

    /// Lists a page of all payers' days since `first`, newest first, with the token of the next page.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page(
        &self,
        first: Date,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<UsageDay>, Option<String>)> {
        let query = since(Query::all(Container::Usage), first).order_by("userId", Direction::Ascending);
        pages::page_and_next(&*self.0, &query.limit(limit).after(after)).await
    }
}

fn since(query: Query, first: Date) -> Query {
    let recent = Filter::at_least("date", first.to_string());
    query.matching(recent).order_by("date", Direction::Descending)
}

fn place(payer: &Payer, day: Date) -> Key {
    let partition = match payer {
        Payer::User(user) => user.as_str(),
        Payer::Service => UsageDay::SERVICE,
    };
    Key::new(Container::Usage, partition, day.to_string())
}
