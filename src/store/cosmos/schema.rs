//! `pluckit storage init` for Cosmos DB: creates the database and its containers in an emulator or new account.
//!
//! Production accounts are created by the infrastructure templates. Creation needs an account key: the service refuses
//! it with an identity. Existing containers get missing composite indexes and are otherwise unchanged.

use std::time::Duration;

use azure_data_cosmos::models::{
    CompositeIndex, CompositeIndexOrder, CompositeIndexProperty, ContainerProperties, IndexingPolicy,
    TimeToLive as DefaultTimeToLive, VectorDataType, VectorDistanceFunction, VectorEmbedding, VectorEmbeddingPolicy,
    VectorIndex, VectorIndexType,
};
use azure_data_cosmos::options::{
    CreateContainerOptions, CreateDatabaseOptions, OperationOptions, OperationOptionsBuilder, ReplaceContainerOptions,
};
use azure_data_cosmos::{CosmosError, DatabaseClient};

use serde_json::Value;

use super::CosmosStore;
use crate::model::containers::{Spec, TimeToLive};
use crate::store::{Container, Direction, Result};

/// Creating a container takes the service seconds, not milliseconds.
const CREATION_DEADLINE: Duration = Duration::from_secs(60);

/// Length of the vectors in `embedding` and `nameEmbedding` (`requirements/data.md`).
const VECTOR_DIMENSIONS: u32 = 1536;

const SECONDS_PER_DAY: u32 = 24 * 60 * 60;

/// Report of [`CosmosStore::init`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitReport {
    /// Whether the database is new.
    pub database_created: bool,
    /// Names of the containers that are new.
    pub created: Vec<String>,
    /// Names of the containers that existed.
    pub existing: Vec<String>,
    /// Which of those lacked composite indexes, and the indexes that were added.
    pub indexed: Vec<(String, Vec<String>)>,
    /// Names of new containers whose vector index the account refused: vectors are stored but not indexed there.
    pub without_vectors: Vec<String>,
}

impl CosmosStore {
    /// Creates the database and the missing containers. Can be repeated and run concurrently.
    ///
    /// # Errors
    /// As every operation of the store. Whatever was created before the error remains.
    pub async fn init(&self) -> Result<InitReport> {
        let client = self.client().await?;
        let mut report = InitReport::default();
        let options = CreateDatabaseOptions::default().with_operation_options(patient());
        let created = client.create_database(&self.account.database, Some(options)).await;
        report.database_created = is_new(created)?;
        let database = client.database_client(self.account.database.clone());
        for container in Container::ALL {
            let name = self.account.container_name(container).to_owned();
            match create(&database, &name, &container.spec()).await? {
                Creation::Existing => {
                    let added = self.add_indexes(&name, &container.spec()).await?;
                    if !added.is_empty() {
                        report.indexed.push((name.clone(), added));
                    }
                    report.existing.push(name);
                }
                Creation::Complete => report.created.push(name),
                Creation::WithoutVectors => {
                    report.without_vectors.push(name.clone());
                    report.created.push(name);
                }
            }
        }
        Ok(report)
    }

    /// Adds missing composite indexes to a container, and returns them in words.
    async fn add_indexes(&self, name: &str, spec: &Spec) -> Result<Vec<String>> {
        let Some(mut properties) = self.describe(name).await? else { return Ok(Vec::new()) };
        let expected = composite_indexes(spec);
        let missing = missing_indexes(&properties, &expected);
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let words = missing.iter().map(index_in_words).collect();
        // A container without a policy gets that of a new one.
        let policy = properties.indexing_policy.get_or_insert_with(everything_indexed);
        policy.composite_indexes.extend(missing);
        let options = ReplaceContainerOptions::default().with_operation_options(patient());
        let database = self.client().await?.database_client(self.account.database.clone());
        let container = Box::pin(database.container_client(name.to_owned(), None)).await.map_err(super::error)?;
        Box::pin(container.replace(properties, Some(options))).await.map_err(super::error)?;
        Ok(words)
    }
}

