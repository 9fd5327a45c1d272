//! Development and production, and the settings that each refuses.

use url::Url;

use super::Documents;
use super::Identity;
use super::ModelServer;
use super::Server;
use super::Storage;
use super::is_loopback;
use super::reader::{Error, Reader};

/// The environment that the service runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine: callers on it need no credential.
    Development,
    /// Anywhere else: callers sign in.
    Production,
}

impl Environment {
    /// Reads `AZURE_FUNCTIONS_ENVIRONMENT`. Settings that only a shared service needs make production the default.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        under_functions_host: bool,
        identity: &Identity,
        documents: &Documents,
    ) -> Self {
        const NAME: &str = "AZURE_FUNCTIONS_ENVIRONMENT";
        let environment = match reader.optional(NAME) {
            Some(name) if name.eq_ignore_ascii_case("development") => Self::Development,
            Some(_) => Self::Production,
            None if under_functions_host || is_meant_for_others(identity, documents) => Self::Production,
            None => Self::Development,
        };
        reader.note_default(NAME, if environment == Self::Development { "Development" } else { "Production" });
        environment
    }
}

/// Whether settings are present that only a shared service needs, so that development cannot be the default.
fn is_meant_for_others(identity: &Identity, documents: &Documents) -> bool {
    let remote = matches!(documents, Documents::Cosmos(cosmos) if !is_loopback(&cosmos.endpoint));
    remote || !identity.google_client_ids.is_empty()
}

/// Platform that the process appears to run on.
#[derive(Debug, Clone, Copy)]
pub enum Platform {
    /// Azure; the variable that shows it.
    Azure(&'static str),
    /// A container or cluster; the variable that shows it.
    Container(&'static str),
    /// No known environment.
    Unknown,
}

/// Detects the platform. App Service sets `WEBSITE_INSTANCE_ID`; the Consumption plans set others of these instead
/// (`EnvironmentExtensions.cs` of the Functions host).
pub fn read_platform(reader: &mut Reader<'_>) -> Platform {
    const AZURE: [&str; 4] = ["WEBSITE_INSTANCE_ID", "WEBSITE_POD_NAME", "WEBSITE_SKU", "WEBSITE_OWNER_NAME"];
    const CONTAINERS: [&str; 2] = ["CONTAINER_NAME", "KUBERNETES_SERVICE_HOST"];
    // Read all of them, so that `pluckit config` shows all.
    let azure: Vec<_> = AZURE.into_iter().filter(|name| reader.optional(name).is_some()).collect();
    let containers: Vec<_> = CONTAINERS.into_iter().filter(|name| reader.optional(name).is_some()).collect();
    // The host's tools on a developer's machine also set it, to a local address.
    let is_local = |host: &str| Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url));
    let site = reader.optional("WEBSITE_HOSTNAME").filter(|host| !is_local(host)).map(|_| "WEBSITE_HOSTNAME");
    match (azure.first().copied().or(site), containers.first().copied()) {
        (Some(name), _) => Platform::Azure(name),
        (None, Some(name)) => Platform::Container(name),
        (None, None) => Platform::Unknown,
    }
}

/// Refuses development mode anywhere but on a developer's machine, because callers on the machine need no credential
/// there.
pub fn refuse_insecure_development(server: &Server, platform: Platform, allowed: bool) -> Result<(), Error> {
    let (reason, remedy) = match platform {
        Platform::Azure(name) => (format!("{name} is set in development, so this is Azure"), ""),
        _ if allowed => return Ok(()),
        Platform::Container(name) => (
            format!("{name} is set in development, so this is a container"),
            ", or PLUCKIT_ALLOW_INSECURE_DEV=1 if you mean it",
        ),
        Platform::Unknown if server.bind.is_loopback() => return Ok(()),
        Platform::Unknown => (
            format!("PLUCKIT_BIND is {} in development", server.bind),
            ", listen on 127.0.0.1, or set PLUCKIT_ALLOW_INSECURE_DEV=1 if you mean it",
        ),
    };
    Err(Error::Refused(format!(
        "{reason}: every caller would be the development user; set AZURE_FUNCTIONS_ENVIRONMENT=Production{remedy}"
    )))
}

/// Refuses embedded back ends where a forgotten variable could lose data, jobs or pictures, or replace the stylist's
/// model.
pub fn refuse_embedded(documents: &Documents, storage: &Storage, model: Option<&ModelServer>) -> Result<(), Error> {
    let reason = if matches!(documents, Documents::Embedded { .. }) {
        "COSMOS_DB_ENDPOINT is not set, and the embedded store"
    } else if model.is_none() {
        "neither AZURE_OPENAI_ENDPOINT nor OPENAI_BASE_URL is set, and the offline model"
    } else if storage.queues.is_none() {
        "none of StorageQueue, STORAGE_ACCOUNT_NAME and AzureWebJobsStorage is set, and the embedded queue"
    } else if storage.blobs.is_none() {
        "neither STORAGE_ACCOUNT_NAME nor AzureWebJobsStorage is set, and pictures kept in files"
    } else {
        return Ok(());
    };
    Err(Error::Refused(format!(
        "{reason} is refused outside development and under the Functions host; set it, or PLUCKIT_ALLOW_EMBEDDED=1 if you \
         mean it"
    )))
}
