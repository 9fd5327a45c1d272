//! Blobs as files: `<directory>/<container>/<segments of the name>`. A blob is written to a temporary file in the same
//! file system, synced, and only then linked or renamed to its place, so every named blob is complete, even if a writer
//! crashes. Old temporary files of crashed writers are deleted at the next start. A blob's source hash is appended to
//! its content, in the same file, so that the file has both or neither. Image viewers ignore it. On Azure, `a` and
//! `a/b` can both be blobs; in a file system, `a` cannot be both a file and a directory. So directories are named
//! `a%d`; a file whose own name ends in `%d` or `%f` gets an additional `%f`, so that names never collide.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tracing::debug;
use url::Url;
use uuid::Uuid;

use super::{
    Blob, BlobName, BlobStore, ContainerName, Error, Listed, MOST_LISTED, Page, Properties, Put, Result, SourceHash,
    Span, located_below, url_below,
};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::base::deadline;
use crate::base::outage;
use crate::base::private_files;

/// Directory of temporary files. Not a valid container name.
const WRITING: &str = ".writing";
/// Ends the names of directories.
const DIRECTORY_MARK: &str = "%d";
/// Suffix of file names that would otherwise look like directory names.
const FILE_MARK: &str = "%f";
/// Age at which a file in [`WRITING`] counts as abandoned: no write takes nearly as long.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// How long a caller waits for an unresponsive disk.
const DISK_DEADLINE: Duration = Duration::from_secs(8);
/// Bytes written to check for free space.
const TRIAL: usize = 4096;
/// Space that blobs leave free on their disk, so that documents can be written and users can sign in when pictures have
/// filled the rest.
const KEPT_FREE: u64 = 512 * 1024 * 1024;
/// The part of a small disk that blobs leave free instead.
const KEPT_PART: u64 = 20;
/// Bytes read at a time.
const PIECE: usize = 128 * 1024;
/// Marks the end of a file with an appended source hash.
const SOURCE_MARK: &[u8; 16] = b"\0pluckit source\0";
/// Bytes appended to the content: the source hash (spaces for none) and the mark.
const SOURCE_BYTES: usize = SourceHash::LENGTH + SOURCE_MARK.len();
/// Attempts to write into a directory that others keep deleting because it is empty.
const TRIES: usize = 100;

/// Blobs in a directory. Cheap to clone.
#[derive(Clone)]
pub struct LocalBlobs {
    root: Arc<Path>,
    /// Device and inode of `root`, which identify it among directories of the same name.
    identity: (u64, u64),
    base: Url,
}

/// The directory was replaced by another one, so nothing is written.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is not the directory that was opened: writes are refused until the original directory is back",
    .0.display()
)]
struct Replaced(PathBuf);

/// The rest of the disk is for documents.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} has only {free_mib} MiB free, which are reserved for documents: pictures are refused until more space is free",
    .path.display()
)]
struct NoRoom {
    path: PathBuf,
    free_mib: u64,
}

impl LocalBlobs {
    /// Opens the blobs in `directory`, creating it if missing; `base` is the URL below which clients find
    /// `<container>/<name>`. Deletes temporary files that crashed writers left an hour ago or earlier.
    ///
    /// # Errors
    /// When the directory cannot be created or read.
    pub fn open(directory: &Path, base: Url, clock: &dyn Clock) -> io::Result<Self> {
        let writing = directory.join(WRITING);
        private_files::create_directories(&writing)?;
        if let Err(error) = private_files::close_directory(directory) {
            debug!(error = %Chain(&error), "blob directory is accessible to other users");
        }
        sweep(&writing, clock.now())?;
        Ok(Self { root: directory.into(), identity: identity(directory)?, base })
    }

    fn path(&self, container: &ContainerName, name: &BlobName) -> PathBuf {
        let mut path = self.root.join(&**container);
        let mut segments = name.segments().peekable();
        while let Some(segment) = segments.next() {
            let is_file = segments.peek().is_none();
            path.push(if is_file { file_name(segment) } else { format!("{segment}{DIRECTORY_MARK}") });
        }
        path
    }

