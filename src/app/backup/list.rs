//! The list of a backup's blobs: a file with one line per blob. Its name contains a prefix of its own SHA-256, so the
//! list of an earlier backup remains until `backup.json` refers to the new one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, FileType};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::check_kind;
use super::mirror::hash_file;
use crate::base::private_files;

/// Prefix and suffix of the file name.
const NAME: (&str, &str) = ("blobs-", ".jsonl");
/// Characters of the hash in the name.
const PART_OF_HASH: usize = 16;

/// Blobs by relative path.
pub type Blobs = BTreeMap<String, Blob>;

/// Size and hash of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Size in bytes.
    pub bytes: u64,
    /// Hash of the content.
    pub sha256: String,
}

/// A line of the list.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    path: Cow<'a, str>,
    bytes: u64,
    sha256: Cow<'a, str>,
}

/// Returns the name of the list with this SHA-256.
pub fn file_name(sha256: &str) -> String {
    let part: String = sha256.chars().filter(char::is_ascii_alphanumeric).take(PART_OF_HASH).collect();
    format!("{}{part}{}", NAME.0, NAME.1)
}

/// Writes the list into a directory and returns its SHA-256.
pub fn write(directory: &Path, blobs: &Blobs) -> anyhow::Result<String> {
    let unnamed = directory.join("list");
    let mut file = BufWriter::new(private_files::options().write(true).create_new(true).open(&unnamed)?);
    for (path, Blob { bytes, sha256 }) in blobs {
        serde_json::to_writer(&mut file, &Line { path: path.into(), bytes: *bytes, sha256: sha256.into() })?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    let sha256 = hash_file(&unnamed)?;
    fs::rename(&unnamed, directory.join(file_name(&sha256)))?;
    Ok(sha256)
}

/// Reads the list with this SHA-256 from a directory.
pub fn read(directory: &Path, sha256: &str) -> anyhow::Result<Blobs> {
    let file = directory.join(file_name(sha256));
    check_kind(&file, FileType::is_file)?;
    let found = hash_file(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    ensure!(found == sha256, "{} is damaged: its content is not what was backed up", file.display());
    let mut blobs = Blobs::new();
    for line in BufReader::new(File::open(&file)?).lines() {
        let line = line?;
        let Line { path, bytes, sha256 } =
            serde_json::from_str(&line).with_context(|| format!("{} cannot be read", file.display()))?;
        blobs.insert(path.into_owned(), Blob { bytes, sha256: sha256.into_owned() });
    }
    Ok(blobs)
}

/// Deletes the lists of earlier backups.
pub fn remove_others(directory: &Path, kept: Option<&str>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_list = name.to_str().is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1));
        if is_list && name.to_str() != kept {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
