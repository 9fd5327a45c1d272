//! How long it takes to find a picture among 100,000 hashes, and the five nearest of 100,000 vectors; how many of the
//! truly nearest are found; and how long the first search waits until vectors are read from the embedded store.
//!
//! Hashes are compared with computing all distances, vectors with reading as many bytes as there are (the memory's
//! bandwidth) and with exact products of all vectors as they were, both on as many threads.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]
#![expect(clippy::print_stdout, reason = "this is what benchmarks are for")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pluckit::base::clock::SystemClock;
use pluckit::data::Data;
use pluckit::domain::similarity::hashes::HashSet;
use pluckit::domain::similarity::items::SimilarItems;
use pluckit::domain::similarity::vectors::{Quantized, VectorIndex};
use pluckit::imaging::phash::PerceptualHash;
use pluckit::llm::offline::OfflineModel;
use pluckit::llm::{CallContext, EMBEDDING_DIMENSIONS, Model};
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Write};
use serde_json::json;
use support::{Goal, median, print_figure, print_head};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

const HASHES: usize = 100_000;
const LOOK_UPS: usize = 1000;
const VECTORS: usize = 100_000;
/// Fewer, because each takes 30 kB on disk.
const STORED: usize = 20_000;
const TEXTS: usize = 20_000;
const QUERIES: usize = 40;
const ROUNDS: usize = 15;
const THREADS: usize = 2;
const BEST: usize = 5;
/// Most candidates that the service reads from the store.
const CANDIDATES: usize = 256;

fn main() {
    print_head("Similarity");
    hashes();
    vectors();
    support::runtime().block_on(async {
        texts().await;
        stored().await;
    });
}

/// Always the same numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns an approximately normally distributed number, so that vectors have uniformly random directions.
    fn number(&mut self) -> f32 {
        let bits = self.next();
        (0..4).map(|part| (bits >> (16 * part) & 0xffff) as f32 / 65_536.0 - 0.5).sum()
    }

    fn vector(&mut self) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..EMBEDDING_DIMENSIONS).map(|_| self.number()).collect();
        let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|number| *number /= length);
        vector
    }
}

fn hashes() {
    let mut random = Random(1);
    let known: Vec<PerceptualHash> = (0..HASHES).map(|_| PerceptualHash(random.next())).collect();
    // Half of them are known pictures, compressed anew.
    let asked: Vec<PerceptualHash> = (0..LOOK_UPS)
        .map(|number| match number % 2 {
            0 => PerceptualHash(random.next()),
            _ => PerceptualHash(known[number * 97 % HASHES].0 ^ 1 << (random.next() % 64) ^ 1 << (random.next() % 64)),
        })
        .collect();
    let begin = Instant::now();
    let index: HashSet = known.iter().copied().collect();
    let built = begin.elapsed();
    let (mut ours, mut counted) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let found = asked.iter().filter(|hash| index.nearest(**hash).is_some()).count();
        ours.push(milliseconds(begin.elapsed()) / LOOK_UPS as f64);
        assert!(found >= LOOK_UPS / 2);
        let begin = Instant::now();
        let ones: u64 =
            asked.iter().map(|hash| known.iter().map(|known| u64::from(known.distance(*hash))).sum::<u64>()).sum();
        counted.push(milliseconds(begin.elapsed()) / LOOK_UPS as f64);
        black_box(ones);
    }
    let name = "a look-up among 100,000 hashes (their distances alone)";
    print_figure(name, "ms", median(&ours), median(&counted), Goal::AtMost(1.0));
    print_figure("the same, slowest of 15", "ms", support::quantile(&ours, 1.0), median(&counted), Goal::None);
    print_figure("putting 100,000 hashes in", "ms", milliseconds(built), milliseconds(built), Goal::None);
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn exact(one: &[f32], other: &[f32]) -> f32 {
    // Eight sums, so that the compiler can take several numbers at a time.
    let mut sums = [0.0_f32; 8];
    for (one, other) in one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0) {
        for place in 0..8 {
            sums[place] += one[place] * other[place];
        }
    }
    sums.iter().sum()
}

