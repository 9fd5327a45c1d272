//! Wardrobe statistics, computed without a model and reproducible.
//!
//! Answers are cached in the store for all processes and, unless large, in memory. An answer is valid as long as its
//! fingerprint: change marks of wardrobe and wear events, currency, exchange rates, and the version of the formulas. So
//! a cached answer costs three small reads. Only its dates can be old, by at most
//! `COSMOS_DB_VAULT_INSIGHTS_CACHE_TTL_MS`.

mod colour;
mod formulas;
mod vault;

use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::TryStreamExt;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rust_decimal::{Decimal, RoundingStrategy};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::base::chain::{Cause, Chain};
use crate::base::clock::Clock;
use crate::base::hash::sha256_hex;
use crate::base::turns::Turns;
use crate::data::{self, Data};
use crate::domain::rates::{ExchangeRates, Rates};
use crate::model::ids::UserId;
use crate::model::insights::CachedInsights;
use crate::model::numbers;
use crate::store::ChangeMark;
use crate::telemetry::metrics::Metrics;
use vault::{Vault, Wears};

/// Default currency. Defined by the product.
const DEFAULT_CURRENCY: &str = "USD";
/// Version of formulas and format; increasing it invalidates cached answers.
const VERSION: u32 = 1;
/// Concurrent computations; each large one takes memory.
const COMPUTATIONS: usize = 2;
/// Most bytes of answers in memory, in total and each.
const MEMORY_BYTES: u64 = 8 * 1024 * 1024;
const LARGEST_IN_MEMORY: usize = 1024 * 1024;
/// Largest compressed answer in the store, as text; documents are limited to 2 MiB.
const LARGEST_KEPT: usize = 1_900_000;
/// Largest compressed answer before base64, which turns three bytes into four.
const LARGEST_PACKED: usize = LARGEST_KEPT / 4 * 3;
/// Bytes compressed between two checks of the limit.
const PACKED_AT_ONCE: usize = 256 * 1024;
/// Largest answer that is decompressed, since the stored text may have been changed.
const LARGEST_UNPACKED: u64 = 64 * 1024 * 1024;

/// Longest window in days. Defined by the product.
pub const LONGEST_WINDOW: u16 = 3650;
/// Default window in days. Defined by the product.
pub const DEFAULT_WINDOW: u16 = 90;
/// Default target. Defined by the product.
pub const DEFAULT_TARGET: f64 = 100.0;
/// Decimals of a target.
const TARGET_PLACES: u32 = 2;
/// Smallest target; smaller ones are raised to it.
const SMALLEST_TARGET: Decimal = Decimal::from_parts(1, 0, 0, false, TARGET_PLACES);

/// Parameters of the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// Length of the recent period in days.
    window_days: u16,
    /// Target cost per wear.
    target: Decimal,
}

impl Question {
    /// Creates parameters. `None` unless the days are 1 to [`LONGEST_WINDOW`] and the target is positive. The target is
    /// rounded to cents and limited to a sensible range.
    pub fn new(window_days: i64, target: f64) -> Option<Self> {
        let window_days = u16::try_from(window_days).ok().filter(|days| (1..=LONGEST_WINDOW).contains(days))?;
        if !target.is_finite() || target <= 0.0 {
            return None;
        }
        let target = numbers::decimal(target).unwrap_or(numbers::LARGEST_AMOUNT);
        let target = target.round_dp_with_strategy(TARGET_PLACES, RoundingStrategy::MidpointAwayFromZero);
        let target = target.max(SMALLEST_TARGET).normalize();
        Some(Self { window_days, target })
    }

    /// Returns the id of the cached answer.
    fn id(&self) -> String {
        format!("vault-{}-{}", self.window_days, self.target)
    }
}

/// Why statistics are not available.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Profile, wardrobe or wear events could not be read.
    #[error("the wardrobe could not be read")]
    Data(#[from] data::Error),
    /// Internal error.
    #[error("the insights could not be computed")]
    Broken(#[source] Cause),
}

/// An answer, ready to be sent.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Canonical JSON of [`VaultInsights`](crate::model::insights::VaultInsights).
    pub body: Bytes,
    /// SHA-256 of the body, in hex.
    pub etag: String,
}

