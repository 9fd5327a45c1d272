//! Runs timers when the service runs without the Functions host, possibly as several processes on one store.
//!
//! Each due time is claimed by compare-and-swap on the timer's document, with a lease that is renewed while the
//! function runs, so that one process runs it and another takes over if that one dies. Missed due times are caught up
//! by one run. The very first start runs nothing; it records where to begin.
//!
//! A recorded due time in the future comes from a process whose clock was ahead. It is ignored, or the timer would
//! pause until then; the newest due time is run, perhaps again.

use std::time::Duration;

use futures::FutureExt;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{Instrument, error, info, warn};
use uuid::Uuid;

use super::{Function, JobError, TIME_LIMIT, TimerTrigger, Trigger, attempt, functions, log_outcome, span};
use crate::base::backoff::{Backoff, Jitter};
use crate::base::chain::Chain;
use crate::config::Config;
use crate::data;
use crate::data::lease::{self, Claimed, Decision, Held, Lost, Standing};
use crate::data::timers::{PARTITION, Timers};
use crate::model::lease::MOST_SKEW;
use crate::model::schedule::Schedule;
use crate::model::timer::TimerState;
use crate::model::timestamp::Timestamp;
use crate::state::{AppState, TimerControl, TimerStart};

/// Parameters of the timers.
#[derive(Debug, Clone)]
pub struct Options {
    /// Length of the lease.
    pub lease: Duration,
    /// Attempts by different processes before a due time counts as failed.
    pub attempts: u32,
    /// Attempts by one process.
    pub tries: u32,
    /// Delay after the first failed attempt, doubled each time.
    pub retry_pause: Duration,
    /// Longest time between two reads of the clock, which may be set.
    pub tick: Duration,
    /// Time limit of an attempt.
    pub time_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            attempts: 5,
            tries: 3,
            retry_pause: Duration::from_secs(10),
            tick: Duration::from_secs(30),
            time_limit: TIME_LIMIT,
        }
    }
}

/// Returns the timer control for administrators.
pub fn control(config: &Config) -> TimerControl {
    let timers = timers(functions(config.wardrobe_api.is_on));
    let all = timers.map(|(name, trigger)| (name, (trigger.schedule)(config).clone())).collect();
    TimerControl { all, start: |app, name| run_now(app, functions(app.config.wardrobe_api.is_on), name).boxed() }
}

fn timers(functions: &'static [Function]) -> impl Iterator<Item = (&'static str, &'static TimerTrigger)> {
    functions.iter().filter_map(|function| match &function.trigger {
        Trigger::Timer(trigger) => Some((function.name, trigger)),
        Trigger::Queue(_) => None,
    })
}

/// Runs the timer of this name once, in the background, whether or not it is due. It takes the lease under which due
/// times run, so no other process runs it meanwhile; a pending due time counts as handled.
///
/// # Errors
/// When the timer's document cannot be read or written.
pub async fn run_now(app: &AppState, functions: &'static [Function], name: &str) -> data::Result<TimerStart> {
    let Some((name, trigger)) = timers(functions).find(|(known, _)| *known == name) else {
        return Ok(TimerStart::Missing);
    };
    let timer = Timer::new(app, name, trigger, Uuid::new_v4().to_string(), Options::default());
    let latest = timer.schedule.latest(app.clock.now());
    let leases = app.data.leases(&app.clock, timer.options.lease);
    let claimed = leases.claim_as(&timer.owner, Timers::key(name), |found, standing| {
        timer.decide_now(found, standing, latest.map(Into::into))
    });
    let held = match claimed.await? {
        Claimed::Ours(held) => held,
        Claimed::Left(until) => return Ok(TimerStart::UnderWay(until)),
    };
    let shutdown = app.shutdown.clone();
    app.tasks.spawn(async move {
        // If interrupted here, the run is taken over when its lease expires, provided the service runs timers itself.
        if shutdown.run_until_cancelled(timer.run_due(&held)).await.is_none() {
            info!(function.name = name, "timer interrupted: the service is stopping");
        }
    });
    Ok(TimerStart::Started)
}

