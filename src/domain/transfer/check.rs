//! Validation of imported rows.

use serde_json::{Map, Value};
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;

use super::{Options, RecordKind, canonical};
use crate::base::hash::sha256_hex;
use crate::data::wears::{MOST_REMEMBERED, PENDING_EVENTS};
use crate::domain::wardrobe::fields::trimmed;
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::CONDITIONS;
use crate::store::{Container, Key};

/// Hex digits of an id derived from content: 128 bits.
const ID_DIGITS: usize = 32;

/// Characters of an invalid value that are quoted.
const QUOTED: usize = 40;

/// Shape of a value. Null counts as missing, everywhere.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Number,
    Amount,
    Whole,
    Share,
    Flag,
    /// A date, or a date and time.
    Moment,
    Hex,
    Currency,
    OneOf(&'static [&'static str]),
    List(&'static Shape),
    Object(&'static [Field]),
    Colour,
    /// An amount, alone or with a currency.
    Price,
    Wears,
    /// Any value; written by another service.
    Any,
    /// Some form of what people write. Documents may have any `kept` value, since the API stores it as its client wrote
    /// it; a table, which people fill in, must have a `written` one, so that a misread cell is noticed.
    Own {
        kept: &'static Shape,
        written: &'static Shape,
    },
}

/// How strictly rows are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Documents: what the API stores is accepted.
    Documents,
    /// A table, filled in by people.
    Table,
}

const AMOUNT: Shape = Shape::Own { kept: &Shape::Number, written: &Shape::Amount };
const DATE: Shape = Shape::Own { kept: &Shape::Text, written: &Shape::Moment };
const HEX: Shape = Shape::Own { kept: &Shape::Text, written: &Shape::Hex };
const CURRENCY: Shape = Shape::Own { kept: &Shape::Text, written: &Shape::Currency };
const CONDITION: Shape = Shape::Own { kept: &Shape::Text, written: &Shape::OneOf(&CONDITIONS) };

