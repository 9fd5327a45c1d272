//! The command line, with a file or folder per sub-command. Without a sub-command, the service starts. `client` calls a
//! running service for them, `output` prints.

#![expect(clippy::doc_markdown, reason = "doc comments of flags are the help that people read")]

mod backup;
mod chat;
mod client;
mod config;
mod dead_letters;
pub mod demo;
mod digest;
pub mod doctor;
mod export;
mod health;
mod import;
mod insights;
mod jobs;
mod mcp;
mod output;
mod package;
mod process_image;
mod serve;
mod shell;
mod storage;
mod token;
mod usage;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, Parser, Subcommand};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{self, Backends};
use crate::base::clock::{Clock, SystemClock};
use crate::config::{Config, Documents, masked_url};
use crate::domain::transfer;
use crate::model::ids::UserId;
use crate::state::AppState;
use crate::store::DocumentStore;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Metrics;

use self::output::{complain, is_reader_gone, output};

/// The backend of PluckIt, an AI wardrobe stylist.
#[derive(Parser)]
#[command(
    name = "pluckit",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  pluckit\n  pluckit chat 'What should I wear today?'"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Start the service (default).
    #[command(after_help = "Examples:\n  pluckit\n  pluckit serve --port 8080 --data-dir /var/lib/pluckit --no-demo")]
    Serve(serve::Arguments),
    /// Talk to the stylist of a running service.
    #[command(
        after_help = "Examples:\n  pluckit chat 'What should I wear to a casual dinner?'\n  pluckit chat --url https://pluckit.example --token-file token.txt"
    )]
    Chat(chat::Arguments),
    /// Create purchase ideas for a wardrobe.
    #[command(after_help = "Examples:\n  pluckit digest\n  pluckit digest --user 1234567890 --force --json")]
    Digest(digest::Arguments),
    /// Import wardrobe items, a profile and wear events from files.
    #[command(
        after_help = "Examples:\n  pluckit import wardrobe.csv\n  pluckit import items.json wears.jsonl --user 1234567890\n  pluckit import --dry-run - < export.json"
    )]
    Import(import::Arguments),
    /// Export wardrobe items, the profile and wear events to a file.
    #[command(
        after_help = "Examples:\n  pluckit export --output backup.json\n  pluckit export --kind wardrobe --format csv > wardrobe.csv"
    )]
    Export(export::Arguments),
    /// Show wardrobe statistics: cost per wear, unworn items, colours.
    #[command(
        after_help = "Examples:\n  pluckit insights\n  pluckit insights --window-days 30 --target-cpw 15 --all\n  pluckit insights --json"
    )]
    Insights(insights::Arguments),
    /// Create, list and revoke API tokens.
    #[command(after_help = "Examples:\n  pluckit token create 'Chat UI'\n  pluckit token list")]
    Token(token::Arguments),
    /// Serve the wardrobe to an assistant on this machine (Model Context Protocol, stdio).
    #[command(after_help = "Examples:\n  pluckit mcp\n  pluckit mcp --data-dir ./data --read-only")]
    Mcp(mcp::Arguments),
    /// Show what model calls cost, by day and model.
    #[command(
        after_help = "Examples:\n  pluckit usage\n  pluckit usage --all --days 7\n  MODEL_PRICES=gpt-4.1-mini=0.40/1.60 pluckit usage"
    )]
    Usage(usage::Arguments),
    /// List, show, follow, terminate and restart jobs of a running service.
    #[command(
        after_help = "Examples:\n  pluckit jobs\n  pluckit jobs list --status Running\n  pluckit jobs tail ID --url https://pluckit.example --token-file token.txt"
    )]
    Jobs(jobs::Arguments),
    /// List, show, replay and delete dead letters of a running service.
    #[command(
        after_help = "Examples:\n  pluckit dead-letters\n  pluckit dead-letters replay ID --url https://pluckit.example --token-file token.txt"
    )]
    DeadLetters(dead_letters::Arguments),
    /// Check that a running service answers; exit code 0 if it does.
    #[command(after_help = "Examples:\n  pluckit health\n  pluckit health --ready --url https://pluckit.example")]
    Health(health::Arguments),
    /// Show effective settings and their sources; secrets are masked.
    #[command(after_help = "Examples:\n  pluckit config")]
    Config(config::Arguments),
    /// Check a deployment and suggest fixes.
    #[command(after_help = "Examples:\n  pluckit doctor\n  pluckit doctor --json")]
    Doctor(doctor::Arguments),
    /// Create databases, queues and containers, or describe them for templates.
    #[command(
        subcommand,
        after_help = "Examples:\n  pluckit storage init\n  pluckit storage schema > deploy/storage.json"
    )]
    Storage(storage::Command),
    /// Back up documents, queue and blobs of the embedded store; the service may run.
    #[command(after_help = "Examples:\n  pluckit backup /var/backups/pluckit")]
    Backup(backup::BackupArguments),
    /// Restore a backup into an empty data directory.
    #[command(after_help = "Examples:\n  pluckit restore /var/backups/pluckit --data-dir ./restored")]
    Restore(backup::RestoreArguments),
    /// Delete the embedded store and load the demo again, in development.
    #[command(after_help = "Examples:\n  pluckit reset --demo")]
    Reset(backup::ResetArguments),
    /// Build the Azure Functions package.
    #[command(after_help = "Examples:\n  pluckit package --out dist")]
    Package(package::Arguments),
    /// Remove the backgrounds of pictures and write them as WebP.
    #[command(
        after_help = "Examples:\n  pluckit process-image coat.heic -o coat.webp\n  pluckit process-image photos/*.jpg -o cut-out/"
    )]
    ProcessImage(process_image::Arguments),
    /// Print a completion script for a shell.
    #[command(
        after_help = "Examples:\n  pluckit completions bash > ~/.local/share/bash-completion/completions/pluckit\n  pluckit completions zsh > ~/.zfunc/_pluckit\n  pluckit completions fish > ~/.config/fish/completions/pluckit.fish"
    )]
    Completions(shell::CompletionsArguments),
    /// Write manual pages.
    #[command(after_help = "Examples:\n  pluckit man --out ~/.local/share/man/man1")]
    Man(shell::ManArguments),
}

