//! Dashboard, stylist, digest, profile and discover.

use pluckit::store::Container;
use serde_json::{Value, json};
use uuid::Uuid;

use super::expected::{ANY, NUMBER, TEXT, TEXTS, TIME, assert_fits};
use super::garments::{Uploaded, put_on_board};
use super::{Browser, SUBREDDIT, Stage};
use crate::support::feeds::selectors;

const PROFILE: &str = "/api/profile";
const MEMORY: &str = "/api/chat/memory";

/// The calls of the dashboard when it opens, for somebody who is new.
pub async fn open_dashboard(browser: &Browser) {
    let profile = json!({
        "id": browser.user, "currencyCode": "USD", "preferredSizeSystem": "US", "stylePreferences": [], "favoriteBrands": [],
        "preferredColours": [], "recommendationOptIn": true,
    });
    let memory = json!({"summary": "", "updatedAt": null, "preferences": []});
    futures::join!(
        browser.get(PROFILE, profile),
        browser.get("/api/wardrobe?pageSize=24&sortField=dateAdded&sortDir=desc", json!({"items": []})),
        browser.get("/api/wardrobe/drafts", json!({"items": []})),
        browser.get(MEMORY, memory),
    );
}

/// Saves the profile that was read, edited.
pub async fn edit_profile(browser: &Browser) {
    let mut profile = browser.send(browser.request("GET", PROFILE)).await.body;
    let edit = json!({
        "heightCm": 171, "weightKg": null, "waistCm": 70.5, "currencyCode": "EUR", "preferredSizeSystem": "EU",
        "stylePreferences": ["Minimal"], "favoriteBrands": ["Arket"], "preferredColours": ["navy"], "locationCity": "Berlin",
        "recommendationOptIn": true,
    });
    profile.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone());
    browser.done("PUT", PROFILE, Some(profile.clone())).await;
    profile.as_object_mut().unwrap().remove("weightKg");
    browser.get(PROFILE, profile.clone()).await;
    // A number that is cleared is null, a city an empty text.
    profile["waistCm"] = Value::Null;
    profile["locationCity"] = "".into();
    browser.done("PUT", PROFILE, Some(profile.clone())).await;
    for field in ["waistCm", "locationCity"] {
        profile.as_object_mut().unwrap().remove(field);
    }
    browser.get(PROFILE, profile).await;
    let unreadable = "Invalid request body.";
    let refusal = json!({"detail": unreadable, "error": unreadable});
    browser.expect("PUT", PROFILE, Some(json!({"heightCm": "171"})), 400, refusal).await;
}

/// The same calls on a phone, where profile and digest lie over the dashboard.
pub async fn open_on_a_phone(browser: &Browser) {
    let get = async |path: &'static str| {
        let reply = browser.send(browser.request("GET", path)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    };
    let (profile, page, drafts, memory, digest) = futures::join!(
        get(PROFILE),
        get("/api/wardrobe?pageSize=24&sortField=dateAdded&sortDir=desc"),
        get("/api/wardrobe/drafts"),
        get(MEMORY),
        get("/api/digest/latest"),
    );
    assert_eq!((&profile["currencyCode"], &memory["summary"]), (&json!("EUR"), &json!("Prefers navy.")));
    assert_eq!((page["items"].as_array().unwrap().len(), &drafts["items"]), (2, &json!([])));
    assert_eq!(digest["digest"]["totalItems"], 2);
    browser.done("PUT", PROFILE, Some(profile.clone())).await;
    browser.get(PROFILE, profile).await;
}

/// Selects an item, asks about it, asks again, and edits what the stylist remembers.
pub async fn ask_the_stylist(browser: &Browser, uploaded: &Uploaded) {
    for source in ["dashboard_toggle", "dashboard_drag_drop"] {
        put_on_board(browser, uploaded.shirt_id(), source).await;
    }
    let trace = Uuid::new_v4().to_string();
    let question = "What goes with this?";
    let body = json!({
        "message": question, "recentMessages": [], "selectedItemIds": [uploaded.shirt["id"]], "traceId": trace,
    });
    let answer = chat(browser, body, &trace).await;
    let recent = json!([{"role": "user", "content": question}, {"role": "assistant", "content": answer}]);
    let body =
        json!({"message": "And in winter?", "recentMessages": recent, "selectedItemIds": null, "traceId": trace});
    chat(browser, body, &trace).await;
    browser.expect("PUT", MEMORY, Some(json!({"summary": "Prefers navy."})), 200, json!({"status": TEXT})).await;
    browser.get(MEMORY, json!({"summary": "Prefers navy.", "updatedAt": TIME, "preferences": ANY})).await;
}

