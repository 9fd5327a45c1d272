//! Resources: the pieces of the wardrobe, and their pictures. `wardrobe://items/{id}` is a whole piece,
//! `wardrobe://items/{id}/picture` its picture.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json};
use tracing::{debug, warn};

use super::message::Fault;
use super::version::Generation;
use super::{Outcome, Server, text, unreadable};
use crate::base::chain::Chain;
use crate::base::text::cut;
use crate::data::wardrobe::{ItemOrder, ItemsQuery};
use crate::domain::wardrobe::piece::Piece;
use crate::model::garment::Garment;
use crate::model::ids::ItemId;
use crate::model::wardrobe::WardrobeItem;
use crate::net::guarded::FetchLimits;
use crate::store::Direction;

const PREFIX: &str = "wardrobe://items/";
const PICTURE: &str = "picture";
const JSON: &str = "application/json";
/// Pieces per page, each with its picture.
const PAGE: usize = 50;
/// Longest name in a list, in characters.
const LONGEST_NAME: usize = 100;
/// Error code of a missing resource in protocol versions with `initialize`.
const NOT_FOUND: i64 = -32002;
/// Longest URI that is examined, in bytes.
const LONGEST_URI: usize = 1024;
/// Limits of a picture; finished ones are far smaller.
const PICTURE_LIMITS: FetchLimits = FetchLimits { size_bytes: 5 * 1024 * 1024, time: Duration::from_secs(15) };
/// Characters of an id that are not escaped in a URI.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// What a URI names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Item(ItemId),
    Picture(ItemId),
}

impl Named {
    fn read(uri: &str) -> Option<Self> {
        let path = uri.strip_prefix(PREFIX).filter(|_| uri.len() <= LONGEST_URI)?;
        let (id, rest) = path.split_once('/').map_or((path, None), |(id, rest)| (id, Some(rest)));
        let id = percent_decode_str(id).decode_utf8().ok().filter(|id| !id.is_empty())?;
        let id = ItemId::from(&*id);
        match rest {
            None => Some(Self::Item(id)),
            Some(PICTURE) => Some(Self::Picture(id)),
            Some(_) => None,
        }
    }
}

fn uri_of(item: &ItemId) -> String {
    format!("{PREFIX}{}", utf8_percent_encode(item.as_str(), PLAIN))
}

fn uri_of_picture(item: &ItemId) -> String {
    format!("{}/{PICTURE}", uri_of(item))
}

/// What clients can fill in.
pub(super) fn templates() -> Value {
    let id = "by the id that search_wardrobe returns";
    json!([
        {
            "uriTemplate": format!("{PREFIX}{{id}}"),
            "name": "item",
            "title": "A piece of the wardrobe",
            "description": format!("All that is known of a piece, {id}. The fields that update_item changes have the same names."),
            "mimeType": JSON,
        },
        {
            "uriTemplate": format!("{PREFIX}{{id}}/{PICTURE}"),
            "name": "picture",
            "title": "The picture of a piece",
            "description": format!("The picture of a piece, {id}."),
        },
    ])
}

fn unknown_cursor() -> Fault {
    Fault::invalid_params("cursor must be the nextCursor of a page of this list.")
}

/// Creates the error for a missing resource; its code depends on the protocol version.
fn not_found(generation: Generation) -> Fault {
    match generation {
        Generation::Initialized => Fault::new(NOT_FOUND, "There is no such resource."),
        Generation::Stateless => Fault::invalid_params("There is no such resource."),
    }
}

