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
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn cost_per_wear_is_rounded_half_away_from_zero() {
        for (price, wears, expected) in [
            ("100", 3, "33.33"),
            ("200", 3, "66.67"),
            // As floats these two are a little below the half.
            ("1.005", 1, "1.01"),
            ("2.675", 1, "2.68"),
            ("0.125", 1, "0.13"),
            ("12.25", 10, "1.23"),
            ("0.01", 4, "0.00"),
            ("0.02", 4, "0.01"),
            ("0", 7, "0"),
            ("1000000000000", 1, "1000000000000"),
            ("19.99", 1, "19.99"),
        ] {
            assert_eq!(cost_per_wear(decimal(price), wears), Some(decimal(expected)), "{price} / {wears}");
        }
        assert_eq!(cost_per_wear(decimal("100"), 0), None);
    }

    #[test]
    fn badges_change_above_the_target_and_above_half_as_much_again() {
        for (cost, wears, expected) in [
            (Some("100"), 1, Badge::Low),
            (Some("100.01"), 1, Badge::Medium),
            (Some("150"), 1, Badge::Medium),
            (Some("150.01"), 1, Badge::High),
            (Some("0"), 1, Badge::Low),
            (None, 1, Badge::Unknown),
            (None, 0, Badge::Unworn),
        ] {
            assert_eq!(badge(cost.map(decimal), wears, decimal("100")), expected, "{cost:?}, {wears}");
        }
        assert_eq!(badge(Some(decimal("0.15")), 1, decimal("0.1")), Badge::Medium);
    }

    #[test]
    fn shares_are_rounded_to_one_decimal() {
        for (part, whole, expected) in [
            (1, 3, "33.3"),
            (2, 3, "66.7"),
            (1, 16, "6.3"),
            (0, 5, "0"),
            (5, 5, "100"),
            (1, 2000, "0.1"),
            (1, 2001, "0.0"),
        ] {
            assert_eq!(percent(part, whole), Some(decimal(expected)), "{part} of {whole}");
        }
        assert_eq!(percent(0, 0), None);
    }

    #[test]
    fn recent_rates_are_per_thirty_days() {
        for (wears, days, expected) in [
            (9, 90, "3"),
            (1, 90, "0.33"),
            (2, 90, "0.67"),
            (3, 45, "2"),
            (5, 30, "5"),
            (5, 7, "5"),
            (1, 3650, "0.01"),
            (0, 90, "0"),
        ] {
            assert_eq!(Rate::recent(wears, days).rounded(), decimal(expected), "{wears} in {days} days");
        }
    }

    #[test]
    fn historical_rates_are_per_calendar_month() {
        let now = datetime!(2026-03-02 09:15 UTC);
        for (since, months) in [
            (datetime!(2026-03-01 0:00 UTC), 1),
            (datetime!(2026-02-28 0:00 UTC), 1),
            (datetime!(2026-01-31 0:00 UTC), 2),
            (datetime!(2025-03-31 0:00 UTC), 12),
            (datetime!(2020-12-31 0:00 UTC), 63),
            (datetime!(2030-01-01 0:00 UTC), 1),
        ] {
            assert_eq!(months_between(since, now), months, "{since}");
        }
        assert_eq!(Rate::historical(10, 3).rounded(), decimal("3.33"));
        assert_eq!(Rate::historical(10, 0).rounded(), decimal("10"));
        assert_eq!(Rate::historical(1, 8).rounded(), decimal("0.13"));
    }

    #[test]
    fn a_trend_needs_more_than_a_twentieth_and_a_fifth() {
        let per_month = |wears, months| Rate { wears, months };
        for (recent, historical, delta, trend) in [
            ((0, 1), (0, 1), "0", WearRateTrend::Stable),
            // 20 % of 1 is 0.2.
            ((12, 10), (1, 1), "0.2", WearRateTrend::Stable),
            ((121, 100), (1, 1), "0.21", WearRateTrend::Up),
            ((8, 10), (1, 1), "-0.2", WearRateTrend::Stable),
            ((79, 100), (1, 1), "-0.21", WearRateTrend::Down),
            // 20 % of 0.1 is less than 0.05.
            ((15, 100), (1, 10), "0.05", WearRateTrend::Stable),
            ((16, 100), (1, 10), "0.06", WearRateTrend::Up),
            ((1, 20), (0, 1), "0.05", WearRateTrend::Stable),
            ((0, 1), (1, 20), "-0.05", WearRateTrend::Stable),
            // 1/3 above 5/18 by exactly a fifth of it: as decimals both would be cut off.
            ((1, 3), (5, 18), "0.06", WearRateTrend::Stable),
            ((1, 8), (0, 1), "0.13", WearRateTrend::Up),
            ((0, 1), (1, 8), "-0.13", WearRateTrend::Down),
        ] {
            let compared = per_month(recent.0, recent.1).compared_with(per_month(historical.0, historical.1));
            assert_eq!(compared, (decimal(delta), trend), "{recent:?} against {historical:?}");
        }
    }

    #[test]
    fn missing_wearings_are_whole_ones() {
        for (price, wears, target, expected) in [
            ("100", 0, "10", 10),
            ("100.01", 0, "10", 11),
            ("99.99", 0, "33.33", 3),
            ("100", 4, "33.33", 0),
            ("100", 3, "33.33", 1),
            ("0", 0, "10", 0),
            ("50", 0, "100", 1),
            ("1000000000000", 0, "0.000001", i32::MAX.unsigned_abs()),
        ] {
            assert_eq!(wears_needed(decimal(price), wears, decimal(target)), expected, "{price}, {wears}, {target}");
        }
    }

    #[test]
    fn a_forecast_goes_by_the_recent_rate_else_by_the_historical_one() {
        let now = datetime!(2026-11-30 23:00 UTC);
        let month = |additional, recent, historical| projected_month(now, additional, recent, historical);
        let [none, three] = [0, 9].map(|wears| Rate::recent(wears, 90));
        for (additional, recent, historical, expected) in [
            (0, three, Rate::historical(1, 1), "2026-11"),
            (1, three, Rate::historical(1, 1), "2026-12"),
            (6, three, Rate::historical(1, 1), "2027-01"),
            (7, three, Rate::historical(1, 1), "2027-02"),
            (4, none, Rate::historical(8, 4), "2027-01"),
            // 0.25 a month is less than the 0.3 that a forecast begins with.
            (3, none, Rate::historical(1, 4), "2027-09"),
            (4, none, Rate::historical(0, 1), "2028-01"),
            // Ten wearings at one in three months are thirty months.
            (10, Rate::recent(1, 90), Rate::historical(0, 1), "2029-05"),
        ] {
            assert_eq!(month(additional, recent, historical).as_deref(), Some(expected), "{additional} more");
        }
        assert_eq!(month(MOST_NEEDED, Rate::recent(1, 3650), none), None);
        assert_eq!(month((9999 - 2026) * 12 + 1, Rate::recent(1, 1), none).as_deref(), Some("9999-12"));
        assert_eq!(month((9999 - 2026) * 12 + 2, Rate::recent(1, 1), none), None);
    }

    proptest! {
        #[test]
        fn breaking_even_is_having_the_lowest_badge(price in 0_i64..10_000_000, wears in 0_u32..500, target in 1_i64..100_000) {
            let (price, target) = (Decimal::new(price, 2), Decimal::new(target, 2));
            let cost = cost_per_wear(price, wears);
            let has_broken_even = cost.is_some_and(|cost| cost <= target);
            prop_assert_eq!(badge(cost, wears, target) == Badge::Low, has_broken_even);
        }

        #[test]
        fn rates_of_any_size_compare(a in any::<u32>(), days in 1_u16..=3650, b in any::<u32>(), months in any::<u32>()) {
            let (recent, historical) = (Rate::recent(a, days), Rate::historical(b, months));
            let (delta, _) = recent.compared_with(historical);
            let shown = recent.rounded() - historical.rounded();
            prop_assert!((delta - shown).abs() <= Decimal::new(1, 2));
        }
    }
}
