//! Creates the service's storage: `pluckit storage init`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use super::backends::{
    BLOB_DIRECTORY, QUEUE_FILE, STORE_FILE, check_restored, identity, open_embedded, open_storage, open_store,
};
use crate::azure::storage::Access;
use crate::base::clock::{Clock, SystemClock};
use crate::config::{self, Config, Documents};
use crate::data::Data;
use crate::domain::collections;
use crate::store;
use crate::store::cosmos::CosmosStore;
use crate::store::cosmos::schema::Inspection;
use crate::telemetry::metrics::Metrics;

/// A result of [`prepare_storage`].
pub struct Preparation {
    /// Kind and name of the object.
    pub what: String,
    /// `created`, `existed`, `indexed` or `embedded`.
    pub state: &'static str,
}

impl Preparation {
    fn new(what: impl Into<String>, is_new: bool) -> Self {
        Self { what: what.into(), state: if is_new { "created" } else { "existed" } }
    }

    /// Reports a part that is stored in files that the service creates by itself.
    fn embedded(what: &str, place: &Path) -> Vec<Self> {
        vec![Self { what: format!("{what} in {}", place.display()), state: "embedded" }]
    }
}

/// Creates all configured storage: the database and its containers (or the embedded store's file, migrated), queues and
/// blob containers. Safe to repeat. A failed part does not stop the others.
pub async fn prepare_storage(config: &Config) -> Vec<(&'static str, anyhow::Result<Vec<Preparation>>)> {
    vec![
        ("documents", prepare_documents(config).await),
        ("queues", prepare_queues(config).await),
        ("blobs", prepare_blobs(config).await),
    ]
}

async fn prepare_documents(config: &Config) -> anyhow::Result<Vec<Preparation>> {
    check_restored(config)?;
    let mut done = prepare_containers(config).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let data = Data::new(open_store(config, &clock, &Metrics::off())?);
    let members = collections::index_members(&data, clock.now().into()).await?;
    if members > 0 {
        done.push(Preparation { what: format!("{members} members of collections"), state: "indexed" });
    }
    Ok(done)
}

async fn prepare_containers(config: &Config) -> anyhow::Result<Vec<Preparation>> {
    match &config.documents {
        Documents::Embedded { directory, .. } => {
            let file = directory.join(STORE_FILE);
            let is_new = !file.try_exists()?;
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            open_embedded(directory, &clock)?;
            Ok(vec![Preparation::new(format!("embedded store {}", file.display()), is_new)])
        }
        Documents::Cosmos(cosmos) => {
            let report = Box::pin(CosmosStore::new(cosmos.clone(), identity(config)).init()).await?;
            let mut done = vec![Preparation::new(format!("database {}", cosmos.database), report.database_created)];
            done.extend(report.created.into_iter().map(|name| {
                let remark = if report.without_vectors.contains(&name) { " (without its vector index)" } else { "" };
                Preparation::new(format!("container {name}{remark}"), true)
            }));
            done.extend(report.existing.into_iter().map(|name| {
                match report.indexed.iter().find(|(indexed, _)| *indexed == name) {
                    None => Preparation::new(format!("container {name}"), false),
                    Some((_, added)) => {
                        Preparation { what: format!("container {name}: {}", added.join(", ")), state: "indexed" }
                    }
                }
            }));
            Ok(done)
        }
    }
}

async fn prepare_queues(config: &Config) -> anyhow::Result<Vec<Preparation>> {
    let Some(account) = &config.storage.queues else {
        return Ok(Preparation::embedded("queues", &config.data_directory.join(QUEUE_FILE)));
    };
    let account = open_storage(config, account)?;
    let mut done = Vec::new();
    for name in config.queues_in_use().flat_map(|queue| [&queue.work, &queue.poison]) {
        let created = Box::pin(account.create_queue(name)).await.with_context(|| format!("queue {name}"))?;
        done.push(Preparation::new(format!("queue {name}"), created));
    }
    Ok(done)
}

async fn prepare_blobs(config: &Config) -> anyhow::Result<Vec<Preparation>> {
    let Some(account) = &config.storage.blobs else {
        return Ok(Preparation::embedded("blobs", &config.data_directory.join(BLOB_DIRECTORY)));
    };
    let account = open_storage(config, account)?;
    let mut done = Vec::new();
    let config::Storage { archive_container, jobs_container, uploads_container, .. } = &config.storage;
    let of_wardrobe = config.wardrobe_api.is_on.then_some(uploads_container);
    for name in [archive_container, jobs_container].into_iter().chain(of_wardrobe) {
        let access = if name == archive_container { Access::Public } else { Access::Private };
        let creating = Box::pin(account.create_blob_container(name, access));
        let created = creating.await.with_context(|| format!("blob container {name}"))?;
        done.push(Preparation::new(format!("blob container {name}"), created));
    }
    Ok(done)
}

/// Compares the containers of a Cosmos DB account with their definitions.
///
/// # Errors
/// When the account does not answer.
pub async fn inspect_containers(config: &Config, cosmos: &config::Cosmos) -> store::Result<Vec<Inspection>> {
    CosmosStore::new(cosmos.clone(), identity(config)).inspect().await
}
