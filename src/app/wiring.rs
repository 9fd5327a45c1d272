//! Builds the state that handlers and workers share, from the settings and the back ends.

use std::sync::Arc;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::backends::Backends;
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::config::{Config, ModelServer};
use crate::data::Data;
use crate::domain::backlog::Backlog;
use crate::domain::budget::{Budget, BudgetedModel};
use crate::domain::chat::Chat;
use crate::domain::chat::tools::{self, weather};
use crate::domain::dead_letters::DeadLetterService;
use crate::domain::digest::{self, Digests};
use crate::domain::insights::{self, Insights};
use crate::domain::jobs::{self, Jobs, Kind, kinds};
use crate::domain::media::{self, Media};
use crate::domain::metadata::Describer;
use crate::domain::moods::{self, Moods};
use crate::domain::pictures::Pictures;
use crate::domain::quiz::QuizService;
use crate::domain::quota::Limits;
use crate::domain::quota::body_memory::BodyMemory;
use crate::domain::rates::ExchangeRates;
use crate::domain::readiness::{Probe, Readiness};
use crate::domain::scraper::brand::client::BrandSites;
use crate::domain::scraper::polite::RobotsClient;
use crate::domain::scraper::reddit::client::Reddit;
use crate::domain::scraper::{self, Scraper};
use crate::domain::similarity::{self, items::SimilarItems};
use crate::domain::taste::{self, Taste};
use crate::identity::google::GoogleVerifier;
use crate::identity::keys::KeySet;
use crate::identity::service::ServiceVerifier;
use crate::identity::session::SessionService;
use crate::imaging::decode;
use crate::imaging::pipeline::Pipeline;
use crate::llm::Model;
use crate::llm::observed::ObservedModel;
use crate::queue::JobQueue;
use crate::queue::traced::TracedQueue;
use crate::state::{AppState, Parts};
use crate::store::DocumentStore;
use crate::telemetry::metrics::Metrics;

/// Builds the state shared by handlers and workers, for the binary and all tests.
pub fn state(config: Config, backends: Backends) -> AppState {
    with_kinds(config, backends, Vec::new())
}

