//! An item on the wire: what is answered, and what a client may send.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use url::Url;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::domain::item_blobs::{is_own, is_picture_of};
use crate::http::error::ApiError;
use crate::http::extract::description::verbatim;
use crate::http::extract::text::{object, objects};

use crate::model::ids::{ItemId, UserId};
use crate::model::numbers::{Number, decimal};
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::{CONDITIONS, Price, Size, WardrobeItem, Wear, WeatherSnapshot, condition};
use crate::state::AppState;

/// Longest picture URL, in bytes.
const LONGEST_URL: usize = 2048;
/// Longest text of an item, in characters.
const LONGEST_TEXT: usize = 2000;
/// Longest notes, in characters.
const LONGEST_NOTES: usize = 10_000;
/// Longest element of a list, in characters.
const LONGEST_ELEMENT: usize = 200;
/// Most elements of a list.
const MOST_ELEMENTS: usize = 200;
/// Wears that an item lists.
const MOST_WEARS: usize = 30;

/// An item on the wire. Lists, flags and the wear count are always there; other fields are left out when they are not known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WardrobeItemResponse)]
pub struct ItemResponse {
    id: ItemId,
    user_id: UserId,
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
    /// Makes the answer of an item, with the current URL of its picture.
    pub fn new(app: &AppState, item: WardrobeItem) -> Self {
        let image_url = shown_picture(app, &item);
        let status = item.draft_status.as_ref().and_then(|status| status.as_str()).map(str::to_owned);
        Self {
            id: item.id,
            user_id: item.user_id,
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

/// A number as the wire has it: a whole one without a fraction.
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

/// The fields of an item that its owner writes. A field that is absent or null is cleared.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemFields {
    #[serde(default)]
    #[schema(max_items = 200)]
    tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "objects")]
    #[schema(max_items = 200)]
    colours: Option<Vec<ColourRequest>>,
    #[schema(max_length = 2000)]
    brand: Option<String>,
    #[schema(max_length = 2000)]
    category: Option<String>,
    /// An amount with its currency, or a number, which is one in US dollars.
    #[serde(default, deserialize_with = "price")]
    #[schema(schema_with = price_schema)]
    price: Option<PriceRequest>,
    #[schema(max_length = 10000)]
    notes: Option<String>,
    #[schema(value_type = Option<f64>)]
    estimated_market_value: Option<Number>,
    #[schema(max_length = 2000)]
    purchase_date: Option<String>,
    #[schema(max_items = 200)]
    care_info: Option<Vec<String>>,
    /// `New`, `Excellent`, `Good` or `Fair`, in any case.
    #[serde(default, deserialize_with = "condition_in_any_case")]
    #[schema(schema_with = condition_schema)]
    condition: Option<String>,
    #[serde(default, deserialize_with = "object")]
    size: Option<SizeRequest>,
    #[schema(max_items = 200)]
    aesthetic_tags: Option<Vec<String>>,
    is_wishlisted: Option<bool>,
}

#[derive(Serialize, Deserialize, ToSchema)]
struct ColourRequest {
    #[schema(max_length = 200)]
    name: Option<String>,
    #[schema(max_length = 200)]
    hex: Option<String>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PriceRequest {
    amount: Number,
    #[schema(max_length = 200)]
    original_currency: Option<String>,
    #[schema(max_length = 200)]
    #[serde(skip_serializing_if = "Option::is_none")]
    purchase_date: Option<String>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SizeRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    letter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waist: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inseam: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    shoe_size: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    system: Option<String>,
}

/// Reads a price: an object, or a number, which is one in US dollars.
fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PriceRequest>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        amount @ Value::Number(_) => {
            let amount = serde_json::from_value(amount).map_err(D::Error::custom)?;
            Ok(Some(PriceRequest { amount, original_currency: None, purchase_date: None }))
        }
        object @ Value::Object(_) => serde_json::from_value(object).map(Some).map_err(D::Error::custom),
        Value::Bool(_) | Value::String(_) | Value::Array(_) => Err(D::Error::custom("not a price")),
    }
}

fn price_schema() -> RefOr<Schema> {
    let text = json!({ "type": ["string", "null"], "maxLength": 200 });
    verbatim(json!({ "oneOf": [
        { "type": "object", "required": ["amount"], "properties": {
            "amount": { "type": "number" }, "originalCurrency": text, "purchaseDate": text,
        } },
        { "type": "number" },
        { "type": "null" },
    ] }))
}

/// Reads the name of a condition, in any case.
fn condition_in_any_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    condition(&name).map(|known| Some(known.to_owned())).ok_or_else(|| D::Error::custom("not a condition"))
}

fn condition_schema() -> RefOr<Schema> {
    // Patterns of JSON schema have no way to say that the case does not matter.
    let in_any_case = |letter: char| format!("[{}{}]", letter.to_ascii_uppercase(), letter.to_ascii_lowercase());
    let names = CONDITIONS.map(|name| name.chars().map(in_any_case).collect::<String>());
    verbatim(json!({ "type": ["string", "null"], "pattern": format!("^({})$", names.join("|")) }))
}

