//! Chunks of articles: finding moods in them, matching them with stored ones, and saving them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Map;
use tracing::{info, warn};

use super::extract::{self, Verdict};
use super::merge::{self, Candidate, Likeness, Nearest};
use super::{Error, Moods};
use crate::base::chain::Chain;
use crate::base::hash::sha256_hex;
use crate::data;
use crate::data::lease::{self, Claimed, Decision, Held, Leased, Standing};
use crate::data::moods::Moods as Store;
use crate::data::timers::PARTITION;
use crate::data::update::Edit;
use crate::llm::CallContext;
use crate::model::lease::Lease;
use crate::model::mood::{MoodRecord, SeenMood, Snippet};
use crate::model::mood_intake::{ChunkReport, MoodChunk, PlannedMood};
use crate::queue::QueueMessage;

/// How long a chunk is kept: as long as dead letters, which can be replayed.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Prefix of chunk ids.
const PREFIX: &str = "mood-chunk-";
/// Hash digits in an id.
const HASH: usize = 32;

/// Message that starts the work on a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMessage {
    /// Id of the chunk.
    pub chunk: String,
}

impl QueueMessage for ChunkMessage {
    fn check(&self) -> Result<(), String> {
        let hash = self.chunk.strip_prefix(PREFIX).unwrap_or_default();
        let is_id = hash.len() == HASH && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_id { Ok(()) } else { Err("chunk is not an id".to_owned()) }
    }
}

/// Outcome of saving a mood.
enum Saved {
    Created,
    Grown,
    Unchanged,
}

impl Moods {
    /// Extracts moods from these articles with the model, and saves them. Repeating it continues where it was
    /// interrupted; once done, it returns the same report and changes nothing. Another run with the same articles is
    /// told that all of them are known. New moods of one `run` are merged more readily with each other.
    ///
    /// # Errors
    /// When the model or store failed, or another worker holds the chunk: see [`Error`].
    pub async fn process_chunk(&self, run: &str, snippets: &[Snippet]) -> Result<ChunkReport, Error> {
        let id = self.save_chunk(run, snippets).await?;
        self.work_for(&id, Some(run)).await
    }

