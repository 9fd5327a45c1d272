//! Tags of items, derived from the subreddit, flair and title.

/// Tags of subreddits.
const SUBREDDITS: [(&str, &[&str]); 12] = [
    ("streetwear", &["streetwear", "urban", "casual"]),
    ("malefashionadvice", &["classic", "smart-casual", "everyday"]),
    ("femalefashionadvice", &["classic", "smart-casual", "everyday"]),
    ("rawdenim", &["denim", "workwear", "casual"]),
    ("goodyearwelt", &["classic", "heritage", "footwear"]),
    ("weddingplanning", &["formal", "romantic", "occasion"]),
    ("thriftstore", &["thrift", "vintage", "casual"]),
    ("qualityreps", &["reps", "streetwear", "sneakers"]),
    ("fashionreps", &["reps", "streetwear", "urban"]),
    ("minimalism", &["minimalist", "clean", "neutral"]),
    ("sneakers", &["sneakers", "streetwear", "footwear"]),
    ("classicmenswear", &["classic", "tailored", "formal"]),
];

/// Keywords of titles, and their tags.
const KEYWORDS: [(&str, &str); 18] = [
    ("vintage", "vintage"),
    ("thrift", "thrift"),
    ("grail", "grail"),
    ("minimal", "minimalist"),
    ("oversized", "oversized"),
    ("tailored", "tailored"),
    ("denim", "denim"),
    ("leather", "leather"),
    ("linen", "linen"),
    ("streetwear", "streetwear"),
    ("prep", "preppy"),
    ("workwear", "workwear"),
    ("casual", "casual"),
    ("formal", "formal"),
    ("athletic", "sporty"),
    ("sneaker", "sneakers"),
    ("boot", "boots"),
    ("loafer", "loafers"),
];

/// Endings that a keyword may have. Substrings would match "bootcut" and "informal"; whole words only would miss
/// "thrifted" and "loafers".
const ENDINGS: [&str; 13] = ["", "s", "ed", "er", "ers", "ing", "ism", "ist", "ly", "py", "wear", "head", "heads"];

/// Most words taken from a flair, and the longest word in characters.
const MAX_FLAIR_WORDS: usize = 8;
const MAX_FLAIR_WORD: usize = 30;

/// Returns the tags of a subreddit, in any case.
pub fn of_subreddit(name: &str) -> &'static [&'static str] {
    SUBREDDITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or(&[], |(_, tags)| tags)
}

/// Returns the words of a flair, in lower case.
pub fn of_flair(flair: &str) -> impl Iterator<Item = String> + '_ {
    let words = flair.split(|letter: char| !(letter.is_alphanumeric() || letter == '-'));
    words
        .map(|word| word.trim_matches('-').to_lowercase())
        .filter(|word| (2..=MAX_FLAIR_WORD).contains(&word.chars().count()))
        .take(MAX_FLAIR_WORDS)
}

/// Returns the tags of a title's keywords.
pub fn of_title(title: &str) -> impl Iterator<Item = &'static str> {
    let title = title.to_lowercase();
    let words: Vec<&str> = title.split(|letter: char| !letter.is_alphanumeric()).collect();
    let said = |keyword: &str| {
        words.iter().any(|word| word.strip_prefix(keyword).is_some_and(|ending| ENDINGS.contains(&ending)))
    };
    KEYWORDS.map(|(keyword, tag)| said(keyword).then_some(tag)).into_iter().flatten()
}

/// Adds a tag unless it exists.
pub fn add(tags: &mut Vec<String>, tag: impl Into<String>) {
    let tag = tag.into();
    if !tags.contains(&tag) {
        tags.push(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subreddit_has_tags_however_it_is_written() {
        assert_eq!(of_subreddit("RawDenim"), ["denim", "workwear", "casual"]);
        assert_eq!(of_subreddit("aww"), [""; 0]);
    }

    #[test]
    fn a_flair_gives_its_words() {
        assert_eq!(of_flair("[W2C] Outfit-Inspo / a :fire:").collect::<Vec<_>>(), ["w2c", "outfit-inspo", "fire"]);
        assert_eq!(of_flair(&"word ".repeat(50)).count(), MAX_FLAIR_WORDS);
        assert_eq!(of_flair(&"w".repeat(50)).count(), 0);
    }

    #[test]
    fn a_title_gives_the_tags_of_its_keywords() {
        for (title, expected) in [
            ("Vintage leather boots, a GRAIL", &["vintage", "grail", "leather", "boots"][..]),
            ("Minimal prep", &["minimalist", "preppy"]),
            ("Minimalist, preppy, thrifted sneakers", &["thrift", "minimalist", "preppy", "sneakers"]),
            ("athletic loafer", &["sporty", "loafers"]),
            ("Informal bootcut jeans, how to prepare them", &[]),
            ("", &[]),
        ] {
            assert_eq!(of_title(title).collect::<Vec<_>>(), expected, "{title}");
        }
    }
}
