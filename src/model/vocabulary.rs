//! The vocabulary of clothing: splitting text into words, and words for categories, colours and moods.
//!
//! Search, gap analysis and the offline model share these tables.

/// Colour names; `gray` is read as `grey`.
pub const COLOURS: [&str; 19] = [
    "black", "white", "blue", "navy", "red", "green", "yellow", "orange", "pink", "purple", "brown", "beige", "grey",
    "cream", "olive", "maroon", "teal", "gold", "silver",
];

/// Categories of moods.
pub const MOODS: [&str; 12] = [
    "Minimalist",
    "Maximalist",
    "Romantic",
    "Edgy",
    "Preppy",
    "Bohemian",
    "Sporty",
    "Classic",
    "Streetwear",
    "Coastal",
    "Cottagecore",
    "Dark Academia",
];

/// Words without meaning for clothing, separated by spaces.
const STOP_WORDS: &str = "\
a about all also am an and any anything are as at be can could did do does for from get give go goes going \
got had has have help how i if im in is it item items its ive just let like look looking me my need of on or \
outfit outfits own piece pieces please put should show so some something suggest that the them there these \
thing things this to today together tomorrow tonight up us want wardrobe was we wear wearing what whats when \
where which will with would you your";

/// Search words for whole categories, as folded by [`fold_plural`].
const ALIASES: &[(&str, Category)] = &[
    ("tee", Category::Tops),
    ("t shirt", Category::Tops),
    ("tshirt", Category::Tops),
    ("top", Category::Tops),
    ("pant", Category::Bottoms),
    ("trouser", Category::Bottoms),
    ("legging", Category::Bottoms),
    ("bottom", Category::Bottoms),
    ("shoe", Category::Shoes),
    ("footwear", Category::Shoes),
    ("sock", Category::Accessories),
    ("accessory", Category::Accessories),
    ("outer", Category::Outerwear),
    ("outerware", Category::Outerwear),
    ("outerwear", Category::Outerwear),
];

/// Garments by category, beyond the aliases, as folded by [`fold_plural`].
const GARMENTS: &[(Category, &[&str])] = &[
    (Category::Tops, &["shirt", "blouse", "polo", "tank", "camisole", "henley", "hoodie", "sweatshirt", "bodysuit"]),
    (Category::Bottoms, &["jean", "chino", "short", "skirt", "jogger", "sweatpant", "slack", "culotte", "denim"]),
    (
        Category::Outerwear,
        &[
            "jacket",
            "coat",
            "blazer",
            "parka",
            "trench",
            "puffer",
            "bomber",
            "anorak",
            "windbreaker",
            "raincoat",
            "overcoat",
            "gilet",
            "overshirt",
        ],
    ),
    (
        Category::Shoes,
        &[
            "sneaker",
            "boot",
            "loafer",
            "sandal",
            "heel",
            "trainer",
            "slide",
            "pump",
            "derby",
            "oxford",
            "mule",
            "espadrille",
            "brogue",
        ],
    ),
    (
        Category::Accessories,
        &[
            "bag",
            "belt",
            "scarf",
            "scarve",
            "hat",
            "cap",
            "beanie",
            "watch",
            "jewellery",
            "jewelry",
            "necklace",
            "earring",
            "bracelet",
            "tie",
            "sunglass",
            "glove",
            "chain",
            "backpack",
            "tote",
        ],
    ),
    (Category::Dresses, &["dress", "gown", "jumpsuit", "romper"]),
    (Category::Knitwear, &["knitwear", "knit", "sweater", "jumper", "cardigan", "pullover", "turtleneck"]),
    (Category::Activewear, &["activewear", "sportswear", "gymwear"]),
    (Category::Swimwear, &["swimwear", "swimsuit", "bikini"]),
];

/// Category of a garment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Category {
    /// Shirts, T-shirts, blouses.
    Tops,
    /// Trousers, skirts, shorts.
    Bottoms,
    /// Coats and jackets.
    Outerwear,
    /// All footwear.
    Shoes,
    /// Bags, belts, hats, socks.
    Accessories,
    /// Dresses and one-pieces.
    Dresses,
    /// Sweaters and cardigans.
    Knitwear,
    /// Sportswear.
    Activewear,
    /// Swimwear.
    Swimwear,
}

impl Category {
    /// Returns the name: lower case, plural.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }

    /// Returns the category that a search term denotes as a whole: `tee` does, `blazer` does not.
    pub fn of_search_term(folded: &str) -> Option<Self> {
        ALIASES.iter().find(|(alias, _)| *alias == folded).map(|(_, category)| *category)
    }

    /// Returns the category of a garment, from one word as folded by [`fold_plural`]: `blazer` is outerwear.
    pub fn of_garment(folded: &str) -> Option<Self> {
        Self::of_search_term(folded).or_else(|| {
            let found = GARMENTS.iter().find(|(_, garments)| garments.contains(&folded));
            found.map(|(category, _)| *category)
        })
    }

    /// Returns the category of an item's `category` text, however written: `T-Shirts`, `FOOTWEAR`, `Denim jacket`.
    pub fn of_text(text: &str) -> Option<Self> {
        let words = folded_words(text);
        // The last noun is the garment: a denim jacket is a jacket.
        Self::of_garment(&words.join(" ")).or_else(|| words.iter().rev().find_map(|word| Self::of_garment(word)))
    }
}

