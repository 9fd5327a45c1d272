//! Blobs: finished pictures and outputs of jobs, behind one small interface. Two back ends give the same guarantees:
//! Azure Storage ([`azure`]) and files in the data directory ([`local`]). At any moment, a blob is complete or absent,
//! even if a writer crashes. Its content type follows from its name: files cannot store a type, and a second file could
//! not be replaced atomically with the first.

pub mod azure;
pub mod local;

use std::fmt;
use std::ops::{Deref, Range};
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use url::Url;

use crate::base::chain::Cause;
use crate::base::hash::{sha256_hex, sha256_hex_of};
use crate::config::is_loopback;

pub use crate::model::containers::{BadName, ContainerName};
/// Longest name of a blob, in bytes.
/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>
pub const LONGEST_NAME_BYTES: usize = 1024;
/// Longest segment of a name, in bytes: file systems allow 255, and suffixes need some of them.
pub const LONGEST_SEGMENT_BYTES: usize = 250;
/// Most blobs on one page of a listing.
pub const MOST_LISTED: usize = 5000;
/// Content type of blobs without a known extension.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Result of an operation on blobs.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on blobs failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is unreachable, throttled or full; a later retry may succeed.
    #[error("the blob store is unavailable")]
    Unavailable(#[source] Cause),
    /// The range starts after the end of the blob.
    #[error("the range begins after the end of the blob, which has {size} bytes")]
    OutOfRange {
        /// Size of the blob, in bytes.
        size: u64,
    },
    /// Anything else.
    #[error("the blob store failed")]
    Failed(#[source] Cause),
}

/// Name of a blob within its container: segments separated by slashes. No segment is empty, `.` or `..`, or ends in a
/// dot (which Azure drops), and there are no backslashes or control characters, so a name cannot escape its container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobName(String);

impl BlobName {
    /// Returns the segments between the slashes; at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the content type for the extension.
    pub fn content_type(&self) -> &'static str {
        let file = self.segments().last().unwrap_or_default();
        let extension = file.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        // No types in which a browser would run scripts.
        match extension.as_deref() {
            Some("webp") => "image/webp",
            Some("png") => "image/png",
            Some("jpg" | "jpeg") => "image/jpeg",
            Some("gif") => "image/gif",
            Some("avif") => "image/avif",
            Some("heic") => "image/heic",
            Some("heif") => "image/heif",
            Some("bmp") => "image/bmp",
            Some("tif" | "tiff") => "image/tiff",
            Some("json") => "application/json",
            Some("jsonl" | "ndjson") => "application/x-ndjson",
            Some("md") => "text/markdown; charset=utf-8",
            Some("txt") => "text/plain; charset=utf-8",
            Some("csv") => "text/csv; charset=utf-8",
            _ => UNKNOWN_TYPE,
        }
    }
}

impl FromStr for BlobName {
    type Err = BadName;

