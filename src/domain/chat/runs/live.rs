//! A run that lives in this process: the end of its log in memory, and who writes, stores and reads it.
//!
//! One task adds events, another stores them, and any number of readers follow. None of them waits for another, with
//! two exceptions that bound memory: the client that began the run may ask to be waited for, so that a model is not
//! read for somebody who has stopped reading; and nothing is dropped from memory that is not stored.

use std::collections::VecDeque;
use std::pin::pin;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::model::chat_run::{ChatEvent, ChatRun, LoggedEvent, RunStatus, RunSummary, StopReason};
use crate::model::ids::{RunId, UserId};

/// Events that are kept in memory; older ones are read from the store.
pub(super) const KEPT: usize = 4096;
/// Events that wait for a slow reader; when they are this many, the model waits too.
pub(super) const AHEAD_OF_READER: u64 = 32;
/// Events by which readers who can come back are ahead of the store at most.
pub(super) const AHEAD_OF_STORE: u64 = 128;
/// Reset events that a process appends when it takes the run over after a crash. They take the numbers of events that
/// resumable readers may have seen without their being stored, plus one, so that each reader receives a reset.
pub(super) const RESETS: u64 = AHEAD_OF_STORE + 1;
/// Events in a piece of the stored log.
pub(super) const PIECE: usize = 64;
/// Events that a reader takes at once.
pub(super) const TAKEN: usize = 64;

/// A run that lives in this process.
pub struct Live {
    /// The run.
    pub id: RunId,
    /// Whose it is.
    pub user: UserId,
    /// The client's name for the turn, repeated in its events.
    pub trace_id: Option<String>,
    /// The run as lists showed it when it was begun here.
    pub(super) summary: RunSummary,
    state: Mutex<State>,
    /// Wakes readers and the task that stores: there is more, or it is over.
    grown: Notify,
    /// Wakes the task that adds events: somebody has caught up.
    taken: Notify,
    /// Wakes the task that stores: there are enough events for a piece.
    piece: Notify,
    stopping: CancellationToken,
}

struct State {
    /// Number of the first event in memory.
    first: u64,
    events: VecDeque<LoggedEvent>,
    /// Number of the last event in the store; `None` if the log is not stored.
    stored: Option<u64>,
    /// The last event that the client took whom the run waits for.
    reader: Option<u64>,
    stop: Option<StopReason>,
    end: Option<End>,
}

/// How a run ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is over.
    Over(RunStatus),
    /// Another process goes on with it, or will.
    Elsewhere,
}

/// What a reader finds.
pub(super) enum Look {
    /// The next events.
    Events(Vec<LoggedEvent>),
    /// The next event is not in memory any more.
    Forgotten,
    /// There are no more events here.
    Ended(End),
}

impl State {
    fn last(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }
}

impl Live {
    /// A run whose next event has the number after `last`, which is also the last in the store.
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

    /// Waits, from now on, for a client who has taken all events so far.
    pub(super) fn wait_for_reader(&self) {
        let mut state = self.state();
        state.reader = Some(state.last());
    }

    /// The client that the run waits for has taken the events up to this one.
    pub(super) fn note_taken(&self, seq: u64) {
        let mut state = self.state();
        if state.reader.is_some_and(|reader| reader < seq) {
            state.reader = Some(seq);
            drop(state);
            self.taken.notify_waiters();
        }
    }

    /// The client that the run waited for has gone.
    pub(super) fn forget_reader(&self) {
        self.state().reader = None;
        self.taken.notify_waiters();
    }

    /// The events up to this one are stored.
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

    /// All events, if all of them are in memory.
    pub(super) fn all(&self) -> Option<Vec<LoggedEvent>> {
        let state = self.state();
        (state.first == 1).then(|| state.events.iter().cloned().collect())
    }

    /// Events after this one, for storing: at most `most`.
    pub(super) fn after(&self, seq: u64, most: usize) -> Vec<LoggedEvent> {
        let state = self.state();
        let skipped = (seq + 1).saturating_sub(state.first);
        state.events.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX)).take(most).cloned().collect()
    }

    /// Waits until there are events after this one.
    pub(super) async fn has_after(&self, seq: u64) {
        self.wait(|state| (state.last() > seq || state.end.is_some()).then_some(())).await;
    }

    /// Waits until there are enough events after this one for a piece. Unlike a reader, it does not wake for each
    /// event.
    pub(super) async fn has_piece_after(&self, seq: u64) {
        while self.last() < seq + PIECE as u64 {
            self.piece.notified().await;
        }
    }

    /// What comes after this event; waits until there is something. A reader who can come back to the run sees events
    /// only a little before they are stored.
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
            // What is not shown yet will be, or is in nobody's log.
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

    /// Whether the run is over without an event after this one.
    pub(super) fn is_over_after(&self, seq: u64) -> bool {
        let state = self.state();
        matches!(state.end, Some(End::Over(_))) && state.last() <= seq
    }

    /// Ends the run before its end, if it has not ended.
    pub(super) fn stop(&self, reason: StopReason) {
        self.state().stop.get_or_insert(reason);
        self.stopping.cancel();
    }

    /// Waits until somebody stops the run, and says why.
    pub(super) async fn stopped(&self) -> StopReason {
        self.stopping.cancelled().await;
        self.state().stop.unwrap_or(StopReason::User)
    }

    /// Whether the run is over, or about to be.
    pub(super) fn is_ending(&self) -> bool {
        self.stopping.is_cancelled() || self.state().events.back().is_some_and(LoggedEvent::is_done)
    }

    /// Nothing more happens here.
    pub(super) fn end(&self, end: End) {
        {
            let mut state = self.state();
            state.end = Some(end);
            state.reader = None;
        }
        self.taken.notify_waiters();
        self.grown.notify_waiters();
    }

    /// Waits until nothing more happens here.
    pub(super) async fn ended(&self) -> End {
        self.wait(|state| state.end).await
    }
}
