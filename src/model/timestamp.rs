//! Points in time, as stored in documents.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, UtcOffset};
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::base::local_offset::LocalOffset;

/// A point in time, in UTC.
///
/// Written as `2026-03-08T06:00:00.000Z`: always the same length, so that the text sorts by time. Reads any RFC 3339
/// form, and forms without a zone, which mean UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Parses a timestamp.
    pub fn parse(text: &str) -> Option<Self> {
        match Written::parse(text)? {
            // In UTC the year may be out of range.
            Written::Moment(at) => at.checked_to_offset(UtcOffset::UTC).map(Self),
            Written::Zoneless(at) => Some(at.assume_utc().into()),
            Written::Day(day) => Some(day.midnight().assume_utc().into()),
        }
    }

    /// Converts Unix seconds; `None` out of range.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp(seconds).ok().map(Self)
    }

    /// Returns the value as a type of the `time` crate.
    pub fn get(self) -> OffsetDateTime {
        self.0
    }

    /// Whether it is at or after `from` and before `until`, where these are given.
    pub fn is_within(self, from: Option<OffsetDateTime>, until: Option<OffsetDateTime>) -> bool {
        from.is_none_or(|from| from <= self.0) && until.is_none_or(|until| self.0 < until)
    }

    /// Returns the text of this point in time by a clock with another offset: `2026-03-07T22:00:00.000-08:00`. Texts
    /// with one offset sort by time.
    pub fn by_clock(self, offset: LocalOffset) -> String {
        ByClock(offset.local(self.0), offset).to_string()
    }
}

/// A point in time as a clock shows it, with the offset of the clock.
struct ByClock(OffsetDateTime, LocalOffset);

impl fmt::Display for ByClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(at, offset) = self;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}{offset}",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

/// A time as people and models write it, perhaps without a zone or as a day alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A point in time.
    Moment(OffsetDateTime),
    /// A time on a clock in an unknown zone.
    Zoneless(PrimitiveDateTime),
    /// A day.
    Day(Date),
}

impl Written {
    /// Parses a time.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // A year before 0 cannot be written as RFC 3339.
        if text.starts_with(['-', '+']) {
            return None;
        }
        if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
            return Some(Self::Moment(at));
        }
        let zoneless = format_description!(
            "[year]-[month]-[day][optional [T]][optional [ ]][hour]:[minute][optional [:[second][optional [.[subsecond]]]]]"
        );
        if let Ok(at) = PrimitiveDateTime::parse(text, &zoneless) {
            return Some(Self::Zoneless(at));
        }
        Date::parse(text, format_description!("[year]-[month]-[day]")).ok().map(Self::Day)
    }

    /// Returns the day in the text.
    pub fn day(self) -> Date {
        match self {
            Self::Moment(at) => at.date(),
            Self::Zoneless(at) => at.date(),
            Self::Day(day) => day,
        }
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(at: OffsetDateTime) -> Self {
        Self(at.to_offset(UtcOffset::UTC))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0 + span)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ByClock(self.0, LocalOffset::UTC).fmt(f)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for Timestamp {}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a date and time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_ever_written_is_read() {
        for (text, expected) in [
            ("2026-03-08T06:00:00Z", "2026-03-08T06:00:00.000Z"),
            ("2026-03-08T06:00:00.987Z", "2026-03-08T06:00:00.987Z"),
            ("2024-02-29T23:59:59.1Z", "2024-02-29T23:59:59.100Z"),
            ("2026-03-08t06:00:00z", "2026-03-08T06:00:00.000Z"),
            ("2026-03-08T06:00:00.1234567Z", "2026-03-08T06:00:00.123Z"),
            ("2026-03-08T07:30:00+01:30", "2026-03-08T06:00:00.000Z"),
            ("2026-03-08T06:00:00", "2026-03-08T06:00:00.000Z"),
            ("2026-03-08 06:00:00.5", "2026-03-08T06:00:00.500Z"),
            ("2026-03-08T06:05", "2026-03-08T06:05:00.000Z"),
            ("2026-03-08 06:05", "2026-03-08T06:05:00.000Z"),
            ("0001-01-01T00:00:00", "0001-01-01T00:00:00.000Z"),
            ("2026-03-08", "2026-03-08T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), expected, "{text}");
        }
        let (at, west) = (Timestamp::parse("2026-03-02T01:00:00Z").unwrap(), LocalOffset::parse("-08:00").unwrap());
        assert_eq!(at.by_clock(west), "2026-03-01T17:00:00.000-08:00");
        assert_eq!(at.by_clock(LocalOffset::UTC), at.to_string());
        let nowhere = ["9999-12-31T23:59:59-12:00", "-9999-01-01T00:00:00+12:00"];
        let wrong = [
            "-2026-01-01",
            "+2026-01-01",
            "-2026-01-01T00:00:00Z",
            "2026-03-08T06",
            "2026-02-29T00:00:00Z",
            "2026-03-08T24:00:00.000Z",
            "2026-03-08T06-00:00Z",
            "2026-0a-08T06:00:00Z",
            "2026-03-08T06:00:00.0é",
        ];
        for text in ["", "yesterday", "2026-13-01", "12:00"].into_iter().chain(wrong).chain(nowhere) {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
