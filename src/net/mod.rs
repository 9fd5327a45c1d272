//! Outgoing HTTP clients.
//!
//! One client, one connection pool, for the services that the operator configured (model servers, segmentation, weather,
//! key sets). Their addresses come from settings and are trusted; addresses that come from users, feeds or pages are not,
//! and go only through the [guarded] one. All but that one are made by [`builder`], so that none asks a proxy for what is
//! on this machine.

mod address;
pub mod guarded;
pub mod html;
mod proxy;

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use tracing::warn;

use crate::base::chain::Chain;
use crate::base::crypto;

/// How long a connection may take to be made, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an unused connection stays open. Shorter than the four minutes after which Azure's load balancers forget a
/// silent connection without telling either end.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// How often the system probes a connection that is silent, so that a dead peer is noticed while a stream is open.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// What a server may send on a stream of HTTP/2 before it is read. By itself the client takes 2 MiB, which are tokens of a
/// model for nobody when the reader has stopped; within a region this is no brake on large answers.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// The limits that the SDK sets for its own client.
const AZURE_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const AZURE_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The name that we give ourselves.
const USER_AGENT: &str = concat!("pluckit-processor/", env!("CARGO_PKG_VERSION"));

/// Makes the client for configured services.
///
/// It has no overall time limit, which would cut long streams off: callers set their own. It follows no redirects, so a
/// key is only ever sent to the address in the settings.
///
/// # Errors
/// As [`build`].
pub fn services() -> reqwest::Result<Client> {
    build(|| {
        builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .tcp_keepalive(TCP_KEEPALIVE)
            .tcp_nodelay(true)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .redirect(Policy::none())
            .user_agent(USER_AGENT)
    })
}

/// Makes the client for Azure's storage services and for the identity service of its machines.
///
/// # Errors
/// As [`build`].
pub fn azure() -> reqwest::Result<Client> {
    build(|| builder().connect_timeout(AZURE_CONNECT_TIMEOUT).read_timeout(AZURE_READ_TIMEOUT).redirect(Policy::none()))
}

/// Begins a client for configured addresses: it asks hosts outside through the proxy of the environment, if there is one,
/// and never those on this machine or in its network.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn builder() -> ClientBuilder {
    crypto::install();
    Client::builder().proxy(proxy::for_hosts_outside())
}

/// Builds a client. Where there are no certificates of authorities, as in a bare container, it trusts no HTTPS server, and
/// all else works.
///
/// # Errors
/// When the builder holds what cannot be.
pub fn build(builder: impl Fn() -> ClientBuilder) -> reqwest::Result<Client> {
    builder().build().or_else(|error| {
        let client = builder().tls_certs_only([]).build()?;
        warn!(error = %Chain(&error), "no HTTPS server is trusted: install ca-certificates");
        Ok(client)
    })
}

/// Whether there are certificates of authorities, by which HTTPS servers are trusted.
pub fn has_authorities() -> bool {
    builder().build().is_ok()
}
