//! Protected resource metadata for clients that discover credentials themselves (RFC 9728): the challenge to refused
//! clients, and the allowed origins.

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::config::AllowedOrigins;
use crate::state::AppState;

/// Layer outside the one that identifies callers: tells refused callers the path of the resource's description.
pub async fn name_description(
    State((app, path)): State<(AppState, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let base = public_base(&app, request.headers());
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(base) = base
        && let Ok(challenge) = HeaderValue::from_str(&format!("Bearer resource_metadata=\"{base}{path}\""))
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Returns the service's base URL without a trailing slash: as configured, or else as in the request.
pub fn public_base(app: &AppState, headers: &HeaderMap) -> Option<String> {
    if let Some(url) = &app.config.server.public_url {
        return Some(url.as_str().trim_end_matches('/').to_owned());
    }
    let host = Authority::try_from(headers.get(HOST)?.as_bytes()).ok()?;
    (!host.as_str().contains('@')).then(|| format!("http://{host}"))
}

/// Whether a page of a foreign origin that is not allowed sent the request.
pub fn is_foreign_page(headers: &HeaderMap, origins: &AllowedOrigins) -> bool {
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    let is_own = |origin: &[u8]| {
        let of_scheme = |scheme: &[u8]| origin.strip_prefix(scheme).is_some_and(|rest| Some(rest) == host);
        of_scheme(b"https://") || of_scheme(b"http://")
    };
    let mut sent = headers.get_all(ORIGIN).iter().map(HeaderValue::as_bytes);
    sent.any(|origin| !origins.allows(origin) && !is_own(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_origin_is_foreign_unless_it_is_allowed() {
        let origins = AllowedOrigins::new(vec!["https://app.example".to_owned()]);
        let is_foreign = |sent: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("pluckit.example:8080"));
            for origin in sent {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            is_foreign_page(&headers, &origins)
        };
        for own in
            [&[][..], &["https://app.example"], &["http://pluckit.example:8080"], &["https://pluckit.example:8080"]]
        {
            assert!(!is_foreign(own), "{own:?}");
        }
        for foreign in [
            &["https://evil.example"][..],
            &["null"],
            &[""],
            &["pluckit.example:8080"],
            &["https://pluckit.example"],
            &["https://app.example", "https://evil.example"],
        ] {
            assert!(is_foreign(foreign), "{foreign:?}");
        }
    }
}
