//! One chunk of articles: what moods they show, which stored moods those are, and saving them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Map;
use tracing::{info, warn};
use uuid::Uuid;

use super::extract::{self, Verdict};
use super::merge::{self, Candidate, Likeness, Nearest};
use super::{Error, Moods};
use crate::base::chain::Chain;
use crate::base::hash::sha256_hex;
use crate::data;
use crate::data::timers::PARTITION;
use crate::data::update::Edit;
use crate::llm::CallContext;
use crate::model::lease;
use crate::model::mood::{MoodRecord, SeenMood, Snippet};
use crate::model::mood_intake::{ChunkReport, MoodChunk, PlannedMood};

/// The longest time that a worker keeps others away without saying anew that it lives.
const LEASE: Duration = Duration::from_secs(45);
/// Renewals within one lease.
const RENEWALS: u32 = 3;
/// How long a chunk is kept: as long as a dead letter, which can be sent again.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What chunks' ids begin with.
const PREFIX: &str = "mood-chunk-";
/// Digits of the hash in an id.
const HASH: usize = 32;

/// The message that starts the work on a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMessage {
    /// The chunk's id.
    pub chunk: String,
}

/// Reads that message.
///
/// # Errors
/// What is wrong with it, for people.
pub fn read_message(text: &str) -> Result<ChunkMessage, String> {
    let message: ChunkMessage =
        serde_json::from_str(text).map_err(|_| "the text is not a message about a chunk".to_owned())?;
    let hash = message.chunk.strip_prefix(PREFIX).unwrap_or_default();
    if hash.len() == HASH && hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        Ok(message)
    } else {
        Err("chunk is not an id".to_owned())
    }
}

/// What becomes of a mood.
enum Saved {
    Created,
    Grown,
    Unchanged,
}

impl Moods {
    /// Reads these articles with the model and saves the moods in them. To do it again, wherever it was cut off, goes on
    /// from there; when all was done, it returns the same report and changes nothing. New moods of one `run` are merged
    /// more readily with each other than with those of others.
    ///
    /// # Errors
    /// When the model or the store failed, or while another worker is at it: see [`Error`].
    pub async fn process_chunk(&self, run: &str, snippets: &[Snippet]) -> Result<ChunkReport, Error> {
        let id = self.save_chunk(run, snippets).await?;
        self.work(&id).await
    }

    /// Writes a chunk down, if it is not there yet, and returns its id, which depends on its articles alone.
    pub(super) async fn save_chunk(&self, run: &str, snippets: &[Snippet]) -> Result<String, Error> {
        let urls: Vec<&str> = snippets.iter().map(|snippet| snippet.url.as_str()).collect();
        let mut hash = sha256_hex(urls.join("\n"));
        hash.truncate(HASH);
        let chunk = MoodChunk {
            id: format!("{PREFIX}{hash}"),
            user_id: PARTITION.to_owned(),
            run: run.to_owned(),
            snippets: snippets.to_vec(),
            plan: None,
            report: None,
            lease_owner: None,
            lease_expires_at: None,
            ttl: KEPT.as_secs(),
            other: Map::new(),
        };
        self.parts().data.moods.create_chunk(&chunk).await?;
        Ok(chunk.id)
    }

    /// Does what is left to do with a chunk.
    ///
    /// # Errors
    /// As [`Moods::process_chunk`], and [`Error::Gone`] if there is no such chunk.
    pub async fn work(&self, id: &str) -> Result<ChunkReport, Error> {
        let owner = Uuid::new_v4().simple().to_string();
        let chunk = match self.take_lease(id, &owner).await? {
            Taken::Done(report) => return Ok(report),
            Taken::Ours(chunk) => chunk,
        };
        let outcome = tokio::select! {
            outcome = self.read_and_save(*chunk, &owner) => outcome,
            lost = self.keep_lease(id, &owner) => Err(lost),
        };
        if outcome.is_err()
            && let Err(error) = self.edit_ours(id, &owner, |chunk| chunk.lease_expires_at = None).await
        {
            warn!(chunk.id = id, error = %Chain(&error), "lease of a chunk not ended");
        }
        outcome
    }

