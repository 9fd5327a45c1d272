//! Answers about outfits and packing.

use serde_json::{Value, json};
use time::{Duration, Weekday};

use super::search::{not_owned, owned};
use super::wording::{bullets, clean, list, yours};
use crate::base::text::capitalised;
use crate::llm::offline::phrases::is_said;
use crate::llm::offline::time as days;
use crate::llm::offline::turn::{Answer, Turn};
use crate::llm::offline::understand::{Named, Request};
use crate::model::garment::{Description, Garment, Slot, shown};
use crate::model::thesaurus::Kind;
use crate::model::tool_results::{OutfitPlan, PlannedOutfit, PlannedPiece};
use crate::model::vocabulary;

/// Most pieces that a plan must not repeat.
const MOST_UNLIKE: usize = 30;
/// Days of an office week.
const WORKING_WEEK: usize = 5;
/// Prefix of a plan's weather without a forecast for the day, and its suffix if the climate is not known either.
const NO_FORECAST: &str = "no forecast: ";
const NO_CLIMATE: &str = ", climate not known";
/// Pieces that fit into hand luggage beside what is worn on the way.
const HAND_LUGGAGE: f64 = 8.0;
/// Most outfits around the same piece: each is a call.
const MOST_AROUND: u16 = 5;

/// Formats an outfit as lines: slot, piece and reason.
pub fn lines(turn: &Turn<'_>, planned: &PlannedOutfit) -> String {
    let line = |piece: &PlannedPiece| {
        let why = if turn.asked.kept.contains(&piece.name) { "as before".to_owned() } else { clean(&piece.why) };
        let slot = turn.say(&format!("slot {}", piece.slot.name()), &[]);
        format!("{slot}: your {}, {why}.", clean(&piece.name))
    };
    bullets(planned.pieces.iter().map(line))
}

/// Returns a list of one text; empty if the text is.
pub fn one_text(text: String) -> Vec<String> {
    Some(text).filter(|text| !text.is_empty()).into_iter().collect()
}

/// Builds the arguments of a plan from the message.
pub fn plan_arguments(turn: &Turn<'_>, include: &[String], avoid: &[String]) -> Value {
    let asked = &turn.asked;
    let from = asked.when.as_ref().map(|when| when.first).filter(|first| *first > turn.today);
    // Clothes named without claiming to own them are wishes: "a skirt", "something green".
    let wishes = asked.named.iter().filter(|named| !named.is_claimed).map(|named| named.text.clone());
    // Before the occasion, with which they could be read as one garment: a dress for summer is no summer dress.
    let wish: Vec<String> = wishes.chain([asked.occasion_text()]).filter(|text| !text.is_empty()).collect();
    let avoid = [asked.rejected.as_slice(), asked.away.as_slice(), avoid].concat();
    let unlike = &asked.unlike[asked.unlike.len().saturating_sub(MOST_UNLIKE)..];
    let mut arguments = json!({
        "from": from.map(|first| first.to_string()),
        "place": asked.place,
        "occasions": one_text(wish.join(" ")),
        "include": include,
        "avoid": avoid,
        "unlike": unlike,
        "celsius": asked.celsius,
        "wet": asked.wet.then_some(true),
        "warmer": asked.warmer,
    });
    if let Some(arguments) = arguments.as_object_mut() {
        arguments.retain(|_, value| !value.is_null() && *value != json!([]));
    }
    arguments
}

