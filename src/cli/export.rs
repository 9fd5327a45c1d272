//! `pluckit export`: writes wardrobe items, the profile and wear events from the store to a file.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::import::FormatFlag;
use super::output::{complain, output, tell};
use super::{UserArguments, block_on};
use crate::domain::transfer::{self, Exported, Format, RecordKind};
use crate::model::ids::UserId;
use crate::store::DocumentStore;

/// Flags of `export`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    user_arguments: UserArguments,
    /// Documents to write [default: all; wardrobe for CSV]
    #[arg(long, value_enum)]
    kind: Option<KindFlag>,
    /// Output format [default: from the extension of the output file, else json]
    #[arg(long, value_enum)]
    format: Option<FormatFlag>,
    /// Output file, replaced only after everything is written [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Kind of documents to export.
#[derive(Clone, Copy, ValueEnum)]
enum KindFlag {
    Wardrobe,
    Profile,
    WearEvents,
    All,
}

impl KindFlag {
    const fn kinds(self) -> &'static [RecordKind] {
        match self {
            Self::Wardrobe => &[RecordKind::Wardrobe],
            Self::Profile => &[RecordKind::Profile],
            Self::WearEvents => &[RecordKind::WearEvents],
            Self::All => &[RecordKind::Profile, RecordKind::Wardrobe, RecordKind::WearEvents],
        }
    }
}

/// Exports, and prints the number of documents on standard error.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = arguments.output.as_deref().filter(|file| file.as_os_str() != "-");
    let format = arguments.format.map_or_else(|| format_of(file), Format::from);
    let kind = arguments.kind.unwrap_or(if format == Format::Csv { KindFlag::Wardrobe } else { KindFlag::All });
    if format == Format::Csv && !matches!(kind, KindFlag::Wardrobe) {
        bail!("a CSV table holds wardrobe items only: use --kind wardrobe, or json or jsonl");
    }
    let (store, user) = arguments.user_arguments.open_snapshot()?;
    let job = Job { store: &*store, user: &user, kinds: kind.kinds(), format };
    let exported = match file {
        Some(file) => job.write_file(file)?,
        None => job.write(BufWriter::new(output()))?,
    };
    if exported.lost_values > 0 {
        complain(&format!("{} values do not fit their column and were left out; json has them", exported.lost_values));
    }
    if let Some(file) = file {
        tell(&format!("{} documents of {user} written to {}", exported.rows, file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Suffix of a file that is being written.
const PART: &str = ".part";

/// Deletes partial files of killed exports to this file. A running export holds a lock on its own.
fn sweep(file: &Path) {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return };
    let is_part = |entry: &fs::DirEntry| {
        let found = entry.file_name();
        let number = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(PART));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten().filter(is_part) {
        let is_left = File::open(entry.path()).is_ok_and(|part| part.try_lock().is_ok());
        if is_left && let Err(error) = fs::remove_file(entry.path()) {
            complain(&format!("{} cannot be deleted: {error}", entry.path().display()));
        }
    }
}

fn format_of(output: Option<&Path>) -> Format {
    let extension = output.and_then(Path::extension).and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" => Format::Lines,
        "csv" => Format::Csv,
        _ => Format::Json,
    }
}

struct Job<'a> {
    store: &'a dyn DocumentStore,
    user: &'a UserId,
    kinds: &'a [RecordKind],
    format: Format,
}

impl Job<'_> {
    fn write(&self, out: impl Write + Send) -> Result<Exported, transfer::Error> {
        block_on(async { Ok(transfer::export(self.store, self.user, self.kinds, self.format, out).await) })
            .map_err(|error| transfer::Error::Output(io::Error::other(error)))?
    }

    /// Writes to a temporary file and renames it, so that a partial export never replaces a complete one.
    fn write_file(&self, file: &Path) -> anyhow::Result<Exported> {
        let fault = || format!("{} cannot be written", file.display());
        if file.is_dir() {
            bail!("{} is a directory", file.display());
        }
        sweep(file);
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{}{PART}", std::process::id()));
        let part = PathBuf::from(name);
        let written = (|| {
            let out = File::create(&part).with_context(fault)?;
            // Held while this process lives, so that abandoned files can be recognised.
            out.lock().with_context(fault)?;
            let exported = self.write(BufWriter::new(&out))?;
            out.sync_all().with_context(fault)?;
            fs::rename(&part, file).with_context(fault)?;
            Ok(exported)
        })();
        if written.is_err()
            && let Err(error) = fs::remove_file(&part)
            && error.kind() != ErrorKind::NotFound
        {
            complain(&format!("{} cannot be deleted: {error}", part.display()));
        }
        written
    }
}
