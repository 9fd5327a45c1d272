//! The log of a chat run: the turn that adds events, the task that stores them, and readers that attach at any time.
//!
//! The store and the environment of a run (`Runs`, the turn, a process that takes the run over) are doubles.

#[path = "../../src/domain/chat/runs/follow.rs"]
#[expect(dead_code, reason = "routes use the rest")]
mod follow;
#[path = "../../src/domain/chat/runs/live.rs"]
#[expect(dead_code, reason = "the turn uses the rest")]
mod live;
#[path = "../../src/domain/chat/runs/log.rs"]
mod log;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::time::macros::datetime;
use parking_lot::Mutex;
use pluckit::base::clock::{Clock, ManualClock};
use pluckit::data::chat_runs::{Appended, ChatRuns};
use pluckit::data::lease::{self, Held};
use pluckit::data::{self, Data};
use pluckit::llm::Meter;
use pluckit::model::chat_run::{ChatEvent, ChatRun, FinishedCall, FinishedStep, LogPiece, LoggedEvent, RunStatus};
use pluckit::model::ids::{RunId, UserId};
use pluckit::model::lease::Lease;
use pluckit::model::usage::RunUsage;
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use tokio_util::sync::CancellationToken;

use self::follow::Follower;
use self::live::{AHEAD_OF_READER, AHEAD_OF_STORE, End, Live, PIECE, RESETS};
use self::log::{Log, LogWriter};
use crate::explore::{draw, explore};
use crate::store::MemoryStore;
use crate::sync::{mpsc, oneshot};
use crate::time::sleep;

const USER: &str = "ada";
const RUN: &str = "0b6d4e1c-5a55-4c1e-9a6e-0d5f0c9f7a11";
const LEASE: Duration = Duration::from_secs(10);
/// Events of a short turn, of one that is stored in a few chunks, and of one that runs ahead of the store.
const LENGTHS: [u64; 3] = [3, 40, 200];
const READERS: usize = 2;
/// Number of the first token of another process.
const OTHERS: u64 = 1_000;

/// The parts of the service that `follow` uses.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    base: Base,
    here: Mutex<Option<Arc<Live>>>,
    followers: Mutex<HashMap<RunId, usize>>,
}

struct Base {
    data: Data,
    shutdown: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such run")]
    NotFound,
    #[error("too many readers follow the run")]
    TooManyFollowers,
    #[error(transparent)]
    Data(#[from] data::Error),
}

impl Runs {
    fn here(&self, _: &UserId, _: &RunId) -> Option<Arc<Live>> {
        self.0.here.lock().clone()
    }

    fn is_abandoned(&self, _: &ChatRun) -> bool {
        false
    }

    async fn take_over(&self, _: &UserId, _: &RunId) -> data::Result<()> {
        Ok(())
    }

    fn chat_runs(&self) -> &ChatRuns {
        &self.0.base.data.chat_runs
    }
}

/// A run, the process that works on it, and the store.
struct World {
    store: Arc<MemoryStore>,
    runs: Runs,
    live: Arc<Live>,
    held: Arc<Held<ChatRun>>,
    clock: Arc<dyn Clock>,
    user: UserId,
    id: RunId,
}

impl World {
    /// Creates a run with `before` events in the store; `None` for one whose log is not stored.
    fn new(before: impl Into<Option<u64>>) -> Arc<Self> {
        let before = before.into();
        let (is_stored, before) = (before.is_some(), before.unwrap_or(0));
        let store = Arc::<MemoryStore>::default();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        let data = Data::new(store.clone());
        let leases = data.leases(&clock, LEASE);
        let first = leases.first();
        let now = clock.now();
        let run = serde_json::json!({
            "id": RUN, "userId": USER, "status": "running", "createdAt": "2026-03-02T09:15:00Z",
            "updatedAt": "2026-03-02T09:15:00Z", "ttl": 60,
        });
        let mut run: ChatRun = serde_json::from_value(run).unwrap();
        (run.lease, run.updated_at) = (first.lease(), now.into());
        store.insert(RUN, &run);
        let (user, id) = (run.user_id.clone(), run.id.clone());
        for first_seq in (1..=before).step_by(PIECE) {
            let piece = piece(&id, "before", first_seq, before.min(first_seq + PIECE as u64 - 1));
            store.insert(&piece.id, &piece);
        }
        let held = Arc::new(leases.created(ChatRuns::key(&user, &id), run.clone(), first));
        let live = Arc::new(Live::new(&run, before, is_stored));
        let inner = Inner {
            base: Base { data, shutdown: CancellationToken::new() },
            here: Mutex::new(Some(live.clone())),
            followers: Mutex::default(),
        };
        Arc::new(Self { store, runs: Runs(Arc::new(inner)), live, held, clock, user, id })
    }

