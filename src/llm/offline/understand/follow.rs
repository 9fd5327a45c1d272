//! Follow-up messages, interpreted in the context of earlier questions and answers.

use ::time::Date;

use super::clothes::named;
use super::settle::settle;
use super::shown::{all_names, is_shortened, reasons, recommended, shown_names, shown_outfits};
use super::vary::{group_of, is_kind_of, part, vary, vary_outfit};
use super::{Limits, Named, Request, offer, read};
use crate::llm::offline::phrases::{Ask, is_listed, is_said};
use crate::llm::offline::time::Span;
use crate::model::garment::Slot;
use crate::model::thesaurus::{self, TermId};
use crate::model::vocabulary;

/// Most words of a follow-up, and of a consent with details.
const LONGEST_FOLLOW_UP: usize = 7;
const LONGEST_CONSENT: usize = 12;
/// Kinds of question that a consent may repeat without being a separate request.
const KINDS_OF_CONSENT: [&str; 4] = ["find", "outfit", "thanks", "ok"];

/// An understood message of the user.
pub struct Asked<'a> {
    /// Request of the earlier message.
    pub request: Request,
    /// The stylist's answer to it.
    pub answer: Option<&'a str>,
}

/// The conversation before a message.
pub struct Conversation<'a> {
    /// The messages, oldest first.
    pub asked: Vec<Asked<'a>>,
    /// Names of the pieces that the answer showed.
    pub shown: Vec<String>,
    /// The day it is.
    pub today: Date,
}

