//! Settings: read once, checked at start, never asked for again.
//!
//! A value comes from the command line, else the environment, else (in development) `local.settings.json`, else the
//! default given here. [`Config::read`] takes a function from name to value, so tests pass a map. The README's table and
//! `local.settings.json.example` list the same names; a test compares them.

pub mod connection_string;
mod origins;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::{Host, Url};

use crate::config::connection_string::{ConnectionString, EMULATOR_ACCOUNT};
use crate::model::containers::{Container, ContainerName};
use crate::model::ids::UserId;
use crate::model::schedule::{self, Schedule};

pub use origins::AllowedOrigins;

/// What is wrong with a setting, in one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that its variable cannot take.
    #[error("{name} is {got:?}: expected {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it got; empty for a secret.
        got: String,
        /// What it takes.
        expected: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Refused(String),
    /// `local.settings.json` cannot be read.
    #[error("{path} cannot be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    CommandLine,
    /// The process environment.
    Environment,
    /// `Values` of `local.settings.json`.
    LocalSettings,
    /// Nobody set it.
    Default,
}

impl Source {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "command line",
            Self::Environment => "environment",
            Self::LocalSettings => "local.settings.json",
            Self::Default => "default",
        }
    }
}

/// A setting as `pluckit config` shows it.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The variable.
    pub name: &'static str,
    /// Its value, masked if it is a secret; empty if it is not set and has no default.
    pub value: String,
    /// Where that came from.
    pub source: Source,
    /// Other places that gave a value, which does not count.
    pub shadowed: Vec<Source>,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Development or production.
    pub environment: Environment,
    /// Where and how to listen.
    pub server: Server,
    /// Who may call.
    pub identity: Identity,
    /// Directory of what is kept in files: the embedded store and the embedded queue.
    pub data_directory: PathBuf,
    /// Where documents are kept.
    pub documents: Documents,
    /// Azure storage, if there is any.
    pub storage: Storage,
    /// Names of the queues.
    pub queues: Queues,
    /// Pictures: who may send them, and who cuts them out.
    pub media: Media,
    /// Which language model answers.
    pub model: ModelServer,
    /// The stylist's numbers.
    pub stylist: Stylist,
    /// How work that no request waits for is done.
    pub workers: Workers,
    /// Numbers about wardrobes.
    pub insights: Insights,
    /// Where moods are read from, and when.
    pub moods: Moods,
    /// Numbers of the taste-analysis jobs.
    pub taste: Taste,
    /// Scraping of the discover feed's sources.
    pub scraper: Scraper,
    /// How much of the service one caller may have.
    pub limits: Limits,
    /// The weekly digests.
    pub digest: Digest,
    /// Numbers of long operations.
    pub operations: Operations,
    /// What leaves the process about itself, beside the log.
    pub telemetry: Telemetry,
    /// Lines of the log to write, in the syntax of `tracing`'s `EnvFilter`.
    pub log_filter: String,
    /// Each setting with its value and source, in reading order.
    pub effective: Vec<Effective>,
    /// Names that look like settings and are none.
    pub strangers: Vec<Stranger>,
}

/// A name that was set and looks like that of a setting, but is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The name.
    pub name: String,
    /// The setting whose name is most like it.
    pub nearest: Option<&'static str>,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is set, but there is no such setting", self.name)?;
        self.nearest.map_or(Ok(()), |nearest| write!(f, ": is it {nearest}?"))
    }
}

/// Who is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine: every caller is the development user.
    Development,
    /// Everywhere else: callers prove who they are.
    Production,
}

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Whether the Functions host started us.
    pub under_functions_host: bool,
    /// Web origins that may call with credentials.
    pub allowed_origins: AllowedOrigins,
    /// Address at which others reach the service, if it is not the one that it listens on.
    pub public_url: Option<Url>,
}

impl Server {
    /// Address at which others reach the service, which listens on `address`.
    pub fn public_base(&self, address: SocketAddr) -> Url {
        // Not an address that anybody could ask for.
        let host = match address.ip() {
            IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            host => host,
        };
        let listener = format!("http://{}", SocketAddr::new(host, address.port()));
        self.public_url.clone().unwrap_or_else(|| Url::parse(&listener).expect("an address makes a URL"))
    }
}

/// Who may call.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user that every caller is, in development.
    pub local_dev_user: UserId,
    /// OAuth clients whose ID tokens are accepted.
    pub google_client_ids: Vec<String>,
    /// Where Google's signing keys are.
    pub google_jwks_url: Url,
    /// Who may use admin routes.
    pub admins: HashSet<UserId>,
}

/// Where documents are kept.
#[derive(Debug, Clone)]
pub enum Documents {
    /// In a SQLite file.
    Embedded {
        /// Directory of the file.
        directory: PathBuf,
        /// Whether an empty store gets the demo wardrobe.
        demo: bool,
    },
    /// In Azure Cosmos DB.
    Cosmos(Cosmos),
}

/// An account of Azure Cosmos DB.
#[derive(Debug, Clone)]
pub struct Cosmos {
    /// The account's endpoint.
    pub endpoint: Url,
    /// The account's key; managed identity without one.
    pub key: Option<SecretString>,
    /// Client id of a user-assigned identity; the system-assigned one without it.
    pub client_id: Option<String>,
    /// Name of the database.
    pub database: String,
    /// Names of the containers.
    pub containers: BTreeMap<Container, String>,
    /// Whether it is the emulator: HTTP/1.1, and a certificate that nobody signed.
    pub emulator: bool,
    /// Whether its containers have vector indexes, to be asked for what is similar.
    pub vector_search: bool,
}

/// Azure storage, as far as it is configured.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The account with the blobs.
    pub blobs: Option<StorageAccount>,
    /// The account with the queues.
    pub queues: Option<StorageAccount>,
    /// Blob container of finished pictures.
    pub archive_container: ContainerName,
    /// Blob container of what long operations write; no public route shows it.
    pub jobs_container: ContainerName,
}

/// Names of the queues.
#[derive(Debug, Clone)]
pub struct Queues {
    /// Pictures whose taste is analysed.
    pub taste: QueueNames,
    /// Batches of users who get their weekly digest.
    pub digest: QueueNames,
    /// Chunks of articles in which moods are looked for.
    pub moods: QueueNames,
    /// Sources to scrape.
    pub scrape: QueueNames,
    /// Long operations.
    pub operations: QueueNames,
}

impl Queues {
    /// All of them.
    pub fn all(&self) -> [&QueueNames; 5] {
        let Self { taste, digest, moods, scrape, operations } = self;
        [taste, digest, moods, scrape, operations]
    }

    /// The queue that a message was meant for which came from `name`, that queue itself or its poison queue.
    pub fn origin_of(&self, name: &str) -> Option<&str> {
        self.all().into_iter().find(|queue| queue.work == name || queue.poison == name).map(|queue| &*queue.work)
    }
}

/// A queue, and the one beside it for what cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueNames {
    /// Where work waits.
    pub work: String,
    /// Where the Functions host moves messages that were delivered too often: `-poison` behind the name.
    pub poison: String,
}

/// Pictures: who may send them, and who cuts them out.
#[derive(Debug, Clone)]
pub struct Media {
    /// Whether anybody may have a background removed, without a credential.
    pub is_open: bool,
    /// How other services show who they are.
    pub service: ServiceCredential,
    /// The service that cuts garments out; the built-in remover without it.
    pub segmentation: Option<Segmentation>,
}

/// How other services show who they are.
#[derive(Debug, Clone)]
pub enum ServiceCredential {
    /// By a key, if there is one.
    ApiKey(Option<SecretString>),
    /// By a token of an Entra tenant.
    Entra {
        /// Who issues the tokens.
        issuer: Option<Url>,
        /// For whom they are issued.
        audience: Option<String>,
    },
    /// Not at all: the setting names no way that there is. Callers are told; the rest of the service goes on.
    Unknown,
}

/// A service that cuts garments out.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// Its address.
    pub endpoint: Url,
    /// What we show it, if it asks.
    pub token: Option<SecretString>,
}

