//! Signing in, refreshing and ending sessions; every way in which a token can be bad.

use std::collections::HashSet;
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pluckit::clock::Clock;
use pluckit::store::{Container, Query};
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::google::{CLIENT_ID, Google, Key};

const SIGN_IN: &str = "/api/auth/mobile-token";
const REFRESH: &str = "/api/auth/refresh";
const REVOKE: &str = "/api/auth/revoke";
const MEMORY: &str = "/api/chat/memory";

async fn app_with_google() -> (TestApp, Google) {
    let google = Google::start().await;
    let app = TestApp::builder()
        .setting("GOOGLE_CLIENT_ID", "other.apps.googleusercontent.com")
        .setting("GOOGLE_ALLOWED_CLIENT_IDS", &format!("more; {CLIENT_ID} ,"))
        .setting("GOOGLE_JWKS_URL", &google.url)
        .start();
    (app, google)
}

fn now(app: &TestApp) -> i64 {
    app.clock.now().unix_timestamp()
}

async fn sign_in(app: &TestApp, google: &Google) -> Value {
    let token = google.key.sign(&Google::claims(now(app)));
    let answer = app.nobody().post(SIGN_IN, json!({ "id_token": token })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

async fn refresh(app: &TestApp, token: &Value) -> (StatusCode, Value) {
    let answer = app.nobody().post(REFRESH, json!({ "refresh_token": token })).await;
    (answer.status, answer.json())
}

async fn is_signed_in(app: &TestApp, grant: &Value) -> bool {
    let answer = app.bearer(grant["access_token"].as_str().unwrap()).get(MEMORY).await;
    assert!(matches!(answer.status, StatusCode::OK | StatusCode::UNAUTHORIZED), "{}", answer.status);
    answer.status == StatusCode::OK
}

#[tokio::test]
async fn a_google_token_opens_a_session() {
    let (app, google) = app_with_google().await;
    let grant = sign_in(&app, &google).await;
    insta::assert_json_snapshot!(grant, {
        ".access_token" => "at", ".refresh_token" => "rt", ".token" => "at", ".session_token" => "at",
        ".app_token" => "at", ".id_token" => "at",
    }, @r#"
    {
      "access_token": "at",
      "access_token_expires_at": "2026-03-02T09:45:00.000Z",
      "app_token": "at",
      "expires_in": 1800,
      "id_token": "at",
      "refresh_token": "rt",
      "refresh_token_expires_at": "2026-04-01T09:15:00.000Z",
      "refresh_token_expires_in": 2592000,
      "refresh_token_revoke_on_logout": true,
      "refresh_token_rotation": "single-use",
      "session_token": "at",
      "token": "at",
      "token_type": "Bearer",
      "userId": "ada",
      "user_id": "ada"
    }
    "#);
    let access = grant["access_token"].as_str().unwrap();
    assert!(access.starts_with("at-") && access.len() > 40);
    assert!(grant["refresh_token"].as_str().unwrap().starts_with("rt-"));
    for name in ["token", "session_token", "app_token", "id_token"] {
        assert_eq!(grant[name], grant["access_token"]);
    }
    assert!(is_signed_in(&app, &grant).await);
}

#[tokio::test]
async fn only_hashes_of_tokens_are_stored() {
    let (app, google) = app_with_google().await;
    let grant = sign_in(&app, &google).await;
    let page = app.state.data.store.query(&Query::all(Container::RefreshTokens)).await.unwrap();
    let [session] = &page.documents[..] else { panic!("one session") };
    for name in ["access_token", "refresh_token"] {
        assert!(!session.json.contains(grant[name].as_str().unwrap().split_once('-').unwrap().1));
    }
}

#[tokio::test]
async fn a_google_token_is_a_credential_itself() {
    let (app, google) = app_with_google().await;
    let token = google.key.sign(&Google::claims(now(&app)));
    assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::OK);
    // Issued a little in the future by a clock that is ahead, or just expired: the leeway is 60 s.
    let mut claims = Google::claims(now(&app));
    claims["exp"] = json!(now(&app) - 59);
    claims["nbf"] = json!(now(&app) + 59);
    claims["iss"] = json!("accounts.google.com");
    claims["aud"] = json!(["somebody", CLIENT_ID]);
    assert_eq!(app.bearer(&google.key.sign(&claims)).get(MEMORY).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_without_a_token_is_told_what_is_missing() {
    let app = TestApp::new();
    for body in [json!({}), json!({"id_token": ""}), json!({"token": "  "}), json!({"id_token": null})] {
        let answer = app.nobody().post(SIGN_IN, body).await;
        assert_eq!(answer.summary(), (400, json!({"detail": "Missing required field: id_token."})));
    }
    let answer = app.nobody().post(REFRESH, json!({"refresh": "x"})).await;
    assert_eq!(answer.summary(), (400, json!({"detail": "Missing required field: refresh_token."})));
    let answer = app.nobody().post(REVOKE, json!({})).await;
    assert_eq!(answer.summary(), (400, json!({"detail": "Missing refresh_token or user_id."})));
}

#[tokio::test]
async fn without_client_ids_nobody_signs_in_with_google() {
    let app = TestApp::new();
    let answer = app.nobody().post(SIGN_IN, json!({"token": "x.y.z"})).await;
    assert_eq!(answer.summary(), (401, json!({"detail": "Google OAuth client ids are not configured."})));
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let answer = app.nobody().get(MEMORY).await;
    assert_eq!(answer.summary(), (401, json!({"detail": "Missing Authorization header."})));
}

/// Tokens that must not let anybody in, each with its name.
pub fn bad_tokens(google: &Google, now: i64) -> Vec<(String, String)> {
    let key = &google.key;
    let good = Google::claims(now);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.sign(&claims)
    };
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = key.sign(&good);
    let [header, payload, signature]: [&str; 3] = signed.split('.').collect::<Vec<_>>().try_into().unwrap();
    let with_header = |value: Value| format!("{}.{payload}.{signature}", part(&value));
    let stranger = Key::new("key-1");
    let unknown = Key::new("key-9");
    let hs256 = {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("key-1".into());
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(key.public_pem.as_bytes())).unwrap()
    };
    let other_algorithm = |algorithm| {
        let mut header = Header::new(algorithm);
        header.kid = Some("key-1".into());
        jsonwebtoken::encode(&header, &good, &key.encoding).unwrap()
    };
    let mut tokens = vec![
        ("alg none", format!("{}.{payload}.", part(&json!({"alg": "none", "kid": "key-1"})))),
        ("alg none with a signature", with_header(json!({"alg": "none", "kid": "key-1"}))),
        ("alg NoNe", with_header(json!({"alg": "NoNe", "kid": "key-1"}))),
        ("HS256 with the public key", hs256),
        ("RS384", other_algorithm(Algorithm::RS384)),
        ("RS512", other_algorithm(Algorithm::RS512)),
        ("PS256", other_algorithm(Algorithm::PS256)),
        ("ES256 claimed", with_header(json!({"alg": "ES256", "kid": "ec"}))),
        ("no alg", with_header(json!({"kid": "key-1"}))),
        ("no kid", with_header(json!({"alg": "RS256"}))),
        ("unknown kid", unknown.sign(&good)),
        ("kid of a key that is not RSA", with_header(json!({"alg": "RS256", "kid": "ec"}))),
        ("empty kid", with_header(json!({"alg": "RS256", "kid": ""}))),
        ("kid that is a path", with_header(json!({"alg": "RS256", "kid": "../../etc/passwd"}))),
        ("kid that is a number", with_header(json!({"alg": "RS256", "kid": 1}))),
        ("known kid, strange key", stranger.sign(&good)),
        ("key in the header", {
            let header = json!({"alg": "RS256", "kid": "key-9", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}});
            with_header(header)
        }),
        ("wrong audience", with("aud", json!("somebody-else"))),
        ("empty audience", with("aud", json!([]))),
        ("no audience", without("aud")),
        ("wrong issuer", with("iss", json!("https://accounts.google.com.evil.example"))),
        ("issuer with a slash", with("iss", json!("https://accounts.google.com/"))),
        ("no issuer", without("iss")),
        ("expired", with("exp", json!(now - 61))),
        ("no expiry", without("exp")),
        ("expiry that is text", with("exp", json!("tomorrow"))),
        ("expiry null", with("exp", Value::Null)),
        ("not yet valid", with("nbf", json!(now + 61))),
        ("no subject", without("sub")),
        ("empty subject", with("sub", json!(""))),
        ("subject that is a number", with("sub", json!(7))),
        ("subject that is a path", with("sub", json!("a/b"))),
        ("signature cut", signed[..signed.len() - 4].to_owned()),
        ("signature missing", format!("{header}.{payload}.")),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{signed}.x")),
        ("tampered payload", {
            let mut claims = good.clone();
            claims["sub"] = json!("eve");
            format!("{header}.{}.{signature}", part(&claims))
        }),
        ("payload that is not JSON", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("hello"))),
        ("not base64", format!("{header}.%%%.{signature}")),
        ("one dot", ".".to_owned()),
        ("two dots", "..".to_owned()),
        ("a word", "hello".to_owned()),
        ("1 MB of a's", "a".repeat(1_000_000)),
        ("1 MB of dots", ".".repeat(1_000_000)),
        ("unknown access token", "at-0123456789".to_owned()),
        ("1 MB access token", format!("at-{}", "x".repeat(1_000_000))),
    ];
    let longest = with("padding", json!("x".repeat(16 * 1024)));
    tokens.push(("16 kB of claims", longest));
    tokens.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}

