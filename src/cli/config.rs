//! `pluckit config`: shows the effective settings.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::{Flags, settings};

/// Flags of `config`.
#[derive(Args)]
pub struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Prints every setting with its value and source.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = settings(&Flags::new())?;
    let mut out = io::stdout().lock();
    if arguments.json {
        let rows: Vec<_> = config
            .effective
            .iter()
            .map(|setting| json!({"name": setting.name, "value": setting.value, "source": setting.source.name()}))
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    let widest = |text: fn(&crate::config::Effective) -> usize| config.effective.iter().map(text).max().unwrap_or(0);
    let (names, values) = (widest(|setting| setting.name.len()), widest(|setting| setting.value.len()).min(60));
    for setting in &config.effective {
        let value = if setting.value.is_empty() { "-" } else { &setting.value };
        writeln!(out, "{:names$}  {value:values$}  {}", setting.name, setting.source.name())?;
    }
    Ok(())
}
