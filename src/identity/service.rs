//! Authentication of other services, by an API key or by a token of an Entra tenant.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::Refusal;
use super::keys::KeySet;
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::config::ServiceCredential;

/// Tolerated clock difference between the issuer and this machine, in seconds.
const LEEWAY: f64 = 60.0;
/// Longest token that is examined; tokens with many roles and groups are long.
const LONGEST_TOKEN_BYTES: usize = 16 * 1024;

/// Why a service is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The credential is missing or wrong.
    #[error("the service's credential is missing or wrong: {}", .0.0)]
    Refused(Refusal),
    /// No API key is configured.
    #[error("METADATA_EXTRACT_API_KEY is not configured")]
    NoKey,
    /// The configured mode is unknown.
    #[error("METADATA_EXTRACT_AUTH_MODE has an unknown value")]
    UnknownMode,
}

/// Credentials that a caller presents.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown<'a> {
    /// The API key.
    pub key: Option<&'a [u8]>,
    /// The token.
    pub token: Option<&'a str>,
}

/// Verifies the credentials of other services.
pub enum ServiceVerifier {
    /// By the hash of the API key.
    ApiKey(Option<[u8; 32]>),
    /// By token; no token is valid while issuer or audience is missing.
    Entra(Option<Box<TokenVerifier>>),
    /// Unknown mode.
    Unknown,
}

/// Verifies tokens of one issuer for one audience.
pub struct TokenVerifier {
    keys: KeySet,
    validation: Validation,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
}

impl ServiceVerifier {
    /// Creates a verifier for the configured credential.
    pub fn new(
        credential: &ServiceCredential,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
    ) -> Self {
        match credential {
            ServiceCredential::ApiKey(key) => Self::ApiKey(key.as_ref().map(|key| digest(key.expose_secret()))),
            ServiceCredential::Entra { issuer, audience } => {
                let (Some(issuer), Some(audience)) = (issuer, audience) else {
                    warn!(
                        "METADATA_EXTRACT_AZURE_AD_ISSUER or METADATA_EXTRACT_AZURE_AD_AUDIENCE is not set: no service \
                         can authenticate"
                    );
                    return Self::Entra(None);
                };
                Self::Entra(Some(Box::new(TokenVerifier::new(issuer.as_str(), audience, http, clock, tasks))))
            }
            ServiceCredential::Unknown => Self::Unknown,
        }
    }

    /// Verifies a caller's credentials.
    ///
    /// # Errors
    /// [`Error::Refused`] says what is wrong for the log; callers are not told.
    pub async fn check(&self, shown: Shown<'_>) -> Result<(), Error> {
        match self {
            Self::ApiKey(None) => Err(Error::NoKey),
            Self::ApiKey(Some(expected)) => {
                let shown = shown.key.map(digest).ok_or(Error::Refused(Refusal("no_credential")))?;
                // Hashes have equal lengths, and the comparison reveals nothing through timing.
                if shown.ct_eq(expected).into() { Ok(()) } else { Err(Error::Refused(Refusal("key_wrong"))) }
            }
            Self::Entra(verifier) => match (verifier, shown.token) {
                (None, _) => Err(Error::Refused(Refusal("not_configured"))),
                (_, None) => Err(Error::Refused(Refusal("no_credential"))),
                (Some(verifier), Some(token)) => verifier.verify(token).await.map_err(Error::Refused),
            },
            Self::Unknown => Err(Error::UnknownMode),
        }
    }
}

impl TokenVerifier {
    fn new(issuer: &str, audience: &str, http: reqwest::Client, clock: Arc<dyn Clock>, tasks: TaskTracker) -> Self {
        // Never take the algorithm from the token: anything but RS256 is refused.
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[audience]);
        // The setting may lack the issuer's trailing slash, or have an extra one.
        let bare = issuer.trim_end_matches('/');
        validation.set_issuer(&[bare.to_owned(), format!("{bare}/")]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        // Times are compared below, with the clock that everything else uses.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { keys: KeySet::of_issuer(issuer, http, clock.clone(), tasks), validation, clock }
    }

    async fn verify(&self, token: &str) -> Result<(), Refusal> {
        if token.len() > LONGEST_TOKEN_BYTES {
            return Err(Refusal("token_malformed"));
        }
        let header = decode_header(token).map_err(|_| Refusal("token_malformed"))?;
        if header.alg != Algorithm::RS256 {
            return Err(Refusal("token_algorithm"));
        }
        let key = match self.keys.find(header.kid.as_deref()).await {
            Ok(Some(key)) => key,
            Ok(None) => return Err(Refusal("token_key_unknown")),
            Err(error) => {
                warn!(error = %Chain(&error), "service token not checked");
                return Err(Refusal("token_not_checked"));
            }
        };
        let token = decode::<Claims>(token, &key, &self.validation).map_err(|error| Refusal::of_token(&error))?;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
        let now = self.clock.now().unix_timestamp() as f64;
        let Claims { exp, nbf } = token.claims;
        Refusal::of_times(exp, nbf, LEEWAY, now).map_or(Ok(()), Err)
    }
}

fn digest(key: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(key).into()
}
