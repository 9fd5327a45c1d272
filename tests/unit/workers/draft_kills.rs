//! The real binary, killed with -9 at random moments while photos are uploaded, drafts accepted, items worn and their
//! pictures made again: what was acknowledged is there once, every draft ends, every picture that is shown is there,
//! and no other blob.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::model::timestamp::Timestamp;
use pluckit::net;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Query};
use reqwest::Client;
use serde_json::{Value, json};

use crate::support::photos::{form, form_type, photo};
use crate::support::service::Launch;
use crate::support::{process, until};

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
const USER: &str = "local-dev-user";
/// Their directory: the beginning of the SHA-256 of their id.
const DIRECTORY: &str = "b544b040654823d0";
/// Kills, unless `PLUCKIT_TEST_KILLS` says how many.
const KILLS: usize = 30;
const LATEST_KILL: Duration = Duration::from_millis(400);
const UPLOADERS: usize = 2;
const NEVER: &str = "0 0 0 1 1 *";
const EVERY_TWO_SECONDS: &str = "*/2 * * * * *";

#[expect(clippy::disallowed_methods, reason = "how often to kill is the test's own setting, not the service's")]
fn kills() -> usize {
    std::env::var("PLUCKIT_TEST_KILLS").map_or(KILLS, |number| number.parse().unwrap())
}

/// What callers have heard so far.
#[derive(Default)]
struct Heard {
    uploaded: BTreeSet<String>,
    accepted: BTreeSet<String>,
    /// Ids of wears that were sent, by item.
    worn: BTreeMap<String, BTreeSet<String>>,
    /// How many of these were acknowledged.
    acknowledged_wears: usize,
    /// How many pictures were made again.
    made_again: usize,
}

/// Calls the service until it is gone.
struct Callers<'a> {
    client: &'a Client,
    base: String,
    heard: &'a Mutex<Heard>,
}

impl<'a> Callers<'a> {
    fn new(client: &'a Client, address: SocketAddr, heard: &'a Mutex<Heard>) -> Self {
        Self { client, base: format!("http://{address}"), heard }
    }

    /// Status and body of an answer; `None` when the service was killed before it had all of it.
    async fn send(&self, method: &str, path: &str, content_type: &str, body: Vec<u8>) -> Option<(u16, Value)> {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base));
        let answer = request.header("content-type", content_type).body(body).send().await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    async fn patch(&self, path: &str, body: Value) -> Option<(u16, Value)> {
        self.send("PATCH", path, "application/json", body.to_string().into_bytes()).await
    }

    async fn get(&self, path: &str) -> Option<(u16, Value)> {
        self.send("GET", path, "", Vec::new()).await
    }

    /// Uploads a photo: more than the workers can process before the next kill would only make the list of drafts long.
    async fn upload(&self) -> Option<()> {
        let body = form(&photo([170, 30, 30]), &[]);
        let (status, draft) = self.send("POST", "/api/wardrobe/upload", &form_type(), body).await?;
        assert_eq!(status, 202, "{draft}");
        self.heard.lock().unwrap().uploaded.insert(draft["id"].as_str().unwrap().to_owned());
        loop {
            self.get("/api/health").await?;
        }
    }

    async fn accept(&self) -> Option<()> {
        loop {
            let (status, page) = self.get("/api/wardrobe/drafts").await?;
            assert_eq!(status, 200, "{page}");
            for draft in page["items"].as_array().unwrap().iter().filter(|draft| draft["draftStatus"] == "Ready") {
                let id = draft["id"].as_str().unwrap();
                let (status, item) = self.patch(&format!("/api/wardrobe/drafts/{id}/accept"), json!({})).await?;
                assert_eq!(status, 200, "{item}");
                self.heard.lock().unwrap().accepted.insert(id.to_owned());
            }
        }
    }

    async fn wear(&self) -> Option<()> {
        loop {
            let next = {
                let mut heard = self.heard.lock().unwrap();
                let Heard { accepted, worn, .. } = &mut *heard;
                // An item remembers the newest thirty.
                let item = accepted.iter().find(|id| worn.get(*id).is_none_or(|ids| ids.len() < 20)).cloned();
                item.map(|item| {
                    let ids = worn.entry(item.clone()).or_default();
                    let event = format!("wear-{}", ids.len());
                    ids.insert(event.clone());
                    (item, event)
                })
            };
            match next {
                Some((item, event)) => {
                    let (status, worn) = self.wear_once(&item, &event).await?;
                    assert_eq!(status, 200, "{worn}");
                    self.heard.lock().unwrap().acknowledged_wears += 1;
                }
                None => tokio::task::yield_now().await,
            }
            // There may be no item yet; the service's end is noticed by a call alone.
            self.get("/api/health").await?;
        }
    }

    async fn cut_out_again(&self) -> Option<()> {
        for mode in ["none", "plain"].into_iter().cycle() {
            let item = self.heard.lock().unwrap().accepted.last().cloned();
            if let Some(item) = item {
                let body = json!({"mode": mode}).to_string().into_bytes();
                let path = format!("/api/wardrobe/{item}/cutout");
                let (status, answer) = self.send("POST", &path, "application/json", body).await?;
                assert_eq!(status, 200, "{answer}");
                self.heard.lock().unwrap().made_again += 1;
            }
            self.get("/api/health").await?;
        }
        None
    }

    async fn wear_once(&self, item: &str, event: &str) -> Option<(u16, Value)> {
        let body = json!({"source": "vault_card", "clientEventId": event});
        self.patch(&format!("/api/wardrobe/{item}/wear"), body).await
    }
}

