//! Daily token budgets of users, and usage of models, stored so that both hold across instances.
//!
//! [`BudgetedModel`] is the only model that the rest of the service gets. Before a call it reserves an estimate in the
//! payer's budget. However the call ends, it then corrects the estimate to the server's count, or to the amount sent
//! and received if the server counted nothing, and adds the call to the payer's usage of the day. Reservations count as
//! spent, so concurrent calls can overdraw a budget by at most one call.
//!
//! A reservation takes effect at once and is stored some milliseconds later; calls do not wait for that. The end of a
//! call is stored at once, in the same document. If a process is killed during a call, its reservations stay spent, and
//! the call is missing from the usage. Reservations do not exceed the possible cost of the calls, and expire with the
//! day.

mod model;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use time::{Date, OffsetDateTime, Time};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::warn;
use uuid::Uuid;

use crate::base::backoff::{Backoff, Jitter};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::data::usage::Change;
use crate::data::{self, Data};
use crate::llm::Payer;
use crate::model::ids::UserId;
use crate::model::usage::UsageDay;
use crate::store::ETag;

pub use self::model::BudgetedModel;

/// How long the stored total is trusted. Every call updates it, so this only matters between calls.
const FRESH: Duration = Duration::from_secs(1);
/// `Retry-After` when only calls in progress exhaust the budget.
const RESERVED_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Delay before a reservation is stored, so that a short call makes only one write, which does not delay its first
/// token.
const WRITE_DELAY: Duration = Duration::from_millis(50);
/// Attempts to store a change, over some ten minutes; afterwards it waits for the next change.
const WRITE_TRIES: u32 = 25;
const WRITE_PAUSES: Backoff =
    Backoff { first: Duration::from_millis(500), most: Duration::from_secs(30), jitter: Jitter::Half };
/// Number of accounts above which idle ones are dropped.
const MOST_IDLE_ACCOUNTS: usize = 1024;

/// Token budgets. Cheap to clone.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    data: Data,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    /// Tokens per user and UTC day; zero for no limit.
    tokens_per_day: u64,
    accounts: Mutex<HashMap<(Payer, Date), Arc<Account>>>,
}

/// The daily token budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetExceeded {
    /// Time until tokens may be available: the end of the day, or of calls in progress.
    pub retry_after: Duration,
}

/// A payer's account for a day, in this process.
struct Account {
    payer: Payer,
    day: Date,
    ledger: Mutex<Ledger>,
    /// Held while the total is read or written, so that an older total never replaces a newer one.
    storing: tokio::sync::Mutex<()>,
    /// Notified when a call has ended.
    call_ended: Notify,
}

#[derive(Default)]
struct Ledger {
    /// The stored total, and when it was read.
    stored: Option<(u64, Instant)>,
    /// The stored day and its version, to write the next change without reading it again.
    known: Option<(UsageDay, ETag)>,
    /// Change that is being stored. It keeps its id until it is stored.
    writing: Option<Change>,
    /// Change to be stored next.
    unwritten: Change,
    /// Estimates of calls in progress, stored or not.
    reserved: u64,
    is_writing: bool,
}

impl Ledger {
    fn total(&self) -> u64 {
        let unstored = self.writing.as_ref().map_or(0, |change| change.tokens).saturating_add(self.unwritten.tokens);
        self.stored.map_or(0, |(total, _)| total).saturating_add_signed(unstored)
    }

    fn is_stored(&self) -> bool {
        self.writing.is_none() && self.unwritten.tokens == 0 && self.unwritten.models.is_empty()
    }

    /// Returns the change to store next: one that failed before, or all new changes.
    fn next_change(&mut self) -> Option<Change> {
        if self.is_stored() {
            return None;
        }
        let writing = self.writing.get_or_insert_with(|| {
            let id = Uuid::new_v4().simple().to_string();
            Change { id, ..std::mem::take(&mut self.unwritten) }
        });
        Some(writing.clone())
    }
}

impl Budget {
    /// Creates budgets of this many tokens per user and day; zero for no limit. `tasks` tracks the writes.
    pub fn new(data: Data, clock: Arc<dyn Clock>, tasks: TaskTracker, tokens_per_day: u64) -> Self {
        Self(Arc::new(Inner { data, clock, tasks, tokens_per_day, accounts: Mutex::default() }))
    }

