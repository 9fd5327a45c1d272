//! Instances of the service, built and started like the binary, on one store, one queue and one blob store.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures::FutureExt;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use pluckit::app::router::{self, App};
use pluckit::app::{self, Backends};
use pluckit::base::backoff::{Backoff, Jitter};
use pluckit::config::{Config, Source};
use pluckit::domain::jobs::{Finished, JobFault, JobKind, Report, Run};
use pluckit::domain::scraper::polite::HostThrottle;
use pluckit::http::layers::limits::Peer;
use pluckit::imaging::pool::PixelPool;
use pluckit::imaging::segment::BuiltIn;
use pluckit::net;
use pluckit::net::guarded::{GuardedClient, GuardedOptions};
use pluckit::queue::local::LocalQueue;
use pluckit::state::AppState;
use pluckit::store::sqlite::SqliteStore;
use pluckit::telemetry::Telemetry;
use pluckit::workers::{Function, JobError, Outcome, jobs, poison, pump, sweeper, timer, timers, work};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::checks::{self, TOKENS_PER_DAY};
use crate::dice::Dice;
use crate::doubles::between::Reached;
use crate::doubles::blobs::MemoryBlobs;
use crate::model;
use crate::seams::{Link, ToDocuments, ToQueue};
use crate::world::{Health, Life, MachineClock, Mishap, ServerClock, World};

/// Name of the simulated kind of job.
pub const JOB: &str = "simulated.steps";
/// Longest time until a request is answered: the limit of its group, plus the delay of the answer.
const PATIENCE: Duration = Duration::from_secs(65);
/// The same as in [`app::serve`].
const GRACE: Duration = Duration::from_secs(10);

/// The functions that instances run.
static FUNCTIONS: &[Function] = &[
    work(jobs::FUNCTION, "LONG_OPERATION_QUEUE_NAME", |config| &config.queues.operations, jobs::run, jobs::give_up),
    poison(jobs::POISON_FUNCTION, "LONG_OPERATION_QUEUE_NAME", |config| &config.queues.operations, jobs::give_up),
    timer(
        sweeper::FUNCTION,
        "JOB_SWEEPER_SCHEDULE",
        |config| &config.workers.job_sweeper_schedule,
        |app| sweeper::run(app).boxed(),
    ),
    timer(SIMULATED_TIMER, "MOOD_SCHEDULE", |config| &config.moods.schedule, run_timer),
];

/// Name of the simulated timer.
pub const SIMULATED_TIMER: &str = "SimulatedTimer";

thread_local! {
    /// Links by the port in an instance's settings, which are all that functions get.
    static LINKS: RefCell<BTreeMap<u16, Link>> = const { RefCell::new(BTreeMap::new()) };
}

/// Takes some time, during which no other process may run the timer.
fn run_timer(app: &AppState) -> Outcome<'_> {
    async move {
        let link = LINKS.with_borrow(|links| links[&app.config.server.port].clone());
        let at_work = checks::begin_work(&link.world, &link.life, SIMULATED_TIMER.to_owned());
        let mut dice = link.world.dice(&format!("timer of {} at {:?}", link.life.name, link.world.elapsed()));
        for _ in 0..dice.between(1, 5) {
            tokio::time::sleep(dice.pause(100, 9_000)).await;
            at_work.goes_on();
            app.data.store.ping().await.map_err(JobError::retry)?;
        }
        Ok(())
    }
    .boxed()
}

/// Input of a simulated job.
#[derive(Deserialize)]
struct Steps {
    steps: u64,
}

