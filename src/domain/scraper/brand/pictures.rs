//! Where a product's picture is: in the attribute that the configuration names, or where pages keep the address until
//! the picture comes into view.

use scraper::ElementRef;
use url::Url;

use super::scrape::resolve;

/// Attributes that hold one address, the likeliest first. `src` is last, because it often shows a placeholder.
const SINGLE: [&str; 7] = ["data-src", "data-original", "data-lazy-src", "data-lazy", "data-image", "data-full", "src"];
/// Attributes that hold addresses of several sizes.
const SETS: [&str; 3] = ["data-srcset", "data-lazy-srcset", "srcset"];

/// The width that is wanted, in pixels: the largest up to this.
const WIDTH: f64 = 1600.0;
/// What stands in for a width in the addresses of some shops.
const WIDTH_TEMPLATE: (&str, &str) = ("{width}", "1080");

/// Most sizes that are looked at.
const MAX_SIZES: usize = 40;

/// The picture's address, if the element has one.
pub fn picture(element: ElementRef<'_>, attribute: &str, base: &Url) -> Option<String> {
    let value = |name: &str| element.value().attr(name).map(str::trim).filter(|value| !value.is_empty());
    let named = (!attribute.is_empty()).then(|| value(attribute)).flatten();
    let named = named.and_then(|text| if attribute.ends_with("srcset") { best(text) } else { Some(text) });
    let lazy = || SETS.iter().find_map(|name| best(value(name)?));
    let single = || SINGLE.iter().filter_map(|name| value(name));
    let sources = || {
        // <picture><source srcset=…><img></picture>
        let around = element.parent().and_then(ElementRef::wrap).filter(|around| around.value().name() == "picture");
        let sources = around.into_iter().flat_map(|around| around.child_elements()).take(MAX_SIZES);
        sources.filter_map(|source| {
            let set = source.value().attr("srcset").or_else(|| source.value().attr("data-srcset"))?;
            best(set)
        })
    };
    let style = || value("style").or_else(|| value("data-bg")).and_then(background);
    let found = named.into_iter().chain(single().take(1).filter(|_| named.is_none()));
    let found = found.chain(lazy()).chain(single()).chain(sources()).chain(style());
    found
        .filter_map(|address| resolve(base, &address.replace(WIDTH_TEMPLATE.0, WIDTH_TEMPLATE.1)))
        .next()
        .map(String::from)
}

/// The address of the best size in a `srcset`.
fn best(set: &str) -> Option<&str> {
    let mut best: Option<(&str, f64)> = None;
    for (address, width) in sizes(set) {
        let is_better = |known: f64| if known > WIDTH { width < known } else { width > known && width <= WIDTH };
        if best.is_none_or(|(_, known)| is_better(known)) {
            best = Some((address, width));
        }
    }
    best.map(|(address, _)| address)
}

/// The addresses of a `srcset` with their widths. Addresses may hold commas, but not end in one.
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

/// The address in `background-image: url(…)`.
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
