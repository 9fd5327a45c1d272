//! Backups of the data directory: documents, queue and blobs.
//!
//! A backup is a directory with the same files, a list of the blobs with their SHA-256, and a `backup.json`, which is
//! written last. It can be written while the service runs. The queue is copied before the documents: a message without
//! its document is useless, but the sweeper finds a document without its message. Blobs are copied before and after
//! both, so that every blob a document refers to is included, even if it is deleted meanwhile.
//!
//! A repeated backup to the same directory checks the blobs that it has by their SHA-256, copies only new and damaged
//! ones, and replaces each file atomically. Nothing is written to a directory that is neither empty nor an earlier
//! backup.
//!
//! A restore copies everything to a temporary directory, checks it there, then moves it into place, the documents last.

mod list;
mod mirror;
mod target;

use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use self::mirror::{Mirror, copy_file};
use super::backends::{BLOB_DIRECTORY, QUEUE_FILE, RESTORING, STORE_FILE, is_half_restored};
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
/// Newest supported backup format.
const FORM: u32 = 1;

/// The description of a backup, in `backup.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Format version.
    form: u32,
    /// Version of the program that wrote it.
    version: String,
    /// Time of the documents' snapshot.
    pub created_at: Timestamp,
    /// Size of the documents' database; `None` if they are stored elsewhere.
    pub document_bytes: Option<u64>,
    /// Size of the queue's database; `None` if it is stored elsewhere.
    pub queue_bytes: Option<u64>,
    /// Number of blobs; `None` if they are stored elsewhere.
    pub blobs: Option<u64>,
    /// SHA-256 of the list of blobs; `None` without blobs, and in backups of versions that wrote no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob_list: Option<String>,
}

/// Counts of blobs that a backup copied and removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlobChanges {
    /// Copied blobs.
    pub copied: u64,
    /// Copied blobs whose earlier copy in the backup was damaged.
    pub repaired: u64,
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
            "documents, queue and blobs are in Azure: use the backups of the Azure accounts"
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
/// When there is nothing to back up, the directory contains anything but an earlier backup or overlaps the data
/// directory, another backup is being written there, or a file cannot be read or written.
pub fn back_up(config: &Config, to: &Path, now: Timestamp) -> anyhow::Result<(Manifest, BlobChanges)> {
    let parts = Parts::of(config)?;
    ensure!(parts.exist(), "{} has no data to back up", config.data_directory.display());
    let earlier = target::check(to, parts.all().chain([&config.data_directory]))?;
    private_files::create_directories(to).with_context(|| format!("{} cannot be created", to.display()))?;
    let _lock = target::lock(to)?;
    private_files::close_directory(to)?;
    let writing = to.join(WRITING);
    start_anew(&writing)?;
    let blobs = parts.blobs.as_deref().filter(|blobs| blobs.exists());
    let known = earlier.and_then(|manifest| manifest.blob_list).map(|sha256| list::read(to, &sha256));
    let target = to.join(BLOB_DIRECTORY);
    // If the list is damaged, blobs are compared with the service's.
    let mut mirror = Mirror::new(&target, &writing, known.and_then(Result::ok).unwrap_or_default());
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
    let blob_list = blobs.map(|_| list::write(&writing, mirror.blobs())).transpose()?;
    let manifest = Manifest {
        form: FORM,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: now,
        document_bytes: documents,
        queue_bytes: queue,
        blobs: blobs.map(|_| mirror.blobs().len() as u64),
        blob_list,
    };
    write(&writing.join(MANIFEST), serde_json::to_string_pretty(&manifest)?.as_bytes())?;
    mirror.replace()?;
    let list = manifest.blob_list.as_deref().map(list::file_name);
    // If interrupted in between, documents newer than the queue are harmless.
    let files = [documents.map(|_| STORE_FILE), queue.map(|_| QUEUE_FILE), list.as_deref(), Some(MANIFEST)];
    for name in files.into_iter().flatten() {
        fs::rename(writing.join(name), to.join(name))?;
    }
    sync_directory(to)?;
    let changes = BlobChanges { copied: mirror.copied(), repaired: mirror.repaired(), removed: mirror.prune()? };
    list::remove_others(to, list.as_deref())?;
    fs::remove_dir_all(&writing)?;
    Ok((manifest, changes))
}

