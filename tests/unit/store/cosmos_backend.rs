//! The Cosmos DB back end for the tests: the emulator that `scripts/test` starts.

use std::collections::BTreeMap;

use azure_data_cosmos::models::{
    CompositeIndex, CompositeIndexOrder, CompositeIndexProperty, ContainerProperties, IndexingPolicy,
};
use pluckit::azure::Identity;
use pluckit::config::Cosmos;
use pluckit::model::containers::TimeToLive;
use pluckit::store::Container;
use pluckit::store::cosmos::{CosmosStore, connect};
use pluckit::telemetry::metrics::Metrics;
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

/// A variable that `scripts/test` sets.
#[expect(clippy::disallowed_methods, reason = "the emulators' addresses are the test's own setting, not the service's")]
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test"))
}

/// The emulator, in a database that all tests share.
pub fn options() -> Cosmos {
    Cosmos {
        endpoint: Url::parse(&setting("PLUCKIT_TEST_COSMOS_ENDPOINT")).unwrap(),
        key: Some(setting("PLUCKIT_TEST_COSMOS_KEY").into()),
        database: "PluckItTest".to_owned(),
        containers: BTreeMap::new(),
        emulator: true,
        vector_search: false,
    }
}

/// A store with a container of its own for long operations, which one test's sweeper would otherwise take from another.
pub async fn cosmos_with_own_jobs() -> CosmosStore {
    cosmos().await;
    let name = format!("Jobs-{}", Uuid::new_v4());
    let store =
        CosmosStore::new(Cosmos { containers: [(Container::Jobs, name)].into(), ..options() }, Identity::default());
    store.init().await.unwrap();
    store
}

/// A database as the templates of the older service make it: with its composite indexes and no others, and without the
/// time to live of two containers.
pub async fn older_database() -> Cosmos {
    let options = Cosmos { database: format!("Older{}", Uuid::new_v4().simple()), ..options() };
    let client = connect(&options, &Identity::default(), &Metrics::off()).await.unwrap();
    client.create_database(&options.database, None).await.unwrap();
    let database = client.database_client(options.database.clone());
    for container in Container::ALL {
        let spec = container.spec();
        let mut indexing = IndexingPolicy::default().with_included_path("/*").with_excluded_path("/\"_etag\"/?");
        indexing.automatic = true;
        if container == Container::ScrapedItems {
            use CompositeIndexOrder::{Ascending, Descending};
            for (path, order) in [("/scoreSignal", Descending), ("/scrapedAt", Descending), ("/pHash", Ascending)] {
                let index = CompositeIndex::default()
                    .with_property(CompositeIndexProperty::new("/userId".to_owned(), Ascending))
                    .with_property(CompositeIndexProperty::new(path.to_owned(), order));
                indexing = indexing.with_composite_index(index);
            }
        }
        let key = format!("/{}", spec.partition_key);
        let mut properties = ContainerProperties::new(spec.default_name, key.into()).with_indexing_policy(indexing);
        if let TimeToLive::Days(days) = spec.time_to_live {
            properties = properties.with_default_ttl(days * 24 * 60 * 60);
        }
        database.create_container(properties, None).await.unwrap();
    }
    options
}

/// A store of its own for every test, since the SDK's connections belong to the test's runtime; the containers are made
/// once.
pub async fn cosmos() -> CosmosStore {
    static MADE: OnceCell<()> = OnceCell::const_new();
    let store = CosmosStore::new(options(), Identity::default());
    MADE.get_or_init(|| async {
        store.init().await.unwrap();
    })
    .await;
    store
}
