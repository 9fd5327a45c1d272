//! Checks and locks the target directory of a backup. A directory with anything but a backup is refused.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::{MANIFEST, Manifest, QUEUE_FILE, STORE_FILE, read_manifest};
use crate::base::private_files;
use crate::sqlite;

/// Held by the process that writes a backup.
const LOCK: &str = ".lock";
/// Content of the lock file, which identifies an interrupted backup.
const MARK: &str = "A backup of PluckIt is written to this directory.\n";

/// Checks that a directory may be written to: it does not overlap `used` and is missing, empty or an earlier backup.
/// Returns the manifest of that backup. Changes nothing.
pub fn check<'a>(to: &Path, used: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<Option<Manifest>> {
    let real = resolved(to).with_context(|| format!("{} cannot be used", to.display()))?;
    for path in used {
        let of_service = resolved(path).with_context(|| format!("{} cannot be read", path.display()))?;
        ensure!(
            !real.starts_with(&of_service) && !of_service.starts_with(&real),
            "{} would mix the backup with the service's own data, {}: name a directory elsewhere",
            to.display(),
            path.display()
        );
    }
    if !real.try_exists()? {
        return Ok(None);
    }
    let mut entries = fs::read_dir(to).with_context(|| format!("{} cannot be used", to.display()))?;
    if entries.next().is_none() {
        return Ok(None);
    }
    let earlier = if to.join(MANIFEST).try_exists()? {
        Some(read_manifest(to)?)
    } else {
        ensure!(
            is_begun(to)?,
            "{} contains files that are not part of a backup: name a new or empty directory, or one with a backup",
            to.display()
        );
        None
    };
    for database in [STORE_FILE, QUEUE_FILE].map(|name| to.join(name)) {
        let is_used = sqlite::files::logs(&database).iter().any(|log| log.exists());
        ensure!(
            !is_used && !sqlite::files::keeps_a_log(&database)?,
            "{} was used as a data directory: name another one",
            to.display()
        );
    }
    Ok(earlier)
}

/// Resolves links and `..` in a path of which only the beginning needs to exist.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut real = PathBuf::new();
    for component in std::path::absolute(path)?.components() {
        match component {
            Component::ParentDir => drop(real.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                real.push(component);
                match fs::canonicalize(&real) {
                    Ok(found) => real = found,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(real)
}

/// Whether a backup was started in the directory, and possibly interrupted.
fn is_begun(directory: &Path) -> io::Result<bool> {
    let Some(file) = super::found(File::open(directory.join(LOCK)))? else { return Ok(false) };
    let mut content = Vec::new();
    file.take(MARK.len() as u64 + 1).read_to_end(&mut content)?;
    Ok(content == MARK.as_bytes())
}

/// Locks the directory against other backups until the result is dropped.
pub fn lock(directory: &Path) -> anyhow::Result<File> {
    let path = directory.join(LOCK);
    let mut file = private_files::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another backup is being written to {}", directory.display()),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.write_all(MARK.as_bytes())?;
    Ok(file)
}
