//! Normalises the conversation before a turn, so that models accept it. Clients send whatever they have: answers of any
//! length, unanswered questions, truncated answers. Some model servers refuse an empty message, an assistant message at
//! the beginning, or two messages of one role in a row.

use super::MOST_TOLD_MESSAGES;
use crate::model::chat_run::{RecentMessage, Role};

/// Longest message, in characters; the middle of a longer one is omitted.
const LONGEST_TEXT: usize = 8_000;
/// Replaces the omitted middle.
const LEFT_OUT: &str = "\n[…]\n";

/// Returns the newest messages, none empty or too long, with alternating roles, starting with the user.
pub(super) fn tidy(recent: Vec<RecentMessage>) -> Vec<RecentMessage> {
    let newest = recent.len().saturating_sub(MOST_TOLD_MESSAGES);
    let mut tidy: Vec<RecentMessage> = Vec::new();
    for RecentMessage { role, content } in recent.into_iter().skip(newest) {
        let content = without_middle(content);
        if content.trim().is_empty() {
            continue;
        }
        match tidy.last_mut() {
            Some(last) if last.role == role => last.content = joined(&last.content, &content),
            None if role == Role::Assistant => {}
            Some(_) | None => tidy.push(RecentMessage { role, content }),
        }
    }
    tidy
}

/// Returns the newest messages within a total size in bytes, starting with a user message.
pub(super) fn newest_within(recent: &[RecentMessage], most_bytes: usize) -> Vec<RecentMessage> {
    let mut left = most_bytes;
    let fits = |message: &&RecentMessage| match left.checked_sub(message.content.len()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut newest: Vec<_> = recent.iter().rev().take_while(fits).cloned().collect();
    newest.reverse();
    tidy(newest)
}

/// Joins two messages of one role.
pub(super) fn joined(first: &str, second: &str) -> String {
    format!("{first}\n\n{second}")
}

fn without_middle(text: String) -> String {
    let length = text.chars().count();
    if length <= LONGEST_TEXT {
        return text;
    }
    let kept = LONGEST_TEXT - LEFT_OUT.chars().count();
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let mut short: String = text.chars().take(head).collect();
    short.push_str(LEFT_OUT);
    short.extend(text.chars().skip(length - tail));
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(messages: &[(Role, &str)]) -> Vec<(Role, String)> {
        let recent =
            messages.iter().map(|(role, content)| RecentMessage { role: *role, content: (*content).to_owned() });
        tidy(recent.collect()).into_iter().map(|message| (message.role, message.content)).collect()
    }

    #[test]
    fn roles_take_turns_and_the_user_is_first() {
        use Role::{Assistant, User};
        let one = |role, content: &str| (role, content.to_owned());
        assert_eq!(said(&[(Assistant, "Hi."), (User, "a"), (Assistant, "b")]), [one(User, "a"), one(Assistant, "b")]);
        assert_eq!(said(&[(User, "a"), (User, "b")]), [one(User, "a\n\nb")]);
        // An empty answer is dropped.
        assert_eq!(said(&[(User, "a"), (Assistant, " \n"), (User, "b")]), [one(User, "a\n\nb")]);
        assert_eq!(said(&[(User, ""), (Assistant, "x"), (Assistant, "y")]), []);
    }

    #[test]
    fn the_newest_count_and_long_ones_lose_their_middle() {
        let many: Vec<_> = (0..120).map(|n| (if n % 2 == 0 { Role::User } else { Role::Assistant }, "x")).collect();
        assert_eq!(said(&many).len(), MOST_TOLD_MESSAGES);
        let long = format!("a{}z", "é".repeat(9_000));
        let [(_, short)] = &said(&[(Role::User, &long)])[..] else { panic!("one message") };
        assert_eq!(short.chars().count(), LONGEST_TEXT);
        assert!(short.starts_with("aé") && short.ends_with("éz") && short.contains(LEFT_OUT));
        let fits = "é".repeat(LONGEST_TEXT);
        assert_eq!(said(&[(Role::User, &fits)]), [(Role::User, fits)]);
    }
}
