//! Outgoing HTTP clients.
//!
//! One client with one connection pool calls the services that the operator configured (model servers, segmentation,
//! weather, key sets); their URLs are trusted. URLs that come from users, feeds or pages go through the [guarded]
//! client only. All clients but the guarded one come from [`builder`], which bypasses proxies for hosts on this
//! machine.

mod address;
pub mod guarded;
pub mod html;
mod proxy;
pub mod segmentation;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Response};
use tracing::warn;

use crate::base::crypto;

/// Time limit for connecting, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long idle connections are kept. Shorter than the four minutes after which Azure's load balancers silently drop a
/// connection.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Interval of TCP keep-alive probes, which detect a dead peer while a stream is open.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// HTTP/2 window per stream: how much a server may send ahead. The default of 2 MiB would let a model generate tokens
/// for a stalled reader; within a region, 64 KiB does not slow down large answers.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// Limits that the Azure SDK sets for its own client.
const AZURE_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const AZURE_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Value of `User-Agent`.
const USER_AGENT: &str = concat!("pluckit-processor/", env!("CARGO_PKG_VERSION"));

/// Returns the system's CA certificates. The first call reads hundreds of files, which takes milliseconds.
///
/// Without any, as in a bare container, clients trust no HTTPS server; everything else works.
pub fn authorities() -> &'static [Certificate] {
    static AUTHORITIES: LazyLock<Vec<Certificate>> = LazyLock::new(|| {
        // An error affects only one file; certificates from the others are used.
        let found = rustls_native_certs::load_native_certs().certs;
        found.iter().filter_map(|certificate| Certificate::from_der(certificate).ok()).collect()
    });
    &AUTHORITIES
}

/// Creates the client for configured services.
///
/// It has no overall time limit, which would cut long streams; callers set their own. It follows no redirects, so that
/// keys only go to the configured host.
///
/// # Errors
/// When the client cannot be created.
pub fn services() -> reqwest::Result<Client> {
    if authorities().is_empty() {
        warn!("no CA certificates found: install ca-certificates");
    }
    builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .tcp_keepalive(TCP_KEEPALIVE)
        .tcp_nodelay(true)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .redirect(Policy::none())
        .user_agent(USER_AGENT)
        .build()
}

/// Creates the client for Azure Storage and managed identities.
///
/// # Errors
/// When the client cannot be created.
pub fn azure() -> reqwest::Result<Client> {
    builder().connect_timeout(AZURE_CONNECT_TIMEOUT).read_timeout(AZURE_READ_TIMEOUT).redirect(Policy::none()).build()
}

/// Returns a builder for a client that uses the environment's proxy for external hosts, but not for this machine or
/// network.
pub fn builder() -> ClientBuilder {
    builder_that_trusts(authorities())
}

/// Returns a builder like [`builder`] that trusts these certificate authorities.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn builder_that_trusts(authorities: &[Certificate]) -> ClientBuilder {
    crypto::install();
    Client::builder().proxy(proxy::for_hosts_outside()).tls_certs_only(authorities.iter().cloned())
}

/// Reads the body of an answer; `None` if it has more bytes than `limit`, announced or not.
///
/// # Errors
/// When the connection breaks.
pub async fn read_at_most(mut response: Response, limit: usize) -> reqwest::Result<Option<Bytes>> {
    if response.content_length().is_some_and(|announced| announced > limit as u64) {
        return Ok(None);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > limit - body.len() {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}