    /// Whether the user has tokens left today.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn check(&self, user: &UserId) -> data::Result<Result<(), BudgetExceeded>> {
        if self.0.tokens_per_day == 0 {
            return Ok(Ok(()));
        }
        let account = self.fresh_account(user).await?;
        let ledger = account.ledger.lock();
        Ok(self.verdict(&ledger))
    }

    /// Returns the tokens of the user's budget spent today, including those reserved for calls in progress.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn spent_today(&self, user: &UserId) -> data::Result<u64> {
        let account = self.fresh_account(user).await?;
        let ledger = account.ledger.lock();
        Ok(ledger.total())
    }

    /// Reserves tokens in the user's budget of today, unless it is used up; the last reservation may overdraw it.
    ///
    /// # Errors
    /// When the store fails.
    async fn reserve(&self, user: &UserId, tokens: u64) -> data::Result<Result<Arc<Account>, BudgetExceeded>> {
        let account = self.fresh_account(user).await?;
        {
            let mut ledger = account.ledger.lock();
            if let Err(exceeded) = self.verdict(&ledger) {
                return Ok(Err(exceeded));
            }
            ledger.reserved = ledger.reserved.saturating_add(tokens);
            ledger.unwritten.tokens = ledger.unwritten.tokens.saturating_add(signed(tokens));
            self.store_soon(&account, ledger);
        }
        Ok(Ok(account))
    }

    fn verdict(&self, ledger: &Ledger) -> Result<(), BudgetExceeded> {
        let limit = self.0.tokens_per_day;
        let total = ledger.total();
        if total < limit {
            return Ok(());
        }
        if total.saturating_sub(ledger.reserved) < limit {
            return Err(BudgetExceeded { retry_after: RESERVED_RETRY_AFTER });
        }
        let now = self.0.clock.now();
        let midnight = now.date().next_day().map(|day| OffsetDateTime::new_utc(day, Time::MIDNIGHT));
        let retry_after = midnight.map_or(Duration::from_secs(60), |midnight| (midnight - now).unsigned_abs());
        Err(BudgetExceeded { retry_after })
    }

    /// Returns the payer's account of today.
    fn account(&self, payer: &Payer) -> Arc<Account> {
        let day = self.0.clock.now().date();
        let mut accounts = self.0.accounts.lock();
        if accounts.len() >= MOST_IDLE_ACCOUNTS {
            accounts.retain(|_, account| Arc::strong_count(account) > 1 || !account.ledger.lock().is_stored());
        }
        let new = || Account {
            payer: payer.clone(),
            day,
            ledger: Mutex::default(),
            storing: Default::default(),
            call_ended: Notify::new(),
        };
        Arc::clone(accounts.entry((payer.clone(), day)).or_insert_with(|| Arc::new(new())))
    }

    /// Returns the user's account of today, with a fresh total.
    async fn fresh_account(&self, user: &UserId) -> data::Result<Arc<Account>> {
        let account = self.account(&Payer::User(user.clone()));
        let is_fresh = |account: &Account| account.ledger.lock().stored.is_some_and(|(_, at)| at.elapsed() < FRESH);
        if !is_fresh(&account) {
            let _storing = account.storing.lock().await;
            if !is_fresh(&account) {
                let known = self.0.data.usage.find(&account.payer, account.day).await?;
                let total = known.as_ref().map_or(0, |(day, _)| day.tokens);
                let mut ledger = account.ledger.lock();
                (ledger.stored, ledger.known) = (Some((total, Instant::now())), known);
            }
        }
        Ok(account)
    }

    /// Starts storing the changes of an account, unless this is already in progress.
    fn store_soon(&self, account: &Arc<Account>, mut ledger: MutexGuard<'_, Ledger>) {
        if ledger.is_writing || ledger.is_stored() {
            return;
        }
        ledger.is_writing = true;
        drop(ledger);
        let (budget, account) = (self.clone(), Arc::clone(account));
        self.0.tasks.spawn(async move { budget.store(&account).await });
    }

    /// Stores the changes of an account until there are none.
    async fn store(&self, account: &Account) {
        tokio::select! {
            () = tokio::time::sleep(WRITE_DELAY) => {}
            () = account.call_ended.notified() => {}
        }
        let mut failures = 0;
        loop {
            let outcome = {
                let _storing = account.storing.lock().await;
                let (change, known) = {
                    let mut ledger = account.ledger.lock();
                    let Some(change) = ledger.next_change() else {
                        ledger.is_writing = false;
                        return;
                    };
                    (change, ledger.known.take())
                };
                let added = self.0.data.usage.add(&account.payer, account.day, &change, known).await;
                added.map(|(day, version)| {
                    let mut ledger = account.ledger.lock();
                    ledger.stored = Some((day.tokens, Instant::now()));
                    ledger.known = version.map(|version| (day, version));
                    ledger.writing = None;
                })
            };
            let Err(error) = outcome else {
                failures = 0;
                continue;
            };
            failures += 1;
            if failures == 1 || failures == WRITE_TRIES {
                warn!(user.id = account.payer.name(), error = %Chain(&error), "usage of models not saved yet");
            }
            if failures == WRITE_TRIES {
                account.ledger.lock().is_writing = false;
                return;
            }
            tokio::time::sleep(WRITE_PAUSES.pause(failures)).await;
        }
    }
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
