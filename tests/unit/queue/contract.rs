//! The contract of [`JobQueue`], one function per guarantee.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::future::join_all;
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::queue::{Error, JobQueue, MAX_MESSAGE_BYTES, MAX_RECEIVED, Message};
use uuid::Uuid;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(300);
/// The shortest time that every back end can hide a message.
const SHORT: Duration = Duration::from_secs(1);
/// How long a test waits for something that takes its time.
const PATIENCE: Duration = Duration::from_secs(15);

/// A queue that no other test uses.
pub fn fresh_name() -> String {
    format!("test-{}", Uuid::new_v4())
}

async fn send_all(queue: &dyn JobQueue, name: &str, texts: &[&str]) {
    for text in texts {
        queue.send(name, text).await.unwrap();
    }
}

async fn receive(queue: &dyn JobQueue, name: &str) -> Vec<Message> {
    queue.receive(name, MAX_RECEIVED, LONG).await.unwrap()
}

/// The one message that can be received.
async fn receive_one(queue: &dyn JobQueue, name: &str, visibility: Duration) -> Message {
    let mut messages = queue.receive(name, MAX_RECEIVED, visibility).await.unwrap();
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

/// Asks until there is a message.
async fn eventually_receive(queue: &dyn JobQueue, name: &str) -> Message {
    let mut poll = tokio::time::interval(Duration::from_millis(50));
    let found = async {
        loop {
            if let Some(message) = receive(queue, name).await.pop() {
                return message;
            }
            poll.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the message should have come back")
}

fn is_lost<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Lost))
}

