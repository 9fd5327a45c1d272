//! The queues of an Azure storage account.
//!
//! Texts are sent in base64, as the Functions host expects. Messages that others sent as plain text are returned
//! unchanged. Messages never expire.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::headers::HeaderName;
use azure_core::http::{RequestContent, XmlFormat};
use azure_storage_queue::QueueClient;
use azure_storage_queue::models::{
    QueueClientGetPropertiesResultHeaders, QueueClientReceiveMessagesOptions, QueueClientSendMessageOptions,
    QueueMessage, ReceivedMessage,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;

use super::{Error, JobQueue, MAX_MESSAGE_BYTES, MAX_RECEIVED, Message, Result, check_size};
use crate::azure::StorageAccount;
use crate::azure::call::{self, CallError, has_code};
use crate::base::backoff::Jitter;

/// Time limit of a call with its retries; the SDK alone would retry for minutes.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Longest visibility timeout of the service. <https://learn.microsoft.com/rest/api/storageservices/get-messages>
const MAX_VISIBILITY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Visibility timeout while a message is moved.
const MOVE: Duration = Duration::from_secs(30);
/// Unlimited time to live.
const FOR_EVER: i32 = -1;
const POP_RECEIPT: HeaderName = HeaderName::from_static("x-ms-popreceipt");

/// The queue disappeared again.
#[derive(Debug, thiserror::Error)]
#[error("the queue was deleted while a message was sent")]
struct Deleted;

/// Queues in a storage account.
pub struct AzureQueue {
    account: Arc<StorageAccount>,
    clients: Mutex<HashMap<String, Arc<QueueClient>>>,
}

impl AzureQueue {
    /// Creates queues of this account. Makes no call yet.
    pub fn new(account: Arc<StorageAccount>) -> Self {
        Self { account, clients: Mutex::new(HashMap::new()) }
    }

    fn client(&self, queue: &str) -> Result<Arc<QueueClient>> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(queue) {
            return Ok(client.clone());
        }
        let client = Arc::new(self.account.queues().queue_client(queue).map_err(fault)?);
        clients.insert(queue.to_owned(), client.clone());
        Ok(client)
    }

    /// Sends an encoded text, creating the queue if needed.
    async fn put(&self, queue: &str, wire_text: &str) -> Result<()> {
        let client = self.client(queue)?;
        match put(&client, wire_text).await {
            Err(CallError::Refused(error)) if has_code(&error, "QueueNotFound") => {
                // 204 and 409: another process has already created the queue.
                match ask(client.create(None)).await {
                    Ok(_) => {}
                    Err(CallError::Refused(error)) if has_code(&error, "QueueAlreadyExists") => {}
                    Err(error) => return Err(error.into()),
                }
                put(&client, wire_text).await.map_err(|error| match Error::from(error) {
                    // Deleted again meanwhile.
                    Error::Lost => Error::Unavailable(Deleted.into()),
                    other => other,
                })
            }
            done => Ok(done?),
        }
    }

    /// Hides the message for this many seconds and returns its new receipt.
    async fn hide(&self, queue: &str, message: &Message, seconds: i32) -> Result<String> {
        let client = self.client(queue)?;
        let updated = ask(client.update_message(&message.id, &message.receipt, seconds, None)).await?;
        let receipt = updated.headers().get_optional_string(&POP_RECEIPT);
        Ok(receipt.ok_or_else(|| CallError::lacks("a pop receipt"))?)
    }
}

