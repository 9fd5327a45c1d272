//! Group commit of the SQLite engine: callers, the queue and the writer thread, on an in-memory database.

#[path = "../../src/sqlite/error.rs"]
#[expect(unused_imports, unused_macros, reason = "the store and the queue use the rest")]
mod error;
#[path = "../../src/sqlite/files.rs"]
#[expect(dead_code, reason = "the database is in memory")]
mod files;
#[path = "../../src/sqlite/group.rs"]
mod group;
#[path = "../../src/sqlite/place.rs"]
#[expect(dead_code, reason = "the database is in memory")]
mod place;
#[path = "../../src/sqlite/readers.rs"]
#[expect(dead_code, reason = "the database is in memory")]
mod readers;
#[path = "../../src/sqlite/writer.rs"]
mod writer;

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::Connection;
use shuttle::future::{block_on, spawn};
use shuttle::thread;

use self::error::{Error, Result};
use self::group::{Jobs, Waiting, write_groups};
use self::writer::Writer;
use crate::explore::{break_down, draw, explore, point};
use crate::time::sleep;

/// Jobs per transaction, and in the queue.
const GROUP: usize = 2;
const QUEUE: usize = 2;
const CALLERS: i64 = 3;
/// Writes of each caller, one after the other.
const WRITES: i64 = 4;

/// Fate of the written numbers.
#[derive(Default)]
struct Numbers {
    /// In the order of their work.
    begun: Vec<i64>,
    /// Written in the current transaction.
    written: Vec<i64>,
    committed: BTreeSet<i64>,
    /// Written, and rolled back by a failed commit.
    undone: BTreeSet<i64>,
}

#[derive(Clone, Default)]
struct Book(Arc<Mutex<Numbers>>);

impl Book {
    fn open(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap()
    }

    /// Creates an in-memory database whose commits sometimes fail.
    fn database(&self) -> Writer {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE numbers (n)").unwrap();
        let book = self.clone();
        let is_refused = move || {
            point();
            let is_refused = draw(4) == 0;
            let mut numbers = book.open();
            let group = take(&mut numbers.written);
            assert!(group.len() <= GROUP, "{group:?} in one transaction");
            if is_refused {
                numbers.undone.extend(group)
            } else {
                numbers.committed.extend(group)
            }
            is_refused
        };
        connection.commit_hook(Some(is_refused)).unwrap();
        Writer { connection: Some(connection), file: None, is_down: false }
    }
}

/// Behaviour of a caller and its work.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Write,
    /// Work that writes and then fails.
    Fail,
    /// Work that writes and then panics.
    Panic,
    /// Work whose caller may leave early.
    Leave,
}

impl Wish {
    fn any() -> Self {
        [Self::Write, Self::Write, Self::Write, Self::Fail, Self::Panic, Self::Leave][draw(6)]
    }
}

/// Writes a number, and checks the answer.
async fn write(jobs: &Jobs, book: &Book, number: i64, wish: Wish) {
    let notes = book.clone();
    let work = move |connection: &Connection| -> Result<i64> {
        notes.open().begun.push(number);
        point();
        connection.prepare_cached("INSERT INTO numbers VALUES (?)")?.execute([number])?;
        match wish {
            Wish::Write | Wish::Leave => {}
            Wish::Fail => return Err(Error::Failed(number.to_string().into())),
            Wish::Panic => break_down(),
        }
        notes.open().written.push(number);
        Ok(number)
    };
    let answer = async {
        match wish {
            Wish::Leave => crate::select! {
                biased;
                answer = jobs.write(work) => Some(answer),
                () = sleep(Duration::ZERO) => None,
            },
            Wish::Write | Wish::Fail | Wish::Panic => Some(jobs.write(work).await),
        }
    };
    let Some(answer) = answer.await else { return };
    let numbers = book.open();
    let (is_committed, is_undone) = (numbers.committed.contains(&number), numbers.undone.contains(&number));
    match (wish, answer) {
        (Wish::Write | Wish::Leave, Ok(answer)) => {
            assert_eq!(answer, number, "another's answer");
            assert!(is_committed, "{number} was acknowledged and is not committed");
        }
        (Wish::Write | Wish::Leave, Err(error)) => assert!(is_undone, "{number} failed without a reason: {error:?}"),
        (Wish::Fail | Wish::Panic, Ok(_)) => panic!("{number} failed and was acknowledged"),
        (Wish::Fail, Err(Error::Failed(cause))) => {
            // Its own error, or the commit's.
            assert_eq!(cause.to_string().parse().unwrap_or(number), number, "another's error");
        }
        (Wish::Panic, Err(Error::Failed(_))) => {}
        (Wish::Fail | Wish::Panic, Err(error)) => panic!("{number} got another's error: {error:?}"),
    }
}

