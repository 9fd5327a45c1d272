//! Taste quizzes, by user.

use std::sync::Arc;

use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::model::ids::{QuizSessionId, UserId};
use crate::model::quiz::QuizSession;
use crate::store::{Container, Direction, DocumentStore, Filter, Key, Query};

/// Quizzes of all users.
#[derive(Clone)]
pub struct Quizzes(pub(super) Arc<dyn DocumentStore>);

impl Quizzes {
    /// Builds the id of a session's document.
    pub fn document_id(user: &UserId, session: &QuizSessionId) -> String {
        format!("{user}-{session}")
    }

    fn key(user: &UserId, session: &QuizSessionId) -> Key {
        Key::new(Container::TasteCalibration, user.as_str(), Self::document_id(user, session))
    }

    /// Finds a session of the user.
    pub async fn find(&self, user: &UserId, session: &QuizSessionId) -> Result<Option<QuizSession>> {
        records::find(&*self.0, &Self::key(user, session)).await
    }

    /// Finds the user's latest session that is, or is not, complete.
    pub async fn newest(&self, user: &UserId, is_complete: bool) -> Result<Option<QuizSession>> {
        let query = Query::partition(Container::TasteCalibration, user.as_str())
            .matching(Filter::equal("isComplete", is_complete))
            .order_by("createdAt", Direction::Descending);
        pages::first(&*self.0, query).await
    }

    /// Creates a session; `false` if its id exists.
    pub async fn create(&self, session: &QuizSession) -> Result<bool> {
        let key = Self::key(&session.user_id, &session.session_id);
        records::create(&*self.0, &key, session).await
    }

    /// Edits a session by compare-and-swap; `None` if it does not exist.
    pub async fn edit<R>(
        &self,
        user: &UserId,
        session: &QuizSessionId,
        edit: impl FnMut(QuizSession) -> Edit<QuizSession, R>,
    ) -> Result<Option<R>> {
        update::update_existing(&*self.0, &Self::key(user, session), edit).await
    }
}
