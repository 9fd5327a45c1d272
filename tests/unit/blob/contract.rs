//! The contract of [`BlobStore`], one function per guarantee.

use bytes::Bytes;
use futures::future::{join, join_all};
use pluckit::blob::{BlobName, BlobStore, ContainerName, Error, Put, SourceHash, Span};
use uuid::Uuid;

/// A container that no other test uses.
pub fn fresh_container() -> ContainerName {
    format!("test-{}", Uuid::new_v4()).parse().unwrap()
}

pub fn name(text: &str) -> BlobName {
    text.parse().unwrap()
}

/// Bytes among which no part looks like another.
fn pattern(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

async fn read(store: &impl BlobStore, container: &ContainerName, blob: &BlobName, span: Span) -> Vec<u8> {
    store.get(container, blob, span).await.unwrap().expect("the blob is there").bytes().await.unwrap()
}

async fn fill(store: &impl BlobStore, container: &ContainerName, names: &[&str]) {
    for text in names {
        let put =
            store.put_if_absent(container, &name(text), Bytes::copy_from_slice(text.as_bytes()), None).await.unwrap();
        assert_eq!(put, Put::Created, "{text}");
    }
}

/// All names with this prefix, by pages of `most`.
async fn names(store: &impl BlobStore, container: &ContainerName, prefix: &str, most: usize) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(container, prefix, after.as_deref(), most).await.unwrap();
        assert!(page.blobs.len() <= most, "{} blobs in a page of {most}", page.blobs.len());
        names.extend(page.blobs.into_iter().map(|blob| blob.name.to_string()));
        after = page.next;
        if after.is_none() {
            return names;
        }
    }
}

pub async fn a_blob_reads_back(store: impl BlobStore) {
    let (container, blob) = (fresh_container(), name("ada/coat-transparent.webp"));
    let content = pattern(100_000, 1);
    assert_eq!(store.put_if_absent(&container, &blob, content.clone(), None).await.unwrap(), Put::Created);
    let found = store.get(&container, &blob, Span::Whole).await.unwrap().unwrap();
    assert_eq!(found.range, 0..100_000);
    let properties = found.properties.clone();
    assert_eq!(found.bytes().await.unwrap(), content);
    assert_eq!(properties.size, 100_000);
    assert!(properties.etag.len() > 2 && properties.etag.starts_with('"') && properties.etag.ends_with('"'));
    assert_eq!(store.properties(&container, &blob).await.unwrap(), Some(properties));
}

pub async fn what_is_not_there_reads_as_none(store: impl BlobStore) {
    let container = fresh_container();
    for _ in 0..2 {
        for blob in [name("a"), name("b/a"), name("b/a/c")] {
            assert!(store.get(&container, &blob, Span::Whole).await.unwrap().is_none());
            assert!(store.get(&container, &blob, Span::Last(5)).await.unwrap().is_none());
            assert_eq!(store.properties(&container, &blob).await.unwrap(), None);
            assert!(!store.delete(&container, &blob).await.unwrap());
        }
        // First without the container, then with it.
        fill(&store, &container, &[&format!("b/{}", Uuid::new_v4())]).await;
    }
    assert!(names(&store, &fresh_container(), "", 10).await.is_empty());
}

pub async fn putting_if_absent_keeps_what_is_there(store: impl BlobStore) {
    let (container, blob) = (fresh_container(), name("a.webp"));
    assert_eq!(store.put_if_absent(&container, &blob, Bytes::from_static(b"first"), None).await.unwrap(), Put::Created);
    let before = store.properties(&container, &blob).await.unwrap();
    assert_eq!(store.put_if_absent(&container, &blob, Bytes::from_static(b"second"), None).await.unwrap(), Put::Exists);
    assert_eq!(store.properties(&container, &blob).await.unwrap(), before);
    assert_eq!(read(&store, &container, &blob, Span::Whole).await, b"first");
}

pub async fn putting_replaces_and_gives_a_new_version(store: impl BlobStore) {
    let (container, blob) = (fresh_container(), name("a/b.webp"));
    store.put(&container, &blob, Bytes::from_static(b"first")).await.unwrap();
    let before = store.properties(&container, &blob).await.unwrap().unwrap();
    store.put(&container, &blob, Bytes::from_static(b"other")).await.unwrap();
    let after = store.properties(&container, &blob).await.unwrap().unwrap();
    assert_ne!(before.etag, after.etag);
    assert_eq!(read(&store, &container, &blob, Span::Whole).await, b"other");
}

