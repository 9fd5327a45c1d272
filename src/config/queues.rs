//! Names of the queues.

use std::fmt;
use std::str::FromStr;

use super::reader::{Error, Reader};
use crate::model::containers::ContainerName;

/// What the Functions host puts behind a queue's name to name the queue of messages that were delivered too often.
pub const POISON_SUFFIX: &str = "-poison";

/// Names of the queues.
#[derive(Debug, Clone)]
pub struct Queues {
    /// Pictures whose taste is analysed.
    pub taste: QueueNames,
    /// Batches of users who get their weekly digest.
    pub digest: QueueNames,
    /// Chunks of articles in which moods are looked for.
    pub moods: QueueNames,
    /// Sources to scrape.
    pub scrape: QueueNames,
    /// Long operations.
    pub operations: QueueNames,
}

impl Queues {
    /// All of them.
    pub fn all(&self) -> [&QueueNames; 5] {
        let Self { taste, digest, moods, scrape, operations } = self;
        [taste, digest, moods, scrape, operations]
    }

    /// The queue that a message was meant for which came from `name`, that queue itself or its poison queue.
    pub fn origin_of(&self, name: &str) -> Option<&str> {
        self.all().into_iter().find(|queue| queue.work == name || queue.poison == name).map(|queue| &*queue.work)
    }
}

/// A queue, and the one beside it for what cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueNames {
    /// Where work waits.
    pub work: String,
    /// Where the Functions host moves messages that were delivered too often: `-poison` behind the name.
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
        // Where the Functions host moves messages, whatever we think of it.
        let variable = "TASTE_JOB_DEAD_LETTER_QUEUE_NAME";
        let dead_letter_queue = reader.text(variable, &taste.poison);
        if under_functions_host && dead_letter_queue != taste.poison {
            let expected = format!("{}, where the Functions host moves messages", taste.poison);
            return Err(Error::Invalid { name: variable, got: dead_letter_queue, expected });
        }
        taste.poison = dead_letter_queue;
        Ok(Queues { taste, digest, moods, scrape, operations })
    }
}

/// The name of a queue whose poison queue has a name as well.
struct QueueName(String);

impl QueueName {
    const EXPECTED: &'static str = "3 to 56 of a-z, 0-9 and single hyphens between them";
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
