//! Seeding: from sitemaps to stored moods.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pluckit::domain::moods::Error;
use pluckit::model::mood_intake::ChunkReport;
use serde_json::{Value, json};

use super::sitemaps::gzip;
use super::{answer, asks_for_moods, count, mood, shown, stored};
use crate::support::model::{ModelServer, say};
use crate::support::web::{self, Web};
use crate::support::{TestApp, refusal};

struct Scene {
    app: TestApp,
    model: ModelServer,
    web: Web,
}

const SITEMAPS: &str = "https://www.vogue.com/sitemap.xml,https://b.example/sitemap.xml,https://c.example/sitemap.xml";

impl Scene {
    /// Vogue has an index of packed sitemaps and news; another site a list; the third is down.
    async fn new() -> Self {
        let (model, web) = (ModelServer::start().await, Web::start().await);
        let index = "<sitemapindex xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>\
            <sitemap><loc>https://www.vogue.com/2026-02.xml.gz</loc><lastmod>2026-02-28</lastmod></sitemap>\
            <sitemap><loc>https://www.vogue.com/2019.xml.gz</loc><lastmod>2019-12-31</lastmod></sitemap>\
            <sitemap><loc>https://www.vogue.com/sitemap.xml?year=2018&amp;month=1</loc></sitemap>\
            <sitemap><loc>https://www.vogue.com/gone.xml</loc></sitemap>\
            <sitemap><loc>https://www.vogue.com/news.xml</loc></sitemap>\
            <sitemap><loc>https://www.vogue.com/sitemap.xml</loc></sitemap></sitemapindex>";
        web.page("https://www.vogue.com/sitemap.xml", move |_| web::page("text/xml", index));
        let pages: String = (0..40)
            .map(|number| {
                let (month, day) = if number < 30 { (2, 1 + number % 28) } else { (1, number - 29) };
                format!(
                    "<url><loc>https://www.vogue.com/article/coat-story-number-{number}</loc>\
                     <lastmod>2026-{month:02}-{day:02}</lastmod></url>"
                )
            })
            .collect();
        let old = "<url><loc>https://www.vogue.com/article/an-old-coat-story</loc><lastmod>2025-02-01</lastmod></url>\
            <url><loc>https://www.vogue.com/article/a-coat-without-date</loc></url>\
            <url><loc>https://www.vogue.com/fashion</loc><lastmod>2026-03-01</lastmod></url>";
        let packed = gzip(format!("<urlset>{pages}{old}</urlset>").as_bytes());
        web.page("https://www.vogue.com/2026-02.xml.gz", move |_| web::page("application/x-gzip", packed.clone()));
        let news = "<urlset xmlns:news='http://www.google.com/schemas/sitemap-news/0.9'><url>\
            <loc>https://www.vogue.com/article/x1</loc><news:news><news:publication_date>2026-03-01T09:00:00Z\
            </news:publication_date><news:title>The Barn Jacket, Explained</news:title></news:news></url></urlset>";
        web.page("https://www.vogue.com/news.xml", move |_| web::page("application/xml", news));
        let list = "<urlset><url><loc>https://b.example/2026/02/linen-is-here-again.html</loc></url>\
            <url><loc>https://b.example/2025/02/linen-was-here-before.html</loc></url>\
            <url><loc>https://www.vogue.com/article/x1</loc><lastmod>2026-03-01</lastmod></url></urlset>";
        web.page("https://b.example/sitemap.xml", move |_| web::page("text/xml", list));
        let settings = TestApp::builder().setting("ADMIN_USER_IDS", "grace").setting("MOOD_SITEMAPS", SITEMAPS);
        let app = settings.model_server(&model).web(&web).start();
        Self { app, model, web }
    }

    async fn seed(&self, body: Value) -> (u16, Value) {
        self.app.user("grace").await.post("/api/moods/seed", body).await.summary()
    }
}

#[tokio::test]
async fn articles_come_from_all_parts_of_a_sitemap() {
    let scene = Scene::new().await;
    let collected = scene.app.state.moods.collect(3).await.unwrap();
    let titles: Vec<&str> = collected.snippets.iter().map(|snippet| snippet.title.as_str()).collect();
    assert_eq!(titles.len(), 42, "{titles:?}");
    assert_eq!(titles[0], "The Barn Jacket, Explained");
    assert_eq!(titles[1], "Coat story number 27", "the newest first");
    assert_eq!(titles[41], "Linen is here again");
    let source = |place: usize| (collected.snippets[place].source.as_str(), collected.snippets[place].url.as_str());
    assert_eq!(source(0), ("Vogue", "https://www.vogue.com/article/x1"));
    assert_eq!(source(41).0, "b.example");
    let failures: Vec<&str> = collected.failures.iter().map(|failure| failure.publisher.as_str()).collect();
    assert_eq!(failures, ["c.example"]);
    assert!(collected.failures[0].reason.contains("could not be fetched"), "{:?}", collected.failures);
    // Old parts are not even asked for, and no part twice.
    let mut asked: Vec<String> = scene.web.received().into_iter().map(|received| received.url).collect();
    asked.sort_unstable();
    assert_eq!(
        asked.iter().filter(|url| url.contains("vogue")).collect::<Vec<_>>(),
        [
            "https://www.vogue.com/2026-02.xml.gz",
            "https://www.vogue.com/gone.xml",
            "https://www.vogue.com/news.xml",
            "https://www.vogue.com/sitemap.xml",
        ]
    );
    // A month back, January is too long ago.
    assert_eq!(scene.app.state.moods.collect(1).await.unwrap().snippets.len(), 32);
    // What was collected can be kept as JSON, for a job that goes on later.
    let kept = serde_json::to_value(&collected).unwrap();
    assert_eq!(serde_json::from_value::<pluckit::domain::moods::Collected>(kept).unwrap(), collected);
}

