//! The dashboard and the vault: photos become items, items are browsed, edited and worn.

use std::time::Instant;

use pluckit::base::clock::{Clock, SystemClock};
use pluckit::model::timestamp::Timestamp;
use pluckit::store::Container;
use serde_json::{Value, json};
use uuid::Uuid;

use super::expected::{ANY, COLOURS, FLAG, NUMBER, PICTURE, TEXT, TEXTS, TIME, UPLOAD, assert_fits};
use super::{Browser, LOOK_AGAIN, PATIENCE, Stage, photo};

const DRAFTS: &str = "/api/wardrobe/drafts";
/// The dashboard's first page.
const FIRST_PAGE: &str = "/api/wardrobe?pageSize=24&sortField=dateAdded&sortDir=desc";

/// An item that was made of a photo, and accepted.
pub struct Uploaded {
    pub shirt: Value,
    pub shoes: Value,
}

impl Uploaded {
    pub fn shirt_id(&self) -> &str {
        self.shirt["id"].as_str().unwrap()
    }

    pub fn shoes_id(&self) -> &str {
        self.shoes["id"].as_str().unwrap()
    }
}

fn path_of(item: &Value) -> String {
    format!("/api/wardrobe/{}", item["id"].as_str().unwrap())
}

/// A draft in this state, as uploads and retries answer it.
fn bare_draft(user: &str) -> Value {
    json!({
        "id": UPLOAD, "userId": user, "name": TEXT, "tags": [], "colours": [], "wearCount": 0, "wearEvents": [],
        "isWishlisted": false, "draftStatus": "Processing", "draftCreatedAt": TIME, "draftUpdatedAt": TIME,
    })
}

fn ready_draft(user: &str) -> Value {
    let mut draft = bare_draft(user);
    let known = json!({
        "imageUrl": PICTURE, "tags": TEXTS, "colours": COLOURS, "brand?": TEXT, "category?": TEXT, "draftStatus": "Ready",
    });
    draft.as_object_mut().unwrap().extend(known.as_object().unwrap().clone());
    draft
}

/// Looks at the drafts, as the dashboard does, until none of them is being processed.
async fn wait_for_drafts(browser: &Browser) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let reply = browser.send(browser.request("GET", DRAFTS)).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let drafts = reply.body["items"].as_array().unwrap().clone();
        if drafts.iter().all(|draft| draft["draftStatus"] != "Processing") {
            return drafts;
        }
        assert!(begin.elapsed() < PATIENCE, "still being processed: {drafts:#?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Fetches a picture as an `<img>` does: without a header.
async fn see(browser: &Browser, item: &Value) -> (u16, String, usize) {
    let response = browser.http.get(item["imageUrl"].as_str().unwrap()).send().await.unwrap();
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), content_type.unwrap_or_default(), response.bytes().await.unwrap().len())
}

/// Uploads two photos at once, follows them, edits and accepts them; dismisses a third.
pub async fn upload_photos(browser: &Browser) -> Uploaded {
    let (shirt, shoes) = (photo("oxford-shirt-on-a-wall.jpg"), photo("sneakers-on-the-floor.jpg"));
    let (first, second) = futures::join!(browser.upload("shirt.jpg", &shirt), browser.upload("shoes.jpg", &shoes));
    for reply in [&first, &second] {
        assert_eq!(reply.status, 202, "{}", reply.body);
        assert_fits("POST /api/wardrobe/upload", &bare_draft(&browser.user), &reply.body);
    }
    let drafts = wait_for_drafts(browser).await;
    assert_eq!(drafts.len(), 2);
    for draft in &drafts {
        assert_fits(DRAFTS, &ready_draft(&browser.user), draft);
        let (status, content_type, length) = see(browser, draft).await;
        assert_eq!((status, content_type.as_str()), (200, "image/webp"));
        assert!(length > 1000, "{length} bytes");
        browser.get(&path_of(draft), shown(draft)).await;
    }
    assert!(drafts[0]["draftCreatedAt"].as_str() >= drafts[1]["draftCreatedAt"].as_str(), "the newest first");
    // Drafts are not in the wardrobe.
    browser.get(FIRST_PAGE, json!({"items": []})).await;
    let find = |reply: &super::Reply| drafts.iter().find(|draft| draft["id"] == reply.body["id"]).unwrap().clone();
    let shirt = review(browser, find(&first), "Tops", &["office", "favorite"]).await;
    let shoes = review(browser, find(&second), "Footwear", &["casual"]).await;
    browser.get(DRAFTS, json!({"items": []})).await;
    browser.get(FIRST_PAGE, json!({"items": [shown(&shoes), shown(&shirt)]})).await;

    let dismissed = browser.upload("again.jpg", &photo("jeans-on-a-rug.jpg")).await;
    assert_eq!(dismissed.status, 202);
    wait_for_drafts(browser).await;
    browser.done("DELETE", &path_of(&dismissed.body), None).await;
    browser.get(DRAFTS, json!({"items": []})).await;
    Uploaded { shirt, shoes }
}

