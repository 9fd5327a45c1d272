//! API tokens: long-lived credentials that users create for their programs. There are two kinds of document in one
//! container. The list, in the user's partition, names the tokens and bounds their number. The key, in a partition
//! named after the token, authenticates requests and is found by one point read.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ids::{ApiTokenId, UserId};
use super::timestamp::Timestamp;

/// A permission that a token may be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum Scope {
    /// Read the user's data.
    #[serde(rename = "wardrobe:read")]
    WardrobeRead,
    /// Read and change the user's data.
    #[serde(rename = "wardrobe:write")]
    WardrobeWrite,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 2] = [Self::WardrobeRead, Self::WardrobeWrite];

    /// Name on the wire and in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WardrobeRead => "wardrobe:read",
            Self::WardrobeWrite => "wardrobe:write",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that does not name a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected wardrobe:read or wardrobe:write")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or(UnknownScope)
    }
}

/// What a token may do: everything that its user may, or only some scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(Option<BTreeSet<Scope>>);

impl Scopes {
    /// Everything that the user may do.
    pub const ALL: Self = Self(None);

    /// Only these.
    pub fn only(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(Some(scopes.into_iter().collect()))
    }

    /// Whether the token is unrestricted.
    pub fn are_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a token with these scopes has this permission. Writing includes reading.
    pub fn allow(&self, scope: Scope) -> bool {
        let Some(scopes) = &self.0 else { return true };
        scopes.contains(&scope) || scope == Scope::WardrobeRead && scopes.contains(&Scope::WardrobeWrite)
    }

    /// Returns the individual scopes; `None` if unrestricted.
    pub fn list(&self) -> Option<Vec<Scope>> {
        self.0.as_ref().map(|scopes| scopes.iter().copied().collect())
    }
}

/// A token as an entry of its user's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiToken {
    /// Id of the token; not secret.
    pub id: ApiTokenId,
    /// Name that the user gave it.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// What it may do.
    #[serde(default, skip_serializing_if = "Scopes::are_all")]
    pub scopes: Scopes,
}

/// All tokens of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenList {
    /// Id of the document.
    pub id: String,
    /// Owner of the tokens.
    pub user_id: UserId,
    /// The tokens, in order of creation.
    #[serde(default)]
    pub tokens: Vec<ApiToken>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The document that authenticates a token's requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenKey {
    /// Id of the token.
    pub id: ApiTokenId,
    /// Partition of the document; named after the token, never a user's.
    #[serde(rename = "userId")]
    pub partition: String,
    /// User on whose behalf the token acts.
    pub owner: UserId,
    /// SHA-256 of the token, in hex. The token itself is not stored.
    pub token_hash: String,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// What the token may do.
    #[serde(default, skip_serializing_if = "Scopes::are_all")]
    pub scopes: Scopes,
    /// Day on which the token was last used, as midnight UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// Seconds after the last write until the store deletes the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_may_write_may_read() {
        let read = Scopes::only([Scope::WardrobeRead]);
        let write = Scopes::only([Scope::WardrobeWrite]);
        assert!(read.allow(Scope::WardrobeRead) && !read.allow(Scope::WardrobeWrite));
        assert!(write.allow(Scope::WardrobeRead) && write.allow(Scope::WardrobeWrite));
        assert!(Scopes::ALL.allow(Scope::WardrobeRead) && Scopes::ALL.allow(Scope::WardrobeWrite));
    }

    #[test]
    fn scopes_are_written_by_name() {
        assert_eq!(serde_json::to_value(Scopes::only(Scope::ALL)).unwrap(), json!(["wardrobe:read", "wardrobe:write"]));
        for scope in Scope::ALL {
            assert_eq!((scope.name().parse(), json!(scope)), (Ok(scope), json!(scope.name())));
        }
        assert_eq!("wardrobe:Read".parse::<Scope>(), Err(UnknownScope));
    }
}
