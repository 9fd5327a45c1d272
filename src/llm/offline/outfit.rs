//! Putting clothes together: a top, a bottom and shoes, or a dress and shoes, and what the weather calls for.
//!
//! Only pieces that a tool or the user named are used; none is ever made up.

use serde::Deserialize;
use serde_json::Value;

use super::lexicon;
use crate::model::vocabulary::{self, Category};

/// An owned item, as results show it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Piece {
    pub id: String,
    pub category: Option<String>,
    pub brand: Option<String>,
    /// Names, or objects that have one.
    pub colours: Vec<Value>,
    pub tags: Vec<String>,
    pub condition: Option<String>,
}

/// Where on the body a piece goes, in the order in which an outfit is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    Dress,
    Top,
    Bottom,
    Shoes,
    Outerwear,
    Accessory,
}

impl Slot {
    /// Its name in an answer.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dress => "Dress",
            Self::Top => "Top",
            Self::Bottom => "Bottoms",
            Self::Shoes => "Shoes",
            Self::Outerwear => "Outerwear",
            Self::Accessory => "Accessory",
        }
    }

    /// Its name in a search.
    pub const fn search_word(self) -> &'static str {
        match self {
            Self::Dress => "dresses",
            Self::Top => "tops",
            Self::Bottom => "bottoms",
            Self::Shoes => "shoes",
            Self::Outerwear => "outerwear",
            Self::Accessory => "accessories",
        }
    }
}

impl Piece {
    /// Names of its colours.
    pub fn colour_names(&self) -> impl Iterator<Item = &str> {
        self.colours.iter().filter_map(|colour| colour.as_str().or_else(|| colour.get("name")?.as_str()))
    }

    /// What kind of garment it is.
    pub fn category(&self) -> Option<Category> {
        let named = self.category.as_deref().and_then(Category::of_text);
        named.or_else(|| self.tags.iter().find_map(|tag| Category::of_text(tag)))
    }

    /// Where it goes; none for what is worn to sleep, to swim, or unknown.
    pub fn slot(&self) -> Option<Slot> {
        match self.category()? {
            Category::Tops | Category::Knitwear => Some(Slot::Top),
            Category::Bottoms => Some(Slot::Bottom),
            Category::Dresses => Some(Slot::Dress),
            Category::Shoes => Some(Slot::Shoes),
            Category::Outerwear => Some(Slot::Outerwear),
            Category::Accessories => Some(Slot::Accessory),
            Category::Activewear => {
                let is_bottom = |tag: &String| Category::of_text(tag) == Some(Category::Bottoms);
                Some(if self.tags.iter().any(is_bottom) { Slot::Bottom } else { Slot::Top })
            }
            Category::Swimwear => None,
        }
    }

    /// All its words, plurals folded.
    fn words(&self) -> Vec<String> {
        let texts = self.tags.iter().map(String::as_str).chain(self.category.as_deref()).chain(self.brand.as_deref());
        texts.chain(self.colour_names()).flat_map(vocabulary::folded_words).collect()
    }
}

/// What is known about the wish.
#[derive(Debug, Default)]
pub struct Wish {
    /// What the message says, and what that calls for; plurals folded.
    words: Vec<String>,
    /// Garments that the message names together with their colour.
    named: Vec<(&'static str, Category)>,
    /// Colours that the user likes, lower case.
    pub liked_colours: Vec<String>,
    /// Brands that the user likes, lower case.
    pub liked_brands: Vec<String>,
    /// Degrees Celsius.
    pub celsius: Option<f64>,
    /// Whether it rains or snows.
    pub wet: bool,
}

impl Wish {
    /// The wish that a message speaks of.
    pub fn of(message: &str) -> Self {
        let said = vocabulary::words(message);
        let (mut words, mut named) = (Vec::new(), Vec::new());
        for (place, word) in said.iter().enumerate() {
            if !lexicon::is_telling(word) {
                continue;
            }
            // The colour of "my olive jacket" is the jacket's alone. A few words may come between, as in "white t-shirt".
            let following = said[place + 1..].iter().take(3).map(|word| vocabulary::fold_plural(word));
            let garment = following.into_iter().find_map(|word| Category::of_garment(&word));
            if let Some((colour, category)) = vocabulary::colour(word).zip(garment) {
                named.push((colour, category));
                continue;
            }
            words.push(vocabulary::fold_plural(word));
            words.extend(lexicon::synonyms(word).iter().flat_map(|synonym| vocabulary::folded_words(synonym)));
        }
        if words.iter().all(|word| Category::of_garment(word).is_some()) {
            words.extend(["casual".to_owned(), "everyday".to_owned()]);
        }
        words.sort();
        words.dedup();
        Self { words, named, ..Self::default() }
    }

