//! Top-n selection in bounded memory.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Keeps the values with the highest ranks, at most `limit`.
pub struct Best<R, T> {
    limit: usize,
    heap: BinaryHeap<Reverse<Ranked<R, T>>>,
}

impl<R: Ord, T> Best<R, T> {
    /// Creates a selection of at most `limit` values.
    pub fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit + 1) }
    }

    /// Creates and keeps a value if its rank is among the highest so far. Of equal ranks, the first one stays.
    pub fn offer(&mut self, rank: R, make: impl FnOnce() -> T) {
        if self.heap.len() == self.limit && self.heap.peek().is_none_or(|Reverse(least)| least.rank >= rank) {
            return;
        }
        self.heap.push(Reverse(Ranked { rank, value: make() }));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }

    /// Returns the values with their ranks, highest first.
    pub fn into_sorted(self) -> impl ExactSizeIterator<Item = (R, T)> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(Ranked { rank, value })| (rank, value))
    }
}

/// A value ordered by rank alone.
struct Ranked<R, T> {
    rank: R,
    value: T,
}

impl<R: Ord, T> Ord for Ranked<R, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl<R: Ord, T> PartialOrd for Ranked<R, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Ord, T> PartialEq for Ranked<R, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R: Ord, T> Eq for Ranked<R, T> {}

/// A number as a rank, ordered by [`f64::total_cmp`].
#[derive(Debug, Clone, Copy)]
pub struct Score(pub f64);

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_are_kept_highest_first_and_the_others_never_made() {
        let mut best = Best::new(3);
        let mut made = 0;
        for (rank, value) in [(5, 'a'), (1, 'b'), (9, 'c'), (7, 'd'), (3, 'e'), (9, 'f')] {
            best.offer(rank, || {
                made += 1;
                value
            });
        }
        let mut kept: Vec<_> = best.into_sorted().collect();
        // The two tied values may come in any order.
        kept[..2].sort_unstable();
        assert_eq!(kept, [(9, 'c'), (9, 'f'), (7, 'd')]);
        assert_eq!(made, 5);
    }

    #[test]
    fn of_two_that_tie_the_first_stays() {
        let mut best = Best::new(1);
        best.offer(Score(0.5), || 'a');
        best.offer(Score(0.5), || 'b');
        assert_eq!(best.into_sorted().map(|(_, value)| value).collect::<String>(), "a");
    }

    #[test]
    fn nothing_is_kept_when_nothing_may_be() {
        let mut best = Best::new(0);
        best.offer(1, || ());
        assert_eq!(best.into_sorted().len(), 0);
    }
}
