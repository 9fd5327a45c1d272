//! What goes with a piece, and whether a piece can be worn to something, in some weather or with another one.

use serde_json::json;

use super::MOST_LISTED;
use super::outfits::{Piece, Plan, Planned, lines, nothing_to_wear, outfit, plan_arguments, remarks, slot_of};
use super::search::{Item, not_owned, owned};
use super::wording::{bullets, clean, several, with_article};
use crate::llm::offline::advice;
use crate::llm::offline::turn::{Answer, Turn};
use crate::llm::offline::understand::Named;
use crate::model::garment::is_plural;
use crate::model::thesaurus::Kind;

/// What goes with a piece.
pub fn pair(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    // "Which shoes go with the sage shirt": the shoes are asked for, the shirt is there.
    let anchor = asked.named.iter().rfind(|named| named.is_claimed).or_else(|| asked.named.last());
    let Some(anchor) = anchor else { return outfit(turn) };
    let wanted =
        asked.named.iter().find(|named| *named != anchor && !named.is_claimed && slot_of(&named.description).is_some());
    let owned = owned(turn, anchor)?;
    let Some(item) = owned.fitting.first() else {
        let mut text = not_owned(turn, anchor, &owned.close);
        if let Some(close) = owned.close.first() {
            let plan = plan_with(turn, close, Vec::new())?;
            if let Some(planned) = plan.outfits.first() {
                let it = if owned.close.len() > 1 {
                    "the first"
                } else if is_plural(&close.name()) {
                    "those"
                } else {
                    "that"
                };
                text += &format!(" With {it} I'd wear:\n{}", lines(turn, &without(planned, &close.id)));
            }
        } else if let Some(garment) = anchor.description.garment {
            text += &format!(" In general, {}.", advice::goes_with(garment, &anchor.description.colours));
        }
        return Ok(text);
    };
    let name = item.name();
    if let Some(slot) = wanted.and_then(|wanted| slot_of(&wanted.description)) {
        let mut choices: Vec<Piece> = Vec::new();
        while choices.len() < 3 {
            let avoid = choices.iter().map(|piece| piece.id.clone()).collect();
            let plan = plan_with(turn, item, avoid)?;
            match plan.outfits.first().and_then(|planned| planned.pieces.iter().find(|piece| piece.slot == slot)) {
                Some(piece) if !choices.iter().any(|known| known.id == piece.id) => choices.push(piece.clone()),
                _ => break,
            }
        }
        if choices.is_empty() {
            return Ok(format!("I found no {slot} among your pieces that I'd put with your {name}."));
        }
        let head = turn.pick(&["I'd put these with your", "These go well with your", "With your"]);
        let head = if head == "With your" {
            format!("With your {name}, try one of these:")
        } else {
            format!("{head} {name}:")
        };
        let line = |piece: &Piece| format!("- your {}, {}.", clean(&piece.name), clean(&piece.why));
        return Ok(format!("{head}\n{}", choices.iter().map(line).collect::<Vec<_>>().join("\n")));
    }
    let plan = plan_with(turn, item, Vec::new())?;
    let Some(planned) = plan.outfits.first().filter(|planned| !planned.pieces.is_empty()) else {
        return Ok(nothing_to_wear(&plan));
    };
    let head = match turn.pick(&["with", "around", "build"]) {
        "with" => format!("With your {name} I'd wear:"),
        "around" => format!("I'd build this around your {name}:"),
        _ => format!("Your {name} {} well with:", if is_plural(&name) { "go" } else { "goes" }),
    };
    let others = without(planned, &item.id);
    let mut text = format!("{head}\n{}", lines(turn, &others));
    if others.pieces.iter().any(|piece| piece.slot == "outerwear") || !planned.missing.is_empty() {
        text += &remarks(turn, &plan, planned);
    }
    Ok(text)
}

fn plan_with(turn: &Turn<'_>, item: &Item, avoid: Vec<String>) -> Answer<Plan> {
    let mut arguments = plan_arguments(turn, vec![item.id.clone()], avoid);
    // The clothes of the question are no wish of their own here.
    let occasion = turn.asked.occasion_text();
    match arguments.as_object_mut() {
        Some(fields) if occasion.is_empty() => drop(fields.remove("occasions")),
        Some(fields) => drop(fields.insert("occasions".to_owned(), json!([occasion]))),
        None => {}
    }
    if turn.asked.occasion.is_empty() && turn.asked.when.is_none() && turn.asked.celsius.is_none() {
        // Out of season the piece would find no company: it is dressed for the weather it is made for.
        arguments["celsius"] = json!(match item.garment().warmth {
            0 => 25.0,
            1 => 17.0,
            2 => 13.0,
            _ => 8.0,
        });
    }
    turn.read("plan_outfits", arguments)
}

fn without(planned: &Planned, id: &str) -> Planned {
    Planned { pieces: planned.pieces.iter().filter(|piece| piece.id != id).cloned().collect(), ..planned.clone() }
}

