//! A scripted kind of long operation that counts its executions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pluckit::domain::jobs::{Finished, JobFault, JobKind, Link, Report, Run, Trouble};
use pluckit::model::ids::{JobId, UserId};
use pluckit::model::job::{Job, JobMessage};
use pluckit::queue::Message;
use pluckit::workers::{Delivery, JobError, jobs};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;

use super::{TestApp, until};

/// Its name.
pub const SCRIPTED: &str = "test.scripted";
/// The same for administrators only.
pub const FOR_ADMINS: &str = "test.for_admins";
/// The queue of long operations.
pub const QUEUE: &str = "long-operations";

/// What happened in scripted jobs.
pub struct Stage {
    /// How often each step was begun, by name.
    begun: Mutex<BTreeMap<String, usize>>,
    gate: watch::Sender<bool>,
}

#[derive(Deserialize)]
struct Script {
    steps: Vec<String>,
}

/// An input: what the steps do, one after the other.
pub fn script(steps: &[&str]) -> Value {
    json!({ "steps": steps })
}

impl Stage {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { begun: Mutex::default(), gate: watch::Sender::new(false) })
    }

    /// The kinds of job that play here.
    pub fn kinds(self: &Arc<Self>) -> Vec<JobKind> {
        [(SCRIPTED, false), (FOR_ADMINS, true)]
            .map(|(name, is_for_admins)| {
                let stage = self.clone();
                JobKind::new(name, is_for_admins, move |run, script| stage.clone().play(run, script))
            })
            .into()
    }

    /// How often a step was begun: its place in the script.
    pub fn begun(&self, step: usize) -> usize {
        self.begun.lock().unwrap().get(&step.to_string()).copied().unwrap_or_default()
    }

    pub async fn until_begun(&self, step: usize, times: usize) {
        until(&format!("step {step} is begun"), async || self.begun(step) >= times).await;
    }

    /// Lets those go on that wait in `hold` or `hold first`.
    pub fn open(&self) {
        self.gate.send_replace(true);
    }

    async fn play(self: Arc<Self>, run: Run, script: Script) -> Result<Finished, JobFault> {
        let total = script.steps.len() as u64;
        for (number, step) in script.steps.iter().enumerate() {
            run.progress(number as u64, total, step).await?;
            let _: Value = run.step(&format!("{number}"), self.act(&run, number, step)).await?;
        }
        let report = Report {
            title: "Scripted".to_owned(),
            summary: "All steps are done.".to_owned(),
            counts: vec![("steps", total)],
            troubles: vec![Trouble { what: "nothing".to_owned(), reason: "in particular".to_owned() }],
            links: vec![Link { text: "A coat".to_owned(), url: "https://shop.example/coat".to_owned() }],
        };
        Ok(Finished { result: json!({ "steps": total }), report })
    }

    async fn act(&self, run: &Run, number: usize, step: &str) -> Result<Value, JobFault> {
        let times = {
            let mut begun = self.begun.lock().unwrap();
            let times = begun.entry(number.to_string()).or_default();
            *times += 1;
            *times
        };
        let mut words = step.splitn(3, ' ');
        match (words.next().unwrap(), words.next(), words.next()) {
            ("done", ..) => Ok(json!(times)),
            ("big", ..) => Ok(json!("b".repeat(100_000))),
            ("write", Some(path), content) => {
                run.write_output(path, content.unwrap_or_default().to_owned()).await?;
                Ok(Value::Null)
            }
            ("hold", which, path) => {
                if which != Some("first") || times == 1 {
                    self.gate.subscribe().wait_for(|is_open| *is_open).await.unwrap();
                }
                if let Some(path) = path {
                    run.write_output(path, format!("written by run {times}")).await?;
                }
                Ok(json!(times))
            }
            ("fail", Some(most), _) if times > most.parse().unwrap() => Ok(Value::Null),
            ("fail", ..) => Err(JobFault::retry("The model is down.", "token at-secret refused by /srv/x")),
            ("refuse", ..) => Err(JobFault::Failed("There is nothing to do.".to_owned())),
            ("panic", ..) => panic!("as the script says"),
            other => panic!("no such step: {other:?}"),
        }
    }
}

impl TestApp {
    /// Accepts a scripted job.
    pub async fn accept(&self, user: &str, steps: &[&str]) -> JobId {
        self.state.jobs.accept(&UserId::from(user), SCRIPTED, script(steps), None).await.unwrap()
    }

    pub async fn job(&self, user: &str, id: &JobId) -> Job {
        self.state.data.jobs.find(&UserId::from(user), id).await.unwrap().expect("a job")
    }

    /// Takes a message of a long operation from the queue.
    pub async fn receive_job(&self) -> Option<Message> {
        let name = &self.state.config.queues.operations.work;
        self.state.queue.receive(name, 1, Duration::from_secs(30)).await.unwrap().pop()
    }

    /// Takes a message and does what it says. The message is deleted unless that failed.
    pub async fn work_once(&self) -> Option<Result<(), JobError>> {
        let name = &self.state.config.queues.operations.work;
        let mut message = self.receive_job().await?;
        let delivery = Delivery { text: message.text.clone(), dequeue_count: message.dequeue_count, id: None };
        let outcome = jobs::run(&self.state, delivery).await;
        match &outcome {
            Ok(()) => self.state.queue.delete(name, &message).await.unwrap(),
            Err(_) => self.state.queue.renew(name, &mut message, Duration::ZERO).await.unwrap(),
        }
        Some(outcome)
    }

    /// Works until the queue is empty; returns how many messages that were.
    pub async fn work_all(&self) -> usize {
        let mut messages = 0;
        while let Some(outcome) = self.work_once().await {
            outcome.unwrap();
            messages += 1;
        }
        messages
    }

    /// Names of all blobs of a job, and sizes.
    pub async fn blobs_of(&self, id: &JobId) -> Vec<(String, u64)> {
        let container = &self.state.config.storage.jobs_container;
        let page = self.state.blobs.list(container, &format!("jobs/{id}/"), None, 1000).await.unwrap();
        page.blobs.into_iter().map(|listed| (listed.name.to_string(), listed.properties.size)).collect()
    }
}

/// The message of a job.
pub fn message(user: &str, id: &JobId) -> Delivery {
    let message = JobMessage { job_id: id.clone(), user_id: user.into() };
    Delivery { text: serde_json::to_string(&message).unwrap(), dequeue_count: 1, id: None }
}
