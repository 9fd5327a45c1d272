//! The perceptual hashes of a partition's pictures, compared one by one: 100,000 comparisons take a fraction of a
//! millisecond, much less than downloading and decoding the picture.

use crate::imaging::phash::PerceptualHash;

/// Greatest distance of hashes of the same picture. Defined by the product as below 5.
pub const MOST_DISTANCE: u32 = 4;

/// A set of hashes, sorted.
#[derive(Debug, Clone, Default)]
pub struct HashSet(Vec<PerceptualHash>);

impl HashSet {
    /// Iterates over the hashes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = PerceptualHash> {
        self.0.iter().copied()
    }

    /// Finds the hash nearest to this one that differs in at most [`MOST_DISTANCE`] bits; of equally near ones the
    /// smallest.
    pub fn nearest(&self, hash: PerceptualHash) -> Option<PerceptualHash> {
        let nearest = self.iter().min_by_key(|known| known.distance(hash))?;
        (nearest.distance(hash) <= MOST_DISTANCE).then_some(nearest)
    }

    /// Adds a hash; returns `false` if it already exists.
    pub fn insert(&mut self, hash: PerceptualHash) -> bool {
        let place = self.0.binary_search(&hash);
        if let Err(place) = place {
            self.0.insert(place, hash);
        }
        place.is_err()
    }

    /// Removes a hash; returns `false` if it does not exist.
    pub fn remove(&mut self, hash: PerceptualHash) -> bool {
        let place = self.0.binary_search(&hash);
        if let Ok(place) = place {
            self.0.remove(place);
        }
        place.is_ok()
    }
}

impl FromIterator<PerceptualHash> for HashSet {
    fn from_iter<I: IntoIterator<Item = PerceptualHash>>(hashes: I) -> Self {
        let mut hashes: Vec<_> = hashes.into_iter().collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flipped(hash: u64, bits: &[u32]) -> PerceptualHash {
        PerceptualHash(bits.iter().fold(hash, |hash, bit| hash ^ 1 << bit))
    }

    #[test]
    fn all_places_of_four_bits_are_found_and_five_are_not() {
        let hash = 0x0123_4567_89ab_cdef;
        let hashes: HashSet = [PerceptualHash(hash)].into_iter().collect();
        for first in 0..61 {
            for step in 1..=(63 - first) / 4 {
                let bits: Vec<u32> = (0..5).map(|n| first + n * step).collect();
                assert!(hashes.nearest(flipped(hash, &bits[..4])).is_some());
                assert!(hashes.nearest(flipped(hash, &bits)).is_none());
            }
        }
    }

    #[test]
    fn the_nearest_is_found_and_of_equally_near_ones_the_smallest() {
        let hashes: HashSet = [0b1111, 0b0011, 0b1_0001, 0b0101, 0b0011].map(PerceptualHash).into_iter().collect();
        assert_eq!(hashes.iter().count(), 4);
        assert_eq!(hashes.nearest(PerceptualHash(0b1110)), Some(PerceptualHash(0b1111)));
        assert_eq!(hashes.nearest(PerceptualHash(0b0001)), Some(PerceptualHash(0b0011)));
    }

    #[test]
    fn what_is_removed_is_found_no_more_and_can_come_back() {
        let mut hashes = HashSet::default();
        assert!(!hashes.remove(PerceptualHash(7)) && hashes.nearest(PerceptualHash(7)).is_none());
        assert!(hashes.insert(PerceptualHash(7)) && !hashes.insert(PerceptualHash(7)));
        assert!(hashes.insert(PerceptualHash(0xff << 40)));
        assert!(hashes.remove(PerceptualHash(7)) && hashes.nearest(PerceptualHash(7)).is_none());
        assert!(hashes.insert(PerceptualHash(0)));
        assert_eq!(hashes.nearest(PerceptualHash(15)), Some(PerceptualHash(0)));
    }
}
