//! Azure identities, and clients of a storage account: addresses, signatures and requests. The stores on top of them
//! are in `store`, `queue` and `blob`.

pub mod call;
mod sas;
mod shared_key;
pub mod storage;

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, Transport};
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};

pub use sas::BlobSigner;
pub use storage::StorageAccount;

use crate::net;

/// The identity used when no key is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Client id of a user-assigned managed identity (`AZURE_CLIENT_ID`); `None` for the system-assigned one.
    pub client_id: Option<String>,
    /// Whether to use the account of `az` or `azd` instead, in development.
    pub developer_tools: bool,
}

impl Identity {
    /// Creates the credential. Makes no call yet.
    ///
    /// # Errors
    /// When the SDK rejects its settings.
    pub fn credential(&self) -> azure_core::Result<Arc<dyn TokenCredential>> {
        if self.developer_tools {
            return Ok(DeveloperToolsCredential::new(None)?);
        }
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: self.client_id.clone().map(UserAssignedId::ClientId),
            client_options: client_options()?,
        };
        Ok(ManagedIdentityCredential::new(Some(options))?)
    }
}

/// Returns options for the SDK's clients, with our HTTP client and its proxy rules.
///
/// # Errors
/// When the client cannot be created.
fn client_options() -> azure_core::Result<ClientOptions> {
    let client = net::azure().map_err(|error| azure_core::Error::new(ErrorKind::Io, error))?;
    Ok(ClientOptions { transport: Some(Transport::new(Arc::new(client))), ..ClientOptions::default() })
}