/// Values that flags give to settings, by the setting's name.
pub(crate) type Flags = BTreeMap<&'static str, String>;

/// Runs the command line.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    if let Err(error) = outlive_file_limit() {
        complain(&format!("a file that grows beyond its limit (ulimit -f) will end this process: {error}"));
    }
    let command = line.command.unwrap_or(Command::Serve(line.serve));
    let outcome = match command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Chat(arguments) => chat::run(arguments),
        Command::Digest(arguments) => digest::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Insights(arguments) => insights::run(&arguments),
        Command::Usage(arguments) => usage::run(&arguments),
        Command::Token(arguments) => token::run(arguments),
        Command::Mcp(arguments) => mcp::run(&arguments),
        Command::Jobs(arguments) => jobs::run(arguments),
        Command::DeadLetters(arguments) => dead_letters::run(arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Storage(command) => storage::run(&command),
        Command::Backup(arguments) => backup::back_up(&arguments),
        Command::Restore(arguments) => backup::restore(&arguments),
        Command::Reset(arguments) => backup::reset(&arguments),
        Command::Completions(arguments) => shell::print_completions(&arguments, CommandLine::command()),
        Command::Man(arguments) => shell::write_man_pages(&arguments, CommandLine::command()),
        Command::Package(arguments) => package::run(&arguments),
        Command::ProcessImage(arguments) => process_image::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    // Buffered output is not printed yet.
    let outcome = outcome.and_then(|code| Ok(output().flush().map(|()| code)?));
    outcome.unwrap_or_else(|error| {
        if is_reader_gone(&error) {
            return ExitCode::SUCCESS;
        }
        complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// Makes a write beyond the file size limit (`ulimit -f`) fail like one on a full disk. Without a handler, its signal
/// would end the process.
fn outlive_file_limit() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    // The handler stays installed for the life of the process, even without a listener.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// Reads the settings; `flags` take precedence over everything else. Warns about what was ignored.
fn settings(flags: &Flags) -> anyhow::Result<Config> {
    let config = Config::load(flags)?;
    for warning in &config.warnings {
        complain(&format!("warning: {warning}"));
    }
    Ok(config)
}

/// Opens the back ends for a command that does the service's work without listening.
fn open_app(config: Config) -> anyhow::Result<AppState> {
    // The address is only used for the URLs of pictures, which `pluckit serve` answers.
    let address = (config.server.bind, config.server.port).into();
    let backends = Backends::open(&config, address, Telemetry::off())?;
    Ok(app::state(config, backends))
}

/// Describes the document store in use.
fn documents(config: &Config) -> String {
    match &config.documents {
        Documents::Embedded { directory, .. } => format!("SQLite in {}", directory.display()),
        Documents::Cosmos(cosmos) => format!("Cosmos DB at {}", masked_url(cosmos.endpoint.as_str())),
    }
}

/// Runs a future to completion on a new runtime.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Flags of the commands that work on one user's documents.
#[derive(Args)]
struct UserArguments {
    /// User id [default: LOCAL_DEV_USER_ID]
    #[arg(long, value_name = "ID", value_parser = parse_user, global = true)]
    user: Option<UserId>,
    /// Directory of the embedded store [default: ./data] (PLUCKIT_DATA_DIR)
    #[arg(long, value_name = "DIRECTORY", global = true)]
    data_dir: Option<PathBuf>,
}

impl UserArguments {
    /// Reads the settings and opens the store, and says so if it creates one; returns both, and the user.
    fn open_or_create(&self) -> anyhow::Result<(Config, Arc<dyn DocumentStore>, UserId)> {
        let (config, user) = self.settings()?;
        let is_new = app::has_no_store(&config);
        let store = app::open_store(&config, &clock(), &Metrics::off())?;
        if is_new {
            complain(&format!("there was no store: a new one was created, {}", documents(&config)));
        }
        Ok((config, store, user))
    }

    /// Opens the store for a command that only reads; returns the settings, the store and the user. An embedded store
    /// that does not exist is not created.
    fn open_existing(&self) -> anyhow::Result<(Config, Arc<dyn DocumentStore>, UserId)> {
        let (config, user) = self.settings()?;
        let store = app::open_existing_store(&config, &clock())?;
        Ok((config, store, user))
    }

    /// Opens a snapshot of the store, if it is the embedded one; returns it and the user.
    fn open_snapshot(&self) -> anyhow::Result<(Arc<dyn DocumentStore>, UserId)> {
        let (config, user) = self.settings()?;
        Ok((app::open_snapshot(&config, &clock())?, user))
    }

    fn settings(&self) -> anyhow::Result<(Config, UserId)> {
        let config = settings(&data_dir_flag(self.data_dir.as_deref()))?;
        let user = self.user.clone().unwrap_or_else(|| config.identity.local_dev_user.clone());
        Ok((config, user))
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn parse_user(text: &str) -> Result<UserId, String> {
    if transfer::is_id(text) { Ok(text.into()) } else { Err("not a valid user id".to_owned()) }
}

fn data_dir_flag(directory: Option<&Path>) -> Flags {
    directory.map(|directory| ("PLUCKIT_DATA_DIR", directory.display().to_string())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a command into words like a shell, without leading settings and trailing redirections.
    fn words(command: &str) -> Vec<String> {
        let command = command.split(['<', '>']).next().unwrap_or_default();
        let words = command.split('\'').enumerate().flat_map(|(position, part)| match position % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.skip_while(|word| word != "pluckit").collect()
    }

    /// Returns commands without examples in their help, and examples that are not valid commands.
    fn faults(command: &clap::Command, path: &str) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let mut found = Vec::new();
        if !help.starts_with("Examples:\n  ") || !help.contains(path) {
            found.push(path.to_owned());
        }
        let is_wrong = |example: &&str| CommandLine::try_parse_from(words(example)).is_err();
        found.extend(help.lines().skip(1).filter(is_wrong).map(str::to_owned));
        for child in command.get_subcommands() {
            found.extend(faults(child, &format!("{path} {}", child.get_name())));
        }
        found
    }

    #[test]
    fn every_command_has_examples_in_its_help() {
        let command = CommandLine::command();
        command.clone().debug_assert();
        assert_eq!(faults(&command, "pluckit"), [""; 0]);
    }
}
