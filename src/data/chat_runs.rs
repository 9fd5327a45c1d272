//! Chat runs, the pieces of their event logs, and the newest run of each chat, in one container, so that related
//! documents are written in one batch.

use std::sync::Arc;

use tracing::warn;

use super::lease::leased;
use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::base::hash::sha256_hex;
use crate::model::chat_run::{ChatHead, ChatRun, LogPiece, RunStatus, RunSummary};
use crate::model::ids::{ChatId, RunId, UserId};
use crate::model::timestamp::Timestamp;
use crate::store::query::Comparison;
use crate::store::{self, Container, Direction, DocumentStore, ETag, Filter, Key, Query, Write};

/// The longest lease on a run that any version of the service takes.
const LONGEST_LEASE: std::time::Duration = std::time::Duration::from_secs(60);
/// Length of a run's id: a UUID with hyphens.
const ID_LENGTH: usize = 36;
/// Fields of a run that a list of runs reads.
const SUMMARY: &[&str] = &["id", "userId", "chatId", "status", "createdAt", "updatedAt", "message", "lastSeq"];
/// Pieces read in one round trip.
const PIECES: usize = 20;

leased!(ChatRun, LONGEST_LEASE);

/// Outcome of appending a piece to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The piece is in the log.
    Done,
    /// Another writer has written at this position: the caller has lost the run.
    Refused,
}

/// The chat runs of all users.
#[derive(Clone)]
pub struct ChatRuns(pub(super) Arc<dyn DocumentStore>);

impl ChatRuns {
    /// Returns the key of a user's run.
    pub fn key(user: &UserId, run: &RunId) -> Key {
        Key::new(Container::ChatRuns, user.as_str(), run.as_str())
    }

    fn piece_key(user: &UserId, run: &RunId, first_seq: u64) -> Key {
        Key::new(Container::ChatRuns, user.as_str(), LogPiece::id(run, first_seq))
    }

    fn head_key(user: &UserId, chat: &ChatId) -> Key {
        Key::new(Container::ChatRuns, user.as_str(), format!("chat-{}", sha256_hex(chat.as_str())))
    }

    /// Whether this is the id of a run rather than of another document in the container.
    pub fn is_valid_id(run: &RunId) -> bool {
        run.as_str().len() == ID_LENGTH && uuid::Uuid::try_parse(run.as_str()).is_ok()
    }

    /// Finds a run of the user.
    pub async fn find(&self, user: &UserId, run: &RunId) -> Result<Option<ChatRun>> {
        if !Self::is_valid_id(run) {
            return Ok(None);
        }
        records::find(&*self.0, &Self::key(user, run)).await
    }

    /// Finds the newest run of a user's chat, and the version of its record.
    pub async fn find_head(&self, user: &UserId, chat: &ChatId) -> Result<Option<(ChatHead, ETag)>> {
        records::find_version(&*self.0, &Self::head_key(user, chat)).await
    }

    /// Saves a new run.
    pub async fn create(&self, run: &ChatRun) -> Result<()> {
        // Ids are random, so an earlier attempt of the same write succeeded.
        records::create(&*self.0, &Self::key(&run.user_id, &run.id), run).await.map(drop)
    }

