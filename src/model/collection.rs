//! Collections of wardrobe items, which their owner may share.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{CollectionId, ItemId, UserId};
use super::lenient;
use super::timestamp::Timestamp;

/// Most collections that one user can create, and most that one can join.
pub const MAX_COLLECTIONS: u64 = 100;
/// Most items in a collection.
pub const MAX_ITEMS: usize = 1000;
/// Most members of a collection, not counting its owner.
pub const MAX_MEMBERS: usize = 500;

/// A collection of its owner's items. Members see it; any user can join a public collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collection {
    /// Collection id, unique among all owners: a UUID.
    pub id: CollectionId,
    /// Owner.
    pub owner_id: UserId,
    /// Name.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Description.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether anybody can join.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub is_public: bool,
    /// Items of the owner, in the order in which they were added.
    #[serde(default, deserialize_with = "lenient::list")]
    pub clothing_item_ids: Vec<ItemId>,
    /// Users who joined.
    #[serde(default, deserialize_with = "lenient::list")]
    pub member_user_ids: Vec<UserId>,
    /// When the collection was created.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Collection {
    /// Whether the user has joined.
    pub fn has_member(&self, user: &UserId) -> bool {
        self.member_user_ids.contains(user)
    }

    /// Whether the user may see the collection.
    pub fn is_shown_to(&self, user: &UserId) -> bool {
        self.owner_id == *user || self.has_member(user)
    }
}

/// An entry of the index of joined collections, in the partition of the user who joined. The collection itself decides
/// who is a member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// Id of the collection.
    pub id: CollectionId,
    /// The user who joined.
    pub user_id: UserId,
    /// Owner of the collection.
    pub owner_id: UserId,
    /// When the user joined.
    pub joined_at: Timestamp,
}
