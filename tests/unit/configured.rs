//! The clients that call the services of the operator's configuration.

use std::future::IntoFuture;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use pluckit::net;
use reqwest::header;

const AGENT: &str = concat!("pluckit-processor/", env!("CARGO_PKG_VERSION"));

#[tokio::test]
async fn clients_of_configured_services_follow_no_redirects() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = async |headers: HeaderMap| {
        let agent = headers.get(header::USER_AGENT).cloned();
        ([("x-agent", agent.unwrap_or_else(|| "none".parse().unwrap()))], Redirect::to("/elsewhere")).into_response()
    };
    let server = axum::serve(listener, Router::new().route("/", get(answer)));
    let calls = async {
        for (client, expected) in [(net::services(), AGENT), (net::azure(), "none")] {
            let answer = client.unwrap().get(&url).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), &answer.headers()["x-agent"]), (303, &expected.parse().unwrap()));
        }
    };
    tokio::select! {
        ended = server.into_future() => panic!("the server ended: {ended:?}"),
        () = calls => {}
    }
}
