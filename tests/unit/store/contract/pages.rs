//! Order, pages and partitions of queries.

use pluckit::store::query::Comparison::GreaterOrEqual;
use pluckit::store::{Container, Direction, DocumentStore, Filter, Key, Query};
use serde_json::{Value, json};

use Direction::{Ascending, Descending};

use super::{content, document, fill, ids, sorted, unique, walk};

pub async fn documents_come_in_order(store: &dyn DocumentStore) {
    let user = unique("user");
    let counts = [("a", 5), ("b", -3), ("c", 100), ("d", 20), ("e", 0)];
    let documents = counts.map(|(id, count)| (id, json!({ "wearCount": count, "name": format!("{count:05}") })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let by = |field, direction| Query::partition(Container::Wardrobe, &user).order_by(field, direction);
    assert_eq!(ids(store, by("wearCount", Ascending)).await, ["b", "e", "a", "d", "c"]);
    assert_eq!(ids(store, by("wearCount", Descending)).await, ["c", "d", "a", "e", "b"]);
    assert_eq!(ids(store, by("wearCount", Descending).limit(2)).await, ["c", "d"]);
    assert_eq!(ids(store, by("id", Descending)).await, ["e", "d", "c", "b", "a"]);
    assert_eq!(ids(store, by("name", Ascending).matching(Filter::not_equal("id", "a"))).await, ["b", "e", "d", "c"]);
}

pub async fn types_have_an_order(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = [
        ("a", json!({ "dateAdded": "text" })),
        ("b", json!({ "dateAdded": 1 })),
        ("c", json!({ "dateAdded": true })),
        ("d", json!({ "dateAdded": null })),
        ("e", json!({ "dateAdded": false })),
        ("f", json!({ "dateAdded": -1e300 })),
        ("g", json!({ "dateAdded": "" })),
    ];
    fill(store, Container::Wardrobe, &user, documents).await;
    let by = |direction| Query::partition(Container::Wardrobe, &user).order_by("dateAdded", direction);
    assert_eq!(ids(store, by(Ascending)).await, ["d", "e", "c", "f", "b", "g", "a"]);
    assert_eq!(ids(store, by(Descending)).await, ["a", "g", "b", "f", "c", "e", "d"]);
}

pub async fn ties_are_ordered_by_the_next_key(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = [
        ("a", json!({ "itemId": "shoe", "occurredAt": "2026-01-01" })),
        ("b", json!({ "itemId": "coat", "occurredAt": "2026-01-01" })),
        ("c", json!({ "itemId": "shoe", "occurredAt": "2026-03-01" })),
        ("d", json!({ "itemId": "coat", "occurredAt": "2026-02-01" })),
    ];
    fill(store, Container::WearEvents, &user, documents).await;
    let query =
        Query::partition(Container::WearEvents, &user).order_by("itemId", Ascending).order_by("occurredAt", Descending);
    assert_eq!(ids(store, query).await, ["d", "b", "c", "a"]);

    let documents = [("a", 1), ("b", 2), ("c", 2), ("d", 1)].map(|(id, count)| (id, json!({ "wearCount": count })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let query =
        Query::partition(Container::Wardrobe, &user).order_by("wearCount", Descending).order_by("id", Ascending);
    assert_eq!(ids(store, query).await, ["b", "c", "a", "d"]);
}

/// Five items, two of them without the count by which they are sorted.
async fn fill_with_gaps(store: &dyn DocumentStore, user: &str) {
    let documents = [
        ("a", json!({ "wearCount": 3 })),
        ("b", json!({})),
        ("c", json!({ "wearCount": 7 })),
        ("d", json!({})),
        ("e", json!({ "wearCount": 0 })),
    ];
    fill(store, Container::Wardrobe, user, documents).await;
}

pub async fn missing_sort_keys_come_first_or_last(store: &dyn DocumentStore) {
    let user = unique("user");
    fill_with_gaps(store, &user).await;
    let ascending = ids(store, Query::partition(Container::Wardrobe, &user).order_by("wearCount", Ascending)).await;
    assert_eq!(ascending[2..], ["e", "a", "c"]);
    assert_eq!(sorted(ascending[..2].to_vec()), ["b", "d"]);
    let descending = ids(store, Query::partition(Container::Wardrobe, &user).order_by("wearCount", Descending)).await;
    assert_eq!(descending[..3], ["c", "a", "e"]);
    assert_eq!(sorted(descending[3..].to_vec()), ["b", "d"]);
    let query =
        Query::partition(Container::Wardrobe, &user).order_by("wearCount", Descending).order_by("id", Ascending);
    assert_eq!(ids(store, query).await, ["c", "a", "e", "b", "d"]);
}

pub async fn pages_of_one_give_every_document_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    fill(store, Container::Wardrobe, &user, names.map(|id| (id, json!({})))).await;
    for limit in [1, 2, 7, 100] {
        let walked = walk(store, Query::partition(Container::Wardrobe, &user).limit(limit)).await;
        assert_eq!(sorted(walked), names, "limit {limit}");
    }
}

pub async fn pages_in_order_give_every_document_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let names: Vec<String> = (0..24).map(|number| format!("item-{number:02}")).collect();
    // Eight ties in each of three counts.
    let documents = names.iter().enumerate().map(|(number, id)| (id.as_str(), json!({ "wearCount": number % 3 })));
    fill(store, Container::Wardrobe, &user, documents).await;
    for limit in [1, 5, 8, 24] {
        let query = Query::partition(Container::Wardrobe, &user).order_by("wearCount", Descending).limit(limit);
        let by_count = walk(store, query.clone()).await;
        assert_eq!(sorted(by_count.clone()), names, "limit {limit}");
        let count = |id: &String| names.iter().position(|name| name == id).expect("one of ours") % 3;
        assert!(by_count.iter().map(count).is_sorted_by(|left, right| left >= right), "limit {limit}: {by_count:?}");
        let by_count_and_id = walk(store, query.order_by("id", Ascending)).await;
        let mut expected = names.clone();
        expected.sort_by_key(|id| std::cmp::Reverse(count(id)));
        assert_eq!(by_count_and_id, expected, "limit {limit}");
    }
}

pub async fn pages_with_missing_sort_keys_give_every_document_once(store: &dyn DocumentStore) {
    let user = unique("user");
    fill_with_gaps(store, &user).await;
    for limit in [1, 2, 3, 4, 5] {
        for direction in [Ascending, Descending] {
            let query = Query::partition(Container::Wardrobe, &user).order_by("wearCount", direction).limit(limit);
            let walked = walk(store, query).await;
            assert_eq!(sorted(walked.clone()), ["a", "b", "c", "d", "e"], "limit {limit}, {direction:?}");
            let known: Vec<_> = walked.into_iter().filter(|id| !["b", "d"].contains(&id.as_str())).collect();
            let expected = if direction == Ascending { ["e", "a", "c"] } else { ["c", "a", "e"] };
            assert_eq!(known, expected, "limit {limit}, {direction:?}");
        }
    }
}

pub async fn a_filtered_walk_gives_every_match_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let names: Vec<String> = (0..20).map(|number| format!("item-{number:02}")).collect();
    let documents = names.iter().enumerate().map(|(number, id)| (id.as_str(), json!({ "draft": number % 4 == 0 })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let query = Query::partition(Container::Wardrobe, &user).matching(Filter::equal("draft", true)).limit(2);
    let expected = ["item-00", "item-04", "item-08", "item-12", "item-16"];
    assert_eq!(sorted(walk(store, query).await), expected);
}

pub async fn the_last_page_says_so(store: &dyn DocumentStore) {
    let user = unique("user");
    let nothing = store.query(&Query::partition(Container::Wardrobe, &user)).await.unwrap();
    assert!(nothing.documents.is_empty() && nothing.next.is_none());
    fill(store, Container::Wardrobe, &user, ["a", "b"].map(|id| (id, json!({})))).await;
    let all = store.query(&Query::partition(Container::Wardrobe, &user).limit(3)).await.unwrap();
    assert!(all.documents.len() == 2 && all.next.is_none(), "{all:?}");
    let first = store.query(&Query::partition(Container::Wardrobe, &user).limit(1)).await.unwrap();
    assert!(first.documents.len() == 1 && first.next.is_some(), "{first:?}");
}

pub async fn pages_that_end_early_give_every_document_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let names: Vec<String> = (0..9).map(|number| format!("item-{number}")).collect();
    let documents = names.iter().map(|id| (id.as_str(), json!({ "notes": "x".repeat(1000) })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let query = Query::partition(Container::Wardrobe, &user).order_by("id", Ascending);
    for most_bytes in [0, 1, 2500, 1_000_000] {
        let walked = walk(store, query.clone().limit(7).most_bytes(most_bytes)).await;
        assert_eq!(walked, names, "{most_bytes}");
    }
}

pub async fn a_query_returns_only_the_selected_fields(store: &dyn DocumentStore) {
    let user = unique("user");
    let fields = json!({
        "title": "A \"coat\"\\", "tags": ["a", { "b": [1.50] }], "price": { "amount": 10 }, "note": null,
        "embedding": vec![0.125; 1536],
    });
    fill(store, Container::ScrapedItems, &user, [("a", fields), ("b", json!({ "title": "short" }))]).await;
    let query = Query::partition(Container::ScrapedItems, &user)
        .select(&["id", "title", "tags", "price", "note", "nowhere"])
        .order_by("id", Ascending);
    let page = store.query(&query).await.unwrap();
    let expected = [
        json!({ "id": "a", "title": "A \"coat\"\\", "tags": ["a", { "b": [1.5] }], "price": { "amount": 10 }, "note": null }),
        json!({ "id": "b", "title": "short" }),
    ];
    assert_eq!(page.documents.iter().map(content).collect::<Vec<_>>(), expected);
}

/// The documents of all pages.
async fn walk_documents(store: &dyn DocumentStore, query: &Query) -> Vec<Value> {
    let (mut query, mut documents) = (query.clone(), Vec::new());
    loop {
        let page = store.query(&query).await.unwrap();
        documents.extend(page.documents.iter().map(content));
        match page.next {
            Some(next) => query = query.after(Some(next)),
            None => return documents,
        }
    }
}

pub async fn a_walk_that_its_order_bounds_gives_every_match_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let query = Query::partition(Container::WearEvents, &user).order_by("occurredAt", Descending);
    let times = ["2026-03-02", "2026-03-01", "2026-03-02", "2026-03-04"];
    let events = ["a", "b", "c", "d"].into_iter().zip(times).map(|(id, at)| (id, json!({ "occurredAt": at })));
    fill(store, Container::WearEvents, &user, events).await;
    let recent = Filter::Compare("occurredAt", GreaterOrEqual, json!("2026-03-02"));
    for limit in [1, 2, 3, 100] {
        let query = query.clone().limit(limit);
        let all = walk(store, query.clone()).await;
        assert!(
            all[0] == "d" && all[3] == "b" && sorted(all.clone()) == ["a", "b", "c", "d"],
            "limit {limit}: {all:?}"
        );
        let some = walk(store, query.matching(recent.clone())).await;
        assert_eq!(sorted(some), ["a", "c", "d"], "limit {limit}");
    }
}

pub async fn selected_fields_of_any_shape_come_as_they_are(store: &dyn DocumentStore) {
    const FIELDS: [&str; 3] = ["id", "itemId", "occurredAt"];
    let user = unique("user");
    let plain = json!({ "itemId": "coat \"A\"\\ü\n", "occurredAt": "2026-03-08T06:00:00.000Z", "occasion": "office" });
    let odd = [json!(null), json!(7), json!(1.50), json!(true), json!(["x"]), json!({ "y": null }), json!("")];
    let mut expected = vec![plain, json!({ "itemId": "coat" }), json!({ "occurredAt": "2026-03-08" }), json!({})];
    for value in odd {
        expected.push(json!({ "itemId": value, "occurredAt": "2026-03-08" }));
        expected.push(json!({ "itemId": "coat", "occurredAt": value }));
    }
    for (number, document) in expected.iter_mut().enumerate() {
        document["id"] = json!(format!("{number:02}"));
    }
    let documents: Vec<_> = expected.iter().map(|event| (event["id"].as_str().unwrap(), event.clone())).collect();
    fill(store, Container::WearEvents, &user, documents).await;
    let query = Query::partition(Container::WearEvents, &user).select(&FIELDS);
    for query in [query.clone(), query.clone().limit(4), query.order_by("occurredAt", Descending).limit(4)] {
        let mut shown = walk_documents(store, &query).await;
        shown.sort_by_key(|event| event["id"].to_string());
        assert_eq!(shown.len(), expected.len());
        for (shown, expected) in shown.iter().zip(&expected) {
            for field in FIELDS {
                assert_eq!(shown.get(field), expected.get(field), "{expected}");
            }
        }
    }
}

pub async fn a_partition_query_stays_in_its_partition(store: &dyn DocumentStore) {
    let (ada, bob) = (unique("ada"), unique("bob"));
    fill(store, Container::Wardrobe, &ada, [("a", json!({ "brand": "x" })), ("b", json!({ "brand": "x" }))]).await;
    fill(store, Container::Wardrobe, &bob, [("c", json!({ "brand": "x" }))]).await;
    assert_eq!(sorted(ids(store, Query::partition(Container::Wardrobe, &ada)).await), ["a", "b"]);
    let filtered = Query::partition(Container::Wardrobe, &bob).matching(Filter::equal("brand", "x"));
    assert_eq!(ids(store, filtered).await, ["c"]);
    assert_eq!(ids(store, Query::partition(Container::Wardrobe, unique("nobody"))).await, [""; 0]);
}

pub async fn a_query_of_all_partitions_reaches_every_one(store: &dyn DocumentStore) {
    let marker = unique("marker");
    let mut expected = Vec::new();
    for number in 0..6 {
        let category = unique("category");
        // Half of the ids are the same in different partitions.
        let id = format!("mood-{}", number / 2);
        let mood = json!({ "name": marker, "trendScore": number % 4, "number": number });
        fill(store, Container::Moods, &category, [(id.as_str(), mood)]).await;
        expected.push(id);
    }
    let query = Query::all(Container::Moods).matching(Filter::equal("name", marker.as_str()));
    for limit in [1, 4, 100] {
        assert_eq!(sorted(walk(store, query.clone().limit(limit)).await), expected, "limit {limit}");
        let ordered = query.clone().order_by("trendScore", Descending).limit(limit);
        assert_eq!(sorted(walk(store, ordered).await), expected, "limit {limit}, in order");
    }
    let query = query.order_by("trendScore", Descending);
    let selected = store.query(&query.clone().select(&["id", "trendScore", "nowhere"]).limit(1)).await.unwrap();
    assert_eq!(content(&selected.documents[0]), json!({ "id": "mood-1", "trendScore": 3 }));
    let page = store.query(&query).await.unwrap();
    let scores: Vec<_> = page.documents.iter().map(|mood| content(mood)["trendScore"].clone()).collect();
    assert_eq!(json!(scores), json!([3, 2, 1, 1, 0, 0]));
}

pub async fn a_query_gives_versions_that_can_be_written_against(store: &dyn DocumentStore) {
    let user = unique("user");
    fill(store, Container::Wardrobe, &user, [("a", json!({ "brand": "old" }))]).await;
    let query = Query::partition(Container::Wardrobe, &user);
    let page = store.query(&query).await.unwrap();
    let projected = store.query(&query.select(&["id"])).await.unwrap();
    assert_eq!(page.documents[0].etag, projected.documents[0].etag);
    let key = Key::new(Container::Wardrobe, &user, "a");
    store.replace(&key, &document(&key, json!({ "brand": "new" })), &page.documents[0].etag).await.unwrap();
}
