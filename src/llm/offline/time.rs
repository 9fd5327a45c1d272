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

impl Span {
    /// The number of its days.
    pub fn days(&self) -> u16 {
        u16::try_from((self.last - self.first).whole_days() + 1).unwrap_or(u16::MAX)
    }
}

/// Days with a name: its words, month and day.
const NAMED_DAYS: [(&str, &str, Month, u8); 8] = [
    ("christmas eve", "Christmas Eve", Month::December, 24),
    ("christmas day", "Christmas Day", Month::December, 25),
    ("boxing day", "Boxing Day", Month::December, 26),
    ("new years eve", "New Year's Eve", Month::December, 31),
    ("nye", "New Year's Eve", Month::December, 31),
    ("new years day", "New Year's Day", Month::January, 1),
    ("valentines day", "Valentine's Day", Month::February, 14),
    ("halloween", "Halloween", Month::October, 31),
];

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

/// Finds the first named day or days: in the future, or in the past if the message is about the past. "A weekend in
/// Porto in June" is in June.
pub fn find(words: &[String], today: Date, is_past: bool) -> Option<Span> {
    let mut found = (0..words.len()).filter_map(|place| at_place(words, place, today, is_past));
    let is_vague = |span: &Span| matches!(span.label.as_str(), "at the weekend" | "this week");
    let first = found.next()?;
    if is_vague(&first) { found.find(|span| !is_vague(span)).or(Some(first)) } else { Some(first) }
}

fn at_place(words: &[String], place: usize, today: Date, is_past: bool) -> Option<Span> {
    let words_here = &words[place..];
    let before = (place > 0).then(|| words[place - 1].as_str());
    named_or_numbered_day(words_here, today, is_past).or_else(|| at(words_here, before, today, is_past))
}

/// Finds days from one to another: "from Friday to Tuesday", "5-9 December", "leave on Friday and come back on Monday".
pub fn range(words: &[String], today: Date) -> Option<Span> {
    let join = |first: Date, last: Date, from: &str, to: &str| {
        let [from, to] = [from, to].map(|label| label.strip_prefix("on ").unwrap_or(label));
        span(first, last, format!("from {from} to {to}"))
    };
    // "5-9 December", "December 5 to 9".
    let bare = (0..words.len()).find_map(|place| {
        let word = |ahead: usize| words.get(place + ahead).map_or("", String::as_str);
        let digits = |word: &str| number(word).filter(|_| word.starts_with(|first: char| first.is_ascii_digit()));
        let joined = usize::from(matches!(word(1), "to" | "until" | "till" | "through" | "and"));
        let (from, to) = (digits(word(0))?, digits(word(1 + joined))?);
        let of = usize::from(word(2 + joined) == "of");
        let before = place.checked_sub(1).and_then(|before| words.get(before)).and_then(|word| month(word));
        let month = month(word(2 + joined + of)).or(before)?;
        let date = |day: u16| named_day(&[day.to_string(), month.to_string().to_lowercase()], None, today, false);
        let (first, last) = (date(from)?, date(to)?);
        (first.first < last.last).then(|| join(first.first, last.last, &first.label, &last.label))?
    });
    if bare.is_some() {
        return bare;
    }
    let days: Vec<(usize, Span)> = (0..words.len())
        .filter_map(|place| Some((place, at_place(words, place, today, false)?)))
        .filter(|(_, span)| span.first == span.last && !span.label.starts_with("in "))
        .collect();
    days.windows(2).find_map(|pair| {
        let [(place, first), (end, last)] = pair else { return None };
        let between = &words[*place..*end];
        let is_until = matches!(words[end - 1].as_str(), "to" | "until" | "till" | "through" | "thru");
        let returns = between.iter().any(|word| matches!(word.as_str(), "back" | "return" | "returning"));
        let later = if last.first < first.first { last.last + Duration::days(7) } else { last.last };
        let is_range = (is_until || returns) && later > first.first && (later - first.first).whole_days() < 60;
        is_range.then(|| join(first.first, later, &first.label, &last.label))?
    })
}

