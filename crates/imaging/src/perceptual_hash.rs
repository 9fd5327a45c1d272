//! Perceptual hashes: 64 bits that hardly change when a picture is scaled or recompressed.

use std::fmt;
use std::str::FromStr;

/// A perceptual hash, stored as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PerceptualHash(pub u64);

impl PerceptualHash {
    /// Returns the Hamming distance, 0 to 64.
    pub const fn distance(self, other: Self) -> u32 {
        (self.0 ^ other.0).count_ones()
    }
}

impl fmt::Display for PerceptualHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text that is not 16 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("not a perceptual hash of 16 hexadecimal digits")]
pub struct NotAHash;

impl FromStr for PerceptualHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        // `from_str_radix` would also accept a sign.
        let is_hash = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_hash);
        number.map(Self).ok_or(NotAHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_sixteen_digits() {
        let hash = PerceptualHash(0x00ab_0000_0000_0001);
        assert_eq!(hash.to_string(), "00ab000000000001");
        assert_eq!("00AB000000000001".parse::<PerceptualHash>().unwrap(), hash);
        for text in ["", "ab", "+0ab00000000001", "+0ab000000000001", "00ab00000000000g", "000ab000000000001"] {
            assert!(text.parse::<PerceptualHash>().is_err(), "{text}");
        }
    }

    #[test]
    fn distance_counts_bits() {
        assert_eq!(PerceptualHash(0b1011).distance(PerceptualHash(0b0010)), 2);
        assert_eq!(PerceptualHash(0).distance(PerceptualHash(u64::MAX)), 64);
    }
}
