//! API tokens: creating, listing and revoking them, and every kind of invalid token.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use futures::future::join_all;
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::identity::api_token::{ApiTokenService, MOST_TOKENS};
use pluckit::model::api_token::Scopes;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Query};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::caller::Caller;
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::{TestApp, refusal};

const TOKENS: &str = "/api/auth/tokens";
const MEMORY: &str = "/api/chat/memory";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes a token and returns the answer.
async fn make(caller: &Caller, name: &str) -> Value {
    let answer = caller.post(TOKENS, json!({ "name": name })).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

async fn is_let_in(app: &TestApp, token: &str) -> bool {
    let answer = app.bearer(token).get(MEMORY).await;
    if answer.status != StatusCode::OK {
        assert_eq!(answer.summary(), (401, refusal("Invalid or expired API token.")), "{token}");
    }
    answer.status == StatusCode::OK
}

async fn list(caller: &Caller) -> Vec<Value> {
    let answer = caller.get(TOKENS).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.json()["tokens"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_token_is_shown_once_and_acts_for_its_user() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let made = make(&ada, "  My   laptop ").await;
    insta::assert_json_snapshot!(made, { ".id" => "id", ".token" => "pat" }, @r#"
    {
      "expiresAt": "2026-05-31T09:15:00.000Z",
      "id": "id",
      "name": "My laptop",
      "token": "pat"
    }
    "#);
    let token = text(&made["token"]);
    assert!(token.starts_with("pat-") && token.len() == 70);
    let program = app.bearer(token);
    assert_eq!(program.put(MEMORY, json!({"summary": "Likes navy."})).await.status, StatusCode::OK);
    assert_eq!(ada.get(MEMORY).await.json()["summary"], "Likes navy.");
    insta::assert_json_snapshot!(list(&ada).await, { "[].id" => "id" }, @r#"
    [
      {
        "createdAt": "2026-03-02T09:15:00.000Z",
        "expiresAt": "2026-05-31T09:15:00.000Z",
        "id": "id",
        "lastUsedAt": "2026-03-02T00:00:00.000Z",
        "name": "My laptop"
      }
    ]
    "#);
    // Neither the token nor its secret is in the store; the token does not contain its user.
    let page = app.state.data.store.query(&Query::all(Container::ApiTokens)).await.unwrap();
    assert_eq!(page.documents.len(), 2);
    let id = text(&made["id"]);
    let key = Key::new(Container::ApiTokens, format!("#{id}"), id);
    assert!(app.state.data.store.read(&key).await.unwrap().is_some(), "each is in a partition of its own");
    for document in page.documents {
        assert!(!document.json.contains(token) && !document.json.contains(token.split_once('.').unwrap().1));
    }
}

#[tokio::test]
async fn a_token_creates_and_revokes_no_credentials() {
    let app = TestApp::builder().setting("ADMIN_USER_IDS", "ada").start();
    let ada = app.user("ada").await;
    let made = make(&ada, "Program").await;
    let program = app.bearer(text(&made["token"]));
    let refused = (403, refusal("API tokens may not call this route."));
    assert_eq!(program.post(TOKENS, json!({"name": "Another"})).await.summary(), refused);
    assert_eq!(program.get(TOKENS).await.summary(), refused);
    assert_eq!(program.delete(&format!("{TOKENS}/{}", text(&made["id"]))).await.summary(), refused);
    assert_eq!(program.post("/api/auth/revoke", json!({"userId": "ada"})).await.summary(), refused);
    assert_eq!(program.get("/api/admin/bans").await.summary(), refused, "an administrator's, too");
    assert_eq!(ada.get("/api/admin/bans").await.status, StatusCode::OK);
    assert_eq!(list(&ada).await.len(), 1);
}

#[tokio::test]
async fn a_token_with_scopes_is_held_to_them() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    for (scopes, may_write) in [
        (json!(["wardrobe:read"]), false),
        (json!(["wardrobe:write"]), true),
        (json!(["wardrobe:write", "wardrobe:read", "wardrobe:read"]), true),
        (Value::Null, true),
    ] {
        let made = ada.post(TOKENS, json!({"name": "x", "scopes": scopes, "expiresInDays": "7"})).await.json();
        let program = app.bearer(text(&made["token"]));
        assert_eq!(program.get(MEMORY).await.status, StatusCode::OK, "{scopes}");
        let changed = program.put(MEMORY, json!({"summary": "x"})).await;
        let expected = if may_write { (200, json!({"status": "updated"})) } else { refused_to_write() };
        assert_eq!(changed.summary(), expected, "{scopes}");
        // It begins a session, although it is a GET.
        let quiz = program.get("/api/taste/quiz").await;
        assert_eq!(quiz.status.as_u16(), if may_write { 200 } else { 403 }, "{scopes}: {}", quiz.text());
        let listed = list(&ada).await.into_iter().find(|token| token["id"] == made["id"]).unwrap();
        assert_eq!(listed["scopes"], made["scopes"]);
        assert_eq!(listed["expiresAt"], "2026-03-09T09:15:00.000Z");
    }
}

fn refused_to_write() -> (u16, Value) {
    (403, refusal("This API token may only read."))
}

#[tokio::test]
async fn what_does_not_fit_makes_no_token() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    for (body, status) in [
        (json!({}), 422),
        (json!({"name": ""}), 422),
        (json!({"name": "x".repeat(101)}), 422),
        (json!({"name": 7}), 422),
        (json!({"name": " \t "}), 400),
        (json!({"name": "x", "expiresInDays": 0}), 422),
        (json!({"name": "x", "expiresInDays": 366}), 422),
        (json!({"name": "x", "expiresInDays": "soon"}), 422),
        (json!({"name": "x", "scopes": []}), 400),
        (json!({"name": "x", "scopes": ["all"]}), 400),
        (json!({"name": "x", "scopes": "wardrobe:read"}), 422),
    ] {
        assert_eq!(ada.post(TOKENS, body.clone()).await.status, status, "{body}");
    }
    assert!(list(&ada).await.is_empty());
}

#[tokio::test]
async fn a_token_expires_and_leaves_nothing_behind() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let made = ada.post(TOKENS, json!({"name": "x", "expires_in_days": 1})).await.json();
    app.clock.advance(DAY - Duration::from_secs(1));
    assert!(is_let_in(&app, text(&made["token"])).await);
    app.clock.advance(Duration::from_secs(1));
    assert!(!is_let_in(&app, text(&made["token"])).await, "known a second ago, and expired now");
    let ada = app.user("ada").await;
    assert!(list(&ada).await.is_empty());
    make(&ada, "Another").await;
    let page = app.state.data.store.query(&Query::all(Container::ApiTokens)).await.unwrap();
    let list: Value = page.documents.iter().find(|stored| stored.json.contains("\"tokens\"")).unwrap().parse().unwrap();
    assert_eq!((page.documents.len(), list["tokens"].as_array().unwrap().len()), (2, 1));
}

#[tokio::test]
async fn the_last_use_is_told_to_the_day() {
    let app = TestApp::new();
    let made = make(&app.user("ada").await, "Program").await;
    assert_eq!(list(&app.user("ada").await).await[0]["lastUsedAt"], Value::Null);
    for (days, expected) in [(1, "2026-03-03T00:00:00.000Z"), (3, "2026-03-06T00:00:00.000Z")] {
        app.clock.advance(DAY * days);
        assert!(is_let_in(&app, text(&made["token"])).await);
        assert_eq!(list(&app.user("ada").await).await[0]["lastUsedAt"], expected);
    }
}

#[tokio::test]
async fn tokens_of_others_and_of_no_form_are_refused() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let (of_ada, of_eve) = (make(&ada, "a").await, make(&eve, "e").await);
    let path = format!("{TOKENS}/{}", text(&of_ada["id"]));
    let missing = (404, refusal("API token not found."));
    assert_eq!(eve.delete(&path).await.summary(), missing);
    for id in ["x", "tokens", "..%2Ftokens", &Uuid::new_v4().to_string(), &"x".repeat(2000)] {
        assert_eq!(ada.delete(&format!("{TOKENS}/{id}")).await.summary(), missing, "{id}");
    }
    assert!(is_let_in(&app, text(&of_ada["token"])).await);
    assert_eq!(list(&eve).await.len(), 1);

    let (token, other) = (text(&of_ada["token"]), text(&of_eve["token"]));
    let ((id, secret), (other_id, _)) = (token.split_once('.').unwrap(), other.split_once('.').unwrap());
    let last = if secret.ends_with('A') { 'Q' } else { 'A' };
    let changed = format!("{}{last}", &token[..token.len() - 1]);
    for bad in [
        "pat-",
        "pat-.",
        "pat-x.y",
        id,
        &format!("{id}."),
        &format!("{other_id}.{secret}"),
        &format!("pat-{}.{secret}", "A".repeat(22)),
        &changed,
        &format!("{token}="),
        &format!("{token}.{secret}"),
        &token.to_uppercase().replacen("PAT", "pat", 1),
        &format!("pat-{}", "A".repeat(5000)),
    ] {
        assert!(!is_let_in(&app, bad).await);
    }
    // Of the wrong kind in the right form.
    for kind in ["at", "rt"] {
        let answer = app.bearer(&token.replacen("pat", kind, 1)).get(MEMORY).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert!(is_let_in(&app, token).await);
}

#[tokio::test]
async fn a_token_is_never_repeated_by_an_idempotency_key() {
    let app = TestApp::new();
    let ada = app.user("ada").await.header("idempotency-key", "once");
    let (first, second) = (make(&ada, "x").await, make(&ada, "x").await);
    assert_ne!(first["token"], second["token"]);
    let page = app.state.data.store.query(&Query::all(Container::Conversations)).await.unwrap();
    assert!(page.documents.iter().all(|document| !document.json.contains("pat-")), "an answer with a token was kept");
}

#[tokio::test]
async fn refused_tokens_use_up_the_quota_of_their_address() {
    let app = TestApp::builder().setting("RATE_LIMITS", "true").setting("RATE_LIMIT_REFUSALS_PER_MINUTE", "3").start();
    let good = app.state.api_tokens.create(&"ada".into(), "x", 1, Scopes::ALL).await.unwrap().unwrap();
    assert_eq!(app.bearer(&good.secret).get(MEMORY).await.status, StatusCode::OK);
    let bad = app.bearer("pat-x.y");
    for _ in 0..3 {
        assert_eq!(bad.get(MEMORY).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(bad.get(MEMORY).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(app.bearer(&good.secret).get(MEMORY).await.status, StatusCode::OK, "one that is known is heard");
}

/// Each scene with a user of its own, on both stores.
macro_rules! on_both_stores {
    ($($name:ident)+) => {$(
        mod $name {
            #[tokio::test]
            async fn on_sqlite() {
                let clock = std::sync::Arc::new(super::super::SystemClock);
                let store = super::super::SqliteStore::in_memory(clock).unwrap();
                super::super::$name(std::sync::Arc::new(store), &super::super::new_user()).await;
            }

            #[tokio::test]
            #[ignore = "needs the emulators: run scripts/test"]
            async fn on_cosmos() {
                let store = std::sync::Arc::new(crate::store::cosmos_backend::cosmos().await);
                super::super::$name(store, &super::super::new_user()).await;
            }
        }
    )+};
}

mod both {
    on_both_stores! {
        a_token_lives_and_is_revoked
        a_user_has_no_more_than_twenty_however_many_ask_at_once
        a_token_that_is_revoked_while_it_is_used_is_refused_everywhere
        a_store_that_fails_leaves_no_token_that_cannot_be_revoked
    }
}

fn new_user() -> String {
    format!("user-{}", Uuid::new_v4())
}

async fn a_token_lives_and_is_revoked(store: Arc<dyn DocumentStore>, user: &str) {
    let (here, elsewhere) = (TestApp::builder().store(store.clone()).start(), TestApp::builder().store(store).start());
    let owner = here.user(user).await;
    let (made, kept) = (make(&owner, "Ends").await, make(&owner, "Stays").await);
    let token = text(&made["token"]);
    assert!(is_let_in(&here, token).await && is_let_in(&elsewhere, token).await);
    let answer = owner.delete(&format!("{TOKENS}/{}", text(&made["id"]))).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::NO_CONTENT, 0));
    assert!(!is_let_in(&here, token).await, "at once");
    elsewhere.clock.advance(Duration::from_secs(30));
    assert!(!is_let_in(&elsewhere, token).await, "within 30 s");
    let again = owner.delete(&format!("{TOKENS}/{}", text(&made["id"]))).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert!(is_let_in(&here, text(&kept["token"])).await);
    assert_eq!(list(&owner).await.len(), 1);
}

async fn a_user_has_no_more_than_twenty_however_many_ask_at_once(store: Arc<dyn DocumentStore>, user: &str) {
    let app = TestApp::builder().store(store).start();
    let owner = app.user(user).await;
    for _ in 0..MOST_TOKENS - 2 {
        make(&owner, "x").await;
    }
    let answers = join_all((0..8).map(|_| owner.post(TOKENS, json!({"name": "y"})))).await;
    let (made, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == StatusCode::CREATED);
    assert_eq!((made.len(), refused.len()), (2, 6));
    for answer in refused {
        let detail = format!("You have {MOST_TOKENS} API tokens. Delete one first.");
        assert_eq!(answer.summary(), (409, refusal(&detail)));
    }
    let listed = list(&owner).await;
    let ids: BTreeSet<_> = listed.iter().map(|token| text(&token["id"])).collect();
    assert_eq!(ids.len(), MOST_TOKENS);
    for answer in made {
        assert!(is_let_in(&app, text(&answer.json()["token"])).await);
    }
    // With one less there is room for one more.
    let path = format!("{TOKENS}/{}", text(&listed[7]["id"]));
    let ended = join_all((0..4).map(|_| owner.delete(&path))).await;
    assert_eq!(ended.iter().filter(|answer| answer.status == StatusCode::NO_CONTENT).count(), 1);
    make(&owner, "z").await;
}

async fn a_token_that_is_revoked_while_it_is_used_is_refused_everywhere(store: Arc<dyn DocumentStore>, user: &str) {
    let app = TestApp::builder().store(store).start();
    let owner = app.user(user).await;
    for round in 0..8 {
        let made = make(&owner, "x").await;
        let program = app.bearer(text(&made["token"]));
        let path = format!("{TOKENS}/{}", text(&made["id"]));
        let uses = join_all((0..6).map(|_| program.get(MEMORY)));
        let (uses, ended) = futures::join!(uses, owner.delete(&path));
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
        assert!(uses.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 401)));
        assert!(!is_let_in(&app, text(&made["token"])).await, "round {round}: a look-up outlived its token");
    }
    assert!(list(&owner).await.is_empty());
}

