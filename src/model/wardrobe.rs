//! Wardrobe items and wear events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::Date;
use utoipa::ToSchema;

use super::ids::{ItemId, UserId};
use super::lenient;
use super::timestamp::{Timestamp, Written};

/// Conditions of items, best first.
pub const CONDITIONS: [&str; 4] = ["New", "Excellent", "Good", "Fair"];

/// Finds a condition by its name, in any case.
pub fn condition(name: &str) -> Option<&'static str> {
    CONDITIONS.into_iter().find(|condition| condition.eq_ignore_ascii_case(name))
}

/// A wardrobe item: a garment, a wish, or a draft made from a photo. This record is for
/// reading: edits change the fields of the stored document one by one, so that fields of an unexpected shape survive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WardrobeItem {
    /// Item id, unique per user.
    pub id: ItemId,
    /// Owner.
    pub user_id: UserId,
    /// Picture URL.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    /// Tags.
    #[serde(default, deserialize_with = "lenient::list")]
    pub tags: Vec<String>,
    /// Colours, the dominant one first.
    #[serde(default, deserialize_with = "lenient::list")]
    pub colours: Vec<Colour>,
    /// Brand.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// Category, in any case.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Price.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Notes of the owner.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Estimated resale value.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub estimated_market_value: Option<f64>,
    /// Date of purchase, as the owner wrote it.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub purchase_date: Option<String>,
    /// Care instructions, such as `dry_clean`.
    #[serde(default, deserialize_with = "lenient::optional_list", skip_serializing_if = "Option::is_none")]
    pub care_info: Option<Vec<String>>,
    /// When the item was added.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub date_added: Option<Timestamp>,
    /// Number of wears.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub wear_count: u32,
    /// When the item was last worn.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub last_worn_at: Option<Timestamp>,
    /// The client's id of the last wear.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub last_wear_action_id: Option<String>,
    /// The newest wears, at most 30.
    #[serde(default, deserialize_with = "lenient::list")]
    pub wear_events: Vec<Wear>,
    /// Condition.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Size, in the systems in which it is known.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Style words.
    #[serde(default, deserialize_with = "lenient::optional_list", skip_serializing_if = "Option::is_none")]
    pub aesthetic_tags: Option<Vec<String>>,
    /// Status of a draft created from a photo; a draft is not owned yet.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub draft_status: Option<Value>,
    /// Why the draft failed.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub draft_error: Option<String>,
    /// When the draft was created.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub draft_created_at: Option<Timestamp>,
    /// When the draft last changed.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub draft_updated_at: Option<Timestamp>,
    /// Whether the item is on the wish list.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub is_wishlisted: bool,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl WardrobeItem {
    /// Whether the item is owned, that is, neither a draft nor a wish.
    pub fn is_owned(&self) -> bool {
        !self.is_draft() && !self.is_wishlisted
    }

    /// Returns the day on which the item was bought, if the owner wrote a date: its own, else that of its price.
    pub fn bought_on(&self) -> Option<Date> {
        let of_price = || self.price.as_ref()?.purchase_date.as_deref().and_then(Written::parse);
        self.purchase_date.as_deref().and_then(Written::parse).or_else(of_price).map(Written::day)
    }

    /// Whether the item is a draft, in whatever state.
    pub fn is_draft(&self) -> bool {
        self.draft_status.as_ref().is_some_and(|status| !status.is_null())
    }
}

/// A colour and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Colour {
    /// Name.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    /// `#rrggbb`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub hex: String,
}

/// A price. Older documents hold a bare number.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// Amount in units of the currency.
    pub amount: f64,
    /// ISO 4217 code.
    pub original_currency: String,
    /// Date of purchase, as the owner wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purchase_date: Option<String>,
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Object {
            amount: f64,
            #[serde(default, deserialize_with = "lenient::optional")]
            original_currency: Option<String>,
            #[serde(default, deserialize_with = "lenient::optional")]
            purchase_date: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Object(Object),
        }
        let (amount, original_currency, purchase_date) = match Either::deserialize(deserializer)? {
            Either::Number(amount) => (amount, None, None),
            Either::Object(object) => (object.amount, object.original_currency, object.purchase_date),
        };
        let original_currency =
            original_currency.filter(|code| !code.trim().is_empty()).unwrap_or_else(|| "USD".into());
        Ok(Self { amount, original_currency, purchase_date })
    }
}

/// A size, in the systems in which it is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// `S`, `M`, `L` …
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
    /// Waist, in the unit of `system`.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub waist: Option<f64>,
    /// Inseam, in the unit of `system`.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub inseam: Option<f64>,
    /// Shoe size in `system`.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub shoe_size: Option<f64>,
    /// `US`, `EU`, `UK` …
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

/// A wear, as recorded in the item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wear {
    /// Time of the wear.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Occasion.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub occasion: Option<String>,
    /// Weather at the time.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub weather_snapshot: Option<WeatherSnapshot>,
}

/// Weather at the time of a wear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeatherSnapshot {
    /// Degrees Celsius.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub temp_celsius: Option<f64>,
    /// Description.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub conditions: Option<String>,
}

/// A wear event, as a separate document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WearEvent {
    /// Event id, unique per user.
    pub id: String,
    /// The wearer.
    pub user_id: UserId,
    /// Item id.
    pub item_id: ItemId,
    /// Time of the wear.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Where the wear was logged, such as `vault_card`.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Occasion.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub occasion: Option<String>,
    /// Weather at the time.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub weather_snapshot: Option<WeatherSnapshot>,
    /// The styling activity that led to the wear.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub styling_activity_id: Option<String>,
    /// When the wear was logged.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