/// How to reach a storage account.
#[derive(Debug, Clone)]
pub enum StorageAccount {
    /// By connection string.
    ConnectionString(SecretString),
    /// By name and key.
    Key {
        /// Name of the account.
        name: String,
        /// Its key, base64.
        key: SecretString,
    },
    /// By managed identity.
    Identity {
        /// URL of the service (blob or queue).
        service: Url,
        /// Client id of a user-assigned identity; the system-assigned one without it.
        client_id: Option<String>,
    },
}

/// Which language model answers.
#[derive(Debug, Clone)]
pub enum ModelServer {
    /// The built-in one.
    Offline,
    /// Azure OpenAI.
    Azure {
        /// Endpoint of the resource.
        endpoint: Url,
        /// Its key; managed identity without one.
        key: Option<SecretString>,
        /// Client id of a user-assigned identity; the system-assigned one without it.
        client_id: Option<String>,
        /// Version of the API.
        api_version: String,
        /// Deployment for the stylist.
        deployment: String,
        /// Deployment for small tasks.
        nano_deployment: String,
        /// Deployment for embeddings.
        embedding_deployment: String,
    },
    /// Any server that speaks OpenAI's API.
    Compatible {
        /// Its base URL, with the `/v1`.
        base_url: Url,
        /// Its key, if it wants one.
        key: Option<SecretString>,
        /// Model for the stylist.
        model: String,
        /// Model for small tasks.
        nano_model: String,
        /// Model for embeddings.
        embedding_model: String,
    },
}

/// The stylist's numbers.
#[derive(Debug, Clone)]
pub struct Stylist {
    /// Tool calls of one turn.
    pub tool_call_limit: usize,
    /// Scraped items whose vectors are kept in memory, at most.
    pub similarity_max_items: usize,
    /// Where cities are looked up.
    pub geocoding_url: Url,
    /// Where the weather comes from.
    pub forecast_url: Url,
}

/// How work that no request waits for is done.
#[derive(Debug, Clone)]
pub struct Workers {
    /// Messages of one queue that are worked on at the same time, when the service runs alone.
    pub concurrency: usize,
    /// Pause after the first failed delivery, when the service runs alone; it doubles with each one.
    pub retry_base: Duration,
    /// When leftovers are cleaned up.
    pub job_sweeper_schedule: Schedule,
}

/// Scraping of the discover feed's sources.
#[derive(Debug, Clone)]
pub struct Scraper {
    /// When all sources are scraped.
    pub schedule: Schedule,
    /// Sources that one process scrapes at the same time.
    pub max_concurrency: usize,
    /// Posts that a user may send in a day, by UTC; zero for no limit.
    pub posts_per_day: usize,
    /// Share of submissions whose posts are compared with Reddit's, 0 to 1.
    pub spot_check_rate: f64,
    /// Where Reddit is.
    pub reddit_url: Url,
    /// What we call ourselves there.
    pub reddit_user_agent: String,
}

/// Numbers about wardrobes.
#[derive(Debug, Clone)]
pub struct Insights {
    /// How long computed insights are kept at most.
    pub time_to_live: Duration,
    /// Where exchange rates come from; the built-in ones without it.
    pub feed: Option<Feed>,
}

/// Where exchange rates come from.
#[derive(Debug, Clone)]
pub enum Feed {
    /// An address.
    Url(Url),
    /// A file.
    File(PathBuf),
}

/// Where moods are read from, and when.
#[derive(Debug, Clone)]
pub struct Moods {
    /// The publishers' feeds.
    pub feeds: Vec<Url>,
    /// The publishers' sitemaps, one for each.
    pub sitemaps: Vec<Url>,
    /// When the feeds are read.
    pub schedule: Schedule,
}

/// Numbers of the taste-analysis jobs.
#[derive(Debug, Clone)]
pub struct Taste {
    /// How long a picture that was analysed is not analysed again.
    pub completed_ttl: Duration,
    /// How long a queued or running job keeps others away.
    pub dedupe_ttl: Duration,
    /// Tries within one delivery.
    pub max_attempts: u32,
    /// Pause after the first failed try; doubles with each.
    pub base_back_off: Duration,
    /// The longest pause.
    pub max_back_off: Duration,
    /// At most this much is added to each pause, at random.
    pub jitter: Duration,
    /// How often a profile that others changed meanwhile is edited again.
    pub profile_update_retries: u32,
}

/// How much of the service one caller may have. Zero requests or tokens mean no limit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether there are limits, but for that on tokens.
    pub enabled: bool,
    /// Sign-ins and refreshes per address and minute.
    pub auth_per_minute: u32,
    /// Refused credentials per address and minute.
    pub refusals_per_minute: u32,
    /// Requests that ask a model, per user and minute.
    pub model_per_minute: u32,
    /// Pictures per user and minute.
    pub uploads_per_minute: u32,
    /// Pictures per minute and address of services, and of callers without a credential.
    pub service_uploads_per_minute: u32,
    /// Submissions of posts per user and minute.
    pub ingest_per_minute: u32,
    /// Other requests per user or address and minute.
    pub requests_per_minute: u32,
    /// Long operations and scrapes for subscriptions that a user may have waiting at the same time.
    pub pending_jobs_per_user: usize,
    /// Chat streams that a user may have at the same time.
    pub streams_per_user: u32,
    /// Requests that may be under way at the same time.
    pub concurrent_requests: usize,
    /// Requests that a user, or an address where no user is known, may have under way at the same time.
    pub concurrent_requests_per_caller: u32,
    /// Memory for the bodies of all requests together, in bytes.
    pub body_memory: usize,
    /// Connections that may be open at the same time.
    pub connections: usize,
    /// Tokens of models that a user may spend in a day, by UTC.
    pub tokens_per_day: u64,
    /// Whether `X-Forwarded-For` is written by a proxy that is trusted.
    pub trusts_proxy: bool,
}

/// The weekly digests.
#[derive(Debug, Clone)]
pub struct Digest {
    /// When everybody is put into the queue.
    pub schedule: Schedule,
    /// Users of a batch that are worked on at the same time.
    pub concurrency: usize,
    /// How long whoever is at a user, or at the queueing, keeps others away without saying anew that they live.
    pub lease: Duration,
}

/// Numbers of long operations.
#[derive(Debug, Clone)]
pub struct Operations {
    /// How long a worker keeps others away from a job without saying anew that it lives.
    pub lease: Duration,
    /// How long one invocation begins steps of a job; after that the rest is queued.
    pub slice: Duration,
}

/// What leaves the process about itself, beside the log: nothing, unless endpoints are set.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Where traces go.
    pub traces: Option<Url>,
    /// Where metrics go.
    pub metrics: Option<Url>,
    /// Where logs go.
    pub logs: Option<Url>,
    /// Headers for all three, as `name=value` pairs between commas.
    pub headers: Option<SecretString>,
    /// What the service calls itself.
    pub service_name: String,
    /// `development` or `production`.
    pub environment: &'static str,
    /// Where turns, digests and extractions go.
    pub langfuse: Option<Langfuse>,
}

/// A project of Langfuse.
#[derive(Debug, Clone)]
pub struct Langfuse {
    /// Its server.
    pub host: Url,
    /// The project's public key.
    pub public_key: String,
    /// Its secret key.
    pub secret_key: SecretString,
    /// Whether prompts and answers are sent.
    pub capture_content: bool,
}

impl Langfuse {
    /// Where it takes traces by OTLP.
    pub fn traces_url(&self) -> Url {
        below(&self.host, &["api", "public", "otel", "v1", "traces"])
    }

