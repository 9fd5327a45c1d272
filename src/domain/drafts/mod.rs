//! Drafts: wardrobe items created from an uploaded photo.
//!
//! ```text
//! upload → Processing → Ready → accept → item        any → DELETE → gone
//!                     ↘ Failed → retry → Processing   Failed 7 days → gone
//! ```
//!
//! An upload stores the photo, then the draft's document, then sends the message that starts the processing. These
//! steps are not atomic: [`Drafts::requeue_stale`] sends lost messages again, and [`Drafts::delete_orphans`] deletes
//! photos and pictures without an item.
//!
//! An accepted draft keeps its photo, so that its picture can be recreated; the photo is deleted with the item.

mod cutout;
mod photo;
mod upkeep;
mod work;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use getrandom::fill;
use tracing::warn;

pub use self::cutout::{CutoutError, ItemPictures};
pub use self::upkeep::{Orphans, Requeued};
pub use self::work::Worked;
use super::base::Base;
use super::dead_letters::{self, DeadLetterService, Replay};
use super::item_blobs::{DRAFT_PREFIX, ItemBlobs, upload_name};
use super::media::Media;
use super::metadata::Describer;
use super::quota::body_memory::BodyMemory;
use super::wardrobe::FULL;
use crate::base::chain::Chain;
use crate::base::hash::{hex, sha256_hex_of};
use crate::blob::{self, BadName, BlobName};
use crate::data;
use crate::data::update::Edit;
use crate::model::dead_letter::{DeadLetter, DeadLetterStatus};
use crate::model::draft::{DraftItem, DraftStatus, ImageJobMessage};
use crate::model::ids::{ItemId, UserId};
use crate::model::timestamp::Timestamp;
use crate::queue::{self, read_message};
use crate::store;

/// Most drafts of a user at once. Concurrent uploads may each add one more.
const MOST_DRAFTS: u64 = 200;
/// Random bytes of a draft's id.
const ID_BYTES: usize = 16;
/// How long accepting a draft can be repeated, in case the answer was lost.
const REPEATABLE: Duration = Duration::from_secs(60 * 60);

