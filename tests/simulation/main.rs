//! Simulates the whole service: several instances, their users and faults, on one thread, in simulated time, from one
//! seed. `docs/simulation.md` describes how it works and how to replay a seed.

#![expect(clippy::unwrap_used, reason = "a test that panics fails, and helpers are part of it")]

#[path = "../doubles/mod.rs"]
mod doubles;

mod checks;
mod clients;
mod cluster;
mod dice;
mod entropy;
mod model;
mod seams;
mod seeds;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use pluckit::domain::quota::Caller;
use pluckit::model::chat_run::RunStatus;
use pluckit::model::ids::{ScrapedItemId, UserId};
use pluckit::queue::JobQueue;
use pluckit::store::{Container, DocumentStore, Filter, Key, PartitionIndex, Query};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio_util::task::TaskTracker;

use clients::{Device, ITEMS};
use cluster::{Cluster, SIMULATED_TIMER};
use seeds::Outcomes;
use world::{Outcome, World};

/// How long users use the service and faults happen.
const LENGTH: Duration = Duration::from_secs(60);
/// Time after that until calls in flight have arrived and stalled processes continue.
const CALM: Duration = Duration::from_secs(40);
/// The queue of long operations, and an unreadable message.
const JOB_QUEUE: &str = "long-operations";
const UNREADABLE: &str = "not a job";
const USERS: [&str; 2] = ["ada", "bob"];

/// Simulates a seed with at most this many faults.
fn simulate(seed: u64, most_faults: usize, has_trace: bool) -> Outcome {
    entropy::begin(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // One thread for blocking work, so that it is deterministic as well.
    builder.enable_all().start_paused(true).max_blocking_threads(1).thread_keep_alive(Duration::from_secs(3600));
    builder.build().unwrap().block_on(async {
        let world = World::new(seed, most_faults);
        run(&world).await;
        world.outcome(has_trace)
    })
}

async fn run(world: &Arc<World>) {
    let cluster = Cluster::start(world);
    for item in ITEMS {
        let document = json!({
            "id": item, "userId": "global", "sourceId": "reddit-a", "sourceType": "reddit", "title": item,
            "scoreSignal": 0, "scrapedAt": "2026-03-01T07:00:00.000Z",
        });
        let key = Key::new(Container::ScrapedItems, "global", item);
        block_on(cluster.shared.store.create(&key, &document)).unwrap();
    }
    block_on(cluster.shared.queue.send(JOB_QUEUE, UNREADABLE)).unwrap();
    let users = TaskTracker::new();
    let mut living = Vec::new();
    for (user, number) in USERS.into_iter().flat_map(|user| [(user, 0), (user, 1)]) {
        let mut device = Device::new(&cluster, user, number);
        living.push(users.spawn(async move {
            device.live(LENGTH).await;
            device
        }));
    }
    let mishaps = users.spawn(cluster.clone().run_mishaps(LENGTH));
    mishaps.await.unwrap();
    let mut settling = Vec::new();
    for living in living {
        let mut device = living.await.unwrap();
        settling.push(users.spawn(async move {
            tokio::time::sleep(CALM).await;
            device.settle().await
        }));
    }
    let mut votes = BTreeMap::<&str, i64>::new();
    for settling in settling {
        for (item, worth) in settling.await.unwrap() {
            *votes.entry(item).or_default() += worth;
        }
    }
    check_all_has_ended(world, &cluster).await;
    check_end(world, &cluster, &votes);
    cluster.stop().await;
}

/// Waits until no job and no run is in progress, including those whose clients never got an answer.
async fn check_all_has_ended(world: &World, cluster: &Cluster) {
    let end = world.elapsed() + world.profile.settled_within();
    let open =
        [(Container::Jobs, "Pending"), (Container::Jobs, "Running"), (Container::ChatRuns, RunStatus::Running.name())];
    for (container, status) in open {
        let query = Query::all(container).matching(Filter::equal("status", status));
        while block_on(cluster.shared.store.count(&query)).unwrap() > 0 {
            if world.elapsed() > end {
                world.violated(&format!("something in {container:?} is still {status}"));
                break;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }
}

/// Checks what must hold when all work has ended.
fn check_end(world: &World, cluster: &Cluster, votes: &BTreeMap<&str, i64>) {
    for (item, score) in votes {
        let key = Key::new(Container::ScrapedItems, "global", ScrapedItemId::from(*item).as_str());
        let found: Value = block_on(cluster.shared.store.read(&key)).unwrap().unwrap().parse().unwrap();
        if found["scoreSignal"] != *score {
            world.violated(&format!("{item} has the score {} instead of {score}", found["scoreSignal"]));
        }
    }
    let letters = Query::all(Container::TasteAnalysisJobDeadLetters);
    let letters = block_on(cluster.shared.store.count(&letters)).unwrap();
    if letters != 1 {
        world.violated(&format!("an unreadable message is among the dead letters {letters} times"));
    }
    if world.profile.has_right_clocks() {
        check_timer(world, cluster);
    }
    for instance in cluster.all() {
        let limits = &instance.app.limits;
        for user in USERS.map(UserId::from) {
            let streams = instance.app.config.limits.streams_per_user;
            let open: Result<Vec<_>, _> = (0..streams).map(|_| limits.open_stream(&user)).collect();
            let caller = Caller::User(user.clone());
            let requests = instance.app.config.limits.concurrent_requests_per_caller;
            let entered: Result<Vec<_>, _> = (0..requests).map(|_| limits.enter(&caller)).collect();
            if open.is_err() || entered.is_err() {
                world.violated(&format!("{}: a place of {user} was not given back", instance.life.name));
            }
        }
        let admitted = (0..instance.app.config.limits.concurrent_requests).map_while(|_| limits.admit()).count();
        if admitted < instance.app.config.limits.concurrent_requests {
            world.violated(&format!("{}: {admitted} requests at once are admitted", instance.life.name));
        }
    }
}

/// Checks that the simulated timer ran for a due time of the last minutes.
fn check_timer(world: &World, cluster: &Cluster) {
    let key = Key::new(Container::Jobs, "system", format!("timer-{SIMULATED_TIMER}"));
    let timer: Value = block_on(cluster.shared.store.read(&key)).unwrap().unwrap().parse().unwrap();
    let last_due = timer["lastDue"].as_str().unwrap_or_default();
    let last_due = OffsetDateTime::parse(last_due, &time::format_description::well_known::Rfc3339).unwrap();
    if world.now() - last_due > Duration::from_secs(3 * 60) {
        world.violated(&format!("the timer was last seen to when it was due at {last_due}"));
    }
}

/// Not a test itself: the process that simulates one seed, started by the other tests.
#[test]
#[ignore = "a process that other tests start"]
fn process_of_a_seed() {
    if let Some((seed, most_faults, has_trace)) = seeds::asked_for() {
        seeds::tell(&simulate(seed, most_faults, has_trace));
    }
}

/// Not a test itself: prints a seed's trace for `scripts/simulate --seed`.
#[test]
#[ignore = "for scripts/simulate"]
fn process_of_a_shown_seed() {
    seeds::show();
}

/// Simulates the seeds of `scripts/test`; `scripts/simulate` may run more.
#[test]
fn every_property_holds_for_every_seed() {
    let Outcomes { failures, report } = seeds::outcomes();
    seeds::say(&report);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_seed_has_the_same_trace_twice() {
    let different = seeds::compare_twice(50);
    assert!(different.is_empty(), "{}", different.join("\n"));
}
