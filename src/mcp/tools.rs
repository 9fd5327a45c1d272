//! The tools of the stylist, and those that change the wardrobe, in the form of the protocol.

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tracing::{info, warn};

use super::message::Fault;
use super::{Outcome, Server, text};
use crate::base::clock::milliseconds;
use crate::domain::chat::tools::{self, Effect, Tool, ToolOutput, Traits};
use crate::domain::quota::{Caller, Exceeded};
use crate::llm::CallContext;
use crate::telemetry::observe::Subject;

impl Server {
    /// Lists the tools that the caller may use.
    pub(super) fn listed_tools(&self) -> Vec<Value> {
        let tools = self.app.tools.iter().map(|tool| (tool, tool.traits()));
        tools.filter(|(_, traits)| self.may_call(traits)).map(|(tool, traits)| described(&**tool, &traits)).collect()
    }

    fn may_call(&self, traits: &Traits) -> bool {
        traits.effect == Effect::Reads || self.may_change()
    }

    /// Calls a tool. Its errors are returned as results, so that the assistant reads them.
    pub(super) async fn call(&self, params: &Map<String, Value>) -> Result<Outcome, Fault> {
        let wanted = text(params, "name")?;
        let tool = self.app.tools.iter().find(|tool| tool.spec().name == wanted);
        let tool = tool.ok_or_else(|| Fault::invalid_params("There is no such tool."))?;
        let arguments = match params.get("arguments") {
            None | Some(Value::Null) => json!({}),
            Some(arguments @ Value::Object(_)) => arguments.clone(),
            Some(_) => return Err(Fault::invalid_params("arguments must be an object.")),
        };
        let (name, traits, began) = (tool.spec().name, tool.traits(), Instant::now());
        let output = self.run(&**tool, &traits, &arguments.to_string()).await;
        let (is_error, duration) = (output.is_error, began.elapsed());
        let reads = traits.effect == Effect::Reads;
        let duration_ms = milliseconds(duration);
        info!(user.id = %self.user, mcp.tool = name, mcp.reads = reads, is_error, duration_ms, "tool called");
        Ok(Outcome::once(result(name, output, &traits)))
    }

    async fn run(&self, tool: &dyn Tool, traits: &Traits, arguments: &str) -> ToolOutput {
        if !self.may_call(traits) {
            return ToolOutput::error(self.refusal);
        }
        if let Some(kind) = traits.quota
            && let Err(exceeded) = self.app.limits.count(kind, &Caller::User(self.user.clone()))
        {
            return ToolOutput::error(&slow_down(exceeded));
        }
        let subject =
            Subject { name: "mcp", trace_id: None, user: Some(self.user.as_str()), session: None, input: arguments };
        let context = CallContext::user(&self.user).observed_by(self.app.telemetry.observer.begin(&subject));
        let context = context.by_clock(self.offset());
        tools::call(tool, &self.user, &context, arguments).await
    }
}

fn described(tool: &dyn Tool, traits: &Traits) -> Value {
    let spec = tool.spec();
    json!({
        "name": spec.name,
        "title": traits.title,
        "description": spec.description,
        "inputSchema": spec.parameters,
        "outputSchema": traits.result.map_or_else(schema_of_text, |schema| schema()),
        "annotations": {
            "title": traits.title,
            "readOnlyHint": traits.effect == Effect::Reads,
            "destructiveHint": traits.effect == Effect::Replaces,
            "idempotentHint": true,
            "openWorldHint": traits.asks_outside,
        },
    })
}

/// Returns the schema of a text result.
fn schema_of_text() -> Value {
    json!({ "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] })
}

fn slow_down(exceeded: Exceeded) -> String {
    match exceeded {
        Exceeded::Rate { retry_after, .. } | Exceeded::Rejections { retry_after } => {
            format!("Too many requests. Please try again in {} seconds.", retry_after.as_secs() + 1)
        }
        Exceeded::Requests | Exceeded::Streams => "Too many concurrent requests. Please try again.".to_owned(),
    }
}

/// Builds the protocol's result: the text, and the same content as an object of the tool's schema.
fn result(name: &str, output: ToolOutput, traits: &Traits) -> Value {
    let ToolOutput { text, is_error } = output;
    let told =
        |text: &str, is_error: bool| json!({ "content": [{ "type": "text", "text": text }], "isError": is_error });
    if is_error {
        return told(&text, true);
    }
    let structured = match traits.result {
        Some(_) => serde_json::from_str(&text),
        None => Ok(json!({ "text": text })),
    };
    match structured {
        Ok(structured) => {
            let mut result = told(&text, false);
            result["structuredContent"] = structured;
            result
        }
        // It was cut.
        Err(_) => {
            warn!(mcp.tool = name, "result too long");
            told("The result is too long. Ask for less.", true)
        }
    }
}
