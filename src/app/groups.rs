//! All routes, in groups, with their callers, quota and limits.
//!
//! The [router](super::router) applies layers to each group by these rules, and the [OpenAPI document](super::openapi)
//! states them.

use std::time::Duration;

use axum::middleware::map_response;
use utoipa_axum::router::OpenApiRouter;

use super::openapi::served_document;
use crate::domain::quota::QuotaKind;
use crate::http::extract::upload::LARGEST_UPLOAD;
use crate::http::layers::bodies::DEFAULT_LIMIT;
use crate::http::layers::idempotency::Repeats;
use crate::http::respond::say_charset;
use crate::routes::docs::Description;
use crate::routes::wardrobe::{cutouts, drafts};
use crate::routes::{
    admin, audit, auth, chat, chat_runs, collections, console, digest, docs, health, insights, jobs, logs, mcp, media,
    metrics, moods, openai, profile, reddit, scraper, settings, stylist, taste, timers, tokens, ui_chats, usage, users,
    wardrobe,
};
use crate::state::AppState;

/// Time within which a handler must begin to answer, unless its group says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Time limit of handlers that accept and process a picture with a service that may take 85 s.
const MEDIA_TIME_LIMIT: Duration = Duration::from_secs(180);
/// Time limit of work that takes minutes. Front ends give up after 230 s.
const SLOW_TIME_LIMIT: Duration = Duration::from_secs(220);

/// Callers that a route accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Signed-in users, and programs with a user's API token.
    User,
    /// Signed-in users, not their API tokens.
    SignedIn,
    /// Administrators, not their API tokens.
    Admin,
    /// Signed-in users and other services.
    UserOrService,
    /// Other services.
    Service,
}
use Access::{Admin, Public, Service, SignedIn, User, UserOrService};

/// Routes that share their rules.
pub struct Group {
    /// Tag of the routes in the OpenAPI document.
    pub tag: &'static str,
    /// Callers that the routes accept.
    pub access: Access,
    /// The routes.
    pub routes: OpenApiRouter<AppState>,
    /// The quota that requests count against. Services have none.
    pub quota: QuotaKind,
    /// Largest body of a request, in bytes.
    pub largest_body: usize,
    /// Time within which a handler must begin to answer.
    pub time_limit: Duration,
    /// Requests whose answer is repeated for an `Idempotency-Key`.
    pub repeats: Repeats,
    /// Whether the routes are health checks: answered under any load, without a quota, and logged at debug level.
    pub is_probe: bool,
    /// Whether actions of administrators are recorded in the audit log.
    pub is_audited: bool,
    /// Whether the routes check a token's scopes themselves. Elsewhere a read-only token may not send a `POST`.
    pub checks_scopes: bool,
    /// Path of the resource description named to callers without a valid credential, if any.
    pub description: Option<&'static str>,
    /// Whether a body that does not match its schema gets 400 with a text instead of 422 with a list of errors.
    pub refuses_with_text: bool,
}

impl Group {
    fn new(tag: &'static str, access: Access, routes: OpenApiRouter<AppState>) -> Self {
        Self {
            tag,
            access,
            routes,
            quota: QuotaKind::Other,
            largest_body: DEFAULT_LIMIT,
            time_limit: TIME_LIMIT,
            repeats: Repeats::All,
            is_probe: false,
            is_audited: access == Admin,
            checks_scopes: false,
            description: None,
            refuses_with_text: false,
        }
    }

    fn quota(self, quota: QuotaKind) -> Self {
        Self { quota, ..self }
    }

    fn largest_body(self, largest_body: usize) -> Self {
        Self { largest_body, ..self }
    }

    fn time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// Disables repeated answers: for streams, and for bodies too large to compare.
    fn never_repeats(self) -> Self {
        Self { repeats: Repeats::Never, ..self }
    }

    /// Disables repeated answers because they contain secrets.
    fn secrets(self) -> Self {
        Self { repeats: Repeats::Never, ..self }
    }

    /// Lets callers request execution as a job (`Prefer: respond-async`).
    fn may_be_later(self) -> Self {
        Self { repeats: Repeats::UnlessAsync, ..self }
    }

    /// Creates a group of the wardrobe API, for users. Bodies are read by
    /// [`TextJson`](crate::http::extract::text::TextJson).
    fn wardrobe(tag: &'static str, routes: OpenApiRouter<AppState>) -> Self {
        let group = Self::new(tag, User, routes.layer(map_response(say_charset))).largest_body(wardrobe::LARGEST_BODY);
        Self { refuses_with_text: true, ..group }
    }

    /// Records administrators' calls: users may access their own data here, administrators all data.
    fn audited(self) -> Self {
        Self { is_audited: true, ..self }
    }

    /// Leaves checking a token's scopes to the routes, which are described at this path.
    fn described_at(self, path: &'static str) -> Self {
        Self { checks_scopes: true, description: Some(path), ..self }
    }

    /// The routes are health checks.
    fn probes(self) -> Self {
        Self { is_probe: true, ..self }
    }
}

