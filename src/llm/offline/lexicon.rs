//! The offline model's few words of English: occasions and what they call for, consent, and sentences.

use crate::model::vocabulary::{self, Category};

/// Occasions, seasons and styles, each with words that fitting clothes may be tagged with. Our own choice, kept modest.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("athletic", &["activewear", "sport"]),
    ("autumn", &["layering", "knitwear", "wool"]),
    ("beach", &["summer", "linen", "swimwear"]),
    ("brunch", &["casual", "weekend", "smart casual"]),
    ("business", &["work", "office", "tailored"]),
    ("casual", &["everyday", "relaxed", "weekend"]),
    ("cocktail", &["evening", "elegant", "formal"]),
    ("cold", &["winter", "warm", "wool", "knitwear"]),
    ("concert", &["casual", "streetwear", "night out"]),
    ("date", &["date night", "dinner", "evening", "smart casual"]),
    ("dinner", &["evening", "date night", "smart casual"]),
    ("evening", &["dinner", "night out", "elegant"]),
    ("fall", &["autumn", "layering", "knitwear"]),
    ("festival", &["summer", "streetwear", "bohemian"]),
    ("formal", &["tailored", "elegant", "occasion"]),
    ("gym", &["activewear", "sport", "training", "athletic"]),
    ("hike", &["outdoor", "activewear"]),
    ("holiday", &["travel", "casual", "comfortable"]),
    ("interview", &["formal", "business", "work", "tailored"]),
    ("layer", &["outerwear", "layering", "cardigan", "jacket"]),
    ("meeting", &["business", "work", "office", "smart casual"]),
    ("office", &["work", "business", "smart casual"]),
    ("party", &["evening", "night out", "going out"]),
    ("rain", &["waterproof", "rainwear", "raincoat"]),
    ("run", &["activewear", "sport", "running"]),
    ("smart", &["smart casual", "tailored"]),
    ("spring", &["light", "layering"]),
    ("summer", &["linen", "light", "cotton"]),
    ("travel", &["casual", "comfortable"]),
    ("trip", &["travel", "casual", "comfortable"]),
    ("vacation", &["travel", "summer", "casual"]),
    ("wedding", &["formal", "occasion", "elegant"]),
    ("weekend", &["casual", "everyday", "relaxed"]),
    ("winter", &["warm", "wool", "knitwear"]),
    ("work", &["office", "business", "smart casual"]),
    ("workout", &["activewear", "sport", "training", "athletic"]),
];

/// Further words that say what clothes are like.
const STYLES: &str = "boho bohemian classic comfortable comfy cosy cozy edgy elegant everyday linen leather minimalist \
maximalist preppy relaxed romantic silk sporty streetwear suede tailored vintage warm wool cotton denim athleisure techwear";

/// Phrases whose words would mislead one by one, and the word that says the same.
const PHRASES: &[(&str, &str)] = &[
    ("black tie", "formal"),
    ("black-tie", "formal"),
    ("white tie", "formal"),
    ("night out", "party"),
    ("going out", "party"),
    ("work out", "workout"),
    ("warmer", "winter"),
    ("cooler", "summer"),
    ("dressier", "formal"),
];

/// Words that an occasion, season or style (in lower case, plural folded) calls for; none if it is no such word.
pub fn synonyms(word: &str) -> &'static [&'static str] {
    SYNONYMS.iter().find(|(known, _)| *known == stem(word)).map_or(&[], |(_, synonyms)| synonyms)
}

/// Whether the word (in lower case) names an occasion, a season or a weather.
pub fn is_occasion(word: &str) -> bool {
    !synonyms(word).is_empty()
}

/// Whether the word (in lower case) says what clothes are, look or are for.
pub fn is_telling(word: &str) -> bool {
    let folded = vocabulary::fold_plural(word);
    // "Short" alone is a length; the garment is always "shorts".
    let is_garment = word != "short" && Category::of_garment(&folded).is_some();
    is_garment
        || is_occasion(word)
        || vocabulary::colour(word).is_some()
        || STYLES.split_whitespace().any(|style| style == word)
}

fn stem(word: &str) -> &str {
    match word {
        "rainy" | "raining" | "wet" => "rain",
        "running" | "jog" | "jogging" => "run",
        "hiking" => "hike",
        "dating" => "date",
        "chilly" | "freezing" | "snow" | "snowy" => "cold",
        "hot" | "heat" => "summer",
        "layers" | "layering" => "layer",
        "trips" | "travelling" | "traveling" => "trip",
        "parties" => "party",
        other => other,
    }
}

/// The text, in lower case, with misleading phrases in one word.
pub fn plain(text: &str) -> String {
    PHRASES.iter().fold(text.to_lowercase(), |text, (phrase, word)| text.replace(phrase, word))
}

/// The last sentence that offers something; none if the text offers nothing.
pub fn offer(text: &str) -> Option<&str> {
    let offers = |sentence: &&str| {
        let lower = sentence.to_lowercase();
        let phrases = ["want me to", "shall i", "i can ", "should i", "would you like"];
        sentence.ends_with('?') || phrases.iter().any(|phrase| lower.contains(phrase))
    };
    sentences(text).into_iter().rfind(offers)
}

/// The sentences and lines of a text, with the marks that end them.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((place, character)) = characters.next() {
        let ends_word = characters.peek().is_none_or(|(_, next)| next.is_whitespace());
        if character == '\n' || (matches!(character, '.' | '!' | '?') && ends_word) {
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
    fn the_last_offer_counts() {
        let text = "Is it warm? Then wear the v1.5 coat. Want me to check for gaps?";
        assert_eq!(offer(text), Some("Want me to check for gaps?"));
        assert_eq!(offer("Wear the coat."), None);
    }

    #[test]
    fn occasions_call_for_words() {
        assert!(synonyms("dinner").contains(&"smart casual"));
        assert!(synonyms("rainy").contains(&"waterproof"));
        assert!(synonyms("banana").is_empty());
        assert!(is_telling("chinos") && is_telling("navy") && !is_telling("short") && !is_telling("should"));
    }
}
