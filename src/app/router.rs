//! All routes, by kind of caller, and the layers around them, outermost first: trailing slash, request id and log line,
//! CORS, panics, requests at once, bounds of bodies, time limit.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use axum::{BoxError, Router};
use futures::future::{BoxFuture, Either, Map, MapOk, Ready, ready};
use futures::{FutureExt, TryFutureExt};
use tokio::time::Timeout;
use tokio::time::error::Elapsed;
use tower::layer::{LayerFn, layer_fn};
use tower::{Layer, Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};
use tracing::{Instrument, Span, debug, debug_span, error, field, info, info_span, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use super::openapi::DOCUMENT;
use crate::base::chain::Chain;
use crate::config::{AllowedOrigins, Environment};
use crate::http::error::ApiError;
use crate::http::layers::auth::{require_admin, require_service, require_user, require_user_or_service};
use crate::http::layers::bodies::{Bounded, limit_body};
use crate::http::layers::idempotency::repeat_answers;
use crate::http::layers::limits::{Shed, admit_service, limit_address, limit_upload, limit_user};
use crate::routes;
use crate::routes::docs::Description;
use crate::state::AppState;
use crate::telemetry::{Telemetry, trace_context};
use crate::workers::{FUNCTIONS, Function, invocation};

/// Time within which a handler must begin to answer. A stream may go on for longer.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// The same for a handler that takes a picture in and has it worked on, by a service that may take 85 s.
const MEDIA_TIME_LIMIT: Duration = Duration::from_secs(180);
/// The same for work that takes minutes. What stands before us gives up after 230 s.
const SLOW_TIME_LIMIT: Duration = Duration::from_secs(220);
/// How long browsers keep what a preflight said.
const PREFLIGHT_LIFE: Duration = Duration::from_secs(600);
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 128;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");
/// Headers of answers that pages may read.
const EXPOSED_HEADERS: [&str; 13] = [
    "etag",
    "location",
    "retry-after",
    "x-request-id",
    "ratelimit",
    "ratelimit-policy",
    "preference-applied",
    "idempotency-replayed",
    "x-run-id",
    "x-vercel-ai-ui-message-stream",
    "x-resumable-stream-id",
    "x-workflow-run-id",
    "x-workflow-stream-tail-index",
];

/// The whole service: what the listener runs, and what tests call.
pub type App = NormalizePath<Router>;

/// Makes the service.
pub fn app(state: AppState) -> App {
    with_functions(state, FUNCTIONS)
}

/// Makes the service with these functions, which the Functions host alone can call.
pub fn with_functions(state: AppState, functions: &'static [Function]) -> App {
    let auth = routes::auth::public().layer(limit_body(routes::auth::LARGEST_BODY));
    let public = Router::new().merge(auth).merge(routes::media::public());
    let public = public.merge(routes::docs::public(Description(|| DOCUMENT.clone())));
    let public = match state.config.environment {
        Environment::Development => public.merge(routes::docs::development()),
        Environment::Production => public,
    };
    let public = public.layer(from_fn_with_state(state.clone(), limit_address)).merge(routes::health::public());
    let users = Router::new()
        .merge(routes::chat::user())
        .merge(routes::digest::user())
        .merge(routes::insights::user())
        .merge(routes::jobs::user())
        .merge(routes::moods::user())
        .merge(routes::scraper::user())
        .merge(routes::taste::user());
    // Inside the layer that checks for administrators: who is none any more gets no answer repeated either.
    let user = |routes: Router<AppState>| routes.layer(from_fn_with_state(state.clone(), repeat_answers));
    let admin = |routes: Router<AppState>| user(routes).layer(from_fn_with_state(state.clone(), require_admin));
    let signed_in = |routes: Router<AppState>| {
        let routes = routes.layer(from_fn_with_state(state.clone(), limit_user));
        routes.layer(from_fn_with_state(state.clone(), require_user))
    };
    let slow_admin = admin(routes::moods::slow_admin().merge(routes::scraper::slow_admin()));
    let slow_users = user(routes::digest::slow_user().merge(routes::scraper::slow_user()));
    let slow = signed_in(slow_users.merge(slow_admin));
    let posts = signed_in(user(routes::scraper::slow_user_posts()));
    let slow = slow.merge(posts.layer(limit_body(routes::scraper::LARGEST_POSTS))).layer(limit_time(SLOW_TIME_LIMIT));
    let turns = signed_in(user(routes::chat::user_turns())).layer(limit_body(routes::chat::LARGEST_TURN));
    let signed_in = signed_in(user(users).merge(admin(routes::admin::admin().merge(routes::jobs::admin()))));
    let signed_in = signed_in.merge(turns);
    let service = routes::media::service().layer(from_fn_with_state(state.clone(), admit_service));
    let service = service.layer(from_fn_with_state(state.clone(), require_service));
    let service = service.layer(limit_body(routes::media::LARGEST_ENCODED));
    let media = routes::media::user_or_service().layer(from_fn_with_state(state.clone(), limit_upload));
    let media = media.layer(from_fn_with_state(state.clone(), require_user_or_service));
    let media = media.layer(limit_body(routes::media::LARGEST_UPLOAD));
    let routes = public.merge(signed_in).layer(limit_time(TIME_LIMIT));
    let media = media.merge(service).layer(limit_time(MEDIA_TIME_LIMIT));
    // A function's time limit is its own, and much longer.
    let invocations =
        if state.config.server.under_functions_host { invocation::router(functions) } else { Router::new() };
    with_layers(routes.merge(media).merge(slow).merge(invocations), state)
}

/// Puts what every route has around these.
pub fn with_layers(routes: Router<AppState>, state: AppState) -> App {
    // One layer of several: the router boxes and copies what is inside each layer of its own, for every request.
    let (telemetry, limits, bodies) = (state.telemetry.clone(), state.limits.clone(), state.bodies.clone());
    let origins = Arc::new(state.config.server.allowed_origins.clone());
    for ignored in origins.ignored() {
        warn!(origin = ignored, "ignored: CORS_ALLOWED_ORIGINS takes origins such as https://app.example");
    }
    let around = ServiceBuilder::new()
        .layer(layer_fn(move |inner| LogRequest { inner, telemetry: telemetry.clone() }))
        .layer(layer_fn({
            let origins = origins.clone();
            move |inner| RefusePreflight { inner, origins: origins.clone() }
        }))
        .option_layer((!origins.is_empty()).then(|| cors(origins)))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(layer_fn(move |inner| Shed::new(Bounded::new(inner, &bodies, &limits), &limits)));
    let router = routes
        .fallback(async || ApiError::NotFound("Not Found"))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(around)
        .with_state(state);
    NormalizePathLayer::trim_trailing_slash().layer(router)
}

/// Answers 503 when a handler has not begun to answer in time. Not a function as the other layers are: those cost two
/// allocations and a copy of all that is inside them for every request.
#[derive(Clone)]
struct LimitTime<S> {
    inner: S,
    limit: Duration,
}

fn limit_time(limit: Duration) -> LayerFn<impl Fn(Route) -> LimitTime<Route> + Clone> {
    layer_fn(move |inner| LimitTime { inner, limit })
}

impl<S: Service<Request, Response = Response, Error = Infallible>> Service<Request> for LimitTime<S> {
    type Response = Response;
    type Error = Infallible;
    type Future =
        Map<Timeout<S::Future>, fn(Result<Result<Response, Infallible>, Elapsed>) -> Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        tokio::time::timeout(self.limit, self.inner.call(request))
            .map(|outcome| outcome.unwrap_or_else(|_| Ok(ApiError::TimedOut.into_response())))
    }
}

