//! Outgoing HTTP clients.
//!
//! One client, one connection pool, for the services that the operator configured (model servers, segmentation, weather,
//! key sets). Their addresses come from settings and are trusted; addresses that come from users, feeds or pages are not,
//! and go only through the [guarded] one.

mod address;
pub mod guarded;

use std::time::Duration;

use reqwest::redirect::Policy;

/// How long a connection may take to be made, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an unused connection stays open. Shorter than the four minutes after which Azure's load balancers forget a
/// silent connection without telling either end.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// How often the system probes a connection that is silent, so that a dead peer is noticed while a stream is open.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The name that we give ourselves.
const USER_AGENT: &str = concat!("pluckit-processor/", env!("CARGO_PKG_VERSION"));

/// Makes the client for configured services.
///
/// It has no overall time limit, which would cut long streams off: callers set their own. It follows no redirects, so a
/// key is only ever sent to the address in the settings. Fails if the system has no usable TLS roots.
pub fn services() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .tcp_keepalive(TCP_KEEPALIVE)
        .tcp_nodelay(true)
        .redirect(Policy::none())
        .user_agent(USER_AGENT)
        .build()
}
