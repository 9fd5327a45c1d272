//! Parses numbers as written by people and spreadsheets: `1,299.00`, `1.299,00`, `1 299`, `€120.50`.
//!
//! Ambiguous numbers are rejected, because a price that is off by a factor of a thousand might go unnoticed.

use serde_json::Number;

/// Meaning of a comma or point before exactly three digits, depending on the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// Cells are separated by commas: a point is the decimal mark, a comma separates thousands.
    Points,
    /// Cells are separated by semicolons, which suggests a decimal comma: both are ambiguous.
    Commas,
    /// Cells are separated by another character: a point is the decimal mark, a comma is ambiguous.
    Unknown,
}

/// Parses a number.
pub(super) fn number(text: &str, marks: Marks) -> Option<Number> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.contains(|character: char| character.is_ascii_digit()) {
        return None;
    }
    // As written by programs: with an exponent or any number of digits.
    let is_plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+');
    if marks != Marks::Commas && digits.bytes().all(is_plain) && digits.matches('.').count() <= 1 {
        return serde_json::from_str(&format!("{sign}{}", without_zeros(digits))).ok();
    }
    let (whole, fraction) = parts(digits, marks)?;
    let point = if fraction.is_empty() { "" } else { "." };
    serde_json::from_str(&format!("{sign}{}{point}{fraction}", without_zeros(&whole))).ok()
}

/// Parses an amount of money: a number, and the currency before or after it.
pub(super) fn money(text: &str, marks: Marks) -> Option<(Number, Option<&str>)> {
    let text = text.trim();
    let is_number = |character: char| character.is_ascii_digit();
    let (first, last) = (text.find(is_number)?, text.rfind(is_number)? + 1);
    // A sign, or a decimal mark without a whole part, belongs to the number; a full stop may end an abbreviation.
    let first = text[..first].trim_end_matches(['-', '+', '\u{2212}']).len();
    let (before, after) = (text[..first].trim(), text[last..].trim());
    // Whole prices are written as `120,-`.
    let after = after.trim_start_matches(",-").trim_start_matches(",–").trim_start();
    let currency = match (before, after) {
        ("", "") => None,
        (currency, "") | ("", currency) => Some(currency),
        _ => return None,
    };
    if currency.is_some_and(|currency| currencies(currency).is_empty()) {
        return None;
    }
    Some((number(&text[first..last], marks)?, currency))
}

/// Returns the codes of the currencies that a symbol or code can denote.
pub(super) fn currencies(text: &str) -> Vec<String> {
    let known: &[&str] = match text {
        "€" | "Euro" | "euro" => &["EUR"],
        "£" => &["GBP"],
        "$" => &["USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "CLP", "COP", "ARS"],
        "US$" => &["USD"],
        "C$" | "CA$" => &["CAD"],
        "A$" | "AU$" => &["AUD"],
        "R$" => &["BRL"],
        "¥" | "￥" => &["JPY", "CNY"],
        "₹" => &["INR"],
        "₩" => &["KRW"],
        "₺" => &["TRY"],
        "₴" => &["UAH"],
        "₽" => &["RUB"],
        "₪" => &["ILS"],
        "zł" => &["PLN"],
        "Kč" => &["CZK"],
        "Ft" => &["HUF"],
        "Fr." | "Fr" | "SFr." => &["CHF"],
        "kr" | "kr." => &["SEK", "NOK", "DKK", "ISK"],
        _ => &[],
    };
    let is_code = text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_alphabetic());
    if is_code { vec![text.to_ascii_uppercase()] } else { known.iter().map(|code| (*code).to_owned()).collect() }
}

/// Strips leading zeros, which JSON does not allow.
fn without_zeros(digits: &str) -> String {
    let bare = digits.trim_start_matches('0');
    if bare.starts_with(|character: char| character.is_ascii_digit()) { bare.to_owned() } else { format!("0{bare}") }
}

