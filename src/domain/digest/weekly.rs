//! The weekly run: queues every profile once.
//!
//! A timer pages through the profiles and queues a message per batch of users. A document per week holds the progress;
//! one process at a time advances it, under a lease. A page is recorded after its messages are sent, so a process that
//! dies in between sends them twice, which is harmless. When time runs out, a message continues, and
//! [`Digests::resume_fan_out`] recovers lost ones.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Digests, Error, Outcome, Reason, Trigger, subject};
use crate::base::chain::Chain;
use crate::data::digests::{Digests as Store, HANDED_ON};
use crate::data::lease::{self, Claimed, Decision, Held, Leased};
use crate::data::timers::PARTITION;
use crate::data::update::Edit;
use crate::model::digest::{DigestMessage, FanOut, Week};
use crate::model::ids::UserId;
use crate::model::lease::{Lease, is_live};
use crate::model::timestamp::Timestamp;

/// Profiles per page.
const PAGE: usize = 1000;
/// Users per message: about four minutes of work with a slow model (30 s each, six at a time).
const BATCH: usize = 50;
/// Most bytes of ids in a message, as JSON; the queue takes 48 KiB.
const BATCH_BYTES: usize = 32 * 1024;
/// Concurrent sends.
const SENDERS: usize = 16;
/// Time after which the fan-out, or the rest of a batch, is left to a message. Together with the longest model call it
/// is below the function's limit of nine minutes.
const BUDGET: Duration = Duration::from_secs(5 * 60);
/// Lifetime of a week's document.
const LIFE_SECONDS: u32 = 60 * 24 * 60 * 60;
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What continues the fan-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// The timer.
    Timer,
    /// A message of the previous invocation.
    Message,
}

/// Counts of outcomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Digests created.
    pub generated: u64,
    /// Users whose wardrobe had not changed.
    pub skipped_by_hash: u64,
    /// Users who opted out.
    pub skipped_by_opt_out: u64,
    /// Users who own nothing, or are gone.
    pub skipped_empty: u64,
    /// Users who were done already.
    pub already_done: u64,
    /// Failures.
    pub failed: u64,
    /// Users whom another worker is processing.
    pub elsewhere: u64,
    /// Users left to another message.
    pub left: u64,
}

