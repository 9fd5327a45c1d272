//! Finished pictures: uploads without background, as WebP, stored once under an id that the sender chose.
//!
//! Each user has a namespace of ids: `<hash of the user id>/<id>-transparent.webp`. Services share one, without the
//! directory.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tracing::{Instrument, info};
use url::Url;

use crate::base::hash::{hex, sha256_hex};
use crate::blob::{self, BlobName, BlobStore, ContainerName, Put, SourceHash};
use crate::domain::base::Base;
use crate::domain::wear::round;
use crate::imaging;
use crate::imaging::pipeline::{Pipeline, Processed};
use crate::imaging::segment::{CutoutMode, CutoutOptions};
use crate::model::draft::Cutout;
use crate::model::ids::UserId;

/// Largest file that is accepted, in bytes.
pub const LARGEST_FILE: usize = 20 * 1024 * 1024;
/// Media type of finished pictures.
pub const MEDIA_TYPE: &str = "image/webp";
/// Suffix of the names of finished pictures.
pub const SUFFIX: &str = "-transparent.webp";
const LONGEST_ID: usize = 128;
/// Hex digits of a generated id: 128 random bits.
const ID_DIGITS: usize = 32;
/// Most characters of a file name in a generated id.
const LONGEST_STEM: usize = LONGEST_ID - 1 - ID_DIGITS;
/// Hex digits of a user's directory.
const OWNER_DIGITS: usize = 16;