impl<'a> Conversation<'a> {
    /// Returns the message that the next one follows up. Small talk, what was not understood, and questions about shown
    /// pieces are asides.
    fn last(&self) -> Option<&Asked<'a>> {
        let is_aside = |asked: &Request| {
            asked.asks.iter().all(|ask| is_listed("asides", ask))
                || asked.asks == ["count"] && !asked.pointed_at.is_empty()
        };
        self.asked.iter().rev().find(|asked| !is_aside(&asked.request))
    }

    /// Returns the last request for an outfit, if only asides came after it: "will it rain?", "thanks".
    fn last_outfit(&self) -> Option<&Asked<'a>> {
        let goes_on = |asked: &&Asked| {
            asked.request.is_outfit() || asked.request.asks.iter().any(|ask| is_listed("kinds that go on", ask))
        };
        self.asked.iter().rev().find(goes_on).filter(|asked| asked.request.is_outfit())
    }

    /// Leaves out what the user said earlier cannot be worn for now.
    pub fn leave_out_away(&self, request: &mut Request) {
        for text in self.asked.last().map_or(&[][..], |last| &last.request.away) {
            let is_back = request.named.iter().any(|named| named.is_claimed && named.text == *text);
            if !is_back && !request.away.contains(text) {
                request.away.push(text.clone());
            }
        }
    }

    /// Interprets the next message; `said` is the answer right before it.
    pub fn follow(&self, message: &str, said: Option<&str>) -> Request {
        let mut request = read(message, self.today);
        let last = self.last();
        if let Some(next) = self.consent(&request, said) {
            return next;
        }
        if request.asks == ["why"] {
            self.explain(&mut request);
            return request;
        }
        if request.asks == ["forget"] {
            self.point_at_remembered(&mut request);
            return request;
        }
        let is_right_after = last.is_some_and(|last| last.request.is_outfit());
        if is_right_after {
            request.be_about_outfit();
        }
        let earlier =
            self.go_back(&request).or_else(|| self.on_day_of_trip(&request)).or_else(|| self.repack(&request));
        if let Some(next) = earlier.or_else(|| self.add_to_trip(&request, last)) {
            return next;
        }
        if let Some(outfit) = self.last_outfit().filter(|_| request.changes_outfit(is_right_after)) {
            return vary_outfit(request, outfit, &self.shown);
        }
        let Some(last) = last else { return settle(request) };
        if request.is_varied() && request.is_short() {
            return vary(request, last, &self.shown);
        }
        self.go_on(request, last, last.answer.or(said))
    }

    /// "Forget that": what was remembered last in this conversation.
    fn point_at_remembered(&self, request: &mut Request) {
        if request.forgets_all || !request.named.is_empty() || !request.rejected.is_empty() || !request.is_short() {
            return;
        }
        let is_remembered =
            |asked: &&Asked<'_>| asked.request.asks.iter().any(|ask| is_listed("kinds to remember", ask));
        if let Some(remembered) = self.asked.iter().rev().find(is_remembered) {
            request.named.clone_from(&remembered.request.named);
            request.rejected.clone_from(&remembered.request.rejected);
            request.facts.clone_from(&remembered.request.facts);
        }
    }

    /// Returns the request for what was shown earlier: "the first one was better", "go back to the first shoes".
    fn go_back(&self, request: &Request) -> Option<Request> {
        let may_be = request.is_weak() || request.asks == ["like"];
        // "The first one", after several answers with an outfit each.
        let is_bare = request.ordinal.is_some() && request.words.len() <= 4 && request.is_weak() && !request.says_no();
        let is_back = |answers: &[Vec<Vec<String>>]| {
            is_said("back", &request.words) || is_bare && answers.last().is_some_and(|last| last.len() == 1)
        };
        let last = self.last_outfit().filter(|_| may_be)?;
        let answers = self.asked.iter().filter_map(|asked| asked.answer).map(shown_outfits);
        let answers: Vec<_> = answers.filter(|outfits| !outfits.is_empty()).collect();
        if answers.len() < 2 && is_bare || !is_back(&answers) {
            return None;
        }
        let several = answers.last().filter(|outfits| outfits.len() > 1);
        let shown = several.cloned().unwrap_or_else(|| answers.concat());
        let current = answers.last()?.last()?;
        let place = request.words.iter().find_map(|word| match word.as_str() {
            "first" | "original" => Some(0),
            "second" => Some(1),
            "third" => Some(2),
            "previous" | "earlier" | "before" | "last" => shown.len().checked_sub(2),
            _ => None,
        });
        let wanted = shown.get(place?)?;
        let mut next =
            Request { is_variation: true, is_shown_again: true, outfits: 1, warmer: None, ..last.request.clone() };
        next.unlike.clear();
        next.exchanged.clear();
        next.words.clone_from(&request.words);
        // "The first shoes": with the rest of the present outfit.
        let is_meant = |name: &&String| request.names_group(group_of(&named(name).description));
        let changed = wanted.iter().filter(is_meant).chain(current.iter().filter(|name| !is_meant(name)));
        next.kept = if request.named.is_empty() { wanted.clone() } else { changed.cloned().collect() };
        next.named.retain(|known| !request.names_group(group_of(&known.description)));
        Some(next)
    }

    /// Returns the request for the outfit of one day of the trip that was packed for: "what about day two?"
    fn on_day_of_trip(&self, request: &Request) -> Option<Request> {
        let trip = self.last_outfit().filter(|asked| asked.request.asks.contains(&"packing") && request.is_weak())?;
        let is_next = request.words.windows(2).any(|pair| pair == ["day", "after"] || pair == ["next", "day"]);
        let next = || trip.request.day.filter(|_| is_next && !request.says(&["tomorrow"])).map(|day| day + 1);
        let day = request.day.or_else(next)?;
        Some(Request { day: Some(day), words: request.words.clone(), ..trip.request.clone() })
    }

    /// "Why?", "why the belt?": takes the reasons from the answers that showed the outfit.
    fn explain(&self, request: &mut Request) {
        let Some(outfit) = self.last_outfit() else { return };
        // "Why not the boots?"
        request.named.extend(std::mem::take(&mut request.rejected).iter().map(|text| named(text)));
        request.inherit(&outfit.request);
        let answers: Vec<&str> = self.asked.iter().rev().filter_map(|asked| asked.answer).collect();
        let Some(shown) = answers.iter().map(|answer| reasons(answer)).find(|reasons| !reasons.is_empty()) else {
            return;
        };
        // "As before" was explained before.
        let is_reason = |(_, why): &(String, String)| why != "as before";
        let first = |name: &String| {
            answers.iter().flat_map(|answer| reasons(answer)).find(|reason| reason.0 == *name && is_reason(reason))
        };
        request.reasons = shown.iter().filter_map(|(name, _)| first(name)).collect();
    }

    /// Returns the request to pack with less room than before: "only hand luggage", "no room for two coats".
    fn repack(&self, request: &Request) -> Option<Request> {
        let trip = self.last_outfit().filter(|asked| asked.request.asks.contains(&"packing"))?;
        let is_new = request.place.is_some() || request.days.is_some() || request.when.is_some();
        let is_about_it = request.asks == ["packing"] || request.is_weak() && request.limits.pieces.most.is_some();
        if is_new || !(is_about_it || request.is_light) {
            return None;
        }
        let mut next = Request { words: request.words.clone(), day: None, ..trip.request.clone() };
        next.is_light |= request.is_light;
        next.wet |= request.wet;
        next.celsius = request.celsius.or(next.celsius);
        next.occasion.extend(&request.occasion);
        next.rejected.extend(request.rejected.iter().cloned());
        if request.limits.pieces.is_given() {
            next.limits.pieces = request.limits.pieces;
            next.named.extend(request.named.iter().cloned());
        }
        Some(settle(next))
    }

    /// Returns the request to pack for something more: "there will be a dinner and a hike".
    fn add_to_trip(&self, request: &Request, last: Option<&Asked<'_>>) -> Option<Request> {
        let trip = &last?.request;
        let is_told = request.is_weak() && !request.is_question() && request.named.is_empty() && request.when.is_none();
        if trip.asks != ["packing"] || !is_told || request.occasion.is_empty() || request.place.is_some() {
            return None;
        }
        let mut next = Request { words: request.words.clone(), day: None, ..trip.clone() };
        if next.occasion.is_empty() {
            next.occasion.push(thesaurus::named("travel"));
        }
        next.occasion.extend(&request.occasion);
        Some(next)
    }

    /// Returns the accepted offer with the consent's details, or the separate request in the consent.
    fn consent(&self, request: &Request, said: Option<&str>) -> Option<Request> {
        let offer = said.and_then(offer)?;
        if request.words.len() > LONGEST_CONSENT || request.says(&["thanks", "thank", "thx", "cheers"]) {
            return None;
        }
        let refinement = vocabulary::after_consent(&request.words.join(" "))?;
        let offered = read(offer, self.today);
        // "Not quite it?" is not an offer.
        if offered.asks.is_empty() {
            return None;
        }
        // One to note something is not the stylist's own, but quoted from data.
        if offered.asks.iter().any(|ask| is_listed("kinds that write", ask)) {
            return Some(settle(request.clone()));
        }
        let refined = read(&refinement, self.today);
        if refined.is_another_wish_than(&offered) {
            return Some(refined);
        }
        let mut accepted = read(&format!("{offer} {refinement}"), self.today);
        accepted.asks = offered.asks;
        accepted.is_accepted = true;
        // "Want me to put together an outfit for it?": the occasion was named before.
        if let Some(last) = self.last() {
            accepted.inherit(&last.request);
        }
        Some(accepted)
    }

    /// Interprets a message that refers back or is elliptical.
    fn go_on(&self, mut request: Request, last: &Asked<'_>, said: Option<&str>) -> Request {
        let before = part(&request, last).1;
        if request.says(&["there"]) && request.place.is_none() {
            request.place.clone_from(&before.place);
        }
        if request.asks == ["shop"] && request.named.is_empty() && request.says(&["that", "it", "those", "one", "them"])
        {
            request.named.extend(said.map(recommended).unwrap_or_default().iter().map(|text| named(text)));
        }
        let is_order = request.asks.first().is_some_and(|ask| is_listed("kinds of order", ask));
        if is_order
            && request.named.is_empty()
            && request.says(&["of", "outfit", "outfits", "look", "looks", "one"])
            && said.is_some_and(|said| shown_outfits(said).len() > 1)
        {
            request.asks = vec!["outfits compared"];
            return request;
        }
        // "And how much on shoes?": in the same period.
        if request.asks == ["spent"] && before.asks == ["spent"] && request.is_short() {
            request.take_limits(before);
        }
        if request.asks.first().is_some_and(|ask| is_listed("kinds about pieces", ask))
            && let Some(next) = self.point(&request, last)
        {
            return settle(next);
        }
        // "An outfit with that", after a list.
        if matches!(request.asks[..], ["outfit" | "pair"])
            && request.named.is_empty()
            && !before.is_outfit()
            && (request.ordinal.is_some() || before.named.is_empty() && is_said("around it", &request.words))
            && let Some(name) = said.map(all_names).unwrap_or_default().get(request.ordinal.unwrap_or_default())
        {
            request.named.push(named(name));
            return settle(request);
        }
        // "What shoes go with it?"
        if request.asks == ["pair"]
            && !before.is_outfit()
            && !request.named.is_empty()
            && request.named.iter().all(|named| !named.is_claimed)
            && (request.ordinal.is_some() || is_said("around it", &request.words))
        {
            let shown = said.map(all_names).unwrap_or_default();
            let about = before.about().filter(|about| about.is_claimed && request.ordinal.is_none());
            let shown = shown.get(request.ordinal.unwrap_or_default()).map(|name| named(name));
            request.named.extend(about.cloned().or(shown));
            return settle(request);
        }
        // "When did I last wear it?", "which is the warmest?"
        let points_back = request.says(&["it", "its", "that", "them", "their", "those", "this", "these", "one"])
            || (request.first_word() == "which" && request.is_short())
            || (is_order && matches!(request.first_word(), "and" | "or") && request.is_short());
        let may_point = !request.is_weak() || request.asks == ["pair"] && !before.named.is_empty();
        if request.named.is_empty() && points_back && may_point {
            request.named.clone_from(&before.named);
            // "Is that ok for work?" asks about the piece, not about what goes with it.
            if request.asks == ["opinion"] && request.named.iter().any(|named| named.is_claimed) {
                request.named.retain(|named| named.is_claimed);
            }
            if request.named.is_empty() {
                let names = said.map(shown_names).unwrap_or_default();
                request.named.extend(names.iter().take(1).map(|name| named(name)));
            }
            return settle(request);
        }
        // "Would the sandals work with that?": with the shown outfit, on that day.
        if before.is_outfit() && request.asks == ["opinion"] && points_back {
            request.inherit(before);
            let today = || Span { first: self.today, last: self.today, label: "today".to_owned() };
            request.when.get_or_insert_with(today);
        }
        // "I need an outfit for tomorrow", after a question about something else, is complete.
        let is_complete = request.asks == ["outfit"] && !before.is_outfit();
        if request.is_elliptic() && !is_complete { complete(request, before, said) } else { settle(request) }
    }

    /// Interprets a question about the pieces that an answer showed: "how many of those are shoes?", "when did I buy
    /// the second one?"
    fn point(&self, request: &Request, last: &Asked<'_>) -> Option<Request> {
        let before = &last.request;
        let answer =
            self.asked.iter().rev().filter_map(|asked| asked.answer).find(|text| !all_names(text).is_empty())?;
        let shown = all_names(answer);
        let mut next = request.clone();
        if let Some(place) = request.ordinal.filter(|_| request.named.is_empty() && shown_outfits(answer).len() < 2) {
            next.named.push(named(shown.get(place)?));
            return Some(next);
        }
        let says_those = request.says(&["those", "these", "ones"]);
        let says_them = (before.named.is_empty() || !before.is_outfit()) && request.says(&["them", "they", "their"]);
        let says_that = request.asks == ["count"] && request.says(&["that"]);
        let asks_which = request.first_word() == "which" && request.is_short() && request.named.is_empty();
        let may_point = !request.is_weak() || is_said("of those", &request.words);
        if !(may_point && (says_those || says_them || says_that || asks_which)) {
            return None;
        }
        if is_shortened(answer) {
            // All that was asked for before, not only the pieces that fitted into the answer.
            next.narrow(before);
        } else if shown.len() > 1 || says_that {
            // "Those", after "which shoes should I wear?": the shoes.
            let is_meant = |name: &&String| {
                before.is_outfit()
                    && before.asks != ["packing"]
                    && before.about().is_some_and(|about| is_kind_of(name, &about.description))
            };
            let meant: Vec<String> = shown.iter().filter(is_meant).cloned().collect();
            next.pointed_at = if meant.is_empty() { shown } else { meant };
        } else {
            return None;
        }
        Some(next)
    }
}