type Field = (&'static str, Shape);

const WARDROBE: &[Field] = &[
    ("imageUrl", Shape::Text),
    ("tags", Shape::List(&Shape::Text)),
    ("colours", Shape::List(&Shape::Colour)),
    ("brand", Shape::Text),
    ("category", Shape::Text),
    ("price", Shape::Price),
    ("notes", Shape::Text),
    ("dateAdded", Shape::Moment),
    ("wearCount", Shape::Whole),
    ("lastWornAt", Shape::Moment),
    ("wearEvents", Shape::Wears),
    ("estimatedMarketValue", Shape::Price),
    ("purchaseDate", DATE),
    ("careInfo", Shape::List(&Shape::Text)),
    ("condition", CONDITION),
    ("size", Shape::Object(SIZE)),
    ("aestheticTags", Shape::List(&Shape::Text)),
    ("draftStatus", Shape::Any),
    ("isWishlisted", Shape::Flag),
];

const PROFILE: &[Field] = &[
    ("heightCm", Shape::Amount),
    ("weightKg", Shape::Amount),
    ("chestCm", Shape::Amount),
    ("waistCm", Shape::Amount),
    ("hipsCm", Shape::Amount),
    ("inseamCm", Shape::Amount),
    ("currencyCode", Shape::Currency),
    ("preferredSizeSystem", Shape::Text),
    ("stylePreferences", Shape::List(&Shape::Text)),
    ("favoriteBrands", Shape::List(&Shape::Text)),
    ("preferredColours", Shape::List(&Shape::Text)),
    ("locationCity", Shape::Text),
    ("wardrobeHashAtLastDigest", Shape::Text),
    ("wardrobeFingerprint", Shape::Text),
    ("WardrobeFingerprint", Shape::Text),
    ("recommendationOptIn", Shape::Flag),
    ("styleConfidenceProfile", Shape::Share),
    ("climateZone", Shape::Text),
];

const WEAR_EVENT: &[Field] = &[
    ("itemId", Shape::Text),
    ("occurredAt", Shape::Moment),
    ("occasion", Shape::Text),
    ("weatherSnapshot", Shape::Object(WEATHER)),
];

const SIZE: &[Field] =
    &[("letter", Shape::Text), ("waist", AMOUNT), ("inseam", AMOUNT), ("shoeSize", AMOUNT), ("system", Shape::Text)];

const PRICE: &[Field] = &[("amount", AMOUNT), ("originalCurrency", CURRENCY), ("purchaseDate", DATE)];

const COLOUR: &[Field] = &[("name", Shape::Text), ("hex", HEX)];

const WEAR: &[Field] =
    &[("occurredAt", Shape::Moment), ("occasion", Shape::Text), ("weatherSnapshot", Shape::Object(WEATHER))];

const WEATHER: &[Field] = &[("tempCelsius", Shape::Number), ("conditions", Shape::Text)];

/// Fields that a store adds to documents, as in a dump of a Cosmos DB container.
const OF_THE_STORE: &[&str] = &["_rid", "_self", "_etag", "_attachments", "_ts"];

/// Whether this can be a document id.
pub fn is_id(text: &str) -> bool {
    Key::by_id(Container::UserProfiles, text).is_valid() && !text.contains(char::is_control)
}

/// Checks fields of an item, as strictly as those of a table.
///
/// # Errors
/// A description of what is wrong.
pub fn item_fields(fields: &Map<String, Value>) -> Result<(), String> {
    shapes("", WARDROBE, fields, Origin::Table)
}

/// Converts a row to a document with kind and id, or describes what is wrong.
pub(super) fn document(
    row: Value,
    origin: Origin,
    options: &Options,
) -> Result<(RecordKind, String, Map<String, Value>), String> {
    let Value::Object(mut fields) = row else {
        return Err(format!("{} is not an object", quote(&row)));
    };
    fields.retain(|name, _| !OF_THE_STORE.contains(&name.as_str()));
    let kind = kind(&fields, options.kind)?;
    shapes("", shape_of(kind), &fields, origin)?;
    settle_user(kind, &mut fields, options)?;
    let has_id = fields.get("id").is_some_and(|id| !id.is_null());
    for (name, shape) in shape_of(kind) {
        let is_time = match shape {
            Shape::Moment => true,
            // Stored documents keep the owner's text. An id that is derived from the content must not change.
            Shape::Own { written: Shape::Moment, .. } => origin == Origin::Table || !has_id,
            _ => false,
        };
        if let (true, Some(Value::String(text))) = (is_time, fields.get_mut(*name)) {
            *text = in_utc(text);
        }
    }
    if fields.get("id").is_none_or(Value::is_null) {
        // Only a row with an id can refer to an existing document, and so have fields to clear.
        fields.retain(|_, value| !value.is_null());
    }
    let id = id(kind, &fields)?;
    fields.insert("id".to_owned(), id.clone().into());
    if kind == RecordKind::Wardrobe {
        // After the id, which is derived from what the row says.
        for name in ["brand", "category"] {
            if let Some(Value::String(text)) = fields.get_mut(name) {
                *text = trimmed(text).unwrap_or_default();
            }
        }
    }
    Ok((kind, id, fields))
}

fn shape_of(kind: RecordKind) -> &'static [Field] {
    match kind {
        RecordKind::Wardrobe => WARDROBE,
        RecordKind::Profile => PROFILE,
        RecordKind::WearEvents => WEAR_EVENT,
    }
}

/// Determines the kind of a row: with `itemId` it is a wear event; otherwise its fields decide, since items and
/// profiles share none.
fn kind(fields: &Map<String, Value>, given: Option<RecordKind>) -> Result<RecordKind, String> {
    let has = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    let has_any = |shape: &[Field]| shape.iter().any(|(name, _)| has(name));
    let kind = match given {
        Some(RecordKind::Wardrobe | RecordKind::Profile) if has("itemId") && has("occurredAt") => {
            return Err("it is a wear event, but another kind was requested".to_owned());
        }
        Some(kind) => kind,
        None if has("itemId") => RecordKind::WearEvents,
        None if has_any(WARDROBE) => RecordKind::Wardrobe,
        None if has_any(PROFILE) => RecordKind::Profile,
        None => return Err("it has no field of a wardrobe item, a profile or a wear event".to_owned()),
    };
    match kind {
        RecordKind::Wardrobe if !has_any(WARDROBE) => Err("it has no field of a wardrobe item".to_owned()),
        RecordKind::Profile if !has_any(PROFILE) => Err("it has no field of a profile".to_owned()),
        RecordKind::WearEvents if !has("itemId") => Err("itemId is missing".to_owned()),
        RecordKind::WearEvents if !has("occurredAt") => Err("occurredAt is missing".to_owned()),
        RecordKind::Wardrobe | RecordKind::Profile | RecordKind::WearEvents => Ok(kind),
    }
}