/// Returns the kind of job whose steps take time, sometimes fail, and write files.
fn job_kind(link: Link) -> JobKind {
    JobKind::new(JOB, false, move |run: Run, input: Steps| {
        let link = link.clone();
        async move {
            let at_work = checks::begin_work(&link.world, &link.life, format!("job {}", run.id()));
            let mut dice = link.world.dice(&format!("job {} at {:?}", run.id(), link.world.elapsed()));
            for step in 0..input.steps {
                run.progress(step, input.steps, "on its way").await?;
                let work = async {
                    tokio::time::sleep(dice.pause(100, 7_000)).await;
                    at_work.goes_on();
                    if link.world.profile.faulty_calls > 0 && dice.chance(40) {
                        return Err(JobFault::retry("A step failed.", "as the seed says"));
                    }
                    run.write_output(&format!("step-{step}.txt"), format!("step {step}")).await?;
                    Ok(step)
                };
                let done: u64 = run.step(&step.to_string(), work).await?;
                assert_eq!(done, step, "a step's result is its own");
            }
            let report = Report {
                title: "Steps".to_owned(),
                summary: "All are done.".to_owned(),
                counts: Vec::new(),
                troubles: Vec::new(),
                links: Vec::new(),
            };
            Ok(Finished { result: json!({ "steps": input.steps }), report })
        }
    })
}

/// Services and state that all instances share.
pub struct Shared {
    pub store: Arc<SqliteStore>,
    pub queue: Arc<LocalQueue>,
    pub blobs: Arc<MemoryBlobs>,
    http: reqwest::Client,
    web: Arc<GuardedClient>,
}

impl Shared {
    pub fn new(world: &Arc<World>) -> Self {
        let clock = Arc::new(ServerClock(world.clone()));
        Self {
            store: Arc::new(SqliteStore::in_memory(clock.clone()).unwrap()),
            queue: Arc::new(LocalQueue::in_memory(clock.clone()).unwrap()),
            blobs: Arc::new(MemoryBlobs::new("http://127.0.0.1:7071/api/media".parse().unwrap(), clock)),
            // Nothing is fetched, so no certificate is trusted.
            http: net::builder_that_trusts(&[]).build().unwrap(),
            web: Arc::new(
                GuardedClient::new(GuardedOptions { roots: Some(Vec::new()), ..GuardedOptions::default() }).unwrap(),
            ),
        }
    }
}

/// An answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Sent<'a> {
    pub method: Method,
    pub path: String,
    pub token: Option<&'a str>,
    pub key: Option<&'a str>,
    pub body: Option<Value>,
    pub address: IpAddr,
}

/// A process of the service.
pub struct Instance {
    pub life: Arc<Life>,
    pub app: AppState,
    world: Arc<World>,
    service: App,
}

