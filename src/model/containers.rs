//! The containers of the database: names, partition keys, lifetimes and indexes.
//!
//! Other services use the same database, so this is a contract (`requirements/data.md`). The embedded store derives its
//! tables and expression indexes from it, and `pluckit storage init` creates the containers of an emulator or a new
//! account from it.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use Direction::{Ascending, Descending};
use TimeToLive::{Days, Off, PerDocument};
use strum::VariantArray as _;

/// Direction of a sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest first. Missing and null values come first.
    Ascending,
    /// Largest first. Missing and null values come last.
    Descending,
}

/// A container of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, strum::VariantArray)]
#[expect(missing_docs, reason = "each is described by its row in `SPECS`")]
pub enum Container {
    Wardrobe,
    UserProfiles,
    WearEvents,
    StylingActivity,
    RefreshTokens,
    Conversations,
    Digests,
    DigestFeedback,
    VaultInsightsCache,
    Moods,
    ScraperSources,
    ScrapedItems,
    UserSourceSubscriptions,
    TasteCalibration,
    UserBans,
    TasteAnalysisJobs,
    TasteAnalysisJobDeadLetters,
    ItemVotes,
    Jobs,
    ApiTokens,
    ChatRuns,
    Collections,
    CollectionMembers,
    AuditEntries,
    Usage,
}

/// Default lifetime of a container's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeToLive {
    /// Unlimited; documents cannot override it.
    Off,
    /// Unlimited, unless a document has a `ttl`.
    PerDocument,
    /// This many days, unless a document has a `ttl`.
    Days(u32),
}

/// A list field whose elements queries filter by, combined with other fields and a sort order. Cosmos DB indexes lists
/// anyway; the embedded store keeps a table with a row per element, see `store/sqlite/lists.rs`.
#[derive(Debug, Clone, Copy)]
pub struct ListIndex {
    /// The list field; its elements are strings.
    pub list: &'static str,
    /// A field that queries compare with a few values.
    pub group: &'static str,
    /// Date fields, in order of preference: the first that is present dates the document.
    pub dated: &'static [&'static str],
    /// Fields that queries sort by, largest first, with ties broken by id.
    pub orders: &'static [&'static str],
}

/// Fields that queries of one partition filter by in any combination, and their orders. Cosmos DB indexes all fields
/// anyway; the embedded store keeps a narrow table with a column for each, see `store/sqlite/columns.rs`. Only for
/// containers whose documents never expire.
#[derive(Debug, Clone, Copy)]
pub struct ColumnIndex {
    /// Texts that queries compare without regard to case.
    pub texts: &'static [&'static str],
    /// Fields that queries compare.
    pub fields: &'static [&'static str],
    /// Lists of texts, of which queries look for an element.
    pub lists: &'static [&'static str],
    /// Fields that queries compare and sort by, largest first, with ties broken by id; or in the opposite order.
    pub orders: &'static [&'static str],
}

/// An index of only the documents that have a field, which few have.
#[derive(Debug, Clone, Copy)]
pub struct SparseIndex {
    /// The field.
    pub has: &'static str,
    /// The sort order, with the filters before it.
    pub order: &'static [(&'static str, Direction)],
    /// Whether its queries span partitions.
    pub across_partitions: bool,
}

