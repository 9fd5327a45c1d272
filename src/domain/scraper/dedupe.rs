//! Claims on pictures that a run is about to add, so that no other run of this process adds the same ones. A claim is
//! released if the item is not written, for whatever reason.

use std::sync::Arc;

use crate::domain::similarity::known::{Claim, PartitionHashes};
use crate::imaging::phash::PerceptualHash;

/// A claim on a new picture.
pub(super) struct Claimed {
    known: Arc<PartitionHashes>,
    hash: PerceptualHash,
    is_kept: bool,
}

impl Claimed {
    /// Claims a picture; `None` if the partition has it.
    pub(super) fn new(known: &Arc<PartitionHashes>, hash: PerceptualHash) -> Option<Self> {
        match known.claim(hash) {
            Claim::New => Some(Self { known: known.clone(), hash, is_kept: false }),
            Claim::Known(_) => None,
        }
    }

    pub(super) fn hash(&self) -> PerceptualHash {
        self.hash
    }

    /// Keeps the claim, because the item was written.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.is_kept {
            self.known.release(self.hash);
        }
    }
}
