//! The analysis of a picture that a user likes: one job per user, item and picture.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{ScrapedItemId, TasteJobId, UserId};
use super::lease::{self, Lease};
use super::lenient;
use super::timestamp::Timestamp;
use crate::base::hash::sha256_hex;

/// The longest lease of a worker. Well below the time in which the Functions host gives a message up (five deliveries, 30 s
/// apart), so that another takes over before that.
pub const LONGEST_LEASE: Duration = Duration::from_secs(45);

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TasteJobStatus {
    /// A message for it is in the queue, or will be.
    Queued,
    /// A worker has it.
    InFlight,
    /// Done.
    Completed,
    /// The last delivery failed; there may be another.
    Failed,
    /// Given up.
    DeadLettered,
}

impl TasteJobStatus {
    /// As documents have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InFlight => "in_flight",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// What is to be done, as the queue's messages and the job's document have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TastePayload {
    /// The job.
    #[serde(alias = "jobId")]
    pub job_id: TasteJobId,
    /// Who likes the picture.
    #[serde(alias = "userId")]
    pub user_id: UserId,
    /// The item that it belongs to.
    #[serde(alias = "itemId")]
    pub item_id: ScrapedItemId,
    /// The picture.
    #[serde(alias = "imageUrl")]
    pub image_url: String,
    /// Its place in the item's gallery; none for the item's own picture.
    #[serde(alias = "galleryImageIndex", default, deserialize_with = "lenient::optional")]
    pub gallery_image_index: Option<u64>,
}

impl TastePayload {
    /// The job of this user, item and picture.
    pub fn new(user_id: UserId, item_id: ScrapedItemId, image_url: String, gallery_image_index: Option<u64>) -> Self {
        let index = gallery_image_index.map_or_else(|| "-".to_owned(), |index| index.to_string());
        let job_id = sha256_hex(format!("{user_id}:{item_id}:{image_url}:{index}")).into();
        Self { job_id, user_id, item_id, image_url, gallery_image_index }
    }
}

/// A message of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TasteMessage {
    /// What is to be done.
    #[serde(flatten)]
    pub payload: TastePayload,
    /// When it was sent.
    #[serde(rename = "createdAt", default, deserialize_with = "lenient::optional")]
    pub created_at: Option<Timestamp>,
    /// How often the job was put into the queue before.
    #[serde(rename = "retryCount", default, deserialize_with = "lenient::or_default")]
    pub retry_count: u32,
}

/// What a picture shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tastes {
    /// Style words, colours and garments, in this order.
    pub styles: Vec<String>,
    /// A brand that can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
}

/// A job's document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TasteJob {
    /// The job.
    pub id: TasteJobId,
    /// The same.
    pub job_id: TasteJobId,
    /// How far it is.
    pub status: TasteJobStatus,
    /// Who likes the picture.
    pub user_id: UserId,
    /// The item.
    pub item_id: ScrapedItemId,
    /// The picture.
    pub image_url: String,
    /// Its place in the item's gallery.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub gallery_image_index: Option<u64>,
    /// How many deliveries have failed, and how often it was queued anew.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub retry_count: u32,
    /// When it was first asked for.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub created_at: Option<Timestamp>,
    /// When this document was last written.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub updated_at: Option<Timestamp>,
    /// Why the last delivery failed.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it was last done.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub last_completed_at: Option<Timestamp>,
    /// Whether it was given up.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub dead_lettered: Option<bool>,
    /// What is to be done.
    pub payload: TastePayload,
    /// The worker that has it, or until when its message waits in the queue.
    #[serde(flatten)]
    pub lease: Lease,
    /// What the model saw, from its answer until the job is done. A model answers differently each time, so whoever goes
    /// on with the job must add this to the profile and nothing else.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub tastes: Option<Tastes>,
    /// How often its lease ran out and it was queued again.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub requeues: u32,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl TasteJob {
    /// A job that waits in the queue.
    pub fn queued(payload: TastePayload, now: Timestamp, waits_until: Timestamp) -> Self {
        Self {
            id: payload.job_id.clone(),
            job_id: payload.job_id.clone(),
            status: TasteJobStatus::Queued,
            user_id: payload.user_id.clone(),
            item_id: payload.item_id.clone(),
            image_url: payload.image_url.clone(),
            gallery_image_index: payload.gallery_image_index,
            retry_count: 0,
            created_at: Some(now),
            updated_at: Some(now),
            last_error: None,
            last_completed_at: None,
            dead_lettered: None,
            payload,
            lease: Lease::waiting(waits_until),
            tastes: None,
            requeues: 0,
            other: Map::new(),
        }
    }

    /// Whether its lease keeps others away.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        match self.status {
            TasteJobStatus::InFlight => lease::is_live(self.lease.expires_at(), now, LONGEST_LEASE),
            // Not a worker's: it says for how long nobody looks for the message.
            TasteJobStatus::Queued
            | TasteJobStatus::Completed
            | TasteJobStatus::Failed
            | TasteJobStatus::DeadLettered => self.lease.expires_at().is_some_and(|until| until > now),
        }
    }

    /// Whether a worker has it.
    pub fn is_running(&self, now: Timestamp) -> bool {
        self.status == TasteJobStatus::InFlight && self.is_leased(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_user_item_and_picture() {
        let payload =
            |index| TastePayload::new("ada".into(), "reddit-1".into(), "https://x.example/a.jpg".into(), index);
        // printf 'ada:reddit-1:https://x.example/a.jpg:-' | sha256sum
        assert_eq!(payload(None).job_id.as_str(), "86ce6aaf2ebb0c1154f60f50c1e255e51dca11631b0084e0fa03e00decb44657");
        assert_ne!(payload(None).job_id, payload(Some(0)).job_id);
    }

    #[test]
    fn messages_are_in_snake_case_but_for_two_fields() {
        let payload = TastePayload::new("ada".into(), "i".into(), "https://x.example/a.jpg".into(), None);
        let message = TasteMessage { payload, created_at: Timestamp::parse("2026-03-02"), retry_count: 1 };
        let json = serde_json::to_value(&message).unwrap();
        let mut names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["createdAt", "gallery_image_index", "image_url", "item_id", "job_id", "retryCount", "user_id"]
        );
        assert_eq!(serde_json::from_value::<TasteMessage>(json).unwrap(), message);
    }
}
