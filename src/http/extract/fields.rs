//! Reads the fields of a JSON object and reports all faults at once.

use std::borrow::Cow;
use std::num::IntErrorKind;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::description::{self, Place};
use crate::http::error::{ApiError, Fault, Step, echo, echo_fields};

/// Longest signal that is examined, in characters.
const LONGEST_SIGNAL: usize = 20;
/// Longest continuation token, in characters. Tokens of Cosmos DB grow with the number of partitions.
pub const LONGEST_CONTINUATION_TOKEN: usize = 16_000;

/// A request type that can be read from [`Fields`].
pub trait Read: Sized {
    /// Reads the value. Faults are recorded in `fields`; the value is used only if there is none.
    fn read(fields: &mut Fields) -> Self;
}

/// The fields of a JSON object, and the faults found so far.
pub struct Fields {
    pub(super) object: Map<String, Value>,
    pub(super) place: Vec<Step>,
    pub(super) faults: Vec<Fault>,
    /// Records the fields instead, while the request type is being described.
    pub(super) notes: Option<Box<description::Notes>>,
}

impl Fields {
    pub fn read_object<T: Read>(root: &'static str, value: Value) -> Result<T, ApiError> {
        let place = vec![Step::Name(root)];
        let Value::Object(object) = value else {
            let msg = "Input should be a valid dictionary or object to extract fields from".into();
            let input = echo(&value);
            let fault = Fault { kind: "model_attributes_type", loc: place, msg, input, ctx: Value::Null };
            return Err(ApiError::Invalid(vec![fault]));
        };
        let mut fields = Self { object, place, faults: Vec::new(), notes: None };
        let value = T::read(&mut fields);
        if fields.faults.is_empty() { Ok(value) } else { Err(ApiError::Invalid(fields.faults)) }
    }

