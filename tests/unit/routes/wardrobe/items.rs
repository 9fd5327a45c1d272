//! Single items.

use std::io::Cursor;

use axum::http::Method;
use pluckit::domain::transfer::{self, Format, Options, RecordKind, Source};
use pluckit::model::ids::UserId;
use pluckit::store::{Container, Key, Write};
use serde_json::{Value, json};

use crate::support::{TestApp, refusal};

/// An item as the .NET service writes it: with explicit nulls, seven digits of fraction and an offset.
fn foreign_item() -> Value {
    json!({
        "id": "coat", "userId": "ada", "imageUrl": null, "tags": null, "colours": [{"name": "Navy", "hex": "#000080"}],
        "brand": "Cos", "category": "Outerwear", "notes": null, "wearCount": 2, "wearEvents": null,
        "price": {"amount": 120.0, "originalCurrency": "EUR", "purchaseDate": "2024-11-20"},
        "dateAdded": "2026-03-01T10:00:00.1234567+00:00", "lastWornAt": null, "lastWearActionId": null,
        "estimatedMarketValue": 80.5, "purchaseDate": "2024-11-20", "careInfo": ["wash"], "condition": "Good",
        "size": {"letter": "M", "waist": null, "inseam": 32, "shoeSize": null, "system": "US"},
        "aestheticTags": null, "isWishlisted": false, "draftStatus": null, "draftError": null,
        "rawImageBlobUrl": "https://account.blob.core.windows.net/uploads/ada/coat", "draftCreatedAt": null,
    })
}

