//! Cleans up stale drafts, and blobs that no longer belong to an item.

use std::collections::HashMap;
use std::time::Duration;

use tracing::{error, info, warn};

use super::work::NOT_PROCESSED;
use super::{Drafts, Error};
use crate::base::chain::Chain;
use crate::blob::{BlobName, ContainerName, Listed};
use crate::data::update::Edit;
use crate::data::wardrobe::Shown;
use crate::domain::item_blobs::{Named, is_named_after, is_picture_of};
use crate::domain::work::Failures;
use crate::model::draft::{DraftItem, DraftStatus};
use crate::model::ids::{ItemId, UserId};
use crate::model::timestamp::Timestamp;

/// Drafts that one query gives.
const BATCH: usize = 200;
/// Time without a worker after which a photo is queued again.
const STALE_AFTER: Duration = Duration::from_secs(10 * 60);
/// Number of times a photo is queued again before its draft fails.
const MOST_ATTEMPTS: u32 = 3;
/// Age at which failed drafts and blobs without an item are deleted.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Blobs in one page of a listing.
const LISTED: usize = 1000;
/// Items looked up in one query.
const LOOKED_UP: usize = 100;
/// Number of orphans up to which nothing is suspicious.
const FEW_ORPHANS: usize = 1000;

/// What [`Drafts::requeue_stale`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requeued {
    /// Photos that were queued again.
    pub queued: usize,
    /// Drafts that failed because no worker had finished their photo.
    pub failed: usize,
}

/// What [`Drafts::delete_orphans`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Old blobs named like blobs of items.
    pub examined: usize,
    /// Blobs that belong to no item.
    pub found: usize,
    /// Blobs that were deleted.
    pub deleted: usize,
}

/// Action of the sweeper on a draft.
enum Swept {
    Queue(Box<DraftItem>),
    Failed,
    Left,
}

impl Drafts {
    /// Queues photos again that have waited without a worker for ten minutes, because their message was lost or never
    /// sent, or their worker died; those without a date as well. After three times the draft fails. One call may not
    /// find all; a draft that cannot be handled does not stop the others.
    ///
    /// # Errors
    /// When documents or queue fail. What is left is found the next time.
    pub async fn requeue_stale(&self) -> Result<Requeued, Error> {
        let now = self.now();
        let until = before(now, STALE_AFTER);
        let mut report = Requeued::default();
        let (drafts, status) = (&self.0.base.data.drafts, DraftStatus::Processing);
        let unchanged = drafts.unchanged_since(status, until, BATCH).await?;
        let mut failures = Failures::none();
        for draft in unchanged.iter().chain(&drafts.undated(status, BATCH).await?) {
            match self.send_again(draft, now, until).await {
                Ok(Swept::Queue(_)) => report.queued += 1,
                Ok(Swept::Failed) => report.failed += 1,
                Ok(Swept::Left) => {}
                Err(error) => failures.pass_over(&draft.id, error)?,
            }
        }
        if report != Requeued::default() {
            info!(?report, "stale drafts queued again or failed");
        }
        failures.into_result().map(|()| report)
    }

    async fn send_again(&self, stale: &DraftItem, now: Timestamp, until: Timestamp) -> Result<Swept, Error> {
        let swept = self.sweep(stale, now, until).await?;
        if let Swept::Queue(waiting) = &swept {
            self.send_or_undo(stale, waiting).await?;
        }
        Ok(swept)
    }

    async fn sweep(&self, stale: &DraftItem, now: Timestamp, until: Timestamp) -> Result<Swept, Error> {
        let swept = self.0.base.data.drafts.edit(&stale.user_id, &stale.id, |found| match found {
            Some(mut draft) if is_stale(&draft, now, until) => {
                if draft.draft_attempts >= MOST_ATTEMPTS {
                    draft.fail(NOT_PROCESSED, now);
                    return Edit::Save(draft, Swept::Failed);
                }
                draft.wait_again(now);
                draft.draft_attempts += 1;
                Edit::Save(draft.clone(), Swept::Queue(Box::new(draft)))
            }
            Some(_) | None => Edit::Keep(Swept::Left),
        });
        Ok(swept.await?)
    }

    /// Sends the message of a waiting draft again; on failure, undoes the attempt.
    async fn send_or_undo(&self, before: &DraftItem, waiting: &DraftItem) -> Result<(), Error> {
        let sent = self.send(waiting).await;
        if sent.is_err() {
            let undone = self.0.base.data.drafts.edit(&waiting.user_id, &waiting.id, |found| match found {
                Some(mut draft) if draft.is_processing() && draft.draft_updated_at == waiting.draft_updated_at => {
                    draft.draft_updated_at = before.draft_updated_at;
                    draft.draft_attempts = draft.draft_attempts.saturating_sub(1);
                    Edit::Save(draft, ())
                }
                Some(_) | None => Edit::Keep(()),
            });
            if let Err(error) = undone.await {
                warn!(item.id = %waiting.id, error = %Chain(&error), "attempt of a draft not undone");
            }
        }
        sent
    }

