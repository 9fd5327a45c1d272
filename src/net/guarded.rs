//! HTTP client for URLs that come from users, feeds and pages. A malicious URL can make a server connect to targets
//! that its author cannot reach: other machines in the network, the platform's metadata service, the server itself
//! (SSRF). This client only speaks HTTPS to host names whose addresses are all public, and connects to exactly the
//! addresses it checked, so a changed DNS answer has no effect. Each redirect is checked by the same rules. Size, time
//! and content type are limited.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{self, HeaderName, HeaderValue, LOCATION};
use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode, dns};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;
use url::{Host, ParseError, SyntaxViolation, Url};

use super::address::is_public;
use super::{CONNECT_TIMEOUT, POOL_IDLE_TIMEOUT, USER_AGENT, authorities, builder_that_trusts, read_at_most};
use crate::base::chain::Chain;

/// The HTTPS port; other ports must be allowed explicitly.
const HTTPS_PORT: u16 = 443;

/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// Time limit for resolving a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Concurrent name resolutions. The system's resolver blocks a thread while it waits, and unresponsive name servers
/// must not occupy all threads that the embedded store uses.
const RESOLVE_CONCURRENCY: usize = 32;

/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Largest response head over HTTP/2. Over HTTP/1 hyper has its own limit.
const MAX_HEAD_BYTES: u32 = 64 * 1024;

/// Longest name, and longest label (RFC 1035, section 2.3.4, without the final dot).
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// Names of this machine or network (RFC 6761, 6762, 8375, ICANN's reservation of `internal`, and the conventional
/// `localdomain`), alone or as a suffix.
const LOCAL_NAMES: [&str; 5] = ["localhost", "localdomain", "local", "internal", "home.arpa"];

/// Why a URL is refused. The text is shown to the user who provided the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Not a URL, or one that browsers would have to repair.
    #[error("URL is not valid.")]
    Invalid,
    /// Not an `https` URL.
    #[error("URL must use HTTPS.")]
    NotHttps,
    /// No hostname.
    #[error("URL must have a hostname.")]
    NoHostname,
    /// Credentials in the URL.
    #[error("URL must not contain credentials.")]
    Credentials,
    /// An IP address instead of a hostname, in any notation.
    #[error("IP-literal URLs are not permitted.")]
    IpLiteral,
    /// A port that is not allowed.
    #[error("URL must use the default port.")]
    Port,
    /// The name does not resolve, or not in time.
    #[error("Could not resolve hostname.")]
    Unresolved,
    /// An address of the name is not public, or the name belongs to the local network.
    #[error("URL resolves to a private or reserved address.")]
    NotPublic,
}

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

/// Content that the caller accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A raster image: anything under `image/` except SVG.
    Image,
    /// A web page.
    Html,
    /// A feed: RSS, Atom or other XML, JSON Feed, or plain text or gzip, which some sites declare.
    Feed,
    /// A sitemap: XML, plain text, or either of them gzipped.
    Sitemap,
    /// JSON.
    Json,
    /// Plain text.
    Text,
    /// `robots.txt`, with any text type or none.
    Robots,
}

impl Expect {
    /// Returns the value of the `Accept` header.
    const fn accept(self) -> &'static str {
        match self {
            Self::Image => "image/jpeg,image/png,image/webp,image/*;q=0.5",
            Self::Html => "text/html,application/xhtml+xml",
            Self::Feed => "application/rss+xml,application/atom+xml,application/xml;q=0.9,text/xml;q=0.9,*/*;q=0.1",
            Self::Sitemap => "application/xml,text/xml,application/gzip,*/*;q=0.1",
            Self::Json => "application/json",
            Self::Text => "text/plain",
            Self::Robots => "text/plain,*/*;q=0.1",
        }
    }

    /// Whether the content type is acceptable.
    fn accepts(self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_xml = essence.ends_with("+xml") && !essence.starts_with("image/")
            || matches!(essence.as_str(), "application/xml" | "text/xml");
        let is_json = essence.ends_with("+json") || matches!(essence.as_str(), "application/json" | "text/json");
        let is_packed =
            matches!(essence.as_str(), "application/gzip" | "application/x-gzip" | "application/octet-stream");
        match self {
            Self::Image => {
                essence.strip_prefix("image/").is_some_and(|kind| !kind.is_empty() && !kind.starts_with("svg"))
            }
            Self::Html => matches!(essence.as_str(), "text/html" | "application/xhtml+xml"),
            Self::Feed => is_xml || is_json || is_packed || essence == "text/plain",
            Self::Sitemap => is_xml || is_packed || essence == "text/plain",
            Self::Json => is_json,
            Self::Text => essence == "text/plain",
            Self::Robots => essence.is_empty() || essence.starts_with("text/") || essence == "application/octet-stream",
        }
    }
}

/// Limits of a fetch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest content, decompressed.
    pub size_bytes: usize,
    /// Total time, including name resolution, connections and redirects.
    pub time: Duration,
}

impl Default for Limits {
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

/// Resolves names to addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Resolves a lower-case ASCII name without a final dot.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Chooses the socket to connect to.
pub trait Dial: Send + Sync {
    /// Returns the socket for a checked address. The port is used only for URLs without one.
    fn socket(&self, checked: IpAddr) -> SocketAddr;
}

/// The operating system's resolver.
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(RESOLVE_CONCURRENCY)) }
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let name = name.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            // Held until the system call returns, which cannot be cancelled, even if we stop waiting earlier.
            let _permit = permit;
            (name.as_str(), HTTPS_PORT).to_socket_addrs().map(|found| found.map(|socket| socket.ip()).collect())
        });
        lookup.await.map_err(io::Error::other)?
    }
}

/// Connects to the checked address itself.
struct Direct;

