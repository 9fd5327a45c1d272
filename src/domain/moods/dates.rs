//! Dates in feeds and sitemaps: RFC 3339, RFC 822, and publishers' variants of them.

use time::{Date, Duration, Month, PrimitiveDateTime, Time, UtcOffset};

use crate::base::calendar;
use crate::model::timestamp::Timestamp;

/// Longest text that is parsed, in bytes.
const LONGEST: usize = 100;

/// Parses a date; `None` if it is invalid. Without a time it is midnight, without a zone UTC. Weekdays are ignored,
/// since they are often wrong or in another language.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.is_empty() || text.len() > LONGEST || !text.is_ascii() {
        return None;
    }
    Timestamp::parse(text).or_else(|| loose(text))
}

fn loose(text: &str) -> Option<Timestamp> {
    let mut parts = Parts::default();
    // `2026-03-02T10:00:00+0100`, but not the `T` of `Tue` or `Oct`.
    let bytes = text.as_bytes();
    let is_joint = |place: usize| {
        let near = |step: usize| bytes.get(step).is_some_and(u8::is_ascii_digit);
        matches!(bytes[place], b'T' | b't') && place > 0 && near(place - 1) && near(place + 1)
    };
    let spaced: String = text
        .char_indices()
        .map(|(place, letter)| if is_joint(place) || letter == ',' { ' ' } else { letter })
        .collect();
    for word in spaced.split_ascii_whitespace() {
        parts.take(word)?;
    }
    parts.settle()
}

#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<Month>,
    day: Option<u8>,
    time: Option<(Time, bool)>,
    offset: Option<UtcOffset>,
    is_afternoon: Option<bool>,
}

