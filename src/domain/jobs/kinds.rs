//! The service's kinds of jobs.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use super::{Finished, JobFault, JobKind, Link, Report, Run, Trouble};
use crate::base::chain::Chain;
use crate::domain::base::Base;
use crate::domain::digest::{self, Digests, Outcome, Trigger};
use crate::domain::moods::{self, CHUNK, Collected, Moods};
use crate::domain::scraper::ingest::{IngestReport, partition};
use crate::domain::scraper::lease::{LeasedSource, Owner};
use crate::domain::scraper::{self, Fetched, Scraper};
use crate::llm;
use crate::model::digest::Digest;
use crate::model::ids::{ScrapedItemId, SourceId};
use crate::model::item::FeedItem;
use crate::model::mood::Snippet;
use crate::model::mood_intake::ChunkReport;

/// Digest for the caller.
pub const DIGEST: &str = "digest.run";
/// Moods of the last months.
pub const MOODS: &str = "moods.seed";
/// Scrape of one source.
pub const SCRAPE: &str = "scraper.run";

/// Chunks of articles that are processed together.
const CHUNKS_AT_A_TIME: usize = 5;
/// Attempts per chunk, and the delay between two; afterwards the chunk is skipped and reported.
const CHUNK_TRIES: u32 = 3;
const CHUNK_PAUSE: Duration = Duration::from_secs(2);
/// Polls of a chunk that another worker has: longer than the lease of a dead worker.
const CHUNK_LOOKS: u32 = 60;
/// Most moods listed in the report.
const MOST_MOODS: usize = 50;
/// Error of a job whose owner's token budget is used up.
const OVER_BUDGET: &str = "The day's budget for the stylist is used up. The job can be restarted tomorrow.";
/// Page URLs per look-up.
const PAGES: usize = 50;

/// Services that jobs use.
#[derive(Clone)]
pub struct Services {
    /// Parts that all services share.
    pub base: Arc<Base>,
    /// Digests.
    pub digests: Digests,
    /// Moods.
    pub moods: Moods,
    /// Scraping.
    pub scraper: Scraper,
}

/// Returns every kind.
pub fn all(services: &Services) -> Vec<JobKind> {
    let [digests, moods, scraper] = [(); 3].map(|()| services.clone());
    vec![
        JobKind::new(DIGEST, false, move |run, input| make_digest(digests.clone(), run, input)).paid_by_owner(),
        JobKind::new(MOODS, true, move |run, input| seed_moods(moods.clone(), run, input)),
        JobKind::new(SCRAPE, true, move |run, input| scrape(scraper.clone(), run, input)),
    ]
}

/// Input of a digest job.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct DigestInput {
    /// Whether to create one even if nothing changed or the user opted out.
    #[serde(default = "yes")]
    pub force: bool,
}

const fn yes() -> bool {
    true
}

/// Outcome: a digest, or the reason why there is none.
#[derive(Serialize, Deserialize)]
enum Made {
    Digest(Box<Digest>),
    Nothing(String),
}

