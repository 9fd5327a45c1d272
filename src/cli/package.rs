//! `pluckit package`: builds the Azure Functions package.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::output::output;
use crate::app;
use crate::config::read_cutout_model;
use crate::imaging::network::Network;
use crate::workers::{functions, package};

/// Flags of `package`.
#[derive(Args)]
pub struct Arguments {
    /// Output directory: new, empty, or an older package
    #[arg(long, value_name = "DIRECTORY", default_value = "dist")]
    out: PathBuf,
    /// Binary to package, built for the host's system [default: this binary]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Include the functions of the wardrobe API, which then must be on (WARDROBE_API)
    #[arg(long)]
    wardrobe_api: bool,
}

/// Writes the package.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => env::current_exe().context("the path of the running binary is unknown: name it with --binary")?,
    };
    let functions = functions(arguments.wardrobe_api);
    let (setting, data_directory) = read_cutout_model();
    let model = app::cutout_model(&setting, &data_directory);
    if let Some(model) = &model {
        // Checked here, so that no package is deployed that does not start.
        Network::open(model).context("CUTOUT_MODEL")?;
    }
    package::write(functions, &arguments.out, &binary, model.as_deref())?;
    let network = match &model {
        Some(model) => format!("with the background-removal network, {}", model.display()),
        None => "without the background-removal network (scripts/fetch-models downloads it)".to_owned(),
    };
    writeln!(
        output(),
        "Package of {} functions and the HTTP routes in {}, {network}. Try it: cd {} && func start",
        functions.len(),
        arguments.out.display(),
        arguments.out.display(),
    )?;
    Ok(ExitCode::SUCCESS)
}
