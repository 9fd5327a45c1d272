//! Traces for Langfuse: one per turn of the stylist, digest or extraction, with a generation per model call and a span
//! per tool, following the semantic conventions for generative AI.
//!
//! They are separate from the OTLP traces: callers choose their ids (`traceId`), and they contain prompts and answers
//! if `LANGFUSE_CAPTURE_CONTENT` is set. The current observation is passed along in the context of a model call.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::trace_context;

/// Longest text in a trace, in bytes.
const LONGEST_CONTENT: usize = 64 * 1024;

/// Starts traces. Free when Langfuse is not configured.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Parts>>);

struct Parts {
    tracer: SdkTracer,
    captures_content: bool,
    environment: &'static str,
}

/// Description of a new trace.
pub struct Subject<'a> {
    /// Name of the trace.
    pub name: &'static str,
    /// Trace id given by the caller, if any.
    pub trace_id: Option<&'a str>,
    /// User id.
    pub user: Option<&'a str>,
    /// Session that the trace belongs to.
    pub session: Option<&'a str>,
    /// Input; recorded only if content is captured.
    pub input: &'a str,
}

impl Observer {
    /// An observer that records nothing.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Creates an observer for a tracer.
    pub fn new(tracer: SdkTracer, captures_content: bool, environment: &'static str) -> Self {
        Self(Some(Arc::new(Parts { tracer, captures_content, environment })))
    }

    /// Starts a trace, which ends when the last clone of the returned observation is dropped.
    pub fn begin(&self, subject: &Subject<'_>) -> Observation {
        let Some(parts) = &self.0 else { return Observation::default() };
        let ids = RandomIdGenerator::default();
        let trace_id = subject.trace_id.map_or_else(|| ids.new_trace_id(), trace_context::trace_id);
        let mut attributes = vec![
            KeyValue::new("langfuse.trace.name", subject.name),
            KeyValue::new("langfuse.environment", parts.environment),
            // Its parent below exists only to give it the trace id.
            KeyValue::new("langfuse.internal.as_root", true),
        ];
        attributes.extend(subject.user.map(|user| KeyValue::new("user.id", user.to_owned())));
        attributes.extend(subject.session.map(|session| KeyValue::new("session.id", session.to_owned())));
        if parts.captures_content {
            attributes.push(KeyValue::new("langfuse.observation.input", cut(subject.input)));
        }
        let parent = Context::new().with_remote_span_context(named(trace_id, ids.new_span_id()));
        let span = parts.tracer.span_builder(subject.name).with_kind(SpanKind::Internal).with_attributes(attributes);
        let span = parts.tracer.build_with_context(span, &parent);
        Observation(Some(Open { parts: parts.clone(), context: parent.with_span(span) }))
    }
}

fn named(trace_id: TraceId, span_id: SpanId) -> SpanContext {
    SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, TraceState::default())
}

/// An open trace, or an open part of one.
#[derive(Clone, Default)]
pub struct Observation(Option<Open>);

#[derive(Clone)]
struct Open {
    parts: Arc<Parts>,
    context: Context,
}

impl Observation {
    /// Starts a generation: a call of a model. `input` is evaluated only if content is captured.
    pub fn generation(&self, name: &'static str, model: &str, input: impl FnOnce() -> String) -> Self {
        let attributes = vec![
            KeyValue::new("langfuse.observation.type", "generation"),
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", "openai"),
            KeyValue::new("gen_ai.request.model", model.to_owned()),
        ];
        self.child(name, attributes, input)
    }

    /// Starts a span for a tool.
    pub fn tool(&self, name: &str, arguments: &str) -> Self {
        let attributes = vec![
            KeyValue::new("langfuse.observation.type", "tool"),
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.name", name.to_owned()),
        ];
        self.child("execute_tool", attributes, || arguments.to_owned())
    }

    fn child(&self, name: &'static str, mut attributes: Vec<KeyValue>, input: impl FnOnce() -> String) -> Self {
        let Some(Open { parts, context }) = &self.0 else { return Self::default() };
        if parts.captures_content {
            attributes.push(KeyValue::new("langfuse.observation.input", cut(&input())));
        }
        let span = parts.tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes);
        let span = parts.tracer.build_with_context(span, context);
        Self(Some(Open { parts: parts.clone(), context: context.with_span(span) }))
    }

    /// Records the time of the first chunk of an answer.
    pub fn first_piece(&self) {
        if let Some(Open { context, .. }) = &self.0 {
            let text = now().format(&Rfc3339).unwrap_or_default();
            context.span().set_attribute(KeyValue::new("langfuse.observation.completion_start_time", text));
        }
    }

    /// Records the tokens of a model call.
    pub fn usage(&self, input_tokens: u64, output_tokens: u64) {
        let Some(Open { context, .. }) = &self.0 else { return };
        let count = |tokens| i64::try_from(tokens).unwrap_or(i64::MAX);
        let span = context.span();
        span.set_attribute(KeyValue::new("gen_ai.usage.input_tokens", count(input_tokens)));
        span.set_attribute(KeyValue::new("gen_ai.usage.output_tokens", count(output_tokens)));
    }

    /// Whether prompts and answers are captured, so that it is worth collecting them.
    pub fn captures_content(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.parts.captures_content)
    }

    /// Records the output, if content is captured.
    pub fn output(&self, text: &str) {
        if let Some(Open { parts, context }) = &self.0
            && parts.captures_content
        {
            context.span().set_attribute(KeyValue::new("langfuse.observation.output", cut(text)));
        }
    }

    /// Records a failure by its kind, without details.
    pub fn failed(&self, kind: &'static str) {
        if let Some(Open { context, .. }) = &self.0 {
            context.span().set_attribute(KeyValue::new("error.type", kind));
            context.span().set_status(Status::error(kind));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the SDK's own times, beside this one, are the system's as well")]
fn now() -> OffsetDateTime {
    SystemTime::now().into()
}

/// Truncates a text to what a trace may hold.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_CONTENT)].to_owned()
}
