//! Ids of documents that requests create.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use uuid::Uuid;

/// Id for the document that a request creates. All attempts of a request with an `Idempotency-Key` get the same id, so
/// a retry finds the document of an earlier attempt whose process died or whose answer was lost.
#[derive(Debug, Clone, Copy)]
pub struct NewId {
    id: Uuid,
    is_repeatable: bool,
}

impl NewId {
    /// Wraps the id that all attempts of a request with an `Idempotency-Key` share.
    pub fn of_repeatable(id: Uuid) -> Self {
        Self { id, is_repeatable: true }
    }

    /// Returns the id.
    pub fn id(self) -> Uuid {
        self.id
    }

    /// Whether an earlier attempt may have created the document.
    pub fn may_exist(self) -> bool {
        self.is_repeatable
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NewId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let of_key = parts.extensions.get::<Self>().copied();
        Ok(of_key.unwrap_or_else(|| Self { id: Uuid::new_v4(), is_repeatable: false }))
    }
}
