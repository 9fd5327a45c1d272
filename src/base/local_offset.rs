//! The UTC offset of a person's clock, which decides on which day something happens for them.

use std::fmt;

use chrono::{DateTime, Local};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// Least and greatest offset of a clock, in seconds: -12:00 and +14:00.
const LEAST: i32 = -12 * 60 * 60;
const MOST: i32 = 14 * 60 * 60;

/// UTC offset of a person's clock, from -12:00 to +14:00. Written as in RFC 3339: `-08:00`, or `Z` for UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalOffset(UtcOffset);

impl LocalOffset {
    /// The offset of UTC itself.
    pub const UTC: Self = Self(UtcOffset::UTC);

    /// Parses an offset; `None` if the text is something else or out of range.
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("Z") {
            return Some(Self::UTC);
        }
        let form = format_description!("[offset_hour sign:mandatory]:[offset_minute]");
        UtcOffset::parse(text, form).ok().and_then(Self::within_range)
    }

    /// Returns the offset of this machine's time zone at a point in time, in whole minutes.
    pub fn of_machine(at: OffsetDateTime) -> Self {
        // Unlike `time`, which asks the C library, chrono reads the zone itself, so it is safe while threads run.
        let local = DateTime::from_timestamp(at.unix_timestamp(), 0).map(|at| at.with_timezone(&Local));
        let seconds = local.map_or(0, |local| local.offset().local_minus_utc());
        UtcOffset::from_whole_seconds(seconds - seconds % 60).ok().and_then(Self::within_range).unwrap_or(Self::UTC)
    }

    fn within_range(offset: UtcOffset) -> Option<Self> {
        (LEAST..=MOST).contains(&offset.whole_seconds()).then_some(Self(offset))
    }

    /// Whether the clock shows UTC.
    pub fn is_utc(&self) -> bool {
        self.0.is_utc()
    }

    /// Returns a point in time as the clock shows it.
    pub fn local(self, at: OffsetDateTime) -> OffsetDateTime {
        // Fails only at the ends of the calendar.
        at.checked_to_offset(self.0).unwrap_or(at)
    }

    /// Returns the day of a point in time.
    pub fn day(self, at: OffsetDateTime) -> Date {
        self.local(at).date()
    }

    /// Returns when the clock shows this time, in UTC; `None` beyond the ends of the calendar.
    pub fn moment(self, shown: PrimitiveDateTime) -> Option<OffsetDateTime> {
        shown.assume_utc().checked_sub(Duration::seconds(self.0.whole_seconds().into()))
    }

    /// Returns when a day begins, in UTC; `None` beyond the ends of the calendar.
    pub fn start_of(self, day: Date) -> Option<OffsetDateTime> {
        self.moment(day.midnight())
    }
}

impl Default for LocalOffset {
    fn default() -> Self {
        Self::UTC
    }
}

impl fmt::Display for LocalOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_utc() {
            return f.write_str("Z");
        }
        let (hours, minutes, _) = self.0.as_hms();
        let sign = if self.0.is_negative() { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", hours.abs(), minutes.abs())
    }
}

impl Serialize for LocalOffset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LocalOffset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a UTC offset"))
    }
}

/// Where to find the offset of a person's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSource {
    /// A caller told it.
    Told(LocalOffset),
    /// The person uses this machine. Its offset changes with daylight saving time.
    Machine,
}

impl OffsetSource {
    /// Returns the offset at a point in time.
    pub fn at(self, now: OffsetDateTime) -> LocalOffset {
        match self {
            Self::Told(offset) => offset,
            Self::Machine => LocalOffset::of_machine(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn an_offset_is_read_as_it_is_written() {
        for text in ["Z", "-08:00", "+05:30", "+05:45", "-00:30", "-03:30", "+00:01", "-12:00", "+14:00"] {
            assert_eq!(LocalOffset::parse(text).unwrap().to_string(), text);
        }
        for text in ["z", "+00:00", "-00:00"] {
            assert!(LocalOffset::parse(text).unwrap().is_utc(), "{text}");
        }
        let wrong = [
            "",
            "UTC",
            "PST",
            "8",
            "08:00",
            "-8:00",
            "-0800",
            "-08",
            "-08:60",
            "-08:00:00",
            " -08:00",
            "-12:01",
            "+14:01",
            "+24:00",
            "+99:99",
            "−08:00",
            "-08:0०",
        ];
        for text in wrong {
            assert_eq!(LocalOffset::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_begins_when_the_clock_says_so() {
        let offset = |text| LocalOffset::parse(text).unwrap();
        let evening = datetime!(2026-03-02 01:00 UTC);
        assert_eq!(offset("-08:00").day(evening), date!(2026 - 03 - 01));
        assert_eq!(offset("+13:00").day(datetime!(2026-03-01 20:00 UTC)), date!(2026 - 03 - 02));
        assert_eq!(offset("-08:00").start_of(date!(2026 - 03 - 01)), Some(datetime!(2026-03-01 08:00 UTC)));
        assert_eq!(offset("+05:30").start_of(date!(2026 - 03 - 01)), Some(datetime!(2026-02-28 18:30 UTC)));
        assert_eq!(
            (offset("+13:00").start_of(Date::MIN), offset("-08:00").start_of(Date::MAX).is_some()),
            (None, true)
        );
        assert_eq!(offset("+13:00").day(OffsetDateTime::new_utc(Date::MAX, time::macros::time!(23:00))), Date::MAX);
    }
}
