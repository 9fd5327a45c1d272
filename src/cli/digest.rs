//! `pluckit digest`: makes a digest for one user and shows it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;

use super::demo;
use super::output::{harmless, output};
use super::{Whose, block_on, data_dir_flag, settings};
use crate::app::{self, Backends};
use crate::domain::digest::{Outcome, Reason, Trigger, facts};
use crate::model::digest::Digest;
use crate::routes::digest::RunDigestResponse;
use crate::telemetry::observe::Observation;

/// Width of the text on the screen, in characters.
const WIDTH: usize = 80;

/// Flags of `digest`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    whose: Whose,
    /// Make one although nothing has changed, or the user does not want any
    #[arg(long)]
    force: bool,
    /// Print what POST /api/digest/run answers
    #[arg(long)]
    json: bool,
}

/// Makes the digest, unless there is no reason to, and prints what came of it.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = settings(&data_dir_flag(arguments.whose.data_dir.as_deref()))?;
    let user = arguments.whose.user.clone().unwrap_or_else(|| config.identity.local_dev_user.clone());
    // Nothing listens: the address only makes links to pictures, of which a digest has none.
    let backends = Backends::open(&config, SocketAddr::from((Ipv4Addr::LOCALHOST, config.server.port)))?;
    let outcome = block_on(async {
        let app = app::state(config, backends);
        demo::load(&app).await;
        Ok(app.digests.run(&user, Trigger { force: arguments.force, week: None }, Observation::default()).await?)
    })?;
    let mut out = output();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&RunDigestResponse::from(outcome))?)?;
    } else {
        match outcome {
            Outcome::Generated(digest) => out.write_all(readable(&digest).as_bytes())?,
            Outcome::Skipped(reason) => {
                let hint = if reason == Reason::NoItems { "" } else { " (--force makes one all the same)" };
                writeln!(out, "No digest for {user}: {}{hint}", reason.text())?;
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The digest for a terminal, in lines that are not too long.
fn readable(digest: &Digest) -> String {
    let mut text = format!("Ideas for {}\n", digest.user_id);
    text += &wrapped(&facts(digest), "");
    for (number, suggestion) in (1..).zip(&digest.suggestions) {
        text += &format!("\n{number}. {}\n", suggestion.item);
        text += &wrapped(&suggestion.rationale, "   ");
    }
    harmless(&text)
}

/// The text in lines that begin with `indent`.
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
