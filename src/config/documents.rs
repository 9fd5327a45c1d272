//! Storage of documents.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::is_loopback;
use super::reader::{Error, Reader};
use crate::model::containers::Container;

/// Document store.
#[derive(Debug, Clone)]
pub enum Documents {
    /// SQLite.
    Embedded {
        /// Directory of the database file.
        directory: PathBuf,
        /// Whether to load the demo wardrobe into an empty store.
        demo: bool,
    },
    /// Azure Cosmos DB.
    Cosmos(Cosmos),
}

/// An Azure Cosmos DB account.
#[derive(Debug, Clone)]
pub struct Cosmos {
    /// Endpoint of the account.
    pub endpoint: Url,
    /// Account key; an identity is used without it.
    pub key: Option<SecretString>,
    /// Database name.
    pub database: String,
    /// Container names.
    pub containers: BTreeMap<Container, String>,
    /// Whether it is an emulator, with HTTP/1.1 and a self-signed certificate.
    pub emulator: bool,
    /// Whether containers have vector indexes for similarity search.
    pub vector_search: bool,
}

impl Cosmos {
    /// Returns the name of a container.
    pub fn container_name(&self, container: Container) -> &str {
        self.containers.get(&container).map_or(container.spec().default_name, String::as_str)
    }
}

impl Documents {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>, directory: &Path) -> Result<Self, Error> {
        let demo = reader.flag("PLUCKIT_DEMO", true)?;
        let endpoint = reader.optional_url("COSMOS_DB_ENDPOINT")?;
        let key = reader.secret("COSMOS_DB_KEY");
        let database = reader.text("COSMOS_DB_DATABASE", "PluckIt");
        let emulator = reader.flag("COSMOS_DB_EMULATOR", endpoint.as_ref().is_some_and(is_loopback))?;
        let vector_search = reader.flag("COSMOS_DB_VECTOR_SEARCH", false)?;
        let mut containers = BTreeMap::new();
        for container in Container::ALL {
            let spec = container.spec();
            containers.insert(container, reader.text(spec.variable, spec.default_name));
        }
        Ok(match endpoint {
            None => Documents::Embedded { directory: directory.to_owned(), demo },
            Some(endpoint) => {
                Documents::Cosmos(Cosmos { endpoint, key, database, containers, emulator, vector_search })
            }
        })
    }
}
