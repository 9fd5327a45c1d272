//! The Cosmos DB back end for the tests: the emulator that `scripts/test` starts.

use std::collections::BTreeMap;

use pluckit::azure::Identity;
use pluckit::store::Container;
use pluckit::store::cosmos::{CosmosOptions, CosmosStore};
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

/// A variable that `scripts/test` sets.
#[expect(clippy::disallowed_methods, reason = "the emulators' addresses are the test's own setting, not the service's")]
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test"))
}

/// The emulator, in a database that all tests share.
pub fn options() -> CosmosOptions {
    CosmosOptions {
        endpoint: Url::parse(&setting("PLUCKIT_TEST_COSMOS_ENDPOINT")).unwrap(),
        key: Some(setting("PLUCKIT_TEST_COSMOS_KEY").into()),
        identity: Identity::default(),
        database: "PluckItTest".to_owned(),
        container_names: BTreeMap::new(),
        emulator: true,
        vector_search: false,
    }
}

/// A store with a container of its own for long operations, which one test's sweeper would otherwise take from another.
pub async fn cosmos_with_own_jobs() -> CosmosStore {
    cosmos().await;
    let name = format!("Jobs-{}", Uuid::new_v4());
    let store = CosmosStore::new(CosmosOptions { container_names: [(Container::Jobs, name)].into(), ..options() });
    store.init().await.unwrap();
    store
}

/// A store of its own for every test, since the SDK's connections belong to the test's runtime; the containers are made
/// once.
pub async fn cosmos() -> CosmosStore {
    static MADE: OnceCell<()> = OnceCell::const_new();
    let store = CosmosStore::new(options());
    MADE.get_or_init(|| async {
        store.init().await.unwrap();
    })
    .await;
    store
}
