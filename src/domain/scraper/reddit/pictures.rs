//! Pictures of a post, at URLs that do not expire.

use serde_json::Value;
use url::Url;

use super::{text, unescape};
use crate::net::guarded::check_url;

/// Most pictures of a gallery, as at Reddit.
pub const MAX_PICTURES: usize = 20;

/// Host of originals.
const ORIGINALS: &str = "i.redd.it";
/// Host of previews, whose URLs expire.
const PREVIEWS: &str = "preview.redd.it";
/// Hosts of pages that wrap a picture.
const SITES: [&str; 2] = ["reddit.com", "www.reddit.com"];

/// Picture extensions.
const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "gif"];

/// Returns the pictures of a post: of its gallery, its link, or the post that it crossposts.
pub fn pictures(post: &Value) -> Vec<String> {
    let own = of_post(post);
    if !own.is_empty() {
        return own;
    }
    post["crosspost_parent_list"].get(0).map(of_post).unwrap_or_default()
}

fn of_post(post: &Value) -> Vec<String> {
    let gallery = of_gallery(post);
    if !gallery.is_empty() {
        return gallery;
    }
    let links = ["url_overridden_by_dest", "url"];
    links.iter().find_map(|field| lasting(text(&post[*field]))).into_iter().collect()
}

/// Returns the valid pictures of a gallery in the author's order, or any order if that is unknown.
fn of_gallery(post: &Value) -> Vec<String> {
    let media = &post["media_metadata"];
    let items = post["gallery_data"]["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Each may occur twice; Reddit's galleries never have more.
    let chosen = valid(items.iter().take(2 * MAX_PICTURES).map(|item| &media[text(&item["media_id"])]));
    if !chosen.is_empty() {
        return chosen;
    }
    valid(media.as_object().into_iter().flatten().take(2 * MAX_PICTURES).map(|(_, picture)| picture))
}

/// Returns the URLs of the valid pictures.
fn valid<'a>(media: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let mut found = Vec::new();
    for picture in media {
        if picture["status"] != "valid" || (picture["e"] != "Image" && picture["e"] != "AnimatedImage") {
            continue;
        }
        let source = &picture["s"];
        if let Some(url) = ["u", "gif"].iter().find_map(|field| lasting(text(&source[*field])))
            && !found.contains(&url)
            && found.len() < MAX_PICTURES
        {
            found.push(url);
        }
    }
    found
}

/// Returns the permanent URL of a Reddit picture. A preview's URL expires; the original has the same name.
pub fn lasting(address: &str) -> Option<String> {
    let mut url = check_url(&unescape(address)).ok()?;
    if SITES.contains(&url.host_str()?) && url.path() == "/media" {
        let (_, wrapped) = url.query_pairs().find(|(name, _)| name == "url")?;
        url = check_url(&wrapped).ok()?;
    }
    let name = file_name(&url)?;
    match url.host_str()? {
        ORIGINALS => Some(format!("https://{ORIGINALS}/{name}")),
        // Names of some previews also contain the post's title and a version before the name of the original.
        PREVIEWS => Some(format!("https://{ORIGINALS}/{}", name.rsplit_once("-v0-").map_or(name, |(_, name)| name))),
        host if SITES.contains(&host) => Some(format!("https://{host}{}", url.path())),
        _ => None,
    }
}

/// Returns the last segment of the path, if it is a picture.
fn file_name(url: &Url) -> Option<&str> {
    let name = url.path().rsplit('/').next()?;
    let (stem, ending) = name.rsplit_once('.')?;
    let is_plain = stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let is_picture = ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending));
    (is_picture && is_plain && !stem.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_reddits_pictures_count_and_only_at_addresses_that_stay() {
        for (address, expected) in [
            ("https://i.redd.it/abc123.jpg", Some("https://i.redd.it/abc123.jpg")),
            ("https://i.redd.it/abc123.jpg?x=1#y", Some("https://i.redd.it/abc123.jpg")),
            ("https://preview.redd.it/abc.png?width=640&amp;s=0f0f", Some("https://i.redd.it/abc.png")),
            ("https://preview.redd.it/my-new-coat-v0-abc.webp?s=1", Some("https://i.redd.it/abc.webp")),
            ("https://www.reddit.com/media?url=https%3A%2F%2Fi.redd.it%2Fq.jpeg", Some("https://i.redd.it/q.jpeg")),
            ("https://www.reddit.com/media?url=https%3A%2F%2Fevil.example%2Fq.jpeg", None),
            ("https://www.reddit.com/media?url=http%3A%2F%2F127.0.0.1%2Fq.jpeg", None),
            ("https://reddit.com/static/q.png?token=1", Some("https://reddit.com/static/q.png")),
            ("https://www.reddit.com/gallery/abc", None),
            ("https://external-preview.redd.it/abc.jpg?s=1", None),
            ("https://i.redd.it.evil.example/abc.jpg", None),
            ("https://evil.example/i.redd.it/abc.jpg", None),
            ("https://user@i.redd.it/abc.jpg", None),
            ("https://i.redd.it:8443/abc.jpg", None),
            ("http://i.redd.it/abc.jpg", None),
            ("https://i.redd.it/abc.svg", None),
            ("https://i.redd.it/abc.jpg%00.png", None),
            ("https://v.redd.it/abc", None),
            ("", None),
        ] {
            assert_eq!(lasting(address).as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn a_gallery_shows_its_valid_pictures_in_its_order() {
        let picture = |id: &str, status: &str, kind: &str| {
            let address = format!("https://preview.redd.it/{id}.jpg?width=1080&amp;s=5ec2e7");
            json!({"status": status, "e": kind, "m": "image/jpg", "s": {"u": address}})
        };
        let items = ["c", "failed", "a", "missing", "moving", "b", "video", "a"].map(|id| json!({"media_id": id}));
        let post = json!({
            "url": "https://www.reddit.com/gallery/1",
            "gallery_data": {"items": items},
            "media_metadata": {
                "a": picture("a", "valid", "Image"), "b": picture("b", "valid", "Image"),
                "c": picture("c", "valid", "Image"), "failed": picture("failed", "failed", "Image"),
                "moving": {"status": "valid", "e": "AnimatedImage", "s": {
                    "gif": "https://i.redd.it/moving.gif", "mp4": "https://preview.redd.it/moving.gif?format=mp4&amp;s=1",
                }},
                "video": picture("video", "valid", "RedditVideo"),
            },
        });
        let ordered = ["c.jpg", "a.jpg", "moving.gif", "b.jpg"].map(|name| format!("https://i.redd.it/{name}"));
        assert_eq!(pictures(&post), ordered);
        let mut unordered = post.clone();
        unordered["gallery_data"] = Value::Null;
        assert_eq!(pictures(&unordered).len(), 4);
        let passed_on = json!({"url": "/r/a/comments/1/x/", "crosspost_parent_list": [post]});
        assert_eq!(pictures(&passed_on).len(), 4);
    }

    #[test]
    fn a_gallery_of_any_length_gives_no_more_than_twenty() {
        let items: Vec<_> = (0..1000).map(|number| json!({"media_id": format!("m{number}")})).collect();
        let media: serde_json::Map<_, _> = (0..1000)
            .map(|number| {
                let address = format!("https://i.redd.it/m{number}.jpg");
                (format!("m{number}"), json!({"status": "valid", "e": "Image", "s": {"u": address}}))
            })
            .collect();
        assert_eq!(pictures(&json!({"gallery_data": {"items": items}, "media_metadata": media})).len(), MAX_PICTURES);
    }
}
