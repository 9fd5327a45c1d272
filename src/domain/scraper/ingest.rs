//! Ingestion of candidates: new ones are written to the feed with picture hash and embedding.
//!
//! Safe to repeat: an item's id is derived from source and page. Works in batches, each of which detects items written
//! by earlier ones.

use std::collections::HashSet;
use std::ops::AddAssign;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{debug, warn};
use url::Url;

use super::candidate::Candidate;
use super::dedupe::Claimed;
use super::{Error, Scraper};
use crate::base::chain::Chain;
use crate::data::items::GLOBAL;
use crate::domain::pictures;
use crate::imaging::decode;
use crate::imaging::phash::{self, PerceptualHash};
use crate::llm::{CallContext, EMBEDDING_DIMENSIONS};
use crate::model::buy_link::BuyLink;
use crate::model::ids::{ScrapedItemId, UserId};
use crate::model::item::{FeedItem, NewItem};
use crate::model::source::Source;
use crate::net::guarded::{FetchError, FetchLimits, UrlRefused, check_url};

/// Most candidates per run.
const MOST_CANDIDATES: usize = 500;
/// Candidates looked up, embedded and written together.
const BATCH: usize = 50;
/// Concurrent picture downloads.
const CONCURRENT_PICTURES: usize = 8;
/// Concurrent writes.
const CONCURRENT_WRITES: usize = 8;
/// Limits of a picture download.
const PICTURE_LIMITS: FetchLimits = FetchLimits { size_bytes: 20 * 1024 * 1024, time: Duration::from_secs(15) };
/// Time limit for all pictures of a run; items after that have no hash.
const PICTURES_TIME: Duration = Duration::from_secs(90);
/// Most earlier items per run whose missing embedding is computed.
const MOST_FILLED: usize = 200;

const LONGEST_TITLE: usize = 300;
const LONGEST_DESCRIPTION: usize = 5_000;
const LONGEST_COMMENT: usize = 2_000;
const LONGEST_PRICE: usize = 60;
const LONGEST_BRAND: usize = 100;
const LONGEST_TAG: usize = 40;
const MOST_TAGS: usize = 20;
const MOST_PICTURES: usize = 20;
const MOST_LINKS: usize = 10;
/// Longest URL, in bytes.
const LONGEST_URL: usize = 2_000;
/// Characters of a description that are embedded.
const EMBEDDED_DESCRIPTION: usize = 200;

/// Origin of candidates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// User who submitted them; `None` if the service fetched them. Submitted ones need an available picture.
    pub submitter: Option<UserId>,
    /// Whether they are verified against the source.
    pub verified: bool,
}

impl Origin {
    /// Fetched from the source by this service.
    pub const FETCHED: Self = Self { submitter: None, verified: true };

    /// Returns who pays for embeddings: the submitter, if any.
    fn payer(&self) -> CallContext {
        self.submitter.as_ref().map_or_else(CallContext::service, CallContext::user)
    }
}

/// Report of an ingestion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngestReport {
    /// New items.
    pub new_items: usize,
    /// Candidates that the feed has already, by page or picture.
    pub duplicates: usize,
    /// Candidates without a valid title, page or picture, and submitted ones whose picture is gone.
    pub unusable: usize,
    /// New items without a picture hash.
    pub without_hash: usize,
    /// New items without an embedding.
    pub without_vector: usize,
    /// Earlier items whose embedding was computed.
    pub filled: usize,
}

impl AddAssign for IngestReport {
    fn add_assign(&mut self, other: Self) {
        self.new_items += other.new_items;
        self.duplicates += other.duplicates;
        self.unusable += other.unusable;
        self.without_hash += other.without_hash;
        self.without_vector += other.without_vector;
        self.filled += other.filled;
    }
}

