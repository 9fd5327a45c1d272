//! What the guarded client fetches and refuses: no test may cause a connection to the private network.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Response, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use pluckit::net::guarded::{
    Answer, Expect, FetchError, FetchLimits, Fetched, GuardedClient, GuardedOptions, Resolve, SystemResolver,
    UrlRefused, Validators, check_url,
};
use reqwest::StatusCode;

use crate::support::TestApp;
use crate::support::web::{Flaw, PUBLIC, Web, endless, page, redirect, stalling};

use UrlRefused::{Credentials, Invalid, IpLiteral, NoHostname, NotHttps, NotPublic, Port, Unresolved};

/// URLs that are refused for what they are. `{port}` is that of the private network, which the client of these tests
/// allows, so that the port is never the reason.
const REFUSED: &[(&str, UrlRefused)] = &[
    // Loopback in every notation that some parser accepts
    ("https://127.0.0.1/", IpLiteral),
    ("https://127.0.0.1:{port}/", IpLiteral),
    ("https://127.0.0.1.:{port}/", IpLiteral),
    ("https://127.1:{port}/", IpLiteral),
    ("https://127.0.1:{port}/", IpLiteral),
    ("https://127.1.:{port}/", IpLiteral),
    ("https://127.255.255.254:{port}/", IpLiteral),
    ("https://2130706433:{port}/", IpLiteral),
    ("https://2130706433.:{port}/", IpLiteral),
    ("https://02130706433/", IpLiteral),
    ("https://017700000001:{port}/", IpLiteral),
    ("https://0177.0.0.1:{port}/", IpLiteral),
    ("https://0177.0.0.01:{port}/", IpLiteral),
    ("https://0177.0.1:{port}/", IpLiteral),
    ("https://0177.1:{port}/", IpLiteral),
    ("https://00000177.0.0.1:{port}/", IpLiteral),
    ("https://0x7f000001:{port}/", IpLiteral),
    ("https://0X7F000001:{port}/", IpLiteral),
    ("https://0x7f.0x0.0x0.0x1:{port}/", IpLiteral),
    ("https://0x7f.0.0.1:{port}/", IpLiteral),
    ("https://0x7f.1:{port}/", IpLiteral),
    ("https://0x7F.0.1:{port}/", IpLiteral),
    ("https://127.0x1:{port}/", IpLiteral),
    ("https://127.0.0.0x1:{port}/", IpLiteral),
    ("https://127.0.0.01:{port}/", IpLiteral),
    ("https://0x7f.0.01:{port}/", IpLiteral),
    ("https://0x0000000007f.1:{port}/", IpLiteral),
    ("https://%31%32%37.0.0.1:{port}/", IpLiteral),
    ("https://127%2e0%2e0%2e1:{port}/", IpLiteral),
    ("https://%30x7f.1:{port}/", IpLiteral),
    ("https://１２７.０.０.１:{port}/", IpLiteral),
    ("https://①②⑦.⓪.⓪.①:{port}/", IpLiteral),
    ("https://127。0。0。1:{port}/", IpLiteral),
    ("https://127．0．0．1:{port}/", IpLiteral),
    ("https://127｡0｡0｡1:{port}/", IpLiteral),
    ("https://12\u{ad}7.0.0.1:{port}/", IpLiteral),
    ("https://12\u{200b}7.0.0.1:{port}/", IpLiteral),
    ("HTTPS://127.0.0.1:{port}/", IpLiteral),
    ("  https://127.0.0.1:{port}/  ", IpLiteral),
    // Other addresses of this machine
    ("https://0:{port}/", IpLiteral),
    ("https://0.0.0.0:{port}/", IpLiteral),
    ("https://0x0:{port}/", IpLiteral),
    ("https://00:{port}/", IpLiteral),
    ("https://0.1:{port}/", IpLiteral),
    // Numeric, but not addresses
    ("https://256.256.256.256/", IpLiteral),
    ("https://4294967296/", IpLiteral),
    ("https://1.2.3.4.5/", IpLiteral),
    ("https://0x100000000/", IpLiteral),
    ("https://127.0.0.1.5/", IpLiteral),
    ("https://good.example.1/", IpLiteral),
    ("https://09.0.0.1/", IpLiteral),
    // Metadata services and private networks
    ("https://169.254.169.254/latest/meta-data/", IpLiteral),
    ("https://169.254.169.254:{port}/", IpLiteral),
    ("https://2852039166/", IpLiteral),
    ("https://0xa9fea9fe/", IpLiteral),
    ("https://0xa9.0xfe.0xa9.0xfe/", IpLiteral),
    ("https://0251.0376.0251.0376/", IpLiteral),
    ("https://025177524776/", IpLiteral),
    ("https://169.254.43518/", IpLiteral),
    ("https://169.16689662/", IpLiteral),
    ("https://169.254.170.2/v2/credentials", IpLiteral),
    ("https://168.63.129.16/", IpLiteral),
    ("https://2822734096/", IpLiteral),
    ("https://100.100.100.200/", IpLiteral),
    ("https://192.0.0.192/", IpLiteral),
    ("https://10.0.0.1/", IpLiteral),
    ("https://10.1/", IpLiteral),
    ("https://167772161/", IpLiteral),
    ("https://012.0.0.1/", IpLiteral),
    ("https://172.16.0.1/", IpLiteral),
    ("https://192.168.0.1/", IpLiteral),
    ("https://192.168.1/", IpLiteral),
    ("https://3232235521/", IpLiteral),
    ("https://255.255.255.255/", IpLiteral),
    // Public addresses are literals, too
    ("https://8.8.8.8/", IpLiteral),
    ("https://93.184.215.14/", IpLiteral),
    ("https://134744072/", IpLiteral),
    ("https://[2606:4700:4700::1111]/", IpLiteral),
    // IPv6
    ("https://[::1]/", IpLiteral),
    ("https://[::1]:{port}/", IpLiteral),
    ("https://[0:0:0:0:0:0:0:1]:{port}/", IpLiteral),
    ("https://[0000:0000:0000:0000:0000:0000:0000:0001]:{port}/", IpLiteral),
    ("https://[::]:{port}/", IpLiteral),
    ("https://[::127.0.0.1]:{port}/", IpLiteral),
    ("https://[::7f00:1]:{port}/", IpLiteral),
    ("https://[::ffff:127.0.0.1]:{port}/", IpLiteral),
    ("https://[::ffff:7f00:1]:{port}/", IpLiteral),
    ("https://[::FFFF:7F00:0001]:{port}/", IpLiteral),
    ("https://[0:0:0:0:0:ffff:127.0.0.1]:{port}/", IpLiteral),
    ("https://[::ffff:0:127.0.0.1]:{port}/", IpLiteral),
    ("https://[::ffff:169.254.169.254]/", IpLiteral),
    ("https://[::ffff:a9fe:a9fe]/", IpLiteral),
    ("https://[::ffff:10.0.0.1]/", IpLiteral),
    ("https://[64:ff9b::127.0.0.1]:{port}/", IpLiteral),
    ("https://[64:ff9b::a9fe:a9fe]/", IpLiteral),
    ("https://[64:ff9b:1::a00:1]/", IpLiteral),
    ("https://[2002:7f00:1::]/", IpLiteral),
    ("https://[2002:a9fe:a9fe::]/", IpLiteral),
    ("https://[2001:0:7f00:1::]/", IpLiteral),
    ("https://[fe80::1]/", IpLiteral),
    ("https://[fe80::1%25lo]/", IpLiteral),
    ("https://[fe80::1%lo]/", IpLiteral),
    ("https://[fd00:ec2::254]/", IpLiteral),
    ("https://[fc00::1]/", IpLiteral),
    ("https://[fec0::1]/", IpLiteral),
    ("https://[ff02::1]/", IpLiteral),
    ("https://[::1%2525]/", IpLiteral),
    ("https://[::1].good.example/", IpLiteral),
    ("https://[::1/", IpLiteral),
    ("https://[]/", IpLiteral),
    ("https://%5B::1%5D:{port}/", Invalid),
    // Names of this machine and this network
    ("https://localhost/", NotPublic),
    ("https://localhost:{port}/", NotPublic),
    ("https://LOCALHOST:{port}/", NotPublic),
    ("https://LocalHost.:{port}/", NotPublic),
    ("https://localhost.:{port}/", NotPublic),
    ("https://%6cocalhost:{port}/", NotPublic),
    ("https://ｌｏｃａｌｈｏｓｔ:{port}/", NotPublic),
    ("https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/", NotPublic),
    ("https://local\u{ad}host:{port}/", NotPublic),
    ("https://a.localhost:{port}/", NotPublic),
    ("https://a.b.localhost.:{port}/", NotPublic),
    ("https://localhost.localdomain:{port}/", NotPublic),
    ("https://printer.local/", NotPublic),
    ("https://printer.local./", NotPublic),
    ("https://printer.LOCAL/", NotPublic),
    ("https://printer。local/", NotPublic),
    ("https://local/", NotPublic),
    ("https://router.home.arpa/", NotPublic),
    ("https://metadata.google.internal/computeMetadata/v1/", NotPublic),
    ("https://metadata.google.internal./", NotPublic),
    ("https://instance-data.ec2.internal/", NotPublic),
    ("https://metadata/", NotPublic),
    ("https://intranet/", NotPublic),
    ("https://kubernetes.default.svc.cluster.local/", NotPublic),
    // Credentials, and hosts that only look like hosts
    ("https://user:password@good.example/", Credentials),
    ("https://user@good.example/", Credentials),
    ("https://:password@good.example/", Credentials),
    ("https://:@good.example/", Credentials),
    ("https://@good.example/", Credentials),
    ("https://good.example@127.0.0.1:{port}/", Credentials),
    ("https://good.example:443@127.0.0.1:{port}/", Credentials),
    ("https://good.example%40127.0.0.1:{port}/", Invalid),
    ("https://good.example%2f@127.0.0.1:{port}/", Credentials),
    ("https://good.example@@127.0.0.1:{port}/", Credentials),
    ("https://127.0.0.1:{port}@good.example/", Credentials),
    ("https://good.example&@127.0.0.1:{port}/", Credentials),
    ("https://good.example\\@127.0.0.1:{port}/", Invalid),
    ("https://127.0.0.1:{port}\\@good.example/", Invalid),
    ("https://127.0.0.1:{port}#@good.example/", IpLiteral),
    ("https://127.0.0.1:{port}?@good.example/", IpLiteral),
    ("https://127.0.0.1:{port}/@good.example", IpLiteral),
    ("https://127.0.0.1:{port};good.example/", Invalid),
    ("https://good.example:{port}@127.0.0.1/", Credentials),
    ("https://127.0.0.1%00.good.example/", Invalid),
    ("https://127.0.0.1%20.good.example/", Invalid),
    ("https://127.0.0.1%0d%0a.good.example/", Invalid),
    ("https://127.0.0.1%2fgood.example/", Invalid),
    ("https://127.0.0.1 good.example/", Invalid),
    // What browsers repair
    ("https://127.0.\t0.1:{port}/", Invalid),
    ("https://127.0.0.1\n:{port}/", Invalid),
    ("https://loc\r\nalhost:{port}/", Invalid),
    ("https:/\t/127.0.0.1:{port}/", Invalid),
    ("https:\\\\127.0.0.1:{port}\\", NoHostname),
    ("https:\\127.0.0.1:{port}", NoHostname),
    ("https:127.0.0.1:{port}/", NoHostname),
    ("https:/127.0.0.1:{port}/", NoHostname),
    ("https:///127.0.0.1:{port}/", NoHostname),
    ("https:////127.0.0.1:{port}/", NoHostname),
    ("https:good.example/", NoHostname),
    ("https:///good.example/", NoHostname),
    ("https://", NoHostname),
    ("https:///", NoHostname),
    ("https:", NoHostname),
    ("https://:443/", NoHostname),
    ("https://?query", NoHostname),
    ("https://./", Invalid),
    ("https://../", Invalid),
    ("https://-.example/", Invalid),
    ("https://good-.example/", Invalid),
    ("https://a..b.example/", Invalid),
    ("https://good.example../", Invalid),
    ("https://.good.example/", Invalid),
    ("https://good$.example/", Invalid),
    ("https://xn--zzzzzz.example/", Invalid),
    // Longer than any name
    (concat!("https://", "a23456789012345678901234567890123456789012345678901234567890123", "4.example/"), Invalid),
    // Ports
    ("https://good.example:22/", Port),
    ("https://good.example:80/", Port),
    ("https://good.example:6379/", Port),
    ("https://good.example:8443/", Port),
    ("https://good.example:10250/", Port),
    ("https://good.example:0/", Port),
    ("https://good.example:65536/", Invalid),
    ("https://good.example:-1/", Invalid),
    ("https://good.example:port/", Invalid),
    // Other schemes
    ("http://good.example/", NotHttps),
    ("http://127.0.0.1:{port}/", NotHttps),
    ("ftp://good.example/", NotHttps),
    ("ftps://good.example/", NotHttps),
    ("file:///etc/passwd", NotHttps),
    ("file://good.example/etc/passwd", NotHttps),
    ("gopher://127.0.0.1:{port}/_INFO", NotHttps),
    ("dict://127.0.0.1:{port}/info", NotHttps),
    ("ldap://127.0.0.1:{port}/", NotHttps),
    ("tftp://127.0.0.1:{port}/", NotHttps),
    ("jar:https://good.example!/", NotHttps),
    ("view-source:https://good.example/", NotHttps),
    ("blob:https://good.example/1", NotHttps),
    ("ws://good.example/", NotHttps),
    ("wss://good.example/", NotHttps),
    ("unix:///var/run/docker.sock", NotHttps),
    ("data:text/html,<p>Coat", NotHttps),
    ("javascript:alert(1)", NotHttps),
    ("java\nscript:alert(1)", NotHttps),
    ("ht\ntps://127.0.0.1:{port}/", NotHttps),
    ("httpſ://127.0.0.1:{port}/", NotHttps),
    ("//127.0.0.1:{port}/", NotHttps),
    ("/etc/passwd", NotHttps),
    ("good.example", NotHttps),
    ("127.0.0.1:{port}", NotHttps),
    ("", NotHttps),
    (" ", NotHttps),
    ("\0https://127.0.0.1:{port}/", NotHttps),
];

