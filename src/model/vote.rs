//! Votes on items of the discover feed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{ScrapedItemId, UserId};
use super::lenient;
use super::timestamp::Timestamp;

/// Thumb up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase")]
pub enum Signal {
    /// Liked.
    Up,
    /// Not liked.
    Down,
}

impl Signal {
    /// Parses a signal.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// Returns the contribution to an item's score.
    pub const fn worth(self) -> i64 {
        match self {
            Self::Up => 1,
            Self::Down => -1,
        }
    }
}

/// A user's vote on an item; at most one per item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vote {
    /// The item.
    pub id: ScrapedItemId,
    /// The voter.
    pub user_id: UserId,
    /// The vote; none if it cannot be read.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub signal: Option<Signal>,
    /// Time of the vote.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub updated_at: Option<Timestamp>,
    /// Contribution of the previous vote to the score; 0 if there was none.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub previous: i64,
    /// Identifies this change, so that the item can tell whether it includes it.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub operation: String,
    /// Whether the score may lack this change.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub pending: bool,
}

impl Vote {
    /// Returns the contribution of the vote to the item's score.
    pub fn worth(&self) -> i64 {
        self.signal.map_or(0, Signal::worth)
    }
}
