//! Reddit client for listings and single posts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderValue, InvalidHeaderValue, USER_AGENT};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::{
    Candidate, PostOrigin, RedditConfig, Shown, candidate, data, is_listing, is_removed, is_same_post, join, listing,
    post_path,
};
use crate::base::chain::Chain;
use crate::domain::scraper::polite::HostThrottle;
use crate::model::lenient;
use crate::net::guarded::{Expect, FetchError, FetchLimits, GuardedClient};
use crate::net::read_at_most;

/// Limits of a listing; a hundred posts with galleries have about 2 MB.
const LISTING_LIMITS: FetchLimits = FetchLimits { size_bytes: 8 * 1024 * 1024, time: Duration::from_secs(30) };
/// Limits of a single post with at most one comment.
const POST_LIMITS: FetchLimits = FetchLimits { size_bytes: 1024 * 1024, time: Duration::from_secs(10) };
/// Posts that are checked per submission, and the time limit for all of them.
const SPOT_CHECKS: usize = 3;
const SPOT_CHECK_TIME: Duration = Duration::from_secs(20);

/// Why Reddit gave no posts.
#[derive(Debug, thiserror::Error)]
pub enum RedditError {
    /// Too many requests.
    #[error("Reddit is rate limiting")]
    Throttled,
    /// Reddit rejects robots, or the subreddit is private.
    #[error("Reddit refused access")]
    Refused,
    /// The subreddit or post does not exist.
    #[error("not found on Reddit")]
    NotFound,
    /// Reddit is unreachable, or answers with an error.
    #[error("Reddit cannot be read")]
    Failed(#[source] FetchError),
    /// The answer is not JSON.
    #[error("Reddit's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// The answer has status 200, but is not a listing.
    #[error("Reddit's answer is not a listing")]
    NotAListing,
}

impl RedditError {
    /// Whether another attempt may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Throttled | Self::NotAListing => true,
            Self::Failed(error) => error.is_temporary(),
            // A broken connection truncates the text, but then the fetch itself fails.
            Self::Refused | Self::NotFound | Self::Unreadable(_) => false,
        }
    }
}

impl From<FetchError> for RedditError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Status(status) => Self::of_status(status),
            error => Self::Failed(error),
        }
    }
}

impl RedditError {
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::TOO_MANY_REQUESTS => Self::Throttled,
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Self::Refused,
            StatusCode::NOT_FOUND | StatusCode::GONE => Self::NotFound,
            status => Self::Failed(FetchError::Status(status)),
        }
    }

    /// Classifies an error body with status 200: `{"message": "Too Many Requests", "error": 429}`.
    fn of_body(answer: &Value) -> Self {
        let status = lenient::whole_of::<i64>(&answer["error"]).and_then(|code| u16::try_from(code).ok());
        match status.and_then(|code| StatusCode::from_u16(code).ok()) {
            Some(status) if !status.is_success() => Self::of_status(status),
            Some(_) | None => Self::NotAListing,
        }
    }
}

/// Result of comparing a post with Reddit's.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparison {
    /// Equal: Reddit's version of the post, or none if the source does not accept it.
    Same(Option<Box<Candidate>>),
    /// Different: another title or picture, or no such post.
    Mismatch,
    /// Reddit no longer shows the post, so it cannot be verified.
    Gone,
    /// Reddit could not be reached.
    Unreachable,
}

/// Client for the configured Reddit URL.
pub struct Reddit {
    web: Transport,
    base_url: Url,
    throttle: Arc<HostThrottle>,
}

enum Transport {
    /// For `https`: the guarded client.
    Guarded(GuardedClient),
    /// For `http`, which only an operator can configure: the client for services.
    Own(Client, HeaderValue),
}

impl Reddit {
    /// Creates a client for `base_url` with this `User-Agent` and throttle. `https` uses `web`, anything else
    /// `services`.
    ///
    /// # Errors
    /// When the `User-Agent` is invalid.
    pub fn new(
        web: &GuardedClient,
        services: &Client,
        base_url: Url,
        user_agent: &str,
        throttle: Arc<HostThrottle>,
    ) -> Result<Self, InvalidHeaderValue> {
        let user_agent = HeaderValue::from_str(user_agent)?;
        let web = if base_url.scheme() == "http" {
            Transport::Own(services.clone(), user_agent)
        } else {
            Transport::Guarded(web.with_user_agent(user_agent))
        };
        Ok(Self { web, base_url, throttle })
    }

