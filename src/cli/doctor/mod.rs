//! `pluckit doctor`: checks a deployment and suggests fixes.

pub mod checks;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tempfile::TempDir;

use self::checks::{Report, Verdict};
use super::output::{is_terminal, one_line, output, styled};
use super::{block_on, data_dir_flag, settings};
use crate::app::{self, EachBackend};
use crate::config::{Config, CutoutModel, Documents};

/// Flags of `doctor`.
#[derive(Args)]
pub struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Directory of the embedded store [default: ./data] (PLUCKIT_DATA_DIR)
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
}

/// Runs the checks and prints their reports; fails if anything is broken.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut config = settings(&data_dir_flag(arguments.data_dir.as_deref()))?;
    let wanted = config.data_directory.clone();
    // Before the data directory is replaced below: the default network is looked up beside it.
    config.media.cutout_model = app::cutout_model(&config.media.cutout_model, &config.data_directory)
        .map_or(CutoutModel::Off, CutoutModel::File);
    let stand_in = app::check_restored(&config)
        .and_then(|()| app::has_no_store(&config).then(|| stand_in(&mut config)).transpose());
    let hindrance = stand_in.as_ref().err().map(|error| format!("{error:#}"));
    let mut reports = block_on(async {
        let address = SocketAddr::new(config.server.bind, config.server.port);
        let backends = EachBackend::open(&config, address, hindrance.as_deref())?;
        Ok(checks::examine(&config, backends).await)
    })?;
    if matches!(stand_in, Ok(Some(_))) {
        let documents =
            reports.iter_mut().find(|report| report.check == "documents" && report.verdict == Verdict::Good);
        if let Some(report) = documents {
            report.found = format!("there is no store in {} yet: the first start creates it", wanted.display());
        }
    }
    if arguments.json {
        writeln!(output(), "{}", serde_json::to_string_pretty(&reports)?)?;
    } else {
        show(&mut styled(), &reports)?;
    }
    let is_well = reports.iter().all(|report| report.verdict != Verdict::Fault);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the checks use a temporary directory where the first start will create the embedded store: in the data
/// directory or, if that is missing, in its nearest existing parent. It is deleted on drop, so that the checks leave
/// nothing behind.
fn stand_in(config: &mut Config) -> anyhow::Result<TempDir> {
    let here = std::path::absolute(&config.data_directory)?;
    let parent = here.ancestors().find(|path| path.exists()).context("no directory of the path exists")?;
    let directory = tempfile::Builder::new()
        .prefix(".pluckit-doctor-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create files in {}", parent.display()))?;
    let path = directory.path().to_owned();
    if let Documents::Embedded { directory, .. } = &mut config.documents {
        directory.clone_from(&path);
    }
    config.data_directory = path;
    Ok(directory)
}

fn show(out: &mut impl Write, reports: &[Report]) -> io::Result<()> {
    let coloured = is_terminal() && console::colors_enabled();
    let width = reports.iter().map(|report| report.check.len()).max().unwrap_or(0);
    for Report { check, verdict, found, fix } in reports {
        let (word, colour) = match verdict {
            Verdict::Good => ("ok", "32"),
            Verdict::Warning => ("warning", "33"),
            Verdict::Skipped => ("-", "2"),
            Verdict::Fault => ("FAULT", "31"),
        };
        let padding = " ".repeat(8 - word.len());
        let word = if coloured { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() };
        writeln!(out, "{word}{padding}{check:width$}  {}", one_line(found))?;
        if !fix.is_empty() {
            writeln!(out, "{:8}{:width$}  -> {}", "", "", one_line(fix))?;
        }
    }
    let faults = reports.iter().filter(|report| report.verdict == Verdict::Fault).count();
    let warnings = reports.iter().filter(|report| report.verdict == Verdict::Warning).count();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    writeln!(out, "\n{}, {}", count(faults, "fault"), count(warnings, "warning"))
}
