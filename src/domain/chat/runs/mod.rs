//! Chat runs: turns that outlive connections and processes.
//!
//! A run is one turn. In the process that starts it, one task calls the model and adds events to the log in memory
//! (`live`), another stores them (`log`), and readers follow from memory or from the store (`follow`). A stored run has
//! a lease. When its process dies, another takes the run over after the lease has expired (`work`): it voids the
//! interrupted step and repeats it; the results of finished steps are stored.
//!
//! A run that nobody can resume (it stops when its client disconnects, and belongs to no chat) is stored once, when it
//! is over.

mod follow;
mod live;
mod log;
#[cfg(test)]
mod tests;
mod view;
mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{Instrument, info, info_span, warn};
use uuid::Uuid;

pub use self::follow::Follower;
use self::live::{End, Live};
pub use self::log::Log;
pub use self::view::{RunView, ToolView};
pub use self::work::FAILED;
use super::{Chat, PreparedTurn, Turn};
use crate::base::chain::Chain;
use crate::data;
use crate::data::chat_runs::ChatRuns;
use crate::data::lease::Leases;
use crate::domain::base::Base;
use crate::domain::quota::StreamPermit;
use crate::domain::work::Failures;
use crate::llm::Purpose;
use crate::model::chat_run::{ChatRun, LoggedEvent, OnDisconnect, RunStatus, SHOWN_MESSAGE, StopReason};
use crate::model::ids::{ChatId, RunId, UserId};
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;
use crate::model::usage::RunUsage;
use crate::telemetry::observe::Observation;

/// Length of a lease on a run.
pub const LEASE: Duration = Duration::from_secs(10);
/// Pause between two renewals.
const RENEWAL: Duration = Duration::from_secs(3);
/// Interval of the search for runs whose process has died.
const SWEEP_PAUSE: Duration = Duration::from_secs(15);
/// Most abandoned runs that one sweep takes over.
const SWEPT: usize = 20;
/// How long a request waits for a run to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Polling interval for a run that another process is stopping.
const STOP_PAUSE: Duration = Duration::from_millis(100);
/// How long a new run waits for the end of one in another process, whose client may know it before it is stored.
const END_PATIENCE: Duration = Duration::from_millis(500);
/// Polling interval for that end.
const END_PAUSE: Duration = Duration::from_millis(50);
/// Attempts to start a run in a chat where others start and end concurrently.
const BEGIN_ATTEMPTS: usize = 3;

/// Why an operation on a run failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user has no such run.
    #[error("there is no such run")]
    NotFound,
    /// Another run of the chat is in progress.
    #[error("an answer is still being written")]
    Busy,
    /// The run has the most readers allowed.
    #[error("too many readers follow the run")]
    TooManyFollowers,
    /// The documents could not be read or written.
    #[error(transparent)]
    Data(#[from] data::Error),
}

/// A run to start.
pub struct NewRun {
    /// The turn.
    pub turn: Turn,
    /// The chat it belongs to.
    pub chat_id: Option<ChatId>,
    /// What happens when its client disconnects.
    pub on_disconnect: OnDisconnect,
    /// The client's trace id of the turn, repeated in its events.
    pub trace_id: Option<String>,
    /// The trace of the turn.
    pub observation: Observation,
    /// Permit of the user's stream, for a run that goes on without its client: held until the model has answered.
    pub permit: Option<Arc<StreamPermit>>,
}

/// All chat runs. Cheap to clone.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    base: Arc<Base>,
    chat: Arc<Chat>,
    leases: Leases,
    /// Runs in progress in this process.
    here: Mutex<HashMap<RunId, Arc<Live>>>,
    /// Number of readers by run.
    followers: Mutex<HashMap<RunId, usize>>,
}

impl Runs {
    /// Creates the service. At shutdown, stored runs are handed back; others end with the grace period.
    pub fn new(base: Arc<Base>, chat: Arc<Chat>) -> Self {
        let leases = base.data.leases(&base.clock, LEASE).renewing_every(RENEWAL);
        Self(Arc::new(Inner { base, chat, leases, here: Mutex::default(), followers: Mutex::default() }))
    }

    fn now(&self) -> Timestamp {
        self.0.base.clock.now().into()
    }

    /// Returns the user's run with this id, if it is in progress in this process.
    fn here(&self, user: &UserId, id: &RunId) -> Option<Arc<Live>> {
        self.0.here.lock().get(id).filter(|live| live.user == *user).cloned()
    }

