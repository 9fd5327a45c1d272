//! Reading documents that other services, or older versions, wrote: a field of an unexpected shape counts as absent
//! instead of costing the whole document.

use std::fmt;

use serde::de::{self, DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a field; `None` if it has another shape.
pub fn optional<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// Reads a field; the type's default if it has another shape.
pub fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(optional(deserializer)?.unwrap_or_default())
}

/// Reads a field; the type's default if it is null.
///
/// # Errors
/// If it has another shape.
pub fn null_or<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A type of whole numbers.
pub trait Whole: Sized {
    /// Converts a number; one outside of the type's range becomes its least or largest.
    fn clamped(number: i128) -> Self;
}

macro_rules! whole {
    ($($name:ty)+) => {
        $(impl Whole for $name {
            fn clamped(number: i128) -> Self {
                let least_or_most = if number < 0 { Self::MIN } else { Self::MAX };
                Self::try_from(number).unwrap_or(least_or_most)
            }
        })+
    };
}

whole! { u32 u64 usize i64 }

/// Reads a whole number. JavaScript and other services may write it as `3.0`; a fraction is dropped. `None` for
/// anything but a number.
pub fn whole_of<T: Whole>(value: &Value) -> Option<T> {
    let Value::Number(number) = value else { return None };
    let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    // The cast saturates.
    exact.or_else(|| number.as_f64().map(|number| number as i128)).map(T::clamped)
}

/// Reads a count like [`whole_of`]; 0 if it is not a number.
pub fn whole<'de, D: Deserializer<'de>, T: Whole + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(optional_whole(deserializer)?.unwrap_or_default())
}

/// Reads a whole number like [`whole_of`]; `None` if it is not a number.
pub fn optional_whole<'de, D: Deserializer<'de>, T: Whole>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(whole_of(&Value::deserialize(deserializer)?))
}

/// Reads a list; elements of another shape are skipped, and anything but a list is empty.
pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Array(elements) => {
            Ok(elements.into_iter().filter_map(|element| serde_json::from_value(element).ok()).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Ok(Vec::new()),
    }
}

/// Reads a list like [`list`]; `None` if it is not a list.
pub fn optional_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if value.is_array() { list(value).map(Some).map_err(de::Error::custom) } else { Ok(None) }
}

/// Reads a list of numbers; anything but a list is empty. Unlike [`list`], it does not allocate a [`Value`] per
/// element, which matters for embeddings.
pub fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Numbers(numbers) => numbers,
        Loose::Number(_) | Loose::Other => Vec::new(),
    })
}

/// A number, a list of numbers, or anything else.
enum Loose {
    Number(f32),
    Numbers(Vec<f32>),
    Other,
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

#[expect(clippy::cast_possible_truncation, reason = "a vector's numbers are short anyway")]
impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Loose, E> {
        Ok(Loose::Number(number as f32))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
        Ok(Loose::Number(number as f32))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
        Ok(Loose::Number(number as f32))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Loose, A::Error> {
        let mut numbers = Vec::new();
        while let Some(element) = list.next_element()? {
            if let Loose::Number(number) = element {
                numbers.push(number);
            }
        }
        Ok(Loose::Numbers(numbers))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Loose, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_whole_however_it_is_written() {
        let read = |text: &str| -> (u32, i64, Option<usize>) {
            let read = || serde_json::Deserializer::from_str(text);
            (whole(&mut read()).unwrap(), whole(&mut read()).unwrap(), optional_whole(&mut read()).unwrap())
        };
        for (text, expected) in [
            ("3", (3, 3, Some(3))),
            ("3.0", (3, 3, Some(3))),
            ("3.7", (3, 3, Some(3))),
            ("3e0", (3, 3, Some(3))),
            ("-2", (0, -2, Some(0))),
            ("-2.5", (0, -2, Some(0))),
            ("5000000000", (u32::MAX, 5_000_000_000, Some(5_000_000_000))),
            ("18446744073709551615", (u32::MAX, i64::MAX, Some(usize::MAX))),
            ("1e300", (u32::MAX, i64::MAX, Some(usize::MAX))),
            ("-1e300", (0, i64::MIN, Some(0))),
            ("null", (0, 0, None)),
            (r#""3""#, (0, 0, None)),
            ("true", (0, 0, None)),
            ("[3]", (0, 0, None)),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_those_of_a_list() {
        let read = |text: &str| numbers(&mut serde_json::Deserializer::from_str(text)).unwrap();
        assert_eq!(read("[0.25, -3, 7, 1e-3]"), [0.25, -3.0, 7.0, 0.001]);
        assert_eq!(read(r#"[1, "x", null, true, [2], {"a": 3}, 4]"#), [1.0, 4.0]);
        for text in ["[]", "null", "5", "0.5", "-1", "\"x\"", "false", r#"{"a": [1]}"#] {
            assert!(read(text).is_empty(), "{text}");
        }
    }
}
