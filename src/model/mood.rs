//! Moods: fashion trends, by category.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::timestamp::Timestamp;
use super::{lenient, vocabulary};
use crate::base::hash::sha256_hex;
use crate::base::json::MAX_SAFE_INTEGER;

/// A mood as the stylist reads it, without its embedding.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mood {
    /// Slug of category and name.
    pub id: String,
    /// One of the twelve categories.
    pub primary_mood: String,
    /// Name.
    pub name: String,
    /// Related moods.
    #[serde(default, deserialize_with = "lenient::list")]
    pub sub_moods: Vec<String>,
    /// Description in one or two sentences.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    /// Characteristics.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub mood_signals: MoodSignals,
    /// Number of articles, in effect; grows with each new one.
    #[serde(default, deserialize_with = "lenient::or_default", serialize_with = "whole_if_whole")]
    pub trend_score: f64,
}

/// Serializes a whole number without a fraction, as other readers expect.
///
/// # Errors
/// Those of the serializer.
pub fn whole_if_whole<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() <= MAX_SAFE_INTEGER as f64 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}

/// Characteristics of a mood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoodSignals {
    /// Colour names.
    #[serde(default, deserialize_with = "lenient::list")]
    pub color_palette: Vec<String>,
    /// Patterns.
    #[serde(default, deserialize_with = "lenient::list")]
    pub patterns: Vec<String>,
    /// Silhouettes.
    #[serde(default, deserialize_with = "lenient::list")]
    pub silhouettes: Vec<String>,
    /// Fabrics.
    #[serde(default, deserialize_with = "lenient::list")]
    pub fabrics: Vec<String>,
    /// Typical garments.
    #[serde(default, deserialize_with = "lenient::list")]
    pub key_pieces: Vec<String>,
}

impl Mood {
    /// Longest slug in an id, in characters.
    const SLUG: usize = 80;

    /// Builds the id from the slugs of category and name.
    pub fn id_of(primary_mood: &str, name: &str) -> String {
        format!("{}-{}", slug(primary_mood), slug(name))
    }

    /// Returns the category that an id begins with. The older service kept the space in two-word categories.
    pub fn category_of(id: &str) -> Option<&'static str> {
        vocabulary::MOODS.into_iter().find(|category| {
            let category = slug(category);
            let rest = id.get(category.len()..);
            let is_same = id.bytes().zip(category.bytes()).all(|(letter, expected)| {
                letter.to_ascii_lowercase() == expected || (letter == b' ' && expected == b'-')
            });
            is_same && rest.is_some_and(|rest| rest.starts_with('-'))
        })
    }
}

/// Joins lower-case words with hyphens. Letters of every script are kept, so that names in other scripts have a slug.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.floor_char_boundary(Mood::SLUG));
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

/// An article that mentions a mood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoodArticle {
    /// Headline.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub title: String,
    /// URL.
    pub url: String,
    /// Publication time.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub published_at: Option<Timestamp>,
    /// Publisher.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub source: String,
}

/// A mood with its articles, as users see it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedMood {
    /// The mood.
    #[serde(flatten)]
    pub mood: Mood,
    /// The newest articles.
    #[serde(default, deserialize_with = "lenient::list")]
    pub sources: Vec<MoodArticle>,
    /// When the mood was first seen.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub detected_at: Option<Timestamp>,
    /// When an article was last added.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub updated_at: Option<Timestamp>,
}

/// A mood's document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoodRecord {
    /// The mood.
    #[serde(flatten)]
    pub mood: Mood,
    /// The newest articles, at most [`MoodRecord::MOST_SOURCES`].
    #[serde(default, deserialize_with = "lenient::list")]
    pub sources: Vec<MoodArticle>,
    /// Short hashes of the URLs of all counted articles, oldest first, at most [`MoodRecord::MOST_SEEN`], so that
    /// articles no longer in `sources` are not counted again.
    #[serde(default, deserialize_with = "lenient::list")]
    pub seen_sources: Vec<String>,
    /// Embedding of the name.
    #[serde(default, deserialize_with = "lenient::list")]
    pub name_embedding: Vec<f32>,
    /// When the mood was first seen.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub detected_at: Option<Timestamp>,
    /// When an article was last added.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub updated_at: Option<Timestamp>,
    /// The run that first saw the mood.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub detected_in: Option<String>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A mood that the model found, with its articles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenMood {
    /// One of the twelve categories.
    pub primary_mood: String,
    /// Name.
    pub name: String,
    /// Related moods.
    pub sub_moods: Vec<String>,
    /// Description in one or two sentences.
    pub description: String,
    /// Characteristics.
    pub mood_signals: MoodSignals,
    /// Articles that mention the mood; at least one.
    pub articles: Vec<MoodArticle>,
}

