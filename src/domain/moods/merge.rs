//! Merging moods by the embeddings of their names, within a run and with stored ones.

use std::pin::pin;

use futures::TryStreamExt;

use crate::data;
use crate::data::moods::{MoodName, Moods};
use crate::domain::similarity::items::cosine;
use crate::model::mood::{SeenMood, unite};

/// Similarity from which two moods of one run are the same.
const SAME_RUN: f32 = 0.88;
/// Similarity from which a mood is the stored one.
const SAME: f32 = 0.92;
/// Similarity from which the model decides.
const PERHAPS: f32 = 0.85;

/// A found mood and the embedding of its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The mood.
    pub seen: SeenMood,
    /// Embedding of the name.
    pub vector: Vec<f32>,
}

/// Similarity of a mood to a stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// The moods are the same.
    Same,
    /// The model decides.
    Perhaps,
}

/// The stored mood that resembles a found one most.
#[derive(Debug, Clone)]
pub struct Nearest {
    /// Mood id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Description.
    pub description: String,
    /// Similarity.
    pub likeness: Likeness,
    closeness: f32,
}

/// Merges moods of one category with equivalent names. The first name is kept; articles are merged by URL.
pub fn within(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut merged: Vec<Candidate> = Vec::new();
    for Candidate { seen, vector } in candidates {
        let same = merged.iter_mut().find(|known| {
            known.seen.primary_mood == seen.primary_mood
                && (known.seen.id() == seen.id()
                    || cosine(&known.vector, &vector).is_some_and(|cosine| cosine >= SAME_RUN))
        });
        let Some(Candidate { seen: known, .. }) = same else {
            merged.push(Candidate { seen, vector });
            continue;
        };
        for article in seen.articles {
            if !known.articles.iter().any(|there| there.url == article.url) {
                known.articles.push(article);
            }
        }
        unite(&mut known.sub_moods, &seen.sub_moods);
        let (signals, more) = (&mut known.mood_signals, &seen.mood_signals);
        unite(&mut signals.color_palette, &more.color_palette);
        unite(&mut signals.patterns, &more.patterns);
        unite(&mut signals.silhouettes, &more.silhouettes);
        unite(&mut signals.fabrics, &more.fabrics);
        unite(&mut signals.key_pieces, &more.key_pieces);
    }
    merged
}

/// Finds the stored mood that resembles each of these most, if any. Moods first seen by `run` use the threshold within
/// a run. Each category is read once, page by page.
///
/// # Errors
/// When the store fails.
pub async fn nearest(moods: &Moods, candidates: &[Candidate], run: &str) -> data::Result<Vec<Option<Nearest>>> {
    let mut found: Vec<Option<Nearest>> = vec![None; candidates.len()];
    let mut categories: Vec<&str> = candidates.iter().map(|candidate| candidate.seen.primary_mood.as_str()).collect();
    categories.sort_unstable();
    categories.dedup();
    for category in categories {
        let mut names = pin!(moods.names(category));
        while let Some(name) = names.try_next().await? {
            for (candidate, found) in candidates.iter().zip(&mut found) {
                if candidate.seen.primary_mood != category {
                    continue;
                }
                if let Some((likeness, closeness)) = likeness(candidate, &name, run)
                    && found.as_ref().is_none_or(|found| found.closeness < closeness)
                {
                    let MoodName { id, name, description, .. } = name.clone();
                    *found = Some(Nearest { id, name, description, likeness, closeness });
                }
            }
        }
    }
    Ok(found)
}