pub fn outfit(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let mut include = turn.selected();
    let mut preface: Vec<String> = absent(turn).into_iter().collect();
    let names_piece = |named: &&Named| named.description.garment.is_some() || !named.description.words.is_empty();
    for named in asked.named.iter().filter(names_piece).filter(|named| named.is_claimed) {
        let owned = owned(turn, named)?;
        match owned.fitting.first() {
            Some(item) => include.push(item.id.to_string()),
            None => preface.push(not_owned(turn, named, &owned.close)),
        }
    }
    for name in &asked.kept {
        if !include.contains(name) {
            include.push(name.clone());
        }
    }
    let mut arguments = plan_arguments(turn, &include, &[]);
    let several = several(turn);
    if let Some(wanted) = several {
        arguments["days"] = json!(wanted.min(OutfitPlan::MOST_DAYS));
        // A week at the office begins on Monday.
        let first = asked.when.as_ref().map_or(turn.today, |when| when.first.max(turn.today));
        let weekend = 7 - i64::from(first.weekday().number_days_from_monday());
        if weekend <= 2 && is_for_office(turn) {
            arguments["from"] = json!((first + Duration::days(weekend)).to_string());
        }
    }
    let is_around = asked.outfits > 1 && !include.is_empty() && asked.kept.is_empty();
    let mut plan: OutfitPlan = if is_around { around(turn, arguments)? } else { turn.read("plan_outfits", arguments)? };
    // More consecutive days than this include a weekend.
    if asked.outfits <= 1 && is_for_office(turn) && plan.outfits.len() > WORKING_WEEK {
        plan.outfits.retain(|outfit| !is_at_weekend(outfit));
    }
    // What was shown before comes again as it was, and "other shoes" change nothing else.
    let exchanged: Vec<Slot> = asked.exchanged.iter().filter_map(|text| Description::of(text).slot()).collect();
    if let Some(first) = plan.outfits.first_mut().filter(|_| asked.is_shown_again || !exchanged.is_empty()) {
        first.pieces.retain(|piece| asked.kept.contains(&piece.name) || exchanged.contains(&piece.slot));
    }
    let Some(planned) = plan.outfits.first().filter(|_| plan.outfits.iter().any(|outfit| !outfit.pieces.is_empty()))
    else {
        preface.push(nothing_to_wear(turn, &plan));
        return Ok(preface.join(" "));
    };
    if let Some(limit) = nothing_more(turn, planned).or_else(|| no_others(turn, planned)) {
        return Ok(limit);
    }
    preface.extend(wishes_unmet(turn, &plan)?);
    if let Some(wanted) = several {
        preface.push(several_outfits(turn, &plan));
        preface.extend(too_many(turn, wanted));
        return Ok(preface.join("\n\n"));
    }
    // "Which shoes should I wear?": shoes first.
    let is_worded = |named: &&Named| named.text.split(' ').all(|word| asked.says(&[word]));
    let mut wished =
        asked.named.iter().filter(|named| !named.is_claimed && asked.says(&["which", "what"]) && is_worded(named));
    if let Some(piece) = wished.find_map(|named| named.description.slot()).and_then(|slot| planned.piece(slot)) {
        preface.push(turn.say("one piece", &[("name", &clean(&piece.name)), ("why", &clean(&piece.why))]));
        let others = yours(planned.without(&piece.id).pieces.iter().map(|piece| &piece.name));
        if !others.is_empty() {
            preface.push(turn.say("goes with it", &[("name", &piece.name), ("others", &list(&others))]));
        }
        return Ok(preface.join(" "));
    }
    let told = format!("{}\n{}{}", intro(turn), lines(turn, planned), remarks(turn, &plan, planned));
    Ok([preface.join(" "), told].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n"))
}

/// Says so if a warmer, lighter, smarter or plainer outfit would be the same again.
fn nothing_more(turn: &Turn<'_>, planned: &PlannedOutfit) -> Option<String> {
    let Request { before, warmer, words, .. } = &turn.asked;
    let is_same =
        before.len() == planned.pieces.len() && planned.pieces.iter().all(|piece| before.contains(&piece.name));
    let sentence = match warmer {
        Some(true) if is_said("too cold", words) => "nothing warmer",
        Some(false) if is_said("too hot", words) => "nothing lighter",
        _ if turn.asked.is_variation && is_said("dressier", words) => "nothing smarter",
        _ if turn.asked.is_variation && is_said("plainer", words) => "nothing plainer",
        _ => return None,
    };
    is_same.then(|| turn.say(sentence, &[]))
}

/// Says so if there is nothing else of the kind that is to be replaced.
fn no_others(turn: &Turn<'_>, planned: &PlannedOutfit) -> Option<String> {
    let Request { exchanged, unlike, .. } = &turn.asked;
    let is_new = |text: &&String| {
        let piece = Description::of(text).slot().and_then(|slot| planned.piece(slot));
        piece.is_some_and(|piece| !unlike.contains(&piece.name))
    };
    exchanged.iter().find(|text| !is_new(text)).map(|text| turn.say("no others", &[("what", text)]))
}

/// Says which wanted clothes the user does not own.
fn wishes_unmet(turn: &Turn<'_>, plan: &OutfitPlan) -> Answer<Vec<String>> {
    let pieces: Vec<Garment> =
        plan.outfits.iter().flat_map(|outfit| &outfit.pieces).map(|piece| Garment::described(&piece.name)).collect();
    let is_unmet = |named: &&Named| {
        let kind = named.description.garment;
        !named.is_claimed && kind.is_some_and(|kind| !pieces.iter().any(|piece| piece.is(kind)))
    };
    let mut unmet = Vec::new();
    for named in turn.asked.named.iter().filter(is_unmet) {
        let owned = owned(turn, named)?;
        if owned.fitting.is_empty() {
            unmet.push(not_owned(turn, named, &owned.close));
        }
    }
    Ok(unmet)
}

/// Plans several outfits around the same pieces, each of other pieces than those before.
fn around(turn: &Turn<'_>, arguments: Value) -> Answer<OutfitPlan> {
    let mut plan = OutfitPlan::default();
    let mut unlike = turn.asked.unlike.clone();
    for _ in 0..turn.asked.outfits.min(MOST_AROUND) {
        let mut arguments = arguments.clone();
        arguments["days"] = json!(1);
        arguments["unlike"] = json!(unlike);
        let next: OutfitPlan = turn.read("plan_outfits", arguments)?;
        let names = |planned: &PlannedOutfit| planned.pieces.iter().map(|piece| piece.name.clone()).collect::<Vec<_>>();
        let is_new = |planned: &PlannedOutfit| !plan.outfits.iter().any(|known| names(known) == names(planned));
        let Some(planned) = next.outfits.into_iter().next().filter(is_new) else { break };
        unlike.extend(names(&planned));
        plan.outfits.push(planned);
        (plan.place, plan.note) = (next.place, next.note);
    }
    Ok(plan)
}

/// Says which pieces that the user wants replaced were not shown.
fn absent(turn: &Turn<'_>) -> Option<String> {
    let absent = &turn.asked.absent;
    (!absent.is_empty()).then(|| turn.say("absent", &[("what", &list(absent))]))
}

fn is_for_office(turn: &Turn<'_>) -> bool {
    turn.asked.occasion.iter().any(|term| term.is("office"))
}

fn is_at_weekend(outfit: &PlannedOutfit) -> bool {
    days::read(&outfit.date).is_some_and(|date| matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday))
}

