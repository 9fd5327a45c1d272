//! `/reddit-api`: listings of subreddits for the web client, which reads them from its own origin because Reddit does
//! not allow cross-origin requests. Nothing else of Reddit is forwarded.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use crate::domain::scraper::reddit::client::RedditError;
use crate::domain::scraper::reddit::{MAX_POSTS, RedditConfig};
use crate::http::error::ApiError;
use crate::http::extract::{AppPath, AppQuery, Fields, Read};
use crate::state::AppState;

/// Default number of posts in a listing.
const POSTS: i64 = 50;
/// `Retry-After` when Reddit is rate limiting. Try again later.
const THROTTLED: Duration = Duration::from_secs(60);
const NOT_FOUND: ApiError = ApiError::NotFound("Not Found");

/// Public routes, if the service serves the client.
#[expect(clippy::disallowed_methods, reason = "it is not a part of the API that is described")]
pub fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().route("/reddit-api/r/{subreddit}/{listing}", get(find_listing))
}

struct ListingRequest {
    limit: i64,
}

impl Read for ListingRequest {
    fn read(fields: &mut Fields) -> Self {
        Self { limit: fields.optional_integer("limit").unwrap_or(POSTS).clamp(1, MAX_POSTS as i64) }
    }
}

/// Forwards a listing of a subreddit: `hot.json`, `new.json` or `top.json`.
async fn find_listing(
    State(app): State<AppState>,
    AppPath((subreddit, listing)): AppPath<(String, String)>,
    AppQuery(ListingRequest { limit }): AppQuery<ListingRequest>,
) -> Result<Response, ApiError> {
    let sort = listing.strip_suffix(".json").filter(|sort| ["hot", "new", "top"].contains(sort)).ok_or(NOT_FOUND)?;
    let config = json!({ "subreddit": subreddit, "sort": sort, "limit": limit });
    let config = RedditConfig::read(&config).map_err(|_| NOT_FOUND)?;
    let listing = app.scraper.listing(&config).await?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], listing).into_response())
}

impl From<RedditError> for ApiError {
    fn from(error: RedditError) -> Self {
        match error {
            RedditError::Throttled => {
                let detail = "Reddit is rate limiting. Try again later.";
                Self::TooManyRequests { detail, reason: "reddit", retry_after: THROTTLED }
            }
            RedditError::Refused => Self::Forbidden("Reddit does not show this subreddit."),
            RedditError::NotFound => Self::NotFound("Reddit has no such subreddit."),
            RedditError::Failed(_) | RedditError::Unreadable(_) | RedditError::NotAListing => {
                Self::StepUnavailable { detail: "Reddit cannot be read.".to_owned(), cause: Arc::new(error) }
            }
        }
    }
}
