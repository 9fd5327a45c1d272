//! Metrics, named after OpenTelemetry's semantic conventions where there is one. Durations are in seconds.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

/// Histogram bounds for requests, as the semantic conventions recommend.
const REQUEST_BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Histogram bounds for model calls and functions, which take longer.
const WORK_BOUNDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 40.96, 163.84, 540.0];

/// Records metrics. Costs nothing when metrics are off.
#[derive(Clone, Default)]
pub struct Metrics(Option<Arc<Instruments>>);

struct Instruments {
    requests: Histogram<f64>,
    functions: Histogram<f64>,
    queue_waits: Histogram<f64>,
    queue_depth: Gauge<u64>,
    model_calls: Histogram<f64>,
    first_tokens: Histogram<f64>,
    model_tokens: Counter<u64>,
    cache_requests: Counter<u64>,
    open_streams: UpDownCounter<i64>,
    outcomes: Counter<u64>,
    request_units: Counter<f64>,
    store_retries: Counter<u64>,
}

impl Metrics {
    /// Metrics that record nothing.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Creates the instruments.
    pub fn new(meter: &Meter) -> Self {
        let seconds = |name, description, bounds: [f64; 14]| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
            histogram.with_boundaries(bounds.into()).build()
        };
        let count =
            |name, unit, description| meter.u64_counter(name).with_unit(unit).with_description(description).build();
        Self(Some(Arc::new(Instruments {
            requests: seconds("http.server.request.duration", "Time until the answer begins.", REQUEST_BOUNDS),
            functions: seconds(
                "pluckit.function.duration",
                "Time for a run of a queue or timer function.",
                WORK_BOUNDS,
            ),
            queue_waits: seconds("pluckit.queue.wait", "Age of a message when its function starts.", WORK_BOUNDS),
            queue_depth: meter
                .u64_gauge("pluckit.queue.messages")
                .with_unit("{message}")
                .with_description("Messages in a queue, hidden ones included.")
                .build(),
            model_calls: seconds("gen_ai.client.operation.duration", "Time for a whole answer.", WORK_BOUNDS),
            first_tokens: seconds(
                "gen_ai.client.operation.time_to_first_chunk",
                "Time to the first piece.",
                WORK_BOUNDS,
            ),
            model_tokens: count("gen_ai.client.token.usage", "{token}", "Tokens spent."),
            cache_requests: count("pluckit.cache.requests", "{request}", "Look-ups in caches."),
            open_streams: meter
                .i64_up_down_counter("pluckit.chat.open_streams")
                .with_unit("{stream}")
                .with_description("Chat streams that are open.")
                .build(),
            outcomes: count("pluckit.outcomes", "{outcome}", "Outcomes of work, such as digests."),
            request_units: meter
                .f64_counter("pluckit.store.request_units")
                .with_unit("{request_unit}")
                .with_description("Request units that Cosmos DB charged.")
                .build(),
            store_retries: count("pluckit.store.retries", "{request}", "Retries of failed requests to Cosmos DB."),
        })))
    }

    /// Whether metrics are on, so that it is worth collecting values for them.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records an answered request.
    pub fn request(&self, method: &str, route: &str, status: u16, duration: Duration) {
        let Some(instruments) = &self.0 else { return };
        let attributes = [
            KeyValue::new("http.request.method", known_method(method)),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ];
        instruments.requests.record(duration.as_secs_f64(), &attributes);
    }

    /// Records a run of a queue or timer function.
    pub fn function(&self, name: &'static str, outcome: &'static str, duration: Duration) {
        let Some(instruments) = &self.0 else { return };
        let attributes = [KeyValue::new("function.name", name), KeyValue::new("outcome", outcome)];
        instruments.functions.record(duration.as_secs_f64(), &attributes);
    }

    /// Records how long a message waited in its queue.
    pub fn queue_wait(&self, queue: &str, wait: Duration) {
        let Some(instruments) = &self.0 else { return };
        instruments.queue_waits.record(wait.as_secs_f64(), &[KeyValue::new("queue", queue.to_owned())]);
    }

    /// Records the number of messages in a queue.
    pub fn queue_depth(&self, queue: &str, messages: usize) {
        let Some(instruments) = &self.0 else { return };
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        instruments.queue_depth.record(messages, &[KeyValue::new("queue", queue.to_owned())]);
    }

    /// Records a call of the model.
    pub fn model_call(&self, call: &ModelCall<'_>) {
        let Some(instruments) = &self.0 else { return };
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", call.operation),
            KeyValue::new("gen_ai.request.model", call.model.to_owned()),
            KeyValue::new("pluckit.purpose", call.purpose),
        ];
        for (kind, tokens) in [("input", call.input_tokens), ("output", call.output_tokens)] {
            if tokens > 0 {
                let kind = [KeyValue::new("gen_ai.token.type", kind)];
                instruments.model_tokens.add(tokens, &[&attributes[..], &kind].concat());
            }
        }
        if let Some(first) = call.first_piece {
            instruments.first_tokens.record(first.as_secs_f64(), &attributes);
        }
        attributes.extend(call.error.map(|error| KeyValue::new("error.type", error)));
        instruments.model_calls.record(call.duration.as_secs_f64(), &attributes);
    }

    /// Returns a function that counts hits and misses of a cache; `None` when metrics are off.
    pub fn of_cache(&self, cache: &'static str) -> Option<Box<dyn Fn(bool) + Send + Sync>> {
        let metrics = self.clone();
        self.is_on().then(|| Box::new(move |is_hit| metrics.cache_request(cache, is_hit)) as Box<_>)
    }

    /// Counts a look-up of a cache.
    pub fn cache_request(&self, cache: &'static str, is_hit: bool) {
        let Some(instruments) = &self.0 else { return };
        let result = if is_hit { "hit" } else { "miss" };
        instruments.cache_requests.add(1, &[KeyValue::new("cache", cache), KeyValue::new("result", result)]);
    }

    /// Counts outcomes of a kind of work.
    pub fn outcome(&self, work: &'static str, outcome: &'static str, count: u64) {
        let Some(instruments) = &self.0 else { return };
        instruments.outcomes.add(count, &[KeyValue::new("work", work), KeyValue::new("outcome", outcome)]);
    }

    /// Counts what a call of Cosmos DB cost, and how many of its requests were retries.
    pub fn store_call(&self, container: &str, request_units: f64, retries: u64) {
        let Some(instruments) = &self.0 else { return };
        let attributes = [KeyValue::new("container", container.to_owned())];
        instruments.request_units.add(request_units, &attributes);
        if retries > 0 {
            instruments.store_retries.add(retries, &attributes);
        }
    }

    /// Counts a chat stream as open until the returned guard is dropped.
    pub fn open_stream(&self) -> OpenStream {
        if let Some(instruments) = &self.0 {
            instruments.open_streams.add(1, &[]);
        }
        OpenStream(self.clone())
    }
}

/// A call of the model, for [`Metrics::model_call`].
pub struct ModelCall<'a> {
    /// `chat` or `embeddings`.
    pub operation: &'static str,
    /// Purpose of the call.
    pub purpose: &'static str,
    /// Name of the model.
    pub model: &'a str,
    /// Duration, including retries and the stream.
    pub duration: Duration,
    /// Time to the first chunk of a streamed answer.
    pub first_piece: Option<Duration>,
    /// Input tokens, if reported.
    pub input_tokens: u64,
    /// Output tokens, if reported.
    pub output_tokens: u64,
    /// Kind of failure, if the call failed.
    pub error: Option<&'static str>,
}

/// Guard of an open chat stream.
pub struct OpenStream(Metrics);

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(instruments) = &self.0.0 {
            instruments.open_streams.add(-1, &[]);
        }
    }
}

/// Maps unknown methods to the name that the semantic conventions prescribe.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}
