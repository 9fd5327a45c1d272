//! Messages without a Functions host: processed, retried, moved, never lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use pluckit::base::backoff::{Backoff, Jitter};
use pluckit::base::clock::ManualClock;
use pluckit::queue::local::LocalQueue;
use pluckit::queue::{Error, JobQueue, Message, Result};
use pluckit::workers::pump::{self, Options};
use time::macros::datetime;

use super::{POISON_QUEUE, QUEUE, SCRIPTED, fresh_key, record, release, script, until_begun};
use crate::support::{TestApp, until};

/// What was asked of a queue, beside what it does.
struct Watched {
    inner: LocalQueue,
    received: AtomicUsize,
    /// For how long messages were hidden, in order.
    hidden: Mutex<Vec<Duration>>,
    /// How many calls are to fail before they do anything.
    outage: AtomicUsize,
    /// How many deletions are to find the message gone.
    lost: AtomicUsize,
}

impl Watched {
    fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            inner: LocalQueue::in_memory(clock).unwrap(),
            received: AtomicUsize::new(0),
            hidden: Mutex::default(),
            outage: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        })
    }

    fn hidden(&self) -> Vec<Duration> {
        self.hidden.lock().unwrap().clone()
    }
}

fn take_one(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl JobQueue for Watched {
    async fn send(&self, queue: &str, text: &str) -> Result<()> {
        self.inner.send(queue, text).await
    }

    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> Result<Vec<Message>> {
        if queue == QUEUE {
            self.received.fetch_add(1, Ordering::SeqCst);
            if take_one(&self.outage) {
                return Err(Error::Unavailable("as the test wants it".into()));
            }
        }
        self.inner.receive(queue, most, visibility).await
    }

    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> Result<()> {
        self.inner.renew(queue, message, visibility).await?;
        self.hidden.lock().unwrap().push(visibility);
        Ok(())
    }

    async fn delete(&self, queue: &str, message: &Message) -> Result<()> {
        if take_one(&self.lost) {
            return Err(Error::Lost);
        }
        self.inner.delete(queue, message).await
    }

    async fn move_to(&self, from: &str, message: &Message, to: &str) -> Result<()> {
        self.inner.move_to(from, message, to).await
    }

    async fn length(&self, queue: &str) -> Result<usize> {
        self.inner.length(queue).await
    }

    async fn wait(&self, queue: &str, limit: Duration) {
        self.inner.wait(queue, limit).await;
    }
}

struct Pumped {
    app: TestApp,
    queue: Arc<Watched>,
    options: Options,
}

impl Pumped {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[(&str, &str)]) -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        let queue = Watched::new(clock.clone());
        let builder = TestApp::builder().queue(queue.clone()).clock(clock).functions(&SCRIPTED);
        let app = settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start();
        let options = Options {
            idle: Backoff { first: Duration::from_millis(1), most: Duration::from_millis(5), jitter: Jitter::None },
            outage: Backoff { first: Duration::from_millis(5), most: Duration::from_millis(5), jitter: Jitter::Half },
            not_now_pause: Duration::from_millis(5),
            ..Options::from_config(&app.state.config)
        };
        Self { app, queue, options }
    }

    fn start(&self) {
        pump::start(&self.app.state, &SCRIPTED, &self.options);
    }

    async fn send(&self, text: &str) {
        self.queue.send(QUEUE, text).await.unwrap();
    }

    async fn until_empty(&self) {
        until("the queues are empty", async || {
            self.queue.length(QUEUE).await.unwrap() + self.queue.length(POISON_QUEUE).await.unwrap() == 0
        })
        .await;
    }

    async fn stop(&self) {
        self.app.state.shutdown.cancel();
        self.app.state.tasks.close();
        self.app.state.tasks.wait().await;
    }
}

impl Drop for Pumped {
    fn drop(&mut self) {
        self.app.state.shutdown.cancel();
    }
}

#[tokio::test]
async fn a_message_is_done_once_and_gone() {
    let pumped = Pumped::new();
    pumped.start();
    let keys: Vec<_> = (0..50).map(|_| fresh_key()).collect();
    for key in &keys {
        pumped.send(&script(key, &["done"])).await;
    }
    pumped.until_empty().await;
    assert!(keys.iter().all(|key| record(key).counts == [1]));
    pumped.stop().await;
}

