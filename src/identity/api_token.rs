//! API tokens: credentials for programs that act on behalf of the user who created them.
//!
//! A token is `pat-<id>.<secret>`, both parts in base64url, of 16 and 32 random bytes. It is shown once, when it is
//! created; only its SHA-256 is stored. The id names the document with that hash, so a token is found by one point
//! read. The key is written before the token is added to the list, and deleted before the token is removed from it:
//! every token in use is in the list, and a token that is not in the list is invalid.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Map;
use time::Time;
use tracing::{info, warn};
use uuid::Uuid;

use super::credential_cache::CredentialCache;
use super::{Checked, Refusal};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::base::hash::sha256_hex;
use crate::data::api_tokens::ApiTokens;
use crate::data::{self, Result};
use crate::model::api_token::{ApiToken, ApiTokenKey, Scopes};
use crate::model::ids::{ApiTokenId, UserId};
use crate::model::timestamp::Timestamp;
use crate::telemetry::metrics::Metrics;

/// Most tokens of a user.
pub const MOST_TOKENS: usize = 20;
/// Longest life of a token, in days.
pub const MOST_DAYS: i64 = 365;
/// Default life of a token, in days.
pub const DEFAULT_DAYS: i64 = 90;
/// Longest name, in characters.
pub const LONGEST_NAME: usize = 100;

const PREFIX: &str = "pat-";
const ID_BYTES: usize = 16;
/// Length of a token's secret: 256 bits.
const SECRET_BYTES: usize = 32;
/// Length of a token: prefix, id in base64url, a dot, and secret in base64url.
const TOKEN_LENGTH: usize = 70;

/// A new token. Does not implement `Debug`, so that it cannot reach a log.
pub struct NewToken {
    /// Entry of the token in the user's list.
    pub token: ApiToken,
    /// The credential, which cannot be shown again.
    pub secret: String,
}

/// A token of a user's list.
#[derive(Debug, Clone)]
pub struct ListedToken {
    /// Entry of the token in the user's list.
    pub token: ApiToken,
    /// Day of its last use, as midnight UTC.
    pub last_used_at: Option<Timestamp>,
}

/// The user on whose behalf a token acts, and its scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grantee {
    /// The user.
    pub user: UserId,
    /// What the token may do.
    pub scopes: Scopes,
}

/// Creates, lists, verifies and revokes API tokens.
pub struct ApiTokenService {
    tokens: ApiTokens,
    clock: Arc<dyn Clock>,
    checked: CredentialCache<(Grantee, Timestamp)>,
}

impl ApiTokenService {
    /// Creates a service that stores its tokens in `tokens`.
    pub fn new(tokens: ApiTokens, clock: Arc<dyn Clock>) -> Self {
        Self { tokens, checked: CredentialCache::new(&clock), clock }
    }

    /// Records cache hits and misses in metrics.
    pub fn watched(self, metrics: &Metrics) -> Self {
        Self { checked: self.checked.watched(metrics, "api-tokens"), ..self }
    }

