//! Analysis of pictures: leases, retries, profiles and dead letters.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::join_all;
use image::{ImageFormat, Rgb, RgbImage};
use pluckit::base::clock::ManualClock;
use pluckit::model::taste_job::TastePayload;
use pluckit::queue::MAX_MESSAGE_BYTES;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, Key, Query};
use pluckit::workers::{Delivery, JobError, taste};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::sync::Notify;

use crate::support::TestApp;
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::model::{Answer, Kind, ModelServer, say};
use crate::support::photos::photo;
use crate::support::web::{self, Web};

const PICTURE: &str = "https://i.example/a.png";
const QUEUE: &str = "taste-analysis-jobs";
const DESCRIPTION: &str = r#"Here you are: {"styleKeywords": ["boxy", "Minimal"], "colors": ["navy"], "garments": ["coat"], "brand": "Arket"}"#;

fn picture() -> Vec<u8> {
    let mut file = Vec::new();
    let image = RgbImage::from_pixel(40, 40, Rgb([22, 34, 84]));
    image.write_to(&mut Cursor::new(&mut file), ImageFormat::Png).unwrap();
    file
}

/// An app that finds the picture, with a model that describes it.
struct Scene {
    app: TestApp,
    model: ModelServer,
    web: Web,
}

impl Scene {
    async fn new() -> Self {
        let (model, web) = (ModelServer::start().await, Web::start().await);
        web.page(PICTURE, |_| web::page("image/png", picture()));
        let app = TestApp::builder()
            .model_server(&model)
            .web(&web)
            .setting("TASTE_JOB_BASE_BACKOFF_SECONDS", "0.001")
            .setting("TASTE_JOB_JITTER_SECONDS", "0.001")
            .start();
        Self { app, model, web }
    }

    fn payload(&self) -> TastePayload {
        TastePayload::new("ada".into(), "i".into(), PICTURE.to_owned(), None)
    }

    fn delivery(&self) -> Delivery {
        delivery(&serde_json::to_string(&self.payload()).unwrap())
    }

    async fn run(&self) -> Result<(), JobError> {
        taste::run(&self.app.state, self.delivery()).await
    }

    async fn job(&self) -> Value {
        let id = self.payload().job_id;
        read(&self.app, Key::new(Container::TasteAnalysisJobs, id.as_str(), id.as_str())).await
    }

    async fn profile(&self) -> Value {
        read(&self.app, Key::by_id(Container::UserProfiles, "ada")).await
    }

    async fn queued(&self) -> usize {
        self.app.state.queue.length(QUEUE).await.unwrap()
    }

    /// Ada likes the item with the picture.
    async fn like(&self) {
        let item = json!({"id": "i", "userId": "global", "imageUrl": PICTURE, "scoreSignal": 0});
        let key = Key::new(Container::ScrapedItems, "global", "i");
        if self.app.state.data.store.read(&key).await.unwrap().is_none() {
            self.app.save(Container::ScrapedItems, "global", item).await;
        }
        let vote = self.app.user("ada").await.post("/api/scraper/items/i/feedback", json!({"signal": "up"})).await;
        assert_eq!(vote.status, 200);
    }
}

fn delivery(text: &str) -> Delivery {
    Delivery { text: text.to_owned(), dequeue_count: 1, id: Some("m1".to_owned()) }
}

async fn read(app: &TestApp, key: Key) -> Value {
    let stored = app.state.data.store.read(&key).await.unwrap();
    stored.map_or(Value::Null, |stored| stored.parse().unwrap())
}

