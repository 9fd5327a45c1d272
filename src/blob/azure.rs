//! The blobs of an Azure storage account.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::headers::{HeaderName, Headers};
use azure_core::http::{Etag, StatusCode};
use azure_storage_blob::BlobClient;
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientGetPropertiesResultHeaders, BlobClientUploadOptions,
    BlobContainerClientListBlobsOptions, BlobItem,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;
use tracing::{debug, warn};
use url::Url;

use super::{
    Blob, BlobName, BlobStore, ContainerName, Error, Listed, MOST_LISTED, Page, Properties, Put, Result, SourceHash,
    Span, UNKNOWN_TYPE, located_below, url_below,
};
use crate::azure::call::{CallError, call, has_code};
use crate::azure::storage::Access;
use crate::azure::{StorageAccount, storage};
use crate::base::chain::Chain;
use crate::base::deadline;

/// Time limit of a small call including retries; the SDK alone would retry for minutes.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Time limit of an upload.
const UPLOAD_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for the next bytes of a blob.
const PIECE_LIMIT: Duration = Duration::from_secs(30);
/// Attempts to read the end of a blob that is being replaced.
const TRIES: usize = 3;
/// Metadata key of a blob's source hash.
const SOURCE: &str = "sourcesha256";
const SOURCE_HEADER: HeaderName = HeaderName::from_static("x-ms-meta-sourcesha256");
const CONTENT_RANGE: HeaderName = HeaderName::from_static("content-range");

/// Every attempt to read a blob met another version of it.
#[derive(Debug, thiserror::Error)]
#[error("the blob changes faster than it can be read")]
struct Unsteady;

/// Containers in a storage account.
pub struct AzureBlobs {
    account: Arc<StorageAccount>,
    /// URL below which this service serves blobs.
    served_below: Option<Url>,
    /// Container whose blobs everybody may read.
    public: Option<ContainerName>,
}

impl AzureBlobs {
    /// Creates blobs of this account. Makes no call yet.
    pub fn new(account: Arc<StorageAccount>) -> Self {
        Self { account, served_below: None, public: None }
    }

    /// Makes browsers read blobs through this URL of the service if there is no key to sign blob URLs.
    pub fn served_below(self, base: Url) -> Self {
        Self { served_below: Some(base), ..self }
    }

    /// Creates this container as a public one.
    pub fn with_public(self, container: ContainerName) -> Self {
        Self { public: Some(container), ..self }
    }

    fn client(&self, container: &ContainerName, name: &BlobName) -> BlobClient {
        self.account.blobs().blob_client(container, name)
    }

    /// Uploads in one request, so that a blob is never partial.
    async fn upload(
        &self,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
        if_none_match: Option<Etag>,
    ) -> std::result::Result<(), CallError> {
        let client = self.client(container, name);
        let options = BlobClientUploadOptions {
            blob_content_type: Some(name.content_type().to_owned()),
            if_none_match,
            metadata: source.map(|source| HashMap::from([(SOURCE.to_owned(), source.to_string())])),
            partition_size: NonZero::new(content.len() as u64).or(Some(NonZero::<u64>::MIN)),
            ..BlobClientUploadOptions::default()
        };
        let upload = || call(UPLOAD_LIMIT, client.upload(content.clone().into(), Some(options.clone())));
        match upload().await {
            Err(CallError::Refused(error)) if has_code(&error, "ContainerNotFound") => {
                let is_public = self.public.as_ref() == Some(container);
                let access = if is_public { Access::Public } else { Access::Private };
                let creating = Box::pin(self.account.create_blob_container(container, access));
                match deadline::within(CALL_LIMIT, creating).await.map_err(CallError::TimedOut)? {
                    Ok(_) => {}
                    Err(storage::Error::Service(error)) => return Err(CallError::Refused(error)),
                    Err(error) => return Err(CallError::Broken(error.into())),
                }
                upload().await.map(drop)
            }
            done => done.map(drop),
        }
    }

