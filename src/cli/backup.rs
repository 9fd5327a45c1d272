//! `pluckit backup`, `restore` and `reset`: operations on the whole data directory.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Args;

use super::output::{output, tell};
use super::{block_on, clock, data_dir_flag, demo, open_app, settings};
use crate::app::backup::{self, BlobChanges, Manifest};
use crate::config::{Config, Documents, Environment};

/// Flags of `backup`.
#[derive(Args)]
pub struct BackupArguments {
    /// Directory of the backup; created if missing, updated if it has an earlier backup
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Data directory [default: ./data] (PLUCKIT_DATA_DIR)
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
}

/// Writes a backup.
pub fn back_up(arguments: &BackupArguments) -> anyhow::Result<ExitCode> {
    let config = settings(&data_dir_flag(arguments.data_dir.as_deref()))?;
    let (manifest, changes) = backup::back_up(&config, &arguments.directory, clock().now().into())?;
    let mut out = output();
    writeln!(out, "Backup of {} in {}", manifest.created_at, arguments.directory.display())?;
    show(&mut out, &manifest, Some(changes))?;
    Ok(ExitCode::SUCCESS)
}

/// Flags of `restore`.
#[derive(Args)]
pub struct RestoreArguments {
    /// Directory of the backup
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Data directory, which must be empty [default: ./data] (PLUCKIT_DATA_DIR)
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
}

/// Restores a backup to an empty data directory.
pub fn restore(arguments: &RestoreArguments) -> anyhow::Result<ExitCode> {
    let config = settings(&data_dir_flag(arguments.data_dir.as_deref()))?;
    let manifest = backup::restore(&config, &arguments.directory)?;
    let mut out = output();
    writeln!(out, "Backup of {} restored to {}", manifest.created_at, config.data_directory.display())?;
    show(&mut out, &manifest, None)?;
    Ok(ExitCode::SUCCESS)
}

fn show(out: &mut impl Write, manifest: &Manifest, changes: Option<BlobChanges>) -> io::Result<()> {
    let size = |bytes: Option<u64>| match bytes {
        Some(bytes) => format!("{} KiB", bytes.div_ceil(1024)),
        None => "not included".to_owned(),
    };
    let changes = changes.map(|BlobChanges { copied, repaired, removed }| {
        let damaged =
            if repaired > 0 { format!("; {repaired} in the backup damaged, copied again") } else { String::new() };
        format!(" ({copied} copied, {removed} removed{damaged})")
    });
    let blobs = manifest.blobs.map(|count| format!("{count}{}", changes.unwrap_or_default()));
    writeln!(out, "  documents  {}", size(manifest.document_bytes))?;
    writeln!(out, "  queue      {}", size(manifest.queue_bytes))?;
    writeln!(out, "  blobs      {}", blobs.unwrap_or_else(|| "not included".to_owned()))
}

/// Flags of `reset`.
#[derive(Args)]
pub struct ResetArguments {
    /// Load the demo afterwards
    #[arg(long, required = true)]
    demo: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Data directory [default: ./data] (PLUCKIT_DATA_DIR)
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
}

/// Deletes the data directory's contents and loads the demo. For development.
pub fn reset(arguments: &ResetArguments) -> anyhow::Result<ExitCode> {
    let config = settings(&data_dir_flag(arguments.data_dir.as_deref()))?;
    let embedded = matches!(config.documents, Documents::Embedded { .. });
    ensure!(
        config.environment == Environment::Development && embedded,
        "only the embedded store in development is reset"
    );
    if !arguments.yes {
        confirm(&config)?;
    }
    backup::clear(&config)?;
    let (documents, pictures) = block_on(load_demo(config))?;
    let mut out = output();
    let documents = if documents { "loaded" } else { "not loaded" };
    writeln!(out, "Demo {documents}, with {pictures} pictures")?;
    Ok(ExitCode::SUCCESS)
}

fn confirm(config: &Config) -> anyhow::Result<()> {
    ensure!(io::stdin().is_terminal(), "--yes is required when standard input is not a terminal");
    tell(&format!("Delete everything in {}? [y/N]", config.data_directory.display()));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { bail!("nothing was deleted") }
}

async fn load_demo(config: Config) -> anyhow::Result<(bool, usize)> {
    let app = open_app(config)?;
    let user = &app.config.identity.local_dev_user;
    let documents = demo::load_if_empty(&app.data, &*app.model, demo::gallery(&app), user, app.clock.now()).await?;
    demo::examples::import_documents(&app).await?;
    demo::examples::import_files(&app).await?;
    let pictures = demo::import_pictures(&app.data, demo::gallery(&app), user).await?;
    app.tasks.close();
    app.tasks.wait().await;
    Ok((documents, pictures))
}