    /// Whether a bearer token has the form of an API token.
    pub fn is_api_token(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// Creates a token that is valid for this many days; `None` if the user already has [`MOST_TOKENS`].
    ///
    /// # Errors
    /// When the store fails. The list may then contain a token that was never issued.
    pub async fn create(&self, user: &UserId, name: &str, days: i64, scopes: Scopes) -> Result<Option<NewToken>> {
        let now = self.now();
        if self.tokens.list(user, now).await?.len() >= MOST_TOKENS {
            return Ok(None);
        }
        let (id, secret) = new_secret();
        let life = Duration::from_secs(24 * 60 * 60) * u32::try_from(days.clamp(1, MOST_DAYS)).unwrap_or(1);
        let token = ApiToken { id, name: name.to_owned(), created_at: now, expires_at: now + life, scopes };
        let key = ApiTokenKey {
            id: token.id.clone(),
            partition: ApiTokens::partition_of(&token.id),
            owner: user.clone(),
            token_hash: sha256_hex(&secret),
            expires_at: token.expires_at,
            scopes: token.scopes.clone(),
            last_used_at: None,
            ttl: Some(seconds_until(token.expires_at, now)),
            other: Map::new(),
        };
        self.tokens.create_key(&key).await?;
        match self.tokens.add(user, &token, now, MOST_TOKENS).await {
            Ok(true) => {
                info!(user.id = %user, token.id = %token.id, "API token created");
                Ok(Some(NewToken { token, secret }))
            }
            refused => {
                // The token was never issued; if this also fails, its key expires.
                if let Err(error) = self.tokens.delete_key(&token.id).await {
                    warn!(token.id = %token.id, error = %Chain(&error), "key of an unused API token not deleted");
                }
                refused.map(|_| None)
            }
        }
    }

    /// Lists a user's unexpired tokens, newest first.
    ///
    /// # Errors
    /// When the documents fail.
    pub async fn list(&self, user: &UserId) -> Result<Vec<ListedToken>> {
        let tokens = self.tokens.list(user, self.now()).await?;
        let keys = self.tokens.find_keys(tokens.iter().map(|token| &token.id)).await?;
        let last_use = |id: &ApiTokenId| keys.iter().find(|key| key.id == *id)?.last_used_at;
        Ok(tokens.into_iter().rev().map(|token| ListedToken { last_used_at: last_use(&token.id), token }).collect())
    }

    /// Revokes a token of a user, at once on this instance and within 30 s on others; `false` if the user has no such
    /// token.
    ///
    /// # Errors
    /// When the store fails. Revoking it again completes the revocation.
    pub async fn revoke(&self, user: &UserId, id: &ApiTokenId) -> Result<bool> {
        if self.tokens.list(user, self.now()).await?.iter().all(|token| token.id != *id) {
            return Ok(false);
        }
        let key = self.tokens.find_key(id).await?;
        self.tokens.delete_key(id).await?;
        if let Some(key) = key {
            self.checked.revoke(&key.token_hash);
        }
        let was_there = self.tokens.remove(user, id).await?;
        info!(user.id = %user, token.id = %id, "API token revoked");
        Ok(was_there)
    }

    /// Returns the user of a token if known without a look-up.
    pub fn known(&self, token: &str) -> Option<Grantee> {
        id_named_by(token)?;
        self.known_hash(&sha256_hex(token))
    }

    fn known_hash(&self, hash: &str) -> Option<Grantee> {
        let (grantee, expires_at) = self.checked.find(hash)?;
        (expires_at > self.now()).then_some(grantee)
    }

    /// Returns the user of a token, or why it is refused.
    ///
    /// # Errors
    /// When the documents fail.
    pub async fn find(&self, token: &str) -> Result<Checked<Grantee>> {
        let Some(id) = id_named_by(token) else { return Ok(Err(Refusal("token_malformed"))) };
        let hash = sha256_hex(token);
        if let Some(grantee) = self.known_hash(&hash) {
            return Ok(Ok(grantee));
        }
        if let Some(refusal) = self.checked.refusal(&hash) {
            return Ok(Err(refusal));
        }
        let look_up = self.checked.look_up();
        let now = self.now();
        let found = self.tokens.find_key(&id).await?;
        let key = match found {
            // A revoked token has no key either.
            None => Err(Refusal("token_unknown")),
            Some(key) if key.token_hash != hash => Err(Refusal("token_wrong")),
            Some(key) if key.expires_at <= now => Err(Refusal("token_expired")),
            Some(key) => Ok(key),
        };
        let key = match key {
            Ok(key) => key,
            Err(refusal) => return Ok(Err(self.checked.refuse(hash, refusal))),
        };
        let grantee = Grantee { user: key.owner.clone(), scopes: key.scopes.clone() };
        // Before the write, so that a revocation elsewhere counts from the look-up on.
        self.checked.remember(look_up, hash, (grantee.clone(), key.expires_at));
        self.note_use(&key, now).await;
        Ok(Ok(grantee))
    }

    /// Records the day of the token's last use, once a day. A failure does not affect the request.
    async fn note_use(&self, key: &ApiTokenKey, now: Timestamp) {
        let today = Timestamp::from(now.get().replace_time(Time::MIDNIGHT));
        if key.last_used_at.is_some_and(|at| at >= today) {
            return;
        }
        let edit = |key: &mut ApiTokenKey| {
            key.last_used_at = key.last_used_at.max(Some(today));
            key.ttl = Some(seconds_until(key.expires_at, now));
        };
        match self.tokens.edit_key(&key.id, edit).await {
            // Another process recorded the same day.
            Ok(()) | Err(data::Error::Contended) => {}
            Err(error) => warn!(token.id = %key.id, error = %Chain(&error), "last use of an API token not recorded"),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

fn seconds_until(end: Timestamp, now: Timestamp) -> i64 {
    (end.get() - now.get()).whole_seconds().max(1)
}

/// Creates a new id, and a token that contains it.
fn new_secret() -> (ApiTokenId, String) {
    let id = Uuid::new_v4();
    let mut secret = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut secret).expect("the operating system has random numbers");
    let token = format!("{PREFIX}{}.{}", URL_SAFE_NO_PAD.encode(id.as_bytes()), URL_SAFE_NO_PAD.encode(secret));
    (ApiTokenId::from(id.to_string()), token)
}

/// Parses the id in a token, valid or not; `None` if it is not in the form of a token.
fn id_named_by(token: &str) -> Option<ApiTokenId> {
    if token.len() != TOKEN_LENGTH {
        return None;
    }
    let (id, secret) = token.strip_prefix(PREFIX)?.split_once('.')?;
    let id: [u8; ID_BYTES] = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
    let _: [u8; SECRET_BYTES] = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
    Some(ApiTokenId::from(Uuid::from_bytes(id).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_id_and_no_other_form_does() {
        let (id, token) = new_secret();
        assert_eq!((id_named_by(&token), token.len()), (Some(id), 70));
        let (head, secret) = token.split_once('.').unwrap();
        let longer = format!("{token}A");
        let padded = format!("{token}=");
        let long = format!("pat-{}.{secret}", "A".repeat(1_000_000));
        let swapped = format!("pat-{secret}.{}", head.trim_start_matches(PREFIX));
        let other = token.replacen("pat-", "at-", 1);
        for odd in
            ["pat-", "pat-.", "pat-x.y", "pat-%.%", head, &token[..69], &longer, &padded, &long, &swapped, &other, ""]
        {
            assert_eq!(id_named_by(odd), None, "{}", odd.chars().take(80).collect::<String>());
        }
    }
}
