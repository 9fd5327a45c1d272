//! Scores pieces by rule: formality, weather, occasion, recent wears, the owner's taste, and harmony of colours.

use super::{COLD_BELOW, Piece, Situation, Taste};
use crate::base::calendar::ago;
use crate::base::text::times;
use crate::model::garment::{Garment, Slot};
use crate::model::thesaurus::{self, Kind, TermId};

/// Temperatures below which hot-weather pieces, and above which cold-weather pieces, are ruled out, in degrees Celsius.
const TOO_COLD: f64 = 18.0;
const TOO_WARM: f64 = 21.0;
/// Days after which an unworn piece gets extra points.
const NEGLECTED_DAYS: i64 = 45;
/// Points for each degree of warmth of a piece if warmer or lighter clothes are wanted.
const WARMER: i32 = 8;
/// Wears that make a favourite.
const FAVOURITE: u32 = 20;

/// Returns the points of a piece; `None` if it is ruled out.
pub(super) fn points(piece: &Piece, situation: &Situation, taste: &Taste) -> Option<i32> {
    if taste.rejects(&piece.garment) {
        return None;
    }
    Some(
        weather(&piece.garment, situation)?
            + formality(&piece.garment, situation)
            + occasion(piece, situation)
            + recency(piece)
            + liking(piece, taste)
            + request(&piece.garment, situation),
    )
}

/// Scores formality: penalises pieces that are too dressy or too plain for the occasion, and sportswear without sport.
pub(super) fn formality(garment: &Garment, situation: &Situation) -> i32 {
    let ((least, most), (low, high)) = (garment.formality, situation.formality);
    let distance = least.saturating_sub(high).max(low.saturating_sub(most));
    let sport = match (situation.is_sport(), garment.sport) {
        (true, true) => 40,
        (true, false) if garment.formality.0 <= 1 => 0,
        (true, false) => -40,
        (false, true) if situation.formality.0 > 0 => -30,
        (false, _) => 0,
    };
    let fit = match distance {
        0 => 10,
        1 => -14,
        _ => -60,
    };
    // Among suitable pieces, the closest typical formality fits best.
    let off = (least + most).abs_diff(low + high);
    fit + sport - 2 * i32::from(off)
}

/// Scores suitability for the weather. Rules out hot-weather pieces in the cold and the reverse, and delicate pieces in
/// the rain.
pub(super) fn weather(garment: &Garment, situation: &Situation) -> Option<i32> {
    let Situation { celsius, wet, .. } = *situation;
    let slot = garment.slot?;
    let is_indoors = situation.is_sport();
    if wet && garment.spoils && slot >= Slot::Shoes && slot != Slot::Accessory {
        return None;
    }
    let is_for_heat = garment.warmth == 0 && !is_indoors;
    let is_for_cold = garment.warmth >= 3;
    match slot {
        Slot::Dress | Slot::Bottoms | Slot::Shoes
            if is_for_heat && (celsius < TOO_COLD || (wet && slot == Slot::Shoes)) =>
        {
            // A formal dress is also worn in winter, under a coat.
            if slot == Slot::Dress && garment.formality.1 >= 3 && situation.formality.0 >= 3 {
                return Some(-6);
            }
            return None;
        }
        _ if is_for_cold && celsius > TOO_WARM && slot != Slot::Accessory => return None,
        _ => {}
    }
    let rain = match (wet, slot, garment.waterproof) {
        (true, Slot::Outerwear, true) => 25,
        (true, Slot::Outerwear, false) => -10,
        (true, Slot::Shoes, true) => 20,
        (false, Slot::Outerwear, true) if garment.formality.1 <= 2 => -4,
        _ => 0,
    };
    // Desired warmth, from 0 in the heat to 3 in the cold.
    let wanted = ((22.0 - celsius) / 5.5).clamp(0.0, 3.0);
    let off = (f64::from(garment.warmth) - wanted).abs();
    let warmth = match slot {
        // A layer under others may be thin.
        Slot::Top | Slot::Bottoms | Slot::Accessory => -2.0 * (f64::from(garment.warmth) - wanted).max(0.0),
        Slot::Outerwear | Slot::Knit => 8.0 - 5.0 * off,
        // Feet get cold first, and wet.
        Slot::Shoes if celsius < COLD_BELOW => 3.0 - 5.0 * off,
        Slot::Dress | Slot::Shoes => 3.0 - 2.0 * off,
    };
    let light_top = if slot == Slot::Top && garment.warmth == 0 && celsius < TOO_COLD { -10 } else { 0 };
    let warmer = match situation.warmer {
        Some(true) => WARMER * i32::from(garment.warmth),
        Some(false) => -WARMER * i32::from(garment.warmth),
        None => 0,
    };
    // Truncated towards zero; a single point is not decisive.
    Some(rain + light_top + warmth as i32 + warmer)
}

