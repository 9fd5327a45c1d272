//! The files of a built web client (`WEB_ROOT`), served beside the API so that both have one origin. A path without a
//! file is a page of the client's own router and gets `index.html`, unless it has an extension or is under
//! `.well-known`: then it is 404. Files with a content hash in their name never change, and browsers cache them for a
//! year; all others are revalidated.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use tower::{Layer, ServiceExt};
use tower_http::compression::predicate::{And, DefaultPredicate, NotForContentType, Predicate, SizeAbove};
use tower_http::compression::{Compression, CompressionLayer};
use tower_http::services::{ServeDir, ServeFile};

use crate::http::error::ApiError;

/// Page that starts the client.
pub const INDEX: &str = "index.html";
/// First path segments that never belong to the client.
const SERVED_ELSEWHERE: [&str; 2] = ["api", "reddit-api"];
/// Directory of well-known files (RFC 8615).
const WELL_KNOWN: &str = ".well-known";
/// Bytes read and compressed at a time.
const CHUNK_BYTES: usize = 16 * 1024;
/// Files below this size are not compressed.
const LEAST_COMPRESSED: u16 = 1024;
/// Characters of a hash in a file's name; one in hex may have more.
const SHORT_HASH: usize = 8;

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
/// Sign-in with Google opens a window that reports back to the page.
const OPENER_POLICY: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin-allow-popups"));

/// Other sites may not show the client in a frame.
const FRAMING_POLICY: (HeaderName, HeaderValue) =
    (HeaderName::from_static("content-security-policy"), HeaderValue::from_static("frame-ancestors 'self'"));

type WorthCompressing = And<And<DefaultPredicate, SizeAbove>, NotForContentType>;

/// Serves the files of a client. Cheap to clone.
#[derive(Clone)]
pub struct WebClient {
    files: Compression<ServeDir, WorthCompressing>,
    index: Compression<ServeFile, WorthCompressing>,
    root: PathBuf,
}

impl WebClient {
    /// Creates a server for the files of this directory.
    pub fn new(root: &Path) -> Self {
        let worth_it = DefaultPredicate::new()
            .and(SizeAbove::new(LEAST_COMPRESSED))
            .and(NotForContentType::const_new("font/woff2"));
        let gzip = CompressionLayer::new().gzip(true).compress_when(worth_it);
        // Trailing slashes are removed before routing, so a redirect to one would loop.
        let files = ServeDir::new(root)
            .append_index_html_on_directories(false)
            .with_buf_chunk_size(CHUNK_BYTES)
            .precompressed_gzip();
        let index = ServeFile::new(root.join(INDEX)).with_buf_chunk_size(CHUNK_BYTES).precompressed_gzip();
        Self { files: gzip.layer(files), index: gzip.layer(index), root: root.to_owned() }
    }

    /// Answers a request for a path without a route.
    pub async fn answer(self, request: Request) -> Response {
        let mut response = self.find(request).await.unwrap_or_else(IntoResponse::into_response);
        for (name, value) in [OPENER_POLICY, FRAMING_POLICY] {
            response.headers_mut().insert(name, value);
        }
        response
    }

    async fn find(self, request: Request) -> Result<Response, ApiError> {
        const NOT_FOUND: ApiError = ApiError::NotFound("Not Found");
        let kind = PathKind::of(request.uri().path());
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if kind == PathKind::Foreign || !is_read {
            return Err(NOT_FOUND);
        }
        let (parts, _) = request.into_parts();
        if leads_outside(&self.root, parts.uri.path()).await {
            return Err(NOT_FOUND);
        }
        let is_hashed = is_hashed(parts.uri.path());
        let ask = || {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = parts.method.clone();
            *request.uri_mut() = parts.uri.clone();
            *request.headers_mut() = parts.headers.clone();
            request
        };
        let found = self.files.oneshot(ask()).await.map_err(ApiError::internal)?.map(Body::new);
        let response = match (found.status(), kind) {
            (StatusCode::NOT_FOUND, PathKind::Page) => {
                self.index.oneshot(ask()).await.map_err(ApiError::internal)?.map(Body::new)
            }
            (StatusCode::NOT_FOUND, _) => return Err(NOT_FOUND),
            _ => found,
        };
        Ok(with_headers(response, is_hashed))
    }
}

