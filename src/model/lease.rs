//! Leases: the exclusive right of one process to work on a document for a limited time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::lenient;
use super::timestamp::Timestamp;

/// Largest tolerated clock difference between two processes.
pub const MOST_SKEW: Duration = Duration::from_secs(30);

/// Names the process that works on a document, and the time until which no other process may work on it. Flatten it
/// into the document before its unknown fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    #[serde(
        rename = "leaseOwner",
        default,
        deserialize_with = "lenient::optional",
        skip_serializing_if = "Option::is_none"
    )]
    owner: Option<String>,
    #[serde(
        rename = "leaseExpiresAt",
        default,
        deserialize_with = "lenient::optional",
        skip_serializing_if = "Option::is_none"
    )]
    expires_at: Option<Timestamp>,
}

impl Lease {
    /// A lease of `owner` that ends at `expires_at`.
    pub fn new(owner: &str, expires_at: Timestamp) -> Self {
        Self { owner: Some(owner.to_owned()), expires_at: Some(expires_at) }
    }

    /// Creates a lease without an owner, with a time until which the message that starts the work counts as queued.
    pub fn waiting(until: Timestamp) -> Self {
        Self { owner: None, expires_at: Some(until) }
    }

    /// Builds a lease from a document that has other names for its two fields.
    pub fn from_parts(owner: Option<String>, expires_at: Option<Timestamp>) -> Self {
        Self { owner, expires_at }
    }

    /// Returns the last owner, unless the lease was released.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Returns when the lease, or the wait for a message, ends.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether a process holds it at `now`. Leases of this kind of document last `longest` at most.
    pub fn is_live(&self, now: Timestamp, longest: Duration) -> bool {
        self.owner.is_some() && is_live(self.expires_at, now, longest)
    }
}

/// Whether a lease that ends at `expires_at` is live at `now`. A lease that ends later than one taken now would end was
/// taken before the clock was set back. Its owner no longer renews it, or it would end earlier, so it counts as
/// expired.
pub fn is_live(expires_at: Option<Timestamp>, now: Timestamp, length: Duration) -> bool {
    expires_at.is_some_and(|until| until > now && until <= now + length + MOST_SKEW)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_lease_from_before_the_clock_was_set_back_is_ended() {
        let now = Timestamp::from(datetime!(2026-03-02 09:15 UTC));
        let length = Duration::from_secs(45);
        let is_live_at = |until: time::OffsetDateTime| is_live(Some(until.into()), now, length);
        assert!(is_live_at(datetime!(2026-03-02 09:15:01 UTC)));
        assert!(is_live_at(datetime!(2026-03-02 09:15:45 UTC)));
        assert!(is_live_at(datetime!(2026-03-02 09:16 UTC)), "of a process whose clock is ahead");
        assert!(!is_live_at(datetime!(2026-03-02 09:15 UTC)));
        assert!(!is_live_at(datetime!(2026-03-02 10:15:45 UTC)));
        assert!(!is_live(None, now, length));
    }
}
