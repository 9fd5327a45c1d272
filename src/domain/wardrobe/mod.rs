//! Owners' changes to the items of their wardrobe.

pub mod fields;
pub mod wears;

use serde_json::{Map, Value};

use self::fields::ItemFields;
use crate::data::wardrobe::Replaced;
use crate::data::{self, Data};
use crate::model::ids::{ItemId, UserId};
use crate::model::wardrobe::WardrobeItem;

/// Text for a user who has the most items.
pub const FULL: &str = "A wardrobe has at most 25,000 items. Delete some first.";

/// A value that breaks a rule; the message is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub &'static str);

/// Sets the fields with these names (among [`OWN_FIELDS`](data::wardrobe::OWN_FIELDS)) of an item or draft to their
/// values in `fields`; a field without a value is cleared. Returns the changed item; `None` if the user has no such
/// item.
///
/// # Errors
/// When a field breaks a rule, or the documents fail.
pub async fn change(
    data: &Data,
    user: &UserId,
    item: &ItemId,
    names: &[&str],
    fields: ItemFields,
) -> Result<Option<WardrobeItem>, Error> {
    let fields = fields.document();
    let check = |stored: &Map<String, Value>, _: Option<&_>| fields::check(&fields, names, stored);
    match data.wardrobe.replace_fields(user, item, names, &fields, None, check).await? {
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
