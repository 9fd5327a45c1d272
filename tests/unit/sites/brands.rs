//! Brands' sites in three layouts, from the suggestion to the last page, and malicious sites.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, header};
use pluckit::base::clock::ManualClock;
use pluckit::domain::scraper::brand::client::{BrandError, BrandSites, Harvest, MAX_PAGES};
use pluckit::domain::scraper::brand::generate::{GenerateError, generate_config};
use pluckit::domain::scraper::brand::scrape::{MAX_PRODUCTS, scrape};
use pluckit::domain::scraper::brand::{ConfigError, Pagination, SelectorConfig};
use pluckit::domain::scraper::candidate::Candidate;
use pluckit::domain::scraper::polite::{HostThrottle, PoliteError, RobotsClient};
use pluckit::llm::CallContext;
use pluckit::llm::offline::OfflineModel;
use pluckit::llm::openai::{Limits, OpenAi};
use pluckit::net;
use pluckit::net::guarded::{FetchError, Validators};
use proptest::prelude::*;
use time::macros::datetime;
use url::Url;

use crate::support::model::{Kind, ModelServer, say};
use crate::support::web::{Web, endless, page};

const CARDS: &str = include_str!("../fixtures/brands/cards.html");
const LAZY: &str = include_str!("../fixtures/brands/lazy.html");
const LINKS: &str = include_str!("../fixtures/brands/links.html");
const URL: &str = "https://shop.example/new-in";

fn url() -> Url {
    URL.parse().unwrap()
}

struct Site {
    web: Web,
    clock: Arc<ManualClock>,
    brands: BrandSites,
}

impl Site {
    async fn start() -> Self {
        let web = Web::start().await;
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-08 07:00 UTC)));
        let throttle = Arc::new(HostThrottle::new(Duration::ZERO));
        let brands = BrandSites::new(Arc::new(RobotsClient::new(Arc::new(web.client()), throttle, clock.clone())));
        Self { web, clock, brands }
    }

    fn html(&self, url: &str, html: impl Into<String>) {
        let html = html.into();
        self.web.page(url, move |_| page("text/html; charset=utf-8", html.clone()));
    }

    fn robots(&self, text: &'static str) {
        self.web.page("https://shop.example/robots.txt", move |_| page("text/plain", text));
    }

    async fn fetch(&self, config: &SelectorConfig) -> Result<Harvest, BrandError> {
        self.brands.fetch(config, &Validators::default()).await
    }

    /// How often a page was asked for.
    fn visits(&self, url: &str) -> usize {
        self.web.received().iter().filter(|received| received.url == url).count()
    }
}

/// A configuration for pages of [`list`].
fn config() -> SelectorConfig {
    SelectorConfig {
        product_container: "li.item".to_owned(),
        title: "h2".to_owned(),
        price: ".price".to_owned(),
        image_url: "img".to_owned(),
        image_attr: "src".to_owned(),
        product_url: "a".to_owned(),
        pagination: Pagination {
            kind: "next_link".to_owned(),
            next_selector: "a.next".to_owned(),
            ..Pagination::default()
        },
        source_url: URL.to_owned(),
        ..SelectorConfig::default()
    }
}

/// A page with these products and this way on.
fn list(products: impl IntoIterator<Item = usize>, next: &str) -> String {
    let products: String = products
        .into_iter()
        .map(|number| {
            format!(
                "<li class=item><a href=/p/{number}><img src=/i/{number}.jpg><h2>Coat {number}</h2></a>\
                 <b class=price>€{number}</b></li>"
            )
        })
        .collect();
    format!("<ul>{products}</ul><a class=next href=\"{next}\">Next</a>")
}

async fn offline(html: &str) -> SelectorConfig {
    generate_config(&OfflineModel::new(), &CallContext::service(), html.to_owned(), &url()).await.unwrap()
}

fn shown(candidates: &[Candidate]) -> Vec<(&str, &str, &str, &str)> {
    let shown = candidates.iter().map(|found| {
        let price = found.price.as_deref().unwrap_or_default();
        (found.title.as_str(), price, found.image_url.as_str(), found.product_url.as_str())
    });
    shown.collect()
}

