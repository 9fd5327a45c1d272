//! A run in progress in this process: the end of its log in memory, and coordination of its writer, storage and
//! readers.
//!
//! One task adds events, another stores them, and any number of readers follow. They do not wait for each other, with
//! two exceptions that bound memory: the run may wait for the client that started it, so that the model is not read for
//! a client that has stopped reading; and events are not dropped from memory before they are stored.

use std::collections::VecDeque;
use std::pin::pin;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::model::chat_run::{ChatEvent, ChatRun, LoggedEvent, RunStatus, RunSummary, StopReason};
use crate::model::ids::{RunId, UserId};

/// Most events in memory; older ones are read from the store.
pub(super) const KEPT: usize = 4096;
/// Most events that wait for a slow client; then the model waits too.
pub(super) const AHEAD_OF_READER: u64 = 32;
/// Most events by which resumable readers are ahead of the store.
pub(super) const AHEAD_OF_STORE: u64 = 128;
/// Reset events that a process appends when it takes the run over after a crash. They take up the numbers of unstored
/// events that resumable readers may have seen, plus one, so that each reader receives a reset.
pub(super) const RESETS: u64 = AHEAD_OF_STORE + 1;
/// Most events in a piece of the stored log.
pub(super) const PIECE: usize = 64;
/// Most events that a reader takes at a time.
pub(super) const TAKEN: usize = 64;

/// A run that lives in this process.
pub struct Live {
    /// The run.
    pub id: RunId,
    /// User who owns the run.
    pub user: UserId,
    /// The client's trace id of the turn, repeated in its events.
    pub trace_id: Option<String>,
    /// The run's list entry as of its start in this process.
    pub(super) summary: RunSummary,
    state: Mutex<State>,
    /// Wakes readers and the storing task: there are more events, or the run is over.
    grown: Notify,
    /// Wakes the task that adds events: the client or the store has caught up.
    taken: Notify,
    /// Wakes the storing task: there are enough events for a piece.
    piece: Notify,
    stopping: CancellationToken,
}

struct State {
    /// Number of the first event in memory.
    first: u64,
    events: VecDeque<LoggedEvent>,
    /// Number of the last event in the store; `None` if the log is not stored.
    stored: Option<u64>,
    /// Number of the last event taken by the client that the run waits for.
    reader: Option<u64>,
    stop: Option<StopReason>,
    end: Option<End>,
}

/// How a run ended in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The run is over.
    Over(RunStatus),
    /// Another process continues it, or will.
    Elsewhere,
}

/// Result of [`Live::look`].
pub(super) enum Look {
    /// The next events.
    Events(Vec<LoggedEvent>),
    /// The next event is no longer in memory.
    Forgotten,
    /// There are no more events in this process.
    Ended(End),
}

impl State {
    fn last(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }
}

impl Live {
    /// Creates a run whose next event is numbered `last` + 1; `last` is also the last in the store.
    pub(super) fn new(run: &ChatRun, last: u64, is_stored: bool) -> Self {
        let state = State {
            first: last + 1,
            events: VecDeque::new(),
            stored: is_stored.then_some(last),
            reader: None,
            stop: None,
            end: None,
        };
        Self {
            id: run.id.clone(),
            user: run.user_id.clone(),
            trace_id: run.trace_id.clone(),
            summary: run.summary(),
            state: Mutex::new(state),
            grown: Notify::new(),
            taken: Notify::new(),
            piece: Notify::new(),
            stopping: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Adds an event.
    pub(super) async fn push(&self, event: ChatEvent) {
        let mut event = Some(LoggedEvent::from(event));
        loop {
            if self.try_push(&mut event) {
                return;
            }
            let mut taken = pin!(self.taken.notified());
            taken.as_mut().enable();
            if self.try_push(&mut event) {
                return;
            }
            taken.await;
        }
    }

    fn try_push(&self, event: &mut Option<LoggedEvent>) -> bool {
        {
            let mut state = self.state();
            let last = state.last();
            if state.reader.is_some_and(|reader| last - reader >= AHEAD_OF_READER)
                || state.stored.is_some_and(|stored| last - stored >= KEPT as u64)
            {
                return false;
            }
            if state.events.len() == KEPT {
                state.events.pop_front();
                state.first += 1;
            }
            state.events.extend(event.take());
            if state.stored.is_some_and(|stored| last + 1 - stored == PIECE as u64) {
                self.piece.notify_one();
            }
        }
        self.grown.notify_waiters();
        true
    }

    /// Makes the run wait for a client, which has taken all events so far.
    pub(super) fn wait_for_reader(&self) {
        let mut state = self.state();
        state.reader = Some(state.last());
    }

    /// Notes that the client has taken the events up to this one.
    pub(super) fn note_taken(&self, seq: u64) {
        let mut state = self.state();
        if state.reader.is_some_and(|reader| reader < seq) {
            state.reader = Some(seq);
            drop(state);
            self.taken.notify_waiters();
        }
    }

    /// Stops waiting for the client, which has left.
    pub(super) fn forget_reader(&self) {
        self.state().reader = None;
        self.taken.notify_waiters();
    }

    /// Notes that the events up to this one are stored.
    pub(super) fn note_stored(&self, seq: u64) {
        self.state().stored = Some(seq);
        self.taken.notify_waiters();
        self.grown.notify_waiters();
    }

    /// Number of the last event.
    pub fn last(&self) -> u64 {
        self.state().last()
    }

    /// Number of the last event in the store.
    pub(super) fn stored(&self) -> u64 {
        self.state().stored.unwrap_or_default()
    }

    /// Returns the number of the first event in memory, and all events in memory.
    pub(super) fn recent(&self) -> (u64, Vec<LoggedEvent>) {
        let state = self.state();
        (state.first, state.events.iter().cloned().collect())
    }

    /// Returns all events, if all are in memory.
    pub(super) fn all(&self) -> Option<Vec<LoggedEvent>> {
        let (first, events) = self.recent();
        (first == 1).then_some(events)
    }

    /// Returns at most `most` events after this one, for storing.
    pub(super) fn after(&self, seq: u64, most: usize) -> Vec<LoggedEvent> {
        let state = self.state();
        let skipped = (seq + 1).saturating_sub(state.first);
        state.events.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX)).take(most).cloned().collect()
    }

