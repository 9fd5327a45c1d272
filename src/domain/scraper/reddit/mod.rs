//! Posts of a subreddit, as Reddit lists them and as clients send them.
//!
//! Reading is pure; [`client`] asks Reddit. A post that cannot be used is left out and costs no other.

pub mod client;
mod pictures;

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use url::Url;

use self::pictures::pictures;
use super::candidate::Candidate;
use super::tags;
use crate::http_client::guarded::{UrlRefused, check_url};
use crate::model::lenient;
use crate::model::timestamp::Timestamp;

/// Where people read posts, whatever address we ask.
const SITE: &str = "https://www.reddit.com";
/// Hosts under which clients may write a permalink out in full.
const SITES: [&str; 3] = ["reddit.com", "www.reddit.com", "old.reddit.com"];

/// Most posts of a listing or a submission; Reddit lists no more at a time.
pub const MAX_POSTS: usize = 100;
/// Longest title, in characters: that of Reddit.
const MAX_TITLE: usize = 300;
/// Longest text, in characters.
const MAX_TEXT: usize = 2_000;
/// Longest permalink, in bytes; real ones have at most about 120.
const MAX_PERMALINK: usize = 300;

/// Which posts a source takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedditConfig {
    /// Name of the subreddit, without `r/`.
    pub subreddit: String,
    /// Order of its posts.
    pub sort: Sort,
    /// How many posts are asked for: 1 to 100.
    pub limit: u32,
    /// Fewest votes of a post.
    pub min_score: i64,
}

/// Order of a subreddit's posts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// New and liked.
    #[default]
    Hot,
    /// Most liked.
    Top,
    /// Newest.
    New,
}

impl Sort {
    /// Its name in addresses.
    const fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Top => "top",
            Self::New => "new",
        }
    }
}

/// The source's configuration names no subreddit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the source's configuration names no subreddit")]
pub struct NoSubreddit;

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredConfig {
    #[serde(deserialize_with = "lenient::or_default")]
    subreddit: String,
    #[serde(deserialize_with = "lenient::or_default")]
    sort: Sort,
    #[serde(deserialize_with = "lenient::optional")]
    limit: Option<u32>,
    #[serde(alias = "minScore", deserialize_with = "lenient::optional")]
    min_score: Option<i64>,
}

impl RedditConfig {
    /// Reads the configuration of a stored source: a value that cannot be used counts as absent, a limit is clamped.
    ///
    /// # Errors
    /// When there is no name that a subreddit can have.
    pub fn read(config: &Value) -> Result<Self, NoSubreddit> {
        let StoredConfig { subreddit, sort, limit, min_score } =
            StoredConfig::deserialize(config).map_err(|_| NoSubreddit)?;
        let name = subreddit.trim().trim_start_matches('/');
        let name = name.strip_prefix("r/").unwrap_or(name).trim_end_matches('/');
        let is_name = (2..=21).contains(&name.len()) && name.bytes().all(is_name_byte);
        is_name.then_some(()).ok_or(NoSubreddit)?;
        Ok(Self {
            subreddit: name.to_owned(),
            sort,
            limit: limit.unwrap_or(50).clamp(1, MAX_POSTS as u32),
            min_score: min_score.unwrap_or(50),
        })
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A post that must not be taken from whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("post {index} has an unsafe address in `{field}`")]
pub struct UnsafePost {
    /// Its place in the submission, from zero.
    pub index: usize,
    /// The field that holds the address.
    pub field: &'static str,
    /// What is wrong with the address.
    #[source]
    pub refused: UrlRefused,
}

/// The posts of a listing that the source takes.
pub fn listing(listing: &Value, config: &RedditConfig) -> Vec<Candidate> {
    let children = listing["data"]["children"].as_array().map(Vec::as_slice).unwrap_or_default();
    let posts = children.iter().filter(|child| child["kind"].as_str().is_none_or(|kind| kind == "t3"));
    posts.take(MAX_POSTS).filter_map(|child| candidate(data(child), config)).collect()
}

/// The posts of a client's submission that the source takes. Each is a post as Reddit lists it, with its envelope or without.
///
/// # Errors
/// When one has an address that the service could never fetch, whatever becomes of the post: that is no mistake.
pub fn posts(posts: &[Value], config: &RedditConfig) -> Result<Vec<Candidate>, UnsafePost> {
    for (index, post) in posts.iter().take(MAX_POSTS).enumerate() {
        check_addresses(data(post)).map_err(|(field, refused)| UnsafePost { index, field, refused })?;
    }
    Ok(posts.iter().take(MAX_POSTS).filter_map(|post| candidate(data(post), config)).collect())
}

/// The post itself, out of its envelope.
fn data(post: &Value) -> &Value {
    post.get("data").filter(|data| data.is_object()).unwrap_or(post)
}

fn check_addresses(post: &Value) -> Result<(), (&'static str, UrlRefused)> {
    let parent = &post["crosspost_parent_list"][0];
    for post in [post, parent] {
        for field in ["url", "url_overridden_by_dest"] {
            check_address(text(&post[field])).map_err(|refused| (field, refused))?;
        }
        let media = post["media_metadata"].as_object();
        for picture in media.into_iter().flatten().map(|(_, picture)| picture) {
            check_address(text(&picture["s"]["u"])).map_err(|refused| ("media_metadata", refused))?;
        }
    }
    Ok(())
}

fn check_address(address: &str) -> Result<(), UrlRefused> {
    let address = unescape(address);
    // A post that passes another one on has that one's path here.
    let is_path = address.starts_with('/') && !address.starts_with("//") && !address.contains('\\');
    if address.is_empty() || is_path {
        return Ok(());
    }
    check_url(&address).map(|_| ())
}

/// What a post offers, if the source takes it.
fn candidate(post: &Value, config: &RedditConfig) -> Option<Candidate> {
    let parent = &post["crosspost_parent_list"][0];
    let is_gone = is_removed(post) || is_removed(parent);
    let is_adult = is_true(&post["over_18"]) || is_true(&parent["over_18"]);
    let score = post["score"].as_i64().unwrap_or_default();
    if is_gone || is_adult || score < config.min_score {
        return None;
    }
    let Shown { title, product_url, subreddit, pictures } = Shown::read(post)?;
    if !subreddit.eq_ignore_ascii_case(&config.subreddit) {
        return None;
    }
    let mut pictures = pictures.into_iter();
    let image_url = pictures.next()?;
    // Reddit's editor leaves zero-width spaces behind, escaped twice.
    let description = unescape(&cut(text(&post["selftext"]), MAX_TEXT)).replace("&#x200B;", "").trim().to_owned();
    let mut found = Vec::new();
    for tag in tags::of_subreddit(&subreddit) {
        tags::add(&mut found, *tag);
    }
    for word in tags::of_flair(&unescape(text(&post["link_flair_text"]))) {
        tags::add(&mut found, word);
    }
    for tag in tags::of_title(&title) {
        tags::add(&mut found, tag);
    }
    Some(Candidate {
        title,
        description,
        image_url,
        product_url,
        tags: found,
        gallery_images: pictures.collect(),
        reddit_score: score,
        source_created_at: created_at(post),
        ..Candidate::default()
    })
}

/// What everybody sees of a post, which a forged one would have to get right.
struct Shown {
    title: String,
    product_url: String,
    subreddit: String,
    pictures: Vec<String>,
}

impl Shown {
    fn read(post: &Value) -> Option<Self> {
        let title = unescape(&cut(text(&post["title"]), MAX_TITLE)).trim().to_owned();
        let path = permalink(text(&post["permalink"]))?;
        let subreddit = text(&post["subreddit"]);
        let is_foreign = !subreddit.eq_ignore_ascii_case(path.subreddit);
        if title.is_empty() || is_foreign {
            return None;
        }
        let product_url = format!("{SITE}{}", path.text);
        Some(Self { title, product_url, subreddit: subreddit.to_owned(), pictures: pictures(post) })
    }
}

/// `/r/{subreddit}/comments/{id}/{slug}/`, the address of a post.
struct Permalink<'a> {
    text: &'a str,
    subreddit: &'a str,
    id: &'a str,
}