/// A turn of the stylist, read as the client reads it. Returns the words.
async fn chat(browser: &Browser, body: Value, trace: &str) -> String {
    let response = browser.request("POST", "/api/chat").json(&body).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let stream = response.text().await.unwrap();
    let blocks = stream.split("\n\n").map(str::trim).filter_map(|block| block.strip_prefix("data: "));
    let events: Vec<Value> = blocks.map(|block| serde_json::from_str(block).unwrap()).collect();
    assert!(events.iter().all(|event| event["traceId"] == trace), "{events:#?}");
    assert!(events.iter().all(|event| event["type"] != "error"), "{events:#?}");
    assert_eq!(events.last().unwrap()["type"], "done");
    let words = events.iter().filter(|event| event["type"] == "token").map(|event| event["content"].as_str().unwrap());
    let words: String = words.collect();
    assert!(!words.trim().is_empty());
    words
}

/// The digest of somebody who had none, and a thumb on its first idea.
pub async fn read_a_digest(browser: &Browser) {
    browser.get("/api/digest/latest", json!({"digest": null})).await;
    let reply = browser.send(browser.request("POST", "/api/digest/run?force=true")).await;
    assert_eq!((reply.status, &reply.body["status"]), (200, &json!("ok")), "{}", reply.body);
    let ideas = reply.body["digest"]["suggestions"].as_array().unwrap().len();
    let digest = json!({
        "id": TEXT, "userId": browser.user, "generatedAt": TIME, "wardrobeHash": TEXT,
        "suggestions": vec![json!({"item": TEXT, "rationale": TEXT}); ideas], "stylesConsidered": ["Minimal"],
        "totalItems": 2, "itemsWithWearHistory": 2, "climateZone": ANY,
    });
    let latest = browser.get("/api/digest/latest", json!({"digest": digest})).await;
    let id = latest["digest"]["id"].as_str().unwrap();
    let query: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let path = format!("/api/digest/feedback?digestId={query}");
    browser.get(&path, json!({"feedback": []})).await;
    let thumb = json!({
        "digestId": id, "suggestionIndex": 0, "suggestionDescription": latest["digest"]["suggestions"][0]["item"],
        "signal": "up", "retryCount": 0,
    });
    browser.expect("POST", "/api/digest/feedback", Some(thumb), 200, json!({"status": "ok"})).await;
    browser.get(&path, json!({"feedback": [{"suggestionIndex": 0, "signal": "up"}]})).await;
}

fn source(id: &str, name: &str, kind: &str, owner: Option<&str>, config: Value) -> Value {
    json!({
        "id": id, "name": name, "sourceType": kind, "isGlobal": owner.is_none(), "createdBy": owner, "isActive": true,
        "createdAt": "2026-01-01T00:00:00.000Z", "lastScrapedAt": null, "config": config,
    })
}