    /// Deletes drafts that failed a week ago, with their photos. Returns their number.
    ///
    /// # Errors
    /// When documents fail. What is left is found the next time.
    pub async fn delete_abandoned(&self) -> Result<usize, Error> {
        let (data, blobs) = (&self.0.base.data, &self.0.blobs);
        let until = before(self.now(), KEPT);
        let mut deleted = 0;
        let mut failures = Failures::none();
        loop {
            let drafts = data.drafts.unchanged_since(DraftStatus::Failed, until, BATCH).await?;
            let mut progress = 0;
            for draft in &drafts {
                match data.drafts.delete_unchanged(draft, DraftStatus::Failed, until).await {
                    Ok(true) => progress += 1,
                    Ok(false) => continue,
                    Err(error) => {
                        failures.pass_over(&draft.id, error)?;
                        continue;
                    }
                }
                if let Err(error) = blobs.delete_all(&draft.user_id, &draft.id, draft.image_url.as_deref()).await {
                    warn!(
                        item.id = %draft.id,
                        error = %Chain(&error),
                        "blobs of a draft not deleted: the orphan timer will delete them"
                    );
                }
            }
            deleted += progress;
            if progress == 0 || drafts.len() < BATCH {
                break;
            }
        }
        if deleted > 0 {
            info!(drafts = deleted, "abandoned drafts deleted");
        }
        failures.into_result()?;
        Ok(deleted)
    }

    /// Deletes the blobs of an item that is gone: its photo and its pictures. A picture without a user in its name is
    /// kept while another user has an item with this id.
    ///
    /// # Errors
    /// When blobs or documents fail. [`Drafts::delete_orphans`] deletes what is left.
    pub async fn delete_blobs(&self, user: &UserId, item: &ItemId, image_url: Option<&str>) -> Result<(), Error> {
        let blobs = &self.0.blobs;
        let shown = image_url.and_then(|url| blobs.in_archive(url));
        let shared = shown.filter(|name| is_picture_of(user, item, name) && !is_named_after(user, name));
        if let Some(name) = shared
            && self.0.base.data.wardrobe.find_all_users(std::slice::from_ref(item)).await?.is_empty()
        {
            blobs.store.delete(&blobs.archive, &name).await?;
        }
        Ok(blobs.delete_all(user, item, image_url).await?)
    }

    /// Deletes photos and finished pictures that are older than a week and belong to no item. It counts them first: if
    /// they are many, and more than half of all, the documents probably belong to another deployment, and nothing is
    /// deleted.
    ///
    /// # Errors
    /// When blobs or documents fail. What is left is found the next time.
    pub async fn delete_orphans(&self) -> Result<Orphans, Error> {
        let found = self.examine(false).await?;
        info!(?found, "blobs without an item counted");
        if found.found == 0 {
            return Ok(found);
        }
        if found.found > FEW_ORPHANS && found.found > found.examined / 2 {
            error!(
                ?found,
                "orphaned blobs not deleted: most blobs belong to no item, so the store may be another deployment's"
            );
            return Ok(found);
        }
        let deleted = self.examine(true).await?;
        info!(?deleted, "blobs without an item deleted");
        Ok(deleted)
    }

    async fn examine(&self, may_delete: bool) -> Result<Orphans, Error> {
        let mut report = Orphans::default();
        let mut failures = Failures::none();
        let archive = &self.0.blobs.archive;
        for container in [archive, &self.0.blobs.uploads] {
            let mut after = None;
            loop {
                let page = self.0.blobs.store.list(container, "", after.as_deref(), LISTED).await?;
                let old = page.blobs.into_iter().filter_map(|blob| self.candidate(blob, container == archive));
                let old: Vec<_> = old.collect();
                for some in old.chunks(LOOKED_UP) {
                    self.examine_some(container, some, may_delete, &mut report, &mut failures).await?;
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        failures.into_result().map(|()| report)
    }

    /// Returns the blob as a possible orphan, judging by its name and age.
    fn candidate(&self, blob: Listed, is_archive: bool) -> Option<(BlobName, Named)> {
        let is_old = blob.properties.last_modified <= before(self.now(), KEPT).get();
        let named = if is_archive {
            Named::of(&blob.name).filter(Named::is_of_items_alone)
        } else {
            Named::of_photo(&blob.name)
        };
        named.filter(|_| is_old).map(|named| (blob.name, named))
    }

    async fn examine_some(
        &self,
        container: &ContainerName,
        some: &[(BlobName, Named)],
        may_delete: bool,
        report: &mut Orphans,
        failures: &mut Failures<Error>,
    ) -> Result<(), Error> {
        let ids: Vec<ItemId> = some.iter().map(|(_, named)| named.item.clone()).collect();
        let mut items: HashMap<ItemId, Vec<Shown>> = HashMap::new();
        for item in self.0.base.data.wardrobe.find_all_users(&ids).await? {
            items.entry(item.id.clone()).or_default().push(item);
        }
        report.examined += some.len();
        for (name, named) in some {
            let items = items.get(&named.item).map(Vec::as_slice).unwrap_or_default();
            if items.iter().any(|item| self.needs(item, container, name, named)) {
                continue;
            }
            report.found += 1;
            if !may_delete {
                continue;
            }
            match self.0.blobs.store.delete(container, name).await {
                Ok(existed) => report.deleted += usize::from(existed),
                Err(error) => failures.pass_over(name, error.into())?,
            }
        }
        Ok(())
    }

    /// Whether an item needs this blob, which is named like one of its own: always for a photo; for a picture unless
    /// the item shows another of its own pictures.
    fn needs(&self, item: &Shown, container: &ContainerName, name: &BlobName, named: &Named) -> bool {
        if !named.may_be_of(&item.user_id) {
            return false;
        }
        let shown = item.image_url.as_deref().and_then(|url| self.0.blobs.in_archive(url));
        let shows_other = shown.is_some_and(|shown| shown != *name && is_picture_of(&item.user_id, &item.id, &shown));
        *container != self.0.blobs.archive || !shows_other
    }
}

fn before(now: Timestamp, time: Duration) -> Timestamp {
    (now.get() - time).into()
}

/// Whether a draft has waited since `until` without a worker.
fn is_stale(draft: &DraftItem, now: Timestamp, until: Timestamp) -> bool {
    draft.is_processing() && !draft.is_leased(now) && draft.draft_updated_at.is_none_or(|at| at <= until)
}