async fn a_store_that_fails_leaves_no_token_that_cannot_be_revoked(store: Arc<dyn DocumentStore>, user: &str) {
    let user = user.into();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let of =
        |store: Arc<dyn DocumentStore>| ApiTokenService::new(pluckit::data::Data::new(store).api_tokens, clock.clone());
    let sound = of(store.clone());
    sound.create(&user, "First", 1, Scopes::ALL).await.unwrap().unwrap();
    // Every write of an operation fails in turn, before or after it was done.
    for fate in [Fate::Fails, Fate::LosesAnswer] {
        for write in 0..4 {
            let writes = AtomicUsize::new(0);
            let breaks = move |call: &Call<'_>| {
                let is_write = !matches!(call.name, "store.read" | "store.query");
                let number = if is_write { writes.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
                if number == write { fate } else { Fate::Passes }
            };
            let broken = of(Intercepted::new(store.clone(), Arc::new(breaks)));
            if let Ok(made) = broken.create(&user, "Broken", 1, Scopes::ALL).await {
                let made = made.unwrap();
                assert!(sound.find(&made.secret).await.unwrap().is_ok());
            }
            // Whatever is listed can be ended, by who has a store that works.
            for listed in sound.list(&user).await.unwrap() {
                if listed.token.name == "Broken" {
                    broken.revoke(&user, &listed.token.id).await.ok();
                    assert!(
                        sound.revoke(&user, &listed.token.id).await.unwrap()
                            || sound.list(&user).await.unwrap().len() == 1
                    );
                }
            }
            let left: Vec<_> = sound.list(&user).await.unwrap().into_iter().map(|listed| listed.token.name).collect();
            assert_eq!(left, ["First"], "{fate:?} {write}");
        }
    }
}
