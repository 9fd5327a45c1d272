//! Tokens that users spent: a document per user and day, in the container of conversations.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::Date;

use super::Result;
use super::update::{Edit, update};
use crate::model::ids::UserId;
use crate::store::{Container, DocumentStore, Key};

/// Lifetime after the last change, in seconds.
const LIFE_SECONDS: u32 = 2 * 24 * 60 * 60;

/// Spent tokens of all users.
#[derive(Clone)]
pub struct SpendingDays(pub(super) Arc<dyn DocumentStore>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Day {
    id: String,
    user_id: UserId,
    #[serde(default)]
    tokens: u64,
    #[serde(default)]
    ttl: u32,
}

impl SpendingDays {
    /// Returns the tokens that the user spent on this day.
    ///
    /// # Errors
    /// When the store fails or the document is invalid.
    pub async fn find(&self, user: &UserId, day: Date) -> Result<u64> {
        let stored = self.0.read(&key(user, day)).await?;
        let day: Option<Day> = stored.map(|stored| stored.parse()).transpose()?;
        Ok(day.map_or(0, |day| day.tokens))
    }

    /// Adds tokens to the user's day (or subtracts them), and returns the new total.
    ///
    /// # Errors
    /// Like [`update`].
    pub async fn add(&self, user: &UserId, day: Date, tokens: i64) -> Result<u64> {
        let key = key(user, day);
        update(&*self.0, &key, |found: Option<Day>| {
            let before = found.map_or(0, |day| day.tokens);
            let tokens = before.saturating_add_signed(tokens);
            Edit::Save(Day { id: key.id.clone(), user_id: user.clone(), tokens, ttl: LIFE_SECONDS }, tokens)
        })
        .await
    }
}

fn key(user: &UserId, day: Date) -> Key {
    Key::new(Container::Conversations, user.as_str(), format!("tokens-{day}"))
}
