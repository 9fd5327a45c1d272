//! The owner's fields of an item, and their limits.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::Unfit;
use crate::base::json::{length as json_length, object, objects};
use crate::base::schema::verbatim;
use crate::data::wardrobe::OWN_FIELDS;
use crate::model::bounds::{Bounds, Excess};
use crate::model::numbers::{Number, decimal};
use crate::model::wardrobe::{CONDITIONS, WardrobeItem, condition};

/// Longest text of an item, in characters.
pub const LONGEST_TEXT: usize = 2000;
/// Longest notes, in characters.
const LONGEST_NOTES: usize = 10_000;
/// Longest element of a list, in characters.
pub const LONGEST_ELEMENT: usize = 200;
/// Most elements of a list.
pub const MOST_ELEMENTS: usize = 200;
const INVALID: Unfit = Unfit("Invalid request body.");
/// Most bytes of the owner's fields of an item, as JSON. The largest text of 10,000 characters fits.
pub const MOST_BYTES: usize = 64 * 1024;

/// The fields of an item that its owner writes. A field that is absent or null is cleared.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemFields {
    #[serde(default)]
    #[schema(max_items = 200)]
    tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "objects")]
    #[schema(max_items = 200)]
    colours: Option<Vec<ColourFields>>,
    #[schema(max_length = 2000)]
    brand: Option<String>,
    #[schema(max_length = 2000)]
    category: Option<String>,
    /// An amount with its currency, or a number, which means US dollars.
    #[serde(default, deserialize_with = "price")]
    #[schema(schema_with = price_schema)]
    price: Option<PriceFields>,
    #[schema(max_length = 10000)]
    notes: Option<String>,
    #[schema(value_type = Option<f64>)]
    estimated_market_value: Option<Number>,
    #[schema(max_length = 2000)]
    purchase_date: Option<String>,
    #[schema(max_items = 200)]
    care_info: Option<Vec<String>>,
    /// `New`, `Excellent`, `Good` or `Fair`, in any case.
    #[schema(schema_with = condition_schema)]
    condition: Option<String>,
    #[serde(default, deserialize_with = "object")]
    size: Option<SizeFields>,
    #[schema(max_items = 200)]
    aesthetic_tags: Option<Vec<String>>,
    is_wishlisted: Option<bool>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = ColourRequest)]
struct ColourFields {
    #[schema(max_length = 200)]
    name: Option<String>,
    #[schema(max_length = 200)]
    hex: Option<String>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PriceRequest)]
struct PriceFields {
    amount: Number,
    #[schema(max_length = 200)]
    original_currency: Option<String>,
    #[schema(max_length = 200)]
    #[serde(skip_serializing_if = "Option::is_none")]
    purchase_date: Option<String>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SizeRequest)]
struct SizeFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    letter: Option<String>,
    #[serde(default, deserialize_with = "length", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>)]
    waist: Option<Number>,
    #[serde(default, deserialize_with = "length", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>)]
    inseam: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    shoe_size: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    system: Option<String>,
}

/// Reads a measure of a size. Refuses one that would be rounded to 0; [`check`] refuses other fractions.
fn length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Number>, D::Error> {
    let Some(length) = Option::<f64>::deserialize(deserializer)? else { return Ok(None) };
    match decimal(length) {
        Some(exact) if length == 0.0 || !exact.is_zero() => Ok(Some(Number(exact))),
        Some(_) | None => Err(D::Error::custom("not a length")),
    }
}

