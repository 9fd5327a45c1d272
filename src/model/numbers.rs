//! The numbers in wardrobe items and wear events, read from a few of their fields.
//!
//! Every field may have any shape; one of an unexpected shape counts as absent.

use rust_decimal::Decimal;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::timestamp::Timestamp;
use super::wardrobe::Colour;
use crate::base::json::MAX_SAFE_INTEGER;

/// Largest accepted amount of money, in any currency.
pub const LARGEST_AMOUNT: Decimal = Decimal::from_parts(0xD4A5_1000, 0xE8, 0, false, 0);

/// Amounts below this are treated as zero.
const SMALLEST_AMOUNT: f64 = 1e-12;

/// First year that is a plausible purchase date; .NET writes year 1 for a date that was never set.
const FIRST_YEAR: i32 = 1900;

/// A decimal that is written as a JSON number, without a fraction if it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub Decimal);

impl PartialSchema for Number {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Number).into()
    }
}

impl ToSchema for Number {}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = self.0.normalize();
        match i64::try_from(number.mantissa()) {
            Ok(whole) if number.scale() == 0 => serializer.serialize_i64(whole),
            // Dividing two exactly representable floats gives the float nearest to the quotient.
            Ok(mantissa) if mantissa.unsigned_abs() <= MAX_SAFE_INTEGER.unsigned_abs() && number.scale() <= 22 => {
                serializer.serialize_f64(mantissa as f64 / 10_f64.powi(number.scale().cast_signed()))
            }
            Ok(_) | Err(_) => serializer.serialize_f64(number.to_string().parse().map_err(serde::ser::Error::custom)?),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        decimal(number).map(Self).ok_or_else(|| D::Error::custom("not a number of this size"))
    }
}

/// Converts a float to the shortest decimal that denotes it. `None` beyond ± [`LARGEST_AMOUNT`].
pub fn decimal(number: f64) -> Option<Decimal> {
    if number.abs() < SMALLEST_AMOUNT {
        return Some(Decimal::ZERO);
    }
    if !number.is_finite() || number.abs() > 1e12 {
        return None;
    }
    if number.fract() == 0.0 {
        return Some(Decimal::from(number as i64));
    }
    number.to_string().parse().ok()
}

/// A price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost<'a> {
    /// Amount in units of the currency.
    pub amount: Decimal,
    /// ISO 4217 code in any case; `None` means US dollars.
    pub currency: Option<&'a str>,
}

/// A field of the expected shape; one of any other shape counts as absent.
#[derive(Debug)]
struct Lenient<T>(Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(value.get()).ok()))
    }
}

/// A list that ignores elements of an unexpected shape.
type List<T> = Lenient<Vec<Lenient<T>>>;

impl<T> List<T> {
    fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten().filter_map(|element| element.0.as_ref())
    }
}

/// A number, read exactly; the JSON parser may be off by one bit.
#[derive(Debug)]
struct Exact(f64);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let number = if is_number { text.parse().ok() } else { None };
        number.map(Self).ok_or_else(|| D::Error::custom("not a number"))
    }
}

/// A price as stored in an item: a number or an object.
#[derive(Debug)]
struct Price {
    amount: f64,
    currency: Option<String>,
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Object {
            amount: Exact,
            #[serde(default)]
            original_currency: Lenient<String>,
        }
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let (Exact(amount), currency) = if text.starts_with('{') {
            let object: Object = serde_json::from_str(text).map_err(D::Error::custom)?;
            (object.amount, object.original_currency.0)
        } else {
            (serde_json::from_str(text).map_err(D::Error::custom)?, None)
        };
        Ok(Self { amount, currency })
    }
}

/// A wear, as stored in the item.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wear {
    occurred_at: Timestamp,
}

