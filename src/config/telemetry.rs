//! Telemetry: the log, traces and metrics.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::Url;

use super::reader::{Error, Reader};

const LANGFUSE_CLOUD: &str = "https://cloud.langfuse.com";

/// Export of traces, metrics and logs; disabled without endpoints.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// OTLP URL for traces.
    pub traces: Option<Url>,
    /// OTLP URL for metrics.
    pub metrics: Option<Url>,
    /// OTLP URL for logs.
    pub logs: Option<Url>,
    /// Headers for all three, as `name=value` pairs separated by commas.
    pub headers: Option<SecretString>,
    /// Service name.
    pub service_name: String,
    /// Whether and to whom `/metrics` is served.
    pub scraping: Option<Scraping>,
    /// Format of the log; `None` for text on a terminal and JSON elsewhere.
    pub log_format: Option<LogFormat>,
    /// `development` or `production`.
    pub environment: &'static str,
    /// Langfuse project that receives turns, digests and extractions.
    pub langfuse: Option<Langfuse>,
}

/// Who may read `/metrics`.
#[derive(Debug, Clone)]
pub struct Scraping {
    /// Token of the callers; `None` for callers on this machine.
    pub token: Option<SecretString>,
}

impl Scraping {
    fn read(reader: &mut Reader<'_>, under_functions_host: bool) -> Result<Option<Self>, Error> {
        let is_on = reader.flag("METRICS", false)?;
        let token = reader.secret("METRICS_TOKEN");
        if is_on && under_functions_host && token.is_none() {
            let reason =
                "METRICS needs METRICS_TOKEN under the Functions host: there, all callers seem to be on this machine";
            return Err(Error::Refused(reason.to_owned()));
        }
        Ok(is_on.then_some(Self { token }))
    }
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object per line.
    Json,
}

impl LogFormat {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Error> {
        match reader.optional("LOG_FORMAT").as_deref() {
            None => Ok(None),
            Some("text") => Ok(Some(Self::Text)),
            Some("json") => Ok(Some(Self::Json)),
            Some(other) => {
                let (got, expected) = (other.to_owned(), "text or json".to_owned());
                Err(Error::Invalid { name: "LOG_FORMAT", got, expected })
            }
        }
    }
}

/// A Langfuse project.
#[derive(Debug, Clone)]
pub struct Langfuse {
    /// URL of the server.
    pub host: Url,
    /// Public key.
    pub public_key: String,
    /// Secret key.
    pub secret_key: SecretString,
    /// Whether to send prompts and answers.
    pub capture_content: bool,
}

impl Langfuse {
    /// Returns the OTLP URL for traces.
    pub fn traces_url(&self) -> Url {
        below(&self.host, &["api", "public", "otel", "v1", "traces"])
    }

    /// Returns the value of the `Authorization` header.
    pub fn authorization(&self) -> String {
        let pair = format!("{}:{}", self.public_key, self.secret_key.expose_secret());
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

/// Appends segments to the URL's path.
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

impl Telemetry {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>, under_functions_host: bool) -> Result<Self, Error> {
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
            let expected = "http/protobuf, the only supported protocol".to_owned();
            return Err(Error::Invalid { name: "OTEL_EXPORTER_OTLP_PROTOCOL", got: protocol, expected });
        }
        let headers = headers(reader)?;
        let scraping = Scraping::read(reader, under_functions_host)?;
        let log_format = LogFormat::read(reader)?;
        let service_name = reader.text("OTEL_SERVICE_NAME", "pluckit-processor");
        let public_key = reader.optional("LANGFUSE_PUBLIC_KEY");
        let secret_key = reader.secret("LANGFUSE_SECRET_KEY");
        let host = reader.optional_url("LANGFUSE_HOST")?;
        let other_host = reader.optional_url("LANGFUSE_BASE_URL")?;
        let capture_content = reader.flag("LANGFUSE_CAPTURE_CONTENT", false)?;
        let host = host.or(other_host).unwrap_or_else(|| Url::parse(LANGFUSE_CLOUD).expect("a good URL"));
        let langfuse = public_key.zip(secret_key);
        let langfuse =
            langfuse.map(|(public_key, secret_key)| Langfuse { host, public_key, secret_key, capture_content });
        Ok(Telemetry {
            traces,
            metrics,
            logs,
            headers,
            service_name,
            scraping,
            log_format,
            environment: "production",
            langfuse,
        })
    }
}

/// Reads the headers for exporters.
fn headers(reader: &mut Reader<'_>) -> Result<Option<SecretString>, Error> {
    const NAME: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let Some(headers) = reader.secret(NAME) else { return Ok(None) };
    let mut pairs = headers.expose_secret().split(',').filter(|pair| !pair.trim().is_empty());
    if pairs.all(|pair| pair.split_once('=').is_some_and(|(name, _)| !name.trim().is_empty())) {
        return Ok(Some(headers));
    }
    Err(Error::Refused(format!("{NAME} cannot be used: expected name=value pairs, separated by commas")))
}

/// Reads the log filter: a level, and levels per target.
pub fn read_log_filter(reader: &mut Reader<'_>) -> Result<String, Error> {
    const NAME: &str = "PLUCKIT_LOG";
    let default =
        "info,async_openai=off,azure_core=warn,azure_data_cosmos_driver=warn,hyper=warn,opentelemetry_sdk=warn";
    let text = reader.text(NAME, default);
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let filter = parts.join(",");
    // A single word that is not a level would be taken for a target and silence all others.
    let is_known = |part: &&str| part.contains(['=', '[', ']', '}']) || part.parse::<LevelFilter>().is_ok();
    if parts.iter().all(is_known) && EnvFilter::builder().parse(&filter).is_ok() {
        return Ok(filter);
    }
    let expected = "error, warn, info, debug, trace or off, and target=level pairs, separated by commas".to_owned();
    Err(Error::Invalid { name: NAME, got: text, expected })
}
