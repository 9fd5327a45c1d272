//! Preparing external text for display, storage or forwarding: truncating, joining lines, escaping Markdown.

/// The first `most` characters.
pub fn head(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// Returns the text with its first letter capitalised.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Returns a count in words, such as "once" or "3 times".
pub fn times(count: u32) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

/// Returns the words of a text on one line, separated by single spaces.
pub fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the text on one line, without control characters, truncated to `most` characters with an ellipsis.
pub fn cut(text: &str, most: usize) -> String {
    let mut short = String::new();
    let mut length = 0;
    for word in text.split(|character: char| character.is_whitespace() || character.is_control()) {
        if word.is_empty() {
            continue;
        }
        for character in (length > 0).then_some(' ').into_iter().chain(word.chars()) {
            length += 1;
            if length > most {
                short.pop();
                short.push('\u{2026}');
                return short;
            }
            short.push(character);
        }
    }
    short
}

/// Returns the first `most` non-empty texts, each truncated by [`cut`] to `longest` characters.
pub fn cut_each<T: AsRef<str>>(texts: impl IntoIterator<Item = T>, longest: usize, most: usize) -> Vec<String> {
    let short = texts.into_iter().map(|text| cut(text.as_ref(), longest));
    short.filter(|text| !text.is_empty()).take(most).collect()
}

/// Whether a space-separated list contains this word.
pub fn is_listed(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// Returns the text with Markdown's special characters escaped by a backslash.
pub fn escape_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '!') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Splits a text into sentences and lines, with their final punctuation.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((place, character)) = characters.next() {
        let ends_word = characters.peek().is_none_or(|(_, next)| next.is_whitespace());
        if character == '\n' || (matches!(character, '.' | '!' | '?' | ';') && ends_word) {
            let end = place + character.len_utf8();
            sentences.push(text[start..end].trim());
            start = end;
        }
    }
    sentences.push(text[start..].trim());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_one_line_with_an_ellipsis() {
        for (text, most, short) in [
            ("plain", 5, "plain"),
            ("plainer", 5, "plai\u{2026}"),
            (" two\n\twords\u{7} ", 9, "two words"),
            ("ä€𝄞x", 3, "ä€\u{2026}"),
            ("", 3, ""),
        ] {
            assert_eq!(cut(text, most), short, "{text:?}");
        }
        let texts = ["a b", "", "\n", "long one", "c"].map(str::to_owned);
        assert_eq!(cut_each(&texts, 4, 2), ["a b", "lon\u{2026}"]);
        assert_eq!((head("ä€𝄞", 2), collapse(" a\n b ")), ("ä€".to_owned(), "a b".to_owned()));
    }

    #[test]
    fn an_escaped_text_has_no_meaning_in_markdown() {
        assert_eq!(escape_markdown("# [a](b) ~c~ &lt; 1*2"), r"\# \[a\](b) \~c\~ \&lt; 1\*2");
    }
}
