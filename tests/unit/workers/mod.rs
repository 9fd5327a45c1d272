//! Triggers of functions, and the fate of their messages. The functions here are scripted by their messages, and record
//! their runs.

mod chain;
mod dead_letters;
mod digest;
mod draft_kills;
mod drafts;
mod host;
mod invocation;
mod jobs;
mod jobs_bounds;
mod jobs_kills;
mod jobs_kinds;
mod jobs_races;
mod kills;
mod packaging;
mod poison;
mod pump;
mod scrape;
mod scrape_kills;
mod sweeps;
mod taste;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use pluckit::domain::dead_letters::FailedMessage;
use pluckit::state::AppState;
use pluckit::workers::{Delivery, Function, JobError, QueueRole, QueueTrigger, TimerTrigger, Trigger};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::until;

/// Functions for tests, on the settings of the service's own.
pub static SCRIPTED: [Function; 3] = [
    Function {
        name: "Scripted",
        trigger: Trigger::Queue(QueueTrigger {
            setting: "TASTE_JOB_QUEUE_NAME",
            suffix: "",
            names: |config| &config.queues.taste,
            role: QueueRole::Work { run: follow_script, give_up: note_given_up, keeps_last_failure: false },
        }),
    },
    Function {
        name: "ScriptedDlq",
        trigger: Trigger::Queue(QueueTrigger {
            setting: "TASTE_JOB_DEAD_LETTER_QUEUE_NAME",
            suffix: "",
            names: |config| &config.queues.taste,
            role: QueueRole::Poison { give_up: note_dead_letter },
        }),
    },
    Function {
        name: "ScriptedTimer",
        trigger: Trigger::Timer(TimerTrigger {
            setting: "JOB_SWEEPER_SCHEDULE",
            schedule: |config| &config.workers.job_sweeper_schedule,
            run: tick,
        }),
    },
];

/// The queue of `Scripted`.
pub const QUEUE: &str = "taste-analysis-jobs";
/// The queue of `ScriptedDlq`.
pub const POISON_QUEUE: &str = "taste-analysis-jobs-poison";

/// What is known about one message, or one service's timer.
#[derive(Debug, Default, Clone)]
pub struct Record {
    /// When each run began.
    pub begun: Vec<Instant>,
    /// The count of deliveries that each run was told.
    pub counts: Vec<u32>,
    /// Runs that go on.
    pub running: usize,
    /// Reasons for which it was given up, with the text.
    pub given_up: Vec<(String, String)>,
    /// Texts that arrived in the queue of dead letters.
    pub dead: Vec<String>,
}

#[derive(Default)]
struct Notes {
    records: BTreeMap<String, Record>,
    released: BTreeSet<String>,
    timer_faults: BTreeMap<String, usize>,
}

fn notes() -> MutexGuard<'static, Notes> {
    static NOTES: LazyLock<Mutex<Notes>> = LazyLock::new(Mutex::default);
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that no other test uses.
pub fn fresh_key() -> String {
    Uuid::new_v4().to_string()
}

/// A message that is treated as its script says, a step for each run; the last step counts for all others.
pub fn script(key: &str, steps: &[&str]) -> String {
    json!({"key": key, "steps": steps}).to_string()
}

pub fn record(key: &str) -> Record {
    notes().records.get(key).cloned().unwrap_or_default()
}

/// Lets the runs go on that wait in step `hold`.
pub fn release(key: &str) {
    notes().released.insert(key.to_owned());
}

/// Makes the next runs of this service's timer fail.
pub fn fail_timer(service: &str, times: usize) {
    notes().timer_faults.insert(service.to_owned(), times);
}

/// Waits until the message was begun so many times.
pub async fn until_begun(key: &str, times: usize) {
    until(&format!("run {times}"), async || record(key).begun.len() >= times).await;
}

fn parse(text: &str) -> Option<(String, Vec<String>)> {
    let message: Value = serde_json::from_str(text).ok()?;
    let steps =
        message["steps"].as_array()?.iter().map(|step| step.as_str().map(str::to_owned)).collect::<Option<_>>()?;
    Some((message["key"].as_str()?.to_owned(), steps))
}

fn follow_script(_app: &AppState, delivery: Delivery) -> BoxFuture<'_, Result<(), JobError>> {
    struct Running(String);
    impl Drop for Running {
        fn drop(&mut self) {
            notes().records.entry(self.0.clone()).or_default().running -= 1;
        }
    }
    async move {
        let (key, steps) = parse(&delivery.text).ok_or_else(|| JobError::give_up("no script"))?;
        let run = {
            let mut notes = notes();
            let record = notes.records.entry(key.clone()).or_default();
            record.begun.push(Instant::now());
            record.counts.push(delivery.dequeue_count);
            record.running += 1;
            record.begun.len() - 1
        };
        let _running = Running(key.clone());
        match steps[run.min(steps.len() - 1)].as_str() {
            "done" => Ok(()),
            "fail" => Err(JobError::retry("the model is down")),
            "panic" => panic!("as the script says"),
            "hang" => std::future::pending().await,
            "not now" => Err(JobError::NotNow),
            "give up" => Err(JobError::give_up("as the script says")),
            "hold" => {
                until("released", async || notes().released.contains(&key)).await;
                Ok(())
            }
            step => panic!("no such step: {step}"),
        }
    }
    .boxed()
}

fn note_given_up(_app: &AppState, failed: FailedMessage) -> BoxFuture<'_, Result<(), JobError>> {
    async move {
        let key = parse(&failed.text).map_or(failed.text.clone(), |(key, _)| key);
        notes().records.entry(key).or_default().given_up.push((failed.reason.unwrap_or_default(), failed.text));
        Ok(())
    }
    .boxed()
}

fn note_dead_letter(_app: &AppState, failed: FailedMessage) -> BoxFuture<'_, Result<(), JobError>> {
    async move {
        let key = parse(&failed.text).map_or(failed.text.clone(), |(key, _)| key);
        notes().records.entry(key).or_default().dead.push(failed.text);
        Ok(())
    }
    .boxed()
}

/// Notes the run under the service's development user, the one text that a test can give it.
fn tick(app: &AppState) -> BoxFuture<'_, Result<(), JobError>> {
    async move {
        let service = app.config.identity.local_dev_user.to_string();
        let mut notes = notes();
        notes.records.entry(service.clone()).or_default().begun.push(Instant::now());
        match notes.timer_faults.get_mut(&service) {
            Some(faults) if *faults > 0 => {
                *faults -= 1;
                Err(JobError::retry("the timer's script says so"))
            }
            Some(_) | None => Ok(()),
        }
    }
    .boxed()
}
