//! Messages that go on from what was asked and shown before them.

use ::time::Date;

use super::clothes::named;
use super::{Named, OUTFITS, Request, offer, read, settle};
use crate::llm::offline::phrases::{self, is_listed};
use crate::llm::offline::time::Span;
use crate::model::garment::Description;
use crate::model::thesaurus::TermId;
use crate::model::vocabulary;

/// Words of a message that only makes sense after another one.
const LONGEST_FOLLOW_UP: usize = 7;

/// Understands a message after what was asked and said before it.
pub fn follow(before: &Request, said: Option<&str>, shown: &[String], message: &str, today: Date) -> Request {
    let mut request = read(message, today);
    let first = request.words.first().cloned().unwrap_or_default();
    let first = first.as_str();
    let has_before = !before.asks.is_empty();
    // Consent to an offer: what was offered, and how they refine it.
    if request.words.len() <= 12
        && let Some(offer) = said.and_then(offer)
        && !request.says(&["thanks", "thank", "thx", "cheers"])
        && let Some(refinement) = vocabulary::after_consent(&request.words.join(" "))
    {
        let offered = read(offer, today);
        let refined = read(&refinement, today);
        // "Not quite it?" offers nothing.
        if offered.asks.is_empty() {
            return settle(request);
        }
        let is_another =
            refined.asks.iter().any(|ask| !matches!(*ask, "find" | "outfit" | "thanks") && !offered.asks.contains(ask));
        if is_another {
            return refined;
        }
        let mut accepted = read(&format!("{offer} {refinement}"), today);
        accepted.asks = offered.asks;
        accepted.is_accepted = true;
        // "Want me to put together an outfit for it?": what it is for was said before.
        inherit(&mut accepted, before);
        return accepted;
    }
    if !has_before {
        return settle(request);
    }
    let is_question = is_listed("question words", first)
        && !request.words.get(1).is_some_and(|word| matches!(word.as_str(), "about" | "if" | "else"));
    let opens = is_listed("openers", first);
    let varies = phrases::is_said("variation", &request.words);
    let modifies = request.warmer != 0.0 || phrases::is_said("modifier", &request.words);
    let weak = request.asks.iter().all(|ask| {
        matches!(*ask, "find" | "outfit" | "pair" | "shop" | "thanks" | "greet" | "howareyou" | "none" | "help")
    });
    let is_short = request.words.len() <= LONGEST_FOLLOW_UP;
    let is_rejection = !request.rejected.is_empty() || matches!(first, "no" | "nope" | "nah");
    let has_details = request.when.is_some()
        || request.place.is_some()
        || !request.named.is_empty()
        || !request.occasion.is_empty()
        || request.wet
        || request.celsius.is_some()
        || request.past.is_some();
    let own_wish = request.asks.iter().any(|ask| matches!(*ask, "outfit" | "pair" | "find"))
        && request.words.len() > 3
        && is_question;
    if weak && varies && (before.is_outfit() || is_short) && !own_wish {
        return vary(request, before, shown, said);
    }
    let is_about_shown = request.ordinal.is_some() && request.asks.iter().all(|ask| *ask == "dislike");
    if before.is_outfit() && (is_rejection || is_about_shown) && (weak || request.asks.contains(&"dislike")) {
        // What is not wanted now, or never again: either way another outfit.
        let is_for_good = !request.rejected.is_empty() && request.rejects_for_good();
        let remembered = request.asks.contains(&"dislike") && is_for_good;
        let mut next = vary(request, before, shown, said);
        if remembered {
            next.asks.insert(0, "dislike");
        }
        return next;
    }
    if weak && modifies && before.is_outfit() && !own_wish {
        return vary(request, before, shown, said);
    }
    if request.says(&["there"]) && request.place.is_none() {
        request.place.clone_from(&before.place);
    }
    // "How many shoes is that?"
    if request.asks == ["count"] && request.says(&["that", "those", "these"]) {
        let last = said.map(counted_names).unwrap_or_default();
        let fits = |name: &String| request.about().is_none_or(|about| is_kind_of(name, &about.description));
        request.counted = last.into_iter().filter(fits).collect();
    }
    // "When did I last wear it?", "which is the warmest?"
    let points_back = request.says(&["it", "its", "that", "them", "their", "those", "this", "these", "one"])
        || (first == "which" && is_short);
    if request.named.is_empty() && points_back && (!weak || request.asks == ["pair"] && !before.named.is_empty()) {
        request.named.clone_from(&before.named);
        if request.named.is_empty() {
            let last = said.map(shown_names).unwrap_or_default();
            request.named.extend(last.iter().take(1).map(|name| named(name)));
        }
        return settle(request);
    }
    // "Would the sandals work with that?": with what was shown, on that day.
    if before.is_outfit() && request.asks == ["opinion"] && points_back {
        inherit(&mut request, before);
        request.when = request.when.or(Some(Span { first: today, last: today, label: "today".to_owned() }));
    }
    let is_elliptic = is_short
        && !is_question
        && (opens || has_details)
        && (request.asks.is_empty() || weak && (opens || request.words.len() <= 3));
    if is_elliptic && has_details && weak {
        return complete(request, before, said);
    }
    settle(request)
}

