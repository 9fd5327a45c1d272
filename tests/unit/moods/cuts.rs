//! Crashes at any point of a run: whatever was left behind, the next run reaches the same result.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pluckit::base::clock::ManualClock;
use pluckit::queue::{JobQueue, local::LocalQueue};
use pluckit::store::DocumentStore;
use pluckit::store::sqlite::SqliteStore;
use pluckit::workers::daily_moods;
use time::macros::datetime;

use super::{answer, asks_for_moods, day, drain, feed, mood, stored};
use crate::support::TestApp;
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::model::ModelServer;
use crate::support::web::{self, Web};

/// Runs a day in a process that dies after so many calls, then another in one that lives. Returns whether the first one
/// lived to its end.
async fn run_with(calls: usize, model: &ModelServer, web: &Web) -> bool {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 06:00 UTC)));
    let documents = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
    let messages = Arc::new(LocalQueue::in_memory(clock.clone()).unwrap());
    // The number of storage calls before the crash. A crash after a call is equivalent to one before the next.
    let left = Arc::new(AtomicUsize::new(calls));
    let life = left.clone();
    let dies = Arc::new(move |call: &Call<'_>| {
        if !call.name.starts_with("store.") && call.name != "queue.send" {
            return Fate::Passes;
        }
        match life.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Fate::Passes,
            Err(_) => Fate::Fails,
        }
    });
    let process = |store: Arc<dyn DocumentStore>, queue: Arc<dyn JobQueue>| {
        let builder = TestApp::builder().clock(clock.clone()).store(store).queue(queue).model_server(model).web(web);
        builder.setting("MOOD_FEEDS", "https://a.example/rss,https://b.example/rss").start()
    };
    let mortal = process(Intercepted::new(documents.clone(), dies.clone()), Intercepted::new(messages.clone(), dies));
    if daily_moods::run(&mortal.state).await.is_ok() {
        drain(&mortal).await;
    }
    let lived = left.load(Ordering::SeqCst) > 0;
    drop(mortal);
    // Long enough for leases to end and messages to be seen again.
    clock.advance(Duration::from_secs(60));
    let next = process(documents, messages);
    day(&next).await;
    let moods = stored(&next).await;
    let scores: Vec<f64> = moods.iter().map(|mood| mood["trendScore"].as_f64().unwrap()).collect();
    let mut urls: Vec<&str> = moods
        .iter()
        .flat_map(|mood| mood["sources"].as_array().unwrap())
        .map(|source| source["url"].as_str().unwrap())
        .collect();
    let found = urls.len();
    urls.sort_unstable();
    urls.dedup();
    // Each article once, in one mood: that of its chunk.
    assert_eq!((scores, found, urls.len()), (vec![10.0, 10.0], 20, 20), "after {calls} calls: {moods:#?}");
    lived
}

#[tokio::test]
async fn wherever_a_run_is_cut_each_article_counts_once() {
    let (model, web) = (ModelServer::start().await, Web::start().await);
    // Never the same name twice: what is asked again is another mood.
    let asked = AtomicUsize::new(0);
    model.when(asks_for_moods, move |_| {
        let name = format!("Mood {}", asked.fetch_add(1, Ordering::SeqCst));
        answer(&[mood("Classic", &name, 1..=10)])
    });
    model.record(false);
    web.page("https://a.example/rss", |_| web::page("text/xml", feed("a.example", 0..25)));
    web.page("https://b.example/rss", |_| web::page("text/xml", feed("b.example", 0..15)));
    let mut calls = 0;
    while !run_with(calls, &model, &web).await {
        calls += 1;
        assert!(calls < 200, "a run makes fewer calls");
    }
    assert!(calls > 20, "a run of {calls} calls is none");
}
