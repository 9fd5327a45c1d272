//! Timers without a Functions host: each due time runs once, despite crashes.

use std::sync::Arc;
use std::time::Duration;

use pluckit::base::clock::ManualClock;
use pluckit::model::timer::TimerState;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key};
use pluckit::workers::timers::{self, Options};
use serde_json::json;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;

use super::{SCRIPTED, fail_timer, fresh_key, record};
use crate::store::cosmos_backend::cosmos;
use crate::support::{TestApp, until};

const START: OffsetDateTime = datetime!(2026-03-02 09:16 UTC);
/// The last due time before the start, every five minutes.
const FIRST_DUE: OffsetDateTime = datetime!(2026-03-02 09:15 UTC);
const PERIOD: Duration = Duration::from_secs(5 * 60);

/// Processes of one service on one store, with one clock.
struct Service {
    name: String,
    clock: Arc<ManualClock>,
    store: Arc<dyn DocumentStore>,
    options: Options,
    processes: Vec<TestApp>,
}

impl Service {
    fn new(store: Arc<dyn DocumentStore>, clock: Arc<ManualClock>) -> Self {
        let options =
            Options { tick: Duration::from_millis(10), retry_pause: Duration::from_millis(3), ..Options::default() };
        Self { name: fresh_key(), clock, store, options, processes: Vec::new() }
    }

    fn in_memory() -> Self {
        let clock = Arc::new(ManualClock::new(START));
        Self::new(Arc::new(SqliteStore::in_memory(clock.clone()).unwrap()), clock)
    }

    fn start_process(&mut self) {
        self.start_process_on(self.store.clone());
    }

    fn start_process_on(&mut self, store: Arc<dyn DocumentStore>) {
        let builder = TestApp::builder().store(store).clock(self.clock.clone()).functions(&SCRIPTED);
        let app = builder.setting("LOCAL_DEV_USER_ID", &self.name).start();
        timers::start(&app.state, &SCRIPTED, &self.options);
        self.processes.push(app);
    }

    async fn stop_processes(&mut self) {
        for app in self.processes.drain(..) {
            app.state.shutdown.cancel();
            app.state.tasks.close();
            app.state.tasks.wait().await;
        }
    }

    fn key() -> Key {
        Key::new(Container::Jobs, "system", "timer-ScriptedTimer")
    }

    async fn state(&self) -> Option<TimerState> {
        self.store.read(&Self::key()).await.unwrap().map(|stored| stored.parse().unwrap())
    }

    async fn until_state(&self, what: &str, holds: impl Fn(&TimerState) -> bool) {
        until(what, async || self.state().await.is_some_and(|state| holds(&state))).await;
    }

    async fn until_completed(&self, due: OffsetDateTime) {
        self.until_state(&format!("{due} is done"), |state| {
            state.last_due.get() == due && state.completed_at.is_some() && state.lease_expires_at.is_none()
        })
        .await;
    }

    fn runs(&self) -> usize {
        record(&self.name).begun.len()
    }

    /// A due time that another process has claimed.
    async fn save_claim(&self, due: OffsetDateTime, lease_expires_at: OffsetDateTime, attempts: u32) {
        let text = |at: OffsetDateTime| pluckit::model::timestamp::Timestamp::from(at).to_string();
        let document = json!({
            "id": "timer-ScriptedTimer", "userId": "system", "lastDue": text(due), "owner": "another",
            "leaseExpiresAt": text(lease_expires_at), "attempts": attempts,
        });
        self.store.upsert(&Self::key(), &document).await.unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for app in &self.processes {
            app.state.shutdown.cancel();
        }
    }
}

#[tokio::test]
async fn a_timer_goes_on_when_a_clock_that_was_ahead_is_right_again() {
    const AHEAD: Duration = Duration::from_secs(2 * 60 * 60);
    let mut service = Service::in_memory();
    service.start_process();
    service.until_completed(FIRST_DUE).await;
    service.clock.advance(AHEAD);
    service.until_completed(FIRST_DUE + AHEAD).await;
    service.clock.set_back(AHEAD);
    service.until_completed(FIRST_DUE).await;
    service.clock.advance(PERIOD);
    service.until_completed(FIRST_DUE + PERIOD).await;
    service.stop_processes().await;
    assert_eq!(service.runs(), 3, "one due time ahead, the newest one again, and the next");
}

