//! Sign-ins: who holds which pair of tokens, and for how long.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{FamilyId, SessionId, UserId};
use super::timestamp::Timestamp;

/// A session. Tokens themselves are never stored, only their SHA-256 in hex.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Unique.
    pub id: SessionId,
    /// Who signed in.
    pub user_id: UserId,
    /// SHA-256 of the access token, in hex.
    pub access_token_hash: String,
    /// End of the access token's life.
    pub access_token_expires_at: Timestamp,
    /// SHA-256 of the refresh token, in hex.
    pub refresh_token_hash: String,
    /// End of the refresh token's life.
    pub refresh_token_expires_at: Timestamp,
    /// Begin of the session.
    pub issued_at: Timestamp,
    /// SHA-256 of the refresh token that this session was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_refresh_token_hash: Option<String>,
    /// Whether neither token is accepted any more.
    #[serde(default)]
    pub revoked: bool,
    /// When that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Part of the shape that other services read; always true.
    #[serde(default = "yes")]
    pub revoked_on_logout: bool,
    /// Part of the shape that other services read; always `single-use`.
    #[serde(default = "single_use")]
    pub token_rotation: String,
    /// SHA-256 of the refresh token that took this one's place.
    #[serde(default, alias = "replacedWithRefreshTokenHash", skip_serializing_if = "Option::is_none")]
    pub replaced_by_refresh_token_hash: Option<String>,
    /// The sign-in that this session descends from. Other services leave it out: then the session is its own family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_id: Option<FamilyId>,
    /// When the refresh token was used. Absent if it was not: a session can also be revoked by signing out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Timestamp>,
    /// When the access token was first shown, if it was, and if this session replaced another: then the client has got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Timestamp>,
    /// When the refresh token, spent already, was last exchanged again because the answer with the new pair was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_at: Option<Timestamp>,
    /// Seconds after the last write until the store forgets the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn yes() -> bool {
    true
}

fn single_use() -> String {
    "single-use".into()
}

impl Session {
    /// The family, which is the session itself when nobody wrote one.
    pub fn family(&self) -> FamilyId {
        self.family_id.clone().unwrap_or_else(|| FamilyId::from(self.id.as_str()))
    }
}
