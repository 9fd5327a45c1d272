//! Schedules of timers.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use time::OffsetDateTime;

/// Description of a valid schedule, for error messages.
pub const EXPECTED: &str =
    "a schedule of six fields (second, minute, hour, day, month, weekday) in UTC, such as \"0 */5 * * * *\"";

/// Characters allowed beside digits and [`NAMES`].
const SIGNS: &str = "*,-/ ";
/// Names of weekdays and months.
const NAMES: [&str; 19] = [
    "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP",
    "OCT", "NOV", "DEC",
];

/// A schedule of six fields, seconds first, in UTC, as the Functions host reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

/// A text that is not a valid schedule.
#[derive(Debug, thiserror::Error)]
#[error("expected {EXPECTED}")]
pub struct BadSchedule;

impl Schedule {
    /// Returns the last due time at or before `now`; `None` if there was none (a schedule can name 30 February).
    pub fn latest(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.cron.find_previous_occurrence(&naive(now)?, true).ok().and_then(utc)
    }

    /// Returns the first due time after `now`.
    pub fn next(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.cron.find_next_occurrence(&naive(now)?, false).ok().and_then(utc)
    }
}

fn naive(at: OffsetDateTime) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(at.unix_timestamp(), 0).map(|at| at.naive_utc())
}

fn utc(at: NaiveDateTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(at.and_utc().timestamp()).ok()
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let text = text.trim();
        // The parser accepts more signs and nicknames than the host, which would refuse to start.
        let known = |sign: char| sign.is_ascii_alphanumeric() || SIGNS.contains(sign);
        let mut words = text.split(|sign: char| !sign.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        let all_named = words.all(|word| NAMES.iter().any(|name| name.eq_ignore_ascii_case(word)));
        if text.split_whitespace().count() != 6 || !text.chars().all(known) || !all_named {
            return Err(BadSchedule);
        }
        // If both are given, the host requires the day and the weekday to match.
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).dom_and_dow(true).build();
        let cron = parser.parse(text).map_err(|_| BadSchedule)?;
        Ok(Self { text: text.to_owned(), cron })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn schedule(text: &str) -> Schedule {
        text.parse().unwrap()
    }

    #[test]
    fn due_times_are_those_of_the_fields() {
        let monday = schedule("0 0 6 * * 1");
        let now = datetime!(2026-03-02 06:00:00.5 UTC);
        assert_eq!(monday.latest(now), Some(datetime!(2026-03-02 06:00 UTC)));
        assert_eq!(monday.next(now), Some(datetime!(2026-03-09 06:00 UTC)));
        assert_eq!(monday.latest(datetime!(2026-03-02 05:59:59 UTC)), Some(datetime!(2026-02-23 06:00 UTC)));
        let often = schedule("*/20 */5 * * * *");
        assert_eq!(often.next(datetime!(2026-03-02 09:15:40 UTC)), Some(datetime!(2026-03-02 09:20 UTC)));
        assert_eq!(often.next(datetime!(2026-12-31 23:55:40 UTC)), Some(datetime!(2027-01-01 00:00 UTC)));
    }

    #[test]
    fn a_day_and_a_weekday_must_both_fit() {
        let friday_13 = schedule("0 0 0 13 * FRI");
        assert_eq!(friday_13.next(datetime!(2026-03-14 00:00 UTC)), Some(datetime!(2026-11-13 00:00 UTC)));
    }

    #[test]
    fn a_time_that_never_comes_is_never_due() {
        assert_eq!(schedule("0 0 0 30 2 *").next(datetime!(2026-03-02 00:00 UTC)), None);
    }

    #[test]
    fn what_the_host_does_not_read_is_refused() {
        for text in [
            "",
            "* * * * *",
            "0 0 6 * * 1 2026",
            "@daily",
            "0 0 6 L * *",
            "0 0 6 * * 1#2",
            "0 0 25 * * *",
            "x y z a b c",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
