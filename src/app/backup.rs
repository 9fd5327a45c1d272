//! Backups of the data directory: documents, queue and blobs.
//!
//! A backup is a directory with the same files and a `backup.json`, which is written last. It can be written while the
//! service runs. The queue is copied before the documents: a message without its document is useless, but the sweeper
//! finds a document without its message. Blobs are copied before and after both, so that every blob a document refers
//! to is included, even if it is deleted meanwhile.
//!
//! A repeated backup to the same directory copies only new blobs, and replaces each file atomically.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::backends::{BLOB_DIRECTORY, QUEUE_FILE, STORE_FILE};
use crate::base::private_files;
use crate::config::{Config, Documents};
use crate::model::timestamp::Timestamp;
use crate::queue::local::LocalQueue;
use crate::sqlite;
use crate::store::sqlite::SqliteStore;

/// File that marks a backup as complete and describes it.
const MANIFEST: &str = "backup.json";
/// Directory of temporary files. Not a valid container name.
const WRITING: &str = ".writing";
/// Held by the process that writes a backup.
const LOCK: &str = ".lock";
/// Newest supported backup format.
const FORM: u32 = 1;

/// The description of a backup, in `backup.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Form of the backup.
    form: u32,
    /// Version of the program that wrote it.
    version: String,
    /// The moment of the documents.
    pub created_at: Timestamp,
    /// Size of the documents' file; `None` if they are stored elsewhere.
    pub document_bytes: Option<u64>,
    /// Size of the queue's file; `None` if it is elsewhere.
    pub queue_bytes: Option<u64>,
    /// Number of blobs; `None` if they are elsewhere.
    pub blobs: Option<u64>,
}

/// Counts of blobs that a backup copied and removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlobChanges {
    /// Copied ones.
    pub copied: u64,
    /// Blobs in the backup that the service no longer has.
    pub removed: u64,
}

/// The parts of the service's data that are in its data directory.
struct Parts {
    documents: Option<PathBuf>,
    queue: Option<PathBuf>,
    blobs: Option<PathBuf>,
}

impl Parts {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let documents = match &config.documents {
            Documents::Embedded { directory, .. } => Some(directory.join(STORE_FILE)),
            Documents::Cosmos(_) => None,
        };
        let local = |is_elsewhere: bool, name: &str| (!is_elsewhere).then(|| config.data_directory.join(name));
        let queue = local(config.storage.queues.is_some(), QUEUE_FILE);
        let blobs = local(config.storage.blobs.is_some(), BLOB_DIRECTORY);
        let parts = Self { documents, queue, blobs };
        ensure!(
            parts.all().next().is_some(),
            "documents, queue and blobs are kept by Azure: use the backups of the accounts"
        );
        Ok(parts)
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.documents, &self.queue, &self.blobs].into_iter().flatten()
    }

    fn exist(&self) -> bool {
        self.all().any(|part| part.exists())
    }
}

/// Writes a backup to a directory, creating it if missing. The service may run meanwhile.
///
/// # Errors
/// When there is nothing to back up, another backup is being written there, or a file cannot be read or written.
pub fn back_up(config: &Config, to: &Path, now: Timestamp) -> anyhow::Result<(Manifest, BlobChanges)> {
    let parts = Parts::of(config)?;
    ensure!(parts.exist(), "there is nothing in {}", config.data_directory.display());
    private_files::create_directories(to).with_context(|| format!("{} cannot be made", to.display()))?;
    private_files::close_directory(to)?;
    let _lock = lock(to)?;
    let writing = to.join(WRITING);
    start_anew(&writing)?;
    let blobs = parts.blobs.as_deref().filter(|blobs| blobs.exists());
    let mut mirror = Mirror { to: &to.join(BLOB_DIRECTORY), writing: &writing, seen: HashSet::new(), copied: 0 };
    if let Some(blobs) = blobs {
        mirror.copy(blobs)?;
    }
    let queue =
        copy_database(parts.queue.as_deref(), &writing.join(QUEUE_FILE), |from, to| Ok(LocalQueue::copy(from, to)?))?;
    let documents = copy_database(parts.documents.as_deref(), &writing.join(STORE_FILE), |from, to| {
        Ok(SqliteStore::copy(from, to)?)
    })?;
    if let Some(blobs) = blobs {
        mirror.copy(blobs)?;
    }
    let manifest = Manifest {
        form: FORM,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: now,
        document_bytes: documents,
        queue_bytes: queue,
        blobs: blobs.map(|_| mirror.seen.len() as u64),
    };
    write(&writing.join(MANIFEST), serde_json::to_string_pretty(&manifest)?.as_bytes())?;
    // If this is interrupted in between, documents that are newer than the queue are harmless.
    for (name, is_there) in [(STORE_FILE, documents.is_some()), (QUEUE_FILE, queue.is_some()), (MANIFEST, true)] {
        if is_there {
            fs::rename(writing.join(name), to.join(name))?;
        }
    }
    sync_directory(to)?;
    let removed = mirror.prune()?;
    fs::remove_dir_all(&writing)?;
    Ok((manifest, BlobChanges { copied: mirror.copied, removed }))
}

