//! The checks of `pluckit doctor`.
//!
//! Each check performs what the service will do, once, and cleans up. If the process dies in between, a message may
//! remain in the queue `pluckit-doctor`. Checks are independent of each other.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, future, stream};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use url::Url;
use uuid::Uuid;

use crate::app::{self, EachBackend};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::blob::{BlobName, BlobStore, ContainerName, Put, Span};
use crate::config::{self, Config, Documents, Environment, ServiceCredential, StorageAccount};
use crate::domain::rates::{self, Rates};
use crate::imaging::Picture;
use crate::imaging::picture::Layout;
use crate::imaging::segment::{CutoutMode, Segmenter};
use crate::llm::{CallContext, ChatRequest, EMBEDDING_DIMENSIONS, Message, Model, Purpose};
use crate::net;
use crate::queue::JobQueue;
use crate::store::DocumentStore;
use crate::store::cosmos::schema::{Finding, Inspection};

/// Queue for the test message.
const QUEUE: &str = "pluckit-doctor";
/// Time limit of one check.
const CHECK_LIMIT: Duration = Duration::from_secs(45);
/// Time limit of the search for damage, which takes long in a large store.
const DAMAGE_LIMIT: Duration = Duration::from_secs(30);
/// Advice for the embedded store, queue and blobs.
const SEE_DIRECTORY: &str =
    "look at PLUCKIT_DATA_DIR: its disk, its owner; if a file in it is damaged, stop the service and restore a backup";
/// Clock skew that is reported, and clock skew that breaks sign-in.
const SKEW: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// Concurrent checks.
const AT_ONCE: usize = 8;

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything is in order.
    Good,
    /// It works, but may not be intended.
    Warning,
    /// Not configured, and not required.
    Skipped,
    /// Broken.
    Fault,
}

/// Report of one check.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Subject of the check; the check's own name if it says none.
    pub check: &'static str,
    /// Result.
    pub verdict: Verdict,
    /// Findings.
    pub found: String,
    /// Suggested fix; empty if there is none.
    pub fix: String,
}

impl Report {
    fn new(verdict: Verdict, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: "", verdict, found: found.into(), fix: fix.into() }
    }

    fn good(found: impl Into<String>) -> Vec<Self> {
        vec![Self::new(Verdict::Good, found, "")]
    }

    fn fault(found: impl Into<String>, fix: impl Into<String>) -> Vec<Self> {
        vec![Self::new(Verdict::Fault, found, fix)]
    }

    fn skipped(found: impl Into<String>) -> Vec<Self> {
        vec![Self::new(Verdict::Skipped, found, "")]
    }
}

/// Runs all checks concurrently. Reports come in a fixed order.
pub async fn examine(config: &Config, backends: EachBackend) -> Vec<Report> {
    let EachBackend { store, queue, blobs, model, segmenter, clock, http } = backends;
    let container = &config.storage.archive_container;
    let checks: Vec<(&'static str, BoxFuture<'_, Vec<Report>>)> = vec![
        ("settings", async { settings(config) }.boxed()),
        ("certificates", async { certificates() }.boxed()),
        ("identity", identity(config).boxed()),
        ("documents", if_opened(&store, fix_documents(config), |store| documents(config, store).boxed())),
        ("queues", if_opened(&queue, fix_queues(config), |queue| queues(config, queue).boxed())),
        ("blobs", if_opened(&blobs, fix_blobs(config), |blobs| blob_round_trip(config, blobs, container).boxed())),
        ("model", if_opened(&model, FIX_MODEL, |model| chat(config, model).boxed())),
        ("embeddings", if_opened(&model, FIX_MODEL, |model| embeddings(config, model).boxed())),
        ("sign-in", keys(config, &http, &clock).boxed()),
        ("service tokens", service_tokens(config, &http).boxed()),
        ("segmentation", segmentation(config, &http).boxed()),
        ("exchange rates", exchange_rates(config, &http, &clock).boxed()),
        ("cut-outs", if_opened(&segmenter, FIX_CUTOUTS, |segmenter| cutouts(config, segmenter).boxed())),
    ];
    let bounded = checks.into_iter().map(|(name, check)| async move {
        let limit = || Report::fault(format!("no answer within {} s", CHECK_LIMIT.as_secs()), "look at the network");
        let mut reports = tokio::time::timeout(CHECK_LIMIT, check).await.unwrap_or_else(|_| limit());
        for report in reports.iter_mut().filter(|report| report.check.is_empty()) {
            report.check = name;
        }
        reports
    });
    let reports: Vec<Vec<Report>> = stream::iter(bounded).buffered(AT_ONCE).collect().await;
    reports.concat()
}

