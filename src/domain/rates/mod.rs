//! Exchange rates: a built-in table, or what a feed says, asked at most once a day.
//!
//! What the feed said last is kept in the store, for every process and every start. While the feed is down that serves on;
//! the built-in table serves when there is nothing else.

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

pub use feed::FeedError;

/// How long rates from a feed are not asked for again.
const FETCH_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The same when they come from a file, which costs nobody anything.
const READ_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How long a feed that failed is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// When to look again at what somebody else is fetching.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The day on which the built-in rates were about right.
const TABLE_DATE: Date = date!(2024 - 03 - 01);

/// From, to, and how many of the latter one of the former is. The product's table.
const TABLE: [(&str, &str, Decimal); 7] = [
    ("USD", "INR", Decimal::from_parts(83, 0, 0, false, 0)),
    ("EUR", "INR", Decimal::from_parts(90, 0, 0, false, 0)),
    ("GBP", "INR", Decimal::from_parts(105, 0, 0, false, 0)),
    ("USD", "EUR", Decimal::from_parts(92, 0, 0, false, 2)),
    ("EUR", "USD", Decimal::from_parts(108, 0, 0, false, 2)),
    ("USD", "GBP", Decimal::from_parts(79, 0, 0, false, 2)),
    ("GBP", "USD", Decimal::from_parts(126, 0, 0, false, 2)),
];

/// Rates of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// The day.
    pub date: Date,
    /// What one euro is worth, by ISO 4217 code in capitals; `None` for the built-in table.
    per_euro: Option<BTreeMap<String, Decimal>>,
}

impl Rates {
    /// The built-in table.
    pub const fn built_in() -> Self {
        Self { date: TABLE_DATE, per_euro: None }
    }

    /// What one euro was worth on a day.
    pub const fn of_euro(date: Date, per_euro: BTreeMap<String, Decimal>) -> Self {
        Self { date, per_euro: Some(per_euro) }
    }

    /// Where they come from.
    pub const fn status(&self) -> ConversionStatus {
        match self.per_euro {
            Some(_) => ConversionStatus::LiveRates,
            None => ConversionStatus::StaticRates,
        }
    }

    /// The amount in another currency, not rounded; `None` without a rate for the pair, or beyond [`LARGEST_AMOUNT`]. Codes
    /// may have any case of letters.
    pub fn convert(&self, amount: Decimal, from: &str, to: &str) -> Option<Decimal> {
        if from.eq_ignore_ascii_case(to) {
            return Some(amount);
        }
        let (multiplier, divisor) = self.pair(from, to)?;
        // In this order, so that what divides evenly stays exact.
        let converted = amount.checked_mul(multiplier)?.checked_div(divisor)?;
        (converted <= LARGEST_AMOUNT).then_some(converted)
    }

    /// What to multiply with, and then to divide by.
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

    /// Everything that a conversion depends on, as text.
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

/// Tells feeds apart without naming them: an address may hold a key.
fn name(feed: &Feed) -> String {
    match feed {
        Feed::Url(url) => sha256_hex(url.as_str()),
        Feed::File(path) => sha256_hex(path.as_os_str().as_encoded_bytes()),
    }
}

/// Knows the newest rates.
pub struct ExchangeRates {
    feed: Option<Feed>,
    kept: data::exchange_rates::ExchangeRates,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    known: RwLock<Known>,
    /// Held while the store or the feed is asked.
    asking: Mutex<()>,
}

#[derive(Clone)]
struct Known {
    rates: Arc<Rates>,
    /// When to ask again; `None` at once.
    due: Option<Instant>,
}

/// What the store told whoever wanted newer rates.
enum Turn {
    /// Nothing to do for so long.
    Wait(Duration),
    /// They are to ask the feed.
    Ask,
}

impl ExchangeRates {
    /// Rates from this feed, or the built-in ones. Nothing is asked before the first use.
    pub fn new(
        feed: Option<Feed>,
        kept: data::exchange_rates::ExchangeRates,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let known = Known { rates: Arc::new(Rates::built_in()), due: None };
        Self { feed, kept, http, clock, known: RwLock::new(known), asking: Mutex::new(()) }
    }

    /// The newest rates that there are. Once a day one caller waits for the feed, a few seconds at most.
    pub async fn current(&self) -> Arc<Rates> {
        let Some(feed) = &self.feed else { return self.known().rates };
        if let Some(rates) = self.fresh() {
            return rates;
        }
        let known = self.known();
        let asking = match (self.asking.try_lock(), known.rates.status()) {
            (Ok(asking), _) => asking,
            // Somebody else asks. Yesterday's rates are good enough meanwhile; none at all are not.
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
                warn!(error = %Chain(&error), "exchange rates not looked up in the store");
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
            warn!(error = %Chain(&error), "exchange rates not kept");
        }
    }
}

/// Whether it is somebody's turn to ask the feed, which is noted, so that nobody else does at the same time; and the rates
/// that are kept.
fn claim(kept: KeptRates, feed: &Feed, now: OffsetDateTime) -> Edit<KeptRates, (Turn, Option<Rates>)> {
    let rates = Rates::from_kept(&kept);
    let name = name(feed);
    if kept.feed == name {
        // A moment in the future is a clock's fault and no reason to wait for it.
        let until = |at: Option<crate::model::timestamp::Timestamp>, interval: Duration| {
            let at = at.map(|at| at.get()).filter(|at| *at <= now)?;
            Duration::try_from(at + interval - now).ok().filter(|wait| !wait.is_zero())
        };
        if let Some(wait) = until(kept.fetched_at, interval(feed)).filter(|_| rates.is_some()) {
            return Edit::Keep((Turn::Wait(wait), rates));
        }
        if let Some(wait) = until(kept.asked_at, RETRY_INTERVAL) {
            // Who asked may be about to succeed.
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