/// Says so if more days or outfits were requested than a plan can have.
fn too_many(turn: &Turn<'_>, wanted: u16) -> Option<String> {
    let what = if turn.asked.outfits > 1 { "outfits" } else { "days" };
    (wanted > OutfitPlan::MOST_DAYS).then(|| turn.say("too many", &[("most", &OutfitPlan::MOST_DAYS), ("what", &what)]))
}

/// Returns the number of requested outfits, if more than one: "three outfits", "outfits for the week".
fn several(turn: &Turn<'_>) -> Option<u16> {
    let asked = &turn.asked;
    if asked.outfits > 1 {
        return Some(asked.outfits);
    }
    let is_each = asked.says(&["outfits", "looks", "each", "every", "plan"])
        || asked.says(&["week", "weeks", "fortnight"]) && !asked.says(&["one"]);
    let span = asked.when.as_ref().filter(|when| when.last > when.first);
    let length = span.map(|when| u16::try_from((when.last - when.first).whole_days() + 1).unwrap_or(1));
    let days = asked.days.or(length).filter(|days| is_each && *days > 1);
    days.or((asked.outfits == 0).then_some(2))
}

pub fn nothing_to_wear(turn: &Turn<'_>, plan: &OutfitPlan) -> String {
    let is_empty = plan.note.as_deref().is_some_and(|note| note.contains("empty"));
    turn.say(if is_empty { "empty" } else { "nothing to wear" }, &[])
}

