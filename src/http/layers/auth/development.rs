//! The development bypass: whether a request may act as the development user without a credential.
//!
//! Decided per request, because others can reach a listener on loopback: through a proxy or tunnel on the machine, from
//! a page in the developer's browser (a foreign `Origin`), and from a page whose name resolves to 127.0.0.1 (DNS
//! rebinding, visible in `Host`).

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::{FORWARDED, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName};

use super::Evidence;
use crate::config::AllowedOrigins;
use crate::http::layers::limits::Peer;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Decision of the bypass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    /// The request comes from this machine, and not from a foreign page.
    Applies,
    /// A credential is needed; the reason is for the log.
    Denied(&'static str),
    /// A page of a foreign origin sent the request.
    Foreign,
}

/// Decides whether the bypass applies to a request.
pub fn decide(evidence: &Evidence<'_>, origins: &AllowedOrigins) -> Bypass {
    let headers = evidence.headers;
    if is_foreign(headers, origins) {
        return Bypass::Foreign;
    }
    if !evidence.peer.is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback()) {
        return Bypass::Denied("the caller is on another machine");
    }
    if !is_addressed_to_loopback(evidence) {
        return Bypass::Denied("the host of the request is not a loopback name");
    }
    if was_forwarded(headers) || headers.keys().any(is_mark_of_proxy) {
        return Bypass::Denied("the request came through a proxy");
    }
    Bypass::Applies
}

/// Whether headers show that a proxy forwarded the request.
pub fn was_forwarded(headers: &HeaderMap) -> bool {
    let is_mark = |name: &HeaderName| name.as_str().starts_with("x-forwarded-") || name.as_str().starts_with("x-arr-");
    headers.contains_key(FORWARDED) || headers.keys().any(is_mark)
}

/// Whether a header shows that a proxy or tunnel has its own name for the client.
fn is_mark_of_proxy(name: &HeaderName) -> bool {
    const MARKS: [&str; 5] = ["via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"];
    MARKS.contains(&name.as_str()) || name.as_str().starts_with("x-azure-")
}

fn is_foreign(headers: &HeaderMap, origins: &AllowedOrigins) -> bool {
    let mut sent = headers.get_all(ORIGIN).iter().peekable();
    if sent.peek().is_none() {
        // Navigations and pictures come without an origin. "none" is the address bar, and "same-site" a page of this
        // host at another port: a site of one machine is a scheme and a host (https://html.spec.whatwg.org/#sites).
        return headers.get_all(SEC_FETCH_SITE).iter().any(|site| match site.as_bytes() {
            b"same-origin" | b"none" => false,
            b"same-site" => !are_pages_of_host_allowed(headers, origins),
            _ => true,
        });
    }
    let host = headers.get(HOST).map(|host| [b"http://", host.as_bytes()].concat());
    sent.any(|origin| !origins.allows(origin.as_bytes()) && host.as_deref() != Some(origin.as_bytes()))
}

/// Whether pages of the requested host are allowed, whatever their port.
fn are_pages_of_host_allowed(headers: &HeaderMap, origins: &AllowedOrigins) -> bool {
    let host = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    host.is_some_and(|host| origins.allows(format!("http://{}", host.host()).as_bytes()))
}

/// Whether `Host`, and the host of the URL if it has one, name this machine.
fn is_addressed_to_loopback(evidence: &Evidence<'_>) -> bool {
    let mut hosts = evidence.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let host = Authority::try_from(host.as_bytes());
    host.is_ok_and(|host| is_loopback_name(&host)) && evidence.uri.authority().is_none_or(is_loopback_name)
}