impl Scraper {
    /// Writes new candidates to the feed. Does not record the scrape.
    ///
    /// # Errors
    /// When the store fails. What was written is found the next time.
    pub async fn ingest(
        &self,
        source: &Source,
        candidates: Vec<Candidate>,
        origin: &Origin,
    ) -> Result<IngestReport, Error> {
        let mut report = IngestReport::default();
        let mut seen = HashSet::new();
        let mut usable = Vec::new();
        for candidate in candidates.into_iter().take(MOST_CANDIDATES) {
            match clean(candidate) {
                None => report.unusable += 1,
                Some(candidate) if !seen.insert(candidate.product_url.clone()) => report.duplicates += 1,
                Some(candidate) => usable.push(candidate),
            }
        }
        let pictures_until = Instant::now() + PICTURES_TIME;
        let mut model_answers = true;
        let mut vectorless = Vec::new();
        for batch in usable.chunks(BATCH) {
            let run = Batch { scraper: self, source, origin, partition: partition(source), pictures_until };
            run.ingest(batch, &mut report, &mut vectorless, &mut model_answers).await?;
        }
        if model_answers {
            report.filled = self.fill_vectors(partition(source), &vectorless).await?;
        }
        Ok(report)
    }

    /// Computes missing embeddings of these and some earlier items. Returns how many.
    async fn fill_vectors(&self, partition: &str, ids: &[ScrapedItemId]) -> Result<usize, Error> {
        let items = &self.data().items;
        let mut waiting = items.find_in(partition, ids).await?;
        waiting.extend(items.without_vectors(partition, MOST_FILLED).await?);
        let mut seen = HashSet::new();
        waiting.retain(|item| seen.insert(item.id.clone()));
        let mut filled = 0;
        for batch in waiting.chunks(BATCH) {
            // The service pays for embeddings of earlier items, no matter who submitted them.
            let texts = batch.iter().map(text_of_item).collect();
            let Some(vectors) = self.embed(&CallContext::service(), texts).await else { break };
            for (item, vector) in batch.iter().zip(vectors) {
                filled += usize::from(items.fill_vector(partition, &item.id, &vector).await?);
            }
        }
        Ok(filled)
    }

    /// Embeds texts; `None`, and a log line, if the model fails.
    async fn embed(&self, context: &CallContext, texts: Vec<String>) -> Option<Vec<Vec<f64>>> {
        let vectors = match self.model().embed(context, &texts).await {
            Ok(vectors) => vectors,
            Err(error) => {
                warn!(items = texts.len(), error = %Chain(&error), "items not embedded: a later run will embed them");
                return None;
            }
        };
        if vectors.len() != texts.len() || vectors.iter().any(|vector| vector.len() != EMBEDDING_DIMENSIONS) {
            warn!(items = texts.len(), "embeddings have the wrong number or length: a later run will try again");
            return None;
        }
        Some(vectors.into_iter().map(|vector| vector.into_iter().map(shortest).collect()).collect())
    }

    /// Hashes the picture at a URL, if available.
    async fn look_at(&self, url: &str) -> Picture {
        let picture = match self.pictures().get(url, PICTURE_LIMITS).await {
            Ok(picture) => picture,
            Err(error) => {
                debug!(error = %Chain(&error), "picture not fetched");
                return match error {
                    pictures::Error::Missing
                    | pictures::Error::Fetch(
                        FetchError::Status(StatusCode::NOT_FOUND | StatusCode::GONE)
                        | FetchError::Refused(UrlRefused::NotPublic),
                    ) => Picture::Gone,
                    _ => Picture::Unknown,
                };
            }
        };
        match phash::hash(self.pixels(), picture.bytes, &decode::Limits::default()).await {
            Ok(hash) => Picture::Hashed(hash),
            Err(error) => {
                debug!(error = %Chain(&error), "picture not hashed");
                Picture::Unknown
            }
        }
    }
}

/// State of a candidate's picture.
enum Picture {
    /// Available, with its hash.
    Hashed(PerceptualHash),
    /// Temporarily unavailable.
    Unknown,
    /// Missing, or not a picture.
    Gone,
}

/// A batch of candidates.
struct Batch<'a> {
    scraper: &'a Scraper,
    source: &'a Source,
    origin: &'a Origin,
    partition: &'a str,
    pictures_until: Instant,
}

