//! The `pluckit` binary: parses the command line and runs a sub-command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pluckit::cli::main()
}