/// Assigns the row to the user; one that names another user is refused, unless that is allowed.
fn settle_user(kind: RecordKind, fields: &mut Map<String, Value>, options: &Options) -> Result<(), String> {
    let names: &[&str] = if kind == RecordKind::Profile { &["id", "userId"] } else { &["userId"] };
    let user = options.user.as_str();
    for name in names {
        match fields.get(*name) {
            None => {}
            Some(Value::Null) => {
                fields.remove(*name);
            }
            Some(given) if given == user || (given.is_string() && options.take_over) => {
                fields.insert((*name).to_owned(), user.into());
            }
            Some(Value::String(_)) => {
                return Err(format!("it belongs to another user: give --user {user} to make it {user}'s"));
            }
            Some(other) => return Err(format!("{name} is {}: expected a text", quote(other))),
        }
    }
    fields.insert(names[0].to_owned(), user.into());
    // Wear events that have no document of their own yet are the user's as well.
    let pending = fields.get_mut(PENDING_EVENTS).and_then(Value::as_array_mut);
    for event in pending.into_iter().flatten().filter_map(Value::as_object_mut) {
        if event.contains_key("userId") {
            event.insert("userId".to_owned(), user.into());
        }
    }
    Ok(())
}

/// Returns the row's id, or derives one from its content, so that the same row is the same document.
fn id(kind: RecordKind, fields: &Map<String, Value>) -> Result<String, String> {
    if let Some(item) = fields.get("itemId").and_then(Value::as_str)
        && kind == RecordKind::WearEvents
        && !is_id(item)
    {
        return Err(format!("itemId is {item:?}: not a valid id"));
    }
    match fields.get("id") {
        None | Some(Value::Null) => {
            let mut content = fields.clone();
            content.remove("userId");
            let hash = sha256_hex(canonical(&content));
            let prefix = if kind == RecordKind::WearEvents { "wear" } else { "item" };
            Ok(format!("{prefix}-{}", &hash[..ID_DIGITS]))
        }
        Some(Value::String(id)) if is_id(id) => Ok(id.clone()),
        Some(Value::String(id)) => Err(format!(
            "id is {}: expected 1 to 1023 bytes without / \\ ? # and control characters",
            quote(&id.clone().into())
        )),
        Some(other) => Err(format!("id is {}: expected a text", quote(other))),
    }
}

/// Converts a time with an offset to UTC, so that texts sort by time. Others are unchanged.
fn in_utc(text: &str) -> String {
    match time::OffsetDateTime::parse(text.trim(), &Rfc3339) {
        Ok(at) if at.offset() != UtcOffset::UTC => Timestamp::from(at).to_string(),
        Ok(_) | Err(_) => text.to_owned(),
    }
}

fn shapes(prefix: &str, expected: &[Field], fields: &Map<String, Value>, origin: Origin) -> Result<(), String> {
    for (name, shape) in expected {
        match fields.get(*name) {
            None | Some(Value::Null) => {}
            Some(value) => shape.check(&format!("{prefix}{name}"), value, origin)?,
        }
    }
    // Documents keep parts that another service added.
    let unknown = fields.keys().find(|name| expected.iter().all(|(known, _)| known != name));
    match unknown.filter(|_| origin == Origin::Table && !prefix.is_empty()) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<&str> = expected.iter().map(|(known, _)| *known).collect();
            Err(format!("{prefix}{} is unknown: expected {}", beginning(name), known.join(", ")))
        }
    }
}