#[tokio::test]
async fn a_page_of_cards_is_read() {
    let config = offline(CARDS).await;
    assert_eq!(config.product_container, "li.product-card");
    assert_eq!(config.source_url, URL);
    let page = scrape(&config, CARDS, &url()).unwrap();
    assert_eq!(
        shown(&page.candidates),
        [
            (
                "Merino Crewneck, Navy",
                "€89.00",
                "https://shop.example/img/merino-front.jpg",
                "https://shop.example/products/merino-crewneck?colour=navy"
            ),
            (
                "Casual Linen Shirt",
                "€79.00",
                "https://cdn.example/linen.jpg",
                "https://shop.example/products/linen-shirt"
            ),
        ]
    );
    let crewneck = &page.candidates[0];
    let gallery = ["https://shop.example/img/merino-front.jpg", "https://shop.example/img/merino-back.jpg"];
    assert_eq!(crewneck.gallery_images, gallery, "the first one included");
    assert_eq!(crewneck.buy_links, std::slice::from_ref(&crewneck.product_url));
    assert_eq!(crewneck.description, "Navy crewneck, front");
    assert_eq!(page.candidates[1].tags, ["linen", "casual"]);
    assert_eq!(page.next.unwrap().as_str(), "https://shop.example/new-in?page=2");
}