impl Dial for Direct {
    fn socket(&self, checked: IpAddr) -> SocketAddr {
        SocketAddr::new(checked, HTTPS_PORT)
    }
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

/// Checks everything that needs no name resolution. Returns the normalised URL.
///
/// # Errors
/// The first violated rule.
pub fn check_url(text: &str) -> Result<Url, UrlRefused> {
    check_text(text, &[])
}

fn check_text(text: &str, extra_ports: &[u16]) -> Result<Url, UrlRefused> {
    let text = text.trim();
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(UrlRefused::NotHttps);
    }
    check_parts(parse(text, None)?, extra_ports)
}

/// Parses a URL, relative to `base` if given. Input that browsers repair silently is refused, because people and other
/// parsers see a different host in it.
fn parse(text: &str, base: Option<&Url>) -> Result<Url, UrlRefused> {
    let first = Cell::new(None);
    let note = |violation: SyntaxViolation| {
        let refused = match violation {
            SyntaxViolation::ExpectedDoubleSlash => UrlRefused::NoHostname,
            SyntaxViolation::EmbeddedCredentials => UrlRefused::Credentials,
            SyntaxViolation::Backslash | SyntaxViolation::TabOrNewlineIgnored | SyntaxViolation::C0SpaceIgnored => {
                UrlRefused::Invalid
            }
            _ => return,
        };
        first.set(first.get().or(Some(refused)));
    };
    let parsed = Url::options().base_url(base).syntax_violation_callback(Some(&note)).parse(text);
    if let Some(refused) = first.get() {
        return Err(refused);
    }
    parsed.map_err(|error| match error {
        ParseError::EmptyHost => UrlRefused::NoHostname,
        ParseError::InvalidIpv4Address | ParseError::InvalidIpv6Address => UrlRefused::IpLiteral,
        _ => UrlRefused::Invalid,
    })
}

fn check_parts(mut url: Url, extra_ports: &[u16]) -> Result<Url, UrlRefused> {
    if url.scheme() != "https" {
        return Err(UrlRefused::NotHttps);
    }
    let name = match url.host() {
        None => return Err(UrlRefused::NoHostname),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(UrlRefused::IpLiteral),
        Some(Host::Domain(name)) => name.strip_suffix('.').unwrap_or(name).to_owned(),
    };
    if !is_dns_name(&name) {
        return Err(UrlRefused::Invalid);
    }
    // Public names have a dot; the system would look up others in the local network.
    if is_local(&name) || !name.contains('.') {
        return Err(UrlRefused::NotPublic);
    }
    if url.port().is_some_and(|port| !extra_ports.contains(&port)) {
        return Err(UrlRefused::Port);
    }
    // Certificates contain names without a final dot.
    url.set_host(Some(&name)).map_err(|_| UrlRefused::Invalid)?;
    Ok(url)
}

/// Whether the name can appear in a certificate (RFC 5280), allowing underscores, which some sites use.
fn is_dns_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.split('.').all(|label| {
            (1..=MAX_LABEL_BYTES).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

fn is_local(name: &str) -> bool {
    LOCAL_NAMES
        .iter()
        .any(|local| name.strip_suffix(local).is_some_and(|before| before.is_empty() || before.ends_with('.')))
}

/// Resolves names for the client and refuses non-public addresses.
#[derive(Clone)]
struct Guard {
    resolver: Arc<dyn Resolve>,
    dial: Arc<dyn Dial>,
}

impl Guard {
    /// Resolves a name; fails unless all its addresses are public.
    async fn public_addresses(&self, name: &str) -> Result<Vec<IpAddr>, UrlRefused> {
        let found = match timeout(RESOLVE_TIMEOUT, self.resolver.addresses(name)).await {
            Ok(Ok(found)) => found,
            // The refusal omits the cause, which would reveal our network to the user who provided the URL.
            Ok(Err(error)) => {
                debug!(error = %Chain(&error), "name not resolved");
                return Err(UrlRefused::Unresolved);
            }
            Err(_) => {
                debug!("name not resolved in time");
                return Err(UrlRefused::Unresolved);
            }
        };
        if found.is_empty() {
            return Err(UrlRefused::Unresolved);
        }
        if !found.iter().copied().all(is_public) {
            return Err(UrlRefused::NotPublic);
        }
        Ok(found)
    }
}

impl dns::Resolve for Guard {
    fn resolve(&self, name: dns::Name) -> dns::Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = guard.public_addresses(name.as_str()).await?;
            let sockets: Vec<_> =
                addresses.into_iter().take(MAX_ADDRESSES).map(|address| guard.dial.socket(address)).collect();
            Ok(Box::new(sockets.into_iter()) as dns::Addrs)
        })
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
    pub async fn get(&self, url: &str, expect: Expect, limits: Limits) -> Result<Fetched, FetchError> {
        match self.get_if_changed(url, expect, limits, &Validators::default()).await? {
            Answer::Fetched(fetched) => Ok(fetched),
            Answer::NotModified => Err(FetchError::Status(StatusCode::NOT_MODIFIED)),
        }
    }

    /// Fetches a URL, unless the caller has the current version.
    ///
    /// # Errors
    /// Like [`GuardedClient::get`].
    pub async fn get_if_changed(
        &self,
        url: &str,
        expect: Expect,
        limits: Limits,
        known: &Validators,
    ) -> Result<Answer, FetchError> {
        let fetch = Box::pin(self.follow(url, expect, limits, known));
        timeout(limits.time, fetch).await.map_err(|_| FetchError::TimedOut)?
    }

    async fn follow(
        &self,
        text: &str,
        expect: Expect,
        limits: Limits,
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
async fn read(response: Response, url: Url, expect: Expect, limits: Limits) -> Result<Fetched, FetchError> {
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
