//! Uploads of photos, and the resulting drafts.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use image::{ImageFormat, RgbaImage};
use pluckit::azure::{Identity, StorageAccount};
use pluckit::blob::azure::AzureBlobs;
use pluckit::store::{Container, Key};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::blob::fresh_container;
use crate::store::cosmos_backend::cosmos;
use crate::support::caller::{Answer, Caller};
use crate::support::photos::{self, accept, blobs, drafts, form_type, photo, process, retry, status, upload, uploaded};
use crate::support::{TestApp, refusal};

const BLUE: [u8; 3] = [20, 40, 160];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn detail(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.json()["detail"].clone())
}

async fn shown(app: &TestApp, item: &Value) -> RgbaImage {
    let path = item["imageUrl"].as_str().unwrap().strip_prefix("http://127.0.0.1:7071").unwrap().to_owned();
    let answer = app.nobody().get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    image::load_from_memory_with_format(&answer.body, ImageFormat::WebP).unwrap().to_rgba8()
}

async fn item(caller: &Caller, id: &str) -> Answer {
    caller.get(&format!("/api/wardrobe/{id}")).await
}

#[tokio::test]
async fn a_file_name_in_any_form_makes_a_part_the_photo() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let form = String::from_utf8_lossy(&photos::form(b"PHOTO", &[])).into_owned();
    for name in ["filename*=UTF-8''%C3%A9t%C3%A9.png", "FileName* = iso-8859-1'en'x.png"] {
        let form = form.replace("filename=\"coat.png\"", name);
        let (head, tail) = form.split_once("PHOTO").unwrap();
        let body = [head.as_bytes(), &photo(BLUE), tail.as_bytes()].concat();
        let answer = ada.send(Method::POST, "/api/wardrobe/upload", Some(&form_type()), body).await;
        assert_eq!(answer.code(), 202, "{name}: {}", answer.text());
    }
    process(&app).await;
}

#[tokio::test]
async fn a_form_over_the_limit_is_refused() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    // A photo of 20 MiB with 64 KiB around it.
    let note = "x".repeat((20 << 20) + (64 << 10));
    let answer = upload(&ada, &photo(BLUE), &[("note", &note)]).await;
    assert_eq!(answer.summary(), (413, refusal("Request body too large.")));
    assert_eq!(drafts(&ada).await, Vec::<Value>::new());
}

#[tokio::test]
async fn users_of_every_id_can_upload() {
    let app = TestApp::new();
    for user in ["a.", &"x".repeat(255)] {
        let caller = app.user(user).await;
        let id = uploaded(&caller, &photo(BLUE)).await;
        assert_eq!(process(&app).await.len(), 1);
        assert_eq!(status(&caller, &id).await.0, "Ready", "{user}");
        assert_eq!(accept(&caller, &id).await.code(), 200);
        assert_eq!(caller.delete(&format!("/api/wardrobe/{id}")).await.code(), 204);
    }
}

