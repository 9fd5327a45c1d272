//! Small tasks: search terms, acceptance of an offer, and summaries of conversations.

use super::last_user_message;
use super::phrases::{is_listed, is_said};
use super::understand::{self, Forgotten};
use crate::base::text::{head, sentences};
use crate::llm::{Message, SAID_SINCE};
use crate::model::{thesaurus, vocabulary};

/// Search terms of one query.
const MAX_TERMS: usize = 16;

/// Most sentences of a summary, and its longest sentence in characters: together less than 200 tokens.
const MAX_SENTENCES: usize = 5;
const MAX_SENTENCE: usize = 160;

/// Returns search terms for a query as a JSON list: its significant words and related ones.
pub fn expand_query(query: &str) -> String {
    let mut terms: Vec<String> = Vec::new();
    let mut add = |term: &str| {
        if terms.len() < MAX_TERMS && !terms.iter().any(|known| known == term) {
            terms.push(term.to_owned());
        }
    };
    for token in query.split_whitespace() {
        let token = token.trim_matches(|character: char| !character.is_alphanumeric()).to_lowercase();
        if vocabulary::words(&token).iter().any(|word| !vocabulary::is_stop_word(word)) {
            add(&token);
        }
    }
    thesaurus::expansion(query, MAX_TERMS).into_iter().for_each(add);
    serde_json::Value::from(terms).to_string()
}

/// Labels of consent, by the word list that identifies the offer.
const CONFIRMATIONS: [(&str, &str); 3] = [
    ("offers of gaps", "CONFIRM_GAPS"),
    ("offers of searches", "CONFIRM_SEARCH"),
    ("offers of outfits", "CONFIRM_OUTFIT"),
];
/// The label of a message without consent.
const NO_CONFIRMATION: &str = "NOT_A_CONFIRM";

/// Returns the label of the last message, a reply to the assistant's previous one. Both may also be in one message, as
/// lines that begin with `assistant:` and `user:`.
pub fn classify_follow_up(messages: &[Message]) -> &'static str {
    let (offer, answer) = last_exchange(messages);
    let words = vocabulary::words(answer);
    let consent = vocabulary::after_consent(answer);
    let offer = understand::offer(offer).unwrap_or_default();
    let is_other = consent.as_ref().is_some_and(|refinement| understand::is_another_wish(refinement, offer));
    if is_said("refusal", &words) || (consent.is_none() && !is_said("agreement", &words)) || is_other {
        return NO_CONFIRMATION;
    }
    let offered = vocabulary::words(offer);
    let label = CONFIRMATIONS.iter().find(|(list, _)| offered.iter().any(|word| is_listed(list, word)));
    label.map_or(NO_CONFIRMATION, |(_, label)| label)
}

/// Returns the assistant's last message and the user's reply.
fn last_exchange(messages: &[Message]) -> (&str, &str) {
    const USER: &str = "user:";
    let answer = last_user_message(messages);
    let mut answers = messages.iter().rev().filter(|message| matches!(message, Message::Assistant { .. }));
    match (answers.next(), answer.to_ascii_lowercase().rfind(USER)) {
        (Some(offer), _) => (offer.text(), answer),
        (None, Some(place)) => (&answer[..place], &answer[place + USER.len()..]),
        (None, None) => ("", answer),
    }
}

/// A sentence that may be worth remembering.
struct Candidate {
    weight: usize,
    sentence: String,
    /// Whether it was said after what is summed up.
    is_later: bool,
}

/// Drops what the user wants forgotten.
fn forget(candidates: &mut Vec<Candidate>, forgotten: &Forgotten) {
    match forgotten {
        Forgotten::Everything => candidates.clear(),
        Forgotten::Last => {
            let is_taste = |candidate: &Candidate| {
                vocabulary::words(&candidate.sentence).iter().any(|word| is_listed("taste", word))
            };
            if let Some(last) = candidates.iter().rposition(is_taste) {
                candidates.remove(last);
            }
        }
        Forgotten::Clothes(texts) => candidates.retain(|candidate| {
            let said = vocabulary::folded_words(&candidate.sentence);
            let is_meant = |text: &String| vocabulary::folded_words(text).iter().all(|word| said.contains(word));
            !texts.iter().any(is_meant)
        }),
    }
}

