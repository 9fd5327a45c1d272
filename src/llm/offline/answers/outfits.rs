//! Outfits and what to pack.

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use time::Duration;

use super::search::{not_owned, owned};
use super::wording::{article, clean, list, sentence_case, with_article};
use crate::llm::offline::time as days;
use crate::llm::offline::turn::{Answer, Turn};
use crate::model::garment::{Description, is_plural, shown};
use crate::model::thesaurus::Kind;
use crate::model::vocabulary;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Plan {
    pub note: Option<String>,
    pub place: Option<String>,
    pub outfits: Vec<Planned>,
    pub packing: Vec<Packed>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Planned {
    pub date: String,
    pub occasion: String,
    pub weather: String,
    pub pieces: Vec<Piece>,
    pub missing: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Piece {
    pub slot: String,
    pub id: String,
    pub name: String,
    pub why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Packed {
    kind: String,
    names: Vec<String>,
}

/// Arguments of a plan, from what the message says.
pub fn plan_arguments(turn: &Turn<'_>, include: Vec<String>, avoid: Vec<String>) -> Value {
    let asked = &turn.asked;
    let mut arguments = json!({});
    let mut set = |name: &str, value: Value| arguments[name] = value;
    if let Some(when) = asked.when.as_ref().filter(|when| when.first > turn.today) {
        set("from", json!(when.first.to_string()));
    }
    if let Some(place) = &asked.place {
        set("place", json!(place));
    }
    // What was asked for without claiming to own it is a wish: "a skirt", "something green".
    let wishes = asked.named.iter().filter(|named| !named.is_claimed).map(|named| named.text.clone());
    let occasion: Vec<String> =
        [asked.occasion_text()].into_iter().chain(wishes).filter(|text| !text.is_empty()).collect();
    if !occasion.is_empty() {
        set("occasions", json!([occasion.join(" ")]));
    }
    if !include.is_empty() {
        set("include", json!(include));
    }
    let avoid: Vec<String> = asked.rejected.iter().cloned().chain(avoid).collect();
    if !avoid.is_empty() {
        set("avoid", json!(avoid));
    }
    if !asked.unlike.is_empty() {
        let from = asked.unlike.len().saturating_sub(30);
        set("unlike", json!(asked.unlike[from..]));
    }
    if asked.celsius.is_some() || asked.warmer != 0.0 {
        set("celsius", json!(asked.celsius.unwrap_or(14.0) + asked.warmer));
    }
    if asked.wet {
        set("wet", json!(true));
    }
    arguments
}

pub fn outfit(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let mut include = turn.selected();
    let mut preface = Vec::new();
    let wanted =
        asked.named.iter().filter(|named| named.description.garment.is_some() || !named.description.words.is_empty());
    for named in wanted.filter(|named| named.is_claimed) {
        let owned = owned(turn, named)?;
        match owned.fitting.first() {
            Some(item) => include.push(item.id.clone()),
            None => preface.push(not_owned(turn, named, &owned.close)),
        }
    }
    include.extend(asked.kept.iter().filter(|name| !include.contains(name)).cloned().collect::<Vec<_>>());
    let several =
        if asked.outfits > 1 { Some(asked.outfits) } else { each_day(turn).or((asked.outfits == 0).then_some(2)) };
    let mut arguments = plan_arguments(turn, include, Vec::new());
    if let Some(days) = several {
        arguments["days"] = json!(days);
        // A week at the office begins on Monday.
        let first = asked.when.as_ref().map_or(turn.today, |when| when.first.max(turn.today));
        let weekend = 7 - i64::from(first.weekday().number_days_from_monday());
        if weekend <= 2 && asked.occasion.iter().any(|term| term.is("office")) {
            arguments["from"] = json!((first + Duration::days(weekend)).to_string());
        }
    }
    let plan: Plan = turn.read("plan_outfits", arguments)?;
    if plan.outfits.iter().all(|outfit| outfit.pieces.is_empty()) {
        preface.push(nothing_to_wear(&plan));
        return Ok(preface.join(" "));
    }
    if let Some(days) = several {
        preface.push(several_outfits(turn, &plan, days));
        return Ok(preface.join("\n\n"));
    }
    let Some(planned) = plan.outfits.first() else { return Ok(nothing_to_wear(&plan)) };
    // "Which shoes should I wear?": those first.
    let slot = asked.named.iter().filter(|named| !named.is_claimed).find_map(|named| slot_of(&named.description));
    let about = slot.and_then(|slot| planned.pieces.iter().find(|piece| piece.slot == slot));
    if let Some(piece) = about.filter(|_| asked.says(&["which", "what"])) {
        let head = format!("I'd take your {}: {}.", clean(&piece.name), clean(&piece.why));
        let rest: Vec<String> = planned
            .pieces
            .iter()
            .filter(|other| other.id != piece.id)
            .map(|other| format!("your {}", clean(&other.name)))
            .collect();
        let rest = if rest.is_empty() {
            String::new()
        } else {
            format!(" It goes with {}.", list(&rest))
                .replace("It goes", if is_plural(&piece.name) { "They go" } else { "It goes" })
        };
        preface.push(head + &rest);
        return Ok(preface.join(" "));
    }
    let mut text = preface.join(" ");
    if !text.is_empty() {
        text += "\n\n";
    }
    text += &intro(turn);
    text += &lines(turn, planned);
    text += &remarks(turn, &plan, planned);
    Ok(text)
}

/// The days that an outfit each is asked for, if it is more than one: "outfits for the week".
fn each_day(turn: &Turn<'_>) -> Option<u16> {
    let asked = &turn.asked;
    let is_each =
        asked.says(&["outfits", "looks", "each", "every", "plan"]) || asked.says(&["week"]) && !asked.says(&["one"]);
    let span = asked.when.as_ref().filter(|when| when.last > when.first);
    let length = span.map(|when| u16::try_from((when.last - when.first).whole_days() + 1).unwrap_or(1));
    let is_work = asked.occasion.iter().any(|term| term.is("office"));
    let days = asked.days.or(length).filter(|_| is_each)?;
    let days = if is_work { days.min(5) } else { days.min(7) };
    (days > 1).then_some(days)
}

pub fn nothing_to_wear(plan: &Plan) -> String {
    if plan.note.as_deref().is_some_and(|note| note.contains("empty")) {
        return "Your wardrobe is still empty. Add a few pieces in the app, and I'll help you style them.".to_owned();
    }
    "I couldn't find pieces among your clothes that suit this. Tell me what you'd like to start from, and I'll build on it.".to_owned()
}

fn intro(turn: &Turn<'_>) -> String {
    let what_for = purpose(turn);
    if turn.asked.is_variation {
        let ways = [
            "All right, then how about this",
            "Here's another way to do it",
            "Let's try this instead",
            "Fine, something different",
        ];
        return format!("{}:\n", turn.pick(&ways));
    }
    let ways: [&'static str; 4] = [
        "{for}, I'd wear this:\n",
        "{for}, how about this:\n",
        "Here's what I'd put on {in}:\n",
        "This should work well {in}:\n",
    ];
    let way = turn.pick(&ways);
    if what_for.is_empty() {
        return turn.pick(&["How about this:\n", "Here's what I'd wear:\n", "I'd go with this:\n"]).to_owned();
    }
    way.replace("{for}", &sentence_case(&what_for)).replace("{in}", &what_for)
}

/// "for a wedding on 14 June", "for tomorrow".
fn purpose(turn: &Turn<'_>) -> String {
    let asked = &turn.asked;
    let mut occasions = asked.occasion.iter().rev().filter(|term| term.kind() == Kind::Occasion);
    let (occasion, other) = (occasions.next(), occasions.next());
    let style = asked.occasion.iter().rfind(|term| term.kind() == Kind::Style).map(|term| term.name());
    let when = asked.when.as_ref().map(|when| when.label.clone()).unwrap_or_default();
    match (occasion, style) {
        // "A wedding, black tie".
        (Some(code), _) if code.is("black tie") && other.is_some() => {
            let occasion = other.map(|term| term.name()).unwrap_or_default();
            format!("for a black-tie {occasion} {when}").trim().to_owned()
        }
        (Some(occasion), style) => {
            let name = match style.filter(|style| vocabulary::words(occasion.name()).iter().all(|word| word != style)) {
                Some(style) => format!("{} {style} {}", article(style), occasion.name())
                    .replace("a casual office", "a casual day at the office"),
                None => with_article(*occasion),
            };
            format!("for {name} {when}").trim().to_owned()
        }
        (None, Some(style)) => format!("for {} {style} look {when}", article(style)).trim().to_owned(),
        (None, None) if !when.is_empty() => when,
        (None, None) => match (asked.celsius.map(|celsius| celsius + asked.warmer), asked.wet) {
            (Some(celsius), true) => format!("for {celsius:.0} \u{b0}C and rain"),
            (Some(celsius), false) => format!("for {celsius:.0} \u{b0}C"),
            (None, true) => "for the rain".to_owned(),
            (None, false) => String::new(),
        },
    }
}

pub fn lines(turn: &Turn<'_>, planned: &Planned) -> String {
    let line = |piece: &Piece| {
        let why = if turn.asked.kept.contains(&piece.name) { "as before".to_owned() } else { clean(&piece.why) };
        format!("- {}: your {}, {why}.", label(&piece.slot), clean(&piece.name))
    };
    planned.pieces.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn label(slot: &str) -> &'static str {
    match slot {
        "dress" => "Dress",
        "top" => "Top",
        "knit" => "Knit",
        "bottoms" => "Bottoms",
        "shoes" => "Shoes",
        "outerwear" => "Over it",
        _ => "Accessory",
    }
}

/// What it lacks, and which weather it is for.
pub fn remarks(turn: &Turn<'_>, plan: &Plan, planned: &Planned) -> String {
    let mut text = String::new();
    // What the user does not want is not missed.
    let is_missed =
        |slot: &&String| !turn.asked.rejected.iter().any(|text| slot_of(&Description::of(text)) == Some(slot.as_str()));
    let missing: Vec<String> = planned.missing.iter().filter(is_missed).cloned().collect();
    if !missing.is_empty() {
        text += &format!("\nI found no {} among your pieces that suit it.", list(&missing).replace(" and ", " or "));
    }
    let is_sport = turn.asked.occasion.iter().any(|term| term.term().facts.sport);
    let is_named = turn.asked.celsius.is_some() || turn.asked.wet;
    if !is_sport
        && !is_named
        && let Some(place) = plan.place.as_deref().map(shown)
    {
        let weather = &planned.weather;
        text += &match weather.strip_prefix("no forecast: ") {
            Some(usual) => {
                let usual = usual.split_once(", ").map_or(usual, |(_, usual)| usual);
                let when = days::read(&planned.date).map(|date| date.month().to_string()).unwrap_or_default();
                format!("\nI have no forecast for {place}, so I went by its {when}: {}.", clean(usual))
            }
            None => format!("\nThat's for {place} with {}.", clean(weather)),
        };
    }
    text
}

fn several_outfits(turn: &Turn<'_>, plan: &Plan, days: u16) -> String {
    let occasion = turn
        .asked
        .occasion
        .iter()
        .rfind(|term| term.kind() == Kind::Occasion)
        .map(|term| format!(" for {}", with_article(*term)));
    let occasion = occasion.unwrap_or_default();
    let mut blocks = vec![format!("Here {} {days} outfits{occasion}:", if days == 1 { "is" } else { "are" })];
    let has_days = turn.asked.when.as_ref().is_some_and(|when| when.last > when.first) || turn.asked.days.is_some();
    for (number, planned) in plan.outfits.iter().enumerate() {
        let day = days::read(&planned.date).filter(|_| has_days);
        let head = day.map_or_else(
            || format!("Outfit {}", number + 1),
            |date| format!("{} {}", date.weekday(), days::shown(date, turn.today)),
        );
        blocks.push(format!("{head}:\n{}", lines(turn, planned)));
    }
    blocks.join("\n\n")
}

/// The slot that a kind of garment goes to, by its name in plans.
pub fn slot_of(description: &Description) -> Option<&'static str> {
    match description.garment?.group().name() {
        "top" => Some("top"),
        "knitwear" => Some("knit"),
        "bottoms" => Some("bottoms"),
        "dress" => Some("dress"),
        "shoes" => Some("shoes"),
        "outerwear" => Some("outerwear"),
        "accessories" => Some("accessory"),
        _ => None,
    }
}

pub fn packing(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let length = asked.when.as_ref().map(|when| (when.last - when.first).whole_days() + 1);
    let days = asked
        .days
        .or_else(|| length.and_then(|length| u16::try_from(length).ok()).filter(|length| *length > 1 && *length < 7));
    let (days, is_guess) = (days.unwrap_or(3).clamp(1, 14), days.is_none());
    let mut arguments = plan_arguments(turn, Vec::new(), Vec::new());
    arguments["days"] = json!(days.max(2));
    if arguments.get("occasions").is_none() {
        arguments["occasions"] = json!(["travel", "casual dinner"]);
    }
    let plan: Plan = turn.read("plan_outfits", arguments)?;
    if plan.packing.is_empty() {
        return Ok(nothing_to_wear(&plan));
    }
    let place = asked.place.clone().map(|place| format!(" in {}", shown(&place))).unwrap_or_default();
    let span = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
    let mut lines = vec![format!("For {span}{place} I'd pack this, an outfit for each day:")];
    for packed in &plan.packing {
        let names: Vec<String> = packed.names.iter().map(|name| format!("your {}", clean(name))).collect();
        let count = names.len();
        let (one, many) = match packed.kind.as_str() {
            "top" => ("top", "tops"),
            "knit" => ("knit", "knits"),
            "bottoms" => ("bottoms", "bottoms"),
            "dress" => ("dress", "dresses"),
            "shoes" => ("pair of shoes", "pairs of shoes"),
            "outerwear" => ("coat or jacket", "coats and jackets"),
            _ => ("accessory", "accessories"),
        };
        let kind = format!("{count} {}", if count == 1 { one } else { many });
        lines.push(format!("- {kind}: {}.", list(&names)));
    }
    let nights = if days == 1 { "the night".to_owned() } else { format!("{days} days") };
    lines.push(format!("Add underwear and socks for {nights}; those aren't in your wardrobe here."));
    if let Some(weather) = plan.outfits.first().map(|planned| planned.weather.as_str()) {
        lines.push(match weather.strip_prefix("no forecast: ") {
            Some(usual) => format!("There's no forecast yet, so I went by the time of year: {}.", clean(usual)),
            None => format!("The forecast for the first day: {}.", clean(weather)),
        });
    }
    if is_guess {
        lines.push("You didn't say for how long; tell me, and I'll adjust it.".to_owned());
    }
    Ok(lines.join("\n"))
}
