//! Answers about what goes with a piece, and whether a piece suits an occasion, weather or another piece.

use serde_json::json;

use super::MOST_LISTED;
use super::outfits::{lines, missing, nothing_to_wear, one_text, outfit, plan_arguments, remarks};
use super::search::{fitting, name, names, not_owned, owned};
use super::wording::{clean, list, noun, several};
use crate::llm::offline::phrases::is_said;
use crate::llm::offline::turn::{Answer, Turn};
use crate::llm::offline::understand::Named;
use crate::model::garment::{Garment, Slot, is_plural};
use crate::model::thesaurus::{self, Kind, TermId};
use crate::model::tool_results::{CompactItem, OutfitPlan, PlannedOutfit, PlannedPiece};
use crate::model::vocabulary;

/// Season for a garment of each warmth.
const SEASON_BY_WARMTH: [&str; 4] = ["summer", "spring", "autumn", "winter"];
/// Temperature below which hot-weather pieces are too cold, and above which cold-weather pieces are too warm, in
/// degrees Celsius.
const TOO_COLD_BELOW: f64 = 18.0;
const TOO_WARM_ABOVE: f64 = 21.0;

/// Answers what goes with a piece.
pub fn pair(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    // "Which shoes go with the sage shirt": shoes are requested, the shirt is owned.
    let anchor = asked.named.iter().rfind(|named| named.is_claimed).or_else(|| asked.named.last());
    let Some(anchor) = anchor else { return outfit(turn) };
    let owned = owned(turn, anchor)?;
    let mut wished = asked.named.iter().filter(|named| *named != anchor && !named.is_claimed);
    let wish = wished.find(|named| named.description.slot().is_some());
    if let Some((item, wish)) = owned.fitting.first().or_else(|| owned.close.first()).zip(wish) {
        let lead = if owned.fitting.is_empty() { not_owned(turn, anchor, &owned.close) + " " } else { String::new() };
        return Ok(lead + &choices(turn, item, wish)?);
    }
    let Some(item) = owned.fitting.first() else { return pair_unowned(turn, anchor, &owned.close) };
    // "My white shirt and grey trousers": around both.
    let mut items = vec![item.clone()];
    for other in asked.named.iter().filter(|named| *named != anchor && named.description.garment.is_some()) {
        items.extend(fitting(turn, other)?.fitting.into_iter().take(1));
    }
    let name = list(&items.iter().rev().map(name).collect::<Vec<_>>()).replace(" and ", " and your ");
    let plan = plan_with(turn, &items, "", &[])?;
    let Some(planned) = plan.outfits.first().filter(|planned| !planned.pieces.is_empty()) else {
        return Ok(nothing_to_wear(turn, &plan));
    };
    let mut others = planned.without(&item.id);
    others.pieces.retain(|piece| !items.iter().any(|item| item.id == piece.id));
    if others.pieces.is_empty() {
        return Ok(turn.say("pair none", &[("name", &name)]));
    }
    let mut text = format!("{}\n{}", turn.say("pair", &[("name", &name)]), lines(turn, &others));
    if !names_weather(turn) {
        text += &missing(turn, planned);
    } else if others.piece(Slot::Outerwear).is_some() || !planned.missing.is_empty() {
        text += &remarks(turn, &plan, planned);
    }
    Ok(text)
}

/// Answers what goes with something the user does not own: with the closest piece, or in general.
fn pair_unowned(turn: &Turn<'_>, anchor: &Named, close: &[CompactItem]) -> Answer {
    let mut text = not_owned(turn, anchor, close);
    if let Some(first) = close.first() {
        if let Some(planned) = plan_with(turn, std::slice::from_ref(first), "", &[])?.outfits.first() {
            let it = match close.len() {
                1 if is_plural(&name(first)) => "those",
                1 => "that",
                _ => "the first",
            };
            let head = turn.say("pair close", &[("it", &it)]);
            text += &format!(" {head}\n{}", lines(turn, &planned.without(&first.id)));
        }
    } else if let Some(garment) = anchor.description.garment {
        let slot = anchor.description.slot().map_or("it", Slot::name);
        let is_loud = anchor.description.colours.iter().any(|colour| !colour.term().facts.neutral);
        let quiet = if is_loud { ", all of it in neutral colours" } else { "" };
        let with = turn.say(&format!("with {slot}"), &[]);
        let garment = noun(garment.name());
        text += &format!(" {}", turn.say("in general", &[("garment", &garment), ("with", &with), ("quiet", &quiet)]));
    }
    Ok(text)
}

