//! The three long operations of the service, from the request to their results: alone, and under the double of the
//! Functions host with queue and blobs on Azurite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use futures::future::join_all;
use pluckit::azure::{Identity, StorageAccount};
use pluckit::base::clock::SystemClock;
use pluckit::blob::azure::AzureBlobs;
use pluckit::domain::jobs::kinds::DIGEST;
use pluckit::llm::offline::OfflineModel;
use pluckit::llm::{self, CallContext, ChatRequest, Model, PartStream, Purpose, Reply};
use pluckit::model::job::JobStatus;
use pluckit::queue::JobQueue;
use pluckit::queue::azure::AzureQueue;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, Query};
use pluckit::workers::{FUNCTIONS, JobError, pump};
use serde_json::{Value, json};
use uuid::Uuid;

use super::host::package;
use crate::store::cosmos_backend::setting;
use crate::support::caller::Caller;
use crate::support::feeds::{show_posts, show_shop};
use crate::support::host::{Faster, Handler, Host};
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::jobs::QUEUE;
use crate::support::web::{self, Web};
use crate::support::{Builder, TestApp, feeds, refusal, until};

const SITEMAPS: &str = "https://b.example/sitemap.xml,https://down.example/sitemap.xml";

/// An internet with a publisher, a subreddit and a shop.
async fn internet() -> Web {
    let web = Web::start().await;
    show_articles(&web, 60);
    show_posts(&web, "aa", &["p1", "p2", "p3"]);
    show_shop(&web, "shop.example", &["coat", "scarf"]);
    web
}

fn show_articles(web: &Web, count: u32) {
    let articles: String = (1..=count)
        .map(|number| {
            let day = 1 + number % 28;
            format!("<url><loc>https://b.example/2026/02/minimal-linen-coat-{number}.html</loc><lastmod>2026-02-{day:02}</lastmod></url>")
        })
        .collect();
    web.page("https://b.example/sitemap.xml", move |_| web::page("text/xml", format!("<urlset>{articles}</urlset>")));
}

fn builder(web: &Web) -> Builder {
    TestApp::builder().web(web).setting("ADMIN_USER_IDS", "root").setting("MOOD_SITEMAPS", SITEMAPS)
}

/// Sources in the store, and clothes of Ada's.
async fn fill(app: &TestApp) {
    let posts = json!({
        "id": "reddit-aa", "sourceType": "reddit", "name": "r/aa", "isGlobal": true, "isActive": true,
        "config": {"subreddit": "aa"},
    });
    app.save(Container::ScraperSources, "reddit", posts).await;
    let mut config = feeds::selectors();
    config["sourceUrl"] = "https://shop.example/new".into();
    let shop = json!({
        "id": "brand-shop", "sourceType": "brand_site", "name": "A Shop", "isGlobal": true, "isActive": true,
        "config": config,
    });
    app.save(Container::ScraperSources, "brand_site", shop).await;
    for number in 0..8 {
        let item = json!({"id": format!("item-{number}"), "userId": "root", "category": "tops", "brand": "Arket", "wearCount": number});
        app.save(Container::Wardrobe, "root", item).await;
    }
}

