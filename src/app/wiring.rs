//! Builds the state that handlers and workers share, from the settings and the back ends.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::backends::Backends;
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::base::turns::Turns;
use crate::config::Config;
use crate::data::Data;
use crate::domain::backlog::Backlog;
use crate::domain::base::Base;
use crate::domain::budget::{Budget, BudgetedModel};
use crate::domain::chat::runs::Runs;
use crate::domain::chat::tools::weather::Forecasts;
use crate::domain::chat::{Chat, tools};
use crate::domain::dead_letters::DeadLetterService;
use crate::domain::digest::Digests;
use crate::domain::drafts::{self, Drafts};
use crate::domain::insights::Insights;
use crate::domain::item_blobs::ItemBlobs;
use crate::domain::jobs::{Jobs, kinds};
use crate::domain::media::Media;
use crate::domain::metadata::Describer;
use crate::domain::moods::Moods;
use crate::domain::pictures::Pictures;
use crate::domain::quiz::QuizService;
use crate::domain::quota::CallerLimits;
use crate::domain::quota::body_memory::BodyMemory;
use crate::domain::rates::ExchangeRates;
use crate::domain::readiness::{Probe, Readiness, probe};
use crate::domain::scraper::Scraper;
use crate::domain::scraper::brand::client::BrandSites;
use crate::domain::scraper::polite::{HostThrottle, RobotsClient};
use crate::domain::scraper::reddit::client::Reddit;
use crate::domain::similarity::items::SimilarItems;
use crate::domain::taste::Taste;
use crate::identity::api_token::ApiTokenService;
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
use crate::state::{AppParts, AppState};
use crate::store::DocumentStore;
use crate::workers::timers;

/// Concurrent reads of many documents by one user, such as all items of a collection.
const LARGE_READS: usize = 2;

/// Builds the state that handlers and workers share. The binary and all tests use this function.
pub fn state(config: Config, backends: Backends) -> AppState {
    if config.media.is_open {
        warn!("PROCESS_IMAGE_AUTH_MODE is anonymous: anyone who can reach the service can have pictures processed");
    }
    let Backends { store, queue, blobs, pixels, segmenter, model, storage_probes, .. } = backends;
    let Backends { clock, http, web, throttle, telemetry, more_kinds, .. } = backends;
    let queue: Arc<dyn JobQueue> = if telemetry.is_tracing() { Arc::new(TracedQueue(queue)) } else { queue };
    let (data, tasks) = (Data::new(store.clone()), TaskTracker::new());
    let budget = Budget::new(data.clone(), clock.clone(), tasks.clone(), config.limits.tokens_per_day);
    let model: Arc<dyn Model> = Arc::new(ObservedModel::new(model, telemetry.metrics.clone()));
    let model: Arc<dyn Model> = Arc::new(BudgetedModel::new(model, budget.clone()));
    let (shutdown, ending) = (CancellationToken::new(), CancellationToken::new());
    let base = Base { config, clock, data, queue, blobs, pixels, model, http, web, telemetry, tasks, shutdown, ending };
    let base = Arc::new(base);
    let Base { config, clock, data, queue, pixels, model, http, web, telemetry, tasks, .. } = &*base;
    let item_blobs = open_item_blobs(&base);
    let pictures = Pictures::new(web.clone(), item_blobs.clone(), clock.clone());
    let rates = Arc::new(open_rates(config, data, http, clock));
    let keys = KeySet::new(config.identity.google_jwks_url.clone(), http.clone(), clock.clone(), tasks.clone());
    let dead_letters = DeadLetterService::new(data.clone(), queue.clone(), clock.clone(), telemetry.metrics.clone());
    let (places, limits) = (config.limits.pending_jobs_per_user, &config.limits);
    let backlog = Backlog::new(data.clone(), clock.clone(), if limits.enabled { places } else { 0 });
    let scraper = open_scraper(&base, backlog.clone(), pictures.clone(), throttle);
    let (moods, digests) = (Moods::new(base.clone()), Digests::new(base.clone()));
    let services = kinds::Services {
        base: base.clone(),
        digests: digests.clone(),
        moods: moods.clone(),
        scraper: scraper.clone(),
    };
    let media = Media::new(base.clone(), Pipeline::new(pixels.clone(), segmenter, decode::Limits::default()));
    let describer = Describer::new(model.clone(), pixels.clone());
    let bodies = BodyMemory::new(limits.body_memory);
    let parts_of_drafts = drafts::DraftParts {
        base: base.clone(),
        blobs: item_blobs.clone(),
        media: media.clone(),
        describer: describer.clone(),
        dead_letters: dead_letters.clone(),
        memory: bodies.clone(),
    };
    let kinds = kinds::all(&services).into_iter().chain(more_kinds).collect();
    let drafts = Drafts::new(parts_of_drafts);
    let taste = Taste::new(base.clone(), dead_letters.clone(), pictures.clone());
    let parts_of_tools = open_parts_of_tools(&base, &pictures, &rates, (&drafts, &taste));
    let chat = Arc::new(Chat::new(&parts_of_tools));
    let tools = chat.tools().iter().cloned().chain(tools::only_for_programs(&parts_of_tools)).collect();
    AppState::from(AppParts {
        taste,
        tools,
        insights: open_insights(&base, rates),
        jobs: Jobs::new(base.clone(), budget.clone(), backlog, kinds),
        quiz: QuizService::new(data.clone(), clock.clone()),
        sessions: SessionService::new(data.sessions.clone(), clock.clone()).watched(&telemetry.metrics),
        api_tokens: ApiTokenService::new(data.api_tokens.clone(), clock.clone()).watched(&telemetry.metrics),
        google: GoogleVerifier::new(&config.identity.google_client_ids, keys, clock.clone()),
        services: ServiceVerifier::new(&config.media.service, http.clone(), clock.clone(), tasks.clone()),
        drafts,
        runs: Runs::new(base.clone(), chat.clone()),
        chat,
        readiness: Readiness::new(clock.clone(), probes(&base, store, storage_probes)),
        limits: CallerLimits::new(limits, clock.clone()),
        timers: timers::control(config),
        media,
        describer,
        bodies,
        answers: BodyMemory::new(limits.body_memory),
        large_reads: parts_of_tools.large_reads.clone(),
        item_blobs,
        digests,
        moods,
        scraper,
        dead_letters,
        pictures,
        budget,
        base: base.clone(),
    })
}

