//! Quantised vectors in memory, eight bits per dimension, to find candidates for an exact comparison.
//!
//! Each vector is normalised and divided into 127 steps of its largest component: 1,536 bytes instead of 6 KB. The
//! error of the cosine is bounded (see `DEVIATIONS`), and all vectors within it are candidates, so the result is exact.
//! A search reads all vectors, in contiguous blocks, on a few threads.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use crate::llm::EMBEDDING_DIMENSIONS;

/// Pairs of numbers in a vector: two bytes form a word, for which the compiler uses baseline vector instructions. With
/// single bytes they would be half as effective.
const WORDS: usize = EMBEDDING_DIMENSIONS / 2;
/// Steps on either side of zero.
const STEPS: f32 = 127.0;
/// Steps of the query vector. Products with [`STEPS`], summed over all numbers, fit into 32 bits.
const QUERY_STEPS: f32 = 10_000.0;
/// Vectors in a block: 1.5 MiB.
const BLOCK: usize = 1024;
/// Fewest vectors per thread.
const THREAD: usize = 4096;
/// Most threads per search.
const MOST_THREADS: usize = 4;
/// Assumed maximum error of a cosine, in steps. Each number is off by at most half a step (0.29 as root mean square),
/// and so is the cosine with a unit vector; this is seven times as much.
const DEVIATIONS: f32 = 2.0;

/// A quantised vector.
#[derive(Debug, Clone)]
pub struct Quantized {
    words: Box<[i16; WORDS]>,
    step: f32,
}

impl Quantized {
    /// Quantises a vector; `None` if its length is wrong, or it is zero or not finite.
    pub fn new(vector: &[f32]) -> Option<Self> {
        let (levels, step) = quantized(vector, STEPS)?;
        let (pairs, _) = levels.as_chunks::<2>();
        let mut words = Box::new([0; WORDS]);
        for (word, [low, high]) in words.iter_mut().zip(pairs) {
            *word = high << 8 | low & 0xff;
        }
        Some(Self { words, step })
    }
}

/// Returns the normalised vector in whole steps, and the size of a step.
fn quantized(vector: &[f32], steps: f32) -> Option<(Vec<i16>, f32)> {
    if vector.len() != EMBEDDING_DIMENSIONS {
        return None;
    }
    let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    let largest = f64::from(vector.iter().fold(0.0_f32, |largest, number| largest.max(number.abs())));
    if !(length.is_finite() && largest > 0.0) {
        return None;
    }
    let scale = f64::from(steps) / largest;
    #[expect(clippy::cast_possible_truncation, reason = "at most the number of steps")]
    let levels = vector.iter().map(|number| (f64::from(*number) * scale).round() as i16).collect();
    #[expect(clippy::cast_possible_truncation, reason = "a number below one")]
    let step = (largest / length / f64::from(steps)) as f32;
    Some((levels, step))
}

/// The query vector, quantised and split for [`Wanted::product`].
struct Wanted {
    low: Box<[i16; WORDS]>,
    high: Box<[i16; WORDS]>,
    step: f32,
}

impl Wanted {
    fn new(vector: &[f32]) -> Option<Self> {
        let (levels, step) = quantized(vector, QUERY_STEPS)?;
        let (pairs, _) = levels.as_chunks::<2>();
        let (mut low, mut high) = (Box::new([0; WORDS]), Box::new([0; WORDS]));
        for (place, pair) in pairs.iter().enumerate() {
            [low[place], high[place]] = *pair;
        }
        Some(Self { low, high, step })
    }

    /// Returns the dot product of both vectors, in the product of their steps.
    fn product(&self, words: &[i16; WORDS]) -> i32 {
        // Both halves of a word per iteration: in this form the compiler processes eight words at a time.
        let halves = words.iter().zip(&*self.low).zip(&*self.high);
        halves
            .map(|((word, low), high)| {
                i32::from(*high) * i32::from(word >> 8) + i32::from(*low) * i32::from((word << 8) >> 8)
            })
            .sum()
    }
}

/// Vectors by the ids of their items.
#[derive(Debug, Default)]
pub struct VectorIndex {
    /// Words of [`BLOCK`] vectors each; the last block may have fewer.
    blocks: Vec<Vec<i16>>,
    steps: Vec<f32>,
    ids: Vec<Arc<str>>,
    places: HashMap<Arc<str>, usize>,
}