/// Returns at most five significant sentences of the user, in the order of the conversation: likes, dislikes, occasions
/// and plans, without those that they took back. The stylist's messages are not facts about the user.
pub fn summarise(messages: &[Message]) -> String {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut is_later = false;
    for line in messages.iter().filter_map(Message::user_text).flat_map(str::lines) {
        is_later |= line.trim() == SAID_SINCE;
        // A transcript line names its speaker; other lines are earlier memory or the user's own.
        let Some((line, is_memory)) = of_person(line) else { continue };
        for sentence in sentences(line) {
            let words = vocabulary::words(sentence);
            let is_markup = sentence.starts_with('<') && sentence.ends_with('>');
            if let Some(forgotten) = understand::forgotten(sentence) {
                forget(&mut candidates, &forgotten);
                continue;
            }
            let is_known = candidates.iter().any(|known| known.sentence == sentence);
            if words.len() < 3 || is_markup || is_known || sentence.ends_with('?') {
                continue;
            }
            let telling = words.iter().filter(|word| thesaurus::lookup(word).is_some()).count();
            let taste = words.iter().filter(|word| is_listed("taste", word)).count();
            let is_first_person = words.iter().any(|word| matches!(word.as_str(), "i" | "im" | "ive" | "my" | "me"));
            let weight = 2 * telling.min(4) + 4 * taste.min(2) + 3 * usize::from(is_first_person);
            // Drop small talk and momentary wishes.
            if is_memory || (weight >= 5 && (taste > 0 || is_first_person)) {
                let weight = weight + 4 * usize::from(is_memory);
                candidates.push(Candidate { weight, sentence: sentence.to_owned(), is_later });
            }
        }
    }
    candidates.retain(|candidate| !candidate.is_later);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|place| (std::cmp::Reverse(candidates[*place].weight), std::cmp::Reverse(*place)));
    order.truncate(MAX_SENTENCES);
    order.sort_unstable();
    let sentences = order.into_iter().map(|place| {
        let short = head(&candidates[place].sentence, MAX_SENTENCE);
        if short.ends_with(['.', '!', '?']) { short } else { format!("{}.", short.trim_end_matches([',', ';', ':'])) }
    });
    let summary = sentences.collect::<Vec<_>>().join(" ");
    if summary.is_empty() { NOTHING_SAID.to_owned() } else { summary }
}

/// The summary of a conversation in which the user said nothing about themselves.
pub const NOTHING_SAID: &str = "Nothing in particular was said about tastes or plans.";

/// Returns what a transcript line says about the user, and whether it is earlier memory; `None` for the stylist's lines
/// and headings.
fn of_person(line: &str) -> Option<(&str, bool)> {
    let line = line.trim_start_matches(['*', ' ']).trim();
    let role = |names: &[&str]| {
        names.iter().find_map(|name| {
            let head = line.get(..name.len())?;
            head.eq_ignore_ascii_case(name).then(|| line[name.len()..].trim())
        })
    };
    if let Some(text) = role(&["person:", "user:"]) {
        return Some((text, false));
    }
    let is_other = role(&["stylist:", "assistant:", "conversation:", "remembered before:", SAID_SINCE]).is_some();
    // Lists are the stylist's.
    (!is_other && !line.starts_with("- ")).then_some((line, true))
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
        assert!(expand_query("a jumper for pouring rain").contains("waterproof"));
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
    fn a_summary_has_what_the_person_said_and_nothing_of_the_stylist() {
        let transcript = "Remembered before:\nI never wear skirts.\n\nConversation:\nPerson: Hi. I love navy, and my office is \
                          strict.\nStylist: You have a gap in shoes.\n- Top: your white COS shirt, just right.\nPerson: What \
                          should I wear to dinner?\nStylist: I love this for you: the brown Carmina loafers.\nPerson: I'm \
                          planning a trip to Oslo in January.\nPerson: another one";
        let messages = [Message::System("Fold this.".to_owned()), Message::User(transcript.to_owned())];
        let summary = summarise(&messages);
        for part in ["I never wear skirts.", "I love navy", "trip to Oslo in January."] {
            assert!(summary.contains(part), "{summary}");
        }
        for part in ["COS", "Carmina", "gap", "another one", "What should"] {
            assert!(!summary.contains(part), "{summary}");
        }
        assert_eq!(summary, summarise(&messages));
    }

    #[test]
    fn a_summary_has_nothing_that_was_taken_back() {
        let told = "Remembered before:\nI never wear skirts.\n\nConversation:\nPerson: I don't like boots.\n\
                    Person: I'm planning a trip to Oslo in January.\n";
        let summary = |later: &str| summarise(&[Message::User(format!("{told}{later}"))]);
        assert!(summary("").contains("boots"));
        for later in ["Person: forget that I don't like boots", "Said since:\nPerson: forget boots"] {
            let summary = summary(later);
            assert!(!summary.contains("boots") && summary.contains("skirts") && summary.contains("Oslo"), "{summary}");
        }
        let last = summary("Said since:\nPerson: I hate brown shoes\nPerson: forget that");
        assert!(last.contains("boots") && !last.contains("brown"), "{last}");
        assert_eq!(summary("Person: forget everything"), NOTHING_SAID);
    }
}