impl Parts {
    fn take(&mut self, word: &str) -> Option<()> {
        if word.contains(':') {
            return self.take_time(word);
        }
        let has_time = self.time.is_some();
        if has_time
            && self.offset.is_none()
            && let Some(offset) = offset(word)
        {
            self.offset = Some(offset);
            return Some(());
        }
        match word.to_ascii_lowercase().as_str() {
            "am" => self.is_afternoon = Some(false),
            "pm" => self.is_afternoon = Some(true),
            lower if lower.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                // A weekday, or a word without meaning: "at", "(CET)".
                if self.month.is_none()
                    && let Some(month) = month(lower)
                {
                    self.month = Some(month);
                }
            }
            lower => return self.take_numbers(lower),
        }
        Some(())
    }

    /// Parses a day, a year, or a whole date: `2`, `2nd`, `2026`, `2026-03-02`, `02-Mar-2026`, `20260302`.
    fn take_numbers(&mut self, word: &str) -> Option<()> {
        let word = word.trim_end_matches('.');
        if word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_digit()) {
            // Numbers that are no date leave its parts empty, and the text then has no date.
            self.year = word[..4].parse().ok();
            self.month = Month::try_from(word[4..6].parse::<u8>().ok()?).ok();
            self.day = word[6..].parse().ok();
            return Some(());
        }
        let pieces: Vec<&str> = word.split(['-', '/', '.']).filter(|piece| !piece.is_empty()).collect();
        match pieces.as_slice() {
            [year, month, day] if year.len() == 4 => {
                self.year = year.parse().ok();
                self.month = numbered(month);
                self.day = Some(day.parse().ok()?);
            }
            // The order of day and month is ambiguous unless the month is a word.
            [day, month, year] if month.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                self.day = Some(day.parse().ok()?);
                self.month = self::month(&month.to_ascii_lowercase());
                self.year = Some(full_year(year)?);
            }
            [year, month] if year.len() == 4 => {
                (self.year, self.month, self.day) = (year.parse().ok(), numbered(month), Some(1));
            }
            [number] => {
                let digits = number.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
                if self.day.is_none() && digits.len() <= 2 {
                    self.day = Some(digits.parse().ok()?);
                } else if self.year.is_none() {
                    self.year = Some(full_year(digits)?);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Parses a time: `10:00`, `10:00:00`, `10:00:00.123Z`, `10:00:00+01:00`, `10:00PM`.
    fn take_time(&mut self, word: &str) -> Option<()> {
        if self.time.is_some() {
            // `GMT+01:00`, `+01:00`
            self.offset = offset(word);
            return self.offset.map(|_| ());
        }
        let end =
            word.find(|letter: char| !(letter.is_ascii_digit() || matches!(letter, ':' | '.'))).unwrap_or(word.len());
        let (clock, rest) = word.split_at(end);
        let mut numbers = clock.split(':');
        let mut number = || numbers.next().unwrap_or("0").split('.').next()?.parse::<u8>().ok();
        let (hour, minute, second) = (number()?, number()?, number()?);
        // Midnight at the end of a day, and leap seconds.
        let time = Time::from_hms(hour % 24, minute, second.min(59)).ok().filter(|_| hour <= 24)?;
        self.time = Some((time, hour == 24));
        match rest.to_ascii_lowercase().as_str() {
            "" => {}
            "am" => self.is_afternoon = Some(false),
            "pm" => self.is_afternoon = Some(true),
            _ => self.offset = offset(rest),
        }
        Some(())
    }

    fn settle(self) -> Option<Timestamp> {
        let mut date = Date::from_calendar_date(self.year?, self.month?, self.day?).ok()?;
        let (mut time, is_next_day) = self.time.unwrap_or((Time::MIDNIGHT, false));
        if is_next_day {
            date = date.next_day()?;
        }
        if let Some(is_afternoon) = self.is_afternoon {
            let hour = time.hour() % 12 + if is_afternoon { 12 } else { 0 };
            time = time.replace_hour(hour).ok()?;
        }
        let local = PrimitiveDateTime::new(date, time).assume_utc();
        let offset = self.offset.unwrap_or(UtcOffset::UTC);
        Some(local.checked_sub(Duration::seconds(offset.whole_seconds().into()))?.into())
    }
}

fn full_year(text: &str) -> Option<i32> {
    let year: i32 = text.parse().ok()?;
    match text.len() {
        4 => Some(year),
        // As in RFC 2822.
        2 if year < 50 => Some(2000 + year),
        2 | 3 => Some(1900 + year),
        _ => None,
    }
}

fn numbered(text: &str) -> Option<Month> {
    Month::try_from(text.parse::<u8>().ok()?).ok()
}

/// Parses a lower-case month name or its beginning: `sep`, `sept`, `september`.
fn month(word: &str) -> Option<Month> {
    let word = word.trim_end_matches('.');
    if word.len() < 3 { None } else { calendar::month(word) }
}

/// Parses a UTC offset by number or name: `+0100`, `+01:00`, `+01`, `GMT+1`, `UT`, `EST`, `CEST`. Ambiguous names have
/// the meaning of RFC 822, then of Europe.
fn offset(text: &str) -> Option<UtcOffset> {
    const NAMES: [(&str, i8); 22] = [
        ("z", 0),
        ("ut", 0),
        ("utc", 0),
        ("gmt", 0),
        ("wet", 0),
        ("est", -5),
        ("edt", -4),
        ("cst", -6),
        ("cdt", -5),
        ("mst", -7),
        ("mdt", -6),
        ("pst", -8),
        ("pdt", -7),
        ("akst", -9),
        ("hst", -10),
        ("bst", 1),
        ("cet", 1),
        ("cest", 2),
        ("eet", 2),
        ("eest", 3),
        ("msk", 3),
        ("jst", 9),
    ];
    let lower = text.trim_matches(['(', ')']).to_ascii_lowercase();
    if let Some((_, hours)) = NAMES.iter().find(|(name, _)| *name == lower) {
        return UtcOffset::from_hms(*hours, 0, 0).ok();
    }
    let number = ["gmt", "utc", "ut"].iter().find_map(|name| lower.strip_prefix(name)).unwrap_or(&lower);
    let (sign, digits) = match number.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits: String = digits.chars().filter(|letter| *letter != ':').collect();
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = if digits.len() > 2 { digits.split_at(digits.len() - 2) } else { (digits.as_str(), "0") };
    let (hours, minutes) = (hours.parse::<i8>().ok()?, minutes.parse::<i8>().ok()?);
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_read_as_publishers_write_them() {
        for (text, expected) in [
            ("2026-03-02T10:00:00Z", "2026-03-02T10:00:00.000Z"),
            ("2026-03-02T10:00:00+0100", "2026-03-02T09:00:00.000Z"),
            ("2026-03-02 10:00:00", "2026-03-02T10:00:00.000Z"),
            ("2026-03-02 10:00:00 +0200", "2026-03-02T08:00:00.000Z"),
            ("2026-03-02T10:00", "2026-03-02T10:00:00.000Z"),
            ("2026-03-02T10:00Z", "2026-03-02T10:00:00.000Z"),
            ("2026-03-02", "2026-03-02T00:00:00.000Z"),
            ("2026-3-2", "2026-03-02T00:00:00.000Z"),
            ("2026-03", "2026-03-01T00:00:00.000Z"),
            ("2026/03/02", "2026-03-02T00:00:00.000Z"),
            ("20260302", "2026-03-02T00:00:00.000Z"),
            ("Mon, 02 Mar 2026 10:00:00 GMT", "2026-03-02T10:00:00.000Z"),
            ("Mon, 2 Mar 2026 10:00:00 +0000", "2026-03-02T10:00:00.000Z"),
            ("Fri, 02 Mar 2026 10:00:00 EST", "2026-03-02T15:00:00.000Z"),
            ("Mon, 02 Mar 2026 10:00 PDT", "2026-03-02T17:00:00.000Z"),
            ("Mon, 02 Mar 2026 10:00:00 CEST", "2026-03-02T08:00:00.000Z"),
            ("Mon, 02 Mar 2026 10:00:00 GMT+1", "2026-03-02T09:00:00.000Z"),
            ("Mon, 02 Mar 2026 10:00:00 UT", "2026-03-02T10:00:00.000Z"),
            ("Mon, 02 Mar 2026 10:00:00 Z", "2026-03-02T10:00:00.000Z"),
            ("Mon, 02 Mar 2026 10:00:00 -0330", "2026-03-02T13:30:00.000Z"),
            ("Mon, 02 Mar 2026 10:00:00 +01:00 (CET)", "2026-03-02T09:00:00.000Z"),
            ("Mon, 02 Mar 2026 10:00:00", "2026-03-02T10:00:00.000Z"),
            ("Mon, 02 Mar 26 10:00:00 GMT", "2026-03-02T10:00:00.000Z"),
            ("Thurs, 27 Sept 2026 9:05:00 +0300", "2026-09-27T06:05:00.000Z"),
            ("Montag, 02 March 2026 10:00:00 +0100", "2026-03-02T09:00:00.000Z"),
            ("02-Mar-2026 10:00:00", "2026-03-02T10:00:00.000Z"),
            ("March 2, 2026", "2026-03-02T00:00:00.000Z"),
            ("Mar 2nd, 2026 at 3:30 PM", "2026-03-02T15:30:00.000Z"),
            ("March 2, 2026 12:15am", "2026-03-02T00:15:00.000Z"),
            ("Mon, 02 Mar 2026 24:00:00 GMT", "2026-03-03T00:00:00.000Z"),
            ("Mon Mar 02 10:00:00 CET 2026", "2026-03-02T09:00:00.000Z"),
            (" \n2026-03-02T10:00:00.123+00:00\n", "2026-03-02T10:00:00.123Z"),
        ] {
            assert_eq!(parse(text).map(|at| at.to_string()).as_deref(), Some(expected), "{text}");
        }
        for nonsense in ["", "soon", "02/03/2026", "Mon, 32 Mar 2026", "2026-13-01", "10:00:00", "2026", "März 2026"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([A-Za-z]{0,5}|[0-9]{0,8}|[ ,:+./T-]){0,12}") {
            parse(&text);
        }
    }
}
