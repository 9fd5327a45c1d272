//! The pictures of an item, and recreating its picture from its photo.

use axum::http::{Method, StatusCode};
use futures::future::join_all;
use image::ImageFormat;
use serde_json::{Value, json};

use crate::support::caller::{Answer, Caller};
use crate::support::photos::{accept, blobs, photo, process, uploaded};
use crate::support::{TestApp, refusal};

const BLUE: [u8; 3] = [20, 40, 160];

async fn cut_out(caller: &Caller, id: &str, body: Value) -> Answer {
    caller.post(&format!("/api/wardrobe/{id}/cutout"), body).await
}

async fn pictures(caller: &Caller, id: &str) -> Value {
    caller.get(&format!("/api/wardrobe/{id}/pictures")).await.json()
}

fn path_of(url: &Value) -> String {
    url.as_str().unwrap().strip_prefix("http://127.0.0.1:7071").unwrap().to_owned()
}

/// Whether the corner of a picture can be seen through.
async fn is_cut(app: &TestApp, url: &Value) -> bool {
    let shown = app.nobody().get(&path_of(url)).await;
    assert_eq!(shown.status, StatusCode::OK, "{url}");
    let picture = image::load_from_memory_with_format(&shown.body, ImageFormat::WebP).unwrap().to_rgba8();
    picture.get_pixel(2, 2).0[3] < 10
}

#[tokio::test]
async fn a_picture_is_made_again_from_its_photo_and_back() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(BLUE)).await;
    let processing = cut_out(&ada, &id, json!({"mode": "none"})).await;
    assert_eq!(processing.summary(), (409, refusal("The picture is not finished.")));
    process(&app).await;
    let before = pictures(&ada, &id).await;
    assert_eq!(before["modes"], json!(["auto", "plain", "none"]));
    assert_eq!(before["cutout"], json!({"mode": "auto", "by": "plain"}));
    assert_eq!(before["photo"]["sizeBytes"], photo(BLUE).len());
    assert!(is_cut(&app, &before["imageUrl"]).await);

    // Of a draft, and below of an item.
    let whole = cut_out(&ada, &id, json!({"mode": "none"})).await;
    assert_eq!(whole.status, StatusCode::OK, "{}", whole.text());
    assert_eq!(whole.json()["cutout"], json!({"mode": "none", "keptWhole": "as asked"}));
    let shown = whole.json()["item"]["imageUrl"].clone();
    assert!(shown != before["imageUrl"] && !is_cut(&app, &shown).await);
    let replaced = app.nobody().get(&path_of(&before["imageUrl"])).await;
    assert_eq!(replaced.status, StatusCode::NOT_FOUND, "nothing shows it any more");

    assert_eq!(accept(&ada, &id).await.status, StatusCode::OK);
    let again = cut_out(&ada, &id, json!({"mode": "plain", "threshold": 0.5})).await.json();
    assert_eq!(again["cutout"], json!({"mode": "plain", "by": "plain"}));
    assert!(is_cut(&app, &again["item"]["imageUrl"]).await);
    let defaults = ada.send(Method::POST, &format!("/api/wardrobe/{id}/cutout"), None, "").await.json();
    assert_eq!(defaults["cutout"], json!({"mode": "auto", "by": "plain"}));
    let again = defaults;
    let after = pictures(&ada, &id).await;
    assert_eq!((&after["imageUrl"], &after["cutout"]), (&again["item"]["imageUrl"], &again["cutout"]));
    assert_eq!(app.nobody().get(&path_of(&shown)).await.status, StatusCode::NOT_FOUND);
    let storage = &app.state.config.storage;
    assert_eq!(blobs(&app, &storage.archive_container).await.len(), 1);

    assert_eq!(ada.delete(&format!("/api/wardrobe/{id}")).await.status, StatusCode::NO_CONTENT);
    for container in [&storage.archive_container, &storage.uploads_container] {
        assert_eq!(blobs(&app, container).await, Vec::<String>::new(), "{container}");
    }
}

#[tokio::test]
async fn concurrent_recreations_leave_one_picture_which_the_item_shows() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(BLUE)).await;
    process(&app).await;
    let modes = ["none", "plain", "auto", "none", "plain"];
    let answers = join_all(modes.map(|mode| cut_out(&ada, &id, json!({"mode": mode})))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    let shown = pictures(&ada, &id).await;
    let [left] = &blobs(&app, &app.state.config.storage.archive_container).await[..] else { panic!("one picture") };
    assert!(shown["imageUrl"].as_str().is_some_and(|url| url.ends_with(left)), "{shown}: {left}");
    assert_eq!(is_cut(&app, &shown["imageUrl"]).await, shown["cutout"]["mode"] != "none");
}

#[tokio::test]
async fn a_picture_that_cannot_be_recreated_is_refused_with_a_reason() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let id = uploaded(&ada, &photo(BLUE)).await;
    process(&app).await;
    let url = pictures(&ada, &id).await["imageUrl"].clone();
    for (body, detail) in [
        (json!({"mode": "magic"}), "mode must be auto, plain, network or none."),
        (json!({"mode": "network"}), "The background-removal network is not installed."),
        (json!({"threshold": 1.5}), "threshold must be a number from 0 to 1."),
        (json!({"threshold": "high"}), "Invalid request body."),
    ] {
        assert_eq!(cut_out(&ada, &id, body).await.summary(), (400, refusal(detail)));
    }
    for (caller, item) in [(&eve, &*id), (&ada, "coat")] {
        let missing = (404, refusal("Item not found."));
        assert_eq!(cut_out(caller, item, json!({"mode": "none"})).await.summary(), missing);
        assert_eq!(caller.get(&format!("/api/wardrobe/{item}/pictures")).await.summary(), missing);
    }
    ada.post("/api/wardrobe", json!({"id": "typed", "category": "Tops"})).await;
    let never = cut_out(&ada, "typed", json!({"mode": "none"})).await;
    assert_eq!(never.summary(), (410, refusal("There is no uploaded photo of this item.")));
    let uploads = &app.state.config.storage.uploads_container;
    let name = format!("ada/{id}").parse().unwrap();
    assert!(app.state.blobs.delete(uploads, &name).await.unwrap());
    assert!(pictures(&ada, &id).await.get("photo").is_none());
    let gone = cut_out(&ada, &id, json!({"mode": "none"})).await;
    assert_eq!(gone.summary(), (410, refusal("There is no uploaded photo of this item.")));
    assert_eq!(pictures(&ada, &id).await["imageUrl"], url, "it shows what it showed");
    assert!(is_cut(&app, &url).await);
}
