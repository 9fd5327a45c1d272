//! JSON-RPC 2.0 messages, as restricted by the protocol: no batches, parameters by name.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL_ERROR: i64 = -32603;

/// A message that a client sent.
#[derive(Debug, PartialEq)]
pub enum Message {
    /// A message that needs an answer.
    Request(Request),
    /// A message that needs no answer.
    Notification,
}

/// A request.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// A number or text, which the answer repeats.
    pub id: Value,
    /// Method that is called.
    pub method: String,
    /// Parameters of the call; empty if they are absent.
    pub params: Map<String, Value>,
}

/// Why a request has no result.
#[derive(Debug, PartialEq)]
pub struct Fault {
    /// Code of JSON-RPC or of the protocol.
    pub code: i64,
    message: Cow<'static, str>,
    data: Option<Value>,
    /// Whether the message itself is malformed, so that its request was not processed.
    pub is_malformed: bool,
}

impl Fault {
    /// Creates an error with a code of the protocol.
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None, is_malformed: false }
    }

    /// Creates the error for a text that is not JSON.
    pub fn unreadable() -> Self {
        Self::new(PARSE_ERROR, "The message is not JSON.").malformed()
    }

    /// Creates the error for JSON that is not a message.
    pub fn invalid_request(message: &'static str) -> Self {
        Self::new(INVALID_REQUEST, message).malformed()
    }

    /// Creates the error for an unknown method.
    pub fn unknown_method() -> Self {
        Self::new(METHOD_NOT_FOUND, "There is no such method.")
    }

    /// Creates the error for a missing or invalid parameter.
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// Creates the error for a failed dependency.
    pub fn internal(message: &'static str) -> Self {
        Self::new(INTERNAL_ERROR, message)
    }

    /// Marks the message itself as malformed.
    pub fn malformed(self) -> Self {
        Self { is_malformed: true, ..self }
    }

    /// Adds data for programs.
    pub fn with_data(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }

    /// Whether the method is unknown.
    pub fn is_unknown_method(&self) -> bool {
        self.code == METHOD_NOT_FOUND
    }
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is invalid, or a response: the service sends no requests to clients. Includes the id of the request, if
    /// any.
    pub fn read(message: Value) -> Result<Self, (Value, Fault)> {
        let Value::Object(mut fields) = message else {
            return Err((
                Value::Null,
                Fault::invalid_request("A message must be an object; batches are not supported."),
            ));
        };
        let id = fields.remove("id");
        let is_id = |id: &Value| id.is_string() || id.is_i64() || id.is_u64();
        let known = id.clone().filter(is_id).unwrap_or_default();
        let invalid = |message| Err((known.clone(), Fault::invalid_request(message)));
        if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return invalid("jsonrpc must be \"2.0\".");
        }
        let Some(Value::String(method)) = fields.remove("method") else { return invalid("method must be a text.") };
        let params = match fields.remove("params") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return invalid("params must be an object."),
        };
        match id {
            None => Ok(Self::Notification),
            Some(id) if is_id(&id) => Ok(Self::Request(Request { id, method, params })),
            Some(_) => invalid("id must be a text or a whole number."),
        }
    }
}

/// The answer to a request.
pub fn answer(id: Value, outcome: Result<Map<String, Value>, Fault>) -> Value {
    match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(Fault { code, message, data, .. }) => {
            let mut error = json!({ "code": code, "message": message });
            if let Some(data) = data {
                error["data"] = data;
            }
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_request_or_a_notification() {
        let request = |id: Value| Message::Request(Request { id, method: "ping".to_owned(), params: Map::new() });
        for (message, expected) in [
            (json!({"jsonrpc": "2.0", "id": 7, "method": "ping"}), request(json!(7))),
            (json!({"jsonrpc": "2.0", "id": "a", "method": "ping", "params": {}, "more": 1}), request(json!("a"))),
            (json!({"jsonrpc": "2.0", "method": "ping", "params": null}), Message::Notification),
        ] {
            assert_eq!(Message::read(message).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_its_id() {
        for (message, id) in [
            (json!([]), json!(null)),
            (json!(null), json!(null)),
            (json!({}), json!(null)),
            (json!({"jsonrpc": "1.0", "id": 1, "method": "ping"}), json!(1)),
            (json!({"jsonrpc": "2.0", "id": 1, "result": {}}), json!(1)),
            (json!({"jsonrpc": "2.0", "id": 1, "method": 7}), json!(1)),
            (json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}), json!(1)),
            (json!({"jsonrpc": "2.0", "id": null, "method": "ping"}), json!(null)),
            (json!({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}), json!(null)),
        ] {
            let (known, fault) = Message::read(message.clone()).unwrap_err();
            assert!(known == id && fault.is_malformed && fault.code == INVALID_REQUEST, "{message}");
        }
    }
}
