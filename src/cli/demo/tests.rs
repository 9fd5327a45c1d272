use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use time::macros::{date, datetime};

use super::*;
use crate::base::clock::ManualClock;
use crate::blob::local::LocalBlobs;
use crate::data::items::GLOBAL;
use crate::domain::scraper::brand::SelectorConfig;
use crate::domain::scraper::reddit::RedditConfig;
use crate::imaging::pool::PixelPool;
use crate::imaging::{decode, phash};
use crate::llm::{ChatRequest, EMBEDDING_DIMENSIONS, PartStream, Purpose, Reply};
use crate::model::api_token::{ApiTokenKey, ApiTokenList};
use crate::model::buy_link::BuyLink;
use crate::model::chat_run::{ChatHead, ChatRun, LogPiece};
use crate::model::collection::Collection;
use crate::model::dead_letter::DeadLetter;
use crate::model::digest::Digest;
use crate::model::draft::DraftItem;
use crate::model::item::ScrapedItem;
use crate::model::job::Job;
use crate::model::mood::Mood;
use crate::model::profile::UserProfile;
use crate::model::quiz::QuizSession;
use crate::model::source::{Source, SourceType};
use crate::model::styling::StylingActivity;
use crate::model::wardrobe::{Price, WardrobeItem, WearEvent};
use crate::store::{ChangeMark, ETag, Page, PartitionIndex, Scope, Stored, Upkeep, Write};

const LOAD_DAY: Date = date!(2026 - 03 - 20);
const NOW: OffsetDateTime = datetime!(2026-03-20 00:00:01 UTC);
const CATEGORIES: [&str; 12] = [
    "Bohemian",
    "Classic",
    "Coastal",
    "Cottagecore",
    "Dark Academia",
    "Edgy",
    "Maximalist",
    "Minimalist",
    "Preppy",
    "Romantic",
    "Sporty",
    "Streetwear",
];

fn ada() -> UserId {
    UserId::from("ada")
}

/// A blob store in a temporary directory.
struct Files {
    _directory: TempDir,
    blobs: LocalBlobs,
    container: ContainerName,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = "http://127.0.0.1:7071/api/media".parse().unwrap();
        let blobs = LocalBlobs::open(directory.path(), base, &ManualClock::new(NOW)).unwrap();
        Self { _directory: directory, blobs, container: "archive".parse().unwrap() }
    }

    fn gallery(&self) -> Gallery<'_> {
        Gallery { blobs: &self.blobs, container: &self.container }
    }
}

fn of(container: Container) -> Vec<Value> {
    let all = documents(&ada(), LOAD_DAY, Files::new().gallery());
    all.into_iter().filter(|(key, _)| key.container == container).map(|(_, document)| document).collect()
}

fn records<T: DeserializeOwned>(container: Container) -> Vec<T> {
    of(container).into_iter().map(|document| serde_json::from_value(document).unwrap()).collect()
}

