//! Identity: session tokens, API tokens, Google ID tokens, and keys and tokens of other services. The layers that use
//! it are in `http`.

pub mod api_token;
mod credential_cache;
pub mod google;
pub mod keys;
pub mod service;
pub mod session;

use jsonwebtoken::errors::ErrorKind;

/// Why a credential is refused, as a code for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// The result of checking a credential.
pub type Checked<T> = std::result::Result<T, Refusal>;

impl Refusal {
    /// Returns what is wrong with a signed token.
    fn of_token(error: &jsonwebtoken::errors::Error) -> Self {
        Self(match error.kind() {
            ErrorKind::InvalidSignature => "token_signature",
            ErrorKind::InvalidAudience => "token_audience",
            ErrorKind::InvalidIssuer => "token_issuer",
            _ => "token_malformed",
        })
    }

    /// Returns what is wrong with the times of a token; `None` if it is valid `now`. All are in seconds.
    fn of_times(expires: f64, not_before: Option<f64>, leeway: f64, now: f64) -> Option<Self> {
        match not_before {
            _ if expires + leeway <= now => Some(Self("token_expired")),
            Some(not_before) if not_before - leeway > now => Some(Self("token_not_yet_valid")),
            _ => None,
        }
    }
}