    /// The credential, as the header has it.
    pub fn authorization(&self) -> String {
        let pair = format!("{}:{}", self.public_key, self.secret_key.expose_secret());
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

/// The address with more segments behind its path.
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

impl Config {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// The first fault, as one line that names the variable.
    pub fn read(lookup: impl Fn(&str) -> Option<(String, Source)>) -> Result<Self, Error> {
        let mut reader = Reader { lookup: &lookup, effective: Vec::new() };
        let under_functions_host = reader.optional("FUNCTIONS_CUSTOMHANDLER_PORT").is_some();
        let mut server = read_server(&mut reader, under_functions_host)?;
        let identity = read_identity(&mut reader)?;
        let client_id = reader.optional("AZURE_CLIENT_ID");
        let data_directory = PathBuf::from(reader.text("PLUCKIT_DATA_DIR", "./data"));
        let documents = read_documents(&mut reader, &data_directory, client_id.as_deref())?;
        let storage = read_storage(&mut reader, client_id.as_deref())?;
        let queues = read_queues(&mut reader, under_functions_host)?;
        let media = read_media(&mut reader)?;
        let model = read_model(&mut reader, client_id)?;
        let stylist = Stylist {
            tool_call_limit: reader.number("STYLIST_TOOL_CALL_RECURSION_LIMIT", 8, 1, 64)?,
            similarity_max_items: reader.number("SIMILARITY_MAX_ITEMS", 200_000, 1000, 2_000_000)?,
            geocoding_url: reader.url("OPEN_METEO_GEOCODING_URL", "https://geocoding-api.open-meteo.com")?,
            forecast_url: reader.url("OPEN_METEO_FORECAST_URL", "https://api.open-meteo.com")?,
        };
        let log_filter = read_log_filter(&mut reader)?;
        let workers = read_workers(&mut reader)?;
        let insights = read_insights(&mut reader)?;
        let moods = read_moods(&mut reader)?;
        let taste = Taste {
            completed_ttl: reader.seconds("TASTE_JOB_COMPLETED_TTL_SECONDS", 3600.0, WEEK_SECONDS)?,
            dedupe_ttl: reader.seconds("TASTE_JOB_DEDUPE_TTL_SECONDS", 180.0, WEEK_SECONDS)?,
            max_attempts: reader.number("TASTE_JOB_MAX_RETRIES", 3, 1, 20)?,
            base_back_off: reader.seconds("TASTE_JOB_BASE_BACKOFF_SECONDS", 0.75, 60.0)?,
            max_back_off: reader.seconds("TASTE_JOB_MAX_BACKOFF_SECONDS", 6.0, 60.0)?,
            jitter: reader.seconds("TASTE_JOB_JITTER_SECONDS", 0.2, 60.0)?,
            profile_update_retries: reader.number("TASTE_JOB_PROFILE_UPDATE_MAX_RETRIES", 2, 0, 100)?,
        };
        let digest = read_digest(&mut reader)?;
        let scraper = read_scraper(&mut reader)?;
        let operations = Operations {
            lease: Duration::from_secs(reader.number("LONG_OPERATION_LEASE_SECONDS", 45, 1, 600)?),
            slice: Duration::from_secs(reader.number("LONG_OPERATION_SLICE_SECONDS", 240, 0, 480)?),
        };

        let limits = Limits {
            enabled: reader.flag("RATE_LIMITS", true)?,
            auth_per_minute: reader.number("RATE_LIMIT_AUTH_PER_MINUTE", 60, 0, 1_000_000)?,
            refusals_per_minute: reader.number("RATE_LIMIT_REFUSALS_PER_MINUTE", 60, 0, 1_000_000)?,
            model_per_minute: reader.number("RATE_LIMIT_MODEL_PER_MINUTE", 30, 0, 1_000_000)?,
            uploads_per_minute: reader.number("RATE_LIMIT_UPLOADS_PER_MINUTE", 60, 0, 1_000_000)?,
            service_uploads_per_minute: reader.number("RATE_LIMIT_SERVICE_UPLOADS_PER_MINUTE", 600, 0, 1_000_000)?,
            ingest_per_minute: reader.number("RATE_LIMIT_INGEST_PER_MINUTE", 6, 0, 1_000_000)?,
            requests_per_minute: reader.number("RATE_LIMIT_REQUESTS_PER_MINUTE", 600, 0, 1_000_000)?,
            pending_jobs_per_user: reader.number("PENDING_JOBS_PER_USER", 3, 0, 1_000_000)?,
            streams_per_user: reader.number("CHAT_STREAMS_PER_USER", 4, 1, 1000)?,
            concurrent_requests: reader.number("MAX_CONCURRENT_REQUESTS", 1024, 1, 100_000)?,
            concurrent_requests_per_caller: reader.number("MAX_CONCURRENT_REQUESTS_PER_CALLER", 32, 1, 100_000)?,
            body_memory: reader.number("BODY_MEMORY_MIB", 64, 40, 65_536)? * 1024 * 1024,
            connections: reader.number("MAX_CONNECTIONS", 4096, 16, 1_000_000)?,
            tokens_per_day: reader.number("MODEL_TOKENS_PER_USER_AND_DAY", 1_000_000, 0, u64::MAX)?,
            trusts_proxy: reader.flag("TRUST_X_FORWARDED_FOR", under_functions_host)?,
        };
        let telemetry = read_telemetry(&mut reader)?;
        let environment = match reader.optional("AZURE_FUNCTIONS_ENVIRONMENT") {
            Some(name) if name.eq_ignore_ascii_case("development") => Environment::Development,
            Some(_) => Environment::Production,
            None if under_functions_host || is_meant_for_others(&identity, &documents) => Environment::Production,
            None => Environment::Development,
        };
        reader.note_default(
            "AZURE_FUNCTIONS_ENVIRONMENT",
            match environment {
                Environment::Development => "Development",
                Environment::Production => "Production",
            },
        );
        let allow_insecure = reader.flag("PLUCKIT_ALLOW_INSECURE_DEV", false)?;
        let allow_embedded = reader.flag("PLUCKIT_ALLOW_EMBEDDED", false)?;
        let platform = read_platform(&mut reader);
        if environment == Environment::Development {
            server.allowed_origins = server.allowed_origins.with_loopback();
            refuse_open_door(&server, platform, allow_insecure)?;
        }
        if !allow_embedded && (under_functions_host || environment == Environment::Production) {
            refuse_embedded(&documents, &storage, &model)?;
        }
        let telemetry = Telemetry {
            environment: match environment {
                Environment::Development => "development",
                Environment::Production => "production",
            },
            ..telemetry
        };
        let effective = reader.effective;
        Ok(Self {
            environment,
            server,
            identity,
            data_directory,
            documents,
            storage,
            queues,
            media,
            model,
            stylist,
            workers,
            insights,
            moods,
            taste,
            scraper,
            limits,
            digest,
            operations,
            telemetry,
            log_filter,
            effective,
            strangers: Vec::new(),
        })
    }

    /// Reads the settings of this process: `flags` of the command line, the environment, and in development
    /// `local.settings.json` of the working directory.
    ///
    /// # Errors
    /// As [`Config::read`], and when `local.settings.json` is there but is not what it should be.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn load(flags: &BTreeMap<&'static str, String>) -> Result<Self, Error> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let in_environment = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let may_be_development = match environment("AZURE_FUNCTIONS_ENVIRONMENT") {
            Some(name) => name.eq_ignore_ascii_case("development"),
            None => environment("FUNCTIONS_CUSTOMHANDLER_PORT").is_none(),
        };
        let file = if may_be_development { read_local_settings(Path::new("local.settings.json"))? } else { None };
        let file = file.unwrap_or_default();
        let given = |name: &str| {
            let values = [
                (flags.get(name).cloned(), Source::CommandLine),
                (environment(name), Source::Environment),
                (file.get(name).cloned(), Source::LocalSettings),
            ];
            values.into_iter().filter_map(|(value, source)| Some((value?, source)))
        };
        let mut config = Self::read(|name| given(name).next())?;
        for setting in &mut config.effective {
            setting.shadowed = given(setting.name).skip(1).map(|(_, source)| source).collect();
        }
        let known: Vec<&'static str> = config.effective.iter().map(|setting| setting.name).collect();
        let names: BTreeSet<String> = in_environment.chain(file.keys().cloned()).collect();
        config.strangers = names.iter().filter_map(|name| stranger(name, &known)).collect();
        Ok(config)
    }
}