fn slug(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(elements) => elements.iter().for_each(|element| texts(element, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn every_file_gives_its_documents() {
    let mut counts: BTreeMap<Container, usize> = BTreeMap::new();
    for (key, _) in documents(&ada(), LOAD_DAY, Files::new().gallery()) {
        *counts.entry(key.container).or_default() += 1;
    }
    let expected = [
        (Container::Wardrobe, 52),
        (Container::UserProfiles, 1),
        (Container::WearEvents, 339),
        (Container::Moods, 15),
        (Container::ScraperSources, 2),
        (Container::ScrapedItems, 30),
    ];
    assert_eq!(counts, expected.into());
}

#[test]
fn keys_are_valid_unique_and_those_of_the_documents() {
    let mut seen = HashSet::new();
    for (key, document) in documents(&ada(), LOAD_DAY, Files::new().gallery()) {
        assert!(key.is_valid(), "{key:?}");
        assert_eq!(document["id"], key.id.as_str());
        assert_eq!(document[key.container.spec().partition_key], key.partition.as_str());
        assert!(seen.insert(key.clone()), "{key:?} is there twice");
    }
}

#[test]
fn the_user_takes_the_place_of_the_placeholder_and_dates_become_absolute() {
    for (key, document) in documents(&ada(), LOAD_DAY, Files::new().gallery()) {
        let mut found = Vec::new();
        texts(&document, &mut found);
        for text in found {
            assert_ne!(text, PLACEHOLDER_USER, "{key:?}");
            assert!(!text.starts_with("P-"), "{key:?} still has {text}");
            // A bare date is not a time: a source's `lastDailyRun`.
            if let Some(at) = Timestamp::parse(text).filter(|_| text.contains('T')) {
                assert_eq!(at.to_string(), text, "{key:?}");
                assert!(at.get() < NOW, "{key:?} is from the future: {text}");
                assert!(at.get() > NOW - Duration::days(3 * 366 + 7), "{key:?} is too old: {text}");
            }
        }
        let date_fields: &[&str] = match key.container {
            Container::Wardrobe => &["dateAdded"],
            Container::WearEvents => &["occurredAt"],
            Container::Moods => &["detectedAt", "updatedAt"],
            Container::ScraperSources => &["createdAt", "lastScrapedAt"],
            Container::ScrapedItems => &["scrapedAt", "sourceCreatedAt"],
            _ => &[],
        };
        for &field in date_fields {
            assert!(document[field].as_str().and_then(Timestamp::parse).is_some(), "{key:?} {field}");
        }
    }
}

#[test]
fn relative_dates_are_read_exactly() {
    let read = |text| relative(text, LOAD_DAY).map(|at| at.to_string());
    assert_eq!(read("P-12DT18:30:00").as_deref(), Some("2026-03-08T18:30:00.000Z"));
    assert_eq!(read("P-0DT00:00:59").as_deref(), Some("2026-03-20T00:00:59.000Z"));
    for text in [
        "",
        "P-",
        "P-12D",
        "P12DT18:30:00",
        "P-DT18:30:00",
        "P--1DT18:30:00",
        "P-+1DT18:30:00",
        "P-1DT18:30",
        "P-1DT8:30:00",
        "P-1DT24:00:00",
        "P-1DT18:60:00",
        "P-1DT18:30:00Z",
        "P-1DT18:30:00:00",
        " P-1DT18:30:00",
        "P-99999DT18:30:00",
        "P-1DT+8:30:00",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
}

#[test]
fn the_wardrobe_is_of_every_kind_that_a_wardrobe_has() {
    let items: Vec<WardrobeItem> = records(Container::Wardrobe);
    let owned: Vec<&WardrobeItem> = items.iter().filter(|item| item.is_owned()).collect();
    assert_eq!(owned.len(), 49);
    assert_eq!(items.iter().filter(|item| item.is_wishlisted).count(), 2);
    assert_eq!(items.iter().filter(|item| item.draft_status.is_some()).count(), 1);
    assert_eq!(owned.iter().filter(|item| item.wear_count == 0).count(), 4);

    let categories: HashSet<String> = owned.iter().filter_map(|item| item.category.clone()).collect();
    for category in ["tops", "bottoms", "outerwear", "shoes", "accessories", "knitwear", "dresses", "activewear"] {
        assert!(categories.contains(category), "no {category}");
    }
    assert!(categories.contains("Tops"), "letters of both cases");
    let is_for_dinner =
        |item: &&&WardrobeItem| ["casual", "dinner"].iter().all(|occasion| item.tags.iter().any(|tag| tag == occasion));
    assert!(owned.iter().filter(is_for_dinner).count() >= 10);

    for item in &owned {
        let id = &item.id;
        assert!(item.brand.is_some() && item.condition.is_some() && item.size.is_some(), "{id}");
        assert!(!item.tags.is_empty() && !item.colours.is_empty(), "{id}");
        assert!(item.price.as_ref().is_some_and(|Price { amount, .. }| *amount > 0.0), "{id}");
        assert!(matches!(item.condition.as_deref(), Some("New" | "Excellent" | "Good" | "Fair")), "{id}");
        for colour in &item.colours {
            let digits = colour.hex.strip_prefix('#').unwrap();
            assert!(digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
        }
    }
    let currencies: HashSet<String> =
        owned.iter().filter_map(|item| Some(item.price.as_ref()?.original_currency.clone())).collect();
    assert_eq!(currencies, ["EUR", "GBP", "USD"].map(str::to_owned).into());
    assert_eq!(of(Container::Wardrobe).iter().filter(|item| item["price"].is_number()).count(), 2);
}

#[test]
fn items_and_wear_events_tell_the_same_story() {
    let mut events: HashMap<_, Vec<WearEvent>> = HashMap::new();
    for event in records::<WearEvent>(Container::WearEvents) {
        assert!(event.occurred_at.is_some() && event.occasion.is_some(), "{}", event.id);
        assert!(event.weather_snapshot.as_ref().is_some_and(|weather| weather.temp_celsius.is_some()));
        events.entry(event.item_id.clone()).or_default().push(event);
    }
    for item in records::<WardrobeItem>(Container::Wardrobe) {
        let id = &item.id;
        let mut worn = events.remove(id).unwrap_or_default();
        worn.sort_by_key(|event| std::cmp::Reverse(event.occurred_at));
        assert!(item.wear_count as usize >= worn.len(), "{id}");
        assert_eq!(item.wear_count == 0, worn.is_empty(), "{id}");
        assert_eq!(item.last_worn_at, worn.first().and_then(|event| event.occurred_at), "{id}");
        assert!(item.is_owned() || worn.is_empty(), "{id} is not owned, but was worn");
        assert!(worn.last().is_none_or(|first| first.occurred_at > item.date_added), "{id} was worn too early");
        assert_eq!(item.wear_events.len(), worn.len().min(30), "{id}");
        for (short, event) in item.wear_events.iter().zip(&worn) {
            assert_eq!(short.occurred_at, event.occurred_at, "{id}");
            assert_eq!(short.occasion, event.occasion, "{id}");
            assert_eq!(short.weather_snapshot, event.weather_snapshot, "{id}");
        }
    }
    assert!(events.is_empty(), "events of unknown items: {:?}", events.keys());
}

#[test]
fn clothes_fit_the_weather_they_were_worn_in() {
    let warm = ["demo-camel-wool-coat", "demo-olive-puffer-jacket", "demo-cream-cable-knit"];
    let light = ["demo-tan-leather-sandals", "demo-navy-tailored-shorts", "demo-white-linen-trousers"];
    for event in records::<WearEvent>(Container::WearEvents) {
        let temperature = event.weather_snapshot.and_then(|weather| weather.temp_celsius).unwrap();
        assert!((-5.0..40.0).contains(&temperature), "{}", event.id);
        let item = event.item_id.as_str();
        assert!(!warm.contains(&item) || temperature < 15.0, "{item} at {temperature}");
        assert!(!light.contains(&item) || temperature > 20.0, "{item} at {temperature}");
    }
}

#[test]
fn the_profile_says_enough_for_every_tool() {
    let [profile] = records::<UserProfile>(Container::UserProfiles).try_into().unwrap();
    assert_eq!(profile.id, ada());
    assert_eq!(profile.currency_code, "EUR");
    assert_eq!(profile.location_city.as_deref(), Some("Lisbon"));
    assert!(profile.style_preferences.len() >= 2 && profile.recommendation_opt_in);
    assert!(!profile.favorite_brands.is_empty() && !profile.preferred_colours.is_empty());
}

#[test]
fn moods_cover_all_categories() {
    let moods: Vec<Mood> = records(Container::Moods);
    let categories: HashSet<&str> = moods.iter().map(|mood| mood.primary_mood.as_str()).collect();
    assert_eq!(categories, CATEGORIES.into());
    for mood in &moods {
        assert_eq!(mood.id, format!("{}-{}", slug(&mood.primary_mood), slug(&mood.name)));
        assert!(mood.trend_score > 0.0 && !mood.description.is_empty() && !mood.sub_moods.is_empty());
        assert!(!mood.mood_signals.color_palette.is_empty() && !mood.mood_signals.key_pieces.is_empty());
    }
    for mood in of(Container::Moods) {
        assert!((2..=4).contains(&mood["sources"].as_array().unwrap().len()), "{}", mood["id"]);
    }
}

#[test]
fn sources_can_be_read_but_are_left_alone_by_the_daily_scrape() {
    let (mut subreddits, mut shops) = (0, 0);
    for source in records::<Source>(Container::ScraperSources) {
        match source.source_type {
            SourceType::Reddit => subreddits += usize::from(RedditConfig::read(&source.config).is_ok()),
            SourceType::BrandSite => {
                let config: SelectorConfig = serde_json::from_value(source.config.clone()).unwrap();
                config.check().unwrap();
                assert_eq!(config.pagination.kind, "next_link");
                shops += 1;
            }
        }
        assert!(source.is_done_for("2200-01-01"), "{}", source.id);
    }
    assert_eq!((subreddits, shops), (1, 1));
    for item in of(Container::ScrapedItems) {
        for link in item["buyLinks"].as_array().unwrap() {
            let read: BuyLink = serde_json::from_value(link.clone()).unwrap();
            assert_eq!(Some(read), BuyLink::at(link["url"].as_str().unwrap()));
        }
        let gallery = item["galleryImages"].as_array().unwrap();
        assert!(gallery.is_empty() || gallery[0] == item["imageUrl"], "{}", item["id"]);
        assert!(item["price"].is_null() || item["price"].is_string(), "{}", item["id"]);
    }
}

#[tokio::test]
async fn scraped_items_have_the_ids_and_hashes_that_scraping_would_give_them() {
    let pool = PixelPool::default();
    let sources: HashMap<String, String> = of(Container::ScraperSources)
        .iter()
        .map(|source| {
            assert!(source["isActive"] == true && source["isGlobal"] == true && source["config"].is_object());
            (source["id"].as_str().unwrap().to_owned(), source["sourceType"].as_str().unwrap().to_owned())
        })
        .collect();
    let (mut hashes, mut wrong): (Vec<u64>, Vec<String>) = (Vec::new(), Vec::new());
    for (item, raw) in records::<ScrapedItem>(Container::ScrapedItems).iter().zip(of(Container::ScrapedItems)) {
        let digest = Sha256::digest(format!("{}:{}", item.source_id, item.product_url));
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(raw["sourceType"], sources[&item.source_id].as_str(), "{}", item.id);
        assert_eq!(item.id, format!("{}-{hex}", sources[&item.source_id]));
        assert_eq!(raw["userId"], GLOBAL);
        assert!(!item.title.is_empty() && !item.image_url.is_empty() && !item.tags.is_empty(), "{}", item.id);
        let hash = raw["pHash"].as_str().filter(|hash| hash.len() == 16).unwrap();
        let picture = pictures::FEED.iter().find(|picture| picture.name == item.id.as_str()).unwrap();
        let of_picture = phash::hash(&pool, picture.file.into(), &decode::Limits::default()).await.unwrap();
        if hash != of_picture.to_string() {
            wrong.push(format!("{} is {of_picture}, not {hash}", item.id));
        }
        let hash = u64::from_str_radix(hash, 16).unwrap();
        if hashes.iter().any(|other| (hash ^ other).count_ones() < 5) {
            wrong.push(format!("{} looks like another", item.id));
        }
        hashes.push(hash);
    }
    assert!(wrong.is_empty(), "hashes of pictures: {wrong:#?}");
}

/// Returns the names of the files with this extension in a directory of the source tree.
fn files_in(directory: &str, extension: &str) -> BTreeMap<String, u64> {
    let directory = format!("{}/demo/{directory}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        Some((name.strip_suffix(extension)?.to_owned(), entry.metadata().unwrap().len()))
    });
    named.collect()
}

#[test]
fn every_item_has_its_picture_and_every_picture_its_item() {
    let named = |container: Container| -> Vec<String> {
        let file = FILES.iter().find(|file| file.container == container).unwrap();
        let mut names = Vec::new();
        for item in file.documents() {
            let gallery = item["galleryImages"].as_array().into_iter().flatten();
            let own = item["imageUrl"].as_str().unwrap().strip_prefix(PICTURE).unwrap();
            assert_eq!(item["id"], own);
            names.push(own.to_owned());
            let further = gallery.map(|url| url.as_str().unwrap().strip_prefix(PICTURE).unwrap().to_owned());
            names.extend(further.filter(|name| name != own));
        }
        names
    };
    let embedded = |table: &[Picture]| -> Vec<String> { table.iter().map(|it| it.name.to_owned()).collect() };
    assert_eq!(named(Container::Wardrobe), embedded(pictures::WARDROBE));
    assert_eq!(named(Container::ScrapedItems), embedded(pictures::FEED));
    let files = files_in("pictures", ".webp");
    let all: BTreeSet<String> = embedded(pictures::WARDROBE).into_iter().chain(embedded(pictures::FEED)).collect();
    assert_eq!(files.keys().cloned().collect::<BTreeSet<_>>(), all);
    let photographs = files_in("photographs", ".jpg");
    assert!((4..=6).contains(&photographs.len()) && photographs.values().all(|size| *size <= 120_000));
    let total: u64 = files.values().chain(photographs.values()).sum();
    assert!(total <= 1_500_000, "{total} bytes");
}

#[test]
fn pictures_are_cut_outs_in_the_wardrobe_and_on_plain_ground_in_the_feed() {
    for (table, is_cut_out) in [(pictures::WARDROBE, true), (pictures::FEED, false)] {
        for Picture { name, file } in table {
            let picture = image::load_from_memory_with_format(file, image::ImageFormat::WebP).unwrap().into_rgba8();
            assert_eq!(picture.dimensions(), (420, 560), "{name}");
            let corners = [(0, 0), (419, 0), (0, 559), (419, 559)].map(|(x, y)| picture.get_pixel(x, y).0);
            if is_cut_out {
                assert!(corners.iter().all(|corner| corner[3] == 0), "{name} has a ground");
                let shown = picture.pixels().filter(|pixel| pixel.0[3] > 200).count();
                assert!(shown * 10 > 420 * 560, "{name} is nearly empty");
            } else {
                assert!(picture.pixels().all(|pixel| pixel.0[3] == 255), "{name} is transparent");
                assert!(corners.iter().all(|corner| corner[..3].iter().all(|part| *part > 190)), "{name} is dark");
            }
        }
    }
}

#[tokio::test]
async fn pictures_are_written_once() {
    let files = Files::new();
    let shelf = Shelf::with_writes(usize::MAX);
    let data = Data::new(shelf.clone());
    assert_eq!(import_pictures(&data, files.gallery(), &ada()).await.unwrap(), 0, "there is no demo to show");
    assert!(load_if_empty(&data, &MODEL, files.gallery(), &ada(), NOW).await.unwrap());

    // As after an interrupted load, or with the user's own picture under that name.
    let first = picture_name(Some(&ada()), pictures::WARDROBE[0].name);
    let own = Bytes::from_static(b"my own picture");
    files.blobs.put(&files.container, &first, own.clone()).await.unwrap();
    let all = pictures::WARDROBE.len() + pictures::FEED.len();
    assert_eq!(import_pictures(&data, files.gallery(), &ada()).await.unwrap(), all - 1);
    let kept = files.blobs.get(&files.container, &first, blob::Span::Whole).await.unwrap().unwrap();
    assert_eq!(kept.bytes().await.unwrap(), own);

    // Deleted pictures are not restored.
    assert!(files.blobs.delete(&files.container, &first).await.unwrap());
    assert_eq!(import_pictures(&data, files.gallery(), &ada()).await.unwrap(), 0);
    assert!(files.blobs.properties(&files.container, &first).await.unwrap().is_none());

    // Another user gets the wardrobe's pictures as well; the feed's already exist.
    let grace = UserId::from("grace");
    assert!(load_if_empty(&data, &MODEL, files.gallery(), &grace, NOW).await.unwrap());
    assert_eq!(import_pictures(&data, files.gallery(), &grace).await.unwrap(), pictures::WARDROBE.len());
}

#[test]
fn a_scraped_item_is_embedded_by_tags_title_and_the_beginning_of_its_description() {
    let item = serde_json::json!({"tags": ["wool", "navy"], "title": "Coat", "description": "é".repeat(300)});
    assert_eq!(embedded_text(&item), format!("wool navy Coat {}", "é".repeat(200)));
}

/// A store with only what loading needs, whose writes can be made to fail.
struct Shelf {
    documents: Mutex<HashMap<Key, String>>,
    writes_left: AtomicUsize,
}

impl Shelf {
    fn with_writes(writes: usize) -> Arc<Self> {
        Arc::new(Self { documents: Mutex::default(), writes_left: AtomicUsize::new(writes) })
    }

    fn contents(&self) -> HashMap<Key, Value> {
        let documents = self.documents.lock().unwrap();
        documents.iter().map(|(key, json)| (key.clone(), serde_json::from_str(json).unwrap())).collect()
    }
}

#[async_trait]
impl DocumentStore for Shelf {
    async fn read(&self, key: &Key) -> store::Result<Option<Stored>> {
        let json = self.documents.lock().unwrap().get(key).cloned();
        Ok(json.map(|json| Stored { json, etag: ETag(String::new()) }))
    }

    async fn create(&self, key: &Key, document: &Value) -> store::Result<ETag> {
        tokio::task::yield_now().await; // so that loads at the same time do interleave
        let mut documents = self.documents.lock().unwrap();
        if documents.contains_key(key) {
            return Err(store::Error::Conflict);
        }
        let left = self.writes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_err(|_| store::Error::Unavailable("no more writes".into()))?;
        documents.insert(key.clone(), document.to_string());
        Ok(ETag(String::new()))
    }

    async fn upsert(&self, _: &Key, _: &Value) -> store::Result<ETag> {
        panic!("loading replaces nothing")
    }

    async fn replace(&self, _: &Key, _: &Value, _: &ETag) -> store::Result<ETag> {
        panic!("loading replaces nothing")
    }

    async fn delete(&self, _: &Key, _: Option<&ETag>) -> store::Result<bool> {
        panic!("loading deletes nothing")
    }

    async fn batch(&self, _: Container, _: &str, _: &[Write]) -> store::Result<()> {
        panic!("loading needs no batch")
    }

    async fn query(&self, query: &Query) -> store::Result<Page> {
        assert!(query.filter.is_none() && query.after.is_none(), "more than this store understands");
        let documents = self.documents.lock().unwrap();
        let asked = documents.iter().filter(|(key, _)| {
            key.container == query.container && query.scope == Scope::Partition(key.partition.clone())
        });
        let found = asked.map(|(_, json)| Stored { json: json.clone(), etag: ETag(String::new()) });
        Ok(Page { documents: found.collect(), ..Page::default() })
    }
}

#[async_trait]
impl PartitionIndex for Shelf {
    async fn changes(&self, _: Container, _: &str) -> store::Result<Option<ChangeMark>> {
        Ok(None)
    }

    async fn count(&self, query: &Query) -> store::Result<u64> {
        Ok(self.query(query).await?.documents.len() as u64)
    }

    async fn nearest(&self, _: &Query, _: &'static str, _: &[f32]) -> store::Result<Option<Vec<Stored>>> {
        Ok(None)
    }
}

#[async_trait]
impl Upkeep for Shelf {
    async fn ping(&self) -> store::Result<()> {
        Ok(())
    }

    async fn sweep_expired(&self) -> store::Result<usize> {
        Ok(0)
    }

    async fn find_damage(&self) -> store::Result<Option<String>> {
        Ok(None)
    }
}

/// A model that embeds every text by its length, or returns one vector too few.
struct Lengths {
    missing: usize,
}

#[async_trait]
impl Model for Lengths {
    fn name(&self, _: Purpose) -> &str {
        "lengths"
    }

    async fn stream(&self, _: &CallContext, _: ChatRequest) -> llm::Result<PartStream> {
        panic!("loading does not chat")
    }

    async fn complete(&self, _: &CallContext, _: ChatRequest) -> llm::Result<Reply> {
        panic!("loading does not chat")
    }

    async fn embed(&self, _: &CallContext, texts: &[String]) -> llm::Result<Vec<Vec<f32>>> {
        let texts = &texts[self.missing..];
        Ok(texts.iter().map(|text| vec![text.len() as f32; EMBEDDING_DIMENSIONS]).collect())
    }

    async fn ping(&self) -> llm::Result<()> {
        Ok(())
    }
}

const MODEL: Lengths = Lengths { missing: 0 };

#[tokio::test]
async fn the_demo_is_loaded_once() {
    let files = Files::new();
    let shelf = Shelf::with_writes(usize::MAX);
    let data = Data::new(shelf.clone());
    assert!(load_if_empty(&data, &MODEL, files.gallery(), &ada(), NOW).await.unwrap());
    let first = shelf.contents();
    assert_eq!(first.len(), documents(&ada(), LOAD_DAY, files.gallery()).len());
    for (key, document) in first.iter().filter(|(key, _)| key.container == Container::ScrapedItems) {
        let vector = document["embedding"].as_array().unwrap();
        assert_eq!(vector.len(), EMBEDDING_DIMENSIONS, "{key:?}");
        assert_eq!(vector[0].as_f64(), Some(embedded_text(document).len() as f64), "{key:?}");
    }
    assert!(!load_if_empty(&data, &MODEL, files.gallery(), &ada(), NOW + Duration::days(1)).await.unwrap());
    assert_eq!(shelf.contents(), first);
}

#[tokio::test]
async fn a_second_user_gets_a_wardrobe_and_shares_the_feed() {
    let files = Files::new();
    let shelf = Shelf::with_writes(usize::MAX);
    let data = Data::new(shelf.clone());
    assert!(load_if_empty(&data, &MODEL, files.gallery(), &ada(), NOW).await.unwrap());
    assert!(load_if_empty(&data, &MODEL, files.gallery(), &UserId::from("grace"), NOW).await.unwrap());
    assert_eq!(shelf.contents().len(), 2 * (52 + 339 + 1) + 15 + 2 + 30);
}

#[tokio::test]
async fn somebody_with_clothes_or_a_profile_of_their_own_is_left_alone() {
    let files = Files::new();
    for key in [Key::new(Container::Wardrobe, "ada", "my-shirt"), Profiles::key(&ada())] {
        let shelf = Shelf::with_writes(usize::MAX);
        let document = serde_json::json!({"id": key.id, "userId": "ada"});
        shelf.create(&key, &document).await.unwrap();
        let data = Data::new(shelf.clone());
        assert!(!load_if_empty(&data, &MODEL, files.gallery(), &ada(), NOW).await.unwrap(), "{key:?}");
        assert_eq!(shelf.contents(), HashMap::from([(key, document)]));
    }
}

#[tokio::test]
async fn a_load_that_was_cut_is_completed_as_if_it_had_not_been() {
    let files = Files::new();
    let whole = Shelf::with_writes(usize::MAX);
    assert!(load_if_empty(&Data::new(whole.clone()), &MODEL, files.gallery(), &ada(), NOW).await.unwrap());
    let whole = whole.contents();
    for writes in [0, 1, 2, 51, 52, 53, 200, 400, whole.len() - 1] {
        let shelf = Shelf::with_writes(writes);
        let data = Data::new(shelf.clone());
        let cut = load_if_empty(&data, &MODEL, files.gallery(), &ada(), NOW).await;
        assert!(matches!(cut, Err(Error::Store(store::Error::Unavailable(_)))), "{writes}: {cut:?}");
        assert_eq!(shelf.contents().len(), writes);
        assert!(!shelf.contents().contains_key(&Profiles::key(&ada())), "{writes}: the mark came too early");

        shelf.writes_left.store(usize::MAX, Ordering::Relaxed);
        let later = if writes == 0 { NOW } else { NOW + Duration::days(40) };
        assert!(load_if_empty(&data, &MODEL, files.gallery(), &ada(), later).await.unwrap(), "{writes}");
        assert!(shelf.contents() == whole, "{writes}: the dates are of two loads");
    }
}

#[tokio::test]
async fn loads_at_the_same_time_make_one_demo() {
    let files = Files::new();
    let user = ada();
    // The second process is a day later, as around midnight.
    let days = [NOW, NOW + Duration::days(1)];
    let mut wholes = Vec::new();
    for now in days {
        let shelf = Shelf::with_writes(usize::MAX);
        assert!(load_if_empty(&Data::new(shelf.clone()), &MODEL, files.gallery(), &user, now).await.unwrap());
        wholes.push(shelf.contents());
    }
    let shelf = Shelf::with_writes(usize::MAX);
    let data = Data::new(shelf.clone());
    let (first, second) = tokio::join!(
        load_if_empty(&data, &MODEL, files.gallery(), &user, days[0]),
        load_if_empty(&data, &MODEL, files.gallery(), &user, days[1])
    );
    assert!(first.unwrap() != second.unwrap(), "exactly one of them completes it");
    assert!(wholes.contains(&shelf.contents()), "the dates are of two loads");
}

#[tokio::test]
async fn nothing_is_written_when_vectors_are_missing() {
    let files = Files::new();
    let shelf = Shelf::with_writes(usize::MAX);
    let outcome = load_if_empty(&Data::new(shelf.clone()), &Lengths { missing: 1 }, files.gallery(), &ada(), NOW).await;
    assert!(matches!(outcome, Err(Error::VectorCount { got: 29, wanted: 30 })), "{outcome:?}");
    assert!(shelf.contents().is_empty());
}

#[test]
fn loading_can_be_a_background_task() {
    let files = Files::new();
    fn is_send<T: Send>(_: &T) {}
    let data = Data::new(Shelf::with_writes(0));
    is_send(&load_if_empty(&data, &MODEL, files.gallery(), &ada(), NOW));
}

#[test]
fn examples_are_documents_as_the_service_writes_them() {
    fn reads<T: DeserializeOwned>(document: &Value) {
        serde_json::from_value::<T>(document.clone()).unwrap();
    }
    let mut seen = BTreeSet::new();
    for (key, document) in examples::documents(&ada(), LOAD_DAY, Files::new().gallery()) {
        assert!(key.is_valid() && seen.insert((key.container, key.id.clone())), "{key:?}");
        assert!(!document.to_string().contains(PLACEHOLDER_USER), "{key:?}");
        assert!(!document.to_string().contains("\"P-"), "{key:?}");
        match key.container {
            Container::Wardrobe => reads::<DraftItem>(&document),
            Container::StylingActivity => reads::<StylingActivity>(&document),
            Container::Digests => reads::<Digest>(&document),
            Container::TasteCalibration => reads::<QuizSession>(&document),
            Container::Jobs => reads::<Job>(&document),
            Container::ChatRuns if document["events"].is_array() => reads::<LogPiece>(&document),
            Container::ChatRuns if document["status"].is_string() => reads::<ChatRun>(&document),
            Container::Collections => reads::<Collection>(&document),
            Container::ApiTokens if document["owner"].is_string() => reads::<ApiTokenKey>(&document),
            Container::TasteAnalysisJobDeadLetters => reads::<DeadLetter>(&document),
            Container::ChatRuns => reads::<ChatHead>(&document),
            Container::ApiTokens => reads::<ApiTokenList>(&document),
            other => panic!("no example is expected in {other:?}"),
        }
    }
    assert_eq!(seen.len(), 14);
}
