//! An identity provider as Google is one: signing keys at a URL, and tokens signed with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The OAuth client that tokens are for.
pub const CLIENT_ID: &str = "pluckit-tests.apps.googleusercontent.com";

/// The key that [`Google`] starts with.
pub const FIRST: &str = include_str!("keys/provider.pem");
/// A key that a provider may change to.
pub const NEXT: &str = include_str!("keys/next.pem");
/// A key that no provider has published.
pub const STRANGE: &str = include_str!("keys/stranger.pem");

/// A signing key.
pub struct Key {
    pub id: &'static str,
    pair: KeyPair,
    jwk: Value,
}

impl Key {
    pub fn new(id: &'static str, pem: &str) -> Self {
        let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let pair = KeyPair::from_pkcs8(&STANDARD.decode(lines).unwrap()).unwrap();
        let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": id, "n": number(&n), "e": number(&e)});
        Self { id, pair, jwk }
    }

    /// A token whose header names no key.
    pub fn sign_without_id(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({"alg": "RS256", "typ": "JWT"}), claims)
    }

    /// A token with these claims, signed with this key.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as("RS256", claims)
    }

    /// A token with these claims, signed by another algorithm. HS256 takes the public key for its secret, as a forger
    /// would.
    pub fn sign_as(&self, algorithm: &str, claims: &Value) -> String {
        self.sign_with_header(&json!({"alg": algorithm, "typ": "JWT", "kid": self.id}), claims)
    }

    fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.pair.public().modulus_len()];
            self.pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
            signature
        };
        let signature = match header["alg"].as_str().unwrap() {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "HS256" => {
                let secret = pem("RSA PUBLIC KEY", self.pair.public().as_ref());
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes()).as_ref().to_vec()
            }
            other => panic!("no such algorithm: {other}"),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The provider.
pub struct Google {
    pub key: Key,
    pub url: String,
    /// What its description calls it.
    pub issuer: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    set: std::sync::Mutex<Value>,
    cache_control: std::sync::Mutex<String>,
    down: AtomicBool,
    hanging: AtomicBool,
    fetches: AtomicUsize,
    descriptions: AtomicUsize,
}

impl Google {
    #[expect(clippy::disallowed_methods, reason = "this server is not part of the service")]
    pub async fn start() -> Self {
        let key = Key::new("key-1", FIRST);
        let shared = Arc::new(Shared {
            // A set has keys of other kinds, too.
            set:
                json!({"keys": [key.jwk, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "ec"}, {"odd": 1}]})
                    .into(),
            cache_control: "public, max-age=3600".to_owned().into(),
            down: AtomicBool::new(false),
            hanging: AtomicBool::new(false),
            fetches: AtomicUsize::new(0),
            descriptions: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let url = format!("{issuer}/certs");
        let description = json!({"issuer": issuer, "jwks_uri": url}).to_string();
        let counted = shared.clone();
        let describe = async move || {
            counted.descriptions.fetch_add(1, Ordering::SeqCst);
            ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=3600")], description.clone())
        };
        let router = Router::new()
            .route("/certs", get(serve_keys))
            .with_state(shared.clone())
            .route("/.well-known/openid-configuration", get(describe));
        let server = tokio::task::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { key, url, issuer, shared, server }
    }

    /// Publishes one more key.
    pub fn rotate_in(&self, key: &Key) {
        self.shared.set.lock().unwrap()["keys"].as_array_mut().unwrap().push(key.jwk.clone());
    }

    /// Publishes this key and no other.
    pub fn publish_only(&self, key: &Key) {
        self.shared.set.lock().unwrap()["keys"] = json!([key.jwk]);
    }

    /// Publishes this key and no other, with another value of a field.
    pub fn publish_as(&self, key: &Key, field: &str, value: Value) {
        self.publish_only(key);
        self.shared.set.lock().unwrap()["keys"][0][field] = value;
    }

    /// Sets how long its keys may be cached.
    pub fn set_cache_control(&self, value: &str) {
        value.clone_into(&mut self.shared.cache_control.lock().unwrap());
    }

    /// Pads the key set to this size in bytes.
    pub fn pad_to(&self, bytes: usize) {
        let mut set = self.shared.set.lock().unwrap();
        set["padding"] = json!("");
        let missing = bytes - set.to_string().len();
        set["padding"] = json!("x".repeat(missing));
    }

    /// How often its description was asked for.
    pub fn descriptions(&self) -> usize {
        self.shared.descriptions.load(Ordering::SeqCst)
    }

    /// Answers 500 from now on, or no longer.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    /// Takes requests for the keys and does not answer them from now on, or no longer.
    pub fn set_hanging(&self, hanging: bool) {
        self.shared.hanging.store(hanging, Ordering::SeqCst);
    }

    /// How often the keys were asked for.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Claims of a good token, for a service whose clock shows `now` (seconds since 1970).
    pub fn claims(now: i64) -> Value {
        json!({
            "iss": "https://accounts.google.com", "aud": CLIENT_ID, "sub": "ada", "email": "ada@example.com",
            "iat": now, "exp": now + 3600,
        })
    }
}

impl Drop for Google {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve_keys(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    if shared.hanging.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    if shared.down.load(Ordering::SeqCst) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let set = shared.set.lock().unwrap().to_string();
    let cache_control = shared.cache_control.lock().unwrap().clone();
    ([(CONTENT_TYPE, "application/json".to_owned()), (CACHE_CONTROL, cache_control)], set).into_response()
}
