//! Azure accounts: who we are to them, and the clients of a storage account.

mod shared_key;
pub mod storage;

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, Transport};
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};

pub use storage::StorageAccount;

use crate::net;

/// Which identity signs in where no key is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Client id of a user-assigned managed identity (`AZURE_CLIENT_ID`); `None` for the system-assigned one.
    pub client_id: Option<String>,
    /// Use the account that `az` or `azd` is signed in with instead: for development, where no managed identity is.
    pub developer_tools: bool,
}

impl Identity {
    /// The credential. Makes no call yet.
    ///
    /// # Errors
    /// When the SDK refuses the settings it finds.
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

/// Options of the SDK's clients: they ask through a client of ours, which knows what no proxy is asked for.
///
/// # Errors
/// When the client cannot be made.
fn client_options() -> azure_core::Result<ClientOptions> {
    let client = net::azure().map_err(|error| azure_core::Error::new(ErrorKind::Io, error))?;
    Ok(ClientOptions { transport: Some(Transport::new(Arc::new(client))), ..ClientOptions::default() })
}
