//! `pluckit storage`: creates what the service needs in an account, an emulator or a directory, and describes it for
//! templates.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::{complain, output};
use super::{block_on, data_dir_flag, settings};
use crate::app::{self, Preparation};
use crate::workers::FUNCTIONS;
use crate::workers::package;

/// Sub-commands of `pluckit storage`.
#[derive(Subcommand)]
pub enum Command {
    /// Create missing databases, containers, queues and blob containers; safe to repeat.
    #[command(after_help = "Examples:\n  pluckit storage init --data-dir /var/lib/pluckit")]
    Init(Arguments),
    /// Print containers, queues, blob containers and the settings that functions refer to as JSON, for templates
    #[command(after_help = "Examples:\n  pluckit storage schema > deploy/storage.json")]
    Schema,
}

/// Flags of `storage init`.
#[derive(Args)]
pub struct Arguments {
    /// Directory of the embedded store [default: ./data] (PLUCKIT_DATA_DIR)
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
}

/// Runs the sub-command and prints what was created and what existed. A failed part does not stop the others.
pub fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let arguments = match command {
        Command::Init(arguments) => arguments,
        Command::Schema => return print_schema(),
    };
    let config = settings(&data_dir_flag(arguments.data_dir.as_deref()))?;
    block_on(async {
        let mut all_there = true;
        for (what, prepared) in app::prepare_storage(&config).await {
            match prepared {
                Ok(preparations) => show(&preparations)?,
                Err(error) => {
                    complain(&format!("{what}: {error:#}"));
                    all_there = false;
                }
            }
        }
        Ok(if all_there { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn print_schema() -> anyhow::Result<ExitCode> {
    let mut out = output();
    writeln!(out, "{:#}", package::azure_schema(FUNCTIONS)?)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn show(preparations: &[Preparation]) -> io::Result<()> {
    let mut out = output();
    for Preparation { what, state } in preparations {
        writeln!(out, "{state:<14}  {what}")?;
    }
    out.flush()
}
