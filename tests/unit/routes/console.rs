//! The console: where it is served, and with which headers.

use axum::http::StatusCode;

use crate::support::{TestApp, refusal};

fn development() -> TestApp {
    TestApp::builder().setting("AZURE_FUNCTIONS_ENVIRONMENT", "Development").start()
}

#[tokio::test]
async fn the_console_is_one_page_with_a_strict_policy() {
    let app = development();
    let nobody = app.nobody();
    for path in ["/", "/console", "/console/"] {
        let page = nobody.get(path).await;
        assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"), "{path}");
        assert!(page.text().contains("<title>PluckIt</title>") && !page.text().contains("{{"), "{path}");
        let policy = page.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("google"), "{policy}");
    }
    for (name, kind) in [("app.js", "text/javascript"), ("style.css", "text/css"), ("icon.svg", "image/svg+xml")] {
        let path = format!("/console/{name}");
        let file = nobody.get(&path).await;
        assert_eq!(
            (file.status, file.header("content-type")),
            (StatusCode::OK, format!("{kind}; charset=utf-8").as_str())
        );
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        let known = app.nobody().header("if-none-match", file.header("etag")).get(&path).await;
        assert_eq!((known.status, known.text()), (StatusCode::NOT_MODIFIED, ""));
    }
    for path in ["/console/index.html", "/console/none.js", "/console/..%2fCargo.toml", "/app.js"] {
        assert_eq!(nobody.get(path).await.summary(), (404, refusal("Not Found")), "{path}");
    }
}

#[tokio::test]
async fn production_has_a_console_only_if_it_is_on_and_its_data_needs_a_sign_in() {
    let app = TestApp::new();
    for path in ["/", "/console", "/console/app.js"] {
        assert_eq!(app.nobody().get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let on = TestApp::builder()
        .setting("CONSOLE", "on")
        .setting("GOOGLE_CLIENT_ID", "1-a.apps.googleusercontent.com")
        .start();
    let page = on.nobody().get("/").await;
    assert!(page.text().contains("content=\"1-a.apps.googleusercontent.com\""));
    assert!(page.header("content-security-policy").contains("script-src 'self' https://accounts.google.com/gsi/;"));
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin-allow-popups");
    assert_eq!(on.nobody().get("/api/chat/memory").await.status, StatusCode::UNAUTHORIZED);
    // What is no client id does not get into the page.
    let odd = TestApp::builder().setting("CONSOLE", "on").setting("GOOGLE_CLIENT_ID", "\"><script>").start();
    assert!(odd.nobody().get("/").await.text().contains("name=\"google-client-id\" content=\"\""));
}

#[tokio::test]
async fn the_functions_host_keeps_its_own_start_page() {
    let app = TestApp::builder().setting("CONSOLE", "on").under_functions_host().start();
    assert_eq!(app.nobody().get("/console").await.status, StatusCode::NOT_FOUND);
    assert!(!app.nobody().get("/").await.text().contains("<title>PluckIt</title>"));
    let elsewhere =
        TestApp::builder().setting("AZURE_FUNCTIONS_ENVIRONMENT", "Development").setting("PLUCKIT_BIND", "0.0.0.0");
    let elsewhere = elsewhere.setting("PLUCKIT_ALLOW_INSECURE_DEV", "1").start();
    assert_eq!(elsewhere.nobody().get("/").await.status, StatusCode::NOT_FOUND);
}