    /// Returns the events in the store, in order.
    fn stored(&self) -> Vec<ChatEvent> {
        let mut pieces: Vec<LogPiece> =
            self.store.all().into_iter().filter_map(|piece| serde_json::from_value(piece).ok()).collect();
        pieces.sort_by_key(|piece| piece.first_seq);
        let mut events = Vec::new();
        for piece in pieces {
            assert_eq!(piece.first_seq, events.len() as u64 + 1, "a gap or a double in the store");
            assert_eq!(piece.last_seq - piece.first_seq + 1, piece.events.len() as u64);
            events.extend(piece.events.into_iter().map(ChatEvent::from));
        }
        events
    }

    /// Works on the run like `work` in `src/domain/chat/runs`.
    async fn work(&self, events: u64) {
        let lost = CancellationToken::new();
        let (steps, received) = mpsc::channel(4);
        let (stored, when_stored) = oneshot::channel();
        let writer = LogWriter {
            runs: self.runs.chat_runs().clone(),
            live: self.live.clone(),
            held: self.held.clone(),
            clock: self.clock.clone(),
            flush: Duration::from_millis(250),
            ttl: 60,
        };
        let writer_lost = lost.clone();
        spawn(async move {
            match writer_lost.run_until_cancelled(writer.run(received)).await {
                Some(Ok(())) => drop(stored.send(())),
                Some(Err(lease::Lost)) => writer_lost.cancel(),
                None => {}
            }
        });
        let log = Log::new(self.live.clone(), Meter::default(), Some(steps));
        let work = async {
            self.turn(log, events).await;
            when_stored.await.ok()?;
            self.settle().await
        };
        let end = crate::select! {
            biased;
            () = lost.cancelled() => None,
            end = work => end,
        };
        lost.cancel();
        *self.runs.0.here.lock() = None;
        self.live.end(end.unwrap_or(End::Elsewhere));
    }

    async fn turn(&self, log: Log, events: u64) {
        let answer = async {
            let mut steps = Vec::new();
            for number in 0..events {
                log.say(token(number)).await;
                if draw(16) == 0 {
                    steps.push(step());
                    log.finish_step(&steps).await;
                }
            }
        };
        crate::select! {
            biased;
            _ = self.live.stopped() => {}
            () = answer => {}
        }
        log.say(done(&self.id)).await;
    }

    async fn settle(&self) -> Option<End> {
        loop {
            let end = |run: &mut ChatRun| (run.status, run.last_seq) = (RunStatus::Completed, self.live.last());
            match self.held.finish(end).await {
                Ok(_) => return Some(End::Over(RunStatus::Completed)),
                Err(lease::Error::Lost) => return None,
                Err(lease::Error::Data(_)) => sleep(Duration::ZERO).await,
            }
        }
    }

    /// Takes the run over in another process; the first one notices at its next write.
    async fn take_over(&self) {
        let mut step_seq = 0;
        self.store.edit(RUN, |run: &mut ChatRun| {
            run.lease = Lease::new("other", (self.clock.now() + LEASE).into());
            step_seq = run.step_seq;
        });
        let last_seq = loop {
            let Ok(piece) = self.runs.chat_runs().last_piece(&self.user, &self.id).await else { continue };
            if let Some(piece) = &piece
                && piece.events.last().is_some_and(LoggedEvent::is_done)
            {
                break piece.last_seq;
            }
            let last = piece.map_or(0, |piece| piece.last_seq);
            let mut piece = piece_of_resets(&self.id, last, step_seq);
            if self.append(&piece).await == Appended::Refused {
                continue;
            }
            let next = piece.last_seq + 1;
            piece = self::piece(&self.id, "other", next, next + 1);
            piece.events[1] = done(&self.id).into();
            assert_eq!(self.append(&piece).await, Appended::Done, "the log was sealed");
            break piece.last_seq;
        };
        self.store.edit(RUN, |run: &mut ChatRun| (run.status, run.last_seq) = (RunStatus::Completed, last_seq));
    }

