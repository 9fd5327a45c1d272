//! Runs many seeds, each in its own process, so that no state in memory carries over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;

use crate::world::Outcome;

/// Environment variable: the seed and the most faults.
const SEED: &str = "PLUCKIT_SIMULATED_SEED";
const MOST_FAULTS: &str = "PLUCKIT_SIMULATED_FAULTS";
/// Environment variable: whether to print the trace.
const TRACE: &str = "PLUCKIT_SIMULATED_TRACE";
/// Environment variables: the first seed, and the number of seeds.
const FIRST: &str = "PLUCKIT_SIMULATE_FROM";
const COUNT: &str = "PLUCKIT_SIMULATE_SEEDS";
/// Default number of seeds.
const USUAL: u64 = 200;
/// Seeds between two progress messages of a long run.
const STRETCH: u64 = 1000;
/// Prefix of the line with the outcome.
const MARK: &str = "simulated: ";
/// Most failures that are minimised and shown.
const SHOWN: usize = 3;
/// Trace lines shown, from the end.
const SHOWN_LINES: usize = 60;

/// Outcomes of many seeds.
pub struct Outcomes {
    /// Each failed seed, with its violations and the end of its trace.
    pub failures: Vec<String>,
    /// Summary with counts.
    pub report: String,
}

#[expect(clippy::disallowed_methods, reason = "how whoever starts the process tells it what to do")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Returns the seed that this process simulates, the most faults, and whether to print the trace.
pub fn asked_for() -> Option<(u64, usize, bool)> {
    let most_faults = variable(MOST_FAULTS).map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    Some((variable(SEED)?, most_faults, variable(TRACE).is_some()))
}

/// Reports the seed's outcome to the parent process.
#[expect(clippy::print_stdout, reason = "how a child talks to its parent")]
pub fn tell(outcome: &Outcome) {
    println!("{MARK}{}", serde_json::to_string(outcome).unwrap());
}

/// Prints a progress message.
#[expect(clippy::print_stderr, reason = "a long run says how far it is")]
pub fn say(report: &str) {
    eprintln!("{report}");
}

/// Prints the trace of the requested seed.
#[expect(clippy::print_stdout, reason = "who asked for the seed reads it")]
pub fn show() {
    let Some((seed, most_faults, _)) = asked_for() else { return };
    match simulate(seed, most_faults, true) {
        Ok(outcome) => {
            println!("{}", outcome.trace.join("\n"));
            println!("\nseed {seed}, {} faults, trace {}", outcome.faults, outcome.digest);
            println!("{}", outcome.violations.join("\n"));
        }
        Err(fault) => println!("{fault}"),
    }
}

/// Simulates a seed in a separate process.
fn simulate(seed: u64, most_faults: usize, has_trace: bool) -> Result<Outcome, String> {
    let done = Command::new(std::env::current_exe().unwrap())
        .envs(has_trace.then_some((TRACE, "1")))
        .args(["--exact", "process_of_a_seed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(SEED, seed.to_string())
        .env(MOST_FAULTS, most_faults.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    let line = text.lines().find_map(|line| Some(line.split_once(MARK)?.1));
    let outcome = line.and_then(|line| serde_json::from_str(line).ok());
    outcome.ok_or_else(|| {
        format!("seed {seed}: the process ended early\n{text}\n{}", String::from_utf8_lossy(&done.stderr))
    })
}

/// Calls `each` with numbers below `count`, on all cores.
fn on_all_cores(count: u64, each: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= count {
                        break;
                    }
                    each(number);
                }
            });
        }
    });
}

/// A seed's outcome, or why its process ended without one.
type Simulated = Result<Outcome, String>;

/// Simulates the requested seeds once for all tests of this process; returns the outcomes and the seconds taken.
fn simulated() -> &'static (BTreeMap<u64, Simulated>, f64) {
    static SIMULATED: OnceLock<(BTreeMap<u64, Simulated>, f64)> = OnceLock::new();
    SIMULATED.get_or_init(|| {
        let (first, began, outcomes) = (variable(FIRST).unwrap_or(0), Instant::now(), Mutex::new(BTreeMap::new()));
        on_all_cores(variable(COUNT).unwrap_or(USUAL), |number| {
            let outcome = simulate(first + number, usize::MAX, false);
            let mut outcomes = outcomes.lock();
            outcomes.insert(first + number, outcome);
            if (outcomes.len() as u64).is_multiple_of(STRETCH) {
                say(&format!("{} seeds in {:.0} s", outcomes.len(), began.elapsed().as_secs_f64()));
            }
        });
        (outcomes.into_inner(), began.elapsed().as_secs_f64())
    })
}

