//! Answers why an outfit has the pieces that it has.

use super::outfits::purpose;
use super::wording::several;
use crate::llm::offline::turn::Turn;
use crate::model::garment::Garment;

/// Answers with the reasons of the named pieces, or of the outfit as a whole.
pub fn why(turn: &Turn<'_>) -> String {
    let asked = &turn.asked;
    if asked.reasons.is_empty() {
        return turn.say("why data", &[]);
    }
    let Some(named) = asked.about() else {
        let purpose = purpose(turn);
        let what = purpose.strip_prefix("for ").map(|what| format!("{what} and the weather"));
        return turn.say("why", &[("what", &what.unwrap_or_else(|| "the weather".to_owned()))]);
    };
    let of = |is_meant: &dyn Fn(&Garment) -> bool| -> Vec<String> {
        let meant = asked.reasons.iter().filter(|(name, _)| is_meant(&Garment::described(name)));
        meant.map(|(name, why)| turn.say("why piece", &[("name", name), ("why", why)])).collect()
    };
    let told = of(&|garment| named.description.fits(garment));
    if !told.is_empty() {
        return told.join(" ");
    }
    // "Why not the sandals?": why other shoes. "The trousers" may be jeans.
    let mut told = of(&|garment| garment.slot == named.description.slot());
    if told.is_empty() || asked.says(&["not", "no"]) {
        let what = if named.is_claimed { named.text.clone() } else { several(named) };
        told.push(turn.say("why not", &[("what", &what)]));
    }
    told.join(" ")
}
