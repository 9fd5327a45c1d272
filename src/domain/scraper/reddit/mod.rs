//! Posts of a subreddit, as listed by Reddit or submitted by clients.
//!
//! Parsing is pure; [`client`] fetches. Unusable posts are skipped.

pub mod client;
mod pictures;

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use url::Url;

use self::pictures::pictures;
use super::candidate::{Candidate, gallery};
use super::tags;
use crate::base::text::head;
use crate::model::lenient;
use crate::model::timestamp::Timestamp;
use crate::net::guarded::check_url;

/// Site for people, independent of the configured URL.
const SITE: &str = "https://www.reddit.com";
/// Hosts that clients may write in a permalink.
const SITES: [&str; 3] = ["reddit.com", "www.reddit.com", "old.reddit.com"];

/// Most posts of a listing or submission, as in Reddit's API.
pub const MAX_POSTS: usize = 100;
/// Longest title, in characters, as at Reddit.
const MAX_TITLE: usize = 300;
/// Longest text, in characters.
const MAX_TEXT: usize = 2_000;
/// Longest permalink, in bytes; real ones have at most about 120.
const MAX_PERMALINK: usize = 300;

/// Which posts a source accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedditConfig {
    /// Name of the subreddit, without `r/`.
    pub subreddit: String,
    /// Order of the posts.
    pub sort: Sort,
    /// Number of posts to fetch, 1 to 100.
    pub limit: u32,
    /// Lowest score of a post.
    pub min_score: i64,
}

/// Order of a subreddit's posts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase", const_into_str)]
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
    /// Returns the name in URLs.
    const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// The configuration does not name a valid subreddit.
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
    /// Reads the configuration of a stored source. Invalid values count as absent; the limit is clamped.
    ///
    /// # Errors
    /// When the subreddit's name is invalid.
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

/// Origin of a post, which determines what is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PostOrigin {
    /// Reddit's listing of the subreddit.
    Listing,
    /// Reddit's answer for the post itself.
    Post,
    /// A client. Text, flair and votes are not taken.
    Client,
}

/// Returns the posts of a listing that the source accepts.
pub fn listing(listing: &Value, config: &RedditConfig) -> Vec<Candidate> {
    let children = listing["data"]["children"].as_array().map(Vec::as_slice).unwrap_or_default();
    let posts = children.iter().filter(|child| child["kind"].as_str().is_none_or(|kind| kind == "t3"));
    posts.take(MAX_POSTS).filter_map(|child| candidate(data(child), config, PostOrigin::Listing)).collect()
}

/// Whether the answer is a listing; Reddit answers some failures with status 200.
fn is_listing(answer: &Value) -> bool {
    answer["kind"] == "Listing" && answer["data"]["children"].is_array()
}

/// Returns the submitted posts that the source accepts, without fields for which clients are not trusted. Reddit's
/// envelope is optional. Posts with a URL that could not be fetched are skipped.
pub fn posts(posts: &[Value], config: &RedditConfig) -> Vec<Candidate> {
    let safe = posts.iter().take(MAX_POSTS).map(data).filter(|post| has_safe_addresses(post));
    safe.filter_map(|post| candidate(post, config, PostOrigin::Client)).collect()
}

/// Unwraps a post from its envelope.
fn data(post: &Value) -> &Value {
    post.get("data").filter(|data| data.is_object()).unwrap_or(post)
}

fn has_safe_addresses(post: &Value) -> bool {
    let parent = &post["crosspost_parent_list"][0];
    [post, parent].into_iter().all(|post| {
        let links = ["url", "url_overridden_by_dest"].map(|field| text(&post[field]));
        let media = post["media_metadata"].as_object();
        let pictures = media.into_iter().flatten().map(|(_, picture)| text(&picture["s"]["u"]));
        links.into_iter().chain(pictures).all(is_safe_address)
    })
}

fn is_safe_address(address: &str) -> bool {
    let address = unescape(address);
    // A crosspost has the path of the original post here.
    let is_path = address.starts_with('/') && !address.starts_with("//") && !address.contains('\\');
    address.is_empty() || is_path || check_url(&address).is_ok()
}

/// Converts a post to a candidate, if the source accepts it.
fn candidate(post: &Value, config: &RedditConfig, origin: PostOrigin) -> Option<Candidate> {
    let parent = &post["crosspost_parent_list"][0];
    let is_gone = is_removed(post) || is_removed(parent);
    let is_adult = is_true(&post["over_18"]) || is_true(&parent["over_18"]);
    let score = lenient::whole_of(&post["score"]).unwrap_or_default();
    // Posts submitted by a client may have few votes.
    let is_unliked = origin == PostOrigin::Listing && score < config.min_score;
    if is_gone || is_adult || is_unliked {
        return None;
    }
    let Shown { title, product_url, subreddit, pictures } = Shown::read(post)?;
    if !subreddit.eq_ignore_ascii_case(&config.subreddit) {
        return None;
    }
    let image_url = pictures.first().cloned()?;
    let mut found = Vec::new();
    for tag in tags::of_subreddit(&subreddit) {
        tags::add(&mut found, *tag);
    }
    if origin != PostOrigin::Client {
        for word in tags::of_flair(&unescape(text(&post["link_flair_text"]))) {
            tags::add(&mut found, word);
        }
    }
    for tag in tags::of_title(&title) {
        tags::add(&mut found, tag);
    }
    let candidate = Candidate {
        title,
        image_url,
        product_url,
        tags: found,
        gallery_images: gallery(pictures),
        source_created_at: created_at(post),
        ..Candidate::default()
    };
    if origin == PostOrigin::Client {
        return Some(candidate);
    }
    // Reddit's editor inserts zero-width spaces, escaped twice.
    let description = unescape(&head(text(&post["selftext"]), MAX_TEXT)).replace("&#x200B;", "").trim().to_owned();
    Some(Candidate { description, reddit_score: score, ..candidate })
}

/// The visible parts of a post, which a forgery would have to match.
struct Shown {
    title: String,
    product_url: String,
    subreddit: String,
    pictures: Vec<String>,
}

impl Shown {
    fn read(post: &Value) -> Option<Self> {
        let title = unescape(&head(text(&post["title"]), MAX_TITLE)).trim().to_owned();
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

/// `/r/{subreddit}/comments/{id}/{slug}/`, the path of a post.
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

/// Resolves Reddit's escapes of `<`, `>` and `&`, which occur in URLs too.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

/// Returns the path for fetching a post, relative to Reddit's URL.
fn post_path(product_url: &str) -> Option<String> {
    let permalink = permalink(product_url)?;
    Some(format!("{}.json", permalink.text.trim_end_matches('/')))
}

/// Whether two URLs belong to one post.
fn is_same_post(one: &str, other: &str) -> bool {
    match (permalink(one), permalink(other)) {
        (Some(one), Some(other)) => {
            one.id.eq_ignore_ascii_case(other.id) && one.subreddit.eq_ignore_ascii_case(other.subreddit)
        }
        _ => false,
    }
}

/// Joins the base URL, including its path, with the path of a listing.
fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}