    async fn take_lease(&self, id: &str, owner: &str) -> Result<Taken, Error> {
        let now = self.now();
        self.parts()
            .data
            .moods
            .edit_chunk(id, |found| match found {
                None => Edit::Keep(Err(Error::Gone)),
                Some(MoodChunk { report: Some(report), .. }) => Edit::Keep(Ok(Taken::Done(report))),
                Some(chunk) if lease::is_live(chunk.lease_expires_at, now, LEASE) => Edit::Keep(Err(Error::Elsewhere)),
                Some(chunk) => {
                    let (lease_owner, lease_expires_at) = (Some(owner.to_owned()), Some(now + LEASE));
                    let chunk = MoodChunk { lease_owner, lease_expires_at, ..chunk };
                    Edit::Save(chunk.clone(), Ok(Taken::Ours(Box::new(chunk))))
                }
            })
            .await?
    }

    /// Says now and then that the worker lives. Returns only when the lease is lost.
    async fn keep_lease(&self, id: &str, owner: &str) -> Error {
        loop {
            tokio::time::sleep(LEASE / RENEWALS).await;
            let until = self.now() + LEASE;
            match self.edit_ours(id, owner, |chunk| chunk.lease_expires_at = Some(until)).await {
                Ok(()) => {}
                Err(Error::LeaseLost) => return Error::LeaseLost,
                // The lease goes on for a while; the next try may succeed.
                Err(error) => warn!(chunk.id = id, error = %Chain(&error), "lease of a chunk not renewed"),
            }
        }
    }

    /// Edits the chunk as long as `owner` works on it.
    async fn edit_ours(&self, id: &str, owner: &str, change: impl Fn(&mut MoodChunk)) -> Result<(), Error> {
        let edit = |found| match found {
            Some(chunk) if MoodChunk::is_held_by(&chunk, owner) => {
                let mut chunk = chunk;
                change(&mut chunk);
                Edit::Save(chunk, Ok(()))
            }
            Some(_) | None => Edit::Keep(Err(Error::LeaseLost)),
        };
        self.parts().data.moods.edit_chunk(id, edit).await?
    }

    async fn read_and_save(&self, chunk: MoodChunk, owner: &str) -> Result<ChunkReport, Error> {
        let seen = match chunk.plan {
            Some(_) => Vec::new(),
            None => self.extract(&chunk.snippets).await?,
        };
        let _merging = self.0.merging.lock().await;
        let (plan, vectors) = match chunk.plan {
            Some(plan) => {
                let vectors = self.embed(plan.iter().map(|planned| &planned.seen)).await?;
                (plan, vectors)
            }
            None => {
                let (plan, vectors) = self.plan(seen, &chunk.run).await?;
                self.edit_ours(&chunk.id, owner, |chunk| chunk.plan = Some(plan.clone())).await?;
                (plan, vectors)
            }
        };
        let mut report = ChunkReport { snippets: chunk.snippets.len(), ..ChunkReport::default() };
        for (planned, vector) in plan.iter().zip(vectors) {
            match self.save(planned, vector, &chunk.run).await {
                Ok(Saved::Created) => report.created += 1,
                Ok(Saved::Grown) => report.grown += 1,
                Ok(Saved::Unchanged) => report.unchanged += 1,
                // Never to be read, however often it is tried.
                Err(data::Error::Unwritable(error)) => {
                    warn!(mood.id = planned.seen.id(), fault = ?error.classify(), "mood left as it is");
                }
                Err(error) => return Err(error.into()),
            }
        }
        let done = |chunk: &mut MoodChunk| {
            (chunk.snippets, chunk.plan, chunk.report) = (Vec::new(), None, Some(report));
            (chunk.lease_owner, chunk.lease_expires_at) = (None, None);
        };
        self.edit_ours(&chunk.id, owner, done).await?;
        info!(chunk.id = chunk.id, ?report, "articles read");
        Ok(report)
    }

    /// The moods that the model sees in the articles.
    async fn extract(&self, snippets: &[Snippet]) -> Result<Vec<SeenMood>, Error> {
        if snippets.is_empty() {
            return Ok(Vec::new());
        }
        let reply = self.parts().model.complete(&CallContext::service(), extract::request(snippets)).await?;
        extract::read(&reply.text, snippets).map_err(Error::Nonsense)
    }

