//! What tests share: the service as the binary builds it, callers of every kind, and the servers that it talks to.

pub mod caller;
pub mod google;
pub mod hostile;
pub mod model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pluckit::app::{self, Backends};
use pluckit::clock::ManualClock;
use pluckit::config::{Config, Source};
use pluckit::http_client;
use pluckit::llm::Model;
use pluckit::llm::offline::OfflineModel;
use pluckit::llm::openai::{Limits, OpenAi, OpenAiOptions, Server};
use pluckit::model::ids::UserId;
use pluckit::router::{self, App};
use pluckit::state::AppState;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key};
use serde_json::Value;
use time::macros::datetime;

use caller::Caller;
use model::ModelServer;

/// The service on a fresh SQLite in memory, with a clock that stands still, called in process.
pub struct TestApp {
    pub state: AppState,
    pub clock: Arc<ManualClock>,
    service: App,
}

/// What a [`TestApp`] is made of.
pub struct Builder {
    settings: BTreeMap<String, String>,
    store: Option<Arc<dyn DocumentStore>>,
    model: Arc<dyn Model>,
}

impl Builder {
    /// Sets a setting.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Uses this store instead of a fresh one in memory.
    pub fn store(mut self, store: Arc<dyn DocumentStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Asks this model server instead of the offline model.
    pub fn model_server(mut self, server: &ModelServer) -> Self {
        let options = OpenAiOptions {
            server: Server::Compatible {
                base_url: server.base_url().parse().unwrap(),
                api_key: None,
                model: "stylist-1".into(),
                nano_model: "nano-1".into(),
                embedding_model: "embedding-1".into(),
            },
            limits: Limits { back_off: Duration::from_millis(1), ..Limits::default() },
        };
        self.model = Arc::new(OpenAi::new(options, http_client::services().unwrap()).unwrap());
        self
    }

    /// Asks this model.
    pub fn model(mut self, model: Arc<dyn Model>) -> Self {
        self.model = model;
        self
    }

    pub fn start(self) -> TestApp {
        let settings = self.settings;
        let config = Config::read(|name| settings.get(name).map(|value| (value.clone(), Source::Environment))).unwrap();
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        let store = self.store.unwrap_or_else(|| Arc::new(SqliteStore::in_memory(clock.clone()).unwrap()));
        let backends = Backends {
            store,
            embedded: None,
            model: self.model,
            storage_probes: vec![("blobs", None), ("queue", None)],
            clock: clock.clone(),
            http: http_client::services().unwrap(),
        };
        let state = app::state(config, backends);
        TestApp { service: router::app(state.clone()), state, clock }
    }
}

impl TestApp {
    /// A service in production, where callers sign in, with the embedded store and the offline model.
    pub fn builder() -> Builder {
        let settings = [("AZURE_FUNCTIONS_ENVIRONMENT", "Production"), ("PLUCKIT_ALLOW_EMBEDDED", "1")];
        Builder {
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            store: None,
            model: Arc::new(OfflineModel::new()),
        }
    }

    pub fn new() -> Self {
        Self::builder().start()
    }

    /// Requests without a credential.
    pub fn nobody(&self) -> Caller {
        Caller::new(self.service.clone(), None)
    }

    /// Requests of this user, who has signed in.
    pub async fn user(&self, id: &str) -> Caller {
        let grant = self.state.sessions.open(UserId::from(id)).await.unwrap();
        self.bearer(&grant.access_token)
    }

    /// Requests with this token.
    pub fn bearer(&self, token: &str) -> Caller {
        Caller::new(self.service.clone(), Some(format!("Bearer {token}")))
    }

    /// Saves a document of a user, as another service would.
    pub async fn save(&self, container: Container, partition: &str, document: Value) {
        let id = document["id"].as_str().unwrap();
        self.state.data.store.upsert(&Key::new(container, partition, id), &document).await.unwrap();
    }
}
