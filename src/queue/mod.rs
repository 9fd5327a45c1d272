//! Queues of small messages, delivered at least once.
//!
//! A received message is hidden from others for a while; then its receiver deletes it, or it becomes visible again with
//! its delivery count increased by one. Two back ends: Azure Storage queues ([`azure`]) and the embedded one
//! ([`local`]). Both give the guarantees documented here; `tests/unit/queue/contract.rs` tests them case by case.

pub mod azure;
pub mod local;
mod message;
pub mod traced;

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::base::chain::Cause;

pub use self::message::{QueueMessage, read_message, read_object};

/// Longest message, in bytes of text: 64 KiB on the wire of Azure Storage, less base64.
pub const MAX_MESSAGE_BYTES: usize = 48 * 1024;

/// Most messages per call, as in Azure Storage.
pub const MAX_RECEIVED: usize = 32;

/// Result of a queue operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a queue operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The receipt is outdated: another receiver got the message after its timeout, or it was deleted.
    #[error("another receiver has the message")]
    Lost,
    /// The queue is throttled, unreachable or too slow; the same call may succeed later. The failed call may
    /// nevertheless have taken effect: a repeated `send` can then queue twice, and a repeated `delete` return
    /// [`Error::Lost`].
    #[error("the queue is unavailable")]
    Unavailable(#[source] Cause),
    /// The text is longer than [`MAX_MESSAGE_BYTES`].
    #[error("the message has {size_bytes} bytes; at most {MAX_MESSAGE_BYTES} can be queued")]
    TooLarge {
        /// Size of the text.
        size_bytes: usize,
    },
    /// The call cannot succeed.
    #[error("the queue refused the operation")]
    Failed(#[source] Cause),
}

/// A received message, hidden from others until its timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Id of the message in the queue.
    pub id: String,
    /// Receipt that proves ownership; each renewal gives a new one. It stays valid after the timeout until another
    /// receiver gets the message.
    pub receipt: String,
    /// Text as sent. A message in another encoding is returned as it is.
    pub text: String,
    /// Number of deliveries, including this one.
    pub dequeue_count: u32,
    /// Time of sending.
    pub inserted_at: OffsetDateTime,
}

/// Queues of small messages. Every back end guarantees what is documented here.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Sends a message, which is stored when this returns. Creates the queue if needed.
    async fn send(&self, queue: &str, text: &str) -> Result<()>;

    /// Sends a message like [`send`](Self::send), for work requested by one user. The embedded queue serves users
    /// round-robin: a user's first message comes before another user's second, however many the other has waiting.
    /// Azure Storage has no such order.
    async fn send_for(&self, queue: &str, _user: &str, text: &str) -> Result<()> {
        self.send(queue, text).await
    }

    /// Receives at most `most` visible messages (clamped to 1–[`MAX_RECEIVED`]), oldest first where possible (see
    /// [`send_for`](Self::send_for) for users' messages), and hides each for `visibility`: one second to seven days,
    /// rounded up to whole seconds on Azure. A missing queue is empty. Messages received by a cancelled call become
    /// visible again after `visibility`.
    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> Result<Vec<Message>>;

    /// Hides a message for `visibility` from now (zero makes it visible) and gives it a new receipt. [`Error::Lost`] if
    /// this receiver no longer holds it.
    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> Result<()>;

    /// Deletes a message. [`Error::Lost`] if this receiver no longer holds it.
    async fn delete(&self, queue: &str, message: &Message) -> Result<()>;

    /// Moves a message to queue `to`. A crash may leave it in both queues, never in neither. [`Error::Lost`], without
    /// effect, if this receiver no longer holds it.
    async fn move_to(&self, from: &str, message: &Message, to: &str) -> Result<()>;

    /// Returns the number of messages, including hidden ones; approximate on Azure.
    async fn length(&self, queue: &str) -> Result<usize>;

    /// Checks that the queue answers; the embedded queue also makes a test write.
    async fn ping(&self, queue: &str) -> Result<()> {
        self.length(queue).await.map(drop)
    }

    /// Checks all stored messages and describes the first damage found; `None` if there is none or the queue is a
    /// managed service.
    async fn find_damage(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Waits until there may be a message to receive, at most for `limit`; a pump uses it instead of polling. The
    /// embedded queue returns at once if there is a message, and as soon as this process sends or releases one or a
    /// timeout expires. Messages of other processes, and all messages on Azure, are found by polling again after
    /// `limit`.
    async fn wait(&self, queue: &str, limit: Duration);
}

fn check_size(text: &str) -> Result<()> {
    let size_bytes = text.len();
    if size_bytes > MAX_MESSAGE_BYTES { Err(Error::TooLarge { size_bytes }) } else { Ok(()) }
}