impl Instance {
    fn start(world: &Arc<World>, shared: &Shared, clock: &Arc<MachineClock>, name: String, port: u16) -> Arc<Self> {
        let port_text = port.to_string();
        let tokens = TOKENS_PER_DAY.to_string();
        let settings = [
            ("AZURE_FUNCTIONS_ENVIRONMENT", "Production"),
            ("PLUCKIT_ALLOW_EMBEDDED", "1"),
            ("PORT", port_text.as_str()),
            ("MODEL_TOKENS_PER_USER_AND_DAY", tokens.as_str()),
            ("LONG_OPERATION_LEASE_SECONDS", "12"),
            ("JOB_SWEEPER_SCHEDULE", "0,30 * * * * *"),
            ("MOOD_SCHEDULE", "5,25,45 * * * * *"),
            ("MAX_CONCURRENT_REQUESTS", "32"),
            ("MAX_CONCURRENT_REQUESTS_PER_CALLER", "8"),
        ];
        let settings: BTreeMap<_, _> = settings.into();
        let config = Config::read(|name| settings.get(name).map(|value| ((*value).to_owned(), Source::Environment)));
        let life = Life::new(name);
        let link = Link { world: world.clone(), life: life.clone() };
        LINKS.with_borrow_mut(|links| links.insert(port, link.clone()));
        let documents = ToDocuments { link: link.clone(), store: shared.store.clone() };
        let pixels = Arc::new(PixelPool::default());
        let backends = Backends {
            telemetry: Telemetry::off(),
            store: Reached::new(shared.store.clone(), documents),
            queue: Reached::new(shared.queue.clone(), ToQueue(link.clone())),
            blobs: Reached::new(shared.blobs.clone(), link.clone()),
            pixels: pixels.clone(),
            segmenter: Arc::new(BuiltIn::new(pixels, None)),
            model: model::model(link.clone()),
            storage_probes: Vec::new(),
            clock: clock.clone(),
            http: shared.http.clone(),
            web: shared.web.clone(),
            throttle: Arc::new(HostThrottle::new(Duration::ZERO)),
            more_kinds: vec![job_kind(link)],
        };
        let app = app::state(config.unwrap(), backends);
        let service = router::app(app.clone());
        app.runs.watch();
        let idle = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(15), jitter: Jitter::None };
        pump::start(&app, FUNCTIONS, &pump::Options { idle, ..pump::Options::from_config(&app.config) });
        let options = timers::Options { lease: Duration::from_secs(15), ..timers::Options::default() };
        timers::start(&app, FUNCTIONS, &options);
        world.note(&life.name, "starts");
        Arc::new(Self { life, app, world: world.clone(), service })
    }

    /// Sends a request; `None` if the process dies before the answer begins.
    pub async fn begin(&self, sent: &Sent<'_>) -> Option<Response> {
        let mut request = Request::builder().method(&sent.method).uri(&sent.path).header(HOST, "localhost:7071");
        if let Some(token) = sent.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = sent.key {
            request = request.header("idempotency-key", key);
        }
        let body = sent.body.as_ref().map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.header(CONTENT_TYPE, "application/json").extension(Peer((sent.address, 50_000).into()));
        let request = request.body(body).unwrap();
        let mut answering = std::pin::pin!(self.alive(self.service.clone().oneshot(request)));
        let answer = match tokio::time::timeout(PATIENCE, &mut answering).await {
            Ok(answer) => answer,
            Err(_) => {
                if self.life.health() == Health::Well && !self.world.profile.mishaps.contains(&Mishap::Stall) {
                    self.world.violated(&format!("{} {} has no answer in time", sent.method, sent.path));
                }
                answering.await
            }
        };
        let response = answer.map(|answer| answer.expect("the router answers"));
        let status =
            response.as_ref().map_or_else(|| "broken off".to_owned(), |response| response.status().to_string());
        self.world.note(&self.life.name, &format!("answers {} {}: {status}", sent.method, sent.path));
        response
    }

    /// Sends a request and reads the whole answer; `None` if the process dies meanwhile.
    pub async fn send(&self, sent: &Sent<'_>) -> Option<Answer> {
        let (parts, body) = self.begin(sent).await?.into_parts();
        let body = self.alive(body.collect()).await?.ok()?.to_bytes();
        Some(Answer { status: parts.status, body })
    }

    /// Runs work of this process; `None` if it dies meanwhile.
    pub async fn alive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.life.ended() => None,
            done = work => Some(done),
        }
    }

    /// Stops like [`app::serve`], with some extra time.
    async fn stop(&self) {
        self.app.shutdown.cancel();
        self.app.tasks.close();
        if tokio::time::timeout(GRACE, self.app.tasks.wait()).await.is_err() {
            let left = self.app.tasks.len();
            self.world
                .violated(&format!("{} still has {left} tasks {GRACE:?} after it was told to stop", self.life.name));
        }
    }
}

/// The machines, each with an instance that is up or down.
pub struct Cluster {
    pub world: Arc<World>,
    pub shared: Shared,
    machines: Mutex<Vec<Machine>>,
}

struct Machine {
    clock: Arc<MachineClock>,
    instance: Arc<Instance>,
    starts: u32,
}

impl Cluster {
    pub fn start(world: &Arc<World>) -> Arc<Self> {
        let shared = Shared::new(world);
        let cluster = Arc::new(Self { world: world.clone(), shared, machines: Mutex::default() });
        for number in 0..world.profile.instances {
            let clock = MachineClock::new(world.clone());
            let instance = cluster.start_instance(number, 0, &clock);
            cluster.machines.lock().push(Machine { clock, instance, starts: 1 });
        }
        cluster
    }

