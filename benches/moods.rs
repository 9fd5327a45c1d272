//! CPU time for parsing 10,000 feed entries and 10,000 sitemap entries, compared with the parsers alone on the same
//! bytes; and memory for the largest and most hostile inputs.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]
#![expect(clippy::print_stdout, reason = "this is what benchmarks are for")]

use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pluckit::domain::moods::{feeds, sitemaps};
use quick_xml::Reader;
use quick_xml::events::Event;

const ENTRIES: usize = 10_000;
const ROUNDS: usize = 5;
/// Seconds of CPU that both kinds of entries may take together.
const MOST_SECONDS: f64 = 1.0;
/// The largest feed that is fetched.
const LARGEST_FEED: usize = 8 << 20;

fn main() {
    println!("\nCPU for {ENTRIES} entries, best of {ROUNDS}, in milliseconds\n");
    println!("| what | ours | the parser alone | ratio | MB of input |");
    println!("| --- | --- | --- | --- | --- |");
    let feeds: Vec<String> = (0..ENTRIES / feeds::MOST_ENTRIES).map(feed).collect();
    let size = feeds.iter().map(String::len).sum();
    let ours = best(|| feeds.iter().map(|feed| read_feed(feed.as_bytes())).sum());
    let alone = best(|| feeds.iter().map(|feed| feed_rs::parser::parse(feed.as_bytes()).unwrap().entries.len()).sum());
    print("feeds of 50 entries (RSS 2.0, HTML in each)", ours, alone, size);
    let list = sitemap();
    let plain = Bytes::from(list.clone());
    let ours_plain = best(|| read_sitemap(&plain));
    let alone = best(|| count_urls(&list));
    print("one sitemap", ours_plain, alone, list.len());
    let packed = Bytes::from(gzip(&[list.as_bytes()]));
    print("one sitemap, packed", best(|| read_sitemap(&packed)), alone, packed.len());
    let together = (ours + ours_plain).as_secs_f64();
    let met = if together <= MOST_SECONDS { "yes" } else { "no" };
    println!("\nFeeds and sitemap together: {together:.3} s of CPU, target {MOST_SECONDS} s, met: {met}\n");
    memory();
}

