//! Bounded parsing of untrusted HTML and CSS selectors.
//!
//! HTML parsers repair any input, which can cost far more than its size: a hundred thousand formatting elements
//! reopened in every paragraph, a thousand attributes compared pairwise. Selectors can be as expensive. So the tree is
//! limited in size and depth, and a selector is accepted only if matching costs little more than walking to the root.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use html5ever::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts, TreeSink};
use scraper::selector::ToCss;
use scraper::{Html, HtmlTreeSink, Selector};

/// Most nodes: elements, texts and comments. Long product lists have about 20,000.
const MAX_NODES: usize = 100_000;
/// Greatest depth. Browsers stop at 512; real pages reach about 40.
const MAX_DEPTH: usize = 256;
/// Time limit per page; two mebibytes of ordinary HTML take less than a tenth of a second.
const TIME: Duration = Duration::from_secs(3);
/// Bytes parsed between two checks of the time limit.
const PIECE: usize = 4 * 1024;

/// Longest selector, in bytes.
const MAX_SELECTOR: usize = 300;
/// Most compound selectors.
const MAX_STEPS: usize = 12;

/// Parses a page and drops what exceeds the limits.
///
/// May take seconds: run it on a blocking thread unless the page is small.
pub fn parse(page: &str) -> Html {
    let start = Instant::now();
    let builder = TreeBuilder::new(HtmlTreeSink::new(Html::new_document()), TreeBuilderOpts::default());
    let tokenizer = Tokenizer::new(Bounded { builder, is_full: Cell::new(false) }, TokenizerOpts::default());
    let queue = BufferQueue::default();
    let mut rest = page;
    while !rest.is_empty() && !tokenizer.sink.is_full.get() && start.elapsed() < TIME {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE.min(rest.len())));
        rest = after;
        queue.push_back(StrTendril::from_slice(piece));
        while !matches!(tokenizer.feed(&queue), TokenizerResult::Done) {}
    }
    tokenizer.end();
    tokenizer.sink.builder.sink.finish()
}

/// Forwards tokens until a limit is reached.
struct Bounded {
    builder: TreeBuilder<<HtmlTreeSink as TreeSink>::Handle, HtmlTreeSink>,
    is_full: Cell<bool>,
}

impl Bounded {
    fn is_over(page: &RefCell<Html>) -> bool {
        let page = page.borrow();
        let mut nodes = page.tree.nodes();
        nodes.len() > MAX_NODES
            || nodes.next_back().is_some_and(|last| last.ancestors().take(MAX_DEPTH).count() == MAX_DEPTH)
    }
}

