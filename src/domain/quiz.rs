//! The taste quiz: users rate cards or pictures, and their profile is updated.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::hash::sha256_hex;
use crate::data::quizzes::Quizzes;
use crate::data::update::Edit;
use crate::data::{self, Data};
use crate::model::ids::{QuizSessionId, UserId};
use crate::model::item::FeedItem;
use crate::model::mood::Mood;
use crate::model::quiz::{InferredTastes, QuizCard, QuizImage, QuizResponse, QuizSession, QuizSubject};
use crate::model::vocabulary::MOODS;
use crate::model::vote::Signal;

/// Pictures per session.
const PICTURES: usize = 10;
/// Number of best items that pictures are chosen from.
const BEST_ITEMS: usize = 100;
const MOST_TAGS: usize = 5;
const MOST_BRANDS: usize = 3;
/// Longest word that cannot be a brand.
const SHORT_WORD: usize = 3;
/// Hex digits of a session id.
const ID_DIGITS: usize = 32;
/// Attempts to find or create the open session; each lost one means that another request completed a session.
const TRIES: usize = 16;
/// Attempts to edit a profile.
const PROFILE_ATTEMPTS: usize = 24;

/// Holds quizzes.
#[derive(Clone)]
pub struct QuizService {
    data: Data,
    clock: Arc<dyn Clock>,
}

/// Outcome of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Responded {
    /// The answer was recorded.
    Recorded {
        /// Answers so far.
        responses: usize,
        /// Answers that the session asks for.
        target: usize,
    },
    /// The session is complete.
    Complete,
    /// The session has no such card or picture.
    NotShown,
    /// The session does not exist.
    Missing,
}

impl QuizService {
    /// Creates the service.
    pub fn new(data: Data, clock: Arc<dyn Clock>) -> Self {
        Self { data, clock }
    }

    /// Finds the user's open session, or creates one. Concurrent calls get the same session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(&self, user: &UserId) -> Result<QuizSession, data::Error> {
        let quizzes = &self.data.quizzes;
        let mut before = None;
        for _ in 0..TRIES {
            if let Some(session) = quizzes.newest(user, false).await? {
                return Ok(session);
            }
            if before.is_none() {
                before = quizzes.newest(user, true).await?.map(|session| session.session_id);
            }
            // Derived from the previous session, so that concurrent requests give the next one the same id.
            let id = next_id(user, before.as_ref());
            let session = self.compose(user, id.clone()).await?;
            if quizzes.create(&session).await? {
                return Ok(session);
            }
            match quizzes.find(user, &id).await? {
                Some(session) if !session.is_complete => return Ok(session),
                // It was opened and completed in between.
                Some(session) => before = Some(session.session_id),
                None => {}
            }
        }
        Err(data::Error::Contended)
    }

    async fn compose(&self, user: &UserId, id: QuizSessionId) -> Result<QuizSession, data::Error> {
        let image_items = pictures(self.data.items.best(BEST_ITEMS).await?);
        let cards = if image_items.is_empty() { self.cards().await? } else { Vec::new() };
        Ok(QuizSession {
            id: Quizzes::document_id(user, &id),
            user_id: user.clone(),
            session_id: id,
            phase: if image_items.is_empty() { 1 } else { 2 },
            is_complete: false,
            created_at: Some(self.clock.now().into()),
            completed_at: None,
            inferred_tastes: None,
            profile_merged: false,
            target_responses: cards.len() + image_items.len(),
            cards,
            image_items,
            responses: Vec::new(),
            other: serde_json::Map::new(),
        })
    }

    /// Creates a card per category, with its strongest mood.
    async fn cards(&self) -> Result<Vec<QuizCard>, data::Error> {
        let moods = &self.data.moods;
        let tops = MOODS.map(|category| async move {
            let top = moods.top_by_trend(Some(category), 1).await?;
            Ok(card(category, top.into_iter().next()))
        });
        futures::future::try_join_all(tops).await
    }

    /// Records an answer, replacing an earlier one to the same card or picture.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn respond(
        &self,
        user: &UserId,
        session: &QuizSessionId,
        signal: Signal,
        subject: &QuizSubject,
    ) -> Result<Responded, data::Error> {
        let now = self.clock.now().into();
        let edited = self.data.quizzes.edit(user, session, |mut session| {
            if session.is_complete {
                return Edit::Keep(Responded::Complete);
            }
            if !is_shown(&session, subject) {
                return Edit::Keep(Responded::NotShown);
            }
            let response = QuizResponse { signal, subject: subject.clone(), responded_at: Some(now) };
            match session.responses.iter_mut().find(|earlier| earlier.subject == *subject) {
                Some(earlier) => *earlier = response,
                None => session.responses.push(response),
            }
            let recorded = Responded::Recorded { responses: session.responses.len(), target: session.target_responses };
            Edit::Save(session, recorded)
        });
        Ok(edited.await?.unwrap_or(Responded::Missing))
    }

    /// Completes a session and updates the profile; `None` if the session does not exist. Completing it again gives the
    /// same result and changes nothing.
    ///
    /// # Errors
    /// When the store fails. Completing it again then continues.
    pub async fn complete(
        &self,
        user: &UserId,
        session: &QuizSessionId,
    ) -> Result<Option<InferredTastes>, data::Error> {
        let quizzes = &self.data.quizzes;
        let now = self.clock.now().into();
        // Before the profile: from here on, answers no longer change the result.
        let ended = quizzes.edit(user, session, |session| {
            if session.is_complete {
                let tastes = session.inferred_tastes.clone().unwrap_or_default();
                // A session without its tastes was written by an older version, which merged them at once.
                return Edit::Keep((tastes, session.profile_merged || session.inferred_tastes.is_none()));
            }
            let tastes = infer(&session);
            let inferred_tastes = Some(tastes.clone());
            let ended = QuizSession { is_complete: true, completed_at: Some(now), inferred_tastes, ..session };
            Edit::Save(ended, (tastes, false))
        });
        let Some((tastes, is_merged)) = ended.await? else { return Ok(None) };
        if !is_merged {
            let InferredTastes { style_keywords, brands } = &tastes;
            self.data.profiles.add_tastes(user, style_keywords, brands, PROFILE_ATTEMPTS).await?;
            let merged = |session| Edit::Save(QuizSession { profile_merged: true, ..session }, ());
            quizzes.edit(user, session, merged).await?;
        }
        Ok(Some(tastes))
    }
}

