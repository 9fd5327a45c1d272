//! Validity of tokens, to the millisecond.

use std::time::Duration;

use axum::http::StatusCode;
use pluckit::base::clock::Clock;
use pluckit::identity::session::Grant;
use pluckit::model::api_token::Scopes;
use pluckit::model::ids::UserId;
use serde_json::json;

use super::auth::{app_with_google, sessions_of};
use crate::support::google::{Google, Key, NEXT};
use crate::support::{TestApp, until};

const MOMENT: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn open(app: &TestApp) -> Grant {
    app.state.sessions.open(UserId::from("ada")).await.unwrap()
}

/// Refreshes over HTTP; returns the new access and refresh token.
async fn refresh(app: &TestApp, token: &str) -> Option<(String, String)> {
    let answer = app.nobody().post("/api/auth/refresh", json!({ "refresh_token": token })).await;
    assert!(matches!(answer.status, StatusCode::OK | StatusCode::UNAUTHORIZED), "{}", answer.status);
    let grant = answer.json();
    let text = |name: &str| grant[name].as_str().map(str::to_owned);
    Some((text("access_token")?, text("refresh_token")?))
}

async fn is_good(app: &TestApp, access_token: &str) -> bool {
    app.bearer(access_token).get("/api/chat/memory").await.status == StatusCode::OK
}

