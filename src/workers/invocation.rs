//! The protocol of the Functions host for queue and timer functions.
//!
//! The host posts an envelope to `POST /<FunctionName>` on the port it gave us. Every scalar in it except dates is JSON
//! inside a string (numbers are `"1"`, texts `"\"text\""`); the documentation shows a plainer form, and both are
//! accepted. The answer must always be an object with `Outputs`, `Logs` and `ReturnValue`: after an empty answer the
//! host neither completes nor fails the call until `functionTimeout`. Any status but 2xx is a failed call, and the
//! message is delivered again after `visibilityTimeout`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

use super::{
    Delivery, Function, JobError, QueueTrigger, TIME_LIMIT, TimerTrigger, Trigger, attempt, log_outcome, span,
    while_held_elsewhere,
};
use crate::http::error::ApiError;
use crate::http::extract::{AppJson, read_body};
use crate::http::layers::auth::development::was_forwarded;
use crate::http::layers::bodies::bound_body;
use crate::state::AppState;

/// Name of the input binding of every function, in `function.json` and in the envelope.
pub const BINDING: &str = "item";

/// Header of calls through the host's HTTP trigger. The host's own calls do not have it.
const PROXIED: HeaderName = HeaderName::from_static("x-ms-invocation-id");
/// Largest envelope: a message of 64 KiB with every quote escaped twice, and its fields repeated in `Metadata`.
const LARGEST_BODY: usize = 1024 * 1024;
/// How long an answer to the host waits for telemetry to be sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// Delay before work that another worker holds is tried again.
const NOT_NOW_PAUSE: Duration = Duration::from_secs(5);
/// How long a call waits for another worker. The rest of the time limit, at least half of it, is left for the work.
const PATIENCE: Duration = Duration::from_secs(TIME_LIMIT.as_secs() / 2);

/// Returns the endpoints of `functions`. Mount them only when the host started us, because they trust the caller.
pub fn router(functions: &'static [Function], state: &AppState) -> Router<AppState> {
    let mut router = Router::new();
    for function in functions {
        router =
            router.route(&format!("/{}", function.name), post(move |state, request| invoke(function, state, request)));
    }
    router
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn(refuse_proxied))
        .layer(from_fn_with_state((state.clone(), LARGEST_BODY), bound_body))
}

/// Returns the endpoint that the host polls every 25 ms during startup, and later as a health check.
pub fn probe() -> Router<AppState> {
    Router::new().route("/", get(async || AppJson(Answer::default())))
}

/// Hides the endpoints from outside callers. The host marks requests that its proxy forwards; in the older forwarding
/// mode, only the front end marks them.
async fn refuse_proxied(request: Request, next: Next) -> Response {
    if request.headers().contains_key(PROXIED) || was_forwarded(request.headers()) {
        return ApiError::NotFound("Not Found").into_response();
    }
    next.run(request).await
}

/// Answer to the host.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    /// Always empty. The service writes messages itself, because the host would decode a text that happens to be
    /// base64.
    outputs: BTreeMap<String, String>,
    logs: Vec<String>,
    return_value: Option<String>,
}

fn answer(status: StatusCode, line: String) -> Response {
    (status, AppJson(Answer { logs: vec![line], ..Answer::default() })).into_response()
}