/// The places of the best by exact products of all.
fn scan(all: &[f32], wanted: &[f32]) -> Vec<usize> {
    let part = (all.len() / EMBEDDING_DIMENSIONS).div_ceil(THREADS);
    let mut products: Vec<(f32, usize)> = std::thread::scope(|scope| {
        let parts: Vec<_> = all
            .chunks(part * EMBEDDING_DIMENSIONS)
            .enumerate()
            .map(|(number, vectors)| {
                scope.spawn(move || {
                    let vectors = vectors.chunks_exact(EMBEDDING_DIMENSIONS).enumerate();
                    vectors.map(|(place, vector)| (exact(vector, wanted), number * part + place)).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    products.select_nth_unstable_by(BEST, |one, other| other.0.total_cmp(&one.0));
    products[..BEST].iter().map(|(_, place)| *place).collect()
}

/// Milliseconds for reading so many bytes on [`THREADS`] threads.
fn read(bytes: &[u64]) -> f64 {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for part in bytes.chunks(bytes.len().div_ceil(THREADS)) {
            scope.spawn(|| black_box(part.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word))));
        }
    });
    milliseconds(begin.elapsed())
}

fn vectors() {
    let mut random = Random(2);
    let all: Vec<f32> = (0..VECTORS).flat_map(|_| random.vector()).collect();
    let mut index = VectorIndex::new();
    for (place, vector) in all.chunks_exact(EMBEDDING_DIMENSIONS).enumerate() {
        index.insert(&place.to_string(), &Quantized::new(vector).unwrap());
    }
    let same_size = vec![7_u64; VECTORS * EMBEDDING_DIMENSIONS / 8];
    let (mut ours, mut bare, mut in_full) = (Vec::new(), Vec::new(), Vec::new());
    let (mut found, mut candidates) = (0, 0);
    for _ in 0..QUERIES {
        let wanted = random.vector();
        bare.push(read(&same_size));
        let begin = Instant::now();
        let likely = index.candidates(&wanted, BEST, -1.0, CANDIDATES);
        ours.push(milliseconds(begin.elapsed()));
        let begin = Instant::now();
        let best = scan(&all, &wanted);
        in_full.push(milliseconds(begin.elapsed()));
        candidates += likely.len();
        found += best.iter().filter(|place| likely.iter().any(|id| **id == *place.to_string())).count();
    }
    let (time, least) = (median(&ours), median(&bare));
    let name = "first pass over 100,000 × 1,536, random vectors (reading 154 MB)";
    print_figure(name, "ms", time, least, Goal::AtMost(15.0));
    print_figure(
        "the same, best of 40",
        "ms",
        support::quantile(&ours, 0.0),
        support::quantile(&bare, 0.0),
        Goal::None,
    );
    print_figure("the same (exact products of 614 MB)", "ms", time, median(&in_full), Goal::None);
    let gigabytes = (VECTORS * EMBEDDING_DIMENSIONS) as f64 / 1e6;
    let name = "bytes of vectors per second (the memory's bandwidth)";
    print_figure(name, "GB/s", gigabytes / time, gigabytes / least, Goal::None);
    let wanted = (QUERIES * BEST) as f64;
    print_figure("recall of the true 5, random vectors", "", found as f64 / wanted, 1.0, Goal::RatioAtLeast(0.99));
    print_figure("candidates compared exactly", "", candidates as f64 / QUERIES as f64, BEST as f64, Goal::None);
}

const WORDS: [&str; 40] = [
    "navy",
    "wool",
    "coat",
    "brown",
    "suede",
    "loafers",
    "linen",
    "shirt",
    "grey",
    "silk",
    "dress",
    "boots",
    "leather",
    "jacket",
    "raw",
    "denim",
    "jeans",
    "white",
    "sneakers",
    "vintage",
    "oversized",
    "knit",
    "sweater",
    "black",
    "chelsea",
    "pleated",
    "trousers",
    "camel",
    "scarf",
    "satin",
    "green",
    "midi",
    "skirt",
    "cotton",
    "chore",
    "tailored",
    "blazer",
    "minimal",
    "tote",
    "belt",
];

fn title(number: usize) -> String {
    let mut random = Random(number as u64 + 1);
    random.next();
    let words = (0..8).map(|_| WORDS[(random.next() >> 20) as usize % WORDS.len()]);
    words.collect::<Vec<_>>().join(" ") + &format!(" no {number}")
}

async fn embed(texts: Vec<String>) -> Vec<Vec<f32>> {
    OfflineModel::new().embed(&CallContext::service(), &texts).await.unwrap()
}

async fn texts() {
    let vectors = embed((0..TEXTS).map(title).collect()).await;
    let mut index = VectorIndex::new();
    for (place, vector) in vectors.iter().enumerate() {
        index.insert(&place.to_string(), &Quantized::new(vector).unwrap());
    }
    let all: Vec<f32> = vectors.concat();
    let (mut found, mut candidates) = (0, 0);
    for number in 0..QUERIES {
        let wanted = embed(vec![title(TEXTS + number)]).await.remove(0);
        let likely = index.candidates(&wanted, BEST, 0.3, CANDIDATES);
        candidates += likely.len();
        let best = scan(&all, &wanted);
        found += best.iter().filter(|place| likely.iter().any(|id| **id == *place.to_string())).count();
    }
    let recall = found as f64 / (QUERIES * BEST) as f64;
    print_figure("recall of the true 5, n-grams of 20,000 texts", "", recall, 1.0, Goal::RatioAtLeast(0.99));
    print_figure("candidates compared exactly", "", candidates as f64 / QUERIES as f64, BEST as f64, Goal::None);
}

async fn stored() {
    let directory = TempDir::new().unwrap();
    let clock = Arc::new(SystemClock);
    let store = Arc::new(SqliteStore::open(&directory.path().join("store.db"), clock.clone()).unwrap());
    let mut random = Random(3);
    for first in (0..STORED).step_by(40) {
        let items = (first..first + 40).map(|number| Write::Create {
            document: json!({
                "id": format!("reddit-{number:016x}"), "userId": "global", "title": title(number), "sourceId": "reddit-a",
                "scrapedAt": format!("2026-02-{:02}T{:02}:00:00.000Z", number % 28 + 1, number / 28 % 24),
                "tags": ["classic"], "imageUrl": "https://i.redd.it/1.jpg", "productUrl": "https://www.reddit.com/1",
                "description": "d".repeat(300), "scoreSignal": number % 40, "embedding": random.vector(), "ttl": -1,
            }),
        });
        store.batch(Container::ScrapedItems, "global", &items.collect::<Vec<_>>()).await.unwrap();
    }
    let data = Data::new(store);
    let similar = SimilarItems::new(data, clock, TaskTracker::new(), 200_000);
    let begin = Instant::now();
    let mut first = similar.search(&random.vector(), BEST, -1.0).await.unwrap();
    let mut searches = 1;
    // A search waits for some seconds and then answers from what has been read.
    while !first.is_complete {
        first = similar.search(&random.vector(), BEST, -1.0).await.unwrap();
        searches += 1;
    }
    let cold = begin.elapsed();
    assert_eq!(first.items.len(), BEST);
    print_figure("searches until all was read", "", f64::from(searches), 1.0, Goal::None);
    let mut warm = Vec::new();
    for _ in 0..QUERIES {
        let wanted = random.vector();
        let begin = Instant::now();
        black_box(similar.search(&wanted, BEST, -1.0).await.unwrap());
        warm.push(milliseconds(begin.elapsed()));
    }
    let cold = milliseconds(cold);
    print_figure("first search, 20,000 stored items (later ones)", "ms", cold, median(&warm), Goal::None);
    let per_second = STORED as f64 / cold * 1000.0;
    print_figure("vectors read from the store", "/s", per_second, per_second, Goal::None);
    print_figure("later searches, slowest of 40", "ms", support::quantile(&warm, 1.0), median(&warm), Goal::None);
    println!();
}