async fn make_digest(services: Services, run: Run, input: DigestInput) -> Result<Finished, JobFault> {
    run.progress(0, 1, "Looking through the wardrobe").await?;
    let step = async {
        let observed = services.base.telemetry.observer.begin(&digest::subject(run.user(), None));
        let trigger = Trigger { force: input.force, week: None };
        // An earlier worker of this job created it and died before it could record this.
        let earlier = match run.is_repeated() {
            true => services.digests.made_since(run.user(), run.asked_at()).await.map_err(digest_fault)?,
            false => None,
        };
        let made = match earlier {
            Some(digest) => Made::Digest(Box::new(digest)),
            None => match services.digests.run(run.user(), trigger, observed).await.map_err(digest_fault)? {
                Outcome::Generated(digest) => Made::Digest(digest),
                Outcome::Skipped(reason) => Made::Nothing(reason.text().to_owned()),
            },
        };
        if let Made::Digest(digest) = &made {
            run.write_output("digest.md", digest::markdown(digest)).await?;
        }
        Ok(made)
    };
    match run.step("digest", Box::pin(step)).await? {
        Made::Digest(digest) => {
            run.progress(1, 1, "There are new ideas").await?;
            let ideas = digest.suggestions.iter();
            let report = Report {
                title: "Ideas for your wardrobe".to_owned(),
                summary: digest::facts(&digest),
                counts: vec![
                    ("ideas", digest.suggestions.len() as u64),
                    ("pieces in the wardrobe", digest.total_items),
                    ("of them worn", digest.items_with_wear_history),
                ],
                troubles: Vec::new(),
                links: [Link { text: "The digest".to_owned(), url: run.output_url("digest.md") }]
                    .into_iter()
                    .chain(ideas.map(|idea| Link { text: idea.item.clone(), url: String::new() }))
                    .collect(),
            };
            Ok(Finished { result: json!({ "status": "ok", "digest": shown(&digest) }), report })
        }
        Made::Nothing(reason) => {
            run.progress(1, 1, "There was nothing to do").await?;
            let report = Report {
                title: "No new ideas".to_owned(),
                summary: format!("No digest was created: {reason}."),
                ..Report::default()
            };
            Ok(Finished { result: json!({ "status": "skipped", "reason": reason }), report })
        }
    }
}

/// Returns the digest in the form of the route.
fn shown(digest: &Digest) -> Value {
    json!({
        "id": digest.id,
        "userId": digest.user_id,
        "generatedAt": digest.generated_at,
        "wardrobeHash": digest.wardrobe_hash,
        "suggestions": digest.suggestions,
        "stylesConsidered": digest.styles_considered,
        "totalItems": digest.total_items,
        "itemsWithWearHistory": digest.items_with_wear_history,
        "climateZone": digest.climate_zone,
    })
}

fn digest_fault(error: digest::Error) -> JobFault {
    let message = match &error {
        digest::Error::Model(llm::Error::OverBudget { .. }) => return JobFault::Failed(OVER_BUDGET.to_owned()),
        digest::Error::Model(_) => "The model could not suggest ideas.",
        digest::Error::Nonsense(_) => "The model's answer was not a digest.",
        digest::Error::HeldElsewhere
        | digest::Error::LeaseLost
        | digest::Error::Data(_)
        | digest::Error::Queue(_)
        | digest::Error::Unwritable(_) => "The digest could not be created.",
    };
    JobFault::retry(message, error)
}

/// Input of a moods job.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoodsInput {
    /// Number of months of 30 days to look back.
    pub months_back: u8,
}

/// Outcome of a chunk: its report, or why there is none.
#[derive(Serialize, Deserialize)]
enum ChunkDone {
    Read(ChunkReport),
    LeftOut(String),
}

