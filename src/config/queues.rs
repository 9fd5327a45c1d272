//! Names of the queues.

use std::fmt;
use std::str::FromStr;

use super::reader::{Error, Reader};
use crate::model::containers::ContainerName;

/// Suffix that the Functions host appends to a queue's name for its poison queue.
pub const POISON_SUFFIX: &str = "-poison";

/// Queue names.
#[derive(Debug, Clone)]
pub struct Queues {
    /// Taste-analysis jobs.
    pub taste: QueueNames,
    /// User batches for the weekly digest.
    pub digest: QueueNames,
    /// Article chunks for moods.
    pub moods: QueueNames,
    /// Sources to scrape.
    pub scrape: QueueNames,
    /// Jobs.
    pub operations: QueueNames,
    /// Photos that drafts are made from. In use only with the wardrobe API.
    pub images: QueueNames,
}

impl Queues {
    /// Returns all queues.
    pub fn all(&self) -> [&QueueNames; 6] {
        let Self { taste, digest, moods, scrape, operations, images } = self;
        [taste, digest, moods, scrape, operations, images]
    }

    /// Returns the work queue for the name of a work or poison queue.
    pub fn origin_of(&self, name: &str) -> Option<&str> {
        self.all().into_iter().find(|queue| queue.work == name || queue.poison == name).map(|queue| &*queue.work)
    }
}

/// Names of a queue and its poison queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueNames {
    /// The work queue.
    pub work: String,
    /// The poison queue, where the Functions host moves messages after too many deliveries; named `<queue>-poison`.
    pub poison: String,
}

impl Queues {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>, under_functions_host: bool) -> Result<Self, Error> {
        let mut names = |variable, default: &str| -> Result<QueueNames, Error> {
            let work = reader.parsed(variable, QueueName(default.to_owned()), QueueName::EXPECTED)?.0;
            let poison = format!("{work}{POISON_SUFFIX}");
            Ok(QueueNames { work, poison })
        };
        let mut taste = names("TASTE_JOB_QUEUE_NAME", "taste-analysis-jobs")?;
        let digest = names("DIGEST_BATCH_QUEUE_NAME", "digest-batches")?;
        let moods = names("MOOD_CHUNK_QUEUE_NAME", "mood-chunks")?;
        let scrape = names("SCRAPE_QUEUE_NAME", "scrape-sources")?;
        let operations = names("LONG_OPERATION_QUEUE_NAME", "long-operations")?;
        let images = names("IMAGE_JOB_QUEUE_NAME", "image-processing-jobs")?;
        // The Functions host always moves messages there.
        let variable = "TASTE_JOB_DEAD_LETTER_QUEUE_NAME";
        let dead_letter_queue = reader.text(variable, &taste.poison);
        if under_functions_host && dead_letter_queue != taste.poison {
            let expected = format!("{}, where the Functions host moves messages", taste.poison);
            return Err(Error::Invalid { name: variable, got: dead_letter_queue, expected });
        }
        taste.poison = dead_letter_queue;
        Ok(Queues { taste, digest, moods, scrape, operations, images })
    }
}

/// Name of a queue, short enough for the name of its poison queue.
struct QueueName(String);

impl QueueName {
    const EXPECTED: &'static str = "3 to 56 characters: a-z, 0-9, and single hyphens between them";
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for QueueName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // The rules for queues are those for blob containers.
        let fits = text.len() + POISON_SUFFIX.len() <= 63 && text.parse::<ContainerName>().is_ok();
        if fits { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}
