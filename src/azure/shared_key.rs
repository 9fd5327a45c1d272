//! Shared-key signatures for blob and queue storage, which the SDK lacks.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::{OffsetDateTime, to_rfc7231};

/// Policy that signs requests. It must run per attempt, because the signature includes the date.
pub(super) struct SharedKey {
    account: String,
    key: Secret,
}

impl SharedKey {
    /// Creates a policy from a base64 key, as shown in the portal.
    pub(super) fn new(account: impl Into<String>, key: &str) -> Self {
        Self { account: account.into(), key: Secret::new(key.to_owned()) }
    }

    fn string_to_sign(&self, request: &Request) -> String {
        let headers: BTreeMap<String, &str> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_ascii_lowercase(), value.as_str()))
            .collect();
        let header = |name: &str| headers.get(name).copied().unwrap_or_default();
        // An empty body is signed as if no length were given.
        let length = request.body().len().filter(|length| *length > 0).map(|length| length.to_string());
        let mut lines = vec![
            request.method().as_str().to_owned(),
            header("content-encoding").to_owned(),
            header("content-language").to_owned(),
            length.unwrap_or_default(),
            header("content-md5").to_owned(),
            header("content-type").to_owned(),
            String::new(), // the date is in x-ms-date
        ];
        let conditions = ["if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"];
        lines.extend(conditions.map(|name| header(name).to_owned()));
        let own = headers.iter().filter(|(name, _)| name.starts_with("x-ms-"));
        lines.extend(own.map(|(name, value)| format!("{name}:{}", value.trim())));
        // An emulator's path already begins with the account, so it is signed twice there.
        lines.push(format!("/{}{}", self.account, request.url().path()));
        let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in request.url().query_pairs() {
            parameters.entry(name.to_lowercase()).or_default().push(value.into_owned());
        }
        lines.extend(parameters.into_iter().map(|(name, mut values)| {
            values.sort();
            format!("{name}:{}", values.join(","))
        }));
        lines.join("\n")
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("account", &self.account).finish_non_exhaustive()
    }
}

#[async_trait]
impl Policy for SharedKey {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        #[expect(clippy::disallowed_methods, reason = "the service compares it with its own clock, not with ours")]
        let now = OffsetDateTime::now_utc();
        request.insert_header("x-ms-date", to_rfc7231(&now));
        let signature = hmac_sha256(&self.string_to_sign(request), &self.key)?;
        request.insert_header("authorization", format!("SharedKey {}:{signature}", self.account));
        let (next, rest) = next.split_first().ok_or_else(|| {
            azure_core::Error::with_message(azure_core::error::ErrorKind::Other, "no policy sends the request")
        })?;
        next.send(context, request, rest).await
    }
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method, Url};

    use super::*;

    #[test]
    fn what_is_signed_follows_the_documented_form() {
        let url =
            Url::parse("https://acct.blob.core.windows.net/c%20d?restype=container&Timeout=5&comp=a%26b").unwrap();
        let mut request = Request::new(url, Method::Put);
        request.insert_header("x-ms-version", "2026-04-06");
        request.insert_header("x-ms-date", "Fri, 20 Nov 2026 09:30:00 GMT");
        request.insert_header("if-none-match", "*");
        let signed = SharedKey::new("acct", "").string_to_sign(&request);
        assert_eq!(
            signed,
            "PUT\n\n\n\n\n\n\n\n\n*\n\n\n\
             x-ms-date:Fri, 20 Nov 2026 09:30:00 GMT\nx-ms-version:2026-04-06\n\
             /acct/c%20d\ncomp:a&b\nrestype:container\ntimeout:5"
        );
    }

    #[test]
    fn the_length_of_a_body_is_signed() {
        let mut request = Request::new(Url::parse("https://acct.queue.core.windows.net/q").unwrap(), Method::Post);
        request.set_body(azure_core::Bytes::from_static(b"12345"));
        let signed = SharedKey::new("acct", "").string_to_sign(&request);
        assert_eq!(signed, "POST\n\n\n5\n\n\n\n\n\n\n\n\n/acct/q");
    }

    #[test]
    fn the_key_is_never_shown() {
        assert_eq!(format!("{:?}", SharedKey::new("acct", "c2VjcmV0")), r#"SharedKey { account: "acct", .. }"#);
    }
}
