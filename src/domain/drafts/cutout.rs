//! Recreates an item's picture from its photo, cut out in another way.
//!
//! Each picture gets a new name, because browsers cache pictures by URL; a replaced picture is never shown again, so it
//! is deleted at once.

use tracing::{info, warn};

use super::photo::Unread;
use super::{DraftParts, Drafts, Error};
use crate::base::chain::Chain;
use crate::blob::{self, Properties};
use crate::data;
use crate::data::update::Edit;
use crate::domain::item_blobs::{new_picture_name, upload_name};
use crate::domain::media::{self, LARGEST_FILE};
use crate::domain::quota::Caller;
use crate::imaging;
use crate::imaging::segment::CutoutOptions;
use crate::model::draft::{Cutout, DraftItem, DraftStatus};
use crate::model::ids::{ItemId, UserId};

/// The pictures of an item.
#[derive(Debug)]
pub struct ItemPictures {
    /// URL of the current picture, as stored.
    pub image_url: Option<String>,
    /// The photo that it was made from, if it still exists.
    pub photo: Option<Properties>,
    /// How it was cut out, if known.
    pub cutout: Option<Cutout>,
}

/// Why a picture was not recreated.
#[derive(Debug, thiserror::Error)]
pub enum CutoutError {
    /// The user has no such item.
    #[error("there is no such item")]
    Missing,
    /// The item is a draft without a finished picture.
    #[error("the draft has no finished picture")]
    Unfinished,
    /// The item has no photo, or its photo was deleted.
    #[error("there is no photo of the item")]
    NoPhoto,
    /// The picture could not be created or stored.
    #[error("the picture was not created")]
    Picture(#[from] media::Error),
    /// Documents or blobs failed.
    #[error("the item could not be read or written")]
    Failed(#[from] Error),
}

impl From<data::Error> for CutoutError {
    fn from(error: data::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<blob::Error> for CutoutError {
    fn from(error: blob::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Unread> for CutoutError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Gone => Self::NoPhoto,
            Unread::TooLarge { bytes } => Self::Picture(imaging::Error::TooLarge { bytes, limit: LARGEST_FILE }.into()),
            Unread::NoRoom => Self::Picture(media::Error::Busy),
            Unread::Failed(error) => error.into(),
        }
    }
}

/// Outcome of updating an item whose picture was recreated.
enum Replaced {
    /// The item shows the new picture instead of the one at `before`.
    Done {
        item: Box<DraftItem>,
        before: Option<String>,
    },
    Unfinished,
    Missing,
}

fn is_finished(item: &DraftItem) -> bool {
    matches!(item.draft_status, None | Some(DraftStatus::Ready))
}

impl Drafts {
    /// Returns an item's pictures; `None` if the user has no such item.
    ///
    /// # Errors
    /// When documents or blobs fail.
    pub async fn pictures(&self, user: &UserId, item: &ItemId) -> Result<Option<ItemPictures>, Error> {
        let DraftParts { base, blobs, .. } = &*self.0;
        let Some(found) = base.data.drafts.find(user, item).await? else { return Ok(None) };
        let photo = match upload_name(user, item) {
            Some(name) => blobs.store.properties(&blobs.uploads, &name).await?,
            None => None,
        };
        Ok(Some(ItemPictures { image_url: found.image_url, photo, cutout: found.cutout }))
    }

    /// Recreates an item's picture from its photo, and deletes the replaced one.
    ///
    /// # Errors
    /// See [`CutoutError`]. The item then still shows its old picture.
    pub async fn cut_out_again(
        &self,
        user: &UserId,
        item: &ItemId,
        options: CutoutOptions,
    ) -> Result<DraftItem, CutoutError> {
        let DraftParts { base, blobs, media, .. } = &*self.0;
        let known = base.data.drafts.find_version(user, item).await?.ok_or(CutoutError::Missing)?;
        if !is_finished(&known.0) {
            return Err(CutoutError::Unfinished);
        }
        let name = new_picture_name(user, item).ok_or(CutoutError::NoPhoto)?;
        let (photo, charge) = self.photo(Caller::User(user.clone()), user, item).await?;
        let (picture, cutout) = media.cut_out(photo, options).await?;
        drop(charge);
        blobs.store.put(&blobs.archive, &name, picture).await?;
        let url = blobs.store.public_url(&blobs.archive, &name).to_string();
        let replaced = base.data.drafts.edit_known(known, |mut item| {
            if !is_finished(&item) {
                return Edit::Keep(Replaced::Unfinished);
            }
            let before = item.image_url.replace(url.clone());
            item.cutout = Some(cutout.clone());
            Edit::Save(item.clone(), Replaced::Done { item: Box::new(item), before })
        });
        let (outcome, unused) = match replaced.await?.unwrap_or(Replaced::Missing) {
            Replaced::Done { item, before } => {
                info!(item.id = %item.id, cutout.mode = cutout.mode, cutout.by = cutout.by, cutout.confidence, "picture recreated");
                (Ok(*item), before)
            }
            Replaced::Unfinished => (Err(CutoutError::Unfinished), Some(url)),
            Replaced::Missing => (Err(CutoutError::Missing), Some(url)),
        };
        if let Some(unused) = unused
            && let Err(error) = blobs.delete_replaced(user, item, &unused).await
        {
            warn!(
                item.id = %item,
                error = %Chain(&error),
                "replaced picture not deleted: the orphan timer will delete it"
            );
        }
        outcome
    }
}