/// Why a picture was not finished. The messages are for callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The picture cannot be decoded.
    #[error("Unsupported or corrupt image.")]
    Unreadable(#[source] Arc<imaging::Error>),
    /// The picture has too many bytes or pixels.
    #[error("the picture is too large")]
    TooLarge(#[source] Arc<imaging::Error>),
    /// Too many pictures are waiting.
    #[error("too many pictures are waiting")]
    Busy,
    /// The background could not be removed.
    #[error("Image segmentation failed: {reason}")]
    Segmentation {
        /// Reason for the caller.
        reason: String,
        /// Underlying error.
        #[source]
        cause: Arc<imaging::Error>,
    },
    /// The network was requested but is not installed.
    #[error("the background-removal network is not installed")]
    NoNetwork,
    /// Encoding as WebP failed.
    #[error("WebP conversion failed: the picture cannot be encoded")]
    Conversion(#[source] Arc<imaging::Error>),
    /// The owner used the id for another picture.
    #[error("Another picture has this id.")]
    OtherPicture,
    /// The picture could not be stored.
    #[error("Failed to upload image: {0}")]
    Upload(#[source] Arc<blob::Error>),
    /// Processing panicked; a bug.
    #[error("processing of the picture panicked")]
    Broken(#[source] Arc<dyn StdError + Send + Sync>),
}

impl From<imaging::Error> for Error {
    fn from(error: imaging::Error) -> Self {
        use imaging::Error::{
            Broken, Busy, Corrupt, Encoding, NoNetwork, Segmentation, TooLarge, TooManyPixels, Unsupported,
        };
        match error {
            Unsupported(_) | Corrupt(_) => Self::Unreadable(Arc::new(error)),
            TooManyPixels { .. } | TooLarge { .. } => Self::TooLarge(Arc::new(error)),
            Busy => Self::Busy,
            Segmentation(ref cause) => Self::Segmentation { reason: cause.to_string(), cause: Arc::new(error) },
            NoNetwork => Self::NoNetwork,
            Encoding(_) => Self::Conversion(Arc::new(error)),
            Broken => Self::Broken(Arc::new(error)),
        }
    }
}

/// Id of a finished picture: 1 to 128 characters of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`, but not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PictureId(String);

/// A text that is not a valid picture id.
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
    /// Generates an id that begins with the file name, as far as it fits.
    pub fn for_file(file_name: Option<&str>) -> Self {
        let file = file_name.unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let fit = |character: char| if character.is_ascii() && is_id_byte(character as u8) { character } else { '-' };
        let stem: String = stem.chars().map(fit).take(LONGEST_STEM).collect();
        let stem = if stem.trim_matches(['-', '.']).is_empty() { "image" } else { &stem };
        let mut bits = [0; ID_DIGITS / 2];
        getrandom::fill(&mut bits).expect("the system has random numbers");
        Self(format!("{stem}-{}", hex(&bits)))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of a finished picture in its container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PictureName {
    blob: BlobName,
    /// Whether it belongs to a user, whose names are never reused for another picture.
    is_owned: bool,
}

/// Returns the name under which a finished picture is stored: in its owner's directory, or in none for a service.
pub fn blob_name(owner: Option<&UserId>, id: &PictureId) -> BlobName {
    PictureName::new(owner, id).blob
}

/// Returns the directory of a user's pictures: the beginning of the hash of their id.
pub fn directory(owner: &UserId) -> String {
    let mut hash = sha256_hex(owner.as_str());
    hash.truncate(OWNER_DIGITS);
    hash
}

/// Whether a directory can be a user's.
pub fn is_directory(name: &str) -> bool {
    name.len() == OWNER_DIGITS && name.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

impl PictureName {
    fn new(owner: Option<&UserId>, id: &PictureId) -> Self {
        let directory = owner.map(|owner| format!("{}/", directory(owner)));
        let name = format!("{}{}{SUFFIX}", directory.unwrap_or_default(), id.as_str());
        let blob = name.parse().expect("a hash and an id have only what a name may have, and an end that is no dot");
        Self { blob, is_owned: owner.is_some() }
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// A picture being processed.
#[derive(Clone)]
struct Finishing {
    source: SourceHash,
    outcome: Shared<BoxFuture<'static, Result<FinishedPicture, Error>>>,
}

/// A finished picture in its store.
#[derive(Debug, Clone)]
pub struct FinishedPicture {
    /// URL of the picture.
    pub url: Url,
    /// How it was cut out; `None` if the picture already existed.
    pub cutout: Option<Cutout>,
}

fn cutout_of(mode: CutoutMode, processed: &Processed) -> Cutout {
    Cutout {
        mode: mode.name().to_owned(),
        by: processed.by.map(|by| by.name().to_owned()),
        confidence: processed.confidence.map(|confidence| round(f64::from(confidence))),
        kept_whole: processed.kept_whole.map(|reason| reason.to_string()),
    }
}

/// Creates and finds finished pictures. Cheap to clone.
#[derive(Clone)]
pub struct Media(Arc<Inner>);

struct Inner {
    base: Arc<Base>,
    pipeline: Pipeline,
    in_work: Mutex<HashMap<PictureName, Finishing>>,
}

impl Media {
    /// Creates the service.
    pub fn new(base: Arc<Base>, pipeline: Pipeline) -> Self {
        Self(Arc::new(Inner { base, pipeline, in_work: Mutex::default() }))
    }

    fn blobs(&self) -> (&dyn BlobStore, &ContainerName) {
        (&*self.0.base.blobs, &self.0.base.config.storage.archive_container)
    }

    /// Returns the name of the background remover.
    pub fn segmenter(&self) -> &str {
        self.0.pipeline.segmenter().name()
    }

    /// Processes a picture; if that was done before, only returns its URL. Concurrent uploads of the same picture share
    /// one run, which continues if the first caller is cancelled. Failures are not remembered.
    ///
    /// `owner` is the user, or `None` for a service. The options count as part of the source.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn finish(
        &self,
        owner: Option<&UserId>,
        id: &PictureId,
        file: Bytes,
        options: CutoutOptions,
    ) -> Result<FinishedPicture, Error> {
        if options.mode == CutoutMode::Network && !self.has_network() {
            return Err(Error::NoNetwork);
        }
        let name = PictureName::new(owner, id);
        let (file, source) = hashed(file, options).await?;
        loop {
            let finishing = {
                let mut in_work = self.0.in_work.lock();
                let begin = || self.begin(name.clone(), file.clone(), source.clone(), options);
                in_work.entry(name.clone()).or_insert_with(begin).clone()
            };
            if !name.is_owned || finishing.source == source {
                // A caller that only waits releases its file and its memory.
                drop(file);
                return finishing.outcome.await;
            }
            // Of two different pictures, the first to finish gets the id.
            if finishing.outcome.await.is_ok() {
                return Err(Error::OtherPicture);
            }
        }
    }

    /// Whether the background-removal network is installed.
    pub fn has_network(&self) -> bool {
        self.0.pipeline.segmenter().has_network()
    }

    /// Processes a picture that the caller stores: returns the WebP, and how it was cut out.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn cut_out(&self, file: Bytes, options: CutoutOptions) -> Result<(Bytes, Cutout), Error> {
        let processed = self.0.pipeline.process(file, options).await?;
        let cutout = cutout_of(options.mode, &processed);
        Ok((processed.webp, cutout))
    }

    fn begin(&self, name: PictureName, file: Bytes, source: SourceHash, options: CutoutOptions) -> Finishing {
        let (media, of) = (self.clone(), source.clone());
        let work = async move {
            let _leaves = Leaves { media: &media, name: &name };
            media.work(&name, file, &of, options).await
        };
        let task = self.0.base.tasks.spawn(work.in_current_span());
        let outcome = async move { task.await.unwrap_or_else(|error| Err(Error::Broken(Arc::new(error)))) };
        Finishing { source, outcome: outcome.boxed().shared() }
    }

    async fn work(
        &self,
        name: &PictureName,
        file: Bytes,
        source: &SourceHash,
        options: CutoutOptions,
    ) -> Result<FinishedPicture, Error> {
        let (blobs, container) = self.blobs();
        if let Some(url) = self.find(name, source).await? {
            return Ok(FinishedPicture { url, cutout: None });
        }
        let size = file.len();
        let finished = self.0.pipeline.process(file, options).await?;
        let cutout = cutout_of(options.mode, &finished);
        info!(
            picture.name = &*name.blob,
            segmenter = self.segmenter(),
            size_bytes = size,
            webp_bytes = finished.webp.len(),
            width = finished.width,
            height = finished.height,
            transparent_share = finished.transparent_share,
            cutout.by = cutout.by,
            cutout.confidence = cutout.confidence,
            kept_whole = cutout.kept_whole,
            "picture finished"
        );
        let put = blobs.put_if_absent(container, &name.blob, finished.webp, Some(source)).await.map_err(kept)?;
        let found = match put {
            Put::Created => None,
            // Another process was first.
            Put::Exists => self.find(name, source).await?,
        };
        let url = found.unwrap_or_else(|| blobs.public_url(container, &name.blob));
        Ok(FinishedPicture { url, cutout: Some(cutout) })
    }

    /// Returns the URL of an existing picture.
    ///
    /// # Errors
    /// [`Error::OtherPicture`] if its owner created it from another file, and when the store fails.
    async fn find(&self, name: &PictureName, source: &SourceHash) -> Result<Option<Url>, Error> {
        let (blobs, container) = self.blobs();
        let Some(found) = blobs.properties(container, &name.blob).await.map_err(kept)? else { return Ok(None) };
        let is_other = found.source.is_some_and(|found| found != *source);
        if name.is_owned && is_other {
            return Err(Error::OtherPicture);
        }
        Ok(Some(blobs.public_url(container, &name.blob)))
    }
}

/// Hashes a file on a blocking thread, together with the options if they are not the defaults.
async fn hashed(file: Bytes, options: CutoutOptions) -> Result<(Bytes, SourceHash), Error> {
    let hashing = tokio::task::spawn_blocking(move || {
        let CutoutOptions { mode, threshold } = options;
        let source = if options == CutoutOptions::default() {
            SourceHash::of(&file)
        } else {
            SourceHash::of_parts([&*file, format!("cutout={},{threshold}", mode.name()).as_bytes()])
        };
        (file, source)
    });
    hashing.await.map_err(|error| Error::Broken(Arc::new(error)))
}

fn kept(error: blob::Error) -> Error {
    Error::Upload(Arc::new(error))
}

/// Removes a picture from the list when processing ends, in whatever way.
struct Leaves<'a> {
    media: &'a Media,
    name: &'a PictureName,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.media.0.in_work.lock().remove(self.name);
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
            (Some(long.as_str()), &long[..95]),
            (None, "image"),
        ] {
            let id = PictureId::for_file(file);
            let (start, digits) = id.as_str().rsplit_once('-').unwrap();
            assert_eq!(start, stem);
            assert!(digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digits}");
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
        }
    }
}
