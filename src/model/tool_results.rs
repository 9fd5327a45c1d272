//! Results of the stylist's tools that the built-in model also reads. Fields are in the order in which models see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::garment::{Garment, Slot, Words};
use super::ids::ItemId;
use super::timestamp::Timestamp;
use super::wardrobe::Size;

/// Result of a wardrobe search.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FoundItems {
    /// Why the items do not match the query exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Number of items in the whole wardrobe that match the query's kind, colour, material and brand; they come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_matches: Option<u64>,
    /// Sums over everything that was found, for a search with limits or an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// The items, the best first.
    pub items: Vec<CompactItem>,
}

/// Sums over all items that a search found, also over those that are not listed.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Totals {
    /// Number of items.
    pub items: u64,
    /// Number of their wears, within the period of the search if it has one.
    pub wears: u64,
    /// Number of the wears by the items' first colour.
    pub wears_by_colour: BTreeMap<String, u64>,
    /// Sums of their prices.
    pub spent: Spent,
}

/// Sums of the prices of clothes.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Spent {
    /// Currency of the sums.
    pub currency: String,
    /// The sum.
    pub total: f64,
    /// Number of items that are in the sum.
    pub items_with_price: u64,
    /// Number of items that are not, because they have no price, or none in a currency with a known rate.
    pub items_without_price: u64,
    /// Of these, the number that have a price in a currency without a rate, by currency.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub without_rate: BTreeMap<String, u64>,
    /// The 15 categories that cost most.
    pub by_category: BTreeMap<String, f64>,
}

/// An owned item.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CompactItem {
    /// Item id.
    pub id: ItemId,
    /// Kind of garment.
    #[serde(default)]
    pub category: Option<String>,
    /// Maker.
    #[serde(default)]
    pub brand: Option<String>,
    /// Names of its colours.
    #[serde(default)]
    pub colours: Vec<String>,
    /// Free and aesthetic tags, each once.
    #[serde(default)]
    pub tags: Vec<String>,
    /// A condition of the vocabulary, or the owner's own text.
    #[serde(default)]
    pub condition: Option<String>,
    /// Size, in the systems in which it is known.
    #[serde(default)]
    pub size: Option<Size>,
    /// The owner's notes.
    #[serde(default)]
    pub notes: Option<String>,
    /// Display name.
    pub name: String,
    /// Price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Paid>,
    /// Day of the purchase, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bought: Option<String>,
    /// Number of wears.
    pub wear_count: u32,
    /// Number of wears in the period of the search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wears: Option<u32>,
    /// Day on which it was last worn, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_worn: Option<String>,
    /// Care instructions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub care: Vec<String>,
}

impl CompactItem {
    /// Number of wears: in the period of the search, or in all.
    pub fn wears(&self) -> u32 {
        self.wears.unwrap_or(self.wear_count)
    }
}

impl From<&CompactItem> for Garment {
    fn from(item: &CompactItem) -> Self {
        let [colours, tags, care] =
            [&item.colours, &item.tags, &item.care].map(|texts| texts.iter().map(String::as_str).collect::<Vec<_>>());
        Self::new(Words {
            id: item.id.as_str(),
            category: item.category.as_deref(),
            brand: item.brand.as_deref(),
            colours: &colours,
            tags: &tags,
            care: &care,
        })
    }
}

/// A price, in the currency in which it was paid.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Paid {
    /// Amount.
    pub amount: f64,
    /// Code of the currency.
    pub currency: String,
}

/// Outfits for days to come.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct OutfitPlan {
    /// What could not be planned, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// City of the weather.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// An outfit for each day.
    pub outfits: Vec<PlannedOutfit>,
    /// Number of pieces of each kind, for a plan of several days.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packing: Vec<PackedPieces>,
}

/// The outfit of a day.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PlannedOutfit {
    /// `YYYY-MM-DD`.
    pub date: String,
    /// Name of the weekday.
    pub weekday: String,
    /// Occasion.
    pub occasion: String,
    /// The weather that it is for, in words.
    pub weather: String,
    /// Pieces of the outfit, in the order of their slots.
    pub pieces: Vec<PlannedPiece>,
    /// Slots for which no piece was found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Slot>,
}

impl OutfitPlan {
    /// Most days of a plan.
    pub const MOST_DAYS: u16 = 14;
}

impl PlannedOutfit {
    /// The piece that goes there.
    pub fn piece(&self, slot: Slot) -> Option<&PlannedPiece> {
        self.pieces.iter().find(|piece| piece.slot == slot)
    }

    /// The outfit without a piece.
    pub fn without(&self, id: &ItemId) -> Self {
        let mut rest = self.clone();
        rest.pieces.retain(|piece| piece.id != *id);
        rest
    }
}

/// A piece of an outfit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlannedPiece {
    /// Slot of the piece.
    pub slot: Slot,
    /// Item id.
    pub id: ItemId,
    /// Display name.
    pub name: String,
    /// Reason for the choice, in a few words.
    pub why: String,
}

/// Pieces of a kind to pack.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PackedPieces {
    /// Slot of the pieces.
    pub kind: Slot,
    /// Number of pieces.
    pub count: usize,
    /// Display names.
    pub names: Vec<String>,
}

/// Wears on past days.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct WearHistory {
    /// Why the list is empty or incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// First day, `YYYY-MM-DD`.
    pub from: String,
    /// Last day, `YYYY-MM-DD`.
    pub to: String,
    /// Wears, newest first.
    pub wears: Vec<WornTogether>,
}

/// What was worn together.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct WornTogether {
    /// `YYYY-MM-DD`.
    pub date: String,
    /// Name of the weekday.
    pub weekday: String,
    /// Occasion of the wear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occasion: Option<String>,
    /// The weather, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weather: Option<String>,
    /// The pieces.
    pub items: Vec<WornItem>,
    /// Time of the wear; not sent to models.
    #[serde(skip)]
    pub at: Option<Timestamp>,
}

/// A worn piece.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WornItem {
    /// Item id.
    pub id: ItemId,
    /// Display name.
    pub name: String,
}