/// Runs the check of a back end, or reports why it could not be opened.
fn if_opened<'a, T: ?Sized>(
    backend: &'a anyhow::Result<Arc<T>>,
    fix: &str,
    check: impl FnOnce(&'a T) -> BoxFuture<'a, Vec<Report>>,
) -> BoxFuture<'a, Vec<Report>> {
    match backend {
        Ok(backend) => check(backend),
        Err(error) => future::ready(Report::fault(format!("{error:#}"), fix)).boxed(),
    }
}

const FIX_MODEL: &str = "look at the settings of the model server";
const FIX_CUTOUTS: &str = "look at CUTOUT_MODEL, or download the file again with scripts/fetch-models";

const fn fix_documents(config: &Config) -> &'static str {
    match config.documents {
        Documents::Embedded { .. } => SEE_DIRECTORY,
        Documents::Cosmos(_) => "look at COSMOS_DB_ENDPOINT, the key or the identity's role, and the firewall",
    }
}

const fn fix_queues(config: &Config) -> &'static str {
    match config.storage.queues {
        None => SEE_DIRECTORY,
        Some(_) => "look at StorageQueue, StorageQueue__queueServiceUri or the account, and the identity's role",
    }
}

const fn fix_blobs(config: &Config) -> &'static str {
    match config.storage.blobs {
        None => SEE_DIRECTORY,
        Some(_) => "look at STORAGE_ACCOUNT_NAME, the identity's role, and run pluckit storage init",
    }
}

/// Checks an embedded database for damage.
async fn damage<E: std::error::Error + 'static>(
    search: impl Future<Output = Result<Option<String>, E>>,
) -> Vec<Report> {
    match tokio::time::timeout(DAMAGE_LIMIT, search).await {
        Ok(Ok(None)) => Vec::new(),
        Ok(Ok(Some(damage))) => Report::fault(format!("damage found: {damage}"), SEE_DIRECTORY),
        Ok(Err(error)) => Report::fault(Chain(&error).to_string(), SEE_DIRECTORY),
        Err(_) => vec![Report::new(
            Verdict::Warning,
            format!("not all of it was searched for damage within {} s", DAMAGE_LIMIT.as_secs()),
            "look for \"damage found\" in the log after the next start, which searches all of it",
        )],
    }
}

