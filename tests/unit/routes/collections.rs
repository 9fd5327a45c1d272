//! Collections: access, changes, membership and contents.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures::future::join_all;
use pluckit::store::{Container, Key, Query};
use serde_json::{Value, json};

use crate::support::caller::{Answer, Caller};
use crate::support::{TestApp, refusal as told};

const COLLECTIONS: &str = "/api/collections";
const NOT_FOUND: &str = "Collection not found.";

/// Saves items of a user, as another service would.
async fn save_items(app: &TestApp, user: &str, ids: &[&str]) {
    for id in ids {
        app.save(Container::Wardrobe, user, json!({"id": id, "userId": user, "category": "Tops", "notes": "mine"}))
            .await;
    }
}

async fn create(caller: &Caller, body: Value) -> Value {
    let answer = caller.post(COLLECTIONS, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

fn path(collection: &Value) -> String {
    format!("{COLLECTIONS}/{}", collection["id"].as_str().unwrap())
}

async fn join(caller: &Caller, collection: &Value) -> Answer {
    // As the web client sends it: without a body and a type.
    caller.send(Method::POST, &format!("{}/join", path(collection)), None, "").await
}

async fn names(caller: &Caller) -> Vec<String> {
    let list = caller.get(COLLECTIONS).await.json();
    list.as_array().unwrap().iter().map(|collection| collection["name"].as_str().unwrap().to_owned()).collect()
}

/// The items' ids, as the owner sees them.
async fn held(owner: &Caller, collection: &Value) -> Value {
    owner.get(&path(collection)).await.json()["clothingItemIds"].take()
}

/// Entries of the index in a user's partition.
async fn entries(app: &TestApp, user: &str) -> Vec<Value> {
    let page = app.state.data.store.query(&Query::partition(Container::CollectionMembers, user)).await.unwrap();
    page.documents.iter().map(|stored| stored.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_collection_is_created_changed_and_deleted() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    save_items(&app, "ada", &["a", "b"]).await;
    assert_eq!(ada.get(COLLECTIONS).await.summary(), (200, json!([])));
    let sent = json!({
        "name": "Winter", "description": null, "isPublic": false, "clothingItemIds": ["b", "a", "b"],
        "id": "mine", "ownerId": "eve", "memberUserIds": ["eve"], "createdAt": "2020-01-01T00:00:00Z",
    });
    let created = create(&ada, sent).await;
    assert!(uuid::Uuid::parse_str(created["id"].as_str().unwrap()).is_ok());
    let mut expected = json!({
        "id": created["id"], "ownerId": "ada", "name": "Winter", "isPublic": false, "clothingItemIds": ["b", "a"],
        "memberUserIds": [], "createdAt": "2026-03-02T09:15:00.000Z",
    });
    assert_eq!(created, expected);
    assert_eq!(ada.get(&path(&created)).await.summary(), (200, expected.clone()));

    let put = async |body: Value| ada.put(&path(&created), body).await.status.as_u16();
    assert_eq!(put(json!({"name": "Snow", "description": "Cold days", "isPublic": true})).await, 204);
    expected["name"] = "Snow".into();
    expected["description"] = "Cold days".into();
    expected["isPublic"] = true.into();
    assert_eq!(ada.get(&path(&created)).await.json(), expected);
    // What is absent, null or blank stays; other fields cannot be changed; older clients write names with capital
    // letters.
    assert_eq!(put(json!({"name": "  ", "description": null, "isPublic": null, "ownerId": "eve"})).await, 204);
    assert_eq!(put(json!({"clothingItemIds": [], "memberUserIds": ["eve"]})).await, 204);
    assert_eq!(ada.get(&path(&created)).await.json(), expected);
    assert_eq!(put(json!({"Name": "Ice", "Description": "", "IsPublic": false})).await, 204);
    expected["name"] = "Ice".into();
    expected["isPublic"] = false.into();
    expected.as_object_mut().unwrap().remove("description");
    assert_eq!(ada.get(COLLECTIONS).await.summary(), (200, json!([expected])));

    assert_eq!(ada.delete(&path(&created)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.delete(&path(&created)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.get(&path(&created)).await.summary(), (404, told(NOT_FOUND)));
    assert_eq!(put(json!({"name": "Gone"})).await, 404);
}

#[tokio::test]
async fn a_broken_rule_is_reported_as_one_text() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    save_items(&app, "ada", &["a"]).await;
    let own = create(&ada, json!({"name": "Own"})).await;
    let (put, items) = (path(&own), format!("{}/items", path(&own)));
    let long = |length| "x".repeat(length);
    let many: Vec<String> = (0..1001).map(|number| format!("i{number}")).collect();
    let unreadable = "Invalid request body.";
    for (method, path, body, status, text) in [
        (Method::POST, COLLECTIONS, json!({}), 400, "Name is required."),
        (Method::POST, COLLECTIONS, json!({"name": null}), 400, "Name is required."),
        (Method::POST, COLLECTIONS, json!({"name": " \t"}), 400, "Name is required."),
        (Method::POST, COLLECTIONS, json!({"name": 7}), 400, unreadable),
        (Method::POST, COLLECTIONS, json!([]), 400, unreadable),
        (Method::POST, COLLECTIONS, json!({"name": "x", "isPublic": "yes"}), 400, unreadable),
        (Method::POST, COLLECTIONS, json!({"name": "x", "clothingItemIds": "a"}), 400, unreadable),
        (Method::POST, COLLECTIONS, json!({"name": "x", "clothingItemIds": [1]}), 400, unreadable),
        (Method::POST, COLLECTIONS, json!({"name": long(201)}), 400, "name must have at most 200 characters."),
        (
            Method::POST,
            COLLECTIONS,
            json!({"name": "x", "description": long(2001)}),
            400,
            "description must have at most 2000 characters.",
        ),
        (
            Method::POST,
            COLLECTIONS,
            json!({"name": "x", "clothingItemIds": many}),
            400,
            "A collection can have at most 1000 items.",
        ),
        (Method::POST, COLLECTIONS, json!({"name": "x", "clothingItemIds": ["a", "gone"]}), 404, "Item not found."),
        (Method::PUT, &put, json!({"name": long(201)}), 400, "name must have at most 200 characters."),
        (Method::PUT, &put, json!({"name": []}), 400, unreadable),
        (Method::POST, &items, json!({}), 400, "itemId is required."),
        (Method::POST, &items, json!({"itemId": " "}), 400, "itemId is required."),
        (Method::POST, &items, json!({"itemId": 7}), 400, unreadable),
        (Method::POST, &items, json!({"itemId": "gone"}), 404, "Item not found."),
        (Method::POST, &items, json!({"itemId": "a/b"}), 404, "Item not found."),
    ] {
        let answer = ada.send(method.clone(), path, Some("application/json"), body.to_string()).await;
        assert_eq!(answer.summary(), (status, told(text)), "{method} {body}");
    }
    let broken = ada.send(Method::POST, COLLECTIONS, Some("application/json"), "{").await;
    assert_eq!(broken.summary(), (400, told(unreadable)));
    assert_eq!(names(&ada).await, ["Own"]);
}

#[tokio::test]
async fn items_are_added_once_and_removed() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    save_items(&app, "ada", &["a", "b"]).await;
    save_items(&app, "eve", &["e"]).await;
    app.save(Container::Wardrobe, "ada", json!({"id": "wish", "userId": "ada", "isWishlisted": true})).await;
    app.save(Container::Wardrobe, "ada", json!({"id": "draft", "userId": "ada", "draftStatus": "Ready"})).await;
    let own = create(&ada, json!({"name": "Own"})).await;
    let items = format!("{}/items", path(&own));
    for item in ["b", "a", "b", "wish"] {
        assert_eq!(ada.post(&items, json!({"itemId": item})).await.status, StatusCode::NO_CONTENT, "{item}");
    }
    assert_eq!(held(&ada, &own).await, json!(["b", "a", "wish"]));
    for item in ["draft", "e"] {
        assert_eq!(ada.post(&items, json!({"itemId": item})).await.summary(), (404, told("Item not found.")), "{item}");
    }
    // Another user's collection does not exist for the caller.
    assert_eq!(eve.post(&items, json!({"itemId": "e"})).await.summary(), (404, told(NOT_FOUND)));
    assert_eq!(eve.delete(&format!("{items}/a")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(held(&ada, &own).await, json!(["b", "a", "wish"]));
    for item in ["b", "b", "never"] {
        assert_eq!(ada.delete(&format!("{items}/{item}")).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(held(&ada, &own).await, json!(["a", "wish"]));
}

#[tokio::test]
async fn a_collection_has_at_most_a_thousand_items_and_five_hundred_members() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    save_items(&app, "ada", &["one-more", "i7"]).await;
    let ids: Vec<String> = (0..1000).map(|number| format!("i{number}")).collect();
    let members: Vec<String> = (0..500).map(|number| format!("u{number}")).collect();
    let full = json!({
        "id": "full", "ownerId": "ada", "name": "Full", "isPublic": true, "clothingItemIds": ids, "memberUserIds": members,
    });
    app.save(Container::Collections, "ada", full.clone()).await;
    let items = format!("{}/items", path(&full));
    let answer = ada.post(&items, json!({"itemId": "one-more"})).await;
    assert_eq!(answer.summary(), (400, told("A collection can have at most 1000 items.")));
    assert_eq!(ada.post(&items, json!({"itemId": "i7"})).await.status, StatusCode::NO_CONTENT, "it is in already");
    assert_eq!(join(&eve, &full).await.summary(), (400, told("A collection can have at most 500 members.")));
    assert_eq!(entries(&app, "eve").await, [Value::Null; 0]);
}

#[tokio::test]
async fn a_public_collection_can_be_joined_and_left() {
    let app = TestApp::new();
    let (ada, eve, mia) = (app.user("ada").await, app.user("eve").await, app.user("mia").await);
    save_items(&app, "ada", &["a", "b"]).await;
    let shared = create(&ada, json!({"name": "Shared", "isPublic": true, "clothingItemIds": ["a", "b"]})).await;
    let private = create(&ada, json!({"name": "Private"})).await;
    let items = format!("{}/items", path(&shared));

    // Users do not see collections they have not joined.
    for path in [path(&shared), items.clone()] {
        assert_eq!(eve.get(&path).await.summary(), (404, told(NOT_FOUND)));
    }
    let missing = json!({"id": "1f0c2a2e-0000-4000-8000-000000000000"});
    assert_eq!(join(&eve, &missing).await.summary(), (404, told(NOT_FOUND)));
    assert_eq!(join(&eve, &private).await.summary(), (403, told("This collection is private.")));
    assert_eq!(join(&ada, &private).await.status, StatusCode::NO_CONTENT, "the owner");
    for _ in 0..2 {
        assert_eq!(join(&eve, &shared).await.status, StatusCode::NO_CONTENT);
    }
    let seen = eve.get(&path(&shared)).await.json();
    assert_eq!((&seen["ownerId"], &seen["memberUserIds"]), (&json!("ada"), &json!(["eve"])));
    assert_eq!(eve.get(COLLECTIONS).await.json(), json!([seen]));
    assert_eq!(names(&mia).await, [""; 0]);

    // Members see the owner's items, in the collection's order, and change nothing.
    let listed = eve.get(&items).await.json();
    let ids: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(listed, ada.get(&items).await.json());
    assert_eq!(eve.put(&path(&shared), json!({"name": "Mine"})).await.summary(), (404, told(NOT_FOUND)));
    assert_eq!(eve.delete(&path(&shared)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(names(&ada).await.len(), 2);

    // Made private, it keeps its members.
    assert_eq!(ada.put(&path(&shared), json!({"isPublic": false})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(join(&eve, &shared).await.status, StatusCode::NO_CONTENT);
    assert_eq!(join(&mia, &shared).await.status, StatusCode::FORBIDDEN);
    assert_eq!(names(&eve).await, ["Shared"]);

    let leave = format!("{}/leave", path(&shared));
    for caller in [&eve, &eve, &mia, &ada] {
        assert_eq!(caller.delete(&leave).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(eve.get(&path(&shared)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(names(&eve).await, [""; 0]);
    assert_eq!(ada.get(&path(&shared)).await.json()["memberUserIds"], json!([]));
    assert_eq!(entries(&app, "eve").await, [Value::Null; 0]);
}

#[tokio::test]
async fn own_collections_come_before_joined_ones_and_new_before_old() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    for (caller, name) in [(&eve, "e1"), (&ada, "a1"), (&eve, "e2"), (&ada, "a2")] {
        let made = create(caller, json!({"name": name, "isPublic": true})).await;
        assert_eq!(join(&ada, &made).await.status, StatusCode::NO_CONTENT);
        app.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(names(&ada).await, ["a2", "a1", "e2", "e1"]);
    assert_eq!(names(&eve).await, ["e2", "e1"]);
}

#[tokio::test]
async fn concurrent_joins_and_additions_are_all_kept() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let ids: Vec<String> = (0..40).map(|number| format!("i{number}")).collect();
    save_items(&app, "ada", &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let shared = create(&ada, json!({"name": "Shared", "isPublic": true})).await;
    let users: Vec<Caller> = join_all((0..40).map(|number| {
        let app = &app;
        async move { app.user(&format!("u{number}")).await }
    }))
    .await;
    let items = format!("{}/items", path(&shared));
    let joins = join_all(users.iter().map(|user| join(user, &shared)));
    let adds = join_all(ids.iter().map(|id| ada.post(&items, json!({"itemId": id}))));
    let (joins, adds) = futures::join!(joins, adds);
    for answer in joins.iter().chain(&adds) {
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    }
    let found = ada.get(&path(&shared)).await.json();
    let count = |field: &str| found[field].as_array().unwrap().iter().collect::<std::collections::HashSet<_>>().len();
    assert_eq!((count("memberUserIds"), count("clothingItemIds")), (40, 40));
    for user in &users {
        assert_eq!(names(user).await, ["Shared"]);
    }
}

#[tokio::test]
async fn a_deleted_item_leaves_the_collections_of_its_owner() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    for (caller, user) in [(&ada, "ada"), (&eve, "eve")] {
        save_items(&app, user, &["a", "b"]).await;
        create(caller, json!({"name": "One", "clothingItemIds": ["a", "b"]})).await;
        create(caller, json!({"name": "Two", "clothingItemIds": ["b"]})).await;
    }
    let held = async |caller: &Caller| {
        let list = caller.get(COLLECTIONS).await.json();
        let mut held: Vec<(String, Value)> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|collection| (collection["name"].as_str().unwrap().to_owned(), collection["clothingItemIds"].clone()))
            .collect();
        held.sort_by(|one, other| one.0.cmp(&other.0));
        held
    };
    let both = [("One".to_owned(), json!(["a", "b"])), ("Two".to_owned(), json!(["b"]))];
    assert_eq!(ada.delete("/api/wardrobe/b").await.code(), 204);
    assert_eq!(held(&ada).await, [("One".to_owned(), json!(["a"])), ("Two".to_owned(), json!([]))]);
    assert_eq!(held(&eve).await, both);
    // The first process may have died in between: asked again, the rest is done.
    let key = Key::new(Container::Wardrobe, "ada", "a");
    app.state.data.store.delete(&key, None).await.unwrap();
    assert_eq!(held(&ada).await[0].1, json!(["a"]));
    assert_eq!(ada.delete("/api/wardrobe/a").await.code(), 404);
    assert_eq!(held(&ada).await[0].1, json!([]));
}

#[tokio::test]
async fn values_over_the_limits_from_another_service_can_be_saved_again() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let long = json!({
        "id": "8d9f3c53-5b0f-4b62-9d3a-0c8f2f6f7a11", "ownerId": "ada", "name": "n".repeat(300),
        "description": "d".repeat(3000), "isPublic": false, "clothingItemIds": [],
    });
    app.save(Container::Collections, "ada", long.clone()).await;
    let mut read = ada.get(&path(&long)).await.json();
    read["isPublic"] = json!(true);
    assert_eq!(ada.put(&path(&long), read.clone()).await.code(), 204);
    assert_eq!(ada.get(&path(&long)).await.json(), read);
    for (field, value) in [("name", "m".repeat(300)), ("description", "e".repeat(3000))] {
        assert_eq!(ada.put(&path(&long), json!({field: value})).await.code(), 400, "{field}");
    }
}

// --- The index ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_member_whom_the_index_does_not_know_is_found_by_the_collection() {
    let app = TestApp::new();
    let eve = app.user("eve").await;
    // As the older service writes it.
    let older = json!({
        "id": "8d9f3c53-5b0f-4b62-9d3a-0c8f2f6f7a11", "ownerId": "ada", "name": "Old", "description": null,
        "isPublic": false, "clothingItemIds": null, "memberUserIds": ["eve"],
        "createdAt": "2026-03-01T10:00:00.1234567+00:00", "kept": {"by": "others"},
    });
    app.save(Container::Collections, "ada", older.clone()).await;
    assert_eq!(names(&eve).await, [""; 0]);
    let expected = json!({
        "id": older["id"], "ownerId": "ada", "name": "Old", "isPublic": false, "clothingItemIds": [],
        "memberUserIds": ["eve"], "createdAt": "2026-03-01T10:00:00.123Z",
    });
    assert_eq!(eve.get(&path(&older)).await.summary(), (200, expected.clone()));
    assert_eq!(eve.get(COLLECTIONS).await.json(), json!([expected]), "the index knows it now");
    let entry = json!({
        "id": older["id"], "userId": "eve", "ownerId": "ada", "joinedAt": "2026-03-02T09:15:00.000Z",
    });
    assert_eq!(entries(&app, "eve").await, [entry]);
    assert_eq!(eve.delete(&format!("{}/leave", path(&older))).await.status, StatusCode::NO_CONTENT);
    let key = Key::new(Container::Collections, "ada", older["id"].as_str().unwrap());
    let stored: Value = app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap();
    assert_eq!((&stored["kept"], &stored["memberUserIds"]), (&json!({"by": "others"}), &json!([])));
}

#[tokio::test]
async fn an_entry_that_no_collection_confirms_goes_after_a_while() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let shared = create(&ada, json!({"name": "Shared", "isPublic": true})).await;
    // As a process leaves it that dies in the middle of a join.
    let entry = json!({
        "id": shared["id"], "userId": "eve", "ownerId": "ada", "joinedAt": "2026-03-02T09:15:00.000Z",
    });
    app.save(Container::CollectionMembers, "eve", entry.clone()).await;
    assert_eq!(names(&eve).await, [""; 0]);
    assert_eq!(eve.get(&path(&shared)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(entries(&app, "eve").await, [entry], "its join may still be under way");
    app.clock.advance(Duration::from_secs(11 * 60));
    assert_eq!(names(&eve).await, [""; 0]);
    assert_eq!(entries(&app, "eve").await, [Value::Null; 0]);
    assert_eq!(join(&eve, &shared).await.status, StatusCode::NO_CONTENT);
    assert_eq!(names(&eve).await, ["Shared"]);
    assert_eq!(ada.delete(&path(&shared)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(entries(&app, "eve").await, [Value::Null; 0]);
    assert_eq!(names(&eve).await, [""; 0]);
}

#[tokio::test]
async fn a_user_creates_and_joins_at_most_a_hundred_collections() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let mut shared = Value::Null;
    for number in 0..100 {
        let collection = create(&ada, json!({"name": format!("c{number}"), "isPublic": true})).await;
        assert_eq!(join(&eve, &collection).await.status, StatusCode::NO_CONTENT);
        shared = collection;
    }
    let full = (409, told("You have 100 collections. Delete one first."));
    assert_eq!(ada.post(COLLECTIONS, json!({"name": "One more"})).await.summary(), full);
    let own = create(&eve, json!({"name": "Eve's own", "isPublic": true})).await;
    let another = json!({"id": "another", "ownerId": "mia", "name": "Another", "isPublic": true});
    app.save(Container::Collections, "mia", another.clone()).await;
    assert_eq!(join(&ada, &own).await.status, StatusCode::NO_CONTENT, "those that one joined are another number");
    let refused = join(&eve, &another).await;
    assert_eq!(refused.summary(), (409, told("You have joined 100 collections. Leave one first.")));
    assert_eq!(join(&eve, &shared).await.status, StatusCode::NO_CONTENT, "joined already");
    assert_eq!(ada.get(COLLECTIONS).await.json().as_array().unwrap().len(), 101);
    assert_eq!(eve.delete(&format!("{}/leave", path(&shared))).await.status, StatusCode::NO_CONTENT);
    assert_eq!(join(&eve, &another).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.delete(&path(&shared)).await.status, StatusCode::NO_CONTENT);
    create(&ada, json!({"name": "One more"})).await;
}

#[tokio::test]
async fn a_long_list_of_large_items_is_answered_in_full() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let ids: Vec<String> = (0..130).map(|number| format!("i{number:03}")).collect();
    for id in &ids {
        let item = json!({"id": id, "userId": "ada", "notes": format!("{id}: {}", "x".repeat(20_000))});
        app.save(Container::Wardrobe, "ada", item).await;
    }
    let collection = create(&ada, json!({"name": "All", "clothingItemIds": ids})).await;
    let answer = ada.get(&format!("{}/items", path(&collection))).await;
    assert_eq!((answer.code(), answer.header("content-type")), (200, "application/json; charset=utf-8"));
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let listed = answer.json();
    let listed: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(listed, ids);
    assert_eq!(app.state.answers.held(), 0);
}
