//! Sign-in, and who has access.

use std::collections::HashSet;

use url::Url;

use super::reader::{Error, Reader};
use crate::model::ids::UserId;

/// Sign-in and administrators.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User id of callers on this machine, in development.
    pub local_dev_user: UserId,
    /// OAuth clients whose ID tokens are accepted.
    pub google_client_ids: Vec<String>,
    /// URL of Google's signing keys.
    pub google_jwks_url: Url,
    /// Users who may call admin routes.
    pub admins: HashSet<UserId>,
    /// Client id of the user-assigned managed identity that signs in at Azure's services; `None` for the
    /// system-assigned one.
    pub azure_client_id: Option<String>,
}

impl Identity {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut google_client_ids = reader.list("GOOGLE_CLIENT_ID", &[',', ';']);
        google_client_ids.extend(reader.list("GOOGLE_ALLOWED_CLIENT_IDS", &[',', ';']));
        let local_dev_user = UserId::from(reader.text("LOCAL_DEV_USER_ID", "local-dev-user"));
        if !local_dev_user.is_valid() {
            let expected = "1 to 255 bytes without / \\ ? #, and neither . nor ..".to_owned();
            return Err(Error::Invalid { name: "LOCAL_DEV_USER_ID", got: local_dev_user.to_string(), expected });
        }
        Ok(Self {
            azure_client_id: reader.optional("AZURE_CLIENT_ID"),
            local_dev_user,
            google_client_ids,
            google_jwks_url: reader.url("GOOGLE_JWKS_URL", "https://www.googleapis.com/oauth2/v3/certs")?,
            admins: reader.list("ADMIN_USER_IDS", &[',']).into_iter().map(UserId::from).collect(),
        })
    }
}
