//! The command line: a file per sub-command. Without one, the service is started.

mod config;
mod process_image;
mod serve;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

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
    /// Start the service (what happens without a command, too).
    Serve(serve::Arguments),
    /// Show every setting, where it came from, and what it is; secrets are masked.
    Config(config::Arguments),
    /// Remove the backgrounds of pictures and write them as WebP.
    ProcessImage(process_image::Arguments),
}

/// Flags that stand for a setting, by the setting's name.
pub(crate) type Flags = BTreeMap<&'static str, String>;

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    let outcome = match line.command.unwrap_or(Command::Serve(line.serve)) {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::ProcessImage(arguments) => process_image::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// One line for people (and for the Functions host, which takes standard error for errors).
fn complain(error: &anyhow::Error) {
    if writeln!(io::stderr(), "pluckit: {error:#}").is_err() {
        // Nobody listens: the exit code says it all.
    }
}

/// The settings of this process, with `flags` before everything else.
fn settings(flags: &Flags) -> anyhow::Result<Config> {
    Ok(Config::load(flags)?)
}

/// Runs asynchronous work to its end.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
