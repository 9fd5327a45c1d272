//! Finds a product's price in text.
//!
//! Sites write prices in many ways: `1.299,00 €`, `CHF 1’299.–`, `₹1,29,900`, `89–129 zł`, an old price beside the new
//! one. The price is kept as written, with its currency; only its position has to be found.

use scraper::{ElementRef, Node};

use crate::base::text::{collapse, is_listed};

/// Longest number of a price, in characters.
const MAX_PRICE: usize = 40;
/// Longest text that is searched, in bytes.
const MAX_TEXT: usize = 400;
/// Most amounts that are compared.
const MAX_AMOUNTS: usize = 12;

/// Elements that mark an old price.
const OLD_ELEMENTS: [&str; 3] = ["del", "s", "strike"];
/// Words in class names that mark an old price.
const OLD_CLASSES: &str = "\
    compare old was regular original crossed strike strikethrough before previous prev rrp msrp uvp";
/// Words before an amount that mark an old price or a saving.
const OLD_WORDS: [&str; 15] = [
    "was",
    "regular",
    "originally",
    "original",
    "rrp",
    "msrp",
    "statt",
    "uvp",
    "vorher",
    "ehem",
    "avant",
    "prima",
    "antes",
    "tidigare",
    "før",
];
const SAVING_WORDS: [&str; 10] =
    ["save", "saved", "saving", "discount", "spare", "sparen", "rabatt", "économisez", "ahorra", "sconto"];
/// Words in class names of cents without a separator.
const MINOR_CLASSES: [&str; 5] = ["cents", "cent", "decimal", "decimals", "fraction"];

/// Returns the price in an element as written, with its currency.
pub fn price(element: ElementRef<'_>) -> Option<String> {
    let currency = currency(element);
    let machine_readable = attribute(element, "content").and_then(|content| amount(content, currency));
    // A crossed-out price counts only if there is no other.
    machine_readable.or_else(|| [false, true].iter().find_map(|with_old| amount(&text(element, *with_old), currency)))
}

/// Returns the currency in microdata of the element or its neighbours.
fn currency(element: ElementRef<'_>) -> Option<&str> {
    let near = element.parent().and_then(ElementRef::wrap).unwrap_or(element);
    let found =
        near.descendent_elements().take(50).find(|element| attribute(*element, "itemprop") == Some("priceCurrency"));
    let found = found.and_then(|element| attribute(element, "content"));
    let is_code = |text: &&str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    found.or_else(|| attribute(element, "data-currency")).filter(is_code)
}

fn attribute<'a>(element: ElementRef<'a>, name: &str) -> Option<&'a str> {
    element.value().attr(name).map(str::trim).filter(|value| !value.is_empty())
}

fn text(element: ElementRef<'_>, with_old: bool) -> String {
    let mut text = String::new();
    for node in element.descendants() {
        let Node::Text(piece) = node.value() else { continue };
        let mut above = node.ancestors().take_while(|above| above.id() != element.id());
        if !with_old && above.any(|above| is_old(above.value())) {
            continue;
        }
        let piece = piece.trim();
        let is_cents = piece.len() == 2 && piece.bytes().all(|byte| byte.is_ascii_digit());
        if is_cents && node.parent().is_some_and(|parent| is_minor(parent.value())) {
            // 89<sup>99</sup>
            text.truncate(text.trim_end().len());
            if text.ends_with(is_digit) {
                text.push('.');
            }
        }
        text.push_str(piece);
        text.push(' ');
        if text.len() > MAX_TEXT {
            break;
        }
    }
    text
}

fn is_old(node: &Node) -> bool {
    let Some(element) = node.as_element() else { return false };
    let is_struck = |text: &str| text.replace('_', "-").contains("line-through");
    OLD_ELEMENTS.contains(&element.name())
        || element.attr("style").is_some_and(is_struck)
        || element.classes().any(|class| is_struck(class) || words_of(class).any(|word| is_listed(OLD_CLASSES, &word)))
}

fn is_minor(node: &Node) -> bool {
    let Some(element) = node.as_element() else { return false };
    element.name() == "sup"
        || element.classes().any(|class| words_of(class).any(|word| MINOR_CLASSES.contains(&&*word)))
}

/// Splits a class name into words: `old-price`, `price__old`, `priceOld`.
fn words_of(class: &str) -> impl Iterator<Item = String> + '_ {
    class.split(|letter: char| !letter.is_ascii_alphanumeric()).flat_map(|part| {
        let mut words = vec![String::new()];
        for letter in part.chars() {
            if letter.is_ascii_uppercase() {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.push(letter.to_ascii_lowercase());
            }
        }
        // Text in capitals is one word.
        if words.iter().all(|word| word.len() <= 1) { vec![part.to_ascii_lowercase()] } else { words }
    })
}