#[tokio::test]
async fn no_bad_token_lets_anybody_in() {
    let (app, google) = app_with_google().await;
    let tokens = bad_tokens(&google, now(&app));
    assert!(tokens.len() >= 40);
    for (name, token) in &tokens {
        let answer = app.bearer(token).get(MEMORY).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{name}");
        let detail = answer.json()["detail"].clone();
        let expected = if token.starts_with("at-") { "access token" } else { "Google ID token" };
        assert_eq!(detail, format!("Invalid or expired {expected}."), "{name}");
        if token.len() < 900_000 {
            let answer = app.nobody().post(SIGN_IN, json!({ "id_token": token })).await;
            assert_eq!(answer.summary(), (401, json!({"detail": "Invalid or expired Google ID token."})), "{name}");
        }
    }
}

#[tokio::test]
async fn forged_key_ids_do_not_make_us_fetch_again_and_again() {
    let (app, google) = app_with_google().await;
    let tokens = bad_tokens(&google, now(&app));
    for (_, token) in &tokens {
        app.bearer(token).get(MEMORY).await;
    }
    // One for the set, and one for the first unknown id at most: the clock stands still.
    assert!(google.fetches() <= 2, "{} fetches", google.fetches());
    let next = Key::new("key-2");
    google.rotate_in(&next);
    app.clock.advance(Duration::from_secs(61));
    let token = next.sign(&Google::claims(now(&app)));
    assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_provider_that_is_down_costs_nothing_while_there_is_a_set() {
    let (app, google) = app_with_google().await;
    google.set_down(true);
    let token = google.key.sign(&Google::claims(now(&app)));
    let answer = app.bearer(&token).get(MEMORY).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "5");
    google.set_down(false);
    app.clock.advance(Duration::from_secs(2));
    assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::OK);
    google.set_down(true);
    app.clock.advance(Duration::from_secs(25 * 60 * 60));
    let token = google.key.sign(&Google::claims(now(&app)));
    assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::OK, "the last good set serves");
}