impl Batch<'_> {
    async fn ingest(
        &self,
        candidates: &[Candidate],
        report: &mut IngestReport,
        vectorless: &mut Vec<ScrapedItemId>,
        model_answers: &mut bool,
    ) -> Result<(), Error> {
        let urls: Vec<String> = candidates.iter().map(|candidate| candidate.product_url.clone()).collect();
        let known = self.scraper.data().items.with_pages(self.partition, &urls).await?;
        vectorless.extend(known.iter().filter(|item| item.lacks_vector()).map(|item| item.id.clone()));
        let known: HashSet<&str> = known.iter().map(|item| item.product_url.as_str()).collect();
        let unknown = candidates.iter().filter(|candidate| !known.contains(candidate.product_url.as_str()));
        let unknown: Vec<Candidate> = unknown.cloned().collect();
        report.duplicates += candidates.len() - unknown.len();

        let fresh = self.without_known_pictures(unknown, report).await?;
        if fresh.is_empty() {
            return Ok(());
        }
        // Stop after one failure: the model's own time limit is long.
        let vectors = match *model_answers {
            true => {
                let texts = fresh.iter().map(|(candidate, _)| text_of_candidate(candidate)).collect();
                self.scraper.embed(&self.origin.payer(), texts).await
            }
            false => None,
        };
        *model_answers = vectors.is_some();
        let vectors = vectors.unwrap_or_else(|| vec![Vec::new(); fresh.len()]);
        let writes = fresh.into_iter().zip(vectors).map(|((candidate, picture), vector)| async move {
            let item = self.item(candidate, picture.as_ref().map(Claimed::hash), vector);
            let is_new = self.scraper.data().items.add(&item).await?;
            // Keep the claim on the picture, unless another run wrote the same item first.
            if let Some(picture) = picture {
                picture.keep();
            }
            Ok::<_, Error>((is_new, item.p_hash.is_none(), item.needs_embedding))
        });
        let written: Vec<_> = stream::iter(writes).buffer_unordered(CONCURRENT_WRITES).collect().await;
        for outcome in written {
            let (is_new, lacks_hash, lacks_vector) = outcome?;
            report.new_items += usize::from(is_new);
            report.duplicates += usize::from(!is_new);
            report.without_hash += usize::from(is_new && lacks_hash);
            report.without_vector += usize::from(is_new && lacks_vector);
        }
        Ok(())
    }

    /// Filters out candidates whose picture the partition has; returns hashes of the others.
    async fn without_known_pictures(
        &self,
        candidates: Vec<Candidate>,
        report: &mut IngestReport,
    ) -> Result<Vec<(Candidate, Option<Claimed>)>, Error> {
        let urls: Vec<String> = candidates.iter().map(|candidate| candidate.image_url.clone()).collect();
        let pictures = urls.into_iter().map(|url| async move {
            let picture = self.scraper.look_at(&url);
            tokio::time::timeout_at(self.pictures_until, picture).await.unwrap_or(Picture::Unknown)
        });
        // In order: of two similar pictures, the first one is kept.
        let pictures: Vec<Picture> = stream::iter(pictures).buffered(CONCURRENT_PICTURES).collect().await;
        let known = self.scraper.known_pictures(self.partition).await?;
        let mut fresh = Vec::with_capacity(candidates.len());
        for (candidate, picture) in candidates.into_iter().zip(pictures) {
            match picture {
                Picture::Hashed(hash) => match Claimed::new(&known, hash) {
                    Some(claimed) => fresh.push((candidate, Some(claimed))),
                    None => report.duplicates += 1,
                },
                Picture::Gone if self.origin.submitter.is_some() => report.unusable += 1,
                Picture::Gone | Picture::Unknown => fresh.push((candidate, None)),
            }
        }
        Ok(fresh)
    }

    fn item(&self, candidate: Candidate, hash: Option<PerceptualHash>, embedding: Vec<f64>) -> NewItem {
        let Source { id, source_type, .. } = self.source;
        let now = self.scraper.now();
        let submitter = self.origin.submitter.as_ref();
        NewItem {
            id: NewItem::id(*source_type, id, &candidate.product_url),
            user_id: self.partition.to_owned(),
            source_id: id.clone(),
            source_type: *source_type,
            title: candidate.title,
            description: candidate.description,
            image_url: candidate.image_url,
            product_url: candidate.product_url,
            buy_links: candidate.buy_links.iter().filter_map(|url| BuyLink::at(url)).collect(),
            price: candidate.price,
            brand: candidate.brand,
            tags: candidate.tags,
            tags_in_lower_case: true,
            gallery_images: candidate.gallery_images,
            comment_text: candidate.comment_text,
            p_hash: hash.map(|hash| hash.to_string()),
            needs_embedding: embedding.is_empty(),
            embedding,
            reddit_score: candidate.reddit_score,
            score_signal: 0,
            scraped_at: now,
            // An item cannot have been found before it was published.
            source_created_at: candidate.source_created_at.filter(|at| *at <= now),
            image_expired: false,
            submitter_id: submitter.map_or(NewItem::SERVER, UserId::as_str).to_owned(),
            verified: self.origin.verified,
        }
    }
}