/// The numbers of a wardrobe item.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemNumbers {
    /// The item's id.
    pub id: String,
    #[serde(default)]
    price: Lenient<Price>,
    #[serde(default)]
    wear_count: Lenient<Exact>,
    #[serde(default)]
    date_added: Lenient<Timestamp>,
    #[serde(default)]
    last_worn_at: Lenient<Timestamp>,
    #[serde(default)]
    wear_events: List<Wear>,
    #[serde(default)]
    colours: List<Colour>,
    #[serde(default)]
    tags: List<String>,
    draft_status: Option<IgnoredAny>,
    #[serde(default)]
    is_wishlisted: Lenient<bool>,
}

impl ItemNumbers {
    /// Document fields that are read.
    pub const FIELDS: &'static [&'static str] = &[
        "id",
        "price",
        "wearCount",
        "dateAdded",
        "lastWornAt",
        "wearEvents",
        "colours",
        "tags",
        "draftStatus",
        "isWishlisted",
    ];

    /// Whether the item is owned, that is, neither a draft nor a wish.
    pub fn is_owned(&self) -> bool {
        self.draft_status.is_none() && self.is_wishlisted.0 != Some(true)
    }

    /// Returns the cost; `None` for a negative amount or one above [`LARGEST_AMOUNT`].
    pub fn cost(&self) -> Option<Cost<'_>> {
        let price = self.price.0.as_ref()?;
        let amount = decimal(price.amount).filter(|amount| !amount.is_sign_negative() || amount.is_zero())?;
        let currency = price.currency.as_deref().map(str::trim).filter(|code| !code.is_empty());
        Some(Cost { amount, currency })
    }

    /// Returns the number of wears.
    pub fn wear_count(&self) -> u32 {
        // The cast saturates: negative counts become 0.
        self.wear_count.0.as_ref().map_or(0, |Exact(count)| *count as u32)
    }

    /// Returns when the item was added to the wardrobe.
    pub fn date_added(&self) -> Option<Timestamp> {
        self.date_added.0.filter(|at| at.get().year() >= FIRST_YEAR)
    }

    /// Returns when the item was last worn, according to the item.
    pub fn last_worn(&self) -> Option<Timestamp> {
        self.last_worn_at.0.or_else(|| self.wears().max())
    }

    /// Returns the newest wears that are stored in the item itself.
    pub fn wears(&self) -> impl Iterator<Item = Timestamp> {
        self.wear_events.iter().map(|wear| wear.occurred_at)
    }

    /// Returns its colours, dominant first; a missing name or hex value is empty.
    pub fn colours(&self) -> impl Iterator<Item = &Colour> {
        self.colours.iter()
    }

    /// Returns the item's tags.
    pub fn tags(&self) -> impl Iterator<Item = &String> {
        self.tags.iter()
    }
}

/// The numbers of a wear event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WearNumbers {
    #[serde(default)]
    item_id: Lenient<String>,
    #[serde(default)]
    occurred_at: Lenient<Timestamp>,
}

