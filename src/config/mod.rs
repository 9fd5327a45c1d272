//! Settings, read and validated once at startup.
//!
//! A value comes from the command line, else the environment, else (in development) `local.settings.json`, else the
//! default given here. [`Config::read`] takes a function from name to value, so tests pass a map. `docs/settings.md`
//! and `local.settings.json.example` list the same names; a test compares them.

mod chat_runs;
pub mod connection_string;
mod digest;
mod documents;
mod environment;
mod identity;
mod insights;
mod limits;
mod media;
mod model;
mod moods;
mod names;
mod notes;
mod origins;
mod queues;
mod reader;
mod scraper;
mod server;
mod storage;
mod stylist;
mod taste;
mod telemetry;
mod wardrobe;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use self::chat_runs::ChatRuns;
pub use self::digest::Digest;
pub use self::documents::{Cosmos, Documents};
pub use self::environment::Environment;
use self::environment::{read_platform, refuse_embedded, refuse_insecure_development};
pub use self::identity::Identity;
pub use self::insights::{Feed, Insights};
pub use self::limits::Limits;
pub use self::media::{CutoutModel, Media, Segmentation, ServiceCredential};
pub use self::model::ModelServer;
use self::model::read_prices;
pub use self::moods::Moods;
use self::names::unknown_name;
pub use self::origins::AllowedOrigins;
pub use self::queues::{POISON_SUFFIX, QueueNames, Queues};
use self::reader::Reader;
pub use self::reader::{Effective, Error, Source, is_loopback, masked_url};
pub use self::scraper::Scraper;
pub use self::server::Server;
pub use self::storage::{Storage, StorageAccount};
pub use self::stylist::Stylist;
pub use self::taste::Taste;
use self::telemetry::read_log_filter;
pub use self::telemetry::{Langfuse, LogFormat, Scraping, Telemetry};
pub use self::wardrobe::WardrobeApi;
pub use self::workers::{Operations, Workers};
use crate::model::prices::Prices;

/// Warning for a production service without an OAuth client.
pub const NO_SIGN_IN: &str = "nobody can sign in with Google: no OAuth client is configured";

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Development or production.
    pub environment: Environment,
    /// Address, port and origins.
    pub server: Server,
    /// Sign-in and administrators.
    pub identity: Identity,
    /// Directory of the embedded store, queue and blobs.
    pub data_directory: PathBuf,
    /// Document store.
    pub documents: Documents,
    /// Azure Storage accounts, if any.
    pub storage: Storage,
    /// Queue names.
    pub queues: Queues,
    /// Picture uploads and background removal.
    pub media: Media,
    /// Language model.
    pub model: Option<ModelServer>,
    /// Prices of models.
    pub model_prices: Prices,
    /// Settings of the stylist.
    pub stylist: Stylist,
    /// Settings of chat runs.
    pub chat_runs: ChatRuns,
    /// Background workers.
    pub workers: Workers,
    /// Wardrobe statistics.
    pub insights: Insights,
    /// Sources and schedule of moods.
    pub moods: Moods,
    /// Taste-analysis jobs.
    pub taste: Taste,
    /// Scraping of the discover feed.
    pub scraper: Scraper,
    /// Limits per caller.
    pub limits: Limits,
    /// Weekly digests.
    pub digest: Digest,
    /// Wardrobe API.
    pub wardrobe_api: WardrobeApi,
    /// Jobs.
    pub operations: Operations,
    /// Traces, metrics and log export.
    pub telemetry: Telemetry,
    /// Log filter, in the syntax of `tracing`'s `EnvFilter`.
    pub log_filter: String,
    /// Every setting with value and source, in reading order.
    pub effective: Vec<Effective>,
    /// Warnings: names that look like misspelt settings, and a settings file without settings.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// The first invalid setting, as one line that names it.
    pub fn read(lookup: impl Fn(&str) -> Option<(String, Source)>) -> Result<Self, Error> {
        let mut reader = Reader::new(&lookup);
        let under_functions_host = reader.optional("FUNCTIONS_CUSTOMHANDLER_PORT").is_some();
        let mut server = Server::read(&mut reader, under_functions_host)?;
        let identity = Identity::read(&mut reader)?;
        let data_directory = read_data_directory(&mut reader);
        let documents = Documents::read(&mut reader, &data_directory)?;
        let storage = Storage::read(&mut reader)?;
        let queues = Queues::read(&mut reader, under_functions_host)?;
        let media = Media::read(&mut reader)?;
        let model = ModelServer::read(&mut reader)?;
        let model_prices = read_prices(&mut reader)?;
        let stylist = Stylist::read(&mut reader)?;
        let chat_runs = ChatRuns::read(&mut reader, &documents)?;
        let log_filter = read_log_filter(&mut reader)?;
        let workers = Workers::read(&mut reader)?;
        let insights = Insights::read(&mut reader)?;
        let moods = Moods::read(&mut reader)?;
        let taste = Taste::read(&mut reader)?;
        let digest = Digest::read(&mut reader)?;
        let scraper = Scraper::read(&mut reader)?;
        let operations = Operations::read(&mut reader)?;
        let wardrobe_api = WardrobeApi::read(&mut reader, under_functions_host)?;

        let limits = Limits::read(&mut reader, under_functions_host)?;
        let telemetry = Telemetry::read(&mut reader, under_functions_host)?;
        let environment = Environment::read(&mut reader, under_functions_host, &identity, &documents);
        // Standalone in development, every user of the machine gets the console. The Functions host has its own `/`.
        let is_at_home = environment == Environment::Development && server.bind.is_loopback();
        server.console = reader.flag("CONSOLE", is_at_home && !under_functions_host)? && !under_functions_host;
        let allow_insecure = reader.flag("PLUCKIT_ALLOW_INSECURE_DEV", false)?;
        let allow_embedded = reader.flag("PLUCKIT_ALLOW_EMBEDDED", false)?;
        let platform = read_platform(&mut reader);
        if environment == Environment::Development {
            server.allowed_origins = server.allowed_origins.with_loopback();
            refuse_insecure_development(&server, platform, allow_insecure)?;
        }
        if !allow_embedded && (under_functions_host || environment == Environment::Production) {
            refuse_embedded(&documents, &storage, model.as_ref())?;
        }
        let telemetry = Telemetry {
            environment: match environment {
                Environment::Development => "development",
                Environment::Production => "production",
            },
            ..telemetry
        };
        let (effective, warnings) = reader.into_effective();
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
            model_prices,
            stylist,
            chat_runs,
            workers,
            insights,
            moods,
            taste,
            scraper,
            limits,
            digest,
            wardrobe_api,
            operations,
            telemetry,
            log_filter,
            effective,
            warnings,
        })
    }

    /// Returns the queues that this service reads: those of the wardrobe API only if it is on.
    pub fn queues_in_use(&self) -> impl Iterator<Item = &QueueNames> {
        let wardrobe_api = self.wardrobe_api.is_on;
        self.queues.all().into_iter().filter(move |queue| wardrobe_api || **queue != self.queues.images)
    }

    /// Reads the settings of this process from command-line `flags`, the environment and, in development,
    /// `local.settings.json` in the working directory.
    ///
    /// # Errors
    /// When a setting is invalid, as for [`Config::read`], or when `local.settings.json` is.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn load(flags: &BTreeMap<&'static str, String>) -> Result<Self, Error> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let in_environment = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let may_be_development = match environment("AZURE_FUNCTIONS_ENVIRONMENT") {
            Some(name) => name.eq_ignore_ascii_case("development"),
            None => environment("FUNCTIONS_CUSTOMHANDLER_PORT").is_none(),
        };
        let (file, ignored) = if may_be_development {
            read_local_settings(Path::new("local.settings.json"))?
        } else {
            (BTreeMap::new(), None)
        };
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
        let unknown_names = names.iter().filter_map(|name| unknown_name(name, &known));
        config.warnings.extend(ignored);
        config.warnings.extend(unknown_names.map(|unknown| unknown.to_string()));
        Ok(config)
    }
}