    async fn download(
        &self,
        container: &ContainerName,
        name: &BlobName,
        options: BlobClientDownloadOptions<'static>,
    ) -> std::result::Result<Blob, CallError> {
        let is_whole = options.range.is_none();
        let answer = call(CALL_LIMIT, self.client(container, name).download(Some(options))).await?;
        let lacks = CallError::lacks;
        let length = answer.properties.content_length;
        let (start, size) = match content_range(&answer.headers) {
            Some((first, size)) => (first, size),
            None => (0, length.ok_or_else(|| lacks("a size"))?),
        };
        let properties = Properties {
            size,
            content_type: answer.properties.content_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned()),
            etag: quoted(answer.properties.etag.as_ref().ok_or_else(|| lacks("an etag"))?),
            last_modified: answer.properties.last_modified.ok_or_else(|| lacks("a time"))?,
            source: source(&answer.headers),
        };
        let end = if is_whole { size } else { start };
        let content = stream::try_unfold(answer.body, |mut body| async move {
            match deadline::within(PIECE_LIMIT, body.try_next()).await {
                Ok(Ok(piece)) => Ok(piece.map(|piece| (piece, body))),
                Ok(Err(error)) => Err(fault(error)),
                Err(elapsed) => Err(Error::Unavailable(elapsed.into())),
            }
        });
        Ok(Blob { properties, range: start..end, content: content.boxed() })
    }
}

