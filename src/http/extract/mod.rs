//! Extractors: bodies, queries and path segments, bounded and checked, with all faults reported in one 422.
//!
//! A request type implements [`Read`] over [`Fields`]; each field that does not fit adds a [`Fault`], and a value is
//! used only if there is none. Unknown fields are ignored. Fields may be written in `camelCase` or `snake_case`.

pub mod chat_id;
pub mod description;
pub mod new_id;
pub mod parts;
pub mod text;
pub mod upload;

use std::borrow::Cow;
use std::num::IntErrorKind;
use std::ops::RangeInclusive;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::http::error::{ApiError, Fault, Step, echo, echo_fields};
use crate::http::layers::bodies::{Account, Refusal};
use description::Place;

/// A JSON body, as input or output.
#[derive(Debug)]
pub struct AppJson<T>(pub T);

impl<T: Read, S: Send + Sync> FromRequest<S> for AppJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType);
        }
        let (parts, body) = request.into_parts();
        read_json(&read_body(&parts.headers, body).await?, parts.extensions.get()).await.map(Self)
    }
}

/// Extracts an optional body; an empty one counts as missing, whatever its type.
impl<T: Read, S: Send + Sync> OptionalFromRequest<S> for AppJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Option<Self>, ApiError> {
        let is_json = is_json(request.headers());
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body).await?;
        match (bytes.is_empty(), is_json) {
            (true, _) => Ok(None),
            (false, true) => read_json(&bytes, parts.extensions.get()).await.map(|body| Some(Self(body))),
            (false, false) => Err(ApiError::UnsupportedMediaType),
        }
    }
}

impl<T: Serialize> IntoResponse for AppJson<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                ([(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"))], body).into_response()
            }
            Err(error) => ApiError::internal(error).into_response(),
        }
    }
}

/// Query parameters. If a name repeats, the last value counts; all values are strings.
#[derive(Debug)]
pub struct AppQuery<T>(pub T);

impl<T: Read, S: Send + Sync> FromRequestParts<S> for AppQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        let object: Map<String, Value> =
            pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect();
        Fields::read_object("query", object.into()).map(Self)
    }
}

/// Path parameters.
#[derive(Debug)]
pub struct AppPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for AppPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(ApiError::Invalid(vec![Fault {
                kind: "string_unicode",
                loc: vec![Step::Name("path")],
                msg: "Input should be a valid string".into(),
                input: echo(&parts.uri.path().into()),
                ctx: Value::Null,
            }])),
        }
    }
}

/// Whether the caller asked to run the request in the background (`Prefer: respond-async`), with an optional
/// `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreferAsync {
    /// Answer when done.
    No,
    /// Run in the background. Requests with the same key get the same job.
    Yes(Option<String>),
}

/// Longest `Idempotency-Key`, in characters.
const LONGEST_KEY: usize = 128;
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Header that makes a request repeatable.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl<S: Send + Sync> FromRequestParts<S> for PreferAsync {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        if !prefers_async(&parts.headers) {
            return Ok(Self::No);
        }
        idempotency_key(&parts.headers).map(Self::Yes)
    }
}

/// The caller's name for the request, if it has one.
///
/// # Errors
/// 400 for one that is empty, too long or not of plain characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().map(str::trim).filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    match key {
        Some(key) => Ok(Some(key.to_owned())),
        None => Err(ApiError::BadRequest("Idempotency-Key must be 1 to 128 plain characters.")),
    }
}

/// Whether the caller asked to run the request in the background (`Prefer: respond-async`).
pub fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).into_iter().filter_map(|header| header.to_str().ok());
    let names = preferences.flat_map(|list| list.split([',', ';']));
    names.map(str::trim).any(|name| name.eq_ignore_ascii_case("respond-async"))
}

/// Returns the announced length of the body, in bytes.
pub fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the whole body, within the bounds of [`crate::http::layers::bodies`].
///
/// # Errors
/// 408, 413 or 503 when a bound is violated, 400 when the connection broke.
pub async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let mut pieces = body.into_data_stream();
    let mut next = async || {
        let unreadable = ApiError::BadRequest("The request body could not be read.");
        pieces.try_next().await.map_err(|error| Refusal::behind(&error).map_or(unreadable, ApiError::from))
    };
    let Some(first) = next().await? else { return Ok(Bytes::new()) };
    let Some(second) = next().await? else { return Ok(first) };
    let mut gathered = Gathered::new(announced_length(headers));
    gathered.push(&first);
    gathered.push(&second);
    drop((first, second));
    while let Some(piece) = next().await? {
        gathered.push(&piece);
    }
    Ok(gathered.into())
}

