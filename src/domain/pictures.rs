//! Pictures by URL. The service's own pictures are read from its blob store, since their URLs may be relative or
//! unreachable; others are fetched with the guarded client.
//!
//! URLs are stored as they were when the picture was saved, without a signature. [`Pictures::shown`] returns the
//! current one, signed where the store wants that: the port may have changed, or the base address. Wardrobe items may
//! show fewer pictures ([`Pictures::of_item`]), since their URLs can come from a client.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock::Clock;
use crate::base::deadline::{self, Elapsed};
use crate::blob::{self, Blob, BlobName, ContainerName, Span};
use crate::domain::item_blobs::{ItemBlobs, is_own, is_picture_of};
use crate::model::ids::{ItemId, UserId};
use crate::net::guarded::{Expect, FetchError, FetchLimits, GuardedClient};

/// A picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Media type in lower case, without parameters.
    pub media_type: String,
    /// Contents of the file.
    pub bytes: Bytes,
}

/// Why a picture is not available.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The picture could not be fetched.
    #[error("the picture could not be fetched")]
    Fetch(#[source] FetchError),
    /// The URL is in our store, which has no such blob.
    #[error("the store has no such picture")]
    Missing,
    /// The blob is not a picture.
    #[error("the picture in the store has another type: {got}")]
    OtherContent {
        /// Media type of the file.
        got: String,
    },
    /// The file exceeds the limit.
    #[error("the picture is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The store failed.
    #[error("the picture could not be read from the store")]
    Store(#[source] blob::Error),
    /// The store did not answer in time.
    #[error("the picture was not read from the store in time")]
    TimedOut(#[source] Elapsed),
}

impl Error {
    /// Whether another attempt may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_temporary(),
            Self::Store(error) => matches!(error, blob::Error::Unavailable(_)),
            Self::TimedOut(_) => true,
            Self::Missing | Self::OtherContent { .. } | Self::TooLarge { .. } => false,
        }
    }
}

/// Reads pictures. Cheap to clone.
#[derive(Clone)]
pub struct Pictures {
    web: Arc<GuardedClient>,
    blobs: ItemBlobs,
    clock: Arc<dyn Clock>,
}

impl Pictures {
    /// Reads pictures in the archive of `blobs` from there, and others with `web`.
    pub fn new(web: Arc<GuardedClient>, blobs: ItemBlobs, clock: Arc<dyn Clock>) -> Self {
        Self { web, blobs, clock }
    }

    /// Reads the picture at `address`, within `limits`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, address: &str, limits: FetchLimits) -> Result<Picture, Error> {
        let Some(name) = self.blobs.in_archive(address) else {
            let fetched = self.web.get(address, Expect::Image, limits).await.map_err(Error::Fetch)?;
            return Ok(Picture { media_type: essence(&fetched.content_type), bytes: fetched.body });
        };
        let read = async {
            let blob = self.blobs.store.get(&self.blobs.archive, &name, Span::Whole).await.map_err(Error::Store)?;
            read(blob.ok_or(Error::Missing)?, limits.size_bytes).await
        };
        deadline::within(limits.time, read).await.map_err(Error::TimedOut)?
    }

    /// Reads the picture of a wardrobe item with this stored URL. A blob that does not belong to the item is not read.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_of_item(
        &self,
        user: &UserId,
        item: &ItemId,
        address: &str,
        limits: FetchLimits,
    ) -> Result<Picture, Error> {
        match self.blobs.store.locate(address) {
            Some((container, name)) if !self.is_its_own(user, item, &container, &name) => Err(Error::Missing),
            _ => self.get(address, limits).await,
        }
    }

    fn is_its_own(&self, user: &UserId, item: &ItemId, container: &ContainerName, name: &BlobName) -> bool {
        *container == self.blobs.archive && (is_picture_of(user, item, name) || is_own(user, name))
    }

    /// Returns the current URL, for browsers, of the picture with this stored URL. Do not store it.
    pub fn shown(&self, address: String) -> String {
        match self.blobs.in_archive(&address) {
            Some(name) => self.show(&name),
            None => address,
        }
    }

    /// Returns the current URL, for browsers, of a wardrobe item's picture with this stored URL. A blob that does not
    /// belong to the item is not signed: its URL is treated like a foreign one.
    pub fn of_item(&self, user: &UserId, item: &ItemId, address: String) -> String {
        let Some((container, name)) = self.blobs.store.locate(&address) else { return address };
        if self.is_its_own(user, item, &container, &name) {
            self.show(&name)
        } else {
            self.blobs.store.public_url(&container, &name).into()
        }
    }

    fn show(&self, name: &BlobName) -> String {
        self.blobs.store.shown_url(&self.blobs.archive, name, self.clock.now()).into()
    }
}

async fn read(blob: Blob, limit_bytes: usize) -> Result<Picture, Error> {
    let media_type = essence(&blob.properties.content_type);
    if !media_type.starts_with("image/") {
        return Err(Error::OtherContent { got: media_type });
    }
    if blob.properties.size > limit_bytes as u64 {
        return Err(Error::TooLarge { limit_bytes });
    }
    Ok(Picture { media_type, bytes: blob.bytes().await.map_err(Error::Store)?.into() })
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
