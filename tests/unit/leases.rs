//! The guarantees of leases, on both stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{join_all, pending};
use parking_lot::Mutex;
use pluckit::base::clock::{Clock, ManualClock, SystemClock};
use pluckit::data::lease::{Claimed, Decision, Error, Held, Leased, Leases, Lost, Standing};
use pluckit::model::lease::Lease;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key};
use serde::{Deserialize, Serialize};
use time::macros::datetime;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::store::cosmos_backend::cosmos;
use crate::support::intercepted::{Call, Fate, Intercepted, Interceptor};
use crate::support::until;

const LENGTH: Duration = Duration::from_secs(45);
/// Short enough that a test sees several renewals.
const SHORT: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Work {
    id: String,
    user_id: String,
    steps: u32,
    #[serde(default)]
    is_ended: bool,
    #[serde(flatten)]
    lease: Lease,
}

impl Leased for Work {
    const LONGEST: Duration = LENGTH;

    fn lease(&self) -> Lease {
        self.lease.clone()
    }

    fn set_lease(&mut self, lease: Lease) {
        self.lease = lease;
    }

    fn may_go_on(&self) -> bool {
        !self.is_ended
    }
}

/// A store with a separate document, and a clock.
struct Bench {
    store: Arc<dyn DocumentStore>,
    clock: Arc<ManualClock>,
    key: Key,
}