fn intro(turn: &Turn<'_>) -> String {
    let what_for = purpose(turn);
    let sentence = match what_for.as_str() {
        // After "I'll leave that out from now on" no second "all right".
        _ if turn.asked.is_variation && turn.asked.asks.first() != Some(&"dislike") => "intro variation",
        "" => "intro",
        _ => "intro for",
    };
    turn.say(sentence, &[("for", &what_for), ("For", &capitalised(&what_for))])
}

/// Describes the purpose: "for a wedding on 14 June", "for tomorrow".
pub fn purpose(turn: &Turn<'_>) -> String {
    let asked = &turn.asked;
    let mut occasions = asked.occasion.iter().rev().filter(|term| term.kind() == Kind::Occasion);
    let (wanted, other) = (occasions.next(), occasions.next());
    let style = asked.occasion.iter().rfind(|term| term.kind() == Kind::Style).map(|term| term.name());
    let when = asked.when.as_ref().map(|when| when.label.as_str()).unwrap_or_default();
    // "For the weekend" rather than "for the weekend at the weekend".
    let when = if when.contains("weekend") && wanted.is_some_and(|wanted| wanted.is("weekend")) { "" } else { when };
    let what = match (wanted, other, style) {
        // "A wedding, black tie".
        (Some(code), Some(other), _) if code.is("black tie") && !other.is("black tie") => {
            format!("a black-tie {}", other.name())
        }
        (Some(wanted), _, Some(style)) if !vocabulary::words(wanted.name()).iter().any(|word| word == style) => {
            let place = if wanted.name() == "office" { "day at the office" } else { wanted.name() };
            vocabulary::with_article(&format!("{style} {place}"))
        }
        (Some(wanted), ..) => wanted.with_article(),
        (None, _, Some(style)) => vocabulary::with_article(&format!("{style} look")),
        (None, ..) if !when.is_empty() => return when.to_owned(),
        (None, ..) => match (asked.celsius.map(|celsius| celsius.round() + 0.0), asked.wet) {
            (Some(celsius), true) => format!("{celsius:.0} \u{b0}C and rain"),
            (Some(celsius), false) => format!("{celsius:.0} \u{b0}C"),
            (None, true) => "the rain".to_owned(),
            (None, false) => return String::new(),
        },
    };
    format!("for {what} {when}").trim().to_owned()
}

/// Describes what an outfit lacks and which weather it is for.
pub fn remarks(turn: &Turn<'_>, plan: &OutfitPlan, planned: &PlannedOutfit) -> String {
    far_off(turn, planned) + &missing(turn, planned) + &weather(turn, plan, planned)
}

/// Says so if nothing in an outfit is smart enough, or made for sport.
fn far_off(turn: &Turn<'_>, planned: &PlannedOutfit) -> String {
    let occasions = &turn.asked.occasion;
    let has_style = occasions.iter().any(|term| term.kind() == Kind::Style);
    let Some(occasion) = occasions.iter().rfind(|term| term.kind() == Kind::Occasion && !has_style) else {
        return String::new();
    };
    let facts = occasion.term().facts;
    let least = facts.formality.map_or(0, |(least, _)| least);
    let mut pieces = planned.pieces.iter().map(|piece| Garment::described(&piece.name));
    let is_far_off = match facts.sport {
        true => !pieces.any(|garment| garment.sport),
        false => pieces.any(|garment| {
            matches!(garment.slot, Some(Slot::Top | Slot::Bottoms | Slot::Dress)) && garment.formality.1 + 1 < least
        }),
    };
    if is_far_off {
        format!("\n{}", turn.say("far off", &[("occasion", &occasion.with_article())]))
    } else {
        String::new()
    }
}

