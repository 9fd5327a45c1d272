//! Decides which hosts are called through a proxy.
//!
//! The environment may name a proxy (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`) and exceptions (`NO_PROXY`). A proxy is
//! for external hosts: it cannot reach this machine. Loopback and private addresses, and names of the local network,
//! are always called directly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::Proxy;
use url::{Host, Url};

use super::address;

/// Name endings that do not exist in public DNS.
const LOCAL_ENDINGS: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];

/// Returns the environment's proxy, for external hosts.
pub(super) fn for_hosts_outside() -> Proxy {
    by(Matcher::from_system())
}

fn by(environment: Matcher) -> Proxy {
    Proxy::custom(move |url| {
        if is_near(url) {
            return None;
        }
        address_of(&environment.intercept(&url.as_str().parse().ok()?)?)
    })
}

/// Whether the host is this machine or in its network.
pub fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            // A name without a dot belongs to a container or the local network.
            !name.contains('.') || LOCAL_ENDINGS.iter().any(|ending| name.ends_with(ending))
        }
        Some(Host::Ipv4(address)) => !address::is_public(address.into()),
        Some(Host::Ipv6(address)) => !address::is_public(address.to_canonical()),
        None => false,
    }
}

/// Returns the proxy's URL, including credentials.
fn address_of(proxy: &Intercept) -> Option<Url> {
    let mut url: Url = proxy.uri().to_string().parse().ok()?;
    if let Some(basic) = proxy.basic_auth() {
        let encoded = basic.to_str().ok()?.strip_prefix("Basic ")?;
        let credentials = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let (user, password) = credentials.split_once(':')?;
        url.set_username(user).ok()?;
        url.set_password(Some(password)).ok()?;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_needs_no_proxy() {
        let is_near = |host: &str| is_near(&format!("http://{host}/v1").parse().unwrap());
        for host in [
            "127.0.0.1:11434",
            "127.8.9.1",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.20",
            "169.254.169.254",
            "[fd00::1]",
            "[fe80::1]",
            "localhost",
            "LOCALHOST.:80",
            "ollama",
            "azurite:10000",
            "models.localhost",
            "printer.local",
            "host.docker.internal",
        ] {
            assert!(is_near(host), "{host}");
        }
        for host in
            ["api.openai.com", "8.8.8.8", "172.32.0.1", "[2606:4700::1111]", "local.example", "internal.example"]
        {
            assert!(!is_near(host), "{host}");
        }
    }

    #[test]
    fn the_environment_s_proxy_is_asked_with_its_credentials() {
        let environment = Matcher::builder().all("http://ada:p%40ss@proxy.example:3128").no("spared.example").build();
        let asked = |host: &str| environment.intercept(&format!("https://{host}/").parse().unwrap());
        let url = address_of(&asked("api.openai.com").unwrap()).unwrap();
        assert_eq!(url.as_str(), "http://ada:p%40ss@proxy.example:3128/");
        assert!(asked("spared.example").is_none());
    }
}