/// The request before once more, changed by what the message says.
fn vary(request: Request, before: &Request, shown: &[String], said: Option<&str>) -> Request {
    let mut next = before.clone();
    let mut outfits = said.map(shown_outfits).unwrap_or_default();
    let mut rejected = Vec::new();
    let last = match (outfits.len(), request.ordinal) {
        // "The first one, but not those trousers": one of several outfits goes on.
        (2.., Some(place)) if place < outfits.len() => {
            next.outfits = 1;
            if request.rejected.is_empty() { Vec::new() } else { outfits.swap_remove(place) }
        }
        (2.., _) => Vec::new(),
        // "I don't like the second one": of the pieces of one outfit.
        (1, Some(place)) if place < outfits[0].len() => {
            rejected.push(outfits[0].remove(place));
            outfits.swap_remove(0)
        }
        _ => outfits.pop().unwrap_or_default(),
    };
    next.is_variation = true;
    next.is_accepted = false;
    next.words = request.words;
    next.asks.retain(|ask| OUTFITS.contains(ask) || before.asks.len() == 1);
    if next.asks.first() == Some(&"opinion") {
        next.asks = vec!["outfit"];
    }
    next.when = request.when.or(next.when);
    next.place = request.place.or(next.place);
    next.celsius = request.celsius.or(next.celsius);
    next.wet |= request.wet;
    next.warmer += request.warmer;
    if !request.occasion.is_empty() {
        next.occasion.extend(request.occasion);
    }
    // Without the piece that was pointed at, the rest stays.
    next.kept = if rejected.is_empty() { Vec::new() } else { last.clone() };
    // "Different shoes": the rest stays, that pair does not come again.
    let swapped: Vec<&Named> = request
        .named
        .iter()
        .filter(|named| {
            !named.is_claimed && named.description.garment.is_some() && named.description.colours.is_empty()
        })
        .collect();
    let is_swap = phrases::is_said("swap", &next.words) && !swapped.is_empty();
    for text in &request.rejected {
        let description = Description::of(text);
        let group = description.garment.map(TermId::group);
        let is_it = |name: &String| is_kind_of(name, &description);
        let is_like_it = |name: &String| named(name).description.garment.map(TermId::group) == group;
        let points = request.rejects_shown && next.says(&["those", "these", "that", "this"]);
        let is_there = !points || last.iter().any(is_it);
        // "Not those trousers", which are jeans.
        let (gone, kept): (Vec<String>, Vec<String>) =
            last.iter().cloned().partition(|name| if is_there { is_it(name) } else { is_like_it(name) });
        next.kept.extend(kept);
        // "Not those shoes": those, not all shoes.
        if request.rejects_shown && !gone.is_empty() { rejected.extend(gone) } else { rejected.push(text.clone()) }
    }
    if is_swap {
        let gone = |name: &&String| swapped.iter().any(|named| is_kind_of(name, &named.description));
        next.unlike.extend(shown.iter().filter(gone).cloned());
        next.kept.extend(last.iter().filter(|name| !gone(name)).cloned());
    } else if rejected.is_empty() && request.warmer == 0.0 {
        next.unlike.extend(shown.iter().cloned());
    }
    if !is_swap {
        for named in request.named {
            // "With the boots instead": they are what it is built around.
            next.named.retain(|known| {
                known.description.garment.map(TermId::group) != named.description.garment.map(TermId::group)
            });
            next.named.push(named);
        }
    }
    // What is not wanted was not in it: another outfit is.
    let is_missed = rejected.len() == request.rejected.len() && next.kept.len() == last.len();
    if is_missed && !rejected.is_empty() && !next.asks.contains(&"packing") {
        next.kept.clear();
        next.unlike.extend(last.iter().cloned());
    }
    next.rejected.extend(rejected);
    next.unlike.dedup();
    next
}

