//! Finished pictures: an upload without its background, as WebP, kept once under the id that its sender chose.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info};
use url::Url;
use uuid::Uuid;

use crate::blob::{self, BlobName, BlobStore, ContainerName, Put};
use crate::imaging;
use crate::imaging::pipeline::Pipeline;

/// Type of every finished picture.
pub const MEDIA_TYPE: &str = "image/webp";
/// Ends the names of finished pictures.
const SUFFIX: &str = "-transparent.webp";
const LONGEST_ID: usize = 128;
/// Characters of an id that is made of a file's name: a hyphen and eight digits come after them.
const LONGEST_STEM: usize = LONGEST_ID - 9;
const DIGITS: usize = 8;
/// Memory for the files of uploads that are read or wait, per thread that works on pictures, in bytes.
const WAITING_BYTES_PER_THREAD: usize = 24 * 1024 * 1024;
/// What one permit stands for.
const PERMIT_BYTES: usize = 1024;

/// Why a picture was not finished. What it says is for callers to read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It is none that we can read.
    #[error("Unsupported or corrupt image.")]
    Unreadable(#[source] Arc<imaging::Error>),
    /// It has too many bytes or pixels.
    #[error("the picture is too large")]
    TooLarge(#[source] Arc<imaging::Error>),
    /// Too many others are waiting.
    #[error("too many pictures are waiting")]
    Busy,
    /// Its background could not be removed.
    #[error("Image segmentation failed: {reason}")]
    Segmentation {
        /// Why, in plain words.
        reason: String,
        /// The same, as it was.
        #[source]
        cause: Arc<imaging::Error>,
    },
    /// It could not be written as WebP.
    #[error("WebP conversion failed: the picture cannot be encoded")]
    Conversion(#[source] Arc<imaging::Error>),
    /// It could not be kept.
    #[error("Failed to upload image: {0}")]
    Upload(#[source] Arc<blob::Error>),
    /// The work broke: a bug.
    #[error("the work on the picture broke")]
    Broken(#[source] Arc<dyn StdError + Send + Sync>),
}

impl From<imaging::Error> for Error {
    fn from(error: imaging::Error) -> Self {
        use imaging::Error::{Broken, Busy, Corrupt, Encoding, Segmentation, TooLarge, TooManyPixels, Unsupported};
        match error {
            Unsupported(_) | Corrupt(_) => Self::Unreadable(Arc::new(error)),
            TooManyPixels { .. } | TooLarge { .. } => Self::TooLarge(Arc::new(error)),
            Busy => Self::Busy,
            Segmentation(ref cause) => Self::Segmentation { reason: cause.to_string(), cause: Arc::new(error) },
            Encoding(_) => Self::Conversion(Arc::new(error)),
            Broken => Self::Broken(Arc::new(error)),
        }
    }
}

/// Names a finished picture: 1 to 128 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`, but not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PictureId(String);

/// A text that does not name a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadId;

impl FromStr for PictureId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let fits =
            (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(is_id_byte) && !matches!(text, "." | "..");
        fits.then(|| Self(text.to_owned())).ok_or(BadId)
    }
}

impl PictureId {
    /// A new one that begins with the name of the file, as far as that fits.
    pub fn for_file(file_name: Option<&str>) -> Self {
        let file = file_name.unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let fit = |character: char| if character.is_ascii() && is_id_byte(character as u8) { character } else { '-' };
        let stem: String = stem.chars().map(fit).take(LONGEST_STEM).collect();
        let stem = if stem.trim_matches(['-', '.']).is_empty() { "image" } else { &stem };
        let digits = Uuid::new_v4().simple().to_string();
        Self(format!("{stem}-{}", &digits[..DIGITS]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn blob(&self) -> BlobName {
        format!("{}{SUFFIX}", self.0).parse().expect("an id has only what a name may have, and an end that is no dot")
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// A share of the memory for uploads, given back when it is dropped.
pub struct Room(OwnedSemaphorePermit);

impl Room {
    /// The file that was read into it. What it does not fill is given back now, the rest when the last copy of the file is
    /// dropped.
    pub fn hold(mut self, file: Bytes) -> Bytes {
        let beyond = self.0.num_permits().saturating_sub(file.len().div_ceil(PERMIT_BYTES));
        drop(self.0.split(beyond));
        Bytes::from_owner(Held { file, _room: self })
    }
}

struct Held {
    file: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.file
    }
}

/// What [`Media`] is made of.
pub struct Parts {
    /// The steps of the work.
    pub pipeline: Pipeline,
    /// Where finished pictures are kept.
    pub blobs: Arc<dyn BlobStore>,
    /// Which of the store's containers.
    pub container: ContainerName,
    /// Work that outlives its request.
    pub tasks: TaskTracker,
}

type Finishing = Shared<BoxFuture<'static, Result<Url, Error>>>;

/// Makes finished pictures. Cheap to clone.
#[derive(Clone)]
pub struct Media(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// Pictures that are being finished, by id.
    in_work: Mutex<HashMap<PictureId, Finishing>>,
    room: Arc<Semaphore>,
    all_room: usize,
}

impl Media {
    /// Uses these parts.
    pub fn new(parts: Parts) -> Self {
        let all_room = parts.pipeline.threads() * WAITING_BYTES_PER_THREAD / PERMIT_BYTES;
        let room = Arc::new(Semaphore::new(all_room));
        Self(Arc::new(Inner { parts, in_work: Mutex::new(HashMap::new()), room, all_room }))
    }

    /// Who removes the backgrounds.
    pub fn segmenter(&self) -> &str {
        self.0.parts.pipeline.segmenter().name()
    }

    /// Waits for room for an upload of so many bytes. Taken before the first of them is read, so that however many come,
    /// only a bounded part of them is in memory.
    ///
    /// # Errors
    /// [`Error::Busy`] if the service is stopping.
    pub async fn room(&self, bytes: usize) -> Result<Room, Error> {
        let permits = bytes.div_ceil(PERMIT_BYTES).min(self.0.all_room);
        let permits = u32::try_from(permits).map_err(|_| Error::Busy)?;
        self.0.room.clone().acquire_many_owned(permits).await.map(Room).map_err(|_| Error::Busy)
    }

    /// The address of a picture that is finished already.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn find(&self, id: &PictureId) -> blob::Result<Option<Url>> {
        let Parts { blobs, container, .. } = &self.0.parts;
        let name = id.blob();
        Ok(blobs.properties(container, &name).await?.map(|_| blobs.public_url(container, &name)))
    }

    /// Finishes a picture and returns its address; of one that is finished already, the address alone. Those who ask for
    /// one id at the same time wait for the same work, which goes on when the first of them leaves. A failure is theirs
    /// alone: whoever comes after it tries anew.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn finish(&self, id: PictureId, file: Bytes) -> Result<Url, Error> {
        let finishing = {
            let mut in_work = self.0.in_work.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever only waits gives its file and its room back here.
            in_work.entry(id.clone()).or_insert_with(|| self.begin(id, file)).clone()
        };
        finishing.await
    }

    fn begin(&self, id: PictureId, file: Bytes) -> Finishing {
        let media = self.clone();
        let work = async move {
            let _leaves = Leaves { media: &media, id: &id };
            media.work(&id, file).await
        };
        let task = self.0.parts.tasks.spawn(work.in_current_span());
        async move { task.await.unwrap_or_else(|error| Err(Error::Broken(Arc::new(error)))) }.boxed().shared()
    }

    async fn work(&self, id: &PictureId, file: Bytes) -> Result<Url, Error> {
        let Parts { blobs, container, pipeline, .. } = &self.0.parts;
        // Whoever worked on it before may have ended between the caller's look and this one.
        if let Some(url) = self.find(id).await.map_err(kept)? {
            return Ok(url);
        }
        let size = file.len();
        let finished = pipeline.process(file).await?;
        info!(
            picture.id = id.as_str(),
            segmenter = self.segmenter(),
            size_bytes = size,
            webp_bytes = finished.webp.len(),
            width = finished.width,
            height = finished.height,
            transparent_share = finished.transparent_share,
            kept_whole = finished.kept_whole.map(|reason| reason.to_string()),
            "picture finished"
        );
        let name = id.blob();
        // Another process may have been quicker; its picture is as good.
        let (Put::Created | Put::Exists) = blobs.put_if_absent(container, &name, finished.webp).await.map_err(kept)?;
        Ok(blobs.public_url(container, &name))
    }
}

fn kept(error: blob::Error) -> Error {
    Error::Upload(Arc::new(error))
}

/// Takes a picture off the list when the work on it ends, in whatever way.
struct Leaves<'a> {
    media: &'a Media,
    id: &'a PictureId,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.media.0.in_work.lock().unwrap_or_else(PoisonError::into_inner).remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_the_contract_says() {
        for good in ["a", "coat-1.v2_B", "...", &"a".repeat(128)] {
            assert_eq!(good.parse::<PictureId>().map(|id| id.0), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "é", "a b", "a%2Fb", &"a".repeat(129)] {
            assert_eq!(bad.parse::<PictureId>(), Err(BadId), "{bad}");
        }
    }

    #[test]
    fn new_ids_begin_with_the_name_of_the_file() {
        let long = "x".repeat(300);
        for (file, stem) in [
            (Some("coat.front.jpg"), "coat.front"),
            (Some("C:\\photos\\my coat.JPG"), "my-coat"),
            (Some("../../etc/passwd"), "passwd"),
            (Some("日本.jpg"), "image"),
            (Some(".jpg"), "image"),
            (Some(long.as_str()), &long[..119]),
            (None, "image"),
        ] {
            let id = PictureId::for_file(file);
            let (start, digits) = id.as_str().rsplit_once('-').unwrap();
            assert_eq!(start, stem);
            assert!(digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digits}");
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
        }
    }
}
