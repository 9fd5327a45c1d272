//! Recognises days in a message: tomorrow, Saturday, 14 June, last week, in December.

use time::format_description::well_known::Iso8601;
use time::{Date, Duration, Month, Weekday};

use crate::base::calendar;

/// A day or a range of days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The first day.
    pub first: Date,
    /// The last day.
    pub last: Date,
    /// Wording for answers: "on Saturday", "last week".
    pub label: String,
}

const NUMBERS: &str = "a=1 an=1 one=1 couple=2 two=2 three=3 few=3 four=4 five=5 six=6 seven=7 eight=8 nine=9 ten=10 twelve=12 \
    fourteen=14";

/// Parses a number word.
pub fn number(word: &str) -> Option<u16> {
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let named = NUMBERS.split_whitespace().filter_map(|entry| entry.split_once('=')).find(|(name, _)| *name == word);
    let digits = named.map_or(digits, |(_, number)| number);
    digits.parse().ok().filter(|number| *number <= 999)
}

/// Parses the name of a month, in full or in three letters.
pub fn month(word: &str) -> Option<Month> {
    let month = if word.len() < 3 { None } else { calendar::month(word) }?;
    (word.len() == 3 || word == "sept" || word.len() == month.to_string().len()).then_some(month)
}

/// Parses the name of a weekday, in full or abbreviated.
fn weekday(word: &str) -> Option<Weekday> {
    let (day, name) = calendar::weekday(word.strip_suffix('s').filter(|day| day.ends_with("day")).unwrap_or(word))?;
    let is_short = matches!(word.len(), 3 | 4) && !matches!(word, "sat" | "sun" | "wed");
    (is_short || word.len() >= name.len()).then_some(day)
}

/// Finds the first named day or days: in the future, or in the past if the message is about the past.
pub fn find(words: &[String], today: Date, is_past: bool) -> Option<Span> {
    (0..words.len())
        .find_map(|place| at(&words[place..], (place > 0).then(|| words[place - 1].as_str()), today, is_past))
}

fn span(first: Date, last: Date, label: impl Into<String>) -> Option<Span> {
    Some(Span { first, last, label: label.into() })
}

fn at(words: &[String], before: Option<&str>, today: Date, is_past: bool) -> Option<Span> {
    let word = |place: usize| words.get(place).map_or("", String::as_str);
    let day = |days: i64| today.saturating_add(Duration::days(days));
    let monday = day(-i64::from(today.weekday().number_days_from_monday()));
    let week = |offset: i64| (monday + Duration::days(7 * offset), monday + Duration::days(7 * offset + 6));
    match (word(0), word(1)) {
        ("tonight", _) | ("this", "evening") => span(today, today, "tonight"),
        ("today", _) | ("this", "morning" | "afternoon") => span(today, today, "today"),
        ("right", "now") => span(today, today, "today"),
        ("day", "after") if word(2) == "tomorrow" => span(day(2), day(2), "the day after tomorrow"),
        ("day", "before") if word(2) == "yesterday" => span(day(-2), day(-2), "the day before yesterday"),
        ("tomorrow" | "tmrw" | "tmr" | "tomorow", _) => span(day(1), day(1), "tomorrow"),
        ("yesterday", _) | ("last", "night") => span(day(-1), day(-1), "yesterday"),
        ("week", "before") if is_past => span(week(-2).0, week(-2).1, "the week before last"),
        ("last" | "past" | "previous", "week") => span(week(-1).0, week(-1).1, "last week"),
        ("this", "week") if is_past => span(monday, today, "this week"),
        ("this" | "the", "week") if word(2) != "before" => span(today, week(0).1.max(day(4)), "this week"),
        ("next", "week") => span(week(1).0, week(1).1, "next week"),
        ("last" | "past", "weekend") => span(week(-1).0 + Duration::days(5), week(-1).1, "last weekend"),
        ("next", "weekend") => span(week(1).0 + Duration::days(5), week(1).1, "next weekend"),
        ("weekend", _) if is_past => span(week(-1).0 + Duration::days(5), week(-1).1, "last weekend"),
        ("weekend", _) => span(monday.saturating_add(Duration::days(5)).max(today), week(0).1, "at the weekend"),
        ("last" | "past" | "previous", "month") => {
            let last = today.replace_day(1).ok()?.previous_day()?;
            span(last.replace_day(1).ok()?, last, "last month")
        }
        ("this", "month") => span(today.replace_day(1).ok()?, today, "this month"),
        ("next", "month") => {
            let first = day(32 - i64::from(today.day())).replace_day(1).ok()?;
            span(first, first, "next month")
        }
        ("this", "year") => span(Date::from_ordinal_date(today.year(), 1).ok()?, today, "this year"),
        ("last" | "past", "year") => {
            let year = today.year() - 1;
            span(
                Date::from_ordinal_date(year, 1).ok()?,
                Date::from_calendar_date(year, Month::December, 31).ok()?,
                "last year",
            )
        }
        ("last" | "past", many) if number(many).is_some() => {
            let days = i64::from(number(many)?) * unit(word(2))?;
            span(day(-days), today, format!("in the last {many} {}", word(2)))
        }
        ("in", many) if !is_past && number(many).is_some() => {
            let days = i64::from(number(many)?) * unit(word(2))?;
            span(day(days), day(days), format!("in {many} {}", word(2)))
        }
        (many, count) if unit(count).is_some() && word(2) == "ago" => {
            let days = i64::from(number(many)?) * unit(count)?;
            span(day(-days), day(-days), format!("{many} {count} ago"))
        }
        _ => named_day(words, before, today, is_past),
    }
}