#[tokio::test]
async fn an_access_token_ends_after_half_an_hour_and_is_refreshed() {
    let (app, google) = app_with_google().await;
    let grant = sign_in(&app, &google).await;
    app.clock.advance(Duration::from_secs(30 * 60));
    assert!(is_signed_in(&app, &grant).await, "the last second counts");
    app.clock.advance(Duration::from_secs(1));
    assert!(!is_signed_in(&app, &grant).await);
    let (status, next) = refresh(&app, &grant["refresh_token"]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(next["user_id"], "ada");
    assert!(is_signed_in(&app, &next).await);
    let names: HashSet<_> = grant.as_object().unwrap().keys().collect();
    assert_eq!(names, next.as_object().unwrap().keys().collect());
}

#[tokio::test]
async fn a_refresh_ends_the_old_session_at_once() {
    let (app, google) = app_with_google().await;
    let grant = sign_in(&app, &google).await;
    assert!(is_signed_in(&app, &grant).await, "which fills the cache");
    refresh(&app, &grant["refresh_token"]).await;
    assert!(!is_signed_in(&app, &grant).await);
}

#[tokio::test]
async fn a_refresh_token_works_once() {
    let (app, google) = app_with_google().await;
    let grant = sign_in(&app, &google).await;
    let attempts = join_all((0..100).map(|_| refresh(&app, &grant["refresh_token"]))).await;
    let (won, lost): (Vec<_>, Vec<_>) = attempts.into_iter().partition(|(status, _)| *status == StatusCode::OK);
    assert_eq!(won.len(), 1);
    for (status, body) in lost {
        assert_eq!((status.as_u16(), body), (401, json!({"detail": "Invalid or expired refresh token."})));
    }
    assert!(is_signed_in(&app, &won[0].1).await, "a retry within 30 s harms nobody");
}

#[tokio::test]
async fn a_token_that_was_used_long_ago_ends_its_family() {
    let (app, google) = app_with_google().await;
    let first = sign_in(&app, &google).await;
    let other_device = sign_in(&app, &google).await;
    let (_, second) = refresh(&app, &first["refresh_token"]).await;
    let (_, third) = refresh(&app, &second["refresh_token"]).await;
    app.clock.advance(Duration::from_secs(31));
    assert_eq!(refresh(&app, &first["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    assert!(!is_signed_in(&app, &third).await);
    assert_eq!(refresh(&app, &third["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    assert!(is_signed_in(&app, &other_device).await, "another sign-in is another family");
}

#[tokio::test]
async fn an_expired_refresh_token_is_marked_revoked() {
    let (app, google) = app_with_google().await;
    let grant = sign_in(&app, &google).await;
    app.clock.advance(Duration::from_secs(30 * 24 * 60 * 60 + 1));
    let (status, body) = refresh(&app, &grant["refresh_token"]).await;
    assert_eq!((status.as_u16(), body), (401, json!({"detail": "Invalid or expired refresh token."})));
    let page = app.state.data.store.query(&Query::all(Container::RefreshTokens)).await.unwrap();
    let session: Value = page.documents[0].parse().unwrap();
    assert_eq!(session["revoked"], true);
    assert_eq!(session["revokedAt"], "2026-04-01T09:15:01.000Z");
}

#[tokio::test]
async fn signing_out_by_refresh_token_ends_every_session_of_the_user() {
    let (app, google) = app_with_google().await;
    let here = sign_in(&app, &google).await;
    let there = sign_in(&app, &google).await;
    assert!(is_signed_in(&app, &there).await);
    let answer = app.nobody().post(REVOKE, json!({"refresh_token": here["refresh_token"]})).await;
    assert_eq!(answer.summary(), (200, json!({"revoked": true})));
    assert!(!is_signed_in(&app, &here).await);
    assert!(!is_signed_in(&app, &there).await);
    assert_eq!(refresh(&app, &there["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    let answer = app.nobody().post(REVOKE, json!({"token": "rt-unknown"})).await;
    assert_eq!(answer.summary(), (200, json!({"revoked": false})));
}

#[tokio::test]
async fn signing_out_by_user_id_is_for_that_user() {
    let (app, google) = app_with_google().await;
    let grant = sign_in(&app, &google).await;
    let body = json!({"userId": "ada"});
    assert_eq!(app.nobody().post(REVOKE, body.clone()).await.status, StatusCode::UNAUTHORIZED);
    let answer = app.user("eve").await.post(REVOKE, body.clone()).await;
    assert_eq!(answer.summary(), (403, json!({"detail": "Unauthorized to revoke this user."})));
    assert!(is_signed_in(&app, &grant).await);
    let caller = app.bearer(grant["access_token"].as_str().unwrap());
    let answer = caller.post(REVOKE, json!({"refresh_token": "rt-unknown", "user_id": "ada"})).await;
    assert_eq!(answer.summary(), (200, json!({"revoked": true})));
    assert!(!is_signed_in(&app, &grant).await);
}

#[tokio::test]
async fn a_session_of_the_api_is_accepted_and_its_fields_kept() {
    let app = TestApp::new();
    let hash = pluckit::hash::sha256_hex;
    let document = json!({
        "id": "s1", "userId": "ada", "accessTokenHash": hash("at-1"), "accessTokenExpiresAt": "2026-03-02T09:40:00+00:00",
        "refreshTokenHash": hash("rt-1"), "refreshTokenExpiresAt": "2026-03-30T00:00:00.1234567Z",
        "issuedAt": "2026-03-02T09:10:00", "revoked": false, "deviceName": "phone",
    });
    app.save(Container::RefreshTokens, "ada", document).await;
    assert_eq!(app.bearer("at-1").get(MEMORY).await.status, StatusCode::OK);
    let (status, next) = refresh(&app, &json!("rt-1")).await;
    assert_eq!(status, StatusCode::OK);
    let page = app.state.data.store.query(&Query::partition(Container::RefreshTokens, "ada")).await.unwrap();
    let old: Value =
        page.documents.iter().map(|stored| stored.parse::<Value>().unwrap()).find(|s| s["id"] == "s1").unwrap();
    assert_eq!(old["deviceName"], "phone");
    app.clock.advance(Duration::from_secs(31));
    refresh(&app, &json!("rt-1")).await;
    assert!(!is_signed_in(&app, &next).await, "without a family of its own, the session is the family");
}

#[tokio::test]
async fn in_development_every_caller_is_the_development_user() {
    let app = TestApp::builder().setting("AZURE_FUNCTIONS_ENVIRONMENT", "development").start();
    assert_eq!(app.nobody().get(MEMORY).await.status, StatusCode::OK);
    assert_eq!(app.bearer("at-nonsense").get(MEMORY).await.status, StatusCode::OK);
    let answer = app.nobody().post(REVOKE, json!({"user_id": "somebody"})).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = app.nobody().post(REVOKE, json!({"user_id": "local-dev-user"})).await;
    assert_eq!(answer.status, StatusCode::OK);
}
