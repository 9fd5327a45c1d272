//! The checks of `pluckit doctor`.
//!
//! Each check performs what the service will do, once, and cleans up. If the process dies in between, a message may
//! remain in the queue `pluckit-doctor`. Checks are independent of each other.

mod backends;
mod models;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, future, stream};
use serde::Serialize;

use crate::app::EachBackend;
use crate::config::Config;

/// Time limit of one check.
const CHECK_LIMIT: Duration = Duration::from_secs(45);
/// Concurrent checks.
const AT_ONCE: usize = 8;

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything is in order.
    Good,
    /// The configuration works, but may not be intended.
    Warning,
    /// Not configured, and not required.
    Skipped,
    /// Broken.
    Fault,
}

/// Report of one check.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Subject of the check; the check's own name if it says none.
    pub check: &'static str,
    /// Result.
    pub verdict: Verdict,
    /// Findings.
    pub found: String,
    /// Suggested fix; empty if there is none.
    pub fix: String,
}

impl Report {
    fn new(verdict: Verdict, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: "", verdict, found: found.into(), fix: fix.into() }
    }

    fn good(found: impl Into<String>) -> Vec<Self> {
        vec![Self::new(Verdict::Good, found, "")]
    }

    fn fault(found: impl Into<String>, fix: impl Into<String>) -> Vec<Self> {
        vec![Self::new(Verdict::Fault, found, fix)]
    }

    fn skipped(found: impl Into<String>) -> Vec<Self> {
        vec![Self::new(Verdict::Skipped, found, "")]
    }
}

/// Runs all checks concurrently. Reports come in a fixed order.
pub async fn examine(config: &Config, backends: EachBackend) -> Vec<Report> {
    let EachBackend { store, queue, blobs, model, segmenter, clock, http } = backends;
    let container = &config.storage.archive_container;
    let checks: Vec<(&'static str, BoxFuture<'_, Vec<Report>>)> = vec![
        ("settings", async { settings::settings(config) }.boxed()),
        ("certificates", async { settings::certificates() }.boxed()),
        ("identity", settings::identity(config).boxed()),
        (
            "documents",
            if_opened(&store, backends::fix_documents(config), |store| backends::documents(config, store).boxed()),
        ),
        ("queues", if_opened(&queue, backends::fix_queues(config), |queue| backends::queues(config, queue).boxed())),
        (
            "blobs",
            if_opened(&blobs, backends::fix_blobs(config), |blobs| {
                backends::blob_round_trip(config, blobs, container).boxed()
            }),
        ),
        ("model", if_opened(&model, models::FIX_MODEL, |model| models::chat(config, model).boxed())),
        ("embeddings", if_opened(&model, models::FIX_MODEL, |model| models::embeddings(config, model).boxed())),
        ("sign-in", settings::keys(config, &http, &clock).boxed()),
        ("service tokens", settings::service_tokens(config, &http).boxed()),
        ("segmentation", models::segmentation(config, &http).boxed()),
        ("exchange rates", settings::exchange_rates(config, &http, &clock).boxed()),
        (
            "cut-outs",
            if_opened(&segmenter, models::FIX_CUTOUTS, |segmenter| models::cutouts(config, segmenter).boxed()),
        ),
    ];
    let bounded = checks.into_iter().map(|(name, check)| async move {
        let limit = || Report::fault(format!("no answer within {} s", CHECK_LIMIT.as_secs()), "check the network");
        let mut reports = tokio::time::timeout(CHECK_LIMIT, check).await.unwrap_or_else(|_| limit());
        for report in reports.iter_mut().filter(|report| report.check.is_empty()) {
            report.check = name;
        }
        reports
    });
    let reports: Vec<Vec<Report>> = stream::iter(bounded).buffered(AT_ONCE).collect().await;
    reports.concat()
}

/// Runs the check of a back end, or reports why it could not be opened.
fn if_opened<'a, T: ?Sized>(
    backend: &'a anyhow::Result<Arc<T>>,
    fix: &str,
    check: impl FnOnce(&'a T) -> BoxFuture<'a, Vec<Report>>,
) -> BoxFuture<'a, Vec<Report>> {
    match backend {
        Ok(backend) => check(backend),
        Err(error) => future::ready(Report::fault(format!("{error:#}"), fix)).boxed(),
    }
}
