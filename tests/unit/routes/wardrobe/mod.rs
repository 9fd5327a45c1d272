//! The wardrobe API.

mod items;
mod lists;
mod styling;
mod wears;

use axum::http::StatusCode;

use crate::access::ROUTES;
use crate::support::{TestApp, refusal};

#[tokio::test]
async fn turned_off_none_of_it_exists() {
    let hosted = TestApp::builder().under_functions_host();
    for app in [TestApp::builder().setting("WARDROBE_API", "off"), hosted] {
        let app = app.start();
        let ada = app.user("ada").await;
        let description = app.nobody().get("/api/openapi.json").await.json();
        assert!(description["paths"]["/api/chat"].is_object());
        let is_wardrobe = |path: &&str| path.starts_with("/api/wardrobe") || *path == "/api/profile";
        let described =
            description["paths"].as_object().unwrap().keys().map(String::as_str).find(|path| is_wardrobe(path));
        assert_eq!(described, None);
        for (method, path, _) in ROUTES.iter().filter(|(_, path, _)| is_wardrobe(path)) {
            let answer = ada.send(method.clone(), path, None, "{}").await;
            assert_eq!(answer.summary(), (404, refusal("Not Found")), "{method} {path}");
        }
    }
    let hosted = TestApp::builder().under_functions_host().setting("WARDROBE_API", "on").start();
    assert_eq!(hosted.user("ada").await.get("/api/profile").await.status, StatusCode::OK);
}
