//! Listening address and public URL.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use url::Url;

use super::AllowedOrigins;
use super::is_loopback;
use super::reader::{Error, Reader};

/// Address, port and origins.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port to listen on; 0 picks a free one.
    pub port: u16,
    /// Whether the Functions host started the process.
    pub under_functions_host: bool,
    /// Web origins whose pages may call the API.
    pub allowed_origins: AllowedOrigins,
    /// Whether the console is served.
    pub console: bool,
    /// URL at which clients reach the service, if it differs from the address it listens on.
    pub public_url: Option<Url>,
    /// Directory of a built web client to serve; ignored under the Functions host.
    pub web_root: Option<PathBuf>,
}

impl Server {
    /// Returns the URL at which clients reach the service; `address` is what it listens on.
    pub fn public_base(&self, address: SocketAddr) -> Url {
        // Clients cannot connect to this address.
        let host = match address.ip() {
            IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            host => host,
        };
        let listener = format!("http://{}", SocketAddr::new(host, address.port()));
        self.public_url.clone().unwrap_or_else(|| Url::parse(&listener).expect("an address makes a URL"))
    }
}

impl Server {
    /// Returns the directory of the web client that is served. Under the Functions host there is none, because `GET /`
    /// belongs to the host.
    pub fn served_client(&self) -> Option<&Path> {
        self.web_root.as_deref().filter(|_| !self.under_functions_host)
    }
}

pub(super) fn read_port(reader: &mut Reader<'_>) -> Result<u16, Error> {
    reader.number("PORT", 7071, 0, u16::MAX)
}

impl Server {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>, under_functions_host: bool) -> Result<Self, Error> {
        let bind = reader.parsed("PLUCKIT_BIND", IpAddr::V4(Ipv4Addr::LOCALHOST), "an IP address")?;
        let port = read_port(reader)?;
        let origins = reader.list("CORS_ALLOWED_ORIGINS", &[',']);
        let (bind, port) = if under_functions_host {
            (IpAddr::V4(Ipv4Addr::LOCALHOST), reader.number("FUNCTIONS_CUSTOMHANDLER_PORT", 0, 1, u16::MAX)?)
        } else {
            (bind, port)
        };
        let public_url = reader.optional_url("PLUCKIT_PUBLIC_URL")?;
        let site = reader.optional("WEBSITE_HOSTNAME").and_then(|host| {
            // The host's tools on a developer's machine also set it, but do not support TLS.
            let is_local = Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url));
            Url::parse(&format!("{}://{host}", if is_local { "http" } else { "https" })).ok()
        });
        let public_url = public_url.or(site);
        let allowed_origins = AllowedOrigins::new(origins);
        let web_root = reader.optional("WEB_ROOT").map(PathBuf::from);
        Ok(Server { bind, port, under_functions_host, allowed_origins, console: false, public_url, web_root })
    }
}
