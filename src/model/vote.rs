//! Who voted what on which item.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{ScrapedItemId, UserId};
use super::lenient;
use super::timestamp::Timestamp;

/// A thumb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Liked.
    Up,
    /// Not liked.
    Down,
}

impl Signal {
    /// The thumb of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "up" => Some(Self::Up),
            "down" => Some(Self::Down),
            _ => None,
        }
    }

    /// What it is worth in an item's score.
    pub const fn worth(self) -> i64 {
        match self {
            Self::Up => 1,
            Self::Down => -1,
        }
    }
}

/// A user's vote on an item. There is one at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vote {
    /// The item.
    pub id: ScrapedItemId,
    /// Who voted.
    pub user_id: UserId,
    /// What.
    pub signal: Signal,
    /// When.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub updated_at: Option<Timestamp>,
    /// What the vote before this one was worth in the score; 0 if there was none.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub previous: i64,
    /// Names this change, so that the item can tell whether it has it already.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub operation: String,
    /// Whether the score may lack this change.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub pending: bool,
}
