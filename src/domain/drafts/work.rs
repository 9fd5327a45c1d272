//! Processes a draft: takes its lease, finishes its picture, describes it, and updates its document.

use serde_json::{Value, json};
use tracing::{info, warn};

use super::photo::Unread;
use super::{DraftParts, Drafts};
use crate::base::chain::{Cause, Chain};
use crate::base::text::head;
use crate::blob::Span;
use crate::data::drafts;
use crate::data::lease::{self, Claimed, Decision, Held, Lost, Standing};
use crate::data::update::Edit;
use crate::domain::dead_letters::FailedMessage;
use crate::domain::item_blobs::picture_name;
use crate::domain::media::{self, FinishedPicture, PictureId};
use crate::domain::metadata::Metadata;
use crate::domain::quota::Caller;
use crate::domain::wardrobe::fields::{LONGEST_ELEMENT, LONGEST_TEXT, MOST_ELEMENTS};
use crate::domain::work::WorkError;
use crate::imaging::segment::CutoutMode;
use crate::llm::CallContext;
use crate::model::draft::{DraftItem, DraftStatus, ImageJobMessage, LONGEST_LEASE};
use crate::model::ids::{ItemId, UserId};
use crate::model::vocabulary::{self, Category};
use crate::queue::QueueMessage;

const UNREADABLE: &str = "Unsupported or corrupt image.";
const TOO_LARGE: &str = "The picture is too large.";
const PHOTO_GONE: &str = "The uploaded photo is no longer there.";
/// Reason for failures that a retry may fix.
pub(super) const NOT_PROCESSED: &str = "The picture could not be processed. Please try again.";

/// Outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worked {
    /// The draft is ready.
    Ready,
    /// The photo cannot be processed.
    Failed,
    /// There was nothing to do.
    Nothing,
}

/// Why a photo could not be processed.
enum Fault {
    /// Retries cannot help, for this reason.
    Final(&'static str),
    /// No memory is available at the moment.
    NoRoom,
    /// Another try may succeed.
    Temporary(Cause),
}

impl Fault {
    fn temporary(cause: impl Into<Cause>) -> Self {
        Self::Temporary(cause.into())
    }
}

impl From<Unread> for Fault {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Gone => Self::Final(PHOTO_GONE),
            Unread::TooLarge { .. } => Self::Final(TOO_LARGE),
            Unread::NoRoom => Self::NoRoom,
            Unread::Failed(error) => Self::temporary(error),
        }
    }
}

/// Result of processing a photo.
struct Finished {
    picture: FinishedPicture,
    /// `None` if the model could not describe it.
    metadata: Option<Metadata>,
}

/// How a claim ended.
enum Left {
    /// There is no such item.
    Gone,
    /// The item is not waiting for a worker.
    Settled,
    /// Another worker has the draft.
    Elsewhere,
}

impl QueueMessage for ImageJobMessage {
    fn check(&self) -> Result<(), String> {
        let key = drafts::Drafts::key(&self.user_id, &self.item_id);
        if key.is_valid() { Ok(()) } else { Err("the message does not name a draft".to_owned()) }
    }
}

