//! Context of model calls: who pays, and the trace.

use crate::model::ids::UserId;
use crate::telemetry::observe::Observation;

/// Context of a model call: who pays for it, and the trace it belongs to.
#[derive(Clone)]
pub struct CallContext {
    /// Who pays for the call.
    pub payer: Payer,
    /// Parent of the call's Langfuse trace.
    pub observation: Observation,
}

/// Whose budget a call is charged to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payer {
    /// The service itself, for shared work such as moods and the feed.
    Service,
    /// A user, within their daily budget.
    User(UserId),
}

impl CallContext {
    /// Creates an untraced context for a call that the service pays for.
    pub fn service() -> Self {
        Self { payer: Payer::Service, observation: Observation::default() }
    }

    /// Creates an untraced context for a call that a user pays for.
    pub fn user(user: &UserId) -> Self {
        Self { payer: Payer::User(user.clone()), observation: Observation::default() }
    }

    /// Returns the context with another parent trace.
    pub fn observed_by(self, observation: Observation) -> Self {
        Self { observation, ..self }
    }
}
