//! Drafts: wardrobe items created from an uploaded photo, until their owner accepts them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{ItemId, UserId};
use super::lease::Lease;
use super::lenient;
use super::timestamp::Timestamp;
use super::wardrobe::WardrobeItem;

/// The longest lease of a worker. Well below the time after which the Functions host gives up on a message (five
/// deliveries, 30 s apart), so that another worker takes over before that.
pub const LONGEST_LEASE: Duration = Duration::from_secs(45);

/// Status of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[strum(const_into_str)]
pub enum DraftStatus {
    /// The photo waits for a worker, or is being processed.
    Processing,
    /// The picture is finished; the owner can accept the draft.
    Ready,
    /// The photo could not be processed; the owner can retry.
    Failed,
}

impl DraftStatus {
    /// Returns the status as documents have it.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// A draft's view of a wardrobe item. All other fields of the document are kept in `other`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DraftItem {
    /// Item id.
    pub id: ItemId,
    /// Owner.
    pub user_id: UserId,
    /// Progress of the draft; `None` for an item that is not a draft (any more).
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub draft_status: Option<DraftStatus>,
    /// Reason for the failure, in a few words for the owner.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub draft_error: Option<String>,
    /// URL of the uploaded photo, for other services; this service derives its location.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub raw_image_blob_url: Option<String>,
    /// When the photo was uploaded.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub draft_created_at: Option<Timestamp>,
    /// When the status last changed, or the photo was last queued.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub draft_updated_at: Option<Timestamp>,
    /// Whether the background stays in the picture.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "std::ops::Not::not")]
    pub skip_segmentation: bool,
    /// Number of times the photo was queued again because no worker had finished it.
    #[serde(default, deserialize_with = "lenient::whole", skip_serializing_if = "is_zero")]
    pub draft_attempts: u32,
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    draft_lease_owner: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    draft_lease_expires_at: Option<Timestamp>,
    /// When its owner accepted it.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// When it was added to the wardrobe.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub date_added: Option<Timestamp>,
    /// URL of the finished picture.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    /// How its picture was cut out, if known.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub cutout: Option<Cutout>,
    /// The other fields of the item.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How a picture was cut out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cutout {
    /// Requested mode: `auto`, `plain`, `network` or `none`.
    pub mode: String,
    /// Method that made the final cut: `plain`, `network` or `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The network's confidence, 0 to 1, if it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Reason for keeping the background, if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_whole: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl DraftItem {
    /// Creates a draft whose photo waits for a worker.
    pub fn uploaded(id: ItemId, user_id: UserId, photo: String, now: Timestamp) -> Self {
        Self {
            id,
            user_id,
            draft_status: Some(DraftStatus::Processing),
            draft_error: None,
            raw_image_blob_url: Some(photo),
            draft_created_at: Some(now),
            draft_updated_at: Some(now),
            skip_segmentation: false,
            draft_attempts: 0,
            draft_lease_owner: None,
            draft_lease_expires_at: None,
            accepted_at: None,
            date_added: None,
            image_url: None,
            cutout: None,
            other: Map::new(),
        }
    }

    /// Converts this view into the whole item.
    ///
    /// # Errors
    /// When a field cannot be written as JSON.
    pub fn into_item(self) -> serde_json::Result<WardrobeItem> {
        serde_json::from_value(serde_json::to_value(self)?)
    }

    /// Whether the photo waits for a worker or is being processed.
    pub fn is_processing(&self) -> bool {
        self.draft_status == Some(DraftStatus::Processing)
    }

    /// The lease of the worker that processes the photo.
    pub fn lease(&self) -> Lease {
        Lease::from_parts(self.draft_lease_owner.clone(), self.draft_lease_expires_at)
    }

    /// Replaces the lease of the worker that processes the photo.
    pub fn set_lease(&mut self, lease: &Lease) {
        self.draft_lease_owner = lease.owner().map(str::to_owned);
        self.draft_lease_expires_at = lease.expires_at();
    }

    /// Whether a worker holds its lease.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.lease().is_live(now, LONGEST_LEASE)
    }

    /// Marks the photo as waiting for a worker again, even if a worker has it.
    pub fn wait_again(&mut self, now: Timestamp) {
        self.draft_status = Some(DraftStatus::Processing);
        self.draft_error = None;
        self.draft_updated_at = Some(now);
        self.set_lease(&Lease::default());
    }

    /// Marks the photo of a failed draft as waiting for a worker, with all attempts.
    pub fn try_again(&mut self, now: Timestamp) {
        self.wait_again(now);
        self.draft_attempts = 0;
    }

    /// Ends the processing without a picture.
    pub fn fail(&mut self, reason: &str, now: Timestamp) {
        self.draft_status = Some(DraftStatus::Failed);
        self.draft_error = Some(reason.to_owned());
        self.draft_updated_at = Some(now);
        self.set_lease(&Lease::default());
    }

    /// Turns a ready draft into an item of the wardrobe.
    pub fn accept(&mut self, now: Timestamp) {
        (self.draft_status, self.draft_error) = (None, None);
        (self.draft_created_at, self.draft_updated_at) = (None, None);
        self.draft_attempts = 0;
        self.set_lease(&Lease::default());
        (self.accepted_at, self.date_added) = (Some(now), Some(now));
    }
}

/// A queue message: the draft whose photo is to be processed. Other fields are for other services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageJobMessage {
    /// The draft.
    pub item_id: ItemId,
    /// Owner of the draft.
    pub user_id: UserId,
    /// URL of the photo.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub raw_image_blob_url: String,
    /// Always 1, as other services write it.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub attempt: u32,
    /// When it was sent.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub enqueued_at: Option<Timestamp>,
    /// Whether the background stays in the picture.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub skip_segmentation: bool,
}

impl ImageJobMessage {
    /// Creates the message that starts the processing of this draft's photo.
    pub fn of(draft: &DraftItem, now: Timestamp) -> Self {
        Self {
            item_id: draft.id.clone(),
            user_id: draft.user_id.clone(),
            raw_image_blob_url: draft.raw_image_blob_url.clone().unwrap_or_default(),
            attempt: 1,
            enqueued_at: Some(now),
            skip_segmentation: draft.skip_segmentation,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn explicit_nulls_are_absent_and_unknown_fields_stay() {
        let stored = json!({
            "id": "upload-1", "userId": "ada", "draftStatus": "Ready", "draftError": null, "imageUrl": "https://x/a.webp",
            "price": {"amount": 3.5}, "careInfo": null, "draftAttempts": null,
        });
        let mut draft: DraftItem = serde_json::from_value(stored).unwrap();
        assert_eq!((draft.draft_status, draft.draft_attempts), (Some(DraftStatus::Ready), 0));
        draft.accept(Timestamp::parse("2026-03-02T09:15:00Z").unwrap());
        assert_eq!(
            serde_json::to_value(draft).unwrap(),
            json!({
                "id": "upload-1", "userId": "ada", "imageUrl": "https://x/a.webp", "price": {"amount": 3.5},
                "careInfo": null, "acceptedAt": "2026-03-02T09:15:00.000Z", "dateAdded": "2026-03-02T09:15:00.000Z",
            })
        );
    }

    #[test]
    fn an_item_that_is_no_draft_has_no_status() {
        let item: DraftItem =
            serde_json::from_value(json!({"id": "coat", "userId": "ada", "draftStatus": null})).unwrap();
        assert_eq!(item.draft_status, None);
    }
}