pub async fn one_of_200_creates_wins(store: impl BlobStore) {
    let (container, blob) = (fresh_container(), name("a/b/race.webp"));
    fill(&store, &container, &["elsewhere"]).await;
    let contents: Vec<Bytes> = (0..200).map(|seed| pattern(2000, seed)).collect();
    let puts =
        join_all(contents.iter().map(|content| store.put_if_absent(&container, &blob, content.clone(), None))).await;
    let winners: Vec<usize> = puts
        .into_iter()
        .enumerate()
        .filter_map(|(index, put)| (put.unwrap() == Put::Created).then_some(index))
        .collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(read(&store, &container, &blob, Span::Whole).await, contents[winners[0]]);
    assert_eq!(names(&store, &container, "a", 1000).await, ["a/b/race.webp"]);
}

pub async fn readers_see_whole_blobs_while_others_write(store: impl BlobStore) {
    const SIZE: usize = 300_000;
    let (container, blob) = (fresh_container(), name("a.webp"));
    let contents: Vec<Bytes> = (0..8).map(|letter| Bytes::from(vec![b'a' + letter; SIZE])).collect();
    store.put(&container, &blob, contents[0].clone()).await.unwrap();
    let write = async {
        for content in &contents {
            store.put(&container, &blob, content.clone()).await.unwrap();
        }
    };
    let look = async {
        for _ in 0..24 {
            let found = store.get(&container, &blob, Span::Whole).await.unwrap().expect("it never goes away");
            // A read may fail, but never mixes versions.
            if let Ok(bytes) = found.bytes().await {
                assert_eq!(bytes.len(), SIZE);
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "two versions in one");
            }
        }
    };
    join(write, look).await;
}

pub async fn names_of_all_kinds_work(store: impl BlobStore) {
    let container = fresh_container();
    let long = format!("{}/{}.webp", "l".repeat(250), "m".repeat(245));
    let unusual = [
        "ünï/日本語 👗.webp",
        "a b+c&d=e;f,g.webp",
        "100%25.webp",
        "50%/x%d",
        "50%d/x%f",
        "50%d%f",
        "q?u#e.webp",
        "'quotes\"<>|*:",
        "..hidden/...x",
        " lead",
        "-transparent.webp",
        &long,
    ];
    fill(&store, &container, &unusual).await;
    for text in unusual {
        assert_eq!(read(&store, &container, &name(text), Span::Whole).await, text.as_bytes(), "{text}");
        assert_eq!(names(&store, &container, text, 10).await, [text]);
    }
    let mut listed = names(&store, &container, "", 3).await;
    listed.sort_unstable();
    let mut expected = unusual.to_vec();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    for text in unusual {
        assert!(store.delete(&container, &name(text)).await.unwrap(), "{text}");
    }
    assert!(names(&store, &container, "", 10).await.is_empty());
}

pub async fn a_blob_may_be_named_as_the_start_of_another(store: impl BlobStore) {
    let container = fresh_container();
    let all = ["a", "a/b", "a/b/c", "a%d", "a%d/b"];
    fill(&store, &container, &all).await;
    for text in all {
        assert_eq!(read(&store, &container, &name(text), Span::Whole).await, text.as_bytes());
    }
    assert_eq!(names(&store, &container, "a", 2).await.len(), all.len());
    assert!(store.delete(&container, &name("a/b")).await.unwrap());
    assert_eq!(read(&store, &container, &name("a/b/c"), Span::Whole).await, b"a/b/c");
}

pub async fn an_empty_blob_is_a_blob(store: impl BlobStore) {
    let (container, blob) = (fresh_container(), name("empty.md"));
    assert_eq!(store.put_if_absent(&container, &blob, Bytes::new(), None).await.unwrap(), Put::Created);
    assert_eq!(store.put_if_absent(&container, &blob, Bytes::new(), None).await.unwrap(), Put::Exists);
    store.put(&container, &blob, Bytes::new()).await.unwrap();
    assert_eq!(store.properties(&container, &blob).await.unwrap().unwrap().size, 0);
    assert!(read(&store, &container, &blob, Span::Whole).await.is_empty());
    let part = store.get(&container, &blob, Span::From(0)).await;
    assert!(matches!(part, Err(Error::OutOfRange { size: 0 })));
}

pub async fn twenty_mebibytes_come_back_whole(store: impl BlobStore) {
    let (container, blob) = (fresh_container(), name("large.webp"));
    let content = pattern(20 << 20, 7);
    assert_eq!(store.put_if_absent(&container, &blob, content.clone(), None).await.unwrap(), Put::Created);
    assert!(read(&store, &container, &blob, Span::Whole).await == content);
    let (first, last) = (4 << 20, 13 << 20);
    let part = read(&store, &container, &blob, Span::Between(first, last)).await;
    assert!(part == content[4 << 20..=13 << 20]);
}