/// Entries of about 1.3 kB, as content systems write them.
fn feed(number: usize) -> String {
    let items: String = (0..feeds::MOST_ENTRIES)
        .map(|entry| {
            let paragraph = "<p>The <em>new</em> season&rsquo;s coats are long, <a href=\"https://a.example/x\">wide</a> and warm.</p>";
            format!(
                "<item><title>Coats &amp; capes: {number} ways to wear {entry}</title>\
                 <link>https://magazine.example/fashion/coats-{number}-{entry}?utm_source=rss</link>\
                 <guid isPermaLink=\"false\">{number:08x}{entry:08x}</guid><dc:creator>A. Writer</dc:creator>\
                 <pubDate>Sun, 01 Mar 2026 {:02}:30:00 +0000</pubDate><category>Fashion</category>\
                 <category>Trends</category><description>A short summary of what follows below.</description>\
                 <content:encoded><![CDATA[<figure><img src=\"https://a.example/{entry}.jpg\" alt=\"A coat\"></figure>{}]]>\
                 </content:encoded><media:thumbnail url=\"https://a.example/{entry}.jpg\" width=\"600\"/></item>",
                entry % 24,
                paragraph.repeat(6)
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><rss version=\"2.0\" \
         xmlns:content=\"http://purl.org/rss/1.0/modules/content/\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" \
         xmlns:media=\"http://search.yahoo.com/mrss/\"><channel><title>Magazine</title>{items}</channel></rss>"
    )
}

fn sitemap() -> String {
    let urls: String = (0..ENTRIES)
        .map(|entry| {
            format!(
                "<url><loc>https://magazine.example/fashion/how-to-wear-coat-number-{entry}</loc>\
                 <lastmod>2026-02-{:02}T08:15:00Z</lastmod><changefreq>monthly</changefreq><priority>0.5</priority>\
                 <image:image><image:loc>https://a.example/{entry}.jpg</image:loc></image:image></url>",
                1 + entry % 28
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\" \
         xmlns:image=\"http://www.google.com/schemas/sitemap-image/1.1\">{urls}</urlset>"
    )
}

fn read_feed(body: &[u8]) -> usize {
    let url = "https://magazine.example/rss".parse().unwrap();
    feeds::read(body, "application/rss+xml", &url, "Magazine").map_or(0, |articles| black_box(articles).snippets.len())
}

fn read_sitemap(body: &Bytes) -> usize {
    let mut titles = 0;
    let end = sitemaps::read(body, |entry| {
        if let sitemaps::Entry::Page(listed) = entry {
            titles += usize::from(black_box(sitemaps::title_of(&listed.url)).is_some());
        }
        ControlFlow::Continue(())
    });
    black_box(end).map_or(0, |_| titles)
}

/// What it takes to see all events.
fn count_urls(list: &str) -> usize {
    let mut reader = Reader::from_str(list);
    let mut urls = 0;
    loop {
        match reader.read_event().unwrap() {
            Event::Start(element) => urls += usize::from(element.name().as_ref() == "url"),
            Event::Eof => return urls,
            _ => {}
        }
    }
}

fn gzip(parts: &[&[u8]]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for part in parts {
        encoder.write_all(part).unwrap();
    }
    encoder.finish().unwrap()
}

/// Returns the lowest CPU time of several rounds, each of which must find all entries.
fn best(mut work: impl FnMut() -> usize) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let begin = cpu();
        assert_eq!(work(), ENTRIES);
        cpu() - begin
    });
    rounds.min().unwrap()
}

/// Time that this thread has been running.
fn cpu() -> Duration {
    let schedule = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedule.split(' ').next().unwrap().parse().unwrap())
}

fn print(name: &str, ours: Duration, alone: Duration, size: usize) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "| {name} | {:.1} | {:.1} | {:.2} | {:.1} |",
        milliseconds(ours),
        milliseconds(alone),
        ours.as_secs_f64() / alone.as_secs_f64(),
        size as f64 / 1e6
    );
}

/// Measures how much each input adds to the process's peak memory, excluding the input itself.
fn memory() {
    println!("| what | most memory it adds, MiB |");
    println!("| --- | --- |");
    let fill = |piece: &str| format!("<rss version='2.0'><channel>{}", piece.repeat(LARGEST_FEED / piece.len()));
    let entry = "<item><title>t</title><link>https://a.example/1</link></item>";
    for (name, body) in [
        ("8 MiB of entries", fill(entry)),
        ("8 MiB of empty entries", fill("<item/>")),
        (
            "8 MiB of pictures in one entry",
            fill("<item><title>t</title></item>").replacen("</item>", &"<media:content/>".repeat(1 << 18), 1),
        ),
        ("8 MiB of elements in each other", fill("<b>")),
        ("8 MiB of one text", fill("x")),
    ] {
        let before = peak();
        read_feed(body.as_bytes());
        println!("| feed: {name} | {} |", peak() - before);
    }
    let space = vec![b' '; 1 << 20];
    let bomb = Bytes::from(gzip(&[&[&b"<urlset><url><loc>"[..]], vec![&space[..]; 1024].as_slice()].concat()));
    let comments = "<!-- -->".repeat(1 << 17);
    let parts = [&[&b"<urlset>"[..]], vec![comments.as_bytes(); 1024].as_slice()].concat();
    let patient = Bytes::from(gzip(&parts));
    for (name, body) in [("a text of 1 GiB in 1 MB", bomb), ("1 GiB of comments in some MB", patient)] {
        let (before, begin) = (peak(), cpu());
        read_sitemap(&body);
        println!("| sitemap: {name}, cut after {:.2} s of CPU | {} |", (cpu() - begin).as_secs_f64(), peak() - before);
    }
}

/// Returns the peak memory of this process, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