/// What the Functions host puts behind a queue's name to name the queue of messages that were delivered too often.
pub const POISON_SUFFIX: &str = "-poison";
const DAY_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;
const LANGFUSE_CLOUD: &str = "https://cloud.langfuse.com";
const WEEK_SECONDS: f64 = 7.0 * 24.0 * 60.0 * 60.0;

/// How the names of settings begin that nobody else has. Any other name there is a mistake.
const OWN_PREFIXES: [&str; 13] = [
    "PLUCKIT_",
    "COSMOS_DB_",
    "RATE_LIMIT_",
    "TASTE_JOB_",
    "WEEKLY_DIGEST_",
    "DIGEST_BATCH_",
    "LONG_OPERATION_",
    "MOOD_",
    "SCRAPER_",
    "SEGMENTATION_",
    "METADATA_EXTRACT_",
    "PROCESS_IMAGE_",
    "FX_RATES_",
];
/// Names of other programs that begin like ours.
const OTHERS_PREFIXES: [&str; 1] = ["PLUCKIT_TEST_"];
/// The shortest name of a setting that others' names may be taken for: `PORT` is like too many.
const SHORTEST_LIKE: usize = 10;

/// What is wrong with a name that was set, if it looks like that of a setting and is none.
fn stranger(name: &str, known: &[&'static str]) -> Option<Stranger> {
    let upper = name.to_ascii_uppercase();
    if known.contains(&name) || OTHERS_PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) {
        return None;
    }
    let distance = |other: &str| strsim::osa_distance(&upper, &other.to_ascii_uppercase());
    let (nearest, apart) = known.iter().map(|known| (*known, distance(known))).min_by_key(|(_, apart)| *apart)?;
    let is_own = OWN_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    let is_like = apart <= 2 && nearest.len() >= SHORTEST_LIKE;
    if !is_own && !is_like {
        return None;
    }
    // Further away it is no mistyped name, but a made-up one.
    let nearest = (apart <= 2.max(name.len() / 4)).then_some(nearest);
    Some(Stranger { name: name.to_owned(), nearest })
}

/// What to write into the log: a level, and targets with levels of their own.
fn read_log_filter(reader: &mut Reader<'_>) -> Result<String, Error> {
    const NAME: &str = "PLUCKIT_LOG";
    let default = "info,async_openai=off,azure_core=warn,azure_data_cosmos_driver=warn,hyper=warn";
    let text = reader.text(NAME, default);
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let filter = parts.join(",");
    // A word alone that is no level would be a target, and nothing else would be written.
    let is_known = |part: &&str| part.contains(['=', '[', ']', '}']) || part.parse::<LevelFilter>().is_ok();
    if parts.iter().all(is_known) && EnvFilter::builder().parse(&filter).is_ok() {
        return Ok(filter);
    }
    let expected = "error, warn, info, debug, trace or off, and target=level pairs, with commas between".to_owned();
    Err(Error::Invalid { name: NAME, got: text, expected })
}

fn read_server(reader: &mut Reader<'_>, under_functions_host: bool) -> Result<Server, Error> {
    let bind = reader.parsed("PLUCKIT_BIND", IpAddr::V4(Ipv4Addr::LOCALHOST), "an IP address")?;
    let port = reader.number("PORT", 7071, 0, u16::MAX)?;
    let origins = reader.list("CORS_ALLOWED_ORIGINS", &[',']);
    let (bind, port) = if under_functions_host {
        (IpAddr::V4(Ipv4Addr::LOCALHOST), reader.number("FUNCTIONS_CUSTOMHANDLER_PORT", 0, 1, u16::MAX)?)
    } else {
        (bind, port)
    };
    let public_url = reader.optional_url("PLUCKIT_PUBLIC_URL")?;
    let site = reader.optional("WEBSITE_HOSTNAME").and_then(|host| {
        // The host's tools on a developer's machine set it too, and speak no TLS.
        let is_local = Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url));
        Url::parse(&format!("{}://{host}", if is_local { "http" } else { "https" })).ok()
    });
    let public_url = public_url.or(site);
    let allowed_origins = AllowedOrigins::new(origins);
    Ok(Server { bind, port, under_functions_host, allowed_origins, public_url })
}

fn read_identity(reader: &mut Reader<'_>) -> Result<Identity, Error> {
    let mut google_client_ids = reader.list("GOOGLE_CLIENT_ID", &[',', ';']);
    google_client_ids.extend(reader.list("GOOGLE_ALLOWED_CLIENT_IDS", &[',', ';']));
    let local_dev_user = UserId::from(reader.text("LOCAL_DEV_USER_ID", "local-dev-user"));
    if !local_dev_user.is_valid() {
        let expected = "1 to 255 bytes without / \\ ? #, and neither . nor ..".to_owned();
        return Err(Error::Invalid { name: "LOCAL_DEV_USER_ID", got: local_dev_user.to_string(), expected });
    }
    Ok(Identity {
        local_dev_user,
        google_client_ids,
        google_jwks_url: reader.url("GOOGLE_JWKS_URL", "https://www.googleapis.com/oauth2/v3/certs")?,
        admins: reader.list("ADMIN_USER_IDS", &[',']).into_iter().map(UserId::from).collect(),
    })
}

fn read_documents(reader: &mut Reader<'_>, directory: &Path, client_id: Option<&str>) -> Result<Documents, Error> {
    let demo = reader.flag("PLUCKIT_DEMO", true)?;
    let endpoint = reader.optional_url("COSMOS_DB_ENDPOINT")?;
    let key = reader.secret("COSMOS_DB_KEY");
    let database = reader.text("COSMOS_DB_DATABASE", "PluckIt");
    let emulator = reader.flag("COSMOS_DB_EMULATOR", endpoint.as_ref().is_some_and(is_loopback))?;
    let vector_search = reader.flag("COSMOS_DB_VECTOR_SEARCH", false)?;
    let mut containers = BTreeMap::new();
    for container in Container::ALL {
        let spec = container.spec();
        containers.insert(container, reader.text(spec.variable, spec.default_name));
    }
    Ok(match endpoint {
        None => Documents::Embedded { directory: directory.to_owned(), demo },
        Some(endpoint) => Documents::Cosmos(Cosmos {
            endpoint,
            key,
            client_id: client_id.map(Into::into),
            database,
            containers,
            emulator,
            vector_search,
        }),
    })
}

fn read_storage(reader: &mut Reader<'_>, client_id: Option<&str>) -> Result<Storage, Error> {
    let identity = |service| StorageAccount::Identity { service, client_id: client_id.map(Into::into) };
    let host = reader.secret("AzureWebJobsStorage").map(StorageAccount::ConnectionString);
    let queue = reader.secret("StorageQueue").map(StorageAccount::ConnectionString);
    let queue_service = reader.optional_url("StorageQueue__queueServiceUri")?.map(identity);
    let name = reader.optional("STORAGE_ACCOUNT_NAME");
    let key = reader.secret("STORAGE_ACCOUNT_KEY");
    let account = |service: &str| -> Result<Option<StorageAccount>, Error> {
        let Some(name) = name.clone() else { return Ok(None) };
        // The emulator's account is on no server of Azure. A connection string may say where it is.
        if name == EMULATOR_ACCOUNT {
            let is_emulator = |text: &SecretString| {
                ConnectionString::parse(text.expose_secret()).is_ok_and(|parsed| parsed.account == EMULATOR_ACCOUNT)
            };
            let given = host.iter().find_map(|account| match account {
                StorageAccount::ConnectionString(text) => Some(text).filter(|text| is_emulator(text)),
                StorageAccount::Key { .. } | StorageAccount::Identity { .. } => None,
            });
            let usual = || SecretString::from("UseDevelopmentStorage=true");
            return Ok(Some(StorageAccount::ConnectionString(given.cloned().unwrap_or_else(usual))));
        }
        if let Some(key) = key.clone() {
            return Ok(Some(StorageAccount::Key { name, key }));
        }
        let url = format!("https://{name}.{service}.core.windows.net");
        let service = Url::parse(&url).map_err(|_| Error::Invalid {
            name: "STORAGE_ACCOUNT_NAME",
            got: name,
            expected: "the name of a storage account".into(),
        })?;
        Ok(Some(identity(service)))
    };
    let default = "archive".parse().expect("a good name");
    let expected = "3 to 63 of a-z, 0-9 and single hyphens between them";
    let archive_container = reader.parsed::<ContainerName>("ARCHIVE_CONTAINER_NAME", default, expected)?;
    let default = "jobs".parse().expect("a good name");
    let jobs_container = reader.parsed::<ContainerName>("JOBS_CONTAINER_NAME", default, expected)?;
    if jobs_container == archive_container {
        let expected = "another container than ARCHIVE_CONTAINER_NAME, which everybody may read".to_owned();
        return Err(Error::Invalid { name: "JOBS_CONTAINER_NAME", got: jobs_container.to_string(), expected });
    }
    Ok(Storage {
        queues: queue.or(queue_service).or(account("queue")?).or_else(|| host.clone()),
        blobs: account("blob")?.or(host),
        archive_container,
        jobs_container,
    })
}