/// Returns the partition of a source's items: global, or the one user's.
pub fn partition(source: &Source) -> &str {
    match &source.created_by {
        Some(user) if !source.is_global => user.as_str(),
        Some(_) | None => GLOBAL,
    }
}

/// Bounds a candidate's fields; `None` if a required one is missing or refused.
fn clean(candidate: Candidate) -> Option<Candidate> {
    let title = cut(&candidate.title, LONGEST_TITLE);
    let product_url = page_url(&candidate.product_url)?;
    let image_url = picture_url(&candidate.image_url)?;
    if title.is_empty() {
        return None;
    }
    let mut tags: Vec<String> = Vec::new();
    for tag in candidate.tags.iter().map(|tag| cut(&tag.to_lowercase(), LONGEST_TAG)) {
        if !tag.is_empty() && !tags.contains(&tag) && tags.len() < MOST_TAGS {
            tags.push(tag);
        }
    }
    let optional = |text: Option<String>, longest| text.map(|text| cut(&text, longest)).filter(|text| !text.is_empty());
    Some(Candidate {
        title,
        description: cut(&candidate.description, LONGEST_DESCRIPTION),
        image_url,
        product_url,
        buy_links: candidate.buy_links.iter().filter_map(|url| page_url(url)).take(MOST_LINKS).collect(),
        price: optional(candidate.price, LONGEST_PRICE),
        brand: optional(candidate.brand, LONGEST_BRAND),
        tags,
        gallery_images: candidate
            .gallery_images
            .iter()
            .filter_map(|url| picture_url(url))
            .take(MOST_PICTURES)
            .collect(),
        comment_text: cut(&candidate.comment_text, LONGEST_COMMENT),
        reddit_score: candidate.reddit_score,
        source_created_at: candidate.source_created_at,
    })
}

fn cut(text: &str, longest: usize) -> String {
    text.trim().chars().take(longest).collect::<String>().trim_end().to_owned()
}

/// Parses a URL that may be stored: one that could be fetched, without fragment.
fn url(text: &str) -> Option<Url> {
    let mut url = check_url(text).ok()?;
    url.set_fragment(None);
    (url.as_str().len() <= LONGEST_URL).then_some(url)
}

fn page_url(text: &str) -> Option<String> {
    url(text).map(String::from)
}

/// Returns a picture URL that does not expire. Reddit's signed previews have the same path on another host.
fn picture_url(text: &str) -> Option<String> {
    let mut url = url(text)?;
    if url.host_str() == Some("preview.redd.it") {
        url.set_host(Some("i.redd.it")).ok()?;
        url.set_query(None);
    }
    let expires = url.query_pairs().any(|(name, _)| {
        let name = name.to_ascii_lowercase();
        EXPIRING.contains(&name.as_str())
    });
    let is_signed_preview = url.host_str() == Some("external-preview.redd.it");
    (!expires && !is_signed_preview).then(|| url.into())
}

