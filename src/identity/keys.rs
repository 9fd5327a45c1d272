//! Public keys of an identity provider (a JSON Web Key Set), fetched and cached.
//!
//! An unknown key id triggers at most one fetch a minute, so forged ids cannot flood the provider. While the provider
//! is down, the last good set stays in use. One fetch runs at a time, in a separate task with a time limit; all callers
//! that need it share its outcome, and a cancelled caller does not cancel it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse};
use parking_lot::Mutex;
use reqwest::header::CACHE_CONTROL;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, warn};
use url::Url;

use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::net;

/// Shortest lifetime of a set, whatever its `Cache-Control` says.
const SHORTEST_LIFE: Duration = Duration::from_secs(5 * 60);
/// Longest lifetime of a set.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Interval between fetches caused by unknown key ids or a failing provider.
const REFETCH_INTERVAL: Duration = Duration::from_secs(60);
/// Interval between fetches while there is no set and sign-in is impossible.
const FIRST_FETCH_INTERVAL: Duration = Duration::from_secs(2);
/// Time limit of a fetch, including the provider's discovery document.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an expired set is used while the next one is fetched. An older set is used only if that fails.
const STALE_LIFE: Duration = Duration::from_secs(60 * 60);
const LARGEST_SET_BYTES: usize = 512 * 1024;

/// Why no key set is available.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The provider cannot be reached.
    #[error("the signing keys could not be fetched")]
    Unreachable(#[source] reqwest::Error),
    /// The answer is not a key set.
    #[error("the answer is not a set of signing keys")]
    Unreadable(#[source] serde_json::Error),
    /// The answer is too long.
    #[error("the answer has more than {LARGEST_SET_BYTES} bytes")]
    TooLong,
    /// The discovery document is for another issuer, or its keys are in a place that is not allowed.
    #[error("the identity provider's metadata is not valid")]
    Mismatch,
    /// The provider did not answer in time.
    #[error("the signing keys did not arrive within {} s", FETCH_TIMEOUT.as_secs())]
    TimedOut,
    /// The last fetch failed, and it is too early for another one.
    #[error("the signing keys could not be fetched a moment ago")]
    FailedRecently,
}

/// Location of the keys.
enum Place {
    At(Url),
    /// At the URL in the issuer's discovery document.
    /// <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig>
    Described(String),
}

/// Keys of one provider.
pub struct KeySet(Arc<Inner>);

struct Inner {
    place: Place,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Keys>,
    /// The fetch in progress.
    fetch: Option<Shared<BoxFuture<'static, ()>>>,
    /// End of the last fetch.
    fetched_at: Option<Instant>,
}

struct Keys {
    by_id: HashMap<String, Arc<DecodingKey>>,
    /// The key, if the set has only one.
    only: Option<Arc<DecodingKey>>,
    fresh_until: Instant,
}

impl KeySet {
    /// Creates a set of the keys at `url`; nothing is fetched before the first token.
    pub fn new(url: Url, http: reqwest::Client, clock: Arc<dyn Clock>, tasks: TaskTracker) -> Self {
        Self::of(Place::At(url), http, clock, tasks)
    }

    /// Creates a set of the keys in the issuer's discovery document, which is fetched and cached with them.
    pub fn of_issuer(issuer: &str, http: reqwest::Client, clock: Arc<dyn Clock>, tasks: TaskTracker) -> Self {
        Self::of(Place::Described(issuer.to_owned()), http, clock, tasks)
    }

    fn of(place: Place, http: reqwest::Client, clock: Arc<dyn Clock>, tasks: TaskTracker) -> Self {
        Self(Arc::new(Inner { place, http, clock, tasks, state: Mutex::default() }))
    }

    /// Finds an RSA key by id or, without an id, the only key; `None` if the provider has no such key.
    ///
    /// # Errors
    /// When no set is available, not even an old one.
    pub async fn find(&self, id: Option<&str>) -> Result<Option<Arc<DecodingKey>>, Error> {
        let fetch = {
            let mut state = self.0.state.lock();
            let now = self.0.clock.instant();
            let age = state.keys.as_ref().map(|keys| now.saturating_duration_since(keys.fresh_until));
            let key = state.keys.as_ref().and_then(|keys| keys.find(id));
            if let (Some(Duration::ZERO), Some(key)) = (age, &key) {
                return Ok(Some(key.clone()));
            }
            let fetch = self.0.begin_fetch(&mut state, now);
            match (fetch, key) {
                (_, Some(key)) if age.is_some_and(|age| age < STALE_LIFE) => return Ok(Some(key)),
                (None, key) if state.keys.is_some() => return Ok(key),
                (None, _) => return Err(Error::FailedRecently),
                (Some(fetch), _) => fetch,
            }
        };
        fetch.await;
        match &self.0.state.lock().keys {
            Some(keys) => Ok(keys.find(id)),
            None => Err(Error::FailedRecently),
        }
    }
}

impl Inner {
    /// Returns the fetch in progress, or starts one if the last one was long enough ago.
    fn begin_fetch(self: &Arc<Self>, state: &mut State, now: Instant) -> Option<Shared<BoxFuture<'static, ()>>> {
        if let Some(fetch) = &state.fetch {
            return Some(fetch.clone());
        }
        let interval = if state.keys.is_none() { FIRST_FETCH_INTERVAL } else { REFETCH_INTERVAL };
        if state.fetched_at.is_some_and(|at| now.saturating_duration_since(at) < interval) {
            return None;
        }
        let inner = self.clone();
        let task = self.tasks.spawn(async move { inner.fetch_and_keep().await }.in_current_span());
        // The task fails only if it panicked or the runtime shuts down.
        let fetch = task.map(drop).boxed().shared();
        state.fetch = Some(fetch.clone());
        Some(fetch)
    }

    async fn fetch_and_keep(&self) {
        let _fetching = Fetching(self);
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch()).await.unwrap_or(Err(Error::TimedOut));
        let mut state = self.state.lock();
        match fetched {
            Ok(keys) => state.keys = Some(keys),
            Err(error) => {
                warn!(error = %Chain(&error), has_old_keys = state.keys.is_some(), "signing keys not fetched")
            }
        }
    }

    async fn fetch(&self) -> Result<Keys, Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let (url, described_for) = match &self.place {
            Place::At(url) => (url.clone(), LONGEST_LIFE),
            Place::Described(issuer) => self.find_keys(issuer).await?,
        };
        let (set, life): (Set, _) = self.get(url).await?;
        let fresh_until = self.clock.instant() + life.min(described_for);
        let is_only = set.keys.len() == 1;
        let keys: Vec<_> = set.keys.into_iter().filter_map(rsa_key).collect();
        let only = keys.first().filter(|_| is_only).map(|(_, key)| key.clone());
        let by_id = keys.into_iter().filter_map(|(id, key)| Some((id?, key))).collect();
        Ok(Keys { by_id, only, fresh_until })
    }

    /// Fetches the issuer's discovery document; returns the URL of the keys and its lifetime.
    async fn find_keys(&self, issuer: &str) -> Result<(Url, Duration), Error> {
        #[derive(Deserialize)]
        struct Description {
            issuer: String,
            jwks_uri: String,
        }
        let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let place = Url::parse(&place).map_err(|_| Error::Mismatch)?;
        let (Description { issuer: named, jwks_uri }, life) = self.get(place.clone()).await?;
        let jwks_uri = Url::parse(&jwks_uri).map_err(|_| Error::Mismatch)?;
        let is_named = named.trim_end_matches('/') == issuer.trim_end_matches('/');
        if is_named && is_as_secure(&jwks_uri, &place) { Ok((jwks_uri, life)) } else { Err(Error::Mismatch) }
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<(T, Duration), Error> {
        let response = self
            .http
            .get(url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(Error::Unreachable)?;
        let life = response.headers().get(CACHE_CONTROL).and_then(|value| max_age(value.to_str().ok()?));
        let life = life.unwrap_or(SHORTEST_LIFE).clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let body = net::read_at_most(response, LARGEST_SET_BYTES).await.map_err(Error::Unreachable)?;
        let body = body.ok_or(Error::TooLong)?;
        Ok((serde_json::from_slice(&body).map_err(Error::Unreadable)?, life))
    }
}

/// Notes the end of a fetch when it is dropped, so that a panic does not prevent later fetches.
struct Fetching<'a>(&'a Inner);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let now = self.0.clock.instant();
        let mut state = self.0.state.lock();
        state.fetch = None;
        state.fetched_at = Some(now);
    }
}