    /// Runs `work` on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.clone();
        let done = deadline::within(DISK_DEADLINE, tokio::task::spawn_blocking(move || work(&store))).await;
        let done = done.map_err(|elapsed| Error::Unavailable(elapsed.into()))?;
        done.map_err(|error| Error::Failed(error.into()))?.map_err(fault)
    }

    /// Checks that the directory is the one that was opened. Data written to another directory would be lost when the
    /// original is moved back, and blobs missing from it may exist in the original.
    fn check(&self) -> io::Result<()> {
        if identity(&self.root)? == self.identity {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::NotFound, Replaced(self.root.to_path_buf())))
    }

    /// Maps a missing file to `None`, if the directory is still the one that was opened.
    fn found<T>(&self, result: io::Result<T>) -> io::Result<Option<T>> {
        let found = found(result)?;
        if found.is_none() {
            self.check()?;
        }
        Ok(found)
    }

    /// Writes and syncs bytes to a temporary file.
    fn write_temporary(&self, content: &[u8], tail: &[u8]) -> io::Result<Temporary> {
        self.check()?;
        let writing = self.root.join(WRITING);
        let path = writing.join(Uuid::new_v4().simple().to_string());
        match Temporary::write(path.clone(), content, tail) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                private_files::create_directories(&writing)?;
                Temporary::write(path, content, tail)
            }
            done => done,
        }
    }

    /// Checks that the disk has room for a blob of this many bytes besides the space for documents.
    fn check_room(&self, bytes: usize) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&*self.root)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if leaves_room(disk.f_blocks.saturating_mul(disk.f_frsize), free, bytes) {
            return Ok(());
        }
        let no_room = NoRoom { path: self.root.to_path_buf(), free_mib: free / (1024 * 1024) };
        Err(io::Error::new(ErrorKind::StorageFull, no_room))
    }

    fn write(&self, path: &Path, content: &[u8], source: Option<&SourceHash>, replace: bool) -> io::Result<Put> {
        self.check_room(content.len())?;
        let temporary = self.write_temporary(content, &behind(content, source))?;
        let directory = path.parent().unwrap_or(&self.root);
        let mut tries = 0;
        loop {
            let done = if replace { fs::rename(&temporary.0, path) } else { fs::hard_link(&temporary.0, path) };
            match done {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists && !replace => return Ok(Put::Exists),
                Err(error) if error.kind() == ErrorKind::NotFound && tries < TRIES => {
                    tries += 1;
                    match self.make(directory) {
                        // A parent directory was deleted before its child was created.
                        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // Syncing the directory makes the name durable.
        match File::open(directory).and_then(|directory| directory.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            // Already deleted again, with its directory.
            _ => Ok(Put::Created),
        }
    }

    /// Creates a directory, and syncs it and its parents.
    fn make(&self, directory: &Path) -> io::Result<()> {
        private_files::create_directories(directory)?;
        for above in directory.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
            match File::open(above).and_then(|above| above.sync_all()) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn remove_blob(&self, container: &ContainerName, path: &Path) -> io::Result<bool> {
        if self.found(fs::remove_file(path))?.is_none() {
            return Ok(false);
        }
        let container = self.root.join(&**container);
        for above in path.ancestors().skip(1).take_while(|above| **above != container) {
            // Fails when it is not empty; then its parents are not empty either.
            if fs::remove_dir(above).is_err() {
                break;
            }
        }
        Ok(true)
    }

    fn list_page(&self, container: &ContainerName, prefix: &str, after: &str, most: usize) -> io::Result<Page> {
        self.check()?;
        let mut walk = Walk { prefix, after, room: most + 1, found: BTreeMap::new() };
        walk.enter(&self.root.join(&**container), String::new())?;
        let mut names = walk.found;
        let next = if names.len() > most { names.pop_last().and(names.keys().next_back().cloned()) } else { None };
        let blobs = names.into_iter().filter_map(|(name, metadata)| {
            let name: BlobName = name.parse().ok()?;
            // A blob that was deleted meanwhile, or cannot be read, counts as missing.
            let (_, tail) = found(open(&self.path(container, &name))).ok()??;
            let properties = Properties { source: None, ..properties(&name, &metadata, tail) };
            Some(Listed { properties, name })
        });
        Ok(Page { blobs: blobs.collect(), next })
    }
}

#[async_trait]
impl BlobStore for LocalBlobs {
    async fn put_if_absent(
        &self,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
    ) -> Result<Put> {
        let (path, source) = (self.path(container, name), source.cloned());
        self.blocking(move |store| {
            // Only saves the write; the link below decides.
            if fs::symlink_metadata(&path).is_ok() {
                return Ok(Put::Exists);
            }
            store.write(&path, &content, source.as_ref(), false)
        })
        .await
    }

    async fn put(&self, container: &ContainerName, name: &BlobName, content: Bytes) -> Result<()> {
        let path = self.path(container, name);
        self.blocking(move |store| store.write(&path, &content, None, true).map(drop)).await
    }

    async fn get(&self, container: &ContainerName, name: &BlobName, span: Span) -> Result<Option<Blob>> {
        let path = self.path(container, name);
        let opened = self.blocking(move |store| {
            store.found(open(&path).and_then(|(file, tail)| Ok((file.metadata()?, tail, file))))
        });
        let Some((metadata, tail, file)) = opened.await? else { return Ok(None) };
        let properties = properties(name, &metadata, tail);
        let range = span.resolve(properties.size)?;
        let mut file = tokio::fs::File::from_std(file);
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start)).await.map_err(fault)?;
        }
        let content = pieces(file, range.end - range.start);
        Ok(Some(Blob { properties, range, content }))
    }

    async fn properties(&self, container: &ContainerName, name: &BlobName) -> Result<Option<Properties>> {
        let path = self.path(container, name);
        let opened =
            self.blocking(move |store| store.found(open(&path).and_then(|(file, tail)| Ok((file.metadata()?, tail)))));
        Ok(opened.await?.map(|(metadata, tail)| properties(name, &metadata, tail)))
    }

    async fn list(&self, container: &ContainerName, prefix: &str, after: Option<&str>, most: usize) -> Result<Page> {
        let (container, prefix) = (container.clone(), prefix.to_owned());
        let after = after.unwrap_or_default().to_owned();
        let most = most.clamp(1, MOST_LISTED);
        self.blocking(move |store| store.list_page(&container, &prefix, &after, most)).await
    }

    async fn delete(&self, container: &ContainerName, name: &BlobName) -> Result<bool> {
        let (path, container) = (self.path(container, name), container.clone());
        self.blocking(move |store| store.remove_blob(&container, &path)).await
    }

    fn public_url(&self, container: &ContainerName, name: &BlobName) -> Url {
        url_below(&self.base, [&**container].into_iter().chain(name.segments()))
    }

    fn locate(&self, address: &str) -> Option<(ContainerName, BlobName)> {
        located_below(&self.base, address)
    }

    async fn is_ready(&self, _container: &ContainerName) -> Result<bool> {
        // An empty file would fit on a full disk.
        self.blocking(|store| store.write_temporary(&[0; TRIAL], b"").map(|_| true)).await
    }

    async fn sweep(&self, now: OffsetDateTime) -> Result<usize> {
        let swept = self.blocking(move |store| found(sweep(&store.root.join(WRITING), now))).await?;
        Ok(swept.unwrap_or_default())
    }
}

/// Whether a blob of this many bytes leaves enough free on a disk with this much space in total and free.
fn leaves_room(total: u64, free: u64, bytes: usize) -> bool {
    // A file system that does not know its size, such as some that are mounted over a network, has no room to check.
    total == 0 || free >= KEPT_FREE.min(total / KEPT_PART).saturating_add(bytes as u64)
}

/// Deletes files of writers that have crashed.
fn sweep(writing: &Path, now: OffsetDateTime) -> io::Result<usize> {
    let mut swept = 0;
    for entry in fs::read_dir(writing)? {
        let path = entry?.path();
        // Another process may be deleting the same files.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if now - last_modified(&metadata) >= ABANDONED {
            remove(&path);
            swept += 1;
        }
    }
    Ok(swept)
}