    /// Whether the message speaks of this very piece, by garment and colour.
    pub fn names(&self, piece: &Piece) -> bool {
        let category = piece.category();
        self.named.iter().any(|(colour, wanted)| {
            let has_colour = piece
                .colour_names()
                .any(|name| vocabulary::words(name).iter().any(|word| vocabulary::colour(word) == Some(*colour)));
            category == Some(*wanted) && has_colour
        })
    }

    fn wants(&self, word: &str) -> bool {
        self.words.iter().any(|wanted| wanted == word)
    }

    /// The tags of a piece that speak for it.
    pub fn fitting_tags<'a>(&self, piece: &'a Piece) -> Vec<&'a str> {
        let fits = |tag: &&String| {
            let words = vocabulary::folded_words(tag);
            !words.is_empty() && words.iter().all(|word| self.wants(word))
        };
        piece.tags.iter().filter(fits).map(String::as_str).collect()
    }

    /// The tags of a piece that consist of words of a query.
    pub fn named_tags<'a>(piece: &'a Piece, query: &str) -> Vec<&'a str> {
        let wish = Self { words: vocabulary::folded_words(query), ..Self::default() };
        wish.fitting_tags(piece)
    }

    /// How well a piece fits.
    fn score(&self, piece: &Piece) -> i32 {
        let words = piece.words();
        let named = self.words.iter().filter(|wanted| words.contains(wanted)).count();
        let liked = piece.colour_names().any(|name| self.likes_colour(name));
        let sporty = ["activewear", "sport", "gym", "training", "athletic", "running", "swimwear", "sleepwear"];
        let clashes = [
            (&sporty[..], &sporty[..]),
            (&["formal", "black tie", "tuxedo"][..], &["formal", "elegant", "evening"][..]),
        ];
        let mut score = 10 * i32::try_from(named).unwrap_or(i32::MAX / 100);
        for (tagged, allowed) in clashes {
            let is_tagged = words.iter().any(|word| tagged.contains(&word.as_str()));
            if is_tagged && !allowed.iter().any(|word| self.wants(word)) {
                score -= 25;
            }
        }
        if self.wants("formal")
            && words.iter().any(|word| matches!(word.as_str(), "casual" | "streetwear" | "distressed"))
        {
            score -= 8;
        }
        if self.names(piece) {
            score += 100;
        }
        score + i32::from(liked) + i32::from(self.likes_brand(piece))
    }

    /// Whether the user named this colour as one they like.
    pub fn likes_colour(&self, name: &str) -> bool {
        self.liked_colours.iter().any(|liked| liked.eq_ignore_ascii_case(name.trim()))
    }

    /// Whether the user named this brand as one they like.
    pub fn likes_brand(&self, piece: &Piece) -> bool {
        let brand = piece.brand.as_deref().unwrap_or_default().trim();
        self.liked_brands.iter().any(|liked| liked.eq_ignore_ascii_case(brand))
    }

    fn is_warm(&self) -> bool {
        let said = || ["summer", "beach"].iter().any(|word| self.wants(word));
        !self.wet && self.celsius.map_or_else(said, |celsius| celsius > 22.0)
    }

    /// Whether the weather, or the message, asks for something on top.
    fn needs_outerwear(&self) -> bool {
        let said = ["cold", "winter", "rain", "layer", "jacket", "coat", "outerwear", "blazer"];
        self.wet
            || self.celsius.is_some_and(|celsius| celsius < 16.0)
            || said.iter().any(|word| self.wants(word))
            || self.named.iter().any(|(_, category)| *category == Category::Outerwear)
    }
}

