//! The console: a web page for users and operators, from the files in `console/`, which are embedded in the binary.
//! Everything it shows and does goes through the API, so the page itself is public.

use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::base::hash::sha256_hex;
use crate::http::error::ApiError;
use crate::state::AppState;

const PAGE: &str = include_str!("../../console/index.html");
/// Placeholder in the page for the OAuth client id of Google's button.
const CLIENT_ID: &str = "{{google-client-id}}";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Embeds the files of the console in the binary.
macro_rules! files {
    ($($name:literal: $kind:literal),+ $(,)?) => {
        [$(File { name: $name, kind: $kind, text: include_str!(concat!("../../console/", $name)) }),+]
    };
}

struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const FILES: [File; 17] = files![
    "api.js": "text/javascript", "app.js": "text/javascript", "charts.js": "text/javascript", "cutout.js": "text/javascript",
    "digest.js": "text/javascript", "discover.js": "text/javascript", "dom.js": "text/javascript", "icon.svg": "image/svg+xml", "insights.js": "text/javascript",
    "operator.js": "text/javascript", "piece.js": "text/javascript", "pieces.js": "text/javascript", "profile.js": "text/javascript",
    "quiz.js": "text/javascript", "style.css": "text/css", "stylist.js": "text/javascript",
    "wardrobe.js": "text/javascript",
];

/// Entity tags of the files, in their order.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| FILES.iter().map(|file| tag(file.text)).collect());

fn tag(text: &str) -> String {
    // Weak, since the bytes differ with the encoding.
    format!("W/\"{}\"", &sha256_hex(text.as_bytes())[..16])
}

/// Public routes of the console. They are not part of the API, so the OpenAPI document omits them.
#[expect(clippy::disallowed_methods, reason = "the pages are not described")]
pub fn pages(is_at_root: bool) -> OpenApiRouter<AppState> {
    let pages = OpenApiRouter::new().route("/console", get(show_page)).route("/console/{file}", get(show_file));
    let pages = if is_at_root { pages.route("/", get(show_page)) } else { pages };
    pages.layer(CompressionLayer::new())
}

/// Shows the page.
async fn show_page(State(app): State<AppState>, headers: HeaderMap) -> Response {
    let client = app.config.identity.google_client_ids.first().map(String::as_str).unwrap_or_default();
    // Google's ids contain only letters, digits, dots and dashes.
    let is_plain = client.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let client = if is_plain { client } else { "" };
    let page = PAGE.replace(CLIENT_ID, client);
    let tag = tag(&page);
    let opener = if client.is_empty() { "same-origin" } else { "same-origin-allow-popups" };
    let policy = [(CONTENT_SECURITY_POLICY, policy(!client.is_empty())), (OPENER_POLICY, opener.to_owned())];
    (policy, answer(&headers, "text/html", &tag, page)).into_response()
}

/// Serves a file of the page.
async fn show_file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let place = FILES.iter().position(|file| file.name == name).ok_or(ApiError::NotFound("Not Found"))?;
    Ok(answer(&headers, FILES[place].kind, &TAGS[place], FILES[place].text.to_owned()))
}

/// Builds the content security policy. Pictures may come from other hosts, because those of feeds do; everything else
/// comes from this service, except Google's sign-in button.
fn policy(with_google: bool) -> String {
    let google = if with_google { " https://accounts.google.com/gsi/" } else { "" };
    format!(
        "default-src 'none'; script-src 'self'{google}; style-src 'self'{google}; connect-src 'self'{google}; frame-src{none}{google}; \
         img-src 'self' blob: data: https:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        none = if with_google { "" } else { " 'none'" },
    )
}

fn answer(request: &HeaderMap, kind: &str, tag: &str, text: String) -> Response {
    let headers = [
        (CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (ETAG, tag.to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    let is_known = request.get(IF_NONE_MATCH).map(HeaderValue::as_bytes) == Some(tag.as_bytes());
    if is_known { (StatusCode::NOT_MODIFIED, headers).into_response() } else { (headers, text).into_response() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file of the console is served, and every imported module exists.
    #[test]
    fn the_console_is_complete_and_small() {
        let directory = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/console")).unwrap();
        let mut names: Vec<String> = directory
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html")
            .collect();
        names.sort();
        assert_eq!(names, FILES.map(|file| file.name));
        let texts: Vec<&str> = FILES.iter().map(|file| file.text).chain([PAGE]).collect();
        for text in &texts {
            for import in text.split("\"/console/").skip(1) {
                let name = import.split(['"', '$']).next().unwrap();
                assert!(name.is_empty() || names.iter().any(|known| known == name), "{name}");
            }
            let foreign = text.split("https://").skip(1).filter(|rest| {
                !rest.starts_with("accounts.google.com/gsi/client") && !rest.starts_with("shop.example/")
            });
            assert_eq!(foreign.count(), 0, "nothing comes from another host");
        }
        let lines: usize = texts.iter().map(|text| text.lines().count()).sum();
        assert!(lines <= 2_500, "{lines}");
    }
}
