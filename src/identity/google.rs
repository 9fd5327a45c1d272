//! Google ID tokens.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;

use super::Refusal;
use super::keys::{self, KeySet};
use crate::base::clock::Clock;
use crate::model::ids::UserId;

/// The two issuers that Google uses.
const ISSUERS: [&str; 2] = ["accounts.google.com", "https://accounts.google.com"];
/// Tolerated clock difference between Google, client and this machine, in seconds.
const LEEWAY: f64 = 60.0;
/// Longest token that is examined; real ones have about 1.2 kB.
const LONGEST_TOKEN_BYTES: usize = 8 * 1024;

/// Why an ID token does not identify a caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No OAuth client id is configured, so nobody can sign in.
    #[error("no google client id is configured")]
    NotConfigured,
    /// The token is forged, expired, for another audience, or malformed.
    #[error("the token is not valid: {}", .0.0)]
    Invalid(Refusal),
    /// Google's keys are unavailable.
    #[error("the token cannot be checked")]
    Unavailable(#[source] keys::Error),
}

/// Verifies Google ID tokens.
pub struct GoogleVerifier {
    keys: KeySet,
    clock: Arc<dyn Clock>,
    validation: Option<Validation>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
}

impl GoogleVerifier {
    /// Accepts tokens that were issued to one of `client_ids`.
    pub fn new(client_ids: &[String], keys: KeySet, clock: Arc<dyn Clock>) -> Self {
        let validation = (!client_ids.is_empty()).then(|| {
            // Never take the algorithm from the token: anything but RS256 is refused.
            let mut validation = Validation::new(Algorithm::RS256);
            validation.set_audience(client_ids);
            validation.set_issuer(&ISSUERS);
            validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
            // Times are compared below, with the clock that everything else uses.
            validation.validate_exp = false;
            validation.validate_nbf = false;
            validation
        });
        Self { keys, clock, validation }
    }

    /// Verifies a token and returns its user.
    ///
    /// # Errors
    /// [`Error::Invalid`] says why for the log; callers are not told, as that would only help a forger.
    pub async fn verify(&self, token: &str) -> Result<UserId, Error> {
        let validation = self.validation.as_ref().ok_or(Error::NotConfigured)?;
        let malformed = || Error::Invalid(Refusal("token_malformed"));
        if token.len() > LONGEST_TOKEN_BYTES {
            return Err(malformed());
        }
        let header = decode_header(token).map_err(|_| malformed())?;
        if header.alg != Algorithm::RS256 {
            return Err(Error::Invalid(Refusal("token_algorithm")));
        }
        let id = header.kid.ok_or_else(malformed)?;
        let key = self.keys.find(Some(&id)).await.map_err(Error::Unavailable)?;
        let key = key.ok_or(Error::Invalid(Refusal("token_key_unknown")))?;
        let claims = decode::<Claims>(token, &key, validation);
        let claims = claims.map_err(|error| Error::Invalid(Refusal::of_token(&error)))?.claims;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
        let now = self.clock.now().unix_timestamp() as f64;
        Refusal::of_times(claims.exp, claims.nbf, LEEWAY, now)
            .map_or(Ok(()), |refusal| Err(Error::Invalid(refusal)))?;
        let user = UserId::from(claims.sub);
        if user.is_valid() { Ok(user) } else { Err(malformed()) }
    }
}
