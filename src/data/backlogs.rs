//! Users' waiting jobs and scrapes: one short document per user, in the container of jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Result, records, update};
use crate::model::ids::UserId;
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, ETag, Key};

/// Lifetime after the last change, in seconds.
const LIFE_SECONDS: u32 = 24 * 60 * 60;

/// The backlogs of all users.
#[derive(Clone)]
pub struct Backlogs(pub(super) Arc<dyn DocumentStore>);

/// A user's backlog.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    id: String,
    user_id: UserId,
    /// Waiting work, and since when.
    #[serde(default)]
    pub waiting: BTreeMap<String, Timestamp>,
    ttl: u32,
}

impl Backlogs {
    fn key(user: &UserId) -> Key {
        Key::new(Container::Jobs, user.as_str(), "backlog")
    }

    /// Finds the user's backlog, empty if there is none, and its version.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, user: &UserId) -> Result<(Backlog, Option<ETag>)> {
        let key = Self::key(user);
        let stored = self.0.read(&key).await?;
        let known = stored.as_ref().and_then(|stored| records::parse(Container::Jobs, stored));
        let empty =
            || Backlog { id: key.id.clone(), user_id: user.clone(), waiting: BTreeMap::new(), ttl: LIFE_SECONDS };
        Ok((known.unwrap_or_else(empty), stored.map(|stored| stored.etag)))
    }

    /// Saves a backlog if its version is still `version`; returns whether it was saved.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save(&self, backlog: &Backlog, version: Option<&ETag>) -> Result<bool> {
        let (key, document) = (Self::key(&backlog.user_id), serde_json::to_value(backlog)?);
        let written = match version {
            Some(version) => self.0.replace(&key, &document, version).await,
            None => self.0.create(&key, &document).await,
        };
        update::won(written)
    }
}