impl Bench {
    fn new(store: Arc<dyn DocumentStore>) -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        Self { store, clock, key: Key::new(Container::Conversations, Uuid::new_v4().to_string(), "work") }
    }

    async fn claim(&self, length: Duration) -> Result<Held<Work>, Standing> {
        self.claim_as(&Uuid::new_v4().to_string(), length).await
    }

    async fn claim_as(&self, owner: &str, length: Duration) -> Result<Held<Work>, Standing> {
        let leases = Leases::new(self.store.clone(), self.clock.clone(), length);
        let claimed =
            leases.claim_as(owner, self.key.clone(), |found: Option<Work>, standing| match (found, standing) {
                (_, held @ Standing::Held(_)) => Decision::Leave(held),
                (Some(work), Standing::Free) => Decision::Take(work),
                (None, Standing::Free) => {
                    let (id, user_id) = (self.key.id.clone(), self.key.partition.clone());
                    Decision::Take(Work { id, user_id, steps: 0, is_ended: false, lease: Lease::default() })
                }
            });
        match claimed.await.unwrap() {
            Claimed::Ours(held) => Ok(held),
            Claimed::Left(standing) => Err(standing),
        }
    }

    async fn stored(&self) -> Work {
        self.store.read(&self.key).await.unwrap().unwrap().parse().unwrap()
    }

    /// Makes another process the owner, as after a claim of the expired lease.
    async fn give_away(&self) {
        self.change(|work| work.lease = Lease::new("somebody-else", datetime!(2026-03-02 10:00 UTC).into())).await;
    }

    async fn change(&self, change: fn(&mut Work)) {
        let stored = self.store.read(&self.key).await.unwrap().unwrap();
        let mut work: Work = stored.parse().unwrap();
        change(&mut work);
        match self.store.replace(&self.key, &serde_json::to_value(work).unwrap(), &stored.etag).await {
            Ok(_) => {}
            // A renewal was faster.
            Err(pluckit::store::Error::Conflict) => Box::pin(self.change(change)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn one_of_many_gets_it(bench: Bench) {
    let claims = join_all((0..20).map(|_| bench.claim(LENGTH))).await;
    let (won, lost): (Vec<_>, Vec<_>) = claims.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    let until = datetime!(2026-03-02 09:15:45 UTC);
    assert!(lost.iter().all(|lost| lost.as_ref().err() == Some(&Standing::Held(until.into()))));
}

async fn an_expired_lease_refuses_writes_of_its_former_holder(bench: Bench) {
    let late = bench.claim(LENGTH).await.unwrap();
    late.edit(|work| work.steps = 1).await.unwrap();
    bench.clock.advance(LENGTH - Duration::from_millis(1));
    assert!(bench.claim(LENGTH).await.is_err());
    bench.clock.advance(Duration::from_millis(1));
    let next = bench.claim(LENGTH).await.unwrap();
    assert_eq!(next.document().steps, 1, "what was written under it stays");
    assert!(matches!(late.edit(|work| work.steps = 7).await, Err(Error::Lost)));
    assert!(matches!(late.finish(|work| work.steps = 7).await, Err(Error::Lost)));
    assert_eq!(bench.stored().await.steps, 1);
    assert_eq!(bench.stored().await.lease.owner(), Some(next.owner()));
}

async fn one_that_ends_too_late_is_ended(bench: Bench) {
    let before = bench.claim(LENGTH).await.unwrap();
    bench.clock.set_back(Duration::from_secs(3600));
    let after = bench.claim(LENGTH).await.unwrap();
    assert!(matches!(before.edit(|_| ()).await, Err(Error::Lost)));
    after.edit(|work| work.steps = 1).await.unwrap();
}

async fn an_edit_renews_it(bench: Bench) {
    let held = bench.claim(LENGTH).await.unwrap();
    bench.clock.advance(Duration::from_secs(40));
    held.edit(|work| work.steps += 1).await.unwrap();
    bench.clock.advance(Duration::from_secs(40));
    assert!(bench.claim(LENGTH).await.is_err());
    let until = datetime!(2026-03-02 09:16:25 UTC);
    assert_eq!(bench.stored().await.lease.expires_at(), Some(until.into()));
}

async fn an_edit_keeps_what_others_have_written_since(bench: Bench) {
    let held = bench.claim(LENGTH).await.unwrap();
    held.edit(|work| work.steps += 1).await.unwrap();
    bench.change(|work| work.steps += 10).await;
    held.edit(|work| work.steps += 100).await.unwrap();
    assert_eq!((held.document().steps, bench.stored().await.steps), (111, 111));
}

async fn it_is_given_back_with_the_last_edit(bench: Bench) {
    let held = bench.claim(LENGTH).await.unwrap();
    let finished = held.finish(|work| work.steps = 3).await.unwrap();
    assert_eq!((finished.steps, &finished.lease), (3, &Lease::default()));
    assert_eq!(bench.stored().await, finished);
    let next = bench.claim(LENGTH).await.unwrap();
    next.release().await.unwrap();
    assert_eq!(bench.stored().await, finished);
    assert!(bench.claim(LENGTH).await.is_ok());
}

async fn it_is_renewed_while_work_goes_on(bench: Bench) {
    let held = bench.claim(SHORT).await.unwrap();
    let first = bench.stored().await.lease.expires_at().unwrap();
    let (renewed, done) = oneshot::channel::<()>();
    let watch = async {
        for step in 1..=3 {
            // Less than the lease; without renewals it would have expired by the third step.
            bench.clock.advance(SHORT / 2);
            let until_step = first + SHORT / 2 * step;
            until("a renewal", async || bench.stored().await.lease.expires_at().unwrap() >= until_step).await;
        }
        renewed.send(()).unwrap();
    };
    let (kept, ()) = tokio::join!(held.keep(done), watch);
    assert_eq!(kept, Ok(Ok(())));
}

async fn work_stops_when_it_is_lost(bench: Bench) {
    let held = bench.claim(SHORT).await.unwrap();
    bench.give_away().await;
    assert_eq!(held.keep(pending::<()>()).await, Err(Lost));
    assert_eq!(bench.stored().await.lease.owner(), Some("somebody-else"), "who is not disturbed");
}

async fn work_stops_when_it_was_ended_from_outside(bench: Bench) {
    let held = bench.claim(SHORT).await.unwrap();
    bench.change(|work| work.is_ended = true).await;
    assert_eq!(held.keep(pending::<()>()).await, Err(Lost));
    assert!(matches!(held.edit(|work| work.steps = 7).await, Err(Error::Lost)));
    let stored = bench.stored().await;
    assert_eq!((stored.steps, stored.lease.owner()), (0, Some(held.owner())), "the lease stays");
}

async fn a_name_that_has_it_gets_it_again(bench: Bench) {
    let before = bench.claim_as("a", LENGTH).await.unwrap();
    bench.clock.advance(Duration::from_secs(40));
    assert!(bench.claim_as("b", LENGTH).await.is_err());
    // For example because the answer to the first claim was lost.
    let again = bench.claim_as("a", LENGTH).await.unwrap();
    bench.clock.advance(Duration::from_secs(40));
    assert!(bench.claim_as("b", LENGTH).await.is_err(), "it was renewed");
    again.release().await.unwrap();
    assert!(matches!(before.edit(|_| ()).await, Err(Error::Lost)));
}

async fn work_may_end_with_giving_it_back(bench: Bench) {
    let held = bench.claim(SHORT).await.unwrap();
    let work = async { held.finish(|work| work.steps = 1).await.unwrap().steps };
    assert_eq!(held.keep(work).await, Ok(1));
}

/// A store that is down, while time passes with each call.
#[tokio::test]
async fn work_stops_when_it_could_not_be_renewed_before_its_end() {
    let is_down = Arc::new(AtomicBool::new(false));
    let store: Arc<dyn DocumentStore> = Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap());
    let mut bench = Bench::new(store.clone());
    let (clock, down) = (bench.clock.clone(), is_down.clone());
    let interceptor = move |_: &Call<'_>| match down.load(Ordering::Relaxed) {
        false => Fate::Passes,
        true => {
            clock.advance(SHORT / 2);
            Fate::Fails
        }
    };
    bench.store = Intercepted::new(store, Arc::new(interceptor));
    let held = bench.claim(SHORT).await.unwrap();
    is_down.store(true, Ordering::Relaxed);
    assert_eq!(held.keep(pending::<()>()).await, Err(Lost));
}

/// Creates a bench on a store whose calls have the fate that the test sets.
fn bench_with_fate() -> (Bench, Arc<Mutex<Fate>>) {
    let store: Arc<dyn DocumentStore> = Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap());
    let fate = Arc::new(Mutex::new(Fate::Passes));
    let of_each_call = fate.clone();
    let interceptor = move |_: &Call<'_>| *of_each_call.lock();
    (Bench::new(Intercepted::new(store, Arc::new(interceptor))), fate)
}

