//! A storage account: clients of its blob and queue services, signed in by key or identity.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::policies::Policy;
use azure_core::http::{ClientOptions, StatusCode};
use azure_storage_blob::{BlobServiceClient, BlobServiceClientOptions};
use azure_storage_queue::{QueueServiceClient, QueueServiceClientOptions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Identity;
use super::shared_key::SharedKey;
use crate::config::connection_string::{self, ConnectionString};

/// Result of a storage operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a storage account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection string is wrong.
    #[error("the storage connection string cannot be used")]
    ConnectionString(#[from] connection_string::Error),
    /// The account key is not base64.
    #[error("the storage account key is not base64")]
    BadKey,
    /// The account name does not make an address.
    #[error("the storage account name is not valid")]
    BadAccount,
    /// The service, or the way there, failed.
    #[error("the storage account did not do it")]
    Service(#[from] azure_core::Error),
}

/// Clients of one storage account. Cheap to share; makes no call before it is asked to.
pub struct StorageAccount {
    blobs: BlobServiceClient,
    queues: QueueServiceClient,
}

impl StorageAccount {
    /// The account of a connection string; without a key in it, `identity` signs in.
    ///
    /// # Errors
    /// A string, key or identity that cannot be used.
    pub fn from_connection_string(text: &str, identity: &Identity) -> Result<Self> {
        let ConnectionString { account, key, blob_endpoint, queue_endpoint } = ConnectionString::parse(text)?;
        match key {
            Some(key) => Self::signed(&account, &key, blob_endpoint, queue_endpoint),
            None => Self::with_identity(blob_endpoint, queue_endpoint, identity),
        }
    }

    /// The public cloud's account of this name.
    ///
    /// # Errors
    /// [`Error::BadAccount`], [`Error::BadKey`].
    pub fn with_key(account: &str, key: &SecretString) -> Result<Self> {
        let endpoint = |service| {
            Url::parse(&format!("https://{account}.{service}.core.windows.net")).map_err(|_| Error::BadAccount)
        };
        Self::signed(account, key, endpoint("blob")?, endpoint("queue")?)
    }

    /// The services at these addresses (https), signed in to as `identity`.
    ///
    /// # Errors
    /// An address or identity that cannot be used.
    pub fn with_identity(blob_endpoint: Url, queue_endpoint: Url, identity: &Identity) -> Result<Self> {
        Self::new(blob_endpoint, queue_endpoint, Some(identity.credential()?), None)
    }

    fn signed(account: &str, key: &SecretString, blob_endpoint: Url, queue_endpoint: Url) -> Result<Self> {
        let key = key.expose_secret();
        BASE64_STANDARD.decode(key).map_err(|_| Error::BadKey)?;
        let policy: Arc<dyn Policy> = Arc::new(SharedKey::new(account, key));
        Self::new(blob_endpoint, queue_endpoint, None, Some(policy))
    }

    fn new(
        blob_endpoint: Url,
        queue_endpoint: Url,
        credential: Option<Arc<dyn TokenCredential>>,
        signer: Option<Arc<dyn Policy>>,
    ) -> Result<Self> {
        let client_options =
            ClientOptions { per_try_policies: signer.into_iter().collect(), ..super::client_options()? };
        let for_blobs =
            BlobServiceClientOptions { client_options: client_options.clone(), ..BlobServiceClientOptions::default() };
        let for_queues = QueueServiceClientOptions { client_options, ..QueueServiceClientOptions::default() };
        Ok(Self {
            blobs: BlobServiceClient::new(blob_endpoint, credential.clone(), Some(for_blobs))?,
            queues: QueueServiceClient::new(queue_endpoint, credential, Some(for_queues))?,
        })
    }

    /// Client of the blob service.
    pub fn blobs(&self) -> &BlobServiceClient {
        &self.blobs
    }

    /// Client of the queue service.
    pub fn queues(&self) -> &QueueServiceClient {
        &self.queues
    }

    /// Creates a blob container, private to the account, unless there is one; says whether it is new.
    ///
    /// # Errors
    /// [`Error::Service`], also while a container of this name is being deleted.
    pub async fn create_blob_container(&self, name: &str) -> Result<bool> {
        match self.blobs.blob_container_client(name).create(None).await {
            Ok(_) => Ok(true),
            Err(error) if has_code(&error, "ContainerAlreadyExists") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a queue unless there is one; says whether it is new.
    ///
    /// # Errors
    /// [`Error::Service`], also while a queue of this name is being deleted.
    pub async fn create_queue(&self, name: &str) -> Result<bool> {
        match self.queues.queue_client(name)?.create(None).await {
            // 204 answers the same creation once more.
            Ok(response) => Ok(response.status() == StatusCode::Created),
            Err(error) if has_code(&error, "QueueAlreadyExists") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is a blob container of this name. Retries for long; the caller sets the limit.
    ///
    /// # Errors
    /// [`Error::Service`].
    pub async fn has_blob_container(&self, name: &str) -> Result<bool> {
        Ok(self.blobs.blob_container_client(name).exists().await?)
    }

    /// Whether there is a queue of this name. Retries for long; the caller sets the limit.
    ///
    /// # Errors
    /// [`Error::Service`].
    pub async fn has_queue(&self, name: &str) -> Result<bool> {
        Ok(self.queues.queue_client(name)?.exists().await?)
    }
}

fn has_code(error: &azure_core::Error, code: &str) -> bool {
    matches!(error.kind(), ErrorKind::HttpResponse { error_code: Some(given), .. } if given == code)
}