/// Restores a backup to an empty data directory.
///
/// # Errors
/// When the data directory has data, the backup is incomplete or damaged, or a file cannot be read or written.
pub fn restore(config: &Config, from: &Path) -> anyhow::Result<Manifest> {
    let parts = Parts::of(config)?;
    let manifest = read_manifest(from)?;
    for part in parts.all() {
        let is_used = match fs::read_dir(part) {
            // The directory of temporary blobs exists as soon as a service has started.
            Ok(mut entries) => entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != ".writing")),
            Err(_) => part.exists(),
        };
        ensure!(!is_used, "{} is there already: restore into an empty directory", part.display());
    }
    let directory = &config.data_directory;
    private_files::create_directories(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    let writing = directory.join(".restoring");
    start_anew(&writing)?;
    if let Some(blobs) = parts.blobs.as_deref().filter(|_| manifest.blobs.is_some()) {
        let staged = writing.join(BLOB_DIRECTORY);
        let source = from.join(BLOB_DIRECTORY);
        private_files::create_directories(&staged)?;
        let mut mirror = Mirror { to: &staged, writing: &writing, seen: HashSet::new(), copied: 0 };
        if source.exists() {
            mirror.copy(&source)?;
        }
        if blobs.exists() {
            fs::remove_dir_all(blobs)?;
        }
        fs::rename(&staged, blobs)?;
    }
    if let Some(queue) = parts.queue.as_deref().filter(|_| manifest.queue_bytes.is_some()) {
        place(&from.join(QUEUE_FILE), &writing.join(QUEUE_FILE), queue, |file| Ok(LocalQueue::find_damage_in(file)?))?;
    }
    if let Some(documents) = parts.documents.as_deref().filter(|_| manifest.document_bytes.is_some()) {
        place(&from.join(STORE_FILE), &writing.join(STORE_FILE), documents, |file| {
            Ok(SqliteStore::find_damage_in(file)?)
        })?;
    }
    fs::remove_dir_all(&writing)?;
    sync_directory(directory)?;
    Ok(manifest)
}

/// Deletes the contents of the data directory, unless a process uses it.
///
/// # Errors
/// When a service runs on it, or a file cannot be deleted.
pub fn clear(config: &Config) -> anyhow::Result<()> {
    let parts = Parts::of(config)?;
    for database in [&parts.documents, &parts.queue].into_iter().flatten() {
        let is_gone = sqlite::files::delete(database).with_context(|| database.display().to_string())?;
        ensure!(is_gone, "{} is in use: stop the service first", database.display());
    }
    match parts.blobs.map(fs::remove_dir_all) {
        Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn read_manifest(from: &Path) -> anyhow::Result<Manifest> {
    let file = from.join(MANIFEST);
    let text = fs::read_to_string(&file).with_context(|| format!("{} is no complete backup", from.display()))?;
    let manifest: Manifest = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    ensure!(manifest.form <= FORM, "{} was written by a newer version, {}", from.display(), manifest.version);
    Ok(manifest)
}

/// Copies a database and returns the size of the copy; `None` if there is no database.
fn copy_database(
    from: Option<&Path>,
    to: &Path,
    copy: impl Fn(&Path, &Path) -> anyhow::Result<()>,
) -> anyhow::Result<Option<u64>> {
    let Some(from) = from.filter(|from| from.exists()) else { return Ok(None) };
    copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))?;
    Ok(Some(fs::metadata(to)?.len()))
}