/// Query parameters of expiring signatures: Amazon and Google, Azure, Akamai, `CloudFront`.
const EXPIRING: [&str; 8] =
    ["x-amz-signature", "x-goog-signature", "sig", "hdnea", "hdnts", "signature", "expires", "key-pair-id"];

/// Returns the text to embed: tags, title and the beginning of the description.
pub fn embedded_text<'a>(tags: impl IntoIterator<Item = &'a str>, title: &str, description: &str) -> String {
    let description: String = description.chars().take(EMBEDDED_DESCRIPTION).collect();
    let mut parts: Vec<&str> = tags.into_iter().collect();
    parts.extend([title, &description]);
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

fn text_of_candidate(candidate: &Candidate) -> String {
    embedded_text(candidate.tags.iter().map(String::as_str), &candidate.title, &candidate.description)
}

fn text_of_item(item: &FeedItem) -> String {
    embedded_text(item.tags.iter().map(String::as_str), &item.title, &item.description)
}

/// Returns the shortest decimal that denotes this single-precision number, which halves its length in documents.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_expires_is_not_stored() {
        for (given, kept) in [
            ("https://i.redd.it/a.jpg", Some("https://i.redd.it/a.jpg")),
            ("https://preview.redd.it/a.jpg?width=640&s=abc", Some("https://i.redd.it/a.jpg")),
            ("https://external-preview.redd.it/a.jpg?s=abc", None),
            ("https://shop.example/a.jpg?v=3#x", Some("https://shop.example/a.jpg?v=3")),
            ("https://b.example/a.jpg?X-Amz-Signature=1&X-Amz-Expires=60", None),
            ("https://b.blob.core.windows.net/a.jpg?se=2026&sig=x", None),
            ("http://shop.example/a.jpg", None),
            ("https://127.0.0.1/a.jpg", None),
            ("https://printer.local/a.jpg", None),
        ] {
            assert_eq!(picture_url(given).as_deref(), kept, "{given}");
        }
    }

    #[test]
    fn a_candidate_is_cut_to_size() {
        let candidate = Candidate {
            title: format!("  {} ", "é".repeat(400)),
            image_url: "https://i.example/a.jpg".into(),
            product_url: "https://shop.example/a#top".into(),
            tags: ["Denim", "denim", " ", "x".repeat(50).as_str()].map(str::to_owned).into(),
            gallery_images: vec!["ftp://i.example/b.jpg".into(), "https://i.example/b.jpg".into()],
            buy_links: vec!["javascript:alert(1)".into(), "https://shop.example/a".into()],
            price: Some(" ".into()),
            ..Candidate::default()
        };
        let clean = clean(candidate.clone()).unwrap();
        assert_eq!(clean.title.chars().count(), LONGEST_TITLE);
        assert_eq!(clean.product_url, "https://shop.example/a");
        assert_eq!(clean.tags, ["denim".to_owned(), "x".repeat(LONGEST_TAG)]);
        assert_eq!(clean.gallery_images, ["https://i.example/b.jpg"]);
        assert_eq!((clean.buy_links.len(), clean.price), (1, None));
        for broken in [
            Candidate { title: " ".into(), ..candidate.clone() },
            Candidate { image_url: String::new(), ..candidate.clone() },
            Candidate { product_url: "/a".into(), ..candidate.clone() },
            Candidate { product_url: format!("https://shop.example/{}", "a".repeat(2000)), ..candidate },
        ] {
            assert_eq!(super::clean(broken), None);
        }
    }

    #[test]
    fn a_vector_is_written_short_and_read_the_same() {
        for number in [0.1_f32, -0.012_345_678, 1.0, f32::MIN_POSITIVE, 0.0] {
            let written = shortest(number);
            assert_eq!(written as f32, number);
            assert!(written.to_string().len() <= f64::from(number).to_string().len());
        }
    }
}
