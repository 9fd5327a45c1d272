//! Copies blobs into a directory of the same structure.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use super::list::{Blob, Blobs};
use super::{WRITING, found};
use crate::base::hash::hex;
use crate::base::private_files;

/// Size of the copy buffer in bytes.
const PIECE: usize = 128 * 1024;

/// Size and modification time of a file. Files of blobs are never changed in place, so the same state means the same
/// content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State {
    bytes: u64,
    modified: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

/// A blob that the target has, or will have.
struct Mirrored {
    state: State,
    is_copied: bool,
    /// Whether the target had it, but damaged.
    is_repaired: bool,
    /// The copy that will replace different content.
    replacement: Option<PathBuf>,
}

/// Copies blobs into a directory of the same structure.
pub struct Mirror<'a> {
    to: &'a Path,
    writing: &'a Path,
    /// Blobs of the earlier backup.
    earlier: Blobs,
    blobs: Blobs,
    mirrored: BTreeMap<String, Mirrored>,
    staged: u64,
}

impl<'a> Mirror<'a> {
    /// Creates a mirror into `to`; `writing`, for temporary files, is in the same file system. `earlier` has the blobs
    /// with known hashes.
    pub fn new(to: &'a Path, writing: &'a Path, earlier: Blobs) -> Self {
        Self { to, writing, earlier, blobs: Blobs::new(), mirrored: BTreeMap::new(), staged: 0 }
    }

    /// Returns the blobs found, by relative path.
    pub const fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Returns the number of copied blobs.
    pub fn copied(&self) -> u64 {
        self.mirrored.values().filter(|blob| blob.is_copied).count() as u64
    }

    /// Returns the number of blobs that were copied because the target's were damaged.
    pub fn repaired(&self) -> u64 {
        self.mirrored.values().filter(|blob| blob.is_repaired).count() as u64
    }

    /// Copies all blobs that the target lacks or has damaged. Blobs with changed content take effect with
    /// [`Self::replace`].
    pub fn copy(&mut self, from: &Path) -> anyhow::Result<()> {
        self.enter(from, "").with_context(|| format!("{} cannot be copied", from.display()))
    }

    fn enter(&mut self, from: &Path, below: &str) -> io::Result<()> {
        let Some(entries) = found(fs::read_dir(from.join(below)))? else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string();
            let name = name.map_err(|name| {
                io::Error::new(ErrorKind::InvalidData, format!("{} is not the name of a blob", name.display()))
            })?;
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            let Some(metadata) = found(entry.metadata())? else { continue };
            if metadata.is_dir() {
                if name != WRITING {
                    self.enter(from, &path)?;
                }
            } else if metadata.is_file() {
                self.bring(&entry.path(), &path, State::of(&metadata))?;
            }
        }
        Ok(())
    }

    /// Copies a blob, unless the target has it undamaged or it was deleted meanwhile.
    fn bring(&mut self, from: &Path, path: &str, state: State) -> io::Result<()> {
        if self.mirrored.get(path).is_some_and(|known| known.state == state) {
            return Ok(());
        }
        let to = self.to.join(path);
        let existing = found(fs::symlink_metadata(&to))?;
        let is_same = existing.as_ref().is_some_and(|known| State::of(known) == state);
        if is_same {
            let known = self.earlier.get(path).filter(|blob| blob.bytes == state.bytes);
            let expected = match known {
                Some(blob) => Some(blob.sha256.clone()),
                None => found(hash_file(from))?,
            };
            let Some(expected) = expected else { return Ok(()) };
            // A file that cannot be read is damaged, too.
            if hash_file(&to).is_ok_and(|sha256| sha256 == expected) {
                let mirrored = Mirrored { state, is_copied: false, is_repaired: false, replacement: None };
                self.note(path, expected, mirrored);
                return Ok(());
            }
        }
        let staged = self.writing.join(format!("blob-{}", self.staged));
        self.staged += 1;
        let Some((state, sha256)) = found(copy_file(from, &staged))? else { return Ok(()) };
        let replacement = if existing.is_some() {
            Some(staged)
        } else {
            if let Some(directory) = to.parent() {
                private_files::create_directories(directory)?;
            }
            fs::rename(&staged, &to)?;
            None
        };
        self.note(path, sha256, Mirrored { state, is_copied: true, is_repaired: is_same, replacement });
        Ok(())
    }

    fn note(&mut self, path: &str, sha256: String, mirrored: Mirrored) {
        self.blobs.insert(path.to_owned(), Blob { bytes: mirrored.state.bytes, sha256 });
        self.mirrored.insert(path.to_owned(), mirrored);
    }

    /// Replaces the blobs with changed content. Until then, the earlier backup is unchanged.
    pub fn replace(&self) -> io::Result<()> {
        for (path, blob) in &self.mirrored {
            if let Some(replacement) = &blob.replacement {
                fs::rename(replacement, self.to.join(path))?;
            }
        }
        Ok(())
    }

    /// Deletes blobs that no longer exist in the source, and returns their number.
    pub fn prune(&self) -> io::Result<u64> {
        self.prune_below("")
    }

    fn prune_below(&self, below: &str) -> io::Result<u64> {
        let Some(entries) = found(fs::read_dir(self.to.join(below)))? else { return Ok(0) };
        let mut removed = 0;
        for entry in entries {
            let entry = entry?;
            // Backups write only UTF-8 names.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            if entry.file_type()?.is_dir() {
                removed += self.prune_below(&path)?;
                // Fails if the directory is not empty.
                if fs::remove_dir(entry.path()).is_err() {
                    continue;
                }
            } else if !self.blobs.contains_key(&path) {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Checks that all blobs of a list were found with the listed size and hash; `from` is their directory.
    pub fn compare(&self, listed: &Blobs, from: &Path) -> anyhow::Result<()> {
        for (path, blob) in listed {
            let found = self.blobs.get(path).with_context(|| format!("{} is missing", from.join(path).display()))?;
            ensure!(found == blob, "{} is damaged: its content is not what was backed up", from.join(path).display());
        }
        Ok(())
    }
}

/// Copies a file with its modification time, readable only by the owner, and syncs it to disk. Returns its size and
/// time, and its SHA-256.
pub fn copy_file(from: &Path, to: &Path) -> io::Result<(State, String)> {
    let source = File::open(from)?;
    let metadata = source.metadata()?;
    let mut copy = private_files::options().write(true).create(true).truncate(true).open(to)?;
    let (bytes, sha256) = hash(source, |piece| copy.write_all(piece))?;
    copy.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
    copy.sync_all()?;
    Ok((State { bytes, ..State::of(&metadata) }, sha256))
}

/// Returns the SHA-256 of a file.
pub fn hash_file(path: &Path) -> io::Result<String> {
    Ok(hash(File::open(path)?, |_| Ok(()))?.1)
}

/// Reads to the end; returns the number of bytes and their SHA-256.
fn hash(mut source: impl Read, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(u64, String)> {
    let (mut hasher, mut buffer, mut bytes) = (Sha256::new(), vec![0; PIECE], 0);
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hex(&hasher.finalize()))),
            Ok(length) => {
                hasher.update(&buffer[..length]);
                each(&buffer[..length])?;
                bytes += length as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