#[tokio::test]
async fn an_item_is_answered_without_nulls_and_with_its_lists() {
    let app = TestApp::new();
    app.save(Container::Wardrobe, "ada", foreign_item()).await;
    let answer = app.user("ada").await.get("/api/wardrobe/coat").await;
    let expected = json!({
        "id": "coat", "userId": "ada", "name": "navy Cos outerwear layer", "tags": [],
        "colours": [{"name": "Navy", "hex": "#000080"}],
        "brand": "Cos", "category": "Outerwear", "wearCount": 2, "wearEvents": [],
        "price": {"amount": 120, "originalCurrency": "EUR", "purchaseDate": "2024-11-20"},
        "dateAdded": "2026-03-01T10:00:00.123Z", "estimatedMarketValue": 80.5, "purchaseDate": "2024-11-20",
        "careInfo": ["wash"], "condition": "Good", "size": {"letter": "M", "inseam": 32, "system": "US"},
        "isWishlisted": false,
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert!(answer.header("etag").starts_with('"'));

    // The least there can be, and a price that is a number.
    app.save(Container::Wardrobe, "ada", json!({"id": "bare", "userId": "ada", "price": 5.5})).await;
    let bare = app.user("ada").await.get("/api/wardrobe/bare").await.json();
    let expected = json!({
        "id": "bare", "userId": "ada", "name": "piece", "tags": [], "colours": [], "wearCount": 0, "wearEvents": [],
        "price": {"amount": 5.5, "originalCurrency": "USD"}, "isWishlisted": false,
    });
    assert_eq!(bare, expected);
}

#[tokio::test]
async fn an_item_has_the_name_by_which_the_stylist_calls_it() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    for (fields, name) in [
        (json!({"category": "Tops", "brand": "COS", "tags": ["shirt", "linen", "favorite"]}), "white COS shirt"),
        (json!({"category": "Tops", "tags": ["gift from mum"]}), "white top"),
        (json!({"category": "Footwear", "brand": "Veja", "tags": ["2024"]}), "white Veja footwear"),
    ] {
        let mut item = fields;
        item["colours"] = json!([{"name": "White", "hex": "#ffffff"}]);
        let created = ada.post("/api/wardrobe", item).await.json();
        let path = format!("/api/wardrobe/{}", created["id"].as_str().unwrap());
        let found = ada.get(&path).await.json();
        assert_eq!((&created["name"], &found["name"]), (&json!(name), &json!(name)));
        // It is sent back by clients, and follows from the rest.
        let mut changed = found.clone();
        (changed["name"], changed["brand"]) = (json!("x"), json!("Acne"));
        assert_eq!(ada.put(&path, changed).await.status, 204);
        assert!(ada.get(&path).await.json()["name"].as_str().unwrap().contains("Acne"));
    }
}

#[tokio::test]
async fn missing_and_foreign_items_are_not_found() {
    let app = TestApp::new();
    app.save(Container::Wardrobe, "ada", foreign_item()).await;
    let eve = app.user("eve").await;
    for path in ["coat", "%ff", "a%2Fb", "%2e%2e", &"x".repeat(2000)] {
        let answer = eve.get(&format!("/api/wardrobe/{path}")).await;
        assert!(["Item not found.", "Not Found"].contains(&answer.json()["error"].as_str().unwrap()), "{path}");
        assert_eq!(answer.code(), 404, "{path}");
    }
    assert_eq!(eve.get("/api/wardrobe/coat").await.summary(), (404, refusal("Item not found.")));
}

const COAT: &str = "/api/wardrobe/coat";

async fn stored(app: &TestApp, user: &str, id: &str) -> Value {
    let key = Key::new(Container::Wardrobe, user, id);
    app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_put_replaces_what_is_the_owner_s_and_keeps_the_rest() {
    let app = TestApp::new();
    let mut coat = foreign_item();
    coat["imageUrl"] = json!("https://pictures.example/coat.jpg");
    coat["recentWearActionIds"] = json!(["a"]);
    coat["skipSegmentation"] = json!(true);
    app.save(Container::Wardrobe, "ada", coat.clone()).await;
    let ada = app.user("ada").await;
    // A copy as the client has it, from before the last wears, with another's picture.
    let body = json!({
        "id": "COAT", "userId": "eve", "imageUrl": "https://evil.example/x.jpg?sig=1", "tags": ["favorite"],
        "brand": "Arket", "category": null, "condition": "eXCELLENT", "price": 99.5, "wearCount": 0, "wearEvents": [],
        "lastWornAt": null, "dateAdded": "2020-01-01T00:00:00Z", "draftStatus": "Ready", "isWishlisted": true,
        "size": {"waist": 32, "shoeSize": 42.5}, "notes": "", "rawImageBlobUrl": "https://evil.example/raw", "new": [1],
    });
    assert_eq!(ada.put(COAT, body).await.code(), 204);
    let mut expected = coat.clone();
    for cleared in ["estimatedMarketValue", "purchaseDate", "careInfo", "aestheticTags", "category"] {
        expected.as_object_mut().unwrap().remove(cleared);
    }
    expected["tags"] = json!(["favorite"]);
    expected["colours"] = json!([]);
    expected["brand"] = json!("Arket");
    expected["condition"] = json!("Excellent");
    expected["price"] = json!({"amount": 99.5, "originalCurrency": "USD"});
    expected["isWishlisted"] = json!(true);
    expected["size"] = json!({"waist": 32, "shoeSize": 42.5});
    expected["notes"] = json!("");
    assert_eq!(stored(&app, "ada", "coat").await, expected);

    // Somebody else's is not there, and is not made.
    assert_eq!(
        app.user("eve").await.put(COAT, json!({"id": "coat"})).await.summary(),
        (404, refusal("Item not found."))
    );
    // A draft may be edited and stays one.
    app.save(Container::Wardrobe, "ada", json!({"id": "draft", "userId": "ada", "draftStatus": "Ready"})).await;
    assert_eq!(ada.put("/api/wardrobe/draft", json!({"id": "draft", "category": "Tops"})).await.code(), 204);
    let draft = ada.get("/api/wardrobe/draft").await.json();
    assert_eq!((&draft["draftStatus"], &draft["category"]), (&json!("Ready"), &json!("Tops")));
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_refused_with_a_text() {
    let app = TestApp::new();
    app.save(Container::Wardrobe, "ada", foreign_item()).await;
    let before = stored(&app, "ada", "coat").await;
    let ada = app.user("ada").await;
    let put = async |body: &str| ada.send(Method::PUT, COAT, Some("application/json"), body.to_owned()).await;
    for other in ["null", "{}", r#"{"id":null}"#, r#"{"id":"shirt"}"#] {
        assert_eq!(put(other).await.summary(), (400, refusal("ID in path and body must match.")), "{other}");
    }
    for invalid in [
        "",
        "{",
        "[]",
        r#"{"id":7}"#,
        r#"{"id":"coat","tags":"x"}"#,
        r#"{"id":"coat","tags":[null]}"#,
        r#"{"id":"coat","colours":[["navy","x"]]}"#,
        r#"{"id":"coat","price":"12"}"#,
        r#"{"id":"coat","price":{"originalCurrency":"EUR"}}"#,
        r#"{"id":"coat","size":{"waist":"32"}}"#,
        r#"{"id":"coat","size":{"waist":32.5}}"#,
        r#"{"id":"coat","size":{"waist":1e-300}}"#,
        r#"{"id":"coat","size":["M"]}"#,
        r#"{"id":"coat","condition":"Worn"}"#,
        r#"{"id":"coat","condition":1}"#,
        r#"{"id":"coat","isWishlisted":"true"}"#,
        r#"{"id":"coat","estimatedMarketValue":1e99}"#,
    ] {
        assert_eq!(put(invalid).await.summary(), (400, refusal("Invalid request body.")), "{invalid}");
    }
    for long in [
        json!({"id": "coat", "brand": "x".repeat(2001)}),
        json!({"id": "coat", "notes": "x".repeat(10_001)}),
        json!({"id": "coat", "tags": vec!["x"; 201]}),
        json!({"id": "coat", "careInfo": ["x".repeat(201)]}),
    ] {
        assert_eq!(ada.put(COAT, long).await.code(), 400);
    }
    assert_eq!(ada.put(COAT, json!({"id": "coat", "notes": "x".repeat(1 << 20)})).await.code(), 413);
    assert_eq!(stored(&app, "ada", "coat").await, before);
}

#[tokio::test]
async fn only_the_version_that_was_read_is_overwritten() {
    let app = TestApp::new();
    app.save(Container::Wardrobe, "ada", foreign_item()).await;
    let ada = app.user("ada").await;
    let read = ada.get(COAT).await.header("etag").to_owned();
    assert_eq!(ada.send(Method::PATCH, &format!("{COAT}/wear"), None, "").await.code(), 200);
    let body = json!({"id": "coat", "brand": "Arket"});
    let stale = ada.clone().header("if-match", &read).put(COAT, body.clone()).await;
    assert_eq!(stale.code(), 412);
    assert_eq!(ada.get(COAT).await.json()["brand"], "Cos");
    let read = ada.get(COAT).await.header("etag").to_owned();
    assert_eq!(ada.clone().header("if-match", &read).put(COAT, body.clone()).await.code(), 204);
    assert_eq!(ada.clone().header("if-match", "*").put(COAT, body).await.code(), 204);
    let missing = json!({"id": "none"});
    assert_eq!(ada.clone().header("if-match", "*").put("/api/wardrobe/none", missing).await.code(), 404);
}

#[tokio::test]
async fn an_item_is_imported_once_and_makes_a_profile() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let body = json!({
        "id": "linen.shirt_1", "userId": "eve", "tags": ["linen"], "category": "Tops", "wearCount": 7,
        "lastWornAt": "2026-02-01T10:00:00+01:00", "price": {"amount": 49.5, "originalCurrency": "EUR"},
        "wearEvents": [{"occurredAt": "2026-01-01"}, {"occurredAt": "2026-02-01T09:00:00Z", "occasion": "work"}],
        "draftStatus": "Ready", "draftError": "x", "rawImageBlobUrl": "x", "imageUrl": "https://shop.example/7.jpg",
    });
    let created = ada.post("/api/wardrobe", body.clone()).await;
    assert_eq!((created.code(), created.header("location")), (201, "/api/wardrobe/linen.shirt_1"));
    let expected = json!({
        "id": "linen.shirt_1", "userId": "ada", "name": "top", "tags": ["linen"], "colours": [], "category": "Tops", "wearCount": 7,
        "wearEvents": [
            {"occurredAt": "2026-02-01T09:00:00.000Z", "occasion": "work"}, {"occurredAt": "2026-01-01T00:00:00.000Z"},
        ],
        "lastWornAt": "2026-02-01T09:00:00.000Z", "price": {"amount": 49.5, "originalCurrency": "EUR"},
        "dateAdded": "2026-03-02T09:15:00.000Z", "isWishlisted": false, "imageUrl": "https://shop.example/7.jpg",
    });
    assert_eq!(created.json(), expected);
    assert_eq!(ada.get("/api/wardrobe/linen.shirt_1").await.json(), expected);
    let again = ada.post("/api/wardrobe", body).await;
    assert_eq!(again.summary(), (409, refusal("An item with this id exists already.")));
    // The weekly digest walks profiles.
    let profiles = &app.state.data.profiles;
    assert!(profiles.find(&UserId::from("ada")).await.unwrap().is_some());
    for other in [
        json!({}),
        json!({"id": "nothing", "category": null}),
        json!({"id": "wear-1", "userId": "ada", "itemId": "linen.shirt_1", "occurredAt": "2026-02-01T09:00:00Z"}),
        json!({"id": "ada", "userId": "ada", "currencyCode": "EUR", "heightCm": 170}),
    ] {
        let refused = ada.post("/api/wardrobe", other).await.summary();
        assert_eq!(refused, (400, refusal("The body has no field of a wardrobe item.")));
    }
    for blank in [json!({"tags": []}), json!({"id": " ", "category": "Tops"}), json!({"id": null, "wearCount": 0})] {
        let id = ada.post("/api/wardrobe", blank).await.json()["id"].as_str().unwrap().to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
    for bad in ["a/b", "..", "drafts", "é", "a b", &"x".repeat(129)] {
        assert_eq!(ada.post("/api/wardrobe", json!({"id": bad, "category": "Tops"})).await.code(), 400, "{bad}");
    }
    let null = ada.send(Method::POST, "/api/wardrobe", None, "null").await;
    assert_eq!(null.summary(), (400, refusal("Request body is required.")));
    assert_eq!(app.user("eve").await.get("/api/wardrobe").await.json()["items"], json!([]));
}

#[tokio::test]
async fn an_item_names_no_blob_of_another() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let media = "http://127.0.0.1:7071/api/media/archive";
    for (url, kept) in [
        (format!("{media}/coat-transparent.webp?sig=x"), true),
        (format!("{media}/ada/coat"), true),
        (format!("{media}/shirt-transparent.webp"), false),
        (format!("{media}/eve/coat"), false),
        // Pictures in the user's own directory: one that belongs to another item, and one that belongs to none.
        (format!("{media}/fdee430d40bd57de/upload-{}-transparent.webp", "0a".repeat(16)), false),
        (format!("{media}/fdee430d40bd57de/shirt/0123-transparent.webp"), false),
        (format!("{media}/fdee430d40bd57de/notes-transparent.webp"), true),
        ("http://127.0.0.1:7071/api/media/uploads/ada/coat".to_owned(), false),
        ("javascript:alert(1)".to_owned(), false),
        ("https://shop.example/7.jpg".to_owned(), true),
    ] {
        assert_eq!(ada.post("/api/wardrobe", json!({"id": "coat", "imageUrl": url})).await.code(), 201);
        let coat = stored(&app, "ada", "coat").await;
        assert_eq!(coat.get("imageUrl").is_some(), kept, "{url}: {coat}");
        assert!(!coat.to_string().contains("sig="), "{coat}");
        assert_eq!(ada.delete(COAT).await.code(), 204);
    }
}

#[tokio::test]
async fn a_deleted_item_is_gone_for_its_owner_alone() {
    let app = TestApp::new();
    for user in ["ada", "eve"] {
        app.save(Container::Wardrobe, user, json!({"id": "coat", "userId": user})).await;
    }
    app.save(Container::Wardrobe, "ada", json!({"id": "draft", "userId": "ada", "draftStatus": "Failed"})).await;
    let ada = app.user("ada").await;
    for path in [COAT, "/api/wardrobe/draft"] {
        assert_eq!(ada.delete(path).await.code(), 204);
        assert_eq!(ada.delete(path).await.summary(), (404, refusal("Item not found.")));
        assert_eq!(ada.get(path).await.code(), 404);
        // Nothing brings it back.
        let id = path.rsplit('/').next().unwrap();
        assert_eq!(ada.put(path, json!({"id": id})).await.code(), 404);
    }
    assert_eq!(app.user("eve").await.get(COAT).await.code(), 200);
}

#[tokio::test]
async fn an_item_can_be_saved_as_it_was_read() {
    let app = TestApp::new();
    let long = "x".repeat(300);
    let mut coat = foreign_item();
    coat["notes"] = json!("y".repeat(12_000));
    coat["tags"] = json!(vec![long.as_str(); 230]);
    coat["careInfo"] = json!([long, 7]);
    // Another service may use other words, and its own fields.
    coat["condition"] = json!("Well loved");
    coat["colours"] = json!([{"name": long, "hex": "#000080"}, {"name": long, "pantone": "19-3920"}]);
    coat["price"]["purchaseDate"] = json!(long);
    coat["size"] = json!({"waist": 32.5, "letter": long});
    app.save(Container::Wardrobe, "ada", coat).await;
    let ada = app.user("ada").await;
    let mut read = ada.get(COAT).await.json();
    read["brand"] = json!("Arket");
    assert_eq!(ada.put(COAT, read.clone()).await.code(), 204);
    // The name follows from the other fields.
    read["name"] = json!(read["name"].as_str().unwrap().replace("Cos", "Arket"));
    assert_eq!(ada.get(COAT).await.json(), read);
    for (field, value) in [
        ("notes", json!("z".repeat(12_000))),
        ("tags", json!(vec![long.as_str(); 231])),
        ("careInfo", json!(["z".repeat(300)])),
        ("colours", json!([{"name": "z".repeat(300), "hex": "#000080"}])),
        ("condition", json!("Worn")),
        ("condition", json!("well loved")),
        ("size", json!({"waist": 33.5})),
        ("size", json!({"waist": 32, "inseam": 3e9})),
    ] {
        let mut body = read.clone();
        body[field] = value;
        assert_eq!(ada.put(COAT, body).await.code(), 400, "{field}");
    }
    assert_eq!(ada.get(COAT).await.json(), read);
}

/// Whatever the API stores for its clients can be moved to another user, or another store.
#[tokio::test]
async fn items_stored_by_the_api_can_be_exported_and_imported() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let texts = ["", "€ 12", "31/12/2025", "2025-12-31T23:00:00+05:30", "=1+1"];
    for (number, text) in texts.into_iter().enumerate() {
        let item = json!({
            "id": format!("item-{number}"), "category": text, "brand": text, "notes": text, "tags": [text],
            "colours": [{"name": text, "hex": text}, {}], "purchaseDate": text, "careInfo": [text],
            "price": {"amount": -1.5, "originalCurrency": text, "purchaseDate": text}, "aestheticTags": [],
            "size": {"letter": text, "waist": -1, "inseam": 0, "shoeSize": -0.5, "system": text},
            "estimatedMarketValue": -1e12, "wearCount": 4_294_967_295_u32, "lastWornAt": "2026-01-01",
            "wearEvents": [{"occasion": text, "weatherSnapshot": {"tempCelsius": -40.5, "conditions": text}}, {}],
        });
        let answer = ada.post("/api/wardrobe", item).await;
        assert_eq!(answer.code(), 201, "{}", answer.text());
    }
    let worn = json!({"occasion": "", "source": "", "weatherSnapshot": {}});
    assert_eq!(ada.send(Method::PATCH, "/api/wardrobe/item-0/wear", None, worn.to_string()).await.code(), 200);
    let profile = json!({"locationCity": "=1", "preferredSizeSystem": "eu", "heightCm": 0.5, "stylePreferences": [""]});
    assert_eq!(ada.put("/api/profile", profile).await.code(), 204);

    let store = &app.state.data.store;
    let kinds = [RecordKind::Profile, RecordKind::Wardrobe, RecordKind::WearEvents];
    let mut file = Vec::new();
    transfer::export(&**store, &UserId::from("ada"), &kinds, Format::Json, &mut file).await.unwrap();
    let import = async |user: &str| {
        let source =
            Source { name: "f".to_owned(), format: None, encoding: None, input: Box::new(Cursor::new(file.clone())) };
        let options = Options { user: UserId::from(user), take_over: true, kind: None, dry_run: false };
        transfer::import(&**store, vec![source], options, |rejection| panic!("{rejection:?}")).await.unwrap()
    };
    let report = import("ada").await;
    assert_eq!((report.created, report.updated, report.unchanged), (0, 0, 7));
    assert_eq!(import("eve").await.created, 7);
    let eve = app.user("eve").await;
    for number in 0..texts.len() {
        let path = format!("/api/wardrobe/item-{number}");
        let mut expected = ada.get(&path).await.json();
        expected["userId"] = json!("eve");
        assert_eq!(eve.get(&path).await.json(), expected);
    }
}

/// What the routes write is seen by everything else at once.
#[tokio::test]
async fn the_rest_of_the_service_sees_a_change_at_once() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let insights = async || ada.get("/api/insights/vault").await.text().to_owned();
    let search = async || {
        let found = ada.post("/api/chat", json!({"message": "What linen shirts do I have?"})).await.events();
        found
            .iter()
            .filter(|event| event["type"] == "token")
            .map(|event| event["content"].as_str().unwrap())
            .collect::<String>()
    };
    let before = (insights().await, search().await);
    let shirt = json!({
        "id": "shirt", "category": "Tops", "brand": "Arket", "tags": ["linen", "shirt"],
        "price": {"amount": 50, "originalCurrency": "USD"}, "colours": [{"name": "White", "hex": "#ffffff"}],
    });
    assert_eq!(ada.post("/api/wardrobe", shirt).await.code(), 201);
    let owned = (insights().await, search().await);
    assert!(before.0 != owned.0 && before.1 != owned.1, "{before:?} {owned:?}");
    assert_eq!(ada.send(Method::PATCH, "/api/wardrobe/shirt/wear", None, "").await.code(), 200);
    let worn = insights().await;
    assert_ne!(owned.0, worn);
    assert_eq!(ada.delete("/api/wardrobe/shirt").await.code(), 204);
    assert_ne!(insights().await, worn);
    assert_eq!(search().await, before.1);
}

