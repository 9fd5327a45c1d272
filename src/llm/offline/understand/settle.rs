//! Determines what a request asks for once all of its parts are known.

use super::limits::Bounds;
use super::{Named, OUTFITS, Request};
use crate::llm::offline::phrases::{Ask, is_listed};

/// Determines the kind of a request without a matching phrase from its clothes or occasions.
pub fn settle(mut request: Request) -> Request {
    // A message that tries to change the stylist's instructions gets no answer to anything else.
    if request.asks.contains(&"injection") {
        request.asks = vec!["injection"];
        return request;
    }
    let is_chat = |ask: &Ask| is_listed("small talk", ask);
    if !request.asks.iter().all(is_chat) {
        request.asks.retain(|ask| !is_chat(ask));
    }
    // "Ok, something in green"
    if request.asks == ["ok"]
        && let Some(ask) = request.implied_ask()
    {
        request.asks = vec![ask];
    }
    // "My coat is at the cleaners. What should I wear?"
    if request.asks.len() > 1 {
        request.asks.retain(|ask| *ask != "away");
    }
    if request.asks == ["compare"] && request.named.len() < 2 {
        request.asks.clear();
    }
    // Rejecting something for this occasion is not a dislike: "something for the office, no jeans please".
    if request.asks.contains(&"dislike")
        && !request.rejected.is_empty()
        && !request.rejects_for_good()
        && (request.has_situation() || request.asks.iter().any(|ask| OUTFITS.contains(ask)))
    {
        request.asks.retain(|ask| *ask != "dislike");
    }
    // What is remembered comes before what is put together with it in mind.
    request.asks.sort_by_key(|ask| *ask != "dislike");
    // "Three outfits with the camel coat"
    if request.asks == ["pair"] && request.outfits > 1 {
        request.asks = vec!["outfit"];
    }
    // "What clothes for a weekend in Edinburgh?", "we're off to Cape Town for 10 days"
    if matches!(request.asks[..], [] | ["outfit"] | ["find"])
        && request.place.is_some()
        && request.days.is_some()
        && !request.says(&["outfit", "outfits", "wear", "look", "looks"])
    {
        request.asks = vec!["packing"];
    }
    if request.asks == ["capsule"] && (request.place.is_some() || request.days.is_some()) {
        request.asks = vec!["packing"];
    }
    // "I'm going skiing, what do I need?"
    let is_to_buy = request.says(&["buy", "add", "get", "missing", "purchase", "wardrobe", "closet"]);
    if request.asks == ["gaps"] && !request.occasion.is_empty() && request.says(&["need"]) && !is_to_buy {
        let is_trip = request.when.as_ref().is_some_and(|when| when.first < when.last) || request.days.is_some();
        request.asks = vec![if is_trip { "packing" } else { "outfit" }];
    }
    // "Only one pair of shoes": a limit of that kind.
    if request.asks.contains(&"packing")
        && let Some(most) = request.limits.pieces.most
        && let Some(place) =
            request.named.iter().position(|named| !named.is_claimed && named.description.slot().is_some())
    {
        // A whole number, and small.
        request.most_of = request.named.remove(place).description.slot().map(|slot| (slot, most.max(0.0) as usize));
        request.limits.pieces = Bounds::default();
    }
    settle_clothes(&mut request);
    if request.asks.is_empty() && !request.is_foreign {
        request.asks.extend(request.implied_ask());
    }
    request
}

/// Determines what a question about clothes asks for: an outfit, a list or a count.
fn settle_clothes(request: &mut Request) {
    // "Which of my coats are waterproof?"
    if let [clothes, quality] = &request.named[..]
        && clothes.description.garment.is_some()
        && quality.description.garment.is_none()
        && matches!(request.asks[..], ["find" | "count"])
    {
        let mut both = clothes.clone();
        both.text = format!("{} {}", quality.text, clothes.text);
        both.description.colours.extend(&quality.description.colours);
        both.description.qualities.extend(&quality.description.qualities);
        request.named = vec![both];
    }
    // "Which coat for a rainy day?"
    let is_for = request.wet || request.celsius.is_some() || !request.occasion.is_empty();
    let is_wish = |named: &Named| named.description.garment.is_some() && !named.is_claimed;
    let is_inventory = is_listed("yes or no", request.words.first().map_or("", String::as_str));
    if request.asks == ["find"]
        && is_for
        && !is_inventory
        && request.says(&["for"])
        && request.named.iter().any(is_wish)
    {
        request.asks = vec!["outfit"];
    }
    // "Everything I own under 50 euros", "how many of those".
    let names_kind = request.named.iter().any(|named| named.description.garment.is_some());
    for ask in request.asks.iter_mut().filter(|ask| **ask == "summary") {
        if request.limits.are_of_pieces() || names_kind {
            *ask = "find";
        }
    }
    if request.asks == ["find"] && request.limits.pieces.is_given() {
        request.asks = vec!["count"];
    }
    // "What have I worn less than three times?" is not about the days.
    for ask in request.asks.iter_mut().filter(|ask| is_listed("kinds about wears", ask)) {
        if request.limits.wears.is_given() {
            *ask = "find";
        }
    }
    // What was not worn for some time, rather than never.
    for ask in request.asks.iter_mut().filter(|ask| **ask == "never") {
        if request.past.is_some() {
            *ask = "neglected";
        }
    }
    if request.asks.is_empty()
        && (request.limits.are_of_pieces() || request.past.is_some() && request.said_deed.is_some())
    {
        request.asks.push("find");
    }
}
