//! Every route, who may call it, and the answers to all other callers.

use axum::http::{Method, StatusCode};
use pluckit::app::groups::Access;
use pluckit::model::api_token::Scopes;
use pluckit::workers::FUNCTIONS;

use crate::support::{TestApp, refusal};

use Access::{Admin, Public, Service, SignedIn, User, UserOrService};

/// All of them; `openapi.rs` compares the list with the description of the API, which is made from the router.
pub const ROUTES: &[(Method, &str, Access)] = &[
    (Method::GET, "/api/health", Public),
    (Method::GET, "/api/health/ready", Public),
    (Method::GET, "/api/openapi.json", Public),
    (Method::POST, "/api/auth/mobile-token", Public),
    (Method::POST, "/api/auth/refresh", Public),
    (Method::POST, "/api/auth/revoke", Public),
    (Method::POST, "/api/auth/tokens", SignedIn),
    (Method::GET, "/api/auth/tokens", SignedIn),
    (Method::DELETE, "/api/auth/tokens/x", SignedIn),
    (Method::POST, "/api/process-image", UserOrService),
    (Method::POST, "/api/extract-clothing-metadata", Service),
    (Method::GET, "/api/media/archive/a-transparent.webp", Public),
    (Method::POST, "/api/chat", User),
    (Method::GET, "/api/chat/memory", User),
    (Method::PUT, "/api/chat/memory", User),
    (Method::GET, "/api/chat/runs", User),
    (Method::GET, "/api/chat/runs/x", User),
    (Method::DELETE, "/api/chat/runs/x", User),
    (Method::GET, "/api/chat/runs/x/events", User),
    (Method::POST, "/api/chat/runs/x/stop", User),
    (Method::GET, "/api/chat/x/stream", User),
    (Method::POST, "/api/chat/x/stop", User),
    (Method::GET, "/api/v1/models", User),
    (Method::GET, "/api/v1/models/x", User),
    (Method::POST, "/api/v1/chat/completions", User),
    (Method::POST, "/api/digest/run", User),
    (Method::GET, "/api/digest/latest", User),
    (Method::GET, "/api/digest/feedback", User),
    (Method::POST, "/api/digest/feedback", User),
    (Method::GET, "/api/insights/vault", User),
    (Method::GET, "/api/moods", User),
    (Method::GET, "/api/moods/x", User),
    (Method::POST, "/api/moods/seed", Admin),
    (Method::GET, "/api/scraper/sources", User),
    (Method::POST, "/api/scraper/sources", User),
    (Method::POST, "/api/scraper/lease/x", User),
    (Method::POST, "/api/scraper/ingest/reddit", User),
    (Method::POST, "/api/scraper/subscribe/x", User),
    (Method::DELETE, "/api/scraper/subscribe/x", User),
    (Method::POST, "/api/scraper/run/x", Admin),
    (Method::GET, "/api/scraper/items", User),
    (Method::POST, "/api/scraper/items/x/feedback", User),
    (Method::GET, "/api/taste/quiz", User),
    (Method::POST, "/api/taste/quiz/x/respond", User),
    (Method::POST, "/api/taste/quiz/x/complete", User),
    (Method::GET, "/api/jobs", User),
    (Method::GET, "/api/jobs/x", User),
    (Method::DELETE, "/api/jobs/x", User),
    (Method::POST, "/api/jobs/x/terminate", User),
    (Method::POST, "/api/jobs/x/restart", User),
    (Method::GET, "/api/jobs/x/outputs", User),
    (Method::GET, "/api/jobs/x/outputs/index.md", User),
    (Method::GET, "/api/profile", User),
    (Method::PUT, "/api/profile", User),
    (Method::GET, "/api/wardrobe", User),
    (Method::POST, "/api/wardrobe", User),
    (Method::GET, "/api/wardrobe/x", User),
    (Method::PUT, "/api/wardrobe/x", User),
    (Method::DELETE, "/api/wardrobe/x", User),
    (Method::PATCH, "/api/wardrobe/x/wear", User),
    (Method::GET, "/api/wardrobe/x/wear-history", User),
    (Method::POST, "/api/wardrobe/styling-activity", User),
    (Method::GET, "/api/wardrobe/suggestions/wear", User),
    (Method::PATCH, "/api/wardrobe/suggestions/wear/x", User),
    (Method::POST, "/api/wardrobe/upload", User),
    (Method::GET, "/api/wardrobe/drafts", User),
    (Method::PATCH, "/api/wardrobe/drafts/x/accept", User),
    (Method::POST, "/api/wardrobe/drafts/x/retry", User),
    (Method::GET, "/api/collections", User),
    (Method::POST, "/api/collections", User),
    (Method::GET, "/api/collections/x", User),
    (Method::PUT, "/api/collections/x", User),
    (Method::DELETE, "/api/collections/x", User),
    (Method::POST, "/api/collections/x/join", User),
    (Method::DELETE, "/api/collections/x/leave", User),
    (Method::GET, "/api/collections/x/items", User),
    (Method::POST, "/api/collections/x/items", User),
    (Method::DELETE, "/api/collections/x/items/x", User),
    (Method::POST, "/api/stylist/recommendations", User),
    (Method::GET, "/api/wardrobe/x/pictures", User),
    (Method::POST, "/api/wardrobe/x/cutout", User),
    (Method::POST, "/api/mcp", User),
    (Method::GET, "/api/mcp/resource-metadata", Public),
    (Method::GET, "/api/usage", User),
    (Method::GET, "/api/admin/usage", Admin),
    (Method::POST, "/api/admin/ban/x", Admin),
    (Method::POST, "/api/admin/unban/x", Admin),
    (Method::GET, "/api/admin/bans", Admin),
    (Method::GET, "/api/admin/jobs", Admin),
    (Method::GET, "/api/admin/users", Admin),
    (Method::GET, "/api/admin/timers", Admin),
    (Method::POST, "/api/admin/timers/x/run", Admin),
    (Method::GET, "/api/admin/logs", Admin),
    (Method::GET, "/api/admin/settings", Admin),
    (Method::GET, "/api/admin/audit", Admin),
    (Method::GET, "/api/admin/dead-letters", Admin),
    (Method::POST, "/api/admin/dead-letters/x/replay", Admin),
    (Method::DELETE, "/api/admin/dead-letters/x", Admin),
];