async fn stored(jobs: &Jobs) -> Vec<i64> {
    loop {
        let read = |connection: &Connection| -> Result<Vec<i64>> {
            let mut statement = connection.prepare_cached("SELECT n FROM numbers ORDER BY n")?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
        };
        // The commit may fail.
        if let Ok(numbers) = jobs.write(read).await {
            return numbers;
        }
    }
}

fn start(book: &Book) -> (Jobs, thread::JoinHandle<()>) {
    let (jobs, waiting) = Jobs::with_room(QUEUE);
    let writer = book.database();
    (jobs, thread::spawn(move || write_groups(writer, waiting, GROUP)))
}

#[test]
fn each_caller_gets_its_own_result_after_the_commit() {
    explore(1_000, || {
        let book = Book::default();
        let (jobs, writer) = start(&book);
        let jobs = Arc::new(jobs);
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (jobs, book) = (jobs.clone(), book.clone());
                spawn(async move {
                    for number in 0..WRITES {
                        write(&jobs, &book, caller * 100 + number, Wish::any()).await;
                    }
                })
            })
            .collect();
        block_on(async {
            for caller in callers {
                caller.await.unwrap();
            }
            let stored = stored(&jobs).await;
            assert_eq!(stored, book.open().committed.iter().copied().collect::<Vec<_>>(), "stored, committed");
        });
        drop(jobs);
        writer.join().unwrap();
        for caller in 0..CALLERS {
            let numbers = book.open();
            let begun: Vec<_> = numbers.begun.iter().filter(|number| **number / 100 == caller).collect();
            assert!(begun.is_sorted(), "a caller's work out of order: {begun:?}");
        }
    });
}

#[test]
fn the_writer_ends_after_the_work_that_waits() {
    explore(500, || {
        let book = Book::default();
        let (jobs, writer) = start(&book);
        // No caller waits for this work when the queue closes.
        block_on(async {
            for number in 0..4 {
                write(&jobs, &book, number, Wish::Leave).await;
            }
        });
        drop(jobs);
        writer.join().unwrap();
        let numbers = book.open();
        assert!(numbers.written.is_empty(), "the writer ended within a transaction");
        assert_eq!(numbers.committed.len() + numbers.undone.len(), numbers.begun.len(), "work without a commit");
    });
}

#[test]
fn callers_are_answered_when_the_writer_is_gone() {
    explore(500, || {
        let (jobs, waiting): (_, Waiting) = Jobs::with_room(1);
        let jobs = Arc::new(jobs);
        let callers: Vec<_> = (0..3_i64)
            .map(|number| {
                let jobs = jobs.clone();
                spawn(async move {
                    let answer = jobs.write(move |_| Ok::<_, Error>(number)).await;
                    assert!(matches!(answer, Err(Error::Failed(_))), "{answer:?}");
                })
            })
            .collect();
        point();
        drop(waiting);
        block_on(async {
            for caller in callers {
                caller.await.unwrap();
            }
        });
        assert!(jobs.is_closed());
    });
}
