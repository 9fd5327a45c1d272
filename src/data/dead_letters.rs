//! Dead letters: queue messages that failed for good.

use std::sync::Arc;

use super::lease::{Claimed, Decision, Leases, Standing, leased};
use super::{Result, pages, records};
use crate::model::dead_letter::{DeadLetter, DeadLetterStatus, LONGEST_LEASE};
use crate::model::ids::DeadLetterId;
use crate::store::{Container, DocumentStore, Filter, Key, Query};

/// All dead letters.
#[derive(Clone)]
pub struct DeadLetters(pub(super) Arc<dyn DocumentStore>);

leased!(DeadLetter, LONGEST_LEASE);

/// Why a dead letter was not claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotClaimed {
    /// It was replayed, or another request is replaying it.
    Replayed,
    /// It does not exist.
    Gone,
}

impl DeadLetters {
    /// Saves a dead letter, unless it exists.
    pub async fn add(&self, letter: &DeadLetter) -> Result<()> {
        let key = Key::new(Container::TasteAnalysisJobDeadLetters, letter.job_id.as_str(), letter.id.as_str());
        records::create(&*self.0, &key, letter).await.map(drop)
    }

    /// Lists a page of dead letters of one status or of all, newest first, with the token of the next page.
    pub async fn page(
        &self,
        status: Option<DeadLetterStatus>,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, Option<String>)> {
        let query = Query::all(Container::TasteAnalysisJobDeadLetters)
            .matching_all(status.map(|status| Filter::equal("status", status.name())))
            .descending_by("createdAt")
            .limit(limit)
            .after(after);
        pages::page_and_next(&*self.0, &query).await
    }

    /// Finds a dead letter.
    pub async fn find(&self, id: &DeadLetterId) -> Result<Option<DeadLetter>> {
        let Some(key) = self.locate(id).await? else { return Ok(None) };
        records::find(&*self.0, &key).await
    }

    /// Claims a dead letter that was not replayed, in order to replay it.
    pub async fn claim(&self, leases: &Leases, letter: &DeadLetter) -> Result<Claimed<DeadLetter, NotClaimed>> {
        let key = Key::new(Container::TasteAnalysisJobDeadLetters, letter.job_id.as_str(), letter.id.as_str());
        let decide = |found: Option<DeadLetter>, standing| match (found, standing) {
            (None, _) => Decision::Leave(NotClaimed::Gone),
            (Some(letter), Standing::Free) if letter.status == DeadLetterStatus::DeadLettered => Decision::Take(letter),
            (Some(_), _) => Decision::Leave(NotClaimed::Replayed),
        };
        leases.claim(key, decide).await
    }

    /// Deletes a dead letter; returns whether there was one.
    pub async fn delete(&self, id: &DeadLetterId) -> Result<bool> {
        match self.locate(id).await? {
            Some(key) => Ok(self.0.delete(&key, None).await?),
            None => Ok(false),
        }
    }

    /// Finds the key of a dead letter. Our ids begin with the partition; others are looked up.
    async fn locate(&self, id: &DeadLetterId) -> Result<Option<Key>> {
        let container = Container::TasteAnalysisJobDeadLetters;
        if let Some((job, _)) = id.as_str().rsplit_once('-') {
            let key = Key::new(container, job, id.as_str());
            if self.0.read(&key).await?.is_some() {
                return Ok(Some(key));
            }
        }
        let query = Query::all(container).matching(Filter::equal("id", id.as_str()));
        let letter: Option<DeadLetter> = pages::first(&*self.0, query).await?;
        Ok(letter.map(|letter| Key::new(container, letter.job_id.as_str(), letter.id.as_str())))
    }
}
