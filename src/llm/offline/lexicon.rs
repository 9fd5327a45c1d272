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

/// How consent begins.
const AFFIRMATIVES: &[&str] = &[
    "yes",
    "yeah",
    "yep",
    "yup",
    "sure",
    "ok",
    "okay",
    "please",
    "go ahead",
    "go for it",
    "sounds good",
    "sounds great",
    "do it",
    "do that",
    "lets do it",
    "lets do that",
    "of course",
    "absolutely",
    "definitely",
    "why not",
    "great idea",
    "good idea",
    "that would be great",
    "that would be nice",
    "id love that",
    "perfect",
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

/// What follows the consent with which a text begins; none if it does not begin with one.
pub fn after_consent(text: &str) -> Option<String> {
    let words = vocabulary::words(text).join(" ");
    let mut rest = words.as_str();
    let mut consents = false;
    while let Some((phrase, shorter)) =
        AFFIRMATIVES.iter().find_map(|phrase| Some((phrase, strip_phrase(rest, phrase)?)))
    {
        rest = shorter;
        // "Please" alone consents, "please show me …" asks for something else.
        consents |= *phrase != "please" || rest.is_empty();
    }
    consents.then(|| rest.to_owned())
}

fn strip_phrase<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(phrase)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix(' ') }
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
    fn consent_is_recognised_and_leaves_the_refinement() {
        assert_eq!(after_consent("Yes please!"), Some(String::new()));
        assert_eq!(after_consent("Ok, but in black"), Some("but in black".into()));
        assert_eq!(after_consent("Sounds good, go ahead"), Some(String::new()));
        assert_eq!(after_consent("Yesterday I wore it"), None);
        assert_eq!(after_consent("No thanks"), None);
        assert_eq!(after_consent("Please"), Some(String::new()));
        assert_eq!(after_consent("Please show me my shoes"), None);
    }

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
