//! One process's work on one run: the turn, its end, and taking it over from a process that died.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Runs;
use super::live::{End, Live, RESETS};
use super::log::{Log, LogWriter};
use super::view::Fold;
use crate::base::backoff::{Backoff, Jitter};
use crate::base::chain::Chain;
use crate::base::clock::milliseconds;
use crate::data;
use crate::data::chat_runs::{Appended, ChatRuns};
use crate::data::lease::{self, Claimed, Decision, Held, Standing};
use crate::domain::chat::turn::{Conversation, Stop};
use crate::domain::chat::{PreparedTurn, TURN_TIMEOUT, memory, subject};
use crate::domain::quota::StreamPermit;
use crate::model::chat_run::{ChatEvent, ChatRun, LogPiece, LoggedEvent, RunStatus, StopReason};
use crate::model::ids::{RunId, UserId};
use crate::model::lease::Lease;

/// Most processes that work on a run; all but the last died meanwhile.
const MOST_ATTEMPTS: u32 = 3;
/// Polling interval for a stop request in another process.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Most finished steps waiting to be stored.
const WAITING_STEPS: usize = 4;
/// Attempts to store the end of a run. After that another process does it: the log tells how the run ended.
const END_ATTEMPTS: u32 = 8;
/// Attempts to append to the log of a run that was taken over.
const SEAL_ATTEMPTS: u32 = 3;
/// Pauses between attempts to write.
const PAUSES: Backoff =
    Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2), jitter: Jitter::Full };
/// Largest document of a run with its events, in bytes.
const LARGEST_WHOLE: usize = 1024 * 1024;

/// Message for the user when a turn has failed.
pub const FAILED: &str = "Something went wrong. Please try again.";
const LIMIT_REACHED: &str = "Tool-call limit reached. Please retry with a shorter request.";

/// One process's work on one run.
pub(super) struct Work {
    runs: Runs,
    live: Arc<Live>,
    prepared: PreparedTurn,
    /// The run as it was started or taken over.
    record: ChatRun,
    held: Option<Held<ChatRun>>,
    /// See [`NewRun::permit`](super::NewRun::permit). A run that was taken over has none.
    permit: Option<Arc<StreamPermit>>,
}

/// How the turn ended.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Answered,
    Failed(&'static str),
    Stopped(StopReason),
    /// Another process continues it.
    HandedBack,
}

impl Outcome {
    fn status(self) -> RunStatus {
        match self {
            Self::Answered => RunStatus::Completed,
            Self::Failed(_) => RunStatus::Failed,
            Self::Stopped(_) => RunStatus::Stopped,
            Self::HandedBack => RunStatus::Running,
        }
    }
}

impl Work {
    pub fn new(
        runs: &Runs,
        live: Arc<Live>,
        prepared: PreparedTurn,
        record: ChatRun,
        held: Option<Held<ChatRun>>,
    ) -> Self {
        Self { runs: runs.clone(), live, prepared, record, held, permit: None }
    }

    /// Holds the permit of the user's stream until the model has answered.
    pub fn with_permit(self, permit: Option<Arc<StreamPermit>>) -> Self {
        Self { permit, ..self }
    }

    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Works on the run until it is over or belongs to another process.
    pub async fn run(mut self) {
        let mut leaves = Leaves { runs: self.runs.clone(), live: self.live.clone(), end: End::Elsewhere };
        let permit = self.permit.take();
        leaves.end = match self.held.take() {
            Some(held) => Box::pin(self.run_stored(Arc::new(held), permit)).await,
            None => Box::pin(self.run_unstored(permit)).await,
        };
    }

    async fn run_stored(&self, held: Arc<Held<ChatRun>>, permit: Option<Arc<StreamPermit>>) -> End {
        let lost = CancellationToken::new();
        let (steps, received) = mpsc::channel(WAITING_STEPS);
        let (stored, when_stored) = oneshot::channel();
        let writer = LogWriter {
            runs: self.runs.0.base.data.chat_runs.clone(),
            live: self.live.clone(),
            held: held.clone(),
            clock: self.runs.0.base.clock.clone(),
            flush: self.runs.0.base.config.chat_runs.flush,
            ttl: self.runs.0.base.config.chat_runs.ttl_seconds,
        };
        let writer_lost = lost.clone();
        self.runs.0.base.tasks.spawn(async move {
            match writer_lost.run_until_cancelled(writer.run(received)).await {
                // Fails if the run was lost meanwhile.
                Some(Ok(())) => drop(stored.send(())),
                Some(Err(lease::Lost)) => writer_lost.cancel(),
                None => {}
            }
        });
        let log = Log::new(self.live.clone(), self.prepared.meter.clone(), Some(steps));
        let work = async {
            let outcome = self.turn(log, permit).await;
            when_stored.await.ok()?;
            self.settle(&held, outcome).await
        };
        let note = |run: &mut ChatRun| {
            (run.last_seq, run.updated_at) = (self.live.stored(), self.runs.now());
        };
        let end = tokio::select! {
            biased;
            () = lost.cancelled() => None,
            kept = held.keep_noting(note, work) => kept.ok().flatten(),
        };
        lost.cancel();
        end.unwrap_or_else(|| {
            warn!("chat run abandoned: another process has taken it over");
            End::Elsewhere
        })
    }

