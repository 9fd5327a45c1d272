//! Specific to Azure's queues: other writers with other encodings, and network failures.

use std::sync::Arc;
use std::time::Duration;

use azure_storage_queue::QueueClient;
use azure_storage_queue::models::QueueMessage;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pluckit::azure::{Identity, StorageAccount};
use pluckit::queue::azure::AzureQueue;
use pluckit::queue::{Error, JobQueue, MAX_RECEIVED, Message};

use super::contract::fresh_name;
use crate::store::cosmos_backend::setting;

const LONG: Duration = Duration::from_secs(300);

pub fn account() -> Arc<StorageAccount> {
    Arc::new(StorageAccount::from_connection_string(&setting("PLUCKIT_TEST_STORAGE"), &Identity::default()).unwrap())
}

async fn put_as_it_is(client: &QueueClient, text: &str) {
    let message = QueueMessage { message_text: Some(text.to_owned()) };
    client.send_message(message.try_into().unwrap(), None).await.unwrap();
}

async fn wire_texts(client: &QueueClient) -> Vec<String> {
    let peeked = client.peek_messages(None).await.unwrap().into_model().unwrap();
    peeked.items.unwrap_or_default().into_iter().filter_map(|message| message.message_text).collect()
}

async fn receive(queue: &AzureQueue, name: &str) -> Vec<Message> {
    queue.receive(name, MAX_RECEIVED, LONG).await.unwrap()
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn texts_travel_in_base64_and_never_expire() {
    let (account, name) = (account(), fresh_name());
    AzureQueue::new(account.clone()).send(&name, r#"{"job":1}"#).await.unwrap();
    let client = account.queues().queue_client(&name).unwrap();
    assert_eq!(wire_texts(&client).await, [BASE64_STANDARD.encode(r#"{"job":1}"#)]);
    let received = client.receive_messages(None).await.unwrap().into_model().unwrap().items.unwrap();
    let expires = received[0].expiration_time.unwrap();
    assert!(expires.year() > 9000, "{expires}");
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn what_others_sent_comes_and_moves_as_it_is() {
    let (account, from, to) = (account(), fresh_name(), fresh_name());
    let queue = AzureQueue::new(account.clone());
    account.create_queue(&from).await.unwrap();
    let client = account.queues().queue_client(&from).unwrap();
    let largest = "{".repeat(64 * 1024);
    for text in ["{\"plain\": true}", "/w==", largest.as_str()] {
        put_as_it_is(&client, text).await;
        let message = receive(&queue, &from).await.remove(0);
        assert!(message.text == text, "{} bytes came", message.text.len());
        queue.move_to(&from, &message, &to).await.unwrap();
        let moved = receive(&queue, &to).await.remove(0);
        assert!(moved.text == text, "{} bytes came", moved.text.len());
        queue.delete(&to, &moved).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_wrong_key_and_a_wrong_name_are_failures() {
    let right = setting("PLUCKIT_TEST_STORAGE");
    let parts: Vec<&str> = right.split(';').filter(|part| !part.starts_with("AccountKey=")).collect();
    let wrong = format!("{};AccountKey=d3Jvbmc=", parts.join(";"));
    let stranger = StorageAccount::from_connection_string(&wrong, &Identity::default()).unwrap();
    let refused = AzureQueue::new(Arc::new(stranger)).send(&fresh_name(), "{}").await;
    assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
    let refused = AzureQueue::new(account()).send("No Such Name", "{}").await;
    assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
}

/// Time advances automatically while all tasks wait, so the time limit takes no real time.
#[tokio::test(start_paused = true)]
async fn what_does_not_answer_is_unavailable() {
    // Port 9 (discard) is closed everywhere.
    let text = "AccountName=a;AccountKey=c2VjcmV0;QueueEndpoint=http://127.0.0.1:9/a";
    let account = StorageAccount::from_connection_string(text, &Identity::default()).unwrap();
    let queue = AzureQueue::new(Arc::new(account));
    let sent = queue.send("jobs", "{}").await;
    assert!(matches!(sent, Err(Error::Unavailable(_))), "{sent:?}");
    let received = queue.receive("jobs", 1, LONG).await;
    assert!(matches!(received, Err(Error::Unavailable(_))), "{received:?}");
}