/// Answers of name servers that are refused, each to be had under a name of its own.
const NOT_PUBLIC: &[&[&str]] = &[
    &["127.0.0.1"],
    &["127.8.8.8"],
    &["0.0.0.0"],
    &["0.1.2.3"],
    &["10.0.0.1"],
    &["100.64.0.1"],
    &["100.100.100.200"],
    &["100.127.255.255"],
    &["168.63.129.16"],
    &["169.254.169.254"],
    &["169.254.170.2"],
    &["172.16.0.1"],
    &["172.31.255.255"],
    &["192.0.0.192"],
    &["192.0.2.1"],
    &["192.88.99.1"],
    &["192.168.1.1"],
    &["198.18.0.1"],
    &["198.19.255.255"],
    &["198.51.100.1"],
    &["203.0.113.1"],
    &["224.0.0.251"],
    &["239.255.255.250"],
    &["240.0.0.1"],
    &["255.255.255.255"],
    &["::"],
    &["::1"],
    &["::127.0.0.1"],
    &["::ffff:127.0.0.1"],
    &["::ffff:10.0.0.1"],
    &["::ffff:93.184.215.14"],
    &["::ffff:0:127.0.0.1"],
    &["64:ff9b::127.0.0.1"],
    &["64:ff9b::93.184.215.14"],
    &["64:ff9b:1::10.0.0.1"],
    &["100::1"],
    &["2001::1"],
    &["2001:0:7f00:1::"],
    &["2001:10::1"],
    &["2001:20::1"],
    &["2001:db8::1"],
    &["2002:7f00:1::1"],
    &["2002:a00:1::1"],
    &["2606:4700::5efe:10.0.0.1"],
    &["3fff::1"],
    &["5f00::1"],
    &["fc00::1"],
    &["fd00:ec2::254"],
    &["fe80::1"],
    &["fec0::1"],
    &["ff02::1"],
    // One bad address refuses all, in any position.
    &["93.184.215.14", "127.0.0.1"],
    &["127.0.0.1", "93.184.215.14"],
    &["93.184.215.14", "10.0.0.1", "93.184.215.14"],
    &["93.184.215.14", "::1"],
    &["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:169.254.169.254"],
    &["fd00::1", "93.184.215.14"],
];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn loopback() -> IpAddr {
    address("127.0.0.1")
}