impl Answer {
    fn new(body: Vec<u8>) -> Self {
        Self { etag: sha256_hex(&body), body: body.into() }
    }
}

/// Computes and caches wardrobe statistics.
pub struct Insights {
    data: Data,
    rates: Arc<ExchangeRates>,
    clock: Arc<dyn Clock>,
    /// Answers are saved while they are sent.
    tasks: TaskTracker,
    /// Maximum time an answer is kept; zero disables caching.
    time_to_live: Duration,
    metrics: Metrics,
    memory: Cache<(UserId, Question), Arc<Known>, BodyBytes>,
    computations: Semaphore,
    /// Each user has one computation at a time, which leaves the other [`COMPUTATIONS`] to others.
    turns: Turns<UserId>,
}

/// An answer and its validity.
struct Known {
    fingerprint: String,
    expires_at: OffsetDateTime,
    answer: Answer,
}

impl Known {
    fn counts(&self, fingerprint: &str, now: OffsetDateTime) -> bool {
        self.fingerprint == fingerprint && now < self.expires_at
    }
}

#[derive(Clone)]
struct BodyBytes;

impl Weighter<(UserId, Question), Arc<Known>> for BodyBytes {
    fn weight(&self, _key: &(UserId, Question), known: &Arc<Known>) -> u64 {
        // Plus the overhead of the entry.
        known.answer.body.len() as u64 + 512
    }
}

impl Insights {
    /// Creates the service. Answers that are to be saved are saved by `tasks`.
    pub fn new(
        data: Data,
        rates: Arc<ExchangeRates>,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        time_to_live: Duration,
        metrics: Metrics,
    ) -> Self {
        let memory = Cache::with_weighter(256, MEMORY_BYTES, BodyBytes);
        let (computations, turns) = (Semaphore::new(COMPUTATIONS), Turns::new(1));
        Self { data, rates, clock, tasks, time_to_live, metrics, memory, computations, turns }
    }

