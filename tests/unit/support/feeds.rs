//! What Reddit and a brand's shop show, in the shapes that they really have, on the internet of the tests.

use std::io::Cursor;

use image::{GrayImage, ImageFormat, Luma};
use serde_json::{Value, json};

use super::web::{self, Web};

/// A picture that looks unlike those of all other numbers.
pub fn picture(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let tiles: Vec<u8> = (0..64).map(|_| random()).collect();
    let image = GrayImage::from_fn(64, 64, |x, y| Luma([tiles[(y / 8 * 8 + x / 8) as usize]]));
    let mut file = Vec::new();
    image.write_to(&mut Cursor::new(&mut file), ImageFormat::Png).unwrap();
    file
}

/// A post that is worth showing, as Reddit lists it.
pub fn post(subreddit: &str, id: &str) -> Value {
    json!({"kind": "t3", "data": {
        "id": id, "name": format!("t3_{id}"), "subreddit": subreddit, "title": format!("Vintage denim {id}"),
        "selftext": "Bought last week.", "permalink": format!("/r/{subreddit}/comments/{id}/vintage_denim/"),
        "url": format!("https://i.redd.it/{id}.png"), "score": 100, "over_18": false, "created_utc": 1_772_000_000.0,
    }})
}

/// A page of posts.
pub fn listing(posts: &[Value]) -> Value {
    json!({"kind": "Listing", "data": {"after": null, "children": posts}})
}

/// Shows posts in a subreddit, each with a picture of its own, and each at its own address, too.
pub fn show_posts(web: &Web, subreddit: &str, ids: &[&str]) {
    let posts: Vec<Value> = ids.iter().map(|id| post(subreddit, id)).collect();
    for (id, post) in ids.iter().zip(&posts) {
        show_picture(web, &format!("https://i.redd.it/{id}.png"), seed(id));
        let answer = json!([listing(std::slice::from_ref(post)), listing(&[])]).to_string();
        web.page(&format!("https://www.reddit.com/r/{subreddit}/comments/{id}/vintage_denim.json"), move |_| {
            web::page("application/json", answer.clone())
        });
    }
    let answer = listing(&posts).to_string();
    web.page(&format!("https://www.reddit.com/r/{subreddit}/hot.json"), move |_| {
        web::page("application/json", answer.clone())
    });
}

/// The number of the picture of what is called so.
pub fn seed(name: &str) -> u64 {
    name.bytes().fold(7, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

pub fn show_picture(web: &Web, url: &str, number: u64) {
    let file = picture(number);
    web.page(url, move |_| web::page("image/png", file.clone()));
}

/// The selectors of [`show_shop`]'s pages, as the model finds them.
pub fn selectors() -> Value {
    json!({
        "productContainer": "li.card", "title": "h3", "price": ".price", "imageUrl": "img", "imageAttr": "src",
        "productUrl": "a", "pagination": {"type": "none", "nextSelector": null}, "notes": "",
    })
}

/// A shop with these products at `https://{host}/new`, each with a picture of its own.
pub fn show_shop(web: &Web, host: &str, products: &[&str]) {
    let mut cards = String::new();
    for product in products {
        cards.push_str(&format!(
            "<li class=card><a href=\"/p/{product}\"><img src=\"/i/{product}.png\"><h3>{product}</h3></a>\
             <span class=price>€ 89,00</span></li>"
        ));
        show_picture(web, &format!("https://{host}/i/{product}.png"), seed(&format!("{host}{product}")));
    }
    let page = format!("<!doctype html><html><body><ul>{cards}</ul></body></html>");
    web.page(&format!("https://{host}/new"), move |received| {
        let mut response = if received.headers.get("if-none-match").is_some_and(|tag| tag == "\"v1\"") {
            let mut response = web::page("text/html", "");
            *response.status_mut() = axum::http::StatusCode::NOT_MODIFIED;
            response
        } else {
            web::page("text/html; charset=utf-8", page.clone())
        };
        response.headers_mut().insert("etag", "\"v1\"".parse().unwrap());
        response
    });
}