async fn get(client: &GuardedClient, url: &str) -> Result<Fetched, FetchError> {
    client.get(url, Expect::Html, FetchLimits::default()).await
}

fn refusal(result: Result<Fetched, FetchError>) -> Option<UrlRefused> {
    match result {
        Err(FetchError::Refused(refused)) => Some(refused),
        _ => None,
    }
}

/// An internet with a site that has one page, and the names of [`NOT_PUBLIC`].
async fn internet() -> (Web, Vec<(String, UrlRefused)>) {
    let web = Web::start().await;
    web.page("https://good.example/", |_| page("text/html", "<p>Coat"));
    let port = web.private().address().port().to_string();
    let mut table: Vec<_> = REFUSED.iter().map(|(url, refused)| (url.replace("{port}", &port), *refused)).collect();
    for (number, answer) in NOT_PUBLIC.iter().enumerate() {
        let name = format!("name-{number}.example");
        web.name(&name, &answer.iter().map(|text| address(text)).collect::<Vec<_>>());
        table.push((format!("https://{name}/"), NotPublic));
    }
    web.name("nothing.example", &[]);
    for name in ["nothing.example", "unknown.example", "under_score.example"] {
        table.push((format!("https://{name}/"), Unresolved));
    }
    (web, table)
}

#[tokio::test]
async fn no_refused_url_leads_to_a_connection() {
    let (web, table) = internet().await;
    assert!(table.len() >= 150, "{} URLs", table.len());
    let client = web.client();
    let mut wrong = Vec::new();
    for (url, refused) in &table {
        let result = get(&client, url).await;
        if refusal(result) != Some(*refused) || client.check(url).await != Err(*refused) {
            wrong.push((url, refused, client.check(url).await));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(web.private().connections().await, 0);
    assert!(web.received().is_empty());
}

#[tokio::test]
async fn no_redirect_leads_to_a_refused_url() {
    let (web, table) = internet().await;
    let client = web.client();
    let mut sent = 0;
    for (url, _) in table {
        // A header takes neither line breaks nor other control characters.
        if url.contains(|letter: char| letter.is_ascii_control() && letter != '\t') || url.is_empty() {
            continue;
        }
        let location = url.clone();
        web.page("https://good.example/away", move |_| redirect(&location));
        let result = get(&client, "https://good.example/away").await;
        // Some only mean another page of the site when they stand in a redirect, which is not there, or the same.
        let is_of_the_site =
            matches!(&result, Err(FetchError::Status(StatusCode::NOT_FOUND) | FetchError::TooManyRedirects));
        assert!(is_of_the_site || refusal(result).is_some(), "{url}");
        sent += 1;
    }
    assert!(sent >= 150, "{sent} redirects");
    assert_eq!(web.private().connections().await, 0);
    let strayed = web.received().into_iter().find(|received| !received.url.starts_with("https://good.example/"));
    assert!(strayed.is_none(), "{strayed:?}");
}

#[tokio::test]
async fn the_private_network_would_notice_a_connection() {
    let web = Web::start().await;
    // Public, but not an address of the sites.
    web.name("elsewhere.example", &[address("8.8.8.8")]);
    let limits = FetchLimits { time: Duration::from_millis(500), ..FetchLimits::default() };
    let result = web.client().get("https://elsewhere.example/", Expect::Html, limits).await;
    assert!(matches!(result, Err(FetchError::TimedOut)), "{result:?}");
    assert_eq!(web.private().connections().await, 1);
}

#[tokio::test]
async fn a_name_that_changes_after_the_check_is_refused() {
    let web = Web::start().await;
    web.changing_name("rebind.example", &[&PUBLIC, &[loopback()]]);
    let client = web.client();
    let url = client.check("https://rebind.example/").await.unwrap();
    assert_eq!(refusal(get(&client, url.as_str()).await), Some(NotPublic));
    assert_eq!(web.private().connections().await, 0);
}

#[tokio::test]
async fn a_connection_goes_to_the_addresses_that_were_checked() {
    let web = Web::start().await;
    web.page("https://rebind.example/", |_| page("text/html", "<p>Coat"));
    web.changing_name("rebind.example", &[&[PUBLIC[0]], &[loopback()]]);
    let client = web.client();
    get(&client, "https://rebind.example/").await.unwrap();
    assert_eq!(web.lookups(), 1, "whoever asks twice can be told two things");
    assert_eq!(web.private().connections().await, 0);
}

#[tokio::test]
async fn a_name_that_changes_on_the_way_is_refused() {
    let web = Web::start().await;
    web.page("https://first.example/", |_| redirect("https://rebind.example/"));
    web.page("https://rebind.example/", |_| {
        // Closed, so that the next request needs the addresses again.
        let mut response = redirect("https://rebind.example/again");
        response.headers_mut().insert(header::CONNECTION, "close".parse().unwrap());
        response
    });
    web.changing_name("rebind.example", &[&[PUBLIC[0]], &[loopback()]]);
    assert_eq!(refusal(get(&web.client(), "https://first.example/").await), Some(NotPublic));
    assert_eq!(web.private().connections().await, 0);
}

#[tokio::test]
async fn both_kinds_of_addresses_are_reached() {
    let web = Web::start().await;
    for (name, addresses) in [("four.example", &PUBLIC[..1]), ("six.example", &PUBLIC[1..]), ("both.example", &PUBLIC)]
    {
        web.name(name, addresses);
        web.page(&format!("https://{name}/"), |_| page("text/html", "<p>Coat"));
        assert_eq!(get(&web.client(), &format!("https://{name}/")).await.unwrap().body, "<p>Coat");
    }
    assert_eq!(web.private().connections().await, 0);
}

#[tokio::test]
async fn a_page_is_fetched_with_all_that_its_site_says_of_it() {
    let web = Web::start().await;
    web.page("https://shop.example/coats", |_| {
        let mut response = page("text/html; charset=utf-8", "<p>Coat");
        response.headers_mut().insert(header::ETAG, "\"1\"".parse().unwrap());
        response.headers_mut().insert(header::LAST_MODIFIED, "Mon, 02 Mar 2026 09:15:00 GMT".parse().unwrap());
        response
    });
    let client = web.client();
    let fetched = get(&client, " https://Shop.Example.:443/coats?size=m#first ").await.unwrap();
    assert_eq!(fetched.url.as_str(), "https://shop.example/coats?size=m#first");
    assert_eq!(fetched.content_type, "text/html; charset=utf-8");
    assert_eq!(fetched.body, "<p>Coat");
    let validators =
        Validators { etag: Some("\"1\"".into()), last_modified: Some("Mon, 02 Mar 2026 09:15:00 GMT".into()) };
    assert_eq!(fetched.validators, validators);
    let received = web.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].url, "https://shop.example/coats?size=m");
    assert_eq!(received[0].headers[header::ACCEPT], "text/html,application/xhtml+xml");
    for absent in [header::COOKIE, header::AUTHORIZATION, header::REFERER, header::IF_NONE_MATCH] {
        assert!(!received[0].headers.contains_key(&absent), "{absent}");
    }
}

