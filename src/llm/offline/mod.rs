//! The built-in model: rules and templates instead of a language model.
//!
//! It needs nothing, never touches the network, and answers the same question in the same way every time. A turn of the
//! stylist is a pure function of the request: the last message's words choose the tools (`intent`), the results are
//! worded from templates (`wording`). Text in results and in delimited blocks of the system prompt is data: it may be
//! named in an answer, and decides nothing else.

mod digest;
mod embedding;
mod errands;
mod intent;
mod lexicon;
mod moods;
mod outfit;
mod selectors;
mod vision;
mod wording;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use serde_json::Value;

use self::intent::Intent;
use self::outfit::{Piece, Slot, Wish};
use self::vision::Look;
use super::{
    CallContext, ChatRequest, Error, Image, Message, Model, Part, PartStream, Purpose, Reply, Result, ToolCall, Usage,
};
use crate::model::vocabulary;

/// Turns of the loop in which it asks for tools: one, and one more when too little came back.
const MAX_TOOL_ROUNDS: usize = 2;

/// Name of the block of the system prompt that holds the pieces which the user picked.
const SELECTED: (&str, &str) = ("<selected_items>", "</selected_items>");

/// The model that is always there.
#[derive(Debug, Default, Clone, Copy)]
pub struct OfflineModel;

impl OfflineModel {
    /// It needs nothing.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Model for OfflineModel {
    fn name(&self, _purpose: Purpose) -> &str {
        "offline"
    }

    async fn stream(&self, _context: &CallContext, request: ChatRequest) -> Result<PartStream> {
        let Reply { text, tool_calls, usage } = answer(&request);
        let mut parts: Vec<Part> = text.split_inclusive(' ').map(|word| Part::Text(word.to_owned())).collect();
        parts.extend(tool_calls.into_iter().map(Part::ToolCall));
        parts.extend(usage.map(Part::Usage));
        Ok(stream::iter(parts.into_iter().map(Ok)).boxed())
    }

    async fn complete(&self, _context: &CallContext, request: ChatRequest) -> Result<Reply> {
        let look = match request.purpose {
            Purpose::AnalyseTaste => Some(vision::describe as Look),
            Purpose::ExtractMetadata => Some(vision::list_colours as Look),
            Purpose::Stylist
            | Purpose::ExpandQuery
            | Purpose::ClassifyFollowUp
            | Purpose::SummariseConversation
            | Purpose::GenerateSelectors
            | Purpose::ExtractMoods
            | Purpose::CompareMoods
            | Purpose::WriteDigest => None,
        };
        if let Some(look) = look
            && let Some(image) = last_image(&request.messages)
        {
            let seen = tokio::task::spawn_blocking(move || look(&image.bytes)).await;
            let text = seen.map_err(|error| Error::Nonsense(error.into()))?.map_err(|error| Error::Refused {
                // As a server says that it cannot read a picture.
                status: 400,
                cause: error.into(),
            })?;
            return Ok(Reply { text, ..Reply::default() });
        }
        Ok(answer(&request))
    }