/// Starts the timers, as tasks of `app` that end when it does.
pub fn start(app: &AppState, functions: &'static [Function], options: &Options) {
    // A new process does not recognise claims of its predecessor, and waits until they expire.
    let owner = Uuid::new_v4().to_string();
    for (name, trigger) in timers(functions) {
        let timer = Timer::new(app, name, trigger, owner.clone(), options.clone());
        let shutdown = app.shutdown.clone();
        app.tasks.spawn(async move {
            // An interrupted run is taken over when its lease expires.
            if shutdown.run_until_cancelled(timer.run()).await.is_some() {
                warn!(function.name = name, "schedule never fires");
            }
        });
    }
}

/// Runs one function.
struct Timer {
    app: AppState,
    name: &'static str,
    trigger: &'static TimerTrigger,
    schedule: Schedule,
    owner: String,
    options: Options,
}

/// Clears the completion time of a timer that has never run, which is the time of its first start. Other states keep
/// the outcome of the last finished run until the next run ends.
fn forget_beginning(state: &mut TimerState) {
    if state.attempts == 0 {
        state.completed_at = None;
    }
}

/// Why a due time was not claimed.
enum NotClaimed {
    /// Another process runs it; its lease ends at this time.
    Theirs(Timestamp),
    /// There is nothing to do.
    Settled,
}

impl Timer {
    fn new(
        app: &AppState,
        name: &'static str,
        trigger: &'static TimerTrigger,
        owner: String,
        options: Options,
    ) -> Self {
        let schedule = (trigger.schedule)(&app.config).clone();
        Self { app: app.clone(), name, trigger, schedule, owner, options }
    }

    /// Runs the timer; returns only if the schedule has no due time.
    async fn run(self) {
        // The newest due time known to be handled; no need to read the store before the next one.
        let mut settled = None;
        loop {
            let now = self.app.clock.now();
            let mut wake = self.schedule.next(now);
            let latest = self.schedule.latest(now);
            if latest.is_none() && wake.is_none() {
                return;
            }
            let is_settled =
                |latest: OffsetDateTime| settled.is_some_and(|settled| (latest..=now + MOST_SKEW).contains(&settled));
            if let Some(latest) = latest.filter(|latest| !is_settled(*latest)) {
                match self.claim().await {
                    Ok(Claimed::Ours(held)) => {
                        self.run_due(&held).await;
                        // The clock may have been set while it ran.
                        settled = None;
                        continue;
                    }
                    Ok(Claimed::Left(NotClaimed::Theirs(until))) => wake = Some(until.get()),
                    Ok(Claimed::Left(NotClaimed::Settled)) => settled = Some(latest),
                    Err(error) => {
                        warn!(function.name = self.name, error = %Chain(&error), "timer not looked up");
                        wake = None;
                    }
                }
            }
            tokio::time::sleep(self.pause(now, wake)).await;
        }
    }

    /// Time to sleep until `wake`, limited because the clock may be set.
    fn pause(&self, now: OffsetDateTime, wake: Option<OffsetDateTime>) -> Duration {
        let until_wake = wake.and_then(|wake| Duration::try_from(wake - now).ok());
        // Whole milliseconds, because a sleep may end up to a millisecond early.
        until_wake.unwrap_or(self.options.tick).clamp(Duration::from_millis(1), self.options.tick)
    }

    /// Claims the newest due time that was not handled, or whose process died.
    async fn claim(&self) -> data::Result<Claimed<TimerState, NotClaimed>> {
        let leases = self.app.data.leases(&self.app.clock, self.options.lease);
        // The owner is the process: if the answer to a claim is lost, the next attempt recognises it as ours.
        let key = Timers::key(self.name);
        leases.claim_as(&self.owner, key, |found, standing| self.decide(found, standing)).await
    }

