//! Encodes events of a run as chunks of a UI message stream.
//!
//! Clients throw on an inconsistent chunk, such as a delta of a text that has not started or an output of a tool that
//! was not called. So the encoder tracks the position within a step.

use serde_json::{Value, json};

use crate::model::chat_run::{ChatEvent, StopReason};
use crate::model::ids::{ChatId, RunId};
use crate::model::usage::RunUsage;

/// Chunks per event that voids a step: as many as an event of the interrupted step may have had, so that clients that
/// skip received chunks get at least one.
const CHUNKS_PER_RESET: usize = 2;

/// Turns the events of one run into chunks, from the first event on.
pub struct Encoder {
    step: Option<Step>,
    has_failed: bool,
}

/// The step that the stream is in.
struct Step {
    first_seq: u64,
    /// Id of the text part that is open.
    text: Option<String>,
    /// Whether a tool has ended: the model's next text belongs to another step.
    has_results: bool,
    /// Whether the step was just voided.
    is_reset: bool,
}

impl Step {
    fn new(first_seq: u64, is_reset: bool) -> Self {
        Self { first_seq, text: None, has_results: false, is_reset }
    }
}

impl Encoder {
    /// Creates an encoder, and returns the first chunk.
    pub fn begin(run: &RunId, chat: Option<&ChatId>) -> (Self, Value) {
        let start = json!({ "type": "start", "messageId": run, "messageMetadata": { "runId": run, "chatId": chat } });
        (Self { step: None, has_failed: false }, start)
    }

    /// Returns the chunks of an event.
    pub fn encode(&mut self, seq: u64, event: ChatEvent) -> Vec<Value> {
        let mut chunks = Vec::with_capacity(1);
        match event {
            ChatEvent::Token { content } => {
                let step = self.in_step(seq, &mut chunks);
                let id = step.text.get_or_insert_with(|| {
                    let id = format!("text-{seq}");
                    chunks.push(json!({ "type": "text-start", "id": id }));
                    id
                });
                chunks.push(json!({ "type": "text-delta", "id": id, "delta": content }));
            }
            ChatEvent::ToolUse { name, call_id, input } => {
                let step = self.in_step(seq, &mut chunks);
                end_text(step, &mut chunks);
                let input: Value = serde_json::from_str(&input).unwrap_or_else(|_| input.into());
                chunks.push(json!({
                    "type": "tool-input-start", "toolCallId": call_id, "toolName": name, "dynamic": true,
                }));
                chunks.push(json!({
                    "type": "tool-input-available", "toolCallId": call_id, "toolName": name, "input": input,
                    "dynamic": true,
                }));
            }
            ChatEvent::ToolResult { call_id, summary, output, is_error, .. } => {
                if let Some(step) = &mut self.step {
                    step.has_results = true;
                }
                // Event logs in a single document keep only the beginning of results.
                let text = if output.is_empty() { summary } else { output };
                chunks.push(tool_output(&call_id, text, is_error));
            }
            ChatEvent::StepReset { from_seq } => self.reset(seq, from_seq, &mut chunks),
            ChatEvent::MemoryUpdate { updated } => {
                chunks.push(json!({ "type": "data-memory", "data": { "updated": updated }, "transient": true }));
            }
            ChatEvent::Error { content } => {
                self.has_failed = true;
                self.end_step(&mut chunks);
                chunks.push(json!({ "type": "error", "errorText": content }));
            }
            ChatEvent::Done { model, usage, stopped, .. } => {
                self.end_step(&mut chunks);
                self.finish(&model, &usage, stopped, &mut chunks);
            }
        }
        chunks
    }

    /// Returns the current step, starting a new one if the previous one has ended.
    fn in_step(&mut self, seq: u64, chunks: &mut Vec<Value>) -> &mut Step {
        if self.step.as_ref().is_some_and(|step| step.has_results) {
            self.end_step(chunks);
        }
        let is_new = self.step.is_none();
        let step = self.step.get_or_insert_with(|| Step::new(seq, false));
        if is_new || std::mem::take(&mut step.is_reset) {
            chunks.push(json!({ "type": "start-step" }));
        }
        step
    }

    /// Voids the interrupted step. If the stream is still in the previous step, that step is kept.
    fn reset(&mut self, seq: u64, from_seq: u64, chunks: &mut Vec<Value>) {
        if self.step.as_ref().is_none_or(|step| step.first_seq < from_seq) {
            self.end_step(chunks);
            // A client that has seen more than this stream is in a new step.
            chunks.push(json!({ "type": "start-step" }));
        }
        self.step = Some(Step::new(seq, true));
        chunks.extend((0..CHUNKS_PER_RESET).map(|_| json!({ "type": "reset-step" })));
    }

    fn end_step(&mut self, chunks: &mut Vec<Value>) {
        let Some(mut step) = self.step.take() else { return };
        end_text(&mut step, chunks);
        chunks.push(json!({ "type": "finish-step" }));
    }

