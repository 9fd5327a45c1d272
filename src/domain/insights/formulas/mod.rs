//! Exact formulas: wear rates are integer fractions, money is decimal, and each result is rounded once, half away from
//! zero.

use std::cmp::Ordering;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use time::OffsetDateTime;

use crate::model::insights::{Badge, WearRateTrend};

/// Days per month for spans in days. Defined by the product.
const DAYS_PER_MONTH: u64 = 30;

/// Least wear rate of a forecast for an item that was not worn recently. Defined by the product.
const LEAST_RATE: Rate = Rate { wears: 3, months: 10 };

/// Largest number of missing wears: clients use a signed 32-bit integer.
const MOST_NEEDED: u32 = i32::MAX.unsigned_abs();

/// Wears per month, as an integer fraction.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    wears: u64,
    /// Greater than 0.
    months: u64,
}

impl Rate {
    /// Rate of `wears` in a window of days; a window below a month counts as one.
    pub fn recent(wears: u32, window_days: u16) -> Self {
        match u64::from(window_days) {
            days if days > DAYS_PER_MONTH => Self { wears: u64::from(wears) * DAYS_PER_MONTH, months: days },
            _ => Self { wears: u64::from(wears), months: 1 },
        }
    }

    /// Rate of `wears` in months; zero counts as one.
    pub fn historical(wears: u32, months: u32) -> Self {
        Self { wears: u64::from(wears), months: u64::from(months.max(1)) }
    }

    /// Returns the rate with two decimals.
    pub fn rounded(self) -> Decimal {
        hundredths(i128::from(self.wears), i128::from(self.months))
    }

    /// Returns the difference from `historical` with two decimals, and its direction.
    pub fn compared_with(self, historical: Self) -> (Decimal, WearRateTrend) {
        let [recent, per_recent] = [self.wears, self.months].map(i128::from);
        let [before, per_before] = [historical.wears, historical.months].map(i128::from);
        let (difference, parts) = (recent * per_before - before * per_recent, per_recent * per_before);
        // At most 0.05, or 20 % of the historical rate.
        let is_stable = difference.abs() * 20 <= parts || difference.abs() * 5 <= before * per_recent;
        let trend = match difference.cmp(&0) {
            _ if is_stable => WearRateTrend::Stable,
            Ordering::Less => WearRateTrend::Down,
            Ordering::Equal | Ordering::Greater => WearRateTrend::Up,
        };
        (hundredths(difference, parts), trend)
    }

    fn is_above(self, other: Self) -> bool {
        u128::from(self.wears) * u128::from(other.months) > u128::from(other.wears) * u128::from(self.months)
    }

    /// Returns the whole months until this many wears. The rate is greater than 0.
    fn months_until(self, wears: u32) -> u64 {
        (u64::from(wears) * self.months).div_ceil(self.wears.max(1))
    }
}

/// Rounds a fraction to two decimals, half away from zero.
fn hundredths(numerator: i128, denominator: i128) -> Decimal {
    let doubled = (numerator.abs() * 200 + denominator) / (denominator * 2);
    let hundredths = i64::try_from(doubled).unwrap_or(i64::MAX);
    Decimal::new(if numerator < 0 { -hundredths } else { hundredths }, 2)
}

/// Returns a percentage with one decimal; `None` of zero.
pub fn percent(part: u64, whole: u64) -> Option<Decimal> {
    let (part, whole) = (u128::from(part), u128::from(whole));
    let tenths = (part * 2000 + whole).checked_div(whole * 2)?;
    Some(Decimal::new(i64::try_from(tenths).unwrap_or(i64::MAX), 1))
}

/// Rounds an amount to two decimals.
pub fn money(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// Returns the cost per wear; `None` without wears.
pub fn cost_per_wear(price: Decimal, wears: u32) -> Option<Decimal> {
    price.checked_div(Decimal::from(wears)).map(money)
}

/// Comparison of a cost per wear with the target.
pub fn badge(cost_per_wear: Option<Decimal>, wears: u32, target: Decimal) -> Badge {
    match cost_per_wear {
        _ if wears == 0 => Badge::Unworn,
        None => Badge::Unknown,
        Some(cost) if cost > target * Decimal::new(15, 1) => Badge::High,
        Some(cost) if cost > target => Badge::Medium,
        Some(_) => Badge::Low,
    }
}

/// Returns the wears needed until `price` is spread over enough of them; at most 2,147,483,647.
pub fn wears_needed(price: Decimal, wears: u32, target: Decimal) -> u32 {
    let needed = price.checked_div(target).and_then(|needed| needed.ceil().to_u64()).unwrap_or(u64::MAX);
    let additional = needed.saturating_sub(u64::from(wears));
    u32::try_from(additional).unwrap_or(u32::MAX).min(MOST_NEEDED)
}

/// Returns the month in which this many more wears are reached, `YYYY-MM`; `None` after the year 9999.
pub fn projected_month(now: OffsetDateTime, additional: u32, recent: Rate, historical: Rate) -> Option<String> {
    let rate = match recent {
        recent if recent.wears > 0 => recent,
        _ if historical.is_above(LEAST_RATE) => historical,
        _ => LEAST_RATE,
    };
    let month = u64::try_from(month_number(now)).ok()?.checked_add(rate.months_until(additional))?;
    let (year, month) = (month / 12, month % 12 + 1);
    (year <= 9999).then(|| format!("{year:04}-{month:02}"))
}

/// Returns the calendar months from `since` to `now`, at least one.
pub fn months_between(since: OffsetDateTime, now: OffsetDateTime) -> u32 {
    u32::try_from(month_number(now) - month_number(since)).unwrap_or_default().max(1)
}

/// Returns the months since January of year 0.
fn month_number(at: OffsetDateTime) -> i64 {
    i64::from(at.year()) * 12 + i64::from(u8::from(at.month())) - 1
}

#[cfg(test)]
mod tests;
