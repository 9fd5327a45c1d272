//! Resolving names, only to public addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::dns;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use super::rules::UrlRefused;
use crate::base::chain::Chain;
use crate::net::address::is_public;

/// The HTTPS port; other ports must be allowed explicitly.
const HTTPS_PORT: u16 = 443;

/// Time limit for resolving a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Concurrent name resolutions. The system's resolver blocks a thread while it waits, and unresponsive name servers
/// must not occupy all threads that the embedded store uses.
const RESOLVE_CONCURRENCY: usize = 32;

/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

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
pub(super) struct Direct;

impl Dial for Direct {
    fn socket(&self, checked: IpAddr) -> SocketAddr {
        SocketAddr::new(checked, HTTPS_PORT)
    }
}

/// Resolves names for the client and refuses non-public addresses.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) dial: Arc<dyn Dial>,
}

impl Guard {
    /// Resolves a name; fails unless all its addresses are public.
    pub(super) async fn public_addresses(&self, name: &str) -> Result<Vec<IpAddr>, UrlRefused> {
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
