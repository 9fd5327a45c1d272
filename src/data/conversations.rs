//! What the stylist remembers, one memory per user.

use std::sync::Arc;

use super::update::{self, Edit};
use super::{Result, pages};
use crate::model::conversation::Conversation;
use crate::model::ids::UserId;
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, Key};

/// The memories of all users.
#[derive(Clone)]
pub struct Conversations(Arc<dyn DocumentStore>);

impl Conversations {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    fn key(user: &UserId) -> Key {
        Key::new(Container::Conversations, user.as_str(), user.as_str())
    }

    /// The user's memory, if there is one.
    pub async fn find(&self, user: &UserId) -> Result<Option<Conversation>> {
        let stored = self.0.read(&Self::key(user)).await?;
        Ok(stored.and_then(|stored| pages::parse(Container::Conversations, &stored)))
    }

    /// Saves what the user wrote as their memory.
    pub async fn set_summary(&self, user: &UserId, summary: &str, now: Timestamp) -> Result<()> {
        update::update(&*self.0, &Self::key(user), |found: Option<Conversation>| {
            let (summarised_messages, messages_since) = found
                .map_or((0, Some(0)), |conversation| (conversation.summarised_messages, conversation.messages_since));
            Edit::Save(record(user, summary, now, summarised_messages, messages_since), ())
        })
        .await
    }

    /// Saves a summary that was folded from the memory as `before` showed it. Does nothing, and says so, when the memory
    /// has changed since: what the user wrote, or another instance folded, is newer.
    pub async fn fold_summary(
        &self,
        user: &UserId,
        before: Option<&Conversation>,
        summary: &str,
        summarised_messages: usize,
        now: Timestamp,
    ) -> Result<bool> {
        let expected = before.map(|conversation| (conversation.summary.as_str(), conversation.updated_at));
        update::update(&*self.0, &Self::key(user), |found: Option<Conversation>| {
            let current = found.as_ref().map(|conversation| (conversation.summary.as_str(), conversation.updated_at));
            if current != expected {
                return Edit::Keep(false);
            }
            Edit::Save(record(user, summary, now, summarised_messages, Some(0)), true)
        })
        .await
    }

    /// Counts messages that were said since the summary. Without a summary, or without a count in it, there is nothing to
    /// count from.
    pub async fn count_messages(&self, user: &UserId, messages: u64) -> Result<()> {
        update::update(&*self.0, &Self::key(user), |found: Option<Conversation>| match found {
            Some(mut conversation) if conversation.messages_since.is_some() => {
                conversation.messages_since = conversation.messages_since.map(|since| since.saturating_add(messages));
                Edit::Save(conversation, ())
            }
            Some(_) | None => Edit::Keep(()),
        })
        .await
    }
}

fn record(
    user: &UserId,
    summary: &str,
    now: Timestamp,
    summarised_messages: usize,
    messages_since: Option<u64>,
) -> Conversation {
    Conversation {
        id: user.clone(),
        user_id: user.clone(),
        summary: summary.to_owned(),
        updated_at: Some(now),
        summarised_messages,
        messages_since,
    }
}
