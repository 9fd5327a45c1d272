//! Exchange rates: a built-in table, or a feed that is read at most once a day.
//!
//! The latest rates are stored for all processes. They stay in use while the feed is down; the built-in table is the
//! last resort.

mod feed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rust_decimal::Decimal;
use time::macros::date;
use time::{Date, OffsetDateTime};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::base::hash::sha256_hex;
use crate::config::Feed;
use crate::data;
use crate::data::update::Edit;
use crate::model::exchange_rates::KeptRates;
use crate::model::insights::ConversionStatus;
use crate::model::numbers::LARGEST_AMOUNT;

pub use feed::{FeedError, fetch};

/// Interval for fetching a feed.
const FETCH_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// Interval for reading a file.
const READ_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Delay after a failed fetch.
const RETRY_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Delay while another process fetches.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Date of the built-in rates.
const TABLE_DATE: Date = date!(2024 - 03 - 01);

/// Built-in rates: from, to, and the value of one unit. Defined by the product.
const TABLE: [(&str, &str, Decimal); 7] = [
    ("USD", "INR", Decimal::from_parts(83, 0, 0, false, 0)),
    ("EUR", "INR", Decimal::from_parts(90, 0, 0, false, 0)),
    ("GBP", "INR", Decimal::from_parts(105, 0, 0, false, 0)),
    ("USD", "EUR", Decimal::from_parts(92, 0, 0, false, 2)),
    ("EUR", "USD", Decimal::from_parts(108, 0, 0, false, 2)),
    ("USD", "GBP", Decimal::from_parts(79, 0, 0, false, 2)),
    ("GBP", "USD", Decimal::from_parts(126, 0, 0, false, 2)),
];

/// The currency through which pairs without a rate of their own are converted: it has the most pairs in the table.
const COMMON_CURRENCY: &str = "USD";

/// Rates of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// The day.
    pub date: Date,
    /// Value of one euro by ISO 4217 code in capitals; `None` for the built-in table.
    per_euro: Option<BTreeMap<String, Decimal>>,
}

impl Rates {
    /// Returns the built-in rates.
    pub const fn built_in() -> Self {
        Self { date: TABLE_DATE, per_euro: None }
    }

    /// Creates rates of a day from the values of one euro.
    pub const fn of_euro(date: Date, per_euro: BTreeMap<String, Decimal>) -> Self {
        Self { date, per_euro: Some(per_euro) }
    }

    /// Returns the source of the rates.
    pub const fn status(&self) -> ConversionStatus {
        match self.per_euro {
            Some(_) => ConversionStatus::LiveRates,
            None => ConversionStatus::StaticRates,
        }
    }

    /// Converts an amount without rounding; `None` without a rate for the pair, or beyond [`LARGEST_AMOUNT`]. Codes may
    /// have any case.
    pub fn convert(&self, amount: Decimal, from: &str, to: &str) -> Option<Decimal> {
        if from.eq_ignore_ascii_case(to) {
            return Some(amount);
        }
        let (multiplier, divisor) = self.pair(from, to)?;
        // Multiply first, so that results that divide evenly stay exact.
        let converted = amount.checked_mul(multiplier)?.checked_div(divisor)?;
        (converted <= LARGEST_AMOUNT).then_some(converted)
    }

    /// Converts like [`convert`](Self::convert), and through US dollars if the pair has no rate.
    pub fn convert_across(&self, amount: Decimal, from: &str, to: &str) -> Option<Decimal> {
        self.convert(amount, from, to)
            .or_else(|| self.convert(self.convert(amount, from, COMMON_CURRENCY)?, COMMON_CURRENCY, to))
    }

    /// Returns multiplier and divisor.
    fn pair(&self, from: &str, to: &str) -> Option<(Decimal, Decimal)> {
        if let Some(per_euro) = &self.per_euro {
            let worth = |code: &str| match code.to_ascii_uppercase().as_str() {
                "EUR" => Some(Decimal::ONE),
                code => per_euro.get(code).copied(),
            };
            return Some((worth(to)?, worth(from)?));
        }
        let rate = |from: &str, to: &str| {
            let is_pair = |row: &&(&str, &str, _)| from.eq_ignore_ascii_case(row.0) && to.eq_ignore_ascii_case(row.1);
            TABLE.iter().find(is_pair).map(|row| row.2)
        };
        let straight = rate(from, to).map(|rate| (rate, Decimal::ONE));
        straight.or_else(|| rate(to, from).map(|rate| (Decimal::ONE, rate)))
    }