fn is_loopback_name(authority: &Authority) -> bool {
    let host = authority.host();
    // Nothing but a port may follow: no user before it, and no name after an address in brackets.
    let port = authority.as_str().strip_prefix(host);
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if !port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
        return false;
    }
    if let Some(inside) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inside.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()) || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::{HeaderValue, Uri};

    use super::*;

    fn decide_for(peer: &str, uri: &str, headers: &[(&'static str, &'static str)]) -> Bypass {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let uri: Uri = uri.parse().unwrap();
        let peer = peer.parse::<SocketAddr>().ok().map(Peer);
        let origins = AllowedOrigins::new(vec!["https://app.example".to_owned()]).with_loopback();
        decide(&Evidence { headers: &map, uri: &uri, peer: peer.as_ref() }, &origins)
    }

    #[test]
    fn this_machine_is_let_in() {
        for (peer, host) in [
            ("127.0.0.1:5000", "localhost:7071"),
            ("127.0.0.1:5000", "LOCALHOST"),
            ("127.0.0.3:5000", "127.0.0.1:7071"),
            ("[::1]:5000", "[::1]:7071"),
            ("[::ffff:127.0.0.1]:5000", "localhost"),
        ] {
            assert_eq!(decide_for(peer, "/api/moods", &[("host", host)]), Bypass::Applies, "{peer} {host}");
        }
        let host = ("host", "localhost:7071");
        for header in [
            ("origin", "http://localhost:7071"),
            ("origin", "http://127.0.0.1:4200"),
            ("origin", "https://app.example"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(decide_for("127.0.0.1:5000", "/api/moods", &[host, header]), Bypass::Applies, "{header:?}");
        }
        let from_listed = [host, ("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
        assert_eq!(decide_for("127.0.0.1:5000", "/", &from_listed), Bypass::Applies);
        assert_eq!(decide_for("127.0.0.1:5000", "http://localhost:7071/api/moods", &[host]), Bypass::Applies);
    }

    #[test]
    fn others_need_a_credential() {
        let host = ("host", "localhost:7071");
        for (peer, uri, headers) in [
            ("192.168.1.7:5000", "/", &[host][..]),
            ("[2001:db8::1]:5000", "/", &[host]),
            ("", "/", &[host]),
            ("127.0.0.1:5000", "/", &[]),
            ("127.0.0.1:5000", "/", &[host, ("host", "attacker.example")]),
            ("127.0.0.1:5000", "/", &[("host", "attacker.example")]),
            ("127.0.0.1:5000", "/", &[("host", "attacker.example"), ("origin", "http://attacker.example")]),
            ("127.0.0.1:5000", "/", &[("host", "localhost.attacker.example")]),
            ("127.0.0.1:5000", "/", &[("host", "localhost@attacker.example")]),
            ("127.0.0.1:5000", "/", &[("host", "192.168.1.7:7071")]),
            ("127.0.0.1:5000", "/", &[("host", "[::2]")]),
            ("127.0.0.1:5000", "/", &[("host", "[::1]evil")]),
            ("127.0.0.1:5000", "/", &[("host", "localhost:http")]),
            ("127.0.0.1:5000", "/", &[("host", "")]),
            ("127.0.0.1:5000", "http://attacker.example/api/moods", &[host]),
            ("127.0.0.1:5000", "/", &[host, ("x-forwarded-for", "203.0.113.7")]),
            ("127.0.0.1:5000", "/", &[host, ("x-forwarded-host", "pluckit.example")]),
            ("127.0.0.1:5000", "/", &[host, ("forwarded", "for=203.0.113.7")]),
            ("127.0.0.1:5000", "/", &[host, ("x-arr-log-id", "1")]),
            ("127.0.0.1:5000", "/", &[host, ("x-azure-clientip", "203.0.113.7")]),
            ("127.0.0.1:5000", "/", &[host, ("via", "1.1 tunnel")]),
            ("127.0.0.1:5000", "/", &[host, ("x-real-ip", "203.0.113.7")]),
            ("127.0.0.1:5000", "/", &[host, ("cf-connecting-ip", "203.0.113.7")]),
        ] {
            let decided = decide_for(peer, uri, headers);
            assert!(matches!(decided, Bypass::Denied(_)), "{peer} {uri} {headers:?}: {decided:?}");
        }
    }

    #[test]
    fn foreign_pages_are_refused() {
        let host = ("host", "localhost:7071");
        for headers in [
            &[host, ("origin", "https://evil.example")][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://localhost.evil.example")],
            &[host, ("origin", "http://localhost:7071"), ("origin", "https://evil.example")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[("host", "app.example"), ("sec-fetch-site", "same-site")],
            &[("host", "127.0.0.3"), ("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(decide_for("127.0.0.1:5000", "/", headers), Bypass::Foreign, "{headers:?}");
        }
    }
}