/// Whether something can be worn: to an occasion, in a season, or with another piece.
pub fn opinion(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let Some(first) = asked.named.first() else { return outfit(turn) };
    if let Some(second) = asked
        .named
        .get(1)
        .filter(|second| second.description.garment.is_some() || !second.description.colours.is_empty())
    {
        let said = |named: &Named| if named.is_claimed { format!("your {}", named.text) } else { named.text.clone() };
        // Something that is not owned goes with nothing.
        for named in [first, second].into_iter().filter(|named| named.is_claimed && named.description.garment.is_some())
        {
            let owned = owned(turn, named)?;
            if owned.fitting.is_empty() {
                return Ok(not_owned(turn, named, &owned.close));
            }
        }
        return Ok(advice::together(&first.description, &second.description, &said(first), &said(second)));
    }
    let found = owned(turn, first)?;
    if found.fitting.is_empty() && first.is_claimed {
        return Ok(not_owned(turn, first, &found.close));
    }
    // "Are any of my shoes good in rain?": those that are.
    if asked.wet && asked.says(&["any", "which", "some"]) && !found.fitting.is_empty() {
        let dry: Vec<Item> = found.fitting.iter().filter(|item| item.garment().waterproof).cloned().collect();
        return Ok(match dry.len() {
            0 => format!("None that I know to keep the rain out, of the {} you have.", several(first)),
            count => format!(
                "Yes, {} the rain out:\n{}",
                if count == 1 { "this keeps" } else { "these keep" },
                bullets(&dry[..count.min(MOST_LISTED)])
            ),
        });
    }
    let item = found.fitting.first();
    let garment = item.map(Item::garment);
    let facts = garment.as_ref().map(|garment| (garment.warmth, garment.formality, garment.spoils));
    let facts = facts.or_else(|| {
        first.description.garment.map(|kind| {
            let facts = kind.term().facts;
            (facts.warmth.unwrap_or(1), facts.formality.unwrap_or((1, 3)), facts.spoils)
        })
    });
    let Some((warmth, formality, spoils)) = facts else { return outfit(turn) };
    let plan: Plan = turn.read("plan_outfits", plan_arguments(turn, Vec::new(), vec![first.text.clone()]))?;
    let planned = plan.outfits.first();
    let weather = planned.map(|planned| planned.weather.clone()).unwrap_or_default();
    let celsius = asked.celsius.or_else(|| celsius_in(&weather));
    let wet = asked.wet || weather.contains("rain") && !weather.starts_with("no forecast") || weather.contains("snow");
    let occasion = asked.occasion.iter().rfind(|term| term.term().facts.formality.is_some());
    let (least, most) = occasion.and_then(|term| term.term().facts.formality).unwrap_or((0, 5));
    let subject = item.map_or_else(|| first.text.clone(), |item| format!("your {}", item.name()));
    let are = if is_plural(&subject) { "are" } else { "is" };
    let is_seasonal = asked.when.is_some()
        || asked.celsius.is_some()
        || asked.wet
        || asked.occasion.iter().any(|term| term.kind() == Kind::Season);
    let about = celsius.map(|celsius| format!(" (about {celsius:.0} \u{b0}C)")).unwrap_or_default();
    let when = asked.when.as_ref().map_or_else(|| "then".to_owned(), |when| when.label.clone());
    let verdict = if is_seasonal && warmth == 0 && celsius.is_some_and(|celsius| celsius < 18.0) {
        Err(format!("I'd rather not: it's too cold {when}{about} for {subject}."))
    } else if is_seasonal && warmth >= 3 && celsius.is_some_and(|celsius| celsius > 21.0) {
        Err(format!("I'd rather not: {subject} {are} too warm {when}{about}."))
    } else if wet && spoils {
        Err(format!("Better not in the wet: rain would ruin {subject}."))
    } else if let Some(occasion) = occasion.filter(|_| formality.1 < least) {
        Err(format!("I wouldn't: {subject} {are} too casual for {}.", with_article(*occasion)))
    } else if let Some(occasion) = occasion.filter(|_| formality.0 > most) {
        Err(format!("I wouldn't: {subject} {are} too dressy for {}.", with_article(*occasion)))
    } else {
        Ok(match occasion {
            Some(occasion) => format!("Yes, {subject} {are} fine for {}.", with_article(*occasion)),
            None => format!("Yes, go ahead: {subject} {are} fine {when}{about}."),
        })
    };
    let instead = slot_of(&first.description).and_then(|slot| planned?.pieces.iter().find(|piece| piece.slot == slot));
    Ok(match verdict {
        Ok(yes) if item.is_none() => format!("{yes} {}", not_owned(turn, first, &found.close))
            .replace("Yes, ", "That would be fine in principle: "),
        Ok(yes) => yes,
        Err(no) => match instead {
            Some(piece) => {
                format!("{no} Your {} would be the better choice ({}).", clean(&piece.name), clean(&piece.why))
            }
            None => no,
        },
    })
}

/// The temperature in a plan's words about the weather.
fn celsius_in(weather: &str) -> Option<f64> {
    let before = weather.split('\u{b0}').next()?.trim_end();
    before.rsplit(' ').next()?.parse().ok()
}
