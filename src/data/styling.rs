//! Styling activities, by owner.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::model::ids::UserId;
use crate::model::styling::{ActivityStatus, StylingActivity};
use crate::model::timestamp::Timestamp;
use crate::store::{Container, Direction, DocumentStore, Filter, Key, Query};

/// Styling activities of all users.
#[derive(Clone)]
pub struct StylingActivities(pub(super) Arc<dyn DocumentStore>);

impl StylingActivities {
    /// Returns the key of an activity.
    pub fn key(user: &UserId, id: &str) -> Key {
        Key::new(Container::StylingActivity, user.as_str(), id)
    }

    /// Creates an activity; an existing one of the same id is kept.
    pub async fn create(&self, activity: &StylingActivity) -> Result<()> {
        records::create(&*self.0, &Self::key(&activity.user_id, &activity.id), activity).await.map(drop)
    }

    /// Finds the newest pending activities that have not expired at `now`, and some that have, at most `limit`.
    pub async fn pending(&self, user: &UserId, now: Timestamp, limit: usize) -> Result<Vec<StylingActivity>> {
        // Times are compared as texts and may have a UTC offset, so start a day earlier.
        let since = now.get().date().saturating_sub(time::Duration::days(1)).to_string();
        let query = Query::partition(Container::StylingActivity, user.as_str())
            .matching(Filter::equal("status", ActivityStatus::Pending.name()))
            .matching(Filter::Any(vec![Filter::is_absent("expiresAt"), Filter::at_least("expiresAt", since)]))
            .order_by("status", Direction::Ascending)
            .order_by("occurredAt", Direction::Descending)
            .limit(limit);
        pages::page(&*self.0, &query).await
    }

    /// Sets the status of an activity, and with `wear` the wear event that it led to. Returns `false` if there is none.
    pub async fn set_status(
        &self,
        user: &UserId,
        id: &str,
        status: ActivityStatus,
        wear: Option<&str>,
        now: Timestamp,
    ) -> Result<bool> {
        // Edit the document itself, so that fields of an unexpected shape survive.
        update::update(&*self.0, &Self::key(user, id), |found: Option<Map<String, Value>>| {
            let Some(mut activity) = found else { return Edit::Keep(false) };
            let is = |field: &str, text: &str| activity.get(field).and_then(Value::as_str) == Some(text);
            if is("status", status.name()) && wear.is_none_or(|wear| is("linkedWearEventId", wear)) {
                return Edit::Keep(true);
            }
            activity.insert("status".to_owned(), status.name().into());
            activity.insert("lastUpdatedAt".to_owned(), now.to_string().into());
            if let Some(wear) = wear {
                activity.insert("linkedWearEventId".to_owned(), wear.into());
            }
            Edit::Save(activity, true)
        })
        .await
    }
}
