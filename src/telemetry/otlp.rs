//! Export of traces, metrics and logs over OTLP (http/protobuf), configured by the standard variables, and of traces to
//! Langfuse, which speaks OTLP too; metrics for Prometheus, from the same instruments. Exporters run on separate
//! threads with a blocking HTTP client, because the SDK's threads have no asynchronous runtime. An unreachable
//! collector does not affect the service.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry, TextEncoder};
use secrecy::ExposeSecret;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, debug};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use super::log_writer::DroppedLines;
use super::metrics::Metrics;
use super::observe::Observer;
use crate::base::chain::Chain;
use crate::base::crypto;
use crate::config;

/// Instrumentation scope of instruments and tracers.
const SCOPE: &str = "pluckit";
/// Time limit of one export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// A provider for each signal that has an endpoint.
pub struct Providers {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    logs: Option<SdkLoggerProvider>,
    langfuse: Option<SdkTracerProvider>,
    /// The registry behind `GET /metrics`, if that is on.
    registry: Option<Registry>,
}

impl Providers {
    /// Builds the providers; `None` if no endpoint is set and metrics are not scraped.
    pub fn build(settings: &config::Telemetry) -> anyhow::Result<Option<Self>> {
        let config::Telemetry { traces, metrics, logs, headers, langfuse, scraping, .. } = settings;
        let has_metrics = metrics.is_some() || scraping.is_some();
        if traces.is_none() && !has_metrics && logs.is_none() && langfuse.is_none() {
            return Ok(None);
        }
        let registry = scraping.as_ref().map(|_| Registry::new());
        let resource = resource(settings);
        let headers = headers.as_ref().map(|headers| parse_headers(headers.expose_secret())).unwrap_or_default();
        let traces = traces.as_ref().map(|url| tracer(url, headers.clone(), resource.clone())).transpose();
        let metrics = has_metrics
            .then(|| meter(metrics.as_ref(), registry.as_ref(), headers.clone(), resource.clone()))
            .transpose();
        let logs = logs.as_ref().map(|url| logger(url, headers.clone(), resource.clone())).transpose();
        let langfuse = langfuse.as_ref().map(|langfuse| {
            let headers = HashMap::from([("authorization".to_owned(), langfuse.authorization())]);
            tracer(&langfuse.traces_url(), headers, resource.clone())
        });
        Ok(Some(Self {
            traces: traces.context("the exporter of traces")?,
            metrics: metrics.context("the exporter of metrics")?,
            logs: logs.context("the exporter of logs")?,
            langfuse: langfuse.transpose().context("the exporter to Langfuse")?,
            registry,
        }))
    }

    /// Returns the metrics as a text of Prometheus; empty if they are not scraped.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn scrape(&self) -> Result<String, prometheus::Error> {
        let Some(registry) = &self.registry else { return Ok(String::new()) };
        TextEncoder::new().encode_to_string(&registry.gather())
    }

    pub fn has_traces(&self) -> bool {
        self.traces.is_some()
    }

    /// Returns the layer that exports spans.
    pub fn trace_layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.traces.as_ref()?.tracer(SCOPE);
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false);
        Some(layer.with_filter(own()))
    }

    /// Returns the layer that exports log lines.
    pub fn log_layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        Some(OpenTelemetryTracingBridge::new(self.logs.as_ref()?).with_filter(own()))
    }

    pub fn metrics(&self) -> Metrics {
        self.metrics.as_ref().map_or_else(Metrics::off, |provider| Metrics::new(&provider.meter(SCOPE)))
    }

    /// Exports the number of dropped log lines as a metric.
    pub fn watch_log(&self, dropped: DroppedLines) {
        let Some(provider) = &self.metrics else { return };
        // Registered with the provider, which keeps it.
        let _counter = provider
            .meter(SCOPE)
            .u64_observable_counter("pluckit.log.dropped_lines")
            .with_unit("{line}")
            .with_description("Log lines dropped because standard output was not read.")
            .with_callback(move |observer| observer.observe(dropped.count(), &[]))
            .build();
    }

    pub fn observer(&self, settings: &config::Telemetry) -> Observer {
        let tracer = self.langfuse.as_ref().map(|provider| provider.tracer(SCOPE));
        match (tracer, &settings.langfuse) {
            (Some(tracer), Some(langfuse)) => Observer::new(tracer, langfuse.capture_content, settings.environment),
            _ => Observer::off(),
        }
    }

    /// Sends buffered data.
    pub fn flush(&self) {
        let Self { traces, metrics, logs, langfuse, registry: _ } = self;
        report(traces.as_ref().map(SdkTracerProvider::force_flush));
        report(langfuse.as_ref().map(SdkTracerProvider::force_flush));
        report(logs.as_ref().map(SdkLoggerProvider::force_flush));
        report(metrics.as_ref().map(SdkMeterProvider::force_flush));
    }

    /// Sends buffered data and shuts down.
    pub fn shut_down(&self, limit: Duration) {
        let Self { traces, metrics, logs, langfuse, registry: _ } = self;
        report(traces.as_ref().map(|provider| provider.shutdown_with_timeout(limit)));
        report(langfuse.as_ref().map(|provider| provider.shutdown_with_timeout(limit)));
        report(logs.as_ref().map(|provider| provider.shutdown_with_timeout(limit)));
        report(metrics.as_ref().map(|provider| provider.shutdown_with_timeout(limit)));
    }
}

