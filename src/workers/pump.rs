//! Receives messages from the queues when the service runs without the Functions host.
//!
//! A message stays invisible while its function runs. It is deleted when the function completes, becomes visible again
//! after a delay that doubles with each failure, and becomes a dead letter after the last one. If the process dies, it
//! becomes visible by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, warn};

use super::{
    Delivery, Function, JobError, MOST_DELIVERIES, QueueTrigger, TIME_LIMIT, Trigger, log_outcome, span,
    while_held_elsewhere,
};
use crate::base::backoff::{Backoff, Jitter};
use crate::base::chain::Chain;
use crate::config::Config;
use crate::queue::{self, Message};
use crate::state::AppState;

/// Interval for measuring queue lengths.
const MEASURE_INTERVAL: Duration = Duration::from_secs(30);

/// Parameters of the pump.
#[derive(Debug, Clone)]
pub struct Options {
    /// Concurrent messages per queue.
    pub concurrency: usize,
    /// How long a message is invisible before it is renewed or becomes visible.
    pub visibility: Duration,
    /// Deliveries after which a failing message becomes a dead letter.
    pub deliveries: u32,
    /// Delays before a message that failed becomes visible again.
    pub retry: Backoff,
    /// Delay before work that another worker holds is tried again.
    pub not_now_pause: Duration,
    /// Time limit of a function.
    pub time_limit: Duration,
    /// Poll intervals of an empty queue.
    pub idle: Backoff,
    /// Delays after the queue failed.
    pub outage: Backoff,
}

impl Options {
    /// Takes the parameters from the settings; others are as in `host.json`.
    pub fn from_config(config: &Config) -> Self {
        Self {
            concurrency: config.workers.concurrency,
            // A dead process's message becomes visible by the time its work can be taken over.
            visibility: config.operations.lease.min(Duration::from_secs(30)),
            deliveries: MOST_DELIVERIES,
            retry: Backoff {
                first: config.workers.retry_base,
                most: Duration::from_secs(10 * 60),
                jitter: Jitter::None,
            },
            not_now_pause: Duration::from_secs(2),
            time_limit: TIME_LIMIT,
            idle: Backoff { first: Duration::from_millis(100), most: Duration::from_secs(5), jitter: Jitter::None },
            outage: Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60), jitter: Jitter::Half },
        }
    }
}

/// Starts a pump for each queue, as tasks of `app` that end when it does.
pub fn start(app: &AppState, functions: &'static [Function], options: &Options) {
    for function in functions {
        if let Trigger::Queue(trigger) = &function.trigger {
            let queue = trigger.queue(&app.config).to_owned();
            let pump = Pump { app: app.clone(), name: function.name, trigger, queue, options: options.clone() };
            let pump = Arc::new(pump);
            app.tasks.spawn(pump.clone().run());
            if app.telemetry.metrics.is_on() {
                app.tasks.spawn(pump.measure());
            }
        }
    }
}

/// Runs one function.
struct Pump {
    app: AppState,
    name: &'static str,
    trigger: &'static QueueTrigger,
    queue: String,
    options: Options,
}

impl Pump {
    async fn run(self: Arc<Self>) {
        let slots = Arc::new(Semaphore::new(self.options.concurrency));
        let (mut empty, mut faults) = (0_u32, 0_u32);
        while let Some(mut free) = self.free_slots(&slots).await {
            match self.app.queue.receive(&self.queue, free.len(), self.options.visibility).await {
                Ok(messages) if messages.is_empty() => {
                    drop(free);
                    (empty, faults) = (empty.saturating_add(1), 0);
                    let limit = self.options.idle.pause(empty);
                    self.until_shutdown(self.app.queue.wait(&self.queue, limit)).await;
                }
                Ok(messages) => {
                    (empty, faults) = (0, 0);
                    for message in messages {
                        // If a queue returns more messages than requested, the rest waits in `deliver`.
                        let slot = free.pop();
                        self.app.tasks.spawn(self.clone().deliver(message, slot, slots.clone()));
                    }
                }
                Err(error) => {
                    drop(free);
                    warn!(queue = self.queue, error = %Chain(&error), "queue not polled");
                    faults = faults.saturating_add(1);
                    let pause = self.options.outage.pause(faults);
                    self.until_shutdown(tokio::time::sleep(pause)).await;
                }
            }
        }
    }

    /// Measures the queue's length periodically.
    async fn measure(self: Arc<Self>) {
        while !self.app.shutdown.is_cancelled() {
            match self.app.queue.length(&self.queue).await {
                Ok(messages) => self.app.telemetry.metrics.queue_depth(&self.queue, messages),
                Err(error) => debug!(queue = self.queue, error = %Chain(&error), "queue not measured"),
            }
            self.until_shutdown(tokio::time::sleep(MEASURE_INTERVAL)).await;
        }
    }

