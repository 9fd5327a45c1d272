//! The worker that processes photos, and recovery of stale drafts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pluckit::base::clock::Clock;
use pluckit::blob::ContainerName;
use pluckit::domain::drafts::{Orphans, Requeued};
use pluckit::queue::local::LocalQueue;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Query};
use pluckit::workers::{Delivery, JobError, abandoned_drafts, functions, orphan_blobs, process_image, pump, sweeper};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::support::TestApp;
use crate::support::caller::Caller;
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::model::{Answer, ModelServer, say};
use crate::support::photos::{accept, blobs, delivery, drafts, photo, process, retry, status, upload, uploaded};
use crate::support::until;

const RED: [u8; 3] = [170, 30, 30];
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NOT_PROCESSED: &str = "The picture could not be processed. Please try again.";

fn archive(app: &TestApp) -> &ContainerName {
    &app.state.config.storage.archive_container
}

fn uploads(app: &TestApp) -> &ContainerName {
    &app.state.config.storage.uploads_container
}

fn key(user: &str, id: &str) -> Key {
    Key::new(Container::Wardrobe, user, id)
}

async fn document(app: &TestApp, id: &str) -> Value {
    let stored = app.state.data.store.read(&key("ada", id)).await.unwrap();
    stored.map_or(Value::Null, |stored| stored.parse().unwrap())
}

async fn dead_letters(app: &TestApp) -> Vec<Value> {
    let query = Query::all(Container::TasteAnalysisJobDeadLetters);
    let page = app.state.data.store.query(&query).await.unwrap();
    page.documents.iter().map(|stored| stored.parse().unwrap()).collect()
}

/// Handles a message from the poison queue.
async fn give_up(app: &TestApp, delivery: Delivery) -> Result<(), JobError> {
    process_image::give_up(&app.state, delivery.into_failed("image-processing-jobs-poison", None)).await
}

async fn waiting(app: &TestApp) -> usize {
    app.state.queue.length(&app.state.config.queues.images.work).await.unwrap()
}

async fn requeue(app: &TestApp) -> Requeued {
    app.state.drafts.requeue_stale().await.unwrap()
}

#[tokio::test]
async fn a_message_that_comes_again_changes_nothing() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(RED)).await;
    process(&app).await;
    let ready = document(&app, &id).await;
    app.clock.advance(MINUTE);
    process_image::run(&app.state, delivery("ada", &id, 2)).await.unwrap();
    assert_eq!(document(&app, &id).await, ready);
    accept(&ada, &id).await;
    let accepted = document(&app, &id).await;
    process_image::run(&app.state, delivery("ada", &id, 3)).await.unwrap();
    assert_eq!(document(&app, &id).await, accepted);
    assert_eq!(blobs(&app, archive(&app)).await.len(), 1);
}

#[tokio::test]
async fn a_draft_is_processed_by_one_worker_until_its_lease_ends() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(RED)).await;
    let mut draft = document(&app, &id).await;
    draft["draftLeaseOwner"] = json!("another");
    draft["draftLeaseExpiresAt"] = json!("2026-03-02T09:15:40Z");
    app.save(Container::Wardrobe, "ada", draft).await;
    let outcome = process_image::run(&app.state, delivery("ada", &id, 1)).await;
    assert!(matches!(outcome, Err(JobError::NotNow)), "{outcome:?}");
    // A message that came too often does not end the work of the one who has it.
    let outcome = give_up(&app, delivery("ada", &id, 6)).await;
    assert!(matches!(outcome, Err(JobError::NotNow)), "{outcome:?}");
    assert_eq!(status(&ada, &id).await.0, "Processing");
    app.clock.advance(Duration::from_secs(41));
    process_image::run(&app.state, delivery("ada", &id, 1)).await.unwrap();
    assert_eq!(status(&ada, &id).await.0, "Ready");
    assert_eq!(document(&app, &id).await.get("draftLeaseOwner"), None);
}