    /// Returns the statistics of a user's wardrobe.
    ///
    /// # Errors
    /// When the wardrobe cannot be read. A failing cache or exchange rate feed is tolerated.
    pub async fn find(&self, user: &UserId, question: Question) -> Result<Answer, Error> {
        let now = self.clock.now();
        let data = &self.data;
        let (profile, wardrobe, wears, rates) = tokio::join!(
            data.profiles.find(user),
            data.wardrobe.changes(user),
            data.wear_events.changes(user),
            self.rates.current(),
        );
        let currency = profile?.map(|profile| profile.currency_code.trim().to_ascii_uppercase());
        let currency = currency.filter(|code| !code.is_empty()).unwrap_or_else(|| DEFAULT_CURRENCY.to_owned());
        let marks = [wardrobe?, wears?];
        let fingerprint = fingerprint(&marks, &currency, &rates, now).filter(|_| !self.time_to_live.is_zero());
        let key = (user.clone(), question);
        if let Some(fingerprint) = &fingerprint {
            let mut answer = self.recall(&key, fingerprint, now);
            if answer.is_none() {
                let kept = self.look_up(user, question, fingerprint, now).await;
                answer = kept.map(|known| self.remember(key.clone(), known));
            }
            self.metrics.cache_request("vault_insights", answer.is_some());
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
        let turn_of_user = self.turns.wait(user).await;
        let turn = self.computations.acquire().await.map_err(|closed| Error::Broken(closed.into()))?;
        // Another request may have computed it while we waited.
        if let Some(answer) = fingerprint.as_ref().and_then(|fingerprint| self.recall(&key, fingerprint, now)) {
            return Ok(answer);
        }
        let answer = self.compute(user, question, currency, rates, now).await?;
        drop(turn);
        let Some(fingerprint) = fingerprint else { return Ok(answer) };
        let known = Known { fingerprint, expires_at: now + self.time_to_live, answer };
        self.keep(user, question, &known);
        let answer = self.remember(key, known);
        drop(turn_of_user);
        Ok(answer)
    }

    async fn compute(
        &self,
        user: &UserId,
        question: Question,
        currency: String,
        rates: Arc<Rates>,
        now: OffsetDateTime,
    ) -> Result<Answer, Error> {
        let vault = Vault::new(question, currency, rates, now);
        let data = &self.data;
        let items = async {
            let vault = vault.clone();
            let mut pages = pin!(data.wardrobe.owned_numbers(user, move |item| vault.piece(item)));
            let mut pieces = Vec::new();
            while let Some(page) = pages.try_next().await? {
                pieces.extend(page.into_iter().flatten());
            }
            Ok::<_, data::Error>(pieces)
        };
        let wears = async {
            let mut pages = pin!(data.wear_events.numbers_since(user, vault.earliest()));
            let mut wears = Wears::default();
            while let Some(page) = pages.try_next().await? {
                page.into_iter().flatten().for_each(|(item, at)| vault.add_wear(&mut wears, item, at));
            }
            Ok(wears)
        };
        let (items, wears) = tokio::try_join!(items, wears)?;
        // Too slow for the async runtime when there are thousands of items.
        let body = tokio::task::spawn_blocking(move || vault.finish(items, &wears).map(Answer::new));
        match body.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Error::Broken(error.into())),
            Err(error) => Err(Error::Broken(error.into())),
        }
    }

    /// Finds a valid answer in memory.
    fn recall(&self, key: &(UserId, Question), fingerprint: &str, now: OffsetDateTime) -> Option<Answer> {
        let known = self.memory.get(key)?;
        known.counts(fingerprint, now).then(|| known.answer.clone())
    }

    fn remember(&self, key: (UserId, Question), known: Known) -> Answer {
        let answer = known.answer.clone();
        if answer.body.len() <= LARGEST_IN_MEMORY {
            self.memory.insert(key, Arc::new(known));
        }
        answer
    }

    /// Finds a valid answer in the store.
    async fn look_up(
        &self,
        user: &UserId,
        question: Question,
        fingerprint: &str,
        now: OffsetDateTime,
    ) -> Option<Known> {
        let cached = match self.data.insights_cache.find(user, &question.id()).await {
            Ok(cached) => cached?,
            Err(error) => {
                warn!(user.id = %user, error = %Chain(&error), "cached insights not read");
                return None;
            }
        };
        let CachedInsights { fingerprint: kept, etag, payload, expires_at, .. } = cached;
        if kept != fingerprint || expires_at.get() <= now {
            return None;
        }
        let unpacked = tokio::task::spawn_blocking(move || unpack(&payload).filter(|body| sha256_hex(body) == etag));
        let body = unpacked.await.ok().flatten();
        if body.is_none() {
            warn!(user.id = %user, "cached insights are damaged");
        }
        Some(Known { fingerprint: kept, expires_at: expires_at.get(), answer: Answer::new(body?) })
    }

    /// Stores an answer in the background.
    fn keep(&self, user: &UserId, question: Question, known: &Known) {
        let Known { fingerprint, expires_at, answer: Answer { body, etag } } = known;
        let mut cached = CachedInsights {
            id: question.id(),
            user_id: user.clone(),
            fingerprint: fingerprint.clone(),
            payload: String::new(),
            etag: etag.clone(),
            expires_at: (*expires_at).into(),
            ttl: self.time_to_live.as_millis().div_ceil(1000).try_into().unwrap_or(1),
        };
        let (body, cache) = (body.clone(), self.data.insights_cache.clone());
        self.tasks.spawn(async move {
            let size_bytes = body.len();
            let packed = tokio::task::spawn_blocking(move || pack(&body)).await;
            match packed {
                Ok(Ok(Some(payload))) => cached.payload = payload,
                Ok(Ok(None)) => return debug!(size_bytes, "insights too large to be cached"),
                Ok(Err(error)) => return warn!(error = %Chain(&error), "insights not compressed"),
                Err(error) => return warn!(error = %Chain(&error), "insights not compressed"),
            }
            if let Err(error) = cache.save(&cached).await {
                warn!(user.id = %cached.user_id, error = %Chain(&error), "insights not cached");
            }
        });
    }
}