/// Returns the day of a trip, from 1: "day two", "the second day".
pub fn day_of_trip(words: &[String]) -> Option<usize> {
    let place = |word: &str| {
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh"].iter().position(|name| *name == word)
    };
    words.windows(2).find_map(|pair| match (pair[0].as_str(), pair[1].as_str()) {
        ("day", "a" | "an") => None,
        ("day", day) => number(day).map(usize::from).filter(|day| (1..=31).contains(day)),
        (day, "day") => place(day).map(|place| place + 1),
        _ => None,
    })
}

/// Returns a date in a message that no year has: "31 February".
pub fn impossible_date(words: &[String]) -> Option<String> {
    words.windows(2).find_map(|pair| {
        let (day, month) =
            (number(&pair[0]).filter(|_| pair[0].starts_with(|first: char| first.is_ascii_digit()))?, month(&pair[1])?);
        // A leap year.
        (day > u16::from(month.length(2024)) && day <= 31).then(|| format!("{day} {month}"))
    })
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
        ("tomorrow", _) => span(day(1), day(1), "tomorrow"),
        ("yesterday", _) | ("last", "night") => span(day(-1), day(-1), "yesterday"),
        ("week", "before") if is_past => span(week(-2).0, week(-2).1, "the week before last"),
        // "In the last year" ends today, "last year" on 31 December.
        (last @ ("last" | "past"), unit @ ("week" | "month" | "year")) if last == "past" || before == Some("the") => {
            span(back(today, 1, unit)?, today, format!("in the last {unit}"))
        }
        ("last" | "past" | "previous", "week") => span(week(-1).0, week(-1).1, "last week"),
        ("this", "week") if is_past => span(monday, today, "this week"),
        ("this" | "the" | "my", "week") if word(2) != "before" => span(today, week(0).1.max(day(4)), "this week"),
        ("working" | "work", "week") | ("workweek", _) if !is_past => working_week(today),
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
        ("last" | "past", "half") if words.iter().take(4).any(|word| word == "year") => {
            span(back(today, 6, "months")?, today, "in the last half year")
        }
        ("last" | "past", many) if number(many).is_some() => {
            let of = usize::from(word(2) == "of");
            span(
                back(today, number(many)?, word(2 + of))?,
                today,
                format!("in the last {}", words[1..3 + of].join(" ")),
            )
        }
        ("in" | "for" | "over" | "within", many) if is_past && number(many).is_some() => {
            let first = back(today, number(many)?, word(2))?;
            span(first, today, format!("in the last {many} {}", word(2)))
        }
        ("since", _) if is_past => {
            let since = at(words.get(1..)?, Some("since"), today, true);
            let since = since.or_else(|| at(words.get(2..)?, words.get(1).map(String::as_str), today, true))?;
            // Since summer: since its end, unless it lasts.
            let is_season = season(word(1)).or_else(|| season(word(2))).is_some();
            let first = if is_season && since.last < today { since.last.next_day()? } else { since.first };
            let label = since.label.trim_start_matches("in ").trim_start_matches("on ");
            span(first, today, format!("since {label}"))
        }
        ("in", many) if !is_past && number(many).is_some() => {
            let days = i64::from(number(many)?) * unit(word(2))?;
            span(day(days), day(days), format!("in {many} {}", word(2)))
        }
        (many, count) if unit(count).is_some() && word(2) == "ago" => {
            let then = back(today, number(many)?, count)?;
            span(then, then, format!("{many} {count} ago"))
        }
        (name, _) if is_past && (is_year(name) || season(name).is_some()) => {
            year_or_season(name, word(1), before, today)
        }
        _ => named_day(words, before, today, is_past),
    }
}

/// Returns the working days left of this week; at the weekend, those of the next one.
fn working_week(today: Date) -> Option<Span> {
    let friday = today.saturating_add(Duration::days(4 - i64::from(today.weekday().number_days_from_monday())));
    let (first, last) = if friday < today {
        (friday.saturating_add(Duration::days(3)), friday.saturating_add(Duration::days(7)))
    } else {
        (today, friday)
    };
    span(first, last, "this week")
}