    /// Whether a run is unfinished and no process works on it.
    fn is_abandoned(&self, run: &ChatRun) -> bool {
        !run.status.is_final() && !run.lease.is_live(self.now(), LEASE)
    }

    /// Starts a run, and returns its events for the client that requested it.
    ///
    /// # Errors
    /// [`Error::Busy`] when a run of the chat is in progress, or when the documents cannot be read or written.
    pub async fn begin(&self, new: NewRun) -> Result<Follower, Error> {
        let NewRun { turn, chat_id, on_disconnect, trace_id, observation, permit } = new;
        let prepared = self.0.chat.prepare(turn, observation).await?;
        let id = RunId::from(Uuid::new_v4().to_string());
        let cancels = on_disconnect == OnDisconnect::Cancel;
        let is_stored = chat_id.is_some() || !cancels;
        let mut run = self.new_run(&id, &prepared, chat_id, trace_id);
        let held = if is_stored {
            let first = self.0.leases.first();
            run.lease = first.lease();
            run.request = Some(prepared.request());
            self.create(&run).await?;
            Some(self.0.leases.created(ChatRuns::key(&run.user_id, &id), run.clone(), first))
        } else {
            None
        };
        let live = Arc::new(Live::new(&run, 0, is_stored));
        let follower = Follower::of_client(self, live.clone(), cancels);
        self.start(work::Work::new(self, live, prepared, run, held).with_permit(permit));
        Ok(follower)
    }

    fn new_run(
        &self,
        id: &RunId,
        prepared: &PreparedTurn,
        chat_id: Option<ChatId>,
        trace_id: Option<String>,
    ) -> ChatRun {
        let now = self.now();
        ChatRun {
            id: id.clone(),
            user_id: prepared.turn.user.clone(),
            chat_id,
            status: RunStatus::Running,
            created_at: now,
            updated_at: now,
            message: prepared.turn.message.chars().take(SHOWN_MESSAGE).collect(),
            request: None,
            trace_id,
            steps: Vec::new(),
            step_seq: 1,
            last_seq: 0,
            lease: Lease::default(),
            stop_requested: None,
            stopped: None,
            attempts: 1,
            usage: RunUsage::default(),
            model: self.0.chat.model.name(Purpose::Stylist).to_owned(),
            error: None,
            events: None,
            ttl: self.0.base.config.chat_runs.ttl_seconds,
            other: serde_json::Map::new(),
        }
    }

    /// Saves a new run as the only one of its chat in progress.
    async fn create(&self, run: &ChatRun) -> Result<(), Error> {
        let chat_runs = &self.0.base.data.chat_runs;
        let Some(chat) = &run.chat_id else { return Ok(chat_runs.create(run).await?) };
        for _ in 0..BEGIN_ATTEMPTS {
            let head = chat_runs.find_head(&run.user_id, chat).await?;
            if let Some((head, _)) = &head
                && self.is_going_on(&run.user_id, &head.newest_run).await?
            {
                return Err(Error::Busy);
            }
            let before = head.as_ref().map(|(_, etag)| etag);
            if chat_runs.create_in_chat(run, chat, before).await? {
                return Ok(());
            }
        }
        Err(Error::Busy)
    }

    /// Whether a run is unfinished. Waits for one that is about to end.
    async fn is_going_on(&self, user: &UserId, id: &RunId) -> data::Result<bool> {
        let deadline = tokio::time::Instant::now() + END_PATIENCE;
        loop {
            let Some(run) = self.0.base.data.chat_runs.find(user, id).await? else { return Ok(false) };
            if run.status.is_final() {
                return Ok(false);
            }
            if self.is_ending(&run).await? {
                return Ok(!self.wait_for_end(user, id).await?.is_some_and(RunStatus::is_final));
            }
            if self.here(user, id).is_some() || tokio::time::Instant::now() >= deadline {
                return Ok(true);
            }
            tokio::time::sleep(END_PAUSE).await;
        }
    }

    /// Whether an unfinished run was asked to stop, or has ended in its log and only its document lags behind.
    async fn is_ending(&self, run: &ChatRun) -> data::Result<bool> {
        if run.stop_requested.is_some() {
            return Ok(true);
        }
        if let Some(live) = self.here(&run.user_id, &run.id) {
            return Ok(live.is_ending());
        }
        let last = self.0.base.data.chat_runs.last_piece(&run.user_id, &run.id).await?;
        Ok(last.is_some_and(|piece| piece.events.last().is_some_and(LoggedEvent::is_done)))
    }

