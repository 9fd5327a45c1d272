//! `pluckit import`: reads wardrobe items, a profile and wear events from files into the store.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use encoding_rs::Encoding;
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{output, tell};
use super::{UserArguments, block_on, clock};
use crate::app;
use crate::domain::transfer::{self, Format, Options, RecordKind, Rejection, Source};
use crate::model::ids::UserId;
use crate::store::DocumentStore;
use crate::telemetry::metrics::Metrics;

/// Flags of `import`.
#[derive(Args)]
pub struct Arguments {
    /// Files to read, JSON (list, lines or single object) or CSV; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    user_arguments: UserArguments,
    /// Kind of the rows [default: detected from their fields]
    #[arg(long, value_enum)]
    kind: Option<KindFlag>,
    /// Format of the files [default: detected from name and content]
    #[arg(long, value_enum)]
    format: Option<FormatFlag>,
    /// Text encoding of the files, such as windows-1252 [default: UTF-8, or UTF-16 if detected]
    #[arg(long, value_name = "NAME", value_parser = parse_encoding)]
    encoding: Option<&'static Encoding>,
    /// Validate and report, but write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Kind of rows to import.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KindFlag {
    Wardrobe,
    Profile,
    WearEvents,
}

impl From<KindFlag> for RecordKind {
    fn from(flag: KindFlag) -> Self {
        match flag {
            KindFlag::Wardrobe => Self::Wardrobe,
            KindFlag::Profile => Self::Profile,
            KindFlag::WearEvents => Self::WearEvents,
        }
    }
}

/// Format of a file.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FormatFlag {
    Json,
    Jsonl,
    Csv,
}

impl From<FormatFlag> for Format {
    fn from(flag: FormatFlag) -> Self {
        match flag {
            FormatFlag::Json => Self::Json,
            FormatFlag::Jsonl => Self::Lines,
            FormatFlag::Csv => Self::Csv,
        }
    }
}

/// Imports all files and prints a summary. The exit code is 1 if any row was rejected.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.files.iter().filter(|file| is_standard_input(file)).count() > 1 {
        bail!("standard input can be read only once");
    }
    let bar = progress_bar(&arguments.files);
    let sources = arguments.files.iter().map(|file| open(file, arguments, &bar)).collect::<anyhow::Result<_>>()?;
    let (store, user) = open_store(arguments)?;
    let options = Options {
        user,
        take_over: arguments.user_arguments.user.is_some(),
        kind: arguments.kind.map(Into::into),
        dry_run: arguments.dry_run,
    };
    let outcome = block_on(async {
        Ok(transfer::import(&*store, sources, options, |rejection| bar.suspend(|| report(rejection))).await?)
    });
    bar.finish_and_clear();
    let report = outcome?;
    let (created, updated, unchanged, rejected) = (report.created, report.updated, report.unchanged, report.rejected);
    let remark = if arguments.dry_run { " (dry run: nothing was written)" } else { "" };
    writeln!(output(), "{created} created, {updated} updated, {unchanged} unchanged, {rejected} rejected{remark}")?;
    Ok(if rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens the store. A dry run creates none: without one, it compares with an empty one.
fn open_store(arguments: &Arguments) -> anyhow::Result<(Arc<dyn DocumentStore>, UserId)> {
    let (config, user) = arguments.user_arguments.settings()?;
    let store = if arguments.dry_run && app::has_no_store(&config) {
        app::open_empty_store(&clock())
    } else {
        app::open_store(&config, &clock(), &Metrics::off())
    };
    Ok((store?, user))
}

fn parse_encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.as_bytes()).ok_or_else(|| "not the name of an encoding".to_owned())
}

fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// Opens a file before any row is imported, so that a missing file stops the whole import.
fn open(path: &Path, arguments: &Arguments, bar: &ProgressBar) -> anyhow::Result<Source> {
    let format = arguments.format.map(Into::into).or_else(|| {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "json" => Some(Format::Json),
            "jsonl" | "ndjson" => Some(Format::Lines),
            "csv" | "tsv" => Some(Format::Csv),
            _ => None,
        }
    });
    let (name, input): (_, Box<dyn Read + Send>) = if is_standard_input(path) {
        ("-".to_owned(), Box::new(bar.wrap_read(io::stdin())))
    } else {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("{name} cannot be read"))?;
        if file.metadata()?.is_dir() {
            bail!("{name} is a directory");
        }
        (name, Box::new(bar.wrap_read(file)))
    };
    Ok(Source { name, format, encoding: arguments.encoding, input })
}

/// Creates a progress bar over the bytes read, without a total if standard input is among the files. Hidden if standard
/// error is not a terminal.
fn progress_bar(files: &[PathBuf]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let sizes: Option<u64> = files.iter().map(|file| Some(file.metadata().ok()?.len())).sum();
    let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    match sizes {
        Some(bytes) => ProgressBar::new(bytes)
            .with_style(style("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")),
        None => ProgressBar::new_spinner().with_style(style("{spinner} {bytes}, {bytes_per_sec}")),
    }
}

/// Reports a rejected row as `file:line: reason`.
fn report(rejection: &Rejection) {
    let Rejection { source, line, reason } = rejection;
    tell(&format!("{source}:{line}: {reason}"));
}