#[tokio::test]
async fn a_photo_becomes_an_item() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let answer = upload(&ada, &photo(BLUE), &[]).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let digits = id.strip_prefix("upload-").unwrap();
    assert!(digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    let now = "2026-03-02T09:15:00.000Z";
    let processing = json!({
        "id": id, "userId": "ada", "name": "piece", "tags": [], "colours": [], "wearCount": 0, "wearEvents": [],
        "isWishlisted": false, "draftStatus": "Processing", "draftCreatedAt": now, "draftUpdatedAt": now,
    });
    assert_eq!(answer.summary(), (202, processing.clone()));
    assert_eq!(drafts(&ada).await, [processing]);
    assert_eq!(detail(&accept(&ada, &id).await), (409, json!("Only Ready drafts can be accepted.")));

    app.clock.advance(Duration::from_secs(5));
    assert_eq!(process(&app).await.len(), 1);
    let [ready] = &drafts(&ada).await[..] else { panic!("one draft") };
    assert_eq!(
        (&ready["draftStatus"], &ready["draftUpdatedAt"]),
        (&json!("Ready"), &json!("2026-03-02T09:15:05.000Z"))
    );
    // What the offline model sees.
    assert_eq!(ready["colours"][0]["name"], "navy", "{ready}");
    let picture = shown(&app, ready).await;
    assert!(picture.get_pixel(2, 2).0[3] < 10 && picture.get_pixel(80, 60).0[3] > 245, "cut out");

    // The owner corrects it, and accepts it.
    let url = ready["imageUrl"].clone();
    let edited = ada.put(&format!("/api/wardrobe/{id}"), json!({"id": id, "category": "Tops", "brand": "Arket"})).await;
    assert_eq!(edited.status, StatusCode::NO_CONTENT, "{}", edited.text());
    app.clock.advance(Duration::from_secs(60));
    let accepted = accept(&ada, &id).await;
    let item_now = json!({
        "id": id, "userId": "ada", "name": "Arket top", "imageUrl": url, "tags": [], "colours": [], "wearCount": 0,
        "wearEvents": [],
        "isWishlisted": false, "category": "Tops", "brand": "Arket", "dateAdded": "2026-03-02T09:16:05.000Z",
    });
    assert_eq!(accepted.summary(), (200, item_now.clone()));
    assert_eq!(drafts(&ada).await, Vec::<Value>::new());
    assert_eq!(item(&ada, &id).await.json(), item_now);
    let listed = ada.get("/api/wardrobe").await.json();
    assert_eq!(listed["items"], json!([item_now]));

    // The photo is kept, so that the picture can be made again; the digest finds the user.
    assert_eq!(blobs(&app, &app.state.config.storage.uploads_container).await, [format!("ada/{id}")]);
    let profile = app.state.data.store.read(&Key::by_id(Container::UserProfiles, "ada")).await.unwrap();
    assert!(profile.is_some());
    let ids: Vec<_> = app.state.data.wardrobe.newest_owned(&"ada".into(), 10).await.unwrap();
    assert_eq!(ids.len(), 1, "the stylist sees it");
}