    /// Works on a run in a separate task.
    fn start(&self, work: work::Work) {
        let span = info_span!("chat.turn", run.id = %work.live().id, user.id = work.live().user.as_str());
        self.0.here.lock().insert(work.live().id.clone(), work.live().clone());
        self.0.base.tasks.spawn(work.run().instrument(span).in_current_span());
    }

    /// Requests that a run stops, and waits some seconds for its end. Returns its status, which is `Stopped` as well if
    /// it has not ended by then. A finished run does not change.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such run, or when the documents cannot be read or written.
    pub async fn stop(&self, user: &UserId, id: &RunId) -> Result<RunStatus, Error> {
        let here = self.here(user, id);
        if let Some(live) = &here {
            live.stop(StopReason::User);
        }
        match self.0.base.data.chat_runs.request_stop(user, id, self.now()).await? {
            None if here.is_none() => return Err(Error::NotFound),
            Some(run) if run.status.is_final() => return Ok(run.status),
            Some(run) if here.is_none() && self.is_abandoned(&run) => self.take_over(user, id).await?,
            None | Some(_) => {}
        }
        if let Some(live) = here {
            let ended = tokio::time::timeout(STOP_PATIENCE, live.ended()).await;
            if let Ok(End::Over(status)) = ended {
                return Ok(status);
            }
        }
        // The process that works on it, or takes it over, will stop it.
        Ok(self.wait_for_end(user, id).await?.filter(|status| status.is_final()).unwrap_or(RunStatus::Stopped))
    }

    /// Waits a limited time for the end of a run, and returns its status; `None` if it was deleted.
    async fn wait_for_end(&self, user: &UserId, id: &RunId) -> data::Result<Option<RunStatus>> {
        let deadline = tokio::time::Instant::now() + STOP_PATIENCE;
        loop {
            let status = self.0.base.data.chat_runs.find(user, id).await?.map(|run| run.status);
            if status.is_none_or(RunStatus::is_final) || tokio::time::Instant::now() >= deadline {
                return Ok(status);
            }
            tokio::time::sleep(STOP_PAUSE).await;
        }
    }

    /// Deletes a run and its log; stops it first if it is in progress.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such run, or when the documents cannot be read or written.
    pub async fn delete(&self, user: &UserId, id: &RunId) -> Result<(), Error> {
        self.stop(user, id).await?;
        if let Some(live) = self.here(user, id) {
            // Its end is still being stored.
            drop(tokio::time::timeout(STOP_PATIENCE, live.ended()).await);
        }
        Ok(self.0.base.data.chat_runs.remove(user, id).await?)
    }

    /// Returns the run of a user's chat that is in progress. If its process has died, takes it over.
    ///
    /// # Errors
    /// When the documents cannot be read or written.
    pub async fn running_in(&self, user: &UserId, chat: &ChatId) -> Result<Option<RunId>, Error> {
        let Some((head, _)) = self.0.base.data.chat_runs.find_head(user, chat).await? else { return Ok(None) };
        let Some(run) = self.0.base.data.chat_runs.find(user, &head.newest_run).await? else { return Ok(None) };
        if run.status.is_final() || self.is_ending(&run).await? {
            return Ok(None);
        }
        if self.is_abandoned(&run) {
            self.take_over(user, &run.id).await?;
        }
        Ok(Some(run.id))
    }

    /// Takes over runs whose process has died, now and every few seconds, as a task that ends with the process.
    pub fn watch(&self) {
        let runs = self.clone();
        self.0.base.tasks.spawn(async move {
            let shutdown = runs.0.base.shutdown.clone();
            let watching = async {
                loop {
                    if let Err(error) = runs.sweep().await {
                        warn!(error = %Chain(&error), "search for abandoned chat runs failed");
                    }
                    tokio::time::sleep(SWEEP_PAUSE).await;
                }
            };
            shutdown.run_until_cancelled(watching).await
        });
    }

    /// Takes over runs whose process has died; there may be more. One that fails does not stop the others.
    ///
    /// # Errors
    /// When the documents cannot be read or written.
    pub async fn sweep(&self) -> data::Result<()> {
        let mut failures = Failures::none();
        for run in self.0.base.data.chat_runs.abandoned(self.now(), SWEPT).await? {
            if self.is_abandoned(&run) {
                info!(run.id = %run.id, "abandoned chat run found");
                if let Err(error) = self.take_over(&run.user_id, &run.id).await {
                    failures.pass_over(&run.id, error)?;
                }
            }
        }
        failures.into_result()
    }
}