/// An amount in a text.
struct Amount {
    /// Range of the number, from first to last digit.
    number: (usize, usize),
    /// Whether the number begins with its separator: `,89`.
    lacks_zero: bool,
    /// Start of the currency before, and end of the currency after the number.
    currency: (usize, usize),
    /// Whether it is an old price.
    is_old: bool,
}

impl Amount {
    fn has_currency(&self) -> bool {
        self.currency != self.number
    }

    fn shown(&self, text: &[char]) -> String {
        let (start, end) = self.number;
        let zero = if self.lacks_zero { "0" } else { "" };
        let part = |start: usize, end: usize| text[start..end].iter().collect::<String>();
        let number = format!("{zero}{}", part(start, end));
        match self.currency {
            (before, _) if before < start => format!("{}{number}", part(before, start)),
            (_, after) => {
                // The separator between number and currency, except the dash of `49,– €`.
                let currency = part(end, after);
                let currency = currency.trim_start_matches(is_dash_end);
                format!("{number}{currency}")
            }
        }
    }
}

/// Finds the price in a text: the first amount with a currency that is not an old price or saving, else a lone number.
fn amount(text: &str, currency: Option<&str>) -> Option<String> {
    let is_seen = |letter: &char| !matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}');
    let text: Vec<char> = collapse(text).chars().filter(is_seen).take(MAX_TEXT).collect();
    let amounts = amounts(&text);
    let with_currency = || amounts.iter().filter(|amount| amount.has_currency());
    let best = with_currency().find(|amount| !amount.is_old).or_else(|| with_currency().next());
    if let Some(best) = best {
        return Some(best.shown(&text));
    }
    let has_decimals = |amount: &&Amount| {
        let (start, end) = amount.number;
        end - start > 3 && matches!(text[end - 3], '.' | ',') && is_digit(text[end - 2])
    };
    let bare = || amounts.iter().filter(|amount| !amount.is_old);
    let number = bare().find(has_decimals).or_else(|| bare().next()).or_else(|| amounts.first())?.shown(&text);
    Some(currency.map_or_else(|| number.clone(), |currency| format!("{currency} {number}")))
}

/// Finds the amounts of a text in order, without percentages, savings and parts of words.
fn amounts(text: &[char]) -> Vec<Amount> {
    let mut amounts: Vec<Amount> = Vec::new();
    let (mut place, mut label_start) = (0, 0);
    while place < text.len() && amounts.len() < MAX_AMOUNTS {
        if !is_digit(text[place]) {
            place += 1;
            continue;
        }
        let end = number_end(text, place);
        let is_at = |place: usize, wanted: fn(char) -> bool| text.get(place).is_some_and(|letter| wanted(*letter));
        // In `,89` the separator belongs to the number; in `,899` the missing part is unknown.
        let begins_late = place > 0
            && matches!(text[place - 1], ',' | '.' | '٫')
            && !(place > 1 && (text[place - 2].is_alphanumeric() || matches!(text[place - 2], ',' | '.')));
        let start = if begins_late { place - 1 } else { place };
        let before = currency_before(text, start);
        let after = currency_after(text, end);
        let words: String = text[label_start.min(before)..before].iter().collect::<String>().to_lowercase();
        let says =
            |list: &[&str]| words.split(|letter: char| !letter.is_alphanumeric()).any(|word| list.contains(&word));
        let is_percentage = is_at(end, |letter| matches!(letter, '%' | '٪'))
            || is_at(end, |letter| letter == ' ') && is_at(end + 1, |letter| matches!(letter, '%' | '٪'));
        let is_part = (start > 0 && text[start - 1].is_alphanumeric() && before == start)
            || (is_at(end, char::is_alphanumeric) && after == end);
        let is_cut = begins_late && end - place != 2;
        place = end;
        if !(is_percentage || is_part || is_cut || says(&SAVING_WORDS)) && end - start <= MAX_PRICE {
            let is_old = says(&OLD_WORDS);
            amounts.push(Amount { number: (start, end), lacks_zero: begins_late, currency: (before, after), is_old });
        }
        label_start = after.max(end);
    }
    // 89–129 €: kept as a range, because the lower number does not stand next to its currency.
    for index in 1..amounts.len() {
        let (one, other) = (&amounts[index - 1], &amounts[index]);
        let between: String = text[one.number.1..other.number.0].iter().filter(|letter| **letter != ' ').collect();
        let is_range = matches!(between.as_str(), "-" | "–" | "—" | "~" | "bis" | "to" | "à");
        let stands_before = other.currency.0 < other.number.0;
        if is_range && !one.has_currency() && other.has_currency() && !stands_before {
            let (start, lacks_zero) = (one.number.0, one.lacks_zero);
            let range = &mut amounts[index];
            (range.number.0, range.currency.0, range.lacks_zero) = (start, start, lacks_zero);
        }
    }
    amounts
}