#[tokio::test]
async fn an_item_has_at_most_64_kib_of_its_owner_s_fields() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let too_large = (400, refusal("The item is too large: its texts and lists may have at most 64 KiB together."));
    let lists = |count: usize| {
        let list: Vec<String> = (0..count).map(|number| format!("{}{number:03}", "😀".repeat(97))).collect();
        json!({"id": "coat", "notes": "😀".repeat(10_000), "tags": list})
    };
    assert_eq!(ada.post("/api/wardrobe", lists(100)).await.summary(), too_large);
    assert_eq!(ada.get("/api/wardrobe/coat").await.code(), 404);
    let largest = lists(64);
    let fields = json!({"notes": largest["notes"], "tags": largest["tags"], "colours": [], "isWishlisted": false});
    assert!((65_000..=65_536).contains(&fields.to_string().len()), "{}", fields.to_string().len());
    assert_eq!(ada.post("/api/wardrobe", largest).await.code(), 201, "the longest notes, and more");
    assert_eq!(
        ada.send(Method::PUT, "/api/wardrobe/coat", Some("application/json"), lists(65).to_string()).await.summary(),
        too_large
    );

    // A larger one, as an older version stored it, may be sent back, and become smaller.
    let mut stored = lists(200);
    stored["userId"] = json!("ada");
    stored["careInfo"] = json!(["wash"]);
    app.save(Container::Wardrobe, "ada", stored.clone()).await;
    let read = ada.get("/api/wardrobe/coat").await.json();
    assert_eq!((&read["tags"], &read["notes"]), (&stored["tags"], &stored["notes"]));
    assert_eq!(ada.put("/api/wardrobe/coat", read.clone()).await.code(), 204);
    let mut larger = read.clone();
    larger["careInfo"] = json!(["wash", "dry"]);
    assert_eq!(ada.put("/api/wardrobe/coat", larger).await.summary(), too_large);
    let mut smaller = read;
    smaller["careInfo"] = json!([]);
    assert_eq!(ada.put("/api/wardrobe/coat", smaller).await.code(), 204);
    assert_eq!(ada.get("/api/wardrobe/coat").await.json()["careInfo"], json!([]));
}

