//! Digests (purchase ideas for a wardrobe), feedback on them, and progress of the weekly run.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::ids::{DigestId, UserId};
use super::lease::Lease;
use super::lenient;
use super::timestamp::Timestamp;
use super::vote::Signal;

/// An ISO 8601 week, written as `2026-W10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Week {
    year: i32,
    number: u8,
}

impl Week {
    /// Returns the ISO week of a moment, in UTC.
    pub fn of(moment: OffsetDateTime) -> Self {
        let (year, number, _) = moment.to_offset(time::UtcOffset::UTC).to_iso_week_date();
        Self { year, number }
    }

    /// Parses `2026-W10`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, number) = text.split_once("-W")?;
        let is_plain = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain(year, 4) || !is_plain(number, 2) {
            return None;
        }
        let (year, number): (i32, u8) = (year.parse().ok()?, number.parse().ok()?);
        (1..=time::util::weeks_in_year(year)).contains(&number).then_some(Self { year, number })
    }
}

impl fmt::Display for Week {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-W{:02}", self.year, self.number)
    }
}

impl Serialize for Week {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Week {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not an ISO week"))
    }
}

/// A purchase idea.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "StoredSuggestion")]
pub struct Suggestion {
    /// Item to buy.
    pub item: String,
    /// Reason to buy it.
    pub rationale: String,
}

/// A purchase idea as stored; older documents call the rationale `reason`.
#[derive(Deserialize)]
struct StoredSuggestion {
    item: String,
    #[serde(default, deserialize_with = "lenient::optional")]
    rationale: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional")]
    reason: Option<String>,
}

impl TryFrom<StoredSuggestion> for Suggestion {
    type Error = &'static str;

    fn try_from(stored: StoredSuggestion) -> Result<Self, Self::Error> {
        let rationale = stored.rationale.or(stored.reason).ok_or("neither a rationale nor a reason")?;
        Ok(Self { item: stored.item, rationale })
    }
}

/// Purchase ideas for a wardrobe at one point in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digest {
    /// `<userId>-<wardrobeHash>`.
    pub id: DigestId,
    /// Owner of the wardrobe.
    pub user_id: UserId,
    /// Time of creation.
    pub generated_at: Timestamp,
    /// Hash of the set of owned items.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub wardrobe_hash: String,
    /// The purchase ideas.
    #[serde(default, deserialize_with = "lenient::list")]
    pub suggestions: Vec<Suggestion>,
    /// Style preferences that were considered.
    #[serde(default, deserialize_with = "lenient::list")]
    pub styles_considered: Vec<String>,
    /// Number of owned items.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub total_items: u64,
    /// Number of owned items that were ever worn.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub items_with_wear_history: u64,
    /// `temperate`, `tropical`, `continental`, `arid` or `polar`.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub climate_zone: Option<String>,
    /// Share of ideas that match what the user wears, 0 to 1; copied to the profile.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub style_confidence: Option<f64>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A user's vote on one purchase idea; at most one per idea.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DigestFeedback {
    /// `<userId>-<digestId>-<generatedAt in milliseconds>-<index>`; without the time in earlier versions.
    pub id: String,
    /// User who gave the feedback.
    pub user_id: UserId,
    /// The digest.
    pub digest_id: DigestId,
    /// Index of the idea in the digest.
    #[serde(deserialize_with = "lenient::whole")]
    pub suggestion_index: u64,
    /// Text of the idea.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub suggestion_description: String,
    /// Thumb up or down.
    pub signal: Signal,
    /// Time of the feedback.
    pub created_at: Timestamp,
}

/// Outcome of the weekly run for one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeeklyOutcome {
    /// Running, or its worker died.
    Running,
    /// A digest was created.
    Generated,
    /// No digest was needed.
    Skipped,
    /// Failed; a retry may succeed.
    Failed,
}

/// Progress of the weekly run for one user; one document per user. It holds the digest until the digest has its own
/// document, so that creating and recording a digest is one write. It is stored in another container than the digests,
/// because older readers treat the newest document there as a digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeeklyRun {
    /// Always [`WeeklyRun::ID`].
    pub id: String,
    /// User id.
    pub user_id: UserId,
    /// The newest week that was processed.
    pub week: Week,
    /// Outcome of that week.
    pub outcome: WeeklyOutcome,
    /// Id of the digest that was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_id: Option<DigestId>,
    /// The digest itself, until it is saved and the profile is updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Box<Digest>>,
    /// The profile's wardrobe hash before the update; while the profile still has it, the update is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_hash: Option<String>,
    /// The worker that processes the user.
    #[serde(flatten)]
    pub lease: Lease,
    /// Time of the last write.
    pub updated_at: Timestamp,
    /// Seconds until the document expires.
    #[serde(default = "WeeklyRun::life")]
    pub ttl: u32,
}

impl WeeklyRun {
    /// Id of the document.
    pub const ID: &str = "weekly-run";

    /// Lifetime in seconds: longer than the time in which a week can still be processed.
    pub const fn life() -> u32 {
        60 * 24 * 60 * 60
    }

    /// Whether the week is finished.
    pub fn is_settled(&self, week: Week) -> bool {
        self.week > week
            || self.week == week && matches!(self.outcome, WeeklyOutcome::Generated | WeeklyOutcome::Skipped)
    }
}

/// Progress of queueing all users for one week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FanOut {
    /// `digest-fan-out-<week>`.
    pub id: String,
    /// Partition; always `system`.
    pub user_id: String,
    /// The week.
    pub week: Week,
    /// Pages of profiles that were queued.
    pub pages: u64,
    /// Users that were queued.
    pub users: u64,
    /// Position of the next page; `None` for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Start time.
    pub started_at: Timestamp,
    /// Time at which the last page was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The worker that queues users, or the time until which a waiting message stands for the next one.
    #[serde(flatten)]
    pub lease: Lease,
    /// Seconds until the document expires.
    pub ttl: u32,
}

/// A message of the weekly run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DigestMessage {
    /// Create the digests of these users.
    Batch {
        /// The week.
        week: Week,
        /// Page of profiles that the users come from.
        page: u64,
        /// The users.
        users: Vec<UserId>,
    },
    /// Continue queueing users.
    FanOut {
        /// The week.
        week: Week,
    },
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_week_is_that_of_its_thursday() {
        for (moment, week) in [
            (datetime!(2026-03-02 09:00 UTC), "2026-W10"),
            (datetime!(2026-03-08 23:59:59 UTC), "2026-W10"),
            (datetime!(2026-03-09 00:00 UTC), "2026-W11"),
            (datetime!(2027-01-03 12:00 UTC), "2026-W53"),
            (datetime!(2024-12-30 12:00 UTC), "2025-W01"),
            (datetime!(2026-03-09 00:30 +01:00), "2026-W10"),
        ] {
            assert_eq!(Week::of(moment).to_string(), week);
            assert_eq!(Week::parse(week), Some(Week::of(moment)));
        }
        for text in ["2026-W54", "2025-W53", "2026-W00", "2026W10", "2026-W1", "+026-W10", "2026-W+1", "x"] {
            assert_eq!(Week::parse(text), None, "{text}");
        }
        assert!(Week::parse("2025-W52") < Week::parse("2026-W01"));
    }
}
