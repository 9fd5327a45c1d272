//! Polite access to scraped sites: one request at a time per host with a delay in between, and only what `robots.txt`
//! allows (RFC 9309).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;
use texting_robots::Robot;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep_until};
use tracing::debug;
use url::Url;

use crate::base::cache::ExpiringCache;
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::net::guarded::{Answer, Expect, FetchError, FetchLimits, GuardedClient, Validators};

/// Our name in `robots.txt`: the `User-Agent` without its version.
const ROBOT: &str = "pluckit-processor";

/// Longest delay that a site can request with `Crawl-delay`, which is not in the standard.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Limits of `robots.txt`; the part that the standard requires is read.
const ROBOTS_LIMITS: FetchLimits = FetchLimits { size_bytes: 2 * 1024 * 1024, time: Duration::from_secs(10) };
const MAX_ROBOTS_BYTES: usize = 500 * 1024;

/// Most lines with `$`; each becomes a regular expression.
const MAX_ANCHORED_LINES: usize = 500;

/// How long rules are cached; the standard allows a day.
const ROBOTS_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a site without reachable `robots.txt` is left alone.
const OUTAGE_LIFE: Duration = Duration::from_secs(10 * 60);
const KEPT_ROBOTS: usize = 256;

/// Number of hosts above which idle ones are dropped.
const KEPT_HOSTS: usize = 256;

/// Why a page was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum PoliteError {
    /// `robots.txt` forbids it.
    #[error("the site's robots.txt forbids it")]
    Forbidden,
    /// `robots.txt` is not available, so everything is forbidden.
    #[error("the site's robots.txt cannot be fetched")]
    NoRobots,
    /// The page could not be fetched.
    #[error("the page cannot be fetched")]
    Fetch(#[from] FetchError),
}

impl PoliteError {
    /// Whether another attempt may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Forbidden => false,
            Self::NoRobots => true,
            Self::Fetch(error) => error.is_temporary(),
        }
    }
}

/// Admits one request at a time per host, with a delay after each. Per process.
pub struct HostThrottle {
    pause: Duration,
    hosts: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
}

/// Permission for one request to a host. The delay begins on drop.
pub struct Turn(OwnedMutexGuard<Option<Instant>>);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0 = Some(Instant::now());
    }
}

impl HostThrottle {
    /// Creates a throttle with this delay.
    pub fn new(pause: Duration) -> Self {
        Self { pause, hosts: Mutex::default() }
    }

    /// Waits for permission; the host may have requested a longer delay.
    pub async fn turn(&self, host: &str, asked: Option<Duration>) -> Turn {
        let gate = self.gate(host);
        let last = gate.lock_owned().await;
        if let Some(last) = *last {
            let pause = asked.map_or(self.pause, |asked| asked.min(LONGEST_PAUSE).max(self.pause));
            sleep_until(last + pause).await;
        }
        Turn(last)
    }

    fn gate(&self, host: &str) -> Arc<tokio::sync::Mutex<Option<Instant>>> {
        let mut hosts = self.hosts.lock();
        if hosts.len() >= KEPT_HOSTS {
            hosts.retain(|_, gate| {
                Arc::strong_count(gate) > 1
                    || gate.try_lock().is_ok_and(|last| last.is_some_and(|last| last.elapsed() < LONGEST_PAUSE))
            });
        }
        hosts.entry(host.to_ascii_lowercase()).or_default().clone()
    }
}

/// Rules of a site.
enum Rules {
    /// Everything is allowed.
    Everything,
    /// Nothing is allowed.
    Nothing,
    /// The rules of the site's `robots.txt` apply.
    Robot(Box<Robot>),
}

impl Rules {
    fn allow(&self, url: &Url) -> Result<(), PoliteError> {
        match self {
            Self::Everything => Ok(()),
            Self::Nothing => Err(PoliteError::NoRobots),
            Self::Robot(robot) if robot.allowed(url.as_str()) => Ok(()),
            Self::Robot(_) => Err(PoliteError::Forbidden),
        }
    }

    fn pause(&self) -> Option<Duration> {
        match self {
            Self::Everything | Self::Nothing => None,
            Self::Robot(robot) => Duration::try_from_secs_f32(robot.delay?).ok(),
        }
    }
}

/// Fetches pages politely.
pub struct RobotsClient {
    web: Arc<GuardedClient>,
    throttle: Arc<HostThrottle>,
    rules: ExpiringCache<String, Arc<Rules>>,
    outages: ExpiringCache<String, Arc<Rules>>,
}

impl RobotsClient {
    /// Creates a client that uses these parts.
    pub fn new(web: Arc<GuardedClient>, throttle: Arc<HostThrottle>, clock: Arc<dyn Clock>) -> Self {
        Self {
            web,
            throttle,
            rules: ExpiringCache::new(KEPT_ROBOTS, ROBOTS_LIFE, clock.clone()),
            outages: ExpiringCache::new(KEPT_ROBOTS, OUTAGE_LIFE, clock),
        }
    }

    /// Fetches a page, unless the caller has the current version.
    ///
    /// # Errors
    /// When `robots.txt` forbids the page or its redirect, or the fetch fails.
    pub async fn page(&self, url: &Url, limits: FetchLimits, known: &Validators) -> Result<Answer, PoliteError> {
        let rules = self.rules(url).await;
        rules.allow(url)?;
        let host = url.host_str().unwrap_or_default();
        let turn = self.throttle.turn(host, rules.pause()).await;
        let answer = self.web.get_if_changed(url.as_str(), Expect::Html, limits, known).await?;
        drop(turn);
        if let Answer::Fetched(fetched) = &answer
            && fetched.url != *url
        {
            self.rules(&fetched.url).await.allow(&fetched.url)?;
        }
        Ok(answer)
    }