/// Reads a price: an object, or a number, which means US dollars.
fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PriceFields>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        amount @ Value::Number(_) => {
            let amount = serde_json::from_value(amount).map_err(D::Error::custom)?;
            Ok(Some(PriceFields { amount, original_currency: None, purchase_date: None }))
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

fn condition_schema() -> RefOr<Schema> {
    // JSON schema patterns cannot ignore case.
    let in_any_case = |letter: char| format!("[{}{}]", letter.to_ascii_uppercase(), letter.to_ascii_lowercase());
    let names = CONDITIONS.map(|name| name.chars().map(in_any_case).collect::<String>());
    verbatim(json!({ "type": ["string", "null"], "pattern": format!("^({})$", names.join("|")) }))
}

/// Returns a brand or category as it is stored: filters compare it as it is. `None` if it is blank.
pub fn trimmed(text: &str) -> Option<String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl ItemFields {
    /// Whether no field was sent.
    pub fn is_empty(&self) -> bool {
        let Self {
            tags,
            colours,
            brand,
            category,
            price,
            notes,
            estimated_market_value,
            purchase_date,
            care_info,
            condition,
            size,
            aesthetic_tags,
            is_wishlisted,
        } = self;
        let lists = [tags, care_info, aesthetic_tags];
        let texts = [brand, category, notes, purchase_date, condition];
        lists.iter().all(|list| list.is_none())
            && texts.iter().all(|text| text.is_none())
            && (colours.is_none() && price.is_none() && size.is_none())
            && (estimated_market_value.is_none() && is_wishlisted.is_none())
    }

    /// Returns the fields as they are stored: without those that are cleared, lists and flags aside.
    pub fn document(mut self) -> Map<String, Value> {
        if let Some(price) = &mut self.price {
            let code = price.original_currency.take().filter(|code| !code.trim().is_empty());
            price.original_currency = Some(code.unwrap_or_else(|| "USD".to_owned()));
        }
        if let Some(known) = self.condition.as_deref().and_then(condition) {
            self.condition = Some(known.to_owned());
        }
        for text in [&mut self.brand, &mut self.category] {
            *text = text.take().and_then(|text| trimmed(&text));
        }
        for colour in self.colours.iter_mut().flatten() {
            colour.name.get_or_insert_default();
            colour.hex.get_or_insert_default();
        }
        self.tags.get_or_insert_default();
        self.colours.get_or_insert_default();
        self.is_wishlisted.get_or_insert_default();
        match serde_json::to_value(self).expect("texts, numbers and lists are JSON") {
            Value::Object(mut fields) => {
                fields.retain(|_, value| !value.is_null());
                fields
            }
            _ => Map::new(),
        }
    }
}

/// Returns fields as they are stored, after completing a price, a size and colours with the parts that the stored item
/// has and `changes` does not name. A price without any currency is in `currency`.
///
/// # Errors
/// When a field has the wrong type.
pub fn completed(
    changes: &Map<String, Value>,
    stored: &Map<String, Value>,
    currency: &str,
) -> Result<Map<String, Value>, Unfit> {
    let stored = as_read(stored);
    let mut fields = changes.clone();
    if let Some(amount) = fields.get("price").filter(|price| price.is_number()) {
        let price = json!({ "amount": amount });
        fields.insert("price".to_owned(), price);
    }
    if let Some(Value::Object(price)) = fields.get_mut("price")
        && price.get("originalCurrency").is_some_and(|code| code.as_str().is_none_or(|code| code.trim().is_empty()))
    {
        price.remove("originalCurrency");
    }
    for name in ["price", "size"] {
        if let (Some(Value::Object(given)), Some(Value::Object(known))) = (fields.get_mut(name), stored.get(name)) {
            known.iter().for_each(|(part, value)| {
                given.entry(part.clone()).or_insert_with(|| value.clone());
            });
        }
    }
    if let Some(Value::Object(price)) = fields.get_mut("price") {
        price.entry("originalCurrency").or_insert_with(|| currency.into());
    }
    let known = stored.get("colours").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let colours = fields.get_mut("colours").and_then(Value::as_array_mut);
    for colour in colours.into_iter().flatten().filter_map(Value::as_object_mut) {
        let alike = |known: &&Value| known.get("name").is_some() && known.get("name") == colour.get("name");
        if let Some(hex) = known.iter().find(alike).and_then(|known| known.get("hex")) {
            colour.entry("hex").or_insert_with(|| hex.clone());
        }
    }
    let fields: ItemFields = serde_json::from_value(fields.into()).map_err(|_| INVALID)?;
    Ok(fields.document())
}

/// Checks that the owner's fields of an item have at most [`MOST_BYTES`]. `field` returns a field of the item by its
/// name. An item that is stored with more may stay as large, or become smaller.
///
/// # Errors
/// When they have more.
pub fn check_size<'a>(
    field: impl Fn(&str) -> Option<&'a Value>,
    stored: Option<&Map<String, Value>>,
) -> Result<(), Unfit> {
    let size_of = |name: &str, value: &Value| name.len() + json_length(value) + r#""":,"#.len();
    let size: usize = OWN_FIELDS.iter().filter_map(|name| Some(size_of(name, field(name)?))).sum();
    if size <= MOST_BYTES {
        return Ok(());
    }
    let size_of_stored = |stored: &Map<String, Value>| -> usize {
        OWN_FIELDS.iter().filter_map(|name| Some(size_of(name, stored.get(*name)?))).sum()
    };
    if stored.is_some_and(|stored| size <= size_of_stored(stored).max(size_of_stored(&as_read(stored)))) {
        return Ok(());
    }
    Err(Unfit("The item is too large: its texts and lists may have at most 64 KiB together."))
}

/// Checks fields that replace those of a stored item with these names. A value that the item has already is not
/// refused: an import or another service may have written it, and clients send back what they read.
///
/// # Errors
/// When a text or list is too long, a length is not whole, the condition is unknown, or the item becomes too large.
pub fn check(fields: &Map<String, Value>, names: &[&str], stored: &Map<String, Value>) -> Result<(), Unfit> {
    check_size(|name| if names.contains(&name) { fields.get(name) } else { stored.get(name) }, Some(stored))?;
    let read = &as_read(stored);
    for (name, value) in fields {
        let known = read.get(name);
        let text = match name.as_str() {
            "notes" => LONGEST_NOTES,
            "brand" | "category" | "purchaseDate" => LONGEST_TEXT,
            _ => LONGEST_ELEMENT,
        };
        let bounds = Bounds { text, entries: MOST_ELEMENTS, entry: LONGEST_ELEMENT };
        match bounds.exceeded(value, known) {
            None => {}
            Some(Excess::Text) => {
                return Err(Unfit(
                    "A text is too long: notes may have 10,000 characters, other texts 2,000, and texts in lists 200.",
                ));
            }
            Some(Excess::List) => return Err(Unfit("A list may have at most 200 entries of at most 200 characters.")),
        }
    }
    let length = |fields: &Map<String, Value>, name: &str| fields.get("size")?.get(name)?.as_f64();
    let is_whole = |length: f64| length.fract() == 0.0 && length.abs() <= f64::from(i32::MAX);
    for name in ["waist", "inseam"] {
        let given = length(fields, name);
        if given.is_some_and(|given| !is_whole(given)) && given != length(read, name) {
            return Err(INVALID);
        }
    }
    let given = fields.get("condition").filter(|given| *given != read.get("condition").unwrap_or(&Value::Null));
    if given.and_then(Value::as_str).is_some_and(|name| condition(name).is_none()) {
        return Err(INVALID);
    }
    Ok(())
}

/// Returns the fields of a stored item as clients read them, since those of another shape are shown in the usual one.
fn as_read(stored: &Map<String, Value>) -> Map<String, Value> {
    let item = serde_json::from_value::<WardrobeItem>(Value::Object(stored.clone()));
    match item.and_then(serde_json::to_value) {
        Ok(Value::Object(fields)) => fields,
        // A new item, or one that cannot be read.
        Ok(_) | Err(_) => Map::new(),
    }
}