/// Definition of a container.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Default name of the container.
    pub default_name: &'static str,
    /// Environment variable that overrides the name.
    pub variable: &'static str,
    /// Partition key field, without the slash.
    pub partition_key: &'static str,
    /// Default lifetime of documents.
    pub time_to_live: TimeToLive,
    /// Sort orders, with the filters before them, that need an index.
    pub indexes: &'static [&'static [(&'static str, Direction)]],
    /// Composite indexes for queries of other services on the same Cosmos DB database.
    pub foreign_indexes: &'static [&'static [(&'static str, Direction)]],
    /// Whether queries in these orders also span partitions. The embedded store then has a second index for each order.
    pub across_partitions: bool,
    /// Sort orders of queries that look for documents with a field that few have.
    pub sparse_indexes: &'static [SparseIndex],
    /// The list field that the embedded store indexes.
    pub list: Option<&'static ListIndex>,
    /// The fields that the embedded store keeps in a narrow table.
    pub columns: Option<&'static ColumnIndex>,
    /// Whether `PartitionIndex::changes` reports changes of a partition. It makes every write to the embedded store
    /// slightly slower.
    pub tracks_changes: bool,
    /// Vector fields: excluded from the ordinary index, with a vector index instead.
    pub vectors: &'static [&'static str],
}

impl Container {
    /// Every container.
    pub const ALL: [Self; SPECS.len()] = {
        let mut all = [Self::Wardrobe; SPECS.len()];
        all.copy_from_slice(Self::VARIANTS);
        all
    };

    /// Returns the container's definition.
    pub const fn spec(self) -> Spec {
        SPECS[self as usize]
    }
}

const fn spec(
    default_name: &'static str,
    variable: &'static str,
    partition_key: &'static str,
    time_to_live: TimeToLive,
) -> Spec {
    Spec {
        default_name,
        variable,
        partition_key,
        time_to_live,
        indexes: &[],
        foreign_indexes: &[],
        across_partitions: false,
        sparse_indexes: &[],
        list: None,
        columns: None,
        tracks_changes: false,
        vectors: &[],
    }
}

/// The containers, in the order of [`Container`].
const SPECS: [Spec; 25] = [
    // Clothes.
    Spec {
        indexes: &[
            &[("wearCount", Descending), ("id", Ascending)],
            &[("dateAdded", Descending), ("id", Ascending)],
            &[("price.amount", Descending), ("id", Ascending)],
        ],
        columns: Some(&ColumnIndex {
            texts: &["category", "brand"],
            fields: &["condition", "isWishlisted", "draftStatus"],
            lists: &["tags", "aestheticTags"],
            orders: &["dateAdded", "wearCount", "price.amount"],
        }),
        sparse_indexes: &[
            // A user's drafts, and stale drafts of all users.
            SparseIndex {
                has: "draftStatus",
                order: &[("draftCreatedAt", Descending), ("id", Ascending)],
                across_partitions: false,
            },
            SparseIndex {
                has: "draftStatus",
                order: &[("draftStatus", Ascending), ("draftUpdatedAt", Ascending)],
                across_partitions: true,
            },
            // The owners of the items with an id.
            SparseIndex { has: "id", order: &[("id", Ascending)], across_partitions: true },
        ],
        tracks_changes: true,
        ..spec("Wardrobe", "COSMOS_DB_CONTAINER", "userId", Off)
    },
    // Users' sizes, tastes and city.
    spec("UserProfiles", "COSMOS_DB_USER_PROFILES_CONTAINER", "id", Off),
    // Which item was worn when.
    Spec {
        indexes: &[&[("itemId", Ascending), ("occurredAt", Descending)], &[("occurredAt", Descending)]],
        tracks_changes: true,
        ..spec("WearEvents", "COSMOS_DB_WEAR_EVENTS_CONTAINER", "userId", Off)
    },
    // Users' actions on outfits, written by the API.
    Spec {
        indexes: &[&[("status", Ascending), ("occurredAt", Descending)]],
        ..spec("StylingActivity", "COSMOS_DB_STYLING_ACTIVITY_CONTAINER", "userId", Days(90))
    },
    // Sessions: hashes of access and refresh tokens. Looked up by hash across partitions, hence the indexes.
    Spec {
        indexes: &[&[("accessTokenHash", Ascending)], &[("refreshTokenHash", Ascending)]],
        across_partitions: true,
        ..spec("RefreshTokens", "COSMOS_DB_REFRESH_TOKENS_CONTAINER", "userId", PerDocument)
    },
    // One summary of past chats per user.
    spec("Conversations", "COSMOS_DB_CONVERSATIONS_CONTAINER", "userId", Days(30)),
    // Weekly purchase ideas.
    Spec {
        indexes: &[&[("generatedAt", Descending)]],
        ..spec("Digests", "COSMOS_DB_DIGESTS_CONTAINER", "userId", Off)
    },
    // Thumbs on purchase ideas.
    Spec {
        indexes: &[&[("digestId", Ascending), ("createdAt", Descending)], &[("createdAt", Descending)]],
        ..spec("DigestFeedback", "COSMOS_DB_DIGEST_FEEDBACK_CONTAINER", "userId", Days(90))
    },
    // Computed insights; each document says when it expires.
    spec("VaultInsightsCache", "COSMOS_DB_VAULT_INSIGHTS_CACHE_CONTAINER", "userId", PerDocument),
    // What is in fashion, by category.
    Spec {
        indexes: &[&[("trendScore", Descending)]],
        across_partitions: true,
        vectors: &["nameEmbedding"],
        ..spec("Moods", "COSMOS_DB_MOODS_CONTAINER", "primaryMood", Off)
    },
    // Where the discover feed comes from.
    Spec {
        indexes: &[&[("isGlobal", Ascending), ("isActive", Ascending)], &[("createdBy", Ascending)]],
        across_partitions: true,
        // Sources whose scrape for a subscriber is overdue.
        sparse_indexes: &[SparseIndex {
            has: "queuedUntil",
            order: &[("queuedUntil", Ascending)],
            across_partitions: true,
        }],
        ..spec("ScraperSources", "COSMOS_DB_SCRAPER_SOURCES_CONTAINER", "sourceType", Off)
    },
    // The discover feed.
    Spec {
        indexes: &[
            &[("scoreSignal", Descending), ("id", Ascending)],
            &[("scrapedAt", Descending), ("id", Ascending)],
            // Whether the feed already has a page.
            &[("productUrl", Ascending)],
            &[("needsEmbedding", Ascending)],
        ],
        foreign_indexes: &[
            &[("userId", Ascending), ("scoreSignal", Descending)],
            &[("userId", Ascending), ("scrapedAt", Descending)],
            &[("userId", Ascending), ("pHash", Ascending)],
        ],
        list: Some(&ListIndex {
            list: "tags",
            group: "sourceId",
            dated: &["sourceCreatedAt", "scrapedAt"],
            orders: &["scoreSignal", "scrapedAt"],
        }),
        vectors: &["embedding"],
        ..spec("ScrapedItems", "COSMOS_DB_SCRAPED_ITEMS_CONTAINER", "userId", Days(30))
    },
    // Users' subscriptions to sources.
    spec("UserSourceSubscriptions", "COSMOS_DB_USER_SOURCE_SUBSCRIPTIONS_CONTAINER", "userId", Off),
    // Taste quizzes.
    Spec {
        indexes: &[&[("isComplete", Ascending), ("createdAt", Descending)]],
        ..spec("TasteCalibration", "COSMOS_DB_TASTE_CALIBRATION_CONTAINER", "userId", Off)
    },
    // Users who may not contribute.
    spec("UserBans", "COSMOS_DB_USER_BANS_CONTAINER", "id", Off),
    // One job per vote to analyse.
    Spec {
        indexes: &[&[("status", Ascending), ("leaseExpiresAt", Ascending)]],
        across_partitions: true,
        ..spec("TasteAnalysisJobs", "COSMOS_DB_TASTE_JOBS_CONTAINER", "jobId", Days(14))
    },
    // Messages that failed for good.
    Spec {
        indexes: &[
            &[("createdAt", Descending), ("id", Ascending)],
            &[("status", Ascending), ("createdAt", Descending), ("id", Ascending)],
        ],
        across_partitions: true,
        ..spec("TasteAnalysisJobDeadLetters", "COSMOS_DB_TASTE_JOB_DEAD_LETTER_CONTAINER", "jobId", Days(30))
    },
    // Users' votes on items.
    spec("ItemVotes", "COSMOS_DB_ITEM_VOTES_CONTAINER", "userId", Days(30)),
    // Long operations; a final one says when it expires. Administrators find one by `jobId`, its id.
    Spec {
        indexes: &[
            &[("createdTime", Descending), ("id", Ascending)],
            &[("status", Ascending), ("createdTime", Descending), ("id", Ascending)],
            &[("status", Ascending), ("leaseExpiresAt", Ascending)],
            &[("purgeAt", Ascending)],
            &[("jobId", Ascending)],
        ],
        across_partitions: true,
        ..spec("Jobs", "COSMOS_DB_JOBS_CONTAINER", "userId", PerDocument)
    },
    // Credentials of programs: a list per user, and a key per token, which expires with it.
    spec("ApiTokens", "COSMOS_DB_API_TOKENS_CONTAINER", "userId", PerDocument),
    // Turns of the stylist, the pieces of their event logs, and the newest run of each chat.
    Spec {
        indexes: &[
            &[("createdAt", Descending), ("id", Ascending)],
            &[("chatId", Ascending), ("createdAt", Descending), ("id", Ascending)],
            &[("status", Ascending), ("leaseExpiresAt", Ascending)],
            &[("runId", Ascending), ("firstSeq", Ascending)],
        ],
        across_partitions: true,
        ..spec("ChatRuns", "COSMOS_DB_CHAT_RUNS_CONTAINER", "userId", PerDocument)
    },
    // Collections of wardrobe items. Also found by id across partitions, because a joining user does not know the
    // owner.
    Spec {
        indexes: &[&[("createdAt", Descending), ("id", Ascending)]],
        sparse_indexes: &[SparseIndex { has: "id", order: &[("id", Ascending)], across_partitions: true }],
        ..spec("Collections", "COSMOS_DB_COLLECTIONS_CONTAINER", "ownerId", Off)
    },
    // Memberships of collections: an index by member.
    spec("CollectionMembers", "COSMOS_DB_COLLECTION_MEMBERS_CONTAINER", "userId", Off),
    // Audit log: the actions of administrators.
    Spec {
        indexes: &[&[("at", Descending), ("id", Ascending)]],
        across_partitions: true,
        ..spec("AuditEntries", "COSMOS_DB_AUDIT_CONTAINER", "userId", Days(365))
    },
    // Model usage and token budgets, by user and day.
    Spec {
        indexes: &[&[("date", Descending), ("userId", Ascending)]],
        across_partitions: true,
        ..spec("Usage", "COSMOS_DB_USAGE_CONTAINER", "userId", PerDocument)
    },
];

/// A text that is not a valid container or blob name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name is not valid")]
pub struct BadName;

/// Name of a blob container: 3 to 63 characters of `a-z`, `0-9` and `-`, with single hyphens inside only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerName(String);

impl FromStr for ContainerName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let hyphens = text.starts_with('-') || text.ends_with('-') || text.contains("--");
        let fits = (3..=63).contains(&text.len()) && text.bytes().all(known) && !hyphens;
        fits.then(|| Self(text.to_owned())).ok_or(BadName)
    }
}

impl Deref for ContainerName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_in_the_order_of_the_containers() {
        for container in Container::ALL {
            assert_eq!(container.spec().default_name, format!("{container:?}"));
        }
    }
}
