//! Specific to files: crashed writers, foreign files, failing disks.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pluckit::base::clock::{Clock, ManualClock, SystemClock};
use pluckit::blob::local::LocalBlobs;
use pluckit::blob::{BlobStore, ContainerName, Error, Put, Span};
use time::macros::datetime;

use super::contract::{fresh_container, name};
use crate::support::process;
use crate::support::service::bare;

/// Tells [`process_of_a_writer`] where to write.
const DIRECTORY: &str = "PLUCKIT_TEST_KILLED_WRITER";
const KILLS: usize = 25;
const SIZE: usize = 3 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn open(directory: &Path) -> LocalBlobs {
    LocalBlobs::open(directory, "http://127.0.0.1:7071/api/media".parse().unwrap(), &SystemClock).unwrap()
}

fn archive() -> ContainerName {
    "archive".parse().unwrap()
}

fn written(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory.join(".writing")).unwrap();
    files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Not a test itself: the child process of [`no_kill_leaves_half_a_blob`], which writes until it is killed.
#[tokio::test]
#[ignore = "a process that other tests start"]
async fn process_of_a_writer() {
    #[expect(clippy::disallowed_methods, reason = "how the parent talks to the child")]
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let store = open(Path::new(&directory));
    for number in 0..=u8::MAX {
        let content = Bytes::from(vec![number; SIZE]);
        store.put(&archive(), &name("replaced"), content.clone()).await.unwrap();
        store.put_if_absent(&archive(), &name(&format!("new/{}", uuid::Uuid::new_v4())), content, None).await.unwrap();
    }
}

#[tokio::test]
async fn no_kill_leaves_half_a_blob() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for kill in 0..KILLS {
        let (program, arguments) = process::program("blob::local::process_of_a_writer");
        let mut child = bare(program, directory.path())
            .args(arguments)
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // In the middle of a write that this child began, a little later each time.
        let before = written(directory.path());
        let started = Instant::now();
        let mut seen = 0;
        while seen <= kill % 7 {
            assert!(started.elapsed() < PATIENCE, "the child does not write");
            seen += written(directory.path()).iter().filter(|file| !before.contains(file)).count();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let page = store.list(&archive(), "", None, 1000).await.unwrap();
        for blob in page.blobs {
            let found = store.get(&archive(), &blob.name, Span::Whole).await.unwrap().unwrap();
            let content = found.bytes().await.unwrap();
            assert_eq!(content.len(), SIZE, "{} after kill {kill}", blob.name);
            assert!(content.iter().all(|byte| *byte == content[0]), "{} is mixed", blob.name);
            assert!(blob.name.starts_with("new/") || &*blob.name == "replaced", "{}", blob.name);
        }
    }
    assert!(!written(directory.path()).is_empty(), "no child was killed while it wrote");
}

#[tokio::test]
async fn what_dead_writers_left_is_deleted_when_it_is_old() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    std::fs::write(directory.path().join(".writing/dead"), "half").unwrap();
    drop(open(directory.path()));
    assert_eq!(written(directory.path()), ["dead"], "its writer may still live");
    let later = ManualClock::new(SystemClock.now());
    later.advance(Duration::from_secs(60 * 60 + 1));
    LocalBlobs::open(directory.path(), "http://a.example/".parse().unwrap(), &later).unwrap();
    assert!(written(directory.path()).is_empty());
    // While the service runs, the sweeper sees to it.
    let store = open(directory.path());
    std::fs::write(directory.path().join(".writing/dead"), "half").unwrap();
    assert_eq!(store.sweep(SystemClock.now()).await.unwrap(), 0);
    assert_eq!(store.sweep(later.now()).await.unwrap(), 1);
    assert!(written(directory.path()).is_empty());
}

#[tokio::test]
async fn writers_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for expected in [Put::Created, Put::Exists] {
        let put = store.put_if_absent(&archive(), &name("a/b.webp"), Bytes::from_static(b"x"), None).await.unwrap();
        assert_eq!(put, expected);
    }
    store.put(&archive(), &name("a/b.webp"), Bytes::from_static(b"y")).await.unwrap();
    assert!(store.is_ready(&archive()).await.unwrap());
    assert!(written(directory.path()).is_empty());
    store.delete(&archive(), &name("a/b.webp")).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(directory.path().join("archive")).unwrap().collect();
    assert!(left.is_empty(), "empty directories stay: {left:?}");
}

#[tokio::test]
async fn files_look_as_an_operator_expects() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put(&archive(), &name("coat-1-transparent.webp"), Bytes::from_static(b"x")).await.unwrap();
    let file = directory.path().join("archive/coat-1-transparent.webp");
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap()), mode(directory.path())), (0o600, 0o700, 0o700));
    // A file that somebody put there is a blob, too.
    std::fs::write(directory.path().join("archive/old.webp"), "old").unwrap();
    let page = store.list(&archive(), "", None, 10).await.unwrap();
    let names: Vec<_> = page.blobs.iter().map(|blob| &*blob.name).collect();
    assert_eq!(names, ["coat-1-transparent.webp", "old.webp"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_an_outage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let container = fresh_container();
    std::fs::write(directory.path().join(&*container), "in the way").unwrap();
    let put = store.put_if_absent(&container, &name("a"), Bytes::from_static(b"x"), None).await;
    assert!(matches!(put, Err(Error::Unavailable(_))), "{put:?}");
    std::fs::remove_file(directory.path().join(&*container)).unwrap();
    std::fs::remove_dir_all(directory.path().join(".writing")).unwrap();
    assert!(store.is_ready(&container).await.unwrap());
    // Another directory under the name is not the one that has the blobs, and what is missing from it may be there.
    let away = directory.path().with_extension("away");
    std::fs::rename(directory.path(), &away).unwrap();
    for is_replaced in [false, true] {
        if is_replaced {
            std::fs::create_dir(directory.path()).unwrap();
        }
        assert!(store.is_ready(&container).await.is_err());
        let put = store.put(&container, &name("a"), Bytes::from_static(b"x")).await;
        assert!(matches!(put, Err(Error::Unavailable(_))), "{put:?}");
        assert!(matches!(store.properties(&container, &name("a")).await, Err(Error::Unavailable(_))));
    }
    std::fs::remove_dir(directory.path()).unwrap();
    std::fs::rename(&away, directory.path()).unwrap();
    store.put(&container, &name("a"), Bytes::from_static(b"x")).await.unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let clock = ManualClock::new(datetime!(2026-03-02 09:15 UTC));
    assert!(LocalBlobs::open(&file, "http://a.example/".parse().unwrap(), &clock).is_err());
}