#[async_trait]
impl BlobStore for AzureBlobs {
    async fn put_if_absent(
        &self,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
    ) -> Result<Put> {
        match self.upload(container, name, content, source, Some(Etag::from("*"))).await {
            Ok(()) => Ok(Put::Created),
            Err(CallError::Refused(error)) if has_code(&error, "BlobAlreadyExists") => Ok(Put::Exists),
            // The same conflict, while the winning write is still in progress.
            Err(CallError::Refused(error)) if error.http_status() == Some(StatusCode::PreconditionFailed) => {
                Ok(Put::Exists)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn put(&self, container: &ContainerName, name: &BlobName, content: Bytes) -> Result<()> {
        Ok(self.upload(container, name, content, None, None).await?)
    }

    async fn get(&self, container: &ContainerName, name: &BlobName, span: Span) -> Result<Option<Blob>> {
        for _ in 0..TRIES {
            let mut options = BlobClientDownloadOptions::default();
            let mut wanted = None;
            if span != Span::Whole {
                // The service does not support suffix ranges, and gives the same answer to all invalid ranges.
                let Some(properties) = self.properties(container, name).await? else { return Ok(None) };
                let range = span.resolve(properties.size)?;
                options.range = Some(range.clone().into());
                options.if_match = Some(Etag::from(properties.etag.clone()));
                wanted = Some((range, properties));
            }
            match self.download(container, name, options).await {
                Ok(blob) => {
                    return Ok(Some(match wanted {
                        Some((range, properties)) => Blob { properties, range, content: blob.content },
                        None => blob,
                    }));
                }
                Err(CallError::Refused(error)) if is_missing(&error) => return Ok(None),
                Err(CallError::Refused(error)) if has_code(&error, "ConditionNotMet") => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable(Unsteady.into()))
    }

    async fn properties(&self, container: &ContainerName, name: &BlobName) -> Result<Option<Properties>> {
        let answer = match call(CALL_LIMIT, self.client(container, name).get_properties(None)).await {
            Ok(answer) => answer,
            // The error code of a request without a body is in a header, if anywhere.
            Err(CallError::Refused(error)) if error.http_status() == Some(StatusCode::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let lacks = CallError::lacks;
        Ok(Some(Properties {
            size: answer.content_length().map_err(fault)?.ok_or_else(|| lacks("a size"))?,
            content_type: answer.content_type().map_err(fault)?.unwrap_or_else(|| UNKNOWN_TYPE.to_owned()),
            etag: quoted(&answer.etag().map_err(fault)?.ok_or_else(|| lacks("an etag"))?),
            last_modified: answer.last_modified().map_err(fault)?.ok_or_else(|| lacks("a time"))?,
            source: source(answer.headers()),
        }))
    }

    async fn list(&self, container: &ContainerName, prefix: &str, after: Option<&str>, most: usize) -> Result<Page> {
        let client = self.account.blobs().blob_container_client(container);
        let options = BlobContainerClientListBlobsOptions {
            marker: after.map(str::to_owned),
            maxresults: i32::try_from(most.clamp(1, MOST_LISTED)).ok(),
            prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
            ..BlobContainerClientListBlobsOptions::default()
        };
        let mut pages = client.list_blobs(Some(options)).map_err(fault)?.into_pages();
        let page = match call(CALL_LIMIT, pages.try_next()).await {
            Ok(Some(page)) => page.into_model().map_err(fault)?,
            Ok(None) => return Ok(Page::default()),
            Err(CallError::Refused(error)) if is_missing(&error) => return Ok(Page::default()),
            Err(error) => return Err(error.into()),
        };
        let next = page.next_marker.filter(|marker| !marker.is_empty());
        Ok(Page { blobs: page.blob_items.into_iter().filter_map(listed).collect(), next })
    }

    async fn delete(&self, container: &ContainerName, name: &BlobName) -> Result<bool> {
        match call(CALL_LIMIT, self.client(container, name).delete(None)).await {
            Ok(_) => Ok(true),
            Err(CallError::Refused(error)) if is_missing(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn public_url(&self, container: &ContainerName, name: &BlobName) -> Url {
        // The client's own URLs have the slashes of the name encoded.
        url_below(self.account.blobs().url(), [&**container].into_iter().chain(name.segments()))
    }

    fn shown_url(&self, container: &ContainerName, name: &BlobName, now: OffsetDateTime) -> Url {
        let plain = self.public_url(container, name);
        let Some(signer) = self.account.signer() else {
            let Some(base) = &self.served_below else { return plain };
            return url_below(base, [&**container].into_iter().chain(name.segments()));
        };
        signer.sign(plain.clone(), container, name, now).unwrap_or_else(|error| {
            warn!(error = %Chain(&error), "address of a blob not signed");
            plain
        })
    }

    fn locate(&self, address: &str) -> Option<(ContainerName, BlobName)> {
        let bases = [Some(self.account.blobs().url()), self.served_below.as_ref()];
        bases.into_iter().flatten().find_map(|base| located_below(base, address))
    }

    async fn is_ready(&self, container: &ContainerName) -> Result<bool> {
        let client = self.account.blobs().blob_container_client(container);
        Ok(call(CALL_LIMIT, client.exists()).await?)
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        error.convert("ContainerBeingDeleted", Self::Unavailable, Self::Failed)
    }
}

fn fault(error: azure_core::Error) -> Error {
    CallError::Refused(error).into()
}

/// Converts a listed blob; invalid names are skipped, because they cannot be requested.
fn listed(item: BlobItem) -> Option<Listed> {
    let name = item.name?;
    let Ok(name) = name.parse::<BlobName>() else {
        debug!("blob with an invalid name skipped");
        return None;
    };
    let properties = item.properties?;
    Some(Listed {
        name,
        properties: Properties {
            size: properties.content_length.unwrap_or_default(),
            content_type: properties.content_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned()),
            etag: properties.etag.as_ref().map(quoted).unwrap_or_default(),
            last_modified: properties.last_modified.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            source: None,
        },
    })
}

/// Quotes an etag; listings have them unquoted.
fn quoted(etag: &Etag) -> String {
    let text: &str = etag.as_ref();
    if text.starts_with('"') { text.to_owned() } else { format!("\"{text}\"") }
}

fn source(headers: &Headers) -> Option<SourceHash> {
    headers.get_optional_str(&SOURCE_HEADER)?.parse().ok()
}

/// Parses first byte and total size from `bytes 5-9/100`.
fn content_range(headers: &Headers) -> Option<(u64, u64)> {
    let (range, size) = headers.get_optional_str(&CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()?))
}

fn is_missing(error: &azure_core::Error) -> bool {
    ["BlobNotFound", "ContainerNotFound", "ResourceNotFound"].iter().any(|code| has_code(error, code))
}