/// An item as it was answered, but for the signature of its picture.
pub fn shown(item: &Value) -> Value {
    let mut item = item.clone();
    if item.get("imageUrl").is_some() {
        item["imageUrl"] = PICTURE.into();
    }
    // It follows from the other fields.
    item["name"] = TEXT.into();
    item
}

/// Whether a filter takes the item of that number.
type Filter = Box<dyn Fn(u64) -> bool>;

/// Edits a draft in the review and accepts it, twice: the first answer may have been lost.
async fn review(browser: &Browser, draft: Value, category: &str, tags: &[&str]) -> Value {
    let mut edited = draft.clone();
    let edit = json!({
        "category": category, "brand": "Arket", "tags": tags, "notes": "From Berlin", "condition": "Good",
        "price": {"amount": 79.5, "originalCurrency": "EUR", "purchaseDate": "2026-01-20"}, "careInfo": ["wash"],
        "size": {"letter": "M"}, "aestheticTags": ["Minimal"], "estimatedMarketValue": 40,
        // What the client cannot know better.
        "userId": "somebody", "wearCount": 99, "dateAdded": "2020-01-01T00:00:00Z", "draftStatus": "Failed",
    });
    edited.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone());
    browser.done("PUT", &path_of(&draft), Some(edited.clone())).await;
    let mut expected = json!({
        "id": draft["id"], "userId": browser.user, "name": TEXT, "imageUrl": PICTURE, "colours": draft["colours"],
        "wearCount": 0, "wearEvents": [], "isWishlisted": false, "dateAdded": TIME,
    });
    for field in [
        "category",
        "brand",
        "tags",
        "notes",
        "condition",
        "price",
        "careInfo",
        "size",
        "aestheticTags",
        "estimatedMarketValue",
    ] {
        expected[field] = edited[field].clone();
    }
    let accept = format!("/api/wardrobe/drafts/{}/accept", draft["id"].as_str().unwrap());
    let item = browser.expect("PATCH", &accept, Some(json!({})), 200, expected).await;
    assert!(item["dateAdded"].as_str() > Some("2026"), "accepting is what adds it");
    browser.expect("PATCH", &accept, Some(json!({})), 200, shown(&item)).await;
    item
}

/// A photo that is none fails, can be tried again, and is dismissed.
pub async fn see_a_draft_fail(browser: &Browser) {
    let broken = [&photo("jeans-on-a-rug.jpg")[..400], &[0; 4000]].concat();
    let draft = browser.upload("broken.jpg", &broken).await;
    assert_eq!(draft.status, 202, "{}", draft.body);
    let draft = draft.body;
    let mut failed = bare_draft(&browser.user);
    failed["draftStatus"] = "Failed".into();
    failed["draftError"] = TEXT.into();
    assert_fits(DRAFTS, &json!([failed]), &wait_for_drafts(browser).await.into());
    let of_draft = |action: &str| format!("/api/wardrobe/drafts/{}/{action}", draft["id"].as_str().unwrap());
    browser.expect("PATCH", &of_draft("accept"), Some(json!({})), 409, json!({"detail": TEXT, "error": TEXT})).await;
    browser.expect("POST", &of_draft("retry"), Some(json!({})), 202, bare_draft(&browser.user)).await;
    assert_fits(DRAFTS, &json!([failed]), &wait_for_drafts(browser).await.into());
    browser.done("DELETE", &path_of(&draft), None).await;
    browser.get(DRAFTS, json!({"items": []})).await;
    let gone = json!({"detail": TEXT, "error": TEXT});
    browser.expect("POST", &of_draft("retry"), Some(json!({})), 404, gone).await;
    let nothing = json!({"detail": "No image provided.", "error": "No image provided."});
    let empty = browser.upload("empty.jpg", b"").await;
    assert_eq!((empty.status, empty.body), (400, nothing));
}

