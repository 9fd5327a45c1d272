//! The small tasks: search terms, whether an offer is accepted, and summaries of conversations.

use super::{intent, lexicon};
use crate::llm::Message;
use crate::model::vocabulary;

/// Search terms of one query.
const MAX_TERMS: usize = 16;

/// Sentences of a summary, and its longest sentence in characters: together less than 200 tokens.
const MAX_SENTENCES: usize = 5;
const MAX_SENTENCE: usize = 160;

/// Search terms for a query: its telling words and what they call for, as a JSON list.
pub fn expand_query(query: &str) -> String {
    let mut terms: Vec<String> = Vec::new();
    let mut add = |term: &str| {
        if terms.len() < MAX_TERMS && !terms.iter().any(|known| known == term) {
            terms.push(term.to_owned());
        }
    };
    let mut said: Vec<String> = Vec::new();
    for token in query.split_whitespace() {
        let token = token.trim_matches(|character: char| !character.is_alphanumeric()).to_lowercase();
        if vocabulary::words(&token).iter().any(|word| !vocabulary::is_stop_word(word)) {
            add(&token);
            said.push(token);
        }
    }
    for word in &said {
        for synonym in lexicon::synonyms(word) {
            add(synonym);
        }
    }
    serde_json::Value::from(terms).to_string()
}

/// The label for the last message, an answer to the assistant's message before it. Both may also stand in one message, as
/// lines that begin with `assistant:` and `user:`.
pub fn classify_follow_up(messages: &[Message]) -> &'static str {
    let (offer, answer) = last_exchange(messages);
    let answer_words = format!(" {} ", vocabulary::words(&answer).join(" "));
    let refuses = [" no ", " not ", " nope ", " dont ", " later ", " never mind "];
    if refuses.iter().any(|word| answer_words.contains(word)) {
        return "NOT_A_CONFIRM";
    }
    let agrees = [" love that ", " would be great ", " would be nice ", " lets do ", " do it ", " do that ", " go on "];
    if vocabulary::after_consent(&answer).is_none() && !agrees.iter().any(|phrase| answer_words.contains(phrase)) {
        return "NOT_A_CONFIRM";
    }
    let offer = lexicon::offer(&offer).unwrap_or_default();
    if vocabulary::after_consent(&answer).is_some_and(|refinement| intent::is_another_wish(&refinement, offer)) {
        return "NOT_A_CONFIRM";
    }
    let offered = vocabulary::words(offer);
    let offers = |words: &[&str]| offered.iter().any(|word| words.contains(&word.as_str()));
    if offers(&["gap", "gaps", "missing", "lack", "lacking"]) {
        "CONFIRM_GAPS"
    } else if offers(&["search", "find", "discover", "buy", "shop", "where"]) {
        "CONFIRM_SEARCH"
    } else if offers(&["outfit", "outfits", "look", "looks", "wear", "dress", "style", "combine", "together"]) {
        "CONFIRM_OUTFIT"
    } else {
        "NOT_A_CONFIRM"
    }
}

/// What the assistant said last and what the user answered.
fn last_exchange(messages: &[Message]) -> (String, String) {
    let answer = messages.iter().rev().find_map(|message| match message {
        Message::User(text) | Message::UserWithImage { text, .. } => Some(text.as_str()),
        Message::System(_) | Message::Assistant { .. } | Message::Tool { .. } => None,
    });
    let answer = answer.unwrap_or_default();
    let offer = messages.iter().rev().find_map(|message| match message {
        Message::Assistant { content, .. } => Some(content.clone()),
        Message::System(_) | Message::User(_) | Message::UserWithImage { .. } | Message::Tool { .. } => None,
    });
    match (offer, answer.to_lowercase().rfind("user:")) {
        (None, Some(place)) => {
            // Lower-casing can change lengths; then the place is only near.
            let place = (0..=place.min(answer.len())).rev().find(|place| answer.is_char_boundary(*place));
            let (before, after) = answer.split_at(place.unwrap_or_default());
            (before.to_owned(), after.get("user:".len()..).unwrap_or_default().to_owned())
        }
        (offer, _) => (offer.unwrap_or_default(), answer.to_owned()),
    }
}

