//! What the user wants, by the words they use, and which tools answer it.

use serde_json::{Value, json};

use super::lexicon;
use crate::model::vocabulary::{self, Category};

/// Something that a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Clothes to wear together.
    Outfit,
    /// Owned items of some kind.
    Search,
    /// The wardrobe in numbers.
    Summary,
    /// The weather, or advice that depends on it.
    Weather,
    /// What is missing.
    Gaps,
    /// What is in fashion.
    Trends,
    /// Habits.
    Wear,
    /// Things to buy.
    Shop,
    /// The user's own data.
    Profile,
}

const WEAR: &[&str] = &[
    "most worn",
    "least worn",
    "never worn",
    "wear most",
    "wear the most",
    "wear least",
    "wear the least",
    "never wear",
    "wear pattern",
    "wear patterns",
    "wearing patterns",
    "wear habits",
    "wearing habits",
    "wear often",
    "wear history",
    "cost per wear",
    "havent worn",
    "have not worn",
    "not worn",
    "unworn",
    "neglected",
    "rarely wear",
    "hardly wear",
];
const TRENDS: &[&str] =
    &["trend", "trends", "trending", "trendy", "mood", "moods", "in fashion", "fashionable", "in style"];
const WEATHER: &[&str] = &[
    "weather",
    "rain",
    "rainy",
    "raining",
    "cold",
    "hot",
    "chilly",
    "freezing",
    "snow",
    "windy",
    "forecast",
    "temperature",
    "today",
    "tomorrow",
    "trip",
    "umbrella",
];
const GAPS: &[&str] = &[
    "gap",
    "gaps",
    "missing",
    "lack",
    "lacking",
    "basics",
    "essentials",
    "need to buy",
    "should i buy",
    "need to get",
    "what do i need",
];
const SHOP: &[&str] = &["find", "shop", "shopping", "discover", "buy", "where to buy", "for sale", "online"];
const OWNED: &[&str] = &["my wardrobe", "my closet", "your wardrobe", "do i have", "do i own", "i own", "i have"];
const SUMMARY: &[&str] = &[
    "what do i own",
    "what do i have",
    "summary",
    "summarise",
    "summarize",
    "overview",
    "how many",
    "inventory",
    "whats in my wardrobe",
    "what is in my wardrobe",
    "whats in my closet",
    "what is in my closet",
];
const PROFILE: &[&str] = &["profile", "size", "sizes", "my preferences", "know about me", "my style", "my height"];
const OUTFIT: &[&str] = &[
    "wear",
    "wearing",
    "outfit",
    "outfits",
    "dress for",
    "dress up",
    "dress me",
    "i dress",
    "to dress",
    "style me",
    "put together",
    "go with",
    "goes with",
    "pair with",
    "match with",
    "pack",
];
const SEARCH: &[&str] = &["search", "wardrobe", "closet", "do i have", "do i own", "show me", "which"];
const SHOP_WORDS: &str = "find shop shopping discover buy online sale new similar store search";

/// What a message asks for, in the order in which it is answered. Empty for small talk.
pub fn detect(text: &str) -> Vec<Intent> {
    let words = vocabulary::words(text);
    let padded = format!(" {} ", words.join(" "));
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| padded.contains(&format!(" {phrase} ")));

    let wear = says(WEAR);
    let gaps = says(GAPS);
    let summary = says(SUMMARY);
    let shop = says(SHOP) && !gaps && !says(OWNED);
    let mut intents = Vec::new();
    let mut add = |holds: bool, intent| {
        if holds {
            intents.push(intent);
        }
    };
    add(!wear && !shop && says(OUTFIT), Intent::Outfit);
    add(says(WEATHER), Intent::Weather);
    add(summary, Intent::Summary);
    add(gaps, Intent::Gaps);
    add(wear, Intent::Wear);
    add(says(TRENDS), Intent::Trends);
    add(shop, Intent::Shop);
    add(says(PROFILE), Intent::Profile);
    if intents.iter().all(|intent| *intent == Intent::Weather) {
        let occasion = words.iter().any(|word| lexicon::is_occasion(word) && !WEATHER.contains(&word.as_str()));
        let search = says(SEARCH);
        if search
            || (!occasion && words.iter().any(|word| lexicon::is_telling(word) && !WEATHER.contains(&word.as_str())))
        {
            intents.push(Intent::Search);
        } else if occasion {
            intents.insert(0, Intent::Outfit);
        }
    }
    intents
}

/// Whether what follows somebody's consent is a wish of its own, not a detail of what was offered.
pub fn is_another_wish(refinement: &str, offer: &str) -> bool {
    let offered = detect(offer);
    detect(refinement).iter().any(|intent| *intent != Intent::Search && !offered.contains(intent))
}