/// Reads a setting from the environment only, for commands that do not start a service and need no valid service
/// settings.
#[expect(clippy::disallowed_methods, reason = "the command needs no other settings")]
fn environment_alone(name: &str) -> Option<(String, Source)> {
    let value = std::env::var(name).ok().filter(|value| !value.trim().is_empty())?;
    Some((value, Source::Environment))
}

/// Reads the location of the background-removal network and the data directory from the environment only.
pub fn read_cutout_model() -> (CutoutModel, PathBuf) {
    let mut reader = Reader::new(&environment_alone);
    let data_directory = read_data_directory(&mut reader);
    (CutoutModel::read(&mut reader), data_directory)
}

/// Reads the port that the service listens on from the environment only.
///
/// # Errors
/// When it is not a valid port.
pub fn read_port() -> Result<u16, Error> {
    server::read_port(&mut Reader::new(&environment_alone))
}

fn read_data_directory(reader: &mut Reader<'_>) -> PathBuf {
    PathBuf::from(reader.text("PLUCKIT_DATA_DIR", "./data"))
}

/// Reads the values of a settings file; returns a warning if it has none.
fn read_local_settings(path: &Path) -> Result<(BTreeMap<String, String>, Option<String>), Error> {
    let fault = |reason: String| Error::File { path: path.display().to_string(), reason };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((BTreeMap::new(), None)),
        Err(error) => return Err(fault(error.to_string())),
    };
    let file: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| fault(format!("{:?} error at line {}", error.classify(), error.line())))?;
    let Some(values) = file.get("Values") else {
        let ignored = format!("{} is ignored: it has no object \"Values\"", path.display());
        return Ok((BTreeMap::new(), Some(ignored)));
    };
    let values = values.as_object().ok_or_else(|| fault("\"Values\" must be an object".to_owned()))?;
    let mut found = BTreeMap::new();
    for (name, value) in values {
        let value = value.as_str().ok_or_else(|| fault(format!("the value of {name} must be a text in quotes")))?;
        if !value.trim().is_empty() {
            found.insert(name.clone(), value.to_owned());
        }
    }
    Ok((found, None))
}

#[cfg(test)]
mod tests;
