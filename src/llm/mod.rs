//! Language models, behind one small interface: chat with tools (streamed or not), pictures and embeddings.
//!
//! Three back ends: Azure OpenAI and any OpenAI-compatible server ([`openai`]), and the built-in [`offline`] model, which
//! needs nothing. Callers say what a request is for ([`Purpose`]) and on whose behalf it is made ([`CallContext`]); the back
//! end chooses the deployment.

mod context;
pub mod observed;
pub mod offline;
pub mod openai;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde_json::Value;

pub use self::context::{CallContext, Payer};

/// Length of an embedding: that of `text-embedding-3-small`, fixed by the vector indexes of the database.
pub const EMBEDDING_DIMENSIONS: usize = 1536;

/// Result of a model call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a model call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server asks us to come back later, and did so until our patience ended.
    #[error("the model server is rate limiting")]
    RateLimited {
        /// The wait that it asked for last, if it said.
        retry_after: Option<Duration>,
    },
    /// Whoever pays for the call has no tokens left; the model was not asked.
    #[error("the day's tokens are spent")]
    OverBudget {
        /// Time until there may be tokens again.
        retry_after: Duration,
    },
    /// The server cannot be reached, answers 5xx, or took longer than a time limit.
    #[error("the model server is unavailable")]
    Unavailable(#[source] Cause),
    /// The server refuses this request: content filter, wrong key, unknown deployment.
    #[error("the model server refused the request with status {status}")]
    Refused {
        /// HTTP status of the answer; 200 when a filter stopped an answer that had begun.
        status: u16,
        /// The server's own code for it.
        #[source]
        cause: Cause,
    },
    /// The stream broke off after it had begun.
    #[error("the model's answer broke off")]
    Interrupted(#[source] Cause),
    /// The answer is not what was asked for.
    #[error("the model's answer cannot be read")]
    Nonsense(#[source] Cause),
}

/// The error below an [`Error`], whatever its back end.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// What a request is for. Decides the deployment (main or nano), the limits, and what the offline model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A turn of the stylist: streamed, with tools.
    Stylist,
    /// Search terms for a wardrobe query: the answer is a JSON list of strings.
    ExpandQuery,
    /// Whether a short message accepts the stylist's offer: the answer is one of the `CONFIRM_…` labels.
    ClassifyFollowUp,
    /// The older half of a conversation (and the summary before it) in a few sentences.
    SummariseConversation,
    /// What a picture says of the taste of someone who likes it: the answer is a JSON object.
    AnalyseTaste,
    /// What the garment in a picture is: the answer is a JSON object.
    ExtractMetadata,
    /// Where a shop's page has its products: the message is the page, the answer a JSON object of CSS selectors.
    GenerateSelectors,
    /// Which moods articles show: the answer is a JSON object.
    ExtractMoods,
    /// Whether two moods are the same: the answer is a JSON object.
    CompareMoods,
    /// Purchase ideas for a wardrobe: the answer is a JSON object.
    WriteDigest,
}

impl Purpose {
    /// Whether the small, cheap deployment does it.
    pub const fn is_nano(self) -> bool {
        match self {
            // Pictures go to the deployment that is known to see; selectors are found once and used for years.
            Self::Stylist
            | Self::AnalyseTaste
            | Self::ExtractMetadata
            | Self::GenerateSelectors
            | Self::WriteDigest => false,
            Self::ExpandQuery
            | Self::ClassifyFollowUp
            | Self::SummariseConversation
            | Self::ExtractMoods
            | Self::CompareMoods => true,
        }
    }

    /// Whether the whole answer is one JSON object.
    pub const fn wants_json_object(self) -> bool {
        match self {
            Self::AnalyseTaste
            | Self::ExtractMetadata
            | Self::GenerateSelectors
            | Self::ExtractMoods
            | Self::CompareMoods
            | Self::WriteDigest => true,
            Self::Stylist | Self::ExpandQuery | Self::ClassifyFollowUp | Self::SummariseConversation => false,
        }
    }

    /// Name in logs and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stylist => "stylist",
            Self::ExpandQuery => "expand_query",
            Self::ClassifyFollowUp => "classify_follow_up",
            Self::SummariseConversation => "summarise_conversation",
            Self::AnalyseTaste => "analyse_taste",
            Self::ExtractMetadata => "extract_metadata",
            Self::GenerateSelectors => "generate_selectors",
            Self::ExtractMoods => "extract_moods",
            Self::CompareMoods => "compare_moods",
            Self::WriteDigest => "write_digest",
        }
    }
}

/// What a model is asked.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// What for.
    pub purpose: Purpose,
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// Tools that the model may call.
    pub tools: Arc<[ToolSpec]>,
    /// Upper bound of the answer, in tokens.
    pub max_tokens: Option<u32>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Instructions.
    System(String),
    /// What the user said.
    User(String),
    /// What the user said, and a picture to it.
    UserWithImage {
        /// The text.
        text: String,
        /// The picture.
        image: Image,
    },
    /// What the model said, and the tools it asked for.
    Assistant {
        /// Its text, possibly empty.
        content: String,
        /// Its tool calls, possibly none.
        tool_calls: Vec<ToolCall>,
    },
    /// Result of a tool call.
    Tool {
        /// The call it answers.
        call_id: String,
        /// The result; data, never instructions.
        content: String,
    },
}

/// A picture as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Type of the file, such as `image/jpeg`.
    pub media_type: String,
    /// The file.
    pub bytes: Bytes,
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Name, `snake_case`.
    pub name: &'static str,
    /// When to use it and what it returns.
    pub description: &'static str,
    /// JSON schema of its arguments: an object.
    pub parameters: Value,
}

/// A complete tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Names the call within the turn.
    pub id: String,
    /// Name of the tool, as the model wrote it.
    pub name: String,
    /// Arguments as the model wrote them: JSON if all is well.
    pub arguments: String,
}

/// A piece of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// More text, passed on the moment it came.
    Text(String),
    /// A tool call, whole: the back end puts its fragments together. Comes after all text.
    ToolCall(ToolCall),
    /// What the answer cost; at most once, last.
    Usage(Usage),
}

/// Tokens spent on one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the request.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
}

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Its text.
    pub text: String,
    /// Its tool calls.
    pub tool_calls: Vec<ToolCall>,
    /// What it cost, if the server said.
    pub usage: Option<Usage>,
}

/// A streamed answer. Dropping it ends the request to the server.
pub type PartStream = BoxStream<'static, Result<Part>>;

/// A language model.
#[async_trait]
pub trait Model: Send + Sync {
    /// Name of the model that does `purpose`, as `done` events and logs give it; `offline` for the built-in one.
    fn name(&self, purpose: Purpose) -> &str;

    /// Starts an answer. Returns once the server has begun to answer; failures before that are retried within.
    async fn stream(&self, context: &CallContext, request: ChatRequest) -> Result<PartStream>;

    /// A whole answer in one piece.
    async fn complete(&self, context: &CallContext, request: ChatRequest) -> Result<Reply>;

    /// One unit-length vector of [`EMBEDDING_DIMENSIONS`] numbers for each text.
    async fn embed(&self, context: &CallContext, texts: &[String]) -> Result<Vec<Vec<f32>>>;

    /// The text to embed for something that somebody looks for. A model that does not know what words mean adds more words
    /// than were said.
    fn query_text(&self, query: &str) -> String {
        query.to_owned()
    }

    /// Asks the server a trivial question that costs nothing, to see whether it answers and accepts our key.
    async fn ping(&self) -> Result<()>;
}