/// Answers with the best pieces of a kind to go with a piece.
fn choices(turn: &Turn<'_>, item: &CompactItem, wish: &Named) -> Answer {
    let (name, slot) = (name(item), wish.description.slot());
    let mut choices: Vec<PlannedPiece> = Vec::new();
    while choices.len() < 3 {
        let avoid: Vec<String> = choices.iter().map(|piece| piece.id.to_string()).collect();
        let plan = plan_with(turn, std::slice::from_ref(item), &wish.text, &avoid)?;
        match plan.outfits.first().and_then(|planned| planned.piece(slot?)) {
            Some(piece) if !choices.iter().any(|known| known.id == piece.id) => choices.push(piece.clone()),
            _ => break,
        }
    }
    let is_it = |piece: &PlannedPiece| wish.description.fits(&Garment::described(&piece.name));
    choices.retain(is_it);
    if choices.is_empty() {
        // "And a bag?", of which there is none.
        fitting(turn, wish)?;
    }
    let line = |piece: PlannedPiece| format!("your {}, {}.", clean(&piece.name), clean(&piece.why));
    Ok(turn.say_list("pair choices", &[("what", &wish.text), ("name", &name)], choices.into_iter().map(line)))
}

/// Whether the question says for which occasion, day or weather it is.
fn names_weather(turn: &Turn<'_>) -> bool {
    let asked = &turn.asked;
    !asked.occasion.is_empty() || asked.when.is_some() || asked.celsius.is_some()
}

fn plan_with(turn: &Turn<'_>, items: &[CompactItem], wish: &str, avoid: &[String]) -> Answer<OutfitPlan> {
    let asked = &turn.asked;
    let ids: Vec<String> = items.iter().map(|item| item.id.to_string()).collect();
    let mut arguments = plan_arguments(turn, &ids, avoid);
    // The clothes in the question are not wishes here.
    let mut occasion = asked.occasion_text();
    if !names_weather(turn) {
        // Out of season nothing would match the piece, so plan for the season it is made for.
        let warmth = items.iter().map(|item| usize::from(Garment::from(item).warmth)).max().unwrap_or_default();
        SEASON_BY_WARMTH[warmth.min(SEASON_BY_WARMTH.len() - 1)].clone_into(&mut occasion);
    }
    arguments["occasions"] = json!(one_text(format!("{occasion} {wish}").trim().to_owned()));
    turn.read("plan_outfits", arguments)
}

/// Answers whether something can be worn: to an occasion, in a season, or with another piece.
pub fn opinion(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let Some(first) = asked.named.first() else { return outfit(turn) };
    let is_thing = |named: &&Named| named.description.garment.is_some() || !named.description.colours.is_empty();
    if let Some(second) = asked.named.get(1).filter(is_thing) {
        return together(turn, first, second);
    }
    let found = if first.is_claimed { fitting(turn, first)? } else { owned(turn, first)? };
    // "Are any of my shoes good in rain?": list those that are.
    if asked.wet && asked.says(&["any", "which", "some"]) && !found.fitting.is_empty() {
        let dry: Vec<CompactItem> = found.fitting.into_iter().filter(|item| Garment::from(item).waterproof).collect();
        let (kind, names) = (several(first), names(&dry, MOST_LISTED));
        return Ok(turn.say_list("dry", &[("kind", &kind), ("count", &dry.len())], names));
    }
    let item = found.fitting.first();
    let kind = first.description.garment;
    let Some(garment) = item.map(Garment::from).or_else(|| Some(Garment::described(kind?.name()))) else {
        return outfit(turn);
    };
    let plan: OutfitPlan = turn.read("plan_outfits", plan_arguments(turn, &[], std::slice::from_ref(&first.text)))?;
    let planned = plan.outfits.first();
    let it = item.map_or_else(|| first.text.clone(), |item| format!("your {}", name(item)));
    Ok(match (verdict(turn, &garment, planned, &it), item) {
        (Ok(yes), Some(_)) => yes,
        (Ok(yes), None) => {
            let yes = yes.replacen("Yes, ", "That would be fine in principle: ", 1);
            format!("{yes} {}", not_owned(turn, first, &found.close))
        }
        (Err(no), _) => match first.description.slot().and_then(|slot| planned?.piece(slot)) {
            Some(piece) => {
                format!("{no} {}", turn.say("better", &[("name", &clean(&piece.name)), ("why", &clean(&piece.why))]))
            }
            None => no,
        },
    })
}

