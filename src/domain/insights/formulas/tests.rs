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
    for (part, whole, expected) in
        [(1, 3, "33.3"), (2, 3, "66.7"), (1, 16, "6.3"), (0, 5, "0"), (5, 5, "100"), (1, 2000, "0.1"), (1, 2001, "0.0")]
    {
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
        // 1/3 exceeds 5/18 by exactly a fifth; as decimals both would be truncated.
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
