//! Sources of the discover feed, its items, and votes on them.

mod items;

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::schema::verbatim;
use crate::data::sources::{ClientClaim, Suggested};
use crate::domain::budget::BudgetExceeded;
use crate::domain::jobs::kinds::{self, ScrapeInput};
use crate::domain::scraper;
use crate::domain::scraper::lease::Owner;
use crate::domain::scraper::reddit::MAX_POSTS;
use crate::domain::scraper::submit::Submitted;
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppPath, Fields, PreferAsync, Read};
use crate::http::layers::auth::CurrentUser;
use crate::http::respond;
use crate::model::ids::{SourceId, UserId};
use crate::model::source::{Source, SourceType};
use crate::model::timestamp::Timestamp;
use crate::net::guarded::UrlRefused;
use crate::state::AppState;

/// Longest query value, in characters.
const LONGEST_FIELD: usize = 4000;
const LONGEST_NAME: usize = 100;
const LONGEST_URL: usize = 2000;
/// Largest body with posts, in bytes. A post has 5 to 30 KB.
pub const LARGEST_POSTS: usize = 4 * 1024 * 1024;
/// Length of a client's lease of a source.
const CLIENT_LEASE: Duration = Duration::from_secs(15 * 60);
/// How long a user who leased a source without submitting anything cannot lease it again.
const CLIENT_WAIT: Duration = Duration::from_secs(4 * 60 * 60);
const NO_SOURCE: ApiError = ApiError::NotFound("Source not found.");
const TAKEN: ApiError = ApiError::Conflict("A source of this name exists already.");
const BANNED: ApiError = ApiError::Forbidden("User is banned from contributing.");

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_sources))
        .routes(routes!(lease_source))
        .routes(routes!(subscribe, unsubscribe))
        .merge(items::user())
}

/// Routes for users that call sites and the model before they answer.
pub fn slow_user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(suggest_source))
}

/// The route for users' clients that fetch posts, whose bodies have up to [`LARGEST_POSTS`].
pub fn slow_user_posts() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(ingest_posts))
}

/// Routes for administrators that scrape before they answer.
pub fn slow_admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(run_source))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SourceResponse {
    id: SourceId,
    name: String,
    /// `reddit` or `brand`.
    #[schema(schema_with = kind_schema)]
    source_type: &'static str,
    is_global: bool,
    last_scraped_at: Option<Timestamp>,
    config: Value,
    lease_expires_at: Option<Timestamp>,
    subscribed: bool,
    needs_client_ingest: bool,
}

#[derive(Serialize, ToSchema)]
struct ListSourcesResponse {
    sources: Vec<SourceResponse>,
}

/// Lists the sources that the user can follow.
#[utoipa::path(get, path = "/api/scraper/sources", responses((status = 200, body = ListSourcesResponse)))]
async fn list_sources(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
) -> Result<AppJson<ListSourcesResponse>, ApiError> {
    let (sources, followed) =
        tokio::try_join!(app.data.sources.visible_to(&user), app.data.subscriptions.active(&user))?;
    let now = app.clock.now().into();
    let wire = |source: Source| SourceResponse {
        subscribed: followed.contains(&source.id),
        needs_client_ingest: source.needs_client_ingest(now),
        id: source.id,
        name: source.name,
        source_type: source.source_type.shown(),
        is_global: source.is_global,
        last_scraped_at: source.last_scraped_at,
        config: source.config,
        lease_expires_at: source.lease_expires_at,
    };
    Ok(AppJson(ListSourcesResponse { sources: sources.into_iter().map(wire).collect() }))
}

/// Describes a kind of source as clients know it.
fn kind_schema() -> RefOr<Schema> {
    verbatim(json!({ "type": "string", "enum": SourceType::ALL.map(SourceType::shown) }))
}

struct SuggestSourceRequest {
    name: String,
    url: String,
    source_type: Option<String>,
}

impl Read for SuggestSourceRequest {
    fn read(fields: &mut Fields) -> Self {
        // Empty values are refused below, with a specific message.
        let name = fields.text("name", 0, LONGEST_NAME);
        fields.rule("name", || json!({ "pattern": "[A-Za-z0-9]" }));
        let url = fields.text("url", 0, LONGEST_URL);
        fields.rule("url", || json!({ "format": "uri", "pattern": "^https://" }));
        let source_type = fields.optional_text("source_type", LONGEST_FIELD);
        fields.rule("source_type", || json!({ "enum": [SourceType::BrandSite.name(), SourceType::BrandSite.shown()] }));
        Self { name, url, source_type }
    }
}

