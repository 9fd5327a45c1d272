//! Sessions: pairs of an access token (half an hour) and a single-use refresh token (30 days).
//!
//! Only SHA-256 hashes of tokens are stored. A refresh retires the old session and saves its successor in one atomic
//! write, so of many concurrent refreshes exactly one succeeds. A refresh token that is used again long after it was
//! spent was stolen from somebody, so the whole family of sessions that descends from that sign-in ends.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::TryStreamExt;
use serde_json::Map;
use tracing::{info, warn};
use uuid::Uuid;

use crate::cache::ExpiringCache;
use crate::clock::Clock;
use crate::data::sessions::Sessions;
use crate::data::{self, Result};
use crate::hash::sha256_hex;
use crate::model::ids::{FamilyId, SessionId, UserId};
use crate::model::session::Session;
use crate::model::timestamp::Timestamp;
use crate::telemetry::metrics::Metrics;

/// Life of an access token.
pub const ACCESS_LIFE: Duration = Duration::from_secs(30 * 60);
/// Life of a refresh token.
pub const REFRESH_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A spent refresh token that comes again within this time is a client's retry, not a theft.
const REUSE_GRACE: Duration = Duration::from_secs(30);
/// How long the store keeps a session after its refresh token expired.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a look-up is believed: a revocation on another instance takes effect within this time.
const CACHE_LIFE: Duration = Duration::from_secs(30);
const CACHED_SESSIONS: usize = 10_000;
/// Walks over a user's sessions until none is live: each further one catches a refresh that raced with the one before.
const REVOKE_PASSES: usize = 5;
/// Ours have 46 characters.
const LONGEST_TOKEN_BYTES: usize = 256;

const ACCESS_PREFIX: &str = "at-";
const REFRESH_PREFIX: &str = "rt-";

/// A fresh pair of tokens. `Debug` is left out, so that they cannot reach a log.
pub struct Grant {
    /// Whose they are.
    pub user: UserId,
    /// Sent with every request.
    pub access_token: String,
    /// When it ends.
    pub access_token_expires_at: Timestamp,
    /// Exchanged, once, for the next pair.
    pub refresh_token: String,
    /// When it ends.
    pub refresh_token_expires_at: Timestamp,
}

/// Opens, refreshes, checks and ends sessions.
pub struct SessionService {
    sessions: Sessions,
    clock: Arc<dyn Clock>,
    /// By hash of the access token: whose it is and when it ends.
    known: ExpiringCache<String, (UserId, Timestamp)>,
    /// Counts revocations, so that a look-up that began before one is not kept after it.
    revocations: AtomicU64,
}

impl SessionService {
    /// Keeps its sessions in `sessions`.
    pub fn new(sessions: Sessions, clock: Arc<dyn Clock>) -> Self {
        let known = ExpiringCache::new(CACHED_SESSIONS, CACHE_LIFE, clock.clone());
        Self { sessions, clock, known, revocations: AtomicU64::new(0) }
    }

    /// Notes in metrics how often a token was known already.
    pub fn watched(self, metrics: Metrics) -> Self {
        Self { known: self.known.watched("sessions", metrics), ..self }
    }

    /// Whether a bearer token claims to be one of ours.
    pub fn is_access_token(token: &str) -> bool {
        token.starts_with(ACCESS_PREFIX)
    }

    /// Signs a user in.
    pub async fn open(&self, user: UserId) -> Result<Grant> {
        let now = self.now();
        let id = new_session_id();
        let family = FamilyId::from(id.as_str());
        let (session, grant) = new_session(id, user, family, None, now);
        self.sessions.create(&session).await?;
        Ok(grant)
    }

    /// Whose access token this is; `None` if it is unknown, expired or revoked.
    pub async fn find_user(&self, access_token: &str) -> Result<Option<UserId>> {
        if access_token.len() > LONGEST_TOKEN_BYTES {
            return Ok(None);
        }
        let hash = sha256_hex(access_token);
        let now = self.now();
        if let Some((user, expires_at)) = self.known.get(hash.as_str()) {
            return Ok((expires_at >= now).then_some(user));
        }
        let revocations = self.revocations.load(Ordering::Acquire);
        let Some(session) = self.sessions.find_by_access_hash(&hash).await? else { return Ok(None) };
        if session.revoked || session.access_token_expires_at < now {
            return Ok(None);
        }
        if self.revocations.load(Ordering::Acquire) == revocations {
            self.known.insert(hash, (session.user_id.clone(), session.access_token_expires_at));
        }
        Ok(Some(session.user_id))
    }