/// Reads the exchange rates once.
async fn exchange_rates(config: &Config, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> Vec<Report> {
    let Some(feed) = &config.insights.feed else {
        return Report::skipped(format!("the built-in rates of {}", Rates::built_in().date));
    };
    match rates::fetch(feed, http, clock.now()).await {
        Ok(rates) => Report::good(format!("rates of {}", rates.date)),
        Err(error) => {
            let found = format!("{}: the last known or the built-in rates are used", Chain(&error));
            vec![Report::new(Verdict::Warning, found, "look at FX_RATES_URL or FX_RATES_FILE")]
        }
    }
}

fn settings(config: &Config) -> Vec<Report> {
    let mut reports = Report::good(format!("{} read", config.effective.len()));
    let mut warn = |found: &str, fix: &str| {
        reports.push(Report::new(Verdict::Warning, found, fix));
    };
    for setting in config.effective.iter().filter(|setting| !setting.shadowed.is_empty()) {
        let places: Vec<&str> = setting.shadowed.iter().map(|source| source.name()).collect();
        let found = format!("{} is also set in {}, without effect", setting.name, places.join(" and "));
        warn(&found, "remove one of them");
    }
    for warning in &config.warnings {
        warn(warning, "correct or remove it");
    }
    if config.environment == Environment::Development {
        warn(
            "development: every caller is the development user",
            "set AZURE_FUNCTIONS_ENVIRONMENT=Production for others",
        );
        return reports;
    }
    if config.identity.google_client_ids.is_empty() {
        warn(config::NO_SIGN_IN, "set GOOGLE_CLIENT_ID or GOOGLE_ALLOWED_CLIENT_IDS");
    }
    if config.identity.admins.is_empty() {
        warn("nobody may use admin routes", "set ADMIN_USER_IDS");
    }
    if config.server.allowed_origins.is_empty() {
        warn("no web page may call", "set CORS_ALLOWED_ORIGINS if there is a web client");
    }
    if !config.limits.trusts_proxy && config.server.public_url.as_ref().is_some_and(|url| !config::is_loopback(url)) {
        warn(
            "the service is reached at another address than it listens on, and X-Forwarded-For is not trusted: everybody \
             behind the proxy shares the quotas of one address",
            "set TRUST_X_FORWARDED_FOR=true if nobody can reach the service but through the proxy",
        );
    }
    if config.media.is_open {
        warn("everybody may have pictures processed", "set PROCESS_IMAGE_AUTH_MODE=user-or-service");
    }
    if matches!(config.media.service, ServiceCredential::ApiKey(None)) {
        warn("other services cannot have garments described", "set METADATA_EXTRACT_API_KEY");
    }
    if !config.limits.enabled {
        warn("there are no limits per caller", "set RATE_LIMITS=true");
    }
    reports
}

/// Checks the system's CA certificates.
fn certificates() -> Vec<Report> {
    if !net::authorities().is_empty() {
        return Report::good("the system's certificate authorities are found");
    }
    let found = "no certificate authorities are found: no HTTPS server is trusted";
    vec![Report::new(Verdict::Warning, found, "install ca-certificates, or set SSL_CERT_FILE")]
}

/// Checks that the configured identities get tokens.
async fn identity(config: &Config) -> Vec<Report> {
    let mut scopes = Vec::new();
    if matches!(&config.documents, Documents::Cosmos(cosmos) if cosmos.key.is_none()) {
        scopes.push("https://cosmos.azure.com/.default");
    }
    let storage = [&config.storage.blobs, &config.storage.queues];
    if storage.iter().any(|account| matches!(account, Some(StorageAccount::Identity { .. }))) {
        scopes.push("https://storage.azure.com/.default");
    }
    if config.model.as_ref().is_some_and(|server| server.azure_version.is_some() && server.key.is_none()) {
        scopes.push("https://cognitiveservices.azure.com/.default");
    }
    if scopes.is_empty() {
        return Report::skipped("no managed identity is used");
    }
    let credential = match app::credential(config) {
        Ok(credential) => credential,
        Err(error) => return Report::fault(format!("{error:#}"), "look at AZURE_CLIENT_ID"),
    };
    let mut reports = Vec::new();
    for scope in scopes {
        reports.extend(match credential.get_token(&[scope], None).await {
            Ok(_) => Report::good(format!("a token for {scope}")),
            Err(error) => Report::fault(
                format!("no token for {scope}: {}", Chain(&error)),
                "assign the app an identity, and AZURE_CLIENT_ID if it is a user-assigned one",
            ),
        });
    }
    reports
}

async fn documents(config: &Config, store: &dyn DocumentStore) -> Vec<Report> {
    let Documents::Cosmos(cosmos) = &config.documents else {
        let damage = damage(store.find_damage()).await;
        return match store.ping().await {
            Ok(()) if damage.is_empty() => Report::good("the embedded store answers"),
            Ok(()) => damage,
            Err(error) => [Report::fault(Chain(&error).to_string(), SEE_DIRECTORY), damage].concat(),
        };
    };
    match app::inspect_containers(config, cosmos).await {
        Err(error) => Report::fault(Chain(&error).to_string(), fix_documents(config)),
        Ok(inspections) => {
            let wrong: Vec<Report> = inspections.iter().flat_map(container_reports).collect();
            let good = inspections.iter().filter(|inspection| inspection.findings.is_empty()).count();
            [Report::good(format!("{good} of {} containers are as they should be", inspections.len())), wrong].concat()
        }
    }
}

fn container_reports(Inspection { name, findings }: &Inspection) -> Vec<Report> {
    let report = |finding: &Finding| {
        let (verdict, found, fix) = match finding {
            Finding::Missing => {
                (Verdict::Fault, "is missing".to_owned(), "run pluckit storage init, or deploy the template")
            }
            Finding::PartitionKey { found, expected } => (
                Verdict::Fault,
                format!("is partitioned by {found}, not {expected}"),
                "recreate it: a partition key cannot be changed",
            ),
            Finding::TimeToLive { found, expected } => (
                Verdict::Warning,
                format!("has the default time to live \"{found}\", expected \"{expected}\""),
                "set it in the portal or the template; \"on, no default\" is -1",
            ),
            Finding::Indexes { missing } => (
                Verdict::Warning,
                format!("lacks composite indexes: {}", missing.join(", ")),
                "run pluckit storage init with the account's key, or deploy the template",
            ),
        };
        Report::new(verdict, format!("container {name} {found}"), fix)
    };
    findings.iter().map(report).collect()
}

async fn queues(config: &Config, queue: &dyn JobQueue) -> Vec<Report> {
    let fix = fix_queues(config);
    let mark = format!("{{\"doctor\":\"{}\"}}", Uuid::new_v4());
    let round_trip = async {
        queue.send(QUEUE, &mark).await?;
        // Also removes messages left by earlier checks.
        let mut is_back = false;
        loop {
            let messages = queue.receive(QUEUE, 32, Duration::from_secs(30)).await?;
            if messages.is_empty() {
                return Ok::<bool, crate::queue::Error>(is_back);
            }
            for message in messages {
                is_back |= message.text == mark;
                queue.delete(QUEUE, &message).await?;
            }
        }
    };
    let mut reports = match round_trip.await {
        Ok(true) => Report::good("a message went in and came out"),
        Ok(false) => Report::fault(
            "a message went in and did not come out",
            "check whether another program reads the queue pluckit-doctor",
        ),
        Err(error) => Report::fault(Chain(&error).to_string(), fix),
    };
    let damage = damage(queue.find_damage()).await;
    if !damage.is_empty() {
        reports.retain(|report| report.verdict != Verdict::Good);
        reports.extend(damage);
    }
    if reports.iter().any(|report| report.verdict == Verdict::Fault) {
        return reports;
    }
    for names in config.queues_in_use() {
        match queue.length(&names.poison).await {
            Ok(0) => {}
            Ok(waiting) => reports.push(Report::new(
                Verdict::Warning,
                format!("{waiting} messages wait in {}", names.poison),
                "see that its function runs; GET /api/admin/dead-letters shows what was kept",
            )),
            Err(error) => {
                reports.push(Report::new(Verdict::Fault, format!("{}: {}", names.poison, Chain(&error)), fix))
            }
        }
    }
    reports
}

async fn blob_round_trip(config: &Config, blobs: &dyn BlobStore, container: &ContainerName) -> Vec<Report> {
    let fix = fix_blobs(config);
    let name: BlobName = match format!("doctor/{}.txt", Uuid::new_v4()).parse() {
        Ok(name) => name,
        Err(error) => return Report::fault(format!("{error}"), ""),
    };
    let content = Bytes::from_static(b"written by pluckit doctor");
    let round_trip = async {
        let put = blobs.put_if_absent(container, &name, content.clone(), None).await?;
        let read = blobs.get(container, &name, Span::Whole).await?;
        let same = match read {
            Some(blob) => blob.bytes().await? == content,
            None => false,
        };
        let deleted = blobs.delete(container, &name).await?;
        Ok::<bool, crate::blob::Error>(put == Put::Created && same && deleted)
    };
    match round_trip.await {
        Ok(true) => Report::good(format!("a blob was written to {container}, read and deleted")),
        Ok(false) => Report::fault("a blob did not come back as it was written", fix),
        Err(error) => Report::fault(Chain(&error).to_string(), fix),
    }
}

/// Requests a short answer from each deployment, which costs a few tokens.
async fn chat(config: &Config, model: &dyn Model) -> Vec<Report> {
    if config.model.is_none() {
        return Report::skipped("the built-in offline model answers");
    }
    let mut reports = Vec::new();
    for (purpose, setting) in [
        (Purpose::Stylist, "DEPLOYMENT or OPENAI_MODEL"),
        (Purpose::ExpandQuery, "NANO_DEPLOYMENT or OPENAI_NANO_MODEL"),
    ] {
        let name = model.name(purpose).to_owned();
        let request = ChatRequest {
            purpose,
            messages: vec![Message::User("Answer with the word ok.".to_owned())],
            tools: [].into(),
            max_tokens: Some(16),
        };
        reports.extend(match model.complete(&CallContext::service(), request).await {
            Ok(_) => Report::good(format!("{name} answers")),
            Err(error) => Report::fault(
                format!("{name}: {}", Chain(&error)),
                format!("look at the endpoint, the key or role, and AZURE_OPENAI_{setting}"),
            ),
        });
    }
    reports
}

async fn embeddings(config: &Config, model: &dyn Model) -> Vec<Report> {
    if config.model.is_none() {
        return Report::skipped("the built-in offline model answers");
    }
    match model.embed(&CallContext::service(), &["linen shirt".to_owned()]).await {
        Ok(vectors) if vectors.first().is_some_and(|vector| vector.len() == EMBEDDING_DIMENSIONS) => {
            Report::good(format!("vectors of {EMBEDDING_DIMENSIONS} numbers"))
        }
        Ok(_) => Report::fault(
            "vectors of another length",
            format!("choose a model whose vectors have {EMBEDDING_DIMENSIONS} numbers, as the indexes of the database"),
        ),
        Err(error) => Report::fault(
            Chain(&error).to_string(),
            "look at AZURE_OPENAI_EMBEDDING_DEPLOYMENT or OPENAI_EMBEDDING_MODEL",
        ),
    }
}

/// Fetches Google's signing keys, and compares our clock with the server's.
async fn keys(config: &Config, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> Vec<Report> {
    if config.environment == Environment::Development {
        return Report::skipped("not used in development");
    }
    let url = &config.identity.google_jwks_url;
    let (count, date) = match fetch_keys(http, url.clone()).await {
        Ok(found) => found,
        Err(fault) => {
            return Report::fault(format!("{url}: {fault}"), "let the service reach it, or set GOOGLE_JWKS_URL");
        }
    };
    let mut reports = if count > 0 {
        Report::good(format!("{count} signing keys at {url}"))
    } else {
        Report::fault(format!("no signing keys at {url}"), "look at GOOGLE_JWKS_URL")
    };
    let Some(theirs) = date else { return reports };
    let skew = (clock.now() - theirs).unsigned_abs();
    let seconds = skew.as_secs();
    let off = format!("{seconds} s off");
    let of_clock = if skew > SKEW.1 {
        Report::new(Verdict::Fault, off, "set the clock: tokens are checked by it")
    } else if skew > SKEW.0 {
        Report::new(Verdict::Warning, off, "let the machine keep its time by NTP")
    } else {
        Report::new(Verdict::Good, format!("at most {} s off", seconds + 1), "")
    };
    reports.push(Report { check: "clock", ..of_clock });
    reports
}

async fn fetch_keys(http: &reqwest::Client, url: Url) -> Result<(usize, Option<OffsetDateTime>), String> {
    let answer = http.get(url).send().await.map_err(|error| Chain(&error.without_url()).to_string())?;
    if !answer.status().is_success() {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
    let keys: Value = answer.json().await.map_err(|error| Chain(&error.without_url()).to_string())?;
    Ok((keys["keys"].as_array().map_or(0, Vec::len), date))
}

async fn service_tokens(config: &Config, http: &reqwest::Client) -> Vec<Report> {
    match &config.media.service {
        ServiceCredential::ApiKey(_) => Report::skipped("other services use an API key"),
        ServiceCredential::Unknown => {
            Report::fault("METADATA_EXTRACT_AUTH_MODE is not a known mode", "set it to api-key or azuread")
        }
        ServiceCredential::Entra { issuer: None, .. } | ServiceCredential::Entra { audience: None, .. } => {
            Report::fault(
                "METADATA_EXTRACT_AUTH_MODE=azuread needs an issuer and an audience",
                "set METADATA_EXTRACT_AZURE_AD_ISSUER and METADATA_EXTRACT_AZURE_AD_AUDIENCE",
            )
        }
        ServiceCredential::Entra { issuer: Some(issuer), .. } => {
            let url = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
            let found = async {
                let answer = http.get(&url).send().await.map_err(|error| Chain(&error.without_url()).to_string())?;
                let document: Value = answer.json().await.map_err(|error| Chain(&error.without_url()).to_string())?;
                let keys =
                    document["jwks_uri"].as_str().and_then(|uri| uri.parse().ok()).ok_or("it has no jwks_uri")?;
                fetch_keys(http, keys).await
            };
            match found.await {
                Ok((count, _)) if count > 0 => Report::good(format!("{count} signing keys of {issuer}")),
                Ok(_) => {
                    Report::fault(format!("{issuer} has no signing keys"), "look at METADATA_EXTRACT_AZURE_AD_ISSUER")
                }
                Err(fault) => Report::fault(format!("{url}: {fault}"), "look at METADATA_EXTRACT_AZURE_AD_ISSUER"),
            }
        }
    }
}

async fn segmentation(config: &Config, http: &reqwest::Client) -> Vec<Report> {
    let Some(service) = &config.media.segmentation else {
        return Report::skipped("no service is set; the built-in removers are used");
    };
    // Any answer shows that the service is reachable; a picture would cause load.
    match http.head(service.endpoint.clone()).send().await {
        Ok(_) => Report::good("the segmentation service answers"),
        Err(error) => {
            Report::fault(Chain(&error.without_url()).to_string(), "look at SEGMENTATION_ENDPOINT_URL and its network")
        }
    }
}

/// Runs the background-removal network once, if installed.
async fn cutouts(config: &Config, segmenter: &dyn Segmenter) -> Vec<Report> {
    let Some(file) =
        app::cutout_model(&config.media.cutout_model, &config.data_directory).filter(|_| segmenter.has_network())
    else {
        return Report::skipped("rules for plain backgrounds alone; scripts/fetch-models gets the network");
    };
    let side = 64;
    let grey = vec![128; 3 * side as usize * side as usize];
    let picture = Picture::new(side, side, Layout::Rgb, grey).expect("it has as many bytes as its size says");
    match segmenter.cut_out(picture, CutoutMode::Network.into()).await {
        Ok(_) => Report::good(format!("rules for plain backgrounds; the network {} works", file.display())),
        Err(error) => Report::fault(Chain(&error).to_string(), "download it again with scripts/fetch-models"),
    }
}
