//! `pluckit config`: shows the effective settings.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::output::output;
use super::{Flags, settings};
use crate::config::Effective;

/// Widest value that gets a column of its own; longer values shift the source to the right.
const WIDEST_VALUE: usize = 60;

/// Flags of `config`.
#[derive(Args)]
pub struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Prints every setting with value and source, and reports settings without effect.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = settings(&Flags::new())?.effective;
    let mut out = output();
    if arguments.json {
        let rows: Vec<_> = settings
            .iter()
            .map(|setting| {
                json!({
                    "name": setting.name,
                    "value": setting.value,
                    "source": setting.source.name(),
                    "note": setting.note(&settings),
                })
            })
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
    } else {
        let widest = |text: fn(&Effective) -> usize| settings.iter().map(text).max().unwrap_or(0);
        let names = widest(|setting| setting.name.len());
        let values = widest(|setting| setting.value.len()).min(WIDEST_VALUE);
        for setting in &settings {
            let value = if setting.value.is_empty() { "-" } else { &setting.value };
            let note = setting.note(&settings).map(|note| format!(" ({note})")).unwrap_or_default();
            writeln!(out, "{:names$}  {value:values$}  {}{note}", setting.name, setting.source.name())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