    /// Exchanges a refresh token for the next pair; `None` if it is unknown, expired, spent or revoked.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Option<Grant>> {
        let Some((session, etag)) = self.find_by_refresh_token(refresh_token).await? else { return Ok(None) };
        let now = self.now();
        if session.revoked {
            let spent_long_ago = session.rotated_at.is_some_and(|at| now > at + REUSE_GRACE);
            if spent_long_ago {
                warn!(user.id = %session.user_id, "refresh token used again, its family is revoked");
                self.revoke_live(&session.user_id, Some(&session.family())).await?;
            }
            return Ok(None);
        }
        if session.refresh_token_expires_at < now {
            self.revoke_session(&session).await?;
            return Ok(None);
        }
        let family = session.family();
        let previous = Some(session.refresh_token_hash.clone());
        let (successor, grant) = new_session(new_session_id(), session.user_id.clone(), family, previous, now);
        let mut retired = session;
        retire(&mut retired, now);
        retired.rotated_at = Some(now);
        retired.replaced_with_refresh_token_hash = Some(successor.refresh_token_hash.clone());
        let won = self.sessions.rotate(&retired, etag, &successor).await?;
        self.forget(&retired);
        Ok(won.then_some(grant))
    }

    /// Ends every session of the user whose refresh token this is. False if nobody knows it.
    pub async fn revoke_by_token(&self, refresh_token: &str) -> Result<bool> {
        let Some((session, _)) = self.find_by_refresh_token(refresh_token).await? else { return Ok(false) };
        self.revoke_session(&session).await?;
        self.revoke_user(&session.user_id).await?;
        Ok(true)
    }

    /// Ends every session of a user.
    pub async fn revoke_user(&self, user: &UserId) -> Result<()> {
        let ended = self.revoke_live(user, None).await?;
        info!(user.id = %user, sessions = ended, "sessions revoked");
        Ok(())
    }

    async fn find_by_refresh_token(&self, token: &str) -> Result<Option<(Session, crate::store::ETag)>> {
        if token.len() > LONGEST_TOKEN_BYTES {
            return Ok(None);
        }
        self.sessions.find_by_refresh_hash(&sha256_hex(token)).await
    }

    async fn revoke_live(&self, user: &UserId, family: Option<&FamilyId>) -> Result<usize> {
        let mut ended = 0;
        for _ in 0..REVOKE_PASSES {
            let before = ended;
            let mut live = pin!(self.sessions.live(user, family));
            while let Some(session) = live.try_next().await? {
                self.revoke_session(&session).await?;
                ended += 1;
            }
            if ended == before {
                return Ok(ended);
            }
        }
        // Somebody refreshes faster than we revoke.
        Err(data::Error::Contended)
    }

    async fn revoke_session(&self, session: &Session) -> Result<()> {
        let now = self.now();
        self.sessions
            .edit(session, |session| {
                if !session.revoked {
                    retire(session, now);
                }
            })
            .await?;
        self.forget(session);
        Ok(())
    }

    fn forget(&self, session: &Session) {
        self.revocations.fetch_add(1, Ordering::AcqRel);
        self.known.remove(session.access_token_hash.as_str());
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

fn retire(session: &mut Session, now: Timestamp) {
    session.revoked = true;
    session.revoked_at = Some(now);
    session.ttl = Some(time_to_live(session.refresh_token_expires_at, now));
}

/// Seconds from `now` until the store may forget a session.
fn time_to_live(refresh_token_expires_at: Timestamp, now: Timestamp) -> i64 {
    ((refresh_token_expires_at + KEPT_AFTER_EXPIRY).get() - now.get()).whole_seconds().max(1)
}

fn new_session_id() -> SessionId {
    SessionId::from(Uuid::new_v4().to_string())
}

fn new_session(
    id: SessionId,
    user: UserId,
    family: FamilyId,
    previous_refresh_token_hash: Option<String>,
    now: Timestamp,
) -> (Session, Grant) {
    let grant = Grant {
        user: user.clone(),
        access_token: random_token(ACCESS_PREFIX),
        access_token_expires_at: now + ACCESS_LIFE,
        refresh_token: random_token(REFRESH_PREFIX),
        refresh_token_expires_at: now + REFRESH_LIFE,
    };
    let session = Session {
        id,
        user_id: user,
        access_token_hash: sha256_hex(&grant.access_token),
        access_token_expires_at: grant.access_token_expires_at,
        refresh_token_hash: sha256_hex(&grant.refresh_token),
        refresh_token_expires_at: grant.refresh_token_expires_at,
        issued_at: now,
        previous_refresh_token_hash,
        revoked: false,
        revoked_at: None,
        revoked_on_logout: true,
        token_rotation: "single-use".into(),
        replaced_with_refresh_token_hash: None,
        family_id: Some(family),
        rotated_at: None,
        ttl: Some(time_to_live(grant.refresh_token_expires_at, now)),
        other: Map::new(),
    };
    (session, grant)
}

/// 256 bits that nobody can guess.
fn random_token(prefix: &str) -> String {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
}
