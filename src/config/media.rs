//! Pictures: access control and background removal.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::reader::{Error, Reader};

/// Picture uploads and background removal.
#[derive(Debug, Clone)]
pub struct Media {
    /// Whether background removal needs no credential.
    pub is_open: bool,
    /// How other services authenticate.
    pub service: ServiceCredential,
    /// Segmentation service; `None` for the built-in removers.
    pub segmentation: Option<Segmentation>,
    /// Where the background-removal network is.
    pub cutout_model: CutoutModel,
}

/// How other services authenticate.
#[derive(Debug, Clone)]
pub enum ServiceCredential {
    /// With this API key; `None` if it is not set.
    ApiKey(Option<SecretString>),
    /// With a token of an Entra tenant.
    Entra {
        /// Issuer of the tokens.
        issuer: Option<Url>,
        /// Audience of the tokens.
        audience: Option<String>,
    },
    /// Unknown mode. Callers get an error; everything else works.
    Unknown,
}

/// Where the background-removal network is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CutoutModel {
    /// From this file, without which the service does not start.
    File(PathBuf),
    /// From the default locations, if present.
    IfThere,
    /// Disabled: only the rules for plain backgrounds.
    Off,
}

impl CutoutModel {
    /// Reads the setting.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        match reader.optional("CUTOUT_MODEL") {
            None => Self::IfThere,
            Some(off) if off.eq_ignore_ascii_case("off") => Self::Off,
            Some(file) => Self::File(file.into()),
        }
    }
}

/// A service that removes backgrounds.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// URL of the service.
    pub endpoint: Url,
    /// Bearer token for the service.
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
            // Callers of this one route get an error; everything else works.
            _ => {
                let fault = format!("METADATA_EXTRACT_AUTH_MODE is {mode:?}: expected api-key or azuread");
                reader.warn(format!("{fault}; calls of /api/extract-clothing-metadata are answered with 500"));
                ServiceCredential::Unknown
            }
        };
        let endpoint = reader.optional_url("SEGMENTATION_ENDPOINT_URL")?;
        let token = reader.secret("SEGMENTATION_SHARED_TOKEN");
        let segmentation = endpoint.map(|endpoint| Segmentation { endpoint, token });
        Ok(Media { is_open, service, segmentation, cutout_model: CutoutModel::read(reader) })
    }
}
