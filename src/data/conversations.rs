//! The stylist's memory, one per user.

use std::sync::Arc;

use super::update::{self, Edit};
use super::{Result, records};
use crate::model::conversation::{Conversation, Preference};
use crate::model::ids::{RunId, UserId};
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, Key};

/// The memories of all users.
#[derive(Clone)]
pub struct Conversations(pub(super) Arc<dyn DocumentStore>);

impl Conversations {
    fn key(user: &UserId) -> Key {
        Key::new(Container::Conversations, user.as_str(), user.as_str())
    }

    /// Finds the user's memory.
    pub async fn find(&self, user: &UserId) -> Result<Option<Conversation>> {
        records::find(&*self.0, &Self::key(user)).await
    }

    /// Saves the memory as edited by the user: the summary, and the preferences if given.
    pub async fn set_memory(
        &self,
        user: &UserId,
        summary: &str,
        preferences: Option<&[Preference]>,
        now: Timestamp,
    ) -> Result<()> {
        update::update(&*self.0, &Self::key(user), |found: Option<Conversation>| {
            let mut conversation = found.unwrap_or_else(|| empty(user));
            summary.clone_into(&mut conversation.summary);
            if let Some(preferences) = preferences {
                // Unchanged preferences keep their date.
                let known = std::mem::take(&mut conversation.preferences);
                let since = |new: &Preference| {
                    known
                        .iter()
                        .find(|old| old.text == new.text && old.kind == new.kind)
                        .map_or(Some(now), |old| old.since)
                };
                let dated = preferences.iter().map(|new| Preference { since: since(new), ..new.clone() });
                conversation.preferences = dated.collect();
            }
            Edit::Save(Conversation { updated_at: Some(now), ..conversation }, ())
        })
        .await
    }

    /// Saves a summary derived from the memory `before`. Returns `false`, without saving, if the memory has changed
    /// since (by the user or another instance) or has already counted the run.
    pub async fn fold_summary(
        &self,
        user: &UserId,
        run: Option<&RunId>,
        before: Option<&Conversation>,
        summary: &str,
        summarised_messages: usize,
        now: Timestamp,
    ) -> Result<bool> {
        // Without a summary, existing preferences do not matter.
        let expected = before.map_or(("", None), |before| (before.summary.as_str(), before.updated_at));
        update::update(&*self.0, &Self::key(user), |found: Option<Conversation>| {
            let current = found.as_ref().map_or(("", None), |found| (found.summary.as_str(), found.updated_at));
            if current != expected {
                return Edit::Keep(false);
            }
            let mut conversation = found.unwrap_or_else(|| empty(user));
            if !conversation.note_counted(run) {
                return Edit::Keep(false);
            }
            summary.clone_into(&mut conversation.summary);
            let messages_since = Some(0);
            Edit::Save(
                Conversation { updated_at: Some(now), summarised_messages, messages_since, ..conversation },
                true,
            )
        })
        .await
    }

    /// Edits the user's preferences, and returns the result of `edit`. Saves only if the list changed.
    pub async fn edit_preferences<T>(
        &self,
        user: &UserId,
        mut edit: impl FnMut(&mut Vec<Preference>) -> T,
    ) -> Result<T> {
        self.edit_memory(user, |preferences, _| edit(preferences)).await
    }

    /// Edits the user's preferences and the summary of their conversations, and returns the result of `edit`. Saves
    /// only what changed.
    pub async fn edit_memory<T>(
        &self,
        user: &UserId,
        mut edit: impl FnMut(&mut Vec<Preference>, &mut String) -> T,
    ) -> Result<T> {
        update::update(&*self.0, &Self::key(user), |found: Option<Conversation>| {
            let mut conversation = found.unwrap_or_else(|| empty(user));
            let before = (conversation.preferences.clone(), conversation.summary.clone());
            let outcome = edit(&mut conversation.preferences, &mut conversation.summary);
            let is_same = (&conversation.preferences, &conversation.summary) == (&before.0, &before.1);
            if is_same { Edit::Keep(outcome) } else { Edit::Save(conversation, outcome) }
        })
        .await
    }

    /// Adds to the number of messages since the summary. Does nothing without a summary or a count, or when the run was
    /// counted before.
    pub async fn count_messages(&self, user: &UserId, run: Option<&RunId>, messages: u64) -> Result<()> {
        let count = |mut conversation: Conversation| {
            let Some(since) = conversation.messages_since else { return Edit::Keep(()) };
            if !conversation.note_counted(run) {
                return Edit::Keep(());
            }
            conversation.messages_since = Some(since.saturating_add(messages));
            Edit::Save(conversation, ())
        };
        update::update_existing(&*self.0, &Self::key(user), count).await.map(drop)
    }
}

fn empty(user: &UserId) -> Conversation {
    Conversation {
        id: user.clone(),
        user_id: user.clone(),
        summary: String::new(),
        updated_at: None,
        summarised_messages: 0,
        messages_since: Some(0),
        counted_runs: Vec::new(),
        preferences: Vec::new(),
    }
}
