//! Sessions: pairs of an access token (valid for half an hour) and a single-use refresh token (30 days).
//!
//! Only SHA-256 hashes of tokens are stored. A refresh retires the old session and saves its successor in one atomic
//! write, so exactly one of many concurrent refreshes succeeds. If a spent refresh token is presented again and the new
//! pair has not been used, the client never received that pair and gets another one. Otherwise the token was stolen,
//! and all sessions that descend from that sign-in end. A token contains its session id: `at-<user>.<session and
//! secret>`, both parts in base64url, so a point read finds the session. Sessions of older versions and other services
//! are found by the token's hash.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::TryStreamExt;
use serde_json::Map;
use tracing::{info, warn};
use uuid::Uuid;

use super::credential_cache::CredentialCache;
use super::{Checked, Refusal};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::base::hash::sha256_hex;
use crate::data::sessions::Sessions;
use crate::data::{self, Result};
use crate::model::ids::{FamilyId, SessionId, UserId};
use crate::model::session::Session;
use crate::model::timestamp::Timestamp;
use crate::store::ETag;
use crate::telemetry::metrics::Metrics;

/// Lifetime of an access token.
pub const ACCESS_LIFE: Duration = Duration::from_secs(30 * 60);
/// Lifetime of a refresh token.
pub const REFRESH_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A spent refresh token presented again within this time was sent twice by its client.
const RACE: Duration = Duration::from_secs(5);
/// A spent refresh token presented again within this time, without a lost answer to explain it, is rejected without
/// further consequences.
const REUSE_GRACE: Duration = Duration::from_secs(30);
/// How long the answer to a refresh may count as lost while its tokens are unused.
const RECOVERY: Duration = Duration::from_secs(10 * 60);
/// Shortest interval between two exchanges of the same spent refresh token.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(1);
/// Most sessions per user.
const MOST_SESSIONS: usize = 50;
/// How long the store keeps a session that ended because the user had too many, in seconds.
const KEPT_SURPLUS_SECONDS: i64 = 24 * 60 * 60;
/// How long the store keeps a session after its refresh token expired.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Passes over a user's sessions until none is live; later ones catch refreshes that raced with earlier ones.
const REVOKE_PASSES: usize = 5;
/// Longest token: a user id of 255 bytes in base64url, and the rest.
const LONGEST_TOKEN_BYTES: usize = 512;

const ACCESS_PREFIX: &str = "at-";
const REFRESH_PREFIX: &str = "rt-";

/// A new token pair. Does not implement `Debug`, so that tokens cannot reach a log.
pub struct Grant {
    /// Owner of the session.
    pub user: UserId,
    /// Access token, sent with every request.
    pub access_token: String,
    /// Expiry of the access token.
    pub access_token_expires_at: Timestamp,
    /// Refresh token, exchanged once for the next pair.
    pub refresh_token: String,
    /// Expiry of the refresh token.
    pub refresh_token_expires_at: Timestamp,
}

/// Opens, refreshes, verifies and ends sessions.
pub struct SessionService {
    sessions: Sessions,
    clock: Arc<dyn Clock>,
    /// Access tokens that were checked: user and expiry.
    checked: CredentialCache<(UserId, Timestamp)>,
}

impl SessionService {
    /// Creates a service that stores its sessions in `sessions`.
    pub fn new(sessions: Sessions, clock: Arc<dyn Clock>) -> Self {
        Self { sessions, checked: CredentialCache::new(&clock), clock }
    }

    /// Records cache hits and misses in metrics.
    pub fn watched(self, metrics: &Metrics) -> Self {
        Self { checked: self.checked.watched(metrics, "sessions"), ..self }
    }

    /// Whether a bearer token has the form of our access tokens.
    pub fn is_access_token(token: &str) -> bool {
        token.starts_with(ACCESS_PREFIX)
    }

    /// Signs a user in. The oldest sessions beyond the maximum end.
    pub async fn open(&self, user: UserId) -> Result<Grant> {
        let now = self.now();
        let id = Uuid::new_v4();
        let family = FamilyId::from(id.to_string());
        let (session, grant) = new_session(id, user, family, None, now);
        self.sessions.create(&session).await?;
        if let Err(error) = self.end_surplus(&session).await {
            warn!(user.id = %session.user_id, error = %Chain(&error), "surplus sessions not ended");
        }
        Ok(grant)
    }

    /// Ends the oldest sessions of a user beyond the maximum, except the new one.
    async fn end_surplus(&self, new: &Session) -> Result<()> {
        let now = self.now();
        let live: Vec<Session> = self.sessions.live(&new.user_id, None).try_collect().await?;
        let mut live: Vec<_> = live
            .into_iter()
            .filter(|session| session.refresh_token_expires_at >= now && session.id != new.id)
            .collect();
        let surplus = (live.len() + 1).saturating_sub(MOST_SESSIONS);
        if surplus > 0 {
            live.sort_by_key(|session| session.issued_at);
            for session in &live[..surplus] {
                self.end(session, |session| session.ttl = Some(KEPT_SURPLUS_SECONDS)).await?;
            }
            info!(user.id = %new.user_id, sessions = surplus, "surplus sessions ended");
        }
        Ok(())
    }

