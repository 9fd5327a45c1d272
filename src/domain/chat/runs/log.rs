//! Stores a run's log in a separate task, so that neither the model nor a client waits for the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::live::{Live, PIECE};
use crate::base::backoff::{Backoff, Jitter};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::data::chat_runs::{Appended, ChatRuns};
use crate::data::lease::{self, Held, Lost};
use crate::llm::Meter;
use crate::model::chat_run::{ChatEvent, ChatRun, FinishedStep, LogPiece, LoggedEvent};
use crate::model::usage::RunUsage;

/// Most bytes in a piece of the log, unless a single event is longer.
const PIECE_BYTES: usize = 512 * 1024;
/// How long the next step waits for the previous one to be stored.
const STEP_PATIENCE: Duration = Duration::from_secs(2);
/// Pauses between attempts to write.
const PAUSES: Backoff =
    Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2), jitter: Jitter::Full };
/// Attempts to store a finished step. If all fail, a process that takes over repeats the step.
const STEP_ATTEMPTS: u32 = 5;

/// Receives the events and finished steps of a turn.
pub struct Log {
    live: Arc<Live>,
    meter: Meter,
    /// Channel to the storing task; `None` if the log is not stored.
    steps: Option<mpsc::Sender<StepEnd>>,
}

/// A finished step, to be stored after the events up to its end.
pub(super) struct StepEnd {
    steps: Vec<FinishedStep>,
    usage: RunUsage,
    /// The last event of the step.
    last_seq: u64,
    stored: oneshot::Sender<()>,
}

impl Log {
    pub(super) fn new(live: Arc<Live>, meter: Meter, steps: Option<mpsc::Sender<StepEnd>>) -> Self {
        Self { live, meter, steps }
    }

    /// Adds an event.
    pub async fn say(&self, event: ChatEvent) {
        self.live.push(event).await;
    }

    /// Has a finished step stored; `steps` are all so far. Waits until it is stored, unless it is the last one or the
    /// store is slow.
    pub async fn finish_step(&self, steps: &[FinishedStep]) {
        let Some(writer) = &self.steps else { return };
        let (stored, when_stored) = oneshot::channel();
        let end = StepEnd { steps: steps.to_vec(), usage: self.meter.total(), last_seq: self.live.last(), stored };
        let is_last = steps.last().is_some_and(|step| step.calls.is_empty());
        if writer.send(end).await.is_ok() && !is_last {
            // The next step, which costs tokens, starts only after this one is stored.
            drop(tokio::time::timeout(STEP_PATIENCE, when_stored).await);
        }
    }
}

/// Stores the log of a run.
pub(super) struct LogWriter {
    pub runs: ChatRuns,
    pub live: Arc<Live>,
    pub held: Arc<Held<ChatRun>>,
    pub clock: Arc<dyn Clock>,
    /// Longest time that events are collected before they are written.
    pub flush: Duration,
    pub ttl: i64,
}

impl LogWriter {
    /// Stores events and steps until the sender of the steps is dropped and everything is stored.
    ///
    /// # Errors
    /// When another process has taken the run over.
    pub async fn run(self, mut steps: mpsc::Receiver<StepEnd>) -> Result<(), Lost> {
        loop {
            let stored = self.live.stored();
            let enough = async {
                self.live.has_after(stored).await;
                tokio::select! {
                    () = self.live.has_piece_after(stored) => {}
                    () = tokio::time::sleep(self.flush) => {}
                }
            };
            let step = tokio::select! {
                biased;
                step = steps.recv() => Some(step),
                () = enough => None,
            };
            self.store_events().await?;
            match step {
                Some(Some(step)) => self.store_step(step).await?,
                Some(None) => return Ok(()),
                None => {}
            }
        }
    }