async fn dead_letters(app: &TestApp) -> Vec<Value> {
    let query = Query::all(Container::TasteAnalysisJobDeadLetters).limit(1000);
    let page = app.state.data.store.query(&query).await.unwrap();
    page.documents.iter().map(|stored| stored.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_profile_learns_what_a_liked_picture_shows() {
    let scene = Scene::new().await;
    scene.model.push(Kind::Complete, say(&[DESCRIPTION]));
    let before = json!({"id": "ada", "stylePreferences": ["minimal", 7], "weightKg": "n/a", "other": {"a": [1]}});
    scene.app.save(Container::UserProfiles, "ada", before).await;
    scene.like().await;
    let messages = scene.app.state.queue.receive(QUEUE, 1, Duration::from_secs(30)).await.unwrap();
    let encoded = STANDARD.encode(&messages[0].text);
    taste::run(&scene.app.state, delivery(&encoded)).await.unwrap();
    let learned = json!({
        "id": "ada", "stylePreferences": ["minimal", 7, "boxy", "navy", "coat"], "favoriteBrands": ["Arket"],
        "weightKg": "n/a", "other": {"a": [1]},
    });
    assert_eq!(scene.profile().await, learned);
    let job = scene.job().await;
    assert_eq!((&job["status"], &job["lastCompletedAt"]), (&json!("completed"), &json!("2026-03-02T09:15:00.000Z")));

    // Neither another message nor another vote does anything more.
    taste::run(&scene.app.state, delivery(&messages[0].text)).await.unwrap();
    scene.like().await;
    assert_eq!((scene.model.count(), scene.queued().await), (1, 1));
    let request = &scene.model.received()[0].body;
    let image = request["messages"][1]["content"][1]["image_url"]["url"].as_str().unwrap().to_owned();
    assert_eq!(image, format!("data:image/png;base64,{}", STANDARD.encode(picture())));
}

#[tokio::test]
async fn a_picture_of_our_own_is_read_from_the_store() {
    // No internet: whatever is fetched fails.
    let app = TestApp::new();
    let storage = &app.state.config.storage;
    let file = Bytes::from(picture());
    app.state.blobs.put(&storage.archive_container, &"u/coat.png".parse().unwrap(), file).await.unwrap();
    let ada = app.user("ada").await;
    // As it is, as it was when the service listened elsewhere, without a host, and with somebody's signature.
    let addresses = [
        "http://127.0.0.1:7071/api/media/archive/u/coat.png",
        "http://127.0.0.1:9999/api/media/archive/u/coat.png",
        "/api/media/archive/u/coat.png",
        "http://localhost:7071/api/media/archive/u/coat.png?sig=abc",
    ];
    for (number, address) in addresses.iter().enumerate() {
        let id = format!("i{number}");
        let item = json!({
            "id": id, "userId": "global", "imageUrl": address, "galleryImages": [address, "https://i.example/b.png"],
            "sourceId": "s", "scoreSignal": 0, "scrapedAt": "2026-03-02T09:00:00.000Z",
        });
        app.save(Container::ScrapedItems, "global", item).await;
        let vote = ada.post(&format!("/api/scraper/items/{id}/feedback"), json!({"signal": "up"})).await;
        assert_eq!(vote.status, 200, "{address}");
        let messages = app.state.queue.receive(QUEUE, 1, Duration::from_secs(30)).await.unwrap();
        taste::run(&app.state, delivery(&messages[0].text)).await.unwrap();
        let payload = TastePayload::new("ada".into(), id.as_str().into(), (*address).to_owned(), None);
        let key = Key::new(Container::TasteAnalysisJobs, payload.job_id.as_str(), payload.job_id.as_str());
        assert_eq!(read(&app, key).await["status"], "completed", "{address}");
    }
    assert_eq!(read(&app, Key::by_id(Container::UserProfiles, "ada")).await["stylePreferences"], json!(["navy"]));
    assert!(dead_letters(&app).await.is_empty());

    // Clients get the address of today, and find the picture there.
    let here = "http://127.0.0.1:7071/api/media/archive/u/coat.png";
    let feed = ada.get("/api/scraper/items").await.json();
    let quiz = ada.get("/api/taste/quiz").await.json();
    assert_eq!(feed["items"].as_array().unwrap().len(), addresses.len());
    for item in feed["items"].as_array().unwrap() {
        assert_eq!(item["imageUrl"], here);
        assert_eq!(item["galleryImages"], json!([here, "https://i.example/b.png"]));
    }
    assert!(quiz["imageItems"].as_array().unwrap().iter().all(|item| item["imageUrl"] == here));
    assert_eq!(app.nobody().get("/api/media/archive/u/coat.png").await.status, 200);
}

#[tokio::test]
async fn what_the_store_does_not_have_or_show_is_not_analysed() {
    let app = TestApp::new();
    let storage = &app.state.config.storage;
    let (file, text) = (Bytes::from(picture()), Bytes::from_static(b"not a picture"));
    app.state.blobs.put(&storage.archive_container, &"notes.txt".parse().unwrap(), text).await.unwrap();
    app.state.blobs.put(&storage.jobs_container, &"hidden.png".parse().unwrap(), file).await.unwrap();
    for address in [
        "http://127.0.0.1:7071/api/media/archive/gone.png",
        "http://127.0.0.1:7071/api/media/archive/notes.txt",
        &format!("http://127.0.0.1:7071/api/media/{}/hidden.png", storage.jobs_container),
        "http://127.0.0.1:7071/api/health",
    ] {
        let payload = TastePayload::new("ada".into(), "i".into(), address.to_owned(), None);
        let outcome = taste::run(&app.state, delivery(&serde_json::to_string(&payload).unwrap())).await;
        assert!(matches!(outcome, Err(JobError::GiveUp(_))), "{address}: {outcome:?}");
    }
    assert_eq!(read(&app, Key::by_id(Container::UserProfiles, "ada")).await, Value::Null);
}

#[tokio::test]
async fn the_offline_model_sees_colours() {
    let web = Web::start().await;
    web.page(PICTURE, |_| web::page("image/png", picture()));
    let app = TestApp::builder().web(&web).start();
    let payload = TastePayload::new("ada".into(), "i".into(), PICTURE.to_owned(), None);
    taste::run(&app.state, delivery(&serde_json::to_string(&payload).unwrap())).await.unwrap();
    let profile = read(&app, Key::by_id(Container::UserProfiles, "ada")).await;
    assert_eq!(profile["stylePreferences"], json!(["navy"]));
}

#[tokio::test]
async fn the_backdrop_of_a_liked_picture_is_no_taste() {
    let web = Web::start().await;
    web.page(PICTURE, |_| web::page("image/png", photo([22, 34, 84])));
    let app = TestApp::builder().web(&web).start();
    let payload = TastePayload::new("ada".into(), "i".into(), PICTURE.to_owned(), None);
    taste::run(&app.state, delivery(&serde_json::to_string(&payload).unwrap())).await.unwrap();
    let profile = read(&app, Key::by_id(Container::UserProfiles, "ada")).await;
    assert_eq!(profile["stylePreferences"], json!(["navy"]));
}

#[tokio::test]
async fn a_job_is_queued_again_when_nothing_happens_or_it_failed() {
    let scene = Scene::new().await;
    scene.model.otherwise(|_| Answer::error(500, "down", "down"));
    scene.like().await;
    scene.like().await;
    assert_eq!(scene.queued().await, 1);
    // The message gets lost; the lease runs out.
    scene.app.clock.advance(Duration::from_secs(181));
    scene.like().await;
    assert_eq!(scene.queued().await, 2);
    assert!(matches!(scene.run().await, Err(JobError::Retry(_))));
    let job = scene.job().await;
    assert_eq!((&job["status"], &job["retryCount"]), (&json!("failed"), &json!(1)));
    scene.like().await;
    assert_eq!(scene.queued().await, 3);
    // An analysis that is old is made again.
    scene.model.otherwise(|_| say(&[DESCRIPTION]));
    scene.run().await.unwrap();
    scene.app.clock.advance(Duration::from_secs(3599));
    scene.like().await;
    assert_eq!(scene.queued().await, 3);
    scene.app.clock.advance(Duration::from_secs(2));
    scene.like().await;
    assert_eq!(scene.queued().await, 4);
}

#[tokio::test]
async fn a_fault_of_the_model_is_tried_again_and_then_told() {
    let scene = Scene::new().await;
    scene.model.push(Kind::Complete, say(&["I would rather not."]));
    scene.model.push(Kind::Complete, say(&["{\"styleKeywords\": 1}"]));
    scene.model.push(Kind::Complete, say(&[DESCRIPTION]));
    scene.run().await.unwrap();
    assert_eq!(scene.model.count(), 3);

    let scene = Scene::new().await;
    scene.model.otherwise(|_| say(&["{}"]));
    assert!(matches!(scene.run().await, Err(JobError::Retry(_))));
    assert_eq!(scene.model.count(), 3);
    let job = scene.job().await;
    assert_eq!(job["status"], "failed");
    assert!(job["lastError"].as_str().unwrap().contains("not a description"), "{job}");
    assert_eq!(scene.profile().await, Value::Null);
}

#[tokio::test]
async fn a_picture_that_cannot_be_had_is_given_up() {
    for url in ["http://i.example/a.png", "https://127.0.0.1/a.png", "https://i.example/page", "https://i.example/gone"]
    {
        let scene = Scene::new().await;
        scene.web.page("https://i.example/page", |_| web::page("text/html", "<p>"));
        let payload = TastePayload::new("ada".into(), "i".into(), url.to_owned(), None);
        let message = delivery(&serde_json::to_string(&payload).unwrap());
        let Err(JobError::GiveUp(reason)) = taste::run(&scene.app.state, message.clone()).await else {
            panic!("{url} is not given up")
        };
        taste::give_up(&scene.app.state, message.clone().into_failed(QUEUE, Some(reason.clone()))).await.unwrap();
        taste::give_up(&scene.app.state, message.into_failed(QUEUE, Some(reason.clone()))).await.unwrap();
        let letters = dead_letters(&scene.app).await;
        assert_eq!((letters.len(), &letters[0]["reason"]), (1, &json!(reason)), "{url}");
        let key = Key::new(Container::TasteAnalysisJobs, payload.job_id.as_str(), payload.job_id.as_str());
        assert_eq!(read(&scene.app, key).await["status"], "dead_lettered");
        assert_eq!((scene.model.count(), scene.web.private().connections().await), (0, 0));
    }
}

#[tokio::test]
async fn a_message_delivered_too_often_is_kept_and_can_be_replayed() {
    let scene = Scene::new().await;
    scene.model.otherwise(|_| Answer::error(500, "down", "down"));
    scene.like().await;
    let message = scene.app.state.queue.receive(QUEUE, 1, Duration::from_secs(1)).await.unwrap().remove(0);
    for _ in 0..5 {
        assert!(matches!(taste::run(&scene.app.state, delivery(&message.text)).await, Err(JobError::Retry(_))));
    }
    scene.app.state.queue.delete(QUEUE, &message).await.unwrap();
    let poison = Delivery { text: message.text, dequeue_count: 1, id: Some("p".to_owned()) };
    let poison = poison.into_failed("taste-analysis-jobs-poison", None);
    taste::give_up(&scene.app.state, poison.clone()).await.unwrap();
    taste::give_up(&scene.app.state, poison).await.unwrap();
    let letters = dead_letters(&scene.app).await;
    assert_eq!((letters.len(), &letters[0]["sourceQueue"]), (1, &json!("taste-analysis-jobs-poison")));
    assert!(letters[0]["reason"].as_str().unwrap().contains("the model failed"), "{}", letters[0]);
    let job = scene.job().await;
    assert_eq!(
        (&job["status"], &job["deadLettered"], &job["retryCount"]),
        (&json!("dead_lettered"), &json!(true), &json!(5))
    );
    // A message that is still on its way finds the job final.
    scene.run().await.unwrap();
    assert_eq!(scene.job().await["status"], "dead_lettered");

    scene.model.otherwise(|_| say(&[DESCRIPTION]));
    let id = letters[0]["id"].as_str().unwrap().into();
    let letter = scene.app.state.data.dead_letters.find(&id).await.unwrap().unwrap();
    scene.app.state.taste.replay(&letter).await.unwrap();
    let message = scene.app.state.queue.receive(QUEUE, 1, Duration::from_secs(1)).await.unwrap().remove(0);
    taste::run(&scene.app.state, delivery(&message.text)).await.unwrap();
    assert_eq!(scene.job().await["status"], "completed");
    assert_eq!(scene.profile().await["favoriteBrands"], json!(["Arket"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_workers_does_a_job() {
    let scene = Scene::new().await;
    // Slow enough for all to meet.
    scene.model.otherwise(|_| say(&[DESCRIPTION]).first_pause(Duration::from_millis(50)));
    let outcomes = join_all((0..16).map(|_| scene.run())).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(JobError::NotNow))), "{outcomes:?}");
    assert!(outcomes.iter().any(Result::is_ok));
    assert_eq!(scene.model.count(), 1);
    assert_eq!(scene.profile().await["stylePreferences"], json!(["boxy", "Minimal", "navy", "coat"]));
}

#[tokio::test]
async fn a_job_whose_worker_died_is_taken_over() {
    let scene = Scene::new().await;
    scene.model.push(Kind::Complete, Answer::Silence);
    scene.model.otherwise(|_| say(&[DESCRIPTION]));
    {
        let run = scene.run();
        tokio::pin!(run);
        tokio::select! {
            outcome = &mut run => panic!("the model never answers: {outcome:?}"),
            asked = scene.model.wait_for_open(1, Duration::from_secs(10)) => assert!(asked),
        }
        // Dropped here, as by a crash.
    }
    assert_eq!(scene.job().await["status"], "in_flight");
    assert!(matches!(scene.run().await, Err(JobError::NotNow)));
    assert_eq!(scene.app.state.taste.requeue_stale().await.unwrap(), 0);
    scene.app.clock.advance(Duration::from_secs(46));
    scene.run().await.unwrap();
    assert_eq!(scene.job().await["status"], "completed");
}

#[tokio::test]
async fn stale_jobs_are_queued_again_less_and_less_often_and_at_last_given_up() {
    let scene = Scene::new().await;
    scene.like().await;
    let requeue = async || scene.app.state.taste.requeue_stale().await.unwrap();
    assert_eq!(requeue().await, 0);
    for round in 0..8_u32 {
        let lease = Duration::from_secs(180) * 2_u32.pow(round);
        scene.app.clock.advance(lease - Duration::from_secs(1));
        assert_eq!(requeue().await, 0, "round {round}");
        scene.app.clock.advance(Duration::from_secs(1));
        assert_eq!(requeue().await, 1, "round {round}");
        assert_eq!(requeue().await, 0, "round {round}");
    }
    scene.app.clock.advance(Duration::from_secs(180) * 256);
    assert_eq!(requeue().await, 0);
    assert_eq!(scene.job().await["status"], "dead_lettered");
    assert_eq!(dead_letters(&scene.app).await.len(), 1);
}

#[tokio::test]
async fn a_profile_learns_one_answer_of_the_model_even_if_the_worker_dies() {
    let (model, web) = (ModelServer::start().await, Web::start().await);
    web.page(PICTURE, |_| web::page("image/png", picture()));
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let inner = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
    // The first write of a finished job never ends, as if its process died just then.
    let (dies, is_dead) = (AtomicBool::new(true), Arc::new(Notify::new()));
    let death = is_dead.clone();
    let interceptor = move |call: &Call<'_>| {
        let ends = call.name == "store.replace" && call.document.is_some_and(|job| job["status"] == "completed");
        if !ends || !dies.swap(false, Ordering::Relaxed) {
            return Fate::Passes;
        }
        death.notify_one();
        Fate::Hangs
    };
    let store = Intercepted::new(inner, Arc::new(interceptor));
    let app = TestApp::builder().model_server(&model).web(&web).clock(clock).store(store).start();
    let scene = Scene { app, model, web };
    scene.model.push(Kind::Complete, say(&[DESCRIPTION]));
    scene.model.push(Kind::Complete, say(&[&DESCRIPTION.replace("boxy", "sharp").replace("Arket", "Acne")]));
    tokio::select! {
        outcome = scene.run() => panic!("it died: {outcome:?}"),
        () = is_dead.notified() => {}
    }
    let learned = scene.profile().await;
    assert_eq!(learned["stylePreferences"], json!(["boxy", "Minimal", "navy", "coat"]));
    scene.app.clock.advance(Duration::from_secs(46));
    scene.run().await.unwrap();
    assert_eq!((scene.profile().await, scene.model.count()), (learned, 1));
    let job = scene.job().await;
    assert_eq!((&job["status"], &job["tastes"]), (&json!("completed"), &Value::Null));
}

/// A hundred texts that are no message, each short enough for a queue.
pub fn poison() -> Vec<String> {
    let good = json!({"job_id": "j", "user_id": "u", "item_id": "i", "image_url": "https://i.example/a.png"});
    let mut bodies: Vec<String> = [
        "",
        " ",
        "null",
        "true",
        "0",
        "-1e400",
        "\"text\"",
        "[]",
        "{}",
        "[[]]",
        "{",
        "}",
        "[",
        "{\"job_id\":",
        "nul",
        "NaN",
        "undefined",
        "<xml/>",
        "job_id=j&user_id=u",
        "\u{0}",
        "\u{feff}{}",
        "\u{1f457}",
        "'; DROP TABLE jobs; --",
        "\\",
        "\"",
        "{}{}",
        "{\"a\":1,}",
        "// comment",
        "{'job_id': 'j'}",
        "\r\n\r\n",
    ]
    .map(str::to_owned)
    .into();
    for field in ["job_id", "user_id", "item_id", "image_url"] {
        for value in [json!(null), json!(1), json!(true), json!([]), json!({"a": 1}), json!(""), json!("  ")] {
            let mut body = good.clone();
            body[field] = value;
            bodies.push(body.to_string());
        }
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        bodies.push(body.to_string());
        bodies.push(STANDARD.encode(body.to_string()));
    }
    for id in ["a/b", "a\\b", "a?b", "a#b", "..", "."] {
        let mut body = good.clone();
        body["job_id"] = id.into();
        bodies.push(body.to_string());
    }
    let mut long = good.clone();
    long["job_id"] = "j".repeat(2000).into();
    bodies.push(long.to_string());
    // 64 KiB on the wire of Azure Storage, where they are in base64.
    bodies.push("x".repeat(MAX_MESSAGE_BYTES));
    bodies.push("[".repeat(MAX_MESSAGE_BYTES));
    bodies.push("\u{1f457}".repeat(MAX_MESSAGE_BYTES / 4));
    bodies.push(format!("{{\"job_id\":\"{}\"}}", "j".repeat(MAX_MESSAGE_BYTES - 13)));
    bodies.push(STANDARD.encode(vec![0xff; MAX_MESSAGE_BYTES / 4 * 3]));
    while bodies.len() < 100 {
        let garbage: Vec<u8> = (0..bodies.len()).map(|byte| u8::try_from(byte * 37 % 256).unwrap()).collect();
        bodies.push(STANDARD.encode(garbage));
    }
    bodies
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_with_its_text() {
    let scene = Scene::new().await;
    let bodies = poison();
    assert_eq!(bodies.len(), 100);
    for (number, text) in bodies.iter().enumerate() {
        let message = Delivery { text: text.clone(), dequeue_count: 1, id: Some(format!("m{number}")) };
        let shown: String = text.chars().take(60).collect();
        let Err(JobError::GiveUp(reason)) = taste::run(&scene.app.state, message.clone()).await else {
            panic!("{shown} is not given up")
        };
        // Half of them come by the poison queue.
        match number % 2 {
            0 => taste::give_up(&scene.app.state, message.into_failed(QUEUE, Some(reason))).await.unwrap(),
            _ => {
                taste::give_up(&scene.app.state, message.into_failed("taste-analysis-jobs-poison", None)).await.unwrap()
            }
        }
    }
    let letters = dead_letters(&scene.app).await;
    assert_eq!(letters.len(), 100);
    for text in &bodies {
        let kept = letters.iter().find(|letter| letter["payload"]["raw_payload"] == json!(text)).unwrap();
        assert!(!kept["reason"].as_str().unwrap().is_empty());
        assert_eq!(kept["status"], "dead_lettered");
    }
    // The next message is done as ever.
    scene.model.push(Kind::Complete, say(&[DESCRIPTION]));
    scene.run().await.unwrap();
}