/// Describes what an outfit lacks.
pub fn missing(turn: &Turn<'_>, planned: &PlannedOutfit) -> String {
    // Rejected slots are not missing.
    let rejected: Vec<Slot> = turn.asked.rejected.iter().filter_map(|text| Description::of(text).slot()).collect();
    let missing: Vec<&str> =
        planned.missing.iter().filter(|slot| !rejected.contains(slot)).map(|slot| slot.name()).collect();
    if missing.is_empty() {
        return String::new();
    }
    format!("\n{}", turn.say("missing", &[("what", &list(&missing).replace(" and ", " or "))]))
}

/// Describes the weather that an outfit is for, unless the user named it or it does not matter.
fn weather(turn: &Turn<'_>, plan: &OutfitPlan, planned: &PlannedOutfit) -> String {
    let is_sport = turn.asked.occasion.iter().any(|term| term.term().facts.sport);
    let is_told = turn.asked.celsius.is_some() || turn.asked.wet || names_season(turn);
    let Some(place) = plan.place.as_deref().map(shown).filter(|_| !is_sport && !is_told) else { return String::new() };
    let month = days::read(&planned.date).map(|date| date.month().to_string()).unwrap_or_default();
    let (sentence, weather) = match without_forecast(&planned.weather) {
        Some((sentence, usual)) => (sentence, usual.split_once(", ").map_or(usual, |(_, usual)| usual)),
        None => ("forecast", planned.weather.as_str()),
    };
    format!("\n{}", turn.say(sentence, &[("place", &place), ("month", &month), ("weather", &clean(weather))]))
}

/// Returns what a plan without a forecast went by, and the sentence that says so.
fn without_forecast(weather: &str) -> Option<(&'static str, &str)> {
    let usual = weather.strip_prefix(NO_FORECAST)?;
    Some(usual.strip_suffix(NO_CLIMATE).map_or(("no forecast", usual), |usual| ("no climate", usual)))
}

fn names_season(turn: &Turn<'_>) -> bool {
    turn.asked.occasion.iter().any(|term| term.kind() == Kind::Season)
}

fn several_outfits(turn: &Turn<'_>, plan: &OutfitPlan) -> String {
    let wanted = turn.asked.occasion.iter().rfind(|term| term.kind() == Kind::Occasion);
    let what_for = wanted.map(|wanted| format!(" for {}", wanted.with_article())).unwrap_or_default();
    let has_days = turn.asked.when.as_ref().is_some_and(|when| when.last > when.first) || turn.asked.days.is_some();
    let blocks = plan.outfits.iter().enumerate().map(|(number, planned)| {
        let head = match days::read(&planned.date).filter(|_| has_days) {
            Some(date) => format!("{} {}", date.weekday(), days::shown(date, turn.today)),
            None => format!("Outfit {}", number + 1),
        };
        format!("{head}:\n{}", lines(turn, planned))
    });
    let head = turn.say("outfits", &[("count", &plan.outfits.len()), ("what_for", &what_for)]);
    [head].into_iter().chain(blocks).collect::<Vec<_>>().join("\n\n")
}

