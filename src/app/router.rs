//! The complete service: all groups of routes, each inside the layers that follow from its rules, and the layers around
//! all of them, outermost first: trailing slash, request id and log line, CORS, panics, disconnecting clients, concurrent
//! requests.

use std::any::Any;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower::{Layer, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};
use tracing::warn;

use super::groups::{Access, Group, client, console_pages, groups, metrics_page, page};
use crate::config::Environment;
use crate::http::error::ApiError;
use crate::http::layers::audit::record_action;
use crate::http::layers::auth::challenge::name_description;
use crate::http::layers::auth::{
    identify_user, refuse_api_tokens, require_admin, require_service, require_user, require_user_or_service,
};
use crate::http::layers::bodies::bound_body;
use crate::http::layers::cors::{allow_origins, refuse_preflight};
use crate::http::layers::disconnect::complete_changes;
use crate::http::layers::idempotency::{Repeats, Rules, repeat_answers};
use crate::http::layers::limits::{admit_service, limit_address, limit_upload, limit_user, shed};
use crate::http::layers::log::{log_probe, log_request};
use crate::http::layers::openai_errors::write_openai_errors;
use crate::http::layers::time::limit_time;
use crate::http::web_client::WebClient;
use crate::state::AppState;
use crate::workers::{Function, functions, invocation};

/// The whole service, as run by the listener and called by tests.
pub type App = NormalizePath<Router>;

/// Builds the service.
pub fn app(state: AppState) -> App {
    let functions = functions(state.config.wardrobe_api.is_on);
    with_functions(state, functions)
}

/// Builds the service with these functions for the Functions host.
pub fn with_functions(state: AppState, functions: &'static [Function]) -> App {
    let page = (state.config.environment == Environment::Development).then(page);
    let has_client = state.config.server.served_client().is_some();
    let console = state.config.server.console.then(|| console_pages(!has_client));
    let metrics = state.config.telemetry.scraping.is_some().then(metrics_page);
    let (mut probes, mut routes) = (Router::new(), Router::new());
    let wardrobe_api = state.config.wardrobe_api.is_on;
    for group in groups(wardrobe_api).into_iter().chain(page).chain(console).chain(metrics) {
        let to = if group.is_probe { &mut probes } else { &mut routes };
        *to = std::mem::take(to).merge(guarded(group, &state));
    }
    if has_client {
        routes = routes.merge(guarded(client(), &state));
    }
    // Functions have their own, much longer time limit.
    if state.config.server.under_functions_host {
        probes = probes.merge(invocation::probe());
        routes = routes.merge(invocation::router(functions, &state));
    }
    with_layers(probes, routes, state)
}

/// Applies the layers that follow from the rules of a group to its routes.
fn guarded(group: Group, state: &AppState) -> Router<AppState> {
    let Group {
        access,
        quota,
        largest_body,
        time_limit,
        repeats,
        is_probe,
        is_audited,
        checks_scopes,
        description,
        refuses_with_text,
        ..
    } = group;
    let routes = Router::from(group.routes);
    // Innermost: refused requests and repeated answers are not actions.
    let routes = if is_audited { routes.layer(from_fn_with_state(state.clone(), record_action)) } else { routes };
    let quota = (state.clone(), quota);
    let repeating = |routes: Router<AppState>| match repeats {
        Repeats::Never => routes,
        Repeats::All | Repeats::UnlessAsync => {
            let rules = Rules { app: state.clone(), repeats, refuses_with_text };
            routes.layer(from_fn_with_state(rules, repeat_answers))
        }
    };
    let identified = |routes: Router<AppState>| {
        let routes = routes.layer(from_fn_with_state(quota.clone(), limit_user));
        if checks_scopes {
            routes.layer(from_fn_with_state(state.clone(), identify_user))
        } else {
            routes.layer(from_fn_with_state(state.clone(), require_user))
        }
    };
    let routes = match access {
        Access::Public if is_probe => routes,
        Access::Public => routes.layer(from_fn_with_state(quota, limit_address)),
        Access::User => identified(repeating(routes)),
        Access::SignedIn => identified(repeating(routes).layer(from_fn(refuse_api_tokens))),
        // Inside the check for administrators: former administrators do not get repeated answers either.
        Access::Admin => {
            let layers = ServiceBuilder::new().layer(from_fn(refuse_api_tokens));
            identified(repeating(routes).layer(layers.layer(from_fn_with_state(state.clone(), require_admin))))
        }
        Access::UserOrService => {
            let layers = ServiceBuilder::new().layer(from_fn_with_state(state.clone(), require_user_or_service));
            routes.layer(layers.layer(from_fn_with_state(quota, limit_upload)))
        }
        Access::Service => {
            let layers = ServiceBuilder::new().layer(from_fn_with_state(state.clone(), require_service));
            routes.layer(layers.layer(from_fn_with_state(state.clone(), admit_service)))
        }
    };
    let routes = match description {
        Some(path) => routes.layer(from_fn_with_state((state.clone(), path), name_description)),
        None => routes,
    };
    let bounds = ServiceBuilder::new().layer(from_fn_with_state((state.clone(), largest_body), bound_body));
    routes.layer(bounds.layer(from_fn_with_state(time_limit, limit_time)))
}

/// Applies the layers of all routes. Probes are answered under any load.
pub fn with_layers(probes: Router<AppState>, routes: Router<AppState>, state: AppState) -> App {
    let origins = &state.config.server.allowed_origins;
    for ignored in origins.ignored() {
        warn!(origin = ignored, "origin ignored: CORS_ALLOWED_ORIGINS expects origins such as https://app.example");
    }
    let server = &state.config.server;
    if server.web_root.is_some() && server.served_client().is_none() {
        warn!("WEB_ROOT ignored: it applies only without the Functions host");
    }
    let inside = ServiceBuilder::new()
        .layer(from_fn_with_state(state.clone(), refuse_preflight))
        .option_layer((!origins.is_empty()).then(|| allow_origins(&state)))
        .layer(CatchPanicLayer::custom(answer_panic));
    let wrong_method = async || ApiError::MethodNotAllowed;
    let probes = probes
        .method_not_allowed_fallback(wrong_method)
        .layer(ServiceBuilder::new().layer(from_fn_with_state(state.clone(), log_probe)).layer(inside.clone()));
    let routes = match server.served_client().map(WebClient::new) {
        Some(client) => routes.fallback(move |request| client.clone().answer(request)),
        None => routes.fallback(async || ApiError::NotFound("Not Found")),
    };
    let routes = routes.method_not_allowed_fallback(wrong_method).layer(
        ServiceBuilder::new()
            .layer(from_fn_with_state(state.clone(), log_request))
            .layer(from_fn(write_openai_errors))
            .layer(inside)
            .layer(from_fn_with_state(state.clone(), complete_changes))
            .layer(from_fn_with_state(state.clone(), shed)),
    );
    NormalizePathLayer::trim_trailing_slash().layer(probes.merge(routes).with_state(state))
}

fn answer_panic(_payload: Box<dyn Any + Send>) -> Response {
    ApiError::Panicked.into_response()
}