fn read_queues(reader: &mut Reader<'_>, under_functions_host: bool) -> Result<Queues, Error> {
    let mut names = |variable, default: &str| -> Result<QueueNames, Error> {
        let work = reader.parsed(variable, QueueName(default.to_owned()), QueueName::EXPECTED)?.0;
        let poison = format!("{work}{POISON_SUFFIX}");
        Ok(QueueNames { work, poison })
    };
    let mut taste = names("TASTE_JOB_QUEUE_NAME", "taste-analysis-jobs")?;
    let digest = names("DIGEST_BATCH_QUEUE_NAME", "digest-batches")?;
    let moods = names("MOOD_CHUNK_QUEUE_NAME", "mood-chunks")?;
    let scrape = names("SCRAPE_QUEUE_NAME", "scrape-sources")?;
    let operations = names("LONG_OPERATION_QUEUE_NAME", "long-operations")?;
    // Where the Functions host moves messages, whatever we think of it.
    let variable = "TASTE_JOB_DEAD_LETTER_QUEUE_NAME";
    let dead_letter_queue = reader.text(variable, &taste.poison);
    if under_functions_host && dead_letter_queue != taste.poison {
        let expected = format!("{}, where the Functions host moves messages", taste.poison);
        return Err(Error::Invalid { name: variable, got: dead_letter_queue, expected });
    }
    taste.poison = dead_letter_queue;
    Ok(Queues { taste, digest, moods, scrape, operations })
}

/// The name of a queue whose poison queue has a name as well.
struct QueueName(String);

