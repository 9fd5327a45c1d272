//! Checks of documents, queues and blobs.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{Report, Verdict};
use crate::app;
use crate::base::chain::Chain;
use crate::blob::{BlobName, BlobStore, ContainerName, Put, Span};
use crate::config::{Config, Documents};
use crate::queue::JobQueue;
use crate::store::DocumentStore;
use crate::store::cosmos::schema::{Finding, Inspection};

/// Queue for the test message.
const QUEUE: &str = "pluckit-doctor";

/// Time limit of the search for damage, which takes long in a large store.
const DAMAGE_LIMIT: Duration = Duration::from_secs(30);

/// Advice for the embedded store, queue and blobs.
const SEE_DIRECTORY: &str =
    "check PLUCKIT_DATA_DIR: its disk, its owner; if a file in it is damaged, stop the service and restore a backup";

pub(super) const fn fix_documents(config: &Config) -> &'static str {
    match config.documents {
        Documents::Embedded { .. } => SEE_DIRECTORY,
        Documents::Cosmos(_) => "check COSMOS_DB_ENDPOINT, the key or the identity's role, and the firewall",
    }
}

pub(super) const fn fix_queues(config: &Config) -> &'static str {
    match config.storage.queues {
        None => SEE_DIRECTORY,
        Some(_) => "check StorageQueue, StorageQueue__queueServiceUri or the account, and the identity's role",
    }
}

pub(super) const fn fix_blobs(config: &Config) -> &'static str {
    match config.storage.blobs {
        None => SEE_DIRECTORY,
        Some(_) => "check STORAGE_ACCOUNT_NAME, the identity's role, and run pluckit storage init",
    }
}

/// Checks an embedded database for damage.
pub(super) async fn damage<E: std::error::Error + 'static>(
    search: impl Future<Output = Result<Option<String>, E>>,
) -> Vec<Report> {
    match tokio::time::timeout(DAMAGE_LIMIT, search).await {
        Ok(Ok(None)) => Vec::new(),
        Ok(Ok(Some(damage))) => Report::fault(format!("damage found: {damage}"), SEE_DIRECTORY),
        Ok(Err(error)) => Report::fault(Chain(&error).to_string(), SEE_DIRECTORY),
        Err(_) => vec![Report::new(
            Verdict::Warning,
            format!("only part of it was checked for damage within {} s", DAMAGE_LIMIT.as_secs()),
            "search the log for \"damage found\" after the next start, which checks everything",
        )],
    }
}

pub(super) async fn documents(config: &Config, store: &dyn DocumentStore) -> Vec<Report> {
    let Documents::Cosmos(cosmos) = &config.documents else {
        let damage = damage(store.find_damage()).await;
        return match store.ping().await {
            Ok(()) if damage.is_empty() => Report::good("the embedded store answers"),
            Ok(()) => damage,
            Err(error) => [Report::fault(Chain(&error).to_string(), SEE_DIRECTORY), damage].concat(),
        };
    };
    match app::inspect_containers(config, cosmos).await {
        Err(error) => Report::fault(Chain(&error).to_string(), fix_documents(config)),
        Ok(inspections) => {
            let wrong: Vec<Report> = inspections.iter().flat_map(container_reports).collect();
            let good = inspections.iter().filter(|inspection| inspection.findings.is_empty()).count();
            [Report::good(format!("{good} of {} containers are set up correctly", inspections.len())), wrong].concat()
        }
    }
}

fn container_reports(Inspection { name, findings }: &Inspection) -> Vec<Report> {
    let report = |finding: &Finding| {
        let (verdict, found, fix) = match finding {
            Finding::Missing => {
                (Verdict::Fault, "is missing".to_owned(), "run pluckit storage init, or deploy the template")
            }
            Finding::PartitionKey { found, expected } => (
                Verdict::Fault,
                format!("is partitioned by {found}, not {expected}"),
                "recreate it: a partition key cannot be changed",
            ),
            Finding::TimeToLive { found, expected } => (
                Verdict::Warning,
                format!("has the default time to live \"{found}\", expected \"{expected}\""),
                "set it in the portal or the template; \"on, no default\" is -1",
            ),
            Finding::Indexes { missing } => (
                Verdict::Warning,
                format!("lacks composite indexes: {}", missing.join(", ")),
                "run pluckit storage init with the account's key, or deploy the template",
            ),
        };
        Report::new(verdict, format!("container {name} {found}"), fix)
    };
    findings.iter().map(report).collect()
}

pub(super) async fn queues(config: &Config, queue: &dyn JobQueue) -> Vec<Report> {
    let fix = fix_queues(config);
    let mark = format!("{{\"doctor\":\"{}\"}}", Uuid::new_v4());
    let round_trip = async {
        queue.send(QUEUE, &mark).await?;
        // Also removes messages left by earlier checks.
        let mut is_back = false;
        loop {
            let messages = queue.receive(QUEUE, 32, Duration::from_secs(30)).await?;
            if messages.is_empty() {
                return Ok::<bool, crate::queue::Error>(is_back);
            }
            for message in messages {
                is_back |= message.text == mark;
                queue.delete(QUEUE, &message).await?;
            }
        }
    };
    let mut reports = match round_trip.await {
        Ok(true) => Report::good("a message was sent and received"),
        Ok(false) => Report::fault(
            "a message was sent but not received",
            "check whether another program reads the queue pluckit-doctor",
        ),
        Err(error) => Report::fault(Chain(&error).to_string(), fix),
    };
    let damage = damage(queue.find_damage()).await;
    if !damage.is_empty() {
        reports.retain(|report| report.verdict != Verdict::Good);
        reports.extend(damage);
    }
    if reports.iter().any(|report| report.verdict == Verdict::Fault) {
        return reports;
    }
    for names in config.queues_in_use() {
        match queue.length(&names.poison).await {
            Ok(0) => {}
            Ok(waiting) => reports.push(Report::new(
                Verdict::Warning,
                format!("{waiting} messages wait in {}", names.poison),
                "see that its function runs; GET /api/admin/dead-letters shows what was kept",
            )),
            Err(error) => {
                reports.push(Report::new(Verdict::Fault, format!("{}: {}", names.poison, Chain(&error)), fix))
            }
        }
    }
    reports
}

pub(super) async fn blob_round_trip(config: &Config, blobs: &dyn BlobStore, container: &ContainerName) -> Vec<Report> {
    let fix = fix_blobs(config);
    let name: BlobName = match format!("doctor/{}.txt", Uuid::new_v4()).parse() {
        Ok(name) => name,
        Err(error) => return Report::fault(format!("{error}"), ""),
    };
    let content = Bytes::from_static(b"written by pluckit doctor");
    let round_trip = async {
        let put = blobs.put_if_absent(container, &name, content.clone(), None).await?;
        let read = blobs.get(container, &name, Span::Whole).await?;
        let same = match read {
            Some(blob) => blob.bytes().await? == content,
            None => false,
        };
        let deleted = blobs.delete(container, &name).await?;
        Ok::<bool, crate::blob::Error>(put == Put::Created && same && deleted)
    };
    match round_trip.await {
        Ok(true) => Report::good(format!("a blob was written to {container}, read and deleted")),
        Ok(false) => Report::fault("the blob that was read differs from the one written", fix),
        Err(error) => Report::fault(Chain(&error).to_string(), fix),
    }
}
