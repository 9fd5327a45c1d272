//! The pool for image processing: slots for jobs, memory, and threads that start with the first job.

#[path = "../../../crates/imaging/src/pool/pixel_pool.rs"]
#[expect(dead_code, reason = "pictures use the rest")]
mod pixel_pool;

pub use pluckit::imaging::pool::PoolOptions;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::future::{block_on, spawn, yield_now};

use self::pixel_pool::{PERMIT_BYTES, PixelPool};
use super::Error;
use crate::ThreadPool;
use crate::explore::{break_down, draw, explore, point};
use crate::time::sleep;

const THREADS: usize = 2;
const QUEUE: usize = 1;
const PLACES: usize = THREADS + QUEUE;
/// Permits of memory.
const MEMORY: usize = 10;
/// Short enough to be reached.
const SHORT: Duration = Duration::from_secs(1);

/// Called by every thread of the pool when it starts.
fn give_way() {
    point();
}

fn pool(patience: Duration) -> Arc<PixelPool> {
    Arc::new(PixelPool::new(PoolOptions {
        threads: NonZeroUsize::new(THREADS).unwrap(),
        memory: MEMORY as u64 * PERMIT_BYTES,
        queue: QUEUE,
        patience,
    }))
}

/// Counts jobs while they run.
#[derive(Default)]
struct Running(AtomicUsize);

impl Running {
    fn during<T>(&self, steps: usize, work: impl FnOnce() -> T) -> T {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) < THREADS, "more jobs than threads");
        for _ in 0..steps {
            point();
        }
        self.0.fetch_sub(1, Ordering::Relaxed);
        work()
    }
}

/// Runs a job that succeeds, fails or panics, for a caller that waits or leaves.
async fn run(pool: &PixelPool, running: &Arc<Running>, number: usize, patience: Duration) {
    let (running, fate, steps) = (running.clone(), draw(4), draw(4));
    let work = move || {
        running.during(steps, || match fate {
            0 => Err(Error::TooLarge { bytes: number, limit: 0 }),
            1 => break_down(),
            _ => Ok(number),
        })
    };
    let answer = crate::select! {
        biased;
        answer = pool.run(work) => answer,
        () = sleep(Duration::ZERO), if fate == 3 => return,
    };
    match (fate, answer) {
        (0, Err(Error::TooLarge { bytes, .. })) => assert_eq!(bytes, number, "another's error"),
        (1, Err(Error::Broken)) => {}
        (2 | 3, Ok(answer)) => assert_eq!(answer, number, "another's answer"),
        (_, Err(Error::Busy)) => assert!(patience < Duration::MAX, "refused before its time"),
        (_, answer) => panic!("{number} with fate {fate} was answered {answer:?}"),
    }
}

fn jobs_in_pool(patience: Duration) {
    let (pool, running) = (pool(patience), Arc::<Running>::default());
    let callers: Vec<_> = (0..6)
        .map(|number| {
            let (pool, running) = (pool.clone(), running.clone());
            spawn(async move { run(&pool, &running, number, patience).await })
        })
        .collect();
    block_on(async {
        for caller in callers {
            caller.await.unwrap();
        }
        // Waits for the jobs of callers that left. A lost slot would make this wait forever.
        let places = pool.places.clone().acquire_many_owned(u32::try_from(PLACES).unwrap()).await.unwrap();
        assert_eq!(running.0.load(Ordering::Relaxed), 0, "a job without a place");
        drop(places);
        assert_eq!(pool.places.available_permits(), PLACES);
    });
}

#[test]
fn jobs_are_answered_and_give_their_places_back() {
    explore(1_000, || jobs_in_pool(Duration::MAX));
}

#[test]
fn jobs_that_find_no_place_are_refused() {
    explore(500, || jobs_in_pool(SHORT));
}

#[test]
fn work_that_waits_is_bounded_when_callers_leave() {
    explore(500, || {
        let (pool, running) = (pool(Duration::MAX), Arc::<Running>::default());
        block_on(async {
            for _ in 0..8 {
                let (counted, steps) = (running.clone(), draw(200));
                crate::select! {
                    biased;
                    answer = pool.run(move || counted.during(steps, || Ok(()))) => answer.unwrap(),
                    () = sleep(Duration::ZERO) => {}
                }
                let waiting = pool.pool.get().map_or(0, ThreadPool::waiting);
                assert!(running.0.load(Ordering::Relaxed) + waiting <= PLACES, "{waiting} jobs wait");
            }
        });
    });
}

/// Acquires, shrinks and releases a picture's share of the memory.
async fn take_memory(pool: &PixelPool, taken: &AtomicUsize, patience: Duration) {
    let wanted = 1 + draw(MEMORY + 2);
    let memory = crate::select! {
        biased;
        memory = pool.memory(wanted as u64 * PERMIT_BYTES) => memory,
        () = sleep(Duration::ZERO), if draw(4) == 0 => return,
    };
    let Ok(mut memory) = memory else {
        assert!(patience < Duration::MAX, "refused before its time");
        return;
    };
    let mut part = wanted.min(MEMORY);
    let before = taken.fetch_add(part, Ordering::Relaxed);
    assert!(before + part <= MEMORY, "more memory than there is");
    yield_now().await;
    if draw(2) == 0 {
        let less = draw(part + 1);
        taken.fetch_sub(part - less, Ordering::Relaxed);
        memory.shrink_to(less as u64 * PERMIT_BYTES);
        part = less;
        yield_now().await;
    }
    taken.fetch_sub(part, Ordering::Relaxed);
}

fn memory_of_pictures(patience: Duration) {
    let (pool, taken) = (pool(patience), Arc::new(AtomicUsize::new(0)));
    let pictures: Vec<_> = (0..5)
        .map(|_| {
            let (pool, taken) = (pool.clone(), taken.clone());
            spawn(async move {
                for _ in 0..2 {
                    take_memory(&pool, &taken, patience).await;
                }
            })
        })
        .collect();
    block_on(async {
        for picture in pictures {
            picture.await.unwrap();
        }
    });
    assert_eq!(pool.memory.available_permits(), MEMORY, "memory lost");
}

#[test]
fn memory_is_never_more_than_there_is_and_all_comes_back() {
    explore(1_000, || memory_of_pictures(Duration::MAX));
}

#[test]
fn pictures_that_find_no_memory_are_refused() {
    explore(500, || memory_of_pictures(SHORT));
}

#[test]
fn a_large_picture_is_not_passed_by_small_ones() {
    explore(500, || {
        let pool = pool(Duration::MAX);
        let small = block_on(pool.memory(PERMIT_BYTES)).unwrap();
        let (served, passed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // It waits from here on.
        let mut all = Box::pin({
            let pool = pool.clone();
            async move { pool.memory(u64::MAX).await }
        });
        block_on(async { assert!(futures::poll!(&mut all).is_pending()) });
        let large = spawn({
            let served = served.clone();
            async move {
                drop(all.await.unwrap());
                served.store(1, Ordering::Relaxed);
            }
        });
        let others: Vec<_> = (0..3)
            .map(|_| {
                let (pool, served, passed) = (pool.clone(), served.clone(), passed.clone());
                spawn(async move {
                    drop(pool.memory(PERMIT_BYTES).await.unwrap());
                    if served.load(Ordering::Relaxed) == 0 {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        drop(small);
        block_on(async {
            large.await.unwrap();
            for other in others {
                other.await.unwrap();
            }
        });
        assert_eq!(passed.load(Ordering::Relaxed), 0, "small pictures before a large one");
    });
}
