//! The command line, with a file per sub-command. Without a sub-command, the service starts.

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
mod storage;
mod token;
mod usage;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::app;
use crate::base::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::transfer;
use crate::model::ids::UserId;
use crate::store::DocumentStore;

use self::output::{complain, is_reader_gone, output};

/// The backend of PluckIt, an AI wardrobe stylist.
#[derive(Parser)]
#[command(name = "pluckit", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Start the service (default).
    Serve(serve::Arguments),
    /// Talk to the stylist of a running service.
    Chat(chat::Arguments),
    /// Create purchase ideas for a wardrobe.
    Digest(digest::Arguments),
    /// Import wardrobe items, a profile and wear events from files.
    Import(import::Arguments),
    /// Export wardrobe items, the profile and wear events to a file.
    Export(export::Arguments),
    /// Show wardrobe statistics: cost per wear, unworn items, colours.
    Insights(insights::Arguments),
    /// Create, list and revoke API tokens.
    Token(token::Arguments),
    /// Serve the wardrobe to an assistant on this machine (Model Context Protocol, stdio).
    Mcp(mcp::Arguments),
    /// Show what model calls cost, by day and model.
    Usage(usage::Arguments),
    /// List, show, follow, terminate and restart jobs of a running service.
    Jobs(jobs::Arguments),
    /// List, show, replay and delete messages that failed for good, at a running service.
    #[command(
        after_help = "Examples:\n  pluckit dead-letters\n  pluckit dead-letters replay ID --url https://pluckit.example --token-file token.txt"
    )]
    DeadLetters(dead_letters::Arguments),
    /// Check that a running service answers; exit code 0 if it does.
    #[command(after_help = "Examples:\n  pluckit health\n  pluckit health --ready --url https://pluckit.example")]
    Health(health::Arguments),
    /// Show effective settings and their sources; secrets are masked.
    Config(config::Arguments),
    /// Check a deployment and suggest fixes.
    Doctor(doctor::Arguments),
    /// Create databases, queues and containers, or describe them for templates.
    #[command(subcommand)]
    Storage(storage::Command),
    /// Back up documents, queue and blobs of the embedded store; the service may run.
    Backup(backup::BackupArguments),
    /// Restore a backup into an empty data directory.
    Restore(backup::RestoreArguments),
    /// Delete the embedded store and load the demo again, in development.
    Reset(backup::ResetArguments),
    /// Build the Azure Functions package.
    Package(package::Arguments),
    /// Remove the backgrounds of pictures and write them as WebP.
    ProcessImage(process_image::Arguments),
}

/// Values that flags give to settings, by the setting's name.
pub(crate) type Flags = BTreeMap<&'static str, String>;

/// Runs the command line.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
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
        Command::Package(arguments) => package::run(&arguments),
        Command::ProcessImage(arguments) => process_image::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    // What waits in a buffer was not printed.
    let outcome = outcome.and_then(|code| Ok(output().flush().map(|()| code)?));
    outcome.unwrap_or_else(|error| {
        if is_reader_gone(&error) {
            return ExitCode::SUCCESS;
        }
        complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// Reads the settings; `flags` take precedence over everything else. Warns about misspelt names.
fn settings(flags: &Flags) -> anyhow::Result<Config> {
    let config = Config::load(flags)?;
    for unknown_name in &config.unknown_names {
        complain(&format!("warning: {unknown_name}"));
    }
    Ok(config)
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
    /// Reads the settings and opens the store; returns both, and the user.
    fn open(&self) -> anyhow::Result<(Config, Arc<dyn DocumentStore>, UserId)> {
        let (config, user) = self.settings()?;
        let store = app::open_store(&config, &clock())?;
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
