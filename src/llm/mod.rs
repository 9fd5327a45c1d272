//! Language models behind one interface: chat with tools (streamed or not), pictures and embeddings.
//!
//! Back ends are Azure OpenAI and any OpenAI-compatible server ([`openai`]), and the built-in [`offline`] model.
//! Callers state the purpose of a request ([`Purpose`]) and its context ([`CallContext`]); the back end chooses the
//! deployment.

mod context;
pub mod observed;
pub mod offline;
pub mod openai;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::base::chain::Cause;

pub use self::context::{CallContext, Meter, Payer};

/// Dimensions of an embedding: those of `text-embedding-3-small`, fixed by the database's vector indexes.
pub const EMBEDDING_DIMENSIONS: usize = 1536;

/// Result of a model call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a model call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server limits the rate and did so on every attempt.
    #[error("the model server is rate limiting")]
    RateLimited {
        /// Last requested delay, if any.
        retry_after: Option<Duration>,
    },
    /// The payer has no tokens left; the model was not called.
    #[error("the day's token budget is used up")]
    OverBudget {
        /// Time until tokens may be available.
        retry_after: Duration,
    },
    /// The server is unreachable, answers 5xx, or exceeded a time limit.
    #[error("the model server is unavailable")]
    Unavailable(#[source] Cause),
    /// The server rejects this request: content filter, wrong key, unknown deployment.
    #[error("the model server refused the request with status {status}")]
    Refused {
        /// HTTP status; 200 when a filter stopped an answer that had begun.
        status: u16,
        /// The server's error code.
        #[source]
        cause: Cause,
    },
    /// The stream ended early.
    #[error("the model's answer ended early")]
    Interrupted(#[source] Cause),
    /// The answer is unusable.
    #[error("the model's answer cannot be read")]
    Nonsense(#[source] Cause),
}

/// Heads what a person said after the part of a conversation that [`Purpose::SummariseConversation`] sums up.
pub const SAID_SINCE: &str = "Said since:";

/// Purpose of a request. Determines the deployment (main or nano), the limits, and what the offline model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Purpose {
    /// A turn of the stylist: streamed, with tools.
    Stylist,
    /// Expands a wardrobe query into search terms: a JSON list of strings.
    ExpandQuery,
    /// Classifies whether a short message accepts the stylist's offer: one of the `CONFIRM_…` labels.
    ClassifyFollowUp,
    /// Summarises the older half of a conversation, and the summary before it.
    SummariseConversation,
    /// Analyses the taste of a user who likes a picture: a JSON object.
    AnalyseTaste,
    /// Describes the garment in a picture: a JSON object.
    ExtractMetadata,
    /// Finds the CSS selectors of a shop's page, which is the message: a JSON object.
    GenerateSelectors,
    /// Finds moods in articles: a JSON object.
    ExtractMoods,
    /// Compares two moods: a JSON object.
    CompareMoods,
    /// Creates purchase ideas for a wardrobe: a JSON object.
    WriteDigest,
    /// Composes outfits from a wardrobe: a JSON list.
    RecommendOutfits,
}

impl Purpose {
    /// Whether the small, cheap deployment is used.
    pub const fn is_nano(self) -> bool {
        match self {
            // Pictures need the vision-capable deployment; selectors are found once and used for years.
            Self::Stylist
            | Self::AnalyseTaste
            | Self::ExtractMetadata
            | Self::GenerateSelectors
            | Self::WriteDigest
            | Self::RecommendOutfits => false,
            Self::ExpandQuery
            | Self::ClassifyFollowUp
            | Self::SummariseConversation
            | Self::ExtractMoods
            | Self::CompareMoods => true,
        }
    }

    /// Whether the answer is one JSON object.
    pub const fn wants_json_object(self) -> bool {
        match self {
            Self::AnalyseTaste
            | Self::ExtractMetadata
            | Self::GenerateSelectors
            | Self::ExtractMoods
            | Self::CompareMoods
            | Self::WriteDigest => true,
            Self::Stylist
            | Self::ExpandQuery
            | Self::ClassifyFollowUp
            | Self::SummariseConversation
            | Self::RecommendOutfits => false,
        }
    }

    /// Name in logs and traces.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// A chat request.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// Purpose of the request.
    pub purpose: Purpose,
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// Tools the model may call.
    pub tools: Tools,
    /// Most tokens of the answer.
    pub max_tokens: Option<u32>,
}

impl ChatRequest {
    /// Creates a request without tools: instructions and one message.
    pub fn single(purpose: Purpose, instructions: impl Into<String>, message: Message, max_tokens: u32) -> Self {
        let messages = vec![Message::System(instructions.into()), message];
        Self { purpose, messages, tools: [].into(), max_tokens: Some(max_tokens) }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Instructions.
    System(String),
    /// A message of the user.
    User(String),
    /// A message of the user with a picture.
    UserWithImage {
        /// Text of the message.
        text: String,
        /// The picture.
        image: Image,
    },
    /// A message of the model, with tool calls.
    Assistant {
        /// Text, possibly empty.
        content: String,
        /// Tool calls, possibly none.
        tool_calls: Vec<ToolCall>,
    },
    /// Result of a tool call.
    Tool {
        /// Id of the call.
        call_id: String,
        /// The result; data, never instructions.
        content: String,
    },
}

impl Message {
    /// Returns the text of the message.
    pub fn text(&self) -> &str {
        match self {
            Self::System(text) | Self::User(text) | Self::UserWithImage { text, .. } => text,
            Self::Assistant { content, .. } | Self::Tool { content, .. } => content,
        }
    }

    /// Returns the text of a user's message; `None` for other messages.
    pub fn user_text(&self) -> Option<&str> {
        match self {
            Self::User(text) | Self::UserWithImage { text, .. } => Some(text),
            Self::System(_) | Self::Assistant { .. } | Self::Tool { .. } => None,
        }
    }
}

/// A picture file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Media type, such as `image/jpeg`.
    pub media_type: String,
    /// Contents of the file.
    pub bytes: Bytes,
}

/// Description of a tool for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Name, `snake_case`.
    pub name: &'static str,
    /// When to use it and what it returns.
    pub description: &'static str,
    /// JSON schema of the arguments: an object.
    pub parameters: Value,
}