impl WearNumbers {
    /// Document fields that are read; `id` is for the log.
    pub const FIELDS: &'static [&'static str] = &["id", "itemId", "occurredAt"];

    /// Returns the worn item and the time; `None` if either is missing.
    pub fn read(self) -> Option<(String, Timestamp)> {
        Some((self.item_id.0?, self.occurred_at.0?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn with_item<R>(document: &str, read: impl FnOnce(&ItemNumbers) -> R) -> R {
        read(&serde_json::from_str(document).unwrap())
    }

    fn cost(price: &str) -> Option<(String, Option<String>)> {
        with_item(&format!(r#"{{"id":"a","price":{price}}}"#), |item| {
            item.cost().map(|cost| (cost.amount.to_string(), cost.currency.map(str::to_owned)))
        })
    }

    #[test]
    fn a_price_is_the_decimal_that_somebody_wrote() {
        let plain = |amount: &str| Some((amount.to_owned(), None));
        for (written, amount) in [
            ("19.99", "19.99"),
            ("0.1", "0.1"),
            ("1.005", "1.005"),
            ("100", "100"),
            ("1e2", "100"),
            ("120.50", "120.5"),
            // The float nearest to 0.3 has more digits than its text.
            ("0.299999999999999988897769753748", "0.3"),
            ("0", "0"),
            ("-0.0", "0"),
            ("4e-300", "0"),
            ("1000000000000", "1000000000000"),
        ] {
            assert_eq!(cost(written), plain(amount), "{written}");
        }
        for absurd in
            ["-1", "1000000000001", "1e300", "1e999", "null", "true", "[]", "\"12\"", "{}", "{\"amount\":\"1\"}"]
        {
            assert_eq!(cost(absurd), None, "{absurd}");
        }
    }

    #[test]
    fn a_price_may_say_its_currency() {
        let is = |currency: Option<&str>| Some(("5".to_owned(), currency.map(str::to_owned)));
        assert_eq!(cost(r#"{"amount":5,"originalCurrency":"EUR"}"#), is(Some("EUR")));
        assert_eq!(cost(r#"{"amount":5,"originalCurrency":" eur "}"#), is(Some("eur")));
        for without in
            [r#"{"amount":5}"#, r#"{"amount":5,"originalCurrency":""}"#, r#"{"amount":5,"originalCurrency":7}"#]
        {
            assert_eq!(cost(without), is(None), "{without}");
        }
    }

    #[test]
    fn wear_counts_are_never_negative() {
        let count = |text: &str| with_item(&format!(r#"{{"id":"a","wearCount":{text}}}"#), |item| item.wear_count());
        for (text, expected) in
            [("3", 3), ("3.0", 3), ("0", 0), ("-4", 0), ("null", 0), ("\"3\"", 0), ("1e300", u32::MAX), ("{}", 0)]
        {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    #[test]
    fn fields_of_any_shape_do_no_harm() {
        for odd in [json!(7), json!("x"), json!([1, {"occurredAt": 3}, null, {"name": 5, "hex": []}]), json!({"a": 1})]
        {
            let document = json!({
                "id": "a", "dateAdded": odd, "lastWornAt": odd, "wearEvents": odd, "colours": odd, "tags": odd,
            });
            with_item(&document.to_string(), |item| {
                assert_eq!((item.date_added(), item.last_worn()), (None, None), "{odd}");
                assert!(item.colours().all(|colour| colour.name.is_empty() && colour.hex.is_empty()));
                assert_eq!((item.tags().count(), item.is_owned()), (0, true));
            });
        }
        let never_set = json!({"id": "a", "dateAdded": "0001-01-01T00:00:00"});
        assert_eq!(with_item(&never_set.to_string(), |item| item.date_added()), None);
    }

    #[test]
    fn drafts_and_wishes_are_not_owned() {
        for (fields, owned) in [
            (json!({}), true),
            (json!({"draftStatus": null, "isWishlisted": false}), true),
            (json!({"draftStatus": "Ready"}), false),
            (json!({"isWishlisted": true}), false),
        ] {
            let mut document = fields.clone();
            document["id"] = json!("a");
            assert_eq!(with_item(&document.to_string(), |item| item.is_owned()), owned, "{fields}");
        }
    }

    proptest! {
        #[test]
        fn a_number_reads_back_as_it_was_written(hundredths in -100_000_000_000_000_i64..100_000_000_000_000) {
            let number = Number(Decimal::new(hundredths, 2));
            let text = serde_json::to_string(&number).unwrap();
            prop_assert_eq!(serde_json::from_str::<Number>(&text).unwrap(), number);
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::to_string(&value).unwrap(), text);
        }

        #[test]
        fn any_float_is_a_decimal_or_none(number in any::<f64>()) {
            if let Some(decimal) = decimal(number) {
                prop_assert!(decimal.abs() <= LARGEST_AMOUNT);
            }
        }
    }
}