/// Restores a backup to an empty data directory. If the backup is damaged, the directory stays empty.
///
/// # Errors
/// When the data directory has data, the backup is incomplete or damaged, or a file cannot be read or written.
pub fn restore(config: &Config, from: &Path) -> anyhow::Result<Manifest> {
    let parts = Parts::of(config)?;
    let manifest = read_manifest(from)?;
    let is_half_restored = is_half_restored(config);
    for part in parts.all() {
        // Files that an interrupted restore has moved into place are replaced.
        ensure!(
            is_half_restored || !is_used(part),
            "{} already exists: restore into an empty directory",
            part.display()
        );
    }
    for log in [&parts.documents, &parts.queue].into_iter().flatten().flat_map(|file| sqlite::files::logs(file)) {
        // SQLite would apply it to the restored database.
        ensure!(!log.exists(), "{} already exists: restore into an empty directory", log.display());
    }
    let directory = &config.data_directory;
    private_files::create_directories(directory)
        .with_context(|| format!("{} cannot be created", directory.display()))?;
    let writing = directory.join(RESTORING);
    start_anew(&writing)?;
    let staged = match stage(&parts, &manifest, from, &writing) {
        Ok(staged) => staged,
        Err(error) => {
            fs::remove_dir_all(&writing).context("the incomplete copy cannot be removed")?;
            if is_half_restored {
                // The remains of an interrupted restore do not count as a store.
                private_files::create_directories(&writing)?;
            }
            return Err(error);
        }
    };
    for (file, to) in staged {
        if to.is_dir() {
            fs::remove_dir_all(&to)?;
        }
        fs::rename(file, to)?;
        sync_directory(directory)?;
    }
    fs::remove_dir_all(&writing)?;
    sync_directory(directory)?;
    Ok(manifest)
}

/// Copies the parts of a backup into a directory and checks them. Returns the copies with their destinations, the
/// documents last: without them, a directory does not count as a store.
fn stage(parts: &Parts, manifest: &Manifest, from: &Path, writing: &Path) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
    let mut staged = Vec::new();
    if let (Some(blobs), Some(count)) = (&parts.blobs, manifest.blobs) {
        let copy = writing.join(BLOB_DIRECTORY);
        private_files::create_directories(&copy)?;
        let mut mirror = Mirror::new(&copy, writing, list::Blobs::new());
        check_kind(&from.join(BLOB_DIRECTORY), FileType::is_dir)?;
        mirror.copy(&from.join(BLOB_DIRECTORY))?;
        match &manifest.blob_list {
            Some(sha256) => mirror.compare(&list::read(from, sha256)?, &from.join(BLOB_DIRECTORY))?,
            None => {
                let found = mirror.blobs().len() as u64;
                ensure!(found >= count, "{} is damaged: it has {found} of {count} blobs", from.display());
            }
        }
        staged.push((copy, blobs.clone()));
    }
    if let Some(queue) = parts.queue.as_deref().filter(|_| manifest.queue_bytes.is_some()) {
        let copy = stage_database(from, QUEUE_FILE, writing, |file| Ok(LocalQueue::find_damage_in(file)?))?;
        staged.push((copy, queue.to_owned()));
    }
    if let Some(documents) = parts.documents.as_deref().filter(|_| manifest.document_bytes.is_some()) {
        let copy = stage_database(from, STORE_FILE, writing, |file| Ok(SqliteStore::find_damage_in(file)?))?;
        staged.push((copy, documents.to_owned()));
    }
    Ok(staged)
}

fn is_used(part: &Path) -> bool {
    match fs::read_dir(part) {
        // The directory of temporary blobs exists as soon as a service has started.
        Ok(mut entries) => entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != WRITING)),
        Err(_) => part.exists(),
    }
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
    found(fs::remove_dir_all(config.data_directory.join(RESTORING)))?;
    match parts.blobs.map(fs::remove_dir_all) {
        Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn read_manifest(from: &Path) -> anyhow::Result<Manifest> {
    let file = from.join(MANIFEST);
    let incomplete = || format!("{} is not a complete backup", from.display());
    check_kind(&file, FileType::is_file).with_context(incomplete)?;
    let text = fs::read_to_string(&file).with_context(incomplete)?;
    let manifest: Manifest = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    ensure!(manifest.form <= FORM, "{} was written by a newer version, {}", from.display(), manifest.version);
    Ok(manifest)
}

/// Checks the kind of a part of a backup. Links, pipes and devices would lead elsewhere, or never end.
fn check_kind(path: &Path, is_right: fn(&FileType) -> bool) -> anyhow::Result<()> {
    let found = fs::symlink_metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    ensure!(is_right(&found.file_type()), "{} is a link or a special file", path.display());
    Ok(())
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

/// Copies a database of a backup into a directory and checks the copy; returns where it is.
fn stage_database(
    from: &Path,
    name: &str,
    writing: &Path,
    find_damage: impl Fn(&Path) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<PathBuf> {
    let (from, staged) = (from.join(name), writing.join(name));
    check_kind(&from, FileType::is_file)?;
    copy_file(&from, &staged).with_context(|| format!("{} cannot be copied", from.display()))?;
    if let Some(damage) = find_damage(&staged)? {
        bail!("{} is damaged: {damage}", from.display());
    }
    Ok(staged)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = private_files::options().write(true).create_new(true).open(path)?;
    io::Write::write_all(&mut file, content)?;
    file.sync_all()
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