impl SeenMood {
    /// Returns the id for a new mood.
    pub fn id(&self) -> String {
        Mood::id_of(&self.primary_mood, &self.name)
    }
}

impl MoodRecord {
    /// Most articles kept in `sources`.
    pub const MOST_SOURCES: usize = 20;
    /// Most article hashes kept; a year of runs and a full seed have fewer.
    pub const MOST_SEEN: usize = 2000;
    /// Most entries in each list of characteristics and in related moods.
    pub const MOST_WORDS: usize = 12;
    /// Length of a short hash: 48 bits, so 2,000 articles collide about once in 10⁸ moods.
    const HASH: usize = 12;

    /// Creates a record for a new mood.
    pub fn new(seen: &SeenMood, name_embedding: Vec<f32>, run: &str) -> Self {
        let SeenMood { primary_mood, name, sub_moods, description, mood_signals, .. } = seen.clone();
        let id = Mood::id_of(&primary_mood, &name);
        let mood = Mood { id, primary_mood, name, sub_moods, description, mood_signals, trend_score: 0.0 };
        Self {
            mood,
            sources: Vec::new(),
            seen_sources: Vec::new(),
            name_embedding,
            detected_at: None,
            updated_at: None,
            detected_in: Some(run.to_owned()),
            other: Map::new(),
        }
    }

    /// Adds new articles and what they say about the mood; `description`, if any, replaces the old one. Returns the
    /// number of new articles; without any, nothing changes.
    pub fn add(&mut self, seen: &SeenMood, description: Option<&str>, now: Timestamp) -> usize {
        if self.seen_sources.is_empty() {
            // A document from before this list existed.
            self.seen_sources = self.sources.iter().map(|source| short_hash(&source.url)).collect();
        }
        let known = self.seen_sources.len();
        for article in &seen.articles {
            let hash = short_hash(&article.url);
            if !self.seen_sources.contains(&hash) {
                self.seen_sources.push(hash);
                self.sources.push(article.clone());
            }
        }
        let added = self.seen_sources.len() - known;
        if added == 0 {
            return 0;
        }
        // A stable sort, so that the oldest articles without a date are kept.
        self.sources.sort_by_key(|source| std::cmp::Reverse(source.published_at));
        self.sources.truncate(Self::MOST_SOURCES);
        self.seen_sources.drain(..self.seen_sources.len().saturating_sub(Self::MOST_SEEN));
        self.mood.trend_score += added as f64;
        self.detected_at.get_or_insert(now);
        self.updated_at = Some(now);
        if let Some(description) = description {
            description.clone_into(&mut self.mood.description);
        }
        unite(&mut self.mood.sub_moods, &seen.sub_moods);
        let MoodSignals { color_palette, patterns, silhouettes, fabrics, key_pieces } = &mut self.mood.mood_signals;
        unite(color_palette, &seen.mood_signals.color_palette);
        unite(patterns, &seen.mood_signals.patterns);
        unite(silhouettes, &seen.mood_signals.silhouettes);
        unite(fabrics, &seen.mood_signals.fabrics);
        unite(key_pieces, &seen.mood_signals.key_pieces);
        added
    }
}

/// Adds words that are not in the list yet, ignoring case, up to the maximum.
pub fn unite(words: &mut Vec<String>, more: &[String]) {
    for word in more {
        if words.len() < MoodRecord::MOST_WORDS
            && !words.iter().any(|known| known.to_lowercase() == word.to_lowercase())
        {
            words.push(word.clone());
        }
    }
}

/// Returns the first digits of a URL's hash.
pub fn short_hash(url: &str) -> String {
    let mut hash = sha256_hex(url);
    hash.truncate(MoodRecord::HASH);
    hash
}