    /// Waits until there are events after this one.
    pub(super) async fn has_after(&self, seq: u64) {
        self.wait(|state| (state.last() > seq || state.end.is_some()).then_some(())).await;
    }

    /// Waits until there are enough events after this one for a piece. Does not wake for each event.
    pub(super) async fn has_piece_after(&self, seq: u64) {
        while self.last() < seq + PIECE as u64 {
            self.piece.notified().await;
        }
    }

    /// Returns what follows this event, waiting if necessary. Resumable readers get at most [`AHEAD_OF_STORE`] unstored
    /// events.
    pub(super) async fn look(&self, seq: u64, can_come_back: bool) -> Look {
        self.wait(|state| {
            if seq + 1 < state.first {
                return Some(Look::Forgotten);
            }
            let shown = match state.stored {
                Some(stored) if can_come_back => state.last().min(stored + AHEAD_OF_STORE),
                Some(_) | None => state.last(),
            };
            let count = usize::try_from(shown.saturating_sub(seq)).unwrap_or(usize::MAX).min(TAKEN);
            if count > 0 {
                let skipped = usize::try_from(seq + 1 - state.first).unwrap_or(usize::MAX);
                let events = state.events.iter().skip(skipped).take(count).cloned().collect();
                return Some(Look::Events(events));
            }
            // Events held back will be shown once stored; if another process has the run, they are not part of the log.
            state.end.filter(|end| *end == End::Elsewhere || state.last() <= seq).map(Look::Ended)
        })
        .await
    }

    async fn wait<T>(&self, mut find: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            if let Some(found) = find(&self.state()) {
                return found;
            }
            let mut grown = pin!(self.grown.notified());
            grown.as_mut().enable();
            if let Some(found) = find(&self.state()) {
                return found;
            }
            grown.await;
        }
    }

    /// Whether the run is over and has no event after this one.
    pub(super) fn is_over_after(&self, seq: u64) -> bool {
        let state = self.state();
        matches!(state.end, Some(End::Over(_))) && state.last() <= seq
    }

    /// Stops the run, if it has not ended. The first reason counts.
    pub(super) fn stop(&self, reason: StopReason) {
        self.state().stop.get_or_insert(reason);
        self.stopping.cancel();
    }

    /// Waits until the run is stopped, and returns the reason.
    pub(super) async fn stopped(&self) -> StopReason {
        self.stopping.cancelled().await;
        self.state().stop.unwrap_or(StopReason::User)
    }

    /// Whether the run is over, or about to be.
    pub(super) fn is_ending(&self) -> bool {
        self.stopping.is_cancelled() || self.state().events.back().is_some_and(LoggedEvent::is_done)
    }

    /// Ends the run in this process.
    pub(super) fn end(&self, end: End) {
        {
            let mut state = self.state();
            state.end = Some(end);
            state.reader = None;
        }
        self.taken.notify_waiters();
        self.grown.notify_waiters();
    }

    /// Waits until the run has ended in this process.
    pub(super) async fn ended(&self) -> End {
        self.wait(|state| state.end).await
    }
}
