//! The analysis of a picture that a user likes: one job per user, item and picture.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{ScrapedItemId, TasteJobId, UserId};
use super::lease::{self, Lease};
use super::lenient;
use super::timestamp::Timestamp;
use crate::base::hash::sha256_hex;

/// The longest lease of a worker. Well below the time after which the Functions host gives up on a message (five
/// deliveries, 30 s apart), so that another worker takes over before that.
pub const LONGEST_LEASE: Duration = Duration::from_secs(45);

/// Status of a taste-analysis job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum TasteJobStatus {
    /// A message for the job is in the queue, or about to be.
    Queued,
    /// A worker is processing the job.
    InFlight,
    /// Finished.
    Completed,
    /// The last delivery failed; another one may follow.
    Failed,
    /// Failed for good.
    DeadLettered,
}

impl TasteJobStatus {
    /// Returns the status as written in documents.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// Input of a job, as in messages and in the job's document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TastePayload {
    /// Job id.
    #[serde(alias = "jobId")]
    pub job_id: TasteJobId,
    /// User who liked the picture.
    #[serde(alias = "userId")]
    pub user_id: UserId,
    /// The item.
    #[serde(alias = "itemId")]
    pub item_id: ScrapedItemId,
    /// Picture URL.
    #[serde(alias = "imageUrl")]
    pub image_url: String,
    /// Index in the item's gallery; `None` for the main picture.
    #[serde(alias = "galleryImageIndex", default, deserialize_with = "lenient::optional_whole")]
    pub gallery_image_index: Option<u64>,
}

impl TastePayload {
    /// Creates the payload, with the job id of this user, item and picture.
    pub fn new(user_id: UserId, item_id: ScrapedItemId, image_url: String, gallery_image_index: Option<u64>) -> Self {
        let index = gallery_image_index.map_or_else(|| "-".to_owned(), |index| index.to_string());
        let job_id = sha256_hex(format!("{user_id}:{item_id}:{image_url}:{index}")).into();
        Self { job_id, user_id, item_id, image_url, gallery_image_index }
    }
}

/// A message of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TasteMessage {
    /// Input of the job.
    #[serde(flatten)]
    pub payload: TastePayload,
    /// Time of sending.
    #[serde(rename = "createdAt", default, deserialize_with = "lenient::optional")]
    pub created_at: Option<Timestamp>,
    /// Number of times the job was queued before.
    #[serde(rename = "retryCount", default, deserialize_with = "lenient::whole")]
    pub retry_count: u32,
}

/// Result of analysing a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tastes {
    /// Style words, then colours, then garments.
    pub styles: Vec<String>,
    /// Visible brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
}

/// A job's document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TasteJob {
    /// Job id.
    pub id: TasteJobId,
    /// Job id again; other readers expect it.
    pub job_id: TasteJobId,
    /// Current status.
    pub status: TasteJobStatus,
    /// User who liked the picture.
    pub user_id: UserId,
    /// The item.
    pub item_id: ScrapedItemId,
    /// Picture URL.
    pub image_url: String,
    /// Index in the item's gallery.
    #[serde(default, deserialize_with = "lenient::optional_whole", skip_serializing_if = "Option::is_none")]
    pub gallery_image_index: Option<u64>,
    /// Number of failed deliveries and repeated requests.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub retry_count: u32,
    /// Time of creation.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub created_at: Option<Timestamp>,
    /// Time of the last write.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub updated_at: Option<Timestamp>,
    /// Reason of the last failure.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Time of the last completion.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub last_completed_at: Option<Timestamp>,
    /// Whether the job failed for good.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub dead_lettered: Option<bool>,
    /// Input of the job.
    pub payload: TastePayload,
    /// The worker that has it, or the time until which its message counts as queued.
    #[serde(flatten)]
    pub lease: Lease,
    /// The model's result, kept from its answer until the job is done. A model answers differently each time, so a
    /// later attempt must add exactly this to the profile.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub tastes: Option<Tastes>,
    /// Number of times the lease expired and the job was queued again.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub requeues: u32,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl TasteJob {
    /// Creates a job that waits in the queue.
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

    /// Whether an unexpired lease excludes others.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        match self.status {
            TasteJobStatus::InFlight => lease::is_live(self.lease.expires_at(), now, LONGEST_LEASE),
            // Not a worker's lease: the time until which the message counts as queued.
            TasteJobStatus::Queued
            | TasteJobStatus::Completed
            | TasteJobStatus::Failed
            | TasteJobStatus::DeadLettered => self.lease.expires_at().is_some_and(|until| until > now),
        }
    }

    /// Whether a worker is processing the job.
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