    async fn run_unstored(&self, permit: Option<Arc<StreamPermit>>) -> End {
        let outcome = self.turn(Log::new(self.live.clone(), self.prepared.meter.clone(), None), permit).await;
        let mut run = self.record.clone();
        self.write_end(&mut run, outcome);
        run.events = self.live.all().map(|events| events.into_iter().map(without_output).collect());
        if serde_json::to_vec(&run).is_ok_and(|json| json.len() > LARGEST_WHOLE) {
            run.events = None;
        }
        for attempt in 1..=END_ATTEMPTS {
            match self.runs.0.base.data.chat_runs.create(&run).await {
                Ok(()) => break,
                Err(error) if attempt == END_ATTEMPTS => warn!(error = %Chain(&error), "chat run not stored"),
                Err(_) => tokio::time::sleep(PAUSES.pause(attempt)).await,
            }
        }
        End::Over(outcome.status())
    }

    /// Runs the turn and logs its events, `done` last. Before that event, which lets clients ask again, the permit is
    /// dropped.
    async fn turn(&self, log: Log, permit: Option<Arc<StreamPermit>>) -> Outcome {
        let started = Instant::now();
        let chat = &self.runs.0.chat;
        let mut conversation = Conversation::new(chat, &self.prepared, self.record.steps.clone(), &log);
        let mut outcome = self.supervise(&mut conversation).await;
        match outcome {
            Outcome::Answered => {
                let answer = conversation.answer();
                self.prepared.context.observation.output(&answer);
                match self.refresh_memory(&answer).await {
                    Ok(updated) => log.say(ChatEvent::MemoryUpdate { updated }).await,
                    Err(reason) => outcome = Outcome::Stopped(reason),
                }
            }
            Outcome::Failed(content) => log.say(ChatEvent::Error { content: content.into() }).await,
            Outcome::Stopped(reason) => debug!(reason = reason.name(), "turn stopped"),
            Outcome::HandedBack => {
                info!("chat run released");
                return outcome;
            }
        }
        let (model, tokens) = (self.record.model.clone(), conversation.token_count());
        let (tool_calls, duration_ms) = (conversation.tool_calls(), milliseconds(started.elapsed()));
        let status = outcome.status().name();
        info!(model, tokens, tools.calls = tool_calls, duration_ms, status, "turn ended");
        let stopped = match outcome {
            Outcome::Stopped(reason) => Some(reason),
            Outcome::Answered | Outcome::Failed(_) | Outcome::HandedBack => None,
        };
        let (run_id, usage) = (self.live.id.clone(), self.prepared.meter.total());
        drop(permit);
        log.say(ChatEvent::Done { model, token_count: tokens, run_id, stopped, usage }).await;
        outcome
    }

    /// Runs the stylist until the answer is complete, or is stopped, handed back or timed out.
    async fn supervise(&self, conversation: &mut Conversation<'_>) -> Outcome {
        let is_stored = self.record.request.is_some();
        if self.record.stop_requested.is_some() {
            return Outcome::Stopped(StopReason::User);
        }
        if self.record.attempts > MOST_ATTEMPTS {
            error!(attempts = self.record.attempts, "turn failed: every process that worked on it died");
            return Outcome::Failed(FAILED);
        }
        // After a panic, readers must still get the end of the log.
        let answer = AssertUnwindSafe(conversation.run(&self.prepared)).catch_unwind();
        tokio::select! {
            biased;
            reason = self.live.stopped() => Outcome::Stopped(reason),
            () = self.stopped_elsewhere(), if is_stored => Outcome::Stopped(StopReason::User),
            () = self.runs.0.base.shutdown.cancelled(), if is_stored => Outcome::HandedBack,
            () = self.runs.0.base.ending.cancelled() => Outcome::Failed(FAILED),
            answer = tokio::time::timeout(TURN_TIMEOUT, answer) => match answer {
                Ok(Ok(Ok(()))) => Outcome::Answered,
                Ok(Ok(Err(stop))) => Outcome::Failed(self.explain(&stop)),
                Ok(Err(_panic)) => Outcome::Failed(FAILED),
                Err(_) => {
                    error!(limit_s = TURN_TIMEOUT.as_secs(), "turn took too long");
                    Outcome::Failed(FAILED)
                }
            },
        }
    }