    /// Returns the user of a cached access token that is still valid.
    pub fn known_user(&self, access_token: &str) -> Option<UserId> {
        if !Self::is_access_token(access_token) {
            return None;
        }
        let (user, expires_at) = self.checked.find(&hash_of(access_token)?)?;
        (expires_at >= self.now()).then_some(user)
    }

    /// Returns the user of an access token, or why it is refused.
    pub async fn find_user(&self, access_token: &str) -> Result<Checked<UserId>> {
        if let Some(user) = self.known_user(access_token) {
            return Ok(Ok(user));
        }
        let Some(hash) = hash_of(access_token) else { return Ok(Err(Refusal("token_malformed"))) };
        if let Some(refusal) = self.checked.refusal(&hash) {
            return Ok(Err(refusal));
        }
        let look_up = self.checked.look_up();
        let found = match session_named_by(access_token, ACCESS_PREFIX) {
            Some((user, id)) => self.sessions.find(&user, &id).await?,
            None => self.sessions.find_by_access_hash(&hash).await?,
        };
        let now = self.now();
        let check = |session: Option<Session>| match session {
            None => Err(Refusal("session_unknown")),
            Some(session) if session.access_token_hash != hash => Err(Refusal("token_replaced")),
            Some(session) if session.revoked => Err(Refusal("session_revoked")),
            Some(session) if session.access_token_expires_at < now => Err(Refusal("token_expired")),
            Some(session) => Ok(session),
        };
        let session = match check(found.map(|(session, _)| session)) {
            Ok(session) => check(self.note_use(session).await?),
            Err(refusal) => Err(refusal),
        };
        let session = match session {
            Ok(session) => session,
            Err(refusal) => return Ok(Err(self.checked.refuse(hash, refusal))),
        };
        self.checked.remember(look_up, hash, (session.user_id.clone(), session.access_token_expires_at));
        Ok(Ok(session.user_id))
    }

    /// Records the first use of a pair that replaced another, if that matters. Returns the session; `None` if it is
    /// gone.
    async fn note_use(&self, session: Session) -> Result<Option<Session>> {
        let now = self.now();
        let may_be_lost = session.previous_refresh_token_hash.is_some() && now <= session.issued_at + RECOVERY;
        if !may_be_lost || session.first_used_at.is_some() {
            return Ok(Some(session));
        }
        self.sessions
            .edit(&session, |session| {
                if !session.revoked {
                    session.first_used_at.get_or_insert(now);
                }
            })
            .await
    }