    /// Stores all events so far.
    async fn store_events(&self) -> Result<(), Lost> {
        let last = self.live.last();
        let mut stored = self.live.stored();
        while stored < last {
            let mut events = self.live.after(stored, PIECE);
            cut_to_size(&mut events);
            let piece = LogPiece {
                id: LogPiece::id(&self.live.id, stored + 1),
                run_id: self.live.id.clone(),
                user_id: self.live.user.clone(),
                written_by: self.held.owner().to_owned(),
                first_seq: stored + 1,
                last_seq: stored + events.len() as u64,
                events,
                ttl: self.ttl,
            };
            self.append(&piece).await?;
            stored = piece.last_seq;
            self.live.note_stored(stored);
        }
        Ok(())
    }

    async fn append(&self, piece: &LogPiece) -> Result<(), Lost> {
        let mut attempt = 0;
        loop {
            match self.runs.append(piece).await {
                Ok(Appended::Done) => return Ok(()),
                Ok(Appended::Refused) => return Err(Lost),
                Err(error) => {
                    attempt += 1;
                    warn!(run.id = %piece.run_id, attempt, error = %Chain(&error), "log not stored yet");
                    tokio::time::sleep(PAUSES.pause(attempt)).await;
                }
            }
        }
    }

    async fn store_step(&self, end: StepEnd) -> Result<(), Lost> {
        let StepEnd { steps, usage, last_seq, stored } = end;
        for attempt in 1..=STEP_ATTEMPTS {
            let edited = self.held.edit(|run| {
                (run.steps, run.usage) = (steps.clone(), usage.clone());
                (run.step_seq, run.last_seq) = (last_seq + 1, self.live.stored());
                run.updated_at = self.clock.now().into();
            });
            match edited.await {
                Ok(()) => break,
                Err(lease::Error::Lost) => return Err(Lost),
                Err(lease::Error::Data(error)) => {
                    warn!(run.id = %self.live.id, attempt, error = %Chain(&error), "step not stored");
                    tokio::time::sleep(PAUSES.pause(attempt)).await;
                }
            }
        }
        // Fails if the turn has stopped waiting.
        let _waits = stored.send(());
        Ok(())
    }
}

/// Truncates the events to those that fit into a piece.
fn cut_to_size(events: &mut Vec<LoggedEvent>) {
    let mut bytes = 0;
    let size = |event: &LoggedEvent| match event {
        LoggedEvent::Token(content) => content.len(),
        LoggedEvent::Other(event) => match &**event {
            ChatEvent::ToolUse { input, .. } => input.len(),
            ChatEvent::ToolResult { output, .. } => output.len(),
            _ => 0,
        },
    };
    let fitting = events.iter().take_while(|event| {
        bytes += size(event);
        bytes <= PIECE_BYTES
    });
    let count = fitting.count().max(1);
    events.truncate(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bytes: usize) -> LoggedEvent {
        LoggedEvent::Token("t".repeat(bytes).into())
    }

    /// Returns how many of the events fit into a piece.
    fn fitting(events: &[LoggedEvent]) -> usize {
        let mut events = events.to_vec();
        cut_to_size(&mut events);
        events.len()
    }

    #[test]
    fn a_piece_has_half_a_mebibyte_or_one_event() {
        let half = token(PIECE_BYTES / 2);
        assert_eq!(PIECE_BYTES, 524_288);
        assert_eq!(fitting(&[half.clone(), half.clone()]), 2);
        assert_eq!(fitting(&[half.clone(), half.clone(), token(1)]), 2);
        assert_eq!(fitting(&[half, token(PIECE_BYTES / 2 + 1)]), 1);
        assert_eq!(fitting(&[token(PIECE_BYTES + 1), token(1)]), 1);
    }

    #[test]
    fn what_tools_are_given_and_return_counts() {
        let (name, call_id) = ("search".to_owned(), "1".to_owned());
        let long = "x".repeat(PIECE_BYTES);
        let given = ChatEvent::ToolUse { name: name.clone(), call_id: call_id.clone(), input: long.clone() };
        let summary = String::new();
        let returned =
            ChatEvent::ToolResult { name, call_id, summary, output: long, is_error: false, tool_latency_ms: 1 };
        for event in [given, returned] {
            assert_eq!(fitting(&[event.into(), token(1)]), 1);
        }
        assert_eq!(fitting(&[ChatEvent::MemoryUpdate { updated: true }.into(), token(PIECE_BYTES)]), 2);
    }
}