    /// Logs why there is no answer, and returns the message for the user.
    fn explain(&self, stop: &Stop) -> &'static str {
        let observation = &self.prepared.context.observation;
        match stop {
            Stop::LimitReached => {
                warn!("tool-call limit reached");
                LIMIT_REACHED
            }
            Stop::Silent => {
                error!("turn failed: the model answered nothing");
                observation.failed("silent");
                FAILED
            }
            Stop::Model(fault) => {
                error!(error = %Chain(fault), "turn failed");
                observation.failed("model");
                FAILED
            }
        }
    }

    /// Waits until the run is stopped or deleted through another process.
    async fn stopped_elsewhere(&self) {
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            match self.runs.0.base.data.chat_runs.find(&self.live.user, &self.live.id).await {
                Ok(Some(run)) if run.stop_requested.is_none() => {}
                // Deleted, or asked to stop.
                Ok(_) => return,
                Err(error) => debug!(error = %Chain(&error), "chat run not looked up"),
            }
        }
    }

    /// Updates the memory after an answer, unless the run is stopped. Returns whether the summary was updated.
    async fn refresh_memory(&self, answer: &str) -> Result<bool, StopReason> {
        // A stored run may reach this point again in another process.
        let is_stored = self.record.request.is_some();
        let run = is_stored.then_some(&self.live.id);
        tokio::select! {
            biased;
            reason = self.live.stopped() => Err(reason),
            () = self.stopped_elsewhere(), if is_stored => Err(StopReason::User),
            () = self.runs.0.base.ending.cancelled() => Ok(false),
            updated = memory::refresh(&self.runs.0.chat, run, &self.prepared, answer) => Ok(updated),
        }
    }

    /// Stores how the run ended, and releases the lease. `None` on failure: another process will do it.
    async fn settle(&self, held: &Held<ChatRun>, outcome: Outcome) -> Option<End> {
        for attempt in 1..=END_ATTEMPTS {
            match held.finish(|run| self.write_end(run, outcome)).await {
                Ok(_) if matches!(outcome, Outcome::HandedBack) => return Some(End::Elsewhere),
                Ok(_) => return Some(End::Over(outcome.status())),
                Err(lease::Error::Lost) => return None,
                Err(lease::Error::Data(error)) => {
                    warn!(attempt, error = %Chain(&error), "end of the chat run not stored yet");
                    tokio::time::sleep(PAUSES.pause(attempt)).await;
                }
            }
        }
        None
    }

    fn write_end(&self, run: &mut ChatRun, outcome: Outcome) {
        let now = self.runs.now();
        (run.last_seq, run.updated_at) = (self.live.last(), now);
        run.usage = self.prepared.meter.total();
        match outcome {
            Outcome::HandedBack => {
                // Free, so the search for abandoned runs finds it.
                run.lease = Lease::waiting(now);
                run.attempts = run.attempts.saturating_sub(1);
                return;
            }
            Outcome::Stopped(reason) => run.stopped = Some(reason),
            Outcome::Failed(error) => run.error = Some(error.to_owned()),
            Outcome::Answered => {}
        }
        end_record(run, outcome.status());
    }
}

/// Ends a run in this process when its work ends, also by a panic.
struct Leaves {
    runs: Runs,
    live: Arc<Live>,
    end: End,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        {
            let mut here = self.runs.0.here.lock();
            if here.get(&self.live.id).is_some_and(|live| Arc::ptr_eq(live, &self.live)) {
                here.remove(&self.live.id);
            }
        }
        self.live.end(self.end);
    }
}

/// Marks a run as over, and drops the data needed only to continue it.
fn end_record(run: &mut ChatRun, status: RunStatus) {
    run.status = status;
    run.request = None;
    run.steps.clear();
}

/// Returns an event without the full output of a tool.
fn without_output(event: LoggedEvent) -> LoggedEvent {
    match event {
        LoggedEvent::Other(event) => LoggedEvent::Other(match *event {
            ChatEvent::ToolResult { name, call_id, summary, is_error, tool_latency_ms, .. } => {
                let output = String::new();
                Box::new(ChatEvent::ToolResult { name, call_id, summary, output, is_error, tool_latency_ms })
            }
            event => Box::new(event),
        }),
        token @ LoggedEvent::Token(_) => token,
    }
}

