//! Items in requests and responses.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;
use utoipa::ToSchema;

use crate::base::json::{object, objects};
use crate::data::wardrobe::OWN_FIELDS;
use crate::data::wears::MOST_REMEMBERED;
use crate::domain::item_blobs::{Named, is_own, is_picture_of};
use crate::domain::wardrobe::fields::{self, ItemFields, LONGEST_ELEMENT, MOST_ELEMENTS};
use crate::domain::wardrobe::wears::{WeatherFields, listed_wear};
use crate::http::error::ApiError;
use crate::model::garment::Garment;
use crate::model::ids::{ItemId, UserId};
use crate::model::numbers::{Number, decimal};
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::{Price, Size, WardrobeItem, Wear, WeatherSnapshot};
use crate::state::AppState;

/// Longest picture URL, in bytes.
const LONGEST_URL: usize = 2048;

/// There is no such item, or it is someone else's.
pub const NO_ITEM: ApiError = ApiError::NotFound("Item not found.");
/// The mode of a cut-out is unknown.
pub const BAD_MODE: ApiError = ApiError::BadRequest("mode must be auto, plain, network or none.");

/// An item on the wire. Lists, flags and the wear count are always there; other fields are left out when they are not
/// known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WardrobeItemResponse)]
pub struct ItemResponse {
    id: ItemId,
    user_id: UserId,
    /// Display name, as the stylist calls the piece: colour, brand and kind. It follows from the other fields.
    name: String,
    /// Picture URL, signed where the store needs a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    tags: Vec<String>,
    colours: Vec<ColourResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    brand: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<PriceResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date_added: Option<Timestamp>,
    wear_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_worn_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_wear_action_id: Option<String>,
    /// The newest wears.
    wear_events: Vec<WearResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_market_value: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purchase_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    care_info: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<SizeResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aesthetic_tags: Option<Vec<String>>,
    is_wishlisted: bool,
    /// `Processing`, `Ready` or `Failed`; only drafts have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_updated_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
struct ColourResponse {
    name: String,
    hex: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PriceResponse {
    amount: Number,
    original_currency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    purchase_date: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SizeResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    letter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waist: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inseam: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shoe_size: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
}

/// A wear, as an item lists it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WearResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occasion: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weather_snapshot: Option<WeatherResponse>,
}

/// The weather of a wear.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeatherResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    temp_celsius: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<String>,
}

impl ItemResponse {
    /// Creates the response of an item, with the current URL of its picture.
    pub fn new(app: &AppState, item: WardrobeItem) -> Self {
        let image_url = shown_picture(app, &item);
        let name = Garment::from(&item).name;
        let status = item.draft_status.as_ref().and_then(|status| status.as_str()).map(str::to_owned);
        Self {
            id: item.id,
            user_id: item.user_id,
            name,
            image_url,
            tags: item.tags,
            colours: item.colours.into_iter().map(|it| ColourResponse { name: it.name, hex: it.hex }).collect(),
            brand: item.brand,
            category: item.category,
            price: item.price.and_then(PriceResponse::new),
            notes: item.notes,
            date_added: item.date_added,
            wear_count: item.wear_count,
            last_worn_at: item.last_worn_at,
            last_wear_action_id: item.last_wear_action_id,
            wear_events: item.wear_events.into_iter().map(WearResponse::from).collect(),
            estimated_market_value: number(item.estimated_market_value),
            purchase_date: item.purchase_date,
            care_info: item.care_info,
            condition: item.condition,
            size: item.size.map(SizeResponse::from),
            aesthetic_tags: item.aesthetic_tags,
            is_wishlisted: item.is_wishlisted,
            draft_status: status,
            draft_error: item.draft_error,
            draft_created_at: item.draft_created_at,
            draft_updated_at: item.draft_updated_at,
        }
    }
}

/// Returns the current URL of an item's picture, signed where the store needs a signature.
pub fn shown_picture(app: &AppState, item: &WardrobeItem) -> Option<String> {
    item.image_url.clone().map(|url| app.pictures.of_item(&item.user_id, &item.id, url))
}

/// Converts a number for JSON; whole numbers have no fraction.
fn number(number: Option<f64>) -> Option<Number> {
    number.and_then(decimal).map(Number)
}

impl PriceResponse {
    fn new(price: Price) -> Option<Self> {
        let Price { amount, original_currency, purchase_date } = price;
        Some(Self { amount: number(Some(amount))?, original_currency, purchase_date })
    }
}

impl From<Size> for SizeResponse {
    fn from(size: Size) -> Self {
        Self {
            letter: size.letter,
            waist: number(size.waist),
            inseam: number(size.inseam),
            shoe_size: number(size.shoe_size),
            system: size.system,
        }
    }
}

impl From<Wear> for WearResponse {
    fn from(wear: Wear) -> Self {
        Self {
            occurred_at: wear.occurred_at,
            occasion: wear.occasion,
            weather_snapshot: wear.weather_snapshot.map(WeatherResponse::from),
        }
    }
}

