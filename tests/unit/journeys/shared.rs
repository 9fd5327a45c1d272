//! Collections, and isolation between two users.

use std::cmp::Reverse;

use axum::http::Method;
use pluckit::app::groups::Access;
use pluckit::store::{Container, Query};
use serde_json::{Value, json};
use uuid::Uuid;

use super::expected::{TIME, UUID};
use super::garments::{Uploaded, shown};
use super::{Browser, Stage};
use crate::access::ROUTES;

const COLLECTIONS: &str = "/api/collections";

/// Creates, shares, joins, leaves and deletes collections.
pub async fn keep_collections(stage: &Stage<'_>, ada: &Browser, uploaded: &Uploaded) {
    let eve = stage.browser("eve");
    ada.get(COLLECTIONS, json!([])).await;
    let body = json!({"name": "Capsule", "description": null, "isPublic": true, "clothingItemIds": []});
    let mut capsule = json!({
        "id": UUID, "ownerId": ada.user, "name": "Capsule", "isPublic": true, "clothingItemIds": [], "memberUserIds": [],
        "createdAt": TIME,
    });
    let created = ada.expect("POST", COLLECTIONS, Some(body), 201, capsule.clone()).await;
    capsule["id"] = created["id"].clone();
    capsule["createdAt"] = created["createdAt"].clone();
    let path = format!("{COLLECTIONS}/{}", created["id"].as_str().unwrap());
    let (items, join, leave) = (format!("{path}/items"), format!("{path}/join"), format!("{path}/leave"));

    // The share dialog adds to each ticked collection.
    let second = json!({"name": "Work", "description": "For the office", "isPublic": false, "clothingItemIds": []});
    let second = ada.send(ada.request("POST", COLLECTIONS).json(&second)).await;
    assert_eq!((second.status, &second.body["description"]), (201, &json!("For the office")));
    let work = format!("{COLLECTIONS}/{}", second.body["id"].as_str().unwrap());
    let work_items = format!("{work}/items");
    let (shirt, shoes) = (json!({"itemId": uploaded.shirt["id"]}), json!({"itemId": uploaded.shoes["id"]}));
    futures::join!(
        ada.done("POST", &items, Some(shirt.clone())),
        ada.done("POST", &work_items, Some(shirt)),
        ada.done("POST", &items, Some(shoes.clone())),
        ada.done("POST", &items, Some(shoes)),
    );
    let held = ada.send(ada.request("GET", &path)).await.body["clothingItemIds"].clone();
    let mut ids: Vec<&str> = held.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2, "each once: {held}");
    capsule["clothingItemIds"] = held.clone();
    let mut work_collection = second.body.clone();
    work_collection["clothingItemIds"] = json!([uploaded.shirt["id"]]);
    let mut newest_first = [work_collection, capsule.clone()];
    newest_first.sort_by_key(|collection| (Reverse(collection["createdAt"].to_string()), collection["id"].to_string()));
    ada.get(COLLECTIONS, json!(newest_first)).await;
    ada.get(&path, capsule.clone()).await;

    // Eve opens the link that ada sent her, in a browser that asks without a body.
    eve.get(COLLECTIONS, json!([])).await;
    let private = "This collection is private.";
    let refusal = json!({"detail": private, "error": private});
    eve.expect("POST", &format!("{work}/join"), None, 403, refusal).await;
    let missing = "Collection not found.";
    let missing = json!({"detail": missing, "error": missing});
    eve.expect("POST", &format!("{COLLECTIONS}/{}/join", Uuid::new_v4()), None, 404, missing.clone()).await;
    eve.expect("GET", &path, None, 404, missing.clone()).await;
    eve.done("POST", &join, None).await;
    eve.done("POST", &join, None).await;
    capsule["memberUserIds"] = json!([eve.user]);
    eve.get(COLLECTIONS, json!([capsule])).await;
    eve.get("/api/wardrobe?pageSize=200", json!({"items": []})).await;
    let by_id = |id: &str| if id == uploaded.shirt_id() { &uploaded.shirt } else { &uploaded.shoes };
    let listed = eve.send(eve.request("GET", &items)).await;
    assert_eq!(listed.status, 200);
    for (item, id) in listed.body["items"].as_array().unwrap().iter().zip(&ids) {
        // Worn meanwhile.
        let mut expected = shown(by_id(id));
        for field in ["wearCount", "lastWornAt", "lastWearActionId", "wearEvents"] {
            expected[field] = item[field].clone();
        }
        super::assert_fits(&items, &expected, item);
    }
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 2);

    let remove = format!("{items}/{}", ids.pop().unwrap());
    eve.done("DELETE", &remove, None).await;
    ada.get(&path, capsule.clone()).await;
    ada.done("DELETE", &remove, None).await;
    capsule["clothingItemIds"] = json!(ids);
    eve.get(&path, capsule.clone()).await;
    eve.done("DELETE", &leave, None).await;
    eve.get(COLLECTIONS, json!([])).await;
    capsule["memberUserIds"] = json!([]);
    ada.done("PUT", &path, Some(json!({"name": "Summer", "isPublic": false}))).await;
    capsule["name"] = "Summer".into();
    capsule["isPublic"] = false.into();
    ada.get(&path, capsule).await;
    ada.done("DELETE", &work, None).await;
    ada.expect("GET", &work, None, 404, missing).await;
    // It stays for the next scene, open to whoever has the link.
    ada.done("PUT", &path, Some(json!({"isPublic": true}))).await;
}