impl QueueName {
    const EXPECTED: &'static str = "3 to 56 of a-z, 0-9 and single hyphens between them";
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for QueueName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // The rules for queues are those for blob containers.
        let fits = text.len() + POISON_SUFFIX.len() <= 63 && text.parse::<ContainerName>().is_ok();
        if fits { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

fn read_media(reader: &mut Reader<'_>) -> Result<Media, Error> {
    let mode = reader.text("PROCESS_IMAGE_AUTH_MODE", "user-or-service");
    let is_open = match mode.to_ascii_lowercase().as_str() {
        "user-or-service" => false,
        "anonymous" => true,
        _ => {
            let expected = "user-or-service or anonymous".to_owned();
            return Err(Error::Invalid { name: "PROCESS_IMAGE_AUTH_MODE", got: mode, expected });
        }
    };
    let mode = reader.text("METADATA_EXTRACT_AUTH_MODE", "api-key");
    let key = reader.secret("METADATA_EXTRACT_API_KEY");
    let issuer = reader.optional_url("METADATA_EXTRACT_AZURE_AD_ISSUER")?;
    let audience = reader.optional("METADATA_EXTRACT_AZURE_AD_AUDIENCE");
    let service = match mode.to_ascii_lowercase().as_str() {
        "api-key" => ServiceCredential::ApiKey(key),
        "azuread" => ServiceCredential::Entra { issuer, audience },
        _ => ServiceCredential::Unknown,
    };
    let endpoint = reader.optional_url("SEGMENTATION_ENDPOINT_URL")?;
    let token = reader.secret("SEGMENTATION_SHARED_TOKEN");
    Ok(Media { is_open, service, segmentation: endpoint.map(|endpoint| Segmentation { endpoint, token }) })
}

fn read_model(reader: &mut Reader<'_>, client_id: Option<String>) -> Result<ModelServer, Error> {
    let endpoint = reader.optional_url("AZURE_OPENAI_ENDPOINT")?;
    let key = reader.secret("AZURE_OPENAI_API_KEY");
    let api_version = reader.text("AZURE_OPENAI_API_VERSION", "2024-12-01-preview");
    let deployment = reader.text("AZURE_OPENAI_DEPLOYMENT", "gpt-4.1-mini");
    let nano_deployment = reader.text("AZURE_OPENAI_NANO_DEPLOYMENT", &deployment);
    let embedding_deployment = reader.text("AZURE_OPENAI_EMBEDDING_DEPLOYMENT", "text-embedding-3-small");
    let base_url = reader.optional_url("OPENAI_BASE_URL")?;
    let compatible_key = reader.secret("OPENAI_API_KEY");
    let model = reader.text("OPENAI_MODEL", "gpt-4.1-mini");
    let nano_model = reader.text("OPENAI_NANO_MODEL", &model);
    let embedding_model = reader.text("OPENAI_EMBEDDING_MODEL", "text-embedding-3-small");
    Ok(match (endpoint, base_url) {
        (Some(endpoint), _) => ModelServer::Azure {
            endpoint,
            key,
            client_id,
            api_version,
            deployment,
            nano_deployment,
            embedding_deployment,
        },
        (None, Some(base_url)) => {
            ModelServer::Compatible { base_url, key: compatible_key, model, nano_model, embedding_model }
        }
        (None, None) => ModelServer::Offline,
    })
}

fn read_workers(reader: &mut Reader<'_>) -> Result<Workers, Error> {
    let every_five_minutes: Schedule = "0 */5 * * * *".parse().expect("the default is a schedule");
    Ok(Workers {
        concurrency: reader.number("WORKER_CONCURRENCY", 4, 1, 32)?,
        retry_base: Duration::from_secs(reader.number("JOB_RETRY_BASE_SECONDS", 30, 0, 600)?),
        job_sweeper_schedule: reader.parsed("JOB_SWEEPER_SCHEDULE", every_five_minutes, schedule::EXPECTED)?,
    })
}

fn read_scraper(reader: &mut Reader<'_>) -> Result<Scraper, Error> {
    let every_morning: Schedule = "0 0 7 * * *".parse().expect("the default is a schedule");
    let user_agent = reader.text("REDDIT_USER_AGENT", "web:pluckit-processor:v1");
    if !user_agent.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        let expected = "printable ASCII".to_owned();
        return Err(Error::Invalid { name: "REDDIT_USER_AGENT", got: user_agent, expected });
    }
    Ok(Scraper {
        schedule: reader.parsed("SCRAPER_SCHEDULE", every_morning, schedule::EXPECTED)?,
        max_concurrency: reader.number("SCRAPER_MAX_CONCURRENCY", 4, 1, 32)?,
        posts_per_day: reader.number("INGEST_POSTS_PER_USER_AND_DAY", 300, 0, 1_000_000)?,
        spot_check_rate: reader.share("INGEST_SPOT_CHECK_RATE", 0.1)?,
        reddit_url: reader.url("REDDIT_BASE_URL", "https://www.reddit.com")?,
        reddit_user_agent: user_agent,
    })
}

fn read_insights(reader: &mut Reader<'_>) -> Result<Insights, Error> {
    let milliseconds = reader.number("COSMOS_DB_VAULT_INSIGHTS_CACHE_TTL_MS", 1_800_000, 0, DAY_MILLISECONDS)?;
    let url = reader.optional_url("FX_RATES_URL")?;
    let file = reader.optional("FX_RATES_FILE").map(PathBuf::from);
    let feed = match (url, file) {
        (Some(_), Some(_)) => {
            return Err(Error::Refused(
                "FX_RATES_URL and FX_RATES_FILE are both set: exchange rates come from one".into(),
            ));
        }
        (url, file) => url.map(Feed::Url).or_else(|| file.map(Feed::File)),
    };
    Ok(Insights { time_to_live: Duration::from_millis(milliseconds), feed })
}

/// Feeds of the publishers that the product names, as readers know them.
const MOOD_FEEDS: &str = "https://www.vogue.com/feed/rss,https://www.whowhatwear.com/rss,\
    https://feeds.feedburner.com/nymag/fashion,https://www.refinery29.com/rss.xml,\
    https://www.harpersbazaar.com/rss/all.xml/";
/// Their sitemaps.
const MOOD_SITEMAPS: &str = "https://www.vogue.com/sitemap.xml,https://www.whowhatwear.com/sitemap.xml,\
    https://www.thecut.com/sitemap.xml,https://www.refinery29.com/sitemap.xml,\
    https://www.harpersbazaar.com/sitemap_index.xml";
/// Feeds, and sitemaps, at most: what is known of the feeds is one document.
const MOST_PUBLISHERS: usize = 20;

fn read_moods(reader: &mut Reader<'_>) -> Result<Moods, Error> {
    let daily: Schedule = "0 0 6 * * *".parse().expect("the default is a schedule");
    Ok(Moods {
        feeds: read_publishers(reader, "MOOD_FEEDS", MOOD_FEEDS)?,
        sitemaps: read_publishers(reader, "MOOD_SITEMAPS", MOOD_SITEMAPS)?,
        schedule: reader.parsed("MOOD_SCHEDULE", daily, schedule::EXPECTED)?,
    })
}

/// A list of pages on the web.
fn read_publishers(reader: &mut Reader<'_>, name: &'static str, default: &str) -> Result<Vec<Url>, Error> {
    let text = reader.text(name, default);
    reader.note_urls(name);
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let urls = parts.map(|part| parse_url(name, part.to_owned())).collect::<Result<Vec<_>, _>>()?;
    let fault = |got: String, expected: &str| Error::Invalid { name, got, expected: expected.to_owned() };
    if let Some(url) = urls.iter().find(|url| url.scheme() != "https") {
        return Err(fault(masked_url(url.as_str()), "https URLs"));
    }
    if urls.len() > MOST_PUBLISHERS {
        return Err(fault(
            format!("{} URLs", urls.len()),
            &format!("at most {MOST_PUBLISHERS} URLs, with commas between"),
        ));
    }
    Ok(urls)
}

fn read_digest(reader: &mut Reader<'_>) -> Result<Digest, Error> {
    let monday_morning: Schedule = "0 0 9 * * 1".parse().expect("the default is a schedule");
    Ok(Digest {
        schedule: reader.parsed("WEEKLY_DIGEST_SCHEDULE", monday_morning, schedule::EXPECTED)?,
        concurrency: reader.number("WEEKLY_DIGEST_MAX_CONCURRENCY", 6, 1, 64)?,
        lease: Duration::from_secs(reader.number("WEEKLY_DIGEST_LEASE_SECONDS", 45, 1, 600)?),
    })
}

fn read_telemetry(reader: &mut Reader<'_>) -> Result<Telemetry, Error> {
    let base = reader.optional_url("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    let mut signal = |endpoint, exporter, path| -> Result<Option<Url>, Error> {
        let own = reader.optional_url(endpoint)?;
        let exporter_name = reader.text(exporter, "otlp");
        match exporter_name.as_str() {
            "otlp" => Ok(own.or_else(|| base.as_ref().map(|base| below(base, &["v1", path])))),
            "none" => Ok(None),
            _ => Err(Error::Invalid { name: exporter, got: exporter_name, expected: "otlp or none".to_owned() }),
        }
    };
    let traces = signal("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER", "traces")?;
    let metrics = signal("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_METRICS_EXPORTER", "metrics")?;
    let logs = signal("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_LOGS_EXPORTER", "logs")?;
    let protocol = reader.text("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    if protocol != "http/protobuf" {
        let expected = "http/protobuf, the one that is spoken here".to_owned();
        return Err(Error::Invalid { name: "OTEL_EXPORTER_OTLP_PROTOCOL", got: protocol, expected });
    }
    let headers = reader.secret("OTEL_EXPORTER_OTLP_HEADERS");
    let service_name = reader.text("OTEL_SERVICE_NAME", "pluckit-processor");
    let public_key = reader.optional("LANGFUSE_PUBLIC_KEY");
    let secret_key = reader.secret("LANGFUSE_SECRET_KEY");
    let host = reader.optional_url("LANGFUSE_HOST")?;
    let other_host = reader.optional_url("LANGFUSE_BASE_URL")?;
    let capture_content = reader.flag("LANGFUSE_CAPTURE_CONTENT", false)?;
    let host = host.or(other_host).unwrap_or_else(|| Url::parse(LANGFUSE_CLOUD).expect("a good URL"));
    let langfuse = public_key.zip(secret_key);
    let langfuse = langfuse.map(|(public_key, secret_key)| Langfuse { host, public_key, secret_key, capture_content });
    Ok(Telemetry { traces, metrics, logs, headers, service_name, environment: "production", langfuse })
}

/// Whether settings that only a service for others needs are there: then nobody meant development by saying nothing.
fn is_meant_for_others(identity: &Identity, documents: &Documents) -> bool {
    let remote = matches!(documents, Documents::Cosmos(cosmos) if !is_loopback(&cosmos.endpoint));
    remote || !identity.google_client_ids.is_empty()
}

/// Where the process seems to run, by the variables that platforms set.
#[derive(Debug, Clone, Copy)]
enum Platform {
    /// In Azure, whatever the plan. Which variable says so.
    Azure(&'static str),
    /// In a container or a cluster. Which variable says so.
    Container(&'static str),
    /// On nothing that is known.
    Unknown,
}

/// App Service sets `WEBSITE_INSTANCE_ID`; the Consumption plans leave that out and set others of these
/// (`EnvironmentExtensions.cs` of the Functions host).
fn read_platform(reader: &mut Reader<'_>) -> Platform {
    const AZURE: [&str; 4] = ["WEBSITE_INSTANCE_ID", "WEBSITE_POD_NAME", "WEBSITE_SKU", "WEBSITE_OWNER_NAME"];
    const CONTAINERS: [&str; 2] = ["CONTAINER_NAME", "KUBERNETES_SERVICE_HOST"];
    // All are read, so that all are shown.
    let azure: Vec<_> = AZURE.into_iter().filter(|name| reader.optional(name).is_some()).collect();
    let containers: Vec<_> = CONTAINERS.into_iter().filter(|name| reader.optional(name).is_some()).collect();
    // The host's tools on a developer's machine set it too, to an address of that machine.
    let is_local = |host: &str| Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url));
    let site = reader.optional("WEBSITE_HOSTNAME").filter(|host| !is_local(host)).map(|_| "WEBSITE_HOSTNAME");
    match (azure.first().copied().or(site), containers.first().copied()) {
        (Some(name), _) => Platform::Azure(name),
        (None, Some(name)) => Platform::Container(name),
        (None, None) => Platform::Unknown,
    }
}

/// In development callers on this machine are the development user without a credential, so the process must be on a
/// developer's machine.
fn refuse_open_door(server: &Server, platform: Platform, allowed: bool) -> Result<(), Error> {
    let (reason, remedy) = match platform {
        Platform::Azure(name) => (format!("{name} is set in development, so this is Azure"), ""),
        _ if allowed => return Ok(()),
        Platform::Container(name) => (
            format!("{name} is set in development, so this is a container"),
            ", or PLUCKIT_ALLOW_INSECURE_DEV=1 if you mean it",
        ),
        Platform::Unknown if server.bind.is_loopback() => return Ok(()),
        Platform::Unknown => (
            format!("PLUCKIT_BIND is {} in development", server.bind),
            ", listen on 127.0.0.1, or set PLUCKIT_ALLOW_INSECURE_DEV=1 if you mean it",
        ),
    };
    Err(Error::Refused(format!(
        "{reason}: every caller would be the development user; set AZURE_FUNCTIONS_ENVIRONMENT=Production{remedy}"
    )))
}

/// Nobody loses data, jobs or pictures, or takes templates for a stylist, because a variable was missing.
fn refuse_embedded(documents: &Documents, storage: &Storage, model: &ModelServer) -> Result<(), Error> {
    let reason = if matches!(documents, Documents::Embedded { .. }) {
        "COSMOS_DB_ENDPOINT is not set, and the embedded store"
    } else if matches!(model, ModelServer::Offline) {
        "neither AZURE_OPENAI_ENDPOINT nor OPENAI_BASE_URL is set, and the offline model"
    } else if storage.queues.is_none() {
        "none of StorageQueue, STORAGE_ACCOUNT_NAME and AzureWebJobsStorage is set, and the embedded queue"
    } else if storage.blobs.is_none() {
        "neither STORAGE_ACCOUNT_NAME nor AzureWebJobsStorage is set, and pictures kept in files"
    } else {
        return Ok(());
    };
    Err(Error::Refused(format!(
        "{reason} is refused outside development and under the Functions host; set it, or PLUCKIT_ALLOW_EMBEDDED=1 if you \
         mean it"
    )))
}

/// Whether the address is one of this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn read_local_settings(path: &Path) -> Result<Option<BTreeMap<String, String>>, Error> {
    #[derive(Deserialize)]
    struct File {
        #[serde(rename = "Values", default)]
        values: BTreeMap<String, String>,
    }
    let fault = |reason: String| Error::File { path: path.display().to_string(), reason };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let mut file: File = serde_json::from_str(text.trim_start_matches('\u{feff}'))
                .map_err(|error| fault(format!("{:?} error at line {}", error.classify(), error.line())))?;
            file.values.retain(|_, value| !value.trim().is_empty());
            Ok(Some(file.values))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(error.to_string())),
    }
}