pub async fn a_sent_message_is_received(queue: &dyn JobQueue) {
    let name = fresh_name();
    queue.send(&name, r#"{"job":"a"}"#).await.unwrap();
    let message = receive_one(queue, &name, LONG).await;
    assert_eq!((message.text.as_str(), message.dequeue_count), (r#"{"job":"a"}"#, 1));
    let age = SystemClock.now() - message.inserted_at;
    assert!(age.abs() < PATIENCE, "sent {age} ago");
}

pub async fn a_deleted_message_is_gone(queue: &dyn JobQueue) {
    let name = fresh_name();
    send_all(queue, &name, &["first", "second"]).await;
    for message in receive(queue, &name).await {
        queue.delete(&name, &message).await.unwrap();
    }
    assert_eq!(queue.length(&name).await.unwrap(), 0);
}

pub async fn a_message_is_hidden_while_it_is_held(queue: &dyn JobQueue) {
    let name = fresh_name();
    send_all(queue, &name, &["held"]).await;
    receive_one(queue, &name, LONG).await;
    assert_eq!(receive(queue, &name).await, []);
}

pub async fn a_message_comes_back_when_its_time_runs_out(queue: &dyn JobQueue) {
    let name = fresh_name();
    send_all(queue, &name, &["again"]).await;
    let begun = Instant::now();
    let first = receive_one(queue, &name, SHORT).await;
    let second = eventually_receive(queue, &name).await;
    // The service counts in whole seconds of its own.
    assert!(begun.elapsed() > SHORT / 2, "back after {:?}", begun.elapsed());
    assert_eq!((second.text.as_str(), second.dequeue_count), ("again", 2));
    assert_eq!((&second.id, second.inserted_at), (&first.id, first.inserted_at));
    assert_ne!(second.receipt, first.receipt);
}

pub async fn a_receipt_is_good_until_somebody_else_receives(queue: &dyn JobQueue) {
    let (name, other) = (fresh_name(), fresh_name());
    for name in [&name, &other] {
        send_all(queue, name, &["slow"]).await;
    }
    let slow = receive_one(queue, &name, SHORT).await;
    // Tells when the time is over, without touching the message.
    receive_one(queue, &other, SHORT).await;
    eventually_receive(queue, &other).await;
    queue.delete(&name, &slow).await.unwrap();
    assert_eq!(queue.length(&name).await.unwrap(), 0);
}

pub async fn a_stale_receipt_is_lost(queue: &dyn JobQueue) {
    let name = fresh_name();
    send_all(queue, &name, &["contested"]).await;
    let mut first = receive_one(queue, &name, SHORT).await;
    let second = eventually_receive(queue, &name).await;
    let before = first.clone();
    assert!(is_lost(&queue.renew(&name, &mut first, LONG).await));
    assert_eq!(first, before);
    assert!(is_lost(&queue.delete(&name, &first).await));
    queue.delete(&name, &second).await.unwrap();
}

pub async fn a_deleted_message_is_lost(queue: &dyn JobQueue) {
    let name = fresh_name();
    send_all(queue, &name, &["done"]).await;
    let mut message = receive_one(queue, &name, LONG).await;
    queue.delete(&name, &message).await.unwrap();
    assert!(is_lost(&queue.delete(&name, &message).await));
    assert!(is_lost(&queue.renew(&name, &mut message, LONG).await));
}

pub async fn a_renewal_prolongs(queue: &dyn JobQueue) {
    let (name, other) = (fresh_name(), fresh_name());
    for name in [&name, &other] {
        send_all(queue, name, &["long work"]).await;
    }
    let mut message = receive_one(queue, &name, SHORT).await;
    queue.renew(&name, &mut message, LONG).await.unwrap();
    // Held as long as the first would have been without the renewal, and later.
    receive_one(queue, &other, SHORT).await;
    eventually_receive(queue, &other).await;
    assert_eq!(receive(queue, &name).await, []);
    queue.delete(&name, &message).await.unwrap();
}

pub async fn a_renewal_gives_a_new_receipt_and_keeps_the_text(queue: &dyn JobQueue) {
    let name = fresh_name();
    send_all(queue, &name, &["kept"]).await;
    let first = receive_one(queue, &name, LONG).await;
    let mut renewed = first.clone();
    queue.renew(&name, &mut renewed, LONG).await.unwrap();
    assert_ne!(renewed.receipt, first.receipt);
    assert!(is_lost(&queue.delete(&name, &first).await));
    assert!(is_lost(&queue.renew(&name, &mut first.clone(), LONG).await));
    queue.renew(&name, &mut renewed, Duration::ZERO).await.unwrap();
    assert_eq!(eventually_receive(queue, &name).await.text, "kept");
}

pub async fn a_released_message_comes_back_at_once(queue: &dyn JobQueue) {
    let name = fresh_name();
    send_all(queue, &name, &["released"]).await;
    let mut message = receive_one(queue, &name, LONG).await;
    queue.renew(&name, &mut message, Duration::ZERO).await.unwrap();
    let again = receive_one(queue, &name, LONG).await;
    assert_eq!((again.id.as_str(), again.dequeue_count), (message.id.as_str(), 2));
    assert!(is_lost(&queue.delete(&name, &message).await));
}

pub async fn messages_come_roughly_in_order(queue: &dyn JobQueue) {
    let name = fresh_name();
    let texts: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    for text in &texts {
        queue.send(&name, text).await.unwrap();
    }
    let mut received = Vec::new();
    for _ in 0..4 {
        received.extend(queue.receive(&name, 5, LONG).await.unwrap().into_iter().map(|message| message.text));
    }
    let place = |text: &String| received.iter().position(|other| other == text).expect("it was received");
    for (sent, text) in texts.iter().enumerate() {
        assert!(place(text).abs_diff(sent) < 5, "{received:?}");
    }
}

pub async fn one_call_receives_32_at_most(queue: &dyn JobQueue) {
    let name = fresh_name();
    join_all((0..40).map(|_| queue.send(&name, "one of many"))).await.into_iter().for_each(Result::unwrap);
    assert_eq!(queue.receive(&name, 0, LONG).await.unwrap().len(), 1);
    assert_eq!(queue.receive(&name, 3, LONG).await.unwrap().len(), 3);
    assert_eq!(queue.receive(&name, 1000, LONG).await.unwrap().len(), 32);
    assert_eq!(queue.receive(&name, 32, LONG).await.unwrap().len(), 4);
}

pub async fn texts_of_all_kinds_survive(queue: &dyn JobQueue) {
    let texts = [
        "{}",
        "[]",
        "null",
        "abcd",
        "e30=",
        "YWJjZA==",
        "dGV4dCBpbiBiYXNlNjQ",
        "<QueueMessage>&amp; <&> ]]> \"'",
        "line\none\r\nline two\ttab",
        " spaces around ",
        "Größe 44 · ручная работа · 手作り · 👗🏽",
        "nul \0 and other controls \u{1}\u{1f}\u{feff}\u{ffff}",
        "'; DROP TABLE messages; --",
        "\\u0041 %41 %",
    ];
    let name = fresh_name();
    for text in texts {
        queue.send(&name, text).await.unwrap();
        let message = receive_one(queue, &name, LONG).await;
        assert_eq!(message.text, text);
        queue.delete(&name, &message).await.unwrap();
    }
}

pub async fn the_largest_text_is_kept_and_larger_ones_are_refused(queue: &dyn JobQueue) {
    let name = fresh_name();
    let largest = "é".repeat(MAX_MESSAGE_BYTES / 2);
    queue.send(&name, &largest).await.unwrap();
    let message = receive_one(queue, &name, LONG).await;
    assert!(message.text == largest, "{} bytes came back", message.text.len());
    let refused = queue.send(&name, &format!("{largest}.")).await;
    assert!(
        matches!(refused, Err(Error::TooLarge { size_bytes }) if size_bytes == MAX_MESSAGE_BYTES + 1),
        "{refused:?}"
    );
    assert_eq!(queue.length(&name).await.unwrap(), 1);
    // Moved as well as any other.
    let other = fresh_name();
    queue.move_to(&name, &message, &other).await.unwrap();
    assert!(receive_one(queue, &other, LONG).await.text == largest);
}

pub async fn a_queue_that_is_not_there_is_empty(queue: &dyn JobQueue) {
    let name = fresh_name();
    assert_eq!(receive(queue, &name).await, []);
    assert_eq!(queue.length(&name).await.unwrap(), 0);
}

pub async fn nobody_can_hold_what_never_was(queue: &dyn JobQueue) {
    let (name, missing) = (fresh_name(), fresh_name());
    send_all(queue, &name, &["real"]).await;
    let mut message = receive_one(queue, &name, LONG).await;
    assert!(is_lost(&queue.delete(&missing, &message).await), "the queue is not there");
    assert!(is_lost(&queue.renew(&missing, &mut message, LONG).await), "the queue is not there");
    let mut unknown = Message { id: Uuid::new_v4().to_string(), ..message };
    assert!(is_lost(&queue.delete(&name, &unknown).await), "the message is not there");
    assert!(is_lost(&queue.renew(&name, &mut unknown, LONG).await), "the message is not there");
}

pub async fn queues_keep_messages_apart(queue: &dyn JobQueue) {
    let (here, there) = (fresh_name(), fresh_name());
    send_all(queue, &here, &["here"]).await;
    send_all(queue, &there, &["there"]).await;
    let message = receive_one(queue, &here, LONG).await;
    assert_eq!(message.text, "here");
    assert!(is_lost(&queue.delete(&there, &message).await));
    assert_eq!(receive_one(queue, &there, LONG).await.text, "there");
}

pub async fn each_of_200_messages_goes_to_one_of_16_receivers(queue: &dyn JobQueue) {
    let name = fresh_name();
    let texts: BTreeSet<String> = (0..200).map(|number| format!("message {number}")).collect();
    join_all(texts.iter().map(|text| queue.send(&name, text))).await.into_iter().for_each(Result::unwrap);
    let receiver = async || {
        let mut received = Vec::new();
        loop {
            let messages = queue.receive(&name, 5, LONG).await.unwrap();
            if messages.is_empty() {
                return received;
            }
            for message in messages {
                queue.delete(&name, &message).await.unwrap();
                received.push(message.text);
            }
        }
    };
    let received: Vec<String> = join_all((0..16).map(|_| receiver())).await.into_iter().flatten().collect();
    assert_eq!(received.len(), 200);
    assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), texts);
    assert_eq!(queue.length(&name).await.unwrap(), 0);
}

pub async fn a_message_moves(queue: &dyn JobQueue) {
    let (from, to) = (fresh_name(), fresh_name());
    send_all(queue, &from, &["poison <&> e30="]).await;
    let message = receive_one(queue, &from, LONG).await;
    queue.move_to(&from, &message, &to).await.unwrap();
    assert_eq!(queue.length(&from).await.unwrap(), 0);
    let moved = receive_one(queue, &to, LONG).await;
    assert_eq!((moved.text.as_str(), moved.dequeue_count), ("poison <&> e30=", 1));
    assert!(is_lost(&queue.delete(&from, &message).await));
    queue.delete(&to, &moved).await.unwrap();
}

pub async fn a_lost_message_does_not_move(queue: &dyn JobQueue) {
    let (from, to) = (fresh_name(), fresh_name());
    send_all(queue, &from, &["contested"]).await;
    let stale = receive_one(queue, &from, LONG).await;
    queue.renew(&from, &mut stale.clone(), LONG).await.unwrap();
    assert!(is_lost(&queue.move_to(&from, &stale, &to).await));
    assert_eq!((queue.length(&from).await.unwrap(), queue.length(&to).await.unwrap()), (1, 0));
}

pub async fn the_length_counts_hidden_messages(queue: &dyn JobQueue) {
    let name = fresh_name();
    send_all(queue, &name, &["1", "2", "3"]).await;
    assert_eq!(queue.length(&name).await.unwrap(), 3);
    let held = queue.receive(&name, 2, LONG).await.unwrap();
    assert_eq!(queue.length(&name).await.unwrap(), 3);
    queue.delete(&name, &held[0]).await.unwrap();
    assert_eq!(queue.length(&name).await.unwrap(), 2);
}

pub async fn waiting_ends_at_its_limit(queue: &dyn JobQueue) {
    let limit = Duration::from_millis(200);
    let begun = Instant::now();
    tokio::time::timeout(PATIENCE, queue.wait(&fresh_name(), limit)).await.expect("the limit has passed");
    assert!(begun.elapsed() >= limit / 2, "waited {:?}", begun.elapsed());
}