fn answer_panic(_payload: Box<dyn Any + Send>) -> Response {
    ApiError::Panicked.into_response()
}

/// Gives each request an id and a span, and writes its line in the log. A service for the reason of [`LimitTime`].
#[derive(Clone)]
struct LogRequest<S> {
    inner: S,
    telemetry: Telemetry,
}

impl<S, B> Service<Request> for LogRequest<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let entry = LogEntry::new(&request, &self.telemetry);
        let answer = self.inner.call(request).instrument(entry.span.clone());
        answer.map(move |answer| answer.map(|response| entry.finish(response))).boxed()
    }
}

/// What the log says of a request.
struct LogEntry {
    id: HeaderValue,
    started: Instant,
    is_probe: bool,
    span: Span,
    seen: Option<Seen>,
}

/// What traces and metrics say of a request, when there are any.
struct Seen {
    telemetry: Telemetry,
    method: Method,
    route: String,
}

impl Seen {
    /// Names the span of a request and makes it go on with the caller's trace.
    fn begin(telemetry: &Telemetry, request: &Request, route: &str, span: &Span) -> Option<Self> {
        if !telemetry.is_tracing() && !telemetry.metrics.is_on() {
            return None;
        }
        let method = request.method().clone();
        if telemetry.is_tracing() && !span.is_disabled() {
            span.record("otel.name", format!("{method} {route}"));
            span.record("otel.kind", "server");
            let traceparent = request.headers().get(trace_context::TRACEPARENT);
            trace_context::follow(span, traceparent.and_then(|value| value.to_str().ok()));
        }
        Some(Self { telemetry: telemetry.clone(), method, route: route.to_owned() })
    }