#[tokio::test]
async fn a_message_that_keeps_failing_is_tried_later_and_later_and_then_moved() {
    let pumped = Pumped::new();
    pumped.start();
    let key = fresh_key();
    let text = script(&key, &["fail", "panic", "fail"]);
    pumped.send(&text).await;
    for (delivery, pause) in [(1, 30), (2, 60), (3, 120), (4, 240)] {
        until("released", async || pumped.queue.hidden().len() >= delivery).await;
        assert_eq!(pumped.queue.hidden()[delivery - 1], Duration::from_secs(pause));
        // A millisecond before its time it is still hidden.
        pumped.app.clock.advance(Duration::from_secs(pause) - Duration::from_millis(1));
        let visible = pumped.queue.inner.receive(QUEUE, 1, Duration::ZERO).await.unwrap();
        assert_eq!(visible, [], "after delivery {delivery}");
        assert_eq!(record(&key).begun.len(), delivery);
        pumped.app.clock.advance(Duration::from_millis(1));
        until_begun(&key, delivery + 1).await;
    }
    until("it is a dead letter", async || record(&key).dead == [text.clone()]).await;
    pumped.until_empty().await;
    assert_eq!(record(&key).counts, [1, 2, 3, 4, 5]);
    pumped.stop().await;
}

#[tokio::test]
async fn the_first_pause_is_a_setting_and_the_longest_is_ten_minutes() {
    let pumped = Pumped::with(&[("JOB_RETRY_BASE_SECONDS", "200")]);
    pumped.start();
    let key = fresh_key();
    pumped.send(&script(&key, &["fail"])).await;
    for (delivery, pause) in [(1, 200), (2, 400), (3, 600), (4, 600)] {
        until("released", async || pumped.queue.hidden().len() >= delivery).await;
        assert_eq!(pumped.queue.hidden()[delivery - 1], Duration::from_secs(pause));
        pumped.app.clock.advance(Duration::from_secs(pause));
    }
    until("it is a dead letter", async || record(&key).dead.len() == 1).await;
    pumped.stop().await;
}

