//! State shared by all instances: time, faults, the trace, and violations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pluckit::base::clock::Clock;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::checks::Checks;
use crate::dice::Dice;

/// Start time of every simulation.
const BEGINNING: OffsetDateTime = datetime!(2026-03-02 09:15 UTC);

/// Kinds and frequency of a seed's faults.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Instances of the service.
    pub instances: usize,
    /// Calls that fail, or are answered late or not at all, per thousand.
    pub faulty_calls: u64,
    /// Other mishaps of instances.
    pub mishaps: Vec<Mishap>,
}

/// A mishap of one instance, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The process dies, and a new one starts later.
    Crash,
    /// The process receives and sends nothing for a while.
    Stall,
    /// The machine's clock is set.
    ClockStep,
    /// The document store refuses most calls for a while.
    Throttling,
}

impl Profile {
    fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "profile");
        let mut mishaps = Vec::new();
        for (mishap, in_thousand) in
            [(Mishap::Crash, 650), (Mishap::Stall, 350), (Mishap::ClockStep, 300), (Mishap::Throttling, 300)]
        {
            if dice.chance(in_thousand) {
                mishaps.push(mishap);
            }
        }
        let instances = usize::try_from(dice.between(2, 3)).unwrap();
        Self { instances, faulty_calls: *dice.one_of(&[0, 5, 20, 50]), mishaps }
    }

    /// Time limit for recovery after the faults have ended. Times written by a clock that was ahead may have to pass on
    /// the correct clocks.
    pub fn settled_within(&self) -> Duration {
        Duration::from_secs(if self.has_right_clocks() { 30 * 60 } else { 3 * 60 * 60 })
    }

    /// Whether all clocks are correct, so that leases are exclusive.
    pub fn has_right_clocks(&self) -> bool {
        !self.mishaps.contains(&Mishap::ClockStep)
    }
}

/// Fate of a call from an instance to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// Delay before it takes effect.
    pub before: Duration,
    /// Delay of its answer.
    pub after: Duration,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It has no effect.
    Refused,
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// It takes effect late.
    Late,
    /// Its answer comes late.
    AnswerLate,
    /// It takes effect twice.
    Twice,
}

/// Everything outside of the instances.
pub struct World {
    /// The seed.
    pub seed: u64,
    /// The faults of the seed.
    pub profile: Profile,
    /// Calls in flight, and other work outside of the instances.
    pub tasks: TaskTracker,
    /// Notified when a message was queued.
    pub queued: Notify,
    /// State of the checks.
    pub checks: Mutex<Checks>,
    began: Instant,
    /// Milliseconds since the start, for threads without simulated time: the stores' clock.
    server_ms: AtomicI64,
    state: Mutex<State>,
}

struct State {
    fates: Dice,
    has_faults: bool,
    /// Number of faults so far, and the limit.
    faults: usize,
    most_faults: usize,
    calls: usize,
    throttled_until: Instant,
    trace: Vec<String>,
    digest: u64,
    violations: Vec<String>,
}

