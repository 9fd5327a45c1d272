//! Owners' changes to the items of their wardrobe.

pub mod fields;
pub mod piece;
pub mod wears;

use serde_json::{Map, Value};

use crate::data::wardrobe::{OWN_FIELDS, Replaced};
use crate::data::{self, Data};
use crate::model::ids::{ItemId, UserId};
use crate::model::wardrobe::WardrobeItem;

/// Text for a user who has the most items.
pub const FULL: &str = "A wardrobe can have at most 25,000 items. Delete some first.";

/// A value that breaks a rule; the message is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub &'static str);

/// Changes the fields in `changes` (among [`OWN_FIELDS`]) of an item or draft; null clears one. Parts of a price or
/// size that are not given stay, and so does the hex value of a colour of the same name. A price without any currency
/// is in `currency`. Returns the changed item; `None` if the user has no such item.
///
/// # Errors
/// When a field breaks a rule, or the documents fail.
pub async fn change(
    data: &Data,
    user: &UserId,
    item: &ItemId,
    changes: &Map<String, Value>,
    currency: &str,
) -> Result<Option<WardrobeItem>, Error> {
    let names: Vec<&str> = OWN_FIELDS.into_iter().filter(|name| changes.contains_key(*name)).collect();
    let change = |stored: &Map<String, Value>, _: Option<&_>| {
        let fields = fields::completed(changes, stored, currency)?;
        fields::check(&fields, &names, stored).map(|()| fields)
    };
    match data.wardrobe.replace_fields(user, item, &names, None, change).await? {
        Replaced::Saved => Ok(data.wardrobe.find(user, item).await?.map(|(item, _)| item)),
        Replaced::Missing => Ok(None),
        Replaced::Rejected(unfit) => Err(unfit.into()),
    }
}

/// Why an item was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value breaks a rule.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The documents failed.
    #[error("the item could not be read or written")]
    Data(#[from] data::Error),
}
