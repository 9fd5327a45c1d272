//! Subscriptions of users to sources.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;

use super::update::{self, Edit};
use super::{Result, pages};
use crate::model::ids::{SourceId, UserId};
use crate::model::subscription::Subscription;
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, Filter, Key, Query};

/// Subscriptions of all users.
#[derive(Clone)]
pub struct Subscriptions(pub(super) Arc<dyn DocumentStore>);

impl Subscriptions {
    fn key(user: &UserId, source: &SourceId) -> Key {
        let id = Key::composed_id(format!("{user}-{source}"));
        Key::new(Container::UserSourceSubscriptions, user.as_str(), id)
    }

    /// Lists the sources that a user is subscribed to.
    pub async fn active(&self, user: &UserId) -> Result<HashSet<SourceId>> {
        let query = Query::partition(Container::UserSourceSubscriptions, user.as_str())
            .matching(Filter::equal("isActive", true));
        pages::walk::<Subscription>(&*self.0, query).map_ok(|found| found.source_id).try_collect().await
    }

    /// Subscribes a user to a source.
    pub async fn begin(&self, user: &UserId, source: &SourceId, now: Timestamp) -> Result<()> {
        let key = Self::key(user, source);
        update::update(&*self.0, &key, |found: Option<Subscription>| match found {
            Some(found) if found.is_active => Edit::Keep(()),
            Some(_) | None => {
                let subscription = Subscription {
                    id: key.id.clone(),
                    user_id: user.clone(),
                    source_id: source.clone(),
                    subscribed_at: Some(now),
                    is_active: true,
                };
                Edit::Save(subscription, ())
            }
        })
        .await
    }

    /// Unsubscribes a user from a source; returns whether there ever was a subscription.
    pub async fn end(&self, user: &UserId, source: &SourceId) -> Result<bool> {
        let end = |found: Subscription| match found.is_active {
            true => Edit::Save(Subscription { is_active: false, ..found }, ()),
            false => Edit::Keep(()),
        };
        update::update_existing(&*self.0, &Self::key(user, source), end).await.map(|ended| ended.is_some())
    }
}
