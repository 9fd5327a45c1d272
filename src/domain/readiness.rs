//! Whether what we depend on answers and takes what we write: documents, blobs, queue and model.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use tracing::{debug, error, warn};

use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::base::deadline;

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
    /// It does not answer, takes nothing, or was found damaged.
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
    /// What was found damaged. Stays until the process ends: a repair needs it to.
    damaged: Mutex<BTreeSet<&'static str>>,
    /// Held while the dependencies are asked, so that many callers ask once.
    asking: tokio::sync::Mutex<()>,
}

/// Name and health of each dependency.
pub type Checks = Vec<(&'static str, Health)>;

impl Readiness {
    /// Asks these dependencies.
    pub fn new(clock: Arc<dyn Clock>, probes: Vec<(&'static str, Option<Probe>)>) -> Self {
        let (last, damaged) = (Mutex::new(None), Mutex::default());
        Self { clock, probes, last, damaged, asking: tokio::sync::Mutex::new(()) }
    }

    /// The health of each dependency, at most five seconds old.
    pub async fn check(&self) -> Checks {
        self.ask_all().await.into_iter().map(|(name, health)| (name, self.judge(name, health))).collect()
    }

    /// Looks a dependency over for damage, which may take long, and has it fail from then on if there is any.
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
            Err(error) => warn!(dependency = name, error = %Chain(&error), "not looked over for damage"),
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
