//! Observes model calls: traces, metrics and Langfuse. Contents are recorded only for Langfuse, and only if configured.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::Stream;
use futures::stream::StreamExt;
use tokio::time::Instant;
use tracing::{Instrument, Span, field, info_span};

use super::{CallContext, ChatRequest, Error, Message, Model, Part, PartStream, Purpose, Reply, Result, Usage};
use crate::telemetry::metrics::{Metrics, ModelCall};
use crate::telemetry::observe::Observation;

/// A model whose calls are observed.
pub struct ObservedModel {
    inner: Arc<dyn Model>,
    metrics: Metrics,
}

impl ObservedModel {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Model>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    fn begin(&self, context: &CallContext, request: &ChatRequest) -> Call {
        let model = self.inner.name(request.purpose).to_owned();
        let name = request.purpose.name();
        let span = info_span!(
            "model",
            otel.name = %format_args!("chat {model}"),
            otel.kind = "client",
            otel.status_code = field::Empty,
            gen_ai.operation.name = "chat",
            gen_ai.request.model = model,
            gen_ai.usage.input_tokens = field::Empty,
            gen_ai.usage.output_tokens = field::Empty,
            purpose = name,
        );
        let generation = context.observation.generation(name, &model, || render(&request.messages));
        Call {
            metrics: self.metrics.clone(),
            operation: "chat",
            purpose: name,
            model,
            span,
            generation,
            started: Instant::now(),
            first_piece: None,
            usage: Usage::default(),
            error: None,
            text: String::new(),
        }
    }
}

#[async_trait]
impl Model for ObservedModel {
    fn name(&self, purpose: Purpose) -> &str {
        self.inner.name(purpose)
    }

    fn embedding_name(&self) -> &str {
        self.inner.embedding_name()
    }

    async fn stream(&self, context: &CallContext, request: ChatRequest) -> Result<PartStream> {
        let mut call = self.begin(context, &request);
        match self.inner.stream(context, request).instrument(call.span.clone()).await {
            Ok(parts) => Ok(Watched { parts, call }.boxed()),
            Err(error) => {
                call.error = Some(kind(&error));
                Err(error)
            }
        }
    }

    async fn complete(&self, context: &CallContext, request: ChatRequest) -> Result<Reply> {
        let mut call = self.begin(context, &request);
        let reply = self.inner.complete(context, request).instrument(call.span.clone()).await;
        match &reply {
            Ok(reply) => {
                call.usage = reply.usage.unwrap_or_default();
                call.say(&reply.text);
            }
            Err(error) => call.error = Some(kind(error)),
        }
        reply
    }

    async fn embed(&self, context: &CallContext, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let started = Instant::now();
        let span = info_span!(
            "model",
            otel.name = "embeddings",
            otel.kind = "client",
            gen_ai.operation.name = "embeddings",
            texts = texts.len(),
        );
        let outcome = self.inner.embed(context, texts).instrument(span).await;
        self.metrics.model_call(&ModelCall {
            operation: "embeddings",
            purpose: "embed",
            model: "embedding",
            duration: started.elapsed(),
            first_piece: None,
            input_tokens: 0,
            output_tokens: 0,
            error: outcome.as_ref().err().map(kind),
        });
        outcome
    }

    fn query_text(&self, query: &str) -> String {
        self.inner.query_text(query)
    }

    fn sees_transparency(&self) -> bool {
        self.inner.sees_transparency()
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }
}

/// An observed call, until its end.
struct Call {
    metrics: Metrics,
    operation: &'static str,
    purpose: &'static str,
    model: String,
    span: Span,
    generation: Observation,
    started: Instant,
    first_piece: Option<std::time::Duration>,
    usage: Usage,
    error: Option<&'static str>,
    /// The answer so far, if captured.
    text: String,
}

impl Call {
    fn say(&mut self, text: &str) {
        if self.generation.captures_content() {
            self.text.push_str(text);
        }
    }

    fn see(&mut self, part: &Result<Part>) {
        if self.first_piece.is_none() {
            self.first_piece = Some(self.started.elapsed());
            self.generation.first_piece();
        }
        match part {
            Ok(Part::Text(text)) => self.say(text),
            Ok(Part::ToolCall(call)) => self.say(&format!("[{}({})]", call.name, call.arguments)),
            Ok(Part::Usage(usage)) => self.usage = *usage,
            Err(error) => self.error = Some(kind(error)),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Usage { input_tokens, output_tokens } = self.usage;
        self.span.record("gen_ai.usage.input_tokens", input_tokens);
        self.span.record("gen_ai.usage.output_tokens", output_tokens);
        self.generation.usage(input_tokens, output_tokens);
        self.generation.output(&self.text);
        if let Some(error) = self.error {
            self.span.record("otel.status_code", "ERROR");
            self.generation.failed(error);
        }
        self.metrics.model_call(&ModelCall {
            operation: self.operation,
            purpose: self.purpose,
            model: &self.model,
            duration: self.started.elapsed(),
            first_piece: self.first_piece,
            input_tokens,
            output_tokens,
            error: self.error,
        });
    }
}

/// An observed streamed answer.
struct Watched {
    parts: PartStream,
    call: Call,
}

impl Stream for Watched {
    type Item = Result<Part>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.parts.poll_next_unpin(context);
        if let Poll::Ready(Some(part)) = &polled {
            self.call.see(part);
        }
        polled
    }
}

/// Returns the kind of failure, for attributes.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::RateLimited { .. } => "rate_limited",
        Error::OverBudget { .. } => "over_budget",
        Error::Unavailable(_) => "unavailable",
        Error::Refused { .. } => "refused",
        Error::Interrupted(_) => "interrupted",
        Error::Nonsense(_) => "nonsense",
    }
}

/// Formats a conversation for people.
fn render(messages: &[Message]) -> String {
    let lines = messages.iter().map(|message| match message {
        Message::System(text) => format!("system: {text}"),
        Message::User(text) => format!("user: {text}"),
        Message::UserWithImage { text, image } => {
            format!("user: {text} [{}, {} bytes]", image.media_type, image.bytes.len())
        }
        Message::Assistant { content, tool_calls } => {
            let calls: Vec<&str> = tool_calls.iter().map(|call| call.name.as_str()).collect();
            format!("assistant: {content} {calls:?}")
        }
        Message::Tool { content, .. } => format!("tool: {content}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}
