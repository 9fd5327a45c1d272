//! Preferences that the user asks the stylist to remember: likes, dislikes and facts, stored with the memory.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Tool, ToolError, ToolParts, Traits, cut, parameters, read_arguments};
use crate::base::text::sentences;
use crate::llm::{CallContext, ToolSpec};
use crate::model::conversation::{Preference, PreferenceKind};
use crate::model::ids::UserId;
use crate::model::vocabulary;

/// Preferences of one user.
pub const MOST_PREFERENCES: usize = 50;
/// Longest preference, in characters.
pub const LONGEST_PREFERENCE: usize = 200;

/// Adds a preference to a list, replacing one with the same text of any kind. Returns `false` if the list is full.
pub fn add(list: &mut Vec<Preference>, preference: Preference) -> bool {
    let said = vocabulary::folded_words(&preference.text);
    if list.iter().any(|known| known.kind == preference.kind && vocabulary::folded_words(&known.text) == said) {
        return true;
    }
    // A new preference overrides the opposite one.
    list.retain(|known| vocabulary::folded_words(&known.text) != said);
    if list.len() >= MOST_PREFERENCES {
        return false;
    }
    list.push(preference);
    true
}

/// Removes the preferences that contain a text's words, and returns their texts.
pub fn remove(list: &mut Vec<Preference>, text: &str) -> Vec<String> {
    let wanted = vocabulary::folded_words(text);
    let is_meant = |known: &Preference| {
        let words = vocabulary::folded_words(&known.text);
        !wanted.is_empty()
            && (wanted.iter().all(|word| words.contains(word)) || words.iter().all(|word| wanted.contains(word)))
    };
    let (gone, kept): (Vec<_>, Vec<_>) = list.drain(..).partition(is_meant);
    *list = kept;
    gone.into_iter().map(|preference| preference.text).collect()
}

/// Removes the sentences of a summary that contain the words of one of these texts. Returns whether there were any.
fn remove_sentences(summary: &mut String, texts: &[&str]) -> bool {
    let texts: Vec<Vec<String>> = texts.iter().map(|text| vocabulary::folded_words(text)).collect();
    let is_meant = |sentence: &str| {
        let words = vocabulary::folded_words(sentence);
        texts.iter().any(|text| !text.is_empty() && text.iter().all(|word| words.contains(word)))
    };
    let kept: Vec<&str> = sentences(summary).into_iter().filter(|sentence| !is_meant(sentence)).collect();
    let is_changed = kept.len() < sentences(summary).len();
    if is_changed {
        *summary = kept.join(" ");
    }
    is_changed
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RememberArguments {
    text: String,
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForgetArguments {
    text: String,
    #[serde(default)]
    everything: bool,
}

#[derive(Serialize, ToSchema)]
struct Remembered {
    kind: PreferenceKind,
    remembered: String,
}

#[derive(Serialize, ToSchema)]
struct Forgotten {
    forgotten: Vec<String>,
}

/// Keeps something in mind.
pub struct RememberPreference(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for RememberPreference {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "remember_preference",
            description: "Remembers for all future conversations what the user said they like, dislike or want known. Outfits \
                          never have what is disliked. Use it when they say so themselves, not for your own ideas.",
            parameters: parameters(
                json!({
                    "text": {
                        "type": "string", "maxLength": LONGEST_PREFERENCE,
                        "description": "What, in a few words and without the verb, for example: brown shoes.",
                    },
                    "kind": { "type": "string", "enum": ["like", "dislike", "fact"] },
                }),
                &["text", "kind"],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::replaces("Remember a preference").result::<Remembered>()
    }

    async fn run(&self, user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let RememberArguments { text, kind } = read_arguments(arguments)?;
        let text = cut(&text, LONGEST_PREFERENCE);
        let Some(kind) = PreferenceKind::named(&kind).filter(|_| !text.is_empty()) else {
            return Err(ToolError::BadArguments("kind is like, dislike or fact, and text is not empty".into()));
        };
        let preference = Preference { text, kind, since: Some(self.0.base.clock.now().into()) };
        let added = self.0.base.data.conversations.edit_preferences(user, |list| add(list, preference.clone())).await?;
        if !added {
            let reason = format!("{MOST_PREFERENCES} preferences are remembered already; forget one first.");
            return Err(ToolError::Refused(reason));
        }
        Ok(serde_json::to_string(&Remembered { kind, remembered: preference.text })?)
    }
}

/// Drops something from memory.
pub struct ForgetPreference(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for ForgetPreference {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "forget_preference",
            description: "Forgets what the user asked to be remembered before, also where earlier conversations are summed up. \
                          Use it when they take it back.",
            parameters: parameters(
                json!({
                    "text": { "type": "string", "description": "Words of the preference, for example: brown shoes." },
                    "everything": { "type": "boolean", "description": "Forgets all that is remembered; only if they ask for it." },
                }),
                &["text"],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::replaces("Forget a preference").result::<Forgotten>()
    }

    async fn run(&self, user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let ForgetArguments { text, everything } = read_arguments(arguments)?;
        let text = cut(&text, LONGEST_PREFERENCE);
        let forget = |list: &mut Vec<Preference>, summary: &mut String| {
            if everything {
                summary.clear();
                return list.drain(..).map(|preference| preference.text).collect();
            }
            let mut gone = remove(list, &text);
            let texts: Vec<&str> = gone.iter().map(String::as_str).chain([text.as_str()]).collect();
            if remove_sentences(summary, &texts) && gone.is_empty() {
                gone.push(text.clone());
            }
            gone
        };
        let gone = self.0.base.data.conversations.edit_memory(user, forget).await?;
        Ok(serde_json::to_string(&Forgotten { forgotten: gone })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(text: &str, kind: PreferenceKind) -> Preference {
        Preference { text: text.to_owned(), kind, since: None }
    }

    #[test]
    fn the_same_is_kept_once_and_a_change_of_mind_replaces_it() {
        let mut list = Vec::new();
        assert!(add(&mut list, preference("brown shoes", PreferenceKind::Dislike)));
        assert!(add(&mut list, preference("Brown shoe", PreferenceKind::Dislike)));
        assert!(add(&mut list, preference("brown shoes", PreferenceKind::Like)));
        assert_eq!(list, [preference("brown shoes", PreferenceKind::Like)]);
        for number in 1..MOST_PREFERENCES {
            assert!(add(&mut list, preference(&format!("thing {number}"), PreferenceKind::Fact)));
        }
        assert!(!add(&mut list, preference("one more", PreferenceKind::Fact)));
        assert_eq!(list.len(), MOST_PREFERENCES);
    }

    #[test]
    fn what_is_forgotten_is_meant_by_its_words() {
        let mut list =
            vec![preference("brown shoes", PreferenceKind::Dislike), preference("navy", PreferenceKind::Like)];
        assert_eq!(remove(&mut list, "I do not dislike brown shoes any more"), ["brown shoes"]);
        assert!(remove(&mut list, "hats").is_empty() && list.len() == 1);
        assert!(remove(&mut list, "").is_empty() && list.len() == 1);
        let mut summary = "I don't like brown shoes. I work in Oslo! I wear brown shoes and boots.".to_owned();
        assert!(remove_sentences(&mut summary, &["brown shoe", ""]));
        assert_eq!(summary, "I work in Oslo!");
        assert!(!remove_sentences(&mut summary, &["hats"]));
    }
}
