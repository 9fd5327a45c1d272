//! Reads the products of a page with a configuration's selectors. Pure and blocking.

use std::collections::HashSet;

use scraper::{ElementRef, Html, Selector};
use url::Url;

use super::pictures::picture;
use super::prices::price;
use super::{ConfigError, SelectorConfig, Selectors};
use crate::base::text::{collapse, head};
use crate::domain::scraper::candidate::{Candidate, gallery};
use crate::domain::scraper::tags;
use crate::net::guarded::check_url;
use crate::net::html;

/// Most products of a page, and most elements that are examined.
pub const MAX_PRODUCTS: usize = 200;
const MAX_CONTAINERS: usize = 1_000;
/// Most nodes of a product; larger elements are the list or page.
const MAX_PRODUCT_NODES: usize = 2_000;
/// Longest name, in characters.
const MAX_TITLE: usize = 200;
/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 500;
/// Longest URL, in bytes.
const MAX_ADDRESS: usize = 2_000;
/// Most additional pictures.
const MAX_GALLERY: usize = 5;

/// Tracking parameters of URLs.
const TRACKING: [&str; 6] = ["gclid", "fbclid", "msclkid", "mc_cid", "mc_eid", "srsltid"];

/// Contents of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Products without duplicate URLs.
    pub candidates: Vec<Candidate>,
    /// URL of the next page, on the same host.
    pub next: Option<Url>,
}

/// Reads a page from `base`. Products without name, picture or URL are skipped.
///
/// # Errors
/// When the configuration is invalid.
pub fn scrape(config: &SelectorConfig, page: &str, base: &Url) -> Result<Page, ConfigError> {
    let selectors = config.selectors()?;
    let page = html::parse(page);
    let (url, base) = (base, &base_of(&page, base));
    let mut known = HashSet::new();
    let mut candidates = Vec::new();
    for container in page.select(&selectors.container).take(MAX_CONTAINERS) {
        if candidates.len() == MAX_PRODUCTS {
            break;
        }
        if container.descendants().take(MAX_PRODUCT_NODES + 1).count() > MAX_PRODUCT_NODES {
            continue;
        }
        if let Some(candidate) = product(container, &selectors, base)
            && known.insert(candidate.product_url.clone())
        {
            candidates.push(candidate);
        }
    }
    let next = selectors
        .next
        .as_ref()
        .and_then(|selector| next(&page, selector, base))
        .filter(|next| next.origin() == url.origin());
    Ok(Page { candidates, next })
}

/// Returns the base of the page's relative URLs.
fn base_of(page: &Html, url: &Url) -> Url {
    let Ok(selector) = Selector::parse("base[href]") else { return url.clone() };
    let base = page.select(&selector).next().and_then(|element| resolve(url, element.value().attr("href")?));
    base.unwrap_or_else(|| url.clone())
}

/// Resolves a URL that can be fetched. `http` is upgraded, since shops that use `https` still write it in places.
pub(super) fn resolve(base: &Url, address: &str) -> Option<Url> {
    let address = address.trim();
    if address.is_empty() || address.starts_with('#') || address.len() > MAX_ADDRESS {
        return None;
    }
    let mut url = base.join(address).ok()?;
    if url.scheme() == "http" {
        url.set_scheme("https").ok()?;
    }
    url.set_fragment(None);
    check_url(url.as_str()).ok().filter(|url| url.as_str().len() <= MAX_ADDRESS)
}

/// Removes tracking parameters.
fn without_tracking(mut url: Url) -> Url {
    let is_tracking = |name: &str| name.starts_with("utm_") || TRACKING.contains(&name);
    if url.query_pairs().any(|(name, _)| is_tracking(&name)) {
        let kept: Vec<_> =
            url.query_pairs().filter(|(name, _)| !is_tracking(name)).map(|pair| pair.to_owned()).collect();
        let kept: Vec<(String, String)> = kept.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
    }
    url
}

fn product(container: ElementRef<'_>, selectors: &Selectors, base: &Url) -> Option<Candidate> {
    let product_url = without_tracking(link(container, selectors.link.as_ref(), base)?).to_string();
    let pictures = pictures(container, selectors, base);
    let (image_url, described) = pictures.first().cloned()?;
    let selected = selectors.title.as_ref().and_then(|selector| first(container, selector)).map(words);
    let title = selected.filter(|title| !title.is_empty()).or_else(|| likely_title(container));
    let title = head(&title.or_else(|| Some(described.clone()).filter(|text| !text.is_empty()))?, MAX_TITLE);
    let price = selectors.price.as_ref().and_then(|selector| all(container, selector).find_map(price));
    let mut found = Vec::new();
    for tag in tags::of_title(&title) {
        tags::add(&mut found, tag);
    }
    let description = if described == title { String::new() } else { head(&described, MAX_DESCRIPTION) };
    Some(Candidate {
        description,
        image_url,
        buy_links: vec![product_url.clone()],
        product_url,
        price,
        tags: found,
        gallery_images: gallery(pictures.into_iter().map(|(address, _)| address).take(1 + MAX_GALLERY).collect()),
        title,
        ..Candidate::default()
    })
}