#[tokio::test]
async fn an_access_token_is_good_for_half_an_hour() {
    for is_checked_before in [false, true] {
        let app = TestApp::new();
        let (first, second) = (open(&app).await, open(&app).await);
        app.clock.advance(30 * MINUTE - SECOND);
        if is_checked_before {
            assert!(is_good(&app, &first.access_token).await && is_good(&app, &second.access_token).await);
        }
        app.clock.advance(SECOND);
        assert!(is_good(&app, &first.access_token).await);
        app.clock.advance(MOMENT);
        assert!(!is_good(&app, &first.access_token).await && !is_good(&app, &second.access_token).await);
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_for_thirty_days() {
    let app = TestApp::new();
    let (first, second) = (open(&app).await, open(&app).await);
    app.clock.advance(30 * DAY);
    assert!(refresh(&app, &first.refresh_token).await.is_some());
    app.clock.advance(MOMENT);
    assert!(refresh(&app, &second.refresh_token).await.is_none());
}

#[tokio::test]
async fn an_api_token_is_good_until_its_end() {
    let app = TestApp::new();
    let make = async || app.state.api_tokens.create(&"ada".into(), "x", 1, Scopes::ALL).await.unwrap().unwrap().secret;
    let (known, unknown) = (make().await, make().await);
    app.clock.advance(DAY - MOMENT);
    assert!(is_good(&app, &known).await);
    app.clock.advance(MOMENT);
    assert!(!is_good(&app, &known).await && !is_good(&app, &unknown).await);
}

#[tokio::test]
async fn a_lost_answer_is_made_good_from_five_seconds_to_ten_minutes_after_it() {
    for (after, is_made_good) in
        [(5 * SECOND - MOMENT, false), (5 * SECOND, true), (10 * MINUTE, true), (10 * MINUTE + MOMENT, false)]
    {
        let app = TestApp::new();
        let first = open(&app).await;
        refresh(&app, &first.refresh_token).await.unwrap();
        app.clock.advance(after);
        assert_eq!(refresh(&app, &first.refresh_token).await.is_some(), is_made_good, "after {after:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_made_good_until_the_token_expires() {
    for (after, is_made_good) in [(MINUTE, true), (MINUTE + MOMENT, false)] {
        let app = TestApp::new();
        let first = open(&app).await;
        app.clock.advance(30 * DAY - MINUTE);
        refresh(&app, &first.refresh_token).await.unwrap();
        app.clock.advance(after);
        assert_eq!(refresh(&app, &first.refresh_token).await.is_some(), is_made_good, "after {after:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_made_good_once_a_second() {
    let app = TestApp::new();
    let first = open(&app).await;
    refresh(&app, &first.refresh_token).await.unwrap();
    app.clock.advance(5 * SECOND);
    let (access, _) = refresh(&app, &first.refresh_token).await.unwrap();
    app.clock.advance(SECOND - MOMENT);
    assert!(refresh(&app, &first.refresh_token).await.is_none());
    app.clock.advance(MOMENT);
    assert!(refresh(&app, &first.refresh_token).await.is_some());
    assert!(!is_good(&app, &access).await);
}

#[tokio::test]
async fn a_spent_token_ends_its_family_after_half_a_minute() {
    for (after, is_harmless) in [(30 * SECOND, true), (30 * SECOND + MOMENT, false)] {
        let app = TestApp::new();
        let first = open(&app).await;
        let (access, _) = refresh(&app, &first.refresh_token).await.unwrap();
        assert!(is_good(&app, &access).await);
        let other = open(&app).await;
        app.clock.advance(after);
        assert!(refresh(&app, &first.refresh_token).await.is_none());
        assert_eq!(is_good(&app, &access).await, is_harmless, "after {after:?}");
        assert!(is_good(&app, &other.access_token).await, "of another family");
    }
}

#[tokio::test]
async fn a_pair_counts_as_used_when_it_is_used_within_ten_minutes() {
    let app = TestApp::new();
    let first = open(&app).await;
    let (access, _) = refresh(&app, &first.refresh_token).await.unwrap();
    app.clock.advance(10 * MINUTE);
    assert!(is_good(&app, &access).await);
    assert!(refresh(&app, &first.refresh_token).await.is_none());
    assert!(!is_good(&app, &access).await, "the spent token was stolen");
}

#[tokio::test]
async fn a_session_is_kept_for_thirty_days_after_its_refresh_token_has_expired() {
    let app = TestApp::new();
    let first = open(&app).await;
    let lives = async || {
        let mut lives: Vec<_> =
            sessions_of(&app, "ada").await.into_iter().map(|session| session["ttl"].as_i64().unwrap()).collect();
        lives.sort_unstable();
        lives
    };
    assert_eq!(lives().await, [60 * 86_400]);
    app.clock.advance(DAY);
    refresh(&app, &first.refresh_token).await.unwrap();
    assert_eq!(lives().await, [59 * 86_400, 60 * 86_400]);
}

/// Whether a token signed now with this key is accepted.
async fn is_let_in(app: &TestApp, key: &Key) -> bool {
    let token = key.sign(&Google::claims(app.clock.now().unix_timestamp()));
    is_good(app, &token).await
}

#[tokio::test]
async fn signing_keys_are_good_from_five_minutes_to_a_day_as_their_provider_says() {
    for (cache_control, life) in [
        ("public, max-age=600", 10 * MINUTE),
        ("max-age=1", 5 * MINUTE),
        ("no-store", 5 * MINUTE),
        ("max-age=soon", 5 * MINUTE),
        ("max-age=9999999", DAY),
    ] {
        let (app, google) = app_with_google().await;
        google.set_cache_control(cache_control);
        assert!(is_let_in(&app, &google.key).await);
        app.clock.advance(life);
        assert!(is_let_in(&app, &google.key).await);
        assert_eq!(google.fetches(), 1, "{cache_control}");
        app.clock.advance(MOMENT);
        assert!(is_let_in(&app, &google.key).await);
        until("the keys are fetched again", async || google.fetches() == 2).await;
    }
}

#[tokio::test]
async fn old_signing_keys_serve_for_an_hour_while_new_ones_are_fetched() {
    for (after, is_good) in [(60 * MINUTE - MOMENT, true), (60 * MINUTE, false)] {
        let (app, google) = app_with_google().await;
        google.set_cache_control("max-age=600");
        assert!(is_let_in(&app, &google.key).await);
        google.publish_only(&Key::new("key-2", NEXT));
        app.clock.advance(10 * MINUTE + after);
        assert_eq!(is_let_in(&app, &google.key).await, is_good, "after {after:?}");
        until("the keys are fetched again", async || google.fetches() == 2).await;
    }
}

#[tokio::test]
async fn signing_keys_are_asked_for_every_other_second_and_once_a_minute_when_there_are_some() {
    let (app, google) = app_with_google().await;
    google.set_down(true);
    for (after, fetches) in [(Duration::ZERO, 1), (2 * SECOND - MOMENT, 1), (MOMENT, 2)] {
        app.clock.advance(after);
        assert!(!is_let_in(&app, &google.key).await);
        assert_eq!(google.fetches(), fetches);
    }
    google.set_down(false);
    app.clock.advance(2 * SECOND);
    assert!(is_let_in(&app, &google.key).await);
    let stranger = Key::new("key-2", NEXT);
    for (after, fetches) in [(MINUTE - MOMENT, 3), (MOMENT, 4), (MINUTE - MOMENT, 4)] {
        app.clock.advance(after);
        assert!(!is_let_in(&app, &stranger).await);
        assert_eq!(google.fetches(), fetches);
    }
}

#[tokio::test]
async fn only_keys_for_signatures_check_them() {
    for (field, value, is_good) in [
        ("use", json!("enc"), false),
        ("alg", json!("RS512"), false),
        ("use", json!(null), true),
        ("alg", json!(null), true),
    ] {
        let (app, google) = app_with_google().await;
        google.publish_as(&google.key, field, value.clone());
        assert_eq!(is_let_in(&app, &google.key).await, is_good, "{field} {value}");
    }
}

#[tokio::test]
async fn a_set_of_keys_has_half_a_mebibyte_at_most() {
    for (bytes, is_good) in [(512 * 1024, true), (512 * 1024 + 1, false)] {
        let (app, google) = app_with_google().await;
        google.pad_to(bytes);
        assert_eq!(is_let_in(&app, &google.key).await, is_good, "{bytes} bytes");
    }
}

#[tokio::test]
async fn a_google_token_is_good_for_a_minute_more_and_less() {
    let (app, google) = app_with_google().await;
    let now = app.clock.now().unix_timestamp();
    for (name, at, expected) in
        [("exp", now - 59, true), ("exp", now - 60, false), ("nbf", now + 60, true), ("nbf", now + 61, false)]
    {
        let mut claims = Google::claims(now);
        claims[name] = json!(at);
        assert_eq!(is_good(&app, &google.key.sign(&claims)).await, expected, "{name} {}", at - now);
    }
}

#[tokio::test]
async fn a_google_token_has_eight_kibibytes_at_most() {
    let (app, google) = app_with_google().await;
    // With an id of this length, tokens of that size exist.
    let key = Key::new("key-10", NEXT);
    google.publish_only(&key);
    let padded = |bytes: usize| {
        let mut claims = Google::claims(app.clock.now().unix_timestamp());
        claims["padding"] = json!("x".repeat(bytes));
        key.sign(&claims)
    };
    let about = (8192 - padded(0).len()) / 4 * 3;
    let most = (about - 3..).find(|bytes| padded(*bytes).len() >= 8192).unwrap();
    for (bytes, length, expected) in [(most, 8192, true), (most + 1, 8194, false)] {
        let token = padded(bytes);
        assert_eq!((token.len(), is_good(&app, &token).await), (length, expected));
    }
}
