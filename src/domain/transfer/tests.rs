use std::io::Cursor;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::base::clock::SystemClock;
use crate::store::Query;
use crate::store::sqlite::SqliteStore;

fn empty_store() -> SqliteStore {
    SqliteStore::in_memory(Arc::new(SystemClock)).unwrap()
}

fn options() -> Options {
    Options { user: UserId::from("ada"), take_over: false, kind: None, dry_run: false }
}

/// Report and rejections (as `line: reason`) of importing one text.
async fn import_with(
    store: &SqliteStore,
    options: Options,
    format: Option<Format>,
    text: impl AsRef<[u8]>,
) -> (Report, Vec<String>) {
    let mut rejections = Vec::new();
    let input = Box::new(Cursor::new(text.as_ref().to_vec()));
    let report =
        import(store, vec![Source { name: "f".to_owned(), format, encoding: None, input }], options, |rejection| {
            rejections.push(format!("{}: {}", rejection.line, rejection.reason));
        })
        .await
        .unwrap();
    (report, rejections)
}

async fn import_text(store: &SqliteStore, text: impl AsRef<[u8]>) -> (Report, Vec<String>) {
    import_with(store, options(), None, text).await
}

async fn stored(store: &SqliteStore, container: Container) -> Vec<Value> {
    let page = store.query(&Query::all(container)).await.unwrap();
    page.documents.iter().map(|document| document.parse().unwrap()).collect()
}