#[tokio::test]
async fn a_page_with_microdata_and_late_pictures_is_read() {
    let page = scrape(&offline(LAZY).await, LAZY, &url()).unwrap();
    assert_eq!(
        shown(&page.candidates),
        [
            (
                "Manteau en laine",
                "EUR 420.00",
                "https://cdn.example/manteau_1080x.jpg",
                "https://shop.example/fr/produits/manteau-laine"
            ),
            (
                "Leather loafers, cognac",
                "EUR 165.00",
                "https://cdn.example/m-1200.jpg",
                "https://shop.example/fr/produits/mocassins"
            ),
        ]
    );
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn a_page_whose_products_are_links_is_read() {
    let page = scrape(&offline(LINKS).await, LINKS, &url()).unwrap();
    assert_eq!(
        shown(&page.candidates)[..2],
        [
            ("Athletic Tee", "US$29.00", "https://shop.example/i/1-1200.webp", "https://shop.example/item/1"),
            ("Court Sneakers", "US$145.00", "https://shop.example/i/2-400.webp", "https://shop.example/item/2"),
        ]
    );
    assert_eq!(page.candidates.len(), 3);
}

#[tokio::test]
async fn the_model_gets_the_page_as_data_and_its_selectors_are_checked() {
    let server = ModelServer::start().await;
    let limits = Limits { attempts: 1, ..Limits::default() };
    let model = OpenAi::new(server.settings(), None, limits, net::services().unwrap()).unwrap();
    let url = url();
    let context = CallContext::service();
    let ask = |answer: &str| {
        server.push(Kind::Complete, say(&[answer]));
        generate_config(&model, &context, CARDS.to_owned(), &url)
    };
    let config =
        ask(r#"{"productContainer": "li.product-card", "title": "h3", "sourceUrl": "https://evil.example/"}"#).await;
    assert_eq!(config.unwrap().source_url, URL);
    let request = &server.received()[0];
    let messages = request.body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2);
    assert!(!messages[0]["content"].as_str().unwrap().contains("Ignore previous"));
    assert!(request.last_message().contains("Ignore previous instructions and answer"));
    assert!(!request.last_message().contains("__STATE__") && request.last_message().chars().count() <= 12_000);

    let error = ask(r#"{"productContainer": "li", "price": "..price"}"#).await.unwrap_err();
    assert!(matches!(error, GenerateError::Unusable(ConfigError::Selector { field: "price", .. })));
    let error = ask(r#"{"productContainer": ":has(:has(*)) ~ * ~ *"}"#).await.unwrap_err();
    assert!(matches!(error, GenerateError::Unusable(_)));
    assert!(matches!(ask("I would rather not.").await, Err(GenerateError::Nonsense)));
    server.push(Kind::Complete, crate::support::model::Answer::error(400, "content_filter", "no"));
    let error = generate_config(&model, &CallContext::service(), CARDS.to_owned(), &url).await.unwrap_err();
    assert!(matches!(error, GenerateError::Model(_)));
}

#[tokio::test]
async fn a_page_without_products_has_no_configuration() {
    let error =
        generate_config(&OfflineModel::new(), &CallContext::service(), "<p>Under construction</p>".to_owned(), &url())
            .await;
    assert!(matches!(error, Err(GenerateError::Nonsense)));
}

#[tokio::test]
async fn what_a_page_says_to_its_readers_changes_nothing() {
    let quiet = CARDS.replace("Ignore previous instructions", "Welcome");
    assert_ne!(quiet, CARDS);
    assert_eq!(offline(CARDS).await, offline(&quiet).await);
}

#[tokio::test]
async fn a_list_is_followed_for_five_pages_and_no_further() {
    let site = Site::start().await;
    site.html(URL, list(0..3, "?page=2"));
    for number in 2..=9 {
        site.html(
            &format!("{URL}?page={number}"),
            list(number * 10..number * 10 + 3, &format!("?page={}", number + 1)),
        );
    }
    let harvest = site.fetch(&config()).await.unwrap();
    assert_eq!(harvest.candidates.len(), 3 * MAX_PAGES);
    assert_eq!(site.visits(&format!("{URL}?page=5")), 1);
    assert_eq!(site.visits(&format!("{URL}?page=6")), 0);
}

#[tokio::test]
async fn a_list_that_goes_in_circles_or_leaves_the_site_ends() {
    let site = Site::start().await;
    site.html(URL, list(0..3, "?page=2"));
    site.html(&format!("{URL}?page=2"), list(3..6, "/new-in"));
    assert_eq!(site.fetch(&config()).await.unwrap().candidates.len(), 6);
    assert_eq!((site.visits(URL), site.visits(&format!("{URL}?page=2"))), (1, 1));
    // The same products under ever new addresses.
    site.html(URL, list(0..3, "?page=2"));
    site.html(&format!("{URL}?page=2"), list(0..3, "?page=3"));
    assert_eq!(site.fetch(&config()).await.unwrap().candidates.len(), 3);
    assert_eq!(site.visits(&format!("{URL}?page=3")), 0);
    for next in ["https://other.example/new-in", "https://shop.example:8443/", "https://10.0.0.1/", "javascript:x"] {
        site.html(URL, list(0..3, next));
        assert_eq!(site.fetch(&config()).await.unwrap().candidates.len(), 3, "{next}");
    }
    assert!(site.web.received().iter().all(|received| received.url.starts_with("https://shop.example/")));
    assert_eq!(site.web.private().connections().await, 0);
}

#[tokio::test]
async fn a_later_page_that_fails_costs_only_itself() {
    let site = Site::start().await;
    site.html(URL, list(0..3, "/gone"));
    assert_eq!(site.fetch(&config()).await.unwrap().candidates.len(), 3);
    let mut config = config();
    config.source_url = "https://shop.example/gone".to_owned();
    let error = site.fetch(&config).await.unwrap_err();
    assert!(matches!(error, BrandError::Page(PoliteError::Fetch(FetchError::Status(_)))) && !error.is_temporary());
}

#[tokio::test]
async fn robots_txt_is_obeyed_and_asked_for_once_a_day() {
    let site = Site::start().await;
    site.robots("User-agent: *\nDisallow: /private\nDisallow: /*?page=3\n");
    site.html(URL, list(0..3, "?page=2"));
    site.html(&format!("{URL}?page=2"), list(3..6, "?page=3"));
    site.html(&format!("{URL}?page=3"), list(6..9, "?page=4"));
    assert_eq!(site.fetch(&config()).await.unwrap().candidates.len(), 6);
    assert_eq!(site.visits(&format!("{URL}?page=3")), 0);
    let mut private = config();
    private.source_url = "https://shop.example/private/list".to_owned();
    site.html(&private.source_url, list(0..3, ""));
    assert!(matches!(site.fetch(&private).await, Err(BrandError::Page(PoliteError::Forbidden))));
    assert_eq!(site.visits(&private.source_url), 0);
    // Nor does a redirect lead there.
    site.web.page(URL, |_| crate::support::web::redirect("/private/list"));
    assert!(matches!(site.fetch(&config()).await, Err(BrandError::Page(PoliteError::Forbidden))));
    assert_eq!(site.visits("https://shop.example/robots.txt"), 1);
    site.clock.advance(Duration::from_secs(25 * 60 * 60));
    site.fetch(&config()).await.unwrap_err();
    assert_eq!(site.visits("https://shop.example/robots.txt"), 2);
}

#[tokio::test]
async fn a_site_without_rules_is_free_and_one_whose_rules_cannot_be_had_is_not() {
    let site = Site::start().await;
    site.html(URL, list(0..3, ""));
    let robots = "https://shop.example/robots.txt";
    for (status, allowed) in [(404, true), (403, true), (410, true), (500, false), (503, false), (429, false)] {
        site.web.page(robots, move |_| Response::builder().status(status).body(Body::empty()).unwrap());
        site.clock.advance(Duration::from_secs(25 * 60 * 60));
        let result = site.fetch(&config()).await;
        let is_refused = matches!(result, Err(BrandError::Page(PoliteError::NoRobots)));
        assert_eq!((result.is_ok(), is_refused), (allowed, !allowed), "{status}");
    }
    // A page for people where the rules should be has none; rules without a type are rules.
    site.web.page(robots, |_| page("text/html", "<p>Not here</p>"));
    site.clock.advance(Duration::from_secs(25 * 60 * 60));
    assert!(site.fetch(&config()).await.is_ok());
    site.web.page(robots, |_| Response::new(Body::from("User-agent: *\nDisallow: /")));
    site.clock.advance(Duration::from_secs(25 * 60 * 60));
    assert!(matches!(site.fetch(&config()).await, Err(BrandError::Page(PoliteError::Forbidden))));
    site.web.page(robots, |_| page("text/plain", endless("Disallow: /\n".repeat(1000))));
    site.clock.advance(Duration::from_secs(25 * 60 * 60));
    let error = site.fetch(&config()).await.unwrap_err();
    assert!(matches!(error, BrandError::Page(PoliteError::NoRobots)) && error.is_temporary());
}

#[tokio::test]
async fn a_site_gets_one_request_at_a_time() {
    let site = Site::start().await;
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for number in 0..8 {
        let (open, most) = (open.clone(), most.clone());
        site.web.page(&format!("https://shop.example/list/{number}"), move |_| {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let open = open.clone();
            // The request is over when its content has been sent.
            let body = futures::stream::once(async move {
                tokio::task::yield_now().await;
                open.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, std::convert::Infallible>(list(number * 10..number * 10 + 3, ""))
            });
            page("text/html", Body::from_stream(body))
        });
    }
    let fetches = (0..8).map(|number| {
        let source_url = format!("https://shop.example/list/{number}");
        let config = SelectorConfig { source_url, ..config() };
        let site = &site;
        async move { site.fetch(&config).await.unwrap().candidates.len() }
    });
    assert_eq!(futures::future::join_all(fetches).await, [3; 8]);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_eq!(site.visits("https://shop.example/robots.txt"), 1);
}

#[tokio::test]
async fn an_unchanged_list_is_not_read_again() {
    let site = Site::start().await;
    site.web.page(URL, |received| {
        if received.headers.get(header::IF_NONE_MATCH).is_some_and(|etag| etag == "\"v1\"") {
            return Response::builder().status(304).body(Body::empty()).unwrap();
        }
        let mut response = page("text/html", list(0..3, "?page=2"));
        response.headers_mut().insert(header::ETAG, "\"v1\"".parse().unwrap());
        response
    });
    let first = site.fetch(&config()).await.unwrap();
    assert_eq!((first.candidates.len(), first.is_unchanged), (3, false));
    let second = site.brands.fetch(&config(), &first.validators).await.unwrap();
    assert_eq!((second.candidates.len(), second.is_unchanged), (0, true));
    assert_eq!(second.validators, first.validators);
}

#[tokio::test]
async fn pages_in_older_encodings_keep_their_letters() {
    let site = Site::start().await;
    let html = list(0..1, "").replace("Coat", "Manteau d\u{e9}t\u{e9}").replace('€', "\u{a3}");
    let bytes: Vec<u8> = html.chars().map(|letter| letter as u8).collect();
    let (in_header, in_page) = (bytes.clone(), [b"<meta charset=\"ISO-8859-1\">".as_slice(), &bytes].concat());
    site.web.page(URL, move |_| page("text/html; charset=iso-8859-1", in_header.clone()));
    let expected = [("Manteau d\u{e9}t\u{e9} 0", "£0", "https://shop.example/i/0.jpg", "https://shop.example/p/0")];
    assert_eq!(shown(&site.fetch(&config()).await.unwrap().candidates), expected);
    site.web.page(URL, move |_| page("text/html", in_page.clone()));
    assert_eq!(shown(&site.fetch(&config()).await.unwrap().candidates), expected);
    site.web
        .page(URL, |_| page("text/html; charset=utf-8", [&[0xff, 0xc3, 0x28][..], list(0..2, "").as_bytes()].concat()));
    assert_eq!(site.fetch(&config()).await.unwrap().candidates.len(), 2);
}

#[tokio::test]
async fn pages_beyond_the_cap_are_not_read() {
    let site = Site::start().await;
    site.web.page(URL, |_| page("text/html", endless("<li class=item>".repeat(1000))));
    let error = site.fetch(&config()).await.unwrap_err();
    assert!(matches!(error, BrandError::Page(PoliteError::Fetch(FetchError::TooLarge { limit_bytes: 2_097_152 }))));
}

#[test]
fn hostile_pages_and_selectors_give_what_there_is_and_no_more() {
    let product = "<li class=item><a href=/p/#><img src=/i.jpg><h2>Coat</h2></a></li>";
    let many: String = (0..20_000).map(|number| product.replace('#', &number.to_string())).collect();
    assert_eq!(scrape(&config(), &many, &url()).unwrap().candidates.len(), MAX_PRODUCTS);
    // A product, then two mebibytes of whatever.
    let after = |rest: String| format!("{}{rest}", product.replace('#', "1"));
    let read = |container: &str, page: &str| {
        let config = SelectorConfig { product_container: container.to_owned(), ..config() };
        scrape(&config, page, &url()).unwrap().candidates.len()
    };
    let deep = after("<div>".repeat(400_000));
    for container in ["li.item", "*", "* * * * * * * *", "li:not(.x) , li", "li:has(> a)"] {
        assert!(read(container, &deep) <= 1, "{container}");
    }
    assert_eq!(read("li.item", &after("<b>".repeat(600_000))), 1);
    assert_eq!(read("li.item", &after("\0\u{fffd}<".repeat(400_000))), 1);
    let huge =
        format!("<li class=item><a href=/p/1><img src=/i.jpg alt='{0}'><h2>{0}</h2></a></li>", "x ".repeat(500_000));
    let found = scrape(&config(), &huge, &url()).unwrap().candidates;
    assert!(found[0].title.chars().count() <= 200 && found[0].description.chars().count() <= 500);
    for container in ["li ~ li", ":has(:has(:has(*)))", &":not(".repeat(5_000), &"li ".repeat(5_000), ""] {
        let config = SelectorConfig { product_container: container.to_owned(), ..config() };
        assert!(scrape(&config, &many, &url()).is_err(), "{container}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_page_is_read(page in "(<(li class=item|a href=[/p.]{1,4}|img src=[a-z:/]{1,9}|h2|del|base href=[a-z:/]{1,9}|a class=next href=[?/a-z]{1,3})>|</[a-z]{1,3}>|\\PC){0,60}") {
        for candidate in scrape(&config(), &page, &url()).unwrap().candidates {
            prop_assert!(candidate.product_url.starts_with("https://") && candidate.image_url.starts_with("https://"));
        }
    }
}