/// Whether the character is a decimal digit in a script that shops use.
fn is_digit(letter: char) -> bool {
    matches!(letter, '0'..='9' | '٠'..='٩' | '۰'..='۹' | '०'..='९' | '০'..='৯' | '๐'..='๙' | '０'..='９')
}

/// Whether the character separates digits, as thousands or decimals.
fn is_separator(letter: char) -> bool {
    matches!(letter, '.' | ',' | '\'' | '’' | '´' | '`' | 'ʼ' | '·' | '٫' | '٬' | '،' | '，' | '．')
}

/// Whether the character replaces cents: `49,-`, `49.–`, `499:-`.
fn is_dash_end(letter: char) -> bool {
    matches!(letter, ',' | '.' | ':' | '-' | '–' | '—' | '−')
}

/// Returns the end of the number at this position: digits with separators and spaces between them.
fn number_end(text: &[char], start: usize) -> usize {
    let is_digit = |place: usize| text.get(place).is_some_and(|letter| is_digit(*letter));
    let mut end = start;
    // Digits since the last space or the beginning.
    let mut run = 0;
    loop {
        let separates = text.get(end).is_some_and(|letter| is_separator(*letter)) && is_digit(end + 1);
        // 1 299 kr, 1 299 000 Ft
        let groups = text.get(end) == Some(&' ')
            && (1..=3).contains(&run)
            && (1..=3).all(|step| is_digit(end + step))
            && !is_digit(end + 4)
            && text[start..end].iter().all(|letter| !is_separator(*letter));
        if groups {
            run = 0;
        } else if is_digit(end) {
            run += 1;
        } else if !separates {
            return end;
        }
        end += 1;
    }
}

/// Whether the character is a currency sign.
fn is_sign(letter: char) -> bool {
    "$€£¥￥₹₩₽₺₴₪₫฿₱₦₸₲₡₵₾₼₨৳﷼円元원".contains(letter)
}

/// Currency names other than codes, without full stops.
const NAMES: &str = "\
    kr Kr KR zł zl Kč Ft lei Lei CHF Fr SFr Rs RM Rp TL S/ руб р грн лв ден дин din Euro euro Euros euros Eur \
    eur دإ رس جم دك رق درهم ريال جنيه تومان دينار";

/// Currency codes (ISO 4217) that shops use.
const CODES: [&str; 58] = [
    "AED", "ARS", "AUD", "BDT", "BGN", "BHD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CRC", "CZK", "DKK", "EGP",
    "EUR", "GBP", "GEL", "GHS", "HKD", "HRK", "HUF", "IDR", "ILS", "INR", "ISK", "JOD", "JPY", "KES", "KRW", "KWD",
    "KZT", "LKR", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "OMR", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RSD",
    "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "ZAR",
];
/// Longest currency name or code, with full stops.
const MAX_NAME: usize = 7;

fn is_name(word: &[char]) -> bool {
    let word: String = word.iter().filter(|letter| **letter != '.').collect();
    CODES.contains(&word.as_str()) || is_listed(NAMES, word.as_str())
}

/// Whether a character can be part of a currency name.
fn is_of_name(letter: char) -> bool {
    letter.is_alphabetic() || matches!(letter, '.' | '/')
}

/// Returns the start of the currency before a number; the number's own position if there is none.
fn currency_before(text: &[char], number: usize) -> usize {
    let blank = usize::from(number > 0 && text[number - 1] == ' ');
    let end = number - blank;
    let is_end = end > 0 && is_sign(text[end - 1]);
    let word_end = if is_end { end - 1 } else { end };
    let mut start = word_end;
    while start > 0 && is_of_name(text[start - 1]) && word_end - start < MAX_NAME {
        start -= 1;
    }
    let is_word = start < word_end && (start == 0 || !text[start - 1].is_alphanumeric());
    match (is_end, is_word) {
        // US$, A$, CA$
        (true, true) if word_end - start <= 3 && text[start..word_end].iter().all(char::is_ascii_uppercase) => start,
        (true, _) => end - 1,
        (false, true) if is_name(&text[start..word_end]) => start,
        (false, _) => number,
    }
}

