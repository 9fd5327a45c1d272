//! Uploads of garment photos, and the resulting drafts.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use image::{ImageFormat, Rgb, RgbImage};
use pluckit::blob::ContainerName;
use pluckit::workers::{Delivery, JobError, process_image};
use serde_json::{Value, json};

use super::TestApp;
use super::caller::{Answer, Caller};
use crate::routes::media::BOUNDARY;

/// A garment of this colour on a white wall, as a PNG.
pub fn photo(colour: [u8; 3]) -> Vec<u8> {
    let picture = RgbImage::from_fn(160, 120, |x, y| {
        if (45..115).contains(&x) && (25..95).contains(&y) { Rgb(colour) } else { Rgb([245, 245, 245]) }
    });
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

/// A form with a photo in the field `image` and text fields.
pub fn form(photo: &[u8], texts: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in texts {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = "Content-Disposition: form-data; name=\"image\"; filename=\"coat.png\"\r\nContent-Type: image/png";
    body.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
    body.extend_from_slice(photo);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Content type of [`form`].
pub fn form_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// Uploads a photo as the web client does.
pub async fn upload(caller: &Caller, photo: &[u8], texts: &[(&str, &str)]) -> Answer {
    caller.send(Method::POST, "/api/wardrobe/upload", Some(&form_type()), form(photo, texts)).await
}

/// Uploads a photo and returns the draft's id.
pub async fn uploaded(caller: &Caller, photo: &[u8]) -> String {
    let answer = upload(caller, photo, &[]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

pub async fn accept(caller: &Caller, id: &str) -> Answer {
    let path = format!("/api/wardrobe/drafts/{id}/accept");
    caller.send(Method::PATCH, &path, Some("application/json"), "{}").await
}

pub async fn retry(caller: &Caller, id: &str) -> Answer {
    caller.post(&format!("/api/wardrobe/drafts/{id}/retry"), json!({})).await
}

/// The caller's drafts.
pub async fn drafts(caller: &Caller) -> Vec<Value> {
    let answer = caller.get("/api/wardrobe/drafts").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["items"].as_array().unwrap().clone()
}

/// Status and error of a draft.
pub async fn status(caller: &Caller, id: &str) -> (Value, Value) {
    let found = drafts(caller).await.into_iter().find(|draft| draft["id"] == id).unwrap_or_default();
    (found["draftStatus"].clone(), found["draftError"].clone())
}

/// The message that has a photo processed, delivered for the nth time.
pub fn delivery(user: &str, item: &str, dequeue_count: u32) -> Delivery {
    let text = json!({"itemId": item, "userId": user, "attempt": 1}).to_string();
    Delivery { text, dequeue_count, id: Some("m1".to_owned()) }
}

/// Processes the photos in the queue like a pump until none is visible. Returns their outcomes.
pub async fn process(app: &TestApp) -> Vec<Result<(), JobError>> {
    let queue = &app.state.config.queues.images.work;
    let mut outcomes = Vec::new();
    loop {
        let messages = app.state.queue.receive(queue, 1, Duration::from_secs(30)).await.unwrap();
        let Some(message) = messages.into_iter().next() else { return outcomes };
        let id = Some(message.id.clone());
        let delivery = Delivery { text: message.text.clone(), dequeue_count: message.dequeue_count, id };
        let outcome = process_image::run(&app.state, delivery).await;
        if outcome.is_ok() {
            app.state.queue.delete(queue, &message).await.unwrap();
        }
        outcomes.push(outcome);
    }
}

/// Names of all blobs in a container.
pub async fn blobs(app: &TestApp, container: &ContainerName) -> Vec<String> {
    let page = app.state.blobs.list(container, "", None, 1000).await.unwrap();
    page.blobs.into_iter().map(|blob| blob.name.to_string()).collect()
}