    fn start_instance(&self, machine: usize, starts: u32, clock: &Arc<MachineClock>) -> Arc<Instance> {
        let port = u16::try_from(10_000 + 100 * machine).unwrap() + u16::try_from(starts).unwrap();
        let name = format!("{}{starts}", ["A", "B", "C"][machine]);
        Instance::start(&self.world, &self.shared, clock, name, port)
    }

    /// Returns a random instance that is up; `None` when all are down.
    pub fn any(&self, dice: &mut Dice) -> Option<Arc<Instance>> {
        let machines = self.machines.lock();
        let up: Vec<_> = machines.iter().filter(|machine| machine.instance.life.health() != Health::Dead).collect();
        (!up.is_empty()).then(|| dice.one_of(&up).instance.clone())
    }

    /// Returns all instances.
    pub fn all(&self) -> Vec<Arc<Instance>> {
        self.machines.lock().iter().map(|machine| machine.instance.clone()).collect()
    }

    fn restart(&self, number: usize) {
        let (clock, starts) = {
            let machines = self.machines.lock();
            if machines[number].instance.life.health() != Health::Dead {
                return;
            }
            (machines[number].clock.clone(), machines[number].starts)
        };
        let instance = self.start_instance(number, starts, &clock);
        let mut machines = self.machines.lock();
        (machines[number].instance, machines[number].starts) = (instance, starts + 1);
    }

    /// Causes mishaps until `end` of simulated time, and then repairs everything.
    pub async fn run_mishaps(self: Arc<Self>, end: Duration) {
        let (world, mut dice) = (self.world.clone(), self.world.dice("mishaps"));
        loop {
            tokio::time::sleep(dice.pause(1_500, 15_000)).await;
            if world.elapsed() >= end {
                break;
            }
            if world.profile.mishaps.is_empty() {
                continue;
            }
            let (mishap, number) = (*dice.one_of(&world.profile.mishaps), dice.below(world.profile.instances as u64));
            let (length, step_s) = (dice.pause(500, 30_000), dice.between(0, 4 * 60 * 60));
            if world.may_fail() {
                self.befall(mishap, usize::try_from(number).unwrap(), length, step_s).await;
            }
        }
        world.end_faults();
        let clocks: Vec<_> = self.machines.lock().iter().map(|machine| machine.clock.clone()).collect();
        for (number, clock) in clocks.into_iter().enumerate() {
            clock.error_ms.store(0, Ordering::SeqCst);
            self.restart(number);
        }
    }

    async fn befall(self: &Arc<Self>, mishap: Mishap, number: usize, length: Duration, step_s: u64) {
        let (life, clock) = {
            let machines = self.machines.lock();
            (machines[number].instance.life.clone(), machines[number].clock.clone())
        };
        self.world.note(&life.name, &format!("{mishap:?} for {length:?}"));
        match mishap {
            Mishap::Crash => {
                if life.health() != Health::Dead {
                    self.world.checks.lock().deaths += 1;
                }
                life.set(Health::Dead);
                let cluster = self.clone();
                self.world.tasks.spawn(async move {
                    tokio::time::sleep(length).await;
                    cluster.restart(number);
                });
            }
            Mishap::Stall => {
                if life.health() == Health::Well {
                    life.set(Health::Stalled);
                    self.world.tasks.spawn(async move {
                        tokio::time::sleep(length).await;
                        if life.health() == Health::Stalled {
                            life.set(Health::Well);
                        }
                    });
                }
            }
            Mishap::ClockStep => {
                let error_s = i64::try_from(step_s).unwrap() - 2 * 60 * 60;
                clock.error_ms.store(1000 * error_s, Ordering::SeqCst);
            }
            Mishap::Throttling => self.world.throttle(length / 4),
        }
    }

    /// Stops all instances.
    pub async fn stop(&self) {
        for instance in self.all() {
            instance.stop().await;
        }
    }
}
