//! Context of calls of models and tools: who pays, the trace, and the clock of the person who asks.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::local_offset::LocalOffset;
use crate::model::ids::UserId;
use crate::model::usage::{ModelUsage, RunUsage};
use crate::telemetry::observe::Observation;

/// Context of a call of a model or tool: who pays for it, the trace it belongs to, and the clock of the person who asks.
#[derive(Clone)]
pub struct CallContext {
    /// Who pays for the call.
    pub payer: Payer,
    /// Parent of the call's Langfuse trace.
    pub observation: Observation,
    /// Adds up the usage of the calls, if requested.
    pub meter: Option<Meter>,
    /// UTC offset of the clock of the person who asks, which decides what "today" is; UTC if it is unknown.
    pub offset: LocalOffset,
}

/// Adds up the usage of model calls. Cheap to clone: clones share one sum.
#[derive(Clone, Default)]
pub struct Meter(Arc<Mutex<RunUsage>>);

impl Meter {
    /// Creates a meter that continues from this sum.
    pub fn starting_at(usage: RunUsage) -> Self {
        Self(Arc::new(Mutex::new(usage)))
    }

    /// Adds calls of one model.
    pub fn add(&self, usage: &ModelUsage) {
        self.0.lock().add(usage);
    }

    /// Returns the sum so far.
    pub fn total(&self) -> RunUsage {
        self.0.lock().clone()
    }
}

/// Whose budget a call is charged to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Payer {
    /// The service itself, for shared work such as moods and the feed.
    Service,
    /// A user, within their daily budget.
    User(UserId),
}

impl Payer {
    /// Returns the user's id, or `service`, for logs.
    pub fn name(&self) -> &str {
        match self {
            Self::Service => "service",
            Self::User(user) => user.as_str(),
        }
    }
}

impl CallContext {
    /// Creates an untraced context for a call that the service pays for.
    pub fn service() -> Self {
        Self::new(Payer::Service)
    }

    /// Creates an untraced context for a call that a user pays for.
    pub fn user(user: &UserId) -> Self {
        Self::new(Payer::User(user.clone()))
    }

    fn new(payer: Payer) -> Self {
        Self { payer, observation: Observation::default(), meter: None, offset: LocalOffset::UTC }
    }

    /// Returns the context with another parent trace.
    pub fn observed_by(self, observation: Observation) -> Self {
        Self { observation, ..self }
    }

    /// Returns the context with its calls added up.
    pub fn metered_by(self, meter: Meter) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// Returns the context with the UTC offset of the person's clock.
    pub fn by_clock(self, offset: LocalOffset) -> Self {
        Self { offset, ..self }
    }
}
