//! Ids of chats, chosen by clients.

use serde_json::json;

use super::Fields;
use crate::http::error::ApiError;
use crate::model::ids::ChatId;

/// Longest id of a chat, in characters.
pub const LONGEST: usize = 128;
/// Names with another meaning at the position of a chat id.
const RESERVED: [&str; 2] = ["runs", "memory"];

impl Fields {
    /// Reads the id of a chat, which may be missing or empty.
    pub fn optional_chat_id(&mut self, name: &'static str) -> Option<String> {
        let id = self.optional_text(name, LONGEST);
        self.rule(name, || json!({ "not": { "enum": RESERVED } }));
        id.filter(|id| !id.is_empty())
    }
}

/// Checks the id of a chat.
///
/// # Errors
/// 400 for a reserved name, and for one that is blank or too long.
pub fn check(id: String) -> Result<ChatId, ApiError> {
    if RESERVED.contains(&id.as_str()) {
        return Err(ApiError::BadRequest("The id of a chat must not be 'runs' or 'memory'."));
    }
    if id.trim().is_empty() || id.chars().count() > LONGEST {
        return Err(ApiError::BadRequest("The id of a chat must have 1 to 128 characters."));
    }
    Ok(id.into())
}
