//! Reads the texts of messages.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

/// The type of a queue's messages.
pub trait QueueMessage: DeserializeOwned {
    /// Checks what deserialization does not.
    ///
    /// # Errors
    /// A description of what is wrong with the message.
    fn check(&self) -> Result<(), String>;
}

/// Base64 as any sender writes it, padded or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a message: JSON, plain, as a JSON string or in base64, with or without a byte order mark.
///
/// # Errors
/// A description of the problem, without the parser's text, which may quote the message.
pub fn read_message<T: QueueMessage>(text: &str) -> Result<T, String> {
    let (plain, decoded) = forms(text);
    let message: T = parse(&plain).or_else(|fault| decoded.map_or(Err(fault), |json| parse(&json)))?;
    message.check().map(|()| message)
}

/// Reads a message that may be of any type, if it is a JSON object in one of the forms of [`read_message`].
pub fn read_object(text: &str) -> Option<Value> {
    let (plain, decoded) = forms(text);
    let objects = [Some(plain), decoded].into_iter().flatten().filter_map(|json| parse::<Value>(&json).ok());
    objects.into_iter().find(Value::is_object)
}

/// Returns the text of a message, and its decoded form if it may be base64.
fn forms(text: &str) -> (String, Option<String>) {
    let mut plain = text.to_owned();
    // Some senders encode JSON text as a JSON string.
    while let Ok(inner) = serde_json::from_str(&plain) {
        plain = inner;
    }
    let decoded = LENIENT.decode(plain.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    (plain, decoded)
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, &'static str> {
    serde_json::from_str(json.trim_start_matches('\u{feff}')).map_err(|error| match error.classify() {
        Category::Data => "a field is missing or of the wrong type",
        Category::Syntax | Category::Eof | Category::Io => "the text is not JSON",
    })
}
