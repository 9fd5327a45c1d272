//! Subscriptions of users to sources.

use serde::{Deserialize, Serialize};

use super::ids::{SourceId, UserId};
use super::lenient;
use super::timestamp::Timestamp;

/// A user's subscription to a source; kept, inactive, after the user unsubscribes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// User id and source id.
    pub id: String,
    /// The subscriber.
    pub user_id: UserId,
    /// The source.
    pub source_id: SourceId,
    /// Time of subscription.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub subscribed_at: Option<Timestamp>,
    /// Whether the subscription is active.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub is_active: bool,
}