/// Returns all groups of the OpenAPI document, with or without the wardrobe API.
pub fn groups(wardrobe_api: bool) -> Vec<Group> {
    let description = Description(served_document(wardrobe_api));
    let mut groups = vec![
        Group::new("health", Public, health::public()).probes(),
        Group::new("docs", Public, docs::public(description)),
        Group::new("auth", Public, auth::public()).quota(QuotaKind::Auth).largest_body(auth::LARGEST_BODY),
        Group::new("auth", SignedIn, tokens::signed_in()).largest_body(auth::LARGEST_BODY).secrets(),
        Group::new("chat", User, chat::user()),
        Group::new("chat", User, chat_runs::user()),
        Group::new("chat", User, chat_runs::user_streams()).never_repeats(),
        Group::new("chat", User, ui_chats::user()),
        Group::new("chat", User, ui_chats::user_streams()).never_repeats(),
        Group::new("chat", User, chat::user_turns())
            .quota(QuotaKind::Model)
            .largest_body(chat::LARGEST_UI_TURN)
            .never_repeats(),
        Group::new("openai", User, openai::user()),
        Group::new("openai", User, openai::user_completions())
            .quota(QuotaKind::Model)
            .largest_body(chat::LARGEST_TURN)
            .time_limit(SLOW_TIME_LIMIT)
            .never_repeats(),
        Group::new("digest", User, digest::user()),
        Group::new("digest", User, digest::slow_user())
            .quota(QuotaKind::Model)
            .time_limit(SLOW_TIME_LIMIT)
            .may_be_later(),
        Group::new("insights", User, insights::user()),
        Group::new("moods", User, moods::user()),
        Group::new("moods", Admin, moods::slow_admin())
            .quota(QuotaKind::Model)
            .time_limit(SLOW_TIME_LIMIT)
            .may_be_later(),
        Group::new("scraper", User, scraper::user()),
        Group::new("scraper", User, scraper::slow_user()).quota(QuotaKind::Model).time_limit(SLOW_TIME_LIMIT),
        Group::new("scraper", User, scraper::slow_user_posts())
            .quota(QuotaKind::Ingest)
            .largest_body(scraper::LARGEST_POSTS)
            .time_limit(SLOW_TIME_LIMIT),
        Group::new("scraper", Admin, scraper::slow_admin())
            .quota(QuotaKind::Model)
            .time_limit(SLOW_TIME_LIMIT)
            .may_be_later(),
        Group::new("taste", User, taste::user()),
        Group::new("media", Public, media::public()),
        Group::new("media", UserOrService, media::user_or_service())
            .quota(QuotaKind::Upload)
            .largest_body(LARGEST_UPLOAD)
            .time_limit(MEDIA_TIME_LIMIT),
        Group::new("media", Service, media::service())
            .largest_body(media::LARGEST_ENCODED)
            .time_limit(MEDIA_TIME_LIMIT),
        Group::new("jobs", User, jobs::user()).audited(),
        Group::new("jobs", User, jobs::user_restarts()).quota(QuotaKind::Model).audited(),
        Group::new("jobs", Admin, jobs::admin()),
        Group::new("usage", User, usage::user()),
        Group::new("admin", Admin, admin::admin()),
        Group::new("admin", Admin, users::admin()),
        Group::new("admin", Admin, timers::admin()),
        Group::new("admin", Admin, logs::admin()),
        Group::new("admin", Admin, settings::admin()),
        Group::new("admin", Admin, audit::admin()),
        Group::new("admin", Admin, usage::admin()),
    ];
    if wardrobe_api {
        groups.extend(wardrobe_groups());
    }
    groups
}

/// Returns the groups of the wardrobe API, which `WARDROBE_API` turns on and off.
fn wardrobe_groups() -> Vec<Group> {
    vec![
        Group::wardrobe("profile", profile::user()),
        Group::wardrobe("wardrobe", wardrobe::user()),
        Group::wardrobe("wardrobe", drafts::user()),
        Group::wardrobe("wardrobe", drafts::user_retries()).quota(QuotaKind::Upload),
        Group::wardrobe("wardrobe", cutouts::user()),
        Group::wardrobe("wardrobe", cutouts::slow_user()).quota(QuotaKind::Upload).time_limit(MEDIA_TIME_LIMIT),
        Group::wardrobe("wardrobe", drafts::user_uploads())
            .quota(QuotaKind::Upload)
            .largest_body(LARGEST_UPLOAD)
            .time_limit(MEDIA_TIME_LIMIT)
            .never_repeats(),
        Group::wardrobe("collections", collections::user()),
        Group::new("mcp", Public, mcp::public()),
        Group::new("mcp", User, mcp::user())
            .described_at(mcp::DESCRIPTION)
            .largest_body(wardrobe::LARGEST_BODY)
            .never_repeats(),
        Group::wardrobe("stylist", stylist::slow_user()).quota(QuotaKind::Model).time_limit(SLOW_TIME_LIMIT),
    ]
}

/// Returns routes that a web client calls on its own origin. They are not part of the API.
pub fn client() -> Group {
    Group::new("client", Public, reddit::public()).quota(QuotaKind::Ingest)
}

/// Returns the page that shows the OpenAPI document, in development. It is not part of the API.
pub fn page() -> Group {
    Group::new("docs", Public, docs::development())
}

/// Returns the metrics page, if enabled. It is not part of the API.
pub fn metrics_page() -> Group {
    Group::new("metrics", Public, metrics::page()).probes()
}

/// Returns the console, if enabled; also at `/` unless a client is served there. It is not part of the API.
pub fn console_pages(is_at_root: bool) -> Group {
    Group::new("console", Public, console::pages(is_at_root))
}