/// Whether a piece that was shown is of the kind that is described, or without a kind of its colour.
fn is_kind_of(name: &str, wanted: &Description) -> bool {
    let own = named(name).description;
    match wanted.garment {
        Some(kind) => own.garment.is_some_and(|own| own.is_a(kind)),
        None => own.colours.iter().any(|own| wanted.colours.iter().any(|colour| own.is_a(*colour))),
    }
}

/// A message that says only what is different from the request before: "and for tomorrow?".
fn complete(request: Request, before: &Request, said: Option<&str>) -> Request {
    let mut next = Request { asks: before.asks.clone(), words: request.words.clone(), ..request.clone() };
    if next.named.is_empty() {
        next.named.clone_from(&before.named);
    } else if before.asks.first() == Some(&"find") {
        // "Only the black ones": of what was asked for.
        for named in &mut next.named {
            if named.description.garment.is_none()
                && let Some(kind) = before.named.first().and_then(|named| named.description.garment)
            {
                named.description.garment = Some(kind);
                named.text = format!("{} {}", named.text, kind.name());
            }
        }
    }
    next.past = next.past.or_else(|| before.past.clone().filter(|_| request.when.is_none()));
    if before.is_outfit() && !request.named.is_empty() {
        // "And what about shoes?": within the outfit that was shown.
        let last = said.map(shown_names).unwrap_or_default();
        let is_new = |name: &String| {
            let own = named(name).description.garment.map(TermId::group);
            request.named.iter().all(|named| named.description.garment.map(TermId::group) != own)
        };
        next.kept = last.into_iter().filter(is_new).collect();
        if before.asks.first() != Some(&"opinion") {
            next.is_variation = true;
            next.asks = vec!["outfit"];
        }
    }
    inherit(&mut next, before);
    settle(next)
}

/// Takes what the request leaves open from the one before.
fn inherit(next: &mut Request, before: &Request) {
    if next.occasion.is_empty() {
        next.occasion.clone_from(&before.occasion);
    }
    next.when = next.when.take().or_else(|| before.when.clone());
    next.place = next.place.take().or_else(|| before.place.clone());
    next.days = next.days.or(before.days);
    next.celsius = next.celsius.or(before.celsius);
    next.wet |= before.wet;
    for rejected in &before.rejected {
        if !next.rejected.contains(rejected) {
            next.rejected.push(rejected.clone());
        }
    }
    if next.is_accepted && next.named.is_empty() && next.asks.first() == Some(&"outfit") {
        next.unlike.clone_from(&before.unlike);
    }
}

/// The pieces of each outfit that an answer of ours listed: one, or several with blank lines between them.
fn shown_outfits(answer: &str) -> Vec<Vec<String>> {
    answer.split("\n\n").map(shown_names).filter(|names| !names.is_empty()).collect()
}

/// The pieces of an answer of ours, also where a line has several: "- 2 tops: your white tee and your navy polo."
fn counted_names(answer: &str) -> Vec<String> {
    let lines = answer.lines().filter_map(|line| line.strip_prefix("- "));
    let names = |line: &'_ str| -> Vec<String> {
        let (head, rest) = line.split_once(": ").unwrap_or(("", line));
        if !head.starts_with(|first: char| first.is_ascii_digit()) {
            return shown_names(&format!("- {line}"));
        }
        let names = rest.split("your ").map(|name| name.trim_end_matches([' ', ',', '.']).trim_end_matches(" and"));
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    lines.flat_map(names).collect()
}

/// The pieces that an answer of ours listed.
pub fn shown_names(answer: &str) -> Vec<String> {
    let lines = answer.lines().filter(|line| line.starts_with("- "));
    let name = |line: &str| {
        let rest = line.split_once("your ").map(|(_, rest)| rest)?;
        let end = rest.find([',', ';', ':', '(']).or_else(|| rest.find(". ")).unwrap_or(rest.len());
        Some(rest[..end].trim_end_matches('.').trim().to_owned())
    };
    lines.filter_map(name).filter(|name| !name.is_empty()).collect()
}
