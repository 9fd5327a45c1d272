//! Ownership of blobs by wardrobe items. An item's document refers to its picture by URL, and documents come from
//! clients and imports, so a URL alone gives no right to a blob. The blob's name determines its owner:
//!
//! | container | name | what |
//! |---|---|---|
//! | archive | `<hash of the user id>/<item>-transparent.webp` | the finished picture |
//! | archive | `<hash of the user id>/<item>/<16 hex>-transparent.webp` | a recreated picture |
//! | archive | `<item>-transparent.webp`, `.png` | the finished picture, as other services named it |
//! | archive | `<user>/<item>` | the finished picture, as other services named one that was cut out before |
//! | uploads | `<user>/<item>`, or the hash of a user id that cannot be a name | the photo as it was uploaded |

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use getrandom::fill;

use crate::base::hash::hex;
use crate::blob::{self, BlobName, BlobStore, ContainerName};
use crate::domain::media::{self, PictureId};
use crate::model::ids::{ItemId, UserId};

/// Suffixes of finished pictures.
const SUFFIXES: [&str; 2] = [media::SUFFIX, "-transparent.png"];
/// Prefix of the ids of drafts created from an upload.
pub const DRAFT_PREFIX: &str = "upload-";
const DRAFT_DIGITS: usize = 32;

/// Returns the name of the photo of an item; `None` if it would be invalid. An id of a user that cannot
/// be a directory is hashed.
pub fn upload_name(user: &UserId, item: &ItemId) -> Option<BlobName> {
    // A directory that makes an invalid name is replaced by its hash.
    let name = |directory: &str| format!("{directory}/{item}").parse().ok();
    name(user.as_str()).or_else(|| name(&media::directory(user)))
}

/// Returns the name of the picture that this service creates for an item; `None` if it would be invalid.
pub fn picture_name(user: &UserId, item: &ItemId) -> Option<BlobName> {
    Some(media::blob_name(Some(user), &item.as_str().parse::<PictureId>().ok()?))
}

/// Returns a new name for a recreated picture of an item; `None` if it would be invalid.
pub fn new_picture_name(user: &UserId, item: &ItemId) -> Option<BlobName> {
    let mut bits = [0; 8];
    fill(&mut bits).expect("the system has random numbers");
    format!("{}/{item}/{}{}", media::directory(user), hex(&bits), SUFFIXES[0]).parse().ok()
}

/// Whether a blob of the archive is a picture of this user's item.
pub fn is_picture_of(user: &UserId, item: &ItemId, name: &BlobName) -> bool {
    Named::of(name).is_some_and(|named| named.item == *item && named.may_be_of(user))
}

/// Whether the name of an archive blob contains this user, not only an item.
pub fn is_named_after(user: &UserId, name: &BlobName) -> bool {
    Named::of(name).is_some_and(|named| named.directory.is_some() && named.may_be_of(user))
}

/// Whether a blob of the archive lies in the user's own directory, where only they and this service put pictures.
pub fn is_own(user: &UserId, name: &BlobName) -> bool {
    name.strip_prefix(&media::directory(user)).is_some_and(|rest| rest.starts_with('/'))
}

/// The item that a blob belongs to, according to its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The item.
    pub item: ItemId,
    /// The user, or the hash of their id; `None` if the name has neither.
    directory: Option<String>,
    /// Whether it is a recreated picture, which only items have.
    is_remade: bool,
}

impl Named {
    /// Parses the name; `None` if it is not the name of an item's picture.
    pub fn of(name: &BlobName) -> Option<Self> {
        let mut segments = name.segments();
        let (first, second, third) = (segments.next()?, segments.next(), segments.next());
        if segments.next().is_some() {
            return None;
        }
        let stem = |file: &str| SUFFIXES.iter().find_map(|suffix| file.strip_suffix(suffix)).map(str::to_owned);
        let (item, directory) = match (second, third) {
            (None, _) => (stem(first)?, None),
            (Some(file), None) => (stem(file).unwrap_or_else(|| file.to_owned()), Some(first.to_owned())),
            (Some(item), Some(file)) => {
                stem(file).filter(|_| media::is_directory(first))?;
                (item.to_owned(), Some(first.to_owned()))
            }
        };
        let is_remade = third.is_some();
        (!item.is_empty()).then(|| Self { item: item.into(), directory, is_remade })
    }

    /// Parses the name of an uploaded blob; `None` if it is not the name of a photo.
    pub fn of_photo(name: &BlobName) -> Option<Self> {
        let mut segments = name.segments();
        let (user, item) = (segments.next()?, segments.next()?);
        segments.next().is_none().then(|| Self {
            item: item.into(),
            directory: Some(user.to_owned()),
            is_remade: false,
        })
    }