    fn finish(&self, status: u16, duration: Duration, span: &Span) {
        self.telemetry.metrics.request(self.method.as_str(), &self.route, status, duration);
        if self.telemetry.is_tracing() {
            span.set_attribute("http.response.status_code", i64::from(status));
            if status >= 500 {
                span.record("otel.status_code", "ERROR");
            }
        }
    }
}

impl LogEntry {
    fn new(request: &Request, telemetry: &Telemetry) -> Self {
        let id = request_id(request);
        let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
        let is_probe = route == "/" || route.starts_with("/api/health");
        // A probe's line is for debugging, and so is its span, which would cost more than the answer.
        let span = if is_probe {
            debug_span!(
                "request",
                http.method = %request.method(),
                http.route = route,
                request.id = id.to_str().unwrap_or_default(),
            )
        } else {
            info_span!(
                "request",
                otel.name = field::Empty,
                otel.kind = field::Empty,
                otel.status_code = field::Empty,
                http.method = %request.method(),
                http.route = route,
                request.id = id.to_str().unwrap_or_default(),
                user.id = field::Empty,
            )
        };
        let seen = Seen::begin(telemetry, request, route, &span);
        Self { id, started: Instant::now(), is_probe, span, seen }
    }

    /// Writes the line, and what every response has into this one.
    fn finish<B>(self, mut response: Response<B>) -> Response<B> {
        let status = response.status().as_u16();
        let duration = self.started.elapsed();
        if let Some(seen) = &self.seen {
            seen.finish(status, duration, &self.span);
        }
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.span.in_scope(|| match response.extensions().get::<ApiError>() {
            Some(
                fault @ (ApiError::Failed { .. }
                | ApiError::Misconfigured(_)
                | ApiError::Internal(_)
                | ApiError::Panicked),
            ) => {
                error!(http.status = status, duration_ms, error = %Chain(fault), "request failed");
            }
            Some(
                fault @ (ApiError::Unavailable(_)
                | ApiError::StepUnavailable { .. }
                | ApiError::TimedOut
                | ApiError::Overloaded),
            ) => {
                warn!(http.status = status, duration_ms, error = %Chain(fault), "request failed");
            }
            _ if self.is_probe => debug!(http.status = status, duration_ms, "request answered"),
            _ => info!(http.status = status, duration_ms, "request answered"),
        });
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, self.id);
        // What a route says itself counts: pictures may be kept, most else is for one reader alone.
        headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
        response
    }
}

/// The caller's request id if it is a sane one, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let is_sane = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        let sane = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        (1..=LONGEST_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(sane)
    };
    let given = request.headers().get(X_REQUEST_ID).filter(is_sane);
    given.cloned().unwrap_or_else(|| {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).expect("a UUID is plain text")
    })
}

/// Tells browsers that pages of the allowed origins may call.
fn cors(origins: Arc<AllowedOrigins>) -> CorsLayer {
    let credentials = {
        let origins = origins.clone();
        AllowCredentials::predicate(move |origin: &HeaderValue, _: &Parts| origins.allows(origin.as_bytes()))
    };
    let origin = AllowOrigin::predicate(move |origin: &HeaderValue, _: &Parts| origins.allows(origin.as_bytes()));
    CorsLayer::new()
        .allow_origin(origin)
        .allow_credentials(credentials)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(PREFLIGHT_LIFE)
        .expose_headers(EXPOSED_HEADERS.map(HeaderName::from_static))
}

/// Answers 400 to browsers that ask whether a page of a foreign origin may call.
#[derive(Clone)]
struct RefusePreflight<S> {
    inner: S,
    origins: Arc<AllowedOrigins>,
}

impl<S> RefusePreflight<S> {
    fn refuses(&self, request: &Request) -> bool {
        let headers = request.headers();
        request.method() == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && !self.origins.is_empty()
            && headers.get(ORIGIN).is_some_and(|origin| !self.origins.allows(origin.as_bytes()))
    }
}

impl<S, B> Service<Request> for RefusePreflight<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, MapOk<S::Future, fn(Response<B>) -> Response>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if self.refuses(&request) {
            let refusal = ApiError::BadRequest("Disallowed CORS origin.").into_response();
            return Either::Left(ready(Ok(refusal)));
        }
        Either::Right(self.inner.call(request).map_ok(|response| response.map(Body::new)))
    }
}
