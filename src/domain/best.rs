//! The best few of many, without holding the many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Keeps the greatest elements of all that it was offered, at most `limit`.
#[derive(Debug)]
pub struct Best<T> {
    limit: usize,
    heap: BinaryHeap<Reverse<T>>,
}

impl<T: Ord> Best<T> {
    /// Keeps at most `limit` elements.
    pub fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit + 1) }
    }

    /// Takes the element in if it is among the greatest so far.
    pub fn offer(&mut self, element: T) {
        if self.heap.len() == self.limit && self.heap.peek().is_none_or(|Reverse(least)| *least >= element) {
            return;
        }
        self.heap.push(Reverse(element));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }

    /// The elements kept, greatest first.
    pub fn into_sorted(self) -> Vec<T> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(element)| element).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_are_kept_greatest_first() {
        let mut best = Best::new(3);
        for number in [5, 1, 9, 7, 3, 9] {
            best.offer(number);
        }
        assert_eq!(best.into_sorted(), [9, 9, 7]);
    }

    #[test]
    fn nothing_is_kept_when_nothing_may_be() {
        let mut best = Best::new(0);
        best.offer(1);
        assert!(best.into_sorted().is_empty());
    }
}