fn permalink(address: &str) -> Option<Permalink<'_>> {
    let path = SITES
        .iter()
        .find_map(|host| address.strip_prefix("https://")?.strip_prefix(host)?.strip_prefix('/'))
        .or_else(|| address.strip_prefix('/'))?;
    let text = &address[address.len() - path.len() - 1..];
    let mut parts = path.strip_suffix('/').unwrap_or(path).split('/');
    let (_, subreddit) = (parts.next().filter(|part| *part == "r")?, parts.next()?);
    let (_, id) = (parts.next().filter(|part| *part == "comments")?, parts.next()?);
    // Slugs have letters of all languages, mostly as escapes.
    let slug = parts.next().unwrap_or_default();
    let is_foreign = |letter: char| {
        letter.is_whitespace() || letter.is_control() || matches!(letter, '?' | '#' | '\\' | '"' | '<' | '>')
    };
    let is_slug = !slug.contains(is_foreign);
    let is_known = !subreddit.is_empty()
        && subreddit.bytes().all(is_name_byte)
        && (1..=12).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && is_slug
        && slug != ".."
        && parts.next().is_none()
        && text.len() <= MAX_PERMALINK;
    is_known.then_some(Permalink { text, subreddit, id })
}

fn is_removed(post: &Value) -> bool {
    let is_emptied = |field: &str| matches!(text(&post[field]), "[removed]" | "[deleted]" | "[deleted by user]");
    !post["removed_by_category"].is_null() || is_emptied("title") || is_emptied("selftext")
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true)
}

fn created_at(post: &Value) -> Option<Timestamp> {
    // Reddit writes 1758000000.0.
    let seconds = post["created_utc"].as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
    OffsetDateTime::from_unix_timestamp(seconds as i64).ok().map(Timestamp::from)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// Text without the escapes that Reddit puts in: those of `<`, `>` and `&`, in addresses too.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

/// An address that a post is fetched from, relative to Reddit's.
fn post_path(product_url: &str) -> Option<String> {
    let permalink = permalink(product_url)?;
    Some(format!("{}.json", permalink.text.trim_end_matches('/')))
}

/// Whether two addresses are of one post.
fn is_same_post(one: &str, other: &str) -> bool {
    match (permalink(one), permalink(other)) {
        (Some(one), Some(other)) => {
            one.id.eq_ignore_ascii_case(other.id) && one.subreddit.eq_ignore_ascii_case(other.subreddit)
        }
        _ => false,
    }
}

/// The scheme, host and port of Reddit's address, with the path before that of a listing.
fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}
