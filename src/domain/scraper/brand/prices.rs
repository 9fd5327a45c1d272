//! What a product costs, out of the text beside it.

use scraper::{ElementRef, Node};

/// Longest text of a price, in characters, with its currency.
const MAX_PRICE: usize = 40;
/// Most text that is looked through, in bytes.
const MAX_TEXT: usize = 400;

/// Elements, and words in classes, that mark what a product cost before.
const OLD_ELEMENTS: [&str; 3] = ["del", "s", "strike"];
const OLD_CLASSES: [&str; 8] = ["compare", "old", "was", "regular", "original", "crossed", "strike", "before"];

/// The price in an element, as the site writes it, with its currency.
pub fn price(element: ElementRef<'_>) -> Option<String> {
    let currency = currency(element);
    if let Some(content) = attribute(element, "content") {
        return amount(content, currency);
    }
    // A price that is crossed out counts only if there is no other.
    [false, true].iter().find_map(|with_old| amount(&text(element, *with_old), currency))
}

/// The currency as microdata has it, in the element or beside it.
fn currency(element: ElementRef<'_>) -> Option<&str> {
    let near = element.parent().and_then(ElementRef::wrap).unwrap_or(element);
    let found =
        near.descendent_elements().take(50).find(|element| attribute(*element, "itemprop") == Some("priceCurrency"));
    let found = found.and_then(|element| attribute(element, "content"));
    found.or_else(|| attribute(element, "data-currency")).filter(|code| is_code(code))
}

fn attribute<'a>(element: ElementRef<'a>, name: &str) -> Option<&'a str> {
    element.value().attr(name).map(str::trim).filter(|value| !value.is_empty())
}

fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn text(element: ElementRef<'_>, with_old: bool) -> String {
    let mut text = String::new();
    for node in element.descendants() {
        let Node::Text(piece) = node.value() else { continue };
        let is_old =
            || node.ancestors().take_while(|above| above.id() != element.id()).any(|above| is_old(above.value()));
        if with_old || !is_old() {
            text.push_str(piece);
            text.push(' ');
        }
        if text.len() > MAX_TEXT {
            break;
        }
    }
    text
}

fn is_old(node: &Node) -> bool {
    let Some(element) = node.as_element() else { return false };
    let is_old_word = |word: &str| OLD_CLASSES.iter().any(|old| word.eq_ignore_ascii_case(old));
    OLD_ELEMENTS.contains(&element.name()) || element.classes().any(|class| class.split(['-', '_']).any(is_old_word))
}

/// The first amount in a text: a number with its currency before or after it, else a number alone.
fn amount(text: &str, currency: Option<&str>) -> Option<String> {
    let text: Vec<char> = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_TEXT).collect();
    let mut first = None;
    let mut place = 0;
    while place < text.len() {
        if !text[place].is_ascii_digit() {
            place += 1;
            continue;
        }
        let end = number_end(&text, place);
        let (before, after) = (currency_before(&text, place), currency_after(&text, end));
        let is_part = place > 0 && text[place - 1].is_alphanumeric() && before == place;
        if (before, after) != (place, end) && end - place <= MAX_PRICE {
            let range = if before < place { before..end } else { before..after };
            return Some(text[range].iter().collect());
        }
        if !is_part && text.get(end) != Some(&'%') {
            first = first.or(Some((place, end)));
        }
        place = end;
    }
    let (place, end) = first.filter(|(place, end)| end - place <= MAX_PRICE)?;
    let number: String = text[place..end].iter().collect();
    Some(currency.map_or_else(|| number.clone(), |currency| format!("{currency} {number}")))
}

/// Where the number that begins here ends: digits, with separators and blanks between them.
fn number_end(text: &[char], start: usize) -> usize {
    let is_digit = |place: usize| text.get(place).is_some_and(char::is_ascii_digit);
    let mut end = start;
    loop {
        let separates = matches!(text.get(end), Some('.' | ',' | '\'' | '’')) && is_digit(end + 1);
        // 1 299 kr
        let groups = text.get(end) == Some(&' ')
            && end - start <= 3
            && (1..=3).all(|step| is_digit(end + step))
            && !is_digit(end + 4);
        if !is_digit(end) && !separates && !groups {
            return end;
        }
        end += 1;
    }
}

/// Signs of currencies, and short names of some that have none.
fn is_sign(letter: char) -> bool {
    matches!(letter, '$' | '€' | '£' | '¥' | '₹' | '₩' | '₽' | '₺' | '₴' | '₪' | '₫' | '฿' | '₱' | '₦' | '￥')
}

const NAMES: [&str; 8] = ["kr", "Kr", "zł", "Kč", "Ft", "lei", "CHF", "Rs"];

fn is_name(word: &[char]) -> bool {
    let word: String = word.iter().filter(|letter| **letter != '.').collect();
    is_code(&word) || NAMES.contains(&word.as_str())
}

/// Where the currency before a number begins; the number's own place if there is none.
fn currency_before(text: &[char], number: usize) -> usize {
    let blank = usize::from(number > 0 && text[number - 1] == ' ');
    let end = number - blank;
    let is_end = end > 0 && is_sign(text[end - 1]);
    let word_end = if is_end { end - 1 } else { end };
    let mut start = word_end;
    while start > 0 && (text[start - 1].is_alphabetic() || text[start - 1] == '.') && word_end - start < 4 {
        start -= 1;
    }
    let is_word = start < word_end && (start == 0 || !text[start - 1].is_alphanumeric());
    match (is_end, is_word) {
        // US$, A$, CA$
        (true, true) if text[start..word_end].iter().all(char::is_ascii_uppercase) => start,
        (true, _) => end - 1,
        (false, true) if is_name(&text[start..word_end]) => start,
        (false, _) => number,
    }
}

/// Where the currency after a number ends; the number's own end if there is none.
fn currency_after(text: &[char], number: usize) -> usize {
    let start = number + usize::from(text.get(number) == Some(&' '));
    if text.get(start).is_some_and(|letter| is_sign(*letter)) {
        return start + 1;
    }
    let word = text[start.min(text.len())..].iter().take(5).take_while(|letter| letter.is_alphabetic()).count();
    if word > 0 && is_name(&text[start..start + word]) { start + word } else { number }
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
        ] {
            assert_eq!(of(html).as_deref(), Some(expected), "{html}");
        }
        for html in ["", "Sold out", "-20%", "Code SAVE20"] {
            assert_eq!(of(html), None, "{html}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\PC0-9€$ .,]{0,80}", currency in proptest::option::of("[A-Z]{3}")) {
            if let Some(price) = amount(&text, currency.as_deref()) {
                prop_assert!(price.chars().count() <= 2 * MAX_PRICE);
                prop_assert!(price.chars().any(|letter| letter.is_ascii_digit()));
            }
        }
    }
}
