//! Connection strings of storage accounts.

use secrecy::SecretString;
use url::Url;

/// Account name of every storage emulator. The name and its key are public:
/// <https://learn.microsoft.com/azure/storage/common/storage-connect-azurite>
pub const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The parts of a connection string.
#[derive(Debug, Clone)]
pub struct ConnectionString {
    /// Account name.
    pub account: String,
    /// Account key; `None` when an identity signs in.
    pub key: Option<SecretString>,
    /// URL of the blob service.
    pub blob_endpoint: Url,
    /// URL of the queue service.
    pub queue_endpoint: Url,
}

/// Why a connection string is invalid. Never quotes the string, which may hold a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A part is not `name=value`.
    #[error("part {0} of the connection string has no `=`")]
    NotAPair(usize),
    /// There is neither an `AccountName` nor an endpoint to derive it from.
    #[error("the connection string lacks AccountName")]
    NoAccount,
    /// An endpoint is not a URL.
    #[error("{0} in the connection string is not an http or https address")]
    BadEndpoint(&'static str),
    /// A shared access signature, which expires and therefore does not suit a service.
    #[error("the connection string has a SharedAccessSignature; give a key or none at all")]
    Signature,
}

impl ConnectionString {
    /// Parses a connection string: `name=value` parts separated by semicolons, names in any case. Missing endpoints are
    /// built from protocol, account name and suffix.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = Vec::new();
        for (index, part) in text.split(';').map(str::trim).filter(|part| !part.is_empty()).enumerate() {
            // Keys end in `=`, so only the first one separates.
            let (name, value) = part.split_once('=').ok_or(Error::NotAPair(index + 1))?;
            parts.push((name.trim().to_ascii_lowercase(), value.trim()));
        }
        let value =
            |name: &str| parts.iter().find(|(given, value)| given == name && !value.is_empty()).map(|(_, v)| *v);
        if value("usedevelopmentstorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Self::emulator(value("developmentstorageproxyuri").unwrap_or("http://127.0.0.1"));
        }
        if value("sharedaccesssignature").is_some() {
            return Err(Error::Signature);
        }
        let account = value("accountname").ok_or(Error::NoAccount)?;
        let protocol = value("defaultendpointsprotocol").unwrap_or("https");
        let suffix = value("endpointsuffix").unwrap_or("core.windows.net");
        let endpoint = |name: &'static str, service: &str| {
            let given = value(&name.to_ascii_lowercase()).map(str::to_owned);
            address(name, &given.unwrap_or_else(|| format!("{protocol}://{account}.{service}.{suffix}")))
        };
        Ok(Self {
            account: account.to_owned(),
            key: value("accountkey").map(SecretString::from),
            blob_endpoint: endpoint("BlobEndpoint", "blob")?,
            queue_endpoint: endpoint("QueueEndpoint", "queue")?,
        })
    }

    fn emulator(host: &str) -> Result<Self, Error> {
        let endpoint = |name, port| address(name, &format!("{}:{port}/{EMULATOR_ACCOUNT}", host.trim_end_matches('/')));
        Ok(Self {
            account: EMULATOR_ACCOUNT.to_owned(),
            key: Some(EMULATOR_KEY.into()),
            blob_endpoint: endpoint("BlobEndpoint", 10_000)?,
            queue_endpoint: endpoint("QueueEndpoint", 10_001)?,
        })
    }
}

fn address(name: &'static str, text: &str) -> Result<Url, Error> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or(Error::BadEndpoint(name))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn endpoints_are_made_of_name_and_suffix() {
        let text = "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=c2VjcmV0==;EndpointSuffix=core.example";
        let read = ConnectionString::parse(text).unwrap();
        assert_eq!(read.account, "acct");
        assert_eq!(read.key.unwrap().expose_secret(), "c2VjcmV0==");
        assert_eq!(read.blob_endpoint.as_str(), "https://acct.blob.core.example/");
        assert_eq!(read.queue_endpoint.as_str(), "https://acct.queue.core.example/");
    }

    #[test]
    fn names_come_in_any_case_and_endpoints_can_be_given() {
        let text = " accountname = a ; BLOBENDPOINT=http://127.0.0.1:1/a ;; queueEndpoint=http://127.0.0.1:2/a;";
        let read = ConnectionString::parse(text).unwrap();
        assert!(read.key.is_none());
        assert_eq!(read.blob_endpoint.as_str(), "http://127.0.0.1:1/a");
        assert_eq!(read.queue_endpoint.as_str(), "http://127.0.0.1:2/a");
    }

    #[test]
    fn development_storage_is_the_emulator_on_its_usual_ports() {
        let read = ConnectionString::parse("UseDevelopmentStorage=true").unwrap();
        assert_eq!(read.account, EMULATOR_ACCOUNT);
        assert_eq!(read.queue_endpoint.as_str(), "http://127.0.0.1:10001/devstoreaccount1");
    }

    #[test]
    fn what_cannot_be_used_is_named_without_being_quoted() {
        let fault = |text: &str| ConnectionString::parse(text).unwrap_err();
        assert_eq!(fault(""), Error::NoAccount);
        assert_eq!(fault("AccountName=a;secret"), Error::NotAPair(2));
        assert_eq!(fault("AccountName=a;BlobEndpoint=nowhere"), Error::BadEndpoint("BlobEndpoint"));
        assert_eq!(fault("BlobEndpoint=https://a.example;SharedAccessSignature=sv=1"), Error::Signature);
    }
}
