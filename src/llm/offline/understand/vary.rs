//! Changes of an outfit that was shown: other pieces, without a piece, warmer, or one of several.

use super::clothes::named;
use super::follow::Asked;
use super::shown::{all_names, shown_names, shown_outfits};
use super::{Limits, Named, OUTFITS, Request, dressier};
use crate::llm::offline::phrases::is_said;
use crate::model::garment::Description;
use crate::model::thesaurus::TermId;

/// Builds a request for another outfit, without pieces rejected for now or for good.
pub fn vary_outfit(request: Request, before: &Asked<'_>, shown: &[String]) -> Request {
    let is_for_good = !request.rejected.is_empty() && request.rejects_for_good() && request.asks.contains(&"dislike");
    let mut next = vary(request, before, shown);
    if is_for_good {
        next.asks.insert(0, "dislike");
    }
    next
}

/// Repeats the previous request with the changes in the message.
pub fn vary(request: Request, before: &Asked<'_>, shown: &[String]) -> Request {
    let (part, meant) = part(&request, before);
    let mut next = meant.clone();
    next.also.clear();
    next.is_variation = true;
    next.is_accepted = false;
    next.asks.retain(|ask| OUTFITS.contains(ask) || before.request.asks.len() == 1);
    if next.asks.first() == Some(&"opinion") {
        next.asks = vec!["outfit"];
    }
    next.when = request.when.clone().or(next.when);
    next.place = request.place.clone().or(next.place);
    next.celsius = request.celsius.or(next.celsius);
    next.wet |= request.wet;
    next.warmer = request.warmer.or(next.warmer);
    next.limits = if request.limits == Limits::default() { next.limits } else { request.limits.clone() };
    next.occasion.extend(&request.occasion);
    next.words.clone_from(&request.words);
    next.away.extend(request.away.iter().cloned());
    next.exchanged.clear();
    next.is_shown_again = false;
    let exchange = Exchange::of(&request);
    let (mut last, pointed_at) = subject(part, before.answer, &mut next);
    // After "that's already the warmest" the outfit is still the one before.
    if !last.is_empty() {
        next.before.clone_from(&last);
    } else if before.answer.is_none_or(|answer| shown_outfits(answer).is_empty()) {
        last.clone_from(&next.before);
    }
    // "What about the second?": that one of several.
    let is_changed = exchange.is_asked() || !request.rejected.is_empty() || request.warmer.is_some();
    let is_chosen = before.request.outfits != 1 && next.outfits == 1 && !is_changed;
    if is_chosen && !is_said("swap", &request.words) && !request.asks.contains(&"dislike") && !request.says_no() {
        next.kept = last;
        next.is_shown_again = true;
        return next;
    }
    let mut rejected: Vec<String> = pointed_at.into_iter().collect();
    // Drop the rejected piece and keep the rest.
    next.kept = if rejected.is_empty() { Vec::new() } else { last.clone() };
    reject(&request, &last, &mut next, &mut rejected);
    if exchange.is_asked() {
        exchange.make(&last, before.answer.map(all_names).unwrap_or_default(), &mut next);
    } else {
        if rejected.is_empty() && request.warmer.is_none() && dressier(&request.words).is_none() {
            next.unlike.extend(shown.iter().cloned());
        }
        // "With the boots instead": build the outfit around them.
        next.named.retain(|known| !request.names_group(group_of(&known.description)));
        next.named.extend(request.named);
    }
    // The rejected piece was not in the outfit, so the user wants another outfit.
    let is_missed = rejected.len() == request.rejected.len() && next.kept.len() == last.len();
    if is_missed && !rejected.is_empty() && !next.asks.contains(&"packing") {
        next.kept.clear();
        next.unlike.extend(last);
    }
    next.rejected.extend(rejected);
    next.unlike.dedup();
    next
}

/// A wish to replace pieces: "different shoes", "swap the boots for sneakers".
struct Exchange {
    /// The kinds that go.
    gone: Vec<Named>,
    /// The kinds that come instead, if the user names any.
    wanted: Vec<Named>,
}

impl Exchange {
    fn of(request: &Request) -> Self {
        let words = &request.words;
        let is_exchange = is_said("exchange", words);
        let is_kind = |named: &&Named| named.description.garment.is_some() && named.description.colours.is_empty();
        if !is_exchange {
            // "Different shoes": keep the rest, and avoid that pair.
            let gone =
                request.named.iter().filter(|named| is_kind(named) && !named.is_claimed && is_said("swap", words));
            return Self { gone: gone.cloned().collect(), wanted: Vec::new() };
        }
        let turn = words.iter().rposition(|word| matches!(word.as_str(), "for" | "with" | "by" | "to" | "into"));
        let (wanted, gone): (Vec<Named>, Vec<Named>) =
            request.named.iter().cloned().partition(|named| turn.is_some_and(|turn| named.start > turn));
        Self { gone, wanted }
    }