impl Runs {
    /// Continues a run that no process works on. Does nothing if one does, or if the run is over.
    ///
    /// # Errors
    /// When the documents cannot be read or written.
    pub(super) async fn take_over(&self, user: &UserId, id: &RunId) -> data::Result<()> {
        if self.0.base.shutdown.is_cancelled() {
            return Ok(());
        }
        let mut was_handed_back = false;
        let claimed = self.0.leases.claim(ChatRuns::key(user, id), |found: Option<ChatRun>, standing| match found {
            Some(mut run) if !run.status.is_final() && standing == Standing::Free => {
                was_handed_back = run.lease.owner().is_none();
                run.attempts += 1;
                Decision::Take(run)
            }
            Some(_) | None => Decision::Leave(()),
        });
        let Claimed::Ours(held) = claimed.await? else { return Ok(()) };
        let run = held.document();
        info!(run.id = %run.id, attempt = run.attempts, "chat run taken over");
        let Some(last) = self.seal(&held, &run, was_handed_back).await? else { return Ok(()) };
        let Some(request) = run.request.clone() else {
            let ended = held.finish(|run| end_record(run, RunStatus::Failed)).await;
            return ended.map(drop).or_else(ignore_lost);
        };
        let trace_id = run.trace_id.as_deref().or(Some(run.id.as_str()));
        let observation = self.0.base.telemetry.observer.begin(&subject(user, trace_id, &request.message));
        let chat = &self.0.chat;
        let prepared = chat.prepare_again(user.clone(), request, run.usage.clone(), observation).await?;
        let live = Arc::new(Live::new(&run, last, true));
        self.start(Work::new(self, live, prepared, run, Some(held)));
        Ok(())
    }

    /// Appends to the log of a run that was taken over, so that its previous process can no longer do so. Voids the
    /// interrupted step. Returns the number of the last event; `None` if there is nothing more to do.
    async fn seal(&self, held: &Held<ChatRun>, run: &ChatRun, was_handed_back: bool) -> data::Result<Option<u64>> {
        for _ in 0..SEAL_ATTEMPTS {
            let piece = self.0.base.data.chat_runs.last_piece(&run.user_id, &run.id).await?;
            let last = piece.as_ref().map_or(0, |piece| piece.last_seq);
            if piece.is_some_and(|piece| piece.events.last().is_some_and(LoggedEvent::is_done)) {
                self.end_from_log(held, run).await?;
                return Ok(None);
            }
            // Readers may have seen unstored events, so their numbers are not reused.
            let resets = match (was_handed_back, last < run.step_seq) {
                (false, _) => RESETS,
                (true, false) => 1,
                (true, true) => return Ok(Some(last)),
            };
            let reset = LoggedEvent::from(ChatEvent::StepReset { from_seq: run.step_seq });
            let piece = LogPiece {
                id: LogPiece::id(&run.id, last + 1),
                run_id: run.id.clone(),
                user_id: run.user_id.clone(),
                written_by: held.owner().to_owned(),
                first_seq: last + 1,
                last_seq: last + resets,
                events: (0..resets).map(|_| reset.clone()).collect(),
                ttl: self.0.base.config.chat_runs.ttl_seconds,
            };
            if self.0.base.data.chat_runs.append(&piece).await? == Appended::Done {
                return Ok(Some(piece.last_seq));
            }
        }
        // Another process keeps writing: after the lease expires, the next process tries.
        Ok(None)
    }

    /// Ends a run whose log already has its end.
    async fn end_from_log(&self, held: &Held<ChatRun>, run: &ChatRun) -> data::Result<()> {
        let fold = Fold::of(self.events(run).await?);
        let ended = held.finish(|run| {
            end_record(run, fold.status());
            (run.last_seq, run.updated_at) = (fold.last_seq, self.now());
            run.error.clone_from(&fold.error);
            if let Some((_, usage, stopped)) = &fold.done {
                (run.usage, run.stopped) = (usage.clone(), *stopped);
            }
        });
        ended.await.map(drop).or_else(ignore_lost)
    }
}

/// Ignores that the run belongs to another process now.
fn ignore_lost(error: lease::Error) -> data::Result<()> {
    match error {
        lease::Error::Lost => Ok(()),
        lease::Error::Data(error) => Err(error),
    }
}
