//! Random choices from the seed.

use std::time::Duration;

use crate::entropy::{STEP, mixed};

/// A random sequence.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Creates the sequence with this name and seed. Sequences are independent of each other.
    pub fn new(seed: u64, name: &str) -> Self {
        Self(
            name.bytes()
                .fold(mixed(seed.wrapping_add(STEP)), |state, byte| mixed(state ^ u64::from(byte)).wrapping_add(STEP)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// Draws a number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Draws a number in an inclusive range.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// Returns `true` with a probability in thousandths.
    pub fn chance(&mut self, in_thousand: u64) -> bool {
        self.below(1000) < in_thousand
    }

    /// Draws a duration in an inclusive range of milliseconds.
    pub fn pause(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    /// Draws one of the choices.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}