/// Returns whether a garment suits the weather and occasion in question and, if not, why.
fn verdict(turn: &Turn<'_>, garment: &Garment, planned: Option<&PlannedOutfit>, it: &str) -> Result<String, String> {
    let asked = &turn.asked;
    let weather = planned.map(|planned| planned.weather.as_str()).unwrap_or_default();
    let celsius = asked.celsius.or_else(|| celsius_in(weather));
    let has_rain = weather.contains("rain") && !weather.starts_with("no forecast") || weather.contains("snow");
    let wanted = asked.occasion.iter().rfind(|term| term.term().facts.formality.is_some()).copied();
    let (least, most) = wanted.and_then(|term| term.term().facts.formality).unwrap_or((0, 5));
    let is_season = |term: &TermId| term.kind() == Kind::Season;
    let is_seasonal =
        asked.when.is_some() || asked.celsius.is_some() || asked.wet || asked.occasion.iter().any(is_season);
    let degrees = celsius.filter(|_| is_seasonal);
    let (verdict, is_fine) = match wanted {
        _ if garment.warmth == 0 && degrees.is_some_and(|celsius| celsius < TOO_COLD_BELOW) => ("too cold", false),
        _ if garment.warmth >= 3 && degrees.is_some_and(|celsius| celsius > TOO_WARM_ABOVE) => ("too warm", false),
        _ if garment.spoils && (asked.wet || has_rain) => ("too wet", false),
        Some(_) if garment.formality.1 < least => ("too casual", false),
        Some(_) if garment.formality.0 > most => ("too dressy", false),
        Some(_) if is_said("too much", &asked.words) => ("not too much for it", true),
        None if is_said("too much", &asked.words) => ("not too much", true),
        Some(_) => ("fine for it", true),
        None => ("fine", true),
    };
    let about = celsius.map(|celsius| format!(" (about {celsius:.0} \u{b0}C)")).unwrap_or_default();
    let is_today = asked.when.is_none() && !is_seasonal;
    let when = asked.when.as_ref().map_or(if is_today { "today" } else { "then" }, |when| when.label.as_str());
    let wanted = wanted.map(|wanted| match wanted.kind() {
        Kind::Style => vocabulary::with_article(&format!("{} occasion", wanted.name())),
        _ => wanted.with_article(),
    });
    let wanted = wanted.unwrap_or_default();
    let text = turn.say(verdict, &[("it", &it), ("occasion", &wanted), ("when", &format!("{when}{about}"))]);
    if is_fine { Ok(text) } else { Err(text) }
}

/// Answers whether two pieces go together, by their colours.
fn together(turn: &Turn<'_>, first: &Named, second: &Named) -> Answer {
    // Pieces must be owned.
    for named in [first, second].into_iter().filter(|named| named.is_claimed && named.description.garment.is_some()) {
        fitting(turn, named)?;
    }
    let it = |named: &Named| if named.is_claimed { format!("your {}", named.text) } else { named.text.clone() };
    // Nobody wears two pairs of trousers.
    let kind = [Slot::Bottoms, Slot::Shoes, Slot::Dress].into_iter().find(|slot| {
        let is_hosiery =
            |named: &Named| named.description.garment.is_some_and(|kind| kind.is_a(thesaurus::named("leggings")));
        [first, second].iter().all(|named| named.description.slot() == Some(*slot) && !is_hosiery(named))
    });
    if let Some(slot) = kind.filter(|_| first.text != second.text) {
        let what = turn.say(&format!("packed {}", slot.name()), &[("count", &2)]);
        let what = what.strip_prefix("pairs of ").unwrap_or(&what).to_owned();
        return Ok(turn.say("together same", &[("first", &it(first)), ("second", &it(second)), ("what", &what)]));
    }
    let colours = (first.description.colours.first(), second.description.colours.first());
    let is_neutral = |colour: &TermId| colour.term().facts.neutral;
    let (sentence, colour, other) = match colours {
        (Some(mine), Some(theirs)) if is_neutral(mine) => ("together neutral", mine.name(), theirs.name()),
        (Some(mine), Some(theirs)) if is_neutral(theirs) => ("together neutral", theirs.name(), mine.name()),
        (Some(mine), Some(theirs)) if mine.with_broader().any(|broad| theirs.is_a(broad)) => {
            ("together shades", mine.name(), theirs.name())
        }
        (Some(mine), Some(theirs)) => ("together bold", mine.name(), theirs.name()),
        _ => ("together", "", ""),
    };
    Ok(turn.say(sentence, &[("first", &it(first)), ("second", &it(second)), ("colour", &colour), ("other", &other)]))
}

/// Parses the temperature in a plan's weather text.
fn celsius_in(weather: &str) -> Option<f64> {
    let before = weather.split('\u{b0}').next()?.trim_end();
    before.rsplit(' ').next()?.parse().ok()
}
