//! Usage of models: calls and tokens by model, and a document per user and day.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::UserId;
use super::lenient;

/// Calls of one model, and their tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelUsage {
    /// Name of the model.
    pub model: String,
    /// Number of calls.
    pub calls: u64,
    /// Tokens of requests.
    pub input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
}

impl ModelUsage {
    /// Adds calls of the same model.
    pub fn add(&mut self, more: &Self) {
        self.calls = self.calls.saturating_add(more.calls);
        self.input_tokens = self.input_tokens.saturating_add(more.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(more.output_tokens);
    }

    /// Adds the calls to those of the same model in a list.
    pub fn add_to(&self, list: &mut Vec<Self>) {
        match list.iter_mut().find(|known| known.model == self.model) {
            Some(known) => known.add(self),
            None => list.push(self.clone()),
        }
    }
}

/// Usage of a turn's model calls, in total and by model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunUsage {
    /// Number of calls.
    #[serde(default)]
    pub calls: u64,
    /// Tokens of requests.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens of answers.
    #[serde(default)]
    pub output_tokens: u64,
    /// Calls and tokens by model.
    #[serde(default)]
    pub by_model: Vec<ModelUsage>,
}

impl RunUsage {
    /// Adds calls of one model.
    pub fn add(&mut self, usage: &ModelUsage) {
        self.calls = self.calls.saturating_add(usage.calls);
        self.input_tokens = self.input_tokens.saturating_add(usage.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(usage.output_tokens);
        usage.add_to(&mut self.by_model);
    }
}

/// Usage of a user's model calls on one UTC day. The service's own calls are in a document of the same form.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageDay {
    /// Id of the document: the date.
    pub id: String,
    /// The user, or the partition of the service's own calls.
    pub user_id: UserId,
    /// The date, as `2026-03-02`.
    pub date: String,
    /// Tokens that count against the user's budget: those spent, and those reserved for calls in progress.
    #[serde(default)]
    pub tokens: u64,
    /// Finished calls by model.
    #[serde(default, deserialize_with = "lenient::list")]
    pub models: Vec<ModelUsage>,
    /// Ids of the last writes, so that a write whose answer was lost is not repeated.
    #[serde(default)]
    pub writes: Vec<String>,
    /// Seconds after the last write until the store deletes the document.
    #[serde(default)]
    pub ttl: u32,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl UsageDay {
    /// Partition of the calls that the service pays for. No user id contains a `#`.
    pub const SERVICE: &str = "#service";

    /// Returns the user who is charged; `None` if it is the service.
    pub fn payer(&self) -> Option<&UserId> {
        Some(&self.user_id).filter(|user| user.as_str() != Self::SERVICE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(model: &str, calls: u64, input_tokens: u64, output_tokens: u64) -> ModelUsage {
        ModelUsage { model: model.to_owned(), calls, input_tokens, output_tokens }
    }

    #[test]
    fn a_turn_is_added_up_in_total_and_by_model() {
        let mut total = RunUsage::default();
        for call in [usage("a", 1, 10, 2), usage("b", 1, 1, 1), usage("a", 1, 5, 3)] {
            total.add(&call);
        }
        assert_eq!((total.calls, total.input_tokens, total.output_tokens), (3, 16, 6));
        assert_eq!(total.by_model, [usage("a", 2, 15, 5), usage("b", 1, 1, 1)]);
    }

    #[test]
    fn calls_are_added_up_by_model() {
        let mut list = Vec::new();
        for more in [usage("a", 1, 10, 2), usage("b", 1, 5, 0), usage("a", 2, 30, u64::MAX)] {
            more.add_to(&mut list);
        }
        assert_eq!(list, [usage("a", 3, 40, u64::MAX), usage("b", 1, 5, 0)]);
    }
}