fn next_id(user: &UserId, before: Option<&QuizSessionId>) -> QuizSessionId {
    let mut id = sha256_hex(format!("{user}\n{}", before.map_or("", QuizSessionId::as_str)));
    id.truncate(ID_DIGITS);
    id.into()
}

fn card(category: &str, mood: Option<Mood>) -> QuizCard {
    let primary_mood = category.to_owned();
    match mood {
        Some(mood) => QuizCard {
            primary_mood,
            name: mood.name,
            description: mood.description,
            color_palette: mood.mood_signals.color_palette,
            key_pieces: mood.mood_signals.key_pieces,
            sub_moods: mood.sub_moods,
        },
        None => QuizCard {
            name: primary_mood.clone(),
            description: format!("Clothes in a {} style.", category.to_lowercase()),
            primary_mood,
            color_palette: Vec::new(),
            key_pieces: Vec::new(),
            sub_moods: Vec::new(),
        },
    }
}

/// Chooses pictures of the best items, alternating between sources.
fn pictures(items: Vec<FeedItem>) -> Vec<QuizImage> {
    let mut sources: Vec<(String, std::collections::VecDeque<FeedItem>)> = Vec::new();
    for item in items.into_iter().filter(|item| !item.image_url.trim().is_empty()) {
        match sources.iter_mut().find(|(source, _)| *source == item.source_id) {
            Some((_, items)) => items.push_back(item),
            None => sources.push((item.source_id.clone(), [item].into())),
        }
    }
    let mut pictures = Vec::with_capacity(PICTURES);
    while pictures.len() < PICTURES && !sources.is_empty() {
        for (_, items) in &mut sources {
            if let Some(item) = items.pop_front().filter(|_| pictures.len() < PICTURES) {
                let FeedItem { id, image_url, title, tags, source_id, .. } = item;
                pictures.push(QuizImage { scraped_item_id: id, image_url, title, tags, source_id });
            }
        }
        sources.retain(|(_, items)| !items.is_empty());
    }
    pictures
}

