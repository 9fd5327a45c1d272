//! Blobs in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use pluckit::base::clock::Clock;
use pluckit::blob::{
    Blob, BlobName, BlobStore, ContainerName, Listed, MOST_LISTED, Page, Properties, Put, Result, SourceHash, Span,
};
use time::OffsetDateTime;
use url::Url;

/// Blobs in memory.
pub struct MemoryBlobs {
    base: Url,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    blobs: BTreeMap<(String, BlobName), Entry>,
    /// Number of the last write, from which versions are derived.
    writes: u64,
}

struct Entry {
    content: Bytes,
    properties: Properties,
}

impl MemoryBlobs {
    /// Creates an empty store; `base` is the URL below which `<container>/<name>` is.
    pub fn new(base: Url, clock: Arc<dyn Clock>) -> Self {
        Self { base, clock, kept: Mutex::default() }
    }

    fn write(
        &self,
        kept: &mut Kept,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
    ) {
        kept.writes += 1;
        let properties = Properties {
            size: content.len() as u64,
            content_type: name.content_type().to_owned(),
            etag: format!("\"{}\"", kept.writes),
            last_modified: self.clock.now(),
            source: source.cloned(),
        };
        kept.blobs.insert((container.to_string(), name.clone()), Entry { content, properties });
    }
}

fn key(container: &ContainerName, name: &BlobName) -> (String, BlobName) {
    (container.to_string(), name.clone())
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn put_if_absent(
        &self,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
    ) -> Result<Put> {
        let mut kept = self.kept.lock();
        if kept.blobs.contains_key(&key(container, name)) {
            return Ok(Put::Exists);
        }
        self.write(&mut kept, container, name, content, source);
        Ok(Put::Created)
    }

    async fn put(&self, container: &ContainerName, name: &BlobName, content: Bytes) -> Result<()> {
        self.write(&mut self.kept.lock(), container, name, content, None);
        Ok(())
    }

    async fn get(&self, container: &ContainerName, name: &BlobName, span: Span) -> Result<Option<Blob>> {
        let kept = self.kept.lock();
        let Some(Entry { content, properties }) = kept.blobs.get(&key(container, name)) else { return Ok(None) };
        let range = span.resolve(properties.size)?;
        let bounds = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        let content = stream::iter([Ok(content.slice(bounds))]).boxed();
        Ok(Some(Blob { properties: properties.clone(), range, content }))
    }

    async fn properties(&self, container: &ContainerName, name: &BlobName) -> Result<Option<Properties>> {
        let kept = self.kept.lock();
        Ok(kept.blobs.get(&key(container, name)).map(|entry| entry.properties.clone()))
    }

    async fn list(&self, container: &ContainerName, prefix: &str, after: Option<&str>, most: usize) -> Result<Page> {
        let (kept, most) = (self.kept.lock(), most.clamp(1, MOST_LISTED));
        let mut found = kept
            .blobs
            .iter()
            .filter(|((of, name), _)| **of == **container && name.starts_with(prefix))
            .filter(|((_, name), _)| after.is_none_or(|after| &**name > after));
        let blobs: Vec<_> = found
            .by_ref()
            .take(most)
            .map(|((_, name), entry)| Listed {
                name: name.clone(),
                properties: Properties { source: None, ..entry.properties.clone() },
            })
            .collect();
        let next = found.next().and_then(|_| blobs.last().map(|listed| listed.name.to_string()));
        Ok(Page { blobs, next })
    }

    async fn delete(&self, container: &ContainerName, name: &BlobName) -> Result<bool> {
        Ok(self.kept.lock().blobs.remove(&key(container, name)).is_some())
    }

    fn public_url(&self, container: &ContainerName, name: &BlobName) -> Url {
        let mut url = self.base.clone();
        let parts = [&**container].into_iter().chain(name.segments());
        url.path_segments_mut().unwrap().pop_if_empty().extend(parts);
        url
    }

    fn locate(&self, address: &str) -> Option<(ContainerName, BlobName)> {
        let url = self.base.join(address).ok()?;
        let is_local = |url: &Url| matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if url.origin() != self.base.origin() && !(is_local(&url) && is_local(&self.base)) {
            return None;
        }
        let path = url.path().strip_prefix(self.base.path().trim_end_matches('/'))?.strip_prefix('/')?;
        let (container, name) = path.split_once('/')?;
        let segments = name.split('/').map(|segment| {
            let segment = percent_decode_str(segment).decode_utf8().ok()?;
            (!segment.contains('/')).then_some(segment)
        });
        let name = segments.collect::<Option<Vec<_>>>()?.join("/");
        Some((container.parse().ok()?, name.parse().ok()?))
    }

    async fn is_ready(&self, _container: &ContainerName) -> Result<bool> {
        Ok(true)
    }

    async fn sweep(&self, _now: OffsetDateTime) -> Result<usize> {
        Ok(0)
    }
}
