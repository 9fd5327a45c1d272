//! Versions of the protocol, and the metadata that each requires in requests. Up to 2025-11-25 a client begins with
//! `initialize`, and its requests need no metadata. From 2026-07-28 on there is no handshake: each request has its
//! version and the client's capabilities in `_meta`, and over HTTP headers repeat parts of the body, for intermediaries
//! that do not read bodies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::message::{Fault, Request};

/// All supported versions, oldest first.
pub const VERSIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", STATELESS];
/// The newest version that begins with `initialize`.
const NEWEST_INITIALIZED: &str = "2025-11-25";
/// The first version without a handshake.
const STATELESS: &str = "2026-07-28";

const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

const HEADER_MISMATCH: i64 = -32020;
const UNSUPPORTED_VERSION: i64 = -32022;

/// Generation of the protocol that a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// A session begins with `initialize`.
    Initialized,
    /// There is no handshake.
    Stateless,
}

/// HTTP headers that repeat parts of a message. A header that is repeated or not text is empty here, so it matches
/// nothing.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// `MCP-Protocol-Version`.
    pub version: Option<String>,
    /// `Mcp-Method`.
    pub method: Option<String>,
    /// `Mcp-Name`: `params.name` or `params.uri`.
    pub name: Option<String>,
}

impl Generation {
    /// Determines the protocol version of a request and checks its metadata. Only HTTP has headers.
    ///
    /// # Errors
    /// When metadata is missing, the version is not supported, or body and headers differ.
    pub fn of(request: &Request, headers: Option<&Headers>) -> Result<Self, Fault> {
        let header = headers.and_then(|headers| headers.version.as_deref());
        let meta = request.params.get("_meta").and_then(Value::as_object);
        let version = meta.and_then(|meta| meta.get(META_VERSION)?.as_str());
        if request.method == "initialize" && version != Some(STATELESS) {
            let wanted = request.params.get("protocolVersion").and_then(Value::as_str);
            if header.is_some() && header != wanted {
                return Err(mismatch("MCP-Protocol-Version must match the version in the body."));
            }
            return Ok(Self::Initialized);
        }
        let Some(version) = version else {
            check_spoken(header)?;
            if request.method == "server/discover" || header == Some(STATELESS) {
                return Err(incomplete(META_VERSION));
            }
            return Ok(Self::Initialized);
        };
        if headers.is_some() && header != Some(version) {
            return Err(mismatch("MCP-Protocol-Version must match the version in the body."));
        }
        check_spoken(Some(version))?;
        if version != STATELESS {
            return Ok(Self::Initialized);
        }
        if !meta.is_some_and(|meta| meta.get(META_CAPABILITIES).is_some_and(Value::is_object)) {
            return Err(incomplete(META_CAPABILITIES));
        }
        headers.map_or(Ok(()), |headers| headers.check(request))?;
        Ok(Self::Stateless)
    }

    /// Adds the further fields of a result in this version: whether and how long this user may cache it.
    pub fn complete(self, result: &mut Map<String, Value>, life_ms: Option<u64>) {
        if self == Self::Initialized {
            return;
        }
        result.insert("resultType".to_owned(), json!("complete"));
        if let Some(life_ms) = life_ms {
            result.insert("ttlMs".to_owned(), json!(life_ms));
            result.insert("cacheScope".to_owned(), json!("private"));
        }
    }
}

impl Headers {
    /// Checks that the headers match the request.
    fn check(&self, request: &Request) -> Result<(), Fault> {
        if self.method.as_deref() != Some(&request.method) {
            return Err(mismatch("Mcp-Method must match the method in the body."));
        }
        let field = match request.method.as_str() {
            "tools/call" | "prompts/get" => "name",
            "resources/read" => "uri",
            _ => return Ok(()),
        };
        let named = request.params.get(field).and_then(Value::as_str);
        let header = self.name.as_deref().and_then(decoded);
        if named.is_some() && header.as_deref() != named {
            return Err(mismatch("Mcp-Name must match the name or URI in the body."));
        }
        Ok(())
    }
}

/// Decodes a header: text that is not plain ASCII is sent as `=?base64?…?=`.
fn decoded(header: &str) -> Option<String> {
    match header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(header.to_owned()),
    }
}

/// Returns the version for the answer to `initialize`: the requested one, or else the newest with `initialize`.
pub fn negotiated(wanted: &str) -> &'static str {
    let spoken = VERSIONS.into_iter().find(|version| *version == wanted && *version != STATELESS);
    spoken.unwrap_or(NEWEST_INITIALIZED)
}

