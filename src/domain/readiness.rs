//! Whether what we depend on answers: documents, blobs, queue and model.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use tracing::warn;

use crate::clock::Clock;

/// Longest wait for one dependency.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a result is repeated, so that probes cannot load the dependencies.
const CACHE_LIFE: Duration = Duration::from_secs(5);

/// Asks a dependency whether it answers; the error is for the log.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What is known of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Ok,
    /// There is none to ask.
    Unconfigured,
    /// It does not answer.
    Failing,
}

impl Health {
    /// As the contract writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unconfigured => "unconfigured",
            Self::Failing => "failing",
        }
    }
}

/// The dependencies with the way to ask each; `None` where there is none.
pub struct Readiness {
    clock: Arc<dyn Clock>,
    probes: Vec<(&'static str, Option<Probe>)>,
    last: Mutex<Option<(Instant, Checks)>>,
    /// Held while the dependencies are asked, so that many callers ask once.
    asking: tokio::sync::Mutex<()>,
}

/// Name and health of each dependency.
pub type Checks = Vec<(&'static str, Health)>;

impl Readiness {
    /// Asks these dependencies.
    pub fn new(clock: Arc<dyn Clock>, probes: Vec<(&'static str, Option<Probe>)>) -> Self {
        Self { clock, probes, last: Mutex::new(None), asking: tokio::sync::Mutex::new(()) }
    }

    /// The health of each dependency, at most five seconds old.
    pub async fn check(&self) -> Checks {
        if let Some(checks) = self.recent() {
            return checks;
        }
        let _asking = self.asking.lock().await;
        if let Some(checks) = self.recent() {
            return checks;
        }
        let checks =
            join_all(self.probes.iter().map(|(name, probe)| async move { (*name, ask(name, probe).await) })).await;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.clock.instant(), checks.clone()));
        checks
    }

    fn recent(&self) -> Option<Checks> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, checks) = last.as_ref()?;
        (self.clock.instant() - *at < CACHE_LIFE).then(|| checks.clone())
    }
}

async fn ask(name: &str, probe: &Option<Probe>) -> Health {
    let Some(probe) = probe else { return Health::Unconfigured };
    let reason = match tokio::time::timeout(CHECK_TIMEOUT, probe()).await {
        Ok(Ok(())) => return Health::Ok,
        Ok(Err(reason)) => reason,
        Err(_) => format!("no answer within {} s", CHECK_TIMEOUT.as_secs()),
    };
    warn!(dependency = name, reason, "dependency does not answer");
    Health::Failing
}
