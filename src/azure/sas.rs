//! Signed URLs of single blobs (service SAS), which give browsers temporary access to a private container.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/create-service-sas>

use std::fmt;
use std::time::Duration;

use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::time::OffsetDateTime;
use url::Url;

/// Service version of the signature format.
const VERSION: &str = "2020-12-06";
/// Minimum time for which a URL is valid.
const VALIDITY: Duration = Duration::from_secs(2 * 60 * 60);
const SECONDS_PER_HOUR: i64 = 60 * 60;

/// Signs URLs of blobs with the key of their account.
pub struct BlobSigner {
    account: String,
    key: Secret,
    /// Whether the URL works over https only. Emulators support only http.
    https_only: bool,
}

impl BlobSigner {
    /// Creates a signer from a base64 key, as shown in the portal.
    pub(super) fn new(account: impl Into<String>, key: &str, https_only: bool) -> Self {
        Self { account: account.into(), key: Secret::new(key.to_owned()), https_only }
    }

    /// Adds a signature to the URL of a blob that allows reading it for two to three hours. All URLs of a blob signed
    /// within the same hour are equal, so that browsers can cache them.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn sign(&self, mut url: Url, container: &str, blob: &str, now: OffsetDateTime) -> azure_core::Result<Url> {
        let expiry = expiry(now);
        let signature = hmac_sha256(&self.string_to_sign(container, blob, &expiry), &self.key)?;
        let protocol = self.https_only.then_some(("spr", "https"));
        url.query_pairs_mut().clear().extend_pairs([("sv", VERSION)]).extend_pairs(protocol).extend_pairs([
            ("se", &*expiry),
            ("sr", "b"),
            ("sp", "r"),
            ("sig", &*signature),
        ]);
        Ok(url)
    }

    fn string_to_sign(&self, container: &str, blob: &str, expiry: &str) -> String {
        let resource = format!("/blob/{}/{container}/{blob}", self.account);
        let protocol = if self.https_only { "https" } else { "" };
        // Permissions, start, expiry, resource, identifier, addresses, protocol, version, kind of resource, snapshot,
        // encryption scope, and five response headers.
        let lines = ["r", "", expiry, &resource, "", "", protocol, VERSION, "b", "", "", "", "", "", "", ""];
        lines.join("\n")
    }
}

/// Returns the end of the current hour plus [`VALIDITY`].
fn expiry(now: OffsetDateTime) -> String {
    let seconds = now.unix_timestamp();
    let hour = seconds + (SECONDS_PER_HOUR - 1) - (seconds - 1).rem_euclid(SECONDS_PER_HOUR);
    let expiry = OffsetDateTime::from_unix_timestamp(hour).unwrap_or(now) + VALIDITY;
    let (date, hour) = (expiry.date(), expiry.hour());
    format!("{:04}-{:02}-{:02}T{hour:02}:00:00Z", date.year(), u8::from(date.month()), date.day())
}

impl fmt::Debug for BlobSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobSigner").field("account", &self.account).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_is_signed_follows_the_documented_form() {
        let signed = BlobSigner::new("acct", "", true).string_to_sign("archive", "u1/a b.webp", "2026-03-02T12:00:00Z");
        assert_eq!(
            signed,
            "r\n\n2026-03-02T12:00:00Z\n/blob/acct/archive/u1/a b.webp\n\n\nhttps\n2020-12-06\nb\n\n\n\n\n\n\n"
        );
        let emulated = BlobSigner::new("acct", "", false).string_to_sign("archive", "a", "2026-03-02T12:00:00Z");
        assert!(emulated.contains("\n\n\n\n2020-12-06\n"), "{emulated:?}");
    }

    #[test]
    fn a_url_stays_for_an_hour_and_is_valid_for_two_more() {
        let at = |now| expiry(now);
        assert_eq!(at(datetime!(2026-03-02 09:00:01 UTC)), "2026-03-02T12:00:00Z");
        assert_eq!(at(datetime!(2026-03-02 09:59:59 UTC)), "2026-03-02T12:00:00Z");
        assert_eq!(at(datetime!(2026-03-02 10:00:00 UTC)), "2026-03-02T12:00:00Z");
        assert_eq!(at(datetime!(2026-03-02 10:00:00.001 UTC)), "2026-03-02T12:00:00Z");
        assert_eq!(at(datetime!(2026-12-31 22:30 UTC)), "2027-01-01T01:00:00Z");
    }

    #[test]
    fn the_address_has_the_signature_and_nothing_that_was_there() {
        let signer = BlobSigner::new("acct", "c2VjcmV0", true);
        let url = Url::parse("https://acct.blob.core.windows.net/archive/u1/a%20b.webp?old=1").unwrap();
        let signed = signer.sign(url, "archive", "u1/a b.webp", datetime!(2026-03-02 09:15 UTC)).unwrap();
        assert_eq!(signed.path(), "/archive/u1/a%20b.webp");
        let names: Vec<_> = signed.query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["sv", "spr", "se", "sr", "sp", "sig"]);
        assert_eq!(format!("{signer:?}"), r#"BlobSigner { account: "acct", .. }"#);
    }
}