    /// Saves a chunk, unless it exists, and returns its id, which depends only on its articles.
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
            lease: Lease::default(),
            ttl: KEPT.as_secs(),
            other: Map::new(),
        };
        self.base().data.moods.create_chunk(&chunk).await?;
        Ok(chunk.id)
    }

    /// Processes the rest of a chunk.
    ///
    /// # Errors
    /// [`Error::Gone`] if the chunk does not exist; otherwise as for [`Moods::process_chunk`].
    pub async fn work(&self, id: &str) -> Result<ChunkReport, Error> {
        self.work_for(id, None).await
    }

    /// Processes the rest of a chunk for a run, by default the one that saved it.
    async fn work_for(&self, id: &str, run: Option<&str>) -> Result<ChunkReport, Error> {
        let leases = self.base().data.leases(&self.base().clock, MoodChunk::LONGEST);
        let claimed =
            leases.claim(Store::chunk_key(id), |found: Option<MoodChunk>, standing| match (found, standing) {
                (None, _) => Decision::Leave(Err(Error::Gone)),
                (Some(MoodChunk { report: Some(report), run: reader, .. }), _) => {
                    let is_ours = run.is_none_or(|run| run == reader);
                    Decision::Leave(Ok(if is_ours { report } else { report.for_another_run() }))
                }
                (Some(_), Standing::Held(_)) => Decision::Leave(Err(Error::HeldElsewhere)),
                (Some(mut chunk), Standing::Free) => {
                    if let Some(run) = run {
                        run.clone_into(&mut chunk.run);
                    }
                    Decision::Take(chunk)
                }
            });
        let held = match claimed.await? {
            Claimed::Ours(held) => held,
            Claimed::Left(outcome) => return outcome,
        };
        let outcome = held.keep(self.read_and_save(&held)).await.unwrap_or(Err(Error::LeaseLost));
        if outcome.is_err()
            && let Err(error @ lease::Error::Data(_)) = held.release().await
        {
            warn!(chunk.id = id, error = %Chain(&error), "lease of a chunk not released");
        }
        outcome
    }

    async fn read_and_save(&self, held: &Held<MoodChunk>) -> Result<ChunkReport, Error> {
        let chunk = held.document();
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
                held.edit(|chunk| chunk.plan = Some(plan.clone())).await?;
                (plan, vectors)
            }
        };
        let mut report = ChunkReport { snippets: chunk.snippets.len(), ..ChunkReport::default() };
        for (planned, vector) in plan.iter().zip(vectors) {
            match self.save(planned, vector, &chunk.run).await {
                Ok(Saved::Created) => report.created += 1,
                Ok(Saved::Grown) => report.grown += 1,
                Ok(Saved::Unchanged) => report.unchanged += 1,
                // Unreadable, so retries cannot help.
                Err(data::Error::Unwritable(error)) => {
                    warn!(mood.id = planned.seen.id(), fault = ?error.classify(), "mood not changed");
                }
                Err(error) => return Err(error.into()),
            }
        }
        held.finish(|chunk| (chunk.snippets, chunk.plan, chunk.report) = (Vec::new(), None, Some(report))).await?;
        info!(chunk.id = chunk.id, ?report, "articles read");
        Ok(report)
    }

    /// Extracts moods from the articles with the model.
    async fn extract(&self, snippets: &[Snippet]) -> Result<Vec<SeenMood>, Error> {
        if snippets.is_empty() {
            return Ok(Vec::new());
        }
        let reply = self.base().model.complete(&CallContext::service(), extract::request(snippets)).await?;
        extract::read(&reply.text, snippets).map_err(Error::Nonsense)
    }

    async fn embed(&self, moods: impl Iterator<Item = &SeenMood>) -> Result<Vec<Vec<f32>>, Error> {
        let names: Vec<String> = moods.map(|seen| seen.name.clone()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let vectors = self.base().model.embed(&CallContext::service(), &names).await?;
        if vectors.len() == names.len() { Ok(vectors) } else { Err(Error::Nonsense("a name has no vector")) }
    }

    /// Plans what to do with the moods: merges equal ones, and matches them with stored ones.
    async fn plan(&self, seen: Vec<SeenMood>, run: &str) -> Result<(Vec<PlannedMood>, Vec<Vec<f32>>), Error> {
        let vectors = self.embed(seen.iter()).await?;
        let candidates = seen.into_iter().zip(vectors).map(|(seen, vector)| Candidate { seen, vector }).collect();
        let candidates = merge::within(candidates);
        let nearest = merge::nearest(&self.base().data.moods, &candidates, run).await?;
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

    /// Decides whether a mood is the stored one that it resembles.
    async fn compare(&self, seen: SeenMood, nearest: Nearest) -> PlannedMood {
        let verdict = match nearest.likeness {
            Likeness::Same => Verdict { is_same: true, description: None },
            Likeness::Perhaps => {
                let request = extract::comparison((&nearest.name, &nearest.description), &seen);
                let answer = self.base().model.complete(&CallContext::service(), request).await;
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

    /// Adds a mood's articles to the stored one, or saves it as a new one.
    async fn save(&self, planned: &PlannedMood, vector: Vec<f32>, run: &str) -> data::Result<Saved> {
        let PlannedMood { seen, target, description } = planned;
        let id = target.clone().unwrap_or_else(|| seen.id());
        let now = self.now();
        let edit = |found: Option<MoodRecord>| {
            let is_new = found.is_none();
            let mut record = found.unwrap_or_else(|| MoodRecord::new(seen, vector.clone(), run));
            // Deleted meanwhile, perhaps with an id in another form.
            record.mood.id.clone_from(&id);
            if record.name_embedding.is_empty() && target.is_none() {
                record.name_embedding.clone_from(&vector);
            }
            if record.add(seen, description.as_deref(), now) == 0 {
                return Edit::Keep(Saved::Unchanged);
            }
            Edit::Save(record, if is_new { Saved::Created } else { Saved::Grown })
        };
        self.base().data.moods.edit(&seen.primary_mood, &id, edit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::read_message;

    #[test]
    fn a_message_names_a_chunk() {
        let id = format!("{PREFIX}{}", "0a".repeat(16));
        let message = |id: &str| serde_json::json!({"chunk": id, "more": 1}).to_string();
        assert_eq!(read_message::<ChunkMessage>(&message(&id)).unwrap().chunk, id);
        for text in ["", "{}", "[1]", &message("mood-intake"), &message(&id[1..]), &message(&format!("{id}0"))] {
            assert!(read_message::<ChunkMessage>(text).is_err(), "{text}");
        }
    }
}