async fn invoke(function: &'static Function, State(app): State<AppState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match read_body(&parts.headers, body).await {
        Ok(body) => body,
        Err(error) => {
            let status = error.status();
            warn!(
                function.name = function.name,
                http.status = status.as_u16(),
                "request of the Functions host not read"
            );
            return answer(status, format!("{}: the call could not be read", function.name));
        }
    };
    let envelope = match Envelope::parse(&body) {
        Ok(envelope) => envelope,
        Err(fault) => {
            warn!(function.name = function.name, fault, "request of the Functions host not understood");
            return answer(StatusCode::BAD_REQUEST, format!("{}: {fault}", function.name));
        }
    };
    // A separate task completes even if the host disconnects; the redelivered message then finds its work done.
    let outcome = match &function.trigger {
        Trigger::Queue(trigger) => match envelope.delivery() {
            Ok(delivery) => {
                let span = span(&app, function.name, Some(&delivery));
                app.tasks.spawn(handle(app.clone(), function.name, trigger, delivery).instrument(span)).await
            }
            Err(fault) => {
                warn!(function.name = function.name, fault, "request of the Functions host not understood");
                return answer(StatusCode::BAD_REQUEST, format!("{}: {fault}", function.name));
            }
        },
        Trigger::Timer(trigger) => {
            let work = run_timer(app.clone(), function.name, trigger, envelope.past_due());
            app.tasks.spawn(work.instrument(span(&app, function.name, None))).await
        }
    };
    // The host may stop the process as soon as it has its answer.
    app.telemetry.flush(FLUSH_LIMIT).await;
    match outcome {
        Ok(Ok(())) => answer(StatusCode::OK, format!("{} done", function.name)),
        Ok(Err(error)) => answer(StatusCode::INTERNAL_SERVER_ERROR, format!("{}: {error}", function.name)),
        // The runtime is shutting down.
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, format!("{}: stopped", function.name)),
    }
}

/// Processes a message, waiting here while another worker holds the work.
async fn handle(
    app: AppState,
    name: &'static str,
    trigger: &'static QueueTrigger,
    delivery: Delivery,
) -> Result<(), JobError> {
    let started = Instant::now();
    let attempt = |waited| trigger.handle(&app, delivery.clone(), TIME_LIMIT.saturating_sub(waited));
    let outcome = while_held_elsewhere(&app, PATIENCE, NOT_NOW_PAUSE, attempt).await;
    log_outcome(&app, name, &outcome, started);
    outcome
}

async fn run_timer(
    app: AppState,
    name: &'static str,
    trigger: &'static TimerTrigger,
    past_due: bool,
) -> Result<(), JobError> {
    let started = Instant::now();
    info!(past_due, "timer is due");
    let outcome = attempt((trigger.run)(&app), TIME_LIMIT).await;
    log_outcome(&app, name, &outcome, started);
    outcome
}

/// The envelope. `Metadata` is ignored; it may contain fields of the message itself.
#[derive(Debug)]
struct Envelope<'a> {
    data: BTreeMap<String, &'a RawValue>,
    metadata: BTreeMap<String, &'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Outer<'a> {
            #[serde(borrow)]
            data: BTreeMap<String, &'a RawValue>,
            #[serde(borrow)]
            metadata: Option<&'a RawValue>,
        }
        let Ok(outer) = serde_json::from_slice::<Outer<'_>>(body) else {
            return Err("the body is not an envelope with Data");
        };
        let metadata = outer.metadata.and_then(|metadata| serde_json::from_str(metadata.get()).ok());
        Ok(Self { data: outer.data, metadata: metadata.unwrap_or_default() })
    }

    /// Returns the only input, whatever its name.
    fn input(&self) -> Option<&'a RawValue> {
        self.data.get(BINDING).or_else(|| self.data.values().next().filter(|_| self.data.len() == 1)).copied()
    }

    fn delivery(&self) -> Result<Delivery, &'static str> {
        let input = self.input().ok_or("the envelope has no message")?;
        let scalar = |name| self.metadata.get(name).map(|raw| unwrap(raw));
        Ok(Delivery {
            text: unwrap(input),
            dequeue_count: scalar("DequeueCount").and_then(|count| count.parse().ok()).unwrap_or(1),
            id: scalar("Id"),
        })
    }

    /// Whether the timer is late. The host's other fields are not needed, and its times may be missing, without a zone,
    /// or in the year 1.
    fn past_due(&self) -> bool {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Timer {
            #[serde(default)]
            is_past_due: bool,
        }
        let timer: Option<Timer> = self.input().and_then(|input| serde_json::from_str(&unwrap(input)).ok());
        timer.is_some_and(|timer| timer.is_past_due)
    }
}

