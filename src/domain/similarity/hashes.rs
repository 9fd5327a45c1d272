//! A set of perceptual hashes that finds those near a given one without looking at all of them.
//!
//! Multi-index hashing: the 64 bits are cut into five bands. Two hashes that differ in at most four bits have at least one
//! band in common, so only those that share a band are compared. In each band hashes with the same bits are a chain
//! through one array; four bytes per hash and band, and heads that grow with the set.

use crate::model::perceptual_hash::PerceptualHash;

/// Hashes that differ in more bits belong to different pictures. The product's number: a distance below 5.
pub const MOST_DISTANCE: u32 = 4;

/// One more than the bits that may differ: then one band is the same.
const BANDS: usize = MOST_DISTANCE as usize + 1;
/// Where each band ends, from the lowest bit on: four of 13 bits and one of 12.
const BAND_ENDS: [u32; BANDS] = [13, 26, 39, 52, 64];
/// Chains of a band at most: one for each value that its bits can have.
const MOST_CHAINS: usize = 1 << 13;
/// Chains of a band at least.
const FEWEST_CHAINS: usize = 16;
/// The end of a chain.
const END: u32 = u32::MAX;

/// A set of hashes. Uses about 28 bytes for each.
#[derive(Debug, Clone)]
pub struct HashIndex {
    entries: Vec<Entry>,
    /// For each band the first entry of each chain.
    heads: [Vec<u32>; BANDS],
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: PerceptualHash,
    /// For each band the next entry of the chain.
    next: [u32; BANDS],
}

impl Default for HashIndex {
    fn default() -> Self {
        Self { entries: Vec::new(), heads: std::array::from_fn(|_| vec![END; FEWEST_CHAINS]) }
    }
}

impl HashIndex {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hashes in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = PerceptualHash> {
        self.entries.iter().map(|entry| entry.hash)
    }

    /// A hash that differs from this one in at most [`MOST_DISTANCE`] bits, the nearest of them if there are several; of
    /// equally near ones the smallest.
    pub fn nearest(&self, hash: PerceptualHash) -> Option<PerceptualHash> {
        let bands = (0..BANDS).flat_map(|band| self.chain(band, hash));
        let near = bands.map(|entry| (entry.hash.distance(hash), entry.hash));
        near.filter(|(distance, _)| *distance <= MOST_DISTANCE).min().map(|(_, found)| found)
    }

    /// Takes a hash in. False if it was there.
    pub fn insert(&mut self, hash: PerceptualHash) -> bool {
        if self.position(hash).is_some() {
            return false;
        }
        if self.entries.len() == self.heads[0].len() && self.heads[0].len() < MOST_CHAINS {
            self.grow();
        }
        self.entries.push(Entry { hash, next: [END; BANDS] });
        self.link(self.entries.len() - 1);
        true
    }

    /// Removes a hash. False if it was not there.
    pub fn remove(&mut self, hash: PerceptualHash) -> bool {
        let Some(position) = self.position(hash) else { return false };
        let last = self.entries.len() - 1;
        self.unlink(position);
        if position != last {
            self.unlink(last);
        }
        self.entries.swap_remove(position);
        if position != last {
            self.link(position);
        }
        true
    }

    fn position(&self, hash: PerceptualHash) -> Option<usize> {
        let mut at = self.heads[0][self.chain_of(0, hash)];
        while let Some(entry) = self.entries.get(at as usize) {
            if entry.hash == hash {
                return Some(at as usize);
            }
            at = entry.next[0];
        }
        None
    }

    /// The chain that a hash belongs to in a band. Chains are fewer than values while the set is small.
    fn chain_of(&self, band: usize, hash: PerceptualHash) -> usize {
        let begin = if band == 0 { 0 } else { BAND_ENDS[band - 1] };
        // Thirteen bits at most after the mask.
        let bits = hash.0 >> begin & ((1 << (BAND_ENDS[band] - begin)) - 1);
        bits as usize & (self.heads[band].len() - 1)
    }

    fn chain(&self, band: usize, hash: PerceptualHash) -> impl Iterator<Item = &Entry> {
        let first = self.heads[band][self.chain_of(band, hash)];
        let entry = |at: u32| self.entries.get(at as usize);
        std::iter::successors(entry(first), move |last| entry(last.next[band]))
    }

