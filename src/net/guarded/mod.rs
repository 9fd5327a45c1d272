//! HTTP client for URLs that come from users, feeds and pages. A malicious URL can make a server connect to targets
//! that its author cannot reach: other machines in the network, the platform's metadata service, the server itself
//! (SSRF). This client only speaks HTTPS to host names whose addresses are all public, and connects to exactly the
//! addresses it checked, so a changed DNS answer has no effect. Each redirect is checked by the same rules. Size, time
//! and content type are limited.

mod content;
mod resolve;
mod rules;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderName, HeaderValue, LOCATION};
use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use super::{CONNECT_TIMEOUT, POOL_IDLE_TIMEOUT, USER_AGENT, authorities, builder_that_trusts, read_at_most};

pub use self::content::Expect;
pub use self::resolve::{Dial, Resolve, SystemResolver};
use self::resolve::{Direct, Guard};
pub use self::rules::{UrlRefused, check_url};
use self::rules::{check_parts, check_text, parse};

/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// Largest response head over HTTP/2. Over HTTP/1 hyper has its own limit.
const MAX_HEAD_BYTES: u32 = 64 * 1024;

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL, or a redirect, is refused.
    #[error("URL refused")]
    Refused(#[from] UrlRefused),
    /// More than five redirects.
    #[error("too many redirects")]
    TooManyRedirects,
    /// A status other than success.
    #[error("the site answered with status {0}")]
    Status(StatusCode),
    /// A content type or encoding that was not requested.
    #[error("the site answered with unexpected content: {got}")]
    UnexpectedContent {
        /// The type or encoding; empty if missing.
        got: String,
    },
    /// The content exceeds the limit after decompression.
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The time limit was exceeded.
    #[error("the site did not answer in time")]
    TimedOut,
    /// The connection failed: no connection, an untrusted certificate, or an incomplete answer.
    #[error("the site could not be read")]
    Failed(#[source] reqwest::Error),
}

impl FetchError {
    /// Whether the fetch may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(refused) => *refused == UrlRefused::Unresolved,
            Self::Status(status) => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::TimedOut | Self::Failed(_) => true,
            Self::TooManyRedirects | Self::UnexpectedContent { .. } | Self::TooLarge { .. } => false,
        }
    }
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref::<UrlRefused>() {
                return Self::Refused(*refused);
            }
            cause = error.source();
        }
        if error.is_timeout() {
            return Self::TimedOut;
        }
        // URLs can contain signatures, so they must not be logged.
        Self::Failed(error.without_url())
    }
}

/// Limits of a fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Largest content, decompressed.
    pub size_bytes: usize,
    /// Total time, including name resolution, connections and redirects.
    pub time: Duration,
}

impl Default for FetchLimits {
    /// Limits that suffice for a photo from a camera.
    fn default() -> Self {
        Self { size_bytes: 10 * 1024 * 1024, time: Duration::from_secs(20) }
    }
}

/// Validators of a resource's version, for conditional requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// Value of `ETag`.
    pub etag: Option<String>,
    /// Value of `Last-Modified`.
    pub last_modified: Option<String>,
}

/// A fetched resource.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Final URL, after redirects.
    pub url: Url,
    /// Content type as sent, with parameters.
    pub content_type: String,
    /// Content, decompressed.
    pub body: Bytes,
    /// Validators for the next [`GuardedClient::get_if_changed`].
    pub validators: Validators,
}

/// Answer to a conditional request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A different version of the resource.
    Fetched(Fetched),
    /// The version is unchanged.
    NotModified,
}

/// Parts of a [`GuardedClient`]. The default is for production; tests substitute their own internet under the same
/// rules.
pub struct GuardedOptions {
    /// Resolver whose addresses are checked.
    pub resolver: Arc<dyn Resolve>,
    /// Chooses the socket for a checked address; in production, the address itself.
    pub dial: Arc<dyn Dial>,
    /// Trusted certificates instead of the system's.
    pub roots: Option<Vec<Certificate>>,
    /// Allowed ports besides 443.
    pub extra_ports: Vec<u16>,
}

impl Default for GuardedOptions {
    fn default() -> Self {
        Self {
            resolver: Arc::new(SystemResolver::default()),
            dial: Arc::new(Direct),
            roots: None,
            extra_ports: Vec::new(),
        }
    }
}

/// HTTP client for URLs that come from users, feeds and pages. See the module documentation for its rules.
pub struct GuardedClient {
    client: Client,
    guard: Guard,
    extra_ports: Vec<u16>,
    /// `User-Agent` that replaces the default.
    user_agent: Option<HeaderValue>,
}