async fn seed_moods(services: Services, run: Run, input: MoodsInput) -> Result<Finished, JobFault> {
    run.progress(0, 0, "Collecting articles").await?;
    let collect = async { services.moods.collect(input.months_back).await.map_err(moods_fault) };
    let Collected { snippets, failures } = run.step("collect", Box::pin(collect)).await?;
    let chunks: Vec<_> = snippets.chunks(CHUNK).enumerate().collect();
    let mut troubles: Vec<_> =
        failures.into_iter().map(|failure| Trouble { what: failure.publisher, reason: failure.reason }).collect();
    let mut sum = ChunkReport::default();
    let mut left_out = 0;
    for group in chunks.chunks(CHUNKS_AT_A_TIME) {
        let done = group.first().map_or(0, |(number, _)| *number as u64);
        run.progress(done, chunks.len() as u64, "Reading articles").await?;
        // All of them: a chunk to be retried does not cancel the others.
        let outcomes = join_all(group.iter().map(|(number, snippets)| {
            let step = read_chunk(&services.moods, &run, snippets);
            let (run, name) = (&run, format!("chunk-{}", number + 1));
            async move { run.step(&name, Box::pin(step)).await }
        }));
        for (outcome, (number, _)) in outcomes.await.into_iter().zip(group) {
            match outcome? {
                ChunkDone::Read(report) => {
                    sum.snippets += report.snippets;
                    sum.created += report.created;
                    sum.grown += report.grown;
                    sum.unchanged += report.unchanged;
                }
                ChunkDone::LeftOut(reason) => {
                    left_out += 1;
                    troubles.push(Trouble { what: format!("chunk {} of {}", number + 1, chunks.len()), reason });
                }
            }
        }
    }
    if left_out > 0 && left_out == chunks.len() {
        return Err(JobFault::Failed("None of the articles could be read: the model failed.".to_owned()));
    }
    run.progress(chunks.len() as u64, chunks.len() as u64, "Writing the report").await?;
    let moods = services.base.data.moods.published_by_trend(None, MOST_MOODS).await?;
    let touched = moods.into_iter().filter(|mood| mood.updated_at.is_some_and(|at| at >= run.asked_at()));
    let report = Report {
        title: "Moods of the press".to_owned(),
        summary: format!("The articles of the last {} months were read.", input.months_back),
        counts: vec![
            ("articles", snippets.len() as u64),
            ("of them read", sum.snippets as u64),
            ("new moods", sum.created as u64),
            ("moods with new articles", sum.grown as u64),
            ("moods whose articles were known", sum.unchanged as u64),
        ],
        troubles,
        links: touched.map(|seen| Link { url: format!("/api/moods/{}", seen.mood.id), text: seen.mood.name }).collect(),
    };
    let result = json!({ "seeded": sum.created + sum.grown, "snippets_processed": sum.snippets });
    Ok(Finished { result, report })
}

/// Processes a chunk. One that the model cannot read is skipped.
async fn read_chunk(moods: &Moods, run: &Run, snippets: &[Snippet]) -> Result<ChunkDone, JobFault> {
    let name = format!("job-{}", run.id());
    let (mut tries, mut looks) = (0, 0);
    loop {
        match moods.process_chunk(&name, snippets).await {
            Ok(report) => return Ok(ChunkDone::Read(report)),
            Err(moods::Error::HeldElsewhere) if looks < CHUNK_LOOKS => looks += 1,
            Err(error @ (moods::Error::Model(_) | moods::Error::Nonsense(_))) => {
                tries += 1;
                warn!(job.id = %run.id(), error = %Chain(&error), "chunk of articles not read");
                if tries >= CHUNK_TRIES {
                    let reason = match error {
                        moods::Error::Nonsense(_) => "the model's answer had no moods",
                        _ => "the model failed",
                    };
                    return Ok(ChunkDone::LeftOut(reason.to_owned()));
                }
            }
            Err(error) => return Err(moods_fault(error)),
        }
        tokio::time::sleep(CHUNK_PAUSE).await;
    }
}

fn moods_fault(error: moods::Error) -> JobFault {
    let message = match &error {
        moods::Error::NoSite(_) => "None of the publishers could be read.",
        moods::Error::HeldElsewhere | moods::Error::LeaseLost => "Another run reads the same articles.",
        moods::Error::Data(_)
        | moods::Error::Queue(_)
        | moods::Error::Model(_)
        | moods::Error::Nonsense(_)
        | moods::Error::Unwritable(_)
        | moods::Error::Gone => "The articles could not be read.",
    };
    JobFault::retry(message, error)
}

/// Input of a scrape job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrapeInput {
    /// The source.
    pub source_id: SourceId,
}