    async fn embed(&self, _context: &CallContext, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        Ok(texts.iter().map(|text| embedding::embed(text)).collect())
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

/// The whole answer, with what it "cost": its words.
fn answer(request: &ChatRequest) -> Reply {
    let (text, tool_calls) = match request.purpose {
        Purpose::Stylist => Turn::new(request).answer(),
        Purpose::ExpandQuery => (errands::expand_query(last_user_message(&request.messages)), Vec::new()),
        Purpose::ClassifyFollowUp => (errands::classify_follow_up(&request.messages).to_owned(), Vec::new()),
        Purpose::SummariseConversation => (errands::summarise(&request.messages), Vec::new()),
        Purpose::GenerateSelectors => (selectors::find(last_user_message(&request.messages)), Vec::new()),
        Purpose::ExtractMoods => (moods::extract(last_user_message(&request.messages)), Vec::new()),
        Purpose::CompareMoods => (moods::compare(last_user_message(&request.messages)), Vec::new()),
        Purpose::WriteDigest => (digest::write(last_user_message(&request.messages)), Vec::new()),
        // Without a picture there is nothing to see.
        Purpose::AnalyseTaste | Purpose::ExtractMetadata => ("{}".to_owned(), Vec::new()),
    };
    let input_words = request.messages.iter().map(|message| match message {
        Message::System(text) | Message::User(text) | Message::UserWithImage { text, .. } => count_words(text),
        Message::Assistant { content, .. } | Message::Tool { content, .. } => count_words(content),
    });
    let usage = Usage { input_tokens: input_words.sum(), output_tokens: count_words(&text) };
    Reply { text, tool_calls, usage: Some(usage) }
}

fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

fn last_user_message(messages: &[Message]) -> &str {
    let last = messages.iter().rev().find_map(|message| match message {
        Message::User(text) | Message::UserWithImage { text, .. } => Some(text.as_str()),
        Message::System(_) | Message::Assistant { .. } | Message::Tool { .. } => None,
    });
    last.unwrap_or_default()
}

fn last_image(messages: &[Message]) -> Option<Image> {
    messages.iter().rev().find_map(|message| match message {
        Message::UserWithImage { image, .. } => Some(image.clone()),
        Message::User(_) | Message::System(_) | Message::Assistant { .. } | Message::Tool { .. } => None,
    })
}

/// One turn of the stylist, as the request shows it.
struct Turn<'a> {
    request: &'a ChatRequest,
    /// What the user wants: the last message, and what it refers to.
    wish: String,
    /// Whether the message only accepts what was offered.
    is_confirmation: bool,
    intents: Vec<Intent>,
    results: Vec<ToolResult<'a>>,
    rounds: usize,
}

struct ToolResult<'a> {
    name: &'a str,
    arguments: &'a str,
    content: &'a str,
}

impl ToolResult<'_> {
    /// What was searched for.
    fn query(&self) -> Option<String> {
        let arguments: Value = wording::read(self.arguments)?;
        Some(arguments.get("query")?.as_str()?.to_owned())
    }
}

impl<'a> Turn<'a> {
    fn new(request: &'a ChatRequest) -> Self {
        let messages = &request.messages[..];
        let start =
            messages.iter().rposition(|message| matches!(message, Message::User(_) | Message::UserWithImage { .. }));
        let (before, after) = match start {
            Some(start) => (&messages[..start], &messages[start + 1..]),
            None => (messages, &messages[..0]),
        };
        let said = if start.is_some() { last_user_message(messages) } else { "" };
        let (wish, is_confirmation) = resolve(said, before);
        let wish = lexicon::plain(&wish);
        let mut results = Vec::new();
        let mut rounds = 0;
        let mut calls: &[ToolCall] = &[];
        for message in after {
            match message {
                Message::Assistant { tool_calls, .. } if !tool_calls.is_empty() => {
                    rounds += 1;
                    calls = tool_calls;
                }
                Message::Tool { call_id, content } => {
                    if let Some(call) = calls.iter().find(|call| call.id == *call_id) {
                        results.push(ToolResult { name: &call.name, arguments: &call.arguments, content });
                    }
                }
                Message::Assistant { .. } | Message::System(_) | Message::User(_) | Message::UserWithImage { .. } => {}
            }
        }
        let intents = intent::detect(&wish);
        Self { request, wish, is_confirmation, intents, results, rounds }
    }