described!(SuggestSourceRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SuggestSourceResponse {
    source_id: SourceId,
    name: String,
    config: Value,
}

/// Suggests a brand's site as a source.
#[utoipa::path(post, path = "/api/scraper/sources", request_body(content = SuggestSourceRequest, example = json!({"name": "Example", "url": "https://shop.example/new"})), responses(
    (status = 201, body = SuggestSourceResponse),
    (status = 400, description = "The URL is refused, the name has no letter or digit, or the type is not supported."),
    (status = 409, description = "Another user has a source of this name."),
    (status = 429, description = "The caller's token budget is used up.")
))]
async fn suggest_source(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppJson(body): AppJson<SuggestSourceRequest>,
) -> Result<(StatusCode, AppJson<SuggestSourceResponse>), ApiError> {
    let kind = body.source_type.as_deref().map(SourceType::parse);
    if kind.is_some_and(|kind| kind != Some(SourceType::BrandSite)) {
        return Err(ApiError::BadRequest("source_type must be 'brand_site'"));
    }
    let name = body.name.trim().to_owned();
    let source_id = SourceId::of_brand(&name).ok_or(ApiError::BadRequest("name must have a letter or a digit"))?;
    let url = app.web.check(&body.url).await?;
    // Before asking the model: the source could not be saved.
    if app.data.sources.find(&source_id).await?.is_some_and(|source| !source.is_own(&user)) {
        return Err(TAKEN);
    }
    app.budget.check(&user).await??;
    let config = app.scraper.suggest(&user, &url).await.map_err(|error| match error {
        scraper::Error::OverBudget { retry_after } => BudgetExceeded { retry_after }.into(),
        error => ApiError::failed("Could not generate scraper config.", error),
    })?;
    match app.data.sources.suggest(&source_id, &name, &config, &user, app.clock.now().into()).await? {
        Suggested::Saved => Ok((StatusCode::CREATED, AppJson(SuggestSourceResponse { source_id, name, config }))),
        Suggested::Taken => Err(TAKEN),
    }
}

impl From<UrlRefused> for ApiError {
    fn from(refused: UrlRefused) -> Self {
        Self::BadValue(refused.to_string())
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LeaseResponse {
    status: &'static str,
    expires_at: Timestamp,
}

/// Leases a source, so that no other client fetches it meanwhile.
#[utoipa::path(post, path = "/api/scraper/lease/{source_id}", params(("source_id" = SourceId, Path, example = "reddit-malefashionadvice")), responses(
    (status = 200, body = LeaseResponse),
    (status = 403, description = "The caller is banned."),
    (status = 404, description = "Source not found."),
    (status = 409, description = "The source is leased by another user, or needs no client."),
    (status = 429, description = "The caller leased the source before without submitting anything.")
))]
async fn lease_source(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(source_id): AppPath<SourceId>,
) -> Result<AppJson<LeaseResponse>, ApiError> {
    if app.data.bans.find(&user).await?.is_some() {
        return Err(BANNED);
    }
    let source = visible_source(&app, &user, &source_id).await?;
    let now = Timestamp::from(app.clock.now());
    let expires_at = now + CLIENT_LEASE;
    let times = (expires_at, now + CLIENT_WAIT);
    match app.data.sources.claim_for_client(&source, &user, now, times).await? {
        ClientClaim::Granted => Ok(AppJson(LeaseResponse { status: "ok", expires_at })),
        ClientClaim::Theirs => Err(ApiError::Conflict("Lease already held by another user.")),
        ClientClaim::NotNeeded => Err(ApiError::Conflict("The source does not need posts from clients at the moment.")),
        ClientClaim::Waits(until) => Err(ApiError::TooManyRequests {
            detail: "You leased this source and sent no posts. Please wait before you lease it again.",
            reason: "lease",
            retry_after: (until.get() - now.get()).unsigned_abs(),
        }),
        ClientClaim::Gone => Err(NO_SOURCE),
    }
}

struct IngestPostsRequest {
    source_id: SourceId,
    posts: Vec<Value>,
}

impl Read for IngestPostsRequest {
    fn read(fields: &mut Fields) -> Self {
        Self {
            source_id: fields.text("source_id", 1, LONGEST_FIELD).into(),
            posts: fields.raw_objects("posts", MAX_POSTS),
        }
    }
}

described!(IngestPostsRequest);

#[derive(Serialize, ToSchema)]
struct IngestPostsResponse {
    count: usize,
    status: &'static str,
    verified: bool,
    /// Number of posts that were not accepted.
    dropped: usize,
}