/// Scores tags for the occasion or its style, and earlier wears to it.
pub(super) fn occasion(piece: &Piece, situation: &Situation) -> i32 {
    let garment = &piece.garment;
    let direct = situation.occasions.iter().any(|occasion| garment.is(*occasion));
    let called_for = situation.wants.iter().filter(|word| garment.says(word)).count().min(3);
    // A colour that the occasion calls for, such as black for a funeral, is a rule rather than a hint.
    let is_colour = |word: &&str| thesaurus::lookup(word).is_some_and(|term| term.kind() == Kind::Colour);
    let colour = situation.wants.iter().any(|word| is_colour(word) && garment.says(word));
    let worn = situation.occasions.first().map_or(0, |occasion| worn_to(piece, *occasion)).min(3);
    // Far fewer than an i32 holds.
    12 * i32::from(direct) + 36 * i32::from(colour) + 4 * called_for as i32 + worn as i32
}

/// Returns the number of wears of a piece to an occasion.
fn worn_to(piece: &Piece, occasion: TermId) -> u32 {
    let is_it = |name: &str| crate::model::thesaurus::lookup(name).is_some_and(|term| term.is_a(occasion));
    piece.occasions.iter().filter(|(name, _)| is_it(name)).map(|(_, count)| count).sum()
}

/// Penalises recently worn pieces and favours neglected ones.
pub(super) fn recency(piece: &Piece) -> i32 {
    match piece.days_since_worn {
        Some(0..=1) => -14,
        Some(2..=3) => -8,
        Some(4..=7) => -4,
        Some(days) if days > NEGLECTED_DAYS => 2,
        Some(_) => 0,
        None => 1,
    }
}

/// Scores the colours and brands of the profile, and preferences from conversations.
pub(super) fn liking(piece: &Piece, taste: &Taste) -> i32 {
    let colour = piece.garment.colours.iter().any(|colour| taste.colours.iter().any(|liked| colour.name() == liked));
    let brand = taste.brands.contains(&piece.brand);
    let liked = taste.likes.iter().any(|like| like.fits(&piece.garment));
    2 * i32::from(colour) + 2 * i32::from(brand) + 8 * i32::from(liked)
}

/// Scores requested kinds, colours and materials.
pub(super) fn request(garment: &Garment, situation: &Situation) -> i32 {
    let asked = &situation.asked;
    match asked.garment {
        Some(kind) if garment.is(kind) => 60 * i32::from(asked.fits(garment)) + 20,
        // A colour requested with a garment applies only to that garment.
        Some(_) => 0,
        None if !asked.is_empty() && asked.fits(garment) => 14,
        None => 0,
    }
}

/// Scores how well the colours of two pieces go together. Neutral colours go with everything, shades of one colour with
/// each other; distant hues are penalised.
pub(super) fn harmony(one: &Garment, other: &Garment) -> i32 {
    let (Some(mine), Some(theirs)) = (one.colours.first(), other.colours.first()) else { return 0 };
    let is_neutral = |colour: &TermId| colour.term().facts.neutral;
    let shares = mine.with_broader().any(|broad| theirs.is_a(broad));
    let are_garments = one.slot != Some(Slot::Accessory) && other.slot != Some(Slot::Accessory);
    // A knitted vest needs a collar under it.
    let is_vest = |garment: &Garment| garment.kind().is_some_and(|kind| kind.is("knit vest"));
    let is_tee = |garment: &Garment| garment.kind().is_some_and(|kind| kind.is("tee"));
    if (is_vest(one) && is_tee(other)) || (is_tee(one) && is_vest(other)) {
        return -10;
    }
    let leather = |garment: &Garment| matches!(garment.slot, Some(Slot::Shoes | Slot::Accessory));
    match (is_neutral(mine), is_neutral(theirs)) {
        // The belt should match the shoes.
        _ if leather(one) && leather(other) => {
            if mine == theirs {
                6
            } else if mine.name() == "white" || theirs.name() == "white" {
                0
            } else {
                -12
            }
        }
        // Two garments of one colour look like a uniform, unless it is black.
        _ if mine == theirs && are_garments => {
            if mine.name() == "black" {
                0
            } else {
                -5
            }
        }
        (true, true) => 2,
        (true, false) | (false, true) => 1,
        (false, false) if shares => 1,
        (false, false) => -9,
    }
}

