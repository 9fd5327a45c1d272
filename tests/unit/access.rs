//! Every route, who may call it, and what the others are told.

use axum::http::{Method, StatusCode};
use pluckit::workers::FUNCTIONS;

use crate::support::TestApp;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Access {
    Public,
    User,
    Admin,
}
use Access::{Admin, Public, User};

const ROUTES: [(Method, &str, Access); 19] = [
    (Method::GET, "/api/health", Public),
    (Method::GET, "/api/health/ready", Public),
    (Method::POST, "/api/auth/mobile-token", Public),
    (Method::POST, "/api/auth/refresh", Public),
    (Method::POST, "/api/auth/revoke", Public),
    (Method::POST, "/api/chat", User),
    (Method::GET, "/api/chat/memory", User),
    (Method::PUT, "/api/chat/memory", User),
    (Method::GET, "/api/scraper/items", User),
    (Method::POST, "/api/scraper/items/x/feedback", User),
    (Method::GET, "/api/taste/quiz", User),
    (Method::POST, "/api/taste/quiz/x/respond", User),
    (Method::POST, "/api/taste/quiz/x/complete", User),
    (Method::POST, "/api/admin/ban/x", Admin),
    (Method::POST, "/api/admin/unban/x", Admin),
    (Method::GET, "/api/admin/bans", Admin),
    (Method::GET, "/api/admin/dead-letters", Admin),
    (Method::POST, "/api/admin/dead-letters/x/replay", Admin),
    (Method::DELETE, "/api/admin/dead-letters/x", Admin),
];

#[tokio::test]
async fn a_route_is_open_to_those_it_is_for() {
    let app = TestApp::builder().setting("ADMIN_USER_IDS", "root, grace").start();
    let (ada, grace) = (app.user("ada").await, app.user("grace").await);
    for (method, path, access) in ROUTES {
        let body = || "{}".to_owned();
        let nobody = app.nobody().send(method.clone(), path, Some("application/json"), body()).await;
        assert_ne!(nobody.status, StatusCode::NOT_FOUND, "{method} {path}");
        let refused =
            nobody.status == StatusCode::UNAUTHORIZED && nobody.text().contains("Missing Authorization header.");
        assert_eq!(refused, access != Public, "{method} {path} as nobody: {}", nobody.status);
        let user = ada.send(method.clone(), path, Some("application/json"), body()).await;
        assert_ne!(user.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        let refused = user.status == StatusCode::FORBIDDEN && user.text().contains("Admin access required.");
        assert_eq!(refused, access == Admin, "{method} {path} as a user: {}", user.status);
        let admin = grace.send(method.clone(), path, Some("application/json"), body()).await;
        assert!(
            !matches!(admin.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            "{method} {path} as an administrator: {}",
            admin.status
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

#[tokio::test]
async fn functions_are_for_the_functions_host_alone() {
    let message = serde_json::json!({"Data": {"item": "{}"}, "Metadata": {}});
    let (alone, hosted) = (TestApp::new(), TestApp::builder().under_functions_host().start());
    let forged = hosted.nobody().header("x-ms-invocation-id", "1");
    for function in &FUNCTIONS {
        let path = format!("/{}", function.name);
        for answer in [alone.nobody().post(&path, message.clone()).await, forged.post(&path, message.clone()).await] {
            assert_eq!(answer.summary(), (404, serde_json::json!({"detail": "Not Found"})), "{path}");
        }
    }
}
