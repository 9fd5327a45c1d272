//! Finds a product's picture: in the configured attribute, or where pages keep URLs for lazy loading.

use scraper::ElementRef;
use url::Url;

use super::scrape::resolve;

use crate::base::text::is_listed;

/// Attributes for lazy loading, likeliest first; `src` beside them is a placeholder.
const LAZY: [&str; 8] = [
    "data-src",
    "data-original",
    "data-lazy-src",
    "data-original-src",
    "data-cfsrc",
    "data-ezsrc",
    "data-defer-src",
    "data-actualsrc",
];
/// Attributes with several sizes for lazy loading, likeliest first.
const LAZY_SETS: [&str; 7] = [
    "data-srcset",
    "data-lazy-srcset",
    "data-original-set",
    "data-ezsrcset",
    "data-flickity-lazyload-srcset",
    "data-cfsrcset",
    "data-bgset",
];

/// Preferred width in pixels: the largest up to this.
const WIDTH: f64 = 1600.0;
/// Width placeholder in some shops' URLs, and its value.
const WIDTH_TEMPLATE: (&str, &str) = ("{width}", "1080");

/// Most sizes that are compared.
const MAX_SIZES: usize = 40;

/// File names of placeholders.
const PLACEHOLDERS: &str = "\
    blank spacer transparent pixel loading loader lazy lazyload empty dummy clear noimage";
/// Supported picture extensions.
const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "gif"];
/// Types of a `<source>` that are not supported.
const UNREADABLE: [&str; 3] = ["image/avif", "image/jxl", "image/svg+xml"];

/// Returns the URL of the element's picture.
pub fn picture(element: ElementRef<'_>, attribute: &str, base: &Url) -> Option<String> {
    let value = |name: &str| element.value().attr(name).map(str::trim).filter(|value| !value.is_empty());
    let named = (!attribute.is_empty()).then(|| value(attribute)).flatten();
    let named = named.and_then(|text| if attribute.ends_with("set") { best(text) } else { Some(text) });
    let lazy = || {
        let sets = LAZY_SETS.iter().filter_map(|name| best(value(name)?));
        sets.chain(LAZY.iter().filter_map(|name| value(name)).filter(|text| is_address(text)))
    };
    let plain = || named.into_iter().chain(value("src"));
    let sources = || {
        // <picture><source srcset=…><img></picture>
        let around = element.parent().and_then(ElementRef::wrap).filter(|around| around.value().name() == "picture");
        let sources = around.into_iter().flat_map(|around| around.child_elements()).take(MAX_SIZES);
        let is_readable =
            |source: &ElementRef<'_>| source.value().attr("type").is_none_or(|kind| !UNREADABLE.contains(&kind.trim()));
        sources.filter(is_readable).filter_map(|source| {
            let attribute = |name: &&str| source.value().attr(name);
            best(LAZY_SETS.iter().chain(&["srcset"]).find_map(attribute)?)
        })
    };
    // Other places from which scripts take a picture's URL.
    let others = || {
        let data = element.value().attrs().filter(|(name, _)| name.starts_with("data-"));
        data.map(|(_, value)| value.trim()).filter(|value| names_picture(value))
    };
    let style = || value("style").or_else(|| value("data-bg")).and_then(background);
    // A custom attribute named by the configuration is reliable; `src` is not.
    let found = named.into_iter().filter(|_| attribute != "src").chain(lazy()).chain(plain());
    let found = found.chain(value("srcset").and_then(best)).chain(sources()).chain(others()).chain(style());
    found
        .filter_map(|address| resolve(base, &address.replace(WIDTH_TEMPLATE.0, WIDTH_TEMPLATE.1)))
        .find(|address| !is_placeholder(address))
        .map(String::from)
}

/// Whether a picture is a placeholder or a drawing.
fn is_placeholder(address: &Url) -> bool {
    let file = address.path().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let (stem, ending) = file.rsplit_once('.').unwrap_or((&file, ""));
    // blank-1x1, spacer_2
    let name = stem.trim_end_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, 'x' | '-' | '_'));
    ending == "svg"
        || stem == "1x1"
        || stem.contains("placeholder")
        || stem.starts_with("no-image")
        || is_listed(PLACEHOLDERS, name)
}

/// Whether a text can be a URL, possibly with a width placeholder.
fn is_address(text: &str) -> bool {
    let text = text.replace(WIDTH_TEMPLATE.0, "");
    !text.contains(|letter: char| letter.is_whitespace() || matches!(letter, '{' | '[' | '<'))
}