/// A temporary file, deleted when this is dropped. It may have been renamed before.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: PathBuf, content: &[u8], behind: &[u8]) -> io::Result<Self> {
        let mut file = private_files::options().write(true).create_new(true).open(&path)?;
        let temporary = Self(path);
        file.write_all(content)?;
        file.write_all(behind)?;
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn identity(directory: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(directory).map(|found| (found.dev(), found.ino()))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        // Renamed, or deleted by another process.
        Err(error) if error.kind() != ErrorKind::NotFound => {
            debug!(path = %path.display(), error = %Chain(&error), "temporary file not deleted");
        }
        _ => {}
    }
}

/// Walks directories and keeps only the first names, so that memory is bounded by the page size.
struct Walk<'a> {
    prefix: &'a str,
    after: &'a str,
    room: usize,
    found: BTreeMap<String, Metadata>,
}

impl Walk<'_> {
    /// Reads a directory whose blobs have names beginning with `name`.
    fn enter(&mut self, directory: &Path, name: String) -> io::Result<()> {
        let Some(entries) = found(fs::read_dir(directory))? else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            // Ignore files that we did not write.
            let Some(file) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if let Some(segment) = file.strip_suffix(DIRECTORY_MARK) {
                let below = format!("{name}{segment}/");
                if self.may_have(&below) {
                    self.enter(&entry.path(), below)?;
                }
            } else {
                let blob = format!("{name}{}", file.strip_suffix(FILE_MARK).unwrap_or(&file));
                if blob.starts_with(self.prefix) && blob.as_str() > self.after && self.has_room_for(&blob) {
                    let Some(metadata) = found(entry.metadata())?.filter(Metadata::is_file) else { continue };
                    self.found.insert(blob, metadata);
                    if self.found.len() > self.room {
                        self.found.pop_last();
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether names that begin with `start` can be on the page.
    fn may_have(&self, start: &str) -> bool {
        (start.starts_with(self.prefix) || self.prefix.starts_with(start))
            && (start > self.after || self.after.starts_with(start))
            && self.has_room_for(start)
    }

    fn has_room_for(&self, name: &str) -> bool {
        self.found.len() < self.room || self.found.keys().next_back().is_some_and(|last| name < last.as_str())
    }
}

fn file_name(segment: &str) -> String {
    let mark = if segment.ends_with(DIRECTORY_MARK) || segment.ends_with(FILE_MARK) { FILE_MARK } else { "" };
    format!("{segment}{mark}")
}

/// Returns the bytes to append to the content: its source hash, or an empty mark if the content itself ends like one.
fn behind(content: &[u8], source: Option<&SourceHash>) -> Vec<u8> {
    let source = match source {
        Some(source) => source.to_string(),
        None if content.ends_with(SOURCE_MARK) => " ".repeat(SourceHash::LENGTH),
        None => return Vec::new(),
    };
    [source.as_bytes(), SOURCE_MARK].concat()
}

/// What follows the content in a blob's file.
enum Tail {
    Nothing,
    Source(Option<SourceHash>),
}

/// Opens a file and reads the bytes appended to its content.
fn open(path: &Path) -> io::Result<(File, Tail)> {
    let file = File::open(path)?;
    let mut end = [0; SOURCE_BYTES];
    let Some(start) = file.metadata()?.len().checked_sub(SOURCE_BYTES as u64) else { return Ok((file, Tail::Nothing)) };
    file.read_exact_at(&mut end, start)?;
    let tail = match end.strip_suffix(SOURCE_MARK) {
        Some(source) => Tail::Source(std::str::from_utf8(source).ok().and_then(|source| source.parse().ok())),
        None => Tail::Nothing,
    };
    Ok((file, tail))
}

fn properties(name: &BlobName, metadata: &Metadata, tail: Tail) -> Properties {
    let (beyond, source) = match tail {
        Tail::Nothing => (0, None),
        Tail::Source(source) => (SOURCE_BYTES as u64, source),
    };
    Properties {
        size: metadata.len().saturating_sub(beyond),
        source,
        content_type: name.content_type().to_owned(),
        // Files are never changed in place, so this pair identifies the content.
        etag: format!("\"{:x}-{:x}\"", metadata.ino(), last_modified(metadata).unix_timestamp_nanos()),
        last_modified: last_modified(metadata),
    }
}

fn last_modified(metadata: &Metadata) -> OffsetDateTime {
    let nanoseconds = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Streams the next `length` bytes of a file.
fn pieces(file: tokio::fs::File, length: u64) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(usize::try_from(left).unwrap_or(PIECE).min(PIECE));
        let read = (&mut file).take(left).read_buf(&mut piece).await.map_err(fault)?;
        if read == 0 {
            return Err(fault(ErrorKind::UnexpectedEof.into()));
        }
        Ok(Some((piece.freeze(), (file, left - read as u64))))
    })
    .boxed()
}

/// Maps a missing file to `None`.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn fault(error: io::Error) -> Error {
    if outage::of_io(&error) { Error::Unavailable(error.into()) } else { Error::Failed(error.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn blobs_leave_room_for_documents() {
        for (total, free, bytes, expected) in [
            // 512 MiB of a disk of a TiB.
            (1024 * 1024 * MIB, 532 * MIB, 20 * MIB, true),
            (1024 * 1024 * MIB, 532 * MIB, 20 * MIB + 1, false),
            // A twentieth of a small one.
            (200 * MIB, 30 * MIB, 20 * MIB, true),
            (200 * MIB, 30 * MIB - 1, 20 * MIB, false),
            (200 * MIB, 0, 0, false),
            (0, 0, 20 * MIB, true),
        ] {
            assert_eq!(leaves_room(total, free, usize::try_from(bytes).unwrap()), expected, "{total} {free} {bytes}");
        }
    }

    #[test]
    fn a_disk_that_is_kept_for_documents_counts_as_full() {
        let no_room = NoRoom { path: "/data/blobs".into(), free_mib: 7 };
        let error = fault(io::Error::new(ErrorKind::StorageFull, no_room));
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
}
