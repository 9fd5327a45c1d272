//! Reads uploaded photos when there is memory for them.

use std::time::Duration;

use bytes::Bytes;

use super::{DraftParts, Drafts};
use crate::blob::{self, Span};
use crate::domain::item_blobs::upload_name;
use crate::domain::media::LARGEST_FILE;
use crate::domain::quota::Caller;
use crate::domain::quota::body_memory::{Charge, NoRoom};
use crate::model::ids::{ItemId, UserId};

/// How long a photo waits for memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a photo was not read.
pub(super) enum Unread {
    /// The photo does not exist (any more).
    Gone,
    /// The photo exceeds the size limit.
    TooLarge {
        /// Size of the photo.
        bytes: usize,
    },
    /// No memory became available in time.
    NoRoom,
    /// The blobs failed.
    Failed(blob::Error),
}

impl Drafts {
    /// Reads the photo of an item, charging its memory to `caller` until the charge is dropped.
    pub(super) async fn photo(&self, caller: Caller, user: &UserId, item: &ItemId) -> Result<(Bytes, Charge), Unread> {
        let DraftParts { blobs, memory, .. } = &*self.0;
        let name = upload_name(user, item).ok_or(Unread::Gone)?;
        let found = blobs.store.get(&blobs.uploads, &name, Span::Whole).await.map_err(Unread::Failed)?;
        let blob = found.ok_or(Unread::Gone)?;
        let bytes = usize::try_from(blob.properties.size).unwrap_or(usize::MAX);
        if bytes > LARGEST_FILE {
            return Err(Unread::TooLarge { bytes });
        }
        let charge = memory.charge(caller);
        charge.take(bytes, &mut PATIENCE.clone()).await.map_err(|refusal| match refusal {
            NoRoom::TooLarge => Unread::TooLarge { bytes },
            NoRoom::TimedOut => Unread::NoRoom,
        })?;
        Ok((blob.bytes().await.map_err(Unread::Failed)?.into(), charge))
    }
}
