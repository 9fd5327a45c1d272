//! Public keys of an identity provider (a JSON Web Key Set), fetched once and kept.
//!
//! Forged key ids cannot make us hammer the provider: an unknown id refetches at most once a minute. A provider that is
//! down costs nothing while there is a set: the last good one keeps serving.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse};
use reqwest::header::CACHE_CONTROL;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tracing::warn;
use url::Url;

use crate::clock::Clock;
use crate::telemetry::Chain;

/// A set is kept at least this long, whatever its `Cache-Control` says.
const SHORTEST_LIFE: Duration = Duration::from_secs(5 * 60);
/// A set is kept at most this long.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Time between two fetches that an unknown key id, or a provider that is down, causes.
const REFETCH_INTERVAL: Duration = Duration::from_secs(60);
/// The same while there is no set at all, and so nobody can sign in.
const FIRST_FETCH_INTERVAL: Duration = Duration::from_secs(2);
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
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
pub struct KeySet {
    place: Place,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    keys: RwLock<Option<Keys>>,
    /// When the provider was asked last; held while it is asked, so that many callers ask once.
    last_fetch: Mutex<Option<OffsetDateTime>>,
}

struct Keys {
    by_id: HashMap<String, Arc<DecodingKey>>,
    /// The key of a set that has no other.
    only: Option<Arc<DecodingKey>>,
    fresh_until: OffsetDateTime,
}

impl KeySet {
    /// The keys at `url`; nothing is fetched before the first token.
    pub fn new(url: Url, http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self::of(Place::At(url), http, clock)
    }

    /// The keys that this issuer describes. The description is fetched with the keys, and kept as long.
    pub fn of_issuer(issuer: &str, http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self::of(Place::Described(issuer.to_owned()), http, clock)
    }

    fn of(place: Place, http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self { place, http, clock, keys: RwLock::new(None), last_fetch: Mutex::new(None) }
    }

    /// The RSA key with this id, or without an id the only key there is; `None` if the provider has no such key.
    ///
    /// # Errors
    /// When there is no set, not even an old one.
    pub async fn find(&self, id: Option<&str>) -> Result<Option<Arc<DecodingKey>>, Error> {
        if let Kept::Fresh(Some(key)) = self.look_up(id) {
            return Ok(Some(key));
        }
        let mut last_fetch = self.last_fetch.lock().await;
        // Somebody else may have fetched while we waited.
        let kept = self.look_up(id);
        if let Kept::Fresh(Some(key)) = kept {
            return Ok(Some(key));
        }
        let now = self.clock.now();
        let interval = if matches!(kept, Kept::Nothing) { FIRST_FETCH_INTERVAL } else { REFETCH_INTERVAL };
        if last_fetch.is_some_and(|at| now - at < interval) {
            return kept.into_key().ok_or(Error::FailedRecently);
        }
        *last_fetch = Some(now);
        match self.fetch().await {
            Ok(keys) => *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys),
            Err(error) if matches!(kept, Kept::Nothing) => return Err(error),
            Err(error) => {
                warn!(error = %Chain(&error), "signing keys not refreshed, the old ones serve")
            }
        }
        Ok(self.look_up(id).into_key().flatten())
    }

    fn look_up(&self, id: Option<&str>) -> Kept {
        match &*self.keys.read().unwrap_or_else(PoisonError::into_inner) {
            None => Kept::Nothing,
            Some(keys) if self.clock.now() < keys.fresh_until => Kept::Fresh(keys.find(id)),
            Some(keys) => Kept::Stale(keys.find(id)),
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
        let fresh_until = self.clock.now() + life.min(described_for);
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
        let request = self.http.get(url).timeout(FETCH_TIMEOUT);
        let mut response =
            request.send().await.and_then(reqwest::Response::error_for_status).map_err(Error::Unreachable)?;
        let life = response.headers().get(CACHE_CONTROL).and_then(|value| max_age(value.to_str().ok()?));
        let life = life.unwrap_or(SHORTEST_LIFE).clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Error::Unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_SET_BYTES {
                return Err(Error::TooLong);
            }
        }
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

/// What is known of a key id.
enum Kept {
    Nothing,
    Fresh(Option<Arc<DecodingKey>>),
    Stale(Option<Arc<DecodingKey>>),
}

impl Kept {
    /// The answer that the set gives, if there is a set.
    fn into_key(self) -> Option<Option<Arc<DecodingKey>>> {
        match self {
            Self::Nothing => None,
            Self::Fresh(key) | Self::Stale(key) => Some(key),
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