/// Deletes a document before the write that `is_the_write` recognises, once.
async fn with_deletion_before(is_the_write: fn(&Call<'_>) -> bool) -> (TestApp, Caller, String) {
    let clock = TestApp::builder().start().clock.clone();
    let store = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
    let is_done = AtomicBool::new(false);
    let inner = store.clone();
    let interceptor = move |call: &Call<'_>| {
        if is_the_write(call) && !is_done.swap(true, Ordering::SeqCst) {
            let id = call.document.unwrap()["id"].as_str().unwrap().to_owned();
            let inner = inner.clone();
            // In a thread of its own: this one must not wait within the runtime.
            let deleting =
                std::thread::spawn(move || futures::executor::block_on(inner.delete(&key("ada", &id), None)));
            assert!(deleting.join().unwrap().unwrap());
        }
        Fate::Passes
    };
    let app = TestApp::builder().clock(clock).store(Intercepted::new(store, Arc::new(interceptor))).start();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(RED)).await;
    (app, ada, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_is_gone_when_the_work_ends_leaves_no_blob() {
    let is_ready = |call: &Call<'_>| call.document.is_some_and(|document| document["draftStatus"] == "Ready");
    let (app, ada, _) = with_deletion_before(is_ready).await;
    let outcomes = process(&app).await;
    assert!(matches!(outcomes[..], [Ok(())]), "{outcomes:?}");
    assert_eq!(drafts(&ada).await, Vec::<Value>::new());
    assert_eq!(blobs(&app, archive(&app)).await, Vec::<String>::new());
    assert_eq!(blobs(&app, uploads(&app)).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_made_again_for_an_item_that_is_gone_is_deleted() {
    let is_renewed = |call: &Call<'_>| call.document.is_some_and(|document| document["cutout"]["mode"] == "none");
    let (app, ada, id) = with_deletion_before(is_renewed).await;
    process(&app).await;
    let answer = ada.post(&format!("/api/wardrobe/{id}/cutout"), json!({"mode": "none"})).await;
    assert_eq!(answer.status.as_u16(), 404);
    // The first picture is left to whoever has deleted the item.
    assert_eq!(blobs(&app, archive(&app)).await, [format!("fdee430d40bd57de/{id}-transparent.webp")]);
}

#[tokio::test]
async fn a_message_of_a_draft_that_is_gone_deletes_what_the_worker_before_left() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(RED)).await;
    // As after a kill between the picture and the draft's document, and a dismissal.
    let picture = format!("fdee430d40bd57de/{id}-transparent.webp").parse().unwrap();
    app.state.blobs.put(archive(&app), &picture, vec![1].into()).await.unwrap();
    app.state.data.store.delete(&key("ada", &id), None).await.unwrap();
    assert!(process(&app).await.iter().all(Result::is_ok));
    assert_eq!(blobs(&app, archive(&app)).await, Vec::<String>::new());
    assert_eq!(blobs(&app, uploads(&app)).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cut_out_has_the_colours_of_its_garment_alone() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    uploaded(&ada, &photo(RED)).await;
    upload(&ada, &photo(RED), &[("skip_segmentation", "true")]).await;
    process(&app).await;
    for draft in drafts(&ada).await {
        let names: Vec<&Value> = draft["colours"].as_array().unwrap().iter().map(|colour| &colour["name"]).collect();
        assert_eq!((&draft["draftStatus"], names), (&json!("Ready"), vec![&json!("red")]), "{draft}");
    }
}

#[tokio::test]
async fn a_model_that_is_down_is_asked_again_and_one_that_refuses_is_done_without() {
    let model = ModelServer::start().await;
    let app = TestApp::builder().model_server(&model).start();
    let ada = app.user("ada").await;
    let down =
        || Answer::Status { status: 503, headers: Vec::new(), content_type: "application/json", body: "{}".to_owned() };
    model.otherwise(move |_| down());
    let id = uploaded(&ada, &photo(RED)).await;
    assert!(matches!(process(&app).await[..], [Err(JobError::Retry(_))]));
    assert_eq!(status(&ada, &id).await.0, "Processing");
    model.otherwise(|_| {
        say(&[r##"{"brand": "Arket", "category": "sneakers", "tags": ["red"], "colours": [{"name": "Red", "hex": "#AA1E1E"}]}"##])
    });
    process_image::run(&app.state, delivery("ada", &id, 2)).await.unwrap();
    let draft = &drafts(&ada).await[0];
    let described = ["draftStatus", "brand", "category", "tags", "colours"].map(|field| draft[field].clone());
    let colours = json!([{"name": "Red", "hex": "#aa1e1e"}]);
    assert_eq!(described, [json!("Ready"), json!("Arket"), json!("Footwear"), json!(["red"]), colours]);

    // What it says too much of is cut, so that the reviewer can save the draft.
    let (long, tags) = ("x".repeat(2500), vec!["y".repeat(250); 260]);
    let colours = vec![json!({"name": long, "hex": "#aa1e1e"}); 210];
    let much = json!({"brand": long, "category": long, "tags": tags, "colours": colours}).to_string();
    model.otherwise(move |_| say(&[&much]));
    let wordy = uploaded(&ada, &photo(RED)).await;
    process(&app).await;
    let draft = ada.get(&format!("/api/wardrobe/{wordy}")).await.json();
    assert_eq!((&draft["draftStatus"], draft["tags"].as_array().unwrap().len()), (&json!("Ready"), 200));
    assert_eq!(ada.put(&format!("/api/wardrobe/{wordy}"), draft.clone()).await.status, 204);
    assert_eq!(ada.get(&format!("/api/wardrobe/{wordy}")).await.json(), draft);

    model.otherwise(|_| say(&["I cannot help with that."]));
    let other = uploaded(&ada, &photo(RED)).await;
    process(&app).await;
    assert_eq!(status(&ada, &other).await.0, "Ready");
    assert_eq!(document(&app, &other).await.get("brand"), None);
}

#[tokio::test]
async fn the_last_delivery_fails_the_draft_and_keeps_the_message() {
    let model = ModelServer::start().await;
    model.otherwise(|_| Answer::HangUp);
    let app = TestApp::builder()
        .model_server(&model)
        .setting("JOB_RETRY_BASE_SECONDS", "0")
        .setting("JOB_SWEEPER_SCHEDULE", "0 0 0 1 1 *")
        .start();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(RED)).await;
    pump::start(&app.state, functions(true), &pump::Options::from_config(&app.state.config));
    until("the draft has failed", async || status(&ada, &id).await.0 == "Failed").await;
    assert_eq!(status(&ada, &id).await.1, NOT_PROCESSED);
    until("the message is kept", async || dead_letters(&app).await.len() == 1).await;
    let letter = &dead_letters(&app).await[0];
    assert_eq!((&letter["jobId"], &letter["payload"]["itemId"]), (&json!("image-processing-jobs"), &json!(id)));
    // The picture is finished by now, and is not finished again.
    model.otherwise(|_| say(&["{}"]));
    assert_eq!(retry(&ada, &id).await.status, 202);
    until("the draft is ready", async || status(&ada, &id).await.0 == "Ready").await;
    app.state.shutdown.cancel();
}

#[tokio::test]
async fn a_message_from_the_poison_queue_fails_the_draft() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(RED)).await;
    give_up(&app, delivery("ada", &id, 6)).await.unwrap();
    assert_eq!(status(&ada, &id).await, (json!("Failed"), json!(NOT_PROCESSED)));
    assert_eq!(dead_letters(&app).await[0]["reason"], "the process died during every delivery");
    // The message that is still in the queue does nothing now.
    process(&app).await;
    assert_eq!(status(&ada, &id).await.0, "Failed");
    // What names no draft is kept as it is.
    let unreadable = Delivery { text: "?".to_owned(), dequeue_count: 1, id: None };
    assert!(matches!(process_image::run(&app.state, unreadable.clone()).await, Err(JobError::GiveUp(_))));
    give_up(&app, unreadable).await.unwrap();
    assert_eq!(dead_letters(&app).await.len(), 2);
}

#[tokio::test]
async fn a_replayed_dead_letter_finishes_its_draft() {
    let app = TestApp::builder().setting("ADMIN_USER_IDS", "grace").start();
    let (ada, grace) = (app.user("ada").await, app.user("grace").await);
    let id = uploaded(&ada, &photo(RED)).await;
    let queue = app.state.config.queues.images.work.clone();
    let lost = app.state.queue.receive(&queue, 10, MINUTE).await.unwrap().remove(0);
    app.state.queue.delete(&queue, &lost).await.unwrap();
    give_up(&app, delivery("ada", &id, 1)).await.unwrap();
    let letter = &dead_letters(&app).await[0];
    let replay = format!("/api/admin/dead-letters/{}/replay", letter["id"].as_str().unwrap());
    assert_eq!(grace.post(&replay, json!({})).await.status, 200);
    assert_eq!(status(&ada, &id).await.0, "Processing");
    assert_eq!(grace.post(&replay, json!({})).await.status, 409);
    process(&app).await;
    assert_eq!(status(&ada, &id).await.0, "Ready");
}

#[tokio::test]
async fn a_photo_that_was_never_queued_is_queued_by_the_sweeper() {
    let clock = TestApp::builder().start().clock.clone();
    let queue = Arc::new(LocalQueue::in_memory(clock.clone()).unwrap());
    let is_down = Arc::new(AtomicBool::new(true));
    let switch = is_down.clone();
    let interceptor = move |call: &Call<'_>| {
        if call.name == "queue.send" && switch.load(Ordering::SeqCst) { Fate::Fails } else { Fate::Passes }
    };
    let app = TestApp::builder().clock(clock).queue(Intercepted::new(queue, Arc::new(interceptor))).start();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(RED)).await;
    assert_eq!(waiting(&app).await, 0);
    app.clock.advance(Duration::from_secs(9 * 60));
    assert_eq!(requeue(&app).await, Requeued::default());
    app.clock.advance(MINUTE);
    // While the queue is down, no attempt counts.
    for _ in 0..5 {
        app.state.drafts.requeue_stale().await.unwrap_err();
    }
    is_down.store(false, Ordering::SeqCst);
    sweeper::run(&app.state).await.unwrap();
    assert_eq!((waiting(&app).await, &document(&app, &id).await["draftAttempts"]), (1, &json!(1)));
    process(&app).await;
    assert_eq!(status(&ada, &id).await.0, "Ready");
    assert_eq!(document(&app, &id).await.get("draftAttempts"), None);
}