/// The beginning of an article, as shown to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snippet {
    /// Headline, at most 200 characters.
    pub title: String,
    /// First sentences, at most 400 characters; empty if only the URL is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// URL, at most 1,000 bytes.
    pub url: String,
    /// Publisher.
    pub source: String,
    /// Publication time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
}

impl From<&Snippet> for MoodArticle {
    fn from(snippet: &Snippet) -> Self {
        let Snippet { title, url, source, published_at, .. } = snippet.clone();
        Self { title, url, published_at, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_category() {
        assert_eq!(Mood::id_of("Dark Academia", "L'Été  (Library) Layers!"), "dark-academia-l-été-library-layers");
        for (id, category) in [
            ("dark-academia-library-layers", Some("Dark Academia")),
            ("dark academia-library-layers", Some("Dark Academia")),
            ("Dark Academia-library-layers", Some("Dark Academia")),
            ("coastal-salt-air", Some("Coastal")),
            ("coastal", None),
            ("coastalsalt", None),
            ("dark-moods", None),
            ("", None),
            ("ć", None),
        ] {
            assert_eq!(Mood::category_of(id), category, "{id}");
        }
        assert!(Mood::id_of("Classic", &"long ".repeat(100)).len() <= "classic-".len() + 80);
    }

    fn seen(urls: impl IntoIterator<Item = usize>) -> SeenMood {
        let article = |number: usize| MoodArticle {
            title: format!("Article {number}"),
            url: format!("https://a.example/{number}"),
            published_at: Timestamp::from_unix(number as i64 * 3600),
            source: "a.example".to_owned(),
        };
        SeenMood {
            primary_mood: "Classic".to_owned(),
            name: "Old Money".to_owned(),
            sub_moods: vec!["Stealth Wealth".to_owned()],
            description: "Camel and cashmere.".to_owned(),
            mood_signals: MoodSignals::default(),
            articles: urls.into_iter().map(article).collect(),
        }
    }

    #[test]
    fn an_article_counts_once_for_ever() {
        let now = Timestamp::parse("2026-03-02").unwrap();
        let mut record = MoodRecord::new(&seen([]), vec![1.0], "run");
        assert_eq!(record.add(&seen(0..25), None, now), 25);
        assert_eq!((record.sources.len(), record.mood.trend_score), (20, 25.0));
        // The newest are shown. The first five are no longer among them, but still do not count again.
        assert_eq!(record.sources[0].title, "Article 24");
        let before = serde_json::to_value(&record).unwrap();
        assert_eq!(record.add(&seen(0..25), Some("Better."), now + std::time::Duration::from_secs(60)), 0);
        assert_eq!(serde_json::to_value(&record).unwrap(), before);
        assert_eq!(record.add(&seen(20..30), Some("Better."), now), 5);
        assert_eq!((record.mood.trend_score, record.mood.description.as_str()), (30.0, "Better."));
        // Within one call too.
        assert_eq!(record.add(&seen([40, 40]), None, now), 1);
    }

    #[test]
    fn the_memory_of_articles_is_bounded() {
        let now = Timestamp::parse("2026-03-02").unwrap();
        let mut record = MoodRecord::new(&seen([]), Vec::new(), "run");
        for hundred in 0..25 {
            record.add(&seen(hundred * 100..(hundred + 1) * 100), None, now);
        }
        assert_eq!(record.seen_sources.len(), MoodRecord::MOST_SEEN);
        assert_eq!(record.add(&seen(500..2500), None, now), 0);
        assert!(serde_json::to_string(&record).unwrap().len() < 64 * 1024);
    }

    #[test]
    fn the_articles_of_an_older_document_count_as_seen() {
        let now = Timestamp::parse("2026-03-02").unwrap();
        let mut record: MoodRecord = serde_json::from_value(serde_json::json!({
            "id": "classic-old-money", "primaryMood": "Classic", "name": "Old Money", "trendScore": 7, "season": "winter",
            "sources": [{"title": "Article 1", "url": "https://a.example/1"}, {"url": 7}], "nameEmbedding": null,
        }))
        .unwrap();
        assert_eq!(record.add(&seen([1, 2]), None, now), 1);
        assert_eq!((record.mood.trend_score, &record.other["season"]), (8.0, &"winter".into()));
        assert_eq!(record.other.len(), 1);
    }
}
