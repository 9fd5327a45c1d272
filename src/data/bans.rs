//! Bans: users who may not contribute to the feed.

use std::sync::Arc;

use super::{Result, pages, records};
use crate::model::ban::Ban;
use crate::model::ids::UserId;
use crate::store::{Container, DocumentStore, Key, Query};

/// All bans.
#[derive(Clone)]
pub struct Bans(pub(super) Arc<dyn DocumentStore>);

impl Bans {
    fn key(user: &UserId) -> Key {
        Key::by_id(Container::UserBans, user.as_str())
    }

    /// Whether this can be a user id.
    pub fn is_valid_id(user: &UserId) -> bool {
        Self::key(user).is_valid()
    }

    /// Finds the user's ban.
    pub async fn find(&self, user: &UserId) -> Result<Option<Ban>> {
        records::find(&*self.0, &Self::key(user)).await
    }

    /// Bans a user, or replaces the reason.
    pub async fn set(&self, ban: &Ban) -> Result<()> {
        records::save(&*self.0, &Self::key(&ban.id), ban).await
    }

    /// Lifts a ban; returns whether there was one.
    pub async fn lift(&self, user: &UserId) -> Result<bool> {
        Ok(self.0.delete(&Self::key(user), None).await?)
    }

    /// Lists a page of bans, with the token of the next page.
    pub async fn page(&self, after: Option<String>, limit: usize) -> Result<(Vec<Ban>, Option<String>)> {
        pages::page_and_next(&*self.0, &Query::all(Container::UserBans).limit(limit).after(after)).await
    }
}