/// What [`CosmosStore::inspect`] found of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Name of the container.
    pub name: String,
    /// Differences from the definition.
    pub findings: Vec<Finding>,
}

/// A difference between a container and its definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The container is missing.
    Missing,
    /// The container has another partition key.
    PartitionKey {
        /// Actual value.
        found: String,
        /// Expected value.
        expected: String,
    },
    /// The container has another default time to live.
    TimeToLive {
        /// Actual value, in words.
        found: String,
        /// Expected value.
        expected: String,
    },
    /// The container lacks composite indexes.
    Indexes {
        /// The missing indexes, in words.
        missing: Vec<String>,
    },
}

impl CosmosStore {
    /// Compares every container with its definition.
    ///
    /// # Errors
    /// As every operation of the store. A missing container is not an error.
    pub async fn inspect(&self) -> Result<Vec<Inspection>> {
        let mut inspections = Vec::new();
        for container in Container::ALL {
            let name = self.account.container_name(container).to_owned();
            let expected = properties(name.clone(), &container.spec());
            let findings = match self.describe(&name).await? {
                None => vec![Finding::Missing],
                Some(found) => compare(&found, &expected),
            };
            inspections.push(Inspection { name, findings });
        }
        Ok(inspections)
    }

    async fn describe(&self, name: &str) -> Result<Option<ContainerProperties>> {
        let database = self.client().await?.database_client(self.account.database.clone());
        let described =
            async { Box::pin(database.container_client(name.to_owned(), None)).await?.read(None).await?.into_model() };
        match described.await {
            Ok(properties) => Ok(Some(properties)),
            Err(error) if error.status().is_not_found() => Ok(None),
            Err(error) => Err(super::error(error)),
        }
    }
}