/// Pills, orders and pages of the dashboard, on a wardrobe of 60 items.
pub async fn browse(stage: &Stage<'_>) {
    let browser = stage.browser("browser");
    for number in 0..60_u64 {
        let mut item = json!({
            "id": format!("i{number:02}"), "userId": browser.user, "tags": [], "colours": [], "wearCount": number % 7,
            "wearEvents": [], "dateAdded": format!("2026-01-01T00:{number:02}:00.000Z"),
            "category": if number % 2 == 0 { "Bottoms" } else { "Tops" }, "brand": if number % 3 == 0 { "Arket" } else { "COS" },
            "condition": if number.is_multiple_of(4) { "Good" } else { "New" },
        });
        if number % 5 > 0 {
            item["price"] = json!({"amount": (number * 37) % 50, "originalCurrency": "EUR"});
        }
        item["isWishlisted"] = (number % 10 == 9).into();
        stage.save(Container::Wardrobe, &browser.user, item).await;
    }
    let numbers = |is_in: &dyn Fn(u64) -> bool| -> Vec<u64> { (0..60).filter(|number| is_in(*number)).collect() };
    let owned = |number: u64| number % 10 != 9;
    let price = |number: u64| (!number.is_multiple_of(5)).then_some((number * 37) % 50);
    // The newest first, 24 a page, each once.
    let newest: Vec<u64> = numbers(&|number| owned(number)).into_iter().rev().collect();
    assert_eq!(walk(&browser, FIRST_PAGE).await, newest);
    let bottoms: Vec<u64> = newest.iter().copied().filter(|number| number % 2 == 0).collect();
    let pill = "/api/wardrobe?pageSize=24&category=Bottoms&sortField=dateAdded&sortDir=desc";
    assert_eq!(walk(&browser, pill).await, bottoms);
    assert_eq!(walk(&browser, "/api/wardrobe?pageSize=24&category=%20bottoms&sortDir=desc").await, bottoms);
    // By price; what has none comes last, and first when ascending. Ties by id.
    let mut by_price = numbers(&|number| owned(number));
    by_price.sort_by_key(|number| {
        (price(*number).map_or(0, |price| 50 - price) + 1000 * u64::from(price(*number).is_none()), *number)
    });
    let sorted = "/api/wardrobe?pageSize=24&sortField=price.amount&sortDir=desc";
    assert_eq!(walk(&browser, sorted).await, by_price);
    by_price.reverse();
    assert_eq!(walk(&browser, "/api/wardrobe?pageSize=24&sortField=price.amount&sortDir=asc").await, by_price);
    // The vault's filters.
    let filters: [(&str, Filter); 6] = [
        ("condition=good", Box::new(|number| number.is_multiple_of(4))),
        ("minWears=5", Box::new(|number| number % 7 >= 5)),
        ("maxWears=1", Box::new(|number| number % 7 <= 1)),
        ("brand=arket", Box::new(|number| number % 3 == 0)),
        (
            "priceMin=10&priceMax=20",
            Box::new(move |number| price(number).is_some_and(|price| (10..=20).contains(&price))),
        ),
        ("priceMax=5000", Box::new(move |number| price(number).is_some())),
    ];
    for (filter, is_in) in filters {
        let expected: Vec<u64> = newest.iter().copied().filter(|number| is_in(*number)).collect();
        let path =
            format!("/api/wardrobe?pageSize=24&includeWishlisted=false&{filter}&sortField=dateAdded&sortDir=desc");
        assert_eq!(walk(&browser, &path).await, expected, "{filter}");
    }
    let all: Vec<u64> = (0..60).rev().collect();
    assert_eq!(
        walk(&browser, "/api/wardrobe?pageSize=24&includeWishlisted=true&sortField=dateAdded&sortDir=desc").await,
        all
    );
    let refused = "priceMin must not exceed priceMax.";
    let body = json!({"detail": refused, "error": refused});
    browser.expect("GET", "/api/wardrobe?priceMin=2&priceMax=1", None, 400, body).await;
    // The collections screen asks for more than a page has.
    let page = browser.send(browser.request("GET", "/api/wardrobe?pageSize=200&includeWishlisted=true")).await;
    assert_eq!((page.status, page.body["items"].as_array().unwrap().len()), (200, 60));
}