#[tokio::test]
async fn a_name_in_another_script_is_fetched() {
    let web = Web::start().await;
    web.page("https://xn--mntel-gra.example/", |_| page("text/html", "<p>Coat"));
    let fetched = get(&web.client(), "https://Mäntel.example/").await.unwrap();
    assert_eq!(fetched.url.host_str(), Some("xn--mntel-gra.example"));
}

#[tokio::test]
async fn a_resource_that_has_not_changed_is_not_sent_again() {
    let web = Web::start().await;
    web.page("https://news.example/old", |_| redirect("/feed"));
    web.page("https://news.example/feed", |received| {
        if received.headers.get(header::IF_NONE_MATCH).is_some_and(|etag| etag == "\"1\"") {
            return Response::builder().status(304).body(Body::empty()).unwrap();
        }
        let mut response = page("application/rss+xml", "<rss/>");
        response.headers_mut().insert(header::ETAG, "\"1\"".parse().unwrap());
        response
    });
    let client = web.client();
    let ask = async |known: &Validators| {
        client.get_if_changed("https://news.example/old", Expect::Feed, FetchLimits::default(), known).await
    };
    let Ok(Answer::Fetched(first)) = ask(&Validators::default()).await else { panic!("there is a feed") };
    assert!(matches!(ask(&first.validators).await, Ok(Answer::NotModified)));
    let older = Validators { etag: Some("\"0\"".into()), last_modified: None };
    assert!(matches!(ask(&older).await, Ok(Answer::Fetched(_))));
    let dated = Validators { etag: None, last_modified: Some("Mon, 02 Mar 2026 09:15:00 GMT".into()) };
    assert!(matches!(ask(&dated).await, Ok(Answer::Fetched(_))));
    let last = web.received().pop().unwrap();
    assert_eq!(last.headers[header::IF_MODIFIED_SINCE], "Mon, 02 Mar 2026 09:15:00 GMT");
}

