//! User profiles: sizes, tastes and city.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::model::ids::UserId;
use crate::model::profile::{BOUNDS, UserProfile};
use crate::store::{Container, DocumentStore, ETag, Key, Query};

/// Field with the hash of the owned items at the latest digest.
const DIGEST_HASH: &str = "wardrobeHashAtLastDigest";

/// The fields that belong to the user: [`Profiles::replace_fields`] replaces these and keeps all others.
pub const OWN_FIELDS: [&str; 13] = [
    "heightCm",
    "weightKg",
    "chestCm",
    "waistCm",
    "hipsCm",
    "inseamCm",
    "currencyCode",
    "preferredSizeSystem",
    "stylePreferences",
    "favoriteBrands",
    "preferredColours",
    "locationCity",
    "recommendationOptIn",
];

/// Changes that a digest makes to a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct DigestNote {
    /// Hash of the owned items.
    pub wardrobe_hash: String,
    /// Hash at the previous digest. A profile with another hash has already recorded a newer digest.
    pub previous_hash: Option<String>,
    /// Share of ideas that match what the user wears; `None` keeps the profile's value.
    pub style_confidence: Option<f64>,
    /// Climate, for a profile without one.
    pub climate_zone: Option<String>,
    /// Whether to create a profile for a user without one.
    pub may_create: bool,
}

/// Profiles of all users.
#[derive(Clone)]
pub struct Profiles(pub(super) Arc<dyn DocumentStore>);

impl Profiles {
    /// Returns the key of the profile.
    pub fn key(user: &UserId) -> Key {
        Key::by_id(Container::UserProfiles, user.as_str())
    }

    /// Finds the user's profile.
    pub async fn find(&self, user: &UserId) -> Result<Option<UserProfile>> {
        records::find(&*self.0, &Self::key(user)).await
    }

    /// Finds the user's profile and its version; the default profile, without a version, if there is none.
    pub async fn find_or_default(&self, user: &UserId) -> Result<(UserProfile, Option<ETag>)> {
        let stored = self.0.read(&Self::key(user)).await?;
        let profile = stored.as_ref().and_then(|stored| records::parse(Container::UserProfiles, stored));
        let profile = match profile {
            Some(profile) => profile,
            None => serde_json::from_value(new_profile(user).into())?,
        };
        Ok((profile, stored.map(|stored| stored.etag)))
    }

    /// Creates the default profile of a user without one.
    pub async fn create_if_missing(&self, user: &UserId) -> Result<()> {
        let key = Self::key(user);
        if self.0.read(&key).await?.is_some() {
            return Ok(());
        }
        records::create(&*self.0, &key, &new_profile(user)).await.map(drop)
    }

    /// Replaces the [fields of the user](OWN_FIELDS) with those of `fields` that are not null; a missing one is cleared
    /// or gets its default. All other fields are kept, but another city clears the climate that was found for the old
    /// one. Nothing changes if `check` rejects it for the stored profile and its version; the result is that of
    /// `check`.
    pub async fn replace_fields<E>(
        &self,
        user: &UserId,
        fields: &Map<String, Value>,
        check: impl Fn(&Map<String, Value>, Option<&ETag>) -> std::result::Result<(), E>,
    ) -> Result<std::result::Result<(), E>> {
        let edit = |found: Option<Map<String, Value>>, version: Option<&ETag>| {
            let mut profile = found.unwrap_or_default();
            if let Err(rejected) = check(&profile, version) {
                return Edit::Keep(Err(rejected));
            }
            let old_city = profile.get("locationCity").filter(|city| !city.is_null()).cloned();
            let defaults = new_profile(user);
            for name in OWN_FIELDS {
                let given = fields.get(name).filter(|value| !value.is_null());
                match given.or_else(|| defaults.get(name)) {
                    Some(value) => profile.insert(name.to_owned(), value.clone()),
                    None => profile.remove(name),
                };
            }
            if profile.get("locationCity") != old_city.as_ref() {
                profile.remove("climateZone");
            }
            profile.insert("id".to_owned(), user.as_str().into());
            Edit::Save(profile, Ok(()))
        };
        update::update_versioned(update::ATTEMPTS, &*self.0, &Self::key(user), edit).await
    }

    /// Lists a page of the ids of all users with a profile, in a stable order, with the token of the next page.
    pub async fn page_of_ids(&self, after: Option<String>, limit: usize) -> Result<(Vec<UserId>, Option<String>)> {
        #[derive(Deserialize)]
        struct Id {
            id: UserId,
        }
        let query = Query::all(Container::UserProfiles).select(&["id"]).limit(limit).after(after);
        let (ids, next) = pages::page_and_next::<Id>(&*self.0, &query).await?;
        Ok((ids.into_iter().map(|Id { id }| id).collect(), next))
    }

    /// Records a digest in the profile; returns whether anything changed. Other fields are kept, and repeating it
    /// changes nothing.
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

    /// Adds missing styles and brands to the user's profile, creating one if needed, as far as its [bounds](BOUNDS)
    /// allow; returns whether anything changed. Other fields are kept.
    ///
    /// # Errors
    /// [`super::Error::Contended`] when all `attempts` lost their race, [`super::Error::Unwritable`] or
    /// [`super::Error::Store`].
    pub async fn add_tastes(
        &self,
        user: &UserId,
        styles: &[String],
        brands: &[String],
        attempts: usize,
    ) -> Result<bool> {
        // Edit the document itself, not a parsed record, so that fields of an unexpected shape survive.
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

/// Returns the hash of the latest digest; an empty text is none.
fn digest_hash(profile: &Map<String, Value>) -> Option<&str> {
    profile.get(DIGEST_HASH).and_then(Value::as_str).filter(|hash| !hash.is_empty())
}

/// Returns the default profile.
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

/// Appends the words that the list lacks, ignoring case, until it is full; returns whether there were any. Words that
/// are too long are left out. A text in place of the list becomes its first element.
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
        if list.len() >= BOUNDS.entries {
            break;
        }
        let is_there = list.iter().filter_map(Value::as_str).any(|known| known.trim().to_lowercase() == folded);
        if !word.is_empty() && !is_there && word.chars().count() <= BOUNDS.entry {
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
    fn a_list_takes_words_until_it_is_full() {
        let (short, long) = ("é".repeat(100), "é".repeat(101));
        assert_eq!(merge(json!({}), &[&long, &short]), (true, json!({ "stylePreferences": [short] })));
        let words: Vec<String> = (0..99).map(|number| format!("word {number}")).collect();
        let (grown, after) = merge(json!({ "stylePreferences": words }), &["boxy", "word 5", "denim", "linen"]);
        let after: Vec<String> = serde_json::from_value(after["stylePreferences"].clone()).unwrap();
        assert_eq!((grown, after.len(), after[99].as_str()), (true, 100, "boxy"));
        let full = json!({ "stylePreferences": vec!["a"; 120] });
        assert_eq!(merge(full.clone(), &["b"]), (false, full));
    }

    #[test]
    fn a_list_of_another_shape_is_taken_as_far_as_it_goes() {
        assert_eq!(merge(json!({}), &["a"]), (true, json!({"stylePreferences": ["a"]})));
        assert_eq!(merge(json!({"stylePreferences": null}), &["a"]), (true, json!({"stylePreferences": ["a"]})));
        assert_eq!(merge(json!({"stylePreferences": "b"}), &["a"]), (true, json!({"stylePreferences": ["b", "a"]})));
        assert_eq!(merge(json!({"stylePreferences": "b"}), &["B"]), (false, json!({"stylePreferences": "b"})));
    }
}