impl Drafts {
    /// Processes a message. Repeating it changes nothing.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub async fn work(&self, message: &ImageJobMessage) -> Result<Worked, WorkError> {
        let ImageJobMessage { user_id, item_id, .. } = message;
        let held = match self.claim(user_id, item_id).await? {
            Claimed::Ours(held) => held,
            // The previous worker may already have finished its picture.
            Claimed::Left(Left::Gone) => return self.clean_up(user_id, item_id).await,
            Claimed::Left(Left::Settled) => return Ok(Worked::Nothing),
            Claimed::Left(Left::Elsewhere) => return Err(WorkError::HeldElsewhere),
        };
        let draft = held.document();
        match held.keep(self.finish_picture(&draft)).await {
            Ok(Ok(finished)) => self.make_ready(&held, &finished).await,
            Ok(Err(Fault::Final(reason))) => self.fail(&held, reason).await,
            Ok(Err(Fault::NoRoom)) => {
                release(&held).await;
                Err(WorkError::HeldElsewhere)
            }
            Ok(Err(Fault::Temporary(cause))) => {
                release(&held).await;
                Err(WorkError::Failed(cause))
            }
            Err(lost) => self.after_loss(user_id, item_id, lost).await,
        }
    }

    async fn claim(&self, user: &UserId, item: &ItemId) -> Result<Claimed<DraftItem, Left>, WorkError> {
        let leases = self.0.base.data.leases(&self.0.base.clock, LONGEST_LEASE);
        let claimed = leases.claim(drafts::Drafts::key(user, item), |found: Option<DraftItem>, standing| {
            match (found, standing) {
                (None, _) => Decision::Leave(Left::Gone),
                (Some(draft), _) if !draft.is_processing() => Decision::Leave(Left::Settled),
                (Some(_), Standing::Held(_)) => Decision::Leave(Left::Elsewhere),
                (Some(draft), Standing::Free) => Decision::Take(draft),
            }
        });
        Ok(claimed.await?)
    }

    async fn finish_picture(&self, draft: &DraftItem) -> Result<Finished, Fault> {
        let DraftItem { user_id, id, .. } = draft;
        let picture_id: PictureId = id.as_str().parse().map_err(|_| Fault::Final(NOT_PROCESSED))?;
        // Held until the picture is finished.
        let (photo, _charge) = self.photo(Caller::Service, user_id, id).await?;
        let mode = if draft.skip_segmentation { CutoutMode::None } else { CutoutMode::Auto };
        let picture = self.0.media.finish(Some(user_id), &picture_id, photo, mode.into()).await.map_err(fault_of)?;
        Ok(Finished { picture, metadata: self.describe(user_id, id).await? })
    }

    /// Describes the finished picture; `None` if the model gives no usable description.
    async fn describe(&self, user: &UserId, item: &ItemId) -> Result<Option<Metadata>, Fault> {
        let DraftParts { blobs, describer, .. } = &*self.0;
        let name = picture_name(user, item).ok_or(Fault::Final(NOT_PROCESSED))?;
        let found = blobs.store.get(&blobs.archive, &name, Span::Whole).await.map_err(Fault::temporary)?;
        let Some(blob) = found else { return Ok(None) };
        let picture = blob.bytes().await.map_err(Fault::temporary)?.into();
        // Every user who may upload gets a description, at the service's expense rather than from the user's budget.
        match describer.try_describe(&CallContext::service(), picture).await {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.is_temporary() => Err(Fault::temporary(error)),
            Err(error) => {
                warn!(item.id = %item, error = %Chain(&error), "garment not described");
                Ok(None)
            }
        }
    }

    async fn make_ready(&self, held: &Held<DraftItem>, finished: &Finished) -> Result<Worked, WorkError> {
        let now = self.now();
        let written = held.finish(|draft| {
            draft.draft_status = Some(DraftStatus::Ready);
            draft.draft_error = None;
            draft.draft_updated_at = Some(now);
            draft.draft_attempts = 0;
            draft.image_url = Some(finished.picture.url.to_string());
            draft.cutout = finished.picture.cutout.clone();
            if let Some(metadata) = &finished.metadata {
                describe_in(draft, metadata);
            }
        });
        self.settle(held, written.await, Worked::Ready).await
    }

    async fn fail(&self, held: &Held<DraftItem>, reason: &'static str) -> Result<Worked, WorkError> {
        let now = self.now();
        self.settle(held, held.finish(|draft| draft.fail(reason, now)).await, Worked::Failed).await
    }

    async fn settle(
        &self,
        held: &Held<DraftItem>,
        written: Result<DraftItem, lease::Error>,
        worked: Worked,
    ) -> Result<Worked, WorkError> {
        match written {
            Ok(draft) => {
                info!(item.id = %draft.id, outcome = ?worked, "draft processed");
                Ok(worked)
            }
            Err(lease::Error::Lost) => {
                let draft = held.document();
                self.after_loss(&draft.user_id, &draft.id, Lost).await
            }
            Err(lease::Error::Data(error)) => Err(error.into()),
        }
    }

    /// Checks the state of a draft whose lease was lost during processing.
    async fn after_loss(&self, user: &UserId, item: &ItemId, lost: Lost) -> Result<Worked, WorkError> {
        match self.0.base.data.drafts.find(user, item).await? {
            None => self.clean_up(user, item).await,
            Some(draft) if !draft.is_processing() => Ok(Worked::Nothing),
            Some(_) => Err(WorkError::Failed(lost.into())),
        }
    }

    /// Deletes the blobs of a draft that its owner has deleted.
    async fn clean_up(&self, user: &UserId, item: &ItemId) -> Result<Worked, WorkError> {
        let deleted = self.0.blobs.delete_all(user, item, None).await;
        deleted.map_err(|error| WorkError::Failed(error.into()))?;
        Ok(Worked::Nothing)
    }

    /// Marks the draft of a message that failed for good, and stores the message as a dead letter of `queue`.
    ///
    /// # Errors
    /// [`WorkError::HeldElsewhere`] while a worker has the draft; when documents fail. The message must then stay in
    /// its queue.
    pub async fn give_up(
        &self,
        message: &ImageJobMessage,
        failed: FailedMessage,
        queue: &str,
    ) -> Result<(), WorkError> {
        let now = self.now();
        let marked = self.0.base.data.drafts.edit(&message.user_id, &message.item_id, |found| match found {
            Some(draft) if draft.is_processing() && draft.is_leased(now) => Edit::Keep(Err(WorkError::HeldElsewhere)),
            Some(mut draft) if draft.is_processing() => {
                draft.fail(NOT_PROCESSED, now);
                Edit::Save(draft, Ok(()))
            }
            Some(_) | None => Edit::Keep(Ok(())),
        });
        marked.await??;
        self.0.dead_letters.keep(failed, queue).await.map_err(|error| WorkError::Failed(error.into()))
    }
}

