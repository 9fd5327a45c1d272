//! The built-in model: rules and templates instead of a language model.
//!
//! It has no dependencies, never uses the network, and is deterministic. A turn of the stylist is a pure function of
//! the request: `understand` determines the questions in the messages; `answers` calls the tools for each kind of
//! question and words their results. Text in results and in delimited blocks of the system prompt is data: it may be
//! quoted in an answer, but has no other effect.

mod advice;
mod answers;
mod digest;
mod embedding;
mod errands;
mod moods;
mod outfits;
mod phrases;
mod selectors;
mod sentences;
mod time;
mod turn;
mod understand;
mod vision;

use std::num::NonZero;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};

use self::turn::Turn;
use self::vision::Look;
use super::{CallContext, ChatRequest, Error, Image, Message, Model, Part, PartStream, Purpose, Reply, Result, Usage};
use crate::model::thesaurus;

/// Most words that the thesaurus adds to a query.
const MOST_ADDED: usize = 8;

/// The built-in model.
#[derive(Debug, Default, Clone, Copy)]
pub struct OfflineModel {
    tokens_per_second: Option<NonZero<u32>>,
}

impl OfflineModel {
    /// Creates a model that answers at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a model that streams this many words per second, like a real one; without a number it answers at once.
    pub fn paced(tokens_per_second: Option<NonZero<u32>>) -> Self {
        Self { tokens_per_second }
    }
}

#[async_trait]
impl Model for OfflineModel {
    fn name(&self, _purpose: Purpose) -> &str {
        "offline"
    }

    fn embedding_name(&self) -> &str {
        "offline"
    }

    async fn stream(&self, _context: &CallContext, request: ChatRequest) -> Result<PartStream> {
        let Reply { text, tool_calls, usage } = answer(&request);
        let mut parts: Vec<Part> = text.split_inclusive(' ').map(|word| Part::Text(word.to_owned())).collect();
        parts.extend(tool_calls.into_iter().map(Part::ToolCall));
        parts.extend(usage.map(Part::Usage));
        let pause = self.tokens_per_second.map(|number| Duration::from_secs(1) / number.get());
        let paced = stream::iter(parts.into_iter().enumerate()).then(move |(place, part)| async move {
            // No pause before the first word and before parts that are not words.
            if let Some(pause) = pause.filter(|_| place > 0 && matches!(part, Part::Text(_))) {
                tokio::time::sleep(pause).await;
            }
            Ok(part)
        });
        Ok(paced.boxed())
    }

    async fn complete(&self, _context: &CallContext, request: ChatRequest) -> Result<Reply> {
        let look: Option<Look> = match request.purpose {
            Purpose::AnalyseTaste => Some(vision::describe),
            Purpose::ExtractMetadata => Some(vision::list_colours),
            _ => None,
        };
        if let Some(look) = look
            && let Some(image) = last_image(&request.messages)
        {
            let seen = tokio::task::spawn_blocking(move || look(&image.bytes)).await;
            let text = seen.map_err(|error| Error::Nonsense(error.into()))?.map_err(|error| Error::Refused {
                // The status of a server that cannot read a picture.
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

    fn query_text(&self, query: &str) -> String {
        let added = thesaurus::expansion(query, MOST_ADDED).join(" ");
        format!("{query} {added}")
    }

    fn sees_transparency(&self) -> bool {
        true
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

/// Returns the complete answer with its "usage": its number of words.
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
        Purpose::RecommendOutfits => (outfits::recommend(last_user_message(&request.messages)), Vec::new()),
        // Without a picture there is nothing to see.
        Purpose::AnalyseTaste | Purpose::ExtractMetadata => ("{}".to_owned(), Vec::new()),
    };
    let input_words = request.messages.iter().map(|message| count_words(message.text()));
    let usage = Usage { input_tokens: input_words.sum(), output_tokens: count_words(&text) };
    Reply { text, tool_calls, usage: Some(usage) }
}

fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

fn last_user_message(messages: &[Message]) -> &str {
    messages.iter().rev().find_map(Message::user_text).unwrap_or_default()
}

/// Returns distinct elements by frequency, most frequent first; ties in order of first occurrence.
fn most_frequent<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for one in all {
        match counts.iter_mut().find(|(known, _)| *known == one) {
            Some((_, count)) => *count += 1,
            None => counts.push((one, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().map(|(one, _)| one).collect()
}

fn last_image(messages: &[Message]) -> Option<Image> {
    messages.iter().rev().find_map(|message| match message {
        Message::UserWithImage { image, .. } => Some(image.clone()),
        Message::User(_) | Message::System(_) | Message::Assistant { .. } | Message::Tool { .. } => None,
    })
}

#[cfg(test)]
mod tests;
