//! Wardrobe summary for a digest: counts over all owned items, the most worn items, and a hash of the set. Items are
//! read page by page; only ids and the best items are kept.

use std::cmp::Reverse;
use std::pin::pin;

use futures::TryStreamExt;
use serde::Serialize;
use time::OffsetDateTime;

use crate::base::hash::sha256_hex;
use crate::base::text::{cut, cut_each};
use crate::data::{self, Data};
use crate::domain::best::{Best, Score};
use crate::domain::climate::Weather;
use crate::domain::wear;
use crate::model::digest::Suggestion;
use crate::model::ids::{ItemId, UserId};
use crate::model::timestamp::Timestamp;
use crate::model::vocabulary::{self, Category};
use crate::model::wardrobe::WardrobeItem;

/// Most items in the prompt.
const MOST_TOP_ITEMS: usize = 20;
/// Most distinct categories; later ones count as [`OTHER`].
const MOST_CATEGORIES: usize = 40;
/// Category of items without one.
const OTHER: &str = "other";
/// Hex digits of a wardrobe hash.
const HASH_DIGITS: usize = 16;
/// Fewest items of a category that indicate a style.
const ENOUGH_ITEMS: u64 = 3;

const LONGEST_CATEGORY: usize = 40;
const LONGEST_BRAND: usize = 60;
const LONGEST_TAG: usize = 40;
const MOST_TAGS: usize = 8;

/// A category with its items and wears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryCount {
    /// The known category, if it is one.
    pub category: Option<Category>,
    /// Name in lower case.
    pub name: String,
    /// Number of owned items.
    pub items: u64,
    /// Number of their wears.
    pub wears: u64,
}

/// An item as described to the model; fields in this order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopItem {
    category: Option<String>,
    brand: Option<String>,
    aesthetic_tags: Vec<String>,
    wear_count: u32,
    last_worn_at: Option<Timestamp>,
    score: f64,
    /// Cost per wear, in the currency of the price.
    cost_per_wear: Option<f64>,
}

/// Summary of a wardrobe.
#[derive(Debug)]
pub struct Summary {
    /// Hash of the set of owned items: the first 16 hex digits of the SHA-256 of their sorted ids, joined with commas.
    pub hash: String,
    /// Number of owned items.
    pub total_items: u64,
    /// Number of owned items that were ever worn.
    pub worn_items: u64,
    /// Categories, largest first.
    pub categories: Vec<CategoryCount>,
    /// Best items by score, best first.
    pub top: Vec<TopItem>,
    /// Weather of wears.
    pub weather: Weather,
}

impl Summary {
    /// Reads the whole wardrobe.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(data: &Data, user: &UserId, now: OffsetDateTime) -> data::Result<Self> {
        let mut ids: Vec<ItemId> = Vec::new();
        let mut categories: Vec<CategoryCount> = Vec::new();
        let mut best = Best::new(MOST_TOP_ITEMS);
        let (mut worn_items, mut weather) = (0, Weather::default());
        let mut items = pin!(data.wardrobe.owned_as_worn(user));
        while let Some(item) = items.try_next().await? {
            count(&mut categories, &item);
            worn_items += u64::from(wear::has_history(&item));
            item.wear_events.iter().for_each(|wear| weather.add(wear, now));
            // Ties: most worn first, then by id.
            let score = wear::score(&item, now);
            let rank = (Score(score), item.wear_count, Reverse(item.id.clone()));
            best.offer(rank, || TopItem::new(&item, score));
            ids.push(item.id);
        }
        categories.sort_by(|one, other| other.items.cmp(&one.items).then_with(|| one.name.cmp(&other.name)));
        let top = best.into_sorted().map(|(_, item)| item).collect();
        Ok(Self { total_items: ids.len() as u64, hash: hash(ids), worn_items, categories, top, weather })
    }

    /// Returns the number of owned items of a category.
    pub fn owned(&self, category: Category) -> u64 {
        self.categories.iter().filter(|count| count.category == Some(category)).map(|count| count.items).sum()
    }
}

/// Hashes a set of items.
fn hash(mut ids: Vec<ItemId>) -> String {
    ids.sort_unstable();
    let joined = ids.iter().map(ItemId::as_str).collect::<Vec<_>>().join(",");
    let mut hash = sha256_hex(joined);
    hash.truncate(HASH_DIGITS);
    hash
}

fn count(categories: &mut Vec<CategoryCount>, item: &WardrobeItem) {
    let text = item.category.as_deref().map(|text| cut(text, LONGEST_CATEGORY).to_lowercase()).unwrap_or_default();
    let category = Category::of_text(&text);
    let name = category.map_or(text, |category| category.name().to_owned());
    let find = |name: &str| categories.iter().position(|count| count.name == name);
    let (name, place) = match find(&name) {
        Some(place) => (name, Some(place)),
        None if name.is_empty() || (category.is_none() && categories.len() >= MOST_CATEGORIES) => {
            (OTHER.to_owned(), find(OTHER))
        }
        None => (name, None),
    };
    let wears = u64::from(item.wear_count);
    match place {
        Some(place) => {
            categories[place].items += 1;
            categories[place].wears += wears;
        }
        None => categories.push(CategoryCount { category, name, items: 1, wears }),
    }
}