async fn exported(store: &SqliteStore, kinds: &[RecordKind], format: Format) -> String {
    let mut out = Vec::new();
    export(store, &UserId::from("ada"), kinds, format, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

const ALL: [RecordKind; 3] = [RecordKind::Profile, RecordKind::Wardrobe, RecordKind::WearEvents];

fn counts(created: u64, updated: u64, unchanged: u64, rejected: u64) -> Report {
    Report { created, updated, unchanged, rejected }
}

/// Returns documents of each kind, some with unknown fields.
fn full_set() -> Value {
    json!([
        { "id": "ada", "locationCity": "Lisbon", "heightCm": 174, "stylePreferences": ["minimalist"], "x": { "y": [1] } },
        {
            "id": "coat", "userId": "ada", "category": "outerwear", "brand": "COS", "tags": ["warm", "a;b", " c"],
            "colours": [{ "name": "navy", "hex": "#1f2a44" }, { "name": "ink|black" }],
            "price": { "amount": 39.9, "originalCurrency": "EUR", "purchaseDate": "2026-01-02" },
            "notes": "two\nlines, \"quoted\"", "dateAdded": "2026-03-08T06:00:00.000Z", "wearCount": 3,
            "size": { "letter": "M", "system": "EU" }, "careInfo": [], "isWishlisted": false,
            "wearEvents": [{ "occurredAt": "2026-03-09T06:00:00Z", "occasion": "walk" }], "apiField": { "kept": true }
        },
        { "id": "hat", "userId": "ada", "category": "Hüte", "price": 12, "tags": ["[x]"] },
        { "id": "w1", "userId": "ada", "itemId": "coat", "occurredAt": "2026-03-09T06:00:00Z",
          "weatherSnapshot": { "tempCelsius": -3.5, "conditions": "Snow" } },
    ])
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let store = empty_store();
    let text = full_set().to_string();
    let versions = async || {
        let page = store.query(&Query::all(Container::Wardrobe)).await.unwrap();
        page.documents.into_iter().map(|stored| stored.etag).collect::<Vec<_>>()
    };
    assert_eq!(import_text(&store, &text).await, (counts(4, 0, 0, 0), vec![]));
    let before = versions().await;
    assert_eq!(import_text(&store, &text).await, (counts(0, 0, 4, 0), vec![]));
    assert_eq!(versions().await, before);
}

#[tokio::test]
async fn json_and_lines_give_the_same_documents_back() {
    for format in [Format::Json, Format::Lines] {
        let (first, second) = (empty_store(), empty_store());
        import_text(&first, full_set().to_string()).await;
        let text = exported(&first, &ALL, format).await;
        assert_eq!(import_text(&second, &text).await, (counts(4, 0, 0, 0), vec![]), "{text}");
        for kind in ALL {
            assert_eq!(stored(&first, kind.container()).await, stored(&second, kind.container()).await);
        }
        assert_eq!(exported(&second, &ALL, format).await, text);
    }
}

#[tokio::test]
async fn a_table_gives_back_what_it_has_columns_for() {
    let (first, second) = (empty_store(), empty_store());
    import_text(&first, full_set().to_string()).await;
    let text = exported(&first, &[RecordKind::Wardrobe], Format::Csv).await;
    assert_eq!(import_text(&second, &text).await, (counts(2, 0, 0, 0), vec![]), "{text}");
    let mut expected = stored(&first, Container::Wardrobe).await;
    for item in &mut expected {
        item.as_object_mut().unwrap().retain(|name, _| name != "wearEvents" && name != "apiField");
    }
    assert_eq!(stored(&second, Container::Wardrobe).await, expected);
    // Fields that the table lacks are kept.
    assert_eq!(import_text(&first, &text).await.0, counts(0, 0, 2, 0));
}

#[tokio::test]
async fn only_wardrobes_make_a_table() {
    let outcome = export(&empty_store(), &UserId::from("ada"), &ALL, Format::Csv, Vec::new()).await;
    assert!(matches!(outcome, Err(Error::NoTable)));
}

#[tokio::test]
async fn a_row_is_merged_into_what_is_stored() {
    let store = empty_store();
    import_text(&store, full_set().to_string()).await;
    let row = json!({ "id": "coat", "brand": "Arket", "price": { "amount": 45 }, "lastWornAt": null, "size": { "waist": 32 } });
    assert_eq!(import_text(&store, row.to_string()).await, (counts(0, 1, 0, 0), vec![]));
    let coat = stored(&store, Container::Wardrobe).await.remove(0);
    assert_eq!(coat["brand"], "Arket");
    assert_eq!(coat["price"], json!({ "amount": 45, "originalCurrency": "EUR", "purchaseDate": "2026-01-02" }));
    assert_eq!(coat["size"], json!({ "letter": "M", "system": "EU", "waist": 32 }));
    assert_eq!(coat["apiField"], json!({ "kept": true }));
    assert_eq!(coat.get("lastWornAt"), None);
    // A bare amount keeps the currency; another format of a number or time is not a change.
    let same = json!({ "id": "coat", "price": 45.0, "dateAdded": "2026-03-08T07:00:00+01:00" });
    assert_eq!(import_text(&store, same.to_string()).await, (counts(0, 0, 1, 0), vec![]));
}

#[tokio::test]
async fn an_item_without_an_id_gets_one_from_its_content() {
    let store = empty_store();
    let rows = "{\"category\":\"tops\",\"brand\":\"COS\"}\n{\"brand\":\"COS\",\"category\":\"tops\",\"notes\":null}\n";
    assert_eq!(import_text(&store, rows).await.0, counts(1, 0, 1, 0));
    assert_eq!(import_text(&store, rows).await.0, counts(0, 0, 2, 0));
    // It must never change: it determines which stored item a row refers to.
    let id = "item-67ccc6bfde212b81f3febf44292d730a";
    let expected = json!({ "id": id, "userId": "ada", "brand": "COS", "category": "tops" });
    assert_eq!(stored(&store, Container::Wardrobe).await, [expected]);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen() {
    let store = empty_store();
    let dry = Options { dry_run: true, ..options() };
    let rows = "{\"id\":\"a\",\"brand\":\"x\"}\n{\"id\":\"a\",\"brand\":\"x\"}\n{\"id\":\"b\",\"wearCount\":-1}\n";
    assert_eq!(import_with(&store, dry.clone(), None, rows).await.0, counts(1, 0, 1, 1));
    assert!(stored(&store, Container::Wardrobe).await.is_empty());
    import_text(&store, rows).await;
    assert_eq!(import_with(&store, dry, None, "{\"id\":\"a\",\"brand\":\"y\"}").await.0, counts(0, 1, 0, 0));
    assert_eq!(stored(&store, Container::Wardrobe).await[0]["brand"], "x");
}

#[tokio::test]
async fn each_fault_is_named() {
    let moment = "expected a date like 2026-03-08 or a time like 2026-03-08T06:00:00Z";
    let others = "it belongs to another user: give --user ada to make it ada's";
    for (row, reason) in [
        ("7", "7 is not an object"),
        (r#"{"id":"a"}"#, "it has no field of a wardrobe item, a profile or a wear event"),
        (r#"{"brand": oops}"#, "not JSON: expected value"),
        (r#"{"brand":1}"#, "brand is 1: expected a text"),
        (r#"{"id":7,"brand":"x"}"#, "id is 7: expected a text"),
        (
            r#"{"id":"a/b","brand":"x"}"#,
            r#"id is "a/b": expected 1 to 1023 bytes without / \ ? # and control characters"#,
        ),
        (r#"{"tags":"a"}"#, r#"tags is "a": expected a list"#),
        (r#"{"tags":["a",1]}"#, "tags[1] is 1: expected a text"),
        (r#"{"price":"12"}"#, r#"price is "12": expected a number"#),
        (r#"{"price":{"amount":"1"}}"#, r#"price.amount is "1": expected a number"#),
        (r#"{"price":{"amount":null}}"#, r#"price is {"amount":null}: expected an amount"#),
        (r#"{"price":{"amount":1,"originalCurrency":978}}"#, "price.originalCurrency is 978: expected a text"),
        (r#"{"colours":[{"name":"a","hex":12}]}"#, "colours[0].hex is 12: expected a text"),
        (r#"{"colours":[{}]}"#, "colours[0] is {}: expected a name, a hex value, or both"),
        (r#"{"wearCount":1.5}"#, "wearCount is 1.5: expected a whole number, not negative"),
        (r#"{"dateAdded":"soon"}"#, &format!(r#"dateAdded is "soon": {moment}"#)),
        (r#"{"isWishlisted":"no"}"#, r#"isWishlisted is "no": expected true or false"#),
        (r#"{"condition":5}"#, "condition is 5: expected a text"),
        (r#"{"wearEvents":[{"occasion":3}]}"#, "wearEvents[0].occasion is 3: expected a text"),
        (r#"{"brand":"x","userId":"bob"}"#, others),
        (r#"{"id":"bob","locationCity":"Rome"}"#, others),
        (r#"{"styleConfidenceProfile":2}"#, "styleConfidenceProfile is 2: expected a number from 0 to 1"),
        (r#"{"itemId":"coat"}"#, "occurredAt is missing"),
        (r#"{"itemId":"a?","occurredAt":"2026-01-01"}"#, r#"itemId is "a?": not a valid id"#),
    ] {
        let outcome = import_with(&empty_store(), options(), Some(Format::Lines), row).await;
        assert_eq!(outcome, (counts(0, 0, 0, 1), vec![format!("1: {reason}")]), "{row}");
    }
}

#[tokio::test]
async fn a_document_keeps_what_a_table_must_write_readably() {
    let item = json!({
        "id": "coat", "userId": "ada", "price": { "amount": -1, "originalCurrency": "Euros", "purchaseDate": "May" },
        "colours": [{ "name": "navy", "hex": "blue" }, { "name": "", "hex": "" }], "purchaseDate": "31/12/2025",
        "size": { "waist": -1, "shoeSize": -1 }, "wearCount": 3.0, "category": "", "condition": "Well loved",
    });
    let profile = json!({ "id": "ada", "heightCm": 171 });
    for document in [item, profile] {
        let store = empty_store();
        assert_eq!(import_text(&store, document.to_string()).await, (counts(1, 0, 0, 0), vec![]));
        let text = exported(&store, &ALL, Format::Json).await;
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!([document]));
        assert_eq!(import_text(&store, text).await, (counts(0, 0, 1, 0), vec![]));
    }
    for (table, reason) in [
        ("id,price,currency\na,1,Euros\n", "price.originalCurrency is \"Euros\": expected a currency code like EUR"),
        ("id,colours\na,navy:#12\n", "colours[0].hex is \"#12\": expected a colour like #1f2a44"),
        ("id,condition\na,Bad\n", "condition is \"Bad\": expected one of New, Excellent, Good, Fair"),
        ("id,shoeSize\na,-1\n", "size.shoeSize is -1: expected a number, not negative"),
    ] {
        assert_eq!(coat(table).await.1, [format!("2: {reason}")], "{table}");
    }
}

#[tokio::test]
async fn a_row_must_be_of_the_kind_that_was_asked_for() {
    for (kind, expected) in [
        (RecordKind::Wardrobe, counts(2, 0, 0, 2)),
        (RecordKind::Profile, counts(1, 0, 0, 3)),
        (RecordKind::WearEvents, counts(1, 0, 0, 3)),
    ] {
        let options = Options { kind: Some(kind), ..options() };
        let (report, _) = import_with(&empty_store(), options, None, full_set().to_string()).await;
        assert_eq!(report, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn an_explicit_user_takes_over() {
    let store = empty_store();
    let options = Options { user: UserId::from("bob"), take_over: true, ..options() };
    let mut rows = full_set();
    rows[1]["pendingWearEvents"] = json!([{ "id": "w2", "userId": "ada", "itemId": "coat" }, 7]);
    assert_eq!(import_with(&store, options, None, rows.to_string()).await.0, counts(4, 0, 0, 0));
    let pending = json!([{ "id": "w2", "userId": "bob", "itemId": "coat" }, 7]);
    assert_eq!(stored(&store, Container::Wardrobe).await[0]["pendingWearEvents"], pending);
    assert_eq!(stored(&store, Container::UserProfiles).await[0]["id"], "bob");
    assert_eq!(stored(&store, Container::WearEvents).await[0]["userId"], "bob");
}

#[tokio::test]
async fn one_id_with_two_meanings_is_rejected() {
    let rows = "{\"id\":\"a\",\"brand\":\"x\"}\n{\"id\":\"a\",\"brand\":\"y\"}\n";
    let (report, rejections) = import_text(&empty_store(), rows).await;
    assert_eq!(report, counts(1, 0, 0, 1));
    assert_eq!(rejections, ["2: a row before has the id \"a\" and says something else"]);
}

#[tokio::test]
async fn good_rows_survive_bad_ones_in_every_layout() {
    let list = "[\n {\"id\":\"a\",\n  \"brand\":\"x\"},\n {\"id\": oops},\n {\"tags\":\"open},\n {\"id\":\"b\",\"brand\":\"x\"}\n]\n";
    let lines = "{\"id\":\"a\",\"brand\":\"x\"}\n{\"id\": \n\nnull\n{\"id\":\"b\",\"brand\":\"x\"}";
    let values = "{\n\"id\":\"a\",\n\"brand\":\"}x{\"}\n7 {\"id\":\"b\",\n\"brand\":\"\\\"]\"}";
    for (text, created, places) in [(list, 2, "45"), (lines, 2, "24"), (values, 2, "4")] {
        let (report, rejections) = import_text(&empty_store(), text).await;
        let lines: String = rejections.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!((report.created, lines.as_str()), (created, places), "{text}: {rejections:?}");
    }
}

#[tokio::test]
async fn a_file_that_breaks_off_keeps_its_whole_rows() {
    for (text, reason) in [
        ("[{\"id\":\"a\",\"brand\":\"x\"},", "1: the list does not end: is the file complete?"),
        ("[{\"id\":\"a\",\"brand\":\"x\"},\n{\"id\":", "2: the row does not end: is the file complete?"),
        ("[{\"id\":\"a\",\"brand\":\"x\"}]\n{}", "2: something follows the list; it was not read"),
    ] {
        assert_eq!(import_text(&empty_store(), text).await, (counts(1, 0, 0, 1), vec![reason.to_owned()]));
    }
}

#[tokio::test]
async fn empty_files_and_marks_are_fine() {
    let store = empty_store();
    for text in ["", " \n", "[]", "\u{feff}[]", "\u{feff}", "[ \n ]\n\n"] {
        assert_eq!(import_text(&store, text).await, (counts(0, 0, 0, 0), vec![]), "{text:?}");
    }
    let marked = "\u{feff}category,brand\r\ntops,COS\r\n\r\n";
    assert_eq!(import_text(&store, marked).await, (counts(1, 0, 0, 0), vec![]));
}

#[tokio::test]
async fn rows_that_are_too_long_are_passed_over() {
    let long = "x".repeat(LONGEST_ROW);
    let fits = "y".repeat(LONGEST_ROW - 100);
    for (format, text, line) in [
        (Format::Json, format!("[{{\"imageUrl\":\"{long}\"}},\n{{\"imageUrl\":\"{fits}\"}}]"), 1),
        (Format::Lines, format!("{{\"imageUrl\":\"{long}\"}}\n{{\"imageUrl\":\"{fits}\"}}\n"), 1),
        (Format::Csv, format!("imageUrl\n{long}z\n{fits}\n"), 2),
    ] {
        let outcome = import_with(&empty_store(), options(), Some(format), text).await;
        let reason = format!("{line}: the row is longer than {LONGEST_ROW} bytes");
        assert_eq!(outcome, (counts(1, 0, 0, 1), vec![reason]), "{format:?}");
    }
}

#[tokio::test]
async fn a_quote_that_never_closes_does_not_fill_the_memory() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += buffer.len() as u64;
            assert!(self.0 < 100 * LONGEST_ROW as u64, "read on and on");
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    let input = Box::new(Cursor::new("notes\n\"").chain(Endless(0)));
    let source = Source { name: "f".to_owned(), format: None, encoding: None, input };
    let mut reasons = Vec::new();
    let report =
        import(&empty_store(), vec![source], options(), |rejection| reasons.push(rejection.reason.clone())).await;
    assert_eq!(report.unwrap(), counts(0, 0, 0, 1));
    assert!(reasons[0].contains("is a closing quote missing?"), "{reasons:?}");
}

#[tokio::test]
async fn faults_of_a_table_have_their_line() {
    let store = empty_store();
    let text = "id,category,price,colours,wear count\n\
                a,tops,12.50,navy:#1f2a44|#ffffff;red,3\n\
                b,tops,cheap,,\n\
                c,\"two\nlines\",1,,\n\
                d,tops\n\
                e,tops,1,navy:#12,\n\
                f,,,,-1\n";
    let (report, rejections) = import_text(&store, text).await;
    let expected = [
        "3: price is \"cheap\": expected a number like 39.9",
        "6: it has 2 cells where the first line has 5",
        "7: colours[0].hex is \"#12\": expected a colour like #1f2a44",
        "8: wearCount is -1: expected a whole number, not negative",
    ];
    assert_eq!((report, rejections.as_slice()), (counts(2, 0, 0, 4), expected.map(str::to_owned).as_slice()));
    let item = stored(&store, Container::Wardrobe).await.remove(0);
    let colours = json!([{ "name": "navy", "hex": "#1f2a44" }, { "hex": "#ffffff" }, { "name": "red" }]);
    assert_eq!((&item["price"], &item["colours"], &item["wearCount"]), (&json!(12.5), &colours, &json!(3)));
    let (report, rejections) = import_text(&store, "id,colour\na,red\nb,red\n").await;
    assert_eq!(report.rejected, 1);
    assert!(rejections[0].starts_with("1: there is no column \"colour\"; there are id, category"), "{rejections:?}");
}

#[tokio::test]
async fn values_of_another_type_than_their_column_are_counted() {
    let store = empty_store();
    let key = Key::new(Container::Wardrobe, "ada", "odd");
    let odd = json!({ "id": "odd", "userId": "ada", "brand": 7, "tags": "none", "wearCount": 2 });
    store.create(&key, &odd).await.unwrap();
    let exported =
        export(&store, &UserId::from("ada"), &[RecordKind::Wardrobe], Format::Csv, Vec::new()).await.unwrap();
    assert_eq!(exported, Exported { rows: 1, lost_values: 2 });
}

#[tokio::test]
async fn every_column_comes_back() {
    let cell = |column: &str| match column {
        "id" => "a",
        "tags" | "aestheticTags" | "careInfo" => "one;two",
        "colours" => "navy:#1f2a44",
        "isWishlisted" => "true",
        "condition" => "Good",
        "currency" => "EUR",
        "pricePurchaseDate" | "purchaseDate" | "dateAdded" | "lastWornAt" => "2026-01-02",
        "price" | "estimatedMarketValue" | "sizeWaist" | "sizeInseam" | "shoeSize" | "wearCount" => "42",
        _ => "text",
    };
    let text = format!("{}\n{}\n", column_names().join(","), column_names().map(cell).join(","));
    let store = empty_store();
    assert_eq!(import_text(&store, &text).await, (counts(1, 0, 0, 0), vec![]));
    assert_eq!(exported(&store, &[RecordKind::Wardrobe], Format::Csv).await, text);
}

#[tokio::test]
async fn many_rows_arrive_in_pages() {
    let store = empty_store();
    let rows: String = (0..1_201).map(|n| format!("{{\"id\":\"{n:04}\",\"brand\":\"x\"}}\n")).collect();
    assert_eq!(import_text(&store, rows).await.0, counts(1_201, 0, 0, 0));
    assert_eq!(exported(&store, &ALL, Format::Lines).await.lines().count(), 1_201);
}

/// Imports one table of a coat and returns what was stored of it, with what was rejected.
async fn coat(text: impl AsRef<[u8]>) -> (Value, Vec<String>) {
    let store = empty_store();
    let (_, rejections) = import_with(&store, options(), Some(Format::Csv), text).await;
    (stored(&store, Container::Wardrobe).await.pop().unwrap_or_default(), rejections)
}

#[tokio::test]
async fn tables_of_all_spreadsheets_are_read() {
    let utf16 = |text: &str| -> Vec<u8> {
        [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let expected = json!({
        "id": "1", "userId": "ada", "category": "outerwear", "tags": ["warm", "wool"],
        "price": { "amount": 1120.5, "originalCurrency": "EUR" },
    });
    for text in [
        "id,category,tags,price,currency\n1,outerwear,warm|wool,1120.50,EUR\n".to_owned().into_bytes(),
        "\u{feff}ID;Category;Tags;Price;Currency\r\n1;outerwear;\"warm;wool\";1.120,50;EUR\r\n".into(),
        "id\tcategory\ttags\tprice\n1\touterwear\twarm|wool\tEUR 1120.50\n".into(),
        "id;category;tags;price\n1;outerwear;warm|wool;1120,5 €\n".into(),
        "sep=;\r\nid;category;tags;price\r\n1;outerwear;warm|wool;1120,50 EUR\r\n".into(),
        "\r\n\"sep=,\"\r\n\r\nid,category,tags,price\r\n1,outerwear,warm|wool,\"€1,120.50\"\r\n".into(),
        "sep=\t\nid\tcategory\ttags\tprice\n1\touterwear\twarm|wool\t1120.5 eur\n".into(),
        // Columns and rows that were cleared, and cells that never were.
        "id,category,tags,price,,\n1,outerwear,warm|wool,€1120.5,,,,\n , ,,,,\n,,,,,\n".into(),
        utf16("id\tcategory\ttags\tprice\r\n1\touterwear\twarm|wool\t1120.5 EUR\r\n"),
    ] {
        let found = coat(&text).await;
        assert_eq!(found, (expected.clone(), vec![]), "{}", String::from_utf8_lossy(&text));
    }
}

#[tokio::test]
async fn what_a_table_leaves_open_is_asked() {
    for (text, reason) in [
        (
            "id;price\na;1.299\n",
            "2: price is \"1.299\": expected a number like 39.9; three digits behind one comma or point may be thousands",
        ),
        ("sep=;\nid;price\na;cheap\n", "3: price is \"cheap\": expected a number like 39.9"),
        ("id,price\na,$89\n", "2: price is \"$89\": expected the currency in the column currency, by a code like EUR"),
        (
            "id,price,currency\na,$89,EUR\n",
            "2: price is \"$89\": expected an amount in EUR, as the column currency says",
        ),
        ("id,brand,\na,x,y\n", "2: column 3 has a value and no name in the first line"),
        ("id,brand\na,x,y\n", "2: it has 3 cells where the first line has 2"),
    ] {
        assert_eq!(coat(text).await.1, [reason], "{text}");
    }
    let (found, rejections) = coat("id,price,currency\na,$89,cad\n").await;
    assert_eq!((&found["price"]["originalCurrency"], rejections), (&json!("cad"), vec![]));
    let latin = b"id,brand\na,S\xe9zane\n";
    let reason = "is not UTF-8: save the file as UTF-8, or name its encoding, as with --encoding windows-1252";
    assert_eq!(coat(latin).await.1, [format!("2: brand {reason}")]);
    let lines = import_with(&empty_store(), options(), Some(Format::Lines), b"{\"brand\":\"S\xe9zane\"}").await;
    assert_eq!(lines.1, [format!("1: it {reason}")]);
    let store = empty_store();
    let input = Box::new(Cursor::new(latin.to_vec()));
    let encoding = Some(encoding_rs::WINDOWS_1252);
    let source = Source { name: "f".to_owned(), format: None, encoding, input };
    import(&store, vec![source], options(), |_| panic!("nothing is wrong with it")).await.unwrap();
    assert_eq!(stored(&store, Container::Wardrobe).await[0]["brand"], "Sézane");
}

#[tokio::test]
async fn dates_of_spreadsheets_are_named_with_what_to_write() {
    let moment = "expected a date like 2026-03-08 or a time like 2026-03-08T06:00:00Z";
    for (date, hint) in [
        ("08.03.2026", "; write 2026-03-08"),
        ("8.3.2026 14:05", "; write 2026-03-08"),
        ("2026/03/08", "; write 2026-03-08"),
        ("08/03/2026", "; is that 2026-03-08 or 2026-08-03?"),
        ("25/03/2026", "; write 2026-03-25"),
        ("03/25/2026", "; write 2026-03-25"),
        ("46089", "; a day's number of a spreadsheet: format the column as a date"),
        ("2026-02-30", ""),
        ("08.03.26", ""),
        ("soon", ""),
    ] {
        let (_, rejections) = coat(format!("id,purchaseDate\na,{date}\n")).await;
        assert_eq!(rejections, [format!("2: purchaseDate is \"{date}\": {moment}{hint}")]);
    }
}

#[tokio::test]
async fn no_cell_is_a_formula_and_each_comes_back() {
    let texts =
        ["=1+1", "+x", "-x", "@x", "\tx", "\rx", "'=x", "''-x", "'x", "''", "'", "x=1", "=HYPERLINK(\"a\",\"b\")"];
    let (first, second) = (empty_store(), empty_store());
    for (number, text) in texts.iter().enumerate() {
        let row = json!({ "id": format!("{number:02}"), "brand": text, "tags": [text], "colours": [{ "name": text }] });
        import_text(&first, row.to_string()).await;
    }
    let odd = json!({ "id": "odd", "userId": "ada", "price": -3, "brand": "x" });
    first.create(&Key::new(Container::Wardrobe, "ada", "odd"), &odd).await.unwrap();
    let table = exported(&first, &[RecordKind::Wardrobe], Format::Csv).await;
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    for record in reader.records() {
        for cell in &record.unwrap() {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?}");
        }
    }
    let (report, rejections) = import_text(&second, &table).await;
    let reason = format!("{}: price is -3: expected a number, not negative", table.trim_end().lines().count());
    assert_eq!((report.created, rejections.len()), (texts.len() as u64, 1), "{rejections:?} {reason}");
    let mut before = stored(&first, Container::Wardrobe).await;
    before.retain(|item| item["id"] != "odd");
    assert_eq!(stored(&second, Container::Wardrobe).await, before);
}

#[tokio::test]
async fn an_item_that_is_too_large_is_rejected_unless_it_is_stored_so() {
    let store = empty_store();
    let item = |bytes: usize| json!({ "id": "coat", "notes": "x".repeat(bytes) }).to_string();
    let (report, rejections) = import_text(&store, item(66_000)).await;
    assert_eq!(report, counts(0, 0, 0, 1));
    assert_eq!(rejections, ["1: The item is too large: its texts and lists may have at most 64 KiB together."]);
    let large = json!({ "id": "coat", "userId": "ada", "notes": "x".repeat(70_000) });
    store.create(&Key::new(Container::Wardrobe, "ada", "coat"), &large).await.unwrap();
    assert_eq!(import_text(&store, item(66_000)).await.0, counts(0, 1, 0, 0), "smaller than before");
    assert_eq!(import_text(&store, item(66_200)).await.0, counts(0, 0, 0, 1));
}

#[tokio::test]
async fn a_blank_around_brand_and_category_is_not_kept() {
    let store = empty_store();
    let (report, _) =
        import_text(&store, r#"[{"id":"a","category":"Tops ","brand":" COS"},{"category":"Tops "}]"#).await;
    assert_eq!(report, counts(2, 0, 0, 0));
    let items = stored(&store, Container::Wardrobe).await;
    assert_eq!(items.iter().map(|item| item["category"].clone()).collect::<Vec<_>>(), ["Tops", "Tops"]);
    assert_eq!(items[0]["brand"], "COS");
    // The id of a row without one is still that of what it says.
    assert_eq!(import_text(&store, r#"{"category":"Tops "}"#).await.0, counts(0, 0, 1, 0));
}

#[tokio::test]
async fn a_table_that_ends_inside_a_quote_rejects_the_row() {
    let open = "2: a closing quote is missing: the row takes in the rest of the file";
    let rows = "id,notes\n";
    for (text, expected) in [
        (format!("{rows}a,\"the 501\nb,fine\nc,white\n"), vec![open]),
        (format!("{rows}a,\"the 501"), vec![open]),
        (format!("{rows}a,\"the \"\"501\"\"\n"), vec![open]),
        (format!("{rows}a,\"the 501\nand \"\"502\"\"\""), vec![]),
        (format!("{rows}a,\"the 501\"\r\n\r\n"), vec![]),
        (format!("{rows}a,5\" wide"), vec![]),
        (rows.to_owned(), vec![]),
        (String::new(), vec![]),
    ] {
        let (stored, rejections) = coat(&text).await;
        assert_eq!(rejections, expected, "{text:?}");
        assert_eq!(stored.is_object(), text.contains("a,") && expected.is_empty(), "{text:?}");
    }
    let (_, rejections) = coat("id,\"notes\na,b\n").await;
    assert_eq!(rejections, ["1: a closing quote is missing: the row takes in the rest of the file"]);
}
