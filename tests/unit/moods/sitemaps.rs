//! Sitemaps: pages, indexes and news, compressed or not, and malicious ones.

use std::io::Write;
use std::ops::ControlFlow;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pluckit::domain::moods::sitemaps::{End, Entry, Listed, NotASitemap, period, read, title_of};
use pluckit::model::timestamp::Timestamp;

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn entries(body: impl Into<Bytes>) -> Result<(Vec<Entry>, End), NotASitemap> {
    let mut entries = Vec::new();
    let end = read(&body.into(), |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    })?;
    Ok((entries, end))
}

fn listed(url: &str, modified: &str, title: Option<&str>) -> Listed {
    Listed { url: url.to_owned(), modified: Timestamp::parse(modified), title: title.map(str::to_owned) }
}

const NEWS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:news="http://www.google.com/schemas/sitemap-news/0.9"
  xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url>
    <loc>https://a.example/coats?a=1&amp;b=2</loc>
    <image:image><image:loc>https://a.example/coat.jpg</image:loc><image:title>A picture</image:title></image:image>
    <news:news>
      <news:publication><news:name>Example</news:name><news:language>en</news:language></news:publication>
      <news:publication_date>2026-03-01T08:00:00+02:00</news:publication_date>
      <news:title>Coats &amp;amp; capes &#8212; <![CDATA[<b>now</b>]]></news:title>
    </news:news>
    <lastmod>2026-03-02</lastmod>
  </url>
  <url><loc><![CDATA[ https://a.example/two ]]></loc><lastmod>2026-02-28T10:00Z</lastmod><priority>0.5</priority></url>
  <url><lastmod>2026-02-28</lastmod></url>
  <url><loc>https://a.example/three</loc><lastmod>soon</lastmod><loc/></url>
</urlset>"#;

#[test]
fn pages_come_with_their_dates_and_titles() {
    let expected = [
        Entry::Page(listed("https://a.example/coats?a=1&b=2", "2026-03-01T06:00:00Z", Some("Coats & capes — now"))),
        Entry::Page(listed("https://a.example/two", "2026-02-28T10:00:00Z", None)),
        Entry::Page(listed("https://a.example/three", "", None)),
    ];
    let marked = format!("\u{feff}{NEWS}");
    for body in [NEWS.as_bytes().to_vec(), marked.into_bytes(), gzip(NEWS.as_bytes())] {
        assert_eq!(entries(body), Ok((expected.to_vec(), End::Reached)));
    }
    // Of two gzip members in one file, both count.
    let (first, second) = NEWS.split_at(NEWS.len() / 2);
    assert_eq!(entries([gzip(first.as_bytes()), gzip(second.as_bytes())].concat()).unwrap().0, expected);
}

#[test]
fn an_index_names_other_sitemaps() {
    let index = "<s:sitemapindex xmlns:s='http://www.sitemaps.org/schemas/sitemap/0.9'><s:sitemap>\
        <s:loc>https://a.example/1.xml.gz</s:loc><s:lastmod>2026-03-01T06:00:00.123+00:00</s:lastmod></s:sitemap>\
        </s:sitemapindex>";
    let entry = Entry::Sitemap(listed("https://a.example/1.xml.gz", "2026-03-01T06:00:00.123Z", None));
    assert_eq!(entries(index), Ok((vec![entry], End::Reached)));
}

#[test]
fn a_sign_that_begins_no_reference_costs_nothing() {
    let map = "<urlset><url><loc>https://a.example/one?a=1&b=2</loc><lastmod>2026-03-02 10:00:00</lastmod></url>\
        <url><loc>https://a.example/two</loc></url></urlset>";
    let expected = [
        Entry::Page(listed("https://a.example/one?a=1&b=2", "2026-03-02T10:00:00Z", None)),
        Entry::Page(listed("https://a.example/two", "", None)),
    ];
    assert_eq!(entries(map), Ok((expected.to_vec(), End::Reached)));
}

#[test]
fn a_sitemap_may_be_plain_text() {
    let lines =
        "\u{feff}\nhttps://a.example/one\r\n\r\n  http://a.example/two?a=1&b=2  \n<p>\nnonsense\nhttps://a.example/3";
    let expected = ["https://a.example/one", "http://a.example/two?a=1&b=2", "https://a.example/3"];
    let expected = expected.map(|url| Entry::Page(listed(url, "", None)));
    for body in [lines.as_bytes().to_vec(), gzip(lines.as_bytes())] {
        assert_eq!(entries(body), Ok((expected.to_vec(), End::Reached)));
    }
    let endless = format!("https://a.example/one\nhttps://{}", "x".repeat(1 << 20));
    assert_eq!(entries(endless).map(|(entries, end)| (entries.len(), end)), Ok((1, End::Cut)));
    let many = "https://a.example/one\n".repeat(50_001);
    assert_eq!(entries(many).map(|(entries, end)| (entries.len(), end)), Ok((50_000, End::Cut)));
}

#[test]
fn a_reader_may_stop() {
    let mut seen = 0;
    let end = read(&NEWS.into(), |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!((end, seen), (Ok(End::Reached), 1));
}

#[test]
fn what_is_broken_counts_up_to_there() {
    let cut = |body: &[u8]| entries(body.to_vec()).map(|(entries, end)| (entries.len(), end));
    assert_eq!(cut(&NEWS.as_bytes()[..NEWS.find("<priority").unwrap()]), Ok((1, End::Cut)));
    assert_eq!(cut(NEWS.replace("</priority>", "</nonsense>").as_bytes()), Ok((1, End::Cut)));
    let packed = gzip(NEWS.repeat(50).as_bytes());
    assert!(cut(&packed[..packed.len() / 2]).is_ok_and(|(found, end)| found > 0 && end == End::Cut));
    for nothing in ["", "<html></html>", "{}", "<rss version='2.0'/>", "User-agent: *"] {
        assert_eq!(cut(nothing.as_bytes()), Err(NotASitemap), "{nothing}");
    }
    assert_eq!(cut(&[0x1f, 0x8b, 8, 0]), Err(NotASitemap));
}

#[test]
fn bombs_and_endless_sitemaps_are_cut() {
    let url = "<url><loc>https://a.example/one-two-three</loc><lastmod>2026-03-01</lastmod></url>";
    let cut = |body: Vec<u8>| entries(body).map(|(entries, end)| (entries.len(), end));
    // More entries than the protocol allows.
    assert_eq!(cut(format!("<urlset>{}</urlset>", url.repeat(50_001)).into_bytes()), Ok((50_000, End::Cut)));
    // A text, a tag, a comment and a document type that do not end.
    for endless in ["<url><loc>", "<url a='", "<!--", "<!DOCTYPE x [<!ENTITY a '", "<?x "] {
        let body = format!("<urlset>{url}{endless}{}", "x".repeat(1 << 20));
        assert_eq!(cut(body.into_bytes()), Ok((1, End::Cut)), "{endless}");
    }
    // Elements within each other.
    assert_eq!(cut(format!("<urlset>{url}{}", "<url>".repeat(1 << 20)).into_bytes()), Ok((1, End::Cut)));
    // An address in many pieces.
    let pieces = "x<!-- -->".repeat(1 << 17);
    assert_eq!(
        cut(format!("<urlset>{url}<url><loc>{pieces}</loc></url></urlset>").into_bytes()),
        Ok((1, End::Reached))
    );
    // Entities stand for nothing.
    let lol = "<!DOCTYPE urlset [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>";
    let body = format!("{lol}<urlset><url><loc>https://a.example/&b;x</loc></url></urlset>");
    assert_eq!(entries(body).unwrap().0, [Entry::Page(listed("https://a.example/x", "", None))]);
    // 80 MiB of nothing in some kilobytes, before an entry that nobody reaches.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(b"<urlset>").unwrap();
    let comment = format!("<!--{}-->", " ".repeat(32 << 10));
    for _ in 0..(80 << 20) / comment.len() {
        bomb.write_all(comment.as_bytes()).unwrap();
    }
    bomb.write_all(url.as_bytes()).unwrap();
    assert_eq!(cut(bomb.finish().unwrap()), Ok((0, End::Cut)));
}

#[test]
fn a_slug_becomes_a_title() {
    for (url, title) in [
        ("https://www.vogue.example/article/best-spring-coats-2026", Some("Best spring coats 2026")),
        ("https://a.example/fashion/g64012345/quiet-luxury-is-over-a64012345/", Some("Quiet luxury is over")),
        ("https://a.example/2026/03/the-new-prep.html?x=1-2-3-4-5#a-b-c", Some("The new prep")),
        ("https://a.example/best_linen_trousers", Some("Best linen trousers")),
        ("https://a.example/fashion/", None),
        ("https://a.example/about-us", None),
        ("https://one-two-three-four.example/", None),
        ("https://a.example/%d0%b2-%d0%b3-%d0%b4-x", None),
        ("nonsense", None),
    ] {
        assert_eq!(title_of(url).as_deref(), title, "{url}");
    }
}

#[test]
fn an_address_may_name_a_year_and_a_month() {
    let shown = |url: &str| period(url).map(|(first, last)| format!("{first} {last}"));
    for (url, expected) in [
        ("https://a.example/sitemap.xml?year=2024&month=2&week=4", Some("2024-02-01 2024-02-29")),
        ("https://a.example/2026/03/the-new-prep", Some("2026-03-01 2026-03-31")),
        ("https://a.example/content.2020-12-28T19:21:17.xml.gz", Some("2020-12-01 2020-12-31")),
        ("https://a.example/sitemap-2025.xml", Some("2025-01-01 2025-12-31")),
        ("https://a.example/2025-13-x", Some("2025-01-01 2025-12-31")),
        ("https://a.example/sitemap-3.xml", None),
        ("https://a.example/a64012345", None),
    ] {
        assert_eq!(shown(url).as_deref(), expected, "{url}");
    }
}