impl Request {
    fn first_word(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// "Remove the belt", "the boots are at the cobbler's": right after an outfit, these are about it.
    fn be_about_outfit(&mut self) {
        let is_about_wardrobe = self.says(&["wardrobe", "closet", "app"]);
        let may_be = matches!(self.asks[..], ["away" | "cannot"]) && !is_about_wardrobe;
        // "I wore that yesterday" asks for something else.
        if self.asks == ["wearing"] && is_said("variation", &self.words) {
            self.asks.clear();
        }
        if may_be && !(self.away.is_empty() && self.rejected.is_empty()) {
            self.asks.clear();
            self.rejected.extend(self.away.iter().cloned());
        }
    }

    /// Whether it has no specific request.
    fn is_weak(&self) -> bool {
        self.asks.iter().all(|ask| is_listed("weak kinds", ask))
    }

    fn is_short(&self) -> bool {
        self.words.len() <= LONGEST_FOLLOW_UP
    }

    fn is_question(&self) -> bool {
        let second = self.words.get(1).map_or("", String::as_str);
        is_listed("question words", self.first_word()) && !matches!(second, "about" | "if" | "else")
    }

    /// Whether it requests neither anything specific nor a separate outfit.
    fn leaves_open(&self) -> bool {
        let is_own = |ask: &Ask| matches!(*ask, "outfit" | "pair" | "find");
        self.is_weak() && !(self.is_question() && self.words.len() > 3 && self.asks.iter().any(is_own))
    }

    /// Whether it wants another one.
    fn is_varied(&self) -> bool {
        self.leaves_open() && is_said("variation", &self.words)
    }

    /// Whether it asks to change a shown outfit, right after it or after asides (to which a "no" may refer).
    fn changes_outfit(&self, is_right_after: bool) -> bool {
        let is_modified = self.warmer.is_some() || is_said("modifier", &self.words);
        let is_changed = self.is_varied() || self.leaves_open() && is_modified;
        let is_dislike = |ask: &Ask| matches!(*ask, "dislike" | "condition");
        let is_about_shown = self.ordinal.is_some() && self.asks.iter().all(is_dislike);
        let refuses = !self.rejected.is_empty() || is_about_shown;
        if is_right_after {
            is_changed || (refuses || self.says_no()) && (self.is_weak() || self.asks.iter().any(is_dislike))
        } else {
            self.is_short() && (is_changed || refuses && self.is_weak())
        }
    }

    pub fn says_no(&self) -> bool {
        matches!(self.first_word(), "no" | "not" | "nope" | "nah")
    }

    /// Whether it names only a difference: "and for tomorrow?".
    fn is_elliptic(&self) -> bool {
        let opens = is_listed("openers", self.first_word());
        let is_bare = self.asks.is_empty() || opens || self.words.len() <= 3;
        let has_details = self.has_situation()
            || self.place.is_some()
            || !self.named.is_empty()
            || self.past.is_some()
            || self.limits.are_of_pieces();
        self.is_weak() && self.is_short() && !self.is_question() && has_details && is_bare
    }

    /// Whether it requests something other than the offer, rather than a detail of it.
    pub fn is_another_wish_than(&self, offered: &Self) -> bool {
        self.asks.iter().any(|ask| !KINDS_OF_CONSENT.contains(ask) && !offered.asks.contains(ask))
    }

    /// Asks about those of the pieces that another request is about.
    fn narrow(&mut self, before: &Self) {
        match (self.named.first_mut(), before.about()) {
            (Some(own), Some(theirs)) => {
                own.description.colours.extend(&theirs.description.colours);
                own.description.qualities.extend(&theirs.description.qualities);
                own.description.words.extend(theirs.description.words.iter().cloned());
                let kept = theirs.description.garment.is_none();
                own.text = if kept { format!("{} {}", theirs.text, own.text) } else { own.text.clone() };
            }
            _ => self.named.clone_from(&before.named),
        }
        if before.asks.first() == Some(&"never") {
            self.limits.wears.most = Some(0.0);
        }
        self.take_limits(before);
    }

    /// Takes over limits and period from the previous request, unless it has its own.
    fn take_limits(&mut self, before: &Self) {
        if self.past.is_none() {
            self.past.clone_from(&before.past);
        }
        if self.said_deed.is_none() {
            self.said_deed = before.deed();
        }
        if !self.limits.are_of_pieces() {
            let pieces = self.limits.pieces;
            self.limits = Limits { pieces, ..before.limits.clone() };
        }
    }

    /// Fills in missing parts from the previous request.
    fn inherit(&mut self, before: &Self) {
        if self.occasion.is_empty() {
            self.occasion.clone_from(&before.occasion);
        }
        self.when = self.when.take().or_else(|| before.when.clone());
        self.place = self.place.take().or_else(|| before.place.clone());
        self.days = self.days.or(before.days);
        self.celsius = self.celsius.or(before.celsius);
        self.wet |= before.wet;
        for rejected in &before.rejected {
            if !self.rejected.contains(rejected) {
                self.rejected.push(rejected.clone());
            }
        }
        if self.is_accepted && self.named.is_empty() && self.asks.first() == Some(&"outfit") {
            self.unlike.clone_from(&before.unlike);
        }
    }

    /// Whether it names clothes of this group.
    pub fn names_group(&self, group: Option<TermId>) -> bool {
        self.named.iter().any(|named| group_of(&named.description) == group)
    }
}

/// Completes a message that names only a difference from the previous request: "and for tomorrow?".
fn complete(request: Request, before: &Request, said: Option<&str>) -> Request {
    let mut next = Request { asks: before.asks.clone(), ..request.clone() };
    if next.named.is_empty() {
        next.named.clone_from(&before.named);
    } else if !before.is_outfit()
        && let Some(kind) = before.about().and_then(|named| named.description.garment)
    {
        // "Only the black ones": narrow the requested pieces.
        for named in next.named.iter_mut().filter(|named| named.description.garment.is_none()) {
            named.description.garment = Some(kind);
            named.text = format!("{} {}", named.text, kind.name());
        }
    }
    if request.when.is_none() || request.past.is_some() {
        next.take_limits(before);
    }
    let anchor = before.named.iter().rfind(|named| named.is_claimed).or_else(|| before.about());
    if let Some(anchor) = anchor.filter(|_| before.asks == ["pair"] && !request.named.is_empty()) {
        // "What goes with my coat?", "and shoes?": shoes to go with the coat.
        next.named.iter_mut().for_each(|named| named.is_claimed = false);
        next.named.push(Named { is_claimed: true, ..anchor.clone() });
    } else if before.is_outfit() && !request.named.is_empty() {
        // "And what about shoes?": within the shown outfit.
        let mut names = said.map(shown_names).unwrap_or_default();
        // "Something red": other pieces, too.
        names.retain(|_| request.named.iter().any(|named| named.description.garment.is_some()));
        let slots: Vec<Slot> = request.named.iter().filter_map(|named| named.description.slot()).collect();
        names.retain(|name| {
            let own = named(name).description;
            !request.names_group(group_of(&own))
                && !slots.iter().any(|slot| own.slot().is_some_and(|own| own.excludes(*slot)))
        });
        next.kept = names;
        if before.asks.first() != Some(&"opinion") {
            next.is_variation = true;
            next.asks = vec!["outfit"];
        }
    }
    next.inherit(before);
    settle(next)
}
