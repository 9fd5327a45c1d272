//! Ids of what requests create.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use uuid::Uuid;

/// The id of what a request creates. Under an `Idempotency-Key` every try has the same: one that goes on where the process of
/// another died, or lost the answer of the store, finds what that one created.
#[derive(Debug, Clone, Copy)]
pub struct NewId {
    id: Uuid,
    is_repeatable: bool,
}

impl NewId {
    /// The id that every try of a request with an `Idempotency-Key` has.
    pub fn of_repeatable(id: Uuid) -> Self {
        Self { id, is_repeatable: true }
    }

    /// The id.
    pub fn id(self) -> Uuid {
        self.id
    }

    /// Whether an earlier try may have created it already.
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