/// Builds the fingerprint of what an answer depends on, besides parameters and time; `None` while a change could be
/// missed.
fn fingerprint(marks: &[Option<ChangeMark>], currency: &str, rates: &Rates, now: OffsetDateTime) -> Option<String> {
    let mut text = format!("{VERSION}\n{currency}\n{}", rates.fingerprint());
    for mark in marks {
        let mark = mark.as_ref().filter(|mark| mark.is_certain(now))?;
        text.push('\n');
        text.push_str(&mark.value);
    }
    Some(sha256_hex(text))
}

/// Compresses an answer for the store; `None` if it is too large.
fn pack(body: &[u8]) -> std::io::Result<Option<String>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in body.chunks(PACKED_AT_ONCE) {
        encoder.write_all(piece)?;
        if encoder.get_ref().len() > LARGEST_PACKED {
            return Ok(None);
        }
    }
    let payload = STANDARD.encode(encoder.finish()?);
    Ok(Some(payload).filter(|payload| payload.len() <= LARGEST_KEPT))
}

fn unpack(payload: &str) -> Option<Vec<u8>> {
    let packed = STANDARD.decode(payload).ok()?;
    let mut body = Vec::new();
    GzDecoder::new(packed.as_slice()).take(LARGEST_UNPACKED).read_to_end(&mut body).ok()?;
    Some(body)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-02 09:15 UTC);

    #[test]
    fn questions_are_checked_and_bounded() {
        for (days, target) in
            [(0, 1.0), (-1, 1.0), (3651, 1.0), (90, 0.0), (90, -1.0), (90, f64::NAN), (90, f64::INFINITY)]
        {
            assert_eq!(Question::new(days, target), None, "{days}, {target}");
        }
        for (target, id) in [
            (100.0, "vault-90-100"),
            (12.50, "vault-90-12.5"),
            (1e300, "vault-90-1000000000000"),
            (30.125, "vault-90-30.13"),
            (30.1249, "vault-90-30.12"),
            (1e-300, "vault-90-0.01"),
        ] {
            assert_eq!(Question::new(90, target).unwrap().id(), id);
        }
    }

    #[test]
    fn everything_that_an_answer_depends_on_changes_the_fingerprint() {
        let mark = |value: &str, certain_from| Some(ChangeMark { value: value.to_owned(), certain_from });
        let static_rates = Rates::built_in();
        let live_rates = Rates::of_euro(static_rates.date, [("USD".to_owned(), Decimal::ONE)].into());
        let of = |marks: &[Option<ChangeMark>], currency, rates| fingerprint(marks, currency, rates, NOW);
        let marks = [mark("1", None), mark("2", Some(NOW))];
        let first = of(&marks, "EUR", &static_rates).unwrap();
        assert_eq!(of(&marks, "EUR", &static_rates).unwrap(), first);
        for other in [
            of(&[mark("1", None), mark("3", None)], "EUR", &static_rates),
            of(&[mark("12", None), mark("", None)], "EUR", &static_rates),
            of(&[mark("2", None), mark("1", None)], "EUR", &static_rates),
            of(&marks, "USD", &static_rates),
            of(&marks, "EUR", &live_rates),
        ] {
            assert_ne!(other.unwrap(), first);
        }
        let later = NOW + Duration::from_secs(1);
        assert_eq!(of(&[mark("1", None), mark("2", Some(later))], "EUR", &static_rates), None);
        assert_eq!(of(&[mark("1", None), None], "EUR", &static_rates), None);
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let body = b"{\"a\":1}".repeat(1000);
        let packed = pack(&body).unwrap().unwrap();
        assert!(packed.len() < 200);
        assert_eq!(unpack(&packed).unwrap(), body);
        for damaged in ["", "%", "AAAA", &packed[..packed.len() / 2 / 4 * 4]] {
            assert!(unpack(damaged).is_none_or(|unpacked| unpacked != body), "{damaged}");
        }
    }
}