pub fn packing(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let length = asked.when.as_ref().map(|when| (when.last - when.first).whole_days() + 1);
    let length = length.and_then(|length| u16::try_from(length).ok()).filter(|length| (2..7).contains(length));
    let told = asked.days.or(length);
    if told == Some(0) {
        return Ok(turn.say("pack nothing", &[]));
    }
    let days = told.unwrap_or(3).clamp(1, OutfitPlan::MOST_DAYS);
    let mut arguments = plan_arguments(turn, &[], &[]);
    arguments["days"] = json!(days.max(2));
    arguments["packing"] = json!(true);
    let most = asked.limits.pieces.most.map(|most| most.max(1.0));
    let most = most.or(asked.is_light.then_some(HAND_LUGGAGE));
    if let Some((kind, most)) = asked.most_of {
        arguments["most_of"] = json!({ kind.name(): most });
    }
    if let Some(most) = most {
        // A whole number, and small.
        arguments["most_pieces"] = json!(most as u64);
    }
    // One occasion is that of every day, several take turns.
    match asked.occasion.as_slice() {
        _ if arguments.get("occasions").is_none() => arguments["occasions"] = json!(["travel", "casual dinner"]),
        [_, _, ..] => arguments["occasions"] = json!(asked.occasion.iter().map(|term| term.name()).collect::<Vec<_>>()),
        _ => {}
    }
    let plan: OutfitPlan = turn.read("plan_outfits", arguments)?;
    if plan.packing.is_empty() {
        return Ok(nothing_to_wear(turn, &plan));
    }
    if let Some(day) = asked.day {
        return Ok(day_of_trip(turn, &plan, day));
    }
    let place = asked.place.as_deref().map(|place| format!(" in {}", shown(place))).unwrap_or_default();
    let span = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
    let nights = if days == 1 { "the night" } else { &span };
    let packed = plan.packing.iter().map(|packed| packed_line(turn, packed.kind, &packed.names));
    let count: usize = plan.packing.iter().map(|packed| packed.names.len()).sum();
    let mut lines: Vec<String> = absent(turn).into_iter().chain(wishes_unmet(turn, &plan)?).collect();
    lines.extend([
        turn.say("pack", &[("span", &span), ("place", &place)]),
        bullets(packed),
        turn.say("pack underwear", &[("nights", &nights)]),
    ]);
    if asked.is_light && asked.limits.pieces.most.is_none() {
        lines.push(turn.say("pack light", &[("count", &count)]));
    } else if let Some(most) = most.filter(|most| count as f64 > *most) {
        lines.push(turn.say("pack too few", &[("most", &most), ("count", &count)]));
    }
    let weather = plan.outfits.first().map(|planned| planned.weather.as_str());
    if let Some(weather) = weather.filter(|_| asked.celsius.is_none() && !names_season(turn)) {
        lines.push(match without_forecast(weather) {
            Some((sentence, usual)) => {
                turn.say(&format!("pack {sentence}"), &[("weather", &clean(usual)), ("place", &place)])
            }
            None => turn.say("pack forecast", &[("weather", &clean(weather))]),
        });
    }
    if told.is_none() {
        lines.push(turn.say("pack guess", &[]));
    }
    if told.is_some_and(|told| told > days) {
        lines.push(turn.say("pack too long", &[("span", &span)]));
    }
    Ok(lines.join("\n"))
}

/// Formats the pieces of a kind to pack: "2 tops: your white tee and your navy polo."
pub fn packed_line(turn: &Turn<'_>, kind: Slot, names: &[String]) -> String {
    let count = names.len();
    let kind = turn.say(&format!("packed {}", kind.name()), &[("count", &count)]);
    format!("{count} {kind}: {}.", list(&yours(names)))
}

/// Returns the outfit of one day of a trip.
fn day_of_trip(turn: &Turn<'_>, plan: &OutfitPlan, day: usize) -> String {
    match day.checked_sub(1).and_then(|place| plan.outfits.get(place)) {
        Some(planned) => format!("{}\n{}", turn.say("day of trip", &[("day", &day)]), lines(turn, planned)),
        None => turn.say("no such day of trip", &[("days", &plan.outfits.len())]),
    }
}