/// Three to five telling sentences of the conversation, in its order.
pub fn summarise(messages: &[Message]) -> String {
    let mut candidates: Vec<(usize, String)> = Vec::new();
    for message in messages {
        let (text, is_user) = match message {
            Message::User(text) | Message::UserWithImage { text, .. } => (text, true),
            Message::Assistant { content, .. } => (content, false),
            Message::System(_) | Message::Tool { .. } => continue,
        };
        for sentence in lexicon::sentences(text) {
            let (sentence, is_user) = without_role(sentence, is_user);
            let words = vocabulary::words(sentence);
            let is_markup = sentence.starts_with('<') && sentence.ends_with('>');
            if words.len() < 3 || is_markup || candidates.iter().any(|(_, known)| known == sentence) {
                continue;
            }
            let telling = words.iter().filter(|word| lexicon::is_telling(word)).count();
            let taste = words.iter().filter(|word| TASTE.split(' ').any(|taste| taste == *word)).count();
            let question = usize::from(sentence.ends_with('?'));
            let weight =
                (2 * telling.min(4) + 4 * taste.min(2) + 3 * usize::from(is_user)).saturating_sub(4 * question);
            candidates.push((weight, sentence.to_owned()));
        }
    }
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|place| (std::cmp::Reverse(candidates[*place].0), *place));
    order.truncate(MAX_SENTENCES);
    order.sort_unstable();
    let sentences = order.into_iter().map(|place| {
        let short: String = candidates[place].1.chars().take(MAX_SENTENCE).collect();
        if short.ends_with(['.', '!', '?']) { short } else { format!("{}.", short.trim_end_matches([',', ';', ':'])) }
    });
    sentences.collect::<Vec<_>>().join(" ")
}

/// Words with which people say what they like.
const TASTE: &str =
    "like love prefer favourite favorite hate dislike avoid never always need want missing gap style size";

/// A line of a transcript without its role, and whether the user said it.
fn without_role(sentence: &str, is_user: bool) -> (&str, bool) {
    let sentence = sentence.trim_start_matches(['-', '*', ' ']);
    for (role, is_user) in [("user:", true), ("assistant:", false)] {
        if let Some(head) = sentence.get(..role.len())
            && head.eq_ignore_ascii_case(role)
        {
            return (sentence[role.len()..].trim(), is_user);
        }
    }
    (sentence, is_user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assistant(content: &str) -> Message {
        Message::Assistant { content: content.to_owned(), tool_calls: Vec::new() }
    }

    #[test]
    fn a_query_expands_to_its_words_and_what_they_call_for() {
        let terms: Vec<String> = serde_json::from_str(&expand_query("What about a casual dinner?")).unwrap();
        assert_eq!(terms[..2], ["casual", "dinner"]);
        assert!(terms.contains(&"smart casual".to_owned()) && terms.len() <= MAX_TERMS);
        assert_eq!(expand_query("white t-shirt"), r#"["white","t-shirt"]"#);
    }

    #[test]
    fn an_answer_is_labelled_by_the_offer_it_accepts() {
        let gaps = "You own 12 tops. Want me to check your wardrobe for gaps?";
        for (offer, answer, label) in [
            (gaps, "yes please", "CONFIRM_GAPS"),
            (gaps, "that would be great", "CONFIRM_GAPS"),
            (gaps, "no, not now", "NOT_A_CONFIRM"),
            (gaps, "ok, but what is trending?", "NOT_A_CONFIRM"),
            (gaps, "what about the weather?", "NOT_A_CONFIRM"),
            ("Shall I search for brown loafers?", "sure, in suede", "CONFIRM_SEARCH"),
            ("Want me to put together another outfit?", "ok", "CONFIRM_OUTFIT"),
            ("You look great.", "yes", "NOT_A_CONFIRM"),
        ] {
            let messages = [assistant(offer), Message::User(answer.to_owned())];
            assert_eq!(classify_follow_up(&messages), label, "{answer}");
            let transcript = [Message::User(format!("assistant: {offer}\nuser: {answer}"))];
            assert_eq!(classify_follow_up(&transcript), label, "{answer}");
        }
    }

    #[test]
    fn a_summary_is_a_few_telling_sentences() {
        let messages = [
            Message::System("Fold this.".to_owned()),
            Message::User("Hi. I love navy and I never wear skirts. What time is it?".to_owned()),
            assistant(
                "Hello there, my friend. You have a gap in shoes: white sneakers would help. Have a nice day now.",
            ),
            Message::User(
                "user: My office is strict, so I prefer tailored trousers for work\nI need a warm coat.".to_owned(),
            ),
        ];
        let summary = summarise(&messages);
        assert_eq!(summary, summarise(&messages));
        for part in ["I love navy", "gap in shoes", "tailored trousers for work.", "I need a warm coat."] {
            assert!(summary.contains(part), "{summary}");
        }
        assert!((3..=5).contains(&lexicon::sentences(&summary).len()), "{summary}");
    }
}