/// Collects the chunks of a body. Allocates for what has arrived, not for what was announced, and shrinks to fit at the
/// end.
pub struct Gathered {
    bytes: Vec<u8>,
    announced: usize,
}

impl Gathered {
    /// Creates an empty buffer. The announced length limits its last growth.
    pub fn new(announced: Option<usize>) -> Self {
        Self { bytes: Vec::new(), announced: announced.unwrap_or(usize::MAX) }
    }

    /// Appends a chunk.
    pub fn push(&mut self, piece: &[u8]) {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            let wanted = needed.max(self.announced.min(2 * needed));
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl From<Gathered> for Bytes {
    fn from(gathered: Gathered) -> Self {
        gathered.bytes.into()
    }
}

/// Whether the body is JSON. A body without a type counts as JSON, because some clients send none.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return true };
    let Ok(content_type) = content_type.to_str() else { return false };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads a JSON body. Its parsed values may take many times the memory of the text, and that is charged to the caller
/// too.
async fn read_json<T: Read>(bytes: &[u8], account: Option<&Account>) -> Result<T, ApiError> {
    charge_values(bytes, account).await?;
    parse_json(bytes)
}

/// Charges the memory that the values of a JSON text will take.
pub async fn charge_values(bytes: &[u8], account: Option<&Account>) -> Result<(), ApiError> {
    let Some(account) = account else { return Ok(()) };
    let values = bytes.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    if values > FREE_VALUES {
        account.charge(values * BYTES_PER_VALUE).await?;
    }
    Ok(())
}

fn parse_json<T: Read>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = without_mark(bytes);
    if text.is_empty() {
        return Err(ApiError::Invalid(vec![missing(vec![Step::Name("body")], Value::Null)]));
    }
    let body = parse_value(text).map_err(|error| ApiError::Invalid(vec![malformed(text, &error)]))?;
    Fields::read_object("body", body)
}

/// The text without its byte order mark, if it has one.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Parses JSON as clients write it. Half of a surrogate pair is read as U+FFFD, since JavaScript produces that when a text
/// is cut within an emoji.
fn parse_value(text: &[u8]) -> serde_json::Result<Value> {
    let body = serde_json::from_slice(text);
    body.or_else(|error| replace_lone_surrogates(text).map_or(Err(error), |text| serde_json::from_slice(&text)))
}

/// Replaces every escape of half a surrogate pair with `\ufffd`; `None` if there is none.
fn replace_lone_surrogates(text: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut replaced = None;
    let mut at = 0;
    while let Some(step) = text[at..].iter().position(|byte| *byte == b'\\') {
        at += step;
        at += match unit(at) {
            Some(0xD800..0xDC00) if matches!(unit(at + 6), Some(0xDC00..0xE000)) => 12,
            Some(0xD800..0xE000) => {
                // As long as what it replaces, so that positions in faults stay right.
                replaced.get_or_insert_with(|| text.to_vec())[at..at + 6].copy_from_slice(b"\\ufffd");
                6
            }
            Some(_) => 6,
            // The escaped character may be a backslash.
            None => 2,
        };
        if at >= text.len() {
            break;
        }
    }
    replaced
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Values of a body whose memory is not charged; every small body has some.
const FREE_VALUES: usize = 1000;
/// Memory of a parsed value besides its text, at most.
const BYTES_PER_VALUE: usize = 96;

/// Parses an integer, clamped to the range of the type.
fn whole_number(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(number) => Some(number),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Some(i64::MAX),
        Err(error) if *error.kind() == IntErrorKind::NegOverflow => Some(i64::MIN),
        Err(_) => None,
    }
}

fn malformed(bytes: &[u8], error: &serde_json::Error) -> Fault {
    let line_start: usize = bytes.split_inclusive(|&byte| byte == b'\n').take(error.line() - 1).map(<[u8]>::len).sum();
    // Columns count from 1; at the end of the text, the column is that of the last byte there is.
    let column = if error.is_eof() { error.column() } else { error.column().saturating_sub(1) };
    // What other encodings of Unicode begin with, or have for the first character of any JSON text.
    let is_utf_16 = matches!(bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, ..] | [_, 0, ..]);
    // The parser's words without its own " at line 1 column 2", which `loc` says already.
    let text = error.to_string();
    let reason = if is_utf_16 { "the body is not UTF-8" } else { text.split(" at line ").next().unwrap_or_default() };
    Fault {
        kind: "json_invalid",
        loc: vec![Step::Name("body"), Step::Position(line_start + column)],
        msg: "JSON decode error".into(),
        input: json!({}),
        ctx: json!({ "error": reason }),
    }
}

