//! Web origins (<https://www.rfc-editor.org/rfc/rfc6454>) whose pages may send requests.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The allowed origins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    /// Origins in the form that browsers send.
    listed: Vec<String>,
    /// Entries that are not origins.
    ignored: Vec<String>,
    /// Whether pages served by this machine are allowed as well.
    loopback: bool,
}

impl AllowedOrigins {
    /// Parses a list of origins: scheme, host, optional port. `*` and `null` are not origins.
    pub fn new(listed: Vec<String>) -> Self {
        let mut origins = Self::default();
        for text in listed {
            match parse(&text) {
                Some(origin) => origins.listed.push(origin),
                None => origins.ignored.push(text),
            }
        }
        origins
    }

    /// Also allows pages served by this machine, on any port.
    #[must_use]
    pub fn with_loopback(self) -> Self {
        Self { loopback: true, ..self }
    }

    /// Whether no origin is allowed.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && !self.loopback
    }

    /// Returns the entries that are not origins.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Whether the value of an `Origin` header is allowed.
    pub fn allows(&self, origin: &[u8]) -> bool {
        let listed = self.listed.iter().any(|listed| listed.as_bytes() == origin);
        listed || self.loopback && std::str::from_utf8(origin).is_ok_and(is_loopback)
    }
}

/// Normalises an origin as browsers write it: lower case, without the default port.
fn parse(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_bare = is_bare && url.username().is_empty() && url.password().is_none();
    let is_name = url.host_str().is_some_and(|host| !host.is_empty() && !host.contains('*'));
    (is_name && is_bare).then(|| url.origin().ascii_serialization())
}

fn is_loopback(origin: &str) -> bool {
    let Some(url) = Url::parse(origin).ok().filter(|url| url.origin().ascii_serialization() == origin) else {
        return false;
    };
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == Ipv6Addr::LOCALHOST,
        None => false,
    };
    url.scheme() == "http" && is_here
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &[&str]) -> AllowedOrigins {
        AllowedOrigins::new(list.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn what_is_listed_is_allowed_in_the_form_that_browsers_send() {
        let origins = origins(&["https://App.pluckit.example:443/", "http://localhost:3000", "http://[::1]:80"]);
        assert!(origins.ignored().is_empty());
        for origin in ["https://app.pluckit.example", "http://localhost:3000", "http://[::1]"] {
            assert!(origins.allows(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "http://app.pluckit.example",
            "https://app.pluckit.example.evil.example",
            "https://app.pluckit.example:8443",
            "http://localhost:3001",
            "null",
            "*",
            "",
        ] {
            assert!(!origins.allows(origin.as_bytes()), "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_ignored() {
        let list = [
            "*",
            "null",
            "app.pluckit.example",
            "https://",
            "https://*.pluckit.example",
            "https://app.pluckit.example/login",
            "https://app.pluckit.example?x",
            "https://ada@app.pluckit.example",
            "file:///tmp/page.html",
            "chrome-extension://abc",
        ];
        let origins = origins(&list);
        assert_eq!(origins.ignored(), list);
        assert!(origins.is_empty() && !origins.allows(b"null"));
    }

    #[test]
    fn pages_of_this_machine_are_told_from_others() {
        let origins = origins(&[]);
        assert!(!origins.allows(b"http://localhost:4200"));
        let origins = origins.with_loopback();
        for origin in ["http://localhost", "http://localhost:4200", "http://127.0.0.1:8080", "http://[::1]:5173"] {
            assert!(origins.allows(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "https://localhost:4200",
            "http://localhost.evil.example",
            "http://127.0.0.1.nip.io",
            "http://127.0.0.2",
            "http://127.0.0.1:80443",
            "http://2130706433",
            "http://evil.example",
            "http://localhost:4200/x",
            "http://LOCALHOST",
            "http://localhost@evil.example",
            "null",
        ] {
            assert!(!origins.allows(origin.as_bytes()), "{origin}");
        }
    }
}