#[tokio::test]
async fn a_seed_reads_the_past_once() {
    let scene = Scene::new().await;
    scene.model.when(asks_for_moods, |received| answer(&[mood("Classic", "Coat Season", 1..=shown(received))]));
    assert_eq!(scene.seed(json!({})).await, (200, json!({"seeded": 2, "snippets_processed": 42})));
    let moods = stored(&scene.app).await;
    assert_eq!((moods.len(), &moods[0]["trendScore"]), (1, &json!(42)));
    assert_eq!(moods[0]["sources"].as_array().unwrap().len(), 20);
    assert_eq!(moods[0]["sources"][0]["title"], "The Barn Jacket, Explained");
    let asked = scene.model.count();
    scene.app.clock.advance(Duration::from_secs(1));
    // The second one changes nothing, and does not count again what the first one did.
    assert_eq!(scene.seed(json!({"monthsBack": "3"})).await, (200, json!({"seeded": 0, "snippets_processed": 42})));
    assert_eq!((stored(&scene.app).await, scene.model.count()), (moods, asked));
}

/// A job that is repeated after a crash tells what it did before. Another one does not tell that again.
#[tokio::test]
async fn moods_are_counted_by_the_run_that_read_the_articles() {
    let scene = Scene::new().await;
    let is_first = AtomicBool::new(true);
    scene.model.when(asks_for_moods, move |received| {
        let fails = is_first.swap(false, Ordering::SeqCst);
        if fails { say(&["No."]).into() } else { answer(&[mood("Classic", "Coat Season", 1..=shown(received))]) }
    });
    let moods = &scene.app.state.moods;
    let snippets = moods.collect(3).await.unwrap().snippets;
    let read = async |run| moods.process_chunk(run, &snippets[..25]).await;
    assert!(matches!(read("first").await, Err(Error::Nonsense(_))));
    let report = ChunkReport { snippets: 25, created: 1, grown: 0, unchanged: 0 };
    for _ in 0..2 {
        assert_eq!(read("second").await.unwrap(), report);
    }
    let known = ChunkReport { created: 0, unchanged: 1, ..report };
    assert_eq!((read("first").await.unwrap(), read("third").await.unwrap()), (known, known));
}

#[tokio::test]
async fn how_far_back_a_seed_reads_is_bounded() {
    let scene = Scene::new().await;
    scene.model.when(asks_for_moods, |_| say(&["{\"moods\": []}"]));
    for (body, snippets) in
        [(json!({"months_back": -5}), 32), (json!({"months_back": 1}), 32), (json!({"months_back": 99}), 42)]
    {
        assert_eq!(scene.seed(body.clone()).await.1["snippets_processed"], snippets, "{body}");
    }
    let fault = scene.seed(json!({"months_back": "many"})).await;
    assert_eq!((fault.0, &fault.1["detail"][0]["type"]), (422, &json!("int_parsing")));
}

#[tokio::test]
async fn a_seed_that_fails_says_so_and_keeps_what_is_done() {
    let scene = Scene::new().await;
    scene.model.when(
        |received| asks_for_moods(received) && received.last_message().contains("Linen is here again"),
        |_| say(&["No."]),
    );
    scene.model.when(asks_for_moods, |_| answer(&[mood("Classic", "Coat Season", 1..=25)]));
    let grace = scene.app.user("grace").await;
    // Without a body at all.
    let answer = grace.send(axum::http::Method::POST, "/api/moods/seed", None, "").await;
    assert_eq!(answer.summary(), (500, refusal("Mood seeding failed.")));
    assert_eq!(stored(&scene.app).await[0]["trendScore"], 25.0);
    assert_eq!(count(&scene.model, asks_for_moods), 2);
    grace.post("/api/moods/seed", json!({})).await;
    assert_eq!(count(&scene.model, asks_for_moods), 3, "what is done is not asked again");
}

#[tokio::test]
async fn a_seed_without_any_site_fails() {
    let web = Web::start().await;
    let app = TestApp::builder().web(&web).setting("ADMIN_USER_IDS", "grace").start();
    let answer = app.user("grace").await.post("/api/moods/seed", json!({})).await;
    assert_eq!(answer.status, 500);
}
