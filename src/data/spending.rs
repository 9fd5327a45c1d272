//! Tokens that users spent, a document for each user and day, beside what the stylist remembers of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::Date;

use super::Result;
use super::update::{Edit, update};
use crate::model::ids::UserId;
use crate::store::{Container, DocumentStore, Key};

/// How long a day is remembered after its last token, in seconds.
const LIFE_SECONDS: u32 = 2 * 24 * 60 * 60;

/// What users spent.
#[derive(Clone)]
pub struct SpendingDays(Arc<dyn DocumentStore>);

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
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// Tokens that the user spent on this day.
    ///
    /// # Errors
    /// When the store fails or the document is not what it should be.
    pub async fn find(&self, user: &UserId, day: Date) -> Result<u64> {
        let stored = self.0.read(&key(user, day)).await?;
        let day: Option<Day> = stored.map(|stored| stored.parse()).transpose()?;
        Ok(day.map_or(0, |day| day.tokens))
    }

    /// Adds tokens to the user's day, or takes some away, and returns the new total.
    ///
    /// # Errors
    /// As [`update`].
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