impl Keys {
    fn find(&self, id: Option<&str>) -> Option<Arc<DecodingKey>> {
        match id {
            Some(id) => self.by_id.get(id).cloned(),
            None => self.only.clone(),
        }
    }
}

/// Reads an RSA signing key and its optional id; other keys are skipped.
fn rsa_key(value: Value) -> Option<(Option<String>, Arc<DecodingKey>)> {
    let key: Jwk = serde_json::from_value(value).ok()?;
    let signs = key.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let rs256 = key.common.key_algorithm.is_none_or(|algorithm| algorithm == KeyAlgorithm::RS256);
    let rsa = matches!(key.algorithm, AlgorithmParameters::RSA(_));
    let decoding = if signs && rs256 && rsa { DecodingKey::from_jwk(&key).ok()? } else { return None };
    Some((key.common.key_id, Arc::new(decoding)))
}

/// Whether the keys are fetched at least as securely as the discovery document that names their URL.
fn is_as_secure(keys: &Url, document: &Url) -> bool {
    keys.scheme() == "https" || keys.scheme() == document.scheme()
}

fn max_age(cache_control: &str) -> Option<Duration> {
    let directive = cache_control.split(',').find_map(|directive| directive.trim().strip_prefix("max-age="))?;
    directive.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_as_securely_as_their_description() {
        for (keys, document, expected) in [
            ("https://login.example/keys", "https://login.example", true),
            ("https://login.example/keys", "http://127.0.0.1:8080", true),
            ("http://127.0.0.1:8080/keys", "http://127.0.0.1:8080", true),
            ("http://login.example/keys", "https://login.example", false),
        ] {
            let url = |text: &str| Url::parse(text).unwrap();
            assert_eq!(is_as_secure(&url(keys), &url(document)), expected, "{keys} {document}");
        }
    }
}
