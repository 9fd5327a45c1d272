//! `pluckit jobs`: lists, shows, follows, terminates and restarts jobs of a running service.

use std::fmt;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::{Value, json};

use super::block_on;
use super::client::{Service, ServiceArguments, path_below, print, read};
use super::output::{one_line, say, tell, words};
use crate::model::job::JobStatus;

/// Default time between polls, and the longest `Retry-After` that is obeyed.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Most jobs that are listed.
const MOST_LISTED: usize = 500;
/// Consecutive failed polls after which `tail` gives up.
const MOST_FAULTS: u32 = 5;

/// Flags of `jobs`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    service_arguments: ServiceArguments,
}

#[derive(Subcommand)]
enum Command {
    /// List your jobs, newest first (default)
    #[command(after_help = "Examples:\n  pluckit jobs list --status Failed --all")]
    List {
        /// Only jobs with this status: Pending, Running, Completed, Failed or Terminated
        #[arg(long, value_parser = parse_status)]
        status: Option<&'static str>,
        /// List the jobs of all users (administrators)
        #[arg(long)]
        all: bool,
    },
    /// Show a job with its history and outputs
    #[command(after_help = "Examples:\n  pluckit jobs show ID")]
    Show {
        /// Job id
        id: String,
    },
    /// Follow a job until it ends; exit code 0 if it completed
    #[command(after_help = "Examples:\n  pluckit jobs tail ID")]
    Tail {
        /// Job id
        id: String,
    },
    /// Terminate a job
    #[command(after_help = "Examples:\n  pluckit jobs terminate ID --reason 'no need'")]
    Terminate {
        /// Job id
        id: String,
        /// Reason, shown in the job's history
        #[arg(long)]
        reason: Option<String>,
    },
    /// Start a new job with the same input
    #[command(after_help = "Examples:\n  pluckit jobs restart ID")]
    Restart {
        /// Job id
        id: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    id: String,
    user_id: Option<String>,
    name: String,
    status: String,
    created_time: String,
    last_updated_time: String,
    custom_status: Option<Progress>,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    result: Value,
    error: Option<String>,
    #[serde(default)]
    history: Vec<Change>,
}

impl Job {
    fn is_final(&self) -> bool {
        matches!(&*self.status, "Completed" | "Failed" | "Terminated")
    }
}

#[derive(Deserialize, Default)]
struct Progress {
    done: u64,
    total: u64,
    message: String,
}

impl fmt::Display for Progress {
    /// Writes the message, after "1/3" if the total is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, total, message } = self;
        if *total > 0 {
            write!(f, "{done}/{total} ")?;
        }
        f.write_str(message)
    }
}

#[derive(Deserialize)]
struct Change {
    at: String,
    status: String,
    detail: Option<String>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    title: String,
    size: u64,
}