    fn link(&mut self, position: usize) {
        let hash = self.entries[position].hash;
        // Four thousand million hashes would be 110 GB.
        let at = u32::try_from(position).unwrap_or(END);
        for band in 0..BANDS {
            let chain = self.chain_of(band, hash);
            self.entries[position].next[band] = std::mem::replace(&mut self.heads[band][chain], at);
        }
    }

    fn unlink(&mut self, position: usize) {
        let Entry { hash, next } = self.entries[position];
        for (band, next) in next.into_iter().enumerate() {
            let chain = self.chain_of(band, hash);
            let mut at = self.heads[band][chain];
            if at as usize == position {
                self.heads[band][chain] = next;
                continue;
            }
            while let Some(entry) = self.entries.get_mut(at as usize) {
                at = entry.next[band];
                if at as usize == position {
                    entry.next[band] = next;
                    break;
                }
            }
        }
    }

    /// Makes room for twice as many chains.
    fn grow(&mut self) {
        let chains = self.heads[0].len() * 2;
        self.heads = std::array::from_fn(|_| vec![END; chains]);
        for position in 0..self.entries.len() {
            self.link(position);
        }
    }
}

impl FromIterator<PerceptualHash> for HashIndex {
    fn from_iter<I: IntoIterator<Item = PerceptualHash>>(hashes: I) -> Self {
        let mut index = Self::new();
        for hash in hashes {
            index.insert(hash);
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A scan of all of them.
    fn scanned(hashes: &BTreeSet<PerceptualHash>, hash: PerceptualHash) -> Option<PerceptualHash> {
        let near = hashes.iter().map(|known| (known.distance(hash), *known));
        near.filter(|(distance, _)| *distance <= MOST_DISTANCE).min().map(|(_, found)| found)
    }

    fn flipped(hash: u64, bits: &[u32]) -> PerceptualHash {
        PerceptualHash(bits.iter().fold(hash, |hash, bit| hash ^ 1 << bit))
    }

    proptest! {
        /// A few seeds and flipped bits, so that many hashes are near each other at every distance around the limit.
        #[test]
        fn finds_what_a_scan_finds(
            seeds in vec(any::<u64>(), 1..4),
            known in vec((0..4_usize, vec(0..64_u32, 0..9)), 0..200),
            removed in vec(any::<prop::sample::Index>(), 0..100),
            asked in vec((0..4_usize, vec(0..64_u32, 0..6)), 1..50),
        ) {
            let hash = |(seed, bits): &(usize, Vec<u32>)| flipped(seeds[seed % seeds.len()], bits);
            let known: Vec<PerceptualHash> = known.iter().map(hash).collect();
            let mut index = HashIndex::new();
            let mut set = BTreeSet::new();
            for hash in &known {
                prop_assert_eq!(index.insert(*hash), set.insert(*hash));
            }
            if !known.is_empty() {
                for place in &removed {
                    let hash = known[place.index(known.len())];
                    prop_assert_eq!(index.remove(hash), set.remove(&hash));
                }
            }
            prop_assert_eq!(index.len(), set.len());
            for asked in asked.iter().map(hash) {
                prop_assert_eq!(index.nearest(asked), scanned(&set, asked));
            }
        }
    }

    #[test]
    fn all_places_of_four_bits_are_found_and_five_are_not() {
        let hash = 0x0123_4567_89ab_cdef;
        let index: HashIndex = [PerceptualHash(hash)].into_iter().collect();
        for first in 0..61 {
            for step in 1..=(63 - first) / 4 {
                let bits: Vec<u32> = (0..5).map(|n| first + n * step).collect();
                assert!(index.nearest(flipped(hash, &bits[..4])).is_some());
                assert!(index.nearest(flipped(hash, &bits)).is_none());
            }
        }
    }

    #[test]
    fn what_is_removed_is_found_no_more_and_can_come_back() {
        let mut index = HashIndex::new();
        assert!(index.is_empty() && !index.remove(PerceptualHash(7)));
        for number in 0..5000 {
            assert!(index.insert(PerceptualHash(number << 32)));
        }
        for number in (0..5000).rev() {
            assert!(index.remove(PerceptualHash(number << 32)));
            assert_eq!(index.len() as u64, number);
        }
        assert!(index.nearest(PerceptualHash(0)).is_none());
        assert!(index.insert(PerceptualHash(0)));
        assert!(index.nearest(PerceptualHash(15)).is_some());
    }
}
