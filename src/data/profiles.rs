//! People's sizes, tastes and city.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::update::{self, Edit};
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

    /// Adds styles and brands that the user likes to their profile, as far as it lacks them; whether it did. Makes a
    /// profile if there is none. Everything else in the document stays as it is.
    ///
    /// # Errors
    /// As [`update::update_within`], which gets `attempts`.
    pub async fn add_tastes(
        &self,
        user: &UserId,
        styles: &[String],
        brands: &[String],
        attempts: usize,
    ) -> Result<bool> {
        // The document itself is edited, not a record made from it: a field of an unexpected shape must survive, too.
        update::update_within(attempts, &*self.0, &Self::key(user), |found: Option<Map<String, Value>>| {
            if found.is_none() && styles.is_empty() && brands.is_empty() {
                return Edit::Keep(false);
            }
            let mut profile = found.unwrap_or_else(|| new_profile(user));
            let added_styles = add_missing(&mut profile, "stylePreferences", styles);
            let added_brands = add_missing(&mut profile, "favoriteBrands", brands);
            if added_styles || added_brands { Edit::Save(profile, true) } else { Edit::Keep(false) }
        })
        .await
    }
}

/// What a user is taken for who has said nothing.
fn new_profile(user: &UserId) -> Map<String, Value> {
    let mut profile = Map::new();
    profile.insert("id".to_owned(), user.as_str().into());
    profile.insert("currencyCode".to_owned(), "USD".into());
    profile.insert("preferredSizeSystem".to_owned(), "US".into());
    profile.insert("recommendationOptIn".to_owned(), true.into());
    for list in ["stylePreferences", "favoriteBrands", "preferredColours"] {
        profile.insert(list.to_owned(), json!([]));
    }
    profile
}

/// Appends those of `words` that the list lacks, whatever their case; whether there were any. A text in the list's place
/// becomes its first element.
fn add_missing(profile: &mut Map<String, Value>, field: &str, words: &[String]) -> bool {
    let mut list = match profile.get(field) {
        Some(Value::Array(list)) => list.clone(),
        Some(text @ Value::String(_)) => vec![text.clone()],
        _ => Vec::new(),
    };
    let before = list.len();
    for word in words {
        let word = word.trim();
        let folded = word.to_lowercase();
        let is_there = list.iter().filter_map(Value::as_str).any(|known| known.trim().to_lowercase() == folded);
        if !word.is_empty() && !is_there {
            list.push(word.into());
        }
    }
    let has_grown = list.len() > before;
    if has_grown {
        profile.insert(field.to_owned(), list.into());
    }
    has_grown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(profile: Value, words: &[&str]) -> (bool, Value) {
        let Value::Object(mut profile) = profile else { panic!("an object") };
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        (add_missing(&mut profile, "stylePreferences", &words), profile.into())
    }

    #[test]
    fn tastes_are_added_once_and_nothing_is_lost() {
        let before = json!({"stylePreferences": ["Minimal", 7, "denim"], "x": {"y": null}});
        let (grown, after) = merge(before, &["MINIMAL ", "boxy", "Boxy", "", " Denim"]);
        assert!(grown);
        assert_eq!(after, json!({"stylePreferences": ["Minimal", 7, "denim", "boxy"], "x": {"y": null}}));
        assert_eq!(merge(after.clone(), &["boxy", "minimal"]), (false, after));
    }

    #[test]
    fn a_list_of_another_shape_is_taken_as_far_as_it_goes() {
        assert_eq!(merge(json!({}), &["a"]), (true, json!({"stylePreferences": ["a"]})));
        assert_eq!(merge(json!({"stylePreferences": null}), &["a"]), (true, json!({"stylePreferences": ["a"]})));
        assert_eq!(merge(json!({"stylePreferences": "b"}), &["a"]), (true, json!({"stylePreferences": ["b", "a"]})));
        assert_eq!(merge(json!({"stylePreferences": "b"}), &["B"]), (false, json!({"stylePreferences": "b"})));
    }
}