    async fn until_shutdown(&self, pause: impl Future<Output = ()>) {
        if self.app.shutdown.run_until_cancelled(pause).await.is_none() {
            debug!(queue = self.queue, "queue pump stopping");
        }
    }

    /// Waits for a free slot, and takes it and all other free ones. `None` when the process is stopping.
    async fn free_slots(&self, slots: &Arc<Semaphore>) -> Option<Vec<OwnedSemaphorePermit>> {
        let first = self.app.shutdown.run_until_cancelled(slots.clone().acquire_owned()).await?.ok()?;
        let mut free = vec![first];
        while let Ok(slot) = slots.clone().try_acquire_owned() {
            free.push(slot);
        }
        (!self.app.shutdown.is_cancelled()).then_some(free)
    }

    async fn deliver(self: Arc<Self>, message: Message, slot: Option<OwnedSemaphorePermit>, slots: Arc<Semaphore>) {
        let delivery =
            Delivery { text: message.text.clone(), dequeue_count: message.dequeue_count, id: Some(message.id.clone()) };
        let span = span(&self.app, self.name, Some(&delivery));
        async {
            if self.was_tried_too_often(&message, self.options.deliveries + 1) {
                // The last delivery reported no failure, so the message may have crashed the process.
                return self.move_to_dead_letters(message).await;
            }
            let wait = self.app.clock.now() - message.inserted_at;
            self.app.telemetry.metrics.queue_wait(&self.queue, wait.try_into().unwrap_or_default());
            let started = Instant::now();
            let done = CancellationToken::new();
            let work = async {
                let outcome = self.work(delivery, slot, slots).await;
                done.cancel();
                outcome
            };
            let (outcome, message) = tokio::join!(work, self.keep_invisible(message, &done));
            log_outcome(&self.app, self.name, &outcome, started);
            self.settle(message, outcome).await;
        }
        .instrument(span)
        .await;
    }

    /// Processes a message. While another worker holds the work, waits without a slot.
    async fn work(
        &self,
        delivery: Delivery,
        mut slot: Option<OwnedSemaphorePermit>,
        slots: Arc<Semaphore>,
    ) -> Result<(), JobError> {
        let (delivery, slots, limit) = (&delivery, &slots, self.options.time_limit);
        let attempt = |_| {
            let slot = slot.take();
            async move {
                let _held = match slot {
                    Some(slot) => Some(slot),
                    None => slots.clone().acquire_owned().await.ok(),
                };
                self.trigger.handle(&self.app, delivery.clone(), limit).await
            }
        };
        while_held_elsewhere(&self.app, limit, self.options.not_now_pause, attempt).await
    }

    /// Keeps the message invisible until `done`, and returns it with its latest receipt.
    async fn keep_invisible(&self, mut message: Message, done: &CancellationToken) -> Message {
        while done.run_until_cancelled(tokio::time::sleep(self.options.visibility / 2)).await.is_some() {
            match self.app.queue.renew(&self.queue, &mut message, self.options.visibility).await {
                Ok(()) => {}
                Err(error @ queue::Error::Lost) => {
                    // Another worker may also be processing it, which is harmless.
                    warn!(error = %Chain(&error), "message no longer held");
                    done.cancelled().await;
                    break;
                }
                Err(error) => warn!(error = %Chain(&error), "message not renewed"),
            }
        }
        message
    }

    async fn settle(&self, mut message: Message, outcome: Result<(), JobError>) {
        let pause = match outcome {
            Ok(()) => return self.delete(&message).await,
            Err(JobError::NotNow) => self.options.not_now_pause,
            Err(JobError::Retry(_) | JobError::GiveUp(_)) => {
                if self.was_tried_too_often(&message, self.options.deliveries) {
                    return self.move_to_dead_letters(message).await;
                }
                self.options.retry.pause(message.dequeue_count)
            }
        };
        if let Err(error) = self.app.queue.renew(&self.queue, &mut message, pause).await {
            warn!(error = %Chain(&error), "message not released: it becomes visible after its visibility timeout");
        }
    }

    fn was_tried_too_often(&self, message: &Message, limit: u32) -> bool {
        self.trigger.is_work() && message.dequeue_count >= limit
    }

    async fn delete(&self, message: &Message) {
        match self.app.queue.delete(&self.queue, message).await {
            Ok(()) => {}
            Err(queue::Error::Lost) => info!("message was received by another worker, but its work is done"),
            Err(error) => {
                warn!(error = %Chain(&error), "message not deleted: its next delivery will find the work done")
            }
        }
    }

    async fn move_to_dead_letters(&self, message: Message) {
        let to = &(self.trigger.names)(&self.app.config).poison;
        match self.app.queue.move_to(&self.queue, &message, to).await {
            Ok(()) => warn!(queue = to, "message moved after its last failed delivery"),
            Err(error) => warn!(queue = to, error = %Chain(&error), "message not moved: it will become visible again"),
        }
    }
}