async fn works_without_a_store(held: &Held<Work>, bench: &Bench, fate: &Mutex<Fate>) {
    *fate.lock() = Fate::Fails;
    assert_eq!(held.keep(async { 7 }).await, Ok(7), "it was taken just now");
    *fate.lock() = Fate::Passes;
    bench.clock.advance(LENGTH - Duration::from_secs(1));
    held.edit(|work| work.steps += 1).await.unwrap();
    bench.clock.advance(LENGTH - Duration::from_secs(1));
    *fate.lock() = Fate::Fails;
    assert_eq!(held.keep(async { 7 }).await, Ok(7), "the edit has renewed it");
    *fate.lock() = Fate::Passes;
}

#[tokio::test]
async fn work_needs_no_store_before_the_next_renewal() {
    let (bench, fate) = bench_with_fate();
    let claimed = bench.claim(LENGTH).await.unwrap();
    works_without_a_store(&claimed, &bench, &fate).await;

    let leases = Leases::new(bench.store.clone(), bench.clock.clone(), LENGTH);
    let first = leases.first();
    let key = Key { id: "created".to_owned(), ..bench.key.clone() };
    let (id, user_id) = (key.id.clone(), key.partition.clone());
    let work = Work { id, user_id, steps: 0, is_ended: false, lease: first.lease() };
    bench.store.create(&key, &serde_json::to_value(&work).unwrap()).await.unwrap();
    works_without_a_store(&leases.created(key, work, first), &bench, &fate).await;
}

#[tokio::test(start_paused = true)]
async fn work_stops_at_its_end_when_the_store_does_not_answer() {
    let (bench, fate) = bench_with_fate();
    let held = bench.claim(LENGTH).await.unwrap();
    *fate.lock() = Fate::Hangs;
    let time_passes = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            bench.clock.advance(Duration::from_secs(1));
        }
    };
    let begun = tokio::time::Instant::now();
    tokio::select! {
        biased;
        () = time_passes => {}
        kept = held.keep(pending::<()>()) => assert_eq!(kept, Err(Lost)),
    }
    assert_eq!(begun.elapsed().as_secs(), LENGTH.as_secs());
}

