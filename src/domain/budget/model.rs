//! The model behind a budget: it refuses calls of users who have used theirs up, and counts the tokens of the others.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::{Stream, StreamExt};

use super::{Account, Budget, BudgetExceeded, signed};
use crate::llm::{
    self, CallContext, ChatRequest, Error, Message, Meter, Model, Part, PartStream, Payer, Purpose, Reply, Usage,
};
use crate::model::usage::ModelUsage;

/// Bytes of text per token in an estimate.
const BYTES_PER_TOKEN: usize = 4;

/// Tokens per picture in an estimate: what servers charge for a large one.
const IMAGE_TOKENS: u64 = 1_000;

/// Tokens reserved for an answer without a length limit.
const ANSWER_TOKENS: u64 = 1_000;

/// A model that charges its calls to users.
pub struct BudgetedModel {
    inner: Arc<dyn Model>,
    budget: Budget,
}

impl BudgetedModel {
    /// Charges calls of `inner` to `budget`.
    pub fn new(inner: Arc<dyn Model>, budget: Budget) -> Self {
        Self { inner, budget }
    }

    /// Reserves the estimated cost of a call.
    async fn begin(&self, context: &CallContext, model: &str, prompt: u64, answer: u64) -> llm::Result<Cost> {
        let estimate = prompt.saturating_add(answer);
        let (account, reserved) = match &context.payer {
            Payer::User(user) if self.budget.0.tokens_per_day > 0 => {
                let account = self.budget.reserve(user, estimate).await;
                // Without a known total, no call is allowed.
                let account = account.map_err(|error| Error::Unavailable(error.into()))?;
                let account = account.map_err(|BudgetExceeded { retry_after }| Error::OverBudget { retry_after })?;
                (account, Some(estimate))
            }
            payer @ (Payer::User(_) | Payer::Service) => (self.budget.account(payer), None),
        };
        Ok(Cost {
            budget: self.budget.clone(),
            account,
            reserved,
            model: model.to_owned(),
            meter: context.meter.clone(),
            prompt,
            pieces: 0,
            bytes: 0,
            usage: None,
            is_free: false,
        })
    }
}

/// Cost of a call, counted as it proceeds. Charged on drop: at the end of the call, or when its caller leaves.
struct Cost {
    budget: Budget,
    account: Arc<Account>,
    /// Tokens reserved for the call; `None` if the payer has no budget.
    reserved: Option<u64>,
    /// Name of the model.
    model: String,
    /// Meter of the caller.
    meter: Option<Meter>,
    /// Estimated tokens of the request.
    prompt: u64,
    /// Chunks and bytes of the answer so far.
    pieces: u64,
    bytes: usize,
    /// Usage reported by the server.
    usage: Option<Usage>,
    is_free: bool,
}

impl Cost {
    fn see(&mut self, part: &llm::Result<Part>) {
        match part {
            Ok(Part::Text(text)) => self.hear(text.len()),
            Ok(Part::ToolCall(call)) => self.hear(call.name.len() + call.arguments.len()),
            Ok(Part::Usage(usage)) => self.usage = Some(*usage),
            // We pay for everything received until then.
            Err(_) => {}
        }
    }

    fn hear(&mut self, bytes: usize) {
        self.pieces += 1;
        self.bytes += bytes;
    }

    /// Records a failure before any part of an answer.
    fn fail(&mut self, error: &Error) {
        self.is_free = match error {
            Error::RateLimited { .. } | Error::Unavailable(_) | Error::Refused { .. } | Error::OverBudget { .. } => {
                true
            }
            Error::Interrupted(_) | Error::Nonsense(_) => false,
        };
    }

    fn tokens(&self) -> Usage {
        match self.usage {
            _ if self.is_free => Usage::default(),
            // Some servers send a usage of zeros.
            Some(usage) if usage.input_tokens + usage.output_tokens > 0 => usage,
            // Servers put one or more tokens into a chunk.
            Some(_) | None => {
                Usage { input_tokens: self.prompt, output_tokens: self.pieces.max(tokens_in(self.bytes)) }
            }
        }
    }
}

