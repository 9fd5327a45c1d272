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

/// A point in time, in UTC.
///
/// Written as `2026-03-08T06:00:00.000Z`: always the same length, so that the text sorts by time. Reads any RFC 3339
/// form, and forms without a zone, which mean UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Parses a timestamp.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // A year before 0 cannot be written as RFC 3339.
        if text.starts_with(['-', '+']) {
            return None;
        }
        if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
            // In UTC the year may be out of range.
            return at.checked_to_offset(UtcOffset::UTC).map(Self);
        }
        let zoneless = format_description!(
            "[year]-[month]-[day][optional [T]][optional [ ]][hour]:[minute][optional [:[second][optional [.[subsecond]]]]]"
        );
        if let Ok(at) = PrimitiveDateTime::parse(text, &zoneless) {
            return Some(at.assume_utc().into());
        }
        let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        Some(day.midnight().assume_utc().into())
    }

    /// Converts Unix seconds; `None` out of range.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp(seconds).ok().map(Self)
    }

    /// Returns the value as a type of the `time` crate.
    pub fn get(self) -> OffsetDateTime {
        self.0
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
        let at = self.0;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
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