/// Clothes to wear together.
#[derive(Debug, Default)]
pub struct Outfit {
    /// What goes where, in the order of the slots.
    pub pieces: Vec<(Slot, Piece)>,
    /// What it lacks, although nobody (or nobody in this weather) can go without.
    pub missing: Vec<Slot>,
}

/// Puts an outfit together: all of `anchors` that go on the body, the rest from `found` (best match first).
pub fn compose(wish: &Wish, anchors: &[Piece], found: &[Piece]) -> Outfit {
    let mut pieces: Vec<(Slot, Piece)> = Vec::new();
    for anchor in anchors {
        if let Some(slot) = anchor.slot()
            && !pieces.iter().any(|(_, known)| known.id == anchor.id)
        {
            pieces.push((slot, anchor.clone()));
        }
    }
    let has = |pieces: &[(Slot, Piece)], slot| pieces.iter().any(|(taken, _)| *taken == slot);
    let best = |slot: Slot, pieces: &[(Slot, Piece)]| {
        let mut best: Option<(i32, &Piece)> = None;
        for piece in found.iter().filter(|piece| piece.slot() == Some(slot)) {
            if pieces.iter().any(|(_, taken)| taken.id == piece.id) {
                continue;
            }
            // Two garments of one colour look like a uniform; a belt may well repeat the shoes. Decides between equals only.
            let colour = piece.colour_names().next();
            let repeats = slot != Slot::Accessory
                && pieces.iter().any(|(_, taken)| colour.is_some() && taken.colour_names().next() == colour);
            let score = 2 * wish.score(piece) - i32::from(repeats);
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, piece));
            }
        }
        best.map(|(score, piece)| (score, piece.clone()))
    };
    // A dress stands for top and bottoms: when it is asked for, fits better than both, or they are not there.
    if !has(&pieces, Slot::Top)
        && !has(&pieces, Slot::Bottom)
        && !has(&pieces, Slot::Dress)
        && let Some((score, dress)) = best(Slot::Dress, &pieces)
    {
        let separates = best(Slot::Top, &pieces).zip(best(Slot::Bottom, &pieces));
        let is_better = separates.is_none_or(|((top, _), (bottom, _))| score > top.max(bottom));
        if wish.wants("dress") || is_better {
            pieces.push((Slot::Dress, dress));
        }
    }
    let mut missing = Vec::new();
    let needed =
        if has(&pieces, Slot::Dress) { &[Slot::Shoes][..] } else { &[Slot::Top, Slot::Bottom, Slot::Shoes][..] };
    for slot in needed {
        if !has(&pieces, *slot) {
            match best(*slot, &pieces) {
                Some((_, piece)) => pieces.push((*slot, piece)),
                None => missing.push(*slot),
            }
        }
    }
    for (slot, is_needed, is_welcome) in
        [(Slot::Outerwear, wish.needs_outerwear(), !wish.is_warm()), (Slot::Accessory, false, true)]
    {
        if has(&pieces, slot) {
            continue;
        }
        match best(slot, &pieces) {
            Some((score, piece)) if is_needed || (is_welcome && score >= 20) => pieces.push((slot, piece)),
            None if is_needed => missing.push(slot),
            Some(_) | None => {}
        }
    }
    // The sort is stable: two anchors of one slot keep their order.
    pieces.sort_by_key(|(slot, _)| *slot);
    Outfit { pieces, missing }
}

