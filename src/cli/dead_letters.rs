//! `pluckit dead-letters`: lists, shows, replays and deletes a running service's messages that failed for good.

use std::future::ready;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use futures::{StreamExt, TryStreamExt};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::block_on;
use super::client::{Service, ServiceArguments, path_below, print};
use super::output::{one_line, say, tell};

/// Most dead letters that are listed or searched for one.
const MOST_LISTED: usize = 1000;
const PATH: &str = "/api/admin/dead-letters";

/// Flags of `dead-letters`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    service_arguments: ServiceArguments,
}

#[derive(Subcommand)]
enum Command {
    /// List dead letters, newest first (default)
    #[command(after_help = "Examples:\n  pluckit dead-letters list --status dead-lettered")]
    List {
        /// Only those with this status
        #[arg(long, value_enum)]
        status: Option<Status>,
    },
    /// Show a dead letter with its reason and message
    #[command(after_help = "Examples:\n  pluckit dead-letters show ID")]
    Show {
        /// Dead letter id
        id: String,
    },
    /// Send dead letters back to their queues, each once
    #[command(after_help = "Examples:\n  pluckit dead-letters replay ID")]
    Replay {
        /// Dead letter ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Delete dead letters
    #[command(after_help = "Examples:\n  pluckit dead-letters delete ID")]
    Delete {
        /// Dead letter ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    DeadLettered,
    Replayed,
}

impl Status {
    /// The status as the API names it.
    const fn name(self) -> &'static str {
        match self {
            Self::DeadLettered => "dead_lettered",
            Self::Replayed => "replayed",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetter {
    id: String,
    status: String,
    created_at: Option<String>,
    source_queue: String,
    reason: String,
    dequeue_count: Option<u32>,
    replayed_at: Option<String>,
    #[serde(default)]
    payload: Value,
}

/// Runs the sub-command.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let service = arguments.service_arguments.service()?;
    let command = arguments.command.unwrap_or(Command::List { status: None });
    block_on(async {
        match command {
            Command::List { status } => list(&service, status).await,
            Command::Show { id } => show(&service, &id).await,
            Command::Replay { ids } => each(&service, Method::POST, &ids, &["replay"], "replayed").await,
            Command::Delete { ids } => each(&service, Method::DELETE, &ids, &[], "deleted").await,
        }
    })
}

async fn list(service: &Service, status: Option<Status>) -> anyhow::Result<ExitCode> {
    let query = status.map(|status| ("status", status.name())).into_iter().collect();
    print(service.list(PATH, query), MOST_LISTED, "there are no dead letters", line).await?;
    Ok(ExitCode::SUCCESS)
}

/// Formats a dead letter as one line.
fn line(letter: &DeadLetter) -> String {
    let DeadLetter { id, status, created_at, source_queue, reason, .. } = letter;
    let created_at = created_at.as_deref().unwrap_or("-");
    one_line(&format!("{id}  {status:<13}  {created_at}  {source_queue}  {reason}"))
}

async fn show(service: &Service, id: &str) -> anyhow::Result<ExitCode> {
    let letters = service.list(PATH, Vec::new()).take(MOST_LISTED);
    let mut found = pin!(letters.try_filter(|letter: &DeadLetter| ready(letter.id == id)));
    let Some(letter) = found.try_next().await? else { bail!("there is no dead letter {}", one_line(id)) };
    let mut lines = vec![
        format!("Letter   {}", letter.id),
        format!("Status   {}", letter.status),
        format!("Queue    {}", letter.source_queue),
        format!("Reason   {}", letter.reason),
    ];
    lines.extend(letter.created_at.iter().map(|at| format!("Created  {at}")));
    lines.extend(letter.dequeue_count.iter().map(|count| format!("Tries    {count}")));
    lines.extend(letter.replayed_at.iter().map(|at| format!("Replayed {at}")));
    lines.push(format!("Message  {}", letter.payload));
    for line in lines {
        say(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Performs an action on each dead letter. A refused one does not stop the others.
async fn each(
    service: &Service,
    method: Method,
    ids: &[String],
    rest: &[&str],
    done: &str,
) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        let path = path_below(PATH, &[&[&**id], rest].concat());
        match service.send(service.request(method.clone(), &path)).await {
            Ok(_) => say(&format!("{id} is {done}"))?,
            Err(error) => {
                tell(&format!("{id}: {error:#}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
