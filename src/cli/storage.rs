//! `pluckit storage`: makes what the service needs in an emulator, a fresh account or an empty directory, and tells
//! templates what that is.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::{complain, output};
use super::{block_on, data_dir_flag, settings};
use crate::app::{self, Preparation};
use crate::workers::FUNCTIONS;
use crate::workers::package;

/// What can be done with storage.
#[derive(Subcommand)]
pub enum Command {
    /// Create database, containers, queues and blob container, as far as they are configured; safe to repeat.
    Init(Arguments),
    /// Print what templates make in Azure: containers, queues, blob containers and the settings that functions refer to
    Schema,
}

/// Flags of `storage init`.
#[derive(Args)]
pub struct Arguments {
    /// Directory of the embedded store [default: ./data] (PLUCKIT_DATA_DIR)
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
}

/// Does it, and prints what was made and what was there. What fails does not stop the rest.
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