#[tokio::test]
async fn a_photo_that_waits_since_nobody_knows_when_is_queued() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(RED)).await;
    let mut draft = document(&app, &id).await;
    for date in ["draftCreatedAt", "draftUpdatedAt"] {
        draft.as_object_mut().unwrap().remove(date);
    }
    app.save(Container::Wardrobe, "ada", draft).await;
    assert_eq!(requeue(&app).await, Requeued { queued: 1, failed: 0 });
    assert_eq!(requeue(&app).await, Requeued::default());
    process(&app).await;
    assert_eq!(status(&ada, &id).await.0, "Ready");
}

#[tokio::test]
async fn a_photo_that_no_worker_finishes_fails_after_three_more_tries() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(RED)).await;
    for _ in 0..3 {
        app.clock.advance(10 * MINUTE);
        assert_eq!(requeue(&app).await, Requeued { queued: 1, failed: 0 });
        assert_eq!(requeue(&app).await, Requeued::default());
    }
    // A worker that lives is left alone.
    app.clock.advance(10 * MINUTE);
    let mut draft = document(&app, &id).await;
    draft["draftLeaseOwner"] = json!("another");
    draft["draftLeaseExpiresAt"] = json!(pluckit::model::timestamp::Timestamp::from(app.clock.now() + MINUTE / 2));
    app.save(Container::Wardrobe, "ada", draft).await;
    assert_eq!(requeue(&app).await, Requeued::default());
    app.clock.advance(MINUTE);
    let ada = app.user("ada").await; // the first session has expired
    assert_eq!(requeue(&app).await, Requeued { queued: 0, failed: 1 });
    assert_eq!(status(&ada, &id).await, (json!("Failed"), json!(NOT_PROCESSED)));
    assert_eq!(retry(&ada, &id).await.status, 202);
    process(&app).await;
    assert_eq!(status(&ada, &id).await.0, "Ready");
}

