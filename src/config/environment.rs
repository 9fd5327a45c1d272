//! Development or production, and what each refuses.

use url::Url;

use super::Documents;
use super::Identity;
use super::ModelServer;
use super::Server;
use super::Storage;
use super::is_loopback;
use super::reader::{Error, Reader};

/// Who is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine: every caller is the development user.
    Development,
    /// Everywhere else: callers prove who they are.
    Production,
}

/// Whether settings that only a service for others needs are there: then nobody meant development by saying nothing.
pub fn is_meant_for_others(identity: &Identity, documents: &Documents) -> bool {
    let remote = matches!(documents, Documents::Cosmos(cosmos) if !is_loopback(&cosmos.endpoint));
    remote || !identity.google_client_ids.is_empty()
}

/// Where the process seems to run, by the variables that platforms set.
#[derive(Debug, Clone, Copy)]
pub enum Platform {
    /// In Azure, whatever the plan. Which variable says so.
    Azure(&'static str),
    /// In a container or a cluster. Which variable says so.
    Container(&'static str),
    /// On nothing that is known.
    Unknown,
}

/// App Service sets `WEBSITE_INSTANCE_ID`; the Consumption plans leave that out and set others of these
/// (`EnvironmentExtensions.cs` of the Functions host).
pub fn read_platform(reader: &mut Reader<'_>) -> Platform {
    const AZURE: [&str; 4] = ["WEBSITE_INSTANCE_ID", "WEBSITE_POD_NAME", "WEBSITE_SKU", "WEBSITE_OWNER_NAME"];
    const CONTAINERS: [&str; 2] = ["CONTAINER_NAME", "KUBERNETES_SERVICE_HOST"];
    // All are read, so that all are shown.
    let azure: Vec<_> = AZURE.into_iter().filter(|name| reader.optional(name).is_some()).collect();
    let containers: Vec<_> = CONTAINERS.into_iter().filter(|name| reader.optional(name).is_some()).collect();
    // The host's tools on a developer's machine set it too, to an address of that machine.
    let is_local = |host: &str| Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url));
    let site = reader.optional("WEBSITE_HOSTNAME").filter(|host| !is_local(host)).map(|_| "WEBSITE_HOSTNAME");
    match (azure.first().copied().or(site), containers.first().copied()) {
        (Some(name), _) => Platform::Azure(name),
        (None, Some(name)) => Platform::Container(name),
        (None, None) => Platform::Unknown,
    }
}

/// In development callers on this machine are the development user without a credential, so the process must be on a
/// developer's machine.
pub fn refuse_open_door(server: &Server, platform: Platform, allowed: bool) -> Result<(), Error> {
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

/// Nobody loses data, jobs or pictures, or takes templates for a stylist, because a variable was missing.
pub fn refuse_embedded(documents: &Documents, storage: &Storage, model: &ModelServer) -> Result<(), Error> {
    let reason = if matches!(documents, Documents::Embedded { .. }) {
        "COSMOS_DB_ENDPOINT is not set, and the embedded store"
    } else if matches!(model, ModelServer::Offline) {
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