#[async_trait]
impl JobQueue for AzureQueue {
    async fn send(&self, queue: &str, text: &str) -> Result<()> {
        check_size(text)?;
        self.put(queue, &BASE64_STANDARD.encode(text)).await
    }

    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> Result<Vec<Message>> {
        let client = self.client(queue)?;
        let options = QueueClientReceiveMessagesOptions {
            number_of_messages: i32::try_from(most.clamp(1, MAX_RECEIVED)).ok(),
            visibility_timeout: Some(seconds(visibility).max(1)),
            ..QueueClientReceiveMessagesOptions::default()
        };
        let received = match ask(client.receive_messages(Some(options))).await {
            Ok(received) => received.into_model().map_err(fault)?,
            Err(CallError::Refused(error)) if has_code(&error, "QueueNotFound") => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        received.items.unwrap_or_default().into_iter().map(message).collect()
    }

    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> Result<()> {
        message.receipt = self.hide(queue, message, seconds(visibility)).await?;
        Ok(())
    }

    async fn delete(&self, queue: &str, message: &Message) -> Result<()> {
        let client = self.client(queue)?;
        ask(client.delete_message(&message.id, &message.receipt, None)).await?;
        Ok(())
    }

    async fn move_to(&self, from: &str, message: &Message, to: &str) -> Result<()> {
        // Prove ownership before making a copy.
        let receipt = self.hide(from, message, seconds(MOVE)).await?;
        let message = Message { receipt, ..message.clone() };
        // A longer message was sent by others as plain text, and is forwarded unchanged.
        let encoded = (message.text.len() <= MAX_MESSAGE_BYTES).then(|| BASE64_STANDARD.encode(&message.text));
        self.put(to, encoded.as_deref().unwrap_or(&message.text)).await?;
        self.delete(from, &message).await
    }

    async fn length(&self, queue: &str) -> Result<usize> {
        let client = self.client(queue)?;
        let properties = match ask(client.get_properties(None)).await {
            Ok(properties) => properties,
            Err(CallError::Refused(error)) if has_code(&error, "QueueNotFound") => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let count = properties.approximate_messages_count().map_err(fault)?;
        let count = count.ok_or_else(|| CallError::lacks("a count of messages"))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    async fn wait(&self, _queue: &str, limit: Duration) {
        // The service has no notifications. Jitter keeps waiters from polling in step.
        tokio::time::sleep(Jitter::Half.apply(limit)).await;
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        // <https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes>
        let codes = ["MessageNotFound", "PopReceiptMismatch", "QueueNotFound"];
        match error {
            CallError::Refused(error) if codes.iter().any(|code| has_code(&error, code)) => Self::Lost,
            error => error.convert("QueueBeingDeleted", Self::Unavailable, Self::Failed),
        }
    }
}

fn fault(error: azure_core::Error) -> Error {
    CallError::Refused(error).into()
}

/// Makes a call with its retries.
async fn ask<T>(call: impl Future<Output = azure_core::Result<T>>) -> std::result::Result<T, CallError> {
    call::call(CALL_LIMIT, call).await
}

async fn put(client: &QueueClient, wire_text: &str) -> std::result::Result<(), CallError> {
    let message = QueueMessage { message_text: Some(wire_text.to_owned()) };
    let body: RequestContent<QueueMessage, XmlFormat> = message.try_into().map_err(CallError::Refused)?;
    let options = QueueClientSendMessageOptions {
        message_time_to_live: Some(FOR_EVER),
        ..QueueClientSendMessageOptions::default()
    };
    ask(client.send_message(body, Some(options))).await.map(drop)
}

fn message(received: ReceivedMessage) -> Result<Message> {
    let lacks = CallError::lacks;
    Ok(Message {
        id: received.message_id.ok_or_else(|| lacks("a message's id"))?,
        receipt: received.pop_receipt.ok_or_else(|| lacks("a message's receipt"))?,
        text: decode(received.message_text.unwrap_or_default()),
        dequeue_count: received.dequeue_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(u32::MAX),
        inserted_at: received.insertion_time.ok_or_else(|| lacks("a message's time"))?,
    })
}

/// Decodes a text; one that is not base64 is returned as it is.
fn decode(wire_text: String) -> String {
    let decoded = BASE64_STANDARD.decode(&wire_text).ok();
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(wire_text)
}

/// Converts a visibility timeout to whole seconds, rounded up and clamped.
fn seconds(visibility: Duration) -> i32 {
    let visibility = visibility.min(MAX_VISIBILITY);
    let seconds = visibility.as_secs() + u64::from(visibility.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use azure_core::error::ErrorKind;
    use azure_core::http::StatusCode;

    use super::*;

    fn refused(status: StatusCode, code: &str) -> Error {
        let kind = ErrorKind::HttpResponse { status, error_code: Some(code.to_owned()), raw_response: None };
        fault(kind.into_error())
    }

    #[test]
    fn errors_say_what_a_caller_can_do() {
        assert!(matches!(refused(StatusCode::NotFound, "MessageNotFound"), Error::Lost));
        assert!(matches!(refused(StatusCode::BadRequest, "PopReceiptMismatch"), Error::Lost));
        assert!(matches!(refused(StatusCode::TooManyRequests, "TooManyRequests"), Error::Unavailable(_)));
        assert!(matches!(refused(StatusCode::ServiceUnavailable, "ServerBusy"), Error::Unavailable(_)));
        assert!(matches!(refused(StatusCode::InternalServerError, "OperationTimedOut"), Error::Unavailable(_)));
        assert!(matches!(refused(StatusCode::Conflict, "QueueBeingDeleted"), Error::Unavailable(_)));
        assert!(matches!(refused(StatusCode::Forbidden, "AuthenticationFailed"), Error::Failed(_)));
        assert!(matches!(refused(StatusCode::BadRequest, "InvalidQueryParameterValue"), Error::Failed(_)));
        assert!(matches!(fault(ErrorKind::Connection.into_error()), Error::Unavailable(_)));
    }

    #[test]
    fn only_base64_of_a_text_is_decoded() {
        for (wire_text, text) in
            [("e30=", "{}"), ("{}", "{}"), ("", ""), ("e30", "e30"), ("/w==", "/w=="), ("bm90IGpzb24=", "not json")]
        {
            assert_eq!(decode(wire_text.to_owned()), text, "{wire_text}");
        }
    }

    #[test]
    fn times_are_whole_seconds_within_the_service_s_limits() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_millis(1001)), 2);
        assert_eq!(seconds(Duration::from_secs(u64::MAX)), 604_800);
    }
}
