//! Outfits for several days, without repeating pieces on consecutive days if the wardrobe allows.

use std::collections::BTreeMap;

use super::{Choice, Outfit, Piece, Situation, Taste, compose};
use crate::model::garment::Slot;

/// A day to dress for.
#[derive(Debug, Clone)]
pub struct Day {
    /// Occasion and weather.
    pub situation: Situation,
}

/// Whether the outfits of a plan have to fit into a suitcase.
#[derive(Debug, Clone)]
pub struct Suitcase {
    /// Whether they have to: then trousers, knits, coats and shoes are worn again. At home they change.
    pub is_packed: bool,
    /// Most pieces of all outfits together; the first outfit counts whole.
    pub most_pieces: usize,
    /// Most pieces of a slot of all outfits together.
    pub most_of: BTreeMap<Slot, usize>,
}

impl Suitcase {
    /// No suitcase: outfits at home.
    pub const NONE: Self = Self { is_packed: false, most_pieces: usize::MAX, most_of: BTreeMap::new() };
}

/// Plans one outfit per day. Coats and shoes are repeated sooner than other pieces if there are few of them.
pub fn plan(
    pieces: &[Piece],
    days: &[Day],
    taste: &Taste,
    choice: Choice<'_>,
    Suitcase { is_packed, most_pieces, most_of }: Suitcase,
) -> Vec<Outfit> {
    let mut outfits: Vec<Outfit> = Vec::new();
    let mut used: Vec<usize> = Vec::new();
    let of_slot = |place: &usize, slots: &[Slot]| pieces[*place].garment.slot.is_some_and(|slot| slots.contains(&slot));
    // With few pieces, none is spent on a belt or scarf.
    let is_tight = most_pieces < usize::MAX;
    let extras = (0..pieces.len()).filter(|place| is_tight && of_slot(place, &[Slot::Accessory, Slot::Dress]));
    let extras: Vec<usize> = extras.filter(|place| !choice.anchors.contains(place)).collect();
    for day in days {
        let yesterday: Vec<usize> = outfits.last().map(|outfit| outfit.pieces().collect()).unwrap_or_default();
        // Coats, shoes and belts are few; tops and dresses change every day. In a suitcase, trousers and knits are worn
        // again, too.
        let is_few = |place: &usize| of_slot(place, &[Slot::Outerwear, Slot::Shoes, Slot::Accessory]);
        let is_reused = |place: &usize| is_packed && !of_slot(place, &[Slot::Top, Slot::Dress]);
        let kept: Vec<usize> = yesterday.iter().copied().filter(|place| !is_few(place)).collect();
        let worn: Vec<usize> = outfits.iter().flat_map(Outfit::pieces).collect();
        let spared: Vec<usize> = choice
            .spared
            .iter()
            .chain(used.iter().filter(|place| !is_reused(place) && !is_few(place)))
            .copied()
            .collect();
        let packed: Vec<usize> = used.iter().copied().filter(is_reused).collect();
        // What no longer fits: a later day adds at most a top.
        let room = if outfits.is_empty() || used.len() < most_pieces { &[Slot::Top][..] } else { &[] };
        let is_full = |place: &usize| {
            most_of.iter().any(|(slot, most)| {
                of_slot(place, &[*slot]) && used.iter().filter(|used| of_slot(used, &[*slot])).count() >= *most
            })
        };
        let is_out = |place: &usize| {
            let has_no_room = is_tight && !outfits.is_empty() && !of_slot(place, room);
            !used.contains(place) && (has_no_room || is_full(place))
        };
        let out: Vec<usize> = (0..pieces.len()).filter(is_out).collect();
        // First without yesterday's pieces, then with its coat and shoes, then with all of them.
        let mut best: Option<Outfit> = None;
        for forbidden in [&yesterday[..], &kept[..], &[]] {
            let avoided = [choice.avoided, &extras, &out, forbidden].concat();
            let anchors = if outfits.is_empty() { choice.anchors } else { &[] };
            let choice = Choice { anchors, avoided: &avoided, spared: &spared, packed: &packed, planned: &worn };
            let outfit = compose(pieces, &day.situation, taste, choice);
            let is_better = best.as_ref().is_none_or(|best| outfit.missing.len() < best.missing.len());
            if is_better {
                best = Some(outfit);
            }
            if best.as_ref().is_some_and(|best| best.missing.is_empty()) {
                break;
            }
        }
        let outfit = best.unwrap_or_default();
        for place in outfit.pieces() {
            if !used.contains(&place) {
                used.push(place);
            }
        }
        outfits.push(outfit);
    }
    outfits
}