#[tokio::test]
async fn an_unasked_for_not_modified_is_a_failure() {
    let web = Web::start().await;
    web.page("https://shop.example/", |_| Response::builder().status(304).body(Body::empty()).unwrap());
    let result = get(&web.client(), "https://shop.example/").await;
    assert!(matches!(result, Err(FetchError::Status(StatusCode::NOT_MODIFIED))), "{result:?}");
}

#[tokio::test]
async fn five_redirects_are_followed_and_not_a_sixth() {
    let web = Web::start().await;
    for step in 0..6 {
        web.page(&format!("https://hop-{step}.example/"), move |_| redirect(&format!("//hop-{}.example/", step + 1)));
    }
    web.page("https://hop-6.example/", |_| page("text/html", "<p>Coat"));
    let client = web.client();
    let fetched = get(&client, "https://hop-1.example/").await.unwrap();
    assert_eq!(fetched.url.as_str(), "https://hop-6.example/");
    let result = get(&client, "https://hop-0.example/").await;
    assert!(matches!(result, Err(FetchError::TooManyRedirects)), "{result:?}");
}

#[tokio::test]
async fn a_redirect_in_a_circle_ends() {
    let web = Web::start().await;
    web.page("https://circle.example/", |_| redirect("https://circle.example/"));
    let result = get(&web.client(), "https://circle.example/").await;
    assert!(matches!(result, Err(FetchError::TooManyRedirects)), "{result:?}");
    assert_eq!(web.received().len(), 6);
}