#[tokio::test]
async fn a_route_is_open_to_those_it_is_for() {
    let app =
        TestApp::builder().setting("ADMIN_USER_IDS", "root, grace").setting("METADATA_EXTRACT_API_KEY", "key").start();
    let (ada, grace) = (app.user("ada").await, app.user("grace").await);
    // An administrator's token has no more rights than any other.
    let token = app.state.api_tokens.create(&"grace".into(), "A program", 1, Scopes::ALL).await.unwrap().unwrap();
    let pat = app.bearer(&token.secret);
    for (method, path, access) in ROUTES.iter().cloned() {
        let body = || "{}".to_owned();
        let nobody = app.nobody().send(method.clone(), path, Some("application/json"), body()).await;
        // A missing picture gets the same answer as a missing route, because pictures are public.
        assert!(nobody.status != StatusCode::NOT_FOUND || path.starts_with("/api/media/"), "{method} {path}");
        let needs = match nobody.text() {
            // The description of the API has such texts as examples.
            _ if nobody.status != StatusCode::UNAUTHORIZED => "nothing",
            text if text.contains("Missing Authorization header.") => "a user",
            text if text.contains("Unauthorized metadata request.") => "a service",
            _ => "nothing",
        };
        let expected = match access {
            Public => "nothing",
            User | SignedIn | UserOrService | Admin => "a user",
            Service => "a service",
        };
        assert_eq!(needs, expected, "{method} {path} as nobody: {}", nobody.status);
        let service = app.nobody().header("x-api-key", "key");
        let service = service.send(method.clone(), path, Some("application/json"), body()).await;
        let is_let_in = service.status != StatusCode::UNAUTHORIZED;
        let needs_user = matches!(access, User | SignedIn | Admin);
        assert_eq!(is_let_in || access == Public, !needs_user, "{method} {path} as a service: {}", service.status);
        // Before she signs in herself, so that her program does not see her changes.
        let program = pat.send(method.clone(), path, Some("application/json"), body()).await;
        let is_refused = program.text().contains("API tokens may not call this route.");
        assert_eq!(is_refused, matches!(access, SignedIn | Admin), "{method} {path} with a token: {}", program.status);
        let is_refused = program.status == StatusCode::UNAUTHORIZED;
        assert_eq!(is_refused, access == Service, "{method} {path} with a token: {}", program.status);
        let user = ada.send(method.clone(), path, Some("application/json"), body()).await;
        assert_eq!(user.status == StatusCode::UNAUTHORIZED, access == Service, "{method} {path}: {}", user.status);
        let is_refused = user.status == StatusCode::FORBIDDEN && user.text().contains("Admin access required.");
        assert_eq!(is_refused, access == Admin, "{method} {path} as a user: {}", user.status);
        let admin = grace.send(method.clone(), path, Some("application/json"), body()).await;
        let is_refused = matches!(admin.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        assert_eq!(is_refused, access == Service, "{method} {path} as an administrator: {}", admin.status);
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
    for function in FUNCTIONS {
        let path = format!("/{}", function.name);
        for answer in [alone.nobody().post(&path, message.clone()).await, forged.post(&path, message.clone()).await] {
            assert_eq!(answer.summary(), (404, refusal("Not Found")), "{path}");
        }
    }
}
