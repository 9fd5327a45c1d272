//! Digests, by user, and the progress of the weekly run.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::lease::leased;
use super::timers::PARTITION;
use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::model::digest::{Digest, FanOut, Week, WeeklyRun};
use crate::model::ids::{DigestId, UserId};
use crate::store::{Container, Direction, DocumentStore, Filter, Key, Query, Stored};

/// Longest lease of a user's week that the settings allow.
const LONGEST_LEASE: Duration = Duration::from_secs(600);
/// Time after which a message that should continue a fan-out counts as lost.
pub const HANDED_ON: Duration = Duration::from_secs(15 * 60);

leased!(WeeklyRun, LONGEST_LEASE);
leased!(FanOut, HANDED_ON);

/// The digests of all users.
#[derive(Clone)]
pub struct Digests(pub(super) Arc<dyn DocumentStore>);

impl Digests {
    fn key(user: &UserId, digest: &DigestId) -> Key {
        Key::new(Container::Digests, user.as_str(), digest.as_str())
    }

    /// Returns the key of a user's weekly-run progress.
    pub fn run_key(user: &UserId) -> Key {
        Key::new(Container::Jobs, user.as_str(), WeeklyRun::ID)
    }

    /// Key of the weekly run in earlier versions.
    fn former_run_key(user: &UserId) -> Key {
        Key::new(Container::Digests, user.as_str(), WeeklyRun::ID)
    }

    /// Builds the id of the digest for a state of a user's wardrobe.
    pub fn id(user: &UserId, wardrobe_hash: &str) -> DigestId {
        format!("{user}-{wardrobe_hash}").into()
    }

    /// Finds a digest.
    pub async fn find(&self, user: &UserId, digest: &DigestId) -> Result<Option<Digest>> {
        records::find(&*self.0, &Self::key(user, digest)).await
    }

    /// Finds the user's latest digest.
    pub async fn latest(&self, user: &UserId) -> Result<Option<Digest>> {
        let query = Query::partition(Container::Digests, user.as_str())
            // Only digests have this field.
            .matching(Filter::at_least("generatedAt", ""))
            .order_by("generatedAt", Direction::Descending);
        pages::first(&*self.0, query).await
    }

    /// Saves a digest, replacing one for the same wardrobe.
    pub async fn save(&self, digest: &Digest) -> Result<()> {
        records::save(&*self.0, &Self::key(&digest.user_id, &digest.id), digest).await
    }

    /// Finds the weekly run of a user.
    pub async fn weekly_run(&self, user: &UserId) -> Result<Option<WeeklyRun>> {
        let (key, former) = (Self::run_key(user), Self::former_run_key(user));
        let (stored, former) = futures::future::try_join(self.0.read(&key), self.0.read(&former)).await?;
        match former {
            None => Ok(stored.and_then(|stored| records::parse(Container::Jobs, &stored))),
            Some(former) => self.move_weekly_run(user, &former).await,
        }
    }

    /// Moves a weekly run from its former key, unless a newer one exists.
    async fn move_weekly_run(&self, user: &UserId, former: &Stored) -> Result<Option<WeeklyRun>> {
        let run: Option<WeeklyRun> = records::parse(Container::Digests, former);
        let moved = self.edit_weekly_run(user, |found| match (found, &run) {
            (Some(found), Some(run)) if found.week < run.week => Edit::Save(run.clone(), Some(run.clone())),
            (None, Some(run)) => Edit::Save(run.clone(), Some(run.clone())),
            (found, _) => Edit::Keep(found),
        });
        let moved = moved.await?;
        // If it was changed, an older version is processing it, and its lease was moved as well.
        update::won(self.0.delete(&Self::former_run_key(user), Some(&former.etag)).await)?;
        Ok(moved)
    }

    /// Edits the weekly run of a user by compare-and-swap.
    ///
    /// # Errors
    /// [`super::Error::Contended`], [`super::Error::Unwritable`] or [`super::Error::Store`], as for [`update::update`].
    pub async fn edit_weekly_run<R>(
        &self,
        user: &UserId,
        edit: impl FnMut(Option<WeeklyRun>) -> Edit<WeeklyRun, R>,
    ) -> Result<R> {
        update::update(&*self.0, &Self::run_key(user), edit).await
    }

    /// Saves the digest of a week, unless it or a newer one for the same wardrobe exists.
    ///
    /// # Errors
    /// [`super::Error::Contended`], [`super::Error::Unwritable`] or [`super::Error::Store`], as for [`update::update`].
    pub async fn save_unless_newer(&self, digest: &Digest) -> Result<()> {
        let document = serde_json::to_value(digest)?;
        update::update(&*self.0, &Self::key(&digest.user_id, &digest.id), |found: Option<Value>| {
            let there = found.and_then(|found| serde_json::from_value::<Digest>(found).ok());
            match there {
                Some(there) if there.generated_at >= digest.generated_at => Edit::Keep(()),
                Some(_) | None => Edit::Save(document.clone(), ()),
            }
        })
        .await
    }

    /// Builds the id of a week's fan-out.
    pub fn fan_out_id(week: Week) -> String {
        format!("digest-fan-out-{week}")
    }

    /// Returns the key of a week's fan-out progress.
    pub fn fan_out_key(week: Week) -> Key {
        Key::new(Container::Jobs, PARTITION, Self::fan_out_id(week))
    }

    /// Finds the fan-out of a week.
    ///
    /// # Errors
    /// When the store fails or the document is invalid.
    pub async fn fan_out(&self, week: Week) -> Result<Option<FanOut>> {
        records::find_valid(&*self.0, &Self::fan_out_key(week)).await
    }

    /// Edits the fan-out of a week by compare-and-swap.
    ///
    /// # Errors
    /// [`super::Error::Contended`], [`super::Error::Unwritable`] or [`super::Error::Store`], as for [`update::update`].
    pub async fn edit_fan_out<R>(&self, week: Week, edit: impl FnMut(Option<FanOut>) -> Edit<FanOut, R>) -> Result<R> {
        update::update(&*self.0, &Self::fan_out_key(week), edit).await
    }
}
