//! Public keys of an identity provider (a JSON Web Key Set), fetched once and kept.
//!
//! Forged key ids cannot make us hammer the provider: an unknown id refetches at most once a minute. A provider that is
//! down or slow costs nothing while there is a set: the last good one keeps serving. There is one fetch at a time, in a task of
//! its own with a limit; all who need its outcome wait for it together, and whoever hangs up does not end it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse};
use parking_lot::{Mutex, MutexGuard};
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

/// A set is kept at least this long, whatever its `Cache-Control` says.
const SHORTEST_LIFE: Duration = Duration::from_secs(5 * 60);
/// A set is kept at most this long.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Time between two fetches that an unknown key id, or a provider that is down, causes.
const REFETCH_INTERVAL: Duration = Duration::from_secs(60);
/// The same while there is no set at all, and so nobody can sign in.
const FIRST_FETCH_INTERVAL: Duration = Duration::from_secs(2);
/// Time for a fetch as a whole, the provider's description included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long past its end a set serves while the next one is fetched. An older one serves only if that fails.
const STALE_LIFE: Duration = Duration::from_secs(60 * 60);
const LARGEST_SET_BYTES: usize = 512 * 1024;

/// Why there is no set of keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The provider cannot be reached.
    #[error("the signing keys could not be fetched")]
    Unreachable(#[source] reqwest::Error),
    /// What it answered is not a set of keys.
    #[error("the answer is not a set of signing keys")]
    Unreadable(#[source] serde_json::Error),
    /// It answers more than any set needs.
    #[error("the answer has more than {LARGEST_SET_BYTES} bytes")]
    TooLong,
    /// The provider is not the one that was configured, or its keys are elsewhere than they may be.
    #[error("the provider's description does not fit")]
    Mismatch,
    /// The provider takes too long to answer.
    #[error("the signing keys did not come within {} s", FETCH_TIMEOUT.as_secs())]
    TimedOut,
    /// It failed a moment ago; not asked again yet.
    #[error("the signing keys could not be fetched a moment ago")]
    FailedRecently,
}

/// Where keys are.
enum Place {
    At(Url),
    /// Where the description of this issuer says.
    /// <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig>
    Described(String),
}

/// The keys of one provider.
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
    /// The fetch that is under way.
    fetch: Option<Shared<BoxFuture<'static, ()>>>,
    /// When the last fetch ended.
    fetched_at: Option<Instant>,
}

struct Keys {
    by_id: HashMap<String, Arc<DecodingKey>>,
    /// The key of a set that has no other.
    only: Option<Arc<DecodingKey>>,
    fresh_until: Instant,
}

impl KeySet {
    /// The keys at `url`; nothing is fetched before the first token.
    pub fn new(url: Url, http: reqwest::Client, clock: Arc<dyn Clock>, tasks: TaskTracker) -> Self {
        Self::of(Place::At(url), http, clock, tasks)
    }

    /// The keys that this issuer describes. The description is fetched with the keys, and kept as long.
    pub fn of_issuer(issuer: &str, http: reqwest::Client, clock: Arc<dyn Clock>, tasks: TaskTracker) -> Self {
        Self::of(Place::Described(issuer.to_owned()), http, clock, tasks)
    }

    fn of(place: Place, http: reqwest::Client, clock: Arc<dyn Clock>, tasks: TaskTracker) -> Self {
        Self(Arc::new(Inner { place, http, clock, tasks, state: Mutex::default() }))
    }

    /// The RSA key with this id, or without an id the only key there is; `None` if the provider has no such key.
    ///
    /// # Errors
    /// When there is no set, not even an old one.
    pub async fn find(&self, id: Option<&str>) -> Result<Option<Arc<DecodingKey>>, Error> {
        let fetch = {
            let mut state = self.0.state();
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
        match &self.0.state().keys {
            Some(keys) => Ok(keys.find(id)),
            None => Err(Error::FailedRecently),
        }
    }
}

impl Inner {
    /// The fetch that is under way, or a new one if the last one was long enough ago.
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
        // It ends early when the runtime goes down, and nobody waits any more.
        let fetch = task.map(drop).boxed().shared();
        state.fetch = Some(fetch.clone());
        Some(fetch)
    }

    async fn fetch_and_keep(&self) {
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch()).await.unwrap_or(Err(Error::TimedOut));
        let mut state = self.state();
        state.fetch = None;
        state.fetched_at = Some(self.clock.instant());
        match fetched {
            Ok(keys) => state.keys = Some(keys),
            Err(error) => {
                warn!(error = %Chain(&error), has_old_keys = state.keys.is_some(), "signing keys not fetched")
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
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

    /// Where the issuer says that its keys are, and for how long.
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
        // As safe as the description itself, or safer.
        if !is_named || (jwks_uri.scheme() != "https" && jwks_uri.scheme() != place.scheme()) {
            return Err(Error::Mismatch);
        }
        Ok((jwks_uri, life))
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

impl Keys {
    fn find(&self, id: Option<&str>) -> Option<Arc<DecodingKey>> {
        match id {
            Some(id) => self.by_id.get(id).cloned(),
            None => self.only.clone(),
        }
    }
}

/// An RSA key that signs, with its id if it has one. Other keys in the set are none of our business.
fn rsa_key(value: Value) -> Option<(Option<String>, Arc<DecodingKey>)> {
    let key: Jwk = serde_json::from_value(value).ok()?;
    let signs = key.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let rs256 = key.common.key_algorithm.is_none_or(|algorithm| algorithm == KeyAlgorithm::RS256);
    let rsa = matches!(key.algorithm, AlgorithmParameters::RSA(_));
    let decoding = if signs && rs256 && rsa { DecodingKey::from_jwk(&key).ok()? } else { return None };
    Some((key.common.key_id, Arc::new(decoding)))
}

fn max_age(cache_control: &str) -> Option<Duration> {
    let directive = cache_control.split(',').find_map(|directive| directive.trim().strip_prefix("max-age="))?;
    directive.parse().ok().map(Duration::from_secs)
}
