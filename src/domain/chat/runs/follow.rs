//! Reads a run's log from any event: from memory if the run is in progress in this process, otherwise from the store.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::live::{AHEAD_OF_STORE, End, Live, Look};
use super::{Error, Runs};
use crate::base::chain::Chain;
use crate::data;
use crate::model::chat_run::{ChatEvent, ChatRun, LogPiece, LoggedEvent, StopReason};
use crate::model::ids::{RunId, UserId};

/// Polling interval for the log of a run in another process.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Polls of the log per poll of the run itself.
const LOOKS_PER_CHECK: u32 = 4;
/// Consecutive failures after which a reader is disconnected.
const MOST_FAILURES: u32 = 20;
/// Most readers of one run, per process.
const MOST_FOLLOWERS: usize = 16;

/// Reads a run's events in order.
pub struct Follower {
    runs: Runs,
    user: UserId,
    id: RunId,
    trace_id: Option<String>,
    /// The last event that was returned.
    seq: u64,
    /// The events after it.
    pending: VecDeque<LoggedEvent>,
    source: Source,
    /// Whether the reader may resume from an event later.
    can_come_back: bool,
    is_over: bool,
    _place: Option<Place>,
    client: Option<Client>,
}

enum Source {
    Memory(Arc<Live>),
    /// The store; `is_at_piece` if `seq` is known to be the last event of a piece.
    Store {
        is_at_piece: bool,
    },
}

/// The connection of the client that started a run.
pub(super) struct Client {
    live: Arc<Live>,
    /// Whether the run stops when the client disconnects.
    cancels: bool,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.live.forget_reader();
        if self.cancels {
            self.live.stop(StopReason::Disconnected);
        }
    }
}

/// A reader's slot among those of its run; released on drop.
struct Place {
    runs: Runs,
    id: RunId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut followers = self.runs.0.followers.lock();
        if let Entry::Occupied(mut count) = followers.entry(self.id.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Follower {
    /// Creates the follower of the client that starts the run. If the run stops when this client disconnects, it also
    /// waits for the client.
    pub(super) fn of_client(runs: &Runs, live: Arc<Live>, cancels: bool) -> Self {
        if cancels {
            live.wait_for_reader();
        }
        let client = Client { live: live.clone(), cancels };
        let mut follower = Self::new(runs, live.user.clone(), live.id.clone(), live.trace_id.clone(), 0);
        follower.source = Source::Memory(live);
        follower.client = Some(client);
        follower
    }

    fn new(runs: &Runs, user: UserId, id: RunId, trace_id: Option<String>, seq: u64) -> Self {
        Self {
            runs: runs.clone(),
            user,
            id,
            trace_id,
            seq,
            pending: VecDeque::new(),
            source: Source::Store { is_at_piece: seq == 0 },
            can_come_back: false,
            is_over: false,
            _place: None,
            client: None,
        }
    }

    /// Makes the follower resumable: its client may continue from an event later.
    pub fn resumable(self) -> Self {
        Self { can_come_back: true, ..self }
    }

    /// Returns the run's id.
    pub fn run_id(&self) -> &RunId {
        &self.id
    }

    /// Returns the client's trace id of the turn.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// Whether the run is known to be over and the reader has all events.
    pub fn is_at_end(&self) -> bool {
        self.is_over && self.pending.is_empty()
    }

    /// Returns the next event and its number; `None` after the last one, or when the process stops or the log cannot be
    /// read, so that the reader must ask again.
    pub async fn next(&mut self) -> Option<(u64, ChatEvent)> {
        let mut failures = 0;
        loop {
            if let Some(event) = self.pending.pop_front() {
                self.seq += 1;
                if event.is_done() {
                    self.is_over = true;
                    self.pending.clear();
                }
                return Some((self.seq, event.into()));
            }
            if self.is_over {
                return None;
            }
            if let Some(client) = &self.client {
                client.live.note_taken(self.seq);
            }
            match self.fetch().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures >= MOST_FAILURES {
                        warn!(run.id = %self.id, error = %Chain(&error), "log not read");
                        self.is_over = true;
                    }
                    self.pause().await;
                }
            }
        }
    }

    /// Waits for events after `seq`, or for the end.
    async fn fetch(&mut self) -> data::Result<()> {
        let live = match &self.source {
            Source::Memory(live) => live.clone(),
            Source::Store { is_at_piece } => return self.fetch_from_store(*is_at_piece).await,
        };
        match live.look(self.seq, self.can_come_back).await {
            Look::Events(events) => self.pending = events.into(),
            Look::Ended(End::Over(_)) => self.is_over = true,
            // This reader is further ahead of the stored log than the other process appends resets, so it would not see
            // one.
            Look::Ended(End::Elsewhere) if self.seq > live.stored() + AHEAD_OF_STORE => self.is_over = true,
            Look::Ended(End::Elsewhere) => self.source = Source::Store { is_at_piece: false },
            Look::Forgotten => {
                let pieces = self.runs.0.base.data.chat_runs.pieces_after(&self.user, &self.id, self.seq).await?;
                self.take(pieces);
                // Events in neither place were never stored.
                self.is_over = self.pending.is_empty();
            }
        }
        Ok(())
    }