impl Shape {
    fn check(self, name: &str, value: &Value, origin: Origin) -> Result<(), String> {
        let fits = match self {
            Self::Own { kept, written } => {
                let shape = if origin == Origin::Table { written } else { kept };
                return shape.check(name, value, origin);
            }
            Self::Any => true,
            Self::Text => value.is_string(),
            Self::Number => value.is_number(),
            Self::Amount => value.as_f64().is_some_and(|number| number >= 0.0),
            Self::Whole => value
                .as_f64()
                .is_some_and(|number| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)),
            Self::Share => value.as_f64().is_some_and(|number| (0.0..=1.0).contains(&number)),
            Self::Flag => value.is_boolean(),
            Self::Moment => value.as_str().is_some_and(|text| Timestamp::parse(text).is_some()),
            Self::Hex => value.as_str().is_some_and(is_hex),
            Self::Currency => value
                .as_str()
                .is_some_and(|code| code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_alphabetic())),
            Self::OneOf(words) => {
                value.as_str().is_some_and(|word| words.iter().any(|known| known.eq_ignore_ascii_case(word)))
            }
            Self::List(element) => {
                let Some(elements) = value.as_array() else { return Err(self.fault(name, value)) };
                for (position, value) in elements.iter().enumerate() {
                    element.check(&format!("{name}[{position}]"), value, origin)?;
                }
                true
            }
            Self::Object(expected) => {
                let Some(fields) = value.as_object() else { return Err(self.fault(name, value)) };
                shapes(&format!("{name}."), expected, fields, origin)?;
                true
            }
            Self::Colour => {
                Self::Object(COLOUR).check(name, value, origin)?;
                COLOUR.iter().any(|(part, _)| value[*part].is_string())
            }
            Self::Price if value.is_object() => {
                Self::Object(PRICE).check(name, value, origin)?;
                !value["amount"].is_null()
            }
            Self::Price => return AMOUNT.check(name, value, origin),
            Self::Wears => {
                Self::List(&Self::Object(WEAR)).check(name, value, origin)?;
                value.as_array().is_some_and(|wears| wears.len() <= MOST_REMEMBERED)
            }
        };
        if fits { Ok(()) } else { Err(self.fault(name, value)) }
    }

    fn fault(self, name: &str, value: &Value) -> String {
        let expected = match self {
            Self::Any | Self::Own { .. } => "anything",
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Amount => "a number, not negative",
            Self::Whole => "a whole number, not negative",
            Self::Share => "a number from 0 to 1",
            Self::Flag => "true or false",
            Self::Moment => "a date like 2026-03-08 or a time like 2026-03-08T06:00:00Z",
            Self::Hex => "a colour like #1f2a44",
            Self::Currency => "a currency code like EUR",
            Self::OneOf(words) => return format!("{name} is {}: expected one of {}", quote(value), words.join(", ")),
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
            Self::Colour => "a name, a hex value, or both",
            Self::Price => "an amount",
            Self::Wears => {
                return format!("{name} has more than {MOST_REMEMBERED} entries: wear events have a file of their own");
            }
        };
        let hint = value.as_str().filter(|_| matches!(self, Self::Moment)).and_then(date_hint).unwrap_or_default();
        format!("{name} is {}: expected {expected}{hint}", quote(value))
    }
}

/// Suggests how to write a date in spreadsheet form.
fn date_hint(text: &str) -> Option<String> {
    let day = text.trim().split([' ', 'T']).next()?;
    let numbers: Vec<u16> = day.split(['.', '/', '-']).map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let written = |year: u16, month: u16, day: u16| {
        let written = format!("{year:04}-{month:02}-{day:02}");
        (year >= 1000 && Timestamp::parse(&written).is_some()).then_some(written)
    };
    match numbers[..] {
        [serial] if (20_000..60_000).contains(&serial) => {
            Some("; a day's number of a spreadsheet: format the column as a date".to_owned())
        }
        [year, month, day] if year >= 1000 => written(year, month, day).map(|date| format!("; write {date}")),
        [first, second, year] if day.contains('/') => {
            match (written(year, second, first), written(year, first, second)) {
                (Some(one), Some(other)) if one != other => Some(format!("; is that {one} or {other}?")),
                (one, other) => one.or(other).map(|date| format!("; write {date}")),
            }
        }
        [first, second, year] => written(year, second, first).map(|date| format!("; write {date}")),
        _ => None,
    }
}

pub(super) fn is_hex(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or_default();
    digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Quotes the beginning of a value.
fn quote(value: &Value) -> String {
    beginning(&value.to_string())
}

/// Returns the beginning of a text, with `…` if any was cut.
fn beginning(text: &str) -> String {
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(QUOTED).collect();
    if characters.next().is_some() { format!("{start}…") } else { start }
}
