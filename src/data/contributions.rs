//! Posts that users sent for the feed, a document for each user and day, beside what the stylist remembers of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::Date;

use super::Result;
use super::update::{Edit, update};
use crate::model::ids::UserId;
use crate::store::{Container, DocumentStore, Key};

/// How long a day is remembered after its last post, in seconds.
const LIFE_SECONDS: u32 = 2 * 24 * 60 * 60;

/// What users sent for the feed.
#[derive(Clone)]
pub struct Contributions(Arc<dyn DocumentStore>);

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
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// Counts up to `posts` of the user on this day, as far as the `most` of a day are not used up. Returns how many of
    /// them fit.
    ///
    /// # Errors
    /// As [`update`].
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
