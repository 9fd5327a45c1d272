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
        let host = reader.secret("AzureWebJobsStorage");
        let queue = reader.secret("StorageQueue");
        let queue_service = reader.optional_url("StorageQueue__queueServiceUri")?.map(identity);
        let name = account_name(reader)?;
        let key = reader.secret("STORAGE_ACCOUNT_KEY");
        let account = |service: &str| -> Result<Option<StorageAccount>, Error> {
            let Some(name) = name.clone() else { return Ok(None) };
            // The emulator's account does not exist in Azure. A connection string may give its address.
            if name == EMULATOR_ACCOUNT {
                let is_emulator = |text: &SecretString| {
                    ConnectionString::parse(text.expose_secret()).is_ok_and(|parsed| parsed.account == EMULATOR_ACCOUNT)
                };
                let given = host.clone().filter(is_emulator);
                let usual = || SecretString::from("UseDevelopmentStorage=true");
                return Ok(Some(StorageAccount::ConnectionString(given.unwrap_or_else(usual))));
            }
            if let Some(key) = key.clone() {
                return Ok(Some(StorageAccount::Key { name, key }));
            }
            let url = format!("https://{name}.{service}.core.windows.net");
            Ok(Some(identity(Url::parse(&url).map_err(|_| not_an_account(name))?)))
        };
        let archive_container = container(reader, "ARCHIVE_CONTAINER_NAME", "archive", &[])?;
        let jobs_container = container(reader, "JOBS_CONTAINER_NAME", "jobs", &[&archive_container])?;
        let others = [&archive_container, &jobs_container];
        let uploads_container = container(reader, "UPLOADS_CONTAINER_NAME", "uploads", &others)?;
        // A connection string that is not in use may be anything.
        let of_host = || host.clone().map(|text| checked("AzureWebJobsStorage", text)).transpose();
        let queue = queue.map(|text| checked("StorageQueue", text)).transpose()?;
        let queues = queue.or(queue_service).or(account("queue")?);
        let blobs = account("blob")?;
        Ok(Storage {
            queues: if queues.is_some() { queues } else { of_host()? },
            blobs: if blobs.is_some() { blobs } else { of_host()? },
            archive_container,
            jobs_container,
            uploads_container,
        })
    }
}

/// Reads the name of the storage account.
fn account_name(reader: &mut Reader<'_>) -> Result<Option<String>, Error> {
    let Some(name) = reader.optional("STORAGE_ACCOUNT_NAME") else { return Ok(None) };
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if (3..=24).contains(&name.len()) && name.bytes().all(is_known) {
        Ok(Some(name))
    } else {
        Err(not_an_account(name))
    }
}

fn not_an_account(got: String) -> Error {
    let expected = "the name of a storage account: 3 to 24 characters from a-z and 0-9".to_owned();
    Error::Invalid { name: "STORAGE_ACCOUNT_NAME", got, expected }
}

/// Returns the account of a connection string, if that can be read.
fn checked(name: &'static str, text: SecretString) -> Result<StorageAccount, Error> {
    match ConnectionString::parse(text.expose_secret()) {
        Ok(_) => Ok(StorageAccount::ConnectionString(text)),
        Err(fault) => Err(Error::Refused(format!("{name} cannot be used: {fault}"))),
    }
}

/// Reads the name of a blob container that must not be one of `others`, the first of which is public.
fn container(
    reader: &mut Reader<'_>,
    name: &'static str,
    default: &str,
    others: &[&ContainerName],
) -> Result<ContainerName, Error> {
    let expected = "3 to 63 characters: a-z, 0-9, and single hyphens between them";
    let read = reader.parsed::<ContainerName>(name, default.parse().expect("a good name"), expected)?;
    let expected = match others.iter().position(|other| **other == read) {
        None => return Ok(read),
        Some(0) => "a container other than ARCHIVE_CONTAINER_NAME, which is public",
        Some(_) => "a container other than JOBS_CONTAINER_NAME",
    };
    Err(Error::Invalid { name, got: read.to_string(), expected: expected.to_owned() })
}