pub async fn parts_are_read(store: impl BlobStore) {
    let (container, blob) = (fresh_container(), name("digits"));
    store.put(&container, &blob, Bytes::from_static(b"0123456789")).await.unwrap();
    for (span, range, expected) in [
        (Span::Whole, 0..10, "0123456789"),
        (Span::From(0), 0..10, "0123456789"),
        (Span::From(9), 9..10, "9"),
        (Span::Between(0, 0), 0..1, "0"),
        (Span::Between(3, 6), 3..7, "3456"),
        (Span::Between(8, 100), 8..10, "89"),
        (Span::Between(0, u64::MAX), 0..10, "0123456789"),
        (Span::Last(3), 7..10, "789"),
        (Span::Last(100), 0..10, "0123456789"),
    ] {
        let part = store.get(&container, &blob, span).await.unwrap().unwrap();
        assert_eq!((part.range.clone(), part.properties.size), (range, 10), "{span:?}");
        assert_eq!(part.bytes().await.unwrap(), expected.as_bytes(), "{span:?}");
    }
}

pub async fn a_part_behind_the_end_is_refused(store: impl BlobStore) {
    let (container, blob) = (fresh_container(), name("digits"));
    store.put(&container, &blob, Bytes::from_static(b"0123456789")).await.unwrap();
    for span in [Span::From(10), Span::From(u64::MAX), Span::Between(10, 12), Span::Last(0), Span::Between(6, 3)] {
        let refused = store.get(&container, &blob, span).await;
        assert!(matches!(refused, Err(Error::OutOfRange { size: 10 })), "{span:?}");
    }
}

pub async fn the_type_is_kept(store: impl BlobStore) {
    let container = fresh_container();
    for (text, content_type) in
        [("a.webp", "image/webp"), ("b/index.md", "text/markdown; charset=utf-8"), ("c", "application/octet-stream")]
    {
        fill(&store, &container, &[text]).await;
        let properties = store.properties(&container, &name(text)).await.unwrap().unwrap();
        assert_eq!(properties.content_type, content_type);
        let found = store.get(&container, &name(text), Span::Whole).await.unwrap().unwrap();
        assert_eq!(found.properties.content_type, content_type);
        store.put(&container, &name(text), Bytes::new()).await.unwrap();
        let page = store.list(&container, text, None, 10).await.unwrap();
        assert_eq!(page.blobs[0].properties.content_type, content_type);
    }
}

pub async fn a_listing_is_in_order_and_knows_the_properties(store: impl BlobStore) {
    let container = fresh_container();
    fill(
        &store,
        &container,
        &["b", "a/2", "a/10", "a", "B", "a-b", "a/b/c", "c/"].map(|text| text.trim_end_matches('/')),
    )
    .await;
    assert_eq!(names(&store, &container, "", 100).await, ["B", "a", "a-b", "a/10", "a/2", "a/b/c", "b", "c"]);
    for blob in store.list(&container, "", None, 100).await.unwrap().blobs {
        let properties = store.properties(&container, &blob.name).await.unwrap().unwrap();
        assert_eq!(blob.properties, properties, "{}", blob.name);
    }
}

pub async fn a_listing_is_limited_to_its_prefix(store: impl BlobStore) {
    let container = fresh_container();
    fill(&store, &container, &["job/1/a.md", "job/1/b/c.md", "job/10/a.md", "job", "other/job/1/a.md"]).await;
    assert_eq!(names(&store, &container, "job/1/", 1).await, ["job/1/a.md", "job/1/b/c.md"]);
    assert_eq!(names(&store, &container, "job/1", 2).await, ["job/1/a.md", "job/1/b/c.md", "job/10/a.md"]);
    assert_eq!(names(&store, &container, "job/1/b/c.md", 2).await, ["job/1/b/c.md"]);
    assert!(names(&store, &container, "job/2", 2).await.is_empty());
    assert!(names(&store, &container, "/", 2).await.is_empty());
    assert!(names(&store, &container, "../", 2).await.is_empty());
}