/// A long lease with frequent renewals.
#[tokio::test]
async fn work_that_is_renewed_often_soon_learns_that_it_was_ended() {
    let (bench, _) = bench_with_fate();
    let held = bench.claim(LENGTH).await.unwrap();
    bench.change(|work| work.is_ended = true).await;
    let often = Leases::new(bench.store.clone(), bench.clock.clone(), LENGTH).renewing_every(Duration::from_millis(10));
    let again = often.claim_as(held.owner(), bench.key.clone(), |_: Option<Work>, standing| Decision::Leave(standing));
    let Claimed::Ours(again) = again.await.unwrap() else { panic!("it is ours") };
    assert_eq!(tokio::time::timeout(LENGTH / 9, again.keep(pending::<()>())).await, Ok(Err(Lost)));
}

async fn work_goes_on_after_it_gave_the_lease_back(bench: Bench) {
    let held = bench.claim(SHORT).await.unwrap();
    let work = async {
        held.finish(|work| work.steps = 1).await.unwrap();
        // Long enough for two renewals.
        tokio::time::sleep(SHORT).await;
        7
    };
    assert_eq!(held.keep(work).await, Ok(7));
}

/// Delays the first renewal until the lease has been released.
#[derive(Default)]
struct LateRenewal {
    is_begun: Notify,
    has_failed: Notify,
    writes: AtomicUsize,
    reads: AtomicUsize,
}

impl Interceptor for LateRenewal {
    fn before(&self, call: &Call<'_>) -> Fate {
        // The first replacement is the renewal: the claim created the document.
        if call.name == "store.replace" && self.writes.fetch_add(1, Ordering::Relaxed) == 0 {
            self.is_begun.notify_one();
            return Fate::GivesWay;
        }
        Fate::Passes
    }

    fn after(&self, call: &Call<'_>) {
        // The claim reads once; the second read is the failed renewal's check of the owner.
        if call.name == "store.read" && self.reads.fetch_add(1, Ordering::Relaxed) == 1 {
            self.has_failed.notify_one();
        }
    }
}

#[tokio::test]
async fn a_renewal_that_comes_after_the_end_of_the_work_does_not_undo_it() {
    let late = Arc::new(LateRenewal::default());
    let store = Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap());
    let bench = Bench::new(Intercepted::new(store, late.clone()));
    let held = bench.claim(SHORT).await.unwrap();
    let work = async {
        late.is_begun.notified().await;
        held.finish(|work| work.steps = 1).await.unwrap();
        late.has_failed.notified().await;
        7
    };
    assert_eq!(held.keep(work).await, Ok(7));
    assert_eq!((bench.stored().await.steps, bench.stored().await.lease), (1, Lease::default()));
}

async fn work_does_not_go_on_after_its_end_before_it_is_renewed(bench: Bench) {
    let held = bench.claim(SHORT).await.unwrap();
    // The process was suspended meanwhile, and another one has the lease.
    bench.clock.advance(SHORT * 2);
    bench.give_away().await;
    let outcome = held.keep(async { panic!("the work went on") }).await;
    assert_eq!(outcome, Err::<(), _>(Lost));
}

macro_rules! each_promise {
    ($back_end:ident) => {
        $back_end! {
            one_of_many_gets_it
            an_expired_lease_refuses_writes_of_its_former_holder
            one_that_ends_too_late_is_ended
            an_edit_renews_it
            an_edit_keeps_what_others_have_written_since
            it_is_given_back_with_the_last_edit
            it_is_renewed_while_work_goes_on
            work_stops_when_it_is_lost
            work_stops_when_it_was_ended_from_outside
            a_name_that_has_it_gets_it_again
            work_may_end_with_giving_it_back
            work_goes_on_after_it_gave_the_lease_back
            work_does_not_go_on_after_its_end_before_it_is_renewed
        }
    };
}

macro_rules! on_sqlite {
    ($($promise:ident)+) => {
        mod on_sqlite {
            use super::*;

            $(#[tokio::test]
            async fn $promise() {
                let clock: Arc<dyn Clock> = Arc::new(SystemClock);
                super::$promise(Bench::new(Arc::new(SqliteStore::in_memory(clock).unwrap()))).await;
            })+
        }
    };
}
each_promise!(on_sqlite);

macro_rules! on_cosmos {
    ($($promise:ident)+) => {
        mod on_cosmos {
            use super::*;

            $(#[tokio::test]
            #[ignore = "needs the emulators: run scripts/test"]
            async fn $promise() {
                super::$promise(Bench::new(Arc::new(cosmos().await))).await;
            })+
        }
    };
}
each_promise!(on_cosmos);
