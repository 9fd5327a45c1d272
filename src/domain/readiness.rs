//! Readiness: whether documents, blobs, queue and model answer and are writable.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use tracing::{debug, error, warn};

use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::base::deadline;

/// Time limit per dependency.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a result is reused, so that probes cannot overload the dependencies.
const CACHE_LIFE: Duration = Duration::from_secs(5);

/// Checks a dependency; the error is for the log.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Creates a probe that checks `subject`.
pub fn probe<T, F>(subject: T, check: fn(T) -> F) -> Probe
where
    T: Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    Arc::new(move || check(subject.clone()).boxed())
}

/// State of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Health {
    /// The dependency works.
    Ok,
    /// The dependency is not configured.
    Unconfigured,
    /// The dependency does not answer, is not writable, or is damaged.
    Failing,
}

impl Health {
    /// Returns the state as answered to callers.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// Probes of the dependencies; `None` for those that are not configured.
pub struct Readiness {
    clock: Arc<dyn Clock>,
    probes: Vec<(&'static str, Option<Probe>)>,
    last: Mutex<Option<(Instant, Checks)>>,
    /// Damaged dependencies, until the process restarts for a repair.
    damaged: Mutex<BTreeSet<&'static str>>,
    /// Held during a check, so that concurrent callers share its result.
    asking: tokio::sync::Mutex<()>,
}

/// Name and state of each dependency.
pub type Checks = Vec<(&'static str, Health)>;

impl Readiness {
    /// Creates the service from its probes.
    pub fn new(clock: Arc<dyn Clock>, probes: Vec<(&'static str, Option<Probe>)>) -> Self {
        let (last, damaged) = (Mutex::new(None), Mutex::default());
        Self { clock, probes, last, damaged, asking: tokio::sync::Mutex::new(()) }
    }

    /// Returns the state of each dependency, at most five seconds old.
    pub async fn check(&self) -> Checks {
        self.ask_all().await.into_iter().map(|(name, health)| (name, self.judge(name, health))).collect()
    }

    /// Checks a dependency for damage, which may take long; damage makes it fail from then on.
    pub async fn inspect<E: StdError + 'static>(
        &self,
        name: &'static str,
        search: impl Future<Output = Result<Option<String>, E>>,
    ) {
        match search.await {
            Ok(None) => debug!(dependency = name, "no damage found"),
            Ok(Some(damage)) => {
                error!(dependency = name, damage, "damage found: stop the service and restore a backup");
                self.damaged.lock().insert(name);
            }
            Err(error) => warn!(dependency = name, error = %Chain(&error), "stored data not checked for damage"),
        }
    }

    fn judge(&self, name: &str, health: Health) -> Health {
        let is_damaged = self.damaged.lock().contains(name);
        if is_damaged { Health::Failing } else { health }
    }

    async fn ask_all(&self) -> Checks {
        if let Some(checks) = self.recent() {
            return checks;
        }
        let _asking = self.asking.lock().await;
        if let Some(checks) = self.recent() {
            return checks;
        }
        let checks =
            join_all(self.probes.iter().map(|(name, probe)| async move { (*name, ask(name, probe).await) })).await;
        *self.last.lock() = Some((self.clock.instant(), checks.clone()));
        checks
    }

    fn recent(&self) -> Option<Checks> {
        let last = self.last.lock();
        let (at, checks) = last.as_ref()?;
        (self.clock.instant() - *at < CACHE_LIFE).then(|| checks.clone())
    }
}

async fn ask(name: &str, probe: &Option<Probe>) -> Health {
    let Some(probe) = probe else { return Health::Unconfigured };
    let reason = match deadline::within(CHECK_TIMEOUT, probe()).await {
        Ok(Ok(())) => return Health::Ok,
        Ok(Err(reason)) => reason,
        Err(elapsed) => elapsed.to_string(),
    };
    warn!(dependency = name, reason, "dependency does not answer");
    Health::Failing
}
