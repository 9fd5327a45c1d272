//! `pluckit dead-letters`: lists, shows, replays and deletes a running service's messages that failed for good.

use std::io;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::block_on;
use super::client::{Service, ServiceArguments, path_below};
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    dead_letters: Vec<DeadLetter>,
    next_continuation_token: Option<String>,
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

/// Reads dead letters, newest first, until `is_enough`. Returns whether there are more.
async fn read_all(
    service: &Service,
    status: Option<Status>,
    mut is_enough: impl FnMut(DeadLetter) -> io::Result<bool>,
) -> anyhow::Result<bool> {
    let (mut seen, mut after) = (0, None::<String>);
    loop {
        let mut query = Vec::new();
        query.extend(status.map(|status| ("status", status.name())));
        query.extend(after.as_deref().map(|token| ("continuationToken", token)));
        let page: Page = service.get(PATH, &query).await?;
        for letter in page.dead_letters {
            seen += 1;
            if is_enough(letter)? || seen >= MOST_LISTED {
                return Ok(true);
            }
        }
        after = page.next_continuation_token;
        if after.is_none() {
            return Ok(false);
        }
    }
}

async fn list(service: &Service, status: Option<Status>) -> anyhow::Result<ExitCode> {
    let mut is_empty = true;
    let has_more = read_all(service, status, |letter| {
        is_empty = false;
        say(&line(&letter)).map(|()| false)
    })
    .await?;
    if is_empty {
        say("there are no dead letters")?;
    } else if has_more {
        say("and more")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Formats a dead letter as one line.
fn line(letter: &DeadLetter) -> String {
    let DeadLetter { id, status, created_at, source_queue, reason, .. } = letter;
    let created_at = created_at.as_deref().unwrap_or("-");
    one_line(&format!("{id}  {status:<13}  {created_at}  {source_queue}  {reason}"))
}

async fn show(service: &Service, id: &str) -> anyhow::Result<ExitCode> {
    let mut found = None;
    read_all(service, None, |letter| {
        if letter.id == id {
            found = Some(letter);
        }
        Ok(found.is_some())
    })
    .await?;
    let Some(letter) = found else { bail!("there is no dead letter {}", one_line(id)) };
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