    /// Takes the field's value; `None` if it is missing. A null does not hide its twin.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        match self.object.remove(name) {
            given @ (None | Some(Value::Null)) => self.object.remove(twin(name).as_ref()).or(given),
            given @ Some(_) => given,
        }
    }

    pub(super) fn fault(
        &mut self,
        kind: &'static str,
        steps: &[Step],
        msg: impl Into<String>,
        input: Value,
        ctx: Value,
    ) {
        let loc = self.place.iter().chain(steps).cloned().collect();
        self.faults.push(Fault { kind, loc, msg: msg.into(), input: echo(&input), ctx });
    }

    /// Reads a required string of `least` to `most` characters.
    pub fn text(&mut self, name: &'static str, least: usize, most: usize) -> String {
        self.ask(name, true, |_| description::text(least, most));
        match self.take(name) {
            Some(value) => self.check_text(&[Step::Name(name)], value, least, most).unwrap_or_default(),
            None => {
                let input = echo_fields(&self.object);
                let loc = self.place.iter().cloned().chain([Step::Name(name)]).collect();
                self.faults.push(missing(loc, input));
                String::new()
            }
        }
    }

    /// Reads a [`Signal`](crate::model::vote::Signal) without checking it: the route answers 400 for an invalid or
    /// missing one.
    pub fn signal(&mut self) -> String {
        self.ask("signal", true, |_| description::text(0, LONGEST_SIGNAL));
        self.rule("signal", || json!({ "enum": ["up", "down"] }));
        match self.take("signal") {
            Some(Value::String(signal)) => signal,
            Some(_) | None => String::new(),
        }
    }

    /// Whether the object has a field of this name.
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Adds a fault of a field that was read.
    pub fn refuse(&mut self, name: &'static str, kind: &'static str, msg: &str) {
        self.fault(kind, &[Step::Name(name)], msg, Value::Null, Value::Null);
    }

    /// Reads an optional string of at most `most` characters.
    pub fn optional_text(&mut self, name: &'static str, most: usize) -> Option<String> {
        self.ask(name, false, |_| description::text(0, most));
        match self.take(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.check_text(&[Step::Name(name)], value, 0, most),
        }
    }

    /// Like [`optional_text`](Self::optional_text); an empty string counts as absent.
    pub fn filled_text(&mut self, name: &'static str, most: usize) -> Option<String> {
        self.optional_text(name, most).filter(|text| !text.is_empty())
    }

    /// Reads the `continuationToken` of a query; `None` for the first page.
    pub fn continuation_token(&mut self) -> Option<String> {
        self.filled_text("continuationToken", LONGEST_CONTINUATION_TOKEN)
    }

    /// Reads an optional integer, which may be written as a string, as in queries.
    pub fn optional_integer(&mut self, name: &'static str) -> Option<i64> {
        self.ask(name, false, Place::integer);
        let steps = [Step::Name(name)];
        match self.take(name)? {
            Value::Null => None,
            Value::Number(number) if is_whole(&number) => number.as_i64().or(number.as_f64().map(|whole| whole as i64)),
            Value::String(text) => {
                let number = whole_number(text.trim());
                if number.is_none() {
                    let msg = "Input should be a valid integer, unable to parse string as an integer";
                    self.fault("int_parsing", &steps, msg, text.into(), Value::Null);
                }
                number
            }
            other => {
                self.fault("int_type", &steps, "Input should be a valid integer", other, Value::Null);
                None
            }
        }
    }

    /// Reads a required integer from `least` to `most`.
    pub fn integer(&mut self, name: &'static str, least: i64, most: i64) -> i64 {
        self.ask(name, true, |place| place.integer_within(least, most));
        let given = [self.object.get(name), self.object.get(twin(name).as_ref())];
        if given.into_iter().flatten().all(Value::is_null) {
            let input = echo_fields(&self.object);
            let loc = self.place.iter().cloned().chain([Step::Name(name)]).collect();
            self.faults.push(missing(loc, input));
            return least;
        }
        self.integer_within(name, least, least..=most)
    }

    /// Reads an optional flag, which may be written as a word or digit, as in queries.
    pub fn optional_flag(&mut self, name: &'static str) -> Option<bool> {
        self.ask(name, false, |_| description::flag());
        let value = self.take(name)?;
        let flag = match &value {
            Value::Null => return None,
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
                "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
                _ => None,
            },
            Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        };
        if flag.is_none() {
            let msg = "Input should be a valid boolean, unable to interpret input";
            self.fault("bool_parsing", &[Step::Name(name)], msg, value, Value::Null);
        }
        flag
    }

    /// Reads an integer within bounds, with a default. It may be written as a string.
    pub fn integer_within(&mut self, name: &'static str, default: i64, bounds: RangeInclusive<i64>) -> i64 {
        let (least, most) = bounds.into_inner();
        self.ask(name, false, |place| place.integer_within(least, most));
        self.rule(name, || json!({ "default": default }));
        let Some(number) = self.optional_integer(name) else { return default };
        let (kind, than, bound, key) = match number {
            _ if number < least => ("greater_than_equal", "greater than", least, "ge"),
            _ if number > most => ("less_than_equal", "less than", most, "le"),
            _ => return number,
        };
        let msg = format!("Input should be {than} or equal to {bound}");
        self.fault(kind, &[Step::Name(name)], msg, number.into(), json!({ key: bound }));
        default
    }

    /// Reads a positive number, with a default. It may be written as a string.
    pub fn positive_number(&mut self, name: &'static str, default: f64) -> f64 {
        self.ask(name, false, Place::number);
        self.rule(name, || json!({ "exclusiveMinimum": 0, "default": default }));
        let steps = [Step::Name(name)];
        let (number, shown) = match self.take(name) {
            None | Some(Value::Null) => return default,
            Some(Value::Number(number)) => (number.as_f64(), Value::Number(number)),
            Some(Value::String(text)) => (text.trim().parse().ok(), Value::String(text)),
            Some(other) => {
                self.fault("float_type", &steps, "Input should be a valid number", other, Value::Null);
                return default;
            }
        };
        let (kind, msg, ctx) = match number {
            None => {
                ("float_parsing", "Input should be a valid number, unable to parse string as a number", Value::Null)
            }
            Some(number) if !number.is_finite() => ("finite_number", "Input should be a finite number", Value::Null),
            Some(number) if number <= 0.0 => ("greater_than", "Input should be greater than 0", json!({ "gt": 0.0 })),
            Some(number) => return number,
        };
        self.fault(kind, &steps, msg, shown, ctx);
        default
    }

    /// Reads an optional list of at most `most` strings of at most `longest` characters.
    pub fn optional_texts(&mut self, name: &'static str, most: usize, longest: usize) -> Option<Vec<String>> {
        self.ask(name, false, |_| description::list(most, description::text(0, longest)));
        let elements = self.list(name, most)?;
        let texts = elements.into_iter().enumerate().filter_map(|(position, value)| {
            self.check_text(&[Step::Name(name), Step::Position(position)], value, 0, longest)
        });
        Some(texts.collect())
    }

    /// Reads an optional list of at most `most` objects.
    pub fn objects<T: Read>(&mut self, name: &'static str, most: usize) -> Vec<T> {
        self.optional_objects(name, most).unwrap_or_default()
    }

    /// Reads an optional list of at most `most` objects.
    pub fn optional_objects<T: Read>(&mut self, name: &'static str, most: usize) -> Option<Vec<T>> {
        self.ask(name, false, |_| description::list(most, description::body_schema::<T>()));
        let elements = self.list(name, most)?;
        let mut records = Vec::with_capacity(elements.len());
        for (position, value) in elements.into_iter().enumerate() {
            let steps = [Step::Name(name), Step::Position(position)];
            let Value::Object(object) = value else {
                let msg = "Input should be a valid dictionary or object to extract fields from";
                self.fault("model_attributes_type", &steps, msg, value, Value::Null);
                continue;
            };
            let place = self.place.iter().chain(&steps).cloned().collect();
            let mut fields = Self { object, place, faults: Vec::new(), notes: None };
            records.push(T::read(&mut fields));
            self.faults.append(&mut fields.faults);
        }
        Some(records)
    }

    /// Reads an object that may be missing or null.
    pub fn optional_object<T: Read>(&mut self, name: &'static str) -> Option<T> {
        self.ask(name, false, |_| description::body_schema::<T>());
        match self.take(name)? {
            Value::Null => None,
            Value::Object(object) => {
                let place = self.place.iter().cloned().chain([Step::Name(name)]).collect();
                let mut fields = Self { object, place, faults: Vec::new(), notes: None };
                let record = T::read(&mut fields);
                self.faults.append(&mut fields.faults);
                Some(record)
            }
            other => {
                let msg = "Input should be a valid dictionary or object to extract fields from";
                self.fault("model_attributes_type", &[Step::Name(name)], msg, other, Value::Null);
                None
            }
        }
    }

    /// Reads a required list of at most `most` objects without interpreting them.
    pub fn raw_objects(&mut self, name: &'static str, most: usize) -> Vec<Value> {
        self.ask(name, true, |_| description::list(most, json!({ "type": "object" })));
        // Required, but may be null.
        self.rule(name, || json!({ "type": ["array", "null"] }));
        let twin = twin(name);
        if !self.object.contains_key(name) && !self.object.contains_key(twin.as_ref()) {
            let input = echo_fields(&self.object);
            let loc = self.place.iter().cloned().chain([Step::Name(name)]).collect();
            self.faults.push(missing(loc, input));
            return Vec::new();
        }
        let elements = self.list(name, most).unwrap_or_default();
        let (objects, others): (Vec<_>, Vec<_>) =
            elements.into_iter().enumerate().partition(|(_, element)| element.is_object());
        for (position, other) in others {
            let msg = "Input should be a valid dictionary or object to extract fields from";
            let steps = [Step::Name(name), Step::Position(position)];
            self.fault("model_attributes_type", &steps, msg, other, Value::Null);
        }
        objects.into_iter().map(|(_, object)| object).collect()
    }

    fn list(&mut self, name: &'static str, most: usize) -> Option<Vec<Value>> {
        match self.take(name) {
            None | Some(Value::Null) => None,
            Some(Value::Array(elements)) if elements.len() > most => {
                let length = elements.len();
                let msg = format!("List should have at most {most} items after validation, not {length}");
                let ctx = json!({ "field_type": "List", "max_length": most, "actual_length": length });
                // The list itself is too long to be sent back.
                self.fault("too_long", &[Step::Name(name)], msg, Value::Null, ctx);
                None
            }
            Some(Value::Array(elements)) => Some(elements),
            Some(other) => {
                self.fault("list_type", &[Step::Name(name)], "Input should be a valid list", other, Value::Null);
                None
            }
        }
    }

    fn check_text(&mut self, steps: &[Step], value: Value, least: usize, most: usize) -> Option<String> {
        let Value::String(text) = value else {
            self.fault("string_type", steps, "Input should be a valid string", value, Value::Null);
            return None;
        };
        // A string has at least as many bytes as characters, so most need no counting.
        if text.len() > most && text.chars().count() > most {
            let msg = format!("String should have at most {most} {}", plural(most));
            self.fault("string_too_long", steps, msg, text.into(), json!({ "max_length": most }));
            return None;
        }
        if text.chars().take(least).count() < least {
            let msg = format!("String should have at least {least} {}", plural(least));
            self.fault("string_too_short", steps, msg, text.into(), json!({ "min_length": least }));
            return None;
        }
        Some(text)
    }
}