    async fn embed(&self, moods: impl Iterator<Item = &SeenMood>) -> Result<Vec<Vec<f32>>, Error> {
        let names: Vec<String> = moods.map(|seen| seen.name.clone()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let vectors = self.parts().model.embed(&CallContext::service(), &names).await?;
        if vectors.len() == names.len() { Ok(vectors) } else { Err(Error::Nonsense("a name has no vector")) }
    }

    /// What is to become of the moods: which of them are one, and which stored mood each is taken for.
    async fn plan(&self, seen: Vec<SeenMood>, run: &str) -> Result<(Vec<PlannedMood>, Vec<Vec<f32>>), Error> {
        let vectors = self.embed(seen.iter()).await?;
        let candidates = seen.into_iter().zip(vectors).map(|(seen, vector)| Candidate { seen, vector }).collect();
        let candidates = merge::within(candidates);
        let nearest = merge::nearest(&self.parts().data.moods, &candidates, run).await?;
        let (mut plan, mut vectors) = (Vec::new(), Vec::new());
        for (Candidate { seen, vector }, nearest) in candidates.into_iter().zip(nearest) {
            let planned = match nearest {
                None => PlannedMood { seen, target: None, description: None },
                Some(nearest) => self.compare(seen, nearest).await,
            };
            plan.push(planned);
            vectors.push(vector);
        }
        Ok((plan, vectors))
    }

    /// Whether a mood is taken for the stored one that it is like.
    async fn compare(&self, seen: SeenMood, nearest: Nearest) -> PlannedMood {
        let verdict = match nearest.likeness {
            Likeness::Same => Verdict { is_same: true, description: None },
            Likeness::Perhaps => {
                let request = extract::comparison((&nearest.name, &nearest.description), &seen);
                let answer = self.parts().model.complete(&CallContext::service(), request).await;
                let verdict = match &answer {
                    Ok(reply) => extract::read_verdict(&reply.text),
                    Err(error) => {
                        warn!(error = %Chain(error), "moods not compared: they count as the same");
                        None
                    }
                };
                verdict.unwrap_or(Verdict { is_same: true, description: None })
            }
        };
        let target = verdict.is_same.then_some(nearest.id);
        PlannedMood { seen, target, description: verdict.description }
    }

    /// Adds the articles of a mood to the one that it is taken for, or saves it as a new one.
    async fn save(&self, planned: &PlannedMood, vector: Vec<f32>, run: &str) -> data::Result<Saved> {
        let PlannedMood { seen, target, description } = planned;
        let id = target.clone().unwrap_or_else(|| seen.id());
        let now = self.now();
        let edit = |found: Option<MoodRecord>| {
            let is_new = found.is_none();
            let mut record = found.unwrap_or_else(|| MoodRecord::new(seen, vector.clone(), run));
            // Deleted meanwhile, perhaps under another name.
            record.mood.id.clone_from(&id);
            if record.name_embedding.is_empty() && target.is_none() {
                record.name_embedding.clone_from(&vector);
            }
            if record.add(seen, description.as_deref(), now) == 0 {
                return Edit::Keep(Saved::Unchanged);
            }
            Edit::Save(record, if is_new { Saved::Created } else { Saved::Grown })
        };
        self.parts().data.moods.edit(&seen.primary_mood, &id, edit).await
    }
}

/// What came of asking for a chunk's lease.
enum Taken {
    /// All is done.
    Done(ChunkReport),
    /// The chunk.
    Ours(Box<MoodChunk>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_a_chunk() {
        let id = format!("{PREFIX}{}", "0a".repeat(16));
        let message = |id: &str| serde_json::json!({"chunk": id, "more": 1}).to_string();
        assert_eq!(read_message(&message(&id)).unwrap().chunk, id);
        for text in ["", "{}", "[1]", &message("mood-intake"), &message(&id[1..]), &message(&format!("{id}0"))] {
            assert!(read_message(text).is_err(), "{text}");
        }
    }
}