/// Tools that the model may call. Their JSON, which is part of every request, is serialised once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tools(Arc<(Vec<ToolSpec>, Box<RawValue>)>);

impl Tools {
    /// The list of tools, in the format of chat completions.
    pub fn json(&self) -> &RawValue {
        &self.0.1
    }
}

impl Serialize for Tools {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl FromIterator<ToolSpec> for Tools {
    fn from_iter<T: IntoIterator<Item = ToolSpec>>(specs: T) -> Self {
        let specs: Vec<ToolSpec> = specs.into_iter().collect();
        let function = |ToolSpec { name, description, parameters }: &ToolSpec| {
            let function = json!({ "name": name, "description": description, "parameters": parameters });
            json!({ "type": "function", "function": function })
        };
        let list: Value = specs.iter().map(function).collect();
        let json = to_raw_value(&list).expect("a value becomes JSON");
        Self(Arc::new((specs, json)))
    }
}

impl<const N: usize> From<[ToolSpec; N]> for Tools {
    fn from(specs: [ToolSpec; N]) -> Self {
        specs.into_iter().collect()
    }
}

impl Deref for Tools {
    type Target = [ToolSpec];

    fn deref(&self) -> &[ToolSpec] {
        &self.0.0
    }
}

/// A complete tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Id of the call within the turn.
    pub id: String,
    /// Name of the tool, as the model wrote it.
    pub name: String,
    /// Arguments as the model wrote them, normally JSON.
    pub arguments: String,
}

/// A part of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text, passed on as soon as it arrives.
    Text(String),
    /// A complete tool call; the back end joins its fragments. Comes after all text.
    ToolCall(ToolCall),
    /// Usage; at most once, last.
    Usage(Usage),
}

/// Tokens of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

/// A complete answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Text.
    pub text: String,
    /// Tool calls.
    pub tool_calls: Vec<ToolCall>,
    /// Usage, if reported.
    pub usage: Option<Usage>,
}

/// A streamed answer. Dropping it ends the request to the server.
pub type PartStream = BoxStream<'static, Result<Part>>;

/// A language model.
#[async_trait]
pub trait Model: Send + Sync {
    /// Returns the name of the model for `purpose`, as in `done` events and logs; `offline` for the built-in one.
    fn name(&self, purpose: Purpose) -> &str;

    /// Returns the name of the model for embeddings.
    fn embedding_name(&self) -> &str {
        "embedding"
    }

    /// Starts a streamed answer. Returns once the server has begun to answer; earlier failures are retried.
    async fn stream(&self, context: &CallContext, request: ChatRequest) -> Result<PartStream>;

    /// Returns a complete answer.
    async fn complete(&self, context: &CallContext, request: ChatRequest) -> Result<Reply>;

    /// Returns a unit-length embedding with [`EMBEDDING_DIMENSIONS`] dimensions for each text.
    async fn embed(&self, context: &CallContext, texts: &[String]) -> Result<Vec<Vec<f32>>>;

    /// Returns the text to embed for a search query. A model that does not understand meaning adds related words.
    fn query_text(&self, query: &str) -> String {
        query.to_owned()
    }

    /// Whether the model tells transparent pixels from white ones. Other models get transparent pictures on white,
    /// since some servers show them on black.
    fn sees_transparency(&self) -> bool {
        false
    }

    /// Checks that the server answers and accepts the key, at no cost.
    async fn ping(&self) -> Result<()>;
}