/// Returns the end of the currency after a number; the number's own end if there is none.
fn currency_after(text: &[char], number: usize) -> usize {
    let is_dash = |place: usize| text.get(place).is_some_and(|letter| matches!(letter, '-' | '–' | '—' | '−'));
    let dashes = match text.get(number) {
        Some(',' | '.' | ':') if is_dash(number + 1) => 2 + usize::from(is_dash(number + 2)),
        _ => 0,
    };
    let start = number + dashes;
    let start = start + usize::from(text.get(start) == Some(&' '));
    if text.get(start).is_some_and(|letter| is_sign(*letter)) {
        return start + 1;
    }
    let rest = &text[start.min(text.len())..];
    let word = rest.iter().take(MAX_NAME + 1).take_while(|letter| is_of_name(**letter)).count();
    let word = word - rest[..word].iter().rev().take_while(|letter| matches!(**letter, '.' | '/')).count();
    if word > 0 && is_name(&rest[..word]) { start + word } else { number }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scraper::{Html, Selector};

    use super::*;

    fn of(html: &str) -> Option<String> {
        let html = Html::parse_fragment(&format!("<div><p>{html}</p></div>"));
        price(html.select(&Selector::parse("p").unwrap()).next().unwrap())
    }

    #[test]
    fn a_price_keeps_its_currency() {
        for (html, expected) in [
            ("€89.00", "€89.00"),
            (" \n 89,00&nbsp;€ ", "89,00 €"),
            ("From US$1,299.00 incl. tax", "US$1,299.00"),
            ("1 299 kr", "1 299 kr"),
            ("CHF 79.-", "CHF 79"),
            ("Size 40 · £ 120", "£ 120"),
            ("120 EUR", "120 EUR"),
            ("1.234,56 zł", "1.234,56 zł"),
            ("₹ 2,499", "₹ 2,499"),
            ("<del>€120</del> <ins>€89</ins>", "€89"),
            ("<span class='price--compare-at'>$120</span><span>$89</span>", "$89"),
            ("<s>€120</s> sold out", "€120"),
            ("<meta itemprop=priceCurrency content=EUR>89.00", "EUR 89.00"),
            ("49", "49"),
            ("1.299,00 €", "1.299,00 €"),
            ("1\u{202f}299,00\u{a0}€", "1 299,00 €"),
            ("1\u{2009}299\u{2009}000 Ft", "1 299 000 Ft"),
            ("CHF 1’299.–", "CHF 1’299"),
            ("1'299.- CHF", "1'299 CHF"),
            ("49,- €", "49 €"),
            ("49,-- €", "49 €"),
            ("0,- kr", "0 kr"),
            ("499:- kr", "499 kr"),
            ("¥12,800", "¥12,800"),
            ("12,800円税込", "12,800円"),
            ("₹1,29,900.00/-", "₹1,29,900.00"),
            ("Rs. 2,499", "Rs. 2,499"),
            ("R$ 49,90", "R$ 49,90"),
            ("S/ 149.90", "S/ 149.90"),
            ("2 990 руб.", "2 990 руб"),
            ("1.299,90 TL", "1.299,90 TL"),
            ("£3·50", "£3·50"),
            ("١٬٢٩٩٫٠٠ ر.س", "١٬٢٩٩٫٠٠ ر.س"),
            ("\u{200f}۱۲۹۰ تومان", "۱۲۹۰ تومان"),
            ("￥１２，８００", "￥１２，８００"),
            (",89 €", "0,89 €"),
            ("€.89", "€0.89"),
            ("89–129 €", "89–129 €"),
            ("€89 – €129", "€89"),
            ("ab 49,95 EUR*", "49,95 EUR"),
            ("2 for 49.90", "49.90"),
            ("NEW 49", "49"),
            ("-30 % €62.30", "€62.30"),
            ("Was £120 Now £89", "£89"),
            ("Regular price $120 Sale price $89", "$89"),
            ("statt 120,00 € jetzt 89,00 €", "89,00 €"),
            ("Save £31 · £89", "£89"),
            ("<span class=priceOld>€120</span> €89", "€89"),
            ("<span style='text-decoration: line-through'>€120</span> €89", "€89"),
            ("<span class='line-through'>€120</span> €89", "€89"),
            ("€ 89<sup>99</sup>", "€ 89.99"),
            ("<span class=a-price-whole>89.</span><span class=a-price-fraction>99</span> €", "89.99 €"),
        ] {
            assert_eq!(of(html).as_deref(), Some(expected), "{html}");
        }
        for html in ["", "Sold out", "-20%", "30 % off", "Code SAVE20", "Save £20", ",899 €", "Size 2XL"] {
            assert_eq!(of(html), None, "{html}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\PC0-9€$ .,]{0,80}", currency in proptest::option::of("[A-Z]{3}")) {
            if let Some(price) = amount(&text, currency.as_deref()) {
                prop_assert!(price.chars().count() <= 2 * MAX_PRICE);
                prop_assert!(price.chars().any(is_digit));
            }
        }
    }
}
