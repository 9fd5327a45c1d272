//! Backups of a running service, and restoring them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pluckit::net;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::service::{Launch, bare};
use crate::support::until;

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");

fn pluckit(directory: &Path, arguments: &[&str]) -> Output {
    let mut command: Command = bare(Path::new(BINARY), directory);
    command.args(arguments).env("PLUCKIT_ALLOW_INSECURE_DEV", "1").output().unwrap()
}

fn succeed(directory: &Path, arguments: &[&str]) -> String {
    let output = pluckit(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refusal(directory: &Path, arguments: &[&str]) -> String {
    let output = pluckit(directory, arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// The documents of a store by container, partition and id.
fn documents(file: &Path) -> BTreeMap<String, String> {
    let connection = Connection::open(file).unwrap();
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut found = BTreeMap::new();
    for table in tables {
        let Ok(mut rows) = connection.prepare(&format!("SELECT partition, id, document FROM \"{table}\"")) else {
            continue;
        };
        let rows = rows.query_map([], |row| {
            let (partition, id): (String, String) = (row.get(0)?, row.get(1)?);
            Ok((format!("{table}/{partition}/{id}"), row.get::<_, String>(2)?))
        });
        found.extend(rows.unwrap().map(Result::unwrap));
    }
    found
}

/// The files below a directory by path, with their contents.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn modes(directory: &Path) {
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        assert_eq!(fs::metadata(&next).unwrap().permissions().mode() & 0o777, 0o700, "{}", next.display());
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_restored_elsewhere() {
    let launch = Launch::development(BINARY);
    let (mut service, address) = launch.start();
    until("the demo is complete", async || service.log().contains("pictures of the demo written")).await;
    let place = TempDir::new().unwrap();
    let data = launch.store_file().parent().unwrap().to_str().unwrap().to_owned();
    let (backup, ended, saved) = (place.path().join("backup"), AtomicBool::new(false), AtomicU64::new(0));
    let http = net::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let add = async |notes: String| {
        let item = json!({"category": "Tops", "notes": notes});
        let answer = http.post(format!("http://{address}/api/wardrobe")).json(&item).send().await.unwrap();
        assert_eq!(answer.status(), 201);
    };
    let load = async {
        while !ended.load(Ordering::Relaxed) {
            let number = saved.load(Ordering::Relaxed);
            add(format!("number {number}")).await;
            saved.store(number + 1, Ordering::Relaxed);
        }
    };
    let back_up = async {
        until("some are saved", async || saved.load(Ordering::Relaxed) >= 20).await;
        let before = saved.load(Ordering::Relaxed);
        let (directory, arguments) = (place.path().to_owned(), [data.clone(), backup.display().to_string()]);
        let run = move || succeed(&directory, &["backup", "--data-dir", &arguments[0], &arguments[1]]);
        let told = tokio::task::spawn_blocking(run).await.unwrap();
        ended.store(true, Ordering::Relaxed);
        (before, told)
    };
    let ((before, told), ()) = tokio::join!(back_up, load);
    assert!(told.contains("blobs      ") && told.contains(" copied, 0 removed)"), "{told}");
    modes(&backup);

    // The restored store has everything that was saved before the backup began, in order and without gaps.
    let elsewhere = place.path().join("elsewhere");
    let (from, to) = (backup.to_str().unwrap(), elsewhere.to_str().unwrap());
    succeed(place.path(), &["restore", "--data-dir", to, from]);
    modes(&elsewhere);
    let restored = documents(&elsewhere.join("pluckit.db"));
    let numbers = |documents: &BTreeMap<String, String>| -> Vec<u64> {
        let notes = documents.values().filter_map(|json| {
            let document: Value = serde_json::from_str(json).ok()?;
            document["notes"].as_str()?.strip_prefix("number ")?.parse().ok()
        });
        let mut numbers: Vec<u64> = notes.collect();
        numbers.sort_unstable();
        numbers
    };
    let found = numbers(&restored);
    assert!(found.len() as u64 >= before && found.iter().copied().eq(0..found.len() as u64), "{before}: {found:?}");
    assert_eq!(files(&elsewhere.join("blobs")), files(&backup.join("blobs")));

    // Again to the same directory, without writes: now it is equal to the service's data.
    add("the last one".to_owned()).await;
    service.signal("TERM");
    service.wait(Duration::from_secs(20));
    let blobs = Path::new(&data).join("blobs");
    let gone = files(&blobs).into_keys().find(|name| name.ends_with(".webp")).unwrap();
    fs::remove_file(blobs.join(gone)).unwrap();
    let told = succeed(place.path(), &["backup", "--data-dir", &data, from]);
    assert!(told.contains("(0 copied, 1 removed)"), "{told}");
    let again = place.path().join("again");
    succeed(place.path(), &["restore", "--data-dir", again.to_str().unwrap(), from]);
    assert_eq!(documents(&again.join("pluckit.db")), documents(&launch.store_file()));
    let without_temporary = |mut files: BTreeMap<String, Vec<u8>>| {
        files.retain(|name, _| !name.starts_with(".writing"));
        files
    };
    assert_eq!(files(&again.join("blobs")), without_temporary(files(&blobs)));

    // What was restored is a store like any other.
    let (_restored, address) = Launch::development(BINARY).setting("PLUCKIT_DATA_DIR", again.to_str().unwrap()).start();
    let page: Value =
        http.get(format!("http://{address}/api/wardrobe?pageSize=1")).send().await.unwrap().json().await.unwrap();
    assert_eq!(page["items"][0]["notes"], "the last one", "{page}");
}

#[test]
fn nothing_is_overwritten_and_nothing_damaged_restored() {
    let place = TempDir::new().unwrap();
    let run = place.path();
    assert!(refusal(run, &["backup", "to"]).contains("./data has no data to back up"));
    assert!(refusal(run, &["restore", "to"]).contains("to is not a complete backup"));
    assert!(refusal(run, &["reset", "--yes"]).contains("--demo"));
    assert!(succeed(run, &["reset", "--demo", "--yes"]).contains("Demo loaded, with "));
    succeed(run, &["backup", "to"]);
    assert!(refusal(run, &["restore", "to"]).contains("restore into an empty directory"));
    assert!(refusal(run, &["reset", "--demo"]).contains("--yes is required"));

    // A page of it is overwritten.
    let file = run.join("to/pluckit.db");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 8192].fill(0xff);
    fs::write(&file, bytes).unwrap();
    assert!(refusal(run, &["restore", "--data-dir", "elsewhere", "to"]).contains("pluckit.db is damaged"));
    assert_eq!(fs::read_dir(run.join("elsewhere")).unwrap().count(), 0, "nothing of a damaged backup is left");

    let production = bare(Path::new(BINARY), run)
        .args(["reset", "--demo", "--yes"])
        .envs([("AZURE_FUNCTIONS_ENVIRONMENT", "Production"), ("PLUCKIT_ALLOW_EMBEDDED", "1")])
        .output()
        .unwrap();
    assert!(!production.status.success() && run.join("data/pluckit.db").exists());
}

#[test]
fn only_empty_directories_and_earlier_backups_are_written_to() {
    let place = TempDir::new().unwrap();
    let run = place.path();
    succeed(run, &["reset", "--demo", "--yes", "--data-dir", "data"]);
    succeed(run, &["storage", "init", "--data-dir", "other"]);
    fs::create_dir_all(run.join("photos/blobs")).unwrap();
    fs::write(run.join("photos/blobs/holiday.jpg"), "not yours").unwrap();
    std::os::unix::fs::symlink(run.join("data"), run.join("link")).unwrap();
    let before = files(run);
    for target in ["data", "data/", "link", "data/inside", "nowhere/../data", "data/blobs", ".", "/"] {
        let told = refusal(run, &["backup", "--data-dir", "data", target]);
        assert!(told.contains("the service's own data"), "{target}: {told}");
    }
    for target in ["other", "photos", "photos/blobs"] {
        let told = refusal(run, &["backup", "--data-dir", "data", target]);
        assert!(told.contains("files that are not part of a backup"), "{target}: {told}");
    }
    assert!(files(run) == before, "nothing is touched");

    // An interrupted backup is continued; one that was used as a data directory is refused.
    succeed(run, &["backup", "--data-dir", "data", "to"]);
    fs::remove_file(run.join("to/backup.json")).unwrap();
    assert!(refusal(run, &["restore", "--data-dir", "elsewhere", "to"]).contains("is not a complete backup"));
    let told = succeed(run, &["backup", "--data-dir", "data", "to"]);
    assert!(told.contains("(0 copied, 0 removed)"), "{told}");
    succeed(run, &["token", "create", "x", "--data-dir", "to"]);
    let before = files(&run.join("to"));
    let told = refusal(run, &["backup", "--data-dir", "data", "to"]);
    assert!(told.contains("was used as a data directory"), "{told}");
    assert!(files(&run.join("to")) == before, "nothing is touched");
}

#[test]
fn links_pipes_and_devices_in_a_backup_are_not_followed() {
    let place = TempDir::new().unwrap();
    let run = place.path();
    succeed(run, &["reset", "--demo", "--yes"]);
    succeed(run, &["backup", "to"]);
    for name in ["backup.json", "pluckit.db", "blobs"] {
        let part = run.join("to").join(name);
        let aside = run.join("aside");
        fs::rename(&part, &aside).unwrap();
        let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        let link = |path: &Path| std::os::unix::fs::symlink(&aside, path).unwrap();
        for replace in [&pipe as &dyn Fn(&Path), &link] {
            replace(&part);
            let told = refusal(run, &["restore", "--data-dir", "elsewhere", "to"]);
            assert!(told.contains(&format!("{name} is a link or a special file")), "{told}");
            fs::remove_file(&part).unwrap();
        }
        fs::rename(&aside, &part).unwrap();
    }
    succeed(run, &["restore", "--data-dir", "elsewhere", "to"]);
}

#[test]
fn a_backup_without_all_its_blobs_is_not_restored() {
    let place = TempDir::new().unwrap();
    let run = place.path();
    succeed(run, &["reset", "--demo", "--yes"]);
    succeed(run, &["backup", "to"]);
    let (elsewhere, blobs) = (run.join("elsewhere"), run.join("to/blobs"));
    let refused = |expected: &str| {
        let told = refusal(run, &["restore", "--data-dir", "elsewhere", "to"]);
        assert!(told.contains(expected), "{told}");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing of it is left");
        let told = refusal(run, &["export", "--data-dir", "elsewhere"]);
        assert!(told.contains("there is no store in elsewhere"), "{told}");
    };
    let name = files(&blobs).into_keys().find(|name| name.ends_with(".webp")).unwrap();
    let (blob, content) = (blobs.join(&name), fs::read(blobs.join(&name)).unwrap());
    fs::remove_file(&blob).unwrap();
    refused(&format!("{name} is missing"));
    for damaged in [&content[..content.len() / 2], &[content.as_slice(), b"x"].concat(), &vec![0; content.len()]] {
        fs::write(&blob, damaged).unwrap();
        refused(&format!("{name} is damaged"));
    }
    fs::write(&blob, &content).unwrap();
    let list = files(&run.join("to")).into_keys().find(|name| name.ends_with(".jsonl")).unwrap();
    let lines = fs::read_to_string(run.join("to").join(&list)).unwrap();
    fs::write(run.join("to").join(&list), lines.replace("sha256", "sha1")).unwrap();
    refused(&format!("{list} is damaged"));

    // Older versions wrote only the number of blobs, no list.
    fs::remove_file(run.join("to").join(list)).unwrap();
    let manifest = run.join("to/backup.json");
    let mut older: Value = serde_json::from_str(&fs::read_to_string(&manifest).unwrap()).unwrap();
    assert!(older.as_object_mut().unwrap().remove("blobList").is_some());
    fs::write(&manifest, older.to_string()).unwrap();
    fs::remove_file(&blob).unwrap();
    refused("is damaged: it has ");
    fs::write(&blob, &content).unwrap();
    succeed(run, &["restore", "--data-dir", "elsewhere", "to"]);
    assert_eq!(files(&elsewhere.join("blobs")), files(&blobs));

    // The next backup lists the existing blobs, and replaces those that have changed.
    let changed = run.join("data/blobs").join(&name);
    fs::remove_file(&changed).unwrap();
    fs::write(&changed, "changed").unwrap();
    // The damaged blob's modification time also differed from the source's.
    let told = succeed(run, &["backup", "to"]);
    assert!(told.contains("(1 copied, 0 removed)"), "{told}");
    fs::remove_dir_all(&elsewhere).unwrap();
    succeed(run, &["restore", "--data-dir", "elsewhere", "to"]);
    assert_eq!(fs::read(elsewhere.join("blobs").join(&name)).unwrap(), b"changed");
}

/// Of a decaying disk, neither size nor time of a file tell.
#[test]
fn a_damaged_blob_of_an_earlier_backup_is_copied_again() {
    let place = TempDir::new().unwrap();
    let run = place.path();
    succeed(run, &["reset", "--demo", "--yes"]);
    succeed(run, &["backup", "to"]);
    let blobs = run.join("to/blobs");
    let whole = files(&blobs);
    let name = whole.keys().find(|name| name.ends_with(".webp")).unwrap();
    let (blob, content) = (blobs.join(name), &whole[name]);
    let damage = || {
        let modified = fs::metadata(&blob).unwrap().modified().unwrap();
        let mut damaged = content.clone();
        damaged[content.len() / 2] ^= 1;
        fs::write(&blob, damaged).unwrap();
        fs::File::options().write(true).open(&blob).unwrap().set_modified(modified).unwrap();
    };
    // With the list of the earlier backup, and without.
    for list in [true, false] {
        damage();
        if !list {
            let list = files(&run.join("to")).into_keys().find(|name| name.ends_with(".jsonl")).unwrap();
            fs::write(run.join("to").join(list), "damaged").unwrap();
        }
        let told = succeed(run, &["backup", "to"]);
        assert!(told.contains("(1 copied, 0 removed; 1 in the backup damaged, copied again)"), "{told}");
        assert!(files(&blobs) == whole, "all blobs are as they were");
    }
    let told = succeed(run, &["backup", "to"]);
    assert!(told.contains("(0 copied, 0 removed)"), "{told}");
    succeed(run, &["restore", "--data-dir", "elsewhere", "to"]);
    assert!(files(&run.join("elsewhere/blobs")) == whole);

    // Damage of the service's own file is not carried over what is whole.
    let own = run.join("data/blobs").join(name);
    let modified = fs::metadata(&own).unwrap().modified().unwrap();
    fs::write(&own, vec![0; content.len()]).unwrap();
    fs::File::options().write(true).open(&own).unwrap().set_modified(modified).unwrap();
    assert!(succeed(run, &["backup", "to"]).contains("(0 copied, 0 removed)"));
    assert!(files(&blobs) == whole);
}

#[test]
fn a_restore_that_was_cut_off_is_no_store() {
    let place = TempDir::new().unwrap();
    let run = place.path();
    succeed(run, &["reset", "--demo", "--yes"]);
    succeed(run, &["backup", "to"]);
    // The blobs are in place, the documents are not yet.
    fs::create_dir_all(run.join("half/.restoring")).unwrap();
    fs::create_dir_all(run.join("half/blobs/archive")).unwrap();
    fs::write(run.join("half/blobs/archive/old.txt"), "of the first try").unwrap();
    for arguments in [&["serve", "--port", "0"][..], &["mcp"], &["token", "create", "x"], &["storage", "init"]] {
        let told = refusal(run, &[arguments, &["--data-dir", "half"]].concat());
        assert!(told.contains("a restore into half was interrupted"), "{arguments:?}: {told}");
    }
    let doctor = pluckit(run, &["doctor", "--data-dir", "half"]);
    assert!(!doctor.status.success() && String::from_utf8_lossy(&doctor.stdout).contains("half was interrupted"));
    assert!(!run.join("half/pluckit.db").exists() && !run.join("half/queue.db").exists());
    fs::rename(run.join("to/pluckit.db"), run.join("aside")).unwrap();
    refusal(run, &["restore", "--data-dir", "half", "to"]);
    assert!(run.join("half/.restoring").exists(), "it is still no store");
    fs::rename(run.join("aside"), run.join("to/pluckit.db")).unwrap();
    succeed(run, &["restore", "--data-dir", "half", "to"]);
    assert_eq!(files(&run.join("half/blobs")), files(&run.join("to/blobs")));
    assert!(!run.join("half/.restoring").exists());

    // The log of a deleted store would be applied to the restored one.
    fs::create_dir(run.join("log")).unwrap();
    fs::write(run.join("log/pluckit.db-wal"), "x").unwrap();
    let told = refusal(run, &["restore", "--data-dir", "log", "to"]);
    assert!(told.contains("pluckit.db-wal already exists"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_size_of_a_file_is_an_error_and_no_end() {
    let place = TempDir::new().unwrap();
    let run = place.path();
    succeed(run, &["reset", "--demo", "--yes"]);
    let mut command = bare("/bin/sh", run);
    command.args(["-c", "ulimit -f 64; exec \"$0\" \"$@\"", BINARY, "backup", "to"]);
    let output = command.env("PLUCKIT_ALLOW_INSECURE_DEV", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{:?}", output.status);
    assert!(!run.join("to/backup.json").exists());

    // The store reaches the limit, and the service still answers.
    let limited = ["/bin/sh", "-c", "ulimit -f 4000; exec \"$0\" \"$@\""];
    let launch = Launch::development(BINARY).through(&limited).setting("PLUCKIT_DEMO", "false");
    let (mut service, address) = launch.start();
    let http = net::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let item = json!({"category": "Tops", "notes": "x".repeat(9_000)});
    let mut refused = None;
    for _ in 0..400 {
        let answer = http.post(format!("http://{address}/api/wardrobe")).json(&item).send().await.unwrap();
        if answer.status() != 201 {
            refused = Some(answer.status().as_u16());
            break;
        }
    }
    assert_eq!(refused, Some(503));
    assert_eq!(http.get(format!("http://{address}/api/health")).send().await.unwrap().status(), 200);
    assert!(service.is_running());
}

#[test]
fn a_store_in_use_is_not_reset() {
    let launch = Launch::development(BINARY);
    let (_service, _) = launch.start();
    let data = launch.store_file().parent().unwrap().to_str().unwrap().to_owned();
    let place = TempDir::new().unwrap();
    let told = refusal(place.path(), &["reset", "--demo", "--yes", "--data-dir", &data]);
    assert!(told.contains("stop the service first"), "{told}");
    assert!(!documents(&launch.store_file()).is_empty());
}