/// Those pieces that fit the most words of a query; all of them when no word fits any.
pub fn best_matches(pieces: Vec<Piece>, query: &str) -> Vec<Piece> {
    let wanted = vocabulary::folded_words(query);
    let count = |piece: &Piece| {
        let (words, category) = (piece.words(), piece.category());
        let fits =
            |word: &&String| words.contains(word) || (category.is_some() && Category::of_garment(word) == category);
        wanted.iter().filter(fits).count()
    };
    let most = pieces.iter().map(count).max().unwrap_or_default();
    pieces.into_iter().filter(|piece| count(piece) == most).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn piece(id: &str, category: &str, colour: &str, tags: &[&str]) -> Piece {
        serde_json::from_value(json!({ "id": id, "category": category, "colours": [colour], "tags": tags })).unwrap()
    }

    fn ids(outfit: &Outfit) -> Vec<&str> {
        outfit.pieces.iter().map(|(_, piece)| piece.id.as_str()).collect()
    }

    fn wardrobe() -> Vec<Piece> {
        vec![
            piece("gym-tee", "Tops", "grey", &["gym", "casual"]),
            piece("shirt", "tops", "white", &["smart casual", "dinner"]),
            piece("chinos", "Bottoms", "navy", &["casual", "smart casual"]),
            piece("joggers", "Bottoms", "grey", &["gym"]),
            piece("trainers", "Shoes", "white", &["running"]),
            piece("loafers", "Footwear", "brown", &["smart casual"]),
            piece("parka", "Outerwear", "olive", &["winter", "rain"]),
            piece("belt", "Accessories", "brown", &["smart casual"]),
            piece("trunks", "Swimwear", "blue", &["beach"]),
        ]
    }

    #[test]
    fn an_outfit_fits_its_occasion() {
        let dinner = compose(&Wish::of("What should I wear to a casual dinner?"), &[], &wardrobe());
        assert_eq!(ids(&dinner), ["shirt", "chinos", "loafers", "belt"]);
        let gym = compose(&Wish::of("outfit for the gym"), &[], &wardrobe());
        assert_eq!(ids(&gym), ["gym-tee", "joggers", "trainers"]);
    }

    #[test]
    fn the_weather_decides_about_outerwear() {
        let mut wish = Wish::of("dinner");
        wish.celsius = Some(8.0);
        assert!(ids(&compose(&wish, &[], &wardrobe())).contains(&"parka"));
        wish.celsius = Some(28.0);
        assert!(!ids(&compose(&wish, &[], &wardrobe())).contains(&"parka"));
    }

    #[test]
    fn anchors_are_always_worn() {
        let anchor = piece("silk-skirt", "Bottoms", "red", &[]);
        let outfit = compose(&Wish::of("dinner"), std::slice::from_ref(&anchor), &wardrobe());
        assert_eq!(ids(&outfit), ["shirt", "silk-skirt", "loafers", "belt"]);
    }

    #[test]
    fn a_dress_takes_the_place_of_top_and_bottoms() {
        let mut wardrobe = wardrobe();
        wardrobe.push(piece("gown", "Dresses", "green", &["wedding", "formal", "elegant"]));
        assert_eq!(ids(&compose(&Wish::of("wedding"), &[], &wardrobe))[0], "gown");
        assert_eq!(ids(&compose(&Wish::of("casual dinner"), &[], &wardrobe))[0], "shirt");
    }

    #[test]
    fn a_named_garment_is_worn_and_keeps_its_colour_to_itself() {
        let mut wardrobe = wardrobe();
        wardrobe.push(piece("olive-tee", "Tops", "olive", &[]));
        let outfit = compose(&Wish::of("What goes with my olive jacket?"), &[], &wardrobe);
        assert_eq!(ids(&outfit), ["shirt", "chinos", "loafers", "parka", "belt"]);
    }

    #[test]
    fn the_best_matches_fit_most_words() {
        let ids = |query| best_matches(wardrobe(), query).into_iter().map(|piece| piece.id).collect::<Vec<_>>();
        assert_eq!(ids("olive jackets"), ["parka"]);
        assert_eq!(ids("white shoes"), ["trainers"]);
        assert_eq!(ids("zebra").len(), wardrobe().len());
    }

    #[test]
    fn what_is_not_there_is_missing_and_never_made_up() {
        let outfit = compose(&Wish::of("dinner"), &[], &[piece("shirt", "Tops", "white", &[])]);
        assert_eq!(ids(&outfit), ["shirt"]);
        assert_eq!(outfit.missing, [Slot::Bottom, Slot::Shoes]);
    }
}
