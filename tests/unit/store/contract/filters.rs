//! Filters of queries.

use pluckit::store::query::Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
use pluckit::store::{Container, Direction, DocumentStore, Filter, Key, Query};
use serde_json::{Value, json};

use Direction::{Ascending, Descending};

use super::{document, fill, ids, sorted, unique, walk};

/// One document for each kind of value that a field `v` can have; its id says which.
fn kinds() -> Vec<(&'static str, Value)> {
    vec![
        ("apple", json!({ "v": "apple" })),
        ("banana", json!({ "v": "Banana" })),
        ("empty", json!({ "v": "" })),
        ("false", json!({ "v": false })),
        ("half", json!({ "v": 1.5 })),
        ("list", json!({ "v": ["apple", 1, null, true] })),
        ("minus", json!({ "v": -1 })),
        ("missing", json!({})),
        ("null", json!({ "v": null })),
        ("object", json!({ "v": { "w": 1 } })),
        ("one", json!({ "v": 1 })),
        ("pears", json!({ "v": ["Grüne BIRNE", "pear"] })),
        ("text-one", json!({ "v": "1" })),
        ("true", json!({ "v": true })),
        ("zero", json!({ "v": 0 })),
    ]
}

/// Asserts which of [`kinds`] match each filter. A leading `!` means all but these.
async fn assert_matches(store: &dyn DocumentStore, cases: Vec<(Filter, &str)>) {
    let user = unique("user");
    fill(store, Container::Wardrobe, &user, kinds()).await;
    for (filter, expected) in cases {
        let listed: Vec<&str> = expected.trim_start_matches('!').split_whitespace().collect();
        assert!(listed.iter().all(|id| kinds().iter().any(|(kind, _)| kind == id)), "no such document: {expected}");
        let wanted: Vec<&str> = kinds()
            .into_iter()
            .map(|(id, _)| id)
            .filter(|id| listed.contains(id) != expected.starts_with('!'))
            .collect();
        let query = Query::partition(Container::Wardrobe, &user).matching(filter.clone());
        assert_eq!(sorted(ids(store, query).await), wanted, "{filter:?}");
    }
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

pub async fn equality_knows_types(store: &dyn DocumentStore) {
    let cases = vec![
        (Filter::equal("v", 1), "one"),
        (Filter::equal("v", 1.0), "one"),
        (Filter::equal("v", 1.5), "half"),
        (Filter::equal("v", "1"), "text-one"),
        (Filter::equal("v", true), "true"),
        (Filter::equal("v", false), "false"),
        (Filter::equal("v", Value::Null), "null"),
        (Filter::equal("v", ""), "empty"),
        (Filter::equal("v", "banana"), ""),
        (Filter::not_equal("v", 1), "! one missing"),
        (Filter::not_equal("v", "apple"), "! apple missing"),
        (Filter::not_equal("v", true), "! true missing"),
        (Filter::not_equal("v", Value::Null), "! null missing"),
        (not(Filter::equal("v", 1)), "! one missing"),
        (not(Filter::equal("v", Value::Null)), "! null missing"),
        (not(Filter::not_equal("v", "apple")), "apple"),
        (not(not(Filter::equal("v", "apple"))), "apple"),
    ];
    assert_matches(store, cases).await;
}

pub async fn ranges_stay_within_one_type(store: &dyn DocumentStore) {
    let compare = |comparison, value: Value| Filter::Compare("v", comparison, value);
    let cases = vec![
        (compare(Less, json!(1)), "minus zero"),
        (compare(LessOrEqual, json!(1)), "minus zero one"),
        (compare(Greater, json!(0)), "one half"),
        (compare(GreaterOrEqual, json!(0)), "zero one half"),
        (compare(Greater, json!(1.25)), "half"),
        (compare(Less, json!("b")), "apple banana empty text-one"),
        (compare(GreaterOrEqual, json!("Banana")), "apple banana"),
        (compare(Greater, json!("Banana")), "apple"),
        (compare(Greater, json!(false)), "true"),
        (compare(LessOrEqual, json!(true)), "false true"),
        (not(compare(Less, json!(1))), "one half"),
        (not(compare(Greater, json!("Banana"))), "banana empty text-one"),
    ];
    assert_matches(store, cases).await;
}

pub async fn membership_knows_types(store: &dyn DocumentStore) {
    let among = |values: Vec<Value>| Filter::In("v", values);
    let cases = vec![
        (among(vec![json!(1), json!("apple")]), "one apple"),
        (among(vec![json!("1"), json!(true), json!("unheard of")]), "text-one true"),
        (among(vec![json!(0), Value::Null]), "zero null"),
        (among(vec![Value::Null]), "null"),
        (among(vec![]), ""),
        (not(among(vec![json!(1), json!("apple")])), "! one apple missing"),
        (not(among(vec![json!(0), Value::Null])), "! zero null missing"),
    ];
    assert_matches(store, cases).await;
}

pub async fn lists_are_searched(store: &dyn DocumentStore) {
    let contains = |value: Value| Filter::Contains("v", value);
    let cases = vec![
        (contains(json!("apple")), "list"),
        (contains(json!("pear")), "pears"),
        (contains(json!("ear")), ""),
        (contains(json!(1)), "list"),
        (contains(json!("1")), ""),
        (contains(json!(true)), "list"),
        (contains(json!(false)), ""),
        (contains(Value::Null), "list"),
        (not(contains(json!("apple"))), "pears"),
        (not(contains(json!("unheard of"))), "list pears"),
    ];
    assert_matches(store, cases).await;
}

pub async fn texts_in_lists_are_found_in_any_case(store: &dyn DocumentStore) {
    let contains = |text: &str| Filter::AnyElementContains("v", text.to_owned());
    let cases = vec![
        (contains("PPL"), "list"),
        (contains("birne"), "pears"),
        (contains("GRÜNE b"), "pears"),
        (contains("unheard of"), ""),
        (contains("%"), ""),
        (not(contains("ppl")), "pears"),
    ];
    assert_matches(store, cases).await;
}

pub async fn whole_texts_in_lists_are_found_in_any_case(store: &dyn DocumentStore) {
    let any = |texts: &[&str]| Filter::ContainsAny("v", texts.iter().map(|text| (*text).to_owned()).collect());
    let cases = vec![
        (any(&["APPLE"]), "list"),
        (any(&["Pear", "apple"]), "list pears"),
        (any(&["grüne birne"]), "pears"),
        (any(&["Birne", "1", "pea", ""]), ""),
        (any(&[]), ""),
        (not(any(&["APPLE"])), "pears"),
    ];
    assert_matches(store, cases).await;
}

/// The same of elements that are known to be in lower case: a document with the mark is looked up by the index, which
/// knows no other case.
pub async fn lists_in_lower_case_may_say_so(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = [
        ("marked", json!({ "tags": ["denim"], "tagsInLowerCase": true })),
        ("mixed", json!({ "tags": ["Denim", "DENIM", "linen"] })),
        ("none", json!({ "tags": [], "tagsInLowerCase": true })),
        ("other", json!({ "tags": ["linen"] })),
    ];
    fill(store, Container::ScrapedItems, &user, documents).await;
    for (tags, expected) in
        [(&["Denim"][..], &["marked", "mixed"][..]), (&["LINEN", "denim"], &["marked", "mixed", "other"])]
    {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let query = Query::partition(Container::ScrapedItems, &user).matching(Filter::ContainsAny("tags", tags));
        assert_eq!(sorted(ids(store, query).await), expected);
    }
}

pub async fn texts_are_equal_in_any_case(store: &dyn DocumentStore) {
    let equals = |text: &str| Filter::EqualIgnoringCase("a", text.to_owned());
    let user = unique("user");
    let documents = [
        ("lower", json!({ "a": "été" })),
        ("upper", json!({ "a": "ÉTÉ", "b": 1 })),
        ("longer", json!({ "a": "été2" })),
        ("number", json!({ "a": 7 })),
        ("list", json!({ "a": ["été"] })),
        ("null", json!({ "a": null })),
        ("none", json!({})),
    ];
    fill(store, Container::Wardrobe, &user, documents).await;
    let matching = async |filter: Filter| {
        sorted(ids(store, Query::partition(Container::Wardrobe, &user).matching(filter)).await).join(" ")
    };
    assert_eq!(matching(equals("Été")).await, "lower upper");
    assert_eq!(matching(equals("7")).await, "");
    assert_eq!(matching(equals("")).await, "");
    assert_eq!(matching(Filter::Not(Box::new(equals("été")))).await, "longer");
    assert_eq!(matching(Filter::All(vec![equals("ÉTÉ"), Filter::equal("b", 1)])).await, "upper");
}

pub async fn documents_are_counted(store: &dyn DocumentStore) {
    let (user, other) = (unique("user"), unique("user"));
    for (owner, count) in [(&user, 7), (&other, 2)] {
        for n in 0..count {
            let key = Key::new(Container::WearEvents, owner, format!("event-{n}"));
            store.create(&key, &document(&key, json!({ "itemId": format!("item-{}", n % 2) }))).await.unwrap();
        }
    }
    let all = Query::partition(Container::WearEvents, &user);
    assert_eq!(store.count(&all).await.unwrap(), 7);
    let some = all.clone().matching(Filter::equal("itemId", "item-0"));
    assert_eq!(store.count(&some).await.unwrap(), 4);
    // Order, fields and page do not matter.
    let page = some.order_by("itemId", Ascending).select(&["id"]).limit(1).after(Some("x".to_owned()));
    assert_eq!(store.count(&page).await.unwrap(), 4);
    assert_eq!(store.count(&Query::partition(Container::WearEvents, unique("user"))).await.unwrap(), 0);
}

/// Every combination of filters that a wardrobe is asked with, in every order, page by page, beside the same in plain
/// code.
pub async fn filters_of_a_wardrobe_combine_in_every_order(store: &dyn DocumentStore) {
    type Test = Box<dyn Fn(&Value) -> bool>;
    fn test(test: impl Fn(&Value) -> bool + 'static) -> Test {
        Box::new(test)
    }
    let user = unique("user");
    let (categories, tags) = (["Tops", "tops", "Bottoms"], ["a", "b", "é"]);
    let wishes = [json!(null), json!(false), json!(true)];
    let mut documents = Vec::new();
    for n in 0..30_usize {
        let (category, tag) = (categories[n % 3], tags[n % 3]);
        let wish = if n > 5 { &wishes[n % 3] } else { &wishes[0] };
        let day = format!("2026-03-{:02}", n % 7 + 1);
        let fields = json!({
            "category": category, "tags": [tag, "x"], "wearCount": n % 4, "isWishlisted": wish,
            "price": { "amount": n % 5 }, "dateAdded": day,
        });
        let draft = if n == 0 { json!("Ready") } else { json!(null) };
        let sparse = json!({ "category": "TOPS", "tags": "a", "draftStatus": draft });
        documents.push((format!("item-{n:02}"), if n % 6 == 0 { sparse } else { fields }));
    }
    fill(store, Container::Wardrobe, &user, documents.iter().map(|(id, fields)| (id.as_str(), fields.clone()))).await;
    let has = |item: &Value, tag: &str| item["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)));
    let filters: Vec<(Filter, Test)> = vec![
        (
            Filter::EqualIgnoringCase("category", "tOPS".to_owned()),
            test(|item| item["category"].as_str().is_some_and(|category| category.eq_ignore_ascii_case("tops"))),
        ),
        (Filter::Contains("tags", json!("a")), test(move |item| has(item, "a"))),
        (
            Filter::Any(vec![Filter::Contains("tags", json!("é")), Filter::Contains("tags", json!("b"))]),
            test(move |item| has(item, "é") || has(item, "b")),
        ),
        (
            Filter::Any(vec![Filter::is_absent("isWishlisted"), Filter::not_equal("isWishlisted", true)]),
            test(|item| item["isWishlisted"] != true),
        ),
        (Filter::is_absent("draftStatus"), test(|item| item["draftStatus"].is_null())),
        (
            Filter::Compare("price.amount", GreaterOrEqual, json!(2)),
            test(|item| item["price"]["amount"].as_f64().is_some_and(|amount| amount >= 2.0)),
        ),
        (
            Filter::Compare("wearCount", LessOrEqual, json!(1)),
            test(|item| item["wearCount"].as_f64().is_some_and(|count| count <= 1.0)),
        ),
    ];
    for chosen in 0..1_usize << filters.len() {
        let chosen: Vec<&(Filter, Test)> =
            filters.iter().enumerate().filter(|(n, _)| chosen >> n & 1 == 1).map(|(_, filter)| filter).collect();
        let passes = |item: &Value| chosen.iter().all(|(_, test)| test(item));
        let expected: Vec<String> =
            documents.iter().filter(|(_, item)| passes(item)).map(|(id, _)| id.clone()).collect();
        let order = ["dateAdded", "wearCount", "price.amount"][chosen.len() % 3];
        let all: Vec<Filter> = chosen.iter().map(|(filter, _)| filter.clone()).collect();
        let whole = Query::partition(Container::Wardrobe, &user).matching(Filter::All(all.clone())).limit(7);
        let down = whole.clone().order_by(order, Descending).order_by("id", Ascending);
        let up = whole.order_by(order, Ascending).order_by("id", Descending);
        let (down, mut up) = (walk(store, down).await, walk(store, up).await);
        assert_eq!(sorted(down.clone()), expected, "{all:?} by {order}");
        up.reverse();
        assert_eq!(up, down, "{all:?} by {order}");
    }
}

pub async fn the_first_field_that_is_there_is_compared(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = [
        ("both", json!({ "created": "2026-02", "found": "2026-04" })),
        ("found", json!({ "found": "2026-03" })),
        ("neither", json!({})),
        ("null", json!({ "created": null, "found": "2026-01" })),
        ("number", json!({ "created": 5, "found": "2026-04" })),
    ];
    fill(store, Container::Wardrobe, &user, documents).await;
    let late = |comparison| Filter::CompareFirst(&["created", "found"], comparison, json!("2026-02"));
    for (filter, expected) in [
        (late(GreaterOrEqual), &["both", "found"][..]),
        (late(Greater), &["found"]),
        (late(Less), &["null"]),
        (not(late(Greater)), &["both", "null"]),
    ] {
        let query = Query::partition(Container::Wardrobe, &user).matching(filter.clone());
        let found = sorted(ids(store, query).await);
        // Whether values of another type pass a negated comparison is not promised.
        let found: Vec<_> = found.into_iter().filter(|id| id != "number").collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

pub async fn tokens_that_were_made_up_start_from_the_beginning(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = ["a", "b", "c"].map(|id| (id, json!({ "wearCount": 1 })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let query = Query::partition(Container::Wardrobe, &user).order_by("id", Ascending).limit(2);
    let next = store.query(&query).await.unwrap().next.expect("there is another page");
    assert_eq!(ids(store, query.clone().after(Some(next.clone()))).await, ["c"]);
    let (half, reversed) = (next[..next.len() / 2].to_owned(), next.chars().rev().collect());
    let of_another_query = "c1.eyJyb290Ijp7ImtpbmQiOiJyZXF1ZXN0Iiwic2VydmVyX2NvbnRpbnVhdGlvbiI6ImFcbmIifX0".to_owned();
    for token in
        [half, reversed, of_another_query, "c1.".to_owned(), "c2.e30".to_owned(), "é\n".to_owned(), String::new()]
    {
        assert_eq!(ids(store, query.clone().after(Some(token.clone()))).await, ["a", "b"], "{token:?}");
    }
}

pub async fn presence_is_not_nullness(store: &dyn DocumentStore) {
    let cases = vec![
        (Filter::is_defined("v"), "! missing"),
        (not(Filter::is_defined("v")), "missing"),
        (Filter::is_absent("v"), "missing null"),
        (not(Filter::is_absent("v")), "! missing null"),
        (Filter::is_defined("id"), "!"),
    ];
    assert_matches(store, cases).await;
}

pub async fn nested_fields_are_reached_by_dots(store: &dyn DocumentStore) {
    let cases = vec![
        (Filter::equal("v.w", 1), "object"),
        (Filter::is_defined("v.w"), "object"),
        (not(Filter::is_defined("v.w")), "! object"),
        (Filter::not_equal("v.w", 2), "object"),
        (Filter::equal("v.w.x", 1), ""),
    ];
    assert_matches(store, cases).await;
}

pub async fn what_a_document_lacks_is_neither_true_nor_false(store: &dyn DocumentStore) {
    let nowhere = || Filter::equal("nowhere", 1);
    let cases = vec![
        (nowhere(), ""),
        (not(nowhere()), ""),
        (not(Filter::Compare("nowhere", Less, json!(1))), ""),
        (not(Filter::In("nowhere", vec![json!(1)])), ""),
        (not(Filter::Contains("nowhere", json!(1))), ""),
        (not(Filter::AnyElementContains("nowhere", "a".to_owned())), ""),
        // Neither true nor false, or true: true. Neither, and false: false, whose negation is true.
        (Filter::Any(vec![nowhere(), Filter::equal("v", 1)]), "one"),
        (not(Filter::Any(vec![nowhere(), Filter::equal("v", 1)])), ""),
        (not(Filter::All(vec![nowhere(), Filter::equal("v", 1)])), "! one missing"),
        (not(Filter::All(vec![Filter::is_defined("nowhere"), nowhere()])), "!"),
    ];
    assert_matches(store, cases).await;
}

pub async fn conditions_combine(store: &dyn DocumentStore) {
    let number = || Filter::Compare("v", GreaterOrEqual, json!(-10));
    let positive = || Filter::Compare("v", Greater, json!(0));
    let cases = vec![
        (Filter::All(vec![number(), not(positive())]), "minus zero"),
        (Filter::Any(vec![positive(), Filter::equal("v", "apple"), Filter::equal("v", true)]), "one half apple true"),
        (
            Filter::All(vec![Filter::Any(vec![Filter::equal("v", 0), positive()]), not(Filter::equal("v", 1))]),
            "zero half",
        ),
        (Filter::All(vec![Filter::equal("id", "one"), positive()]), "one"),
        (Filter::All(vec![Filter::equal("id", "zero"), positive()]), ""),
        (not(Filter::Any(vec![not(number()), positive()])), "minus zero"),
    ];
    assert_matches(store, cases).await;
}

pub async fn values_of_filters_are_never_part_of_the_query(store: &dyn DocumentStore) {
    let user = unique("user");
    let texts =
        ["'; DROP TABLE Wardrobe; --", "\" OR 1=1", "@p0", "?1", "$.brand", "%_", "\\", "{}", "a\nb", "'", "\""];
    for (number, text) in texts.iter().enumerate() {
        let id = format!("item-{number:02}");
        fill(store, Container::Wardrobe, &user, [(id.as_str(), json!({ "brand": text, "tags": [text] }))]).await;
    }
    for (number, text) in texts.iter().enumerate() {
        let id = format!("item-{number:02}");
        for filter in [
            Filter::equal("brand", *text),
            Filter::In("brand", vec![json!(text)]),
            Filter::Contains("tags", json!(text)),
        ] {
            let query = Query::partition(Container::Wardrobe, &user).matching(filter.clone());
            assert_eq!(ids(store, query).await, [id.as_str()], "{filter:?}");
        }
        let query = Query::partition(Container::Wardrobe, &user)
            .matching(Filter::AnyElementContains("tags", (*text).to_owned()));
        assert!(ids(store, query).await.contains(&id), "{text}");
    }
}
