//! Queues of small messages, delivered at least once.
//!
//! A received message is hidden from others for a while, then deleted by whoever finished it, or seen again with its
//! count of deliveries one higher. Two back ends: Azure Storage queues ([`azure`]) and the embedded one ([`local`]).
//! What is promised here holds on both; `tests/unit/queue/contract.rs` says so case by case.

pub mod azure;
pub mod local;
pub mod traced;

use std::error::Error as StdError;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

/// The longest message, in bytes of its text: 64 KiB on the wire of Azure Storage, less a quarter for base64.
pub const MAX_MESSAGE_BYTES: usize = 48 * 1024;

/// Messages that one call receives at most: the limit of Azure Storage.
pub const MAX_RECEIVED: usize = 32;

/// Result of a queue operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a queue operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The receipt is not the message's latest: somebody else has received it since its time ran out, or it is deleted.
    #[error("the message is no longer ours")]
    Lost,
    /// The queue is throttled, unreachable or too slow; the same call may succeed later. It may also have been done
    /// already without our hearing of it: a repeated `send` can then queue twice, a repeated `delete` find it lost.
    #[error("the queue is unavailable")]
    Unavailable(#[source] Cause),
    /// The text is longer than [`MAX_MESSAGE_BYTES`].
    #[error("the message has {size_bytes} bytes; at most {MAX_MESSAGE_BYTES} can be queued")]
    TooLarge {
        /// Size of the refused text.
        size_bytes: usize,
    },
    /// The call cannot succeed as it is.
    #[error("the queue refused the operation")]
    Failed(#[source] Cause),
}

/// The error below an [`Error`], whatever its back end.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// A message that was received, and is hidden from others until its time runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Names the message for as long as it is in the queue.
    pub id: String,
    /// Proves that it is ours; each renewal gives a new one. It goes on to do so after the time has run out, until
    /// somebody else receives the message.
    pub receipt: String,
    /// What was sent. A message that somebody else put there in another encoding comes as it is.
    pub text: String,
    /// How often it was received, this time included.
    pub dequeue_count: u32,
    /// When it was sent.
    pub inserted_at: OffsetDateTime,
}

/// Queues of small messages. Every back end keeps every promise made here.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Puts a message into a queue; it is stored when this returns. The queue is made if it is not there.
    async fn send(&self, queue: &str, text: &str) -> Result<()>;

    /// As [`send`](Self::send), for work that one user has asked for. The embedded queue then gives users their turns: the
    /// first message of one comes before the second of another, however many that one has waiting. Azure Storage has no
    /// such order.
    async fn send_for(&self, queue: &str, _user: &str, text: &str) -> Result<()> {
        self.send(queue, text).await
    }

    /// Takes at most `most` messages (1–[`MAX_RECEIVED`]; other numbers mean the nearest of these) that nobody holds,
    /// oldest first as far as possible (of those sent for users, see [`send_for`](Self::send_for)), and hides each for `visibility`: one second to seven days, on Azure in whole
    /// seconds, rounded up. A queue that is not there is empty. What is received by a call that is given up comes back
    /// when its time has run out.
    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> Result<Vec<Message>>;

    /// Hides a message for `visibility` from now on, zero for not at all, and gives it a new receipt. [`Error::Lost`] if
    /// it is no longer ours.
    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> Result<()>;

    /// Deletes a message for good. [`Error::Lost`] if it is no longer ours.
    async fn delete(&self, queue: &str, message: &Message) -> Result<()>;

    /// Puts the message into queue `to`, as a new one, and deletes it from `from`. A crash may leave it in both, never in
    /// neither. [`Error::Lost`], and nothing is done, if it is no longer ours.
    async fn move_to(&self, from: &str, message: &Message, to: &str) -> Result<()>;

    /// How many messages there are, hidden ones included; approximate on Azure.
    async fn length(&self, queue: &str) -> Result<usize>;

    /// Asks whether the queue answers and, where that is for us to know, takes messages: the embedded one writes something.
    async fn ping(&self, queue: &str) -> Result<()> {
        self.length(queue).await.map(drop)
    }

    /// As [`Upkeep::find_damage`](crate::store::Upkeep::find_damage).
    async fn find_damage(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Returns when there may be a message to receive, at the latest after `limit`: what a pump waits for instead of
    /// asking all the time. The embedded queue returns at once if there is one, and as soon as this process sends or
    /// releases one, or one's time runs out; messages of other processes, and all on Azure, are found by asking again
    /// after `limit`.
    async fn wait(&self, queue: &str, limit: Duration);
}

fn check_size(text: &str) -> Result<()> {
    let size_bytes = text.len();
    if size_bytes > MAX_MESSAGE_BYTES { Err(Error::TooLarge { size_bytes }) } else { Ok(()) }
}