impl TokenSink for Bounded {
    type Handle = <HtmlTreeSink as TreeSink>::Handle;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Self::Handle> {
        if self.is_full.get() && !matches!(token, Token::EOFToken) {
            return TokenSinkResult::Continue;
        }
        let result = self.builder.process_token(token, line);
        self.is_full.set(self.is_full.get() || Self::is_over(&self.builder.sink.0));
        result
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

/// Why a selector is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Not a CSS selector, or an unsupported kind.
    #[error("the selector cannot be read")]
    Invalid,
    /// Too long, or too expensive to match.
    #[error("the selector is too complex")]
    TooComplex,
}

/// Parses a selector.
///
/// Refused are `~`, which inspects all siblings, and nested combinators: `:is()`, `:not()` and the like must not
/// contain any, except for a leading one in `:has()`, and `:has()` may occur once.
///
/// # Errors
/// When the selector is invalid or could be too expensive.
pub fn selector(text: &str) -> Result<Selector, SelectorError> {
    let text = text.trim();
    if text.len() > MAX_SELECTOR {
        return Err(SelectorError::TooComplex);
    }
    let selector = Selector::parse(text).map_err(|_| SelectorError::Invalid)?;
    // The canonical text has no escapes in known names, and one space between steps.
    if is_cheap(&selector.to_css_string()) { Ok(selector) } else { Err(SelectorError::TooComplex) }
}

fn is_cheap(canonical: &str) -> bool {
    if canonical.matches(":has(").count() > 1 {
        return false;
    }
    let mut steps = 1;
    // The function that each open parenthesis belongs to.
    let mut open: Vec<&str> = Vec::new();
    let mut quote = None;
    let mut in_brackets = false;
    let mut letters = canonical.char_indices().peekable();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '"' | '\'' if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(letter),
            _ if quote.is_some() => {}
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            _ if in_brackets => {}
            '(' => {
                let before = &canonical[..place];
                open.push(before.rsplit_once(':').map_or("", |(_, name)| name));
            }
            ')' => {
                open.pop();
            }
            ',' => {
                // The space after it.
                letters.next_if(|(_, letter)| *letter == ' ');
            }
            '~' => return false,
            ' ' | '>' | '+' => match open.last() {
                None => steps += usize::from(letter == ' '),
                Some(name) if name.starts_with("nth-") => {}
                Some(&"has") => {
                    let inside = canonical[..place].rsplit_once('(').map_or("", |(_, inside)| inside);
                    if !inside.trim_matches(['>', '+', ' ']).is_empty() {
                        return false;
                    }
                }
                Some(_) => return false,
            },
            _ => {}
        }
        if open.len() > 2 {
            return false;
        }
    }
    // `a > b` has two spaces.
    steps <= 2 * MAX_STEPS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_bounded(page: &str) {
        let html = parse(page);
        assert!(html.tree.nodes().len() <= 2 * MAX_NODES);
        // One token may reopen all formatting elements.
        let depth = html.tree.nodes().map(|node| node.ancestors().count()).max().unwrap_or_default();
        assert!(depth <= 2 * MAX_DEPTH + 16, "{depth}");
    }

    #[test]
    fn a_page_is_parsed_as_browsers_do() {
        let page = "<!doctype html><ul><li class=a>1<li class=b>zwei €</ul><p>x</p>";
        assert_eq!(parse(page), Html::parse_document(page));
        let long = format!("<ul>{}</ul>", "<li><a href='/ä'>Größe</a></li>".repeat(2_000));
        assert_eq!(parse(&long), Html::parse_document(&long));
    }

    #[test]
    fn hostile_pages_are_cut_off() {
        let size = 2 * 1024 * 1024;
        let numbered = |text: &str, count: usize| -> String {
            (0..count).map(|number| text.replace('#', &number.to_string())).collect()
        };
        is_bounded(&"<div>".repeat(size / 5));
        is_bounded(&"<p>".repeat(size / 3));
        is_bounded(&"<b>".repeat(size / 3));
        is_bounded(&"<table>".repeat(size / 7));
        is_bounded(&"<a><table><tr><td><b>x".repeat(size / 22));
        // Formatting elements that every paragraph reopens, and one tag with a huge number of attributes.
        is_bounded(&format!("<p>{}</p>{}", numbered("<b id=#>", 2_000), "<p>x</p>".repeat(size / 8)));
        is_bounded(&format!("<p>{}", numbered("<b id=#></p><p>", 100_000)));
        is_bounded(&format!("<a {}>", numbered("a# ", size / 8)));
        is_bounded(&"\u{fffd}<\0".repeat(size / 5));
        is_bounded(&"<!---->".repeat(size / 7));
        is_bounded(&"<svg><template><math>".repeat(size / 21));
    }

    #[test]
    fn selectors_that_shops_need_are_taken() {
        for text in [
            "li.product-card",
            "#grid > .item a[href*='/p/~x']",
            "div:has(> a.link)",
            ".a, .b .c",
            "li:not(.ad, [hidden])",
            "li:nth-child(2n+1) + li",
            "a:is(.next, .more)",
            "[itemtype*=\"schema.org/Product\"]",
            ".pagination li:last-child a",
            ".w-1\\/2 > a",
        ] {
            assert!(selector(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn selectors_that_cost_too_much_are_refused() {
        let many = |text: &str, count: usize| text.repeat(count);
        for text in [
            "a ~ b".to_owned(),
            ":is(a b) c".to_owned(),
            ":not(:is(a > b)) *".to_owned(),
            ":has(a b)".to_owned(),
            ":has(:has(a))".to_owned(),
            ":h\\61s(:has(a))".to_owned(),
            ":has(a) :has(b)".to_owned(),
            ":is(:is(:is(a)))".to_owned(),
            many(":has(", 40) + "a" + &many(")", 40),
            many("* ", 100) + "*",
            many("a,", 10_000) + "a",
            many(":not(", 5_000) + "a",
        ] {
            assert!(selector(&text).is_err(), "{text}");
        }
        for text in ["", "  ", "a[", "li..x", "::before(", "a:hover(", "<li>", "> a"] {
            assert_eq!(selector(text).err(), Some(SelectorError::Invalid), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_page_and_any_selector_is_read(page in "(<[a-z/!]{0,6}[ a-z='\"]{0,8}>?|\\PC){0,60}", text in "[ -~]{0,40}") {
            let html = parse(&page);
            if let Ok(selector) = selector(&text) {
                html.select(&selector).count();
            }
        }
    }
}
