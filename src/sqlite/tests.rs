use futures::future::join_all;

use super::*;

/// Creates an in-memory engine whose commits fail while the flag is set, with a table of numbers.
async fn engine() -> (Engine, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let mut connection = Connection::open_in_memory().unwrap();
    let flag = fails.clone();
    connection.commit_hook(Some(move || flag.load(Ordering::SeqCst))).unwrap();
    let schema: Schema<Error> =
        Schema { connect: |_| Ok(()), prepare: |connection| Ok(connection.execute_batch("CREATE TABLE numbers (n)")?) };
    let engine = Engine::on(connection, &schema).unwrap();
    (engine, fails)
}

async fn add(engine: &Engine, number: i64) -> Result<()> {
    let insert = "INSERT INTO numbers VALUES (?)";
    engine.write(move |connection| Ok(connection.prepare_cached(insert)?.execute([number]).map(drop)?)).await
}

async fn numbers(engine: &Engine) -> Vec<i64> {
    let read = |connection: &Connection| -> Result<Vec<i64>> {
        let mut statement = connection.prepare_cached("SELECT n FROM numbers ORDER BY n")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    engine.read(read).await.unwrap()
}

#[tokio::test]
async fn a_failed_commit_fails_every_write_of_its_group() {
    let (engine, fails) = engine().await;
    fails.store(true, Ordering::SeqCst);
    let results = join_all((0..10).map(|number| add(&engine, number))).await;
    assert!(results.iter().all(Result::is_err), "{results:?}");
    fails.store(false, Ordering::SeqCst);
    add(&engine, 10).await.unwrap();
    assert_eq!(numbers(&engine).await, [10]);
}

#[tokio::test]
async fn a_transaction_that_ends_early_fails_every_write_of_its_group() {
    let (engine, _) = engine().await;
    // As SQLite does by itself when the disk is full.
    let end = engine.write(|connection| -> Result<()> {
        connection.execute_batch("ROLLBACK")?;
        Err(Stopped::Writer.into())
    });
    let (first, second, ended) = tokio::join!(add(&engine, 1), add(&engine, 2), end);
    assert!(ended.is_err());
    let acknowledged: Vec<i64> =
        [(first, 1), (second, 2)].into_iter().filter(|(result, _)| result.is_ok()).map(|(_, number)| number).collect();
    assert_eq!(numbers(&engine).await, acknowledged);
    add(&engine, 3).await.unwrap();
    assert_eq!(numbers(&engine).await.last(), Some(&3));
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_not_done() {
    let (engine, _) = engine().await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let busy = engine.write(move |_| -> Result<bool> { Ok(held.recv().is_ok()) });
    // Queued behind the first one, and cancelled before it runs.
    let given_up = async {
        let mut abandoned = Box::pin(add(&engine, 1));
        assert!(futures::poll!(&mut abandoned).is_pending());
        drop(abandoned);
        release.send(()).unwrap();
    };
    let (was_released, ()) = tokio::join!(busy, given_up);
    assert!(was_released.unwrap());
    assert_eq!(numbers(&engine).await, [0; 0]);
}

/// Creates an engine on a file, with a table of numbers.
fn on_disk(path: &Path) -> Engine {
    let schema: Schema<Error> = Schema {
        connect: |_| Ok(()),
        prepare: |connection| Ok(connection.execute_batch("CREATE TABLE IF NOT EXISTS numbers (n)")?),
    };
    Engine::open(path, &schema).unwrap()
}

fn is_outage<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Unavailable(_)))
}

#[tokio::test]
async fn nothing_is_written_to_a_file_that_is_gone_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let (path, away) = (directory.path().join("a.db"), directory.path().join("away"));
    let engine = on_disk(&path);
    add(&engine, 1).await.unwrap();
    std::fs::rename(&path, &away).unwrap();
    assert!(is_outage(&add(&engine, 2).await));
    assert!(is_outage(&engine.check().await));
    // A copy is a different file, even with the same content.
    std::fs::copy(&away, &path).unwrap();
    assert!(is_outage(&add(&engine, 3).await));
    assert!(is_outage(&engine.check().await));
    std::fs::rename(&away, &path).unwrap();
    engine.check().await.unwrap();
    add(&engine, 4).await.unwrap();
    drop(engine);
    assert_eq!(numbers(&on_disk(&path)).await, [1, 4]);
}

#[tokio::test]
async fn a_log_that_is_gone_costs_the_writes_of_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let engine = on_disk(&path);
    add(&engine, 1).await.unwrap();
    assert_eq!(numbers(&engine).await, [1]);
    std::fs::remove_file(directory.path().join("a.db-wal")).unwrap();
    assert!(is_outage(&add(&engine, 2).await));
    add(&engine, 3).await.unwrap();
    assert_eq!(numbers(&engine).await, [1, 3]);
    // As after a kill: only what is on disk counts.
    let copy = tempfile::tempdir().unwrap();
    for file in ["a.db", "a.db-wal"] {
        std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
    }
    assert_eq!(numbers(&on_disk(&copy.path().join("a.db"))).await, [1, 3]);
}

#[tokio::test]
async fn an_emptied_file_takes_no_writes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let engine = on_disk(&path);
    add(&engine, 1).await.unwrap();
    std::fs::File::create(&path).unwrap();
    assert!(is_outage(&add(&engine, 2).await));
    assert!(is_outage(&engine.check().await));
}

#[tokio::test]
async fn damage_is_found_and_names_its_table() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let engine = on_disk(&path);
    join_all((0..2_000).map(|number| add(&engine, number))).await;
    assert_eq!(engine.find_damage().await.unwrap(), None);
    drop(engine);
    let whole = std::fs::read(&path).unwrap();
    // The first byte of a page identifies table leaves. The first page has the schema.
    let leaves = (4096..whole.len()).step_by(4096).filter(|&page| whole[page] == 0x0d);
    for leaf in leaves {
        let mut bytes = whole.clone();
        bytes[leaf..leaf + 64].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let found = on_disk(&path).find_damage().await.unwrap();
        assert!(found.as_ref().is_some_and(|found| found.starts_with("numbers: ")), "{leaf}: {found:?}");
    }
}

#[tokio::test]
async fn work_that_panics_leaves_the_writer_to_others() {
    let (engine, _) = engine().await;
    let broken = engine.write(|_| -> Result<()> { panic!("as the test says") });
    let (broken, added) = tokio::join!(broken, add(&engine, 1));
    assert!(matches!(broken, Err(Error::Failed(_))));
    added.unwrap();
    assert_eq!(numbers(&engine).await, [1]);
}