    async fn fetch_from_store(&mut self, is_at_piece: bool) -> data::Result<()> {
        let chat_runs = self.runs.0.base.data.chat_runs.clone();
        if !is_at_piece {
            let pieces = chat_runs.pieces_after(&self.user, &self.id, self.seq).await?;
            self.take(pieces);
            if !self.pending.is_empty() {
                return Ok(());
            }
        }
        // Check the run before its log: if it is over, the log is complete.
        for looks in 0.. {
            if self.runs.0.base.shutdown.is_cancelled() {
                self.is_over = true;
                return Ok(());
            }
            let is_over = match looks % LOOKS_PER_CHECK {
                0 => self.check().await?,
                _ => false,
            };
            if let Some(live) = self.runs.here(&self.user, &self.id) {
                self.source = Source::Memory(live);
                return Ok(());
            }
            let found = match self.source {
                Source::Store { is_at_piece: true } => {
                    chat_runs.find_piece(&self.user, &self.id, self.seq + 1).await?.into_iter().collect()
                }
                // After a crash, `seq` may be ahead of the log.
                _ => chat_runs.pieces_after(&self.user, &self.id, self.seq).await?,
            };
            self.take(found);
            if !self.pending.is_empty() {
                return Ok(());
            }
            if is_over {
                self.is_over = true;
                return Ok(());
            }
            self.pause().await;
        }
        Ok(())
    }

    /// Returns whether the run is over. If no process works on it, this one takes it over.
    async fn check(&mut self) -> data::Result<bool> {
        if self.runs.here(&self.user, &self.id).is_some() {
            return Ok(false);
        }
        let Some(run) = self.runs.0.base.data.chat_runs.find(&self.user, &self.id).await? else { return Ok(true) };
        if run.status.is_final() {
            return Ok(true);
        }
        if self.runs.is_abandoned(&run) {
            self.runs.take_over(&self.user, &self.id).await?;
        }
        Ok(false)
    }

    /// Takes the events after `seq` from pieces of the log.
    fn take(&mut self, pieces: Vec<LogPiece>) {
        let mut next = self.seq + 1;
        for piece in pieces {
            if piece.first_seq > next || piece.last_seq < next {
                // Pieces are written in order, so there are no gaps.
                continue;
            }
            let skipped = usize::try_from(next - piece.first_seq).unwrap_or(usize::MAX);
            next = piece.last_seq + 1;
            self.pending.extend(piece.events.into_iter().skip(skipped));
        }
        if !self.pending.is_empty() {
            self.source = match self.source {
                Source::Store { .. } => Source::Store { is_at_piece: true },
                Source::Memory(ref live) => Source::Memory(live.clone()),
            };
        }
    }

    async fn pause(&self) {
        tokio::select! {
            () = tokio::time::sleep(LOOK_PAUSE) => {}
            () = self.runs.0.base.shutdown.cancelled() => {}
        }
    }
}

impl Runs {
    /// Reads a run's events after this one.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such run, [`Error::TooManyFollowers`], or when the documents cannot be
    /// read.
    pub async fn follow(&self, user: &UserId, id: &RunId, after: u64) -> Result<Follower, Error> {
        let place = self.enter(id)?;
        let mut follower = match self.here(user, id) {
            Some(live) => {
                let trace_id = live.trace_id.clone();
                let mut follower = Follower::new(self, user.clone(), id.clone(), trace_id, after);
                follower.is_over = live.is_over_after(after);
                follower.source = Source::Memory(live);
                follower
            }
            None => {
                let run = self.0.base.data.chat_runs.find(user, id).await?.ok_or(Error::NotFound)?;
                self.follow_stored(run, after)
            }
        };
        follower._place = Some(place);
        follower.can_come_back = true;
        Ok(follower)
    }

    fn follow_stored(&self, run: ChatRun, after: u64) -> Follower {
        let mut follower = Follower::new(self, run.user_id, run.id, run.trace_id, after);
        follower.is_over = run.status.is_final() && after >= run.last_seq;
        if let Some(events) = run.events {
            let skipped = usize::try_from(after).unwrap_or(usize::MAX);
            follower.pending = events.into_iter().skip(skipped).collect();
            follower.is_over = true;
        }
        follower
    }

    fn enter(&self, id: &RunId) -> Result<Place, Error> {
        let mut followers = self.0.followers.lock();
        let count = followers.entry(id.clone()).or_default();
        if *count >= MOST_FOLLOWERS {
            return Err(Error::TooManyFollowers);
        }
        *count += 1;
        Ok(Place { runs: self.clone(), id: id.clone() })
    }
}