#[tokio::test]
async fn a_wardrobe_has_about_25_000_items() {
    let app = TestApp::new();
    let store = &app.state.data.store;
    for hundred in 0..250 {
        let item = |number: u32| json!({"id": format!("item-{number}"), "userId": "ada"});
        let writes: Vec<Write> = (0..100).map(|n| Write::Create { document: item(hundred * 100 + n) }).collect();
        store.batch(Container::Wardrobe, "ada", &writes).await.unwrap();
    }
    let ada = app.user("ada").await;
    let create = async || ada.post("/api/wardrobe", json!({"category": "Tops"})).await;
    // A count costs a query, so it is not made for each item.
    for _ in 0..100 {
        assert_eq!(create().await.code(), 201);
    }
    let full = (409, refusal("A wardrobe can have at most 25,000 items. Delete some first."));
    assert_eq!(create().await.summary(), full);
    assert_eq!(create().await.summary(), full);
    let refused = crate::support::photos::upload(&ada, &crate::support::photos::photo([9, 9, 9]), &[]).await;
    assert_eq!(refused.summary(), full);
    for number in 0..101 {
        assert_eq!(ada.delete(&format!("/api/wardrobe/item-{number}")).await.code(), 204);
    }
    assert_eq!(create().await.code(), 201);
}