impl Server {
    /// Lists pieces, including wishes, newest first, each followed by its picture.
    pub(super) async fn page_of_resources(&self, params: &Map<String, Value>) -> Result<Outcome, Fault> {
        let after = match params.get("cursor") {
            None | Some(Value::Null) => None,
            Some(cursor) => Some(cursor.as_str().ok_or_else(unknown_cursor)?.to_owned()),
        };
        let query = ItemsQuery {
            category: None,
            brand: None,
            condition: None,
            tags: Vec::new(),
            aesthetic_tags: Vec::new(),
            price: (None, None),
            wears: (None, None),
            with_wishes: true,
            order: ItemOrder::DateAdded,
            direction: Direction::Descending,
            after,
            limit: PAGE,
        };
        if !query.continues(&self.user) {
            return Err(unknown_cursor());
        }
        let page = self.app.data.wardrobe.page(&self.user, &query).await;
        let (items, next_cursor) = page.map_err(|error| unreadable(&error))?;
        let mut list = json!({ "resources": items.iter().flat_map(listed).collect::<Vec<_>>() });
        if let Some(cursor) = next_cursor {
            list["nextCursor"] = cursor.into();
        }
        Ok(Outcome::kept(list, 0))
    }

    /// Reads a resource of the user.
    pub(super) async fn resource(&self, params: &Map<String, Value>, generation: Generation) -> Result<Outcome, Fault> {
        let uri = text(params, "uri")?;
        let named = Named::read(uri).ok_or_else(|| not_found(generation))?;
        let (Named::Item(id) | Named::Picture(id)) = &named;
        let found = self.app.data.wardrobe.find(&self.user, id).await.map_err(|error| unreadable(&error))?;
        let (item, _) = found.ok_or_else(|| not_found(generation))?;
        let contents = match named {
            Named::Item(_) => {
                let picture = item.image_url.is_some().then(|| uri_of_picture(&item.id));
                let mut told = json!(Piece::new(item, self.offset()));
                if let Some(picture) = picture {
                    told["picture"] = picture.into();
                }
                json!({ "uri": uri, "mimeType": JSON, "text": told.to_string() })
            }
            Named::Picture(_) => self.picture(&item, uri, generation).await?,
        };
        Ok(Outcome::kept(json!({ "contents": [contents] }), 0))
    }

    async fn picture(&self, item: &WardrobeItem, uri: &str, generation: Generation) -> Result<Value, Fault> {
        let address = item.image_url.as_deref().ok_or_else(|| not_found(generation))?;
        let read = self.app.pictures.get_of_item(&self.user, &item.id, address, PICTURE_LIMITS).await;
        match read {
            Ok(picture) => {
                Ok(json!({ "uri": uri, "mimeType": picture.media_type, "blob": STANDARD.encode(&picture.bytes) }))
            }
            Err(error) if error.is_temporary() => {
                warn!(item.id = %item.id, error = %Chain(&error), "picture not read for an assistant");
                Err(Fault::internal("The picture could not be read. Please try again."))
            }
            Err(error) => {
                debug!(item.id = %item.id, error = %Chain(&error), "no picture for an assistant");
                Err(not_found(generation))
            }
        }
    }
}

/// Returns the list entries of a piece and its picture.
fn listed(item: &WardrobeItem) -> Vec<Value> {
    let name = cut(&Garment::from(item).name, LONGEST_NAME);
    let mut piece = json!({ "uri": uri_of(&item.id), "name": name, "mimeType": JSON });
    if item.is_wishlisted {
        piece["description"] = "A wish: not owned yet.".into();
    }
    let picture = item.image_url.is_some().then(|| {
        let uri = uri_of_picture(&item.id);
        json!({ "uri": uri, "name": format!("{name}, picture"), "description": "The picture of the piece." })
    });
    std::iter::once(piece).chain(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_an_item_or_its_picture() {
        for id in ["coat", "upload-0a", "two words", "a/b", "é#?%", ".."] {
            let id = ItemId::from(id);
            assert_eq!(Named::read(&uri_of(&id)), Some(Named::Item(id.clone())));
            assert_eq!(Named::read(&uri_of_picture(&id)), Some(Named::Picture(id)));
        }
        let long = format!("{PREFIX}{}", "x".repeat(LONGEST_URI));
        for odd in
            ["", "wardrobe://items/", "wardrobe://items/a/b", "wardrobe://items/a/picture/x", "file:///etc", &long]
        {
            assert_eq!(Named::read(odd), None, "{odd:.40}");
        }
    }
}
