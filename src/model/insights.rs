//! Numbers about a wardrobe, as they are answered, and as they are kept for a while.
//!
//! Fields stand in alphabetical order, so that the JSON text of a record is its canonical form.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{ItemId, UserId};
use super::lenient;
use super::numbers::Number;
use super::timestamp::Timestamp;

/// What a wardrobe amounts to. `L` is a list of [`CpwIntel`], or what is written as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultInsights<L = Vec<CpwIntel>> {
    /// How the wardrobe is worn.
    pub behavioral_insights: BehavioralInsights,
    /// Where the exchange rates come from.
    pub conversion_status: ConversionStatus,
    /// What each item's wearings cost, in the order of the items' ids.
    pub cpw_intel: L,
    /// ISO 4217 code of the currency of all amounts.
    pub currency: String,
    /// The day of the exchange rates, `YYYY-MM-DD`.
    pub fx_date: String,
    /// When this was computed.
    pub generated_at: Timestamp,
    /// Whether there is nothing to tell about.
    pub insufficient_data: bool,
}

/// How a wardrobe is worn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BehavioralInsights {
    /// The dearest item that was never worn.
    pub most_expensive_unworn: Option<UnwornItem>,
    /// Whether fewer than five items were ever worn.
    pub sparse_history: bool,
    /// The colour that is worn most.
    pub top_color_wear_share: Option<ColorShare>,
    /// Share of items that were not worn in the last 90 days, in percent with one decimal.
    pub unworn90d_pct: Option<Number>,
}

/// An item that was never worn, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnwornItem {
    /// With two decimals.
    pub amount: Number,
    /// ISO 4217 code of the amount's currency.
    pub currency: String,
    /// The item.
    pub item_id: ItemId,
}

/// How much of what is worn has a colour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ColorShare {
    /// The colour's name.
    pub color: String,
    /// In percent, with one decimal.
    pub pct: Number,
}

/// What an item's wearings cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpwIntel {
    /// How that compares with the target.
    pub badge: Badge,
    /// Whether the cost per wear is at the target, or below.
    pub break_even_reached: bool,
    /// The target, in units of the currency.
    pub break_even_target_cpw: Number,
    /// Price divided by wearings, with two decimals; none without a price or a wearing.
    pub cpw: Option<Number>,
    /// When the target may be reached; none without a price.
    pub forecast: Option<Forecast>,
    /// Wearings per month since the item is there, with two decimals.
    pub historical_wear_rate: Number,
    /// The item.
    pub item_id: ItemId,
    /// Wearings per month of late, with two decimals.
    pub recent_wear_rate: Number,
    /// By how much the recent rate is above the historical one, with two decimals.
    pub wear_rate_delta: Number,
    /// The same in a word.
    pub wear_rate_trend: WearRateTrend,
}

/// When a cost per wear may be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// As [`CpwIntel::historical_wear_rate`].
    pub historical_wear_rate: Number,
    /// `YYYY-MM`; none when that is after the year 9999.
    pub projected_month: Option<String>,
    /// Wearings that are still missing.
    pub projected_wears_needed: u32,
    /// As [`CpwIntel::recent_wear_rate`].
    pub recent_wear_rate: Number,
    /// The cost per wear to reach.
    pub target_cpw: Number,
    /// As [`CpwIntel::wear_rate_trend`].
    pub wear_rate_trend: WearRateTrend,
}

/// How a cost per wear compares with the target.
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
    /// At the target, or below.
    Low,
}

/// How the recent wear rate compares with the historical one.
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

/// Where exchange rates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConversionStatus {
    /// The built-in table.
    StaticRates,
    /// The configured feed.
    LiveRates,
}

/// Insights that were computed, as they are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedInsights {
    /// Names the question.
    pub id: String,
    /// Whose they are.
    pub user_id: UserId,
    /// What they were computed from.
    pub fingerprint: String,
    /// The canonical JSON text, compressed with gzip, in base64.
    pub payload: String,
    /// SHA-256 of that text, in hex.
    pub etag: String,
    /// From when on they no longer count.
    pub expires_at: Timestamp,
    /// Seconds after which the store forgets them.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub ttl: u64,
}