fn missing(loc: Vec<Step>, input: Value) -> Fault {
    Fault { kind: "missing", loc, msg: "Field required".into(), input, ctx: Value::Null }
}

/// A request type that can be read from [`Fields`].
pub trait Read: Sized {
    /// Reads the value. Faults are recorded in `fields`; the value is used only if there is none.
    fn read(fields: &mut Fields) -> Self;
}

/// The fields of a JSON object, and the faults found so far.
pub struct Fields {
    object: Map<String, Value>,
    place: Vec<Step>,
    faults: Vec<Fault>,
    /// Records the fields instead, while the request type is being described.
    notes: Option<Box<description::Notes>>,
}

impl Fields {
    fn read_object<T: Read>(root: &'static str, value: Value) -> Result<T, ApiError> {
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

    /// Takes the field's value; `None` if it is missing.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.object.remove(name).or_else(|| self.object.remove(twin(name).as_ref()))
    }

    fn fault(&mut self, kind: &'static str, steps: &[Step], msg: impl Into<String>, input: Value, ctx: Value) {
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

    /// Reads the `continuationToken` of a query; `None` for the first page.
    pub fn continuation_token(&mut self) -> Option<String> {
        self.optional_text("continuationToken", LONGEST_CONTINUATION_TOKEN).filter(|token| !token.is_empty())
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
        let given = self.object.get(name).or_else(|| self.object.get(twin(name).as_ref()));
        if given.is_none_or(Value::is_null) {
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

    /// A list of at most `most` objects that may be missing or null.
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
        // It must be there, and may be null all the same.
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
                // The list itself is not sent back: it is what was too long.
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
        // A text has at least as many bytes as characters, so most texts need no counting.
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

/// Longest signal that is examined, in characters.
const LONGEST_SIGNAL: usize = 20;
/// Longest continuation token, in characters. Tokens of Cosmos DB grow with the number of partitions.
const LONGEST_CONTINUATION_TOKEN: usize = 16_000;

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

/// Headers with a caller's trace id, in order of precedence.
const TRACE_HEADERS: [&str; 3] = ["x-trace-id", "traceparent", "x-request-id"];
/// Longest trace id, in bytes.
const LONGEST_TRACE_NAME: usize = 128;

/// Returns the caller's trace id, if any.
pub fn trace_name(headers: &HeaderMap) -> Option<&str> {
    let texts = TRACE_HEADERS.into_iter().filter_map(|name| headers.get(name)?.to_str().ok());
    texts.map(str::trim).find(|text| (1..=LONGEST_TRACE_NAME).contains(&text.len()))
}

#[cfg(test)]
mod tests {
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
    struct Paging {
        page_size: Option<i64>,
        tags: Option<String>,
    }

    impl Read for Paging {
        fn read(fields: &mut Fields) -> Self {
            Self { page_size: fields.optional_integer("pageSize"), tags: fields.optional_text("tags", 10) }
        }
    }

    async fn query(text: &str) -> Result<Paging, Value> {
        let request = Request::builder().uri(format!("/x?{text}")).body(axum::body::Body::empty()).unwrap();
        match AppQuery::from_request_parts(&mut request.into_parts().0, &()).await {
            Ok(AppQuery(paging)) => Ok(paging),
            Err(ApiError::Invalid(faults)) => Err(serde_json::to_value(faults).unwrap()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_query_is_read_like_a_body() {
        let paging = |page_size, tags: Option<&str>| Paging { page_size, tags: tags.map(str::to_owned) };
        assert_eq!(query("").await, Ok(paging(None, None)));
        assert_eq!(query("page_size=7&tags=a%2Cb+c&x").await, Ok(paging(Some(7), Some("a,b c"))));
        let fault = query("pageSize=many&tags=12345678901").await.unwrap_err();
        assert_eq!((&fault[0]["type"], &fault[0]["loc"]), (&json!("int_parsing"), &json!(["query", "pageSize"])));
        assert_eq!(fault[1]["type"], "string_too_long");
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
