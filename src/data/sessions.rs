//! Sessions. A token that names its session is found by a point read; tokens of older versions or other services are
//! found by their hash across users.

use std::sync::Arc;

use futures::stream::Stream;

use super::{Result, pages, records, update};
use crate::model::ids::{FamilyId, SessionId, UserId};
use crate::model::session::Session;
use crate::store::{Container, DocumentStore, ETag, Filter, Key, Query, Write};

/// Sessions of all users.
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<dyn DocumentStore>);

impl Sessions {
    fn key(session: &Session) -> Key {
        Self::key_of(&session.user_id, &session.id)
    }

    fn key_of(user: &UserId, id: &SessionId) -> Key {
        Key::new(Container::RefreshTokens, user.as_str(), id.as_str())
    }

    /// Finds a session of a user, and its version.
    pub async fn find(&self, user: &UserId, id: &SessionId) -> Result<Option<(Session, ETag)>> {
        records::find_version(&*self.0, &Self::key_of(user, id)).await
    }

    /// Finds a session by access token, and its version. Queries every partition, so callers cache the result.
    pub async fn find_by_access_hash(&self, hash: &str) -> Result<Option<(Session, ETag)>> {
        self.find_by(Query::all(Container::RefreshTokens), "accessTokenHash", hash).await
    }

    /// Finds a session by refresh token, and its version. Queries every partition.
    pub async fn find_by_refresh_hash(&self, hash: &str) -> Result<Option<(Session, ETag)>> {
        self.find_by(Query::all(Container::RefreshTokens), "refreshTokenHash", hash).await
    }

    /// Finds the session that replaced this one, and its version.
    pub async fn find_successor(&self, session: &Session) -> Result<Option<(Session, ETag)>> {
        let Some(hash) = &session.replaced_by_refresh_token_hash else { return Ok(None) };
        let of_user = Query::partition(Container::RefreshTokens, session.user_id.as_str());
        self.find_by(of_user, "refreshTokenHash", hash).await
    }

    async fn find_by(&self, query: Query, field: &'static str, hash: &str) -> Result<Option<(Session, ETag)>> {
        let page = self.0.query(&query.matching(Filter::equal(field, hash)).limit(1)).await?;
        let parse = |stored| records::parse_version(Container::RefreshTokens, stored);
        Ok(page.documents.into_iter().find_map(parse))
    }

    /// Streams all sessions of a user that are not revoked, of one family or of all.
    pub fn live<'a>(
        &'a self,
        user: &UserId,
        family: Option<&FamilyId>,
    ) -> impl Stream<Item = Result<Session>> + Send + 'a {
        let is_live = Filter::Any(vec![Filter::is_absent("revoked"), Filter::not_equal("revoked", true)]);
        let is_of = |family: &FamilyId| ["familyId", "id"].map(|field| Filter::equal(field, family.as_str()));
        let is_of_family = family.map(|family| Filter::Any(is_of(family).into()));
        let query = Query::partition(Container::RefreshTokens, user.as_str());
        pages::walk(&*self.0, query.matching(is_live).matching_all(is_of_family))
    }

    /// Creates a session.
    pub async fn create(&self, session: &Session) -> Result<()> {
        self.0.create(&Self::key(session), &serde_json::to_value(session)?).await?;
        Ok(())
    }

    /// Saves these sessions of one user, each read as the given version, and their successor, in one batch. `false` if
    /// one of them was changed in the meantime.
    pub async fn rotate(&self, retired: &[(Session, ETag)], successor: &Session) -> Result<bool> {
        let mut writes = Vec::with_capacity(retired.len() + 1);
        for (session, etag) in retired {
            writes.push(Write::Replace { document: serde_json::to_value(session)?, etag: etag.clone() });
        }
        writes.push(Write::Create { document: serde_json::to_value(successor)? });
        update::won(self.0.batch(Container::RefreshTokens, successor.user_id.as_str(), &writes).await)
    }

    /// Edits a session by compare-and-swap and returns it; `None` if it is gone.
    pub async fn edit(&self, session: &Session, edit: impl Fn(&mut Session)) -> Result<Option<Session>> {
        let edit = |mut session: Session| {
            edit(&mut session);
            update::Edit::Save(session.clone(), session)
        };
        update::update_existing(&*self.0, &Self::key(session), edit).await
    }
}
