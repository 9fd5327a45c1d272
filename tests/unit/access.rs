//! Every route, who may call it, and what the others are told.

use axum::http::{Method, StatusCode};

use crate::support::TestApp;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Access {
    Public,
    User,
}
use Access::{Public, User};

const ROUTES: [(Method, &str, Access); 8] = [
    (Method::GET, "/api/health", Public),
    (Method::GET, "/api/health/ready", Public),
    (Method::POST, "/api/auth/mobile-token", Public),
    (Method::POST, "/api/auth/refresh", Public),
    (Method::POST, "/api/auth/revoke", Public),
    (Method::POST, "/api/chat", User),
    (Method::GET, "/api/chat/memory", User),
    (Method::PUT, "/api/chat/memory", User),
];

#[tokio::test]
async fn a_route_is_open_to_those_it_is_for() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    for (method, path, access) in ROUTES {
        let body = || "{}".to_owned();
        let nobody = app.nobody().send(method.clone(), path, Some("application/json"), body()).await;
        assert_ne!(nobody.status, StatusCode::NOT_FOUND, "{method} {path}");
        let refused =
            nobody.status == StatusCode::UNAUTHORIZED && nobody.text().contains("Missing Authorization header.");
        assert_eq!(refused, access == User, "{method} {path} as nobody: {}", nobody.status);
        let user = ada.send(method.clone(), path, Some("application/json"), body()).await;
        assert!(
            !matches!(user.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            "{method} {path}: {}",
            user.status
        );
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