/// Whether a text is a picture URL, by its file name.
fn names_picture(text: &str) -> bool {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let ending = path.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map(|(_, ending)| ending);
    is_address(text) && ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

/// Returns the URL of the best size in a `srcset`.
fn best(set: &str) -> Option<&str> {
    let mut best: Option<(&str, f64)> = None;
    for (address, width) in sizes(set).filter(|(address, _)| !address.starts_with("data:")) {
        let is_better = |known: f64| if known > WIDTH { width < known } else { width > known && width <= WIDTH };
        if best.is_none_or(|(_, known)| is_better(known)) {
            best = Some((address, width));
        }
    }
    best.map(|(address, _)| address)
}

/// Parses a `srcset` into URLs and widths. URLs may contain commas, but not end in one.
fn sizes(set: &str) -> impl Iterator<Item = (&str, f64)> {
    let mut rest = set;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ',');
        let (address, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if address.is_empty() {
            return None;
        }
        let alone = address.trim_end_matches(',');
        let size = if alone.len() < address.len() {
            rest = after;
            ""
        } else {
            let (size, after) = after.split_once(',').unwrap_or((after, ""));
            rest = after;
            size.trim()
        };
        let number = |unit: char| size.strip_suffix(unit)?.parse::<f64>().ok().filter(|number| number.is_finite());
        Some((alone, number('w').or_else(|| number('x').map(|density| density * 500.0)).unwrap_or(500.0)))
    })
    .take(MAX_SIZES)
}

/// Returns the URL in `background-image: url(…)`.
fn background(style: &str) -> Option<&str> {
    if !style.contains("url(") {
        return style.starts_with(['/', 'h']).then_some(style);
    }
    let (_, after) = style.split_once("url(")?;
    let (address, _) = after.split_once(')')?;
    Some(address.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scraper::{Html, Selector};

    use super::*;

    fn of(html: &str, attribute: &str) -> Option<String> {
        let html = Html::parse_fragment(html);
        let element = html.select(&Selector::parse(".it").unwrap()).next().unwrap();
        picture(element, attribute, &Url::parse("https://shop.example/new/").unwrap())
    }

    #[test]
    fn the_picture_is_found_where_pages_keep_it() {
        for (html, attribute, expected) in [
            ("<img class=it src=/a.jpg>", "src", "https://shop.example/a.jpg"),
            ("<img class=it src=a.jpg>", "", "https://shop.example/new/a.jpg"),
            (
                "<img class=it src=data:image/gif;base64,R0 data-src=//cdn.example/a.jpg>",
                "src",
                "https://cdn.example/a.jpg",
            ),
            ("<img class=it src=/dot.gif data-src=/a.jpg>", "data-src", "https://shop.example/a.jpg"),
            ("<img class=it src=/dot.gif data-src=/a_{width}x.jpg>", "", "https://shop.example/a_1080x.jpg"),
            (
                "<img class=it srcset='/a.jpg 320w, /b.jpg?w=1,h=2 1200w, /c.jpg 4000w'>",
                "srcset",
                "https://shop.example/b.jpg?w=1,h=2",
            ),
            ("<img class=it srcset='/a.jpg, /b.jpg 2x'>", "src", "https://shop.example/b.jpg"),
            ("<picture><source srcset='/a.webp 800w'><img class=it></picture>", "src", "https://shop.example/a.webp"),
            // Placeholders of all sorts.
            (
                "<img class=it src=/placeholder.gif data-srcset='/a-400.jpg 400w, /a-1200.jpg 1200w, /a-2400.jpg 2400w'>",
                "src",
                "https://shop.example/a-1200.jpg",
            ),
            ("<img class=it src=/tiny.jpg data-src=/a.jpg>", "src", "https://shop.example/a.jpg"),
            ("<img class=it src=/img/blank-1x1.png srcset='/a.jpg 800w'>", "src", "https://shop.example/a.jpg"),
            ("<img class=it src=/logo.svg data-hi-res=/a.jpg?v=1>", "src", "https://shop.example/a.jpg?v=1"),
            ("<img class=it src=/a.jpg data-lazy=true data-image='{\"id\":1}'>", "src", "https://shop.example/a.jpg"),
            ("<img class=it src=/blank-canvas-tote.jpg>", "src", "https://shop.example/blank-canvas-tote.jpg"),
            (
                "<img class=it srcset='data:image/gif;base64,R0lGOD 900w, /a.jpg 800w'>",
                "src",
                "https://shop.example/a.jpg",
            ),
            (
                "<img class=it srcset='/w_400,h_300/a.jpg 400w,/w_800,h_600/a.jpg 800w'>",
                "srcset",
                "https://shop.example/w_800,h_600/a.jpg",
            ),
            (
                "<picture><source type=image/avif srcset='/a.avif 800w'><source srcset='/a.webp 800w'>\
                 <img class=it src=data:image/gif;base64,R0></picture>",
                "src",
                "https://shop.example/a.webp",
            ),
            ("<div class=it style='background-image: url(\"/a.jpg\")'></div>", "src", "https://shop.example/a.jpg"),
        ] {
            assert_eq!(of(html, attribute).as_deref(), Some(expected), "{html}");
        }
        for html in
            ["<img class=it>", "<img class=it src=javascript:alert(1)>", "<img class=it src=https://10.0.0.1/a.jpg>"]
        {
            assert_eq!(of(html, "src"), None, "{html}");
        }
    }

    proptest! {
        #[test]
        fn any_set_of_sizes_is_read(set in "\\PC{0,80}") {
            for (address, width) in sizes(&set) {
                prop_assert!(!address.contains(char::is_whitespace) && width.is_finite());
            }
            best(&set);
            background(&set);
        }
    }
}
