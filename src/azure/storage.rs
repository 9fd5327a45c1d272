//! Clients of a storage account's blob and queue services, authenticated by key or identity.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::policies::Policy;
use azure_core::http::{ClientOptions, StatusCode};
use azure_storage_blob::models::{BlobContainerClientCreateOptions, PublicAccessType};
use azure_storage_blob::{BlobServiceClient, BlobServiceClientOptions};
use azure_storage_queue::{QueueServiceClient, QueueServiceClientOptions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;
use url::Url;

use super::Identity;
use super::call::has_code;
use super::sas::BlobSigner;
use super::shared_key::SharedKey;
use crate::config::connection_string::{self, ConnectionString};

/// Result of a storage operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Who may read the blobs of a container by their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only holders of the account's key, of a signed address or of a role.
    Private,
    /// Everybody.
    Public,
}

/// Why a storage account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection string is invalid.
    #[error("the storage connection string cannot be used")]
    ConnectionString(#[from] connection_string::Error),
    /// The account key is not base64.
    #[error("the storage account key is not base64")]
    BadKey,
    /// The account name is not valid in a URL.
    #[error("the storage account name is not valid")]
    BadAccount,
    /// The service or the connection failed.
    #[error("the storage account refused the operation")]
    Service(#[from] azure_core::Error),
}

/// Clients of one storage account. Makes no call before it is used.
pub struct StorageAccount {
    blobs: BlobServiceClient,
    queues: QueueServiceClient,
    signer: Option<BlobSigner>,
}

impl StorageAccount {
    /// Creates clients from a connection string; if it has no key, `identity` signs in.
    ///
    /// # Errors
    /// An invalid string, key or identity.
    pub fn from_connection_string(text: &str, identity: &Identity) -> Result<Self> {
        let ConnectionString { account, key, blob_endpoint, queue_endpoint } = ConnectionString::parse(text)?;
        match key {
            Some(key) => Self::signed(&account, &key, blob_endpoint, queue_endpoint),
            None => Self::with_identity(blob_endpoint, queue_endpoint, identity),
        }
    }

    /// Creates clients of an account in the public cloud.
    ///
    /// # Errors
    /// [`Error::BadAccount`], [`Error::BadKey`].
    pub fn with_key(account: &str, key: &SecretString) -> Result<Self> {
        let endpoint = |service| {
            Url::parse(&format!("https://{account}.{service}.core.windows.net")).map_err(|_| Error::BadAccount)
        };
        Self::signed(account, key, endpoint("blob")?, endpoint("queue")?)
    }

    /// Creates clients of the services at these https URLs, signed in as `identity`.
    ///
    /// # Errors
    /// An invalid URL or identity.
    pub fn with_identity(blob_endpoint: Url, queue_endpoint: Url, identity: &Identity) -> Result<Self> {
        Self::new(blob_endpoint, queue_endpoint, Some(identity.credential()?), None)
    }

    fn signed(account: &str, key: &SecretString, blob_endpoint: Url, queue_endpoint: Url) -> Result<Self> {
        let key = key.expose_secret();
        BASE64_STANDARD.decode(key).map_err(|_| Error::BadKey)?;
        let policy: Arc<dyn Policy> = Arc::new(SharedKey::new(account, key));
        let signer = BlobSigner::new(account, key, blob_endpoint.scheme() == "https");
        Ok(Self { signer: Some(signer), ..Self::new(blob_endpoint, queue_endpoint, None, Some(policy))? })
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
            signer: None,
        })
    }

    /// Returns the client of the blob service.
    pub fn blobs(&self) -> &BlobServiceClient {
        &self.blobs
    }

    /// Returns the client of the queue service.
    pub fn queues(&self) -> &QueueServiceClient {
        &self.queues
    }

    /// Returns the signer of blob URLs; `None` without the account's key.
    pub fn signer(&self) -> Option<&BlobSigner> {
        self.signer.as_ref()
    }

    /// Creates a blob container, unless it exists; returns whether it is new. A public one is private if the account
    /// permits no public access.
    ///
    /// # Errors
    /// [`Error::Service`], also while a container of this name is being deleted.
    pub async fn create_blob_container(&self, name: &str, access: Access) -> Result<bool> {
        let access = match access {
            Access::Private => None,
            Access::Public => Some(PublicAccessType::Blob),
        };
        let is_public = access.is_some();
        let options = BlobContainerClientCreateOptions { access, ..Default::default() };
        match self.blobs.blob_container_client(name).create(Some(options)).await {
            Ok(_) => Ok(true),
            Err(error) if is_public && has_code(&error, "PublicAccessNotPermitted") => {
                warn!(container = name, "blob container is private: the account permits no public access");
                Box::pin(self.create_blob_container(name, Access::Private)).await
            }
            Err(error) if has_code(&error, "ContainerAlreadyExists") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a queue, unless it exists; returns whether it is new.
    ///
    /// # Errors
    /// [`Error::Service`], also while a queue of this name is being deleted.
    pub async fn create_queue(&self, name: &str) -> Result<bool> {
        match self.queues.queue_client(name)?.create(None).await {
            // 204: the queue already exists with the same metadata.
            Ok(response) => Ok(response.status() == StatusCode::Created),
            Err(error) if has_code(&error, "QueueAlreadyExists") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a blob container exists. Retries for a long time; the caller sets a time limit.
    ///
    /// # Errors
    /// [`Error::Service`].
    pub async fn has_blob_container(&self, name: &str) -> Result<bool> {
        Ok(self.blobs.blob_container_client(name).exists().await?)
    }

    /// Whether a queue exists. Retries for a long time; the caller sets a time limit.
    ///
    /// # Errors
    /// [`Error::Service`].
    pub async fn has_queue(&self, name: &str) -> Result<bool> {
        Ok(self.queues.queue_client(name)?.exists().await?)
    }
}