impl GuardedClient {
    /// Creates a client with its own connection pool.
    ///
    /// # Errors
    /// When the client cannot be created.
    pub fn new(options: GuardedOptions) -> reqwest::Result<Self> {
        let GuardedOptions { resolver, dial, roots, extra_ports } = options;
        let guard = Guard { resolver, dial };
        // A proxy would resolve the names again, unchecked.
        let client = builder_that_trusts(roots.as_deref().unwrap_or(authorities()))
            .https_only(true)
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .dns_resolver(guard.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .http2_max_header_list_size(MAX_HEAD_BYTES)
            .tcp_nodelay(true)
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self { client, guard, extra_ports, user_agent: None })
    }

    /// Returns a client that shares the connections but sends another `User-Agent`.
    #[must_use]
    pub fn with_user_agent(&self, user_agent: HeaderValue) -> Self {
        let Self { client, guard, extra_ports, user_agent: _ } = self;
        Self {
            client: client.clone(),
            guard: guard.clone(),
            extra_ports: extra_ports.clone(),
            user_agent: Some(user_agent),
        }
    }

    /// Checks a URL and its addresses without connecting. Returns the normalised URL.
    ///
    /// Use it for early feedback; every fetch checks again, since DNS answers change.
    ///
    /// # Errors
    /// The first violated rule.
    pub async fn check(&self, text: &str) -> Result<Url, UrlRefused> {
        let url = check_text(text, &self.extra_ports)?;
        self.guard.public_addresses(url.host_str().ok_or(UrlRefused::NoHostname)?).await?;
        Ok(url)
    }

    /// Fetches a URL.
    ///
    /// # Errors
    /// When the URL or a redirect is refused, the site fails, or the content is not acceptable.
    pub async fn get(&self, url: &str, expect: Expect, limits: FetchLimits) -> Result<Fetched, FetchError> {
        match self.get_if_changed(url, expect, limits, &Validators::default()).await? {
            Answer::Fetched(fetched) => Ok(fetched),
            Answer::NotModified => Err(FetchError::Status(StatusCode::NOT_MODIFIED)),
        }
    }

    /// Fetches a URL, unless the caller has the current version.
    ///
    /// # Errors
    /// When the URL is refused, or the site fails, as for [`GuardedClient::get`].
    pub async fn get_if_changed(
        &self,
        url: &str,
        expect: Expect,
        limits: FetchLimits,
        known: &Validators,
    ) -> Result<Answer, FetchError> {
        let fetch = Box::pin(self.follow(url, expect, limits, known));
        timeout(limits.time, fetch).await.map_err(|_| FetchError::TimedOut)?
    }

    async fn follow(
        &self,
        text: &str,
        expect: Expect,
        limits: FetchLimits,
        known: &Validators,
    ) -> Result<Answer, FetchError> {
        let mut url = check_text(text, &self.extra_ports)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(&url, expect, known).await?;
            match response.status() {
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = self.redirect_target(&url, &response)?,
                StatusCode::NOT_MODIFIED if *known != Validators::default() => return Ok(Answer::NotModified),
                StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                    return Ok(Answer::Fetched(read(response, url, expect, limits).await?));
                }
                status => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::TooManyRedirects)
    }

    async fn request(&self, url: &Url, expect: Expect, known: &Validators) -> reqwest::Result<Response> {
        let mut request = self.client.get(url.clone()).header(ACCEPT, expect.accept());
        if let Some(user_agent) = &self.user_agent {
            request = request.header(header::USER_AGENT, user_agent);
        }
        if let Some(etag) = &known.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(last_modified) = &known.last_modified {
            request = request.header(IF_MODIFIED_SINCE, last_modified);
        }
        request.send().await
    }

    fn redirect_target(&self, from: &Url, response: &Response) -> Result<Url, FetchError> {
        let location = header(response, LOCATION).ok_or(FetchError::Status(response.status()))?;
        Ok(check_parts(parse(&location, Some(from))?, &self.extra_ports)?)
    }
}

/// Reads the content up to the limit.
async fn read(response: Response, url: Url, expect: Expect, limits: FetchLimits) -> Result<Fetched, FetchError> {
    let content_type = header(&response, CONTENT_TYPE).unwrap_or_default();
    if !expect.accepts(&content_type) {
        return Err(FetchError::UnexpectedContent { got: content_type });
    }
    // The client removes the header when it decompresses, so a remaining header names an unsupported encoding.
    if let Some(got) = header(&response, CONTENT_ENCODING).filter(|got| !got.eq_ignore_ascii_case("identity")) {
        return Err(FetchError::UnexpectedContent { got });
    }
    let limit_bytes = limits.size_bytes;
    let validators = Validators { etag: header(&response, ETAG), last_modified: header(&response, LAST_MODIFIED) };
    let body = read_at_most(response, limit_bytes).await?.ok_or(FetchError::TooLarge { limit_bytes })?;
    Ok(Fetched { url, content_type, body, validators })
}

/// Returns a header's value as text, including non-ASCII characters, which some sites send in `Location`.
fn header(response: &Response, name: HeaderName) -> Option<String> {
    response.headers().get(name).and_then(|value| str::from_utf8(value.as_bytes()).ok()).map(str::to_owned)
}
