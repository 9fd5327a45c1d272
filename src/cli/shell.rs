//! `pluckit completions` and `pluckit man`: completion scripts for shells, and manual pages.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

use super::output::output;

/// Flags of `completions`.
#[derive(Args)]
pub struct CompletionsArguments {
    /// Shell to complete commands in
    #[arg(value_enum)]
    shell: Shell,
}

/// Flags of `man`.
#[derive(Args)]
pub struct ManArguments {
    /// Directory for the pages; created if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints the completion script of a shell.
pub fn print_completions(arguments: &CompletionsArguments, mut command: Command) -> anyhow::Result<ExitCode> {
    // Into memory first, because the generator panics on write errors.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "pluckit", &mut script);
    output().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a manual page for each command.
pub fn write_man_pages(arguments: &ManArguments, command: Command) -> anyhow::Result<ExitCode> {
    let directory = &arguments.out;
    let place = || format!("manual pages cannot be written to {}", directory.display());
    fs::create_dir_all(directory).with_context(place)?;
    clap_mangen::generate_to(command, directory).with_context(place)?;
    Ok(ExitCode::SUCCESS)
}