async fn scrape(services: Services, run: Run, input: ScrapeInput) -> Result<Finished, JobFault> {
    let Services { base, scraper, .. } = &services;
    let source = base.data.sources.find(&input.source_id).await?;
    let source = source.ok_or_else(|| JobFault::Failed("There is no such source.".to_owned()))?;
    run.progress(0, 3, "Fetching the source").await?;
    let fetch = async { scraper.fetch(&source).await.map_err(scraper_fault) };
    let fetched: Fetched = run.step("fetch", Box::pin(fetch)).await?;
    let pages: Vec<_> = fetched.candidates.iter().map(|candidate| candidate.product_url.clone()).collect();
    run.progress(1, 3, "Adding what is new to the feed").await?;
    let ingest = async {
        let owner = Owner::of_message(run.id().as_str());
        let work = async |leased: LeasedSource| scraper.complete(&leased, fetched, None).await;
        scraper.with_lease(&source, &owner, work).await.map_err(scraper_fault)
    };
    let ingested: IngestReport = run.step("ingest", Box::pin(ingest)).await?;
    run.progress(2, 3, "Saving the items").await?;
    let write = async {
        let mut new = Vec::new();
        let mut lines = String::new();
        for pages in pages.chunks(PAGES) {
            let known = base.data.items.with_pages(partition(&source), pages).await?;
            let ids: Vec<ScrapedItemId> = known.into_iter().map(|item| item.id).collect();
            for item in base.data.items.find_in(partition(&source), &ids).await? {
                let is_new = item.scraped_at.is_some_and(|at| at >= run.asked_at());
                lines.push_str(&item_line(&item, is_new).to_string());
                lines.push('\n');
                if is_new {
                    new.push(Link { text: item.title, url: item.product_url });
                }
            }
        }
        run.write_output("items.jsonl", lines).await?;
        Ok(new.into_iter().map(|Link { text, url }| (text, url)).collect::<Vec<_>>())
    };
    let new: Vec<(String, String)> = run.step("items", Box::pin(write)).await?;
    let few = |count: usize| count as u64;
    let report = Report {
        title: format!("Scrape of {}", source.name),
        summary: format!("{} new items are in the feed.", new.len()),
        counts: vec![
            ("found at the source", few(pages.len())),
            ("new in the feed", few(new.len())),
            ("known before", few(ingested.duplicates)),
            ("without title, page or picture", few(ingested.unusable)),
            ("new, but without a picture hash", few(ingested.without_hash)),
            ("new, but not yet searchable by similarity", few(ingested.without_vector)),
        ],
        troubles: Vec::new(),
        links: new.iter().map(|(text, url)| Link { text: text.clone(), url: url.clone() }).collect(),
    };
    Ok(Finished { result: json!({ "sourceId": input.source_id, "newItems": new.len() }), report })
}

/// Formats an item for the output file of a scrape.
fn item_line(item: &FeedItem, is_new: bool) -> Value {
    json!({
        "id": item.id,
        "sourceId": item.source_id,
        "sourceType": item.shown_source_type(),
        "title": item.title,
        "description": item.description,
        "imageUrl": item.image_url,
        "productUrl": item.product_url,
        "buyLinks": item.buy_links,
        "price": item.price,
        "brand": item.brand,
        "tags": item.tags,
        "galleryImages": item.gallery_images,
        "scrapedAt": item.scraped_at,
        "isNew": is_new,
    })
}

fn scraper_fault(error: scraper::Error) -> JobFault {
    match &error {
        scraper::Error::Missing => JobFault::Failed("There is no such source.".to_owned()),
        scraper::Error::Fetch { is_temporary: false, .. } => {
            JobFault::Failed("The source did not answer as expected, and trying again would not help.".to_owned())
        }
        scraper::Error::Fetch { .. } => JobFault::retry("The source could not be fetched.", error),
        scraper::Error::Leased | scraper::Error::LeaseLost => {
            JobFault::retry("Another worker is scraping the source.", error)
        }
        scraper::Error::OverBudget { .. } => JobFault::Failed(OVER_BUDGET.to_owned()),
        scraper::Error::Busy
        | scraper::Error::BacklogFull
        | scraper::Error::TimedOut
        | scraper::Error::Data(_)
        | scraper::Error::Queue(_)
        | scraper::Error::Unwritable(_) => JobFault::retry("The source could not be scraped.", error),
    }
}