impl Digests {
    /// Queues all profiles for a week, as far as time allows; then a message continues. Does nothing when that is done
    /// or another process is doing it.
    ///
    /// # Errors
    /// When the store or queue fails. A later attempt continues.
    pub async fn fan_out(&self, week: Week, starter: Starter) -> Result<(), Error> {
        let Some(held) = self.claim_fan_out(week, starter).await? else { return Ok(()) };
        match self.send_pages(week, &held).await {
            Err(Error::LeaseLost) => {
                info!(%week, "digest fan-out taken over by another worker");
                Ok(())
            }
            Err(error) => {
                if let Err(error @ lease::Error::Data(_)) = held.release().await {
                    warn!(%week, error = %Chain(&error), "lease of the digest fan-out not released: it will expire");
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Continues this week's fan-out if its process died or its message was lost.
    ///
    /// # Errors
    /// When the store or queue fails.
    pub async fn resume_fan_out(&self) -> Result<bool, Error> {
        let week = Week::of(self.0.clock.now());
        let now = self.now();
        let is_lost = |state: &FanOut| state.completed_at.is_none() && !is_awaited(state, now);
        if !self.0.data.digests.fan_out(week).await?.is_some_and(|state| is_lost(&state)) {
            return Ok(false);
        }
        let handed_on = self.0.data.digests.edit_fan_out(week, |found| match found {
            Some(state) if is_lost(&state) => {
                Edit::Save(FanOut { lease: Lease::waiting(now + HANDED_ON), ..state }, true)
            }
            Some(_) | None => Edit::Keep(false),
        });
        if !handed_on.await? {
            return Ok(false);
        }
        self.send(&DigestMessage::FanOut { week }).await?;
        info!(%week, "digest fan-out continues");
        Ok(true)
    }

    async fn claim_fan_out(&self, week: Week, starter: Starter) -> Result<Option<Held<FanOut>>, Error> {
        let now = self.now();
        let is_this_week = week == Week::of(now.get());
        let leases = self.0.data.leases(&self.0.clock, self.0.config.digest.lease);
        let claimed = leases.claim(Store::fan_out_key(week), |found: Option<FanOut>, _| match found {
            Some(state) if state.completed_at.is_some() => Decision::Leave(()),
            Some(state) => {
                let is_message_here = starter == Starter::Message && state.lease.owner().is_none();
                if is_message_here || !is_awaited(&state, now) { Decision::Take(state) } else { Decision::Leave(()) }
            }
            // A message of a week whose progress has expired.
            None if !is_this_week => Decision::Leave(()),
            None => Decision::Take(FanOut {
                id: Store::fan_out_id(week),
                user_id: PARTITION.to_owned(),
                week,
                pages: 0,
                users: 0,
                after: None,
                started_at: now,
                completed_at: None,
                lease: Lease::default(),
                ttl: LIFE_SECONDS,
            }),
        });
        match claimed.await? {
            Claimed::Ours(held) => Ok(Some(held)),
            Claimed::Left(()) => Ok(None),
        }
    }

    async fn send_pages(&self, week: Week, held: &Held<FanOut>) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            let (sent, next) = held.keep(self.send_page(held.document())).await.unwrap_or(Err(Error::LeaseLost))?;
            let now = self.now();
            let moved = |state: &mut FanOut| {
                state.pages += 1;
                state.users += sent;
                state.after.clone_from(&next);
            };
            if next.is_none() {
                let state = held.finish(|state| {
                    moved(state);
                    state.completed_at = Some(now);
                });
                let FanOut { users, pages, .. } = state.await?;
                info!(%week, users, pages, "all digests of the week are queued");
                return Ok(());
            }
            if started.elapsed() >= BUDGET {
                let state = held.finish(|state| {
                    moved(state);
                    state.lease = Lease::waiting(now + HANDED_ON);
                });
                let FanOut { users, pages, .. } = state.await?;
                info!(%week, users, pages, "digest fan-out handed over to a message");
                return self.send(&DigestMessage::FanOut { week }).await;
            }
            held.edit(moved).await?;
        }
    }

    /// Queues the next page of profiles. Returns their number and the position of the following page.
    async fn send_page(&self, state: FanOut) -> Result<(u64, Option<String>), Error> {
        let FanOut { week, pages, after, .. } = state;
        let (users, next) = self.0.data.profiles.page_of_ids(after, PAGE).await?;
        let sent = users.len() as u64;
        let messages = batches(users).into_iter().map(|users| DigestMessage::Batch { week, page: pages, users });
        stream::iter(messages.map(Ok))
            .try_for_each_concurrent(SENDERS, async |message| self.send(&message).await)
            .await?;
        Ok((sent, next))
    }

    async fn send(&self, message: &DigestMessage) -> Result<(), Error> {
        Ok(self.0.queue.send(&self.0.config.queues.digest.work, &serde_json::to_string(message)?).await?)
    }

    /// Creates the digests of a week for these users, several at a time. A failure does not stop the others; the rest
    /// goes into another message when time runs out.
    ///
    /// # Errors
    /// When the rest cannot be queued.
    pub async fn batch(&self, week: Week, page: u64, mut users: Vec<UserId>) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        // Digests of the previous week may still be waiting when a week begins; older ones are obsolete.
        if week < Week::of(self.0.clock.now() - WEEK) {
            info!(%week, users = users.len(), "digests of a past week are skipped");
            return Ok(counts);
        }
        users.sort_unstable();
        users.dedup();
        let started = Instant::now();
        let mut left = Vec::new();
        let runs = users.into_iter().map(|user| async move {
            if started.elapsed() >= BUDGET {
                return (user, None);
            }
            let observed = self.0.telemetry.observer.begin(&subject(&user, None));
            let run = self.run(&user, Trigger { force: false, week: Some(week) }, observed);
            let outcome = Box::pin(run).await;
            (user, Some(outcome))
        });
        let mut runs = stream::iter(runs).buffer_unordered(self.0.config.digest.concurrency);
        while let Some((user, outcome)) = runs.next().await {
            let count = match outcome {
                Some(Ok(Outcome::Generated(_))) => &mut counts.generated,
                Some(Ok(Outcome::Skipped(Reason::Unchanged))) => &mut counts.skipped_by_hash,
                Some(Ok(Outcome::Skipped(Reason::OptedOut))) => &mut counts.skipped_by_opt_out,
                Some(Ok(Outcome::Skipped(Reason::NoItems))) => &mut counts.skipped_empty,
                Some(Ok(Outcome::Skipped(Reason::WeekDone))) => &mut counts.already_done,
                Some(Err(Error::HeldElsewhere | Error::LeaseLost)) => &mut counts.elsewhere,
                Some(Err(error)) => {
                    warn!(user.id = %user, %week, error = %Chain(&error), "digest not created");
                    &mut counts.failed
                }
                None => {
                    left.push(user);
                    &mut counts.left
                }
            };
            *count += 1;
        }
        if !left.is_empty() {
            self.send(&DigestMessage::Batch { week, page, users: left }).await?;
        }
        Ok(counts)
    }
}

/// Whether a worker is processing the fan-out, or the message that continues it is in transit.
fn is_awaited(state: &FanOut, now: Timestamp) -> bool {
    is_live(state.lease.expires_at(), now, FanOut::LONGEST)
}

/// Splits users into batches that fit into a message.
fn batches(users: Vec<UserId>) -> Vec<Vec<UserId>> {
    let mut batches: Vec<Vec<UserId>> = Vec::new();
    let mut room = 0;
    for user in users {
        // As JSON, with quotes and a comma; a byte becomes six at most.
        let size = 1 + serde_json::to_string(&user).map_or(6 * user.as_str().len(), |json| json.len());
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && size <= room => {
                batch.push(user);
                room -= size;
            }
            Some(_) | None => {
                batches.push(vec![user]);
                room = BATCH_BYTES.saturating_sub(size);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_everybody_once_and_fit_into_messages() {
        let users: Vec<UserId> = (0..1234).map(|number| format!("user-{number}").into()).collect();
        let batched = batches(users.clone());
        assert_eq!(batched.concat(), users);
        assert_eq!(batched.len(), 1234_usize.div_ceil(BATCH));
        let long: Vec<UserId> = (0..200).map(|number| format!("{number:03}{}", "\"é".repeat(340)).into()).collect();
        let batched = batches(long.clone());
        assert_eq!(batched.concat(), long);
        for users in batched {
            let message = DigestMessage::Batch { week: Week::parse("2026-W10").unwrap(), page: u64::MAX, users };
            assert!(serde_json::to_string(&message).unwrap().len() <= crate::queue::MAX_MESSAGE_BYTES);
        }
        assert!(batches(Vec::new()).is_empty());
    }
}
