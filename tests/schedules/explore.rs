//! Runs a test in many schedules, or replays one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::sync::atomic::AtomicBool;
use shuttle::{Config, Runner};

/// A schedule to replay, as a failed test printed it.
const SCHEDULE: &str = "PLUCKIT_TEST_SCHEDULE";
/// How many times the usual number of schedules to run.
const TIMES: &str = "PLUCKIT_TEST_SCHEDULES_TIMES";
/// Seed of the schedulers: every run of the tests explores the same schedules.
const SEED: u64 = 23;
/// Priority changes in a PCT schedule: the preemptions that a bug may need.
const PREEMPTIONS: usize = 4;
/// Stack size of a thread in bytes; SQLite needs more than shuttle's default.
const STACK: usize = 256 * 1024;

/// Runs `test` in this many random schedules, and in as many PCT schedules.
#[expect(clippy::disallowed_methods, reason = "there are no settings here")]
pub fn explore(schedules: usize, test: fn()) {
    if let Ok(schedule) = std::env::var(SCHEDULE) {
        return run("replayed", ReplayScheduler::new_from_encoded(&schedule), test);
    }
    let times: usize = std::env::var(TIMES).map_or(1, |times| times.parse().unwrap());
    run("random", RandomScheduler::new_from_seed(SEED, schedules * times), test);
    run("PCT", PctScheduler::new_from_seed(SEED, PREEMPTIONS, schedules * times), test);
}

fn run(kind: &'static str, scheduler: impl Scheduler + 'static, test: fn()) {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    let count = Count { kind, schedules: Arc::default() };
    let schedules = count.schedules.clone();
    Runner::new(scheduler, config).run(move || {
        schedules.fetch_add(1, Ordering::Relaxed);
        test();
    });
}

/// Prints which schedule failed.
struct Count {
    kind: &'static str,
    schedules: Arc<AtomicUsize>,
}

impl Drop for Count {
    #[expect(clippy::print_stderr, reason = "part of the test's failure message")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let number = self.schedules.load(Ordering::Relaxed);
            eprintln!("failed in {} schedule {number}; {SCHEDULE}=<schedule> replays it", self.kind);
        }
    }
}

/// A scheduling point: another thread may continue here.
pub fn point() {
    // A thread that unwinds is not switched.
    if !std::thread::panicking() {
        AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

/// Draws a random number below `below`, as part of the schedule.
pub fn draw(below: usize) -> usize {
    thread_rng().gen_range(0..below)
}

/// Panics without a message.
pub fn break_down() -> ! {
    std::panic::resume_unwind(Box::new("broken on purpose"))
}