    fn answer(&self) -> (String, Vec<ToolCall>) {
        let anchors = self.anchors();
        if self.rounds == 0 {
            let mut intents = self.intents.clone();
            // Whoever picked pieces wants them worn.
            if !anchors.is_empty()
                && !intents.contains(&Intent::Outfit)
                && intents.iter().all(|intent| *intent == Intent::Weather)
            {
                intents.insert(0, Intent::Outfit);
            }
            let calls = self.calls(intent::calls(&intents, &self.wish));
            if !calls.is_empty() {
                return (String::new(), calls);
            }
            return (small_talk(&self.wish, !intents.is_empty()), Vec::new());
        }
        let has_outfit = self.wants_outfit(&anchors);
        let composed = has_outfit.then(|| {
            let wish = self.outfit_wish();
            let outfit = outfit::compose(&wish, &anchors, &self.found_pieces());
            (wish, outfit)
        });
        if let Some((_, outfit)) = &composed
            && !outfit.missing.is_empty()
            && self.rounds < MAX_TOOL_ROUNDS
            && self.search_succeeded()
        {
            let query = intent::occasion_query(&self.wish);
            let wanted = outfit.missing.iter().map(|slot| {
                let query = format!("{} {query}", slot.search_word());
                ("search_wardrobe", serde_json::json!({ "query": query }))
            });
            let calls = self.calls(wanted.collect());
            if !calls.is_empty() {
                return (String::new(), calls);
            }
        }
        (self.word(composed, &anchors), Vec::new())
    }

    /// Whether the search results are to be worn together, rather than listed.
    fn wants_outfit(&self, anchors: &[Piece]) -> bool {
        let searched = self.results.iter().any(|result| result.name == "search_wardrobe");
        searched
            && (self.intents.contains(&Intent::Outfit)
                || (!anchors.is_empty() && !self.intents.contains(&Intent::Search)))
    }

    /// Whether a search returned anything that another search could add to.
    fn search_succeeded(&self) -> bool {
        !self.found_pieces().is_empty()
    }

