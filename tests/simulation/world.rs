//! What all instances share: time, faults, the trace, and what was found to be wrong.

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

/// When every simulation begins.
const BEGINNING: OffsetDateTime = datetime!(2026-03-02 09:15 UTC);

/// Which faults a seed has, and how many.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Instances of the service.
    pub instances: usize,
    /// Calls that fail, are answered late or not at all, of a thousand.
    pub faulty_calls: u64,
    /// What else befalls the instances.
    pub mishaps: Vec<Mishap>,
}

/// What befalls an instance, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The process dies, and another starts later.
    Crash,
    /// The process hears and sends nothing for a while.
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

    /// How long everything may take to be as it should be, once nothing goes wrong any more. What a clock that was
    /// ahead has written may have to be waited for until the right ones show that time.
    pub fn settled_within(&self) -> Duration {
        Duration::from_secs(if self.has_right_clocks() { 30 * 60 } else { 3 * 60 * 60 })
    }

    /// Whether all clocks are right, so that leases keep others out.
    pub fn has_right_clocks(&self) -> bool {
        !self.mishaps.contains(&Mishap::ClockStep)
    }
}

/// What becomes of a call to something outside of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// Until it takes effect.
    pub before: Duration,
    /// Until its answer arrives.
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
    /// What is sent arrives twice.
    Twice,
}

/// Everything outside of the instances.
pub struct World {
    /// The seed.
    pub seed: u64,
    /// The faults of the seed.
    pub profile: Profile,
    /// Calls that are on their way, and what else goes on outside of instances.
    pub tasks: TaskTracker,
    /// Notified when something was queued.
    pub queued: Notify,
    /// What is checked.
    pub checks: Mutex<Checks>,
    began: Instant,
    /// Milliseconds since the beginning, for threads that have no simulated time: the stores' clock.
    server_ms: AtomicI64,
    state: Mutex<State>,
}

struct State {
    fates: Dice,
    has_faults: bool,
    /// Faults so far, and at most.
    faults: usize,
    most_faults: usize,
    calls: usize,
    throttled_until: Instant,
    trace: Vec<String>,
    digest: u64,
    violations: Vec<String>,
}

impl World {
    /// The world of this seed, with so many faults at most. Time begins now.
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

    /// Choices of this name.
    pub fn dice(&self, name: &str) -> Dice {
        Dice::new(self.seed, name)
    }

    /// Simulated time so far.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The right time of day.
    pub fn now(&self) -> OffsetDateTime {
        BEGINNING + self.elapsed()
    }

    /// Sets the stores' clock, before they do something.
    pub fn set_server_clock(&self) {
        self.server_ms.store(i64::try_from(self.elapsed().as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Notes what happens.
    pub fn note(&self, who: &str, what: &str) {
        let line = format!("{:>9.3} {who:<6} {what}", self.elapsed().as_secs_f64());
        let mut state = self.state.lock();
        for byte in line.bytes().chain([b'\n']) {
            state.digest = (state.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        state.trace.push(line);
    }

    /// Notes that a property does not hold.
    pub fn violated(&self, what: &str) {
        self.note("CHECK", what);
        self.state.lock().violations.push(what.to_owned());
    }

    /// Ends all faults.
    pub fn end_faults(&self) {
        self.state.lock().has_faults = false;
    }

    /// Counts a fault that is about to happen; `false` if it must not.
    pub fn may_fail(&self) -> bool {
        let mut state = self.state.lock();
        let may = state.has_faults && state.faults < state.most_faults;
        state.faults += usize::from(may);
        may
    }

    /// Has the document store refuse most calls for so long.
    pub fn throttle(&self, length: Duration) {
        self.state.lock().throttled_until = Instant::now() + length;
    }

    /// What becomes of a call to a service of this name: `store`, `queue`, `blobs` or `model`.
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

    /// What came of it all, with the trace if that is wanted or something does not hold.
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

/// What came of a seed.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    pub seed: u64,
    /// Of the trace.
    pub digest: String,
    pub faults: usize,
    pub calls: usize,
    pub simulated_s: u64,
    /// What does not hold.
    pub violations: Vec<String>,
    /// How often what was checked.
    pub counts: BTreeMap<String, u64>,
    /// What happened, if that is wanted.
    pub trace: Vec<String>,
}

/// The clock of the stores, which nobody sets.
pub struct ServerClock(pub Arc<World>);

impl Clock for ServerClock {
    fn now(&self) -> OffsetDateTime {
        BEGINNING + time::Duration::milliseconds(self.0.server_ms.load(Ordering::SeqCst))
    }

    fn instant(&self) -> std::time::Instant {
        self.0.began.into_std() + Duration::from_millis(self.0.server_ms.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// The clock of a machine, which may be set.
pub struct MachineClock {
    world: Arc<World>,
    /// What it shows too much, in milliseconds.
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

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Well,
    /// It neither hears nor sends anything.
    Stalled,
    Dead,
}

/// A process of the service.
pub struct Life {
    /// As the trace names it: machine and how often it was started.
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

    /// Waits while the process is stalled; for ever when it is dead: nothing of a dead process has an effect any more.
    pub async fn goes_on(&self) {
        let mut health = self.health.subscribe();
        health.wait_for(|health| *health == Health::Well).await.expect("the sender is here");
    }

    /// Waits for its death.
    pub async fn ended(&self) {
        let mut health = self.health.subscribe();
        health.wait_for(|health| *health == Health::Dead).await.expect("the sender is here");
    }
}