/// Role of a piece in an outfit, apart from how well it matches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    /// Whether the outfit is built around this piece.
    pub(super) is_anchor: bool,
    /// Whether it is planned for an earlier day, so that it is no longer due for an outing.
    pub(super) is_planned: bool,
}

/// Returns the reason for a piece, in a few words that follow its name, without repeating reasons in `said`.
pub(super) fn reason(
    piece: &Piece,
    others: &[&Piece],
    situation: &Situation,
    taste: &Taste,
    Role { is_anchor, is_planned }: Role,
    said: &mut Vec<&'static str>,
) -> String {
    let Piece { garment, .. } = piece;
    let occasion = situation.occasions.first().copied();
    let to = occasion.map(event).unwrap_or_default();
    let worn = occasion.map_or(0, |occasion| worn_to(piece, occasion));
    let colour = garment.colours.first().map(|colour| colour.name()).unwrap_or_default();
    let companion = others.iter().find(|other| {
        let theirs = other.garment.colours.first();
        theirs.is_some() && theirs != garment.colours.first() && harmony(garment, &other.garment) > 0
    });
    let companion = companion.and_then(|other| other.garment.colours.first()).map(|colour| colour.name());
    let is_outer = matches!(garment.slot, Some(Slot::Outerwear | Slot::Knit | Slot::Shoes));
    let reasons: [(&'static str, bool, &dyn Fn() -> String); 12] = [
        ("anchor", is_anchor, &|| "the piece it is built around".to_owned()),
        ("rain", situation.wet && garment.waterproof, &|| "made for the rain".to_owned()),
        ("warmth", is_outer && garment.warmth >= 2 && situation.celsius < 15.0, &|| {
            format!("warm enough for {}", situation.weather)
        }),
        ("like", taste.likes.iter().any(|like| like.fits(garment)), &|| "something you told me you like".to_owned()),
        ("worn", worn > 1, &|| format!("a safe choice: worn {to} {} before", times(worn))),
        ("tag", occasion.is_some_and(|occasion| garment.is(occasion)), &|| format!("just right {}", purpose(occasion))),
        ("sport", garment.sport && situation.is_sport(), &|| "made to move in".to_owned()),
        ("dressy", situation.formality.0 >= 3 && garment.formality.1 >= situation.formality.0, &|| {
            format!("smart enough {}", purpose(occasion))
        }),
        ("colour", taste.colours.iter().any(|liked| liked == colour), &|| format!("in {colour}, one of your colours")),
        ("new", piece.wear_count == 0 && !is_planned, &|| {
            format!("still waiting for {} first outing", their(&garment.name))
        }),
        ("favourite", piece.wear_count >= FAVOURITE, &|| format!("a favourite, worn {} times", piece.wear_count)),
        ("rest", !is_planned && piece.days_since_worn.is_some_and(|days| days > NEGLECTED_DAYS), &|| {
            format!("due for an outing: last worn {}", ago(piece.days_since_worn.unwrap_or_default()))
        }),
    ];
    for (kind, holds, text) in reasons {
        if holds && !said.contains(&kind) {
            said.push(kind);
            return text();
        }
    }
    match companion {
        Some(other) => format!("{colour} that sits well with the {other}"),
        None if garment.formality.0 <= 1 => "easy and relaxed".to_owned(),
        None => "simple, and in tune with the rest".to_owned(),
    }
}

fn their(name: &str) -> &'static str {
    if crate::model::garment::is_plural(name) { "their" } else { "its" }
}

/// An occasion after "for".
fn purpose(occasion: Option<TermId>) -> String {
    occasion.map_or_else(|| "for the occasion".to_owned(), |occasion| format!("for {}", occasion.with_article()))
}

/// Returns an occasion as worded after "you wore it".
fn event(occasion: TermId) -> String {
    format!("to {}", occasion.with_article())
}
