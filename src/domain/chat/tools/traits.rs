//! Properties of a tool for programs, beyond what the model sees.

use serde_json::Value;
use utoipa::ToSchema;

use crate::base::schema::schema_of;
use crate::domain::quota::QuotaKind;

/// What a call changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// The call adds something; nothing is lost.
    Adds,
    /// The call may replace or remove something.
    Replaces,
}

/// How a tool behaves. All tools are idempotent: repeating a call with the same arguments has no further effect.
#[derive(Debug, Clone)]
pub struct Traits {
    /// Name for people.
    pub title: &'static str,
    /// What a call changes.
    pub effect: Effect,
    /// Whether it accesses anything outside this service.
    pub asks_outside: bool,
    /// Quota that a program's call counts against, besides that of requests.
    pub quota: Option<QuotaKind>,
    /// Schema of the result, if it is an object; otherwise it is text.
    pub result: Option<fn() -> Value>,
    /// Whether the result is never cut, as an item is bounded by itself.
    pub is_whole: bool,
}

impl Traits {
    const fn new(title: &'static str, effect: Effect) -> Self {
        Self { title, effect, asks_outside: false, quota: None, result: None, is_whole: false }
    }

    /// A tool that only reads.
    pub const fn reads(title: &'static str) -> Self {
        Self::new(title, Effect::Reads)
    }

    /// A tool that adds something.
    pub const fn adds(title: &'static str) -> Self {
        Self::new(title, Effect::Adds)
    }

    /// Creates the traits of a tool that may replace or remove something.
    pub const fn replaces(title: &'static str) -> Self {
        Self::new(title, Effect::Replaces)
    }

    /// Declares that its result is a `T` in JSON.
    pub fn result<T: ToSchema>(self) -> Self {
        Self { result: Some(schema_of::<T>), ..self }
    }

    /// Declares that its result is never cut.
    pub fn whole(self) -> Self {
        Self { is_whole: true, ..self }
    }

    /// Declares that a program's call also counts against this quota.
    pub fn counts_as(self, kind: QuotaKind) -> Self {
        Self { quota: Some(kind), ..self }
    }

    /// Declares that it accesses something outside this service.
    pub fn outside(self) -> Self {
        Self { asks_outside: true, ..self }
    }
}
