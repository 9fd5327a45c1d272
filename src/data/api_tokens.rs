//! API tokens: a list per user, and a key per token that authenticates requests.

use std::sync::Arc;

use futures::future::try_join_all;
use serde_json::Map;

use super::update::{Edit, update, update_existing};
use super::{Result, records};
use crate::model::api_token::{ApiToken, ApiTokenKey, ApiTokenList};
use crate::model::ids::{ApiTokenId, UserId};
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, Key};

/// Id of the list in its user's partition.
const LIST: &str = "tokens";

/// Tokens of all users.
#[derive(Clone)]
pub struct ApiTokens(pub(super) Arc<dyn DocumentStore>);

impl ApiTokens {
    /// Partition of a token's key. No user id contains a `#`.
    pub fn partition_of(id: &ApiTokenId) -> String {
        format!("#{id}")
    }

    fn place_of(id: &ApiTokenId) -> Key {
        Key::new(Container::ApiTokens, Self::partition_of(id), id.as_str())
    }

    fn place_of_list(user: &UserId) -> Key {
        Key::new(Container::ApiTokens, user.as_str(), LIST)
    }

    /// Finds the key of a token.
    pub async fn find_key(&self, id: &ApiTokenId) -> Result<Option<ApiTokenKey>> {
        records::find(&*self.0, &Self::place_of(id)).await
    }

    /// Finds the keys of these tokens; those that are gone are left out.
    pub async fn find_keys(&self, ids: impl IntoIterator<Item = &ApiTokenId>) -> Result<Vec<ApiTokenKey>> {
        let keys = try_join_all(ids.into_iter().map(|id| self.find_key(id))).await?;
        Ok(keys.into_iter().flatten().collect())
    }

    /// Saves the key of a new token.
    pub async fn create_key(&self, key: &ApiTokenKey) -> Result<()> {
        self.0.create(&Self::place_of(&key.id), &serde_json::to_value(key)?).await?;
        Ok(())
    }

    /// Deletes the key of a token, which invalidates the token.
    pub async fn delete_key(&self, id: &ApiTokenId) -> Result<()> {
        self.0.delete(&Self::place_of(id), None).await?;
        Ok(())
    }

    /// Edits the key of a token by compare-and-swap, unless it is gone.
    pub async fn edit_key(&self, id: &ApiTokenId, edit: impl Fn(&mut ApiTokenKey)) -> Result<()> {
        let edit = |mut key: ApiTokenKey| {
            edit(&mut key);
            Edit::Save(key, ())
        };
        update_existing(&*self.0, &Self::place_of(id), edit).await.map(drop)
    }

    /// Lists a user's unexpired tokens in order of creation.
    pub async fn list(&self, user: &UserId, now: Timestamp) -> Result<Vec<ApiToken>> {
        let list: Option<ApiTokenList> = records::find(&*self.0, &Self::place_of_list(user)).await?;
        let mut tokens = list.map(|list| list.tokens).unwrap_or_default();
        tokens.retain(|token| token.expires_at > now);
        Ok(tokens)
    }

    /// Adds a token to its user's list and removes expired ones; `false` if the list already has `most`.
    pub async fn add(&self, user: &UserId, token: &ApiToken, now: Timestamp, most: usize) -> Result<bool> {
        update(&*self.0, &Self::place_of_list(user), |found: Option<ApiTokenList>| {
            let mut list = found.unwrap_or_else(|| ApiTokenList {
                id: LIST.to_owned(),
                user_id: user.clone(),
                tokens: Vec::new(),
                other: Map::new(),
            });
            list.tokens.retain(|known| known.expires_at > now && known.id != token.id);
            if list.tokens.len() >= most {
                return Edit::Keep(false);
            }
            list.tokens.push(token.clone());
            Edit::Save(list, true)
        })
        .await
    }

    /// Removes a token from its user's list; `false` if it was not in the list.
    pub async fn remove(&self, user: &UserId, id: &ApiTokenId) -> Result<bool> {
        update(&*self.0, &Self::place_of_list(user), |found: Option<ApiTokenList>| {
            let Some(mut list) = found else { return Edit::Keep(false) };
            let before = list.tokens.len();
            list.tokens.retain(|known| known.id != *id);
            if list.tokens.len() == before { Edit::Keep(false) } else { Edit::Save(list, true) }
        })
        .await
    }
}
