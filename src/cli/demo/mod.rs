//! The demo wardrobe of the development user: data files (`demo/README.md`), embedded, written once into a store in
//! which that user has nothing of their own yet.
//!
//! Pictures are embedded as well and written to the blob store after the documents: see [`import_pictures`].
//!
//! Loading may be interrupted at any point, and several processes may do it concurrently. The first item is written
//! first and fixes the day that all dates are relative to; the profile is written last and marks completion. A process
//! that finds the former without the latter completes the work.

pub mod examples;
mod pictures;

use std::collections::HashSet;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::Value;
use time::{Date, Duration, OffsetDateTime, Time, UtcOffset};
use tracing::{info, warn};

use self::pictures::Picture;
use crate::base::chain::Chain;
use crate::blob::{self, BlobName, BlobStore, ContainerName, Put, SourceHash};
use crate::config::{Documents, Environment};
use crate::data::Data;
use crate::data::profiles::Profiles;
use crate::domain::media::{self, PictureId};
use crate::domain::scraper::ingest;
use crate::llm::{self, CallContext, Model};
use crate::model::ids::UserId;
use crate::model::timestamp::Timestamp;
use crate::state::AppState;
use crate::store::{self, Container, DocumentStore, Key, Query};

/// Result of a demo operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the demo data was not loaded completely. The next start tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model could not embed the scraped items. Nothing was written.
    #[error("the scraped items of the demo could not be embedded")]
    Model(#[source] llm::Error),
    /// The model returned the wrong number of vectors. Nothing was written.
    #[error("the model returned {got} vectors for {wanted} texts")]
    VectorCount {
        /// Vectors received.
        got: usize,
        /// Vectors expected.
        wanted: usize,
    },
    /// The store failed.
    #[error("the document store failed")]
    Store(#[source] store::Error),
    /// The blob store failed.
    #[error("the blob store failed")]
    Blobs(#[source] blob::Error),
}

/// User id in the files; replaced by the user that the data is loaded for.
const PLACEHOLDER_USER: &str = "local-dev-user";

/// Concurrent writes. The embedded store commits all waiting writes with one sync, up to this many.
const CONCURRENT_WRITES: usize = 256;

/// Pictures that are written concurrently.
const CONCURRENT_PICTURES: usize = 16;

/// Prefix of a picture's name in place of its URL.
const PICTURE: &str = "picture:";

/// Where the demo's pictures are stored.
#[derive(Clone, Copy)]
pub struct Gallery<'a> {
    /// The store.
    pub blobs: &'a dyn BlobStore,
    /// Which of its containers.
    pub container: &'a ContainerName,
}

struct File {
    container: Container,
    text: &'static str,
}

macro_rules! file {
    ($name:literal, $container:ident) => {
        File { container: Container::$container, text: include_str!(concat!("../../../demo/", $name)) }
    };
}

/// Files in the order of writing: the wardrobe's first item fixes the date, the profile marks completion.
const FILES: [File; 6] = [
    file!("wardrobe.json", Wardrobe),
    file!("wear_events.json", WearEvents),
    file!("moods.json", Moods),
    file!("scraper_sources.json", ScraperSources),
    file!("scraped_items.json", ScrapedItems),
    file!("profile.json", UserProfiles),
];

/// Returns all documents of the demo for `user`, with dates relative to `load_day` (UTC) and pictures in `gallery`, in
/// the order of writing. Scraped items have no vectors yet.
///
/// # Panics
/// When an embedded file is damaged, which a test rules out.
pub fn documents(user: &UserId, load_day: Date, gallery: Gallery<'_>) -> Vec<(Key, Value)> {
    let of_file = |file: &File| {
        let container = file.container;
        file.documents().into_iter().map(move |document| (container, document))
    };
    let place = |(container, document)| placed(container, document, user, load_day, gallery);
    FILES.iter().flat_map(of_file).map(place).collect()
}

/// Fills user, dates and picture URLs into a document of a file; returns it with its key.
fn placed(
    container: Container,
    mut document: Value,
    user: &UserId,
    load_day: Date,
    gallery: Gallery<'_>,
) -> (Key, Value) {
    let owner = (container == Container::Wardrobe).then_some(user);
    Setting { user, load_day, gallery, owner }.settle(&mut document);
    let key = Key::new(container, field(&document, container.spec().partition_key), field(&document, "id"));
    (key, document)
}

fn field<'a>(document: &'a Value, name: &str) -> &'a str {
    document[name].as_str().expect("every document of the demo has its keys")
}