/// Returns the outcomes of the seeds.
pub fn outcomes() -> Outcomes {
    let (simulated, seconds) = simulated();
    let mut totals = BTreeMap::<&str, u64>::new();
    for outcome in simulated.values().flatten() {
        let (calls, faults) = (outcome.calls as u64, outcome.faults as u64);
        let all = [("calls", calls), ("faults", faults), ("simulated seconds", outcome.simulated_s)];
        for (name, number) in
            all.into_iter().chain(outcome.counts.iter().map(|(name, number)| (name.as_str(), *number)))
        {
            *totals.entry(name).or_default() += number;
        }
    }
    let has_failed = |outcome: &Simulated| outcome.as_ref().map_or(true, |outcome| !outcome.violations.is_empty());
    let failed: Vec<_> = simulated.iter().filter(|(_, outcome)| has_failed(outcome)).collect();
    let mut report = format!("{} seeds in {seconds:.1} s, {} failed", simulated.len(), failed.len());
    for (name, number) in totals {
        write!(report, "; {name}: {number}").unwrap();
    }
    let failures = failed.into_iter().enumerate().map(|(position, (seed, outcome))| match outcome {
        Ok(outcome) if position < SHOWN => describe(&shortest(outcome.clone())),
        Ok(outcome) => format!("seed {seed}: {}", outcome.violations[0]),
        Err(fault) => fault.clone(),
    });
    Outcomes { failures: failures.collect(), report }
}

/// Returns the outcome of the same seed with the fewest faults that still fail.
fn shortest(outcome: Outcome) -> Outcome {
    let (mut passes, mut fails) = (0, outcome);
    if let Ok(calm) = simulate(fails.seed, 0, true)
        && !calm.violations.is_empty()
    {
        return calm;
    }
    while fails.faults > passes + 1 {
        let middle = passes.midpoint(fails.faults);
        match simulate(fails.seed, middle, true) {
            Ok(outcome) if !outcome.violations.is_empty() && outcome.faults < fails.faults => fails = outcome,
            _ => passes = middle,
        }
    }
    fails
}

fn describe(outcome: &Outcome) -> String {
    let Outcome { seed, faults, violations, trace, .. } = outcome;
    // Up to the first violation.
    let end = trace.iter().position(|line| line.contains(" CHECK ")).map_or(trace.len(), |position| position + 1);
    let shown = &trace[end.saturating_sub(SHOWN_LINES)..end];
    format!(
        "seed {seed} fails with its first {faults} faults (replay: scripts/simulate --seed {seed} --faults {faults}):\n  {}\n{}",
        violations.join("\n  "),
        shown.join("\n")
    )
}

/// Simulates the first `count` seeds again; returns the differences.
pub fn compare_twice(count: u64) -> Vec<String> {
    let (different, before) = (Mutex::new(Vec::new()), simulated().0.iter().collect::<Vec<_>>());
    on_all_cores(count.min(before.len() as u64), |number| {
        let (seed, one) = before[usize::try_from(number).unwrap()];
        match (one, simulate(*seed, usize::MAX, false)) {
            (Ok(one), Ok(other)) if one.digest == other.digest => {}
            (Ok(_), Ok(_)) => different.lock().push(difference(*seed)),
            (Err(fault), _) => different.lock().push(fault.clone()),
            (_, Err(fault)) => different.lock().push(fault),
        }
    });
    different.into_inner()
}

/// Describes where two traces of a seed diverge.
fn difference(seed: u64) -> String {
    let [one, other] =
        [(); 2].map(|()| simulate(seed, usize::MAX, true).map_or_else(|fault| vec![fault], |outcome| outcome.trace));
    let line = one.iter().zip(&other).position(|(one, other)| one != other).unwrap_or_default();
    let show = |trace: &[String]| trace.get(line).cloned().unwrap_or_default();
    format!("seed {seed}, line {line}:\n  {}\n  {}", show(&one), show(&other))
}
