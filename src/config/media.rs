//! Pictures: who may send them, and who cuts them out.

use secrecy::SecretString;
use url::Url;

use super::reader::{Error, Reader};

/// Pictures: who may send them, and who cuts them out.
#[derive(Debug, Clone)]
pub struct Media {
    /// Whether anybody may have a background removed, without a credential.
    pub is_open: bool,
    /// How other services show who they are.
    pub service: ServiceCredential,
    /// The service that cuts garments out; the built-in remover without it.
    pub segmentation: Option<Segmentation>,
}

/// How other services show who they are.
#[derive(Debug, Clone)]
pub enum ServiceCredential {
    /// By a key, if there is one.
    ApiKey(Option<SecretString>),
    /// By a token of an Entra tenant.
    Entra {
        /// Who issues the tokens.
        issuer: Option<Url>,
        /// For whom they are issued.
        audience: Option<String>,
    },
    /// Not at all: the setting names no way that there is. Callers are told; the rest of the service goes on.
    Unknown,
}

/// A service that cuts garments out.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// Its address.
    pub endpoint: Url,
    /// What we show it, if it asks.
    pub token: Option<SecretString>,
}

impl Media {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mode = reader.text("PROCESS_IMAGE_AUTH_MODE", "user-or-service");
        let is_open = match mode.to_ascii_lowercase().as_str() {
            "user-or-service" => false,
            "anonymous" => true,
            _ => {
                let expected = "user-or-service or anonymous".to_owned();
                return Err(Error::Invalid { name: "PROCESS_IMAGE_AUTH_MODE", got: mode, expected });
            }
        };
        let mode = reader.text("METADATA_EXTRACT_AUTH_MODE", "api-key");
        let key = reader.secret("METADATA_EXTRACT_API_KEY");
        let issuer = reader.optional_url("METADATA_EXTRACT_AZURE_AD_ISSUER")?;
        let audience = reader.optional("METADATA_EXTRACT_AZURE_AD_AUDIENCE");
        let service = match mode.to_ascii_lowercase().as_str() {
            "api-key" => ServiceCredential::ApiKey(key),
            "azuread" => ServiceCredential::Entra { issuer, audience },
            _ => ServiceCredential::Unknown,
        };
        let endpoint = reader.optional_url("SEGMENTATION_ENDPOINT_URL")?;
        let token = reader.secret("SEGMENTATION_SHARED_TOKEN");
        Ok(Media { is_open, service, segmentation: endpoint.map(|endpoint| Segmentation { endpoint, token }) })
    }
}
