//! Where documents are kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::is_loopback;
use super::reader::{Error, Reader};
use crate::model::containers::Container;

/// Where documents are kept.
#[derive(Debug, Clone)]
pub enum Documents {
    /// In a SQLite file.
    Embedded {
        /// Directory of the file.
        directory: PathBuf,
        /// Whether an empty store gets the demo wardrobe.
        demo: bool,
    },
    /// In Azure Cosmos DB.
    Cosmos(Cosmos),
}

/// An account of Azure Cosmos DB.
#[derive(Debug, Clone)]
pub struct Cosmos {
    /// The account's endpoint.
    pub endpoint: Url,
    /// The account's key; managed identity without one.
    pub key: Option<SecretString>,
    /// Name of the database.
    pub database: String,
    /// Names of the containers.
    pub containers: BTreeMap<Container, String>,
    /// Whether it is the emulator: HTTP/1.1, and a certificate that nobody signed.
    pub emulator: bool,
    /// Whether its containers have vector indexes, to be asked for what is similar.
    pub vector_search: bool,
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