#[tokio::test]
async fn a_redirect_without_a_target_is_a_failure() {
    let web = Web::start().await;
    web.page("https://shop.example/", |_| Response::builder().status(302).body(Body::empty()).unwrap());
    let result = get(&web.client(), "https://shop.example/").await;
    assert!(matches!(result, Err(FetchError::Status(StatusCode::FOUND))), "{result:?}");
}

#[tokio::test]
async fn only_the_default_port_is_allowed_unless_the_options_say_so() {
    let web = Web::start().await;
    let url = format!("https://shop.example:{}/", web.port());
    web.page(&url, |_| page("text/html", "<p>Coat"));
    assert_eq!(get(&web.client(), &url).await.unwrap().body, "<p>Coat");
    let strict = GuardedClient::new(GuardedOptions { extra_ports: Vec::new(), ..web.options() }).unwrap();
    assert_eq!(refusal(get(&strict, &url).await), Some(Port));
    assert_eq!(check_url(&url), Err(Port));
}

#[tokio::test]
async fn content_up_to_the_limit_is_read_and_no_more() {
    let web = Web::start().await;
    let limits = FetchLimits { size_bytes: 1000, ..FetchLimits::default() };
    let client = web.client();
    for (size, fits) in [(0, true), (999, true), (1000, true), (1001, false), (100_000, false)] {
        web.page("https://shop.example/announced", move |_| page("text/html", vec![b'x'; size]));
        web.page("https://shop.example/streamed", move |_| {
            let pieces =
                vec![b'x'; size].chunks(7).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
            page("text/html", Body::from_stream(futures::stream::iter(pieces)))
        });
        for url in ["https://shop.example/announced", "https://shop.example/streamed"] {
            match client.get(url, Expect::Html, limits).await {
                Ok(fetched) => assert!(fits && fetched.body.len() == size, "{url}: {size}"),
                Err(FetchError::TooLarge { limit_bytes: 1000 }) => assert!(!fits, "{url}: {size}"),
                Err(error) => panic!("{url}: {size}: {error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn endless_content_is_cut_off() {
    let web = Web::start().await;
    web.page("https://shop.example/", |_| page("text/html", endless(vec![b'x'; 64 * 1024])));
    let result = get(&web.client(), "https://shop.example/").await;
    assert!(matches!(result, Err(FetchError::TooLarge { .. })), "{result:?}");
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn gzip_page(body: impl Into<Body>) -> Response<Body> {
    let mut response = page("text/html", body);
    response.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    response
}

#[tokio::test]
async fn compressed_content_is_read() {
    let web = Web::start().await;
    let content = "<p>Coat".repeat(1000);
    let body = gzip(content.as_bytes());
    web.page("https://shop.example/", move |_| gzip_page(body.clone()));
    assert_eq!(get(&web.client(), "https://shop.example/").await.unwrap().body, content);
}

#[tokio::test]
async fn content_is_measured_after_decompression() {
    let web = Web::start().await;
    let one = gzip(&vec![0; 1024 * 1024]);
    assert!(one.len() < 2 * 1024, "{} bytes become a thousand times as many", one.len());
    let body = one.clone();
    web.page("https://shop.example/small", move |_| gzip_page(body.clone()));
    // Members of a gzip file may follow each other without end.
    web.page("https://shop.example/endless", move |_| gzip_page(endless(one.clone())));
    let limits = FetchLimits { size_bytes: 1024 * 1024 - 1, ..FetchLimits::default() };
    let client = web.client();
    for url in ["https://shop.example/small", "https://shop.example/endless"] {
        let result = client.get(url, Expect::Html, limits).await;
        assert!(matches!(result, Err(FetchError::TooLarge { .. })), "{url}: {result:?}");
    }
}

#[tokio::test]
async fn content_that_does_not_decompress_is_a_failure() {
    let web = Web::start().await;
    web.page("https://shop.example/", |_| gzip_page("not gzip"));
    let result = get(&web.client(), "https://shop.example/").await;
    assert!(matches!(result, Err(FetchError::Failed(_))), "{result:?}");
}

#[tokio::test]
async fn an_encoding_that_was_not_offered_is_refused() {
    let web = Web::start().await;
    for encoding in ["br", "zstd", "gzip, gzip", "identity"] {
        web.page("https://shop.example/", move |_| {
            let mut response = page("text/html", "<p>Coat");
            response.headers_mut().insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
            response
        });
        match get(&web.client(), "https://shop.example/").await {
            Ok(_) => assert_eq!(encoding, "identity"),
            Err(FetchError::UnexpectedContent { got }) => assert_eq!(got, encoding),
            Err(error) => panic!("{encoding}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn content_of_another_type_is_refused() {
    let web = Web::start().await;
    let client = web.client();
    let types = [
        ("image/jpeg", Some(Expect::Image)),
        ("Image/PNG; q=1", Some(Expect::Image)),
        ("image/webp", Some(Expect::Image)),
        ("image/svg+xml", None),
        ("image/", None),
        ("text/html", Some(Expect::Html)),
        ("text/html;charset=UTF-8", Some(Expect::Html)),
        ("application/json", Some(Expect::Json)),
        ("application/ld+json; charset=utf-8", Some(Expect::Json)),
        ("text/plain", Some(Expect::Text)),
        ("application/javascript", None),
        ("text/htmlx", None),
        ("", None),
    ];
    for (content_type, fitting) in types {
        web.page("https://shop.example/", move |_| page(content_type, "content"));
        for expect in [Expect::Image, Expect::Html, Expect::Json, Expect::Text] {
            let result = client.get("https://shop.example/", expect, FetchLimits::default()).await;
            let is_refused = matches!(&result, Err(FetchError::UnexpectedContent { got }) if got == content_type);
            assert_eq!(is_refused, fitting != Some(expect), "{content_type:?} as {expect:?}: {result:?}");
        }
    }
    for (content_type, feed, sitemap, robots) in [
        ("application/rss+xml; charset=utf-8", true, true, false),
        ("application/atom+xml", true, true, false),
        ("text/xml", true, true, true),
        ("application/feed+json", true, false, false),
        ("application/json", true, false, false),
        ("application/x-gzip", true, true, false),
        ("application/octet-stream", true, true, true),
        ("text/plain; charset=utf-8", true, true, true),
        ("text/html", false, false, true),
        ("image/svg+xml", false, false, false),
        ("", false, false, true),
    ] {
        web.page("https://shop.example/", move |_| page(content_type, "content"));
        for (expect, fits) in [(Expect::Feed, feed), (Expect::Sitemap, sitemap), (Expect::Robots, robots)] {
            let result = client.get("https://shop.example/", expect, FetchLimits::default()).await;
            assert_eq!(result.is_ok(), fits, "{content_type} as {expect:?}: {result:?}");
        }
    }
}

#[tokio::test]
async fn a_page_without_a_type_is_refused() {
    let web = Web::start().await;
    web.page("https://shop.example/", |_| Response::new(Body::from("<p>Coat")));
    let result = get(&web.client(), "https://shop.example/").await;
    assert!(matches!(&result, Err(FetchError::UnexpectedContent { got }) if got.is_empty()), "{result:?}");
}

#[tokio::test]
async fn a_site_that_is_too_slow_is_left() {
    let web = Web::start().await;
    web.silence("https://slow.example/silent");
    web.page("https://slow.example/stalling", |_| page("text/html", stalling("<p>")));
    web.page("https://slow.example/away", |_| redirect("https://slow.example/silent"));
    // Connections to it are taken and nothing is said: TLS never begins.
    web.name("mute.example", &[address("8.8.8.8")]);
    let client = web.client();
    let limits = FetchLimits { time: Duration::from_millis(300), ..FetchLimits::default() };
    for url in [
        "https://slow.example/silent",
        "https://slow.example/stalling",
        "https://slow.example/away",
        "https://mute.example/",
    ] {
        let begin = Instant::now();
        let result = client.get(url, Expect::Html, limits).await;
        assert!(matches!(result, Err(FetchError::TimedOut)), "{url}: {result:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{url}");
        assert!(result.unwrap_err().is_temporary());
    }
}

struct NeverResolves;

#[async_trait::async_trait]
impl Resolve for NeverResolves {
    async fn addresses(&self, _name: &str) -> std::io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_does_not_answer_is_not_waited_for() {
    let options = GuardedOptions { resolver: std::sync::Arc::new(NeverResolves), ..GuardedOptions::default() };
    let client = GuardedClient::new(options).unwrap();
    assert_eq!(client.check("https://shop.example/").await, Err(Unresolved));
}

#[tokio::test]
async fn a_site_without_a_valid_certificate_is_not_read() {
    let web = Web::start().await;
    for (name, flaw) in [
        ("untrusted.example", Flaw::Untrusted),
        ("mistaken.example", Flaw::OtherName),
        ("expired.example", Flaw::Expired),
    ] {
        let url = format!("https://{name}/");
        web.page(&url, |_| page("text/html", "<p>Coat"));
        web.flaw(name, flaw);
        let result = get(&web.client(), &url).await;
        let Err(FetchError::Failed(cause)) = &result else { panic!("{flaw:?}: {result:?}") };
        assert!(cause.is_connect() && !cause.to_string().contains(name), "{cause:?}");
    }
    assert!(web.received().is_empty());
}

#[tokio::test]
async fn an_answer_other_than_success_is_a_failure() {
    let web = Web::start().await;
    for (status, is_temporary) in
        [(204, false), (400, false), (403, false), (404, false), (410, false), (429, true), (500, true), (503, true)]
    {
        web.page("https://shop.example/", move |_| {
            Response::builder().status(status).header(header::CONTENT_TYPE, "text/html").body(Body::empty()).unwrap()
        });
        match get(&web.client(), "https://shop.example/").await {
            Err(error @ FetchError::Status(got)) => {
                assert_eq!((got.as_u16(), error.is_temporary()), (status, is_temporary));
            }
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[test]
fn refusals_are_worded_as_agreed() {
    let all = [NotHttps, NoHostname, IpLiteral, Unresolved, NotPublic, Invalid, Credentials, Port];
    for refused in all {
        assert_eq!(FetchError::Refused(refused).is_temporary(), refused == Unresolved, "{refused}");
    }
    let texts = all.map(|refused| refused.to_string());
    assert_eq!(
        texts,
        [
            "URL must use HTTPS.",
            "URL must have a hostname.",
            "IP-literal URLs are not permitted.",
            "Could not resolve hostname.",
            "URL resolves to a private or reserved address.",
            "URL is not valid.",
            "URL must not contain credentials.",
            "URL must use the default port.",
        ]
    );
}

#[tokio::test]
async fn the_resolver_of_the_system_finds_addresses() {
    let found = SystemResolver::default().addresses("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
}

#[tokio::test]
async fn the_service_fetches_through_the_client_that_it_was_given() {
    let web = Web::start().await;
    web.page("https://shop.example/", |_| page("text/html", "<p>Coat"));
    let app = TestApp::builder().web(&web).start();
    assert_eq!(get(&app.state.web, "https://shop.example/").await.unwrap().body, "<p>Coat");
}

#[tokio::test]
async fn other_tests_have_no_internet() {
    let app = TestApp::new();
    assert_eq!(refusal(get(&app.state.web, "https://shop.example/").await), Some(Unresolved));
}
