//! An item as programs read it: whole, with the owner's fields by the names under which they are changed.

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::local_offset::LocalOffset;
use crate::domain::wear;
use crate::model::garment::Garment;
use crate::model::ids::ItemId;
use crate::model::wardrobe::{Colour, Price, Size, WardrobeItem};

/// A whole item.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Piece {
    /// Item id.
    pub id: ItemId,
    /// Display name.
    pub name: String,
    /// The fields that the owner writes.
    #[serde(flatten)]
    pub own: OwnFields,
    /// Day of the purchase, `YYYY-MM-DD`, by `purchaseDate`, else by the date of the price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bought: Option<String>,
    /// Number of wears.
    pub wear_count: u32,
    /// Day on which it was last worn, `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_worn: Option<String>,
}

/// The fields of an item that its owner writes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnFields {
    /// Tags.
    pub tags: Vec<String>,
    /// Colours, the dominant one first.
    pub colours: Vec<Colour>,
    /// Brand.
    pub brand: Option<String>,
    /// Category.
    pub category: Option<String>,
    /// Price, in the currency in which it was paid.
    pub price: Option<Price>,
    /// Notes of the owner.
    pub notes: Option<String>,
    /// Estimated resale value.
    pub estimated_market_value: Option<f64>,
    /// Date of purchase, as the owner wrote it.
    pub purchase_date: Option<String>,
    /// Care instructions.
    pub care_info: Vec<String>,
    /// Condition.
    pub condition: Option<String>,
    /// Size, in the systems in which it is known.
    pub size: Option<Size>,
    /// Style words.
    pub aesthetic_tags: Vec<String>,
    /// Whether the item is a wish, not owned yet.
    pub is_wishlisted: bool,
}

impl Piece {
    /// Creates the piece for a person whose clock has this UTC offset.
    pub fn new(item: WardrobeItem, offset: LocalOffset) -> Self {
        Self {
            name: Garment::from(&item).name,
            bought: item.bought_on().map(|day| day.to_string()),
            wear_count: item.wear_count,
            last_worn: wear::last_worn(&item).map(|at| offset.day(at.get()).to_string()),
            id: item.id,
            own: OwnFields {
                tags: item.tags,
                colours: item.colours,
                brand: item.brand,
                category: item.category,
                price: item.price,
                notes: item.notes,
                estimated_market_value: item.estimated_market_value,
                purchase_date: item.purchase_date,
                care_info: item.care_info.unwrap_or_default(),
                condition: item.condition,
                size: item.size,
                aesthetic_tags: item.aesthetic_tags.unwrap_or_default(),
                is_wishlisted: item.is_wishlisted,
            },
        }
    }
}
