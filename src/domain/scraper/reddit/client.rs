//! Asks Reddit, for listings and for single posts.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue, InvalidHeaderValue, USER_AGENT};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::{
    Candidate, RedditConfig, Shown, Voice, candidate, data, is_listing, is_removed, is_same_post, join, listing,
    post_path, whole,
};
use crate::domain::scraper::polite::Gates;
use crate::net::guarded::{Expect, FetchError, GuardedClient, Limits};

/// A listing of a hundred posts with galleries has about 2 MB.
const LISTING_LIMITS: Limits = Limits { size_bytes: 8 * 1024 * 1024, time: Duration::from_secs(30) };
/// One post, and at most one comment.
const POST_LIMITS: Limits = Limits { size_bytes: 1024 * 1024, time: Duration::from_secs(10) };
/// How many posts of a submission are compared, and the time for all of them: somebody is waiting.
const SPOT_CHECKS: usize = 3;
const SPOT_CHECK_TIME: Duration = Duration::from_secs(20);

/// Why Reddit gave no posts.
#[derive(Debug, thiserror::Error)]
pub enum RedditError {
    /// It wants fewer requests.
    #[error("Reddit wants fewer requests")]
    Throttled,
    /// It refuses robots, or the subreddit is private.
    #[error("Reddit refuses to show it")]
    Refused,
    /// There is no such subreddit, or no such post.
    #[error("Reddit does not have it")]
    NotFound,
    /// It is out of reach, or answers something else.
    #[error("Reddit cannot be read")]
    Failed(#[source] FetchError),
    /// What it answered is not JSON.
    #[error("Reddit's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// It answered with something else than posts, and with status 200.
    #[error("Reddit's answer is no listing")]
    NotAListing,
}

impl RedditError {
    /// Whether the same may well succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Throttled | Self::NotAListing => true,
            Self::Failed(error) => error.is_temporary(),
            // A connection that broke off leaves half a text, but then the fetch itself fails.
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

    /// The failure in an answer that came as a success: `{"message": "Too Many Requests", "error": 429}`.
    fn of_body(answer: &Value) -> Self {
        let status = whole(&answer["error"]).and_then(|code| u16::try_from(code).ok());
        match status.and_then(|code| StatusCode::from_u16(code).ok()) {
            Some(status) if !status.is_success() => Self::of_status(status),
            Some(_) | None => Self::NotAListing,
        }
    }
}

/// What a comparison of a post with Reddit's showed.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparison {
    /// It is as Reddit has it: Reddit's own version of it, or nothing if the source does not take that.
    Same(Option<Box<Candidate>>),
    /// It is not: another title, another picture, or no such post.
    Mismatch,
    /// Reddit no longer shows it, which proves nothing against whoever sent it.
    Gone,
    /// Reddit could not be asked.
    Unreachable,
}

/// Reddit, at the address of the settings.
pub struct Reddit {
    web: Transport,
    base_url: Url,
    gates: Arc<Gates>,
}

enum Transport {
    /// For `https`, under the rules for everything that is fetched.
    Guarded(GuardedClient),
    /// For `http`: only an operator can ask for that, to put a service of his own in Reddit's place.
    Own(Client, HeaderValue),
}

impl Reddit {
    /// Asks at `base_url`, under the name `user_agent`, and waits at `gates`: through `web` if the address is `https`, else
    /// through `services`, the client for what the operator configured.
    ///
    /// # Errors
    /// When the name cannot be sent.
    pub fn new(
        web: &GuardedClient,
        services: &Client,
        base_url: Url,
        user_agent: &str,
        gates: Arc<Gates>,
    ) -> Result<Self, InvalidHeaderValue> {
        let user_agent = HeaderValue::from_str(user_agent)?;
        let web = if base_url.scheme() == "http" {
            Transport::Own(services.clone(), user_agent)
        } else {
            Transport::Guarded(web.with_user_agent(user_agent))
        };
        Ok(Self { web, base_url, gates })
    }

    /// The posts of a subreddit that its source takes.
    ///
    /// # Errors
    /// When Reddit does not answer with a listing.
    pub async fn fetch(&self, config: &RedditConfig) -> Result<Vec<Candidate>, RedditError> {
        let mut url = join(&self.base_url, &format!("/r/{}/{}.json", config.subreddit, config.sort.name()));
        url.query_pairs_mut().append_pair("limit", &config.limit.to_string());
        let answer = self.ask(&url, LISTING_LIMITS).await?;
        if is_listing(&answer) { Ok(listing(&answer, config)) } else { Err(RedditError::of_body(&answer)) }
    }

    /// Compares posts that somebody sent with what Reddit shows: title, address and pictures of the first three, in their
    /// order. Votes change all the time and prove nothing. Ends with the first that was forged, or when its time is over;
    /// what was not compared by then is missing at the end.
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
            Ok(answer) => compare(post, &answer, config),
            Err(RedditError::NotFound) => Comparison::Mismatch,
            Err(error) => {
                tracing::debug!(%error, "post not compared");
                Comparison::Unreachable
            }
        }
    }

    async fn ask(&self, url: &Url, limits: Limits) -> Result<Value, RedditError> {
        let _turn = self.gates.turn(url.host_str().unwrap_or_default(), None).await;
        let body = match &self.web {
            Transport::Guarded(web) => web.get(url.as_str(), Expect::Json, limits).await?.body,
            Transport::Own(client, user_agent) => {
                let read = read(client, user_agent, url, limits.size_bytes);
                timeout(limits.time, read).await.map_err(|_| FetchError::TimedOut)??.into()
            }
        };
        serde_json::from_slice(&body).map_err(RedditError::Unreadable)
    }
}

async fn read(client: &Client, user_agent: &HeaderValue, url: &Url, limit_bytes: usize) -> Result<Vec<u8>, FetchError> {
    let request = client.get(url.clone()).header(USER_AGENT, user_agent).header(ACCEPT, "application/json");
    let mut response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit_bytes {
            return Err(FetchError::TooLarge { limit_bytes });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Compares a post with the answer to its address: a listing of the post, then one of its comments.
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
    if is_same { Comparison::Same(candidate(post, config, Voice::Post).map(Box::new)) } else { Comparison::Mismatch }
}