pub async fn pages_give_every_blob_once(store: impl BlobStore) {
    let container = fresh_container();
    let all: Vec<String> = (0..23).map(|number| format!("{}/{:02}", number % 3, number)).collect();
    fill(&store, &container, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut expected = all.clone();
    expected.sort_unstable();
    for most in [1, 2, 7, 22, 23, 24] {
        assert_eq!(names(&store, &container, "", most).await, expected, "pages of {most}");
    }
    // What was deleted does not confuse those who are in the middle.
    let page = store.list(&container, "", None, 5).await.unwrap();
    for blob in &page.blobs {
        store.delete(&container, &blob.name).await.unwrap();
    }
    let rest = store.list(&container, "", page.next.as_deref(), 100).await.unwrap();
    let rest: Vec<String> = rest.blobs.into_iter().map(|blob| blob.name.to_string()).collect();
    assert_eq!(rest, expected[5..]);
}

pub async fn a_deleted_blob_is_gone_and_can_be_written_anew(store: impl BlobStore) {
    let (container, blob) = (fresh_container(), name("a/b/c.webp"));
    for content in ["first", "second"] {
        let put = store.put_if_absent(&container, &blob, Bytes::from_static(content.as_bytes()), None).await.unwrap();
        assert_eq!(put, Put::Created);
        assert_eq!(read(&store, &container, &blob, Span::Whole).await, content.as_bytes());
        assert!(store.delete(&container, &blob).await.unwrap());
        assert!(!store.delete(&container, &blob).await.unwrap());
        assert_eq!(store.properties(&container, &blob).await.unwrap(), None);
    }
}

pub async fn deleting_and_writing_side_by_side_harms_nobody(store: impl BlobStore) {
    let container = fresh_container();
    let work = (0..16).map(|number| {
        let (store, container) = (&store, &container);
        async move {
            let blob = name(&format!("a/b/{number}"));
            for _ in 0..10 {
                store.put(container, &blob, Bytes::from_static(b"x")).await.unwrap();
                assert!(store.delete(container, &blob).await.unwrap());
            }
        }
    });
    join_all(work).await;
    assert!(names(&store, &container, "", 100).await.is_empty());
}

pub async fn addresses_name_container_and_blob(store: impl BlobStore) {
    let container = fresh_container();
    let url = store.public_url(&container, &name("u1/a b.webp"));
    assert!(matches!(url.scheme(), "http" | "https"));
    assert!(url.path().ends_with(&format!("/{container}/u1/a%20b.webp")), "{url}");
    assert_eq!((url.query(), url.fragment(), url.password()), (None, None, None));
}

pub async fn an_address_leads_back_to_its_blob(store: impl BlobStore) {
    let container = fresh_container();
    for blob in ["a.webp", "u1/a b.webp", "ü/日本語.png", "a%2Fb/c?d#e.webp", "demo/feed/x-2.webp"] {
        let url = store.public_url(&container, &name(blob));
        assert_eq!(store.locate(url.as_str()), Some((container.clone(), name(blob))), "{url}");
        let shown = store.shown_url(&container, &name(blob), time::macros::datetime!(2026-03-02 09:15 UTC));
        assert_eq!(store.locate(shown.as_str()), Some((container.clone(), name(blob))), "{shown}");
        // With a signature, as clients send addresses back, and without the host.
        assert_eq!(store.locate(&format!("{url}?sv=2025-01-05&sig=x")), Some((container.clone(), name(blob))));
        assert_eq!(store.locate(url.path()), Some((container.clone(), name(blob))));
    }
    for foreign in ["https://i.redd.it/a.webp", "https://other.example/archive/a.webp", "a.webp", "", "data:,x"] {
        assert_eq!(store.locate(foreign), None, "{foreign}");
    }
}

pub async fn a_container_that_was_written_to_is_ready(store: impl BlobStore) {
    let container = fresh_container();
    fill(&store, &container, &["a"]).await;
    assert!(store.is_ready(&container).await.unwrap());
}

pub async fn a_blob_remembers_what_it_was_made_from(store: impl BlobStore) {
    let container = fresh_container();
    let source = SourceHash::of(b"the upload");
    let content = pattern(5000, 7);
    let made = name("u/made.webp");
    store.put_if_absent(&container, &made, content.clone(), Some(&source)).await.unwrap();
    let properties = store.properties(&container, &made).await.unwrap().unwrap();
    assert_eq!((properties.size, properties.source.as_ref()), (5000, Some(&source)));
    let found = store.get(&container, &made, Span::Last(10)).await.unwrap().unwrap();
    assert_eq!((found.range.clone(), found.properties.clone()), (4990..5000, properties));
    assert_eq!(found.bytes().await.unwrap(), content[4990..]);
    assert_eq!(read(&store, &container, &made, Span::Whole).await, content);
    let page = store.list(&container, "", None, 10).await.unwrap();
    assert_eq!(page.blobs[0].properties.size, 5000);
    // Content that looks as a store may keep a source is content.
    for (number, hash) in [source.to_string(), " ".repeat(64)].into_iter().enumerate() {
        let odd = Bytes::from(format!("{hash}\0pluckit source\0"));
        let plain = name(&format!("plain-{number}"));
        store.put(&container, &plain, odd.clone()).await.unwrap();
        assert_eq!(read(&store, &container, &plain, Span::Whole).await, odd);
        assert_eq!(store.properties(&container, &plain).await.unwrap().unwrap().source, None);
    }
}