#[tokio::test]
async fn without_the_wardrobe_api_nothing_is_swept() {
    let app = TestApp::builder().setting("WARDROBE_API", "off").start();
    let stale = json!({"id": "upload-1", "userId": "ada", "draftStatus": "Processing", "draftUpdatedAt": "2026-03-01T00:00:00Z"});
    app.save(Container::Wardrobe, "ada", stale.clone()).await;
    sweeper::run(&app.state).await.unwrap();
    assert_eq!(document(&app, "upload-1").await, stale);
    assert_eq!(app.user("ada").await.get("/api/wardrobe/drafts").await.status, 404);
    assert!(
        functions(false).iter().all(|function| !function.name.contains("Image") && !function.name.contains("Drafts"))
    );
}

#[tokio::test]
async fn a_draft_that_failed_a_week_ago_is_deleted() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let whole = photo(RED);
    let (failed, ready) = (uploaded(&ada, &whole[..whole.len() / 2]).await, uploaded(&ada, &whole).await);
    process(&app).await;
    app.clock.advance(7 * DAY - MINUTE);
    abandoned_drafts::run(&app.state).await.unwrap();
    let ada = app.user("ada").await;
    assert_eq!(drafts(&ada).await.len(), 2);
    app.clock.advance(MINUTE);
    abandoned_drafts::run(&app.state).await.unwrap();
    let left = drafts(&ada).await;
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!(ready)));
    assert_eq!(blobs(&app, uploads(&app)).await, [format!("ada/{ready}")]);
    assert_eq!(document(&app, &failed).await, Value::Null);
}

