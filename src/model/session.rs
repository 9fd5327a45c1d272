//! Sessions: the token pairs of signed-in users.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::ids::{FamilyId, SessionId, UserId};
use super::lenient;
use super::timestamp::Timestamp;

/// A session. Tokens are never stored, only their SHA-256 in hex.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Session id.
    pub id: SessionId,
    /// Owner of the session.
    pub user_id: UserId,
    /// SHA-256 of the access token, in hex.
    pub access_token_hash: String,
    /// Expiry of the access token.
    pub access_token_expires_at: Timestamp,
    /// SHA-256 of the refresh token, in hex.
    pub refresh_token_hash: String,
    /// Expiry of the refresh token.
    pub refresh_token_expires_at: Timestamp,
    /// Start of the session.
    pub issued_at: Timestamp,
    /// SHA-256 of the refresh token that this session was created from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_refresh_token_hash: Option<String>,
    /// Whether both tokens are revoked.
    #[serde(default, deserialize_with = "lenient::null_or")]
    pub revoked: bool,
    /// Time of the revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Always true; other services read it.
    #[serde(default = "yes", deserialize_with = "always_yes")]
    pub revoked_on_logout: bool,
    /// Always `single-use`; other services read it.
    #[serde(default = "single_use", deserialize_with = "always_single_use")]
    pub token_rotation: String,
    /// SHA-256 of the refresh token that replaced this one.
    #[serde(default, alias = "replacedWithRefreshTokenHash", skip_serializing_if = "Option::is_none")]
    pub replaced_by_refresh_token_hash: Option<String>,
    /// The sign-in that this session descends from. Sessions of other services have none and are their own family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_id: Option<FamilyId>,
    /// When the refresh token was used. Absent otherwise: a session can also be revoked by signing out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Timestamp>,
    /// First use of the access token of a session that replaced another; it proves that the client received the pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Timestamp>,
    /// When the spent refresh token was last exchanged again because the client had lost the new pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_at: Option<Timestamp>,
    /// Seconds after the last write until the store deletes the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn yes() -> bool {
    true
}

fn single_use() -> String {
    "single-use".into()
}

fn always_yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| yes())
}

fn always_single_use<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| single_use())
}

impl Session {
    /// Returns the family, or the session itself if it has none.
    pub fn family(&self) -> FamilyId {
        self.family_id.clone().unwrap_or_else(|| FamilyId::from(self.id.as_str()))
    }
}
