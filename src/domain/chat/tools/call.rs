//! Calls tools: bounded in time and length, and traced. Failures become results for the model.

use std::time::Duration;

use serde_json::json;
use tracing::{Instrument, info_span, warn};

use super::{Tool, ToolError};
use crate::base::chain::Chain;
use crate::llm::CallContext;
use crate::model::ids::UserId;

/// Longest run of one tool.
const TOOL_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest tool result that the model reads, in characters.
pub const LONGEST_RESULT: usize = 32 * 1024;

/// A tool's result as the model reads it, and whether it is an error.
#[derive(Debug)]
pub struct ToolOutput {
    /// The result; an object with the member `error` if something went wrong.
    pub text: String,
    /// Whether something went wrong.
    pub is_error: bool,
}

impl ToolOutput {
    /// Creates an error result, worded for the model.
    pub fn error(text: &str) -> Self {
        Self { text: json!({ "error": text }).to_string(), is_error: true }
    }
}

/// Calls the tool and returns its result, or an error worded for the model.
pub async fn call(tool: &dyn Tool, user: &UserId, context: &CallContext, arguments: &str) -> ToolOutput {
    let name = tool.spec().name;
    let observed = context.observation.tool(name, arguments);
    let span = info_span!("tool", otel.name = format_args!("execute_tool {name}"), gen_ai.tool.name = name);
    let work = tool.run(user, context, arguments).instrument(span);
    let result = tokio::time::timeout(TOOL_TIMEOUT, work).await;
    match &result {
        Ok(Ok(result)) => observed.output(result),
        Ok(Err(_)) => observed.failed("tool_error"),
        Err(_) => observed.failed("timeout"),
    }
    match result {
        Ok(Ok(text)) if tool.traits().is_whole => ToolOutput { text, is_error: false },
        Ok(Ok(text)) => ToolOutput { text: shortened(text, LONGEST_RESULT), is_error: false },
        Ok(Err(ToolError::BadArguments(reason))) => ToolOutput::error(&format!("Invalid arguments: {reason}")),
        Ok(Err(ToolError::Refused(reason))) => ToolOutput::error(&reason),
        Ok(Err(fault)) => {
            warn!(tool = name, error = %Chain(&fault), "tool failed");
            ToolOutput::error("The tool failed. Answer without it, or try again later.")
        }
        Err(_) => {
            warn!(tool = name, limit_s = TOOL_TIMEOUT.as_secs(), "tool took too long");
            ToolOutput::error("The tool took too long. Answer without it.")
        }
    }
}

/// Returns the first `most` characters, with `…` if any were cut.
pub fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns the text, shortened by [`shorten`] if it is too long.
fn shortened(text: String, most: usize) -> String {
    if text.len() <= most { text } else { shorten(&text, most) }
}