    fn is_asked(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Keeps the rest of the outfit, and notes kinds that were not in it.
    fn make(self, last: &[String], shown: Vec<String>, next: &mut Request) {
        let is_gone = |name: &&String| self.gone.iter().any(|named| is_kind_of(name, &named.description));
        let is_there = |named: &&Named| shown.iter().any(|name| is_kind_of(name, &named.description));
        next.absent = self.gone.iter().filter(|named| !is_there(named)).map(|named| named.text.clone()).collect();
        next.unlike.extend(shown.iter().filter(is_gone).cloned());
        let groups: Vec<_> = self.wanted.iter().map(|named| group_of(&named.description)).collect();
        let stays = |name: &&String| !is_gone(name) && !groups.contains(&group_of(&named(name).description));
        next.kept.extend(last.iter().filter(stays).cloned());
        let gone = self.gone;
        if self.wanted.is_empty() && !next.asks.contains(&"packing") {
            next.exchanged = gone.iter().map(|named| named.text.clone()).collect();
        }
        if next.asks.contains(&"packing") {
            next.rejected.extend(gone.iter().map(|named| named.text.clone()));
        }
        next.named.retain(|known| !groups.contains(&group_of(&known.description)));
        let wanted = if self.wanted.is_empty() && !next.asks.contains(&"packing") { gone } else { self.wanted };
        next.named.extend(wanted.into_iter().map(|named| Named { is_claimed: false, ..named }));
    }
}

/// Returns the index of the outfit that a message refers to, by number or day ("the second one", "change Wednesday"), and
/// the request for it.
pub fn part<'a>(request: &Request, before: &'a Asked<'_>) -> (Option<usize>, &'a Request) {
    let day = request.when.as_ref().filter(|when| when.first == when.last).map(|when| when.first);
    let by_day = day.and_then(|day| {
        let also = &before.request.also;
        let parts = std::iter::once(&before.request).chain(also).filter(|_| !also.is_empty());
        let part = parts.enumerate().find(|(_, part)| part.when.as_ref().is_some_and(|when| when.first == day));
        let head = format!("{} {} {}", day.weekday(), day.day(), day.month());
        let mut outfits = before.answer?.split("\n\n").filter(|block| !shown_names(block).is_empty());
        part.map(|(place, _)| place).or_else(|| outfits.position(|block| block.starts_with(&head)))
    });
    let part = request.ordinal.or(by_day);
    let meant = part.and_then(|place| before.request.also.get(place.checked_sub(1)?));
    (part, meant.unwrap_or(&before.request))
}

/// Returns the outfit that a message refers to, and its rejected piece.
fn subject(part: Option<usize>, answer: Option<&str>, next: &mut Request) -> (Vec<String>, Option<String>) {
    let mut outfits = answer.map(shown_outfits).unwrap_or_default();
    match (outfits.len(), part) {
        // "The first one, but not those trousers": continue with one of several outfits.
        (2.., Some(place)) if place < outfits.len() => {
            next.outfits = 1;
            (outfits.swap_remove(place), None)
        }
        (2.., _) => (Vec::new(), None),
        // "I don't like the second one": a piece of a single outfit.
        (1, Some(place)) if place < outfits[0].len() => {
            let piece = outfits[0].remove(place);
            (outfits.swap_remove(0), Some(piece))
        }
        _ => (outfits.pop().unwrap_or_default(), None),
    }
}

/// Drops the rejected pieces and keeps the rest of the outfit.
fn reject(request: &Request, last: &[String], next: &mut Request, rejected: &mut Vec<String>) {
    let points = request.rejects_shown && request.says(&["those", "these", "that", "this"]);
    for text in &request.rejected {
        let description = Description::of(text);
        let is_it = |name: &String| is_kind_of(name, &description);
        let is_like_it = |name: &String| group_of(&named(name).description) == group_of(&description);
        // "Not those trousers", which are jeans.
        let is_there = !points || last.iter().any(is_it);
        let (gone, kept): (Vec<String>, Vec<String>) =
            last.iter().cloned().partition(|name| if is_there { is_it(name) } else { is_like_it(name) });
        next.kept.extend(kept);
        // "Not those shoes": only those, not all shoes.
        if request.rejects_shown && !gone.is_empty() { rejected.extend(gone) } else { rejected.push(text.clone()) }
    }
}

pub fn group_of(description: &Description) -> Option<TermId> {
    description.garment.map(TermId::group)
}

/// Whether a shown piece is of the described kind or, without a kind, of its colour.
pub fn is_kind_of(name: &str, wanted: &Description) -> bool {
    let own = named(name).description;
    match wanted.garment {
        Some(kind) => own.garment.is_some_and(|own| own.is_a(kind)),
        None => own.colours.iter().any(|own| wanted.colours.iter().any(|colour| own.is_a(*colour))),
    }
}