impl World {
    /// Creates the world of this seed, with at most this many faults. Time starts now.
    pub fn new(seed: u64, most_faults: usize) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            seed,
            profile: Profile::of(seed),
            tasks: TaskTracker::new(),
            queued: Notify::new(),
            checks: Mutex::default(),
            began: now,
            server_ms: AtomicI64::new(0),
            state: Mutex::new(State {
                fates: Dice::new(seed, "fates"),
                has_faults: true,
                faults: 0,
                most_faults,
                calls: 0,
                throttled_until: now,
                trace: Vec::new(),
                digest: 0xCBF2_9CE4_8422_2325,
                violations: Vec::new(),
            }),
        })
    }

    /// Creates the random sequence of this name.
    pub fn dice(&self, name: &str) -> Dice {
        Dice::new(self.seed, name)
    }

    /// Returns the simulated time so far.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the correct time.
    pub fn now(&self) -> OffsetDateTime {
        BEGINNING + self.elapsed()
    }

    /// Sets the stores' clock; called before each of their operations.
    pub fn set_server_clock(&self) {
        self.server_ms.store(i64::try_from(self.elapsed().as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Adds a line to the trace.
    pub fn note(&self, who: &str, what: &str) {
        let line = format!("{:>9.3} {who:<6} {what}", self.elapsed().as_secs_f64());
        let mut state = self.state.lock();
        for byte in line.bytes().chain([b'\n']) {
            state.digest = (state.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        state.trace.push(line);
    }

    /// Records a violated property.
    pub fn violated(&self, what: &str) {
        self.note("CHECK", what);
        self.state.lock().violations.push(what.to_owned());
    }

    /// Ends all faults.
    pub fn end_faults(&self) {
        self.state.lock().has_faults = false;
    }

    /// Counts a fault that is about to happen; `false` if the limit is reached.
    pub fn may_fail(&self) -> bool {
        let mut state = self.state.lock();
        let may = state.has_faults && state.faults < state.most_faults;
        state.faults += usize::from(may);
        may
    }

    /// Makes the document store refuse most calls for this long.
    pub fn throttle(&self, length: Duration) {
        self.state.lock().throttled_until = Instant::now() + length;
    }

    /// Draws the fate of a call to a service: `store`, `queue`, `blobs` or `model`.
    pub fn fate(&self, service: &str) -> Fate {
        let profile = &self.profile;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.calls += 1;
        let dice = &mut state.fates;
        let (before, after) = (dice.pause(1, 9), dice.pause(0, 4));
        let (is_faulty, kind, late) = (dice.chance(profile.faulty_calls), dice.below(5), dice.pause(200, 14_000));
        let is_throttled = dice.chance(700) && service == "store" && Instant::now() < state.throttled_until;
        if state.has_faults && is_throttled {
            return Fate { before, after, fault: Some(Fault::Refused) };
        }
        drop(guard);
        if !is_faulty || !self.may_fail() {
            return Fate { before, after, fault: None };
        }
        let fault = match kind {
            0 => Fault::Refused,
            1 => Fault::AnswerLost,
            2 => Fault::Late,
            3 => Fault::AnswerLate,
            _ if service == "queue" => Fault::Twice,
            _ => Fault::AnswerLost,
        };
        match fault {
            Fault::Late => Fate { before: late, after, fault: Some(fault) },
            Fault::AnswerLate => Fate { before, after: late, fault: Some(fault) },
            Fault::Refused | Fault::AnswerLost | Fault::Twice => Fate { before, after, fault: Some(fault) },
        }
    }

    /// Returns the outcome, with the trace if requested or if a property was violated.
    pub fn outcome(&self, has_trace: bool) -> Outcome {
        let state = self.state.lock();
        Outcome {
            seed: self.seed,
            digest: format!("{:016x}", state.digest),
            faults: state.faults,
            calls: state.calls,
            simulated_s: self.elapsed().as_secs(),
            violations: state.violations.clone(),
            counts: self.checks.lock().counts.clone(),
            trace: if has_trace || !state.violations.is_empty() { state.trace.clone() } else { Vec::new() },
        }
    }
}

/// Outcome of a seed.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    pub seed: u64,
    /// Hash of the trace.
    pub digest: String,
    pub faults: usize,
    pub calls: usize,
    pub simulated_s: u64,
    /// Violated properties.
    pub violations: Vec<String>,
    /// Counts of checks by name.
    pub counts: BTreeMap<String, u64>,
    /// The trace, if requested.
    pub trace: Vec<String>,
}

/// The stores' clock, which is always correct.
pub struct ServerClock(pub Arc<World>);

impl Clock for ServerClock {
    fn now(&self) -> OffsetDateTime {
        BEGINNING + time::Duration::milliseconds(self.0.server_ms.load(Ordering::SeqCst))
    }

    fn instant(&self) -> std::time::Instant {
        self.0.began.into_std() + Duration::from_millis(self.0.server_ms.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// A machine's clock, which may be wrong.
pub struct MachineClock {
    world: Arc<World>,
    /// How far it is ahead, in milliseconds.
    pub error_ms: AtomicI64,
}

impl MachineClock {
    pub fn new(world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { world, error_ms: AtomicI64::new(0) })
    }
}

impl Clock for MachineClock {
    fn now(&self) -> OffsetDateTime {
        self.world.now() + time::Duration::milliseconds(self.error_ms.load(Ordering::SeqCst))
    }

    fn instant(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

/// State of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Well,
    /// It neither receives nor sends anything.
    Stalled,
    Dead,
}

/// A process of the service.
pub struct Life {
    /// Name in the trace: machine and number of restarts.
    pub name: String,
    health: watch::Sender<Health>,
}

impl Life {
    pub fn new(name: String) -> Arc<Self> {
        Arc::new(Self { name, health: watch::Sender::new(Health::Well) })
    }

    pub fn set(&self, health: Health) {
        self.health.send_replace(health);
    }

    pub fn health(&self) -> Health {
        *self.health.borrow()
    }

    /// Waits while the process is stalled, and forever when it is dead, so that it has no further effect.
    pub async fn goes_on(&self) {
        let mut health = self.health.subscribe();
        health.wait_for(|health| *health == Health::Well).await.expect("the sender is here");
    }

    /// Waits until the process dies.
    pub async fn ended(&self) {
        let mut health = self.health.subscribe();
        health.wait_for(|health| *health == Health::Dead).await.expect("the sender is here");
    }
}
