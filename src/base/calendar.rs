//! English names of months and weekdays, and past days in words.

use time::{Month, Weekday};

/// Returns the month whose lower-case name begins with `word`.
pub fn month(word: &str) -> Option<Month> {
    let months = (1..=12).filter_map(|number| Month::try_from(number).ok());
    months.into_iter().find(|month| month.to_string().to_lowercase().starts_with(word))
}

/// Returns a number of days before today in words.
pub fn ago(days: i64) -> String {
    let count =
        |count: i64, unit: &str| if count == 1 { format!("a {unit} ago") } else { format!("{count} {unit}s ago") };
    match days {
        ..=0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        2..=13 => count(days, "day"),
        14..=59 => count(days / 7, "week"),
        60..=364 => count(days / 30, "month"),
        _ => count((days + 182) / 365, "year"),
    }
}

/// Returns the weekday whose lower-case name begins with `word`, and that name.
pub fn weekday(word: &str) -> Option<(Weekday, String)> {
    let days = (0..7).map(|number| Weekday::Monday.nth_next(number));
    days.map(|day| (day, day.to_string().to_lowercase())).find(|(_, name)| name.starts_with(word))
}