    async fn append(&self, piece: &LogPiece) -> Appended {
        loop {
            if let Ok(appended) = self.runs.chat_runs().append(piece).await {
                return appended;
            }
        }
    }
}

fn token(number: u64) -> ChatEvent {
    ChatEvent::Token { content: number.to_string() }
}

fn done(id: &RunId) -> ChatEvent {
    let usage = RunUsage::default();
    ChatEvent::Done { model: "none".into(), token_count: 0, run_id: id.clone(), stopped: None, usage }
}

fn step() -> FinishedStep {
    let call = FinishedCall { id: "1".into(), name: "none".into(), arguments: String::new(), result: String::new() };
    FinishedStep { text: String::new(), calls: vec![call], accepted: None, tokens: 0 }
}

fn piece(id: &RunId, owner: &str, first_seq: u64, last_seq: u64) -> LogPiece {
    LogPiece {
        id: LogPiece::id(id, first_seq),
        run_id: id.clone(),
        user_id: UserId::from(USER),
        written_by: owner.to_owned(),
        first_seq,
        last_seq,
        events: (first_seq..=last_seq).map(|seq| token(OTHERS + seq).into()).collect(),
        ttl: 60,
    }
}

fn piece_of_resets(id: &RunId, last: u64, from_seq: u64) -> LogPiece {
    let mut piece = piece(id, "other", last + 1, last + RESETS);
    piece.events = piece.events.iter().map(|_| ChatEvent::StepReset { from_seq }.into()).collect();
    piece
}

/// Returns the events that a client keeps after applying resets.
fn fold(events: &[ChatEvent]) -> Vec<(u64, &ChatEvent)> {
    let mut valid = Vec::new();
    for (seq, event) in (1..).zip(events) {
        match event {
            ChatEvent::StepReset { from_seq } => valid.retain(|(seq, _)| seq < from_seq),
            event => valid.push((seq, event)),
        }
    }
    valid
}

/// Behaviour of a reader.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pace {
    /// Reads to the end.
    Steady,
    /// Pauses until the run is over, and then continues.
    Stalls,
    /// Leaves before the end.
    Leaves,
}

/// Events received by a reader.
struct Seen {
    /// Number of the event from which it started.
    after: u64,
    events: Vec<ChatEvent>,
    has_left: bool,
}

/// Reads events after this one, and checks their numbers.
async fn read(world: &World, mut follower: Follower, after: u64, pace: Pace, bound: impl Fn(u64)) -> Seen {
    let mut events = Vec::new();
    let turning = draw(60);
    while let Some((seq, event)) = follower.next().await {
        assert_eq!(seq, after + events.len() as u64 + 1, "a gap or a double");
        bound(seq);
        assert!(!events.last().is_some_and(is_done), "an event after the last");
        events.push(event);
        if events.len() == turning {
            match pace {
                Pace::Steady => yield_now().await,
                Pace::Stalls => drop(world.live.ended().await),
                Pace::Leaves => return Seen { after, events, has_left: true },
            }
        }
    }
    Seen { after, events, has_left: false }
}

/// Whether the other process added this event.
fn is_of_other(event: &ChatEvent) -> bool {
    match event {
        ChatEvent::Token { content } => content.parse().is_ok_and(|number: u64| number >= OTHERS),
        event => matches!(event, ChatEvent::StepReset { .. }),
    }
}

fn is_done(event: &ChatEvent) -> bool {
    matches!(event, ChatEvent::Done { .. })
}