fn check_spoken(version: Option<&str>) -> Result<(), Fault> {
    match version {
        Some(version) if !VERSIONS.contains(&version) => {
            let shown: String = version.chars().take(40).collect();
            let data = json!({ "requested": shown, "supported": VERSIONS });
            Err(Fault::new(UNSUPPORTED_VERSION, "Unsupported protocol version").with_data(data).malformed())
        }
        Some(_) | None => Ok(()),
    }
}

fn mismatch(message: &'static str) -> Fault {
    Fault::new(HEADER_MISMATCH, message).malformed()
}

fn incomplete(name: &str) -> Fault {
    Fault::invalid_params(format!("_meta must contain {name}.")).malformed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, params: Value) -> Request {
        Request { id: json!(1), method: method.to_owned(), params: params.as_object().cloned().unwrap_or_default() }
    }

    fn headers(version: &str, method: &str, name: &str) -> Headers {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Headers { version: some(version), method: some(method), name: some(name) }
    }

    #[test]
    fn a_request_without_a_version_is_of_the_older_era() {
        for version in ["", "2025-03-26", "2025-11-25"] {
            let generation = Generation::of(&request("tools/list", json!({})), Some(&headers(version, "", "")));
            assert_eq!(generation, Ok(Generation::Initialized));
        }
        assert_eq!(Generation::of(&request("tools/list", json!({})), None), Ok(Generation::Initialized));
        let code = |request: &Request, headers: Option<&Headers>| Generation::of(request, headers).unwrap_err().code;
        assert_eq!(code(&request("server/discover", json!({})), None), -32602);
        assert_eq!(code(&request("tools/list", json!({})), Some(&headers(STATELESS, "tools/list", ""))), -32602);
        assert_eq!(code(&request("tools/list", json!({})), Some(&headers("1999-01-01", "", ""))), UNSUPPORTED_VERSION);
        let initialize = request("initialize", json!({ "protocolVersion": "2025-06-18" }));
        assert_eq!(Generation::of(&initialize, Some(&headers("2025-06-18", "", ""))), Ok(Generation::Initialized));
        assert_eq!(code(&initialize, Some(&headers("2025-11-25", "", ""))), HEADER_MISMATCH);
    }

    #[test]
    fn headers_repeat_what_the_body_of_the_newer_era_says() {
        let meta = json!({ META_VERSION: STATELESS, META_CAPABILITIES: {} });
        let call = request("tools/call", json!({ "name": "get_weather", "_meta": meta }));
        assert_eq!(Generation::of(&call, None), Ok(Generation::Stateless));
        assert_eq!(
            Generation::of(&call, Some(&headers(STATELESS, "tools/call", "get_weather"))),
            Ok(Generation::Stateless)
        );
        let encoded = headers(STATELESS, "tools/call", "=?base64?Z2V0X3dlYXRoZXI=?=");
        assert_eq!(Generation::of(&call, Some(&encoded)), Ok(Generation::Stateless));
        for (version, method, name) in [
            ("", "tools/call", "get_weather"),
            ("2025-11-25", "tools/call", "get_weather"),
            (STATELESS, "", "get_weather"),
            (STATELESS, "tools/list", "get_weather"),
            (STATELESS, "tools/call", ""),
            (STATELESS, "tools/call", "log_wear"),
            (STATELESS, "tools/call", "=?base64?!?="),
        ] {
            let fault = Generation::of(&call, Some(&headers(version, method, name))).unwrap_err();
            assert!(fault.code == HEADER_MISMATCH && fault.is_malformed, "{version} {method} {name}");
        }
        for (meta, code) in [
            (json!({ META_VERSION: STATELESS }), -32602),
            (json!({ META_VERSION: STATELESS, META_CAPABILITIES: 7 }), -32602),
            (json!({ META_VERSION: "2999-01-01", META_CAPABILITIES: {} }), UNSUPPORTED_VERSION),
        ] {
            let fault = Generation::of(&request("tools/list", json!({ "_meta": meta })), None).unwrap_err();
            assert!(fault.code == code && fault.is_malformed);
        }
    }

    #[test]
    fn initialize_is_answered_with_a_version_that_has_it() {
        assert_eq!(negotiated("2025-03-26"), "2025-03-26");
        assert_eq!(negotiated(STATELESS), NEWEST_INITIALIZED);
        assert_eq!(negotiated("1999-01-01"), NEWEST_INITIALIZED);
    }
}