fn unit(word: &str) -> Option<i64> {
    match word {
        "day" | "days" => Some(1),
        "week" | "weeks" => Some(7),
        "month" | "months" => Some(30),
        "year" | "years" => Some(365),
        _ => None,
    }
}

/// Parses a weekday, a date or a month.
fn named_day(words: &[String], before: Option<&str>, today: Date, is_past: bool) -> Option<Span> {
    let word = |place: usize| words.get(place).map_or("", String::as_str);
    if let Some(weekday) = weekday(word(0)) {
        let ahead = i64::from((7 + weekday.number_days_from_monday() - today.weekday().number_days_from_monday()) % 7);
        let is_past = is_past || before == Some("last");
        let days = match (is_past, before) {
            (true, _) if ahead == 0 => -7,
            (true, _) => ahead - 7,
            (false, Some("next")) if ahead < 3 => ahead + 7,
            (false, _) => ahead,
        };
        let day = today.saturating_add(Duration::days(days));
        let label = if days == 0 { "today".to_owned() } else { format!("on {weekday}") };
        return span(day, day, label);
    }
    // "14 June", "14th of June", "June 14".
    let date = match (number(word(0)), month(word(1)), month(word(2)), month(word(0)), number(word(1))) {
        (Some(day), Some(month), ..) => Some((day, month)),
        (Some(day), None, Some(month), ..) if word(1) == "of" => Some((day, month)),
        (_, _, _, Some(month), Some(day)) if word(1).starts_with(|first: char| first.is_ascii_digit()) => {
            Some((day, month))
        }
        _ => None,
    };
    let in_year = |day: u8, month: Month| {
        let this = Date::from_calendar_date(today.year(), month, day).ok()?;
        let other = Date::from_calendar_date(today.year() + if is_past { -1 } else { 1 }, month, day).ok();
        let is_wrong = if is_past { this > today } else { this < today };
        Some(if is_wrong { other? } else { this })
    };
    if let Some((day, month)) = date.filter(|(day, _)| (1..=31).contains(day)) {
        let date = in_year(u8::try_from(day).ok()?, month)?;
        return span(date, date, format!("on {day} {month}"));
    }
    // "May" and "March" have other meanings, too.
    let month = month(word(0)).filter(|_| word(0).len() > 3)?;
    if matches!(month, Month::May | Month::March)
        && !matches!(before, Some("in" | "for" | "last" | "this" | "next" | "of"))
    {
        return None;
    }
    let last_day = month.length(today.year());
    if is_past {
        let first = in_year(1, month)?;
        return span(first, first.replace_day(last_day).ok()?, format!("in {month}"));
    }
    let middle = if month == today.month() { today } else { in_year(15, month)? };
    span(middle, middle, format!("in {month}"))
}