/// Splits a text into lower-case words. Apostrophes are dropped (`Levi's` is `levis`); other characters that are
/// neither letters nor digits separate words.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for character in text.to_lowercase().chars() {
        if character.is_alphanumeric() {
            word.push(character);
        } else if !matches!(character, '\'' | '\u{2019}') && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Splits a text into lower-case words and folds plurals.
pub fn folded_words(text: &str) -> Vec<String> {
    words(text).iter().map(|word| fold_plural(word)).collect()
}

/// Strips an English plural ending. Approximate, but consistent on both sides of a comparison.
pub fn fold_plural(word: &str) -> String {
    if word.len() < 4 {
        return word.to_owned();
    }
    if let Some(stem) = word.strip_suffix("ies")
        && stem.len() > 1
    {
        return format!("{stem}y");
    }
    for ending in ["sses", "shes", "ches", "xes", "zes"] {
        if word.ends_with(ending) {
            return word[..word.len() - 2].to_owned();
        }
    }
    let singular = ["ss", "us", "is"].iter().any(|ending| word.ends_with(ending));
    match word.strip_suffix('s') {
        Some(stem) if !singular => stem.to_owned(),
        _ => word.to_owned(),
    }
}

/// A noun in the singular with its article.
pub fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// Whether a lower-case word has no meaning for clothing.
pub fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.split(' ').any(|stop_word| stop_word == word)
}

/// Returns the colour that a lower-case word names.
pub fn colour(word: &str) -> Option<&'static str> {
    let word = if word == "gray" { "grey" } else { word };
    COLOURS.into_iter().find(|known| *known == word)
}

/// Returns the mood category that the text names, ignoring case and how its words are joined.
pub fn mood(text: &str) -> Option<&'static str> {
    let wanted = words(text);
    MOODS.into_iter().find(|mood| words(mood) == wanted)
}

/// Phrases that consent begins with, separated by `;`.
const AFFIRMATIVES: &str = "\
    yes;yeah;yep;yup;sure;ok;okay;please;go ahead;go for it;sounds good;sounds great;do it;do that;lets do it;\
    lets do that;of course;absolutely;definitely;why not;great idea;good idea;that would be great;\
    that would be nice;id love that;perfect";

/// Returns the text after an initial consent; `None` if it does not begin with one.
pub fn after_consent(text: &str) -> Option<String> {
    let said = words(text).join(" ");
    let mut rest = said.as_str();
    let mut consents = false;
    while let Some((phrase, shorter)) =
        AFFIRMATIVES.split(';').find_map(|phrase| Some((phrase, strip_phrase(rest, phrase)?)))
    {
        rest = shorter;
        // "Please" alone consents, "please show me …" asks for something else.
        consents |= phrase != "please" || rest.is_empty();
    }
    consents.then(|| rest.to_owned())
}

fn strip_phrase<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(phrase)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix(' ') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_words_say_nothing() {
        assert!(is_stop_word("what") && is_stop_word("a") && is_stop_word("your"));
        assert!(!is_stop_word("navy") && !is_stop_word("good") && !is_stop_word(""));
    }

    #[test]
    fn words_are_lower_case_in_every_script() {
        assert_eq!(words("Levi\u{2019}s T-Shirt, ÉTÉ «ЧЁРНЫЙ»"), ["levis", "t", "shirt", "été", "чёрный"]);
        assert_eq!(words(" ..! "), Vec::<String>::new());
    }

    #[test]
    fn plurals_fold_into_singulars() {
        for (plural, singular) in [
            ("dresses", "dress"),
            ("accessories", "accessory"),
            ("watches", "watch"),
            ("shoes", "shoe"),
            ("dress", "dress"),
            ("tee", "tee"),
            ("jeans", "jean"),
            ("été", "été"),
        ] {
            assert_eq!(fold_plural(plural), singular);
        }
    }

    #[test]
    fn aliases_stand_for_categories() {
        for (term, category) in [
            ("tees", Some(Category::Tops)),
            ("T-Shirts", Some(Category::Tops)),
            ("trousers", Some(Category::Bottoms)),
            ("leggings", Some(Category::Bottoms)),
            ("shoe", Some(Category::Shoes)),
            ("socks", Some(Category::Accessories)),
            ("outerware", Some(Category::Outerwear)),
            ("blazer", None),
        ] {
            assert_eq!(Category::of_search_term(&folded_words(term).join(" ")), category, "{term}");
        }
        assert_eq!(Category::of_text("Denim Jackets"), Some(Category::Outerwear));
        assert_eq!(Category::of_text("FOOTWEAR"), Some(Category::Shoes));
        assert_eq!(Category::of_text("t-shirt"), Some(Category::Tops));
        assert_eq!(Category::of_text("Homeware"), None);
    }

    #[test]
    fn moods_and_colours_are_recognised() {
        assert_eq!(mood("dark-academia"), Some("Dark Academia"));
        assert_eq!(mood("dark"), None);
        assert_eq!(colour("gray"), Some("grey"));
        assert_eq!(colour("grayish"), None);
    }

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
}