/// Loads the demo for `user`, unless they have a profile, or a wardrobe with anything but demo items in it. Returns
/// whether this call completed the demo.
///
/// Existing documents are not changed. After an error or a crash, the next call completes the work.
///
/// # Errors
/// When the store or the model fails.
pub async fn load_if_empty(
    data: &Data,
    model: &dyn Model,
    gallery: Gallery<'_>,
    user: &UserId,
    now: OffsetDateTime,
) -> Result<bool> {
    let store = &*data.store;
    if store.read(&Profiles::key(user)).await.map_err(Error::Store)?.is_some() {
        return Ok(false);
    }
    let today = now.to_offset(UtcOffset::UTC).date();
    let mut documents = documents(user, today, gallery);
    if owns_anything_else(store, user, &documents).await? {
        return Ok(false);
    }
    let vectors = embed(model, &documents).await?; // may fail, so before the first write
    let load_day = anchor(store, &documents, today).await?;
    if load_day != today {
        documents = self::documents(user, load_day, gallery);
    }
    let scraped = documents.iter_mut().filter(|(key, _)| key.container == Container::ScrapedItems);
    for ((_, item), vector) in scraped.zip(vectors) {
        item["embedding"] = vector.into();
    }
    let (profile, others): (Vec<_>, Vec<_>) =
        documents.into_iter().partition(|(key, _)| key.container == Container::UserProfiles);
    create_all(store, others).await?;
    Ok(create_all(store, profile).await? > 0)
}

/// Writes the demo's pictures to where its documents expect them, if `user` has the demo. Returns their number.
///
/// This happens once: a final blob marks completion, so that pictures deleted later are not restored. Existing blobs
/// are not changed. After an error or a crash, the next call writes the missing ones.
///
/// # Errors
/// When a store fails.
pub async fn import_pictures(data: &Data, gallery: Gallery<'_>, user: &UserId) -> Result<usize> {
    if !lacks_files(data, gallery, user).await? {
        return Ok(0);
    }
    let Gallery { blobs, container } = gallery;
    let mut wanted = Vec::with_capacity(pictures::WARDROBE.len() + pictures::FEED.len());
    for (table, owner) in [(pictures::WARDROBE, Some(user)), (pictures::FEED, None)] {
        for Picture { name, file } in table {
            wanted.push((picture_name(owner, name), Bytes::from_static(file)));
        }
    }
    let written = stream::iter(wanted)
        .map(|(name, file)| async move {
            let source = SourceHash::of(&file);
            blobs.put_if_absent(container, &name, file, Some(&source)).await.map_err(Error::Blobs)
        })
        .buffer_unordered(CONCURRENT_PICTURES)
        .try_fold(0, |count, put| std::future::ready(Ok(count + usize::from(put == Put::Created))))
        .await?;
    let note = Bytes::from_static(b"All pictures of the demo were written.\n");
    blobs.put_if_absent(container, &mark(user), note, None).await.map_err(Error::Blobs)?;
    Ok(written)
}

/// Whether the user has the demo, but not yet all of its files.
async fn lacks_files(data: &Data, gallery: Gallery<'_>, user: &UserId) -> Result<bool> {
    let Gallery { blobs, container } = gallery;
    let written = blobs.properties(container, &mark(user)).await.map_err(Error::Blobs)?;
    Ok(written.is_none() && shows_pictures(data, user).await?)
}

