//! `pluckit config`: shows the effective settings.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::output::output;
use super::{Flags, settings};
use crate::config::{Effective, Source};

/// Widest value that gets a column of its own; longer values shift the source to the right.
const WIDEST_VALUE: usize = 60;

/// Settings that disable others: the first one, if set, makes the listed ones ineffective.
const REPLACED: &[(&str, &[&str])] = &[
    ("FUNCTIONS_CUSTOMHANDLER_PORT", &["PLUCKIT_BIND", "PORT"]),
    ("COSMOS_DB_ENDPOINT", &["PLUCKIT_DATA_DIR", "PLUCKIT_DEMO"]),
    (
        "AZURE_OPENAI_ENDPOINT",
        &["OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_NANO_MODEL", "OPENAI_EMBEDDING_MODEL"],
    ),
    ("StorageQueue", &["StorageQueue__queueServiceUri"]),
];

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
                    "note": note(setting, &settings),
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
            let note = note(setting, &settings).map(|note| format!(" ({note})")).unwrap_or_default();
            writeln!(out, "{:names$}  {value:values$}  {}{note}", setting.name, setting.source.name())?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a remark about a setting that has no effect.
fn note(setting: &Effective, all: &[Effective]) -> Option<String> {
    let is_set = |name: &str| all.iter().any(|other| other.name == name && other.source != Source::Default);
    let replacement = REPLACED.iter().find(|(winner, idle)| idle.contains(&setting.name) && is_set(winner));
    if let Some((winner, _)) = replacement.filter(|_| setting.source != Source::Default) {
        return Some(format!("without effect: {winner} is set"));
    }
    let shadowed: Vec<_> = setting.shadowed.iter().map(|source| source.name()).collect();
    (!shadowed.is_empty()).then(|| format!("goes before {}", shadowed.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &'static str, source: Source, shadowed: &[Source]) -> Effective {
        Effective { name, value: "1".to_owned(), is_secret: false, source, shadowed: shadowed.to_vec() }
    }

    #[test]
    fn what_is_set_without_effect_is_said() {
        let all = [
            setting("COSMOS_DB_ENDPOINT", Source::Environment, &[]),
            setting("PLUCKIT_DATA_DIR", Source::LocalSettings, &[]),
            setting("PLUCKIT_DEMO", Source::Default, &[]),
            setting("PORT", Source::Environment, &[Source::LocalSettings]),
        ];
        let notes: Vec<_> = all.iter().map(|setting| note(setting, &all)).collect();
        let expected = [
            None,
            Some("without effect: COSMOS_DB_ENDPOINT is set".to_owned()),
            None,
            Some("goes before local.settings.json".to_owned()),
        ];
        assert_eq!(notes, expected);
    }
}