/// Releases the lease, so that the next delivery can take it at once.
async fn release(held: &Held<DraftItem>) {
    match held.release().await {
        Ok(()) | Err(lease::Error::Lost) => {}
        Err(error) => warn!(error = %Chain(&error), "lease of a draft not released"),
    }
}

fn fault_of(error: media::Error) -> Fault {
    match error {
        media::Error::Unreadable(_) => Fault::Final(UNREADABLE),
        media::Error::TooLarge(_) => Fault::Final(TOO_LARGE),
        media::Error::OtherPicture | media::Error::NoNetwork => Fault::Final(NOT_PROCESSED),
        media::Error::Busy => Fault::NoRoom,
        media::Error::Segmentation { .. }
        | media::Error::Conversion(_)
        | media::Error::Upload(_)
        | media::Error::Broken(_) => Fault::temporary(error),
    }
}

/// Copies the model's description into a draft, as far as an owner may write it.
fn describe_in(draft: &mut DraftItem, metadata: &Metadata) {
    let Metadata { brand, category, tags, colours } = metadata;
    let brand = brand.as_deref().map(|brand| head(brand, LONGEST_TEXT));
    let category = category.as_deref().map(|category| head(&category_for_people(category), LONGEST_TEXT));
    let tags: Vec<String> = tags.iter().take(MOST_ELEMENTS).map(|tag| head(tag, LONGEST_ELEMENT)).collect();
    let colours = colours.iter().take(MOST_ELEMENTS);
    let colours: Vec<Value> =
        colours.map(|it| json!({ "name": head(&it.name, LONGEST_ELEMENT), "hex": it.hex })).collect();
    let described: [(&str, Value); 4] =
        [("brand", json!(brand)), ("category", json!(category)), ("tags", json!(tags)), ("colours", json!(colours))];
    for (field, value) in described {
        if value.is_null() {
            draft.other.remove(field)
        } else {
            draft.other.insert(field.to_owned(), value)
        };
    }
}

/// Returns the category in the clients' spelling if they have a size control for it; otherwise the text.
fn category_for_people(text: &str) -> String {
    if vocabulary::folded_words(text).iter().any(|word| UNDERWEAR.contains(&word.as_str())) {
        return "Underwear".to_owned();
    }
    let known = Category::of_text(text).map(|category| match category {
        Category::Tops => "Tops",
        Category::Bottoms => "Bottoms",
        Category::Outerwear => "Outerwear",
        Category::Shoes => "Footwear",
        Category::Accessories => "Accessories",
        Category::Dresses => "Dresses",
        Category::Knitwear => "Knitwear",
        Category::Activewear => "Activewear",
        Category::Swimwear => "Swimwear",
    });
    known.unwrap_or(text).to_owned()
}

/// Words for underwear, as folded by [`vocabulary::fold_plural`]. Search and advice have no separate category for it.
const UNDERWEAR: [&str; 7] = ["underwear", "bra", "bralette", "lingerie", "boxer", "brief", "underpant"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue;

    #[test]
    fn categories_are_those_of_the_clients() {
        for (text, category) in [
            ("sneakers", "Footwear"),
            ("Denim jacket", "Outerwear"),
            ("T-Shirt", "Tops"),
            ("wool sweater", "Knitwear"),
            ("boxer briefs", "Underwear"),
            ("sports bra", "Underwear"),
            ("Kimono", "Kimono"),
        ] {
            assert_eq!(category_for_people(text), category, "{text}");
        }
    }

    #[test]
    fn a_message_names_a_draft() {
        let read = queue::read_message::<ImageJobMessage>;
        let message = read(r#"{"itemId":"upload-1","userId":"ada","attempt":1,"skipSegmentation":true}"#).unwrap();
        assert_eq!((message.item_id.as_str(), message.skip_segmentation), ("upload-1", true));
        for bad in ["", "{}", r#"{"itemId":"a/b","userId":"ada"}"#, r#"{"itemId":"a","userId":""}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