/// Returns the elements that a selector finds in a product, or the product itself.
fn all<'a>(container: ElementRef<'a>, selector: &'a Selector) -> impl Iterator<Item = ElementRef<'a>> {
    container.select(selector).chain(std::iter::once(container).filter(|container| selector.matches(container)))
}

fn first<'a>(container: ElementRef<'a>, selector: &'a Selector) -> Option<ElementRef<'a>> {
    all(container, selector).next()
}

/// Returns the elements with these names in a product, in order.
fn named<'a>(container: ElementRef<'a>, names: &'a [&str]) -> impl Iterator<Item = ElementRef<'a>> {
    container.descendent_elements().filter(|element| names.contains(&element.value().name()))
}

fn link(container: ElementRef<'_>, selector: Option<&Selector>, base: &Url) -> Option<Url> {
    let address = |element: ElementRef<'_>| resolve(base, element.value().attr("href")?);
    if let Some(selector) = selector {
        for element in all(container, selector) {
            let found = address(element).or_else(|| named(element, &["a"]).find_map(address));
            if found.is_some() {
                return found;
            }
        }
    }
    // Within the product, or around it.
    let around = container.ancestors().filter_map(ElementRef::wrap).find(|element| element.value().name() == "a");
    address(container).or_else(|| named(container, &["a"]).find_map(address)).or_else(|| address(around?))
}

/// Returns the pictures of a product with their descriptions, the selected one first.
fn pictures(container: ElementRef<'_>, selectors: &Selectors, base: &Url) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |element: ElementRef<'_>| {
        let Some(address) = picture(element, &selectors.picture_attribute, base) else { return };
        if found.len() <= MAX_GALLERY && !found.iter().any(|(known, _)| *known == address) {
            found.push((address, collapse(element.value().attr("alt").unwrap_or_default())));
        }
    };
    if let Some(selector) = &selectors.picture {
        for element in all(container, selector).take(1 + MAX_GALLERY) {
            add(element);
            if element.value().name() != "img" {
                named(element, &["img"]).take(1 + MAX_GALLERY).for_each(&mut add);
            }
        }
    }
    named(container, &["img"]).take(1 + MAX_GALLERY).for_each(&mut add);
    if found.is_empty() {
        // Pages that load pictures by script repeat them here for clients without scripts.
        for hidden in named(container, &["noscript"]).take(MAX_GALLERY) {
            let markup: String = hidden.text().collect();
            let inside = html::parse(&markup);
            let root = inside.root_element();
            named(root, &["img"]).take(1 + MAX_GALLERY).for_each(|element| {
                if let Some(address) = picture(element, &selectors.picture_attribute, base) {
                    found.push((address, collapse(element.value().attr("alt").unwrap_or_default())));
                }
            });
        }
    }
    found
}

/// Guesses the name of a product: its heading, or the text of its link.
fn likely_title(container: ElementRef<'_>) -> Option<String> {
    let texts = |names: &'static [&'static str]| named(container, names).map(words).find(|text| !text.is_empty());
    texts(&["h1", "h2", "h3", "h4", "h5", "h6"]).or_else(|| {
        named(container, &["a"]).find_map(|link| {
            let label = collapse(link.value().attr("title").or_else(|| link.value().attr("aria-label"))?);
            (!label.is_empty()).then_some(label)
        })
    })
}

/// Returns the text of an element.
fn words(element: ElementRef<'_>) -> String {
    let mut text = String::new();
    for piece in element.text() {
        text.push_str(piece);
        text.push(' ');
        if text.len() > 8 * MAX_TITLE {
            break;
        }
    }
    collapse(&text)
}

fn next(page: &Html, selector: &Selector, base: &Url) -> Option<Url> {
    let address = |element: ElementRef<'_>| {
        let attributes = ["href", "data-href", "data-url", "data-next-url"];
        attributes.iter().find_map(|name| resolve(base, element.value().attr(name)?))
    };
    let mut found = page.select(selector).take(MAX_PRODUCTS);
    found.find_map(|element| address(element).or_else(|| named(element, &["a"]).take(MAX_PRODUCTS).find_map(address)))
}
