//! People's sizes, tastes and city.

use std::sync::Arc;

use super::{Result, pages};
use crate::model::ids::UserId;
use crate::model::profile::UserProfile;
use crate::store::{Container, DocumentStore, Key};

/// The profiles of all users.
#[derive(Clone)]
pub struct Profiles(Arc<dyn DocumentStore>);

impl Profiles {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// Where the profile is stored.
    pub fn key(user: &UserId) -> Key {
        Key::by_id(Container::UserProfiles, user.as_str())
    }

    /// The user's profile, if they have one.
    pub async fn find(&self, user: &UserId) -> Result<Option<UserProfile>> {
        let stored = self.0.read(&Self::key(user)).await?;
        Ok(stored.and_then(|stored| pages::parse(Container::UserProfiles, &stored)))
    }
}