/// Returns the share of suggestions that mention a category with enough owned items and some wears; `None` if there is
/// no such category.
pub fn style_confidence(suggestions: &[Suggestion], categories: &[CategoryCount]) -> Option<f64> {
    let telling = |count: &&CategoryCount| count.items >= ENOUGH_ITEMS && count.wears > 0 && count.name != OTHER;
    let telling: Vec<&CategoryCount> = categories.iter().filter(telling).collect();
    if telling.is_empty() || suggestions.is_empty() {
        return None;
    }
    let fits = |suggestion: &&Suggestion| {
        let words = vocabulary::folded_words(&format!("{} {}", suggestion.item, suggestion.rationale));
        telling.iter().any(|count| mentions(&words, count))
    };
    let fitting = suggestions.iter().filter(fits).count();
    Some(wear::round(fitting as f64 / suggestions.len() as f64))
}

fn mentions(words: &[String], count: &CategoryCount) -> bool {
    if let Some(category) = count.category {
        return words.iter().any(|word| Category::of_garment(word) == Some(category));
    }
    let name = vocabulary::folded_words(&count.name);
    !name.is_empty() && words.windows(name.len()).any(|part| part == name)
}

impl TopItem {
    fn new(item: &WardrobeItem, score: f64) -> Self {
        let short = |text: &Option<String>, limit| text.as_deref().map(|text| cut(text, limit));
        Self {
            category: short(&item.category, LONGEST_CATEGORY),
            brand: short(&item.brand, LONGEST_BRAND),
            aesthetic_tags: cut_each(item.aesthetic_tags.iter().flatten(), LONGEST_TAG, MOST_TAGS),
            wear_count: item.wear_count,
            last_worn_at: wear::last_worn(item),
            score: wear::round(score),
            cost_per_wear: wear::cost_per_wear(item),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(category: serde_json::Value, wear_count: u32) -> WardrobeItem {
        let item = json!({"id": "a", "userId": "ada", "category": category, "wearCount": wear_count});
        serde_json::from_value(item).unwrap()
    }

    #[test]
    fn the_hash_does_not_depend_on_the_order() {
        let named = |ids: &[&str]| hash(ids.iter().map(|id| ItemId::from(*id)).collect());
        // printf 'a,b,c' | sha256sum
        assert_eq!(named(&["c", "a", "b"]), "205830ca5b23bbe3");
        assert_eq!(named(&["a", "b", "c"]), "205830ca5b23bbe3");
        assert_ne!(named(&["a", "b"]), named(&["a", "b", "c"]));
    }

    #[test]
    fn categories_are_counted_however_they_are_written() {
        let mut categories = Vec::new();
        for (category, wears) in
            [(json!("Tops"), 3), (json!("T-SHIRTS"), 0), (json!("Kimono"), 2), (json!(" "), 1), (json!(null), 4)]
        {
            count(&mut categories, &item(category, wears));
        }
        let counts: Vec<_> = categories.iter().map(|count| (&*count.name, count.items, count.wears)).collect();
        assert_eq!(counts, [("tops", 2, 3), ("kimono", 1, 2), ("other", 2, 5)]);
    }

    #[test]
    fn the_number_of_categories_is_bounded() {
        let mut categories = Vec::new();
        for number in 0..1000 {
            count(&mut categories, &item(json!(format!("x{number}")), 1));
        }
        count(&mut categories, &item(json!("tops"), 1));
        assert_eq!(categories.len(), MOST_CATEGORIES + 2);
        assert_eq!(categories.iter().map(|count| count.items).sum::<u64>(), 1001);
    }

    #[test]
    fn confidence_is_the_share_that_fits_what_is_worn() {
        let counted = |name: &str, items, wears| CategoryCount {
            category: Category::of_text(name),
            name: name.to_owned(),
            items,
            wears,
        };
        let idea = |item: &str, rationale: &str| Suggestion { item: item.to_owned(), rationale: rationale.to_owned() };
        let ideas = [
            idea("Navy chinos", "A calm base."),
            idea("Leather belt", "Goes with your trousers."),
            idea("Silver ring", "Catches light."),
            idea("Silk kimono robe", "One more."),
        ];
        // Jeans, chinos and trousers are bottoms; a belt is an accessory, of which too little is owned.
        let bottoms = counted("bottoms", 3, 1);
        assert_eq!(style_confidence(&ideas, &[bottoms.clone(), counted("accessories", 2, 9)]), Some(0.5));
        assert_eq!(style_confidence(&ideas, &[bottoms, counted("kimono", 5, 2)]), Some(0.75));
        assert_eq!(style_confidence(&ideas, &[counted("bottoms", 3, 0), counted("shoes", 2, 5)]), None);
        assert_eq!(style_confidence(&ideas, &[counted("shoes", 3, 1)]), Some(0.0));
        assert_eq!(style_confidence(&ideas, &[]), None);
    }
}