/// What is stored of a user where the wardrobe API writes.
async fn stored(stage: &Stage<'_>, user: &str) -> Vec<(Container, Value)> {
    let mut found = Vec::new();
    for container in [
        Container::Wardrobe,
        Container::UserProfiles,
        Container::WearEvents,
        Container::StylingActivity,
        Container::Collections,
        Container::CollectionMembers,
    ] {
        let page = stage.store.query(&Query::partition(container, user).limit(500)).await.unwrap();
        let mut documents: Vec<Value> = page.documents.iter().map(|stored| stored.parse().unwrap()).collect();
        documents.sort_by_key(|document| document["id"].to_string());
        found.extend(documents.into_iter().map(|document| (container, document)));
    }
    found
}

/// Another user tries every route of the wardrobe API with the ids of the first one's things. Nothing of those is seen
/// or changed.
pub async fn see_nothing_of_another(stage: &Stage<'_>, ada: &Browser) {
    let eve = stage.browser("stranger");
    let before = stored(stage, &ada.user).await;
    let id_in = |container: Container| {
        let found = before.iter().find(|(place, _)| *place == container);
        found.unwrap_or_else(|| panic!("nothing in {container:?}")).1["id"].as_str().unwrap().to_owned()
    };
    let (item, collection) = (id_in(Container::Wardrobe), id_in(Container::Collections));
    let activity = id_in(Container::StylingActivity);
    // Not yet a member: joining is how one becomes one.
    let is_of_it = |path: &str| {
        ["/api/profile", "/api/wardrobe", "/api/collections", "/api/stylist"]
            .iter()
            .any(|start| path.starts_with(start))
            && !path.ends_with("/join")
    };
    let mut tried = 0;
    for (method, path, access) in ROUTES.iter().filter(|(_, path, _)| is_of_it(path)) {
        assert_eq!(*access, Access::User, "{method} {path}");
        let id = match *path {
            path if path.starts_with("/api/collections") => &collection,
            path if path.contains("/suggestions/") => &activity,
            _ => &item,
        };
        let path = path.replacen("/x", &format!("/{id}"), 1).replacen("/x", &format!("/{item}"), 1);
        let body = json!({
            "id": id, "itemId": item, "name": "Mine", "isPublic": true, "clothingItemIds": [item], "status": "Dismissed",
            "source": "vault_card", "clientEventId": activity, "stylingActivityId": activity, "brand": "Mine",
            "ownerId": ada.user, "userId": ada.user, "memberUserIds": [eve.user],
        });
        let request = eve.request(method.as_str(), &path);
        let request = if *method == Method::GET { request } else { request.json(&body) };
        let reply = eve.send(request).await;
        let text = reply.body.to_string();
        assert!(reply.status < 500, "{method} {path}: {text}");
        assert!(!text.contains(&ada.user), "{method} {path} shows something of another: {text}");
        assert!(!text.contains("Arket") && !text.contains("From Berlin"), "{method} {path}: {text}");
        tried += 1;
    }
    assert!(tried >= 20, "{tried} routes");
    let after = stored(stage, &ada.user).await;
    assert_eq!(after, before);
}
