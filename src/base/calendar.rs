//! Names of months and weekdays in English.

use time::{Month, Weekday};

/// The month whose name begins with `word`, in lower case.
pub fn month(word: &str) -> Option<Month> {
    let months = (1..=12).filter_map(|number| Month::try_from(number).ok());
    months.into_iter().find(|month| month.to_string().to_lowercase().starts_with(word))
}

/// The weekday whose name begins with `word`, in lower case, and that name.
pub fn weekday(word: &str) -> Option<(Weekday, String)> {
    let days = (0..7).map(|number| Weekday::Monday.nth_next(number));
    days.map(|day| (day, day.to_string().to_lowercase())).find(|(_, name)| name.starts_with(word))
}
