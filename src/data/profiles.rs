//! People's sizes, tastes and city.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::update::{self, Edit};
use super::{Result, pages};
use crate::model::ids::UserId;
use crate::model::profile::UserProfile;
use crate::store::{Container, DocumentStore, Key, Query};

/// The field that names the set of owned items which the newest digest is about.
const DIGEST_HASH: &str = "wardrobeHashAtLastDigest";

/// What a profile learns from a digest.
#[derive(Debug, Clone, PartialEq)]
pub struct DigestNote {
    /// Names the set of owned items that the digest is about.
    pub wardrobe_hash: String,
    /// That of the digest before it. A profile that has another one has heard of a newer digest meanwhile.
    pub previous_hash: Option<String>,
    /// Share of the ideas that fit what is worn. The profile keeps its own when there is none.
    pub style_confidence: Option<f64>,
    /// The climate, for a profile that has none.
    pub climate_zone: Option<String>,
    /// Whether a user without a profile gets one.
    pub may_create: bool,
}

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

    /// A page of the ids of all users with a profile, in an order that does not change, and what continues after it.
    pub async fn page_of_ids(&self, after: Option<String>, limit: usize) -> Result<(Vec<UserId>, Option<String>)> {
        #[derive(Deserialize)]
        struct Id {
            id: UserId,
        }
        let query = Query::all(Container::UserProfiles).select(&["id"]).limit(limit).after(after);
        let (ids, next) = pages::page_and_next::<Id>(&*self.0, &query).await?;
        Ok((ids.into_iter().map(|Id { id }| id).collect(), next))
    }

    /// Writes into the profile what it learns from a digest; whether it did. Everything else in the document stays as it
    /// is. Noting the same digest again changes nothing.
    pub async fn note_digest(&self, user: &UserId, note: &DigestNote) -> Result<bool> {
        update::update(&*self.0, &Self::key(user), |found: Option<Map<String, Value>>| {
            if found.is_none() && !note.may_create {
                return Edit::Keep(false);
            }
            let mut profile = found.unwrap_or_else(|| new_profile(user));
            if digest_hash(&profile) != note.previous_hash.as_deref() {
                return Edit::Keep(false);
            }
            let mut set = |field: &str, value: Value| profile.insert(field.to_owned(), value);
            set(DIGEST_HASH, note.wardrobe_hash.as_str().into());
            set("wardrobeFingerprint", note.wardrobe_hash.as_str().into());
            if let Some(confidence) = note.style_confidence {
                set("styleConfidenceProfile", confidence.into());
            }
            let has_climate = profile.get("climateZone").is_some_and(|zone| !zone.is_null() && zone != "");
            if let (Some(zone), false) = (&note.climate_zone, has_climate) {
                profile.insert("climateZone".to_owned(), zone.as_str().into());
            }
            Edit::Save(profile, true)
        })
        .await
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

/// The digest that a profile has heard of last. An empty text is no hash.
fn digest_hash(profile: &Map<String, Value>) -> Option<&str> {
    profile.get(DIGEST_HASH).and_then(Value::as_str).filter(|hash| !hash.is_empty())
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
