//! Posts that users submitted to the feed: a document per user and day, in the container of conversations.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::Date;

use super::Result;
use super::update::{Edit, update};
use crate::model::ids::UserId;
use crate::store::{Container, DocumentStore, Key};

/// Lifetime after the last post of the day, in seconds.
const LIFE_SECONDS: u32 = 2 * 24 * 60 * 60;

/// Submitted posts of all users.
#[derive(Clone)]
pub struct Contributions(pub(super) Arc<dyn DocumentStore>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Day {
    id: String,
    user_id: UserId,
    #[serde(default)]
    posts: usize,
    #[serde(default)]
    ttl: u32,
}

impl Contributions {
    /// Counts up to `posts` of the user on this day, within the daily limit `most`. Returns how many fit.
    ///
    /// # Errors
    /// [`super::Error::Contended`], [`super::Error::Unwritable`] or [`super::Error::Store`], as for [`update`].
    pub async fn reserve(&self, user: &UserId, day: Date, posts: usize, most: usize) -> Result<usize> {
        let key = Key::new(Container::Conversations, user.as_str(), format!("posts-{day}"));
        update(&*self.0, &key, |found: Option<Day>| {
            let before = found.map_or(0, |day| day.posts);
            let granted = posts.min(most.saturating_sub(before));
            if granted == 0 {
                return Edit::Keep(0);
            }
            let day = Day { id: key.id.clone(), user_id: user.clone(), posts: before + granted, ttl: LIFE_SECONDS };
            Edit::Save(day, granted)
        })
        .await
    }
}
