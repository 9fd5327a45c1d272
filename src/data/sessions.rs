//! Sign-ins. Tokens are looked up by hash, across users, because a token does not say whose it is.

use std::sync::Arc;

use futures::stream::Stream;

use super::{Result, pages};
use crate::model::ids::{FamilyId, UserId};
use crate::model::session::Session;
use crate::store::{self, Container, DocumentStore, ETag, Filter, Key, Query, Write};

/// The sessions of all users.
#[derive(Clone)]
pub struct Sessions(Arc<dyn DocumentStore>);

impl Sessions {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    fn key(session: &Session) -> Key {
        Key::new(Container::RefreshTokens, session.user_id.as_str(), session.id.as_str())
    }

    /// The session with this access token. Asks every partition: callers keep the answer for a while.
    pub async fn find_by_access_hash(&self, hash: &str) -> Result<Option<Session>> {
        let found = self.find_by("accessTokenHash", hash).await?;
        Ok(found.map(|(session, _)| session))
    }

    /// The session with this refresh token, and its version.
    pub async fn find_by_refresh_hash(&self, hash: &str) -> Result<Option<(Session, ETag)>> {
        self.find_by("refreshTokenHash", hash).await
    }

    async fn find_by(&self, field: &'static str, hash: &str) -> Result<Option<(Session, ETag)>> {
        let query = Query::all(Container::RefreshTokens).matching(Filter::equal(field, hash)).limit(1);
        let page = self.0.query(&query).await?;
        Ok(page.documents.into_iter().find_map(|stored| {
            let session = pages::parse(Container::RefreshTokens, &stored)?;
            Some((session, stored.etag))
        }))
    }

    /// All sessions of a user that are not revoked, of one family or of all, page by page.
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

    /// Saves a new session.
    pub async fn create(&self, session: &Session) -> Result<()> {
        self.0.create(&Self::key(session), &serde_json::to_value(session)?).await?;
        Ok(())
    }

    /// Retires the session read as `etag` and saves its successor, both or neither. False when somebody else changed the
    /// old session first.
    pub async fn rotate(&self, retired: &Session, etag: ETag, successor: &Session) -> Result<bool> {
        let writes = [
            Write::Replace { document: serde_json::to_value(retired)?, etag },
            Write::Create { document: serde_json::to_value(successor)? },
        ];
        match self.0.batch(Container::RefreshTokens, retired.user_id.as_str(), &writes).await {
            Ok(()) => Ok(true),
            Err(store::Error::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Edits a stored session by compare-and-swap. Returns it as it is now; `None` when it has gone meanwhile.
    pub async fn edit(&self, session: &Session, edit: impl Fn(&mut Session)) -> Result<Option<Session>> {
        super::update::update(&*self.0, &Self::key(session), |found: Option<Session>| match found {
            Some(mut session) => {
                edit(&mut session);
                super::update::Edit::Save(session.clone(), Some(session))
            }
            None => super::update::Edit::Keep(None),
        })
        .await
    }
}