impl ItemFields {
    /// Checks the bounds and returns the fields as they are stored: without those that are cleared, lists and flags aside.
    fn checked(mut self) -> Result<Map<String, Value>, ApiError> {
        let is_short =
            |text: &Option<String>, most: usize| text.as_ref().is_none_or(|text| text.chars().count() <= most);
        let (size, price) = (self.size.as_ref(), self.price.as_ref());
        let colours = self.colours.iter().flatten();
        let are_short =
            [&self.brand, &self.category, &self.purchase_date].into_iter().all(|text| is_short(text, LONGEST_TEXT))
                && is_short(&self.notes, LONGEST_NOTES)
                && size.is_none_or(|it| is_short(&it.letter, LONGEST_ELEMENT) && is_short(&it.system, LONGEST_ELEMENT))
                && price.is_none_or(|it| {
                    is_short(&it.original_currency, LONGEST_ELEMENT) && is_short(&it.purchase_date, LONGEST_ELEMENT)
                })
                && colours.clone().all(|it| is_short(&it.name, LONGEST_ELEMENT) && is_short(&it.hex, LONGEST_ELEMENT));
        if !are_short {
            return Err(ApiError::BadRequest(
                "A text is too long: notes have at most 10,000 characters, others 2,000, and 200 in lists.",
            ));
        }
        let lists = [&self.tags, &self.care_info, &self.aesthetic_tags];
        let is_list = |list: &Vec<String>| {
            list.len() <= MOST_ELEMENTS && list.iter().all(|element| element.chars().count() <= LONGEST_ELEMENT)
        };
        if !lists.into_iter().flatten().all(is_list) || colours.count() > MOST_ELEMENTS {
            return Err(ApiError::BadRequest("A list may have at most 200 entries of at most 200 characters."));
        }
        if let Some(price) = &mut self.price {
            let code = price.original_currency.take().filter(|code| !code.trim().is_empty());
            price.original_currency = Some(code.unwrap_or_else(|| "USD".to_owned()));
        }
        for colour in self.colours.iter_mut().flatten() {
            colour.name.get_or_insert_default();
            colour.hex.get_or_insert_default();
        }
        self.tags.get_or_insert_default();
        self.colours.get_or_insert_default();
        self.is_wishlisted.get_or_insert_default();
        match serde_json::to_value(self).map_err(ApiError::internal)? {
            Value::Object(mut fields) => {
                fields.retain(|_, value| !value.is_null());
                Ok(fields)
            }
            _ => Ok(Map::new()),
        }
    }
}

/// An item as its owner edits it. Fields that belong to the service are ignored.
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
    /// Returns the id that was sent.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the picture URL as it is stored, if the item may name it.
    pub fn picture(&self, app: &AppState, user: &UserId, id: &ItemId) -> Option<String> {
        self.image_url.as_deref().and_then(|url| stored_picture(app, user, id, url))
    }

    /// Checks the owner's fields and returns them as they are stored.
    ///
    /// # Errors
    /// 400 for a text or list that is too long.
    pub fn fields(self) -> Result<Map<String, Value>, ApiError> {
        self.fields.checked()
    }
}

/// An item as it is imported. The fields of drafts are ignored.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateItemRequest {
    /// 1 to 128 of letters, digits, dots, hyphens and underscores; a new one if blank.
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
    weather_snapshot: Option<WeatherRequest>,
}

/// The weather of a wear.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeatherRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    temp_celsius: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    conditions: Option<String>,
}

impl WeatherRequest {
    /// Whether its text is short enough.
    pub fn is_short(&self) -> bool {
        self.conditions.as_ref().is_none_or(|conditions| conditions.chars().count() <= LONGEST_ELEMENT)
    }
}

/// A wear as an item lists it.
pub fn listed_wear(
    occurred_at: Option<Timestamp>,
    occasion: Option<&str>,
    weather: Option<&WeatherRequest>,
) -> Map<String, Value> {
    let fields = json!({ "occurredAt": occurred_at, "occasion": occasion, "weatherSnapshot": weather });
    let fields = fields.as_object().cloned().unwrap_or_default();
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

impl CreateItemRequest {
    /// Returns the id that was sent.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Checks the fields and returns the new item's document.
    ///
    /// # Errors
    /// 400 for a text or list that is too long.
    pub fn document(self, app: &AppState, user: &UserId, id: &ItemId) -> Result<Map<String, Value>, ApiError> {
        let mut wears = self.wear_events.unwrap_or_default();
        let are_short = wears.iter().all(|wear| {
            wear.occasion.as_ref().is_none_or(|occasion| occasion.chars().count() <= LONGEST_ELEMENT)
                && wear.weather_snapshot.as_ref().is_none_or(WeatherRequest::is_short)
        });
        if wears.len() > MOST_ELEMENTS || !are_short {
            return Err(ApiError::BadRequest(
                "wearEvents may have at most 200 entries with texts of at most 200 characters.",
            ));
        }
        wears.sort_by_key(|wear| std::cmp::Reverse(wear.occurred_at));
        wears.truncate(MOST_WEARS);
        let listed = |wear: &WearRequest| {
            listed_wear(wear.occurred_at, wear.occasion.as_deref(), wear.weather_snapshot.as_ref())
        };
        let picture = self.image_url.as_deref().and_then(|url| stored_picture(app, user, id, url));
        let mut document = self.fields.checked()?;
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

/// Returns a picture URL as it is stored, without a signature, if the item may name it: one on another site, or the item's own
/// picture in our store. `None` for anything else.
fn stored_picture(app: &AppState, user: &UserId, id: &ItemId, url: &str) -> Option<String> {
    let is_address =
        url.len() <= LONGEST_URL && Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if !is_address {
        return None;
    }
    let Some((container, name)) = app.blobs.locate(url) else { return Some(url.to_owned()) };
    let is_its_own = is_picture_of(user, id, &name) || is_own(user, &name);
    (container == app.config.storage.archive_container && is_its_own)
        .then(|| app.blobs.public_url(&container, &name).into())
}