impl VectorIndex {
    /// Creates an empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of vectors.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the index is empty.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether there is a vector with this id.
    pub fn contains(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    /// Returns the ids, in no particular order.
    pub fn ids(&self) -> &[Arc<str>] {
        &self.ids
    }

    /// Inserts a vector, replacing one with the same id.
    pub fn insert(&mut self, id: &str, vector: &Quantized) {
        if let Some(place) = self.places.get(id).copied() {
            self.words_mut(place).copy_from_slice(&*vector.words);
            self.steps[place] = vector.step;
            return;
        }
        let place = self.len();
        if place.is_multiple_of(BLOCK) {
            // The first block grows as needed, so that a small index stays small.
            self.blocks.push(if place == 0 { Vec::new() } else { Vec::with_capacity(BLOCK * WORDS) });
        }
        self.blocks[place / BLOCK].extend_from_slice(&*vector.words);
        self.steps.push(vector.step);
        let id: Arc<str> = id.into();
        self.ids.push(id.clone());
        self.places.insert(id, place);
    }

    /// Removes a vector, moving the last one to its place; returns `false` if it does not exist.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(place) = self.places.remove(id) else { return false };
        let last = self.len() - 1;
        let moved: [i16; WORDS] = std::array::from_fn(|word| self.words(last)[word]);
        self.words_mut(place).copy_from_slice(&moved);
        self.blocks[last / BLOCK].truncate(last % BLOCK * WORDS);
        if last.is_multiple_of(BLOCK) {
            self.blocks.pop();
        }
        self.steps.swap_remove(place);
        self.ids.swap_remove(place);
        if place != last {
            self.places.insert(self.ids[place].clone(), place);
        }
        true
    }

    fn words(&self, place: usize) -> &[i16] {
        &self.blocks[place / BLOCK][place % BLOCK * WORDS..][..WORDS]
    }

    fn words_mut(&mut self, place: usize) -> &mut [i16] {
        &mut self.blocks[place / BLOCK][place % BLOCK * WORDS..][..WORDS]
    }

    /// Returns at most `most` ids that may be among the `limit` nearest to `vector` with a cosine of at least `least`,
    /// likely nearest first. They may be more than `limit`, because cosines are only approximate here.
    pub fn candidates(&self, vector: &[f32], limit: usize, least: f32, most: usize) -> Vec<Arc<str>> {
        let Some(wanted) = Wanted::new(vector) else { return Vec::new() };
        if limit == 0 {
            return Vec::new();
        }
        let cosines = self.cosines(&wanted);
        let margin = |place: usize| DEVIATIONS * (self.steps[place] + wanted.step);
        // Lower bounds of the nearest cosines, smallest first.
        let mut floors: Vec<f32> = Vec::with_capacity(limit + 1);
        for (place, cosine) in cosines.iter().enumerate() {
            let floor = cosine - margin(place);
            if floors.len() < limit || floor > floors[0] {
                floors.insert(floors.partition_point(|other| *other < floor), floor);
                if floors.len() > limit {
                    floors.remove(0);
                }
            }
        }
        let floor = floors.first().filter(|_| floors.len() == limit).copied().unwrap_or(f32::MIN).max(least);
        let places = cosines.iter().enumerate().filter(|(place, cosine)| **cosine + margin(*place) >= floor);
        let mut candidates: Vec<(f32, usize)> = places.map(|(place, cosine)| (*cosine, place)).collect();
        candidates.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        candidates.truncate(most);
        candidates.into_iter().map(|(_, place)| self.ids[place].clone()).collect()
    }

    /// Returns the approximate cosine of each vector with the wanted one.
    fn cosines(&self, wanted: &Wanted) -> Vec<f32> {
        let mut cosines = vec![0.0_f32; self.len()];
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_THREADS);
        let threads = threads.min(self.len().div_ceil(THREAD)).max(1);
        let blocks = self.blocks.len().div_ceil(threads).max(1);
        let parts = self.blocks.chunks(blocks).zip(self.steps.chunks(blocks * BLOCK));
        let mut parts = parts.zip(cosines.chunks_mut(blocks * BLOCK));
        thread::scope(|scope| {
            // This thread processes one part itself.
            let own = parts.next();
            for ((blocks, steps), cosines) in parts {
                let work = move || compare(wanted, blocks, steps, cosines);
                scope.spawn(work);
            }
            if let Some(((blocks, steps), cosines)) = own {
                compare(wanted, blocks, steps, cosines);
            }
        });
        cosines
    }
}