/// The numbers of all items of a list, page by page.
async fn walk(browser: &Browser, path: &str) -> Vec<u64> {
    let (mut found, mut token) = (Vec::new(), None::<String>);
    loop {
        let next = token.as_ref().map(|token| {
            let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
            format!("{path}&continuationToken={token}")
        });
        let reply = browser.send(browser.request("GET", next.as_deref().unwrap_or(path))).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        let pattern = json!({
            "id": TEXT, "userId": browser.user, "name": TEXT, "tags": [], "colours": [], "wearCount": NUMBER, "wearEvents": [],
            "dateAdded": TIME, "category": TEXT, "brand": TEXT, "condition": TEXT, "isWishlisted": FLAG,
            "price?": {"amount": NUMBER, "originalCurrency": "EUR"},
        });
        let items = reply.body["items"].as_array().unwrap();
        for item in items {
            assert_fits(path, &pattern, item);
            found.push(item["id"].as_str().unwrap()[1..].parse().unwrap());
        }
        token = reply.body.get("nextContinuationToken").map(|token| token.as_str().unwrap().to_owned());
        assert!(token.is_none() || items.len() == 24, "{path}: a page before the last one is full");
        if token.is_none() {
            return found;
        }
    }
}

/// Edits an item from the card, and deletes another.
pub async fn edit_and_delete(browser: &Browser, uploaded: &Uploaded) {
    let mut edited = uploaded.shoes.clone();
    edited["brand"] = "Veja".into();
    edited.as_object_mut().unwrap().remove("notes");
    browser.done("PUT", &path_of(&edited), Some(edited.clone())).await;
    browser.get(&path_of(&edited), shown(&edited)).await;
    browser.done("PUT", &path_of(&edited), Some(uploaded.shoes.clone())).await;
    browser.get(&path_of(&edited), shown(&uploaded.shoes)).await;
    let mismatch = "ID in path and body must match.";
    let refusal = json!({"detail": mismatch, "error": mismatch});
    browser.expect("PUT", &path_of(&edited), Some(uploaded.shirt.clone()), 400, refusal).await;

    let draft = browser.upload("rug.jpg", &photo("jeans-on-a-rug.jpg")).await.body;
    wait_for_drafts(browser).await;
    let item = review(browser, browser.get(&path_of(&draft), ready_draft(&browser.user)).await, "Bottoms", &[]).await;
    assert_eq!(see(browser, &item).await.0, 200);
    browser.done("DELETE", &path_of(&item), None).await;
    let gone = "Item not found.";
    let gone = json!({"detail": gone, "error": gone});
    browser.expect("GET", &path_of(&item), None, 404, gone.clone()).await;
    browser.expect("PUT", &path_of(&item), Some(item.clone()), 404, gone.clone()).await;
    browser.expect("DELETE", &path_of(&item), None, 404, gone).await;
    assert_eq!(see(browser, &item).await.0, 404, "its picture is gone, too");
}

