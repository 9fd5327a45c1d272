//! What `pluckit storage init` makes in an emulator or a fresh account: the database and its containers.
//!
//! Production accounts are made by the infrastructure templates. Creation needs an account key: with an identity the
//! service refuses it. What exists is left as it is.

use std::time::Duration;

use azure_data_cosmos::models::{
    CompositeIndex, CompositeIndexOrder, CompositeIndexProperty, ContainerProperties, IndexingPolicy,
    TimeToLive as DefaultTimeToLive, VectorDataType, VectorDistanceFunction, VectorEmbedding, VectorEmbeddingPolicy,
    VectorIndex, VectorIndexType,
};
use azure_data_cosmos::options::{
    CreateContainerOptions, CreateDatabaseOptions, OperationOptions, OperationOptionsBuilder,
};
use azure_data_cosmos::{CosmosError, DatabaseClient};

use serde_json::Value;

use super::CosmosStore;
use crate::store::containers::{Spec, TimeToLive};
use crate::store::{Container, Direction, Result};

/// Creating a container takes the service seconds, not milliseconds.
const CREATION_DEADLINE: Duration = Duration::from_secs(60);

/// Length of the vectors in `embedding` and `nameEmbedding` (`requirements/data.md`).
const VECTOR_DIMENSIONS: u32 = 1536;

const SECONDS_PER_DAY: u32 = 24 * 60 * 60;

/// What [`CosmosStore::init`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitReport {
    /// Whether the database is new.
    pub database_created: bool,
    /// Names of the containers that are new.
    pub created: Vec<String>,
    /// Names of the containers that were there.
    pub existing: Vec<String>,
    /// Names of new containers whose vector index the account refused: vectors are stored but not indexed there.
    pub without_vectors: Vec<String>,
}

impl CosmosStore {
    /// Creates the database and the containers that are missing. Safe to repeat, and to run twice at once.
    ///
    /// # Errors
    /// As every operation of the store. What was made before the error stays.
    pub async fn init(&self) -> Result<InitReport> {
        let client = self.client().await?;
        let mut report = InitReport::default();
        let options = CreateDatabaseOptions::default().with_operation_options(patient());
        let created = client.create_database(&self.options.database, Some(options)).await;
        report.database_created = is_new(created)?;
        let database = client.database_client(self.options.database.clone());
        for container in Container::ALL {
            let name = self.options.container_name(container).to_owned();
            match create(&database, &name, &container.spec()).await? {
                Creation::Existing => report.existing.push(name),
                Creation::Complete => report.created.push(name),
                Creation::WithoutVectors => {
                    report.without_vectors.push(name.clone());
                    report.created.push(name);
                }
            }
        }
        Ok(report)
    }
}

/// What [`CosmosStore::inspect`] found of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Its name.
    pub name: String,
    /// Whether it is as it should be.
    pub finding: Finding,
}

/// Whether a container is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is.
    Good,
    /// There is none.
    Missing,
    /// It has another partition key.
    PartitionKey {
        /// Its own.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// It keeps documents for another time.
    TimeToLive {
        /// Its own, in words.
        found: String,
        /// What it should be.
        expected: String,
    },
}

impl CosmosStore {
    /// Looks at every container.
    ///
    /// # Errors
    /// As every operation of the store. A container that is missing is no error.
    pub async fn inspect(&self) -> Result<Vec<Inspection>> {
        let mut inspections = Vec::new();
        for container in Container::ALL {
            let name = self.options.container_name(container).to_owned();
            let expected = properties(name.clone(), &container.spec());
            let finding = match self.describe(&name).await? {
                None => Finding::Missing,
                Some(found) => compare(&found, &expected),
            };
            inspections.push(Inspection { name, finding });
        }
        Ok(inspections)
    }

    async fn describe(&self, name: &str) -> Result<Option<ContainerProperties>> {
        let database = self.client().await?.database_client(self.options.database.clone());
        let described =
            async { Box::pin(database.container_client(name.to_owned(), None)).await?.read(None).await?.into_model() };
        match described.await {
            Ok(properties) => Ok(Some(properties)),
            Err(error) if error.status().is_not_found() => Ok(None),
            Err(error) => Err(super::error(error)),
        }
    }
}