    /// Calls of those tools that are offered, with ids that are new in the turn.
    fn calls(&self, wanted: Vec<(&'static str, Value)>) -> Vec<ToolCall> {
        let offered = wanted.into_iter().filter(|(name, _)| self.request.tools.iter().any(|tool| tool.name == *name));
        let first = self.results.len() + 1;
        let number = |(index, (name, arguments)): (usize, (&str, Value))| ToolCall {
            id: format!("offline-{}", first + index),
            name: name.to_owned(),
            arguments: arguments.to_string(),
        };
        offered.enumerate().map(number).collect()
    }

    /// The pieces that the user picked, from the delimited block of the system prompt.
    fn anchors(&self) -> Vec<Piece> {
        let block = self.request.messages.iter().rev().find_map(|message| match message {
            Message::System(text) => {
                let start = text.find(SELECTED.0)? + SELECTED.0.len();
                let end = text.rfind(SELECTED.1).filter(|end| *end >= start)?;
                Some(&text[start..end])
            }
            Message::User(_) | Message::UserWithImage { .. } | Message::Assistant { .. } | Message::Tool { .. } => None,
        });
        block.map(read_pieces).unwrap_or_default()
    }

    /// Everything that searches of this turn returned, each piece once, best match first.
    fn found_pieces(&self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for result in self.results.iter().filter(|result| result.name == "search_wardrobe") {
            for piece in read_pieces(result.content) {
                if !pieces.iter().any(|known| known.id == piece.id) {
                    pieces.push(piece);
                }
            }
        }
        pieces
    }

    fn is_about_tomorrow(&self) -> bool {
        vocabulary::words(&self.wish).iter().any(|word| word == "tomorrow")
    }

    fn outfit_wish(&self) -> Wish {
        let mut wish = Wish::of(&self.wish);
        for result in &self.results {
            match result.name {
                "get_user_profile" => {
                    let profile: wording::Profile = wording::read(result.content).unwrap_or_default();
                    wish.liked_colours = profile.preferred_colours;
                    wish.liked_brands = profile.favorite_brands;
                }
                "get_weather" => {
                    let weather = wording::read_weather(result.content, self.is_about_tomorrow());
                    wish.celsius = weather.celsius;
                    wish.wet = weather.wet;
                }
                _ => {}
            }
        }
        wish
    }

    /// All results in words, each tool's once, and an offer for what could come next.
    fn word(&self, composed: Option<(Wish, outfit::Outfit)>, anchors: &[Piece]) -> String {
        let mut paragraphs: Vec<String> = Vec::new();
        let mut offer: Option<String> = None;
        let mut add = |paragraph: String, next: Option<String>| {
            if !paragraphs.contains(&paragraph) {
                paragraphs.push(paragraph);
            }
            if offer.is_none() {
                offer = next;
            }
        };
        if let Some((wish, outfit)) = &composed {
            let has_outerwear = outfit.pieces.iter().any(|(slot, _)| *slot == Slot::Outerwear);
            let next = if outfit.pieces.is_empty() {
                None
            } else if has_outerwear || !outfit.missing.is_empty() {
                Some("Want me to check your wardrobe for gaps?")
            } else {
                Some("Want me to search your wardrobe for a jacket to go over it?")
            };
            let failed =
                self.results.iter().all(|result| result.name != "search_wardrobe" || wording::is_error(result.content));
            let text = if failed && outfit.pieces.is_empty() {
                wording::apology("search_wardrobe")
            } else {
                wording::outfit(outfit, wish, anchors)
            };
            add(text, next.map(str::to_owned));
        }
        let asked_for_profile = self.intents.contains(&Intent::Profile);
        for result in &self.results {
            let is_in_outfit = composed.is_some()
                && (result.name == "search_wardrobe" || (result.name == "get_user_profile" && !asked_for_profile));
            if is_in_outfit {
                continue;
            }
            if wording::is_error(result.content) {
                add(wording::apology(result.name), None);
            } else {
                let (text, next) = self.word_result(result);
                add(text, next);
            }
        }
        // Somebody who just accepted an offer gets the result, not the next offer.
        if let Some(offer) = offer.filter(|_| !self.is_confirmation) {
            paragraphs.push(offer);
        }
        paragraphs.join("\n\n")
    }

    fn word_result(&self, result: &ToolResult<'_>) -> (String, Option<String>) {
        let outfit_offer = || Some("Want me to put together an outfit from your wardrobe?".to_owned());
        let unreadable = || (wording::UNREADABLE.to_owned(), None);
        match result.name {
            "search_wardrobe" => {
                let query = result.query().unwrap_or_default();
                let mut items = read_pieces(result.content);
                let note = wording::read::<wording::Found>(result.content).and_then(|found| found.note);
                if note.is_none() {
                    items = outfit::best_matches(items, &query);
                }
                let found = wording::Found { note, items };
                let next = found
                    .items
                    .first()
                    .map(|first| format!("Want me to put together an outfit around the {}?", wording::name(first)));
                (wording::found(&found, &query), next)
            }
            "get_wardrobe_summary" => match wording::read::<Value>(result.content) {
                Some(summary) => {
                    (wording::summary(&summary), Some("Want me to check your wardrobe for gaps?".to_owned()))
                }
                None => unreadable(),
            },
            "get_weather" => {
                let next = Some("Want me to put together an outfit for it?".to_owned());
                (wording::weather(result.content, self.is_about_tomorrow()), next)
            }
            "get_user_profile" => match wording::read(result.content) {
                Some(profile) => (wording::profile(&profile), outfit_offer()),
                None => unreadable(),
            },
            "analyze_wardrobe_gaps" => match wording::read::<wording::Gaps>(result.content) {
                Some(analysis) => {
                    let first = analysis.gaps.first().and_then(|gap| gap.example_items.first());
                    let next = first.map(|piece| format!("Want me to find {} to buy?", wording::shown(piece)));
                    (wording::gaps(&analysis), next.or_else(outfit_offer))
                }
                None => unreadable(),
            },
            "get_trending_moods" => match wording::read::<wording::Moods>(result.content) {
                Some(moods) => {
                    let next = moods.moods.first().map(|mood| {
                        let category = wording::shown(&mood.primary_mood).to_lowercase();
                        format!("Want me to put together a {category} outfit from your wardrobe?")
                    });
                    (wording::moods(&moods), next)
                }
                None => unreadable(),
            },
            "get_wear_patterns" => match wording::read(result.content) {
                Some(patterns) => {
                    let words = vocabulary::words(&self.wish);
                    let neglect = ["never", "least", "unworn", "neglected", "rarely", "hardly", "havent", "not"];
                    let neglected = words.iter().any(|word| neglect.contains(&word.as_str()));
                    (wording::patterns(&patterns, neglected), outfit_offer())
                }
                None => unreadable(),
            },
            "search_scraped_items" => match wording::read(result.content) {
                Some(discoveries) => {
                    let next = Some("Want me to check your wardrobe for gaps first?".to_owned());
                    (wording::discoveries(&discoveries), next)
                }
                None => unreadable(),
            },
            _ => unreadable(),
        }
    }
}

/// The items of a result or block: a list, or an object with one.
fn read_pieces(text: &str) -> Vec<Piece> {
    let value: Value = serde_json::from_str(text.trim()).unwrap_or_default();
    let items = match value {
        Value::Array(items) => items,
        Value::Object(mut fields) => match fields.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect()
}

/// What a message means: with consent, what was offered before and how the user refines it; with a wish for something
/// else, what they asked before and how it should differ.
fn resolve(said: &str, before: &[Message]) -> (String, bool) {
    let previous = before.iter().rev().find_map(|message| match message {
        Message::Assistant { content, .. } if !content.is_empty() => Some(content.as_str()),
        Message::Assistant { .. }
        | Message::System(_)
        | Message::User(_)
        | Message::UserWithImage { .. }
        | Message::Tool { .. } => None,
    });
    if said.split_whitespace().count() <= 12
        && let Some(refinement) = vocabulary::after_consent(said)
        && let Some(offer) = previous.and_then(lexicon::offer)
    {
        if intent::is_another_wish(&refinement, offer) {
            return (refinement, false);
        }
        return (format!("{offer} {refinement}").trim().to_owned(), true);
    }
    let words = vocabulary::words(said);
    let differs = ["instead", "another", "different", "swap", "warmer", "cooler", "dressier"];
    if intent::detect(said).iter().all(|intent| *intent == Intent::Search)
        && words.iter().any(|word| differs.contains(&word.as_str()))
        && let Some(asked) = before.iter().rev().find_map(|message| match message {
            Message::User(text) | Message::UserWithImage { text, .. } => Some(text),
            Message::Assistant { .. } | Message::System(_) | Message::Tool { .. } => None,
        })
    {
        return (format!("{asked} {said}"), false);
    }
    (said.to_owned(), false)
}

/// An answer without a tool: a greeting, thanks, or what there is to ask for.
fn small_talk(said: &str, lacks_tools: bool) -> String {
    let words = vocabulary::words(said);
    let says = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    if lacks_tools {
        "I'm sorry, I can't look that up right now.".to_owned()
    } else if says(&["thanks", "thank", "thx", "cheers"]) {
        "You're very welcome! I'm here whenever you want to get dressed.".to_owned()
    } else if says(&["bye", "goodbye"]) {
        "See you soon, and enjoy your clothes!".to_owned()
    } else if says(&["hi", "hello", "hey", "morning", "afternoon", "evening"]) {
        "Hello! I'm your stylist, and I know your wardrobe. Want me to put together an outfit for today?".to_owned()
    } else {
        "I can put together outfits from your wardrobe, look up what you own, check it for gaps, tell you what's trending, or \
         find pieces to buy. Want me to put together an outfit for today?"
            .to_owned()
    }
}

#[cfg(test)]
mod tests;