/// Whether the user has the demo, from a version that had pictures.
async fn shows_pictures(data: &Data, user: &UserId) -> Result<bool> {
    let [wardrobe, ..] = &FILES;
    let Some(first) = wardrobe.documents().into_iter().next() else { return Ok(false) };
    let key = Key::new(Container::Wardrobe, user.as_str(), field(&first, "id"));
    let found = data.store.read(&key).await.map_err(Error::Store)?;
    let item = found.and_then(|stored| stored.parse::<Value>().ok());
    Ok(item.is_some_and(|item| item["imageUrl"].is_string()))
}

/// Returns the name of a picture: in the owner's directory for the wardrobe, as if uploaded, or in a shared one for the
/// feed.
fn picture_name(owner: Option<&UserId>, name: &str) -> BlobName {
    let of_owner = |owner| media::blob_name(Some(owner), &name.parse::<PictureId>().expect("an id of a picture"));
    owner.map_or_else(|| format!("demo/feed/{name}.webp").parse().expect("the name of a blob"), of_owner)
}

/// Returns the blob that marks all pictures as written for this user.
fn mark(user: &UserId) -> BlobName {
    let name = picture_name(Some(user), "complete");
    let directory = name.segments().next().unwrap_or_default();
    format!("demo/users/{directory}.txt").parse().expect("the name of a blob")
}

impl File {
    /// Parses the documents of the file.
    fn documents(&self) -> Vec<Value> {
        match serde_json::from_str(self.text).expect("the demo's files are JSON") {
            Value::Array(documents) => documents,
            single => vec![single],
        }
    }
}

/// Values for the placeholders in the files.
struct Setting<'a> {
    user: &'a UserId,
    load_day: Date,
    gallery: Gallery<'a>,
    /// Owner of the pictures; `None` for the feed.
    owner: Option<&'a UserId>,
}