    /// Exchanges a refresh token for the next pair; `None` if it is unknown, expired, spent or revoked.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Option<Grant>> {
        let Some((session, etag)) = self.find_by_refresh_token(refresh_token).await? else { return Ok(None) };
        let now = self.now();
        if session.revoked {
            return match session.rotated_at {
                Some(rotated_at) => self.refresh_again(session, etag, rotated_at).await,
                None => Ok(None),
            };
        }
        if session.refresh_token_expires_at < now {
            self.revoke_session(&session).await?;
            return Ok(None);
        }
        let mut retired = session;
        retire(&mut retired, now);
        retired.rotated_at = Some(now);
        self.replace(vec![(retired, etag)]).await
    }

    /// Handles a spent refresh token that is presented again.
    async fn refresh_again(&self, spent: Session, etag: ETag, rotated_at: Timestamp) -> Result<Option<Grant>> {
        let now = self.now();
        if now < rotated_at + RACE {
            return Ok(None);
        }
        if now <= rotated_at + RECOVERY
            && now <= spent.refresh_token_expires_at
            && let Some((mut unused, unused_etag)) = self.sessions.find_successor(&spent).await?
            && !unused.revoked
            && unused.first_used_at.is_none()
        {
            if spent.recovered_at.is_some_and(|at| now < at + RECOVERY_INTERVAL) {
                return Ok(None);
            }
            info!(user.id = %spent.user_id, "refresh repeated after a lost answer: new tokens issued");
            retire(&mut unused, now);
            let spent = Session { recovered_at: Some(now), ..spent };
            return self.replace(vec![(spent, etag), (unused, unused_etag)]).await;
        }
        if now > rotated_at + REUSE_GRACE {
            warn!(user.id = %spent.user_id, "refresh token used again, its family is revoked");
            self.revoke_live(&spent.user_id, Some(&spent.family())).await?;
        }
        Ok(None)
    }

    /// Saves these sessions and the successor of the first one; `None` if another request was first.
    async fn replace(&self, mut retired: Vec<(Session, ETag)>) -> Result<Option<Grant>> {
        let now = self.now();
        let (first, _) = &mut retired[0];
        let previous = Some(first.refresh_token_hash.clone());
        let (successor, grant) = new_session(Uuid::new_v4(), first.user_id.clone(), first.family(), previous, now);
        first.replaced_by_refresh_token_hash = Some(successor.refresh_token_hash.clone());
        let won = self.sessions.rotate(&retired, &successor).await?;
        for (session, _) in &retired {
            self.forget(session);
        }
        Ok(won.then_some(grant))
    }

    /// Ends every session of the owner of this refresh token; `false` if the token is unknown.
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

    async fn find_by_refresh_token(&self, token: &str) -> Result<Option<(Session, ETag)>> {
        let Some(hash) = hash_of(token) else { return Ok(None) };
        let found = match session_named_by(token, REFRESH_PREFIX) {
            Some((user, id)) => self.sessions.find(&user, &id).await?,
            None => self.sessions.find_by_refresh_hash(&hash).await?,
        };
        Ok(found.filter(|(session, _)| session.refresh_token_hash == hash))
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
        // A client refreshes faster than we revoke.
        Err(data::Error::Contended)
    }

    async fn revoke_session(&self, session: &Session) -> Result<()> {
        self.end(session, |_| {}).await
    }

    async fn end(&self, session: &Session, change: impl Fn(&mut Session)) -> Result<()> {
        let now = self.now();
        self.sessions
            .edit(session, |session| {
                if !session.revoked {
                    retire(session, now);
                    change(session);
                }
            })
            .await?;
        self.forget(session);
        Ok(())
    }

    fn forget(&self, session: &Session) {
        self.checked.revoke(&session.access_token_hash);
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

/// Returns the seconds from `now` until the store may delete a session.
fn time_to_live(refresh_token_expires_at: Timestamp, now: Timestamp) -> i64 {
    ((refresh_token_expires_at + KEPT_AFTER_EXPIRY).get() - now.get()).whole_seconds().max(1)
}

/// Creates a session and its tokens.
fn new_session(
    id: Uuid,
    user: UserId,
    family: FamilyId,
    previous_refresh_token_hash: Option<String>,
    now: Timestamp,
) -> (Session, Grant) {
    let grant = Grant {
        user: user.clone(),
        access_token: new_token(ACCESS_PREFIX, &user, id),
        access_token_expires_at: now + ACCESS_LIFE,
        refresh_token: new_token(REFRESH_PREFIX, &user, id),
        refresh_token_expires_at: now + REFRESH_LIFE,
    };
    let session = Session {
        id: SessionId::from(id.to_string()),
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
        replaced_by_refresh_token_hash: None,
        family_id: Some(family),
        rotated_at: None,
        first_used_at: None,
        recovered_at: None,
        ttl: Some(time_to_live(grant.refresh_token_expires_at, now)),
        other: Map::new(),
    };
    (session, grant)
}

const ID_BYTES: usize = 16;
/// Length of a token's secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// Returns the hash of a token; `None` if it is longer than any token.
fn hash_of(token: &str) -> Option<String> {
    (token.len() <= LONGEST_TOKEN_BYTES).then(|| sha256_hex(token))
}

/// Creates a token from the session's location and a secret.
fn new_token(prefix: &str, user: &UserId, id: Uuid) -> String {
    let mut bytes = [0_u8; ID_BYTES + SECRET_BYTES];
    bytes[..ID_BYTES].copy_from_slice(id.as_bytes());
    getrandom::fill(&mut bytes[ID_BYTES..]).expect("the operating system has random numbers");
    format!("{prefix}{}.{}", URL_SAFE_NO_PAD.encode(user.as_str()), URL_SAFE_NO_PAD.encode(bytes))
}

/// Parses the session that a token names, valid or not; `None` if it names none.
fn session_named_by(token: &str, prefix: &str) -> Option<(UserId, SessionId)> {
    let (user, rest) = token.strip_prefix(prefix)?.split_once('.')?;
    let user = String::from_utf8(URL_SAFE_NO_PAD.decode(user).ok()?).ok()?;
    let bytes: [u8; ID_BYTES + SECRET_BYTES] = URL_SAFE_NO_PAD.decode(rest).ok()?.try_into().ok()?;
    let id = Uuid::from_slice(&bytes[..ID_BYTES]).ok()?;
    Some((UserId::from(user), SessionId::from(id.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_session() {
        for user in ["1", "110169484474386276334", "ü ß", "a.b", &"x".repeat(255)] {
            let (user, id) = (UserId::from(user), Uuid::new_v4());
            let token = new_token(ACCESS_PREFIX, &user, id);
            assert!(token.len() <= LONGEST_TOKEN_BYTES);
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{token}");
            assert_eq!(session_named_by(&token, ACCESS_PREFIX), Some((user, SessionId::from(id.to_string()))));
            assert_eq!(session_named_by(&token, REFRESH_PREFIX), None);
            assert_eq!(session_named_by(&token[..token.len() - 1], ACCESS_PREFIX), None);
        }
    }

    #[test]
    fn a_token_of_another_form_names_none() {
        for token in ["at-", "at-x", "at-.", "at-YWRh.", "at-YWRh.YWRh", "at-%.%", "at-1", ""] {
            assert_eq!(session_named_by(token, ACCESS_PREFIX), None, "{token}");
        }
    }
}
