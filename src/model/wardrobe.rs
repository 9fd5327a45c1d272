//! Clothes and when they were worn.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{ItemId, UserId};
use super::lenient;
use super::timestamp::Timestamp;

/// A piece of clothing. Written by the API; this service writes one only on import.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WardrobeItem {
    /// Unique for the user.
    pub id: ItemId,
    /// Whose it is.
    pub user_id: UserId,
    /// Its picture.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    /// Free words.
    #[serde(default, deserialize_with = "lenient::list")]
    pub tags: Vec<String>,
    /// Colours, the dominant one first.
    #[serde(default, deserialize_with = "lenient::list")]
    pub colours: Vec<Colour>,
    /// Maker.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// Kind of garment, in any case of letters.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// What it cost.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// The owner's remarks.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// When it came into the wardrobe.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub date_added: Option<Timestamp>,
    /// How often it was worn.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub wear_count: u32,
    /// When it was worn last.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub last_worn_at: Option<Timestamp>,
    /// The newest occasions on which it was worn, at most 30.
    #[serde(default, deserialize_with = "lenient::list")]
    pub wear_events: Vec<Wear>,
    /// State of wear.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Size, in whichever system it has one.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Words for its style.
    #[serde(default, deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub aesthetic_tags: Vec<String>,
    /// Set while, or after, a photo is turned into an item; such a draft is not owned yet.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub draft_status: Option<Value>,
    /// Wished for, not owned.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub is_wishlisted: bool,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl WardrobeItem {
    /// Whether it belongs to the owned wardrobe: neither a draft nor a wish.
    pub fn is_owned(&self) -> bool {
        self.draft_status.as_ref().is_none_or(Value::is_null) && !self.is_wishlisted
    }
}

/// A colour with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Colour {
    /// In words.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    /// `#rrggbb`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub hex: String,
}

/// What something cost. Older documents hold a bare number instead of an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// In units of the currency.
    pub amount: f64,
    /// ISO 4217 code.
    pub original_currency: String,
    /// When it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purchase_date: Option<Timestamp>,
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
            purchase_date: Option<Timestamp>,
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

/// A size, in whichever systems it is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// One wearing, as the item keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wear {
    /// When.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// To what.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub occasion: Option<String>,
    /// In what weather.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub weather_snapshot: Option<WeatherSnapshot>,
}

/// The weather when something was worn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeatherSnapshot {
    /// Degrees Celsius.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub temp_celsius: Option<f64>,
    /// In words.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub conditions: Option<String>,
}

/// One wearing, as a document of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WearEvent {
    /// Unique for the user.
    pub id: String,
    /// Who wore it.
    pub user_id: UserId,
    /// What was worn.
    pub item_id: ItemId,
    /// When.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// To what.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub occasion: Option<String>,
    /// In what weather.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub weather_snapshot: Option<WeatherSnapshot>,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