impl Setting<'_> {
    /// Fills in the user, absolute dates and picture URLs, recursively.
    fn settle(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                // Some ids begin with their user's.
                let of_user =
                    text.strip_prefix(PLACEHOLDER_USER).filter(|rest| rest.is_empty() || rest.starts_with('-'));
                if let Some(rest) = of_user {
                    *text = format!("{}{rest}", self.user);
                } else if let Some(at) = relative(text, self.load_day) {
                    *text = at.to_string();
                } else if let Some(name) = text.strip_prefix(PICTURE) {
                    let Gallery { blobs, container } = self.gallery;
                    *text = blobs.public_url(container, &picture_name(self.owner, name)).into();
                }
            }
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.settle(element)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.settle(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Parses `P-<days>DT<HH:MM:SS>`, counted back from `load_day`; `None` for any other text.
fn relative(text: &str, load_day: Date) -> Option<Timestamp> {
    let (days, clock) = text.strip_prefix("P-")?.split_once("DT")?;
    let days = whole_number(days)?;
    let mut parts = clock.split(':').map(|part| (part.len() == 2).then(|| whole_number(part)).flatten());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    let time = Time::from_hms(u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, u8::try_from(second).ok()?).ok()?;
    let day = load_day.checked_sub(Duration::days(i64::from(days)))?;
    Some(day.with_time(time).assume_utc().into())
}

/// Parses digits only; `parse` alone would accept a sign.
fn whole_number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether the user's wardrobe holds an item that is not part of the demo.
async fn owns_anything_else(store: &dyn DocumentStore, user: &UserId, documents: &[(Key, Value)]) -> Result<bool> {
    #[derive(Deserialize)]
    struct Item {
        id: String,
    }
    let of_demo = documents.iter().filter(|(key, _)| key.container == Container::Wardrobe);
    let of_demo: HashSet<&str> = of_demo.map(|(key, _)| key.id.as_str()).collect();
    let mut query = Query::partition(Container::Wardrobe, user.as_str()).select(&["id"]);
    loop {
        let page = store.query(&query).await.map_err(Error::Store)?;
        for stored in &page.documents {
            // A document with an unreadable id is not part of the demo either.
            if !stored.parse::<Item>().is_ok_and(|item| of_demo.contains(item.id.as_str())) {
                return Ok(true);
            }
        }
        let Some(token) = page.next else { return Ok(false) };
        query = query.after(Some(token));
    }
}

/// Embeds the scraped items, in order.
async fn embed(model: &dyn Model, documents: &[(Key, Value)]) -> Result<Vec<Vec<f32>>> {
    let scraped = documents.iter().filter(|(key, _)| key.container == Container::ScrapedItems);
    let texts: Vec<String> = scraped.map(|(_, item)| embedded_text(item)).collect();
    let vectors = model.embed(&CallContext::service(), &texts).await.map_err(Error::Model)?;
    if vectors.len() != texts.len() {
        return Err(Error::VectorCount { got: vectors.len(), wanted: texts.len() });
    }
    Ok(vectors)
}

/// Returns the text that is embedded for a scraped item.
fn embedded_text(item: &Value) -> String {
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let tags = item["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    ingest::embedded_text(tags, text("title"), text("description"))
}

/// Writes the first item and returns the day that dates are relative to: `today`, or the day of an earlier, interrupted
/// load.
async fn anchor(store: &dyn DocumentStore, documents: &[(Key, Value)], today: Date) -> Result<Date> {
    let Some((key, item)) = documents.first() else { return Ok(today) };
    if create(store, key, item).await? {
        return Ok(today);
    }
    let earlier = store.read(key).await.map_err(Error::Store)?.and_then(|stored| stored.parse::<Value>().ok());
    let added = |item: &Value| Timestamp::parse(item["dateAdded"].as_str()?).map(Timestamp::get);
    let shift = earlier.as_ref().and_then(added).zip(added(item)).map(|(earlier, ours)| earlier - ours);
    Ok(shift.and_then(|shift| today.checked_add(shift)).unwrap_or(today))
}

/// Creates the missing documents concurrently. Returns how many were missing.
async fn create_all(store: &dyn DocumentStore, documents: Vec<(Key, Value)>) -> Result<usize> {
    stream::iter(documents)
        .map(|(key, document)| async move { create(store, &key, &document).await })
        .buffer_unordered(CONCURRENT_WRITES)
        .try_fold(0, |count, created| std::future::ready(Ok(count + usize::from(created))))
        .await
}

/// Creates the document if it is missing. Returns whether it was.
async fn create(store: &dyn DocumentStore, key: &Key, document: &Value) -> Result<bool> {
    match store.create(key, document).await {
        Ok(_) => Ok(true),
        Err(store::Error::Conflict) => Ok(false),
        Err(error) => Err(Error::Store(error)),
    }
}

/// Loads the demo wardrobe into an empty embedded store, in development. Returns whether it did.
pub async fn load(app: &AppState) -> bool {
    let wanted = matches!(app.config.documents, Documents::Embedded { demo: true, .. });
    if !wanted || app.config.environment != Environment::Development {
        return false;
    }
    let user = &app.config.identity.local_dev_user;
    let is_loaded = match load_if_empty(&app.data, &*app.model, gallery(app), user, app.clock.now()).await {
        Ok(is_loaded) => is_loaded,
        Err(error) => {
            warn!(error = %Chain(&error), "demo wardrobe not loaded");
            return false;
        }
    };
    if is_loaded {
        info!(user.id = %user, "demo wardrobe loaded");
    }
    if let Err(error) = examples::import_documents(app).await {
        warn!(error = %Chain(&error), "examples of the demo not written");
        return is_loaded;
    }
    // Concurrently with the first requests: syncing each file takes longer than the rest of the startup.
    let importing = app.clone();
    app.tasks.spawn(async move {
        let app = importing;
        let import = async {
            examples::import_files(&app).await?;
            import_pictures(&app.data, gallery(&app), &app.config.identity.local_dev_user).await
        };
        tokio::select! {
            imported = import => match imported {
                Ok(0) => {}
                Ok(pictures) => info!(pictures, "pictures of the demo written"),
                Err(error) => warn!(error = %Chain(&error), "pictures of the demo not written"),
            },
            () = app.shutdown.cancelled() => {}
        }
    });
    is_loaded
}

/// Where the demo's pictures are stored.
pub fn gallery(app: &AppState) -> Gallery<'_> {
    Gallery { blobs: &*app.blobs, container: &app.config.storage.archive_container }
}

#[cfg(test)]
mod tests;
