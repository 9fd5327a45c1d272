//! Sources of the discover feed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ids::{SourceId, UserId};
use super::lease;
use super::lenient;
use super::timestamp::Timestamp;

/// Kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum SourceType {
    /// A subreddit.
    Reddit,
    /// A brand's site.
    BrandSite,
}

impl SourceType {
    /// Every kind of source.
    pub const ALL: [Self; 2] = [Self::Reddit, Self::BrandSite];

    /// Returns the kind as written in documents and ids.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }

    /// Returns the kind as clients know it.
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Reddit => "reddit",
            Self::BrandSite => "brand",
        }
    }

    /// Parses a kind; clients write `brand` for a brand's site.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "reddit" => Some(Self::Reddit),
            "brand" | "brand_site" => Some(Self::BrandSite),
            _ => None,
        }
    }
}

impl SourceId {
    /// Builds the source id of a brand: `brand-` and its name in lower case, with a hyphen for each run of characters
    /// that are neither letters nor digits. `None` if nothing remains.
    pub fn of_brand(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let words: Vec<&str> =
            name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        (!words.is_empty()).then(|| format!("brand-{}", words.join("-")).into())
    }
}

/// A source, for reading only: its document has fields of other services.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Source id, unique across kinds.
    pub id: SourceId,
    /// Kind of source.
    pub source_type: SourceType,
    /// Display name.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    /// What to fetch and how to read it; depends on the kind.
    #[serde(default)]
    pub config: Value,
    /// Whether all users see it; else only its creator does.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub is_global: bool,
    /// Whether it is active.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub is_active: bool,
    /// User who suggested it.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub created_by: Option<UserId>,
    /// When it was last scraped completely, or posts from it were submitted.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub last_scraped_at: Option<Timestamp>,
    /// The last UTC day of a daily scrape, `2026-03-02`.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub last_daily_run: Option<String>,
    /// Version of its page at the last scrape, if the site sends one.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub page_version: Option<PageVersion>,
    /// End of the lease that keeps others from scraping it.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub lease_expires_at: Option<Timestamp>,
    /// Owner of the lease: a user, or a run of the service.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub lease_owner: Option<String>,
    /// Time until which a scrape for a subscriber counts as queued.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub queued_until: Option<Timestamp>,
    /// The subscriber that scrape is for.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub queued_for: Option<UserId>,
    /// How often that scrape was queued again.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub requeues: u32,
    /// Users who leased it without submitting anything, and when they may lease it again.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub client_waits: BTreeMap<UserId, Timestamp>,
}

/// Version of a page, for conditional requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PageVersion {
    /// `ETag` of the page.
    pub etag: Option<String>,
    /// `Last-Modified` of the page.
    pub last_modified: Option<String>,
    /// When the page was last read completely.
    pub read_at: Timestamp,
}

impl Source {
    /// Longest lease of a source: a client's.
    pub const LONGEST_LEASE: Duration = Duration::from_secs(15 * 60);
    /// Age of the last scrape below which clients need not send posts.
    const FRESH: Duration = Duration::from_secs(4 * 60 * 60);

    /// Whether the user may see and use the source.
    pub fn is_visible_to(&self, user: &UserId) -> bool {
        self.is_active && (self.is_global || self.created_by.as_ref() == Some(user))
    }

    /// Whether the source belongs to this user alone. A source that became global does not.
    pub fn is_own(&self, user: &UserId) -> bool {
        !self.is_global && self.created_by.as_ref() == Some(user)
    }

    /// Whether somebody holds the lease.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        lease::is_live(self.lease_expires_at, now, Self::LONGEST_LEASE)
    }

    /// Whether this user holds the lease.
    pub fn is_leased_by(&self, user: &UserId, now: Timestamp) -> bool {
        self.is_leased(now) && self.lease_owner.as_deref() == Some(user.as_str())
    }

    /// Whether a scrape for a subscriber waits in the queue.
    pub fn is_queued(&self, now: Timestamp) -> bool {
        self.queued_until.is_some_and(|until| until > now)
    }

    /// Whether a client should fetch posts for us; Reddit rejects servers more often than people.
    pub fn needs_client_ingest(&self, now: Timestamp) -> bool {
        let is_fresh = self.last_scraped_at.is_some_and(|at| at + Self::FRESH > now);
        self.source_type == SourceType::Reddit && !is_fresh && !self.is_leased(now)
    }

    /// Whether the daily scrape of `day` (`2026-03-02`) is done.
    pub fn is_done_for(&self, day: &str) -> bool {
        self.last_daily_run.as_deref().is_some_and(|done| done >= day)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(fields: Value) -> Source {
        let mut document = json!({"id": "s", "sourceType": "reddit", "isActive": true, "isGlobal": true});
        document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn private_sources_are_their_creators() {
        let (ada, eve) = (UserId::from("ada"), UserId::from("eve"));
        let seen_by = |fields: Value| {
            let source = source(fields);
            (source.is_visible_to(&ada), source.is_visible_to(&eve))
        };
        assert_eq!(seen_by(json!({})), (true, true));
        assert_eq!(seen_by(json!({"isGlobal": false, "createdBy": "ada"})), (true, false));
        assert_eq!(seen_by(json!({"isGlobal": false})), (false, false));
        assert_eq!(seen_by(json!({"isActive": false, "createdBy": "ada"})), (false, false));
        assert_eq!(seen_by(json!({"isGlobal": 1, "createdBy": "eve", "name": 7})), (false, true), "odd fields");
    }

    #[test]
    fn a_brand_has_one_id() {
        for (name, id) in [
            ("Acne Studios", Some("brand-acne-studios")),
            ("  A.P.C. -- Paris!", Some("brand-a-p-c-paris")),
            ("Wood Wood 2", Some("brand-wood-wood-2")),
            ("Ærø Æbler", Some("brand-ærø-æbler")),
            ("——", None),
        ] {
            assert_eq!(SourceId::of_brand(name).as_ref().map(SourceId::as_str), id, "{name}");
        }
    }

    #[test]
    fn clients_are_asked_for_what_nobody_scrapes() {
        let now = Timestamp::parse("2026-03-02T12:00:00Z").unwrap();
        let needs = |fields: Value| source(fields).needs_client_ingest(now);
        assert!(needs(json!({})));
        assert!(needs(json!({"lastScrapedAt": "2026-03-02T08:00:00Z"})), "exactly four hours");
        assert!(!needs(json!({"lastScrapedAt": "2026-03-02T08:00:01Z"})));
        assert!(!needs(json!({"leaseExpiresAt": "2026-03-02T12:00:01Z"})));
        assert!(needs(json!({"leaseExpiresAt": "2026-03-02T12:00:00Z"})), "run out");
        assert!(!needs(json!({"sourceType": "brand_site"})));
    }
}