/// The tool calls that answer the intents: name and arguments, each tool once.
pub fn calls(intents: &[Intent], text: &str) -> Vec<(&'static str, Value)> {
    let mut calls: Vec<(&'static str, Value)> = Vec::new();
    let mut add = |name, arguments| {
        if !calls.iter().any(|(known, _)| *known == name) {
            calls.push((name, arguments));
        }
    };
    for intent in intents {
        match intent {
            Intent::Outfit => {
                add("search_wardrobe", json!({ "query": outfit_query(text) }));
                add("get_user_profile", json!({}));
            }
            Intent::Search => add("search_wardrobe", json!({ "query": search_query(text) })),
            Intent::Summary => add("get_wardrobe_summary", json!({})),
            Intent::Weather => add("get_weather", json!({})),
            Intent::Gaps => add("analyze_wardrobe_gaps", json!({})),
            Intent::Trends => add("get_trending_moods", json!({ "primary_mood": mood(text).unwrap_or_default() })),
            Intent::Wear => add("get_wear_patterns", json!({ "query": "" })),
            Intent::Shop => add("search_scraped_items", json!({ "query": shop_query(text) })),
            Intent::Profile => add("get_user_profile", json!({})),
        }
    }
    calls
}

/// The words of a message that say what clothes it is about.
pub fn outfit_query(text: &str) -> String {
    let telling = joined(text, |word| lexicon::is_telling(word) && !matches!(word, "today" | "tomorrow"));
    if telling.is_empty() { "everyday casual".to_owned() } else { telling }
}

/// The words of a message that say what for, without garments and colours.
pub fn occasion_query(text: &str) -> String {
    let is_garment = |word: &str| Category::of_garment(&vocabulary::fold_plural(word)).is_some();
    let keep = |word: &str| lexicon::is_telling(word) && vocabulary::colour(word).is_none() && !is_garment(word);
    let telling = joined(text, keep);
    if telling.is_empty() { "casual".to_owned() } else { telling }
}

fn search_query(text: &str) -> String {
    let said = joined(text, |word| !matches!(word, "search" | "closet" | "find" | "which" | "check" | "over"));
    if said.is_empty() { "everyday".to_owned() } else { said }
}

fn shop_query(text: &str) -> String {
    let said = joined(text, |word| !SHOP_WORDS.split(' ').any(|shop_word| shop_word == word));
    if said.is_empty() { "everyday casual".to_owned() } else { said }
}

/// At most twelve words of the text, each once, that mean something and that `keep` keeps.
fn joined(text: &str, keep: impl Fn(&str) -> bool) -> String {
    let mut kept: Vec<String> = Vec::new();
    // Cut at spaces, so that "t-shirt" stays whole.
    for token in text.split_whitespace() {
        let token = token.trim_matches(|character: char| !character.is_alphanumeric()).to_lowercase();
        let words = vocabulary::words(&token);
        let means_something = words.iter().any(|word| !vocabulary::is_stop_word(word) && keep(word));
        if means_something && !kept.contains(&token) && kept.len() < 12 {
            kept.push(token);
        }
    }
    kept.join(" ")
}

/// The first mood category that a text names.
pub fn mood(text: &str) -> Option<&'static str> {
    let padded = format!(" {} ", vocabulary::words(text).join(" "));
    vocabulary::MOODS.into_iter().find(|mood| padded.contains(&format!(" {} ", mood.to_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Intent::{Gaps, Outfit, Profile, Search, Shop, Summary, Trends, Wear, Weather};

    #[test]
    fn messages_ask_for_what_their_words_say() {
        for (message, expected) in [
            ("What should I wear to a casual dinner?", &[Outfit][..]),
            ("What should I wear today?", &[Outfit, Weather]),
            ("How do I dress for a job interview?", &[Outfit]),
            ("casual dinner on Friday", &[Outfit]),
            ("Do I have a red dress?", &[Search]),
            ("show me my navy jackets", &[Search]),
            ("What do I own?", &[Summary]),
            ("How many shoes do I own?", &[Summary]),
            ("Is it going to rain tomorrow?", &[Weather]),
            ("What is missing in my wardrobe?", &[Gaps]),
            ("Which basics should I buy?", &[Gaps]),
            ("What's trending in streetwear?", &[Trends]),
            ("What do I wear most?", &[Wear]),
            ("Which pieces have I never worn?", &[Wear]),
            ("Where can I buy brown loafers?", &[Shop]),
            ("Find me a raincoat", &[Shop]),
            ("What's my size?", &[Profile]),
            ("Summary of my wardrobe and what is missing", &[Summary, Gaps]),
            ("Want me to search your wardrobe for a jacket to go over it?", &[Search]),
            ("Want me to check your wardrobe for gaps?", &[Gaps]),
            ("Want me to find navy low-top sneakers to buy?", &[Shop]),
            ("hello", &[]),
            ("Thank you!", &[]),
            ("", &[]),
        ] {
            assert_eq!(detect(message), expected, "{message}");
        }
    }

    #[test]
    fn a_detail_is_no_wish_of_its_own() {
        let offer = "Want me to put together an outfit for today?";
        assert!(!is_another_wish("in black", offer) && !is_another_wish("an outfit for dinner", offer));
        assert!(is_another_wish("but first, what do I own?", offer));
    }

    #[test]
    fn queries_are_made_of_telling_words() {
        assert_eq!(outfit_query("What should I wear to a casual dinner?"), "casual dinner");
        assert_eq!(outfit_query("What should I wear?"), "everyday casual");
        assert_eq!(outfit_query("An outfit with my white T-shirt, please"), "white t-shirt");
        assert_eq!(search_query("Do I have anything from Uniqlo?"), "uniqlo");
        assert_eq!(shop_query("Where can I buy brown suede loafers?"), "brown suede loafers");
    }

    #[test]
    fn an_outfit_takes_two_tools_and_each_tool_once() {
        let names: Vec<_> =
            calls(&[Outfit, Profile, Weather], "wear today").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["search_wardrobe", "get_user_profile", "get_weather"]);
        let calls = calls(&[Trends], "What is in fashion for dark academia?");
        assert_eq!(calls, [("get_trending_moods", json!({ "primary_mood": "Dark Academia" }))]);
    }
}