fn compare(found: &ContainerProperties, expected: &ContainerProperties) -> Vec<Finding> {
    let paths = |properties: &ContainerProperties| {
        let key = serde_json::to_value(&properties.partition_key).unwrap_or_default();
        let paths = key["paths"].as_array().cloned().unwrap_or_default();
        paths.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    if paths(found) != paths(expected) {
        return vec![Finding::PartitionKey { found: paths(found), expected: paths(expected) }];
    }
    let mut findings = Vec::new();
    if found.default_ttl != expected.default_ttl {
        findings.push(Finding::TimeToLive { found: life(&found.default_ttl), expected: life(&expected.default_ttl) });
    }
    let composite = expected.indexing_policy.as_ref().map(|policy| policy.composite_indexes.as_slice());
    let missing = missing_indexes(found, composite.unwrap_or_default());
    if !missing.is_empty() {
        findings.push(Finding::Indexes { missing: missing.iter().map(index_in_words).collect() });
    }
    findings
}

/// Returns the indexes in `expected` that the container lacks.
fn missing_indexes(found: &ContainerProperties, expected: &[CompositeIndex]) -> Vec<CompositeIndex> {
    let existing = found.indexing_policy.as_ref().map(|policy| policy.composite_indexes.as_slice());
    let existing = existing.unwrap_or_default();
    expected.iter().filter(|wanted| !existing.iter().any(|index| serves(index, wanted))).cloned().collect()
}

/// Whether an index serves the sort order of `wanted`: it has the same order or exactly the opposite one.
fn serves(index: &CompositeIndex, wanted: &CompositeIndex) -> bool {
    let same_paths = index.properties.iter().map(|key| &key.path).eq(wanted.properties.iter().map(|key| &key.path));
    let mut turned = index.properties.iter().zip(&wanted.properties).map(|(key, wanted)| key.order != wanted.order);
    let first = turned.next();
    same_paths && turned.all(|is_turned| Some(is_turned) == first)
}

fn index_in_words(index: &CompositeIndex) -> String {
    let keys = index.properties.iter().map(|key| {
        let descending = if key.order == CompositeIndexOrder::Descending { " desc" } else { "" };
        format!("{}{descending}", key.path.trim_start_matches('/'))
    });
    format!("({})", keys.collect::<Vec<_>>().join(", "))
}

/// Formats a sort order for people.
pub(super) fn in_words(order: &[(&'static str, Direction)]) -> String {
    index_in_words(&composite_index(order))
}

fn life(time_to_live: &DefaultTimeToLive) -> String {
    match serde_json::to_value(time_to_live).ok().and_then(|value| value.as_i64()) {
        None => "off".to_owned(),
        Some(-1) => "on, no default".to_owned(),
        Some(seconds) if seconds % i64::from(SECONDS_PER_DAY) == 0 => {
            format!("{} days", seconds / i64::from(SECONDS_PER_DAY))
        }
        Some(seconds) => format!("{seconds} s"),
    }
}

enum Creation {
    Existing,
    Complete,
    WithoutVectors,
}

/// Creates a container if it is missing. Accounts and emulators without vector search refuse a vector policy with 400;
/// the container is then created without it.
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

/// Returns `false` if it already existed.
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

/// Returns the composite indexes that our queries and those of other services need.
fn composite_indexes(spec: &Spec) -> Vec<CompositeIndex> {
    // A single key needs no composite index.
    let sparse = spec.sparse_indexes.iter().map(|index| index.order);
    let orders = spec.indexes.iter().chain(spec.foreign_indexes).copied().chain(sparse).filter(|keys| keys.len() > 1);
    orders.map(composite_index).collect()
}

fn composite_index(keys: &[(&'static str, Direction)]) -> CompositeIndex {
    keys.iter().fold(CompositeIndex::default(), |index, (field, sense)| {
        index.with_property(CompositeIndexProperty::new(path(field), order(*sense)))
    })
}

/// Returns the indexing policy that every container starts from.
fn everything_indexed() -> IndexingPolicy {
    let mut indexing = IndexingPolicy::default().with_included_path("/*").with_excluded_path("/\"_etag\"/?");
    // With the SDK's default, documents would be indexed only on request.
    indexing.automatic = true;
    indexing
}

fn properties(name: String, spec: &Spec) -> ContainerProperties {
    let mut indexing = everything_indexed();
    indexing.composite_indexes = composite_indexes(spec);
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

/// Returns all containers with their default names, in the format of templates and the management API.
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
                [{ "path": "/price/amount", "order": "descending" }, { "path": "/id", "order": "ascending" }],
                [{ "path": "/draftCreatedAt", "order": "descending" }, { "path": "/id", "order": "ascending" }],
                [{ "path": "/draftStatus", "order": "ascending" }, { "path": "/draftUpdatedAt", "order": "ascending" }],
            ])
        );
        let moods = created(Container::Moods);
        assert!(moods["indexingPolicy"]["compositeIndexes"].as_array().is_none_or(Vec::is_empty));
    }

    #[test]
    fn an_index_serves_its_order_and_the_opposite() {
        use Direction::{Ascending, Descending};
        let index = composite_index(&[("scoreSignal", Descending), ("id", Ascending)]);
        assert!(serves(&index, &index));
        assert!(serves(&composite_index(&[("scoreSignal", Ascending), ("id", Descending)]), &index));
        for other in [
            composite_index(&[("scoreSignal", Descending), ("id", Descending)]),
            composite_index(&[("id", Ascending), ("scoreSignal", Descending)]),
            composite_index(&[("scoreSignal", Descending)]),
            composite_index(&[("scoreSignal", Descending), ("id", Ascending), ("userId", Ascending)]),
        ] {
            assert!(!serves(&other, &index), "{}", index_in_words(&other));
        }
        assert_eq!(index_in_words(&index), "(scoreSignal desc, id)");
    }

    #[test]
    fn the_life_of_documents_is_off_open_or_in_seconds() {
        assert_eq!(created(Container::Wardrobe).get("defaultTtl"), None);
        assert_eq!(created(Container::RefreshTokens)["defaultTtl"], -1);
        assert_eq!(created(Container::TasteAnalysisJobs)["defaultTtl"], 14 * 86_400);
        assert_eq!(created(Container::Moods)["partitionKey"]["paths"], json!(["/primaryMood"]));
    }
}
