//! Outfits for several days, without repeating pieces on consecutive days if the wardrobe allows.

use super::{Choice, Outfit, Piece, Situation, Taste, compose};
use crate::model::garment::Slot;

/// A day to dress for.
#[derive(Debug, Clone)]
pub struct Day {
    /// Occasion and weather.
    pub situation: Situation,
}

/// Plans one outfit per day. Coats and shoes are repeated sooner than other pieces if there are few of them.
pub fn plan(pieces: &[Piece], days: &[Day], taste: &Taste, choice: Choice<'_>) -> Vec<Outfit> {
    let mut outfits: Vec<Outfit> = Vec::new();
    let mut used: Vec<usize> = Vec::new();
    for day in days {
        let yesterday: Vec<usize> = outfits.last().map(|outfit| outfit.pieces().collect()).unwrap_or_default();
        // Coats, shoes and belts are few, trousers and knits can be worn again; tops and dresses change every day.
        let is_few = |place: &usize| {
            matches!(pieces[*place].garment.slot, Some(Slot::Outerwear | Slot::Shoes | Slot::Accessory))
        };
        let is_reused = |place: &usize| !matches!(pieces[*place].garment.slot, Some(Slot::Top | Slot::Dress));
        let kept: Vec<usize> = yesterday.iter().copied().filter(|place| !is_few(place)).collect();
        let spared: Vec<usize> =
            choice.spared.iter().chain(used.iter().filter(|place| !is_reused(place))).copied().collect();
        let packed: Vec<usize> = used.iter().copied().filter(is_reused).collect();
        // First without yesterday's pieces, then with its coat and shoes, then with all of them.
        let mut best: Option<Outfit> = None;
        for forbidden in [&yesterday[..], &kept[..], &[]] {
            let avoided: Vec<usize> = choice.avoided.iter().chain(forbidden).copied().collect();
            let anchors = if outfits.is_empty() { choice.anchors } else { &[] };
            let choice = Choice { anchors, avoided: &avoided, spared: &spared, packed: &packed, planned: &used };
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