/// Submits posts of a subreddit that the client fetched.
#[utoipa::path(post, path = "/api/scraper/ingest/reddit", request_body(content = IngestPostsRequest, example = json!({
        "source_id": "reddit-malefashionadvice",
        "posts": [{
            "id": "1abc",
            "title": "A post without a picture",
            "subreddit": "malefashionadvice",
            "permalink": "/r/malefashionadvice/comments/1abc/a/",
            "url": "https://www.reddit.com/r/malefashionadvice/comments/1abc/a/"
        }]
    })), responses(
    (status = 200, body = IngestPostsResponse),
    (status = 400, description = "The source is not a subreddit."),
    (status = 403, description = "The caller is banned."),
    (status = 404, description = "Source not found."),
    (status = 409, description = "The caller does not hold the lease."),
    (status = 429, description = "The daily limit of posts is reached.")
))]
async fn ingest_posts(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppJson(body): AppJson<IngestPostsRequest>,
) -> Result<AppJson<IngestPostsResponse>, ApiError> {
    if app.data.bans.find(&user).await?.is_some() {
        return Err(BANNED);
    }
    let source = visible_source(&app, &user, &body.source_id).await?;
    if source.source_type != SourceType::Reddit {
        return Err(ApiError::BadRequest("Source is not a subreddit."));
    }
    match app.scraper.submit(&source, &user, &body.posts).await {
        Ok(Submitted::Taken { report, verified, dropped }) => {
            Ok(AppJson(IngestPostsResponse { count: report.new_items, status: "ok", verified, dropped }))
        }
        Ok(Submitted::NothingValid) => {
            let dropped = body.posts.len();
            Ok(AppJson(IngestPostsResponse { count: 0, status: "no_valid_items", verified: false, dropped }))
        }
        Ok(Submitted::NoLease) => Err(ApiError::Conflict("Lease the source before you send posts for it.")),
        Ok(Submitted::DayUsedUp(retry_after)) => {
            let detail = "You have sent enough posts for today.";
            Err(ApiError::TooManyRequests { detail, reason: "posts", retry_after })
        }
        Ok(Submitted::Banned) => Err(BANNED),
        Err(error) => Err(ApiError::of(error)),
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SubscriptionResponse {
    source_id: SourceId,
    subscribed: bool,
}

/// Subscribes to a source and has it scraped.
#[utoipa::path(post, path = "/api/scraper/subscribe/{source_id}", params(("source_id" = SourceId, Path, example = "reddit-malefashionadvice")), responses(
    (status = 201, body = SubscriptionResponse),
    (status = 404, description = "Source not found."),
    (status = 429, description = "Too many of the caller's jobs are waiting.")
))]
async fn subscribe(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(source_id): AppPath<SourceId>,
) -> Result<(StatusCode, AppJson<SubscriptionResponse>), ApiError> {
    let source = visible_source(&app, &user, &source_id).await?;
    // Before the subscription: a refused user is not subscribed, and can retry.
    match app.scraper.queue_for_subscriber(&source, &user).await {
        Ok(_) => {}
        Err(scraper::Error::BacklogFull) => return Err(ApiError::BACKLOG_FULL),
        Err(error) => return Err(ApiError::of(error)),
    }
    app.data.subscriptions.begin(&user, &source_id, app.clock.now().into()).await?;
    Ok((StatusCode::CREATED, AppJson(SubscriptionResponse { source_id, subscribed: true })))
}

/// Unsubscribes from a source, even if it is no longer active.
#[utoipa::path(delete, path = "/api/scraper/subscribe/{source_id}", params(("source_id" = SourceId, Path, example = "reddit-malefashionadvice")), responses(
    (status = 200, body = SubscriptionResponse),
    (status = 404, description = "Source not found.")
))]
async fn unsubscribe(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(source_id): AppPath<SourceId>,
) -> Result<AppJson<SubscriptionResponse>, ApiError> {
    if !app.data.subscriptions.end(&user, &source_id).await? {
        visible_source(&app, &user, &source_id).await?;
    }
    Ok(AppJson(SubscriptionResponse { source_id, subscribed: false }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RunSourceResponse {
    source_id: SourceId,
    new_items: usize,
}

/// Scrapes a source.
#[utoipa::path(post, path = "/api/scraper/run/{source_id}", params(("source_id" = SourceId, Path, example = "reddit-malefashionadvice")), responses(
    (status = 200, body = RunSourceResponse),
    (status = 404, description = "Source not found."),
    (status = 409, description = "The source is being scraped.")
))]
async fn run_source(
    State(app): State<AppState>,
    CurrentUser(admin): CurrentUser,
    AppPath(source_id): AppPath<SourceId>,
    prefer: PreferAsync,
) -> Result<Response, ApiError> {
    let source = app.data.sources.find(&source_id).await?.ok_or(NO_SOURCE)?;
    if let PreferAsync::Yes(key) = prefer {
        return respond::accept(&app.jobs, &admin, kinds::SCRAPE, &ScrapeInput { source_id }, key.as_deref()).await;
    }
    match app.scraper.run(&source, &Owner::unique()).await {
        Ok(report) => Ok(AppJson(RunSourceResponse { source_id, new_items: report.new_items }).into_response()),
        Err(scraper::Error::Missing) => Err(NO_SOURCE),
        Err(scraper::Error::Leased) => Err(ApiError::Conflict("Source is being scraped.")),
        Err(error) => Err(ApiError::failed("Scrape failed.", error)),
    }
}

/// Loads a source that the user may see.
async fn visible_source(app: &AppState, user: &UserId, id: &SourceId) -> Result<Source, ApiError> {
    let found = app.data.sources.find(id).await?;
    found.filter(|source| source.is_visible_to(user)).ok_or(NO_SOURCE)
}
