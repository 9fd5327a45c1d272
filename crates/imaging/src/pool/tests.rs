use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use super::pixel_pool::PERMIT_BYTES;
use super::*;
use crate::{Error, Result};

fn pool(threads: usize, queue: usize, patience_ms: u64) -> Arc<PixelPool> {
    Arc::new(PixelPool::new(PoolOptions {
        memory: 10 * PERMIT_BYTES,
        queue,
        patience: Duration::from_millis(patience_ms),
        ..PoolOptions::with_threads(NonZeroUsize::new(threads).unwrap())
    }))
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not happen");
}

#[tokio::test]
async fn no_more_than_its_threads_work_at_once() {
    let pool = pool(3, 100, 10_000);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    // The first three wait for each other.
    let (meeting, met) = (Arc::new(Barrier::new(3)), Arc::new(AtomicUsize::new(0)));
    let jobs = (0..50).map(|number| {
        let (pool, running, most) = (pool.clone(), running.clone(), most.clone());
        let (meeting, met) = (meeting.clone(), met.clone());
        async move {
            pool.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                if met.fetch_add(1, Ordering::SeqCst) < 3 {
                    meeting.wait();
                }
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            })
            .await
            .unwrap()
        }
    });
    let answers = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(jobs)).await;
    let answers = answers.expect("three jobs run at once");
    assert_eq!(answers, (0..50).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn threads_start_with_work() {
    let pool = pool(2, 4, 1000);
    assert!(pool.pool.get().is_none());
    let names = || Ok(thread::current().name().map(str::to_owned));
    assert!(pool.run(names).await.unwrap().is_some_and(|name| name.starts_with("pixels-")));
    assert_eq!(pool.pool.get().unwrap().current_num_threads(), 2);
}

#[tokio::test]
async fn a_full_queue_answers_busy_and_recovers() {
    let pool = pool(1, 1, 30);
    let (release, blocked) = mpsc::channel::<()>();
    let first = pool.run(move || {
        blocked.recv().ok();
        Ok(1)
    });
    let second = pool.run(|| Ok(2));
    let third = async {
        until(|| pool.places.available_permits() == 0).await;
        let refused = pool.run(|| Ok(3)).await;
        release.send(()).unwrap();
        refused
    };
    let (first, second, third) = tokio::join!(first, second, third);
    assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
    assert!(matches!(third, Err(Error::Busy)));
    assert_eq!(pool.run(|| Ok(4)).await.unwrap(), 4);
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_pool_goes_on() {
    let pool = pool(1, 4, 1000);
    for _ in 0..3 {
        let broken = pool.run(|| -> Result<()> { panic!("on purpose") }).await;
        assert!(matches!(broken, Err(Error::Broken)));
    }
    assert_eq!(pool.run(|| Ok(5)).await.unwrap(), 5);
}

#[tokio::test]
async fn queued_work_of_a_cancelled_caller_is_skipped() {
    let pool = pool(1, 4, 1000);
    let (release, blocked) = mpsc::channel::<()>();
    let begun = Arc::new(AtomicUsize::new(0));
    let occupied = Arc::new(AtomicUsize::new(0));
    {
        let occupies = occupied.clone();
        let first = pool.run(move || {
            occupies.fetch_add(1, Ordering::SeqCst);
            blocked.recv().ok();
            Ok(())
        });
        let begun = begun.clone();
        let second = pool.run(move || {
            begun.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        tokio::pin!(first, second);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        until(|| occupied.load(Ordering::SeqCst) == 1).await;
    }
    release.send(()).unwrap();
    until(|| pool.places.available_permits() == 5).await;
    assert_eq!(begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn memory_is_shared_out_in_order_and_never_beyond_what_there_is() {
    let pool = pool(1, 4, 10_000);
    let mut first = pool.memory(7 * PERMIT_BYTES).await.unwrap();
    let huge = pool.memory(u64::MAX);
    let late = pool.memory(1);
    tokio::pin!(huge, late);
    assert!(futures::poll!(&mut huge).is_pending(), "it needs all");
    assert!(futures::poll!(&mut late).is_pending(), "it came later, though there is room for it");
    first.shrink_to(2 * PERMIT_BYTES);
    first.shrink_to(5 * PERMIT_BYTES);
    assert_eq!(first.0.num_permits(), 2);
    assert!(futures::poll!(&mut huge).is_pending());
    drop(first);
    let huge = huge.await.unwrap();
    assert_eq!(huge.0.num_permits(), 10);
    assert!(futures::poll!(&mut late).is_pending());
    drop(huge);
    assert_eq!(late.await.unwrap().0.num_permits(), 1);
    assert_eq!(pool.memory.available_permits(), 10);
}

#[tokio::test]
async fn who_waits_too_long_for_memory_is_told() {
    let pool = pool(1, 4, 20);
    let all = pool.memory(u64::MAX).await.unwrap();
    assert!(matches!(pool.memory(1).await, Err(Error::Busy)));
    drop(all);
    assert!(pool.memory(1).await.is_ok());
}
