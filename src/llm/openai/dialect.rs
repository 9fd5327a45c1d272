//! Parameters that a server supports, learned from its refusals.
//!
//! The first request uses what servers of its kind usually support. A parameter that the server names in a refusal is
//! left out or replaced, and the request is repeated; if that succeeds, the parameter is not sent to this model again
//! for the life of the process.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::transport::{Complaint, Failed};
use super::wire::Body;
use crate::llm::Error;

/// Names of the output limit: of newer models, and of all others.
const LIMIT_NAMES: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// Statuses that mean the request was not understood, as opposed to not allowed.
const NOT_UNDERSTOOD: [u16; 5] = [400, 405, 415, 422, 501];

/// A parameter that some servers refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameter {
    StreamOptions,
    ResponseFormat,
    EncodingFormat,
    Tools,
    /// The output limit, under this name.
    Limit(&'static str),
}

impl Parameter {
    /// Returns the name in a request.
    const fn name(self) -> &'static str {
        match self {
            Self::StreamOptions => "stream_options",
            Self::ResponseFormat => "response_format",
            Self::EncodingFormat => "encoding_format",
            Self::Tools => "tools",
            Self::Limit(name) => name,
        }
    }

    /// Whether a server complains about the parameter.
    fn is_named_in(self, complaint: &Complaint) -> bool {
        let others: &[&str] = match self {
            Self::StreamOptions => &["include_usage"],
            Self::ResponseFormat => &["json_object"],
            // Wordings of vLLM, Ollama and hosted servers for models without tool support.
            Self::Tools => &["tool choice", "tool_choice", "tool calling", "function calling"],
            Self::EncodingFormat | Self::Limit(_) => &[],
        };
        complaint.names(self.name()) || others.iter().any(|name| complaint.names(name))
    }
}

/// What a model supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    stream_options: bool,
    response_format: bool,
    encoding_format: bool,
    tools: bool,
    /// Names of the output limit that were not refused, likeliest first.
    limits: [Option<&'static str>; 2],
}

impl Dialect {
    /// Defaults for Azure OpenAI and OpenAI, whose newer models refuse `max_tokens`.
    pub(super) const OPENAI: Self = Self {
        stream_options: true,
        response_format: true,
        encoding_format: true,
        tools: true,
        limits: [Some(LIMIT_NAMES[0]), Some(LIMIT_NAMES[1])],
    };

    /// Defaults for other servers. Some hang or fail when JSON is requested in an unknown way, and the instructions ask
    /// for it anyway.
    pub(super) const COMPATIBLE: Self =
        Self { response_format: false, limits: [Some(LIMIT_NAMES[1]), Some(LIMIT_NAMES[0])], ..Self::OPENAI };

    /// Whether tools are supported.
    pub(super) fn has_tools(&self) -> bool {
        self.tools
    }

    /// Adds the output limit to a request.
    pub(super) fn limit(&self, body: &mut Map<String, Value>, tokens: u32) {
        if let Some(name) = self.limits.into_iter().flatten().next() {
            body.insert(name.to_owned(), tokens.into());
        }
    }

    /// Requests a JSON object.
    pub(super) fn ask_for_json(&self, body: &mut Map<String, Value>) {
        if self.response_format {
            body.insert(Parameter::ResponseFormat.name().to_owned(), json!({"type": "json_object"}));
        }
    }

    /// Requests usage at the end of a stream.
    pub(super) fn ask_for_usage(&self, body: &mut Map<String, Value>) {
        if self.stream_options {
            body.insert(Parameter::StreamOptions.name().to_owned(), json!({"include_usage": true}));
        }
    }

    /// Requests embeddings as lists of numbers.
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

/// Learned dialect of a model, shared by clones.
#[derive(Clone)]
pub(super) struct Learned(Arc<Mutex<Dialect>>);

impl Learned {
    /// Starts with a guess.
    pub(super) fn new(guess: Dialect) -> Self {
        Self(Arc::new(Mutex::new(guess)))
    }

    /// Starts a request in the dialect known so far.
    pub(super) fn attempt(&self) -> Attempt {
        let dialect = *self.0.lock();
        Attempt { learned: self.clone(), dialect, refused: Vec::new() }
    }
}

/// A request that is reworded until the server accepts it.
pub(super) struct Attempt {
    learned: Learned,
    dialect: Dialect,
    refused: Vec<Parameter>,
}

impl Attempt {
    /// Returns the dialect to use.
    pub(super) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Whether `body` was refused because of an optional parameter; the dialect then omits it.
    pub(super) fn gives_way(&mut self, body: &Body, failed: &Failed) -> bool {
        let is_not_understood = match &failed.error {
            Error::Refused { status, .. } => NOT_UNDERSTOOD.contains(status),
            // Some servers answer 500 to unknown parameters.
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
        let is_sent = |parameter: &Parameter| body.has(parameter.name());
        let named = known.into_iter().filter(is_sent).find(|parameter| parameter.is_named_in(&failed.complaint));
        let Some(parameter) = named.filter(|_| is_not_understood) else { return false };
        self.dialect.leave_out(parameter);
        self.refused.push(parameter);
        true
    }

    /// Records that the server accepted the request without what it refused before.
    pub(super) fn succeed(self) {
        for parameter in self.refused {
            warn!(parameter = parameter.name(), "model server refused a parameter, which is omitted from now on");
            self.learned.0.lock().leave_out(parameter);
        }
    }
}