/// Why an operation on a draft failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The documents failed.
    #[error("the draft could not be read or written")]
    Data(#[from] data::Error),
    /// The blobs failed.
    #[error("the photo could not be read or written")]
    Blobs(#[from] blob::Error),
    /// The queue failed.
    #[error("the photo could not be queued")]
    Queue(#[from] queue::Error),
    /// A record cannot be serialized; a bug.
    #[error("a record cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
    /// The user's id cannot be part of a blob's name.
    #[error("no blob name can contain the user id")]
    BadName(#[from] BadName),
    /// The user has the most drafts already. The text is for the user.
    #[error("You have 200 photos that are not accepted yet. Accept or delete some first.")]
    TooMany,
    /// The user has the most items already. The text is for the user.
    #[error("{FULL}")]
    Full,
}

/// A photo that a user sends.
pub struct Upload {
    /// The file.
    pub photo: Bytes,
    /// Whether the background stays in the picture.
    pub skip_segmentation: bool,
    /// Whether the garment is a wish.
    pub is_wishlisted: bool,
}

/// Outcome of accepting a draft.
#[derive(Debug)]
pub enum Accepted {
    /// The draft has become an item of the wardrobe.
    Item(Box<DraftItem>),
    /// The item is not a draft, or the draft is not ready.
    NotReady,
    /// The user has no such item.
    Missing,
}

/// Outcome of retrying a draft.
#[derive(Debug)]
pub enum Retried {
    /// The photo waits for a worker.
    Queued(Box<DraftItem>),
    /// The draft has not failed.
    NotFailed,
    /// The user has no such item.
    Missing,
    /// The photo is gone.
    PhotoGone,
}

/// Services that [`Drafts`] uses.
pub struct DraftParts {
    /// Parts that all services share.
    pub base: Arc<Base>,
    /// Photos and pictures.
    pub blobs: ItemBlobs,
    /// Finishes pictures.
    pub media: Media,
    /// Describes garments.
    pub describer: Describer,
    /// Stores messages that failed for good.
    pub dead_letters: DeadLetterService,
    /// Memory for photos, shared with uploads.
    pub memory: BodyMemory,
}

/// Drafts of all users. Cheap to clone.
#[derive(Clone)]
pub struct Drafts(Arc<DraftParts>);

impl Drafts {
    /// Creates the service.
    pub fn new(parts: DraftParts) -> Self {
        Self(Arc::new(parts))
    }

    fn now(&self) -> Timestamp {
        self.0.base.clock.now().into()
    }

    /// Stores a photo and creates its draft, which a worker finishes. If the worker's message cannot be sent now,
    /// [`Drafts::requeue_stale`] sends it later.
    ///
    /// # Errors
    /// When blobs or documents fail. The draft may exist nevertheless.
    pub async fn upload(&self, user: &UserId, upload: Upload) -> Result<DraftItem, Error> {
        self.keep(user, new_id(), upload).await
    }

    /// Stores a photo like [`Drafts::upload`], once per key: a repeated call returns the draft of the first one, or the
    /// item that it has become.
    ///
    /// # Errors
    /// When blobs or documents fail. The draft may exist nevertheless.
    pub async fn upload_once(&self, user: &UserId, key: &str, upload: Upload) -> Result<DraftItem, Error> {
        let id = id_of_key(user, key);
        match self.keep(user, id, upload).await {
            Err(Error::Data(data::Error::Store(store::Error::Conflict))) => {
                self.find_by_key(user, key).await?.ok_or(Error::Data(data::Error::Contended))
            }
            kept => kept,
        }
    }

    /// Finds the draft that [`Drafts::upload_once`] created for a key, or the item that it has become.
    ///
    /// # Errors
    /// When the documents fail.
    pub async fn find_by_key(&self, user: &UserId, key: &str) -> Result<Option<DraftItem>, Error> {
        Ok(self.0.base.data.drafts.find(user, &id_of_key(user, key)).await?)
    }

    async fn keep(&self, user: &UserId, id: ItemId, upload: Upload) -> Result<DraftItem, Error> {
        let (data, blobs) = (&self.0.base.data, &self.0.blobs);
        let name = upload_name(user, &id).ok_or(BadName)?;
        if data.drafts.count(user).await? >= MOST_DRAFTS {
            return Err(Error::TooMany);
        }
        if !data.wardrobe.has_room(user).await? {
            return Err(Error::Full);
        }
        blobs.store.put(&blobs.uploads, &name, upload.photo).await?;
        let mut draft = DraftItem::uploaded(id, user.clone(), self.url_of(&name), self.now());
        draft.skip_segmentation = upload.skip_segmentation;
        draft.other.insert("isWishlisted".to_owned(), upload.is_wishlisted.into());
        draft.other.insert("wearCount".to_owned(), 0.into());
        data.drafts.create(&draft).await?;
        self.send_or_leave(&draft).await;
        Ok(draft)
    }

    fn url_of(&self, photo: &BlobName) -> String {
        self.0.blobs.store.public_url(&self.0.blobs.uploads, photo).into()
    }

    /// Turns a ready draft into an item of the wardrobe. Repeating this within an hour changes nothing.
    ///
    /// # Errors
    /// When the store fails; then accept it again.
    pub async fn accept(&self, user: &UserId, item: &ItemId) -> Result<Accepted, Error> {
        let (data, now) = (&self.0.base.data, self.now());
        let Some(known) = data.drafts.find_version(user, item).await? else { return Ok(Accepted::Missing) };
        // The weekly digest finds users by their profiles. Create it before the item, because it would not be created
        // later.
        if known.0.draft_status == Some(DraftStatus::Ready) {
            data.profiles.create_if_missing(user).await?;
        }
        let accepted = data.drafts.edit_known(known, |mut draft| {
            if draft.draft_status == Some(DraftStatus::Ready) {
                draft.accept(now);
                Edit::Save(draft.clone(), Accepted::Item(Box::new(draft)))
            } else if was_accepted_lately(&draft, now) {
                Edit::Keep(Accepted::Item(Box::new(draft)))
            } else {
                Edit::Keep(Accepted::NotReady)
            }
        });
        Ok(accepted.await?.unwrap_or(Accepted::Missing))
    }

    /// Queues the photo of a failed draft again.
    ///
    /// # Errors
    /// When blobs or documents fail.
    pub async fn retry(&self, user: &UserId, item: &ItemId) -> Result<Retried, Error> {
        let (data, blobs) = (&self.0.base.data, &self.0.blobs);
        let Some(known) = data.drafts.find_version(user, item).await? else { return Ok(Retried::Missing) };
        if known.0.draft_status != Some(DraftStatus::Failed) {
            return Ok(Retried::NotFailed);
        }
        let photo = match upload_name(user, item) {
            Some(name) => blobs.store.properties(&blobs.uploads, &name).await?,
            None => None,
        };
        if photo.is_none() {
            return Ok(Retried::PhotoGone);
        }
        let now = self.now();
        let retried = data.drafts.edit_known(known, |mut draft| {
            if draft.draft_status != Some(DraftStatus::Failed) {
                return Edit::Keep(Retried::NotFailed);
            }
            draft.try_again(now);
            Edit::Save(draft.clone(), Retried::Queued(Box::new(draft)))
        });
        let retried = retried.await?.unwrap_or(Retried::Missing);
        if let Retried::Queued(draft) = &retried {
            self.send_or_leave(draft).await;
        }
        Ok(retried)
    }

    /// Sends the message of a dead letter back to its queue, once; its failed draft waits for it.
    ///
    /// # Errors
    /// Like [`DeadLetterService::replay`].
    pub async fn replay(&self, letter: &DeadLetter) -> Result<Replay, dead_letters::Error> {
        if letter.status == DeadLetterStatus::Replayed {
            return Ok(Replay::AlreadyReplayed);
        }
        // The draft first: after a crash before the message is sent, the sweeper sends it.
        if let Ok(message) = read_message::<ImageJobMessage>(&dead_letters::text_of(&letter.payload)?) {
            let now = self.now();
            let reset = self.0.base.data.drafts.edit(&message.user_id, &message.item_id, |found| match found {
                Some(mut draft) if draft.draft_status == Some(DraftStatus::Failed) => {
                    draft.try_again(now);
                    Edit::Save(draft, ())
                }
                Some(_) | None => Edit::Keep(()),
            });
            reset.await?;
        }
        self.0.dead_letters.replay(letter, &self.0.base.config.queues.images.work).await
    }

    /// Sends the message that starts the processing of a draft's photo; if that fails, [`Drafts::requeue_stale`] sends
    /// it later.
    async fn send_or_leave(&self, draft: &DraftItem) {
        if let Err(error) = self.send(draft).await {
            warn!(item.id = %draft.id, error = %Chain(&error), "photo not queued: the sweeper will queue it");
        }
    }

    async fn send(&self, draft: &DraftItem) -> Result<(), Error> {
        let text = serde_json::to_string(&ImageJobMessage::of(draft, self.now()))?;
        let Base { queue, config, .. } = &*self.0.base;
        Ok(queue.send_for(&config.queues.images.work, draft.user_id.as_str(), &text).await?)
    }
}

fn was_accepted_lately(item: &DraftItem, now: Timestamp) -> bool {
    item.draft_status.is_none() && item.accepted_at.is_some_and(|at| at + REPEATABLE > now)
}

/// Returns the id of the draft created by a user's request with this key.
fn id_of_key(user: &UserId, key: &str) -> ItemId {
    let hash = sha256_hex_of([user.as_str().as_bytes(), b"\n", key.as_bytes()]);
    format!("{DRAFT_PREFIX}{}", &hash[..2 * ID_BYTES]).into()
}

fn new_id() -> ItemId {
    let mut bits = [0; ID_BYTES];
    fill(&mut bits).expect("the system has random numbers");
    format!("{DRAFT_PREFIX}{}", hex(&bits)).into()
}