/// Parses a day with a name, such as New Year's Eve, or in digits, such as 2026-12-24.
fn named_or_numbered_day(words: &[String], today: Date, is_past: bool) -> Option<Span> {
    if let Some((_, name, month, day)) = NAMED_DAYS.iter().find(|(said, ..)| is_said_at(words, said)) {
        let date = in_year(*day, *month, today, is_past)?;
        return span(date, date, format!("on {name}"));
    }
    let [year, month, day] = words.first_chunk()?;
    let month = Month::try_from(u8::try_from(number(month).filter(|_| is_year(year))?).ok()?).ok()?;
    let day = u8::try_from(number(day)?).ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day).ok()?;
    span(date, date, format!("on {day} {month}"))
}

/// Whether words begin with a text.
fn is_said_at(words: &[String], text: &str) -> bool {
    text.split(' ').enumerate().all(|(place, said)| words.get(place).is_some_and(|word| word == said))
}

/// Returns the next such day, or the last one if the message is about the past.
fn in_year(day: u8, month: Month, today: Date, is_past: bool) -> Option<Date> {
    let this = Date::from_calendar_date(today.year(), month, day).ok()?;
    let is_wrong = if is_past { this > today } else { this < today };
    if !is_wrong {
        return Some(this);
    }
    Date::from_calendar_date(today.year() + if is_past { -1 } else { 1 }, month, day).ok()
}

/// Returns the day so many days, weeks, months or years before another.
fn back(today: Date, count: u16, unit_name: &str) -> Option<Date> {
    let months = match unit_name {
        "month" | "months" => i32::from(count),
        "year" | "years" => i32::from(count) * 12,
        _ => return Some(today.saturating_sub(Duration::days(i64::from(count) * unit(unit_name)?))),
    };
    let months = today.year() * 12 + i32::from(u8::from(today.month())) - 1 - months;
    let month = Month::try_from(u8::try_from(months.rem_euclid(12) + 1).ok()?).ok()?;
    let year = months.div_euclid(12);
    Date::from_calendar_date(year, month, today.day().min(month.length(year))).ok()
}

/// Whether a word is a year.
fn is_year(word: &str) -> bool {
    word.len() == 4 && word.parse().is_ok_and(|year: u16| (1970..=2100).contains(&year))
}

/// Returns the first month of a season, north of the equator.
fn season(word: &str) -> Option<Month> {
    match word {
        "spring" => Some(Month::March),
        "summer" => Some(Month::June),
        "autumn" | "fall" => Some(Month::September),
        "winter" => Some(Month::December),
        _ => None,
    }
}

