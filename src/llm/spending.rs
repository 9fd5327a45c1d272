//! Tokens that a piece of work spends, all its calls of models together, whoever makes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    static CURRENT: Spending;
}

/// Adds up tokens. Cheap to clone; clones share the sum.
#[derive(Debug, Clone, Default)]
pub struct Spending(Arc<AtomicU64>);

impl Spending {
    /// What this task's work adds to; nobody looks at it unless it was begun with [`Self::scope`].
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Does work whose calls add to this.
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// Adds tokens.
    pub fn add(&self, tokens: u64) {
        self.0.fetch_add(tokens, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn tokens(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