/// Whether the number is an integer in the range of `i64`. In JSON, 47.0 is the same number as 47.
fn is_whole(number: &serde_json::Number) -> bool {
    let is_whole = |float: f64| float.fract() == 0.0 && float.abs() < i64::MAX as f64;
    number.is_i64() || number.is_f64() && number.as_f64().is_some_and(is_whole)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "character" } else { "characters" }
}

/// Converts `camelCase` to `snake_case` and vice versa.
fn twin(name: &str) -> Cow<'_, str> {
    let mut twin = String::with_capacity(name.len() + 4);
    let mut raise = false;
    for letter in name.chars() {
        match letter {
            '_' => raise = true,
            _ if raise => {
                twin.extend(letter.to_uppercase());
                raise = false;
            }
            _ if letter.is_uppercase() => {
                twin.push('_');
                twin.extend(letter.to_lowercase());
            }
            _ => twin.push(letter),
        }
    }
    Cow::Owned(twin)
}

/// Parses an integer, clamped to the range of the type.
fn whole_number(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(number) => Some(number),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Some(i64::MAX),
        Err(error) if *error.kind() == IntErrorKind::NegOverflow => Some(i64::MIN),
        Err(_) => None,
    }
}

pub(super) fn missing(loc: Vec<Step>, input: Value) -> Fault {
    Fault { kind: "missing", loc, msg: "Field required".into(), input, ctx: Value::Null }
}

