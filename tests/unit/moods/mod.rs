//! Moods: from feeds and sitemaps to stored moods.

mod cuts;
mod feeds;
mod run;
mod seed;
mod sitemaps;

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use pluckit::store::{Container, Query};
use pluckit::workers::{Delivery, JobError, daily_moods, mood_chunk};
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::model::{Answer, Kind, ModelServer, Received, say};
use crate::support::web::{self, Web};

const QUEUE: &str = "mood-chunks";

/// A feed of articles with these numbers, at most one chunk's worth a page.
fn feed(name: &str, numbers: impl IntoIterator<Item = usize>) -> String {
    let items: String = numbers
        .into_iter()
        .map(|number| {
            format!(
                "<item><title>Article {number} of {name}</title><link>https://{name}/{number}</link>\
                 <pubDate>Sun, 01 Mar 2026 {:02}:00:00 GMT</pubDate><description>About &amp;lt;b&amp;gt;coats.</description></item>",
                number % 24
            )
        })
        .collect();
    format!("<rss version='2.0'><channel><title>{name}</title>{items}</channel></rss>")
}

/// A feed that knows its version, and says so only once.
fn versioned(web: &Web, url: &str, version: &'static str, body: String) {
    web.page(url, move |received| {
        if received.headers.get("if-none-match").is_some_and(|tag| tag == version) {
            return Response::builder().status(304).body(Body::empty()).unwrap();
        }
        let mut page = web::page("application/rss+xml; charset=utf-8", body.clone());
        page.headers_mut().insert("etag", version.parse().unwrap());
        page
    });
}

/// What a request to the model is for.
fn asks_to(received: &Received, what: &str) -> bool {
    received.kind == Kind::Complete
        && received.body["messages"][0]["content"].as_str().is_some_and(|text| text.contains(what))
}

fn asks_for_moods(received: &Received) -> bool {
    asks_to(received, "You read the beginnings of fashion articles")
}

fn asks_to_compare(received: &Received) -> bool {
    asks_to(received, "You compare two fashion moods")
}

/// How many articles a request shows.
fn shown(received: &Received) -> usize {
    received.last_message().lines().filter(|line| line.starts_with('{')).count()
}

/// A mood as the model names it.
fn mood(category: &str, name: &str, articles: impl IntoIterator<Item = usize>) -> Value {
    let articles: Vec<usize> = articles.into_iter().collect();
    json!({
        "primaryMood": category, "name": name, "subMoods": ["Quiet Luxury"], "description": "Camel coats.",
        "moodSignals": {"colorPalette": ["camel"], "patterns": [], "silhouettes": [], "fabrics": ["wool"], "keyPieces": ["coat"]},
        "articles": articles,
    })
}

fn answer(moods: &[Value]) -> Answer {
    say(&[&json!({ "moods": moods }).to_string()]).into()
}

/// How many requests to the model so far were for this.
fn count(model: &ModelServer, which: fn(&Received) -> bool) -> usize {
    model.received().iter().filter(|received| which(received)).count()
}

/// Processes all messages in the queue like a worker, and returns their outcomes.
async fn drain(app: &TestApp) -> Vec<Result<(), JobError>> {
    let mut outcomes = Vec::new();
    loop {
        let messages = app.state.queue.receive(QUEUE, 32, Duration::from_secs(30)).await.unwrap();
        if messages.is_empty() {
            return outcomes;
        }
        for message in messages {
            let delivery = Delivery {
                text: message.text.clone(),
                dequeue_count: message.dequeue_count,
                id: Some(message.id.clone()),
            };
            let outcome = mood_chunk::run(&app.state, delivery).await;
            if outcome.is_ok() {
                app.state.queue.delete(QUEUE, &message).await.unwrap();
            }
            outcomes.push(outcome);
        }
    }
}

/// A whole day: the timer, and all that it queued.
async fn day(app: &TestApp) {
    daily_moods::run(&app.state).await.unwrap();
    for outcome in drain(app).await {
        outcome.unwrap();
    }
}

/// All documents about moods, by id.
async fn stored(app: &TestApp) -> Vec<Value> {
    let page = app.state.data.store.query(&Query::all(Container::Moods).limit(1000)).await.unwrap();
    let mut moods: Vec<Value> = page.documents.iter().map(|stored| stored.parse().unwrap()).collect();
    moods.sort_by_key(|mood| mood["id"].as_str().unwrap().to_owned());
    moods
}
