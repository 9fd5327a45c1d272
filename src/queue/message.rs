//! Reads the texts of messages.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// The type of a queue's messages.
pub trait QueueMessage: DeserializeOwned {
    /// Checks what deserialization does not.
    ///
    /// # Errors
    /// What is wrong with it, for people.
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
/// What is wrong with it, for people; without the parser's words, which may quote the message.
pub fn read_message<T: QueueMessage>(text: &str) -> Result<T, String> {
    // Some senders write a text of JSON as JSON.
    let mut text = Cow::Borrowed(text);
    while let Ok(inner) = serde_json::from_str::<String>(&text) {
        text = Cow::Owned(inner);
    }
    let message: T = parse(&text).or_else(|fault| {
        let decoded = LENIENT.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        decoded.map_or(Err(fault), |json| parse(&json))
    })?;
    message.check().map(|()| message)
}

fn parse<T: QueueMessage>(json: &str) -> Result<T, &'static str> {
    serde_json::from_str(json.trim_start_matches('\u{feff}')).map_err(|error| match error.classify() {
        Category::Data => "a field is missing or of the wrong type",
        Category::Syntax | Category::Eof | Category::Io => "the text is not JSON",
    })
}
