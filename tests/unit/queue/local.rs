//! Specific to the embedded queue: its file, and a manual clock.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use pluckit::base::clock::ManualClock;
use pluckit::queue::local::LocalQueue;
use pluckit::queue::{Error, JobQueue, MAX_RECEIVED, Message};
use rusqlite::Connection;
use tempfile::TempDir;
use time::macros::datetime;

use super::system_clock;

const JOBS: &str = "jobs";
const MINUTE: Duration = Duration::from_secs(60);
/// How long a test waits for what should come soon.
const PATIENCE: Duration = Duration::from_secs(15);

/// A path in a directory that is gone when the test ends.
fn new_file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data").join("queue.db");
    (directory, path)
}

fn open(path: &Path) -> LocalQueue {
    LocalQueue::open(path, system_clock()).unwrap()
}

fn with_manual_clock() -> (LocalQueue, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    (LocalQueue::in_memory(clock.clone()).unwrap(), clock)
}

async fn receive(queue: &LocalQueue, visibility: Duration) -> Vec<Message> {
    queue.receive(JOBS, MAX_RECEIVED, visibility).await.unwrap()
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

// The file

#[tokio::test]
async fn a_reopened_file_has_what_was_sent_and_who_holds_it() {
    let (_directory, path) = new_file();
    let queue = open(&path);
    for text in ["held", "waiting"] {
        queue.send(JOBS, text).await.unwrap();
    }
    let held = queue.receive(JOBS, 1, MINUTE).await.unwrap().remove(0);
    drop(queue);
    let queue = open(&path);
    assert_eq!(texts(&receive(&queue, MINUTE).await), ["waiting"]);
    queue.delete(JOBS, &held).await.unwrap();
    assert_eq!(queue.length(JOBS).await.unwrap(), 1);
}

#[tokio::test]
async fn what_was_answered_is_in_the_file_before_anything_is_closed() {
    let (_directory, path) = new_file();
    let queue = open(&path);
    queue.send(JOBS, "kept").await.unwrap();
    // As after a kill: the file and its log as they are at this moment, elsewhere.
    let copy = path.with_file_name("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(path.with_file_name("queue.db-wal"), path.with_file_name("copy.db-wal")).unwrap();
    assert_eq!(texts(&receive(&open(&copy), MINUTE).await), ["kept"]);
    let connection = Connection::open(&path).unwrap();
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_newer_layout_is_refused() {
    let (_directory, path) = new_file();
    drop(open(&path));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let Err(Error::Failed(cause)) = LocalQueue::open(&path, system_clock()) else {
        panic!("a newer file was opened");
    };
    assert!(cause.to_string().contains("layout 99"), "{cause}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let (_directory, path) = new_file();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "no database, but long enough to be looked at as one. ".repeat(40)).unwrap();
    assert!(matches!(LocalQueue::open(&path, system_clock()), Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_message_goes_to_one_of_two_processes() {
    let (_directory, path) = new_file();
    let opening = (0..2).map(|_| {
        let path = path.clone();
        tokio::task::spawn_blocking(move || open(&path))
    });
    let queues: Vec<LocalQueue> = join_all(opening).await.into_iter().map(|opened| opened.unwrap()).collect();
    let sent = (0..200).map(|number| {
        let queue = &queues[number % 2];
        async move { queue.send(JOBS, &format!("{number:03}")).await.unwrap() }
    });
    join_all(sent).await;
    let take_all = async |queue: &LocalQueue| {
        let mut taken = Vec::new();
        loop {
            let messages = queue.receive(JOBS, 3, MINUTE).await.unwrap();
            if messages.is_empty() {
                return taken;
            }
            for message in messages {
                queue.delete(JOBS, &message).await.unwrap();
                taken.push(message.text);
            }
        }
    };
    let taken = join_all(queues.iter().flat_map(|queue| [take_all(queue), take_all(queue)])).await;
    let mut taken: Vec<String> = taken.into_iter().flatten().collect();
    taken.sort();
    assert_eq!(taken, (0..200).map(|number| format!("{number:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_thousand_senders_at_once_are_all_heard() {
    let (_directory, path) = new_file();
    let queue = open(&path);
    let sent = (0..1000).map(|number| {
        let queue = &queue;
        async move { queue.send(JOBS, &number.to_string()).await }
    });
    join_all(sent).await.into_iter().for_each(Result::unwrap);
    drop(queue);
    assert_eq!(open(&path).length(JOBS).await.unwrap(), 1000);
}

#[tokio::test]
async fn receiving_walks_over_no_hidden_messages() {
    let (_directory, path) = new_file();
    drop(open(&path));
    let connection = Connection::open(&path).unwrap();
    let plan = |query: &str| -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let steps = statement.query_map([], |row| row.get::<_, String>("detail")).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    // The conditions and orders of `take` and `wait`.
    let taken = plan("SELECT text FROM messages WHERE queue = 'q' AND turn >= 0 ORDER BY turn, sequence LIMIT 1");
    assert_eq!(taken, "SEARCH messages USING INDEX messages_by_turn (queue=? AND turn>?)");
    let hidden = "FROM messages INDEXED BY messages_hidden WHERE queue = 'q' AND turn IS NULL";
    let returned = plan(&format!("SELECT owner {hidden} AND visible_at <= 1 ORDER BY visible_at, sequence LIMIT 1"));
    assert_eq!(returned, "SEARCH messages USING INDEX messages_hidden (queue=? AND visible_at<?)");
    let first = plan(&format!("SELECT min(visible_at) {hidden}"));
    assert!(first.contains("SEARCH messages USING INDEX messages_hidden (queue=?)"), "{first}");
    let ahead = "FROM messages INDEXED BY messages_hidden_at WHERE queue = 'q' AND turn IS NULL AND hidden_at > 1";
    let ahead = plan(&format!("SELECT owner {ahead} ORDER BY hidden_at, sequence LIMIT 1"));
    assert_eq!(ahead, "SEARCH messages USING INDEX messages_hidden_at (queue=? AND hidden_at>?)");
}

// Time

#[tokio::test]
async fn a_clock_that_is_set_back_hides_no_message() {
    let (queue, clock) = with_manual_clock();
    for text in ["held", "waiting"] {
        queue.send(JOBS, text).await.unwrap();
    }
    let mut held = queue.receive(JOBS, 1, MINUTE).await.unwrap().remove(0);
    clock.set_back(60 * MINUTE);
    ends_soon(queue.wait(JOBS, MINUTE)).await;
    assert_eq!(texts(&receive(&queue, MINUTE).await), ["waiting", "held"], "as after a kill, when nobody renews");
    assert!(matches!(queue.renew(JOBS, &mut held, MINUTE).await, Err(Error::Lost)));
    assert_eq!(receive(&queue, MINUTE).await, [], "both were hidden by the new time");
    // A message that is renewed in time stays with its holder.
    queue.send(JOBS, "renewed").await.unwrap();
    let mut renewed = receive(&queue, MINUTE).await.remove(0);
    clock.set_back(30 * MINUTE);
    queue.renew(JOBS, &mut renewed, MINUTE).await.unwrap();
    assert!(!texts(&receive(&queue, MINUTE).await).contains(&"renewed"));
    queue.delete(JOBS, &renewed).await.unwrap();
}

#[tokio::test]
async fn a_message_is_hidden_to_the_millisecond() {
    let (queue, clock) = with_manual_clock();
    queue.send(JOBS, "job").await.unwrap();
    let first = receive(&queue, MINUTE).await.remove(0);
    assert_eq!(first.inserted_at, datetime!(2026-03-02 09:15 UTC));
    clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(receive(&queue, MINUTE).await, []);
    clock.advance(Duration::from_millis(1));
    let second = receive(&queue, MINUTE).await.remove(0);
    assert_eq!((second.dequeue_count, second.inserted_at), (2, first.inserted_at));
    assert!(matches!(queue.delete(JOBS, &first).await, Err(Error::Lost)));
    for delivery in 3..=5 {
        clock.advance(MINUTE);
        assert_eq!(receive(&queue, MINUTE).await[0].dequeue_count, delivery);
    }
}

#[tokio::test]
async fn a_renewal_counts_from_now() {
    let (queue, clock) = with_manual_clock();
    queue.send(JOBS, "job").await.unwrap();
    let mut message = receive(&queue, MINUTE).await.remove(0);
    clock.advance(MINUTE / 2);
    queue.renew(JOBS, &mut message, MINUTE).await.unwrap();
    clock.advance(MINUTE / 2);
    assert_eq!(receive(&queue, MINUTE).await, []);
    clock.advance(MINUTE / 2);
    assert_eq!(receive(&queue, MINUTE).await.len(), 1);
}

#[tokio::test]
async fn those_that_came_back_go_behind_those_that_waited() {
    let (queue, clock) = with_manual_clock();
    queue.send(JOBS, "tried").await.unwrap();
    receive(&queue, MINUTE).await;
    for text in ["first", "second"] {
        queue.send(JOBS, text).await.unwrap();
    }
    clock.advance(MINUTE);
    assert_eq!(texts(&receive(&queue, MINUTE).await), ["first", "second", "tried"]);
}

#[tokio::test]
async fn a_time_without_end_is_far_away_and_no_fault() {
    let (queue, clock) = with_manual_clock();
    queue.send(JOBS, "job").await.unwrap();
    let mut message = receive(&queue, Duration::MAX).await.remove(0);
    clock.advance(MINUTE * 60 * 24 * 365);
    assert_eq!(receive(&queue, MINUTE).await, []);
    queue.renew(JOBS, &mut message, Duration::ZERO).await.unwrap();
    assert_eq!(receive(&queue, MINUTE).await.len(), 1);
}

// Waiting

/// Fails unless `waiting` ends long before its own limit.
async fn ends_soon(waiting: impl Future<Output = ()>) {
    tokio::time::timeout(PATIENCE, waiting).await.expect("the wait should have ended");
}

#[tokio::test]
async fn waiting_ends_at_once_when_there_is_a_message() {
    let (queue, _clock) = with_manual_clock();
    queue.send(JOBS, "already there").await.unwrap();
    ends_soon(queue.wait(JOBS, MINUTE)).await;
}

#[tokio::test]
async fn waiting_ends_when_a_message_is_sent_moved_or_released() {
    let (queue, _clock) = with_manual_clock();
    queue.send("elsewhere", "poison").await.unwrap();
    let poison = queue.receive("elsewhere", 1, MINUTE).await.unwrap().remove(0);
    let mut held = None;
    for step in ["send", "release", "move"] {
        let mut waiting = pin!(queue.wait(JOBS, MINUTE));
        assert!(futures::poll!(&mut waiting).is_pending(), "{step}");
        // Another queue's messages are no reason.
        queue.send("third", "other").await.unwrap();
        match (step, held.as_mut()) {
            ("release", Some(held)) => queue.renew(JOBS, held, Duration::ZERO).await.unwrap(),
            ("move", _) => queue.move_to("elsewhere", &poison, JOBS).await.unwrap(),
            _ => queue.send(JOBS, "sent").await.unwrap(),
        }
        ends_soon(waiting).await;
        let mut received = receive(&queue, MINUTE).await;
        assert_eq!(received.len(), 1, "{step}");
        held = received.pop();
    }
}

#[tokio::test]
async fn waiting_ends_when_a_message_s_time_runs_out_even_if_that_was_shortened() {
    let queue = LocalQueue::in_memory(system_clock()).unwrap();
    queue.send(JOBS, "job").await.unwrap();
    let mut message = receive(&queue, Duration::from_millis(100)).await.remove(0);
    ends_soon(queue.wait(JOBS, MINUTE)).await;
    queue.renew(JOBS, &mut message, MINUTE).await.unwrap();
    let begun = Instant::now();
    let mut waiting = pin!(queue.wait(JOBS, MINUTE));
    assert!(futures::poll!(&mut waiting).is_pending());
    queue.renew(JOBS, &mut message, Duration::from_millis(100)).await.unwrap();
    ends_soon(waiting).await;
    assert!(begun.elapsed() >= Duration::from_millis(99), "{:?}", begun.elapsed());
    assert_eq!(receive(&queue, MINUTE).await.len(), 1);
}

#[tokio::test]
async fn a_message_that_somebody_was_quicker_with_is_no_reason_to_stop_waiting() {
    let (queue, _clock) = with_manual_clock();
    let mut waiting = pin!(queue.wait(JOBS, MINUTE));
    assert!(futures::poll!(&mut waiting).is_pending());
    queue.send(JOBS, "taken").await.unwrap();
    receive(&queue, MINUTE).await;
    let still = tokio::time::timeout(Duration::from_millis(100), waiting).await;
    assert!(still.is_err(), "there is nothing to receive");
}

// Turns

#[tokio::test]
async fn users_take_turns_however_much_they_have_waiting() {
    let (queue, clock) = with_manual_clock();
    for number in 0..100 {
        queue.send_for(JOBS, "ada", &format!("ada {number}")).await.unwrap();
    }
    let first = queue.receive(JOBS, 4, MINUTE).await.unwrap();
    assert_eq!(texts(&first), ["ada 0", "ada 1", "ada 2", "ada 3"]);
    for text in ["eve 0", "eve 1"] {
        queue.send_for(JOBS, "eve", text).await.unwrap();
    }
    queue.send(JOBS, "of nobody").await.unwrap();
    let next = queue.receive(JOBS, 5, MINUTE).await.unwrap();
    assert_eq!(texts(&next), ["ada 4", "eve 0", "of nobody", "ada 5", "eve 1"]);
    // Earlier messages do not delay a user's later turns once they are done.
    for message in first.iter().chain(&next).chain(&receive_all(&queue).await) {
        queue.delete(JOBS, message).await.unwrap();
    }
    for (user, text) in [("ada", "ada"), ("bob", "bob"), ("ada", "ada again")] {
        queue.send_for(JOBS, user, text).await.unwrap();
    }
    assert_eq!(texts(&receive(&queue, MINUTE).await), ["ada", "bob", "ada again"]);
    // While a user's message is processed, another user's backlog does not overtake their next one.
    for number in 0..3 {
        queue.send_for(JOBS, "cy", &format!("cy {number}")).await.unwrap();
    }
    queue.send_for(JOBS, "ada", "ada at last").await.unwrap();
    let turns = receive(&queue, MINUTE).await;
    assert!(texts(&turns).iter().position(|text| *text == "ada at last").unwrap() <= 1, "{turns:?}");
    clock.advance(MINUTE);
    assert_eq!(receive(&queue, MINUTE).await.len(), 7, "what nobody finished comes back");
}

async fn receive_all(queue: &LocalQueue) -> Vec<Message> {
    let mut all = Vec::new();
    loop {
        let some = receive(queue, MINUTE).await;
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

#[tokio::test]
async fn a_file_of_an_older_layout_is_brought_up_to_date() {
    let (_directory, path) = new_file();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE messages (sequence INTEGER PRIMARY KEY, queue TEXT NOT NULL, id TEXT NOT NULL UNIQUE,
                inserted_at INTEGER NOT NULL, visible_at INTEGER NOT NULL, dequeue_count INTEGER NOT NULL,
                receipt TEXT NOT NULL, text TEXT NOT NULL);
             CREATE INDEX messages_by_visibility ON messages (queue, visible_at, sequence);
             INSERT INTO messages VALUES (1, 'jobs', 'm1', 0, 0, 0, '', 'old');
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    let queue = open(&path);
    queue.send_for(JOBS, "ada", "new").await.unwrap();
    assert_eq!(texts(&receive(&queue, MINUTE).await), ["old", "new"]);
}