/// Returns the number of days of a trip or plan: "5 days", "a week", "three nights", "the weekend".
pub fn days(words: &[String]) -> Option<u16> {
    let counted = words.windows(2).find_map(|pair| match (number(&pair[0]), pair[1].as_str()) {
        (Some(count), "day" | "days") => Some(count),
        (Some(count), "night" | "nights") => Some(count + 1),
        (Some(count), "week" | "weeks") => Some(count * 7),
        (_, "weekend") if pair[0] == "long" => Some(4),
        _ => None,
    });
    let named = |word: &String| match word.as_str() {
        "fortnight" => Some(14),
        "overnight" => Some(2),
        "weekend" => Some(3),
        _ => None,
    };
    counted.or_else(|| words.iter().find_map(named))
}

/// Formats a day: "4 April", with the year if it is not the current one.
pub fn shown(date: Date, today: Date) -> String {
    if date.year() == today.year() {
        format!("{} {}", date.day(), date.month())
    } else {
        format!("{} {} {}", date.day(), date.month(), date.year())
    }
}

/// Parses a date in the tools' format.
pub fn read(text: &str) -> Option<Date> {
    Date::parse(text.get(..10)?, &Iso8601::DATE).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;
    use crate::model::vocabulary::words;

    #[test]
    fn days_are_read_as_people_say_them() {
        let today = date!(2026 - 11 - 29); // a Sunday
        for (text, is_past, first, last) in [
            ("what to wear tomorrow", false, date!(2026 - 11 - 30), date!(2026 - 11 - 30)),
            ("on Saturday", false, date!(2026 - 12 - 05), date!(2026 - 12 - 05)),
            ("a wedding on 14 June", false, date!(2027 - 06 - 14), date!(2027 - 06 - 14)),
            ("June 14th", false, date!(2027 - 06 - 14), date!(2027 - 06 - 14)),
            ("the 3rd of December", false, date!(2026 - 12 - 03), date!(2026 - 12 - 03)),
            ("sandals in december", false, date!(2026 - 12 - 15), date!(2026 - 12 - 15)),
            ("next week", false, date!(2026 - 11 - 30), date!(2026 - 12 - 06)),
            ("last week", true, date!(2026 - 11 - 16), date!(2026 - 11 - 22)),
            ("on friday", true, date!(2026 - 11 - 27), date!(2026 - 11 - 27)),
            ("in october", true, date!(2026 - 10 - 01), date!(2026 - 10 - 31)),
            ("3 days ago", true, date!(2026 - 11 - 26), date!(2026 - 11 - 26)),
            ("the past two weeks", true, date!(2026 - 11 - 15), today),
            ("last month", true, date!(2026 - 10 - 01), date!(2026 - 10 - 31)),
        ] {
            let found = find(&words(text), today, is_past).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.first, found.last), (first, last), "{text}");
        }
        for text in ["may I wear this", "march on", "no time at all", "seven shirts"] {
            assert_eq!(find(&words(text), today, false), None, "{text}");
        }
    }

    #[test]
    fn trips_have_a_length() {
        for (text, expected) in [
            ("5 days in Lisbon", Some(5)),
            ("for a week", Some(7)),
            ("three nights", Some(4)),
            ("a weekend in Porto", Some(3)),
            ("a long weekend", Some(4)),
            ("to Porto", None),
            ("", None),
        ] {
            assert_eq!(days(&words(text)), expected, "{text}");
        }
    }
}
