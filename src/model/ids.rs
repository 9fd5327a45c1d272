//! Identifiers as types, so that a user's id is never taken for an item's.

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
            /// The id's text.
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
    /// A person: `sub` of their Google account, or the development user.
    UserId;
    /// A piece of clothing.
    ItemId;
    /// A sign-in on one device, from one refresh to the next.
    SessionId;
    /// All sessions that descend from one sign-in.
    FamilyId;
    /// Where the discover feed comes from: a subreddit or a brand's site.
    SourceId;
    /// Something found in a feed or on a brand's site.
    ScrapedItemId;
    /// The analysis of one picture for one user.
    TasteJobId;
    /// A long operation.
    JobId;
    /// A message that could not be done.
    DeadLetterId;
    /// One round of the taste quiz.
    QuizSessionId;
    /// Purchase ideas for one state of a wardrobe.
    DigestId;
}

impl UserId {
    /// Whether documents can belong to such a user: the id is a partition, and part of the ids of documents, whose rules are
    /// those of `store::Key::is_valid`.
    pub fn is_valid(&self) -> bool {
        let id = self.as_str();
        !matches!(id, "" | "." | "..") && id.len() <= 255 && !id.contains(['/', '\\', '?', '#'])
    }
}