#[tokio::test]
async fn blobs_without_an_item_are_deleted_after_a_week() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let draft = uploaded(&ada, &photo(RED)).await;
    process(&app).await;
    let accepted = uploaded(&ada, &photo(RED)).await;
    process(&app).await;
    accept(&ada, &accepted).await;
    let hash = "fdee430d40bd57de";
    let own = |id: &str| format!("{hash}/{id}-transparent.webp");
    let base = "http://127.0.0.1:7071/api/media/archive";
    for (user, id, url) in [
        ("ada", "coat", json!(format!("{base}/coat-transparent.webp"))),
        ("ada", "png", json!(format!("{base}/png-transparent.png?sig=old"))),
        ("ada", "cut-before", json!(format!("{base}/ada/cut-before"))),
        // Both have an item of this id; only Eve's shows the picture.
        ("ada", "same", json!("https://shop.example/a.jpg")),
        ("eve", "same", json!(format!("{base}/same-transparent.webp"))),
        // Shows another picture of its own now.
        ("ada", "renewed", json!(format!("{base}/{}", own("renewed")))),
        ("ada", "again", json!(format!("{base}/{hash}/again/00112233aabbccdd-transparent.webp"))),
        ("ada", "no-picture-yet", Value::Null),
    ] {
        app.save(Container::Wardrobe, user, json!({"id": id, "userId": user, "imageUrl": url})).await;
    }
    let gone = format!("upload-{}", "0".repeat(32));
    let kept_in_archive = [
        "coat-transparent.webp".to_owned(),
        "png-transparent.png".to_owned(),
        "ada/cut-before".to_owned(),
        "same-transparent.webp".to_owned(),
        "no-picture-yet-transparent.webp".to_owned(),
        own("renewed"),
        format!("{hash}/again/00112233aabbccdd-transparent.webp"),
        // Pictures that Ada had finished for something else, and what is named otherwise.
        own("process-image"),
        "demo/feed/coat.webp".to_owned(),
        "notes.txt".to_owned(),
        own(&draft),
        own(&accepted),
    ];
    let orphans = [
        "gone-transparent.webp".to_owned(),
        "gone-transparent.png".to_owned(),
        "ada/gone".to_owned(),
        // Eve has no such item.
        "eve/coat".to_owned(),
        "renewed-transparent.webp".to_owned(),
        own(&gone),
        // Made again by a process that died before or after its item showed them.
        format!("{hash}/{accepted}/00112233aabbccdd-transparent.webp"),
        format!("{hash}/again/ffffffffffffffff-transparent.webp"),
        format!("{hash}/{gone}/00112233aabbccdd-transparent.webp"),
    ];
    for name in kept_in_archive.iter().chain(&orphans) {
        app.state.blobs.put_if_absent(archive(&app), &name.parse().unwrap(), vec![1].into(), None).await.unwrap();
    }
    for name in [format!("ada/{gone}"), format!("eve/{draft}")] {
        app.state.blobs.put(uploads(&app), &name.parse().unwrap(), vec![1].into()).await.unwrap();
    }
    // Files have the time of the disk.
    let written = newest(&app).await;
    app.clock.advance((written + 6 * DAY - app.clock.now()).try_into().unwrap());
    assert_eq!(app.state.drafts.delete_orphans().await.unwrap(), Orphans::default(), "none is old enough");
    app.clock.advance(DAY + MINUTE);
    let report = app.state.drafts.delete_orphans().await.unwrap();
    assert_eq!((report.found, report.deleted), (11, 11), "{report:?}");
    let mut left = blobs(&app, archive(&app)).await;
    left.sort();
    let mut expected = kept_in_archive.to_vec();
    expected.sort();
    assert_eq!(left, expected);
    let mut left = blobs(&app, uploads(&app)).await;
    left.sort();
    let mut expected = [format!("ada/{accepted}"), format!("ada/{draft}")];
    expected.sort();
    assert_eq!(left, expected);
    orphan_blobs::run(&app.state).await.unwrap();
    assert_eq!(app.state.drafts.delete_orphans().await.unwrap().found, 0);
}

async fn newest(app: &TestApp) -> OffsetDateTime {
    let page = app.state.blobs.list(uploads(app), "", None, 1000).await.unwrap();
    page.blobs.iter().map(|blob| blob.properties.last_modified).max().unwrap()
}

#[tokio::test]
async fn nothing_is_deleted_when_nearly_all_blobs_look_like_orphans() {
    let app = TestApp::new();
    for number in 0..1001 {
        let name = format!("item-{number}-transparent.webp").parse().unwrap();
        app.state.blobs.put(archive(&app), &name, vec![1].into()).await.unwrap();
    }
    app.state.blobs.put(uploads(&app), &"ada/x".parse().unwrap(), vec![1].into()).await.unwrap();
    let written = newest(&app).await;
    app.clock.advance((written + 8 * DAY - app.clock.now()).try_into().unwrap());
    let report = app.state.drafts.delete_orphans().await.unwrap();
    assert_eq!(report, Orphans { examined: 1002, found: 1002, deleted: 0 });
    assert_eq!(blobs(&app, uploads(&app)).await.len(), 1);
}
