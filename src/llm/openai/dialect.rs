//! What a server takes of the parameters that not every server knows, found out by asking.
//!
//! A request begins with what servers of its kind usually take. A parameter that the server names when it refuses the
//! request is left out, or replaced by its other name, and the request is sent again; once that has succeeded the
//! parameter is not sent to this model again for as long as the process lives.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::transport::{Complaint, Failed};
use crate::llm::Error;

/// Names of the limit of an answer: the one of newer models, and the one that everybody else knows.
const LIMIT_NAMES: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// Statuses that say that a request is not understood, as opposed to not allowed.
const NOT_UNDERSTOOD: [u16; 5] = [400, 405, 415, 422, 501];

/// A parameter that some server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameter {
    StreamOptions,
    ResponseFormat,
    EncodingFormat,
    Tools,
    /// The limit of an answer, under this name.
    Limit(&'static str),
}

impl Parameter {
    /// Its name in a request.
    const fn name(self) -> &'static str {
        match self {
            Self::StreamOptions => "stream_options",
            Self::ResponseFormat => "response_format",
            Self::EncodingFormat => "encoding_format",
            Self::Tools => "tools",
            Self::Limit(name) => name,
        }
    }

    /// Whether a server complains about it.
    fn is_named_in(self, complaint: &Complaint) -> bool {
        let others: &[&str] = match self {
            Self::StreamOptions => &["include_usage"],
            Self::ResponseFormat => &["json_object"],
            // As vLLM, Ollama and hosted servers say it of models that have none.
            Self::Tools => &["tool choice", "tool_choice", "tool calling", "function calling"],
            Self::EncodingFormat | Self::Limit(_) => &[],
        };
        complaint.names(self.name()) || others.iter().any(|name| complaint.names(name))
    }
}

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    stream_options: bool,
    response_format: bool,
    encoding_format: bool,
    tools: bool,
    /// Names of the limit that were not refused, the likeliest first.
    limits: [Option<&'static str>; 2],
}

impl Dialect {
    /// What Azure OpenAI and OpenAI itself usually take: their newer models refuse `max_tokens`.
    pub(super) const OPENAI: Self = Self {
        stream_options: true,
        response_format: true,
        encoding_format: true,
        tools: true,
        limits: [Some(LIMIT_NAMES[0]), Some(LIMIT_NAMES[1])],
    };

    /// What other servers usually take. Some hang or answer nonsense when they are asked for JSON in a way that they do not
    /// know, and the instructions ask for it anyway.
    pub(super) const COMPATIBLE: Self =
        Self { response_format: false, limits: [Some(LIMIT_NAMES[1]), Some(LIMIT_NAMES[0])], ..Self::OPENAI };

    /// Whether tools can be described.
    pub(super) fn has_tools(&self) -> bool {
        self.tools
    }

    /// Adds the limit of an answer to a request.
    pub(super) fn limit(&self, body: &mut Map<String, Value>, tokens: u32) {
        if let Some(name) = self.limits.into_iter().flatten().next() {
            body.insert(name.to_owned(), tokens.into());
        }
    }

    /// Asks for an answer that is a JSON object.
    pub(super) fn ask_for_json(&self, body: &mut Map<String, Value>) {
        if self.response_format {
            body.insert(Parameter::ResponseFormat.name().to_owned(), json!({"type": "json_object"}));
        }
    }

    /// Asks for the usage at the end of a stream.
    pub(super) fn ask_for_usage(&self, body: &mut Map<String, Value>) {
        if self.stream_options {
            body.insert(Parameter::StreamOptions.name().to_owned(), json!({"include_usage": true}));
        }
    }

    /// Asks for vectors as lists of numbers.
    pub(super) fn ask_for_numbers(&self, body: &mut Map<String, Value>) {
        if self.encoding_format {
            body.insert(Parameter::EncodingFormat.name().to_owned(), "float".into());
        }
    }

    fn leave_out(&mut self, parameter: Parameter) {
        match parameter {
            Parameter::StreamOptions => self.stream_options = false,
            Parameter::ResponseFormat => self.response_format = false,
            Parameter::EncodingFormat => self.encoding_format = false,
            Parameter::Tools => self.tools = false,
            Parameter::Limit(name) => {
                for known in &mut self.limits {
                    known.take_if(|known| *known == name);
                }
            }
        }
    }
}

/// What is known of a model's dialect. Clones share it.
#[derive(Clone)]
pub(super) struct Learned(Arc<Mutex<Dialect>>);

impl Learned {
    /// Begins with a guess.
    pub(super) fn new(guess: Dialect) -> Self {
        Self(Arc::new(Mutex::new(guess)))
    }

    /// A request to the model in the dialect that is known so far.
    pub(super) fn attempt(&self) -> Attempt {
        let dialect = *self.0.lock();
        Attempt { learned: self.clone(), dialect, refused: Vec::new() }
    }
}

/// A request that is worded anew until the server takes it.
pub(super) struct Attempt {
    learned: Learned,
    dialect: Dialect,
    refused: Vec<Parameter>,
}

impl Attempt {
    /// The dialect to use.
    pub(super) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Whether the server refused `body` because of something that can be left out; the dialect then does without.
    pub(super) fn gives_way(&mut self, body: &Value, failed: &Failed) -> bool {
        let is_not_understood = match &failed.error {
            Error::Refused { status, .. } => NOT_UNDERSTOOD.contains(status),
            // Some servers answer 500 to what they do not know.
            Error::Unavailable(_) => true,
            Error::RateLimited { .. } | Error::OverBudget { .. } | Error::Interrupted(_) | Error::Nonsense(_) => false,
        };
        let known = [
            Parameter::StreamOptions,
            Parameter::ResponseFormat,
            Parameter::EncodingFormat,
            Parameter::Limit(LIMIT_NAMES[0]),
            Parameter::Limit(LIMIT_NAMES[1]),
            Parameter::Tools,
        ];
        let is_sent = |parameter: &Parameter| body.get(parameter.name()).is_some();
        let named = known.into_iter().filter(is_sent).find(|parameter| parameter.is_named_in(&failed.complaint));
        let Some(parameter) = named.filter(|_| is_not_understood) else { return false };
        self.dialect.leave_out(parameter);
        self.refused.push(parameter);
        true
    }

    /// The server took the request: what it refused before is not sent again.
    pub(super) fn succeed(self) {
        for parameter in self.refused {
            warn!(parameter = parameter.name(), "model server refuses a parameter: it is not sent again");
            self.learned.0.lock().leave_out(parameter);
        }
    }
}