/// Names of the files below a directory of blobs, without what only the file system sees.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().trim_end_matches("%d").to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.insert(name);
        }
    }
    found
}

/// Makes all files below a directory older.
fn age(directory: &Path, by: Duration) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path, by);
        } else {
            File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(SystemTime::from(SystemClock.now() - by))
                .unwrap();
        }
    }
}

/// Lets drafts that are being processed, and the leases of killed workers, grow older than the sweeper's rule.
async fn age_drafts(store: &SqliteStore) -> usize {
    let page = store.query(&Query::partition(Container::Wardrobe, USER).limit(10_000)).await.unwrap();
    let mut aged = 0;
    for stored in page.documents {
        let mut document: Value = stored.parse().unwrap();
        if document["draftStatus"] != "Processing" {
            continue;
        }
        let past = Timestamp::from(SystemClock.now() - Duration::from_secs(11 * 60));
        document["draftUpdatedAt"] = json!(past);
        if document.get("draftLeaseExpiresAt").is_some() {
            document["draftLeaseExpiresAt"] = json!(past);
        }
        let key = Key::new(Container::Wardrobe, USER, document["id"].as_str().unwrap());
        store.replace(&key, &document, &stored.etag).await.unwrap();
        aged += 1;
    }
    aged
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_amid_uploads_accepts_wears_and_cut_outs_lose_nothing_and_do_nothing_twice() {
    let launch = Launch::development(BINARY)
        .setting("PLUCKIT_DEMO", "false")
        // A message of a killed process is seen again soon.
        .setting("LONG_OPERATION_LEASE_SECONDS", "1")
        .setting("JOB_SWEEPER_SCHEDULE", NEVER)
        .setting("ORPHAN_BLOBS_SCHEDULE", NEVER);
    let client = net::builder().no_proxy().build().unwrap();
    let heard = Mutex::new(Heard::default());
    for round in 0..=kills() {
        let (mut service, address) = launch.start();
        let callers = Callers::new(&client, address, &heard);
        let calls = async {
            let uploads = join_all((0..UPLOADERS).map(|_| callers.upload()));
            tokio::join!(uploads, callers.accept(), callers.wear(), callers.cut_out_again());
        };
        let moment = process::up_to(LATEST_KILL);
        let killer = async {
            // The first one comes when something was uploaded, accepted and worn.
            if round == 0 {
                until("something is worn", async || heard.lock().unwrap().acknowledged_wears > 0).await;
            } else {
                tokio::time::sleep(moment).await;
            }
            service.kill();
        };
        tokio::join!(calls, killer);
    }

    let data = launch.store_file().parent().unwrap().to_owned();
    let store = SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap();
    let aged = age_drafts(&store).await;
    age(&data.join("blobs"), Duration::from_secs(8 * 24 * 60 * 60));
    let last =
        launch.setting("JOB_SWEEPER_SCHEDULE", EVERY_TWO_SECONDS).setting("ORPHAN_BLOBS_SCHEDULE", EVERY_TWO_SECONDS);
    let (_service, address) = last.start();
    let callers = Callers::new(&client, address, &heard);
    until("every draft has ended", async || {
        let (_, page) = callers.get("/api/wardrobe/drafts").await.unwrap();
        let drafts = page["items"].as_array().unwrap().clone();
        for draft in drafts.iter().filter(|draft| draft["draftStatus"] == "Ready") {
            let path = format!("/api/wardrobe/drafts/{}/accept", draft["id"].as_str().unwrap());
            let (status, item) = callers.patch(&path, json!({})).await.unwrap();
            assert_eq!(status, 200, "{item}");
        }
        // Those whose worker was killed with every delivery.
        for draft in drafts.iter().filter(|draft| draft["draftStatus"] == "Failed") {
            let path = format!("/api/wardrobe/drafts/{}/retry", draft["id"].as_str().unwrap());
            let (status, draft) = callers.send("POST", &path, "application/json", b"{}".to_vec()).await.unwrap();
            assert_eq!(status, 202, "{draft}");
        }
        drafts.is_empty()
    })
    .await;

    let (uploaded, accepted, worn, acknowledged_wears, made_again) = {
        let Heard { uploaded, accepted, worn, acknowledged_wears, made_again } = &*heard.lock().unwrap();
        (uploaded.clone(), accepted.clone(), worn.clone(), *acknowledged_wears, *made_again)
    };
    // Otherwise the kills came too early or too late to be meaningful.
    assert!(!uploaded.is_empty() && !accepted.is_empty() && acknowledged_wears > 0 && made_again > 0);
    for (item, events) in &worn {
        // Whoever did not hear of a wear sends it again; so do some who did.
        for event in events {
            assert_eq!(callers.wear_once(item, event).await.unwrap().0, 200);
        }
        let (_, found) = callers.get(&format!("/api/wardrobe/{item}")).await.unwrap();
        assert_eq!(found["wearCount"], events.len(), "{found}");
    }
    let page = store.query(&Query::partition(Container::Wardrobe, USER).limit(10_000)).await.unwrap();
    let documents: Vec<Value> = page.documents.iter().map(|stored| stored.parse().unwrap()).collect();
    let ids: BTreeSet<String> = documents.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    assert!(uploaded.is_subset(&ids) && accepted.is_subset(&ids));
    assert!(documents.iter().all(|item| item.get("draftStatus").is_none() && item["imageUrl"].is_string()));
    let shown = |item: &Value| item["imageUrl"].as_str().unwrap().split_once("/archive/").unwrap().1.to_owned();
    let pictures: BTreeSet<_> = documents.iter().map(shown).collect();
    assert!(pictures.iter().all(|name| name.starts_with(DIRECTORY)) && pictures.len() == ids.len());
    let photos: BTreeSet<_> = ids.iter().map(|id| format!("{USER}/{id}")).collect();
    until("no blob is left without an item", async || {
        files(&data.join("blobs/archive")) == pictures && files(&data.join("blobs/uploads")) == photos
    })
    .await;
    report(&format!(
        "{} kills: {} uploads, {} accepts, {acknowledged_wears} wears and {made_again} cut-outs acknowledged; {} items, {aged} taken up again",
        kills(),
        uploaded.len(),
        accepted.len(),
        ids.len(),
    ));
}

#[expect(clippy::print_stderr, reason = "what the kills met is what the test has to show")]
fn report(line: &str) {
    eprintln!("{line}");
}