#[tokio::test]
async fn a_function_that_hangs_has_failed() {
    let mut pumped = Pumped::new();
    pumped.options.time_limit = Duration::from_millis(20);
    pumped.start();
    let key = fresh_key();
    pumped.send(&script(&key, &["hang", "done"])).await;
    until("released", async || pumped.queue.hidden() == [Duration::from_secs(30)]).await;
    assert_eq!(record(&key).running, 0);
    pumped.app.clock.advance(Duration::from_secs(30));
    pumped.until_empty().await;
    assert_eq!(record(&key).counts, [1, 2]);
    pumped.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_given_up_at_once() {
    let pumped = Pumped::new();
    pumped.start();
    let key = fresh_key();
    let (hopeless, garbage) = (script(&key, &["give up"]), format!("not json {key}"));
    pumped.send(&hopeless).await;
    pumped.send(&garbage).await;
    pumped.until_empty().await;
    assert_eq!(record(&key).given_up, [("as the script says".to_owned(), hopeless)]);
    assert_eq!(record(&garbage).given_up, [("no script".to_owned(), garbage)]);
    assert_eq!(record(&key).begun.len(), 1);
    pumped.stop().await;
}

#[tokio::test]
async fn work_that_somebody_else_does_costs_no_delivery_and_no_slot() {
    let mut pumped = Pumped::new();
    pumped.options.concurrency = 1;
    pumped.start();
    let (held, other) = (fresh_key(), fresh_key());
    let steps: Vec<_> = std::iter::repeat_n("not now", 20).chain(["done"]).collect();
    pumped.send(&script(&held, &steps)).await;
    until_begun(&held, 2).await;
    pumped.send(&script(&other, &["done"])).await;
    pumped.until_empty().await;
    assert_eq!(record(&held).counts, [1; 21]);
    let (last, done) = (*record(&held).begun.last().unwrap(), record(&other).begun[0]);
    assert!(done < last, "the other message went through while this one waited");
    pumped.stop().await;
}

#[tokio::test]
async fn no_more_run_at_once_than_the_setting_says() {
    let mut pumped = Pumped::new();
    pumped.options.concurrency = 3;
    pumped.start();
    let key = fresh_key();
    for _ in 0..10 {
        pumped.send(&script(&key, &["hold"])).await;
    }
    until_begun(&key, 3).await;
    // One of the seven others, done by the test itself, shows that they are there for the taking.
    let free = pumped.queue.inner.receive(QUEUE, 32, Duration::ZERO).await.unwrap();
    assert_eq!(free.len(), 7);
    assert_eq!(record(&key).running, 3);
    release(&key);
    pumped.until_empty().await;
    assert_eq!(record(&key).begun.len(), 10);
    pumped.stop().await;
}

#[tokio::test]
async fn a_message_is_held_for_as_long_as_its_work_takes() {
    let mut pumped = Pumped::new();
    pumped.options.visibility = Duration::from_millis(20);
    pumped.start();
    let key = fresh_key();
    pumped.send(&script(&key, &["hold"])).await;
    until_begun(&key, 1).await;
    for round in 1..=5 {
        until("renewed", async || pumped.queue.hidden().len() >= round).await;
        pumped.app.clock.advance(Duration::from_millis(10));
    }
    release(&key);
    pumped.until_empty().await;
    assert!(pumped.queue.hidden().iter().all(|hidden| *hidden == Duration::from_millis(20)));
    assert_eq!(record(&key).counts, [1], "nobody else got it");
    pumped.stop().await;
}

#[tokio::test]
async fn a_message_that_was_lost_meanwhile_stops_nobody() {
    let pumped = Pumped::new();
    pumped.queue.lost.store(1, Ordering::SeqCst);
    pumped.start();
    let (lost, next) = (fresh_key(), fresh_key());
    pumped.send(&script(&lost, &["done"])).await;
    until("it could not be deleted", async || pumped.queue.lost.load(Ordering::SeqCst) == 0).await;
    pumped.send(&script(&next, &["done"])).await;
    until("the next one is done", async || pumped.queue.length(QUEUE).await.unwrap() == 1).await;
    // Its time runs out, and it comes back.
    pumped.app.clock.advance(Duration::from_secs(30));
    pumped.until_empty().await;
    assert_eq!((record(&lost).counts, record(&next).counts), (vec![1, 2], vec![1]));
    pumped.stop().await;
}

#[tokio::test]
async fn an_outage_is_waited_out_without_hurry() {
    let mut pumped = Pumped::new();
    pumped.options.concurrency = 1;
    pumped.queue.outage.store(5, Ordering::SeqCst);
    let key = fresh_key();
    // While it is held, there is no slot to ask for more.
    pumped.send(&script(&key, &["hold"])).await;
    let started = std::time::Instant::now();
    pumped.start();
    until_begun(&key, 1).await;
    assert_eq!(pumped.queue.received.load(Ordering::SeqCst), 6, "one call for each fault, and one that found it");
    assert!(started.elapsed() >= Duration::from_micros(5 * 2500), "at least half of each pause");
    release(&key);
    pumped.until_empty().await;
    pumped.stop().await;
}

#[tokio::test]
async fn a_message_that_ends_the_process_is_not_tried_for_ever() {
    let pumped = Pumped::new();
    let key = fresh_key();
    let text = script(&key, &["done"]);
    pumped.send(&text).await;
    for _ in 0..5 {
        // As often as it may, a process takes it and says no more.
        assert_eq!(pumped.queue.inner.receive(QUEUE, 1, Duration::ZERO).await.unwrap().len(), 1);
    }
    pumped.start();
    until("it is a dead letter", async || record(&key).dead == [text.clone()]).await;
    pumped.until_empty().await;
    assert_eq!(record(&key).begun.len(), 0);
    pumped.stop().await;
}

#[tokio::test]
async fn a_stopping_pump_takes_nothing_new_and_ends_what_it_began() {
    let mut pumped = Pumped::new();
    pumped.options.concurrency = 1;
    pumped.start();
    let (begun, waiting) = (fresh_key(), fresh_key());
    pumped.send(&script(&begun, &["hold"])).await;
    until_begun(&begun, 1).await;
    pumped.send(&script(&waiting, &["done"])).await;
    pumped.app.state.shutdown.cancel();
    release(&begun);
    pumped.stop().await;
    assert_eq!(record(&begun).running, 0);
    assert_eq!(record(&waiting).begun.len(), 0);
    assert_eq!(pumped.queue.length(QUEUE).await.unwrap(), 1);
}
