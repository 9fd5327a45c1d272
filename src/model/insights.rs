//! Wardrobe statistics, as answered and as cached.
//!
//! Fields are in alphabetical order, so that the JSON of a record is its canonical form.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{ItemId, UserId};
use super::lenient;
use super::numbers::Number;
use super::timestamp::Timestamp;

/// Statistics of a wardrobe. `L` is a list of [`CpwIntel`], or its serialized form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultInsights<L = Vec<CpwIntel>> {
    /// How the wardrobe is used.
    pub behavioral_insights: BehavioralInsights,
    /// Source of the exchange rates.
    pub conversion_status: ConversionStatus,
    /// Cost per wear of each item, ordered by item id.
    #[schema(value_type = Vec<CpwIntel>)]
    pub cpw_intel: L,
    /// ISO 4217 code of the currency of all amounts.
    pub currency: String,
    /// Date of the exchange rates, `YYYY-MM-DD`.
    pub fx_date: String,
    /// Time of the computation.
    pub generated_at: Timestamp,
    /// Whether the wardrobe has no items.
    pub insufficient_data: bool,
}

/// How a wardrobe is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BehavioralInsights {
    /// The most expensive item that was never worn.
    pub most_expensive_unworn: Option<UnwornItem>,
    /// Whether fewer than five items were ever worn.
    pub sparse_history: bool,
    /// The most worn colour.
    pub top_color_wear_share: Option<ColorShare>,
    /// Percentage of items not worn in the last 90 days, with one decimal.
    pub unworn90d_pct: Option<Number>,
}

/// An item that was never worn, with its price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnwornItem {
    /// Price with two decimals.
    pub amount: Number,
    /// ISO 4217 code of the price.
    pub currency: String,
    /// Item id.
    pub item_id: ItemId,
}

/// Share of a colour in all wears.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ColorShare {
    /// Name of the colour.
    pub color: String,
    /// Percentage with one decimal.
    pub pct: Number,
}

/// Cost per wear of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpwIntel {
    /// Comparison with the target.
    pub badge: Badge,
    /// Whether the cost per wear is at or below the target.
    pub break_even_reached: bool,
    /// Target cost per wear.
    pub break_even_target_cpw: Number,
    /// Price divided by wears, with two decimals; `None` without a price or a wear.
    pub cpw: Option<Number>,
    /// Forecast of reaching the target; `None` without a price.
    pub forecast: Option<Forecast>,
    /// Wears per month since the item was added, with two decimals.
    pub historical_wear_rate: Number,
    /// Item id.
    pub item_id: ItemId,
    /// Wears per month in the recent period, with two decimals.
    pub recent_wear_rate: Number,
    /// Recent minus historical wear rate, with two decimals.
    pub wear_rate_delta: Number,
    /// Direction of the change in wear rate.
    pub wear_rate_trend: WearRateTrend,
}

/// When an item may reach the target cost per wear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Wears per month since the item was added, as in [`CpwIntel`].
    pub historical_wear_rate: Number,
    /// Projected month, `YYYY-MM`; `None` after the year 9999.
    pub projected_month: Option<String>,
    /// Wears still needed.
    pub projected_wears_needed: u32,
    /// Wears per month in the window, as in [`CpwIntel`].
    pub recent_wear_rate: Number,
    /// Target cost per wear.
    pub target_cpw: Number,
    /// Direction of the change in wear rate, as in [`CpwIntel`].
    pub wear_rate_trend: WearRateTrend,
}

/// Comparison of a cost per wear with the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Badge {
    /// Never worn.
    Unworn,
    /// Worn, but without a price.
    Unknown,
    /// Above one and a half times the target.
    High,
    /// Above the target.
    Medium,
    /// At or below the target.
    Low,
}

/// Comparison of the recent with the historical wear rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WearRateTrend {
    /// Worn more.
    Up,
    /// Worn less.
    Down,
    /// About the same.
    Stable,
}

/// Source of exchange rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConversionStatus {
    /// The built-in rates.
    StaticRates,
    /// The configured feed.
    LiveRates,
}

/// Cached statistics.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedInsights {
    /// Identifies the parameters.
    pub id: String,
    /// Owner of the wardrobe.
    pub user_id: UserId,
    /// Identifies the state of the data.
    pub fingerprint: String,
    /// The canonical JSON text, compressed with gzip, in base64.
    pub payload: String,
    /// SHA-256 of the JSON text, in hex.
    pub etag: String,
    /// Time after which the entry is ignored.
    pub expires_at: Timestamp,
    /// Seconds until the store deletes the document.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub ttl: u64,
}