#[derive(Deserialize)]
struct Files {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

/// Runs the sub-command.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let service = arguments.service_arguments.service()?;
    let command = arguments.command.unwrap_or(Command::List { status: None, all: false });
    block_on(async {
        match command {
            Command::List { status, all } => list(&service, status, all).await?,
            Command::Show { id } => show(&service, &id).await?,
            Command::Tail { id } => return tail(&service, &id).await,
            Command::Terminate { id, reason } => {
                let body = json!({ "reason": reason });
                let path = path_of(&id, &["terminate"]);
                service.send(service.request(Method::POST, &path).json(&body)).await?;
                say(&format!("{id} is terminated"))?;
            }
            Command::Restart { id } => {
                let request = service.request(Method::POST, &path_of(&id, &["restart"]));
                let new: Accepted = read(service.send(request).await?).await?;
                say(&new.id)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Builds the path of a job.
fn path_of(id: &str, rest: &[&str]) -> String {
    path_below("/api/jobs", &[&[id], rest].concat())
}

/// Parses a status, in any case.
fn parse_status(text: &str) -> Result<&'static str, String> {
    let mut names = JobStatus::ALL.into_iter().map(JobStatus::name);
    let known = names.find(|name| name.eq_ignore_ascii_case(text));
    known.ok_or_else(|| format!("one of {}", JobStatus::ALL.map(JobStatus::name).join(", ")))
}

async fn list(service: &Service, status: Option<&str>, all: bool) -> anyhow::Result<()> {
    let path = if all { "/api/admin/jobs" } else { "/api/jobs" };
    let query = status.map(|status| ("status", status)).into_iter().collect();
    print(service.list(path, query), MOST_LISTED, "there are no jobs", line).await
}

/// Formats a job as one line.
fn line(job: &Job) -> String {
    let progress = job.custom_status.as_ref().filter(|_| !job.is_final());
    let progress = progress.map(|progress| format!("  {progress}")).unwrap_or_default();
    let owner = job.user_id.as_ref().map(|owner| format!("  {owner}")).unwrap_or_default();
    let error = job.error.as_ref().map(|error| format!("  {error}")).unwrap_or_default();
    let Job { id, name, status, created_time, .. } = job;
    let line = format!("{id}  {status:<10}  {created_time}  {name}{owner}{progress}{error}");
    one_line(&line)
}

async fn show(service: &Service, id: &str) -> anyhow::Result<()> {
    let job: Job = service.get(&path_of(id, &[]), &[]).await?;
    let mut lines = vec![
        format!("Job      {}", job.id),
        format!("Kind     {}", job.name),
        format!("Status   {}", job.status),
        format!("Created  {}", job.created_time),
        format!("Updated  {}", job.last_updated_time),
        format!("Input    {}", job.input),
    ];
    lines.extend(job.custom_status.iter().map(|progress| format!("Progress {progress}")));
    if !job.result.is_null() {
        lines.push(format!("Result   {}", job.result));
    }
    lines.extend(job.error.iter().map(|error| format!("Error    {error}")));
    for Change { at, status, detail } in &job.history {
        let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        lines.push(format!("         {at} {status}{detail}"));
    }
    let Files { files } = service.get(&path_of(id, &["outputs"]), &[]).await?;
    for File { path, title, size } in files {
        lines.push(format!("File     {path} ({size} bytes): {title}"));
    }
    for line in lines {
        say(&line)?;
    }
    Ok(())
}

async fn tail(service: &Service, id: &str) -> anyhow::Result<ExitCode> {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let (measured, unmeasured) = (style("{spinner} {bar:30} {wide_msg}"), style("{spinner} {wide_msg}"));
    bar.enable_steady_tick(Duration::from_millis(120));
    let (mut faults, mut last) = (0, String::new());
    let job = loop {
        let pause = match look(service, id).await {
            Ok((job, _)) if job.is_final() => break job,
            Ok((job, pause)) => {
                faults = 0;
                let progress = job.custom_status.unwrap_or_default();
                // The reason for waiting, if it was tried before.
                let reason = job.history.last().filter(|change| change.status == "Pending");
                let reason = reason.and_then(|change| change.detail.as_ref()).map(|detail| format!(" ({detail})"));
                let now = words(&format!("{} {progress}{}", job.status, reason.unwrap_or_default()));
                bar.set_style(if progress.total > 0 { measured.clone() } else { unmeasured.clone() });
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.set_message(now.clone());
                // Without a progress bar, each change is a line.
                if bar.is_hidden() && now != last {
                    tell(&now);
                    last = now;
                }
                pause
            }
            // A restarting service will answer again soon; a missing job will not.
            Err(error) if faults + 1 >= MOST_FAULTS || error.to_string().ends_with("(404)") => return Err(error),
            Err(_) => {
                faults += 1;
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    };
    bar.finish_and_clear();
    say(&line(&job))?;
    match &*job.status {
        "Completed" => Ok(ExitCode::SUCCESS),
        "Failed" | "Terminated" => Ok(ExitCode::FAILURE),
        status => bail!("the job has ended as {}", one_line(status)),
    }
}

/// Fetches a job and the time to wait before the next poll.
async fn look(service: &Service, id: &str) -> anyhow::Result<(Job, Duration)> {
    let response = service.send(service.request(Method::GET, &path_of(id, &[]))).await?;
    let seconds = response.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    let pause = seconds.map_or(PAUSE, Duration::from_secs).min(LONGEST_PAUSE);
    Ok((read(response).await?, pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_one_harmless_line() {
        let job = |status: &str| -> Job {
            serde_json::from_value(json!({
                "id": "0a", "name": "moods.seed", "status": status, "createdTime": "2026-03-02T09:15:00.000Z",
                "lastUpdatedTime": "x", "customStatus": {"done": 1, "total": 3, "message": "chunk\u{1b}[2J 2"}, "error": null
            }))
            .unwrap()
        };
        assert_eq!(line(&job("Running")), "0a  Running     2026-03-02T09:15:00.000Z  moods.seed  1/3 chunk[2J 2");
        assert_eq!(line(&job("Completed")), "0a  Completed   2026-03-02T09:15:00.000Z  moods.seed");
    }
}