/// Strips up to two layers of JSON strings from a value of the envelope.
fn unwrap(raw: &RawValue) -> String {
    let Ok(text) = serde_json::from_str::<String>(raw.get()) else { return raw.get().to_owned() };
    serde_json::from_str::<String>(&text).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn delivery(envelope: &Value) -> Delivery {
        let body = serde_json::to_vec(envelope).unwrap();
        Envelope::parse(&body).unwrap().delivery().unwrap()
    }

    /// Encodes a message's text as the host does.
    fn scalar(text: &str) -> Value {
        Value::String(serde_json::to_string(text).unwrap())
    }

    #[test]
    fn a_message_is_unwrapped_once_twice_or_not_at_all() {
        let message = r#"{"job":"m-17","v":1.0,"b":"ü\n","a":"\"x\""}"#;
        let object: &RawValue = serde_json::from_str(message).unwrap();
        let plain = format!(r#"{{"Data":{{"item":{object}}},"Metadata":{{}}}}"#);
        assert_eq!(Envelope::parse(plain.as_bytes()).unwrap().delivery().unwrap().text, message);
        assert_eq!(delivery(&json!({"Data": {"item": message}})).text, message);
        assert_eq!(delivery(&json!({"Data": {"item": scalar(message)}})).text, message);
        assert_eq!(delivery(&json!({"Data": {"message": scalar(message)}})).text, message, "whatever its name");
    }

    #[test]
    fn a_text_that_is_no_json_stays_as_it_is() {
        for text in ["not json", "eyJqb2IiOiJtLTE3In0=", "", "\"", "{", "a \"quoted\" \\ text", "5", "null", "  x "] {
            assert_eq!(delivery(&json!({"Data": {"item": scalar(text)}})).text, text);
        }
        // An invalid message, which must still become a dead letter.
        assert_eq!(delivery(&json!({"Data": {"item": null}})).text, "null");
    }

    #[test]
    fn a_count_is_a_number_or_a_text() {
        for count in [json!(3), json!("3"), json!("\"3\"")] {
            let envelope = json!({"Data": {"item": "\"x\""}, "Metadata": {"DequeueCount": count}});
            assert_eq!(delivery(&envelope).dequeue_count, 3, "{count}");
        }
        for metadata in [json!({"DequeueCount": "many"}), json!({}), json!("x"), json!(null), json!([1])] {
            assert_eq!(delivery(&json!({"Data": {"item": "\"x\""}, "Metadata": metadata})).dequeue_count, 1);
        }
    }

    #[test]
    fn a_timer_may_say_anything_about_its_past() {
        let past_due = |timer: Value| {
            let body = serde_json::to_vec(&json!({"Data": {"item": timer}, "Metadata": {}})).unwrap();
            Envelope::parse(&body).unwrap().past_due()
        };
        let status = json!({"Last": "0001-01-01T00:00:00", "Next": "2026-03-08T06:00:00+00:00"});
        assert!(past_due(json!({"ScheduleStatus": status, "IsPastDue": true})));
        assert!(past_due(json!(r#"{"IsPastDue":true,"ScheduleStatus":null}"#)));
        assert!(!past_due(json!({"ScheduleStatus": null, "IsPastDue": false, "More": 1})));
        assert!(!past_due(json!("late")));
        assert!(!past_due(json!(null)));
    }

    #[test]
    fn what_is_no_envelope_is_told_so() {
        for body in ["", "[]", "{}", "null", "{\"Data\":1}", "{\"Data\":{}", "\u{0}"] {
            assert!(Envelope::parse(body.as_bytes()).is_err(), "{body:?}");
        }
        for body in ["{\"Data\":{}}", "{\"Data\":{\"a\":1,\"b\":2}}"] {
            assert!(Envelope::parse(body.as_bytes()).unwrap().delivery().is_err(), "{body}");
        }
    }
}