    /// Returns everything that a conversion depends on, as text.
    pub fn fingerprint(&self) -> String {
        let rates = self.per_euro.iter().flatten().map(|(code, rate)| format!("{code}={rate};"));
        sha256_hex(format!("{} {:?} {}", self.date, self.status(), rates.collect::<String>()))
    }

    fn from_kept(kept: &KeptRates) -> Option<Self> {
        let per_euro: BTreeMap<_, _> =
            kept.per_euro.iter().filter_map(|(code, rate)| Some((code.clone(), feed::checked(rate)?))).collect();
        (!per_euro.is_empty()).then_some(Self::of_euro(feed::day(&kept.date)?, per_euro))
    }
}

fn interval(feed: &Feed) -> Duration {
    match feed {
        Feed::Url(_) => FETCH_INTERVAL,
        Feed::File(_) => READ_INTERVAL,
    }
}

/// Identifies a feed by a hash, because its URL may contain a key.
fn name(feed: &Feed) -> String {
    match feed {
        Feed::Url(url) => sha256_hex(url.as_str()),
        Feed::File(path) => sha256_hex(path.as_os_str().as_encoded_bytes()),
    }
}

/// Provides the latest rates.
pub struct ExchangeRates {
    feed: Option<Feed>,
    kept: data::exchange_rates::ExchangeRates,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    known: RwLock<Known>,
    /// Held while the store or feed is read.
    asking: Mutex<()>,
}

#[derive(Clone)]
struct Known {
    rates: Arc<Rates>,
    /// When to read again; `None` for at once.
    due: Option<Instant>,
}

/// Outcome of claiming a fetch.
enum Turn {
    /// Nothing to do for this long.
    Wait(Duration),
    /// This caller has to fetch the rates.
    Ask,
}

impl ExchangeRates {
    /// Creates a provider for this feed, or the built-in rates. Nothing is read before the first use.
    pub fn new(
        feed: Option<Feed>,
        kept: data::exchange_rates::ExchangeRates,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let known = Known { rates: Arc::new(Rates::built_in()), due: None };
        Self { feed, kept, http, clock, known: RwLock::new(known), asking: Mutex::new(()) }
    }

    /// Returns the latest rates. Once a day, one caller waits a few seconds for the feed.
    pub async fn current(&self) -> Arc<Rates> {
        let Some(feed) = &self.feed else { return self.known().rates };
        if let Some(rates) = self.fresh() {
            return rates;
        }
        let known = self.known();
        let asking = match (self.asking.try_lock(), known.rates.status()) {
            (Ok(asking), _) => asking,
            // Another caller fetches. Yesterday's rates will do meanwhile, but having none will not.
            (Err(_), ConversionStatus::LiveRates) => return known.rates,
            (Err(_), ConversionStatus::StaticRates) => self.asking.lock().await,
        };
        if let Some(rates) = self.fresh() {
            return rates;
        }
        let newest = self.ask(feed).await;
        drop(asking);
        newest
    }

    fn known(&self) -> Known {
        self.known.read().clone()
    }

    fn fresh(&self) -> Option<Arc<Rates>> {
        let known = self.known();
        (known.due.is_some_and(|due| self.clock.instant() < due)).then_some(known.rates)
    }

    async fn ask(&self, feed: &Feed) -> Arc<Rates> {
        let (now, asked) = (self.clock.now(), self.clock.instant());
        let claimed = self.kept.edit(|kept| claim(kept, feed, now)).await;
        let (turn, last_good) = match claimed {
            Ok((turn, last_good)) => (turn, last_good),
            Err(error) => {
                warn!(error = %Chain(&error), "stored exchange rates not read");
                (Turn::Ask, None)
            }
        };
        let last_good = last_good.map_or_else(|| self.known().rates, Arc::new);
        let known = match turn {
            Turn::Wait(wait) => Known { rates: last_good, due: Some(asked + wait) },
            Turn::Ask => match feed::fetch(feed, &self.http, now).await {
                Ok(rates) => {
                    self.keep(feed, &rates, now).await;
                    info!(fx.date = %rates.date, "exchange rates fetched");
                    Known { rates: Arc::new(rates), due: Some(asked + interval(feed)) }
                }
                Err(error) => {
                    warn!(error = %Chain(&error), fx.date = %last_good.date, "exchange rates not fetched");
                    Known { rates: last_good, due: Some(asked + RETRY_INTERVAL) }
                }
            },
        };
        let rates = known.rates.clone();
        *self.known.write() = known;
        rates
    }

