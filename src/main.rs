//! The `pluckit` binary: parses the command line and runs a sub-command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    pluckit::cli::main()
}