/// Parses a year or a season gone by: "in 2025", "since summer", "last winter".
fn year_or_season(name: &str, next: &str, before: Option<&str>, today: Date) -> Option<Span> {
    if let Some(first) = season(name) {
        let is_time =
            matches!(before, Some("last" | "past" | "this" | "in" | "since" | "during" | "over" | "the" | "previous"));
        let begins = |year: i32| Date::from_calendar_date(year, first, 1).ok();
        let year = if is_year(next) { next.parse().ok()? } else { today.year() };
        let start =
            begins(year).filter(|start| is_time && *start <= today).or_else(|| begins(year - 1).filter(|_| is_time))?;
        let last = start.saturating_add(Duration::days(95)).replace_day(1).ok()?.previous_day()?;
        let label = match before {
            Some("last" | "past" | "previous") => format!("last {name}"),
            _ if is_year(next) => format!("in {name} {next}"),
            Some("this") => format!("this {name}"),
            _ => format!("in {name}"),
        };
        return span(start, last.min(today), label);
    }
    let year = name.parse().ok()?;
    let first = Date::from_calendar_date(year, Month::January, 1).ok().filter(|first| *first <= today)?;
    span(first, Date::from_calendar_date(year, Month::December, 31).ok()?.min(today), format!("in {year}"))
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
    if let Some((day, month)) = date.filter(|(day, _)| (1..=31).contains(day)) {
        let date = in_year(u8::try_from(day).ok()?, month, today, is_past)?;
        return span(date, date, format!("on {day} {month}"));
    }
    // "May" and "March" have other meanings, too.
    let month = month(word(0)).filter(|month| word(0).len() > 3 || *month == Month::May)?;
    if matches!(month, Month::May | Month::March)
        && !matches!(before, Some("in" | "for" | "last" | "this" | "next" | "of" | "since"))
    {
        return None;
    }
    if is_past {
        let first = if is_year(word(1)) {
            Date::from_calendar_date(word(1).parse().ok()?, month, 1).ok()?
        } else {
            in_year(1, month, today, is_past)?
        };
        let year = if is_year(word(1)) { format!(" {}", word(1)) } else { String::new() };
        return span(first, first.replace_day(month.length(first.year())).ok()?, format!("in {month}{year}"));
    }
    let middle = if month == today.month() { today } else { in_year(15, month, today, is_past)? };
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
            ("in the last month", true, date!(2026 - 10 - 29), today),
            ("in the last 6 months", true, date!(2026 - 05 - 29), today),
            ("the last couple of months", true, date!(2026 - 09 - 29), today),
            ("in the past year", true, date!(2025 - 11 - 29), today),
            ("last year", true, date!(2025 - 01 - 01), date!(2025 - 12 - 31)),
            ("in 2025", true, date!(2025 - 01 - 01), date!(2025 - 12 - 31)),
            ("in 2026", true, date!(2026 - 01 - 01), today),
            ("in March 2025", true, date!(2025 - 03 - 01), date!(2025 - 03 - 31)),
            ("since 2025", true, date!(2025 - 01 - 01), today),
            ("since March", true, date!(2026 - 03 - 01), today),
            ("since summer", true, date!(2026 - 09 - 01), today),
            ("last summer", true, date!(2026 - 06 - 01), date!(2026 - 08 - 31)),
            ("last winter", true, date!(2025 - 12 - 01), date!(2026 - 02 - 28)),
            ("this autumn", true, date!(2026 - 09 - 01), today),
            ("not worn for 3 months", true, date!(2026 - 08 - 29), today),
        ] {
            let found = find(&words(text), today, is_past).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.first, found.last), (first, last), "{text}");
        }
        for text in ["may I wear this", "march on", "no time at all", "seven shirts"] {
            assert_eq!(find(&words(text), today, false), None, "{text}");
        }
    }

    #[test]
    fn the_month_counts_more_than_the_weekend() {
        let today = date!(2026 - 11 - 29);
        let found = |text: &str| find(&words(text), today, false).map(|span| (span.first, span.label));
        let in_june = Some((date!(2027 - 06 - 15), "in June".to_owned()));
        assert_eq!(found("a weekend in Porto in June"), in_june);
        assert_eq!(found("on New Year's Eve"), Some((date!(2026 - 12 - 31), "on New Year's Eve".to_owned())));
        assert_eq!(found("on 2026-12-24"), Some((date!(2026 - 12 - 24), "on 24 December".to_owned())));
    }

    #[test]
    fn days_from_one_to_another_are_found() {
        let today = date!(2026 - 11 - 29); // a Sunday
        let (fifth, ninth) = (date!(2026 - 12 - 05), date!(2026 - 12 - 09));
        for (text, expected) in [
            ("pack for Rome from 5 December to 9 December", Some((fifth, ninth))),
            ("Rome 5-9 December", Some((fifth, ninth))),
            ("December 5 to 9", Some((fifth, ninth))),
            ("between the 5th and 9th of December", Some((fifth, ninth))),
            ("between 5 and 9 December", Some((fifth, ninth))),
            ("leave on Friday and come back on Tuesday", Some((date!(2026 - 12 - 04), date!(2026 - 12 - 08)))),
            ("tomorrow to the office and on Friday to a party", None),
            ("on 5 December for 4 nights", None),
            ("3 days", None),
        ] {
            let found = range(&words(text), today).map(|span| (span.first, span.last));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(impossible_date(&words("on 31 February")).as_deref(), Some("31 February"));
        assert_eq!(impossible_date(&words("on 29 February")), None);
        assert_eq!((day_of_trip(&words("day two")), day_of_trip(&words("a day at home"))), (Some(2), None));
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