/// The feed: sources, items, a subreddit that the client fetches itself, votes and subscriptions.
pub async fn discover(stage: &Stage<'_>, browser: &Browser) {
    let (reddit, shop) = (format!("reddit-{SUBREDDIT}"), format!("brand-{}", Uuid::new_v4().simple()));
    let mut selectors = selectors();
    selectors["sourceUrl"] = "https://shop.invalid/new".into();
    let config = json!({"subreddit": SUBREDDIT, "sort": "hot", "limit": 50, "min_score": 50});
    stage
        .save(Container::ScraperSources, "reddit", source(&reddit, "r/rawdenim", "reddit", None, config.clone()))
        .await;
    stage
        .save(
            Container::ScraperSources,
            "brand_site",
            source(&shop, "Shop", "brand_site", Some(&browser.user), selectors.clone()),
        )
        .await;
    let item = json!({
        "id": "reddit-0123456789abcdef", "userId": "global", "sourceId": reddit, "sourceType": "reddit", "title": "Raw denim",
        "description": "", "imageUrl": "https://i.redd.it/raw.jpg", "productUrl": "https://www.reddit.com/r/rawdenim/comments/1/a/",
        "buyLinks": ["https://www.shop.example/p/1"], "price": null, "brand": null, "tags": ["denim"],
        "galleryImages": ["https://i.redd.it/raw.jpg", "https://i.redd.it/second.jpg"], "commentText": "", "redditScore": 100,
        "scoreSignal": 0, "scrapedAt": "2026-11-01T00:00:00.000Z", "sourceCreatedAt": null, "imageExpired": false,
        "verified": true, "submitterId": "server", "embedding": [], "needsEmbedding": true,
    });
    stage.save(Container::ScrapedItems, "global", item.clone()).await;

    let shown_source = |id: &str, name: &str, kind: &str, is_global: bool, needs: bool, config: Value| {
        json!({
            "id": id, "name": name, "sourceType": kind, "isGlobal": is_global, "lastScrapedAt": null, "config": config,
            "leaseExpiresAt": null, "subscribed": false, "needsClientIngest": needs,
        })
    };
    let sources = json!({"sources": [
        shown_source(&reddit, "r/rawdenim", "reddit", true, true, config),
        shown_source(&shop, "Shop", "brand", false, false, selectors),
    ]});
    let mut shown_item = item.clone();
    for field in ["userId", "submitterId", "embedding", "needsEmbedding"] {
        shown_item.as_object_mut().unwrap().remove(field);
    }
    shown_item["buyLinks"] = json!([{"platform": "shop.example", "url": "https://www.shop.example/p/1"}]);
    let feed = "/api/scraper/items?sortBy=score&pageSize=50&timeRange=all";
    futures::join!(
        browser.get("/api/scraper/sources", sources),
        browser.get(feed, json!({"items": [shown_item], "nextContinuationToken": null})),
    );

    // The source is chosen: this browser fetches it, and nobody else meanwhile.
    let lease = format!("/api/scraper/lease/{reddit}");
    browser.expect("POST", &lease, Some(json!({})), 200, json!({"status": TEXT, "expiresAt": TIME})).await;
    let other = stage.browser("other");
    other.expect("POST", &lease, Some(json!({})), 409, json!({"detail": TEXT, "error": TEXT})).await;
    // Without a token, as the client's raw fetch sends it.
    let url = format!("http://{}/reddit-api/r/{SUBREDDIT}/hot.json?limit=50", stage.address);
    let listing: Value = browser.http.get(url).send().await.unwrap().json().await.unwrap();
    let posts: Vec<Value> =
        listing["data"]["children"].as_array().unwrap().iter().map(|child| child["data"].clone()).collect();
    assert_eq!(posts.len(), 2);
    let submitted = json!({"source_id": reddit, "posts": posts});
    let taken = json!({"count": NUMBER, "status": TEXT, "verified": false, "dropped": NUMBER});
    let taken = browser.expect("POST", "/api/scraper/ingest/reddit", Some(submitted), 200, taken).await;
    let count = taken["count"].as_u64().unwrap() as usize;
    let items = browser.send(browser.request("GET", feed)).await.body;
    assert_eq!(items["items"].as_array().unwrap().len(), 1 + count);

    let vote = format!("/api/scraper/items/{}/feedback", item["id"].as_str().unwrap());
    for (body, score) in [
        (json!({"signal": "up"}), 1),
        (json!({"signal": "up", "galleryImageIndex": 1}), 1),
        (json!({"signal": "down", "galleryImageIndex": 0}), -1),
    ] {
        let expected = json!({"itemId": item["id"], "signal": body["signal"], "scoreSignal": score});
        browser.expect("POST", &vote, Some(body), 200, expected).await;
    }
    // A shop is suggested that no name server knows.
    let shop_page = json!({"name": "Example", "url": "https://shop.invalid/new", "sourceType": "brand"});
    browser.expect("POST", "/api/scraper/sources", Some(shop_page), 400, json!({"detail": TEXT, "error": TEXT})).await;
    let subscription = |subscribed: bool| json!({"sourceId": shop, "subscribed": subscribed});
    let path = format!("/api/scraper/subscribe/{shop}");
    browser.expect("POST", &path, Some(json!({})), 201, subscription(true)).await;
    browser.expect("DELETE", &path, None, 200, subscription(false)).await;
    // The client itself.
    let page = browser.http.get(format!("http://{}/discover", stage.address)).send().await.unwrap();
    assert_eq!(page.headers()["cross-origin-opener-policy"], "same-origin-allow-popups");
    assert_eq!(page.text().await.unwrap(), "<!doctype html><title>PluckIt</title>");
    // Recommendations, which no screen asks for yet.
    let outfits = browser.send(browser.request("POST", "/api/stylist/recommendations").json(&json!({}))).await;
    assert_eq!(outfits.status, 200, "{}", outfits.body);
    for outfit in outfits.body.as_array().unwrap() {
        assert_fits(
            "recommendations",
            &json!({"id": TEXT, "title": TEXT, "description": TEXT, "clothingItemIds": TEXTS}),
            outfit,
        );
    }
}