    fn decide(&self, found: Option<TimerState>, standing: Standing) -> Decision<TimerState, NotClaimed> {
        // Read the clock here: with an earlier time, others' recent actions would seem to be in the future.
        let now = self.app.clock.now();
        let Some(latest) = self.schedule.latest(now).map(Timestamp::from) else {
            return Decision::Leave(NotClaimed::Settled);
        };
        let now = Timestamp::from(now);
        let Some(mut state) = found else {
            return Decision::Save(self.beginning(latest, now), NotClaimed::Settled);
        };
        if let Standing::Held(until) = standing {
            return Decision::Leave(NotClaimed::Theirs(until));
        }
        // The lease has ended: the process that ran it died or lost the store.
        let is_to_come = state.last_due > now + MOST_SKEW;
        if state.last_due >= latest && state.lease_expires_at.is_none() && !is_to_come {
            return Decision::Leave(NotClaimed::Settled);
        }
        forget_beginning(&mut state);
        if state.last_due < latest || is_to_come {
            (state.last_due, state.attempts) = (latest, 0);
        }
        if state.attempts >= self.options.attempts {
            (state.lease_expires_at, state.completed_at, state.failed_at) = (None, None, Some(now));
            state.last_error = Some("every process that ran the timer stopped before the run ended".to_owned());
            return Decision::Save(state, NotClaimed::Settled);
        }
        state.attempts += 1;
        Decision::Take(state)
    }

    /// Decides about a requested run.
    fn decide_now(
        &self,
        found: Option<TimerState>,
        standing: Standing,
        latest: Option<Timestamp>,
    ) -> Decision<TimerState, Timestamp> {
        if let Standing::Held(until) = standing {
            return Decision::Leave(until);
        }
        let now = self.app.clock.now().into();
        let mut state = found.unwrap_or_else(|| self.beginning(latest.unwrap_or(now), now));
        state.last_due = latest.map_or(state.last_due, |latest| latest.max(state.last_due));
        forget_beginning(&mut state);
        state.attempts = 1;
        Decision::Take(state)
    }

    /// Initial state; earlier due times are not run.
    fn beginning(&self, latest: Timestamp, now: Timestamp) -> TimerState {
        TimerState {
            id: Timers::id(self.name),
            user_id: PARTITION.to_owned(),
            last_due: latest,
            owner: None,
            lease_expires_at: None,
            attempts: 0,
            completed_at: Some(now),
            failed_at: None,
            last_error: None,
            other: serde_json::Map::new(),
        }
    }

    async fn run_due(&self, held: &Held<TimerState>) {
        async {
            match held.keep(self.try_often()).await {
                Ok(outcome) => self.finish(held, &outcome).await,
                Err(Lost) => warn!("timer taken over by another process"),
            }
        }
        .instrument(span(&self.app, self.name, None))
        .await;
    }

    async fn try_often(&self) -> Result<(), JobError> {
        let back_off = Backoff { first: self.options.retry_pause, most: Duration::MAX, jitter: Jitter::None };
        let mut tried = 1;
        loop {
            let started = Instant::now();
            let outcome = attempt((self.trigger.run)(&self.app), self.options.time_limit).await;
            log_outcome(&self.app, self.name, &outcome, started);
            if outcome.is_ok() || tried >= self.options.tries {
                return outcome;
            }
            tokio::time::sleep(back_off.pause(tried)).await;
            tried += 1;
        }
    }

    async fn finish(&self, held: &Held<TimerState>, outcome: &Result<(), JobError>) {
        let now = Timestamp::from(self.app.clock.now());
        let fault = outcome.as_ref().err().map(|error| Chain(error).to_string());
        let written = held.finish(|state| {
            (state.completed_at, state.failed_at) = if fault.is_none() { (Some(now), None) } else { (None, Some(now)) };
            state.last_error.clone_from(&fault);
        });
        match written.await {
            Ok(_) => {}
            Err(lease::Error::Lost) => info!("timer taken over by another process while it ended"),
            Err(error) => warn!(error = %Chain(&error), "end of the timer not recorded: it will run again"),
        }
        if let Some(fault) = fault {
            error!(
                due = %held.document().last_due,
                error = fault,
                "timer failed after all retries: next run at its next due time"
            );
        }
    }
}
