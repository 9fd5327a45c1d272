//! Invariants, checked at each write that takes effect, each model call, and each start of work.

use std::collections::BTreeMap;
use std::sync::Arc;

use pluckit::store::{Container, Key};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::world::{Health, Life, World};

/// Daily token budget of a user.
pub const TOKENS_PER_DAY: u64 = 8_000;
/// Most tokens that a model call costs.
pub const MOST_TOKENS_PER_CALL: u64 = 1_000;

/// State of the checks.
#[derive(Default)]
pub struct Checks {
    /// Counts of checks and events by name.
    pub counts: BTreeMap<String, u64>,
    /// The process that holds each lease, by the lease's owner.
    owners: BTreeMap<String, String>,
    /// Session families, with whether each session is live.
    sessions: BTreeMap<String, BTreeMap<String, bool>>,
    /// Due times that were recorded as done, by timer.
    done_timers: BTreeMap<(String, String), u64>,
    /// Processes at work on each piece of work, with the sequence number of their start.
    at_work: BTreeMap<String, Vec<(Arc<Life>, u64)>>,
    beginnings: u64,
    /// Tokens of finished model calls, by user.
    spent: BTreeMap<String, u64>,
    /// Number of crashes so far.
    pub deaths: u64,
}

impl Checks {
    /// Increments a counter.
    pub fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }
}

/// Whether writes to the container are checked.
pub fn is_watched(container: Container) -> bool {
    matches!(container, Container::Jobs | Container::ChatRuns | Container::RefreshTokens | Container::Conversations)
}

/// Returns the owner and expiry of a document's lease.
fn lease(document: &Value) -> Option<(&str, OffsetDateTime)> {
    let owner = document["leaseOwner"].as_str().or_else(|| document["owner"].as_str())?;
    let until = OffsetDateTime::parse(document["leaseExpiresAt"].as_str()?, &Rfc3339).ok()?;
    Some((owner, until))
}

/// Checks a write that has taken effect.
pub fn written(world: &World, life: &Life, key: &Key, before: Option<&Value>, after: Option<&Value>) {
    let mut faults = Vec::new();
    {
        let checks = &mut *world.checks.lock();
        match key.container {
            Container::RefreshTokens => faults.extend(checks.session_written(after)),
            Container::Jobs if key.id.starts_with("timer-") => {
                let done_again = checks.timer_written(before, after);
                faults.extend(done_again.filter(|_| world.profile.has_right_clocks()));
            }
            Container::Jobs => faults.extend(job_written(before, after)),
            Container::ChatRuns => faults.extend(run_written(before, after)),
            _ => {}
        }
        faults.extend(checks.lease_written(world, life, before, after));
    }
    for fault in faults {
        world.violated(&format!("{:?}/{}/{}: {fault}", key.container, key.partition, key.id));
    }
}

/// A final job does not change until it is deleted.
fn job_written(before: Option<&Value>, after: Option<&Value>) -> Option<String> {
    let status = |job: &Value| job["status"].as_str().map(str::to_owned);
    let (before, after) = (status(before?)?, after.and_then(status)?);
    let is_final = matches!(before.as_str(), "Completed" | "Failed" | "Terminated");
    (is_final && before != after).then(|| format!("a job that was {before} became {after}"))
}

/// A run that is over does not change.
fn run_written(before: Option<&Value>, after: Option<&Value>) -> Option<String> {
    let status = |run: &Value| run["status"].as_str().map(str::to_owned);
    let (before, after) = (status(before?)?, after.and_then(status)?);
    (before != "running" && before != after).then(|| format!("a run that was {before} became {after}"))
}

impl Checks {
    /// At most one session of a family is live.
    fn session_written(&mut self, after: Option<&Value>) -> Option<String> {
        let session = after?;
        let (id, family) = (session["id"].as_str()?, session["familyId"].as_str()?);
        self.count("sessions written");
        let is_live = session["revoked"] != true;
        let family = self.sessions.entry(family.to_owned()).or_default();
        family.insert(id.to_owned(), is_live);
        let live: Vec<_> = family.iter().filter(|(_, is_live)| **is_live).map(|(id, _)| id.clone()).collect();
        (live.len() > 1).then(|| format!("{} sessions of one family are live: {live:?}", live.len()))
    }