/// Other services and imports may write drafts without dates, and with nulls.
async fn are_listed_with_and_without_dates(app: TestApp) {
    let user = format!("user-{}", Uuid::new_v4());
    let drafts = [
        ("old", json!({"draftStatus": "Ready", "draftCreatedAt": "2026-01-01T00:00:00.000Z"})),
        ("undated", json!({"draftStatus": "Ready"})),
        ("unknown", json!({"draftStatus": "Odd", "draftCreatedAt": null})),
        ("new", json!({"draftStatus": "Failed", "draftCreatedAt": "2026-03-01T00:00:00.000Z"})),
        ("garment", json!({"draftStatus": null, "category": "Tops"})),
        ("wish", json!({"isWishlisted": true})),
    ];
    for (id, mut draft) in drafts {
        (draft["id"], draft["userId"]) = (json!(id), json!(user));
        app.save(Container::Wardrobe, &user, draft).await;
    }
    let caller = app.user(&user).await;
    for size in [1, 2, 3, 50] {
        let (mut listed, mut next) = (Vec::new(), String::new());
        loop {
            let page =
                caller.get(&format!("/api/wardrobe/drafts?pageSize={size}&continuationToken={next}")).await.json();
            listed.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(token) = page["nextContinuationToken"].as_str() else { break };
            token.clone_into(&mut next);
        }
        // Where null stands among the missing ones depends on the store.
        listed[2..].sort_unstable();
        assert_eq!(listed, ["new", "old", "undated", "unknown"], "{size} per page");
    }
    assert_eq!(accept(&caller, "undated").await.status, StatusCode::OK);
    assert_eq!(caller.get("/api/wardrobe").await.json()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn drafts_without_a_date_are_listed_last() {
    are_listed_with_and_without_dates(TestApp::new()).await;
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn drafts_without_a_date_are_listed_last_on_cosmos_db() {
    are_listed_with_and_without_dates(TestApp::builder().store(Arc::new(cosmos().await)).start()).await;
}

#[tokio::test]
async fn accepting_again_is_answered_again_for_an_hour() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(BLUE)).await;
    process(&app).await;
    let first = accept(&ada, &id).await;
    app.clock.advance(Duration::from_secs(59 * 60));
    let ada = app.user("ada").await;
    assert_eq!(accept(&ada, &id).await.summary(), first.summary());
    app.clock.advance(Duration::from_secs(60));
    assert_eq!(accept(&ada, &id).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn the_photo_is_the_first_part_with_a_file_name_or_the_whole_body() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    // Any field, in any place, of any type; what is no `true` is none.
    let fields = [("note", "hello"), ("skip_segmentation", "TRUE"), ("is_wishlisted", "yes")];
    let form = String::from_utf8_lossy(&photos::form(b"@@", &fields)).replace("name=\"image\"", "name=\"photo\"");
    let (before, after) = form.split_once("@@").unwrap();
    let body = [before.as_bytes(), &photo(BLUE), after.as_bytes()].concat();
    let answer = ada.send(Method::POST, "/api/wardrobe/upload", Some(&form_type()), body).await;
    assert_eq!((answer.status, &answer.json()["isWishlisted"]), (StatusCode::ACCEPTED, &json!(false)));
    let whole = answer.json()["id"].clone();
    let raw = ada.send(Method::POST, "/api/wardrobe/upload", Some("image/png"), photo(BLUE)).await;
    assert_eq!(raw.status, StatusCode::ACCEPTED);
    let wish = upload(&ada, &photo(BLUE), &[("is_wishlisted", "true")]).await;
    assert_eq!(wish.json()["isWishlisted"], true);
    process(&app).await;
    for draft in drafts(&ada).await {
        assert_eq!(draft["draftStatus"], "Ready");
        let corner = shown(&app, &draft).await.get_pixel(2, 2).0[3];
        let keeps_background = draft["id"] == whole;
        assert_eq!(corner, if keeps_background { 255 } else { 0 }, "{draft}");
    }
    // A wish stays one.
    let accepted = accept(&ada, wish.json()["id"].as_str().unwrap()).await;
    assert_eq!((accepted.status, &accepted.json()["isWishlisted"]), (StatusCode::OK, &json!(true)));
    assert_eq!(ada.get("/api/wardrobe").await.json()["items"], json!([]));
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let none = (400, json!("No image provided."));
    for body in [photos::form(b"", &[]), format!("--{}--\r\n", crate::routes::media::BOUNDARY).into_bytes()] {
        let answer = ada.send(Method::POST, "/api/wardrobe/upload", Some(&form_type()), body).await;
        assert_eq!(detail(&answer), none);
        assert_eq!(answer.json()["error"], answer.json()["detail"]);
    }
    assert_eq!(detail(&ada.send(Method::POST, "/api/wardrobe/upload", None, "").await), none);
    assert_eq!(detail(&upload(&ada, b"<svg/>", &[]).await), (400, json!("Unsupported or corrupt image.")));
    let large = [photo(BLUE), vec![0; 20 << 20]].concat();
    assert_eq!(upload(&ada, &large, &[]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let long = "x".repeat(1025);
    assert_eq!(upload(&ada, &photo(BLUE), &[("skip_segmentation", &long)]).await.status, StatusCode::BAD_REQUEST);
    let broken = ada.send(Method::POST, "/api/wardrobe/upload", Some("multipart/form-data"), "x").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert_eq!(drafts(&ada).await, Vec::<Value>::new());
    assert_eq!(blobs(&app, &app.state.config.storage.uploads_container).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_photo_that_cannot_be_processed_fails_and_can_be_tried_again() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let whole = photo(BLUE);
    let id = uploaded(&ada, &whole[..whole.len() / 2]).await;
    assert_eq!(detail(&retry(&ada, &id).await), (409, json!("Only Failed drafts can be retried.")));
    assert!(process(&app).await.iter().all(Result::is_ok), "no delivery would help");
    assert_eq!(status(&ada, &id).await, (json!("Failed"), json!("Unsupported or corrupt image.")));
    assert_eq!(accept(&ada, &id).await.status, StatusCode::CONFLICT);

    app.clock.advance(DAY);
    let ada = app.user("ada").await;
    let again = retry(&ada, &id).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    assert_eq!((&again.json()["draftStatus"], again.json().get("draftError")), (&json!("Processing"), None));
    assert_eq!(again.json()["draftUpdatedAt"], "2026-03-03T09:15:00.000Z");
    process(&app).await;
    assert_eq!(status(&ada, &id).await.0, "Failed");

    let uploads = &app.state.config.storage.uploads_container;
    app.state.blobs.delete(uploads, &format!("ada/{id}").parse().unwrap()).await.unwrap();
    assert_eq!(detail(&retry(&ada, &id).await), (410, json!("The uploaded photo is no longer there.")));
    for answer in [accept(&ada, "upload-none").await, retry(&ada, "upload-none").await] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_draft_is_its_owner_s_alone_and_photos_are_never_shown() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let id = uploaded(&ada, &photo(BLUE)).await;
    process(&app).await;
    assert_eq!(drafts(&eve).await, Vec::<Value>::new());
    for answer in [accept(&eve, &id).await, retry(&eve, &id).await, item(&eve, &id).await] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    let container = &app.state.config.storage.uploads_container;
    for path in [format!("/api/media/{container}/ada/{id}"), format!("/api/media/archive/ada/{id}")] {
        assert_eq!(ada.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let draft = &drafts(&ada).await[0];
    assert_eq!(draft.get("rawImageBlobUrl"), None);
    assert!(!draft.to_string().contains(&**container), "{draft}");
}

#[tokio::test]
async fn a_draft_that_is_dismissed_takes_its_blobs_along() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let id = uploaded(&ada, &photo(BLUE)).await;
    process(&app).await;
    assert_eq!(ada.delete(&format!("/api/wardrobe/{id}")).await.status, StatusCode::NO_CONTENT);
    let storage = &app.state.config.storage;
    for container in [&storage.archive_container, &storage.uploads_container] {
        assert_eq!(blobs(&app, container).await, Vec::<String>::new(), "{container}");
    }
    assert_eq!(accept(&ada, &id).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn drafts_are_listed_page_by_page_the_newest_first() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, uploaded(&ada, &photo(BLUE)).await);
        app.clock.advance(Duration::from_secs(1));
    }
    // An item is no draft, though another service may have left a null behind.
    app.save(Container::Wardrobe, "ada", json!({"id": "coat", "userId": "ada", "draftStatus": null})).await;
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = ada.get(&format!("/api/wardrobe/drafts?PageSize=2&continuationToken={token}")).await.json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|draft| draft["id"].as_str().unwrap().to_owned()));
        match page["nextContinuationToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    for query in ["pageSize=0", "pageSize=-3", "pageSize=1"] {
        let page = ada.get(&format!("/api/wardrobe/drafts?{query}")).await.json();
        assert_eq!(page["items"].as_array().unwrap().len(), 1, "{query}");
    }
    for query in ["", "pageSize=many", "pageSize=1000", "continuationToken=nonsense"] {
        let page = ada.get(&format!("/api/wardrobe/drafts?{query}")).await.json();
        assert_eq!((page["items"].as_array().unwrap().len(), page.get("nextContinuationToken")), (5, None), "{query}");
    }
}

#[tokio::test]
async fn a_stored_url_is_shown_where_the_service_listens_now() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    // As .NET or an older process stored it, another port and an old signature included.
    for (id, stored, expected) in [
        ("a", "http://127.0.0.1:9/api/media/archive/a-transparent.webp?sig=x#y", "archive/a-transparent.webp"),
        ("b", "http://localhost:7071/api/media/archive/ada/b", "archive/ada/b"),
        ("c", "/api/media/archive/fdee430d40bd57de/c-transparent.webp", "archive/fdee430d40bd57de/c-transparent.webp"),
    ] {
        app.save(Container::Wardrobe, "ada", json!({"id": id, "userId": "ada", "imageUrl": stored})).await;
        let shown = item(&ada, id).await.json()["imageUrl"].clone();
        assert_eq!(shown, format!("http://127.0.0.1:7071/api/media/{expected}"), "{stored}");
    }
    let foreign = "https://shop.example/coat.jpg?size=2#top";
    app.save(Container::Wardrobe, "ada", json!({"id": "d", "userId": "ada", "imageUrl": foreign})).await;
    assert_eq!(item(&ada, "d").await.json()["imageUrl"], foreign);
}

/// The service on an account with this connection string, which is not asked for anything.
fn on_azure(connection: &str) -> TestApp {
    let account = StorageAccount::from_connection_string(connection, &Identity::default()).unwrap();
    let base = "http://127.0.0.1:7071/api/media".parse().unwrap();
    TestApp::builder().blobs(Arc::new(AzureBlobs::new(Arc::new(account)).served_below(base))).start()
}

#[tokio::test]
async fn only_the_blobs_of_an_item_are_signed_on_its_behalf() {
    let app = on_azure("AccountName=acct;AccountKey=c2VjcmV0");
    let ada = app.user("ada").await;
    let account = "https://acct.blob.core.windows.net";
    for (name, is_signed) in [
        ("archive/coat-transparent.webp", true),
        ("archive/coat-transparent.png", true),
        ("archive/ada/coat", true),
        ("archive/fdee430d40bd57de/coat-transparent.webp", true),
        // In Ada's own directory.
        ("archive/fdee430d40bd57de/other-transparent.webp", true),
        ("archive/hat-transparent.webp", false),
        ("archive/eve/coat", false),
        ("archive/0000000000000000/coat-transparent.webp", false),
        ("uploads/ada/coat", false),
        ("jobs/jobs/1/index.md", false),
        ("tfstate/coat-transparent.webp", false),
    ] {
        let stored = format!("{account}/{name}?sv=2020-12-06&sig=old");
        app.save(Container::Wardrobe, "ada", json!({"id": "coat", "userId": "ada", "imageUrl": stored})).await;
        let shown = item(&ada, "coat").await.json()["imageUrl"].as_str().unwrap().to_owned();
        let (plain, query) = shown.split_once('?').unwrap_or((&shown, ""));
        assert_eq!(plain, format!("{account}/{name}"));
        assert_eq!(query.contains("&sig="), is_signed, "{shown}");
        assert!(!query.contains("old"), "{shown}");
        if is_signed {
            assert!(query.starts_with("sv=2020-12-06&spr=https&se=2026-03-02T12%3A00%3A00Z&sr=b&sp=r&sig="), "{query}");
            // The same for an hour.
            app.clock.advance(Duration::from_secs(60));
            assert_eq!(item(&ada, "coat").await.json()["imageUrl"], shown);
        }
    }
}

#[tokio::test]
async fn without_a_key_pictures_are_shown_by_the_service_itself() {
    let app =
        on_azure("AccountName=acct;BlobEndpoint=https://acct.blob.core.windows.net;QueueEndpoint=https://q.example");
    let ada = app.user("ada").await;
    let url = "https://acct.blob.core.windows.net/archive/coat-transparent.webp";
    app.save(Container::Wardrobe, "ada", json!({"id": "coat", "userId": "ada", "imageUrl": url})).await;
    let shown = item(&ada, "coat").await.json()["imageUrl"].clone();
    assert_eq!(shown, "http://127.0.0.1:7071/api/media/archive/coat-transparent.webp");
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_photo_becomes_an_item_on_azure_and_is_shown_by_a_signed_url() {
    let (archive, uploads) = (fresh_container(), fresh_container());
    let base = "http://127.0.0.1:7071/api/media".parse().unwrap();
    let blobs_of = || Arc::new(AzureBlobs::new(crate::queue::azure::account()));
    let app = TestApp::builder()
        .store(Arc::new(cosmos().await))
        .blobs(Arc::new(AzureBlobs::new(crate::queue::azure::account()).served_below(base)))
        .setting("ARCHIVE_CONTAINER_NAME", &archive)
        .setting("UPLOADS_CONTAINER_NAME", &uploads)
        .start();
    let user = format!("user-{}", Uuid::new_v4());
    let caller = app.user(&user).await;
    let id = uploaded(&caller, &photo(BLUE)).await;
    assert_eq!(process(&app).await.len(), 1);
    let [ready] = &drafts(&caller).await[..] else { panic!("one draft") };
    assert_eq!((&ready["id"], &ready["draftStatus"]), (&json!(id), &json!("Ready")));
    let accepted = accept(&caller, &id).await;
    assert_eq!(accepted.status, StatusCode::OK, "{}", accepted.text());
    assert_eq!(accept(&caller, &id).await.summary(), accepted.summary());
    let again = caller.post(&format!("/api/wardrobe/{id}/cutout"), json!({"mode": "none"})).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text());
    assert_eq!(again.json()["cutout"], json!({"mode": "none", "keptWhole": "as asked"}));
    assert_eq!(blobs(&app, &archive).await.len(), 1, "the picture before is deleted");

    // The clock of the tests stands in the past; Azurite has one of its own.
    let signed: url::Url = {
        let stored = app.state.data.wardrobe.find(&user.as_str().into(), &id.as_str().into()).await.unwrap();
        let (container, name) = app.state.blobs.locate(stored.unwrap().0.image_url.as_deref().unwrap()).unwrap();
        assert_eq!(container, archive);
        let now = pluckit::base::clock::Clock::now(&pluckit::base::clock::SystemClock);
        pluckit::blob::BlobStore::shown_url(&*blobs_of(), &container, &name, now)
    };
    let client = pluckit::net::builder().no_proxy().build().unwrap();
    let answer = client.get(signed.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let mut plain = signed;
    plain.set_query(None);
    assert_ne!(client.get(plain.clone()).send().await.unwrap().status(), 200, "the container is private");
    // What the service serves itself.
    let path = format!("/api/media{}", plain.path().strip_prefix("/devstoreaccount1").unwrap());
    let served = app.nobody().get(&path).await;
    assert_eq!((served.status, served.header("content-type")), (StatusCode::OK, "image/webp"));

    // Dismissed: no blob is left.
    let other = uploaded(&caller, &photo(BLUE)).await;
    process(&app).await;
    assert_eq!(caller.delete(&format!("/api/wardrobe/{other}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!((blobs(&app, &archive).await.len(), blobs(&app, &uploads).await.len()), (1, 1));
}

#[tokio::test]
async fn a_user_has_at_most_two_hundred_drafts() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    for number in 0..200 {
        let status = ["Ready", "Failed", "Processing"][number % 3];
        let draft = json!({
            "id": format!("draft-{number}"), "userId": "ada", "draftStatus": status,
            "draftCreatedAt": "2026-03-01T10:00:00.000Z", "draftUpdatedAt": "2026-03-01T10:00:00.000Z",
        });
        app.save(Container::Wardrobe, "ada", draft).await;
    }
    let refused = upload(&ada, &photo(BLUE), &[]).await;
    let text = "You have 200 photos that are not accepted yet. Accept or delete some first.";
    assert_eq!(detail(&refused), (409, json!(text)));
    assert_eq!(blobs(&app, &app.state.config.storage.uploads_container).await, [""; 0], "nothing is kept");
    uploaded(&eve, &photo(BLUE)).await;
    assert_eq!(accept(&ada, "draft-0").await.status, StatusCode::OK);
    uploaded(&ada, &photo(BLUE)).await;
    assert_eq!(upload(&ada, &photo(BLUE), &[]).await.code(), 409);
}