    async fn keep(&self, feed: &Feed, rates: &Rates, now: OffsetDateTime) {
        let per_euro: BTreeMap<_, _> =
            rates.per_euro.iter().flatten().map(|(code, rate)| (code.clone(), rate.to_string())).collect();
        let kept = self.kept.edit(|kept| {
            let kept = KeptRates {
                feed: name(feed),
                date: rates.date.to_string(),
                per_euro: per_euro.clone(),
                fetched_at: Some(now.into()),
                ..kept
            };
            Edit::Save(kept, ())
        });
        if let Err(error) = kept.await {
            warn!(error = %Chain(&error), "exchange rates not stored");
        }
    }
}

/// Claims a fetch if it is due, so that only one process fetches; also returns the stored rates.
fn claim(kept: KeptRates, feed: &Feed, now: OffsetDateTime) -> Edit<KeptRates, (Turn, Option<Rates>)> {
    let rates = Rates::from_kept(&kept);
    let name = name(feed);
    if kept.feed == name {
        // A time in the future comes from a wrong clock, so do not wait for it.
        let until = |at: Option<crate::model::timestamp::Timestamp>, interval: Duration| {
            let at = at.map(|at| at.get()).filter(|at| *at <= now)?;
            Duration::try_from(at + interval - now).ok().filter(|wait| !wait.is_zero())
        };
        if let Some(wait) = until(kept.fetched_at, interval(feed)).filter(|_| rates.is_some()) {
            return Edit::Keep((Turn::Wait(wait), rates));
        }
        if let Some(wait) = until(kept.asked_at, RETRY_INTERVAL) {
            // The process that claimed the fetch may be about to succeed.
            return Edit::Keep((Turn::Wait(wait.min(LOOK_AGAIN)), rates));
        }
    }
    let same_feed = kept.feed == name;
    let claimed =
        KeptRates { feed: name, asked_at: Some(now.into()), fetched_at: kept.fetched_at.filter(|_| same_feed), ..kept };
    Edit::Save(claimed, (Turn::Ask, rates))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_converts_its_pairs_in_both_directions() {
        let rates = Rates::built_in();
        for (amount, from, to, expected) in [
            ("10", "USD", "INR", Some("830")),
            ("10", "EUR", "INR", Some("900")),
            ("10", "GBP", "INR", Some("1050")),
            ("10", "USD", "EUR", Some("9.2")),
            ("10", "EUR", "USD", Some("10.8")),
            ("10", "USD", "GBP", Some("7.9")),
            ("10", "GBP", "USD", Some("12.6")),
            // Evenly divisible: nothing is lost.
            ("8300", "INR", "USD", Some("100")),
            ("90", "INR", "EUR", Some("1")),
            ("210", "INR", "GBP", Some("2")),
            ("19.99", "usd", "USD", Some("19.99")),
            ("5", "XYZ", "xyz", Some("5")),
            ("1000000000000", "USD", "INR", None),
            ("10", "EUR", "GBP", None),
            ("10", "USD", "JPY", None),
            ("10", "", "USD", None),
        ] {
            let converted = rates.convert(decimal(amount), from, to);
            assert_eq!(converted, expected.map(decimal), "{amount} {from} in {to}");
        }
    }

    #[test]
    fn a_pair_that_is_not_in_the_table_crosses_over_a_common_currency() {
        let rates = Rates::built_in();
        for (amount, from, to, expected) in [
            ("100", "GBP", "EUR", Some("115.92")),
            ("100", "EUR", "GBP", Some("85.32")),
            ("100", "EUR", "USD", Some("108")),
            ("100", "CHF", "EUR", None),
            ("100", "EUR", "JPY", None),
        ] {
            let converted = rates.convert_across(decimal(amount), from, to);
            assert_eq!(converted, expected.map(decimal), "{amount} {from} in {to}");
        }
    }

    #[test]
    fn rates_of_a_feed_cross_over_the_euro() {
        let per_euro = [("USD", "1.08"), ("JPY", "162"), ("GBP", "0.9")];
        let per_euro = per_euro.map(|(code, rate)| (code.to_owned(), decimal(rate))).into();
        let rates = Rates::of_euro(date!(2026 - 02 - 27), per_euro);
        for (amount, from, to, expected) in [
            ("100", "EUR", "USD", Some("108")),
            ("108", "USD", "EUR", Some("100")),
            ("108", "USD", "JPY", Some("16200")),
            ("9", "gbp", "eur", Some("10")),
            ("9", "GBP", "USD", Some("10.8")),
            ("9", "INR", "USD", None),
            ("9", "USD", "INR", None),
        ] {
            assert_eq!(rates.convert(decimal(amount), from, to), expected.map(decimal), "{amount} {from} in {to}");
        }
    }
}