/// The vault: wears from a card, from the drawer and from a suggestion.
pub async fn log_wears(browser: &Browser, uploaded: &Uploaded) {
    let insights = "/api/insights/vault?windowDays=90&targetCpw=100";
    let suggestions = "/api/wardrobe/suggestions/wear";
    let vault = "/api/wardrobe?pageSize=24&includeWishlisted=false&sortField=dateAdded&sortDir=desc";
    browser.get(vault, json!({"items": [shown(&uploaded.shoes), shown(&uploaded.shirt)]})).await;
    // The shirt was put on the board when the stylist was asked.
    let suggestion = json!({
        "suggestionId": TEXT, "itemId": uploaded.shirt_id(), "message": TEXT, "activityAt": TIME, "expiresAt": TIME,
        "imageUrl": PICTURE,
    });
    let found = browser.get(suggestions, json!({"suggestions": [suggestion]})).await;
    let worn_before = browser.get(insights, insights_of(2)).await;
    assert!(worn_before["cpwIntel"].as_array().unwrap().iter().all(|item| item["cpw"].is_null()), "nothing was worn");

    // From the card, and once more by a client that did not get the answer.
    let action = format!("wear-{}", Uuid::new_v4());
    let wear = format!("{}/wear", path_of(&uploaded.shoes));
    let body = json!({"source": "vault_card", "clientEventId": action});
    let mut worn = shown(&uploaded.shoes);
    let change = json!({
        "wearCount": 1, "lastWornAt": TIME, "lastWearActionId": action, "wearEvents": [{"occurredAt": TIME}],
    });
    worn.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    for _ in 0..2 {
        browser.expect("PATCH", &wear, Some(body.clone()), 200, worn.clone()).await;
    }
    let event = |source: &str| {
        json!({
            "id": TEXT, "userId": browser.user, "itemId": uploaded.shoes["id"], "occurredAt": TIME, "source": source, "createdAt": TIME,
        })
    };
    let history = format!("{}/wear-history", path_of(&uploaded.shoes));
    let summary = |total: u64| json!({"totalInRange": total, "trackedFrom": TIME, "legacyUntrackedCount": 0});
    let expected = json!({"itemId": uploaded.shoes["id"], "events": [event("vault_card")], "summary": summary(1)});
    browser.get(&history, expected).await;
    let now_worn = browser.get(insights, insights_of(2)).await;
    let of_shoes = now_worn["cpwIntel"].as_array().unwrap().iter().find(|item| item["itemId"] == uploaded.shoes["id"]);
    assert!(of_shoes.unwrap()["cpw"].is_number(), "what was worn counts at once: {now_worn}");

    // From the drawer.
    let second = json!({"source": "item_drawer", "clientEventId": format!("wear-wear-{}-2", Uuid::new_v4())});
    let item = browser.send(browser.request("PATCH", &wear).json(&second)).await;
    assert_eq!((item.status, &item.body["wearCount"]), (200, &json!(2)), "{}", item.body);
    let events = json!([event("item_drawer"), event("vault_card")]);
    browser.get(&history, json!({"itemId": uploaded.shoes["id"], "events": events, "summary": summary(2)})).await;

    // A stale copy of the item undoes none of it.
    browser.done("PUT", &path_of(&uploaded.shoes), Some(uploaded.shoes.clone())).await;
    browser.get(&path_of(&uploaded.shoes), shown(&item.body)).await;
    browser.get(&history, json!({"itemId": uploaded.shoes["id"], "events": events, "summary": summary(2)})).await;

    // "Mark worn" of the suggestion; another one is dismissed.
    let activity = found["suggestions"][0]["suggestionId"].as_str().unwrap();
    let from_suggestion = json!({
        "source": "suggestion_prompt", "clientEventId": format!("wear-{}", Uuid::new_v4()), "stylingActivityId": activity,
    });
    let shirt_wear = format!("{}/wear", path_of(&uploaded.shirt));
    let worn = browser.send(browser.request("PATCH", &shirt_wear).json(&from_suggestion)).await;
    assert_eq!((worn.status, &worn.body["wearCount"]), (200, &json!(1)), "{}", worn.body);
    browser.get(suggestions, json!({"suggestions": []})).await;
    let board = put_on_board(browser, uploaded.shoes_id(), "dashboard_drag_drop").await;
    let mut suggestion = suggestion;
    suggestion["itemId"] = uploaded.shoes["id"].clone();
    suggestion["suggestionId"] = board.as_str().into();
    browser.get(suggestions, json!({"suggestions": [suggestion]})).await;
    let path = format!("{suggestions}/{board}");
    browser.expect("PATCH", &path, Some(json!({})), 400, json!({"detail": TEXT, "error": TEXT})).await;
    browser.expect("PATCH", &path, Some(json!({"status": "Dismissed"})), 200, json!({"status": "updated"})).await;
    browser.get(suggestions, json!({"suggestions": []})).await;
}

/// Puts an item on the board, as each selection on the dashboard does, twice. Returns the activity's id.
pub async fn put_on_board(browser: &Browser, item: &str, source: &str) -> String {
    let id = format!("sty-{}", Uuid::new_v4());
    let at = Timestamp::from(SystemClock.now()).to_string();
    let body = json!({
        "itemId": item, "source": source, "activityType": "AddedToStyleBoard", "clientEventId": id, "occurredAt": at,
    });
    for _ in 0..2 {
        let expected = json!({"status": "recorded", "activityId": id});
        browser.expect("POST", "/api/wardrobe/styling-activity", Some(body.clone()), 200, expected).await;
    }
    id
}

/// Insights about so many items.
fn insights_of(items: usize) -> Value {
    let intel = json!({
        "itemId": TEXT, "cpw": ANY, "badge": TEXT, "breakEvenReached": ANY, "breakEvenTargetCpw": NUMBER, "forecast": ANY,
        "historicalWearRate": NUMBER, "recentWearRate": NUMBER, "wearRateDelta": NUMBER, "wearRateTrend": TEXT,
    });
    json!({
        "behavioralInsights": {
            "mostExpensiveUnworn": ANY, "sparseHistory": ANY, "topColorWearShare": ANY, "unworn90dPct": ANY,
        },
        "conversionStatus": TEXT, "cpwIntel": vec![intel; items], "currency": "EUR", "fxDate": ANY, "generatedAt": TIME,
        "insufficientData": ANY,
    })
}
