//! Identifiers as types, so that a user id cannot be mistaken for an item id.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).into()
            }
        }

        impl ToSchema for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

ids! {
    /// A user: `sub` of their Google account, or the development user.
    UserId;
    /// A wardrobe item.
    ItemId;
    /// A collection of wardrobe items.
    CollectionId;
    /// A sign-in on one device, from one refresh to the next.
    SessionId;
    /// All sessions that descend from one sign-in.
    FamilyId;
    /// An API token.
    ApiTokenId;
    /// A source of the discover feed: a subreddit or a brand's site.
    SourceId;
    /// An item of the discover feed.
    ScrapedItemId;
    /// A taste-analysis job: one picture for one user.
    TasteJobId;
    /// A job.
    JobId;
    /// A dead letter.
    DeadLetterId;
    /// A taste quiz session.
    QuizSessionId;
    /// A digest.
    DigestId;
    /// A chat run: one turn of the stylist.
    RunId;
    /// A chat, as its client names it.
    ChatId;
}

impl UserId {
    /// Whether the id can be a partition key and part of document ids, by the rules of `store::Key::is_valid`.
    pub fn is_valid(&self) -> bool {
        let id = self.as_str();
        !matches!(id, "" | "." | "..") && id.len() <= 255 && !id.contains(['/', '\\', '?', '#'])
    }
}
