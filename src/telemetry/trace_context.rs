//! Trace context: the W3C header `traceparent`, and the field of that name in queue messages.

use std::collections::HashMap;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use serde::Deserialize;
use tracing::{Span, debug};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::base::chain::Chain;
use crate::base::hash::sha256_hex;

/// Name of the header and the message field.
pub const TRACEPARENT: &str = "traceparent";
/// Length of version 00, `00-<trace>-<span>-<flags>`.
const LENGTH: usize = 55;

/// Parses a `traceparent`.
pub fn parse(text: &str) -> Option<SpanContext> {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), text.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the `traceparent` of the current span; `None` when spans are not sent.
pub fn current() -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes a span continue the trace of `traceparent`, if it is valid.
pub fn follow(span: &Span, traceparent: Option<&str>) {
    let Some(parent) = traceparent.and_then(parse) else { return };
    let context = Context::new().with_remote_span_context(parent);
    if let Err(error) = span.set_parent(context) {
        debug!(error = %Chain(&error), "span has no parent");
    }
}

/// Adds the current context to a message that is a JSON object without one.
pub fn into_message(text: &str) -> Option<String> {
    let traceparent = current()?;
    let open = text.trim_end().strip_suffix('}')?;
    if !open.trim_start().starts_with('{') || message_context(text).is_some() {
        return None;
    }
    let comma = if open.trim_end().ends_with('{') { "" } else { "," };
    Some(format!("{open}{comma}\"{TRACEPARENT}\":\"{traceparent}\"}}"))
}

/// Returns the `traceparent` of a queue message.
pub fn message_context(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Carrier {
        traceparent: Option<String>,
    }
    let carrier: Carrier = serde_json::from_str(text).ok()?;
    carrier.traceparent.filter(|traceparent| traceparent.len() <= 2 * LENGTH)
}

/// Derives a trace id from a caller's id: a UUID without dashes, the trace id of a `traceparent`, the first 32
/// hexadecimal digits, or else a hash.
pub fn trace_id(text: &str) -> TraceId {
    let text = text.trim();
    let digits = text.replace('-', "");
    let own = match parse(text) {
        Some(context) => context.trace_id(),
        None if digits.len() >= 32 && is_hex(&digits) => TraceId::from_hex(&digits[..32]).unwrap_or(TraceId::INVALID),
        None => TraceId::INVALID,
    };
    if own == TraceId::INVALID { TraceId::from_hex(&sha256_hex(text)[..32]).unwrap_or(TraceId::INVALID) } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_it_is_written() {
        let context = parse(TRACEPARENT).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
        assert!(parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some(), "a later version");
        for broken in [
            "",
            "00",
            "00-0-0-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert!(parse(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn trace_ids_are_32_hexadecimal_digits_whatever_callers_send() {
        for (given, expected) in [
            ("4BF92F35-77b3-4da6-a3ce-929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("4bf92f3577b34da6a3ce929d0e0e4736ffff", "4bf92f3577b34da6a3ce929d0e0e4736"),
            (TRACEPARENT, "4bf92f3577b34da6a3ce929d0e0e4736"),
            // The first half of the SHA-256 of the text.
            ("req-17", &sha256_hex("req-17")[..32]),
            ("00000000-0000-0000-0000-000000000000", &sha256_hex("00000000-0000-0000-0000-000000000000")[..32]),
        ] {
            assert_eq!(trace_id(given).to_string(), expected, "{given}");
        }
    }

    #[test]
    fn a_message_gives_its_context_back() {
        assert_eq!(
            message_context(&format!(r#"{{"a":1,"traceparent":"{TRACEPARENT}"}}"#)).as_deref(),
            Some(TRACEPARENT)
        );
        for without in ["", "[]", "{}", r#"{"traceparent":5}"#, "bm90IGpzb24="] {
            assert_eq!(message_context(without), None, "{without}");
        }
        assert_eq!(into_message(r#"{"a":1}"#), None, "nothing is traced here");
    }
}