fn is_shown(session: &QuizSession, subject: &QuizSubject) -> bool {
    match subject {
        QuizSubject::Card(category) => session.cards.iter().any(|card| card.primary_mood == *category),
        QuizSubject::Image(item) => session.image_items.iter().any(|image| image.scraped_item_id == *item),
    }
}

/// Infers tastes from the liked cards and pictures.
fn infer(session: &QuizSession) -> InferredTastes {
    let liked: Vec<&QuizSubject> = session
        .responses
        .iter()
        .filter(|response| response.signal == Signal::Up)
        .map(|response| &response.subject)
        .collect();
    let categories = session.cards.iter().map(|card| &card.primary_mood);
    let mut style_keywords: Vec<String> =
        categories.filter(|category| liked.contains(&&QuizSubject::Card((*category).clone()))).cloned().collect();
    let pictures: Vec<&QuizImage> = session
        .image_items
        .iter()
        .filter(|image| liked.contains(&&QuizSubject::Image(image.scraped_item_id.clone())))
        .collect();
    style_keywords.extend(most_frequent(pictures.iter().flat_map(|image| image.tags.iter().cloned()), MOST_TAGS));
    let brands = most_frequent(pictures.iter().flat_map(|image| brand_words(&image.title)), MOST_BRANDS);
    InferredTastes { style_keywords, brands }
}

/// Finds capitalised words in a title that are long enough to be a brand.
fn brand_words(title: &str) -> impl Iterator<Item = String> + '_ {
    let words = title.split_whitespace().map(|word| word.trim_matches(|letter: char| !letter.is_alphanumeric()));
    let is_name = |word: &&str| {
        word.chars().next().is_some_and(char::is_uppercase)
            && word.chars().filter(|letter| letter.is_alphabetic()).count() > SHORT_WORD
    };
    words.filter(is_name).map(str::to_owned)
}

/// Finds the most frequent words, ignoring case; ties in order of first occurrence.
fn most_frequent(words: impl Iterator<Item = String>, most: usize) -> Vec<String> {
    let mut counts: BTreeMap<String, (usize, usize, String)> = BTreeMap::new();
    for (place, word) in words.enumerate() {
        let folded = word.trim().to_lowercase();
        if !folded.is_empty() {
            counts.entry(folded).or_insert((0, place, word)).0 += 1;
        }
    }
    let mut ranked: Vec<_> = counts.into_values().collect();
    ranked.sort_by(|(count, place, _), (other, later, _)| other.cmp(count).then(place.cmp(later)));
    ranked.into_iter().take(most).map(|(_, _, word)| word.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_words_come_first() {
        let words = ["denim", "Boots", "DENIM", " ", "boots", "coat", "denim"];
        let most = |limit| most_frequent(words.iter().map(|word| (*word).to_owned()), limit);
        assert_eq!(most(2), ["denim", "Boots"]);
        assert_eq!(most(9), ["denim", "Boots", "coat"]);
    }

    #[test]
    fn brand_words_are_capitalised_and_not_short() {
        let words: Vec<_> = brand_words("My Red Wing boots, (Arket) ÉCLAT vs. Levi's A.P.C. COS 501XX").collect();
        assert_eq!(words, ["Wing", "Arket", "ÉCLAT", "Levi's"]);
    }

    #[test]
    fn pictures_come_from_each_source_in_turn() {
        let item = |id: &str, source: &str, url: &str| -> FeedItem {
            serde_json::from_value(serde_json::json!({"id": id, "sourceId": source, "imageUrl": url})).unwrap()
        };
        let items = [("1", "a"), ("2", "a"), ("3", "a"), ("4", "b"), ("5", "c"), ("6", "b")];
        let mut items: Vec<_> = items.map(|(id, source)| item(id, source, "https://x.example")).into();
        items.push(item("7", "d", " "));
        let order: Vec<_> = pictures(items).iter().map(|image| image.scraped_item_id.to_string()).collect();
        assert_eq!(order, ["1", "4", "5", "2", "6", "3"]);
    }
}