type Probes = Vec<(&'static str, Option<Probe>)>;

/// Returns the readiness checks.
fn probes(base: &Base, store: Arc<dyn DocumentStore>, of_storage: Probes) -> Probes {
    let documents = probe(store, |store| async move { store.ping().await.map_err(|error| Chain(&error).to_string()) });
    let model = base.model.clone();
    let asks_model = probe(model, |model| async move { model.ping().await.map_err(|error| Chain(&error).to_string()) });
    let model = [("model", base.config.model.is_some().then_some(asks_model))];
    [("documents", Some(documents))].into_iter().chain(of_storage).chain(model).collect()
}

/// Opens the blobs of items, in the configured containers.
fn open_item_blobs(base: &Base) -> ItemBlobs {
    let storage = &base.config.storage;
    ItemBlobs {
        store: base.blobs.clone(),
        archive: storage.archive_container.clone(),
        uploads: storage.uploads_container.clone(),
    }
}

/// Opens the statistics service, which converts amounts to the user's currency with `rates`.
fn open_insights(base: &Base, rates: Arc<ExchangeRates>) -> Insights {
    let (data, clock, tasks) = (base.data.clone(), base.clock.clone(), base.tasks.clone());
    Insights::new(data, rates, clock, tasks, base.config.insights.time_to_live, base.telemetry.metrics.clone())
}

/// Opens the scraper with its clients, which share one throttle.
fn open_scraper(base: &Arc<Base>, backlog: Backlog, pictures: Pictures, throttle: Arc<HostThrottle>) -> Scraper {
    let Base { config, http, web, clock, .. } = &**base;
    let (url, agent) = (config.scraper.reddit_url.clone(), &config.scraper.reddit_user_agent);
    let reddit = Reddit::new(web, http, url, agent, throttle.clone());
    let reddit = reddit.expect("the settings let only printable ASCII through");
    let brands = BrandSites::new(Arc::new(RobotsClient::new(web.clone(), throttle, clock.clone())));
    Scraper::new(base.clone(), backlog, reddit, brands, pictures)
}

/// Returns the parts that tools need.
fn open_parts_of_tools(
    base: &Arc<Base>,
    pictures: &Pictures,
    rates: &Arc<ExchangeRates>,
    (drafts, taste): (&Drafts, &Taste),
) -> Arc<tools::ToolParts> {
    let Base { config, clock, data, tasks, .. } = &**base;
    let most_items = config.stylist.similarity_max_items;
    Arc::new(tools::ToolParts {
        base: base.clone(),
        similar: SimilarItems::new(data.clone(), clock.clone(), tasks.clone(), most_items),
        pictures: pictures.clone(),
        rates: rates.clone(),
        forecasts: Forecasts::new(base.clone()),
        drafts: drafts.clone(),
        taste: taste.clone(),
        large_reads: Arc::new(Turns::new(LARGE_READS)),
    })
}

/// Opens the configured exchange rates.
pub fn open_rates(config: &Config, data: &Data, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> ExchangeRates {
    ExchangeRates::new(config.insights.feed.clone(), data.exchange_rates.clone(), http.clone(), clock.clone())
}
