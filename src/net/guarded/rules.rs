//! Rules for URLs that need no name resolution.

use std::cell::Cell;

use url::{Host, ParseError, SyntaxViolation, Url};

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

/// Checks everything that needs no name resolution. Returns the normalised URL.
///
/// # Errors
/// The first violated rule.
pub fn check_url(text: &str) -> Result<Url, UrlRefused> {
    check_text(text, &[])
}

pub(super) fn check_text(text: &str, extra_ports: &[u16]) -> Result<Url, UrlRefused> {
    let text = text.trim();
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(UrlRefused::NotHttps);
    }
    check_parts(parse(text, None)?, extra_ports)
}

/// Parses a URL, relative to `base` if given. Input that browsers repair silently is refused, because people and other
/// parsers see a different host in it.
pub(super) fn parse(text: &str, base: Option<&Url>) -> Result<Url, UrlRefused> {
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

pub(super) fn check_parts(mut url: Url, extra_ports: &[u16]) -> Result<Url, UrlRefused> {
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
