//! Plain, short text and URLs from feeds and pages.

use quick_xml::escape::{resolve_html5_entity, resolve_predefined_entity};
use url::Url;

/// Longest URL that is kept, in bytes.
pub const LONGEST_URL: usize = 1000;
/// Longest character reference, in bytes; the longest that exists has 32.
const LONGEST_REFERENCE: usize = 40;
/// Elements within a word or line; all others separate words.
const INLINE: [&str; 14] =
    ["a", "abbr", "b", "big", "em", "font", "i", "mark", "small", "span", "strong", "sub", "sup", "u"];
/// Elements whose content is not text.
const HIDDEN: [&str; 4] = ["script", "style", "template", "noscript"];

/// Returns the first `most` characters of the text in HTML-like `markup`: without tags, comments and scripts, with
/// references resolved and whitespace collapsed.
///
/// Works in one pass without building a tree, whose cost can be quadratic for hostile markup.
pub fn plain(markup: &str, most: usize) -> String {
    let mut text = Text { out: String::new(), left: most, is_space_due: false };
    let mut rest = markup;
    while text.left > 0
        && let Some(character) = rest.chars().next()
    {
        rest = match character {
            '<' => match tag(rest) {
                Some((name, after)) => {
                    if !INLINE.iter().any(|inline| name.eq_ignore_ascii_case(inline)) {
                        text.space();
                    }
                    match HIDDEN.iter().find(|hidden| name.eq_ignore_ascii_case(hidden)) {
                        Some(hidden) => after_end_of(hidden, after),
                        None => after,
                    }
                }
                None => text.push_first(rest),
            },
            '&' => match reference(rest) {
                Some((resolved, after)) => {
                    resolved.chars().for_each(|character| text.push(character));
                    after
                }
                None => text.push_first(rest),
            },
            _ => text.push_first(rest),
        };
    }
    text.out
}

/// Text being built.
struct Text {
    out: String,
    /// Characters that still fit.
    left: usize,
    is_space_due: bool,
}

impl Text {
    fn space(&mut self) {
        self.is_space_due = !self.out.is_empty();
    }

    fn push(&mut self, character: char) {
        if character.is_whitespace() || character.is_control() {
            return self.space();
        }
        let takes = 1 + usize::from(std::mem::take(&mut self.is_space_due));
        if takes > self.left {
            self.left = 0;
            return;
        }
        if takes > 1 {
            self.out.push(' ');
        }
        self.out.push(character);
        self.left -= takes;
    }

    /// Appends the first character of `rest` and returns the rest.
    fn push_first<'a>(&mut self, rest: &'a str) -> &'a str {
        let mut characters = rest.chars();
        if let Some(character) = characters.next() {
            self.push(character);
        }
        characters.as_str()
    }
}

/// Parses the tag, comment or declaration at the start of `rest`; returns its name and what follows. `None` if the `<`
/// is just a character. An unterminated one extends to the end of the text.
fn tag(rest: &str) -> Option<(&str, &str)> {
    if let Some(comment) = rest.strip_prefix("<!--") {
        return Some(("", comment.split_once("-->").map_or("", |(_, after)| after)));
    }
    if let Some(section) = rest.strip_prefix("<![CDATA[") {
        // Its end then looks like text, which is rare and harmless.
        return Some(("span", section));
    }
    let inside = &rest[1..];
    let name = inside.strip_prefix('/').unwrap_or(inside);
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '!' | '?')) {
        return None;
    }
    let name = name.split(|character: char| !character.is_ascii_alphanumeric()).next().unwrap_or_default();
    let mut quote = None;
    let mut before = ' ';
    for (place, character) in inside.char_indices() {
        match (quote, character) {
            (None, '>') => return Some((name, &inside[place + 1..])),
            (None, '"' | '\'') if before == '=' => quote = Some(character),
            (Some(open), character) if open == character => quote = None,
            _ => {}
        }
        before = character;
    }
    Some((name, ""))
}

/// Returns what follows the end tag of `element`.
fn after_end_of<'a>(element: &str, mut rest: &'a str) -> &'a str {
    while let Some((_, after)) = rest.split_once("</") {
        if after.get(..element.len()).is_some_and(|name| name.eq_ignore_ascii_case(element)) {
            return after.split_once('>').map_or("", |(_, after)| after);
        }
        rest = after;
    }
    ""
}

/// Parses the character reference at the start of `rest`; returns the text and what follows.
fn reference(rest: &str) -> Option<(String, &str)> {
    let end = rest.bytes().take(LONGEST_REFERENCE).position(|byte| byte == b';')?;
    let (name, after) = (rest.get(1..end)?, &rest[end + 1..]);
    let resolved = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?.to_string()
        }
        None => resolve_predefined_entity(name).or_else(|| resolve_html5_entity(name))?.to_owned(),
    };
    Some((resolved, after))
}

/// Normalises an article's URL: without fragment and tracking parameters. `None` if it is not a web URL, or too long.
pub fn article_url(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() > LONGEST_URL {
        return None;
    }
    let mut url = Url::parse(text).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_fragment(None);
    if url.query_pairs().any(|(name, _)| is_campaign(&name)) {
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| !is_campaign(name))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
    }
    // Parsing may have made it longer by escaping non-ASCII characters.
    (url.as_str().len() <= LONGEST_URL).then(|| url.into())
}

fn is_campaign(name: &str) -> bool {
    name.starts_with("utm_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_plain_text() {
        for (markup, text) in [
            ("Quiet luxury", "Quiet luxury"),
            ("<p>Wide&nbsp;legs,\n\n <b>bo</b>ld</p><p>colours</p>", "Wide legs, bold colours"),
            ("Fish &amp; chips &#8212; &#x27;90s &eacute;tude", "Fish & chips — '90s étude"),
            ("R&B, AT&T; 5 < 6 and 7 > 6 <3", "R&B, AT&T; 5 < 6 and 7 > 6 <3"),
            ("<img alt=\"a > b\" src='x'>Coats", "Coats"),
            ("<script>if (a < b) { x(\"</p>\") }</SCRIPT >Coats<!-- no <b> --> here", "Coats here"),
            ("Coats<style>p { color: red", "Coats"),
            ("Coats <unfinished", "Coats"),
            ("<br/>  \u{7}\u{1b}[31m Coats", "[31m Coats"),
            ("<![CDATA[Coats", "Coats"),
            ("&#xD800;&#99999999999;&nosuch;", "&#xD800;&#99999999999;&nosuch;"),
            ("", ""),
        ] {
            assert_eq!(plain(markup, 100), text, "{markup}");
        }
    }

    #[test]
    fn text_is_cut_by_characters() {
        assert_eq!(plain("äöü ßé", 4), "äöü");
        assert_eq!(plain("äöü ßé", 5), "äöü ß");
        assert_eq!(plain("a&hellip;b", 2), "a…");
        assert_eq!(plain(&"<b>x</b> ".repeat(100_000), 400).chars().count(), 399);
    }

    #[test]
    fn an_address_has_one_form() {
        for (address, kept) in [
            ("https://A.example/x?utm_source=rss&utm_medium=feed#top", Some("https://a.example/x")),
            (" https://a.example/x?id=1&utm_source=rss ", Some("https://a.example/x?id=1")),
            ("http://a.example", Some("http://a.example/")),
            ("javascript:alert(1)", None),
            ("https://user:password@a.example/", None),
            ("/relative", None),
            ("", None),
        ] {
            assert_eq!(article_url(address).as_deref(), kept, "{address}");
        }
        assert_eq!(article_url(&format!("https://a.example/{}", "é".repeat(300))), None);
    }
}
