//! What programs are told of a tool, beside what the model sees.

use serde_json::Value;
use utoipa::ToSchema;

use crate::base::schema::schema_of;
use crate::domain::quota::Kind;

/// What a call changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// It adds something; nothing is lost.
    Adds,
    /// It may replace or remove something.
    Replaces,
}

/// How a tool behaves. Whatever it does, doing it again with the same arguments changes nothing more.
#[derive(Debug, Clone)]
pub struct Traits {
    /// Name for people.
    pub title: &'static str,
    /// What a call changes.
    pub effect: Effect,
    /// Whether it looks at something outside of this service.
    pub asks_outside: bool,
    /// Quota that a program's call counts against, besides that of requests.
    pub quota: Option<Kind>,
    /// Schema of the result, which is an object then; else it is a text.
    pub result: Option<fn() -> Value>,
}

impl Traits {
    const fn new(title: &'static str, effect: Effect) -> Self {
        Self { title, effect, asks_outside: false, quota: None, result: None }
    }

    /// A tool that only reads.
    pub const fn reads(title: &'static str) -> Self {
        Self::new(title, Effect::Reads)
    }

    /// A tool that adds something.
    pub const fn adds(title: &'static str) -> Self {
        Self::new(title, Effect::Adds)
    }

    /// A tool that may replace or remove something.
    pub const fn replaces(title: &'static str) -> Self {
        Self::new(title, Effect::Replaces)
    }

    /// Its result is a `T` in JSON.
    pub fn result<T: ToSchema>(self) -> Self {
        Self { result: Some(schema_of::<T>), ..self }
    }

    /// A program's call counts against this quota, too.
    pub fn counts_as(self, kind: Kind) -> Self {
        Self { quota: Some(kind), ..self }
    }

    /// It looks at something outside of this service.
    pub fn outside(self) -> Self {
        Self { asks_outside: true, ..self }
    }
}