#[cfg(test)]
mod tests {
    use super::super::json::parse_json;
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Card {
        title: String,
        tags: Option<Vec<String>>,
    }

    impl Read for Card {
        fn read(fields: &mut Fields) -> Self {
            Self { title: fields.text("cardTitle", 1, 5), tags: fields.optional_texts("tags", 2, 3) }
        }
    }

    fn faults(body: &str) -> Value {
        match parse_json::<Card>(body.as_bytes()) {
            Err(ApiError::Invalid(faults)) => serde_json::to_value(faults).unwrap(),
            other => panic!("expected faults, got {other:?}"),
        }
    }

    #[test]
    fn both_spellings_of_a_name_are_read_and_unknown_fields_ignored() {
        let expected = Card { title: "a".into(), tags: None };
        assert_eq!(parse_json::<Card>(br#"{"cardTitle":"a","more":1}"#).unwrap(), expected);
        assert_eq!(parse_json::<Card>(br#"{"card_title":"a","tags":null}"#).unwrap(), expected);
        assert_eq!(twin("source_type"), "sourceType");
        assert_eq!(twin("sourceType"), "source_type");
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let found = faults(r#"{"tags":["long",7]}"#);
        let kinds: Vec<_> = found.as_array().unwrap().iter().map(|fault| fault["type"].clone()).collect();
        assert_eq!(kinds, ["missing", "string_too_long", "string_type"]);
        assert_eq!(found[1]["loc"], json!(["body", "tags", 0]));
    }

    #[derive(Debug, PartialEq)]
    struct Numbers(i64, f64);

    impl Read for Numbers {
        fn read(fields: &mut Fields) -> Self {
            Self(fields.integer_within("windowDays", 90, 1..=3650), fields.positive_number("targetCpw", 100.0))
        }
    }

    #[test]
    fn numbers_have_bounds() {
        let read = |body: &str| match parse_json::<Numbers>(body.as_bytes()) {
            Ok(Numbers(days, target)) => Ok((days, target)),
            Err(ApiError::Invalid(faults)) => Err(faults[0].kind),
            Err(other) => panic!("{other:?}"),
        };
        for (body, expected) in [
            ("{}", Ok((90, 100.0))),
            (r#"{"windowDays":1,"targetCpw":0.5}"#, Ok((1, 0.5))),
            (r#"{"window_days":"3650","target_cpw":" 1e2 "}"#, Ok((3650, 100.0))),
            (r#"{"windowDays":30.0}"#, Ok((30, 100.0))),
            (r#"{"windowDays":1e300}"#, Err("int_type")),
            (r#"{"windowDays":0}"#, Err("greater_than_equal")),
            (r#"{"windowDays":"3651"}"#, Err("less_than_equal")),
            (r#"{"windowDays":"1.5"}"#, Err("int_parsing")),
            (r#"{"windowDays":1.5}"#, Err("int_type")),
            (r#"{"targetCpw":"much"}"#, Err("float_parsing")),
            (r#"{"targetCpw":""}"#, Err("float_parsing")),
            (r#"{"targetCpw":"nan"}"#, Err("finite_number")),
            (r#"{"targetCpw":"1e999"}"#, Err("finite_number")),
            (r#"{"targetCpw":"-inf"}"#, Err("finite_number")),
            (r#"{"targetCpw":0}"#, Err("greater_than")),
            (r#"{"targetCpw":"-0.01"}"#, Err("greater_than")),
            (r#"{"targetCpw":[1]}"#, Err("float_type")),
        ] {
            assert_eq!(read(body), expected, "{body}");
        }
        let found = faults_of_numbers(r#"{"windowDays":0,"targetCpw":-1}"#);
        assert_eq!((&found[0]["ctx"], &found[1]["ctx"]), (&json!({"ge": 1}), &json!({"gt": 0.0})));
        assert_eq!(found[0]["msg"], "Input should be greater than or equal to 1");
    }

    fn faults_of_numbers(body: &str) -> Value {
        match parse_json::<Numbers>(body.as_bytes()) {
            Err(ApiError::Invalid(faults)) => serde_json::to_value(faults).unwrap(),
            other => panic!("expected faults, got {other:?}"),
        }
    }

    #[test]
    fn a_fault_looks_as_clients_know_it() {
        assert_eq!(
            faults(r#"{"x":1}"#),
            json!([{"type": "missing", "loc": ["body", "cardTitle"], "msg": "Field required", "input": {"x": 1}}])
        );
        assert_eq!(faults("{\"cardTitle\":\n}")[0]["loc"], json!(["body", 14]));
        assert_eq!(faults("[]")[0]["type"], "model_attributes_type");
        assert_eq!(faults("")[0]["loc"], json!(["body"]));
        assert_eq!(faults("{\"cardTitle\":\"\u{1}\"}")[0]["type"], "json_invalid");
    }
}
