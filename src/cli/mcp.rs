//! `pluckit mcp`: serves the wardrobe of a data directory to an assistant on this machine, over standard input and
//! output. Messages for people go to standard error, which assistants keep in a log.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::demo;
use super::output::{complain, is_terminal};
use super::{UserArguments, block_on, documents, open_app};
use crate::app;
use crate::base::local_offset::OffsetSource;
use crate::mcp::{Server, pipes};
use crate::model::api_token::{Scope, Scopes};
use crate::workers::{functions, pump};

/// Time limit of work in progress after the assistant has disconnected.
const GRACE: Duration = Duration::from_secs(10);

/// Answer to an assistant that requests a change although the server is read-only.
const READ_ONLY: &str = "This server was started with --read-only and changes nothing.";

/// Flags of `mcp`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    user_arguments: UserArguments,
    /// Offer no tool that changes something, and create no store
    #[arg(long)]
    read_only: bool,
}

/// Answers messages until standard input ends.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (config, user) = arguments.user_arguments.settings()?;
    if arguments.read_only {
        app::check_exists(&config)?;
    }
    if is_terminal() {
        complain(
            "waiting for messages of the Model Context Protocol on standard input; docs/mcp.md says who sends them",
        );
    }
    let scopes = if arguments.read_only { Scopes::only([Scope::WardrobeRead]) } else { Scopes::ALL };
    block_on(async {
        let app = open_app(config)?;
        let has_demo_now = !arguments.read_only && demo::load(&app).await;
        let demo = if has_demo_now { ": there was none, so the demo was loaded" } else { "" };
        complain(&format!("the wardrobe of {user}, {}{demo}", documents(&app.config)));
        // Run the pump, so that an added picture becomes a piece even if no service runs on this directory.
        pump::start(&app, functions(app.config.wardrobe_api.is_on), &pump::Options::from_config(&app.config));
        let server = Server::new(app.clone(), user, scopes, OffsetSource::Machine).refusing(READ_ONLY);
        pipes::serve(&server, tokio::io::stdin(), tokio::io::stdout()).await?;
        app.shutdown.cancel();
        app.tasks.close();
        if tokio::time::timeout(GRACE, app.tasks.wait()).await.is_err() {
            complain("some work is not finished: `pluckit serve` continues it");
        }
        Ok(ExitCode::SUCCESS)
    })
}
