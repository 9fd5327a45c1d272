//! Purchase ideas for a wardrobe, the thumbs on them, and how far the weekly run has come.

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
    /// The week that a moment, in UTC, belongs to.
    pub fn of(moment: OffsetDateTime) -> Self {
        let (year, number, _) = moment.to_offset(time::UtcOffset::UTC).to_iso_week_date();
        Self { year, number }
    }

    /// The week that the text names, if it names one.
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

/// One purchase idea.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "StoredSuggestion")]
pub struct Suggestion {
    /// What to buy.
    pub item: String,
    /// Why.
    pub rationale: String,
}

/// A purchase idea as documents have it: in older ones the rationale is called `reason`.
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

/// Purchase ideas for a wardrobe as it was at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digest {
    /// `<userId>-<wardrobeHash>`.
    pub id: DigestId,
    /// Whose wardrobe it is about.
    pub user_id: UserId,
    /// When it was made.
    pub generated_at: Timestamp,
    /// Names the set of owned items that it is about.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub wardrobe_hash: String,
    /// The ideas.
    #[serde(default, deserialize_with = "lenient::list")]
    pub suggestions: Vec<Suggestion>,
    /// Styles of the profile that were considered.
    #[serde(default, deserialize_with = "lenient::list")]
    pub styles_considered: Vec<String>,
    /// Owned items.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub total_items: u64,
    /// Those of them that were ever worn.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub items_with_wear_history: u64,
    /// `temperate`, `tropical`, `continental`, `arid` or `polar`.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub climate_zone: Option<String>,
    /// Share of the ideas that fit what is worn, 0 to 1; what the profile learns from the digest.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub style_confidence: Option<f64>,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A thumb on one purchase idea. There is one at most for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DigestFeedback {
    /// `<userId>-<digestId>-<index>`.
    pub id: String,
    /// Whose thumb it is.
    pub user_id: UserId,
    /// The digest.
    pub digest_id: DigestId,
    /// Place of the idea in it, from 0.
    pub suggestion_index: u64,
    /// The idea in words.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub suggestion_description: String,
    /// The thumb.
    pub signal: Signal,
    /// When.
    pub created_at: Timestamp,
}

/// What came of the weekly run for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeeklyOutcome {
    /// Somebody is at it, or died over it.
    Running,
    /// There is a digest.
    Generated,
    /// There was nothing to do.
    Skipped,
    /// It failed; another try may succeed.
    Failed,
}

/// How far the weekly run has come for a user: one document each. It carries the digest until that has its own document,
/// so that a digest and the note that it was made are one write. It is not kept among the digests: older readers take the
/// newest document there for a digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeeklyRun {
    /// Always the same: [`WeeklyRun::ID`].
    pub id: String,
    /// The user.
    pub user_id: UserId,
    /// The newest week that was seen to.
    pub week: Week,
    /// What came of it.
    pub outcome: WeeklyOutcome,
    /// The digest that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_id: Option<DigestId>,
    /// The same, until it is saved and the profile has heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Box<Digest>>,
    /// The profile's hash before: as long as it is this, the profile has not heard of the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_hash: Option<String>,
    /// Who is at it.
    #[serde(flatten)]
    pub lease: Lease,
    /// When this was written.
    pub updated_at: Timestamp,
    /// Seconds until the document expires.
    #[serde(default = "WeeklyRun::life")]
    pub ttl: u32,
}

impl WeeklyRun {
    /// Id of the document.
    pub const ID: &str = "weekly-run";

    /// Longer than a week may be seen to after it has begun.
    pub const fn life() -> u32 {
        60 * 24 * 60 * 60
    }

    /// Whether the week needs no more work.
    pub fn is_settled(&self, week: Week) -> bool {
        self.week > week
            || self.week == week && matches!(self.outcome, WeeklyOutcome::Generated | WeeklyOutcome::Skipped)
    }
}

/// How far the profiles of all users have been put into the queue for one week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FanOut {
    /// `digest-fan-out-<week>`.
    pub id: String,
    /// The partition, which is nobody's: `system`.
    pub user_id: String,
    /// The week.
    pub week: Week,
    /// Pages of profiles whose messages were sent.
    pub pages: u64,
    /// Users in them.
    pub users: u64,
    /// Where the next page begins; none for the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When the last page was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Who is at it, or until when a message waits for somebody to go on.
    #[serde(flatten)]
    pub lease: Lease,
    /// Seconds until the document expires.
    pub ttl: u32,
}

/// A message of the weekly run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DigestMessage {
    /// Make the digests of these users.
    Batch {
        /// For this week.
        week: Week,
        /// The page of profiles that they are from.
        page: u64,
        /// The users.
        users: Vec<UserId>,
    },
    /// Go on putting profiles into the queue.
    FanOut {
        /// For this week.
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