/// Whether a path names a link, or a file behind one, that leads out of the directory. The directory itself may be a
/// link that changes, as releases are switched.
async fn leads_outside(root: &Path, path: &str) -> bool {
    let decoded = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
    let (root, files) = (root.to_owned(), [root.join(&*decoded), root.join(format!("{decoded}.gz"))]);
    let look = move || {
        let Ok(root) = root.canonicalize() else { return false };
        files.iter().any(|file| file.canonicalize().is_ok_and(|real| !real.starts_with(&root)))
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(true)
}

/// Adds the cache policy to an answer.
fn with_headers(mut response: Response, is_hashed: bool) -> Response {
    let is_fine = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, if is_hashed && is_fine { FOR_EVER } else { REVALIDATE });
    response
}

/// Kind of file that a path requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathKind {
    /// A file, and nothing else.
    File,
    /// A page of the client, unless a file of this name exists.
    Page,
    /// Something that is never served from the directory.
    Foreign,
}

impl PathKind {
    fn of(path: &str) -> Self {
        let decoded = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
        let mut segments = decoded.split(['/', '\\']);
        let first = segments.clone().next().unwrap_or_default();
        if SERVED_ELSEWHERE.contains(&first) {
            return Self::Foreign;
        }
        // Hidden files contain settings and version control data.
        let is_hidden =
            |(place, segment): (usize, &str)| segment.starts_with('.') && (place > 0 || segment != WELL_KNOWN);
        if segments.clone().enumerate().any(is_hidden) {
            return Self::Foreign;
        }
        let names_file = segments.next_back().is_some_and(|last| last.contains('.'));
        if names_file || first == WELL_KNOWN { Self::File } else { Self::Page }
    }
}

/// Whether the name of a file contains a hash of its content, as build tools write it: `main-ABCD1234.js`,
/// `styles.3ff695c00d717f2d2a11.css`, `index-DiwrgTda.js`.
fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((stem, _extension)) = name.rsplit_once('.') else { return false };
    let stem = stem.strip_suffix(".min").unwrap_or(stem);
    let Some(start) = stem.rfind(['-', '.']) else { return false };
    let part = &stem[start + 1..];
    let all = |is: fn(&u8) -> bool| part.bytes().all(|byte| is(&byte));
    let any = |is: fn(&u8) -> bool| part.bytes().any(|byte| is(&byte));
    let is_short = part.len() == SHORT_HASH;
    // In the style of esbuild, webpack and Vite.
    let is_base32 =
        is_short && all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) && any(u8::is_ascii_uppercase);
    let is_hex = part.len() >= SHORT_HASH
        && all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && any(u8::is_ascii_digit)
        && any(u8::is_ascii_lowercase);
    let is_base64 = is_short
        && all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        && any(u8::is_ascii_lowercase)
        && part[1..].bytes().any(|byte| byte.is_ascii_uppercase());
    is_base32 || is_hex || is_base64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_hash_are_told_from_others() {
        for name in [
            "main-QWERTYUI.js",
            "main-5AB3XK2Q.js",
            "chunk-ABCD1234.js",
            "styles.3ff695c00d717f2d2a11.css",
            "assets/index-DiwrgTda.js",
            "media/inter-latin-4AB12CD3.woff2",
            "main.3ff695c0.min.js",
        ] {
            assert!(is_hashed(&format!("/{name}")), "{name}");
        }
        for name in [
            "index.html",
            "favicon.ico",
            "manifest.webmanifest",
            "my-component.js",
            "logo-horizontal.svg",
            "report-20261129.pdf",
            "icon-512x512.png",
            "splash-2048x2732.png",
            "inter-400italic.woff2",
            "my-Component.js",
            "vault",
            "robots.txt",
            "jquery.min.js",
        ] {
            assert!(!is_hashed(&format!("/{name}")), "{name}");
        }
    }

    #[test]
    fn a_path_is_a_page_a_file_or_neither() {
        for (path, kind) in [
            ("/", PathKind::Page),
            ("/vault", PathKind::Page),
            ("/collections", PathKind::Page),
            ("/main-QWERTYUI.js", PathKind::File),
            ("/assets/icons/a.svg", PathKind::File),
            ("/.well-known/apple-app-site-association", PathKind::File),
            ("/api", PathKind::Foreign),
            ("/api/nothing", PathKind::Foreign),
            ("/%61pi/nothing", PathKind::Foreign),
            ("/reddit-api/r/a", PathKind::Foreign),
            ("/.env", PathKind::Foreign),
            ("/%2egit/config", PathKind::Foreign),
            ("/assets/.hidden", PathKind::Foreign),
            ("/a/.well-known/b", PathKind::Foreign),
            ("/../etc/passwd", PathKind::Foreign),
            ("/..%2f..%5cetc", PathKind::Foreign),
            ("/apis", PathKind::Page),
        ] {
            assert_eq!(PathKind::of(path), kind, "{path}");
        }
    }
}
