//! Pictures that a run is about to add: known from the moment it finds them new, so that no other run of this process
//! adds the same; forgotten again if the item is not written after all, however that comes.

use std::sync::Arc;

use crate::domain::similarity::known::{Claim, PartitionHashes};
use crate::model::perceptual_hash::PerceptualHash;

/// A picture that was new, until its item is written.
pub(super) struct Claimed {
    known: Arc<PartitionHashes>,
    hash: PerceptualHash,
    is_kept: bool,
}

impl Claimed {
    /// Claims the picture; `None` if the partition has it.
    pub(super) fn new(known: &Arc<PartitionHashes>, hash: PerceptualHash) -> Option<Self> {
        match known.claim(hash) {
            Claim::New => Some(Self { known: known.clone(), hash, is_kept: false }),
            Claim::Known(_) => None,
        }
    }

    pub(super) fn hash(&self) -> PerceptualHash {
        self.hash
    }

    /// The item is written.
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