/// Returns the digits before and after the decimal mark.
fn parts(text: &str, marks: Marks) -> Option<(String, &str)> {
    // Spaces and apostrophes always separate thousands.
    let is_gap = |character: char| matches!(character, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}' | '\'' | '’');
    let (points, commas) = (text.matches('.').count(), text.matches(',').count());
    let mark = match (points, commas) {
        (0, 0) => None,
        // If both occur, the last one is the decimal mark.
        (1.., 1..) => text.chars().rev().find(|character| matches!(character, '.' | ',')),
        (1, 0) => decimal('.', text, marks)?,
        (0, 1) => decimal(',', text, marks)?,
        _ => None,
    };
    let (whole, fraction) = mark.map_or((text, ""), |mark| text.rsplit_once(mark).unwrap_or((text, "")));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || (mark.is_some() && fraction.is_empty()) {
        return None;
    }
    let is_separator = |character: char| is_gap(character) || matches!(character, '.' | ',');
    let mut separators = whole.chars().filter(|character| is_separator(*character));
    let separator = separators.next();
    if separators.any(|other| Some(other) != separator) || (mark.is_some() && separator == mark) {
        return None;
    }
    let groups: Vec<&str> = whole.split(is_separator).collect();
    let is_digits = |group: &&str| group.bytes().all(|byte| byte.is_ascii_digit());
    let are_thousands =
        groups.len() == 1 || ((1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|group| group.len() == 3));
    (are_thousands && groups.iter().all(is_digits)).then(|| (groups.concat(), fraction))
}

/// Determines the decimal mark of a number with one comma or point: that mark, or none if it separates thousands.
/// `None` if ambiguous.
fn decimal(mark: char, text: &str, marks: Marks) -> Option<Option<char>> {
    let (whole, fraction) = text.split_once(mark)?;
    let may_part_thousands = fraction.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
    match (may_part_thousands, mark, marks) {
        (false, ..) | (true, '.', Marks::Points | Marks::Unknown) => Some(Some(mark)),
        (true, ',', Marks::Points) => Some(None),
        (true, ..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, marks: Marks) -> Option<String> {
        number(text, marks).map(|number| number.to_string())
    }

    #[test]
    fn numbers_of_all_countries_are_read() {
        for (text, expected) in [
            ("39.9", "39.9"),
            (" 007 ", "7"),
            ("0.50", "0.5"),
            ("12e2", "1200.0"),
            ("120,50", "120.5"),
            ("1,299.00", "1299.0"),
            ("1.299,00", "1299.0"),
            ("1.234.567", "1234567"),
            ("1,234,567", "1234567"),
            ("1 299,50", "1299.5"),
            ("1\u{202f}299", "1299"),
            ("1'299.50", "1299.5"),
            ("0,125", "0.125"),
            (",5", "0.5"),
            ("-3", "-3"),
            ("+3,5", "3.5"),
        ] {
            for marks in [Marks::Points, Marks::Commas, Marks::Unknown] {
                let found = read(text, marks);
                if text == "12e2" && marks == Marks::Commas {
                    assert_eq!(found, None, "no spreadsheet of people writes it");
                } else {
                    assert_eq!(found.as_deref(), Some(expected), "{text} {marks:?}");
                }
            }
        }
    }

    #[test]
    fn what_could_be_two_numbers_is_none() {
        assert_eq!(read("1.299", Marks::Points).as_deref(), Some("1.299"));
        assert_eq!(read("1.299", Marks::Unknown).as_deref(), Some("1.299"));
        assert_eq!(read("1,299", Marks::Points).as_deref(), Some("1299"));
        for (text, marks) in [("1.299", Marks::Commas), ("1,299", Marks::Commas), ("1,299", Marks::Unknown)] {
            assert_eq!(read(text, marks), None, "{text} {marks:?}");
        }
        for broken in
            ["", "-", "abc", "1,29,9", "12.34.56", "1,2.3,4", "1.", "5,", "1 2", "12 34,5", "1,2345.0", "NaN", "0x10"]
        {
            for marks in [Marks::Points, Marks::Commas, Marks::Unknown] {
                assert_eq!(read(broken, marks), None, "{broken} {marks:?}");
            }
        }
    }

    #[test]
    fn money_has_a_currency_before_or_behind_it() {
        for (text, amount, currency) in [
            ("€120.50", "120.5", Some("€")),
            ("120,50 €", "120.5", Some("€")),
            ("EUR 1.299,00", "1299.0", Some("EUR")),
            ("89 usd", "89", Some("usd")),
            ("$ 89", "89", Some("$")),
            ("120,- kr", "120", Some("kr")),
            ("-€5", "", None),
            ("12", "12", None),
        ] {
            let found = money(text, Marks::Points);
            let found = found.map(|(amount, currency)| (amount.to_string(), currency));
            assert_eq!(found, (!amount.is_empty()).then(|| (amount.to_owned(), currency)), "{text}");
        }
        for broken in ["", "€", "cheap", "12 apples", "EUR 5 EUR", "5 or 6", "12 %"] {
            assert_eq!(money(broken, Marks::Points), None, "{broken}");
        }
        assert_eq!(currencies("usd"), ["USD"]);
        assert!(currencies("$").contains(&"CAD".to_owned()) && currencies("%").is_empty());
    }
}