    fn finish(&self, model: &str, usage: &RunUsage, stopped: Option<StopReason>, chunks: &mut Vec<Value>) {
        if let Some(reason) = stopped {
            chunks.push(json!({ "type": "abort", "reason": reason }));
        }
        let RunUsage { calls, input_tokens, output_tokens, .. } = usage;
        let usage = json!({
            "inputTokens": input_tokens, "outputTokens": output_tokens, "totalTokens": input_tokens + output_tokens,
            "calls": calls,
        });
        let reason = if self.has_failed { "error" } else { "stop" };
        chunks.push(json!({
            "type": "finish", "finishReason": reason, "messageMetadata": { "model": model, "usage": usage },
        }));
    }
}

fn end_text(step: &mut Step, chunks: &mut Vec<Value>) {
    if let Some(id) = step.text.take() {
        chunks.push(json!({ "type": "text-end", "id": id }));
    }
}

fn tool_output(call_id: &str, text: String, is_error: bool) -> Value {
    let output: Value = serde_json::from_str(&text).unwrap_or_else(|_| text.into());
    if is_error {
        let error = output["error"].as_str().unwrap_or("The tool failed.");
        return json!({
            "type": "tool-output-error", "toolCallId": call_id, "errorText": error, "dynamic": true,
        });
    }
    json!({ "type": "tool-output-available", "toolCallId": call_id, "output": output, "dynamic": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(content: &str) -> ChatEvent {
        ChatEvent::Token { content: content.to_owned() }
    }

    fn tool_use(call_id: &str) -> ChatEvent {
        ChatEvent::ToolUse { name: "search".to_owned(), call_id: call_id.to_owned(), input: "{\"q\":1}".to_owned() }
    }

    fn tool_result(call_id: &str) -> ChatEvent {
        ChatEvent::ToolResult {
            name: "search".to_owned(),
            call_id: call_id.to_owned(),
            summary: "[1]".to_owned(),
            output: "[1,2]".to_owned(),
            is_error: false,
            tool_latency_ms: 1,
        }
    }

    fn done(stopped: Option<StopReason>) -> ChatEvent {
        let usage = RunUsage { calls: 1, input_tokens: 2, output_tokens: 3, by_model: Vec::new() };
        ChatEvent::Done { model: "m".to_owned(), token_count: 3, run_id: "r".into(), stopped, usage }
    }

    /// Returns the kinds of the chunks of these events, abbreviated.
    fn kinds(events: Vec<ChatEvent>) -> Vec<String> {
        let (mut encoder, start) = Encoder::begin(&"r".into(), Some(&"c".into()));
        assert_eq!(start["messageMetadata"], json!({ "runId": "r", "chatId": "c" }));
        let chunks = (1..).zip(events).flat_map(|(seq, event)| encoder.encode(seq, event));
        chunks.map(|chunk| chunk["type"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn steps_are_told_apart_by_what_is_said_after_results() {
        let events = vec![
            token("Let me "),
            token("see."),
            tool_use("a"),
            tool_use("b"),
            tool_result("b"),
            tool_result("a"),
            tool_use("c"),
            tool_result("c"),
            token("Wear it."),
            ChatEvent::MemoryUpdate { updated: false },
            done(None),
        ];
        let expected = "start-step text-start text-delta text-delta text-end tool-input-start tool-input-available \
            tool-input-start tool-input-available tool-output-available tool-output-available finish-step \
            start-step tool-input-start tool-input-available tool-output-available finish-step \
            start-step text-start text-delta data-memory text-end finish-step finish";
        assert_eq!(kinds(events).join(" "), expected);
    }

    #[test]
    fn a_reset_voids_the_step_that_was_broken_off_and_no_other() {
        let reset = |from_seq| ChatEvent::StepReset { from_seq };
        let broken = kinds(vec![token("Yo"), reset(1), reset(1), token("You"), done(None)]);
        let expected = "start-step text-start text-delta reset-step reset-step reset-step reset-step \
            start-step text-start text-delta text-end finish-step finish";
        assert_eq!(broken.join(" "), expected);
        // The previous step is complete.
        let between = kinds(vec![tool_use("a"), tool_result("a"), reset(3), token("You"), done(None)]);
        let expected = "start-step tool-input-start tool-input-available tool-output-available finish-step \
            start-step reset-step reset-step start-step text-start text-delta text-end finish-step finish";
        assert_eq!(between.join(" "), expected);
    }

    #[test]
    fn an_end_that_is_none_is_told() {
        let failed = kinds(vec![token("Yo"), ChatEvent::Error { content: "No.".into() }, done(None)]);
        assert_eq!(failed.join(" "), "start-step text-start text-delta text-end finish-step error finish");
        let stopped = kinds(vec![token("Yo"), done(Some(StopReason::User))]);
        assert_eq!(stopped.join(" "), "start-step text-start text-delta text-end finish-step abort finish");
    }

    #[test]
    fn what_tools_say_is_data_or_an_error() {
        assert_eq!(tool_output("a", "[1]".to_owned(), false)["output"], json!([1]));
        assert_eq!(tool_output("a", "plain".to_owned(), false)["output"], "plain");
        let error = tool_output("a", "{\"error\":\"No such tool.\"}".to_owned(), true);
        assert_eq!((&error["type"], &error["errorText"]), (&json!("tool-output-error"), &json!("No such tool.")));
    }
}