/// Builds the state with additional kinds of jobs.
pub fn with_kinds(config: Config, backends: Backends, more_kinds: Vec<Kind>) -> AppState {
    let Backends {
        store,
        queue,
        blobs,
        embedded_blobs,
        pixels,
        segmenter,
        model,
        storage_probes,
        clock,
        http,
        web,
        throttle,
        telemetry,
    } = backends;
    let queue: Arc<dyn JobQueue> = if telemetry.is_tracing() { Arc::new(TracedQueue(queue)) } else { queue };
    let data = Data::new(store.clone());
    let tasks = TaskTracker::new();
    let budget = Budget::new(data.clone(), clock.clone(), tasks.clone(), config.limits.tokens_per_day);
    let model: Arc<dyn Model> = Arc::new(ObservedModel::new(model, telemetry.metrics.clone()));
    let model: Arc<dyn Model> = Arc::new(BudgetedModel::new(model, budget.clone()));
    let similar = SimilarItems::new(similarity::items::Parts {
        data: data.clone(),
        clock: clock.clone(),
        tasks: tasks.clone(),
        most_items: config.stylist.similarity_max_items,
    });
    let pictures = Pictures::new(web.clone(), blobs.clone(), config.storage.archive_container.clone());
    let rates = Arc::new(open_rates(&config, &data, &http, &clock));
    let parts = tools::Parts {
        data: data.clone(),
        pictures: pictures.clone(),
        similar,
        rates: rates.clone(),
        model: model.clone(),
        clock: clock.clone(),
        http: http.clone(),
        metrics: telemetry.metrics.clone(),
        weather: weather::Endpoints {
            geocoding: config.stylist.geocoding_url.clone(),
            forecast: config.stylist.forecast_url.clone(),
        },
    };
    if config.media.is_open {
        warn!("PROCESS_IMAGE_AUTH_MODE is anonymous: whoever reaches the service may have pictures processed");
    }
    let media = Media::new(media::Parts {
        pipeline: Pipeline::new(pixels.clone(), segmenter, decode::Limits::default()),
        blobs: blobs.clone(),
        container: config.storage.archive_container.clone(),
        tasks: tasks.clone(),
    });
    let insights = open_insights(&config, &data, rates, &clock, &tasks, &telemetry.metrics);
    let services = ServiceVerifier::new(&config.media.service, http.clone(), clock.clone(), tasks.clone());
    let keys = KeySet::new(config.identity.google_jwks_url.clone(), http.clone(), clock.clone(), tasks.clone());
    let mut probes = vec![("documents", Some(documents_probe(store)))];
    probes.extend(storage_probes);
    let model_probe = (!matches!(config.model, ModelServer::Offline)).then(|| model_probe(model.clone()));
    probes.push(("model", model_probe));
    let dead_letters = DeadLetterService::new(data.clone(), queue.clone(), clock.clone());
    let taste = Taste::new(taste::Parts {
        dead_letters: dead_letters.clone(),
        data: data.clone(),
        model: model.clone(),
        queue: queue.clone(),
        pictures: pictures.clone(),
        clock: clock.clone(),
        settings: config.taste.clone(),
        queue_name: config.queues.taste.work.clone(),
    });
    let Config { scraper: settings, queues, .. } = &config;
    let reddit = Reddit::new(&web, &http, settings.reddit_url.clone(), &settings.reddit_user_agent, throttle.clone());
    let robots = RobotsClient::new(web.clone(), throttle, clock.clone());
    let limits = &config.limits;
    let places = if limits.enabled { limits.pending_jobs_per_user } else { 0 };
    let backlog = Backlog::new(data.clone(), clock.clone(), places);
    let scraper = Scraper::new(scraper::Parts {
        data: data.clone(),
        model: model.clone(),
        pictures: pictures.clone(),
        reddit: reddit.expect("the settings let only printable ASCII through"),
        brands: BrandSites::new(Arc::new(robots)),
        pixels: pixels.clone(),
        queue: queue.clone(),
        queue_name: queues.scrape.work.clone(),
        backlog: backlog.clone(),
        clock: clock.clone(),
        settings: settings.clone(),
    });
    let moods = Moods::new(moods::Parts {
        data: data.clone(),
        model: model.clone(),
        queue: queue.clone(),
        web: web.clone(),
        clock: clock.clone(),
        settings: config.moods.clone(),
        queue_name: config.queues.moods.work.clone(),
    });
    let digests = Digests::new(digest::Parts {
        data: data.clone(),
        model: model.clone(),
        queue: queue.clone(),
        queue_name: config.queues.digest.work.clone(),
        clock: clock.clone(),
        observer: telemetry.observer.clone(),
        settings: config.digest.clone(),
    });
    let (shutdown, ending) = (CancellationToken::new(), CancellationToken::new());
    let parts_of_kinds = kinds::Services {
        data: data.clone(),
        digests: digests.clone(),
        moods: moods.clone(),
        scraper: scraper.clone(),
        observer: telemetry.observer.clone(),
    };
    let jobs = Jobs::new(jobs::Parts {
        data: data.clone(),
        budget: budget.clone(),
        backlog,
        queue: queue.clone(),
        queue_name: config.queues.operations.work.clone(),
        blobs: blobs.clone(),
        container: config.storage.jobs_container.clone(),
        clock: clock.clone(),
        settings: config.operations.clone(),
        kinds: kinds::all(&parts_of_kinds).into_iter().chain(more_kinds).collect(),
        shutdown: shutdown.clone(),
    });
    AppState::from(Parts {
        taste,
        digests,
        insights,
        moods,
        scraper,
        jobs,
        dead_letters,
        quiz: QuizService::new(data.clone(), clock.clone()),
        sessions: SessionService::new(data.sessions.clone(), clock.clone()).watched(telemetry.metrics.clone()),
        google: GoogleVerifier::new(&config.identity.google_client_ids, keys, clock.clone()),
        chat: Arc::new(Chat::new(&parts, config.stylist.tool_call_limit, ending.clone())),
        readiness: Readiness::new(clock.clone(), probes),
        services,
        media,
        pictures,
        describer: Describer::new(model.clone(), pixels),
        limits: Limits::new(&config.limits, clock.clone()),
        bodies: BodyMemory::new(config.limits.body_memory),
        budget,
        telemetry,
        tasks,
        shutdown,
        ending,
        config,
        clock,
        data,
        queue,
        blobs,
        embedded_blobs,
        model,
        web,
    })
}

fn documents_probe(store: Arc<dyn DocumentStore>) -> Probe {
    Arc::new(move || {
        let store = store.clone();
        async move { store.ping().await.map_err(|error| Chain(&error).to_string()) }.boxed()
    })
}

fn model_probe(model: Arc<dyn Model>) -> Probe {
    Arc::new(move || {
        let model = model.clone();
        async move { model.ping().await.map_err(|error| Chain(&error).to_string()) }.boxed()
    })
}

/// Builds the insights service, for the server and for commands that use the store directly. `tasks` tracks its cache
/// writes.
pub fn open_insights(
    config: &Config,
    data: &Data,
    rates: Arc<ExchangeRates>,
    clock: &Arc<dyn Clock>,
    tasks: &TaskTracker,
    metrics: &Metrics,
) -> Insights {
    Insights::new(insights::Parts {
        data: data.clone(),
        rates,
        clock: clock.clone(),
        tasks: tasks.clone(),
        time_to_live: config.insights.time_to_live,
        metrics: metrics.clone(),
    })
}

/// Opens the exchange rates that the settings name.
pub fn open_rates(config: &Config, data: &Data, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> ExchangeRates {
    ExchangeRates::new(config.insights.feed.clone(), data.exchange_rates.clone(), http.clone(), clock.clone())
}