    /// Saves a new run as the newest of its chat; `false` if the chat has changed since `before` was read.
    pub async fn create_in_chat(&self, run: &ChatRun, chat: &ChatId, before: Option<&ETag>) -> Result<bool> {
        let head = ChatHead {
            id: Self::head_key(&run.user_id, chat).id,
            user_id: run.user_id.clone(),
            newest_run: run.id.clone(),
            ttl: run.ttl,
        };
        let document = serde_json::to_value(&head)?;
        let head = match before {
            Some(etag) => Write::Replace { document, etag: etag.clone() },
            None => Write::Create { document },
        };
        let writes = [Write::Create { document: serde_json::to_value(run)? }, head];
        match self.0.batch(Container::ChatRuns, run.user_id.as_str(), &writes).await {
            Ok(()) => Ok(true),
            // The answer to an earlier try of the same write may have been lost.
            Err(store::Error::Conflict) => {
                let head = self.find_head(&run.user_id, chat).await?;
                Ok(head.is_some_and(|(head, _)| head.newest_run == run.id))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Adds a piece to a run's log.
    pub async fn append(&self, piece: &LogPiece) -> Result<Appended> {
        let key = Self::piece_key(&piece.user_id, &piece.run_id, piece.first_seq);
        match self.0.create(&key, &serde_json::to_value(piece)?).await {
            Ok(_) => Ok(Appended::Done),
            Err(store::Error::Conflict) => {
                // The answer to an earlier try of the same write may have been lost.
                let found = self.find_piece(&piece.user_id, &piece.run_id, piece.first_seq).await?;
                let is_ours = found.is_some_and(|found| found.written_by == piece.written_by);
                Ok(if is_ours { Appended::Done } else { Appended::Refused })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Finds the piece of a run's log that begins with this event.
    pub async fn find_piece(&self, user: &UserId, run: &RunId, first_seq: u64) -> Result<Option<LogPiece>> {
        records::find(&*self.0, &Self::piece_key(user, run, first_seq)).await
    }

    /// Lists pieces of a run's log with events after this one, in order; there may be more.
    pub async fn pieces_after(&self, user: &UserId, run: &RunId, seq: u64) -> Result<Vec<LogPiece>> {
        let query = Query::partition(Container::ChatRuns, user.as_str())
            .matching(Filter::equal("runId", run.as_str()))
            .matching(Filter::Compare("lastSeq", Comparison::Greater, seq.into()))
            .order_by("firstSeq", Direction::Ascending)
            .limit(PIECES);
        pages::page(&*self.0, &query).await
    }

    /// Finds the last piece of a run's log.
    pub async fn last_piece(&self, user: &UserId, run: &RunId) -> Result<Option<LogPiece>> {
        let query = Query::partition(Container::ChatRuns, user.as_str())
            .matching(Filter::equal("runId", run.as_str()))
            .order_by("firstSeq", Direction::Descending);
        pages::first(&*self.0, query).await
    }

    /// Lists a page of a user's runs, optionally of one chat and status, newest first, with the token of the next page.
    pub async fn page(
        &self,
        user: &UserId,
        chat: Option<&ChatId>,
        status: Option<RunStatus>,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<RunSummary>, Option<String>)> {
        let query = Query::partition(Container::ChatRuns, user.as_str())
            .matching_all(chat.map(|chat| Filter::equal("chatId", chat.as_str())))
            .matching_all(status.map(|status| Filter::equal("status", status.name())))
            // Only runs have this field.
            .matching(Filter::at_least("createdAt", ""))
            .descending_by("createdAt")
            .select(SUMMARY)
            .limit(limit)
            .after(after);
        pages::page_and_next(&*self.0, &query).await
    }

    /// Lists at most `limit` runs whose process died or handed them back, oldest lease first.
    pub async fn abandoned(&self, now: Timestamp, limit: usize) -> Result<Vec<ChatRun>> {
        let is_running = Filter::equal("status", RunStatus::Running.name());
        let query = pages::due(Container::ChatRuns, "leaseExpiresAt", now).matching(is_running);
        pages::page(&*self.0, &query.limit(limit)).await
    }

    /// Records a stop request in an active run. Returns the resulting run; `None` if it does not exist.
    pub async fn request_stop(&self, user: &UserId, run: &RunId, now: Timestamp) -> Result<Option<ChatRun>> {
        update::update_existing(&*self.0, &Self::key(user, run), |mut run: ChatRun| {
            if run.status.is_final() || run.stop_requested.is_some() {
                return Edit::Keep(run);
            }
            run.stop_requested = Some(now);
            Edit::Save(run.clone(), run)
        })
        .await
    }

    /// Deletes a run and its log.
    pub async fn remove(&self, user: &UserId, run: &RunId) -> Result<()> {
        // The document first, so that a process still working on the run loses it. Remaining pieces of the log expire.
        self.0.delete(&Self::key(user, run), None).await?;
        loop {
            let pieces = self.pieces_after(user, run, 0).await?;
            if pieces.is_empty() {
                return Ok(());
            }
            let mut has_deleted = false;
            for piece in pieces {
                has_deleted |= self.0.delete(&Self::piece_key(user, run, piece.first_seq), None).await?;
            }
            if !has_deleted {
                warn!(run.id = %run, "pieces of a log not deleted: they will expire");
                return Ok(());
            }
        }
    }
}