/// Copies a database from a backup, checks it, and renames it into place.
fn place(
    from: &Path,
    staged: &Path,
    to: &Path,
    find_damage: impl Fn(&Path) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    copy_file(from, staged).with_context(|| format!("{} cannot be copied", from.display()))?;
    if let Some(damage) = find_damage(staged)? {
        bail!("{} is damaged: {damage}", from.display());
    }
    Ok(fs::rename(staged, to)?)
}

/// Copies blobs to a directory of the same structure.
struct Mirror<'a> {
    to: &'a Path,
    writing: &'a Path,
    /// Existing blobs, by their path below the directory.
    seen: HashSet<PathBuf>,
    copied: u64,
}

impl Mirror<'_> {
    /// Copies all missing blobs.
    fn copy(&mut self, from: &Path) -> anyhow::Result<()> {
        self.enter(from, Path::new("")).with_context(|| format!("{} cannot be copied", from.display()))
    }

    fn enter(&mut self, from: &Path, below: &Path) -> io::Result<()> {
        let Some(entries) = found(fs::read_dir(from.join(below)))? else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            let path = below.join(entry.file_name());
            let Some(metadata) = found(entry.metadata())? else { continue };
            if metadata.is_dir() {
                if entry.file_name() != WRITING {
                    self.enter(from, &path)?;
                }
            } else if metadata.is_file() && self.bring(&entry.path(), &path, &metadata)? {
                self.seen.insert(path);
            }
        }
        Ok(())
    }

    /// Copies a blob if missing; returns whether it exists now. Files of blobs are never changed in place, so equal
    /// size and time mean equal content.
    fn bring(&mut self, from: &Path, path: &Path, metadata: &Metadata) -> io::Result<bool> {
        let to = self.to.join(path);
        let is_same = |known: &Metadata| {
            (known.len(), known.mtime(), known.mtime_nsec())
                == (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
        };
        if found(fs::symlink_metadata(&to))?.as_ref().is_some_and(is_same) {
            return Ok(true);
        }
        let staged = self.writing.join("blob");
        if found(copy_file(from, &staged))?.is_none() {
            return Ok(false); // deleted meanwhile
        }
        if let Some(directory) = to.parent() {
            private_files::create_directories(directory)?;
        }
        fs::rename(&staged, &to)?;
        self.copied += 1;
        Ok(true)
    }

    /// Deletes blobs that were not seen.
    fn prune(&self) -> io::Result<u64> {
        self.prune_below(Path::new(""))
    }

    fn prune_below(&self, below: &Path) -> io::Result<u64> {
        let Some(entries) = found(fs::read_dir(self.to.join(below)))? else { return Ok(0) };
        let mut removed = 0;
        for entry in entries {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                removed += self.prune_below(&path)?;
                // Fails when it is not empty.
                if fs::remove_dir(entry.path()).is_err() {
                    continue;
                }
            } else if !self.seen.contains(&path) {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Copies a file with its modification time, readable only by the owner, and syncs it.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = private_files::options().write(true).create(true).truncate(true).open(to)?;
    io::copy(&mut source, &mut copy)?;
    copy.set_times(FileTimes::new().set_modified(source.metadata()?.modified()?))?;
    copy.sync_all()
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = private_files::options().write(true).create_new(true).open(path)?;
    io::Write::write_all(&mut file, content)?;
    file.sync_all()
}

fn lock(directory: &Path) -> anyhow::Result<File> {
    let file = private_files::options().write(true).create(true).truncate(false).open(directory.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another backup is being written to {}", directory.display()),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn start_anew(directory: &Path) -> io::Result<()> {
    found(fs::remove_dir_all(directory))?;
    private_files::create_directories(directory)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Maps a missing file to `None`.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}