fn compare(wanted: &Wanted, blocks: &[Vec<i16>], steps: &[f32], cosines: &mut [f32]) {
    let vectors = blocks.iter().flat_map(|block| block.as_chunks::<WORDS>().0);
    for ((words, step), cosine) in vectors.zip(steps).zip(cosines) {
        *cosine = wanted.product(words) as f32 * (step * wanted.step);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::llm::offline::OfflineModel;
    use crate::llm::{CallContext, Model};

    fn cosine(one: &[f32], other: &[f32]) -> f64 {
        let product = |one: &[f32], other: &[f32]| -> f64 {
            one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
        };
        product(one, other) / (product(one, one) * product(other, other)).sqrt()
    }

    /// Returns the ids of the best by exact comparison of all vectors.
    fn scanned(vectors: &[(String, Vec<f32>)], wanted: &[f32], limit: usize, least: f64) -> Vec<String> {
        let mut all: Vec<(f64, &String)> = vectors.iter().map(|(id, vector)| (cosine(vector, wanted), id)).collect();
        all.retain(|(cosine, _)| *cosine >= least);
        all.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(other.1)));
        all.truncate(limit);
        all.into_iter().map(|(_, id)| id.clone()).collect()
    }

    fn random_vector(state: &mut u64) -> Vec<f32> {
        let mut uniform = || {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            (*state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..EMBEDDING_DIMENSIONS).map(|_| uniform()).collect()
    }

    fn index_of(vectors: &[(String, Vec<f32>)]) -> VectorIndex {
        let mut index = VectorIndex::new();
        for (id, vector) in vectors {
            index.insert(id, &Quantized::new(vector).unwrap());
        }
        index
    }

    #[test]
    fn the_nearest_are_among_the_candidates() {
        let mut state = 11;
        let vectors: Vec<_> = (0..3000).map(|number| (format!("i{number}"), random_vector(&mut state))).collect();
        let index = index_of(&vectors);
        for _ in 0..10 {
            let wanted = random_vector(&mut state);
            let candidates = index.candidates(&wanted, 5, -1.0, 1000);
            assert!(candidates.len() < 60, "most are none: {}", candidates.len());
            for id in scanned(&vectors, &wanted, 5, -1.0) {
                assert!(candidates.iter().any(|candidate| **candidate == *id), "{id}");
            }
        }
    }

    async fn embed(text: &str) -> Vec<f32> {
        OfflineModel::new().embed(&CallContext::service(), &[text.to_owned()]).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn candidates_are_those_of_texts_too() {
        let words =
            ["navy", "wool", "coat", "brown", "suede", "loafers", "linen", "shirt", "grey", "silk", "dress", "boots"];
        let text = |number: usize| [number % 12, number / 12 % 12, number / 144 % 12].map(|word| words[word]).join(" ");
        let mut vectors = Vec::new();
        for number in 0..1728 {
            vectors.push((format!("i{number}"), embed(&text(number)).await));
        }
        let index = index_of(&vectors);
        for query in ["navy wool coat", "brown loafers", "something in silk", "scuba tank"] {
            let wanted = embed(query).await;
            let candidates = index.candidates(&wanted, 5, 0.3, 2000);
            for id in scanned(&vectors, &wanted, 5, 0.3) {
                assert!(candidates.iter().any(|candidate| **candidate == *id), "{query}: {id}");
            }
        }
        assert!(index.candidates(&embed("scuba tank").await, 5, 0.3, 2000).is_empty());
    }

    #[test]
    fn vectors_without_direction_are_none() {
        for vector in [vec![], vec![1.0; 3], vec![0.0; EMBEDDING_DIMENSIONS], vec![f32::NAN; EMBEDDING_DIMENSIONS]] {
            assert!(Quantized::new(&vector).is_none());
            assert!(VectorIndex::new().candidates(&vector, 5, 0.0, 10).is_empty());
        }
        let mut infinite = vec![0.5; EMBEDDING_DIMENSIONS];
        infinite[3] = f32::INFINITY;
        assert!(Quantized::new(&infinite).is_none());
        assert!(Quantized::new(&vec![f32::MAX; EMBEDDING_DIMENSIONS]).is_some());
        assert!(Quantized::new(&vec![f32::MIN_POSITIVE; EMBEDDING_DIMENSIONS]).is_some());
    }

    #[test]
    fn the_extremes_do_not_overflow() {
        let (all, none) = (vec![1.0; EMBEDDING_DIMENSIONS], vec![-1.0; EMBEDDING_DIMENSIONS]);
        let index = index_of(&[("all".to_owned(), all.clone()), ("none".to_owned(), none.clone())]);
        assert_eq!(index.candidates(&all, 1, 0.99, 10), [Arc::from("all")]);
        assert_eq!(index.candidates(&none, 1, 0.99, 10), [Arc::from("none")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        /// Enough vectors for two blocks, so that a removal moves vectors between blocks.
        #[test]
        fn what_comes_and_goes_is_found_while_it_is_there(
            changes in vec((0..1500_u64, prop::bool::weighted(0.6)), 0..200),
            begin in 0..1200_u64,
        ) {
            let id = |number: u64| format!("i{number}");
            let vector = |number: u64| random_vector(&mut (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut index = VectorIndex::new();
            let mut there = std::collections::BTreeSet::new();
            for number in 0..begin {
                index.insert(&id(number), &Quantized::new(&vector(number)).unwrap());
                there.insert(number);
            }
            for (number, comes) in changes {
                if comes {
                    index.insert(&id(number), &Quantized::new(&vector(number)).unwrap());
                    there.insert(number);
                } else {
                    prop_assert_eq!(index.remove(&id(number)), there.remove(&number));
                }
            }
            prop_assert_eq!(index.len(), there.len());
            for number in there.iter().step_by(97) {
                let found = index.candidates(&vector(*number), 1, 0.9, 10);
                prop_assert_eq!(found, vec![Arc::<str>::from(id(*number))]);
                prop_assert!(index.contains(&id(*number)));
            }
        }
    }
}
