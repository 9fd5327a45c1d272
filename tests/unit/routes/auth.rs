//! Signing in, refreshing and ending sessions; every way in which a token can be bad.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use pluckit::base::clock::{Clock, ManualClock};
use pluckit::identity::keys::KeySet;
use pluckit::model::ids::UserId;
use pluckit::net;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, Query};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio_util::task::TaskTracker;

use crate::support::counted::Counted;
use crate::support::google::{CLIENT_ID, Google, Key, NEXT, STRANGE};
use crate::support::intercepted::{Intercepted, OldPage};
use crate::support::{TestApp, refusal};

const SIGN_IN: &str = "/api/auth/mobile-token";
const REFRESH: &str = "/api/auth/refresh";
const REVOKE: &str = "/api/auth/revoke";
const MEMORY: &str = "/api/chat/memory";

pub(super) async fn app_with_google() -> (TestApp, Google) {
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

/// Some clients write every name that they know, with null or nothing under most of them.
#[tokio::test]
async fn a_name_without_a_token_hides_no_other() {
    let (app, google) = app_with_google().await;
    let token = google.key.sign(&Google::claims(now(&app)));
    for none in [Value::Null, json!(""), json!("  ")] {
        for name in ["id_token", "idToken", "token", "idTokenValue"] {
            let mut body = json!({"id_token": none, "idToken": none, "token": none, "idTokenValue": none});
            body[name] = json!(token);
            let answer = app.nobody().post(SIGN_IN, body.clone()).await;
            assert_eq!(answer.status, StatusCode::OK, "{body} {}", answer.text());
        }
        let grant = sign_in(&app, &google).await;
        let body = json!({"refresh_token": none, "refreshToken": grant["refresh_token"]});
        let next = app.nobody().post(REFRESH, body).await;
        assert_eq!(next.status, StatusCode::OK);
        let body = json!({"refresh_token": none, "refreshToken": next.json()["refresh_token"]});
        assert_eq!(app.nobody().post(REVOKE, body).await.json()["revoked"], true);
        let grant = sign_in(&app, &google).await;
        let caller = app.bearer(grant["access_token"].as_str().unwrap());
        assert_eq!(caller.post(REVOKE, json!({"user_id": null, "userId": "ada"})).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_body_without_a_token_is_told_what_is_missing() {
    let app = TestApp::new();
    for body in [json!({}), json!({"id_token": ""}), json!({"token": "  "}), json!({"id_token": null})] {
        let answer = app.nobody().post(SIGN_IN, body).await;
        assert_eq!(answer.summary(), (400, refusal("Missing required field: id_token.")));
    }
    let answer = app.nobody().post(REFRESH, json!({"refresh": "x"})).await;
    assert_eq!(answer.summary(), (400, refusal("Missing required field: refresh_token.")));
    let answer = app.nobody().post(REVOKE, json!({})).await;
    assert_eq!(answer.summary(), (400, refusal("Missing refresh_token or user_id.")));
}

#[tokio::test]
async fn without_client_ids_nobody_signs_in_with_google() {
    let app = TestApp::new();
    let answer = app.nobody().post(SIGN_IN, json!({"token": "x.y.z"})).await;
    assert_eq!(answer.summary(), (401, refusal("Google OAuth client ids are not configured.")));
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let answer = app.nobody().get(MEMORY).await;
    assert_eq!(answer.summary(), (401, refusal("Missing Authorization header.")));
}

/// Longest token that a body may have, in characters.
pub const LONGEST_IN_BODY: usize = 4096;

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
    let stranger = Key::new("key-1", STRANGE);
    let unknown = Key::new("key-9", STRANGE);
    let mut tokens = vec![
        ("alg none", format!("{}.{payload}.", part(&json!({"alg": "none", "kid": "key-1"})))),
        ("alg none with a signature", with_header(json!({"alg": "none", "kid": "key-1"}))),
        ("alg NoNe", with_header(json!({"alg": "NoNe", "kid": "key-1"}))),
        ("HS256 with the public key", key.sign_as("HS256", &good)),
        ("RS384", key.sign_as("RS384", &good)),
        ("RS512", key.sign_as("RS512", &good)),
        ("PS256", key.sign_as("PS256", &good)),
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
        ("subject that is a dot", with("sub", json!("."))),
        ("subject of two dots", with("sub", json!(".."))),
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
        let answer = app.nobody().post(SIGN_IN, json!({ "id_token": token })).await;
        if token.len() <= LONGEST_IN_BODY {
            assert_eq!(answer.summary(), (401, refusal("Invalid or expired Google ID token.")), "{name}");
        } else if token.len() < 900_000 {
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        } else {
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{name}");
        }
    }
}

#[tokio::test]
async fn a_token_in_a_body_has_so_many_bytes_at_most() {
    let (app, _google) = app_with_google().await;
    for (length, status) in [(LONGEST_IN_BODY, 401), (LONGEST_IN_BODY + 1, 422)] {
        let answer = app.nobody().post(SIGN_IN, json!({ "id_token": "x".repeat(length) })).await;
        assert_eq!(answer.code(), status, "{length}");
    }
}

#[tokio::test]
async fn a_token_counts_after_the_word_bearer_only() {
    let app = TestApp::new();
    let token = app.state.sessions.open(UserId::from("ada")).await.unwrap().access_token;
    for (value, status) in [
        (format!("Bearer {token}"), 200),
        (format!("bEARER   {token} "), 200),
        (format!("Basic {token}"), 401),
        (format!("Bearer{token}"), 401),
        (token, 401),
        ("Bearer ".to_owned(), 401),
    ] {
        let answer = app.nobody().header("authorization", &value).get(MEMORY).await;
        assert_eq!(answer.code(), status, "{}", value.split(' ').next().unwrap());
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
    let next = Key::new("key-2", NEXT);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_hangs_is_asked_once_for_all_who_wait() {
    let (app, google) = app_with_google().await;
    google.set_hanging(true);
    let token = google.key.sign(&Google::claims(now(&app)));
    let sign_in = async |_| app.nobody().post(SIGN_IN, json!({ "id_token": token })).await;
    let answers = join_all((0..20).map(sign_in)).await;
    for answer in answers {
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    }
    assert_eq!(google.fetches(), 1);
    // A moment later they are told without another fetch.
    assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(google.fetches(), 1);
    google.set_hanging(false);
    app.clock.advance(Duration::from_secs(2));
    assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::OK);

    // With a set nobody waits for a provider that hangs.
    google.set_hanging(true);
    app.clock.advance(Duration::from_secs(3601));
    let token = google.key.sign(&Google::claims(now(&app)));
    assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::OK);
    crate::support::until("it is asked meanwhile", async || google.fetches() == 3).await;
    assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::OK);
}

/// A clock of which one reading panics.
struct Faulty {
    clock: ManualClock,
    readings: AtomicUsize,
}

impl Clock for Faulty {
    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    fn instant(&self) -> Instant {
        // The first reading is that of the caller, the second one that of the fetch.
        assert_ne!(self.readings.fetch_add(1, Ordering::SeqCst), 1, "as the test wants it");
        self.clock.instant()
    }
}

#[tokio::test]
async fn a_fetch_that_panics_does_not_prevent_the_next_one() {
    let google = Google::start().await;
    let clock = ManualClock::new(datetime!(2026-03-02 09:15 UTC));
    let clock = Arc::new(Faulty { clock, readings: AtomicUsize::new(0) });
    let url = google.url.parse().unwrap();
    let keys = KeySet::new(url, net::services().unwrap(), clock.clone(), TaskTracker::new());
    assert!(keys.find(Some("key-1")).await.is_err());
    assert_eq!(google.fetches(), 1);
    clock.clock.advance(Duration::from_secs(2));
    assert!(keys.find(Some("key-1")).await.unwrap().is_some());
    assert_eq!(google.fetches(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_does_not_end_the_fetch() {
    let (app, google) = app_with_google().await;
    google.set_hanging(true);
    let token = google.key.sign(&Google::claims(now(&app)));
    let caller = app.bearer(&token);
    tokio::select! {
        answer = caller.get(MEMORY) => panic!("answered: {}", answer.status),
        () = crate::support::until("the keys are asked for", async || google.fetches() == 1) => {}
    }
    assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(google.fetches(), 1);
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
        assert_eq!((status.as_u16(), body), (401, refusal("Invalid or expired refresh token.")));
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
    assert_eq!((status.as_u16(), body), (401, refusal("Invalid or expired refresh token.")));
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
    assert_eq!(answer.summary(), (200, json!({"revoked": true, "message": "Refresh sessions revoked."})));
    assert!(!is_signed_in(&app, &here).await);
    assert!(!is_signed_in(&app, &there).await);
    assert_eq!(refresh(&app, &there["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    let answer = app.nobody().post(REVOKE, json!({"token": "rt-unknown"})).await;
    assert_eq!(answer.summary(), (200, json!({"revoked": false, "message": "Refresh sessions revoked."})));
}

#[tokio::test]
async fn signing_out_by_user_id_is_for_that_user() {
    let (app, google) = app_with_google().await;
    let grant = sign_in(&app, &google).await;
    let body = json!({"userId": "ada"});
    assert_eq!(app.nobody().post(REVOKE, body.clone()).await.status, StatusCode::UNAUTHORIZED);
    let answer = app.user("eve").await.post(REVOKE, body.clone()).await;
    assert_eq!(answer.summary(), (403, refusal("Unauthorized to revoke this user.")));
    assert!(is_signed_in(&app, &grant).await);
    let caller = app.bearer(grant["access_token"].as_str().unwrap());
    let answer = caller.post(REVOKE, json!({"refresh_token": "rt-unknown", "user_id": "ada"})).await;
    assert_eq!(answer.summary(), (200, json!({"revoked": true, "message": "Refresh sessions revoked."})));
    assert!(!is_signed_in(&app, &grant).await);
}

#[tokio::test]
async fn a_session_of_the_api_is_accepted_and_its_fields_kept() {
    let app = TestApp::new();
    let hash = pluckit::base::hash::sha256_hex;
    let document = json!({
        "id": "s1", "userId": "ada", "accessTokenHash": hash("at-1"), "accessTokenExpiresAt": "2026-03-02T09:40:00+00:00",
        "refreshTokenHash": hash("rt-1"), "refreshTokenExpiresAt": "2026-03-30T00:00:00.1234567Z",
        "issuedAt": "2026-03-02T09:10:00", "revoked": false, "deviceName": "phone",
    });
    app.save(Container::RefreshTokens, "ada", document.clone()).await;
    assert_eq!(app.bearer("at-1").get(MEMORY).await.status, StatusCode::OK);
    let mut with_nulls = document;
    for field in ["revoked", "revokedOnLogout", "tokenRotation", "revokedAt", "familyId", "rotatedAt", "ttl"] {
        with_nulls[field] = Value::Null;
    }
    (with_nulls["id"], with_nulls["accessTokenHash"]) = (json!("s2"), json!(hash("at-2")));
    with_nulls["refreshTokenHash"] = json!(hash("rt-2"));
    app.save(Container::RefreshTokens, "ada", with_nulls).await;
    assert_eq!(app.bearer("at-2").get(MEMORY).await.status, StatusCode::OK);
    let (status, next) = refresh(&app, &json!("rt-1")).await;
    assert_eq!(status, StatusCode::OK);
    let page = app.state.data.store.query(&Query::partition(Container::RefreshTokens, "ada")).await.unwrap();
    let old: Value =
        page.documents.iter().map(|stored| stored.parse::<Value>().unwrap()).find(|s| s["id"] == "s1").unwrap();
    assert_eq!(old["deviceName"], "phone");
    assert_eq!(old["replacedByRefreshTokenHash"], hash(next["refresh_token"].as_str().unwrap()));
    assert!(is_signed_in(&app, &next).await);
    app.clock.advance(Duration::from_secs(31));
    refresh(&app, &json!("rt-1")).await;
    assert!(!is_signed_in(&app, &next).await, "without a family of its own, the session is the family");
}

#[tokio::test]
async fn a_token_of_the_api_has_512_bytes_at_most() {
    let app = TestApp::new();
    let hash = pluckit::base::hash::sha256_hex;
    for (length, is_good) in [(512, true), (513, false)] {
        let token = |prefix: &str| format!("{prefix}{}", "1".repeat(length - prefix.len()));
        let (access, refreshing) = (token("at-"), token("rt-"));
        let document = json!({
            "id": length.to_string(), "userId": "ada", "issuedAt": "2026-03-02T09:10:00", "revoked": false,
            "accessTokenHash": hash(access.clone()), "accessTokenExpiresAt": "2026-03-02T09:40:00+00:00",
            "refreshTokenHash": hash(refreshing.clone()), "refreshTokenExpiresAt": "2026-03-30T00:00:00Z",
        });
        app.save(Container::RefreshTokens, "ada", document).await;
        let status = app.bearer(&access).get(MEMORY).await.status;
        assert_eq!(status == StatusCode::OK, is_good, "{length}: {status}");
        let (status, _) = refresh(&app, &json!(refreshing)).await;
        assert_eq!(status == StatusCode::OK, is_good, "{length}: {status}");
    }
}

#[tokio::test]
async fn a_session_that_is_opened_while_others_are_ended_ends_too() {
    let old = Arc::new(OldPage::of(Container::RefreshTokens));
    let store = SqliteStore::in_memory(Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)))).unwrap();
    let app = TestApp::builder().store(Intercepted::new(Arc::new(store), old.clone())).start();
    let open = async || app.state.sessions.open(UserId::from("ada")).await.unwrap().access_token;
    let first = open().await;
    let query = Query::partition(Container::RefreshTokens, "ada");
    let page = app.state.data.store.query(&query).await.unwrap();
    let second = open().await;
    old.show(page);
    app.state.sessions.revoke_user(&"ada".into()).await.unwrap();
    assert!(old.was_seen(), "it saw the first session only");
    for token in [first, second] {
        assert_eq!(app.bearer(&token).get(MEMORY).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn in_development_callers_on_this_machine_are_the_development_user() {
    let app = TestApp::builder().setting("AZURE_FUNCTIONS_ENVIRONMENT", "development").start();
    assert_eq!(app.nobody().get(MEMORY).await.status, StatusCode::OK);
    assert_eq!(app.bearer("at-nonsense").get(MEMORY).await.status, StatusCode::OK);
    for (name, value) in [
        ("origin", "http://localhost:4200"),
        ("origin", "http://127.0.0.1:4200"),
        ("origin", "http://[::1]:4200"),
        ("sec-fetch-site", "same-site"),
    ] {
        let page = app.nobody().header(name, value);
        assert_eq!(page.get(MEMORY).await.status, StatusCode::OK, "{name}: {value}");
        let answer = page.post("/api/chat", json!({"message": "Thank you!"})).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {value}");
    }
    let answer = app.nobody().post(REVOKE, json!({"user_id": "somebody"})).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = app.nobody().post(REVOKE, json!({"user_id": "local-dev-user"})).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn in_development_callers_from_elsewhere_show_a_credential() {
    let app = TestApp::builder()
        .setting("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
        .setting("ADMIN_USER_IDS", "local-dev-user")
        .setting("METADATA_EXTRACT_API_KEY", "key")
        .start();
    let missing = (401, refusal("Missing Authorization header."));
    let elsewhere = [
        app.nobody().from("192.168.1.7"),
        app.nobody().header("host", "attacker.example"),
        app.nobody().header("host", "attacker.example").header("origin", "http://attacker.example"),
        app.nobody().header("x-forwarded-for", "203.0.113.7"),
        app.nobody().header("x-forwarded-proto", "https"),
        app.nobody().header("forwarded", "for=203.0.113.7"),
        app.nobody().header("x-arr-ssl", "1"),
        app.nobody().header("x-azure-fdid", "1"),
    ];
    for caller in &elsewhere {
        assert_eq!(caller.get(MEMORY).await.summary(), missing);
        assert_eq!(caller.get("/api/admin/bans").await.summary(), missing);
        assert_eq!(caller.post("/api/process-image", json!({})).await.summary(), missing);
        assert_eq!(caller.post(REVOKE, json!({"user_id": "local-dev-user"})).await.summary(), missing);
    }
    let foreign = [
        app.nobody().header("origin", "https://evil.example"),
        app.nobody().header("origin", "null"),
        app.nobody().header("sec-fetch-site", "cross-site"),
    ];
    for caller in &foreign {
        let answer = caller.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
        assert_eq!(
            answer.summary(),
            (403, refusal("In development, requests from web pages of this origin are not accepted."))
        );
        assert_eq!(caller.get(MEMORY).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(app.nobody().get("/api/admin/bans").await.json()["bans"], json!([]));
    let ada = app.user("ada").await;
    ada.clone().from("192.168.1.7").put(MEMORY, json!({"summary": "Likes navy."})).await;
    assert_eq!(ada.header("host", "pluckit.test").get(MEMORY).await.json()["summary"], "Likes navy.");
}

pub(super) async fn sessions_of(app: &TestApp, user: &str) -> Vec<Value> {
    let query = Query::partition(Container::RefreshTokens, user).limit(1000);
    let page = app.state.data.store.query(&query).await.unwrap();
    page.documents.iter().map(|stored| stored.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_token_is_found_by_one_point_read() {
    let (counted, store) = Counted::in_memory();
    let app = TestApp::builder().store(store).start();
    let grant = app.state.sessions.open(UserId::from("110169484474386276334")).await.unwrap();
    let (reads, queries) = (counted.reads(), counted.queries());
    assert!(app.state.sessions.find_user(&grant.access_token).await.unwrap().is_ok());
    assert_eq!((counted.reads() - reads, counted.queries() - queries), (1, 0));
    // A forged one costs no more.
    let (place, _) = grant.access_token.split_once('.').unwrap();
    let forged = format!("{place}.{}", URL_SAFE_NO_PAD.encode([7; 48]));
    assert!(app.state.sessions.find_user(&forged).await.unwrap().is_err());
    assert_eq!((counted.reads() - reads, counted.queries() - queries), (2, 0));
    let next = app.state.sessions.refresh(&grant.refresh_token).await.unwrap();
    assert!(next.is_some());
    assert_eq!(counted.queries(), queries);
}

#[tokio::test]
async fn the_secret_of_a_token_counts_and_not_the_place_it_names() {
    let app = TestApp::new();
    let grant = app.state.sessions.open(UserId::from("ada")).await.unwrap();
    let (place, rest) = grant.access_token.split_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(rest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = format!("{place}.{}", URL_SAFE_NO_PAD.encode(&bytes));
    assert_eq!(app.bearer(&forged).get(MEMORY).await.status, StatusCode::UNAUTHORIZED);
    let elsewhere = format!("at-{}.{rest}", URL_SAFE_NO_PAD.encode("eve"));
    assert_eq!(app.bearer(&elsewhere).get(MEMORY).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.bearer(&grant.access_token).get(MEMORY).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_never_got_its_new_pair_gets_another() {
    let (app, google) = app_with_google().await;
    let first = sign_in(&app, &google).await;
    let (_, lost) = refresh(&app, &first["refresh_token"]).await;
    app.clock.advance(Duration::from_millis(4900));
    assert_eq!(refresh(&app, &first["refresh_token"]).await.0, StatusCode::UNAUTHORIZED, "it races with itself");
    app.clock.advance(Duration::from_millis(100));
    let (status, second) = refresh(&app, &first["refresh_token"]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(refresh(&app, &first["refresh_token"]).await.0, StatusCode::UNAUTHORIZED, "once a second");
    app.clock.advance(Duration::from_secs(1));
    let (status, third) = refresh(&app, &first["refresh_token"]).await;
    assert_eq!(status, StatusCode::OK, "this answer may be lost as well");
    for unused in [&lost, &second] {
        assert!(!is_signed_in(&app, unused).await);
        assert_eq!(refresh(&app, &unused["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    }
    assert!(is_signed_in(&app, &third).await);
    assert_eq!(refresh(&app, &third["refresh_token"]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_pair_that_was_used_was_not_lost() {
    let (app, google) = app_with_google().await;
    for uses_access_token in [true, false] {
        let first = sign_in(&app, &google).await;
        let (_, mut second) = refresh(&app, &first["refresh_token"]).await;
        if uses_access_token {
            assert!(is_signed_in(&app, &second).await);
        } else {
            second = refresh(&app, &second["refresh_token"]).await.1;
        }
        app.clock.advance(Duration::from_secs(29));
        assert_eq!(refresh(&app, &first["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
        assert!(is_signed_in(&app, &second).await, "so early it harms nobody");
        app.clock.advance(Duration::from_secs(2));
        assert_eq!(refresh(&app, &first["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
        assert!(!is_signed_in(&app, &second).await, "somebody has stolen it");
    }
}

#[tokio::test]
async fn after_ten_minutes_an_answer_is_not_lost_but_stolen() {
    let (app, google) = app_with_google().await;
    let first = sign_in(&app, &google).await;
    let (_, second) = refresh(&app, &first["refresh_token"]).await;
    app.clock.advance(Duration::from_secs(601));
    assert_eq!(refresh(&app, &first["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh(&app, &second["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    assert!(!is_signed_in(&app, &second).await);
}

#[tokio::test]
async fn one_of_many_concurrent_recoveries_of_a_lost_answer_succeeds() {
    let (app, google) = app_with_google().await;
    let first = sign_in(&app, &google).await;
    refresh(&app, &first["refresh_token"]).await;
    app.clock.advance(Duration::from_secs(6));
    let attempts = join_all((0..50).map(|_| refresh(&app, &first["refresh_token"]))).await;
    let won: Vec<_> = attempts.into_iter().filter(|(status, _)| *status == StatusCode::OK).collect();
    assert_eq!(won.len(), 1);
    assert!(is_signed_in(&app, &won[0].1).await);
    let live = sessions_of(&app, "ada").await.into_iter().filter(|session| session["revoked"] == false);
    assert_eq!(live.count(), 1);
}

#[tokio::test]
async fn the_oldest_of_more_than_fifty_sessions_ends() {
    let app = TestApp::new();
    let mut grants = Vec::new();
    for _ in 0..53 {
        grants.push(app.state.sessions.open(UserId::from("ada")).await.unwrap());
        app.clock.advance(Duration::from_secs(1));
    }
    let other = app.user("eve").await;
    for (number, grant) in grants.iter().enumerate() {
        let status = app.bearer(&grant.access_token).get(MEMORY).await.status;
        assert_eq!(status == StatusCode::OK, number >= 3, "session {number}: {status}");
    }
    assert_eq!(other.get(MEMORY).await.status, StatusCode::OK);
    app.clock.advance(Duration::from_secs(24 * 60 * 60 - 10));
    assert_eq!(sessions_of(&app, "ada").await.len(), 53);
    app.clock.advance(Duration::from_secs(10));
    assert_eq!(sessions_of(&app, "ada").await.len(), 50, "of those that ended nothing is kept for long");
}