    /// Fetches the posts of a subreddit that its source accepts.
    ///
    /// # Errors
    /// When Reddit does not answer with a listing.
    pub async fn fetch(&self, config: &RedditConfig) -> Result<Vec<Candidate>, RedditError> {
        let (_, answer) = self.ask_for_listing(config).await?;
        Ok(listing(&answer, config))
    }

    /// Fetches the listing of a subreddit unchanged.
    ///
    /// # Errors
    /// When Reddit does not answer with a listing.
    pub async fn listing(&self, config: &RedditConfig) -> Result<Bytes, RedditError> {
        let asking = self.ask_for_listing(config);
        let (body, _) = timeout(LISTING_LIMITS.time, asking).await.map_err(|_| FetchError::TimedOut)??;
        Ok(body)
    }

    async fn ask_for_listing(&self, config: &RedditConfig) -> Result<(Bytes, Value), RedditError> {
        let mut url = join(&self.base_url, &format!("/r/{}/{}.json", config.subreddit, config.sort.name()));
        url.query_pairs_mut().append_pair("limit", &config.limit.to_string());
        let (body, answer) = self.ask(&url, LISTING_LIMITS).await?;
        if is_listing(&answer) { Ok((body, answer)) } else { Err(RedditError::of_body(&answer)) }
    }

    /// Compares title, URL and pictures of the first three submitted posts with Reddit's, in order. Votes change and
    /// prove nothing. Stops at the first forgery or time-out; the results may be fewer.
    pub async fn spot_check(&self, posts: &[Candidate], config: &RedditConfig) -> Vec<Comparison> {
        let mut found = Vec::new();
        let all = async {
            for post in posts.iter().take(SPOT_CHECKS) {
                let comparison = self.compare(post, config).await;
                let is_forged = comparison == Comparison::Mismatch;
                found.push(comparison);
                if is_forged {
                    break;
                }
            }
        };
        if timeout(SPOT_CHECK_TIME, all).await.is_err() {
            tracing::debug!("posts not compared in time");
        }
        found
    }

    async fn compare(&self, post: &Candidate, config: &RedditConfig) -> Comparison {
        let Some(path) = post_path(&post.product_url) else { return Comparison::Mismatch };
        let mut url = join(&self.base_url, &path);
        url.query_pairs_mut().append_pair("limit", "1");
        match self.ask(&url, POST_LIMITS).await {
            Ok((_, answer)) => compare(post, &answer, config),
            Err(RedditError::NotFound) => Comparison::Mismatch,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "post not compared");
                Comparison::Unreachable
            }
        }
    }

    async fn ask(&self, url: &Url, limits: FetchLimits) -> Result<(Bytes, Value), RedditError> {
        let _turn = self.throttle.turn(url.host_str().unwrap_or_default(), None).await;
        let body = match &self.web {
            Transport::Guarded(web) => web.get(url.as_str(), Expect::Json, limits).await?.body,
            Transport::Own(client, user_agent) => {
                let read = read(client, user_agent, url, limits.size_bytes);
                timeout(limits.time, read).await.map_err(|_| FetchError::TimedOut)??
            }
        };
        let answer = serde_json::from_slice(&body).map_err(RedditError::Unreadable)?;
        Ok((body, answer))
    }
}

async fn read(client: &Client, user_agent: &HeaderValue, url: &Url, limit_bytes: usize) -> Result<Bytes, FetchError> {
    let request = client.get(url.clone()).header(USER_AGENT, user_agent).header(ACCEPT, "application/json");
    let response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    read_at_most(response, limit_bytes).await?.ok_or(FetchError::TooLarge { limit_bytes })
}

/// Compares a post with Reddit's answer: a listing of the post, then one of its comments.
fn compare(claimed: &Candidate, answer: &Value, config: &RedditConfig) -> Comparison {
    let posts = if answer.is_array() { &answer[0] } else { answer };
    if !is_listing(posts) {
        return Comparison::Unreachable;
    }
    let Some(post) = posts["data"]["children"].get(0).map(data) else { return Comparison::Mismatch };
    if is_removed(post) {
        return Comparison::Gone;
    }
    let Some(shown) = Shown::read(post) else { return Comparison::Mismatch };
    let has = |picture: &String| shown.pictures.contains(picture);
    let is_same = shown.title == claimed.title
        && is_same_post(&shown.product_url, &claimed.product_url)
        && has(&claimed.image_url)
        && claimed.gallery_images.iter().all(has);
    if is_same {
        Comparison::Same(candidate(post, config, PostOrigin::Post).map(Box::new))
    } else {
        Comparison::Mismatch
    }
}