    /// Whether the blob may belong to this user.
    pub fn may_be_of(&self, user: &UserId) -> bool {
        self.directory
            .as_deref()
            .is_none_or(|directory| directory == user.as_str() || directory == media::directory(user))
    }

    /// Whether the blob is useless without the item. Users' directories also contain pictures made for other purposes;
    /// among those, only pictures of drafts certainly belong to items.
    pub fn is_of_items_alone(&self) -> bool {
        self.is_remade
            || self.directory.as_deref().is_none_or(|directory| !media::is_directory(directory))
            || is_draft_id(&self.item)
    }
}

fn is_draft_id(item: &ItemId) -> bool {
    let digits = item.as_str().strip_prefix(DRAFT_PREFIX).unwrap_or_default();
    digits.len() == DRAFT_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The blobs of wardrobe items. Cheap to clone.
#[derive(Clone)]
pub struct ItemBlobs {
    /// The store.
    pub store: Arc<dyn BlobStore>,
    /// The container of finished pictures.
    pub archive: ContainerName,
    /// The container of uploaded photos.
    pub uploads: ContainerName,
}

impl ItemBlobs {
    /// Returns the archive blob that a URL refers to.
    pub fn in_archive(&self, address: &str) -> Option<BlobName> {
        let (container, name) = self.store.locate(address)?;
        (container == self.archive).then_some(name)
    }

    /// Deletes the picture at a URL that an item no longer shows, if it belongs to the item.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_replaced(&self, user: &UserId, item: &ItemId, url: &str) -> blob::Result<()> {
        let shown = self.in_archive(url).filter(|name| is_picture_of(user, item, name) && is_named_after(user, name));
        match shown {
            Some(name) => self.store.delete(&self.archive, &name).await.map(drop),
            None => Ok(()),
        }
    }

    /// Deletes the blobs of a deleted item: its photo, the picture made from it, and the one at `image_url` if it
    /// belongs to the item and its name contains the owner. Tries all of them.
    ///
    /// A picture without a user in its name may belong to another user's item with the same id. It is left to
    /// [`Drafts::delete_blobs`](super::drafts::Drafts::delete_blobs), which looks for such items.
    ///
    /// # Errors
    /// The last failure.
    pub async fn delete_all(&self, user: &UserId, item: &ItemId, image_url: Option<&str>) -> blob::Result<()> {
        let shown = image_url.and_then(|url| self.in_archive(url));
        let shown = shown.filter(|name| is_picture_of(user, item, name) && is_named_after(user, name));
        let pictures = [picture_name(user, item), shown].into_iter().flatten().map(|name| (&self.archive, name));
        let all = pictures.chain(upload_name(user, item).map(|name| (&self.uploads, name)));
        let outcomes =
            stream::iter(all).then(|(container, name)| async move { self.store.delete(container, &name).await });
        outcomes.fold(Ok(()), async |last, outcome| outcome.map(drop).and(last)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BlobName {
        text.parse().unwrap()
    }

    #[test]
    fn a_blob_belongs_to_the_item_in_its_name() {
        let (ada, coat) = (UserId::from("ada"), ItemId::from("coat"));
        // The start of the SHA-256 of "ada".
        for own in [
            "fdee430d40bd57de/coat-transparent.webp",
            "coat-transparent.webp",
            "coat-transparent.png",
            "ada/coat",
            "fdee430d40bd57de/coat/0123-transparent.webp",
        ] {
            assert!(is_picture_of(&ada, &coat, &name(own)), "{own}");
        }
        for foreign in [
            "fdee430d40bd57de/hat-transparent.webp",
            "0000000000000000/coat-transparent.webp",
            "hat-transparent.webp",
            "coat",
            "coat.webp",
            "eve/coat",
            "ada/coat/1",
            "ada/coat/1-transparent.webp",
            "fdee430d40bd57de/hat/1-transparent.webp",
            "fdee430d40bd57de/coat/1",
            "ada/x/coat-transparent.webp",
            "coat-transparent.webp/x",
        ] {
            assert!(!is_picture_of(&ada, &coat, &name(foreign)), "{foreign}");
        }
    }

    #[test]
    fn only_what_is_an_item_s_for_certain_can_be_an_orphan() {
        let draft = format!("upload-{}", "0a".repeat(16));
        let certain = |text: &str| Named::of(&name(text)).is_some_and(|named| named.is_of_items_alone());
        assert!(certain("coat-transparent.webp") && certain("ada/coat"));
        assert!(certain(&format!("fdee430d40bd57de/{draft}-transparent.webp")));
        assert!(!certain("fdee430d40bd57de/coat-transparent.webp"));
        assert!(!certain("demo/feed/coat.webp") && !certain("notes.txt"));
    }
}