fn likeness(candidate: &Candidate, stored: &MoodName, run: &str) -> Option<(Likeness, f32)> {
    // Equal names are the same mood, whatever model made the embeddings.
    if candidate.seen.id() == stored.id || candidate.seen.name.eq_ignore_ascii_case(stored.name.trim()) {
        return Some((Likeness::Same, f32::INFINITY));
    }
    let cosine = cosine(&candidate.vector, &stored.name_embedding)?;
    let same = if stored.detected_in.as_deref() == Some(run) { SAME_RUN } else { SAME };
    let likeness = match cosine {
        cosine if cosine >= same => Likeness::Same,
        cosine if cosine >= PERHAPS => Likeness::Perhaps,
        _ => return None,
    };
    Some((likeness, cosine))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mood::{MoodArticle, MoodSignals};

    /// Returns a vector at this angle in degrees.
    fn at(degrees: f32) -> Vec<f32> {
        vec![degrees.to_radians().cos() * 3.0, degrees.to_radians().sin() * 3.0]
    }

    fn candidate(category: &str, name: &str, vector: Vec<f32>, urls: &[&str]) -> Candidate {
        let article = |url: &&str| MoodArticle {
            title: "t".to_owned(),
            url: (*url).to_owned(),
            published_at: None,
            source: "s".to_owned(),
        };
        let seen = SeenMood {
            primary_mood: category.to_owned(),
            name: name.to_owned(),
            sub_moods: Vec::new(),
            description: String::new(),
            mood_signals: MoodSignals { fabrics: vec![name.to_owned()], ..MoodSignals::default() },
            articles: urls.iter().map(article).collect(),
        };
        Candidate { seen, vector }
    }

    #[test]
    fn moods_of_one_run_merge_by_category_and_angle() {
        let merged = within(vec![
            candidate("Classic", "Old Money", at(0.0), &["a", "b"]),
            candidate("Classic", "Quiet Luxury", at(28.0), &["b", "c"]), // cosine 0.883
            candidate("Classic", "Tailoring", at(29.0), &["d"]),         // 0.875
            candidate("Preppy", "Old Money", at(0.0), &["e"]),
            candidate("Classic", "old money!", at(90.0), &["f"]), // the same id
            candidate("Classic", "Nothing", vec![0.0, 0.0], &["g"]),
        ]);
        let shown: Vec<(String, Vec<&str>)> = merged
            .iter()
            .map(|Candidate { seen, .. }| {
                (seen.name.clone(), seen.articles.iter().map(|article| article.url.as_str()).collect())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("Old Money".to_owned(), vec!["a", "b", "c", "f"]),
                ("Tailoring".to_owned(), vec!["d"]),
                ("Old Money".to_owned(), vec!["e"]),
                ("Nothing".to_owned(), vec!["g"]),
            ]
        );
        assert_eq!(merged[0].seen.mood_signals.fabrics, ["Old Money", "Quiet Luxury", "old money!"]);
    }

    #[test]
    fn a_stored_mood_is_the_same_perhaps_or_another() {
        let stored = |degrees: f32, run: Option<&str>| MoodName {
            id: "classic-x".to_owned(),
            name: "X".to_owned(),
            description: String::new(),
            name_embedding: at(degrees),
            detected_in: run.map(str::to_owned),
        };
        let seen = candidate("Classic", "Old Money", at(0.0), &["a"]);
        let of = |name: &MoodName| likeness(&seen, name, "today").map(|(likeness, _)| likeness);
        assert_eq!(of(&stored(23.0, None)), Some(Likeness::Same)); // 0.9205
        assert_eq!(of(&stored(23.1, None)), Some(Likeness::Perhaps)); // 0.9198
        assert_eq!(of(&stored(31.7, None)), Some(Likeness::Perhaps)); // 0.8508
        assert_eq!(of(&stored(31.9, None)), None); // 0.8490
        assert_eq!(of(&stored(28.0, Some("today"))), Some(Likeness::Same));
        assert_eq!(of(&stored(28.0, Some("yesterday"))), Some(Likeness::Perhaps));
        assert_eq!(of(&MoodName { name: " old money".to_owned(), ..stored(90.0, None) }), Some(Likeness::Same));
        assert_eq!(of(&MoodName { name_embedding: Vec::new(), ..stored(0.0, None) }), None);
        assert_eq!(of(&MoodName { name_embedding: vec![1.0; 3], ..stored(0.0, None) }), None);
    }
}
