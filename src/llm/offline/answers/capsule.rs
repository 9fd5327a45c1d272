//! Answers with a capsule wardrobe: a few pieces that go together in many ways.

use std::collections::BTreeMap;

use serde_json::json;

use super::outfits::{nothing_to_wear, packed_line, plan_arguments};
use super::wording::bullets;
use crate::llm::offline::time;
use crate::llm::offline::turn::{Answer, Turn};
use crate::model::garment::Slot;
use crate::model::thesaurus::Kind;
use crate::model::tool_results::OutfitPlan;

/// Pieces of a capsule if the user names no number.
const USUAL_SIZE: usize = 12;
/// Days that it is planned for.
const DAYS: u16 = 14;

/// Takes the pieces of one outfit after the other, as many as were asked for.
pub fn capsule(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let said = asked.words.windows(2).find_map(|pair| {
        let is_thing = matches!(pair[1].as_str(), "piece" | "pieces" | "item" | "items" | "things" | "clothes");
        time::number(&pair[0]).filter(|_| is_thing).map(usize::from)
    });
    // A whole number, and small.
    let most = said.or(asked.limits.pieces.most.map(|most| most.max(1.0) as usize)).unwrap_or(USUAL_SIZE);
    let mut arguments = plan_arguments(turn, &[], &[]);
    arguments["days"] = json!(DAYS);
    arguments["packing"] = json!(true);
    let plan: OutfitPlan = turn.read("plan_outfits", arguments)?;
    let mut names: BTreeMap<Slot, Vec<String>> = BTreeMap::new();
    let mut count = 0;
    for piece in plan.outfits.iter().flat_map(|outfit| &outfit.pieces) {
        let of_slot = names.entry(piece.slot).or_default();
        if count < most && !of_slot.contains(&piece.name) {
            of_slot.push(piece.name.clone());
            count += 1;
        }
    }
    if count == 0 {
        return Ok(nothing_to_wear(turn, &plan));
    }
    let mut terms = asked.occasion.iter().map(|term| match term.kind() {
        Kind::Season | Kind::Style => term.name().to_owned(),
        _ => term.with_article(),
    });
    let what_for = terms.next_back().map(|term| format!(" for {term}")).unwrap_or_default();
    let lines =
        names.iter().filter(|(_, names)| !names.is_empty()).map(|(slot, names)| packed_line(turn, *slot, names));
    let told = format!("{}\n{}", turn.say("capsule", &[("count", &count), ("what_for", &what_for)]), bullets(lines));
    let is_small = said.is_some_and(|said| count < said);
    Ok(if is_small { format!("{told}\n{}", turn.say("capsule small", &[])) } else { told })
}