/// Logs a failed export; it is not an error of the service.
fn report(outcome: Option<OTelSdkResult>) {
    if let Some(Err(error)) = outcome {
        debug!(error = %Chain(&error), "telemetry not sent");
    }
}

/// Selects our events at `info` and warnings of others. Events of the exporters are excluded, since exporting them
/// would cause more.
fn own() -> Targets {
    let silent = ["hyper", "hyper_util", "reqwest", "h2", "rustls", "opentelemetry"];
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("pluckit", LevelFilter::INFO)
        .with_targets(silent.map(|target| (target, LevelFilter::OFF)))
}

fn resource(settings: &config::Telemetry) -> Resource {
    Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attributes([
            KeyValue::new("service.namespace", "pluckit"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("deployment.environment.name", settings.environment),
        ])
        .build()
}

/// Parses `OTEL_EXPORTER_OTLP_HEADERS`: `name=value` pairs separated by commas, values percent-encoded.
fn parse_headers(text: &str) -> HashMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| {
            // Characters that are special in forms have no special meaning here.
            let value = value.trim().replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
            let decoded = url::form_urlencoded::parse(value.as_bytes()).next();
            (name.trim().to_owned(), decoded.map(|(value, _)| value.into_owned()).unwrap_or_default())
        })
        .collect()
}

/// Sets the options that all exporters share.
fn aimed<B: WithExportConfig + WithHttpConfig>(builder: B, url: &Url, headers: HashMap<String, String>) -> B {
    crypto::install(); // the exporter makes a client of its own
    let builder = builder.with_protocol(Protocol::HttpBinary).with_endpoint(url.as_str());
    builder.with_headers(headers).with_timeout(EXPORT_TIMEOUT)
}

fn tracer(url: &Url, headers: HashMap<String, String>, resource: Resource) -> anyhow::Result<SdkTracerProvider> {
    let exporter = aimed(SpanExporter::builder().with_http(), url, headers).build()?;
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// Builds the provider of metrics, which are sent to `url`, or scraped from `registry`, or both.
fn meter(
    url: Option<&Url>,
    registry: Option<&Registry>,
    headers: HashMap<String, String>,
    resource: Resource,
) -> anyhow::Result<SdkMeterProvider> {
    let mut builder = SdkMeterProvider::builder().with_resource(resource);
    if let Some(url) = url {
        let exporter = aimed(MetricExporter::builder().with_http(), url, headers).build()?;
        builder = builder.with_periodic_exporter(exporter);
    }
    if let Some(registry) = registry {
        // All metrics have the same scope, so its name would only repeat on every line.
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
        builder = builder.with_reader(exporter.build()?);
    }
    Ok(builder.build())
}

fn logger(url: &Url, headers: HashMap<String, String>, resource: Resource) -> anyhow::Result<SdkLoggerProvider> {
    let exporter = aimed(LogExporter::builder().with_http(), url, headers).build()?;
    Ok(SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_pairs_with_encoded_values() {
        let headers = parse_headers("api-key=a%20b+c, x-team = pluckit ,broken,authorization=Basic%20eA==");
        let expected = [("api-key", "a b+c"), ("x-team", "pluckit"), ("authorization", "Basic eA==")];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