    fn from_str(text: &str) -> std::result::Result<Self, BadName> {
        let bad = |segment: &str| {
            segment.is_empty()
                || segment.ends_with('.')
                || segment.len() > LONGEST_SEGMENT_BYTES
                || segment.chars().any(|character| character == '\\' || character.is_control())
        };
        if text.len() > LONGEST_NAME_BYTES || text.split('/').any(bad) {
            return Err(BadName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Deref for BlobName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of the file that a blob was made from, in hexadecimal. It is stored with the blob, to distinguish the same
/// file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHash(String);

impl SourceHash {
    /// Characters of its text.
    const LENGTH: usize = 64;

    /// The hash of this file.
    pub fn of(file: &[u8]) -> Self {
        Self(sha256_hex(file))
    }

    /// Returns the hash of all concatenated inputs of a blob.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(sha256_hex_of(parts))
    }
}

impl FromStr for SourceHash {
    type Err = BadName;

    fn from_str(text: &str) -> std::result::Result<Self, BadName> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let fits = text.len() == Self::LENGTH && text.bytes().all(is_digit);
        fits.then(|| Self(text.to_owned())).ok_or(BadName)
    }
}

impl fmt::Display for SourceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Outcome of [`BlobStore::put_if_absent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The blob is new.
    Created,
    /// A blob of this name already existed and is unchanged.
    Exists,
}

/// Properties of a blob that are known without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// Size in bytes.
    pub size: u64,
    /// Media type.
    pub content_type: String,
    /// Quoted entity tag, which changes with every write.
    pub etag: String,
    /// When it was written.
    pub last_modified: OffsetDateTime,
    /// Hash of the blob's source, if the writer gave one. Listings omit it.
    pub source: Option<SourceHash>,
}

/// A byte range, as in HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Span {
    /// The whole blob.
    #[default]
    Whole,
    /// From this byte to the end.
    From(u64),
    /// From the first to the second of these bytes, inclusive, or to the end if that comes first.
    Between(u64, u64),
    /// This many bytes at the end, or all if there are fewer.
    Last(u64),
}

impl Span {
    /// Returns the range within a blob of `size` bytes.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the range contains no bytes, unless the blob is empty.
    pub fn resolve(self, size: u64) -> Result<Range<u64>> {
        let range = match self {
            Self::Whole => return Ok(0..size),
            Self::From(first) => first..size,
            Self::Between(first, last) => first..last.saturating_add(1).min(size),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        if range.is_empty() { Err(Error::OutOfRange { size }) } else { Ok(range) }
    }
}

/// A blob that is being read.
pub struct Blob {
    /// Properties of the blob.
    pub properties: Properties,
    /// Position of `content` within the blob.
    pub range: Range<u64>,
    /// The bytes of `range`, in pieces.
    pub content: BoxStream<'static, Result<Bytes>>,
}

impl Blob {
    /// Reads to the end.
    ///
    /// # Errors
    /// When reading fails.
    pub async fn bytes(self) -> Result<Vec<u8>> {
        let expected = usize::try_from(self.range.end - self.range.start).unwrap_or_default();
        let read = |mut bytes: Vec<u8>, piece: Bytes| async move {
            bytes.extend_from_slice(&piece);
            Ok(bytes)
        };
        self.content.try_fold(Vec::with_capacity(expected), read).await
    }
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name of the blob.
    pub name: BlobName,
    /// Properties of the blob.
    pub properties: Properties,
}

/// A page of a listing. Even an empty page may have a next page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The blobs, in order of their names.
    pub blobs: Vec<Listed>,
    /// Token of the next page; `None` at the end.
    pub next: Option<String>,
}

/// Blobs in containers. Every back end guarantees what is documented here. A container is created by the first write. A
/// missing blob or container reads as `None`.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Saves a blob, with `source`, unless one of this name exists. Of many concurrent callers, exactly one creates it.
    async fn put_if_absent(
        &self,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
    ) -> Result<Put>;

    /// Saves a blob, replacing an existing one. Readers in progress may fail, but never see a mixture.
    async fn put(&self, container: &ContainerName, name: &BlobName, content: Bytes) -> Result<()>;

    /// Starts reading a blob or a range of it.
    async fn get(&self, container: &ContainerName, name: &BlobName, span: Span) -> Result<Option<Blob>>;

    /// Returns the properties of a blob, or `None` if it does not exist.
    async fn properties(&self, container: &ContainerName, name: &BlobName) -> Result<Option<Properties>>;

    /// Lists up to `most` (1 to [`MOST_LISTED`]) blobs whose names begin with `prefix`, in byte order of their names.
    /// `after` is the `next` of the previous page; blobs created or deleted meanwhile may or may not be listed.
    async fn list(&self, container: &ContainerName, prefix: &str, after: Option<&str>, most: usize) -> Result<Page>;

    /// Deletes a blob; returns whether it existed.
    async fn delete(&self, container: &ContainerName, name: &BlobName) -> Result<bool>;

    /// Returns the permanent URL of the blob, which works only if the container is publicly readable.
    fn public_url(&self, container: &ContainerName, name: &BlobName) -> Url;

    /// Returns a URL at which a browser can read the blob for the next two hours, even in a private container. It stays
    /// the same for up to an hour, so that browsers can cache the blob. Do not store it; store [`Self::public_url`]
    /// instead.
    fn shown_url(&self, container: &ContainerName, name: &BlobName, _now: OffsetDateTime) -> Url {
        self.public_url(container, name)
    }

    /// Parses the container and blob from a URL returned by [`Self::public_url`] or [`Self::shown_url`], ignoring its
    /// query. The URL may be relative, and on this machine may have another port, where the service may have listened
    /// before. Does not check whether the blob exists.
    fn locate(&self, address: &str) -> Option<(ContainerName, BlobName)>;

    /// Whether the store answers, and the container exists or is created on demand.
    async fn is_ready(&self, container: &ContainerName) -> Result<bool>;

    /// Deletes leftovers of writers that crashed long before `now`, and returns their number. Returns zero for a store
    /// that cleans up by itself.
    async fn sweep(&self, _now: OffsetDateTime) -> Result<usize> {
        Ok(0)
    }
}

/// Appends these segments to `base`, each percent-encoded.
fn url_below<'a>(base: &Url, parts: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(parts);
    url
}

/// Reverses [`url_below`]; see [`BlobStore::locate`].
fn located_below(base: &Url, address: &str) -> Option<(ContainerName, BlobName)> {
    let url = base.join(address).ok()?;
    if url.origin() != base.origin() && !(is_loopback(&url) && is_loopback(base)) {
        return None;
    }
    let path = url.path().strip_prefix(base.path().trim_end_matches('/'))?.strip_prefix('/')?;
    let (container, name) = path.split_once('/')?;
    let segments = name.split('/').map(|segment| {
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        (!segment.contains('/')).then_some(segment)
    });
    let segments: Vec<_> = segments.collect::<Option<_>>()?;
    Some((container.parse().ok()?, segments.join("/").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_out_of_the_container() {
        for good in ["a", "a/b.webp", "ünï/日本語 1.png", "..a/b..c", " ", "a+b&c?d#e%2F", "a:b*|\"<>"] {
            assert_eq!(good.parse::<BlobName>().as_deref(), Ok(good));
        }
        let long = "a".repeat(251);
        let many = "a/".repeat(512) + "a";
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\\b", "..\\a", "a\0", "a\nb", "a\u{85}",
            "a.", "a./b", "...", &long, &many,
        ] {
            assert_eq!(bad.parse::<BlobName>(), Err(BadName), "{bad:?}");
        }
        assert_eq!("a/".repeat(511).trim_end_matches('/').parse::<BlobName>().map(|name| name.len()), Ok(1021));
        for good in ["abc", "a-b-1", "0".repeat(63).as_str()] {
            assert_eq!(good.parse::<ContainerName>().as_deref(), Ok(good));
        }
        for bad in ["", "ab", "Abc", "a--b", "-ab", "ab-", "a/b", "a.b", "..", ".writing", "0".repeat(64).as_str()] {
            assert_eq!(bad.parse::<ContainerName>(), Err(BadName), "{bad:?}");
        }
    }

    #[test]
    fn the_type_follows_from_the_name() {
        let type_of = |name: &str| name.parse::<BlobName>().unwrap().content_type();
        assert_eq!(type_of("a/b-transparent.webp"), "image/webp");
        assert_eq!(type_of("A.JPG"), "image/jpeg");
        assert_eq!(type_of("a.png/b"), UNKNOWN_TYPE);
        for name in ["a", "webp", "a.html", "a.svg", "a.webp.exe"] {
            assert_eq!(type_of(name), UNKNOWN_TYPE, "{name}");
        }
    }

    #[test]
    fn spans_stay_within_the_blob() {
        let resolve = |span: Span, size| span.resolve(size).ok();
        assert_eq!(resolve(Span::Whole, 0), Some(0..0));
        assert_eq!(resolve(Span::From(3), 10), Some(3..10));
        assert_eq!(resolve(Span::From(10), 10), None);
        assert_eq!(resolve(Span::Between(2, 2), 10), Some(2..3));
        assert_eq!(resolve(Span::Between(2, u64::MAX), 10), Some(2..10));
        assert_eq!(resolve(Span::Between(5, 2), 10), None);
        assert_eq!(resolve(Span::Last(3), 10), Some(7..10));
        assert_eq!(resolve(Span::Last(30), 10), Some(0..10));
        assert_eq!(resolve(Span::Last(0), 10), None);
        assert_eq!(resolve(Span::From(0), 0), None);
    }

    #[test]
    fn addresses_are_found_again_wherever_this_machine_listened() {
        let found = |base: &str, address: &str| {
            let located = located_below(&Url::parse(base).unwrap(), address);
            located.map(|(container, name)| format!("{container} {name}"))
        };
        let here = "http://127.0.0.1:7071/api/media";
        for address in [
            "http://127.0.0.1:7071/api/media/archive/u/a%20b.webp",
            "http://127.0.0.1:9000/api/media/archive/u/a%20b.webp?sig=x#y",
            "http://localhost/api/media/archive/u/a%20b.webp",
            "/api/media/archive/u/a%20b.webp",
        ] {
            assert_eq!(found(here, address).as_deref(), Some("archive u/a b.webp"), "{address}");
        }
        let public = "https://pluckit.example/api/media/";
        assert_eq!(
            found(public, "https://pluckit.example/api/media/archive/a.webp").as_deref(),
            Some("archive a.webp")
        );
        for (base, address) in [
            (public, "https://other.example/api/media/archive/a.webp"),
            (public, "http://pluckit.example/api/media/archive/a.webp"),
            (public, "http://127.0.0.1:7071/api/media/archive/a.webp"),
            (public, "//other.example/api/media/archive/a.webp"),
            (here, "http://127.0.0.1.example/api/media/archive/a.webp"),
            (here, "http://127.0.0.1:7071/api/mediaarchive/a.webp"),
            (here, "http://127.0.0.1:7071/api/media/archive"),
            (here, "http://127.0.0.1:7071/api/media/archive/"),
            (here, "http://127.0.0.1:7071/api/media/archive/../../chat/memory"),
            (here, "http://127.0.0.1:7071/api/media/archive/u%2Fa.webp"),
            (here, "http://127.0.0.1:7071/api/media/archive/..%5Ca.webp"),
            (here, "archive/a.webp"),
            (here, ""),
            (here, "not an address"),
        ] {
            assert_eq!(found(base, address), None, "{address}");
        }
    }

    #[test]
    fn addresses_are_encoded() {
        let below =
            |base: &str, name: &str| url_below(&Url::parse(base).unwrap(), ["c"].into_iter().chain(name.split('/')));
        assert_eq!(below("https://a.example", "x/y z.webp").as_str(), "https://a.example/c/x/y%20z.webp");
        assert_eq!(below("http://a.example/base/?q#f", "é?#%").as_str(), "http://a.example/base/c/%C3%A9%3F%23%25");
    }
}