impl From<WeatherSnapshot> for WeatherResponse {
    fn from(weather: WeatherSnapshot) -> Self {
        Self { temp_celsius: number(weather.temp_celsius), conditions: weather.conditions }
    }
}

/// An item as its owner edits it. Fields that belong to the service are ignored. The others have at most 64 KiB of JSON
/// together.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UpdateItemRequest)]
pub struct ItemRequest {
    /// The id in the path, in any case.
    #[schema(value_type = String)]
    id: Option<String>,
    /// Picture URL, for an item without one.
    image_url: Option<String>,
    #[serde(flatten)]
    fields: ItemFields,
}

impl ItemRequest {
    /// Returns the id in the request.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the picture URL as it is stored, if the item may name it.
    pub fn picture(&self, app: &AppState, user: &UserId, id: &ItemId) -> Option<String> {
        self.image_url.as_deref().and_then(|url| stored_picture(app, user, id, url))
    }

    /// Returns the owner's fields as they are stored.
    pub fn fields(self) -> Map<String, Value> {
        self.fields.document()
    }
}

/// An item as it is imported. The fields of drafts are ignored. What its owner can edit later has at most 64 KiB of
/// JSON.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateItemRequest {
    /// 1 to 128 letters, digits, dots, hyphens or underscores; generated if blank.
    id: Option<String>,
    image_url: Option<String>,
    date_added: Option<Timestamp>,
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 4294967295_i64)]
    wear_count: Option<u32>,
    last_worn_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "objects")]
    #[schema(max_items = 30)]
    wear_events: Option<Vec<WearRequest>>,
    #[serde(flatten)]
    fields: ItemFields,
}

/// A wear, as an item lists it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ListedWearRequest)]
struct WearRequest {
    occurred_at: Option<Timestamp>,
    #[schema(max_length = 200)]
    occasion: Option<String>,
    #[serde(default, deserialize_with = "object")]
    weather_snapshot: Option<WeatherFields>,
}

impl CreateItemRequest {
    /// Returns the id in the request.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether it has no field of an item except an id, which rows of other kinds also have.
    pub fn is_empty(&self) -> bool {
        let Self { id: _, image_url, date_added, wear_count, last_worn_at, wear_events, fields } = self;
        let are_dates_missing = date_added.is_none() && last_worn_at.is_none();
        fields.is_empty() && are_dates_missing && image_url.is_none() && wear_count.is_none() && wear_events.is_none()
    }

    /// Checks the fields and returns the new item's document.
    ///
    /// # Errors
    /// 400 for a text or list that is too long.
    pub fn document(self, app: &AppState, user: &UserId, id: &ItemId) -> Result<Map<String, Value>, ApiError> {
        let mut wears = self.wear_events.unwrap_or_default();
        let are_short = wears.iter().all(|wear| {
            wear.occasion.as_ref().is_none_or(|occasion| occasion.chars().count() <= LONGEST_ELEMENT)
                && wear.weather_snapshot.as_ref().is_none_or(WeatherFields::is_short)
        });
        if wears.len() > MOST_ELEMENTS || !are_short {
            return Err(ApiError::BadRequest(
                "wearEvents may have at most 200 entries with texts of at most 200 characters.",
            ));
        }
        wears.sort_by_key(|wear| std::cmp::Reverse(wear.occurred_at));
        wears.truncate(MOST_REMEMBERED);
        let listed = |wear: &WearRequest| {
            listed_wear(wear.occurred_at, wear.occasion.as_deref(), wear.weather_snapshot.as_ref())
        };
        let picture = self.image_url.as_deref().and_then(|url| stored_picture(app, user, id, url));
        let mut document = self.fields.document();
        fields::check(&document, &OWN_FIELDS, &Map::new())?;
        let own = json!({
            "id": id,
            "userId": user,
            "dateAdded": self.date_added.unwrap_or_else(|| app.clock.now().into()),
            "wearCount": self.wear_count.unwrap_or_default(),
            "wearEvents": wears.iter().map(listed).collect::<Vec<_>>(),
        });
        document.extend(own.as_object().cloned().unwrap_or_default());
        if let Some(at) = self.last_worn_at {
            document.insert("lastWornAt".to_owned(), at.to_string().into());
        }
        if let Some(picture) = picture {
            document.insert("imageUrl".to_owned(), picture.into());
        }
        Ok(document)
    }
}

/// Returns a picture URL as it is stored, without a signature, if the item may name it: one on another site, or the
/// item's own picture in our store, or one of the user's that no item owns. `None` for anything else.
fn stored_picture(app: &AppState, user: &UserId, id: &ItemId, url: &str) -> Option<String> {
    let is_address =
        url.len() <= LONGEST_URL && Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if !is_address {
        return None;
    }
    let Some((container, name)) = app.blobs.locate(url) else { return Some(url.to_owned()) };
    // What belongs to another item is deleted with that one.
    let is_free = || is_own(user, &name) && !Named::of(&name).is_some_and(|named| named.is_of_items_alone());
    let is_its_own = is_picture_of(user, id, &name) || is_free();
    (container == app.config.storage.archive_container && is_its_own)
        .then(|| app.blobs.public_url(&container, &name).into())
}
