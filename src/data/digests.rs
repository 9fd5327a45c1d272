//! Purchase ideas, by user, and how far the weekly run has come.

use std::sync::Arc;

use super::timers::PARTITION;
use super::update::{self, Edit};
use super::{Error, Result, pages};
use crate::model::digest::{Digest, FanOut, Week, WeeklyRun};
use crate::model::ids::{DigestId, UserId};
use crate::store::query::Comparison;
use crate::store::{self, Container, Direction, DocumentStore, Filter, Key, Query, Write};

/// The digests of all users.
#[derive(Clone)]
pub struct Digests(Arc<dyn DocumentStore>);

impl Digests {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    fn key(user: &UserId, digest: &DigestId) -> Key {
        Key::new(Container::Digests, user.as_str(), digest.as_str())
    }

    fn run_key(user: &UserId) -> Key {
        Key::new(Container::Digests, user.as_str(), WeeklyRun::ID)
    }

    /// Id of the digest about one state of a user's wardrobe.
    pub fn id(user: &UserId, wardrobe_hash: &str) -> DigestId {
        format!("{user}-{wardrobe_hash}").into()
    }

    /// The digest of this id.
    pub async fn find(&self, user: &UserId, digest: &DigestId) -> Result<Option<Digest>> {
        let stored = self.0.read(&Self::key(user, digest)).await?;
        Ok(stored.and_then(|stored| pages::parse(Container::Digests, &stored)))
    }

    /// The user's newest digest.
    pub async fn latest(&self, user: &UserId) -> Result<Option<Digest>> {
        let query = Query::partition(Container::Digests, user.as_str())
            // What else is in the partition is no digest.
            .matching(Filter::Compare("generatedAt", Comparison::GreaterOrEqual, "".into()))
            .order_by("generatedAt", Direction::Descending)
            .limit(1);
        let digests: Vec<Digest> = pages::page(&*self.0, &query).await?;
        Ok(digests.into_iter().next())
    }

    /// Saves a digest, in the place of an older one about the same wardrobe.
    pub async fn save(&self, digest: &Digest) -> Result<()> {
        self.0.upsert(&Self::key(&digest.user_id, &digest.id), &serde_json::to_value(digest)?).await?;
        Ok(())
    }

    /// How far the weekly run has come for a user.
    pub async fn weekly_run(&self, user: &UserId) -> Result<Option<WeeklyRun>> {
        let stored = self.0.read(&Self::run_key(user)).await?;
        Ok(stored.and_then(|stored| pages::parse(Container::Digests, &stored)))
    }

    /// Edits that by compare-and-swap, as [`update::update`].
    ///
    /// # Errors
    /// As [`update::update`].
    pub async fn edit_weekly_run<R>(
        &self,
        user: &UserId,
        edit: impl FnMut(Option<WeeklyRun>) -> Edit<WeeklyRun, R>,
    ) -> Result<R> {
        update::update(&*self.0, &Self::run_key(user), edit).await
    }

    /// Saves the digest of a week together with the note that it was made, in one write; false, and nothing is saved, if
    /// `owner` is not at that week any more.
    ///
    /// # Errors
    /// [`Error::Contended`] when others kept changing either document.
    pub async fn save_weekly(&self, digest: &Digest, settled: &WeeklyRun, owner: &str) -> Result<bool> {
        let key = Self::key(&digest.user_id, &digest.id);
        let run = serde_json::to_value(settled)?;
        let document = serde_json::to_value(digest)?;
        for attempt in 0..update::ATTEMPTS {
            update::pause_before(attempt).await;
            let (held, older) =
                futures::future::try_join(self.0.read(&Self::run_key(&digest.user_id)), self.0.read(&key)).await?;
            let Some(held) = held else { return Ok(false) };
            if !held.parse::<WeeklyRun>().is_ok_and(|run| run.is_held_by(owner, settled.week)) {
                return Ok(false);
            }
            let document = document.clone();
            let save = match older {
                Some(older) => Write::Replace { document, etag: older.etag },
                None => Write::Create { document },
            };
            let writes = [Write::Replace { document: run.clone(), etag: held.etag }, save];
            match self.0.batch(Container::Digests, digest.user_id.as_str(), &writes).await {
                Ok(()) => return Ok(true),
                Err(store::Error::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended)
    }

    /// Id of the document that says how far a week's fan-out has come.
    pub fn fan_out_id(week: Week) -> String {
        format!("digest-fan-out-{week}")
    }

    /// How far a week's profiles have been put into the queue.
    ///
    /// # Errors
    /// When the store fails or the document is not what it should be.
    pub async fn fan_out(&self, week: Week) -> Result<Option<FanOut>> {
        let stored = self.0.read(&fan_out_key(week)).await?;
        Ok(stored.map(|stored| stored.parse()).transpose()?)
    }

    /// Edits that by compare-and-swap, as [`update::update`].
    ///
    /// # Errors
    /// As [`update::update`].
    pub async fn edit_fan_out<R>(&self, week: Week, edit: impl FnMut(Option<FanOut>) -> Edit<FanOut, R>) -> Result<R> {
        update::update(&*self.0, &fan_out_key(week), edit).await
    }
}

fn fan_out_key(week: Week) -> Key {
    Key::new(Container::Jobs, PARTITION, Digests::fan_out_id(week))
}