    async fn rules(&self, url: &Url) -> Arc<Rules> {
        let origin = url.origin().ascii_serialization();
        let find = || self.rules.get(&origin).or_else(|| self.outages.get(&origin));
        if let Some(rules) = find() {
            return rules;
        }
        let _turn = self.throttle.turn(url.host_str().unwrap_or_default(), None).await;
        // The previous holder may have fetched the same file.
        if let Some(rules) = find() {
            return rules;
        }
        let fetched = self.web.get(&format!("{origin}/robots.txt"), Expect::Robots, ROBOTS_LIMITS).await;
        let rules = Arc::new(match fetched {
            Ok(fetched) => {
                let parsed = tokio::task::spawn_blocking(move || parse(&fetched.body)).await;
                parsed.unwrap_or(Rules::Nothing)
            }
            Err(error) => without_file(&error),
        });
        let cache = if matches!(*rules, Rules::Nothing) { &self.outages } else { &self.rules };
        cache.insert(origin, rules.clone());
        rules
    }
}

/// Returns the rules of a site whose file cannot be read: sections 2.3.1.2 to 2.3.1.4 of the standard.
fn without_file(error: &FetchError) -> Rules {
    debug!(error = %Chain(error), "no robots.txt");
    match error {
        // The site asks to slow down, so do not start.
        FetchError::Status(StatusCode::TOO_MANY_REQUESTS) => Rules::Nothing,
        FetchError::Status(status) if status.is_client_error() => Rules::Everything,
        // The site answers with something else, which contains no rules.
        FetchError::UnexpectedContent { .. } | FetchError::TooManyRedirects => Rules::Everything,
        FetchError::Status(_)
        | FetchError::Refused(_)
        | FetchError::TooLarge { .. }
        | FetchError::TimedOut
        | FetchError::Failed(_) => Rules::Nothing,
    }
}

fn parse(file: &[u8]) -> Rules {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut anchored = 0;
    let mut text = Vec::with_capacity(file.len().min(MAX_ROBOTS_BYTES));
    for line in file[..file.len().min(MAX_ROBOTS_BYTES)].split(|byte| matches!(byte, b'\n' | b'\r')) {
        if line.contains(&b'$') {
            anchored += 1;
            if anchored > MAX_ANCHORED_LINES {
                continue;
            }
        }
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    Robot::new(ROBOT, &text).map_or(Rules::Nothing, |robot| Rules::Robot(Box::new(robot)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(file: &str, path: &str) -> bool {
        let url = Url::parse(&format!("https://shop.example{path}")).unwrap();
        parse(file.as_bytes()).allow(&url).is_ok()
    }

    #[test]
    fn rules_for_us_go_before_those_for_all() {
        let file = "\u{feff}User-agent: *\r\nDisallow: /\r\n\r\nUser-Agent: PluckIt-Processor\r\nDisallow: /cart\r\n\
                    Allow: /cart/help\r\nDisallow: /*.pdf$\r\nCrawl-delay: 3\r\n";
        for (path, allowed) in [
            ("/new", true),
            ("/cart", false),
            ("/cart/help", true),
            ("/a.pdf", false),
            ("/a.pdf?x", true),
            ("/robots.txt", true),
        ] {
            assert_eq!(allows(file, path), allowed, "{path}");
        }
        assert_eq!(parse(file.as_bytes()).pause(), Some(Duration::from_secs(3)));
        assert!(!allows("User-agent: *\nDisallow: /", "/new"));
        assert!(allows("", "/new") && allows("<html><body>Not here</body></html>", "/new"));
        assert_eq!(parse(b"User-agent: *\nCrawl-delay: -4").pause(), None);
    }

    #[test]
    fn a_hostile_file_is_read_in_part() {
        let mut file = "User-agent: *\nDisallow: /private\n".to_owned();
        for number in 0..100_000 {
            file.push_str(&format!("Disallow: /{number}/*a*b*c$\n"));
        }
        assert!(!allows(&file, "/private") && allows(&file, "/new"));
        assert!(!allows(&file, "/7/abc") && allows(&file, "/700/abc"));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_to_a_host_are_paused_between_and_hosts_do_not_wait_for_each_other() {
        let throttle = HostThrottle::new(Duration::from_secs(1));
        let start = Instant::now();
        drop(throttle.turn("a.example", None).await);
        drop(throttle.turn("b.example", None).await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(throttle.turn("A.example", None).await);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        drop(throttle.turn("a.example", Some(Duration::from_secs(4))).await);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        drop(throttle.turn("a.example", Some(Duration::MAX)).await);
        assert_eq!(start.elapsed(), Duration::from_secs(5) + LONGEST_PAUSE);
        let held = throttle.turn("c.example", None).await;
        let second = tokio::time::timeout(Duration::from_secs(60), throttle.turn("c.example", None)).await;
        assert!(second.is_err());
        drop(held);
        drop(throttle.turn("c.example", None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_that_nobody_visits_are_forgotten() {
        let throttle = HostThrottle::new(Duration::from_secs(1));
        for number in 0..4 * KEPT_HOSTS {
            drop(throttle.turn(&format!("{number}.example"), None).await);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(throttle.hosts.lock().len() <= KEPT_HOSTS + 16);
    }

    proptest! {
        #[test]
        fn any_file_is_read(file in proptest::collection::vec(any::<u8>(), 0..400), path in "[ -~]{0,40}") {
            if let Ok(url) = Url::parse(&format!("https://shop.example/{path}")) {
                parse(&file).allow(&url).ok();
            }
        }
    }
}
