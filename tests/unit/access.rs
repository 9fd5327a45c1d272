//! Every route, who may call it, and what the others are told.

use axum::http::{Method, StatusCode};

use crate::support::TestApp;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Access {
    Public,
    User,
    /// Users, and other services with a key.
    UserOrService,
    /// Other services with a key.
    Service,
}
use Access::{Public, Service, User, UserOrService};

const ROUTES: [(Method, &str, Access); 11] = [
    (Method::GET, "/api/health", Public),
    (Method::GET, "/api/health/ready", Public),
    (Method::POST, "/api/auth/mobile-token", Public),
    (Method::POST, "/api/auth/refresh", Public),
    (Method::POST, "/api/auth/revoke", Public),
    (Method::POST, "/api/process-image", UserOrService),
    (Method::POST, "/api/extract-clothing-metadata", Service),
    (Method::GET, "/api/media/archive/a-transparent.webp", Public),
    (Method::POST, "/api/chat", User),
    (Method::GET, "/api/chat/memory", User),
    (Method::PUT, "/api/chat/memory", User),
];

#[tokio::test]
async fn a_route_is_open_to_those_it_is_for() {
    let app = TestApp::builder().setting("METADATA_EXTRACT_API_KEY", "key").start();
    let ada = app.user("ada").await;
    for (method, path, access) in ROUTES {
        let body = || "{}".to_owned();
        let nobody = app.nobody().send(method.clone(), path, Some("application/json"), body()).await;
        // Where there is no picture yet, the answer is the same as where there is no route: everybody may ask.
        assert!(nobody.status != StatusCode::NOT_FOUND || path.starts_with("/api/media/"), "{method} {path}");
        let needs = match nobody.text() {
            text if text.contains("Missing Authorization header.") => "a user",
            text if text.contains("Unauthorized metadata request.") => "a service",
            _ => "nothing",
        };
        let expected = match access {
            Public => "nothing",
            User | UserOrService => "a user",
            Service => "a service",
        };
        assert_eq!(needs, expected, "{method} {path} as nobody: {}", nobody.status);
        let service = app.nobody().header("x-api-key", "key");
        let service = service.send(method.clone(), path, Some("application/json"), body()).await;
        let is_let_in = service.status != StatusCode::UNAUTHORIZED;
        assert_eq!(is_let_in || access == Public, access != User, "{method} {path} as a service: {}", service.status);
        let user = ada.send(method.clone(), path, Some("application/json"), body()).await;
        let is_refused = matches!(user.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        assert_eq!(is_refused, access == Service, "{method} {path}: {}", user.status);
    }
}

#[tokio::test]
async fn one_user_never_sees_what_is_another_s() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    ada.put("/api/chat/memory", serde_json::json!({"summary": "Likes navy."})).await;
    assert_eq!(eve.get("/api/chat/memory").await.json()["summary"], "");
    assert_eq!(ada.get("/api/chat/memory").await.json()["summary"], "Likes navy.");
}
