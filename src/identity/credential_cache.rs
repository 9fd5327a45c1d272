//! Caches verified and refused credentials for at most half a minute: a busy client does not cause a look-up per
//! request, and a revocation on another instance takes effect within that time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Refusal;
use crate::base::cache::ExpiringCache;
use crate::base::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// How long the result of checking a credential is cached.
const LIFE: Duration = Duration::from_secs(30);
/// Most cached valid credentials, and most cached refused ones.
const CAPACITY: usize = 10_000;

/// Cached results by the SHA-256 of credentials.
pub struct CredentialCache<T> {
    known: ExpiringCache<String, T>,
    refused: ExpiringCache<String, Refusal>,
    /// Counts revocations, so that a look-up that began before one is not kept after it.
    revocations: AtomicU64,
}

/// A look-up in progress. Its result counts only if nothing was revoked meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct LookUp(u64);

impl<T: Clone> CredentialCache<T> {
    /// Creates an empty cache.
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            known: ExpiringCache::new(CAPACITY, LIFE, clock.clone()),
            refused: ExpiringCache::new(CAPACITY, LIFE, clock.clone()),
            revocations: AtomicU64::new(0),
        }
    }

    /// Records hits and misses in metrics, under this name.
    pub fn watched(self, metrics: &Metrics, name: &'static str) -> Self {
        Self { known: self.known.observed(metrics.of_cache(name)), ..self }
    }

    /// Returns the cached result of a valid credential.
    pub fn find(&self, hash: &str) -> Option<T> {
        self.known.get(hash)
    }

    /// Returns why the credential was refused, if that is cached.
    pub fn refusal(&self, hash: &str) -> Option<Refusal> {
        self.refused.get(hash)
    }

    /// Begins a look-up.
    pub fn look_up(&self) -> LookUp {
        LookUp(self.revocations.load(Ordering::Acquire))
    }

    /// Caches the result of a look-up, unless something was revoked since it began.
    pub fn remember(&self, LookUp(begun): LookUp, hash: String, finding: T) {
        let is_current = || self.revocations.load(Ordering::Acquire) == begun;
        if is_current() {
            self.known.insert(hash.clone(), finding);
            // A revocation since the check has found nothing to remove.
            if !is_current() {
                self.known.remove(&hash);
            }
        }
    }

    /// Caches a credential as refused for this reason, which it returns.
    pub fn refuse(&self, hash: String, refusal: Refusal) -> Refusal {
        self.refused.insert(hash, refusal);
        refusal
    }

    /// Removes a revoked credential.
    pub fn revoke(&self, hash: &str) {
        self.revocations.fetch_add(1, Ordering::AcqRel);
        self.known.remove(hash);
    }
}