fn compare(found: &ContainerProperties, expected: &ContainerProperties) -> Finding {
    let paths = |properties: &ContainerProperties| {
        let key = serde_json::to_value(&properties.partition_key).unwrap_or_default();
        let paths = key["paths"].as_array().cloned().unwrap_or_default();
        paths.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    if paths(found) != paths(expected) {
        return Finding::PartitionKey { found: paths(found), expected: paths(expected) };
    }
    if found.default_ttl != expected.default_ttl {
        return Finding::TimeToLive { found: life(&found.default_ttl), expected: life(&expected.default_ttl) };
    }
    Finding::Good
}

fn life(time_to_live: &DefaultTimeToLive) -> String {
    match serde_json::to_value(time_to_live).ok().and_then(|value| value.as_i64()) {
        None => "for ever".to_owned(),
        Some(-1) => "for ever, unless they say otherwise".to_owned(),
        Some(seconds) => format!("for {seconds} s"),
    }
}

enum Creation {
    Existing,
    Complete,
    WithoutVectors,
}

/// Creates a container if it is missing. Accounts and emulators without vector search refuse a vector policy with 400;
/// such a container is made without it.
async fn create(database: &DatabaseClient, name: &str, spec: &Spec) -> Result<Creation> {
    let create = async |spec: &Spec| {
        let options = CreateContainerOptions::default().with_operation_options(patient());
        Box::pin(database.create_container(properties(name.to_owned(), spec), Some(options))).await
    };
    match create(spec).await {
        Err(error) if error.status().is_bad_request() && !spec.vectors.is_empty() => {
            let plain = Spec { vectors: &[], ..*spec };
            Ok(if is_new(create(&plain).await)? { Creation::WithoutVectors } else { Creation::Existing })
        }
        created => Ok(if is_new(created)? { Creation::Complete } else { Creation::Existing }),
    }
}

/// `false` when there was one already.
fn is_new<T>(created: std::result::Result<T, CosmosError>) -> Result<bool> {
    match created {
        Ok(_) => Ok(true),
        Err(error) if error.status().is_conflict() => Ok(false),
        Err(error) => Err(super::error(error)),
    }
}

fn patient() -> OperationOptions {
    OperationOptionsBuilder::new().with_end_to_end_latency_policy(CREATION_DEADLINE.into()).build()
}

fn properties(name: String, spec: &Spec) -> ContainerProperties {
    let mut indexing = IndexingPolicy::default().with_included_path("/*").with_excluded_path("/\"_etag\"/?");
    // The SDK's default would leave documents out unless each asked to be indexed.
    indexing.automatic = true;
    // One key is indexed anyway.
    for keys in spec.indexes.iter().filter(|keys| keys.len() > 1) {
        indexing =
            indexing.with_composite_index(keys.iter().fold(CompositeIndex::default(), |index, (field, sense)| {
                index.with_property(CompositeIndexProperty::new(path(field), order(*sense)))
            }));
    }
    let mut vectors = VectorEmbeddingPolicy::default();
    for field in spec.vectors {
        indexing = indexing
            .with_excluded_path(format!("{}/*", path(field)))
            .with_vector_index(VectorIndex::new(path(field), VectorIndexType::QuantizedFlat));
        vectors = vectors.with_embedding(VectorEmbedding::new(
            path(field),
            VectorDataType::Float32,
            VECTOR_DIMENSIONS,
            VectorDistanceFunction::Cosine,
        ));
    }
    let mut properties = ContainerProperties::new(name, path(spec.partition_key).into()).with_indexing_policy(indexing);
    if !spec.vectors.is_empty() {
        properties = properties.with_vector_embedding_policy(vectors);
    }
    match spec.time_to_live {
        TimeToLive::Off => properties,
        TimeToLive::PerDocument => properties.with_default_ttl(DefaultTimeToLive::NoDefault),
        TimeToLive::Days(days) => properties.with_default_ttl(days * SECONDS_PER_DAY),
    }
}

/// All containers by their default names, as templates and the management API take them.
pub fn definitions() -> Vec<Value> {
    let definition = |container: Container| {
        let spec = container.spec();
        serde_json::to_value(properties(spec.default_name.to_owned(), &spec)).expect("a definition is plain JSON")
    };
    Container::ALL.map(definition).into()
}

fn path(field: &str) -> String {
    format!("/{}", field.replace('.', "/"))
}

fn order(direction: Direction) -> CompositeIndexOrder {
    match direction {
        Direction::Ascending => CompositeIndexOrder::Ascending,
        Direction::Descending => CompositeIndexOrder::Descending,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn created(container: Container) -> Value {
        serde_json::to_value(properties("name".to_owned(), &container.spec())).unwrap()
    }

    #[test]
    fn vectors_have_an_index_of_their_own() {
        let items = created(Container::ScrapedItems);
        let policy = &items["indexingPolicy"];
        assert_eq!(policy["excludedPaths"], json!([{ "path": "/\"_etag\"/?" }, { "path": "/embedding/*" }]));
        assert_eq!(policy["vectorIndexes"], json!([{ "path": "/embedding", "type": "quantizedFlat" }]));
        let embedding = &items["vectorEmbeddingPolicy"]["vectorEmbeddings"][0];
        assert_eq!(embedding["dimensions"], 1536);
        assert_eq!(embedding["distanceFunction"], "cosine");
    }

    #[test]
    fn only_orders_of_several_keys_become_composite_indexes() {
        let wardrobe = created(Container::Wardrobe);
        assert_eq!(
            wardrobe["indexingPolicy"]["compositeIndexes"],
            json!([
                [{ "path": "/wearCount", "order": "descending" }, { "path": "/id", "order": "ascending" }],
                [{ "path": "/dateAdded", "order": "descending" }, { "path": "/id", "order": "ascending" }],
            ])
        );
        let moods = created(Container::Moods);
        assert!(moods["indexingPolicy"]["compositeIndexes"].as_array().is_none_or(Vec::is_empty));
    }

    #[test]
    fn the_life_of_documents_is_off_open_or_in_seconds() {
        assert_eq!(created(Container::Wardrobe).get("defaultTtl"), None);
        assert_eq!(created(Container::RefreshTokens)["defaultTtl"], -1);
        assert_eq!(created(Container::TasteAnalysisJobs)["defaultTtl"], 14 * 86_400);
        assert_eq!(created(Container::Moods)["partitionKey"]["paths"], json!(["/primaryMood"]));
    }
}