/// Advances the clock through 200 due times, shared by all processes.
async fn run_200(service: &mut Service) {
    service.until_completed(FIRST_DUE).await;
    let mut due = FIRST_DUE;
    for count in 1..=200 {
        due += PERIOD;
        service.clock.advance(PERIOD);
        service.until_completed(due).await;
        assert_eq!(service.runs(), count);
    }
    service.stop_processes().await;
    assert_eq!(service.runs(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_file_run_each_of_200_due_times_once() {
    let directory = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(START));
    let open = || Arc::new(SqliteStore::open(&directory.path().join("pluckit.db"), clock.clone()).unwrap());
    let mut service = Service::new(open(), clock.clone());
    service.start_process();
    service.start_process_on(open());
    run_200(&mut service).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the emulators: run scripts/test"]
async fn two_processes_on_cosmos_run_each_of_200_due_times_once() {
    let store = Arc::new(cosmos().await);
    store.delete(&Service::key(), None).await.unwrap();
    let mut service = Service::new(store, Arc::new(ManualClock::new(START)));
    service.start_process();
    service.start_process_on(Arc::new(cosmos().await));
    run_200(&mut service).await;
}

#[tokio::test]
async fn the_very_first_start_runs_nothing() {
    let mut service = Service::in_memory();
    service.start_process();
    service.until_completed(FIRST_DUE).await;
    assert_eq!(service.runs(), 0);
    assert_eq!(service.state().await.unwrap().owner, None);
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_once() {
    let mut service = Service::in_memory();
    service.start_process();
    service.until_completed(FIRST_DUE).await;
    service.stop_processes().await;
    service.clock.advance(PERIOD * 100);
    service.start_process();
    service.until_completed(FIRST_DUE + PERIOD * 100).await;
    service.stop_processes().await;
    service.start_process();
    service.clock.advance(PERIOD);
    service.until_completed(FIRST_DUE + PERIOD * 101).await;
    assert_eq!(service.runs(), 2);
}

#[tokio::test]
async fn a_process_that_died_is_stood_in_for_when_its_lease_has_run_out() {
    let mut service = Service::in_memory();
    service.save_claim(FIRST_DUE, START + Duration::from_secs(60), 1).await;
    service.start_process();
    // Time passes, and the lease lives: the next due time has to wait, too.
    service.clock.advance(Duration::from_secs(59));
    let before = service.state().await;
    service.start_process();
    tokio::task::yield_now().await;
    assert_eq!((service.state().await, service.runs()), (before, 0));
    service.clock.advance(Duration::from_secs(1));
    service.until_completed(FIRST_DUE).await;
    assert_eq!(service.runs(), 1);
    assert_eq!(service.state().await.unwrap().attempts, 2);
}

#[tokio::test]
async fn work_that_ends_every_process_is_given_up() {
    let mut service = Service::in_memory();
    service.save_claim(FIRST_DUE, START - Duration::from_secs(1), 5).await;
    service.start_process();
    service.until_state("given up", |state| state.failed_at.is_some()).await;
    assert_eq!(service.runs(), 0);
    service.clock.advance(PERIOD);
    service.until_completed(FIRST_DUE + PERIOD).await;
    assert_eq!(service.runs(), 1, "the next due time is another chance");
}

#[tokio::test]
async fn failed_work_is_tried_again_and_then_written_down() {
    let mut service = Service::in_memory();
    service.start_process();
    service.until_completed(FIRST_DUE).await;
    fail_timer(&service.name, 2);
    service.clock.advance(PERIOD);
    service.until_completed(FIRST_DUE + PERIOD).await;
    assert_eq!(service.runs(), 3, "two tries failed, the third did it");

    fail_timer(&service.name, 3);
    service.clock.advance(PERIOD);
    service.until_state("given up", |state| state.failed_at.is_some()).await;
    let state = service.state().await.unwrap();
    assert_eq!(state.last_error.unwrap(), "the work failed: the timer's script says so");
    assert_eq!((state.completed_at, state.lease_expires_at), (None, None));
    assert_eq!(service.runs(), 6);
    service.clock.advance(PERIOD);
    service.until_completed(FIRST_DUE + PERIOD * 3).await;
    assert_eq!(service.state().await.unwrap().last_error, None);
}

#[tokio::test]
async fn how_the_last_run_ended_stays_known_while_the_next_one_goes_on() {
    let mut service = Service::in_memory();
    // A failed run stays in progress until its next attempt, which is far away.
    service.options.retry_pause = Duration::from_secs(24 * 60 * 60);
    service.start_process();
    service.until_completed(FIRST_DUE).await;
    fail_timer(&service.name, 1);
    service.clock.advance(PERIOD);
    service.until_state("it runs", |state| state.lease_expires_at.is_some()).await;
    let state = service.state().await.unwrap();
    assert_eq!((state.completed_at, state.failed_at), (None, None), "it has never ended");
    service.stop_processes().await;

    let due = FIRST_DUE + PERIOD;
    service.clock.advance(Duration::from_secs(60));
    service.start_process();
    service.until_completed(due).await;
    let ended = service.state().await.unwrap().completed_at;
    assert!(ended.is_some());
    fail_timer(&service.name, 1);
    service.clock.advance(PERIOD);
    service.until_state("it runs again", |state| state.last_due.get() == due + PERIOD).await;
    let state = service.state().await.unwrap();
    assert_eq!((state.completed_at, state.lease_expires_at.is_some()), (ended, true));
}

#[tokio::test]
async fn a_clock_that_goes_back_runs_nothing_again() {
    let mut service = Service::in_memory();
    let text = "2026-03-02T10:00:00.000Z";
    let document = json!({"id": "timer-ScriptedTimer", "userId": "system", "lastDue": text, "completedAt": text});
    service.store.upsert(&Service::key(), &document).await.unwrap();
    service.start_process();
    service.clock.advance(Duration::from_secs(44 * 60 + PERIOD.as_secs()));
    service.until_completed(datetime!(2026-03-02 10:05 UTC)).await;
    assert_eq!(service.runs(), 1);
}
