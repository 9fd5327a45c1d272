//! Sessions. A token that names its session is found by a point read; tokens of older versions or other services are
//! found by their hash across users.

use std::sync::Arc;

use futures::stream::Stream;

use super::{Result, pages, update};
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
        let stored = self.0.read(&Self::key_of(user, id)).await?;
        Ok(stored.and_then(|stored| Some((pages::parse(Container::RefreshTokens, &stored)?, stored.etag))))
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
        Ok(page.documents.into_iter().find_map(|stored| {
            let session = pages::parse(Container::RefreshTokens, &stored)?;
            Some((session, stored.etag))
        }))
    }

    /// Streams all sessions of a user that are not revoked, of one family or of all.
    pub fn live<'a>(
        &'a self,
        user: &UserId,
        family: Option<&FamilyId>,
    ) -> impl Stream<Item = Result<Session>> + Send + 'a {
        let mut query = Query::partition(Container::RefreshTokens, user.as_str())
            .matching(Filter::Any(vec![Filter::is_absent("revoked"), Filter::not_equal("revoked", true)]));
        if let Some(family) = family {
            query = query.matching(Filter::Any(vec![
                Filter::equal("familyId", family.as_str()),
                Filter::equal("id", family.as_str()),
            ]));
        }
        pages::walk(&*self.0, query)
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
        update::update(&*self.0, &Self::key(session), |found: Option<Session>| match found {
            Some(mut session) => {
                edit(&mut session);
                update::Edit::Save(session.clone(), Some(session))
            }
            None => update::Edit::Keep(None),
        })
        .await
    }
}
