//! Azure storage: accounts and containers.

use secrecy::ExposeSecret;
use secrecy::SecretString;
use url::Url;

use super::connection_string::{ConnectionString, EMULATOR_ACCOUNT};
use super::reader::{Error, Reader};
use crate::model::containers::ContainerName;

/// Azure Storage accounts, as far as configured.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Account for blobs.
    pub blobs: Option<StorageAccount>,
    /// Account for queues.
    pub queues: Option<StorageAccount>,
    /// Blob container of finished pictures; publicly readable.
    pub archive_container: ContainerName,
    /// Blob container of job outputs; not publicly readable.
    pub jobs_container: ContainerName,
    /// Blob container of uploaded photos; not publicly readable. In use only with the wardrobe API.
    pub uploads_container: ContainerName,
}

/// Access to a storage account.
#[derive(Debug, Clone)]
pub enum StorageAccount {
    /// With a connection string.
    ConnectionString(SecretString),
    /// With name and key.
    Key {
        /// Account name.
        name: String,
        /// Account key, base64.
        key: SecretString,
    },
    /// With an identity.
    Identity {
        /// URL of the service (blob or queue).
        service: Url,
    },
}

impl Storage {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let identity = |service| StorageAccount::Identity { service };
        let host = reader.secret("AzureWebJobsStorage").map(StorageAccount::ConnectionString);
        let queue = reader.secret("StorageQueue").map(StorageAccount::ConnectionString);
        let queue_service = reader.optional_url("StorageQueue__queueServiceUri")?.map(identity);
        let name = reader.optional("STORAGE_ACCOUNT_NAME");
        let key = reader.secret("STORAGE_ACCOUNT_KEY");
        let account = |service: &str| -> Result<Option<StorageAccount>, Error> {
            let Some(name) = name.clone() else { return Ok(None) };
            // The emulator's account does not exist in Azure. A connection string may give its address.
            if name == EMULATOR_ACCOUNT {
                let is_emulator = |text: &SecretString| {
                    ConnectionString::parse(text.expose_secret()).is_ok_and(|parsed| parsed.account == EMULATOR_ACCOUNT)
                };
                let given = host.iter().find_map(|account| match account {
                    StorageAccount::ConnectionString(text) => Some(text).filter(|text| is_emulator(text)),
                    StorageAccount::Key { .. } | StorageAccount::Identity { .. } => None,
                });
                let usual = || SecretString::from("UseDevelopmentStorage=true");
                return Ok(Some(StorageAccount::ConnectionString(given.cloned().unwrap_or_else(usual))));
            }
            if let Some(key) = key.clone() {
                return Ok(Some(StorageAccount::Key { name, key }));
            }
            let url = format!("https://{name}.{service}.core.windows.net");
            let service = Url::parse(&url).map_err(|_| Error::Invalid {
                name: "STORAGE_ACCOUNT_NAME",
                got: name,
                expected: "the name of a storage account".into(),
            })?;
            Ok(Some(identity(service)))
        };
        let archive_container = container(reader, "ARCHIVE_CONTAINER_NAME", "archive", &[])?;
        let jobs_container = container(reader, "JOBS_CONTAINER_NAME", "jobs", &[&archive_container])?;
        let others = [&archive_container, &jobs_container];
        let uploads_container = container(reader, "UPLOADS_CONTAINER_NAME", "uploads", &others)?;
        Ok(Storage {
            queues: queue.or(queue_service).or(account("queue")?).or_else(|| host.clone()),
            blobs: account("blob")?.or(host),
            archive_container,
            jobs_container,
            uploads_container,
        })
    }
}

/// Reads the name of a blob container that must not be one of `others`, the first of which is public.
fn container(
    reader: &mut Reader<'_>,
    name: &'static str,
    default: &str,
    others: &[&ContainerName],
) -> Result<ContainerName, Error> {
    let expected = "3 to 63 of a-z, 0-9 and single hyphens between them";
    let read = reader.parsed::<ContainerName>(name, default.parse().expect("a good name"), expected)?;
    let expected = match others.iter().position(|other| **other == read) {
        None => return Ok(read),
        Some(0) => "another container than ARCHIVE_CONTAINER_NAME, which everybody may read",
        Some(_) => "another container than JOBS_CONTAINER_NAME",
    };
    Err(Error::Invalid { name, got: read.to_string(), expected: expected.to_owned() })
}