    /// Each due time is recorded as done once.
    fn timer_written(&mut self, before: Option<&Value>, after: Option<&Value>) -> Option<String> {
        let (before, after) = (before?, after?);
        let is_done = |timer: &Value| timer["leaseExpiresAt"].is_null() && timer["completedAt"].is_string();
        if !is_done(after) || is_done(before) && before["lastDue"] == after["lastDue"] {
            return None;
        }
        self.count("due times done");
        let due = (after["id"].as_str()?.to_owned(), after["lastDue"].as_str()?.to_owned());
        let times = self.done_timers.entry(due.clone()).or_default();
        *times += 1;
        (*times > 1).then(|| format!("the due time {} was done {times} times", due.1))
    }

    /// A live lease is not taken by another process.
    fn lease_written(
        &mut self,
        world: &World,
        life: &Life,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> Option<String> {
        let (owner, _) = after.and_then(lease)?;
        let holder = self.owners.entry(owner.to_owned()).or_insert_with(|| life.name.clone()).clone();
        let (former, until) = before.and_then(lease)?;
        self.count("writes under leases");
        let is_taken = former != owner && until > world.now() && world.profile.has_right_clocks();
        is_taken.then(|| format!("{holder} took the lease that {:?} has until {until}", self.owners.get(former)))
    }
}

/// A process at work, until dropped.
pub struct AtWork {
    world: Arc<World>,
    life: Arc<Life>,
    what: String,
    number: u64,
}

/// Records the start of work that only one process may do at a time, unless a clock is wrong.
pub fn begin_work(world: &Arc<World>, life: &Arc<Life>, what: String) -> AtWork {
    let number = {
        let mut checks = world.checks.lock();
        checks.count("work under leases");
        checks.beginnings += 1;
        let number = checks.beginnings;
        checks.at_work.entry(what.clone()).or_default().push((life.clone(), number));
        number
    };
    world.note(&life.name, &format!("begins {what}"));
    AtWork { world: world.clone(), life: life.clone(), what, number }
}

impl AtWork {
    /// Checks, when work continues, that no other process has started it since. Waiting to be dropped, or for a renewal
    /// of the lease, does not count as continuing.
    pub fn goes_on(&self) {
        let later = {
            let checks = self.world.checks.lock();
            let workers = checks.at_work.get(&self.what).into_iter().flatten();
            let mut later = workers.filter(|(life, number)| {
                *number > self.number && life.health() != Health::Dead && !Arc::ptr_eq(life, &self.life)
            });
            later.next().map(|(life, _)| life.name.clone())
        };
        if let Some(later) = later.filter(|_| self.world.profile.has_right_clocks()) {
            let (life, what) = (&self.life.name, &self.what);
            self.world.violated(&format!("{life} goes on with {what}, which {later} has begun since"));
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut checks = self.world.checks.lock();
        if let Some(workers) = checks.at_work.get_mut(&self.what) {
            workers.retain(|(_, number)| *number != self.number);
        }
    }
}

/// Checks the start of a model call that this user pays for.
pub fn model_called(world: &World, user: &str) {
    let (spent, allowed) = {
        let mut checks = world.checks.lock();
        checks.count("model calls");
        // One call too many; one more for each other instance, whose total may be a second old, and for each process
        // that died before it stored its reservation.
        let late = world.profile.instances as u64 + checks.deaths;
        let spent = checks.spent.get(user).copied().unwrap_or_default();
        (spent, TOKENS_PER_DAY + late * MOST_TOKENS_PER_CALL)
    };
    if spent > allowed {
        world.violated(&format!("{user} has spent {spent} tokens and gets another answer"));
    }
}

/// Records the end of a model call.
pub fn model_answered(world: &World, user: &str, tokens: u64) {
    *world.checks.lock().spent.entry(user.to_owned()).or_default() += tokens;
}