/// Reads settings one by one and remembers each for `pluckit config`.
struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<(String, Source)>,
    effective: Vec<Effective>,
}

impl Reader<'_> {
    fn find(&mut self, name: &'static str, default: &str) -> Option<String> {
        let found = (self.lookup)(name).filter(|(value, _)| !value.trim().is_empty());
        let (value, source) = found.clone().unwrap_or_else(|| (default.to_owned(), Source::Default));
        self.note(name, value.trim().to_owned(), source);
        found.map(|(value, _)| value.trim().to_owned())
    }

    fn note(&mut self, name: &'static str, value: String, source: Source) {
        self.effective.retain(|setting| setting.name != name);
        self.effective.push(Effective { name, value, source, shadowed: Vec::new() });
    }

    /// Shows the default that depends on other settings.
    fn note_default(&mut self, name: &'static str, value: &str) {
        for setting in &mut self.effective {
            if setting.name == name && setting.source == Source::Default {
                value.clone_into(&mut setting.value);
            }
        }
    }

    fn optional(&mut self, name: &'static str) -> Option<String> {
        self.find(name, "")
    }

    fn text(&mut self, name: &'static str, default: &str) -> String {
        self.find(name, default).unwrap_or_else(|| default.to_owned())
    }

    fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let (value, source) = (self.lookup)(name).filter(|(value, _)| !value.trim().is_empty()).unzip();
        let shown = if value.is_some() { "********" } else { "" };
        self.note(name, shown.to_owned(), source.unwrap_or(Source::Default));
        value.map(|value| SecretString::from(value.trim().to_owned()))
    }

    fn list(&mut self, name: &'static str, separators: &[char]) -> Vec<String> {
        let text = self.optional(name).unwrap_or_default();
        text.split(separators).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    fn parsed<T: FromStr + ToString>(&mut self, name: &'static str, default: T, expected: &str) -> Result<T, Error> {
        let Some(got) = self.find(name, &default.to_string()) else { return Ok(default) };
        got.parse().map_err(|_| Error::Invalid { name, got, expected: expected.to_owned() })
    }

    fn number<T>(&mut self, name: &'static str, default: T, least: T, most: T) -> Result<T, Error>
    where
        T: FromStr + ToString + PartialOrd + Copy,
    {
        let expected = format!("a whole number from {} to {}", least.to_string(), most.to_string());
        let number = self.parsed(name, default, &expected)?;
        if number < least || number > most {
            return Err(Error::Invalid { name, got: number.to_string(), expected });
        }
        Ok(number)
    }

    /// A span of time, possibly with a fraction of a second.
    fn seconds(&mut self, name: &'static str, default: f64, most: f64) -> Result<Duration, Error> {
        let expected = format!("a number of seconds from 0 to {most}");
        let seconds = self.parsed(name, default, &expected)?;
        if !(0.0..=most).contains(&seconds) {
            return Err(Error::Invalid { name, got: seconds.to_string(), expected });
        }
        Ok(Duration::from_secs_f64(seconds))
    }

    /// A part of a whole.
    fn share(&mut self, name: &'static str, default: f64) -> Result<f64, Error> {
        let expected = "a number from 0 to 1";
        let share = self.parsed(name, default, expected)?;
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::Invalid { name, got: share.to_string(), expected: expected.to_owned() });
        }
        Ok(share)
    }

    fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, Error> {
        let Some(got) = self.find(name, if default { "true" } else { "false" }) else { return Ok(default) };
        match got.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            _ => Err(Error::Invalid { name, got, expected: "true or false".to_owned() }),
        }
    }

    fn url(&mut self, name: &'static str, default: &str) -> Result<Url, Error> {
        let text = self.text(name, default);
        self.note_urls(name);
        parse_url(name, text)
    }

    fn optional_url(&mut self, name: &'static str) -> Result<Option<Url>, Error> {
        let text = self.optional(name);
        self.note_urls(name);
        text.map(|text| parse_url(name, text)).transpose()
    }

    /// Shows addresses, with commas between, without what may be secret in them.
    fn note_urls(&mut self, name: &'static str) {
        for setting in self.effective.iter_mut().filter(|setting| setting.name == name) {
            setting.value = setting.value.split(',').map(masked_url).collect::<Vec<_>>().join(",");
        }
    }
}

/// An address without what may be secret in it: user name and password, query and fragment.
pub fn masked_url(text: &str) -> String {
    const MASK: &str = "********";
    let authority = text.find("://").map_or(0, |mark| mark + 3);
    // Nobody knows how far a password goes in what is no address.
    let end = match Url::parse(text) {
        Ok(_) => text[authority..].find(['/', '?', '#']).map_or(text.len(), |length| authority + length),
        Err(_) => text.len(),
    };
    let (shown, rest) = match text[..end].rfind('@') {
        Some(at) if at >= authority => (format!("{}{MASK}", &text[..authority]), &text[at..]),
        Some(at) => (MASK.to_owned(), &text[at..]),
        None => (String::new(), text),
    };
    match rest.find(['?', '#']) {
        Some(mark) if mark + 1 < rest.len() => format!("{shown}{}{MASK}", &rest[..=mark]),
        _ => shown + rest,
    }
}