impl Drop for Cost {
    fn drop(&mut self) {
        let Usage { input_tokens, output_tokens } = self.tokens();
        let call = ModelUsage { model: std::mem::take(&mut self.model), calls: 1, input_tokens, output_tokens };
        let mut ledger = self.account.ledger.lock();
        if let Some(reserved) = self.reserved {
            ledger.reserved = ledger.reserved.saturating_sub(reserved);
            let correction = signed(input_tokens.saturating_add(output_tokens)).saturating_sub(signed(reserved));
            ledger.unwritten.tokens = ledger.unwritten.tokens.saturating_add(correction);
        }
        if !self.is_free {
            call.add_to(&mut ledger.unwritten.models);
            if let Some(meter) = &self.meter {
                meter.add(&call);
            }
        }
        self.budget.store_soon(&self.account, ledger);
        self.account.call_ended.notify_one();
    }
}

fn tokens_in(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// Estimates the tokens of a request.
fn prompt_tokens(request: &ChatRequest) -> u64 {
    let message = |message: &Message| match message {
        Message::System(text) | Message::User(text) => tokens_in(text.len()),
        Message::UserWithImage { text, .. } => tokens_in(text.len()) + IMAGE_TOKENS,
        Message::Assistant { content, tool_calls } => {
            let calls = tool_calls.iter().map(|call| call.name.len() + call.arguments.len());
            tokens_in(content.len() + calls.sum::<usize>())
        }
        Message::Tool { content, .. } => tokens_in(content.len()),
    };
    let tools = if request.tools.is_empty() { 0 } else { tokens_in(request.tools.json().get().len()) };
    request.messages.iter().map(message).sum::<u64>() + tools
}

#[async_trait]
impl Model for BudgetedModel {
    fn name(&self, purpose: Purpose) -> &str {
        self.inner.name(purpose)
    }

    fn embedding_name(&self) -> &str {
        self.inner.embedding_name()
    }

    async fn stream(&self, context: &CallContext, request: ChatRequest) -> llm::Result<PartStream> {
        let answer = request.max_tokens.map_or(ANSWER_TOKENS, u64::from);
        let model = self.inner.name(request.purpose);
        let mut cost = self.begin(context, model, prompt_tokens(&request), answer).await?;
        match self.inner.stream(context, request).await {
            Ok(parts) => Ok(Counted { parts, cost }.boxed()),
            Err(error) => {
                cost.fail(&error);
                Err(error)
            }
        }
    }

    async fn complete(&self, context: &CallContext, request: ChatRequest) -> llm::Result<Reply> {
        let answer = request.max_tokens.map_or(ANSWER_TOKENS, u64::from);
        let model = self.inner.name(request.purpose);
        let mut cost = self.begin(context, model, prompt_tokens(&request), answer).await?;
        let reply = self.inner.complete(context, request).await;
        match &reply {
            Ok(Reply { text, tool_calls, usage }) => {
                let calls = tool_calls.iter().map(|call| call.name.len() + call.arguments.len());
                cost.hear(text.len() + calls.sum::<usize>());
                cost.usage = *usage;
            }
            Err(error) => cost.fail(error),
        }
        reply
    }

    async fn embed(&self, context: &CallContext, texts: &[String]) -> llm::Result<Vec<Vec<f32>>> {
        let prompt = texts.iter().map(|text| tokens_in(text.len())).sum();
        let mut cost = self.begin(context, self.inner.embedding_name(), prompt, 0).await?;
        let vectors = self.inner.embed(context, texts).await;
        if let Err(error) = &vectors {
            cost.fail(error);
        }
        vectors
    }

    fn query_text(&self, query: &str) -> String {
        self.inner.query_text(query)
    }

    fn sees_transparency(&self) -> bool {
        self.inner.sees_transparency()
    }

    async fn ping(&self) -> llm::Result<()> {
        self.inner.ping().await
    }
}

/// A streamed answer whose cost is counted.
struct Counted {
    parts: PartStream,
    cost: Cost,
}

impl Stream for Counted {
    type Item = llm::Result<Part>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.parts.poll_next_unpin(context);
        if let Poll::Ready(Some(part)) = &polled {
            self.cost.see(part);
        }
        polled
    }
}
