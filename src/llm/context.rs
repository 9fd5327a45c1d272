//! On whose behalf a model is asked.

use crate::model::ids::UserId;
use crate::telemetry::observe::Observation;

/// What every call of a model is made with: who pays for it, and the trace that it belongs to.
#[derive(Clone)]
pub struct CallContext {
    /// Who pays.
    pub payer: Payer,
    /// The Langfuse trace, or the part of one, that the call is made in.
    pub observation: Observation,
}

/// Whose budget the tokens of a call come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payer {
    /// The service itself: work that is done for everybody, such as moods and the shared feed.
    Service,
    /// A user, within the budget of their day.
    User(UserId),
}

impl CallContext {
    /// A call that the service pays for, in no trace.
    pub fn service() -> Self {
        Self { payer: Payer::Service, observation: Observation::default() }
    }

    /// A call that a user pays for, in no trace.
    pub fn user(user: &UserId) -> Self {
        Self { payer: Payer::User(user.clone()), observation: Observation::default() }
    }

    /// The same payer, with calls that belong to this trace.
    pub fn observed_by(self, observation: Observation) -> Self {
        Self { observation, ..self }
    }
}