/// An address may not carry a password: it would be shown by `pluckit config` and in logs, unlike a key.
fn parse_url(name: &'static str, got: String) -> Result<Url, Error> {
    let parsed = Url::parse(&got).ok();
    let has_credentials = |url: &Url| !url.username().is_empty() || url.password().is_some();
    match parsed {
        Some(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && !has_credentials(&url) => Ok(url),
        Some(_) | None => Err(Error::Invalid {
            name,
            got: masked_url(&got),
            expected: "an http or https URL without user name and password".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Config, Error> {
        Config::read(|name| {
            let found = settings.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| ((*value).to_owned(), Source::Environment))
        })
    }

    #[test]
    fn shared_documents_need_shared_queues_and_pictures_outside_development() {
        let remote = [
            ("COSMOS_DB_ENDPOINT", "https://account.documents.azure.com"),
            ("OPENAI_BASE_URL", "https://models.example/v1"),
        ];
        let production = ("AZURE_FUNCTIONS_ENVIRONMENT", "Production");
        let host = ("FUNCTIONS_CUSTOMHANDLER_PORT", "5001");
        let development = ("AZURE_FUNCTIONS_ENVIRONMENT", "Development");
        for place in [&[production][..], &[host], &[host, development]] {
            let settings = [place, &remote].concat();
            let message = read(&settings).unwrap_err().to_string();
            assert!(message.contains("StorageQueue") && message.contains("the embedded queue"), "{message}");
            assert_eq!(message.lines().count(), 1);
            for enough in [
                ("STORAGE_ACCOUNT_NAME", "account"),
                ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
                ("PLUCKIT_ALLOW_EMBEDDED", "1"),
            ] {
                assert!(read(&[&settings[..], &[enough]].concat()).is_ok(), "{enough:?}");
            }
            // Jobs are shared then, pictures are not.
            for queue in [
                ("StorageQueue", "UseDevelopmentStorage=true"),
                ("StorageQueue__queueServiceUri", "https://account.queue.core.windows.net"),
            ] {
                let settings = [&settings[..], &[queue]].concat();
                let message = read(&settings).unwrap_err().to_string();
                assert!(
                    message.contains("STORAGE_ACCOUNT_NAME") && message.contains("pictures kept in files"),
                    "{message}"
                );
                assert_eq!(message.lines().count(), 1);
                for enough in [("AzureWebJobsStorage", "UseDevelopmentStorage=true"), ("PLUCKIT_ALLOW_EMBEDDED", "1")] {
                    assert!(read(&[&settings[..], &[enough]].concat()).is_ok(), "{enough:?}");
                }
            }
        }
        assert!(read(&[&remote[..], &[development]].concat()).is_ok());
    }

    #[test]
    fn names_like_settings_are_told_and_those_of_others_are_not() {
        let config = read(&[]).unwrap();
        let known: Vec<&'static str> = config.effective.iter().map(|setting| setting.name).collect();
        for (name, nearest) in [
            ("COSMOS_DB_ENDPONT", Some("COSMOS_DB_ENDPOINT")),
            ("COSMOS_ENDPOINT_DB", None),
            ("PLUCKIT_DATADIR", Some("PLUCKIT_DATA_DIR")),
            ("pluckit_data_dir", Some("PLUCKIT_DATA_DIR")),
            ("OPENAI_BASEURL", Some("OPENAI_BASE_URL")),
            ("GOOGLE_CLIENT_IDS", Some("GOOGLE_CLIENT_ID")),
            ("RATE_LIMIT_ENTIRELY_MADE_UP_NAME", None),
        ] {
            let found = stranger(name, &known).map(|stranger| stranger.nearest);
            let is_of_ours = name != "COSMOS_ENDPOINT_DB";
            assert_eq!(found, is_of_ours.then_some(nearest), "{name}");
        }
        let all_known: Vec<_> = known.iter().filter(|name| stranger(name, &known).is_some()).collect();
        assert!(all_known.is_empty(), "{all_known:?}");
        for others in [
            "PATH",
            "HOME",
            "HOST",
            "PORTS",
            "SORT",
            "LOGNAME",
            "HTTP_PROXY",
            "NO_PROXY",
            "AZURE_TENANT_ID",
            "AZURE_CLIENT_SECRET",
            "AZURE_SUBSCRIPTION_ID",
            "OPENAI_ORG_ID",
            "OPENAI_API_BASE",
            "OTEL_RESOURCE_ATTRIBUTES",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_SDK_DISABLED",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_CLIENT_SECRET",
            "WEBSITE_SITE_NAME",
            "WEBSITE_SKU",
            "FUNCTIONS_WORKER_RUNTIME",
            "FUNCTIONS_EXTENSION_VERSION",
            "AzureWebJobsFeatureFlags",
            "AzureWebJobsStorage__accountName",
            "UPLOADS_CONTAINER_NAME",
            "LANGFUSE_TRACING",
            "PLUCKIT_TEST_COSMOS",
            "PLUCKIT",
            "REDIS_URL",
            "DATABASE_URL",
            "RUST_LOG",
            "CARGO_HOME",
            "SSL_CERT_FILE",
        ] {
            assert_eq!(stranger(others, &known), None, "{others}");
        }
    }

    #[test]
    fn a_log_filter_names_levels() {
        for good in
            ["debug", "pluckit=trace", "info, hyper=warn", "off", "warn,pluckit::chat=debug,[request]=trace", "INFO"]
        {
            assert_eq!(read(&[("PLUCKIT_LOG", good)]).unwrap().log_filter, good.replace(' ', ""));
        }
        for bad in ["debugg", "pluckit=trce", "pluckit", "info,verbose", "=", "info;debug"] {
            let message = read(&[("PLUCKIT_LOG", bad)]).unwrap_err().to_string();
            let expected = format!("PLUCKIT_LOG is {bad:?}: expected error, warn, info, debug, trace or off");
            assert!(message.starts_with(&expected) && message.lines().count() == 1, "{message}");
        }
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_masked() {
        for (text, shown) in [
            ("https://a.example/x", "https://a.example/x"),
            ("https://a.example/x?code=s3cret#t0ken", "https://a.example/x?********"),
            ("https://a.example/x#t0ken", "https://a.example/x#********"),
            ("https://a.example/?", "https://a.example/?"),
            ("https://u:p@a.example/@b?c", "https://********@a.example/@b?********"),
            ("https://a.example/@b", "https://a.example/@b"),
            ("https://u:p?q@a.example:port/x", "https://********@a.example:port/x"),
            ("u:p@a.example?k=v", "********@a.example?********"),
            ("nonsense", "nonsense"),
            ("", ""),
        ] {
            assert_eq!(masked_url(text), shown);
        }
        let secrets = [
            ("SEGMENTATION_ENDPOINT_URL", "https://a.example/cut?code=s3cret"),
            ("FX_RATES_URL", "https://a.example/rates?access_key=s3cret"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a.example/otlp?key=s3cret#s3cret"),
            ("MOOD_FEEDS", "https://a.example/feed?token=s3cret,https://b.example/feed?token=s3cret"),
            ("GOOGLE_JWKS_URL", "https://a.example/keys?x=s3cret"),
            ("OPENAI_BASE_URL", "https://a.example/v1?api-key=s3cret"),
        ];
        let config = read(&secrets).unwrap();
        assert!(!format!("{:?}", config.effective).contains("s3cret"), "{:?}", config.effective);
        let feeds = config.effective.iter().find(|setting| setting.name == "MOOD_FEEDS").unwrap();
        assert_eq!(feeds.value, "https://a.example/feed?********,https://b.example/feed?********");
        for (name, text) in secrets {
            let broken = text.replace("https://", "ftp://u:s3cret@");
            let message = read(&[(name, &broken)]).unwrap_err().to_string();
            assert!(message.contains(name) && !message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn the_emulators_account_is_where_the_emulator_is() {
        use secrecy::ExposeSecret;
        let name = ("STORAGE_ACCOUNT_NAME", "devstoreaccount1");
        let elsewhere = "AccountName=devstoreaccount1;AccountKey=a2V5;BlobEndpoint=http://azurite:10000/devstoreaccount1;\
                         QueueEndpoint=http://azurite:10001/devstoreaccount1";
        for (host, expected) in [
            (None, "UseDevelopmentStorage=true"),
            (Some("UseDevelopmentStorage=true"), "UseDevelopmentStorage=true"),
            (Some(elsewhere), elsewhere),
            (Some("AccountName=real;AccountKey=a2V5"), "UseDevelopmentStorage=true"),
        ] {
            let mut settings = vec![name, ("STORAGE_ACCOUNT_KEY", "a2V5")];
            settings.extend(host.map(|host| ("AzureWebJobsStorage", host)));
            let storage = read(&settings).unwrap().storage;
            for account in [storage.blobs, storage.queues] {
                let Some(StorageAccount::ConnectionString(text)) = account else { panic!("{account:?}") };
                assert_eq!(text.expose_secret(), expected);
            }
        }
    }
}