/// Posts so that the caller need not wait; the path of the job.
async fn post(caller: &Caller, path: &str, body: Value) -> String {
    let answer = caller.clone().header("prefer", "respond-async").post(path, body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {}", answer.text());
    assert_eq!(answer.header("preference-applied"), "respond-async");
    assert_eq!(
        (answer.header("location"), answer.header("retry-after")),
        (answer.json()["statusUri"].as_str().unwrap(), "2")
    );
    answer.header("location").to_owned()
}

async fn until_final(caller: &Caller, path: &str) -> Value {
    let is_final = |job: &Value| JobStatus::parse(job["status"].as_str().unwrap()).unwrap().is_final();
    until("the job is final", async || is_final(&caller.get(path).await.json())).await;
    caller.get(path).await.json()
}

async fn content(caller: &Caller, job: &str, file: &str) -> String {
    let answer = caller.clone().header("accept", "text/markdown").get(&format!("{job}/outputs/{file}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{file}: {}", answer.text());
    answer.text().to_owned()
}

async fn files(caller: &Caller, job: &str) -> Vec<String> {
    let files = caller.get(&format!("{job}/outputs")).await.json();
    files["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
}

/// Returns a count from a report's table.
fn count(report: &str, what: &str) -> u64 {
    let row = report.lines().find_map(|line| line.strip_prefix(&format!("| {what} | ")));
    row.unwrap_or_else(|| panic!("{what}: {report}")).trim_end_matches(" |").parse().unwrap()
}

/// All three, while somebody does what is in the queue.
async fn do_all_three(app: &TestApp) {
    let root = app.user("root").await;
    let digest = post(&root, "/api/digest/run", json!({})).await;
    let moods = post(&root, "/api/moods/seed", json!({"months_back": 2})).await;
    let reddit = post(&root, "/api/scraper/run/reddit-aa", json!({})).await;
    let shop = post(&root, "/api/scraper/run/brand-shop", json!({})).await;

    let job = until_final(&root, &digest).await;
    assert_eq!(
        (&job["status"], &job["name"], &job["result"]["status"]),
        (&json!("Completed"), &json!("digest.run"), &json!("ok"))
    );
    let latest = root.get("/api/digest/latest").await.json();
    assert_eq!(job["result"]["digest"], latest["digest"], "the same as the route shows");
    assert_eq!(files(&root, &digest).await, ["index.md", "digest.md"]);
    let idea = latest["digest"]["suggestions"][0]["item"].as_str().unwrap();
    assert!(content(&root, &digest, "digest.md").await.contains(idea));
    let report = content(&root, &digest, "index.md").await;
    assert!(report.contains(idea) && report.contains(&format!("](<{digest}/outputs/digest.md>)")), "{report}");

    let job = until_final(&root, &moods).await;
    assert_eq!((&job["status"], &job["result"]["snippets_processed"]), (&json!("Completed"), &json!(60)), "{job}");
    assert!(job["result"]["seeded"].as_u64().unwrap() > 0, "{job}");
    assert_eq!(job["customStatus"], json!({"done": 3, "total": 3, "message": "Writing the report"}));
    let report = content(&root, &moods, "index.md").await;
    assert!(report.contains("| articles | 60 |") && report.contains("](</api/moods/"), "{report}");
    assert!(report.contains("- down.example: "), "the publisher that is down is told: {report}");
    let published = root.get("/api/moods").await.json()["moods"].as_array().unwrap().len() as u64;
    assert_eq!((count(&report, "of them read"), count(&report, "new moods")), (60, published), "{report}");
    let grown = count(&report, "moods with new articles");
    assert_eq!(job["result"]["seeded"], published + grown, "{report}");

    let job = until_final(&root, &reddit).await;
    assert_eq!(
        (&job["status"], &job["result"]),
        (&json!("Completed"), &json!({"sourceId": "reddit-aa", "newItems": 3})),
        "{job}"
    );
    assert_eq!(files(&root, &reddit).await, ["index.md", "items.jsonl"]);
    let lines = content(&root, &reddit, "items.jsonl").await;
    let items: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(items.len(), 3);
    assert!(items.iter().all(|item| item["isNew"] == true && item.get("embedding").is_none()));
    let report = content(&root, &reddit, "index.md").await;
    assert!(report.contains("| new in the feed | 3 |") && report.contains("/r/aa/comments/p1/"), "{report}");
    assert_eq!(until_final(&root, &shop).await["result"]["newItems"], 2);
    let feed = root.get("/api/scraper/items").await.json();
    assert_eq!(feed["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn all_three_operations_are_done_alone() {
    let web = internet().await;
    let app = builder(&web).start();
    fill(&app).await;
    pump::start(&app.state, FUNCTIONS, &pump::Options::from_config(&app.state.config));
    do_all_three(&app).await;
    until("the queue is empty", async || app.state.queue.length(QUEUE).await.unwrap() == 0).await;
    app.state.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the emulators: run scripts/test"]
async fn all_three_operations_are_done_under_the_host() {
    let storage = setting("PLUCKIT_TEST_STORAGE");
    let account = || Arc::new(StorageAccount::from_connection_string(&storage, &Identity::default()).unwrap());
    let names = ["digest", "mood", "scrape", "taste", "long"].map(|name| format!("{name}-{}", Uuid::new_v4()));
    let settings = [
        "DIGEST_BATCH_QUEUE_NAME",
        "MOOD_CHUNK_QUEUE_NAME",
        "SCRAPE_QUEUE_NAME",
        "TASTE_JOB_QUEUE_NAME",
        "LONG_OPERATION_QUEUE_NAME",
    ];
    for name in &names {
        account().create_queue(name).await.unwrap();
        account().create_queue(&format!("{name}-poison")).await.unwrap();
    }
    let container = format!("jobs-{}", Uuid::new_v4());
    let web = internet().await;
    let mut builder = builder(&web)
        .under_functions_host()
        .queue(Arc::new(AzureQueue::new(account())))
        .blobs(Arc::new(AzureBlobs::new(account())))
        .setting("JOBS_CONTAINER_NAME", &container);
    let poison = format!("{}-poison", names[3]);
    let mut given = vec![("StorageQueue", storage.as_str()), ("TASTE_JOB_DEAD_LETTER_QUEUE_NAME", &poison)];
    for (setting, name) in settings.iter().zip(&names) {
        builder = builder.setting(setting, name);
        given.push((setting, name));
    }
    let app = builder.setting("TASTE_JOB_DEAD_LETTER_QUEUE_NAME", &poison).start();
    fill(&app).await;
    let (_directory, dist) = package(FUNCTIONS);
    let faster = Faster { max_polling_interval: Some(Duration::from_millis(100)), ..Faster::default() };
    let host = Host::start(&dist, Handler::Served(app.service()), &given, faster).await;
    do_all_three(&app).await;
    let queue = AzureQueue::new(account());
    until("the queue is empty", async || queue.length(&names[4]).await.unwrap() == 0).await;
    let calls: Vec<_> = host.calls().into_iter().filter(|call| call.function == "ProcessLongOperation").collect();
    assert_eq!(calls.iter().map(|call| call.status).collect::<Vec<_>>(), [Some(200); 4]);
    assert_eq!(host.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_hundred_posts_with_one_key_are_one_job() {
    let web = internet().await;
    let app = builder(&web).start();
    let ada = app.user("ada").await.header("prefer", "respond-async, wait=5");
    let keyed = ada.clone().header("idempotency-key", "my-key");
    let answers = join_all((0..100).map(|_| keyed.post("/api/digest/run?force=true", json!({})))).await;
    let first = answers[0].json();
    assert!(answers.iter().all(|answer| answer.status == StatusCode::ACCEPTED && answer.json() == first));
    assert_eq!(app.state.queue.length(QUEUE).await.unwrap(), 1);
    assert_eq!(app.user("ada").await.get("/api/jobs").await.json()["jobs"].as_array().unwrap().len(), 1);

    let other = keyed.post("/api/digest/run?force=false", json!({})).await;
    assert_eq!(
        (other.status.as_u16(), &other.json()["detail"][0]["loc"]),
        (422, &json!(["header", "Idempotency-Key"]))
    );
    for key in ["", " ", &"k".repeat(129), "ключ"] {
        let refused = ada.clone().header("idempotency-key", key).post("/api/digest/run", json!({})).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{key:?}");
    }
    let longest = ada.clone().header("idempotency-key", &"k".repeat(128)).post("/api/digest/run", json!({})).await;
    assert_eq!(longest.status, StatusCode::ACCEPTED);
    let again = async || {
        let ada = app.user("ada").await.header("prefer", "respond-async").header("idempotency-key", "my-key");
        ada.post("/api/digest/run?force=true", json!({})).await.json()["id"].clone()
    };
    app.clock.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert_eq!(again().await, first["id"], "a key counts for a day");
    app.clock.advance(Duration::from_secs(2));
    assert_ne!(again().await, first["id"]);
}

#[tokio::test]
async fn without_the_preference_the_caller_waits_and_no_one_else_may_ask() {
    let web = internet().await;
    let app = builder(&web).start();
    fill(&app).await;
    let (ada, root) = (app.user("ada").await, app.user("root").await);
    for preference in ["", "wait=10", "handling=lenient"] {
        let answer = root.clone().header("prefer", preference).post("/api/digest/run?force=true", json!({})).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &json!("ok")), "{preference}");
    }
    let ada = ada.header("prefer", "respond-async");
    for path in ["/api/moods/seed", "/api/scraper/run/reddit-aa"] {
        assert_eq!(ada.post(path, json!({})).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let missing = root.header("prefer", "respond-async").post("/api/scraper/run/nowhere", json!({})).await;
    assert_eq!(missing.summary(), (404, refusal("Source not found.")));
    assert_eq!(app.state.queue.length(QUEUE).await.unwrap(), 0);
}

#[tokio::test]
async fn a_source_that_is_down_makes_its_job_fail_in_plain_words() {
    let web = internet().await;
    let app = builder(&web).start();
    fill(&app).await;
    let root = app.user("root").await;
    let gone = json!({"id": "reddit-gone", "sourceType": "reddit", "name": "r/gone", "isGlobal": true, "isActive": true, "config": {"subreddit": "gone"}});
    app.save(Container::ScraperSources, "reddit", gone).await;
    let job = post(&root, "/api/scraper/run/reddit-gone", json!({})).await;
    for _ in 0..5 {
        if let Some(outcome) = app.work_once().await {
            drop(outcome);
        }
    }
    let job = root.get(&job).await.json();
    assert_eq!(job["status"], "Failed", "{job}");
    let error = job["error"].as_str().unwrap();
    assert!(error.starts_with("The source ") && !error.contains("http"), "{error}");
}

/// The offline model, which cannot read some articles.
struct Choosy {
    inner: OfflineModel,
    /// Part of a prompt for which it fails.
    fails_at: &'static str,
    /// Part of a prompt for which its answer is unusable.
    confused_by: &'static str,
    /// How often either was asked.
    troubles: Arc<AtomicUsize>,
}

#[async_trait]
impl Model for Choosy {
    fn name(&self, purpose: Purpose) -> &str {
        self.inner.name(purpose)
    }

    async fn stream(&self, context: &CallContext, request: ChatRequest) -> llm::Result<PartStream> {
        self.inner.stream(context, request).await
    }

    async fn complete(&self, context: &CallContext, request: ChatRequest) -> llm::Result<Reply> {
        let asked = format!("{:?}", request.messages);
        let is_trouble = asked.contains(self.fails_at) || asked.contains(self.confused_by);
        self.troubles.fetch_add(usize::from(is_trouble), Ordering::Relaxed);
        if asked.contains(self.fails_at) {
            return Err(llm::Error::Unavailable("as the test says".into()));
        }
        let reply = self.inner.complete(context, request).await?;
        Ok(if asked.contains(self.confused_by) { Reply { text: "Navy!".to_owned(), ..reply } } else { reply })
    }

    async fn embed(&self, context: &CallContext, texts: &[String]) -> llm::Result<Vec<Vec<f32>>> {
        self.inner.embed(context, texts).await
    }

    async fn ping(&self) -> llm::Result<()> {
        self.inner.ping().await
    }
}

#[tokio::test]
async fn articles_that_the_model_cannot_read_are_left_out() {
    let web = internet().await;
    let seed = async |fails_at, confused_by| {
        let troubles = Arc::new(AtomicUsize::new(0));
        let model = Choosy { inner: OfflineModel::new(), fails_at, confused_by, troubles: troubles.clone() };
        let app = builder(&web).model(Arc::new(model)).start();
        let root = app.user("root").await;
        let job = post(&root, "/api/moods/seed", json!({"months_back": 2})).await;
        app.work_all().await;
        let report = content(&root, &job, "index.md").await;
        (root.get(&job).await.json(), report, troubles.load(Ordering::Relaxed))
    };
    const NOTHING: &str = "nothing like this is asked";
    let seeds = [("oat 60", NOTHING), (NOTHING, "oat 60"), ("oat ", NOTHING)];
    let [failed, confused, all]: [_; 3] =
        join_all(seeds.map(|(fails_at, confused_by)| seed(fails_at, confused_by))).await.try_into().unwrap();
    for ((job, report, troubles), reason) in
        [(failed, "the model failed"), (confused, "the model's answer had no moods")]
    {
        assert_eq!((&job["status"], troubles), (&json!("Completed"), 3), "{job}");
        let read = job["result"]["snippets_processed"].as_u64().unwrap();
        assert!(read == 35 || read == 50, "all but one chunk: {read}");
        assert_eq!((count(&report, "articles"), count(&report, "of them read")), (60, read));
        let left_out: Vec<_> = report.lines().filter(|line| line.starts_with("- chunk ")).collect();
        assert!(left_out.len() == 1 && left_out[0].ends_with(&format!(" of 3: {reason}")), "{report}");
    }
    let expected = "None of the articles could be read: the model failed.";
    assert_eq!((&all.0["status"], &all.0["error"]), (&json!("Failed"), &json!(expected)));
}

#[tokio::test]
async fn a_time_without_articles_is_no_failure() {
    let web = internet().await;
    let app = builder(&web).start();
    app.clock.advance(Duration::from_secs(400 * 24 * 60 * 60));
    let root = app.user("root").await;
    let job = post(&root, "/api/moods/seed", json!({"months_back": 2})).await;
    app.work_all().await;
    let job = root.get(&job).await.json();
    assert_eq!((&job["status"], &job["result"]["snippets_processed"]), (&json!("Completed"), &json!(0)), "{job}");
}

#[tokio::test]
async fn a_second_job_with_the_same_articles_counts_nothing_again() {
    let web = internet().await;
    let app = builder(&web).start();
    let root = app.user("root").await;
    let moods = async || -> Vec<Value> {
        let page = app.state.data.store.query(&Query::all(Container::Moods).limit(1000)).await.unwrap();
        page.documents.iter().map(|stored| stored.parse().unwrap()).collect()
    };
    let mut told = Vec::new();
    for _ in 0..2 {
        let path = post(&root, "/api/moods/seed", json!({"months_back": 2})).await;
        app.work_all().await;
        app.clock.advance(Duration::from_secs(60));
        told.push((
            root.get(&path).await.json()["result"].clone(),
            content(&root, &path, "index.md").await,
            moods().await,
        ));
    }
    let [(first, _, before), (second, report, after)] = &told[..] else { panic!("two jobs") };
    assert!(first["seeded"].as_u64().unwrap() > 0, "{first}");
    assert_eq!((second, before), (&json!({"seeded": 0, "snippets_processed": 60}), after));
    assert_eq!((count(report, "new moods"), count(report, "moods with new articles")), (0, 0), "{report}");
    assert!(count(report, "moods whose articles were known") > 0 && !report.contains("/api/moods/"), "{report}");
}

#[tokio::test]
async fn a_new_article_is_added_to_moods_and_known_ones_are_not_counted_again() {
    let web = internet().await;
    let app = builder(&web).start();
    let root = app.user("root").await;
    let seed = async || {
        let job = post(&root, "/api/moods/seed", json!({"months_back": 2})).await;
        app.work_all().await;
        content(&root, &job, "index.md").await
    };
    let before = seed().await;
    show_articles(&web, 61);
    let after = seed().await;
    assert_eq!((count(&before, "of them read"), count(&after, "of them read")), (60, 61));
    let [grown, known] = ["moods with new articles", "moods whose articles were known"].map(|what| count(&after, what));
    assert!(grown > 0 && known > 0, "{after}");
}

#[tokio::test]
async fn articles_that_another_job_reads_are_waited_for() {
    let web = internet().await;
    let app = builder(&web).setting("ADMIN_USER_IDS", "root,grace").start();
    let (root, grace) = (app.user("root").await, app.user("grace").await);
    let first = post(&root, "/api/moods/seed", json!({"months_back": 2})).await;
    let second = post(&grace, "/api/moods/seed", json!({"months_back": 2})).await;
    let (one, other) = tokio::join!(app.work_once(), app.work_once());
    assert!(matches!((one, other), (Some(Ok(())), Some(Ok(())))));
    for (caller, job) in [(&root, first), (&grace, second)] {
        let job = caller.get(&job).await.json();
        assert_eq!((&job["status"], &job["result"]["snippets_processed"]), (&json!("Completed"), &json!(60)), "{job}");
    }
}

#[tokio::test]
async fn a_digest_that_is_not_forced_is_made_when_something_has_changed() {
    let web = internet().await;
    let app = builder(&web).start();
    fill(&app).await;
    let root = app.user("root").await;
    let statuses = [(json!({}), "ok"), (json!({"force": false}), "skipped"), (json!({}), "ok")];
    for (input, status) in statuses {
        let id = app.state.jobs.accept(&"root".into(), DIGEST, input.clone(), None).await.unwrap();
        app.work_all().await;
        let path = format!("/api/jobs/{id}");
        let job = root.get(&path).await.json();
        assert_eq!((&job["status"], &job["result"]["status"]), (&json!("Completed"), &json!(status)), "{input}");
        if status == "skipped" {
            let report = content(&root, &path, "index.md").await;
            let reason = job["result"]["reason"].as_str().unwrap();
            assert!(report.starts_with("# No new ideas\n\nNo digest was created: "), "{report}");
            assert!(report.contains(reason), "{report}");
        }
    }
}

/// The digest was created, and the worker died before recording it.
#[tokio::test]
async fn a_digest_is_not_made_a_second_time_because_its_note_was_lost() {
    let web = internet().await;
    let store = Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap());
    let losses = AtomicUsize::new(0);
    let interceptor = move |call: &Call<'_>| match call.document {
        Some(job) if job["steps"].get("digest").is_some() && losses.fetch_add(1, Ordering::Relaxed) == 0 => Fate::Fails,
        _ => Fate::Passes,
    };
    let app = builder(&web).store(Intercepted::new(store, Arc::new(interceptor))).start();
    fill(&app).await;
    app.state.jobs.accept(&"root".into(), DIGEST, json!({}), None).await.unwrap();
    assert!(matches!(app.work_once().await, Some(Err(JobError::Retry(_)))));
    let digests = async || {
        let page = app.state.data.store.query(&Query::partition(Container::Digests, "root")).await.unwrap();
        let all = page.documents.into_iter().map(|stored| stored.parse::<Value>().unwrap());
        all.filter(|digest| digest["suggestions"].is_array()).collect::<Vec<_>>()
    };
    let made = digests().await;
    assert_eq!(made.len(), 1);
    app.clock.advance(Duration::from_secs(60));
    app.work_all().await;
    let jobs = app.user("root").await.get("/api/jobs").await.json();
    assert_eq!(jobs["jobs"][0]["status"], "Completed");
    assert_eq!(digests().await, made);
}
