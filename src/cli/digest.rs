//! `pluckit digest`: creates and shows a digest for one user.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::demo;
use super::output::{complain, harmless, output};
use super::{UserArguments, block_on, documents, open_app};
use crate::domain::digest::{Outcome, Reason, Trigger, facts};
use crate::model::digest::Digest;
use crate::routes::digest::RunDigestResponse;
use crate::telemetry::observe::Observation;

/// Width of printed text, in characters.
const WIDTH: usize = 80;

/// Flags of `digest`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    user_arguments: UserArguments,
    /// Create a digest even if nothing changed or the user opted out
    #[arg(long)]
    force: bool,
    /// Print the response of POST /api/digest/run as JSON
    #[arg(long)]
    json: bool,
}

/// Creates the digest, unless there is no reason to, and prints the result.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (config, user) = arguments.user_arguments.settings()?;
    let outcome = block_on(async {
        let app = open_app(config)?;
        if demo::load(&app).await {
            complain(&format!("the store was empty, so the demo was loaded: {}", documents(&app.config)));
        }
        Ok(app.digests.run(&user, Trigger { force: arguments.force, week: None }, Observation::default()).await?)
    })?;
    let mut out = output();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&RunDigestResponse::from(outcome))?)?;
    } else {
        match outcome {
            Outcome::Generated(digest) => out.write_all(readable(&digest).as_bytes())?,
            Outcome::Skipped(reason) => {
                let hint = if reason == Reason::NoItems { "" } else { " (--force creates one anyway)" };
                writeln!(out, "No digest for {user}: {}{hint}", reason.text())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Formats the digest for a terminal.
fn readable(digest: &Digest) -> String {
    let mut text = format!("Ideas for {}\n", digest.user_id);
    text += &wrapped(&facts(digest), "");
    for (number, suggestion) in (1..).zip(&digest.suggestions) {
        text += &format!("\n{number}. {}\n", suggestion.item);
        text += &wrapped(&suggestion.rationale, "   ");
    }
    harmless(&text)
}

/// Wraps a text into lines that begin with `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let length = indent.len() + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > WIDTH {
            lines += &format!("{indent}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines += &format!("{indent}{line}\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_not_too_long_and_nothing_is_lost() {
        let text = "word ".repeat(60) + &"x".repeat(100);
        let lines = wrapped(&text, "  ");
        assert!(lines.lines().filter(|line| !line.contains('x')).all(|line| line.chars().count() <= WIDTH));
        assert!(lines.lines().all(|line| line.starts_with("  ")));
        assert_eq!(lines.split_whitespace().count(), 61);
        assert_eq!(wrapped(" ", "  "), "");
    }
}