/// Starts readers that attach at any time, each after a random event.
fn attach(world: &Arc<World>, has_other: bool) -> Vec<JoinHandle<Seen>> {
    let reader = |_| {
        let world = world.clone();
        spawn(async move {
            for _ in 0..draw(100) {
                yield_now().await;
            }
            let after = [0, draw(world.live.stored() as usize + 1) as u64][draw(2)];
            // The log has at least the events that this process has stored.
            let follower = loop {
                match world.runs.follow(&world.user, &world.id, after).await {
                    Ok(follower) => break follower,
                    Err(Error::Data(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            };
            let bound = |seq| {
                assert!(
                    has_other || seq <= world.live.stored() + AHEAD_OF_STORE,
                    "{seq} is too far ahead of the store"
                );
            };
            let pace = [Pace::Steady, Pace::Stalls, Pace::Leaves][draw(3)];
            read(&world, follower, after, pace, bound).await
        })
    };
    (0..READERS).map(reader).collect()
}

/// Waits for the readers, and compares their events with the stored ones.
async fn finish(world: &World, readers: Vec<JoinHandle<Seen>>) {
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(reader.await.unwrap());
    }
    let stored = world.stored();
    let ends = stored.iter().filter(|event| is_done(event)).count();
    assert!(ends == 1 && stored.last().is_some_and(is_done), "{ends} ends in the store");
    for Seen { after, events, has_left } in seen {
        let own = events.iter().take_while(|event| !is_of_other(event)).count();
        if after + own as u64 > world.live.stored() + AHEAD_OF_STORE {
            // A client that cannot resume, and is further ahead than the other process voids.
            assert_eq!(own, events.len(), "a voided step stays with a client");
            continue;
        }
        let (before, rest) = stored.split_at(usize::try_from(after).unwrap());
        for (event, stored) in events.iter().zip(rest) {
            // Voided by the other process.
            let is_voided = matches!(stored, ChatEvent::StepReset { .. });
            assert!(event == stored || is_voided, "{event:?} was read, {stored:?} is stored");
        }
        // A reader that saw an end which was not stored in time does not resume.
        let saw_end = events.last().is_some_and(is_done);
        assert!(has_left || saw_end || rest.is_empty(), "no end after {after} and {}", events.len());
        if !has_left && events.len() == rest.len() {
            let read = [before, &events].concat();
            assert!(fold(&read) == fold(&stored), "a voided step stays with a reader");
        }
    }
    assert!(world.runs.0.followers.lock().is_empty(), "a reader's place was not given back");
}

#[test]
fn each_reader_sees_each_event_once_and_in_order() {
    explore(250, || {
        let world = World::new([0, 70][draw(2)]);
        let length = LENGTHS[draw(3)];
        let readers = attach(&world, false);
        let worker = world.clone();
        let work = spawn(async move { worker.work(length).await });
        block_on(async {
            work.await.unwrap();
            finish(&world, readers).await;
        });
        assert_eq!(world.live.stored(), world.live.last(), "not all is stored at the end");
    });
}

#[test]
fn a_client_that_is_waited_for_bounds_the_run_and_stops_it_by_leaving() {
    explore(250, || {
        let world = World::new(0);
        let length = LENGTHS[draw(3)];
        let client = Follower::of_client(&world.runs, world.live.clone(), true);
        let pace = [Pace::Steady, Pace::Leaves][draw(2)];
        let watched = world.clone();
        let client = spawn(async move {
            let bound = |seq| {
                assert!(watched.live.last() <= seq + AHEAD_OF_READER, "the run is too far ahead of its client");
            };
            read(&watched, client, 0, pace, bound).await
        });
        let mut readers = attach(&world, false);
        let worker = world.clone();
        let work = spawn(async move { worker.work(length).await });
        readers.push(client);
        block_on(async {
            work.await.unwrap();
            finish(&world, readers).await;
        });
    });
}

#[test]
fn a_client_is_waited_for_when_nothing_is_stored() {
    explore(500, || {
        let world = World::new(None);
        let length = LENGTHS[draw(3)];
        let client = Follower::of_client(&world.runs, world.live.clone(), true);
        let pace = [Pace::Steady, Pace::Leaves][draw(2)];
        let (watched, worker) = (world.clone(), world.clone());
        let client = spawn(async move {
            let bound = |seq| assert!(watched.live.last() <= seq + AHEAD_OF_READER, "the run is too far ahead");
            read(&watched, client, 0, pace, bound).await
        });
        let work = spawn(async move {
            worker.turn(Log::new(worker.live.clone(), Meter::default(), None), length).await;
            worker.live.end(End::Over(RunStatus::Completed));
        });
        block_on(async {
            work.await.unwrap();
            let Seen { events, has_left, .. } = client.await.unwrap();
            let (tokens, end) = events.split_at(events.len().min(length as usize));
            assert!(tokens.iter().cloned().eq((0..tokens.len() as u64).map(token)), "another's events");
            assert!(has_left || matches!(end, [end] if is_done(end)), "no end after {}", tokens.len());
        });
    });
}

#[test]
fn readers_see_the_log_that_another_process_goes_on_with() {
    explore(250, || {
        let world = World::new(0);
        let length = LENGTHS[draw(3)];
        let client = Follower::of_client(&world.runs, world.live.clone(), false);
        let mut readers = attach(&world, true);
        let watched = world.clone();
        readers.push(spawn(async move { read(&watched, client, 0, Pace::Steady, |_| ()).await }));
        let (worker, other) = (world.clone(), world.clone());
        let work = spawn(async move { worker.work(length).await });
        let taken_over = spawn(async move {
            for _ in 0..draw(200) {
                yield_now().await;
            }
            other.take_over().await;
        });
        block_on(async {
            work.await.unwrap();
            taken_over.await.unwrap();
            finish(&world, readers).await;
        });
    });
}
