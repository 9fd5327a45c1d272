//! What the built-in stylist says, kind by kind. Pieces are named as tools named them; nothing else is.

use serde::Deserialize;
use serde_json::{Value, json};
use time::Duration;

use super::advice;
use super::time as days;
use super::turn::{Answer, Turn, Unfinished};
use super::understand::{Ask, Named};
use crate::model::conversation::PreferenceKind;
use crate::model::garment::{Description, Fit, Garment, Words, is_plural, shown};
use crate::model::profile::ProfileFacts;
use crate::model::thesaurus::{self, Kind, TermId};
use crate::model::vocabulary;

/// Pieces in a list.
const MOST_LISTED: usize = 12;

/// An owned piece, as a search returns it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Item {
    id: String,
    category: Option<String>,
    brand: Option<String>,
    colours: Vec<String>,
    tags: Vec<String>,
    size: Option<Value>,
    name: String,
    price: Option<Price>,
    bought: Option<String>,
    wear_count: u32,
    last_worn: Option<String>,
    care: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Price {
    amount: f64,
    currency: String,
}

impl Item {
    fn garment(&self) -> Garment {
        let colours: Vec<&str> = self.colours.iter().map(String::as_str).collect();
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        let care: Vec<&str> = self.care.iter().map(String::as_str).collect();
        Garment::new(Words {
            id: &self.id,
            category: self.category.as_deref(),
            brand: self.brand.as_deref(),
            colours: &colours,
            tags: &tags,
            care: &care,
        })
    }

    /// What it is called; names come from the tool, which makes them safe to show.
    fn name(&self) -> String {
        if self.name.is_empty() {
            self.garment().name
        } else {
            self.name.split_whitespace().map(shown).collect::<Vec<_>>().join(" ")
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Found {
    note: Option<String>,
    exact_matches: Option<u64>,
    items: Vec<Item>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Plan {
    note: Option<String>,
    place: Option<String>,
    outfits: Vec<Planned>,
    packing: Vec<Packed>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Planned {
    date: String,
    occasion: String,
    weather: String,
    pieces: Vec<Piece>,
    missing: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Piece {
    slot: String,
    id: String,
    name: String,
    why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Packed {
    kind: String,
    names: Vec<String>,
}

/// The answer to everything that a message asks.
pub fn answer(turn: &Turn<'_>) -> Answer {
    if turn.asked.is_foreign {
        return Ok("Sorry, I only understand English: I'm PluckIt's built-in model, not a large language model. \
                   (Ich verstehe nur Englisch. Je ne comprends que l'anglais. Solo entiendo inglés.) Ask me in English what to wear, \
                   or about the clothes you own."
            .to_owned());
    }
    let mut asks = turn.asked.asks.clone();
    // Whoever picked pieces wants them worn.
    if !turn.selected().is_empty() && asks.iter().all(|ask| matches!(*ask, "find" | "pair" | "weather" | "shop")) {
        asks.insert(0, "outfit");
        asks.retain(|ask| !matches!(*ask, "find" | "pair"));
    }
    let mut paragraphs: Vec<String> = Vec::new();
    let mut is_sorry = false;
    for ask in asks.iter().take(3) {
        let text = match one(turn, ask) {
            // What failed does not spoil what worked.
            Err(Unfinished::Sorry(text)) => {
                is_sorry = true;
                text
            }
            other => other?,
        };
        if !text.is_empty() && !paragraphs.contains(&text) {
            paragraphs.push(text);
        }
    }
    if paragraphs.is_empty() {
        return Ok(advice::lost(turn));
    }
    // Somebody who just accepted an offer gets the result, not the next offer; nor does what failed lead on to more.
    let last = asks.last().filter(|ask| {
        !turn.asked.is_accepted && !is_sorry && (**ask != "pair" || paragraphs.iter().any(|text| text.contains("\n- ")))
    });
    paragraphs.extend(last.and_then(|ask| next_step(turn, ask)).map(str::to_owned));
    Ok(paragraphs.join("\n\n"))
}

/// What could come next.
fn next_step(turn: &Turn<'_>, ask: Ask) -> Option<&'static str> {
    match ask {
        "summary" | "spent" => Some("Want me to check your wardrobe for gaps?"),
        "trends" => Some("Want me to put together an outfit in that mood from your wardrobe?"),
        "weather" => Some("Want me to put together an outfit for it?"),
        "greet" => Some("Want me to put together an outfit for today?"),
        "never" | "neglected" => Some("Want me to put together an outfit with one of them?"),
        "outfit" | "pair" if !turn.asked.is_variation => Some(turn.pick(&[
            "If something isn't right, tell me which piece, or say \"another one\".",
            "Not quite it? Tell me what to leave out, or ask for something warmer or smarter.",
            "Say the word if you'd rather have another one.",
        ])),
        _ => None,
    }
}

fn one(turn: &Turn<'_>, ask: Ask) -> Answer {
    match ask {
        "outfit" => outfit(turn),
        "pair" => pair(turn),
        "opinion" => opinion(turn),
        "packing" => packing(turn),
        "find" => find(turn),
        "count" => count(turn),
        "summary" | "colours" => summary(turn, ask),
        "never" | "neglected" | "mostworn" | "dearest" | "cheapest" | "newest" | "oldest" | "bestvalue"
        | "worstvalue" => ranking(turn, ask),
        "lastworn" | "howoften" => last_worn(turn),
        "worn" => worn(turn),
        "bought" | "price" | "perwear" => about_piece(turn, ask),
        "spent" => spent(turn),
        "weather" => weather(turn),
        "care" => care(turn),
        "dislike" | "like" | "fact" | "remember" => remember(turn, ask),
        "forget" => forget(turn),
        "recall" => Ok(recall(turn)),
        "gaps" => gaps(turn),
        "trends" => trends(turn),
        "shop" => shop(turn),
        "size" | "profile" => profile(turn, ask),
        other => Ok(advice::small_talk(turn, other)),
    }
}

// ---- Searching

fn search(turn: &Turn<'_>, query: &str) -> Answer<Found> {
    turn.read("search_wardrobe", json!({ "query": query }))
}

fn sorted(turn: &Turn<'_>, query: &str, by: &str, order: &str) -> Answer<Found> {
    turn.read("search_wardrobe", json!({ "query": query, "sort_by": by, "order": order }))
}

/// What was found for clothes that were named.
struct Owned {
    /// Pieces that are just that, or a shade of it.
    fitting: Vec<Item>,
    /// Whether only a shade of the colour was found.
    is_shade: bool,
    /// Of all pieces those that come closest, when none fits.
    close: Vec<Item>,
    /// How many of the whole wardrobe fit.
    count: u64,
}

/// Looks for clothes that were named.
fn owned(turn: &Turn<'_>, named: &Named) -> Answer<Owned> {
    let found = search(turn, &named.text)?;
    let fits: Vec<(Fit, Item)> =
        found.items.into_iter().map(|item| (named.description.fit(&item.garment()), item)).collect();
    let with = |wanted: fn(Fit) -> bool| -> Vec<Item> {
        fits.iter().filter(|(fit, _)| wanted(*fit)).map(|(_, item)| item.clone()).collect()
    };
    let exact = with(|fit| fit == Fit::Exact);
    let fitting = with(|fit| fit >= Fit::Shade);
    let close = if found.note.is_none() { with(|fit| fit == Fit::Near) } else { Vec::new() };
    let count = found.exact_matches.unwrap_or_default().max(fitting.len() as u64);
    // A maker that only the message knows is counted here, not by the tool.
    let count = if fitting.len() < 30 { fitting.len() as u64 } else { count };
    Ok(Owned { is_shade: exact.is_empty() && !fitting.is_empty(), fitting, close, count })
}

/// Says that something is not owned, and what comes closest.
fn not_owned(turn: &Turn<'_>, named: &Named, close: &[Item]) -> String {
    let text = &second_person(&named.text);
    let no = if is_plural(text) { format!("any {text}") } else { format!("{} {text}", article(text)) };
    let start = turn.pick(&["You don't own", "You don't have", "I don't see"]);
    let place = if start == "I don't see" { " among your clothes" } else { "" };
    let mut answer = format!("{start} {no}{place}.");
    match close {
        [] => {}
        [one] => answer += &format!(" The closest is your {}.", one.name()),
        more => {
            let names: Vec<String> = more.iter().take(3).map(|item| format!("your {}", item.name())).collect();
            answer += &format!(" The closest are {}.", list(&names));
        }
    }
    answer
}

fn article(text: &str) -> &'static str {
    if text.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" }
}

// ---- Outfits

/// Arguments of a plan, from what the message says.
fn plan_arguments(turn: &Turn<'_>, include: Vec<String>, avoid: Vec<String>) -> Value {
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

fn outfit(turn: &Turn<'_>) -> Answer {
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

fn nothing_to_wear(plan: &Plan) -> String {
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
    let mut letters = what_for.chars();
    let capital =
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default();
    way.replace("{for}", &capital).replace("{in}", &what_for)
}

/// "for a wedding on 14 June", "for tomorrow".
fn purpose(turn: &Turn<'_>) -> String {
    let asked = &turn.asked;
    let occasion = asked.occasion.iter().rfind(|term| term.kind() == Kind::Occasion);
    let style = asked.occasion.iter().rfind(|term| term.kind() == Kind::Style).map(|term| term.name());
    let when = asked.when.as_ref().map(|when| when.label.clone()).unwrap_or_default();
    match (occasion, style) {
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

/// An occasion as one speaks of it.
fn with_article(occasion: TermId) -> String {
    let name = occasion.name();
    match name {
        "dinner" | "brunch" | "drinks" | "travel" | "church" | "school" | "sport" | "black tie" | "court"
        | "halloween" => name.to_owned(),
        "home" => "a day at home".to_owned(),
        "office" | "gym" | "beach" | "theatre" | "museum" | "weekend" | "spa" | "races" | "nursery" => {
            format!("the {name}")
        }
        name => format!("{} {name}", article(name)),
    }
}

fn lines(turn: &Turn<'_>, planned: &Planned) -> String {
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

/// Text of a tool on one line.
fn clean(text: &str) -> String {
    text.split_whitespace().filter(|word| !word.contains("://")).take(24).collect::<Vec<_>>().join(" ")
}

/// What it lacks, and which weather it is for.
fn remarks(turn: &Turn<'_>, plan: &Plan, planned: &Planned) -> String {
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
fn slot_of(description: &Description) -> Option<&'static str> {
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

/// What goes with a piece.
fn pair(turn: &Turn<'_>) -> Answer {
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
fn opinion(turn: &Turn<'_>) -> Answer {
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
    let missing =
        if item.is_none() && first.is_claimed { format!("{} ", not_owned(turn, first, &[])) } else { String::new() };
    let instead = slot_of(&first.description).and_then(|slot| planned?.pieces.iter().find(|piece| piece.slot == slot));
    Ok(match verdict {
        Ok(yes) if item.is_none() && !first.is_claimed => format!("{yes} {}", not_owned(turn, first, &found.close))
            .replace("Yes, ", "That would be fine in principle: "),
        Ok(yes) => missing + &yes,
        Err(no) => match instead {
            Some(piece) => {
                format!("{missing}{no} Your {} would be the better choice: {}.", clean(&piece.name), clean(&piece.why))
            }
            None => format!("{missing}{no}"),
        },
    })
}

/// The temperature in a plan's words about the weather.
fn celsius_in(weather: &str) -> Option<f64> {
    let before = weather.split('\u{b0}').next()?.trim_end();
    before.rsplit(' ').next()?.parse().ok()
}

fn packing(turn: &Turn<'_>) -> Answer {
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
        let kind = match (packed.kind.as_str(), count) {
            ("top", 1) => "1 top".to_owned(),
            ("top", count) => format!("{count} tops"),
            ("knit", 1) => "1 knit".to_owned(),
            ("knit", count) => format!("{count} knits"),
            ("bottoms", count) => format!("{count} bottoms"),
            ("dress", 1) => "1 dress".to_owned(),
            ("dress", count) => format!("{count} dresses"),
            ("shoes", 1) => "1 pair of shoes".to_owned(),
            ("shoes", count) => format!("{count} pairs of shoes"),
            ("outerwear", 1) => "1 coat or jacket".to_owned(),
            ("outerwear", count) => format!("{count} coats and jackets"),
            (_, 1) => "1 accessory".to_owned(),
            (_, count) => format!("{count} accessories"),
        };
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

// ---- What is owned

/// Words of the message that pieces may be tagged with, when it names no garment.
fn loose_query(turn: &Turn<'_>) -> String {
    let telling = turn.asked.words.iter().filter(|word| {
        !vocabulary::is_stop_word(word)
            && !matches!(
                word.as_str(),
                "search" | "find" | "list" | "which" | "check" | "closet" | "clothes" | "stuff" | "wardrobe" | "things"
            )
    });
    telling.take(12).cloned().collect::<Vec<_>>().join(" ")
}

fn find(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let accepted = turn.accepted_query("search_wardrobe");
    let named = match (&accepted, asked.about()) {
        (Some(query), _) => Some(super::understand::named(query)).filter(|named| !named.description.is_empty()),
        (None, named) => named.cloned(),
    };
    let Some(named) = named else {
        let query = accepted.unwrap_or_else(|| loose_query(turn));
        if query.is_empty() {
            return summary(turn, "summary");
        }
        let found = search(turn, &query)?;
        return Ok(match (found.items.as_slice(), &found.note) {
            ([], _) => nothing_to_wear(&Plan { note: Some("empty".to_owned()), ..Plan::default() }),
            (_, Some(_)) => format!(
                "I found nothing like that among your clothes ({query}). Name a kind of garment, a colour or a brand, and I'll look again."
            ),
            (items, None) => format!(
                "{}\n{}",
                turn.pick(&["These would do:", "Here's what I'd look at:", "These come to mind:"]),
                bullets(&items[..items.len().min(5)])
            ),
        });
    };
    let owned = owned(turn, &named)?;
    if owned.fitting.is_empty() {
        let no = if asked.says(&["do", "have", "any", "own", "got", "is"]) { "No. " } else { "" };
        return Ok(format!("{no}{}", not_owned(turn, &named, &owned.close)).replace("No. You", "No, you"));
    }
    let what = collective(&named, owned.count);
    let is_yes_no =
        asked.says(&["do", "have", "any", "got", "is", "are"]) && !asked.says(&["show", "list", "which", "what"]);
    if owned.is_shade && !named.description.colours.is_empty() {
        let colours: Vec<&str> = named.description.colours.iter().map(|colour| colour.name()).collect();
        let intro = format!(
            "Nothing in plain {}, but {} close:",
            colours.join(" or "),
            if owned.count == 1 { "this comes" } else { "these come" }
        );
        return Ok(format!("{intro}\n{}", bullets(&owned.fitting[..owned.fitting.len().min(MOST_LISTED)])));
    }
    let count = spelled(owned.count);
    let head = match (is_yes_no, owned.count) {
        (true, 1) => format!("Yes, {count}:"),
        (true, _) => format!("Yes, you have {count} {what}:"),
        (false, 1) => format!("You have {count} {what}:"),
        (false, _) => match turn.pick(&["have", "own", "here"]) {
            "have" => format!("You have {count} {what}:"),
            "own" => format!("You own {count} {what}:"),
            _ => format!("Here are your {count} {what}:"),
        },
    };
    let more = owned.count.saturating_sub(MOST_LISTED as u64);
    let more = if more > 0 { format!("\nAnd {more} more.") } else { String::new() };
    Ok(format!("{head}\n{}{more}", bullets(&owned.fitting[..owned.fitting.len().min(MOST_LISTED)])))
}

/// Several of what was named: "pairs of black shoes", "white shirts".
fn collective(named: &Named, count: u64) -> String {
    let text = &named.text;
    match named.description.garment {
        None => {
            let makers = if named.description.words.is_empty() { text.clone() } else { capital(text) };
            format!("{makers} {}", if count == 1 { "piece" } else { "pieces" })
        }
        Some(_) if text.ends_with("wear") => format!("{} of {text}", if count == 1 { "piece" } else { "pieces" }),
        Some(kind) if (kind.is("shoes") && is_plural(text)) || is_pair(text) => {
            format!("{} of {text}", if count == 1 { "pair" } else { "pairs" })
        }
        Some(_) if count == 1 && text.ends_with('s') && !text.ends_with("ss") && !is_pair(text) => {
            text.trim_end_matches('s').to_owned()
        }
        Some(_)
            if count == 1
                || text.ends_with('s') && !text.ends_with("ss")
                || text.ends_with("wear")
                || text.ends_with("knitwear") =>
        {
            text.clone()
        }
        Some(_) if text.ends_with("ss") || text.ends_with("ch") || text.ends_with("sh") => format!("{text}es"),
        Some(_) => format!("{text}s"),
    }
}

fn is_pair(text: &str) -> bool {
    [
        "jeans",
        "trousers",
        "pants",
        "shorts",
        "leggings",
        "chinos",
        "joggers",
        "tights",
        "sunglasses",
        "culottes",
        "bottoms",
    ]
    .iter()
    .any(|pair| text.ends_with(pair))
}

fn capital(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    });
    words.collect::<Vec<_>>().join(" ")
}

fn spelled(count: u64) -> String {
    let words =
        ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    usize::try_from(count)
        .ok()
        .and_then(|count| words.get(count))
        .map_or_else(|| count.to_string(), |word| (*word).to_owned())
}

fn bullets(items: &[Item]) -> String {
    items.iter().map(|item| format!("- your {}", item.name())).collect::<Vec<_>>().join("\n")
}

fn count(turn: &Turn<'_>) -> Answer {
    let Some(named) = turn.asked.about() else { return summary(turn, "summary") };
    let owned = owned(turn, named)?;
    if owned.count == 0 {
        return Ok(not_owned(turn, named, &owned.close).replacen("You don't own any", "None: you don't own any", 1));
    }
    let head = format!("You own {} {}", owned.count, collective(named, owned.count));
    let names: Vec<String> =
        owned.fitting.iter().take(MOST_LISTED).map(|item| format!("your {}", item.name())).collect();
    if owned.count <= 12 {
        Ok(format!("{head}: {}.", list(&names)))
    } else {
        Ok(format!("{head}, among them {}.", list(&names[..5])))
    }
}

fn summary(turn: &Turn<'_>, ask: Ask) -> Answer {
    let result: Value = turn.read("get_wardrobe_summary", json!({}))?;
    let total = result.get("total_items").and_then(Value::as_u64).unwrap_or_default();
    if total == 0 {
        return Ok(
            "Your wardrobe is still empty. Add a few pieces in the app, and I'll help you style them.".to_owned()
        );
    }
    // Categories are written as people like; "Shorts" are bottoms.
    let mut kinds: Vec<(String, u64)> = Vec::new();
    for (name, count) in tally(result.get("by_category")) {
        let kind = vocabulary::Category::of_text(&name).map_or(name, |category| category.name().to_owned());
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, known)) => *known += count,
            None => kinds.push((kind, count)),
        }
    }
    kinds.sort_by(|(one, more), (other, less)| less.cmp(more).then_with(|| one.cmp(other)));
    let kinds: Vec<String> = kinds.into_iter().take(7).map(|(name, count)| format!("{count} {name}")).collect();
    let colours: Vec<String> =
        tally(result.get("top_colours")).into_iter().take(4).map(|(name, count)| format!("{name} ({count})")).collect();
    if ask == "colours" && !colours.is_empty() {
        return Ok(format!("Mostly {}, out of {total} pieces.", list(&colours)));
    }
    let pieces = if total == 1 { "piece" } else { "pieces" };
    let mut text = format!("You own {total} {pieces}");
    if !kinds.is_empty() {
        text += &format!(": {}", list(&kinds));
    }
    text.push('.');
    if !colours.is_empty() {
        text += &format!(" The colours you have most of are {}.", list(&colours));
    }
    Ok(text)
}

/// Names and numbers of a JSON object, the largest number first.
fn tally(value: Option<&Value>) -> Vec<(String, u64)> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    let mut tally: Vec<(String, u64)> =
        entries.filter_map(|(name, count)| Some((shown(name), count.as_u64()?))).collect();
    tally.sort_by(|(one, more), (other, less)| less.cmp(more).then_with(|| one.cmp(other)));
    tally
}

// ---- History and money

fn money(price: &Price) -> String {
    amount(price.amount, &price.currency)
}

fn amount(amount: f64, currency: &str) -> String {
    let digits =
        if amount.fract().abs() < 0.005 && amount < 10_000.0 { format!("{amount:.0}") } else { format!("{amount:.2}") };
    let (whole, cents) = digits.split_once('.').map_or((digits.as_str(), None), |(whole, cents)| (whole, Some(cents)));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 && whole.len() > 3 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let number = cents.map_or_else(|| grouped.clone(), |cents| format!("{grouped}.{cents}"));
    match currency {
        "EUR" => format!("\u{20ac}{number}"),
        "USD" => format!("${number}"),
        "GBP" => format!("\u{a3}{number}"),
        other => format!("{number} {}", shown(other)),
    }
}

fn times(count: u32) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

/// When a day was, in words: "on 4 April, 8 months ago".
fn on(turn: &Turn<'_>, text: &str) -> String {
    days::read(text).map_or_else(String::new, |date| match days::ago(date, turn.today) {
        ago if ago == "today" || ago == "yesterday" => ago,
        ago => format!("on {}, {ago}", days::shown(date, turn.today)),
    })
}

/// Pieces by a number: what is worn most, what cost most, what was never worn.
fn ranking(turn: &Turn<'_>, ask: Ask) -> Answer {
    let query = turn.asked.about().map(|named| named.text.clone()).unwrap_or_default();
    let (by, order) = match ask {
        "never" => ("wear_count", "asc"),
        "neglected" => ("last_worn", "asc"),
        "mostworn" => ("wear_count", "desc"),
        "dearest" => ("price", "desc"),
        "cheapest" => ("price", "asc"),
        "newest" => ("bought", "desc"),
        "oldest" => ("bought", "asc"),
        "bestvalue" => ("cost_per_wear", "asc"),
        _ => ("cost_per_wear", "desc"),
    };
    let found = sorted(turn, &query, by, order)?;
    if let Some(named) = turn.asked.about().filter(|_| found.note.is_some() || found.items.is_empty()) {
        return Ok(not_owned(turn, named, &[]));
    }
    let items: Vec<Item> = found
        .items
        .into_iter()
        .filter(|item| match ask {
            "never" => item.wear_count == 0,
            "neglected" => item.wear_count > 0 && item.last_worn.is_some(),
            "mostworn" => item.wear_count > 0,
            "dearest" | "cheapest" => item.price.is_some(),
            "bestvalue" | "worstvalue" => item.price.is_some() && item.wear_count > 0,
            _ => true,
        })
        .collect();
    let kind = turn.asked.about().map(|named| collective(named, 2)).unwrap_or_else(|| "pieces".to_owned());
    let note = |item: &Item| -> String {
        let worn = times(item.wear_count);
        match ask {
            "never" => item
                .bought
                .as_deref()
                .map(|day| format!("bought {}", on(turn, day)))
                .unwrap_or_else(|| "not worn yet".to_owned()),
            "neglected" => format!("last worn {}", on(turn, item.last_worn.as_deref().unwrap_or_default())),
            "mostworn" => format!("worn {worn}"),
            "dearest" | "cheapest" => item.price.as_ref().map(money).unwrap_or_default(),
            "bestvalue" | "worstvalue" => item
                .price
                .as_ref()
                .map(|price| {
                    format!(
                        "{} per wear ({}, worn {worn})",
                        amount(price.amount / f64::from(item.wear_count.max(1)), &price.currency),
                        money(price)
                    )
                })
                .unwrap_or_default(),
            _ => item
                .bought
                .as_deref()
                .map(|day| format!("bought {}", on(turn, day)))
                .unwrap_or_else(|| "no purchase date".to_owned()),
        }
    };
    let Some(first) = items.first() else {
        return Ok(match ask {
            "never" => "Nothing: you have worn everything you own at least once.".to_owned(),
            "dearest" | "cheapest" | "bestvalue" | "worstvalue" => {
                "I have no prices on record for that, so I can't tell.".to_owned()
            }
            _ => {
                "There's no wear on record for that yet. Log what you wear in the app, and I'll keep count.".to_owned()
            }
        });
    };
    let is_one = matches!(ask, "dearest" | "cheapest" | "newest" | "oldest" | "bestvalue" | "worstvalue")
        && !turn.asked.says(&["pieces", "items", "things", "list", "top", "what", "three", "five"])
        || (ask == "dearest" || ask == "cheapest") && turn.asked.says(&["item", "piece", "thing"]);
    let name = first.name();
    let is = if is_plural(&name) { "are" } else { "is" };
    if is_one {
        let what = match ask {
            "dearest" => "the most expensive",
            "cheapest" => "the cheapest",
            "newest" => "the newest",
            "oldest" => "the oldest",
            "bestvalue" => "the best value so far",
            _ => "the worst value so far",
        };
        return Ok(format!("Your {name} {is} {what}: {}.{}", note(first), second(&items, &note)));
    }
    let head = match ask {
        "never" if items.len() == 1 => "One piece has never been worn:".to_owned(),
        "never" => format!("{} {kind} have never been worn:", capital(&spelled(items.len() as u64))),
        "neglected" => "You haven't worn these for the longest:".to_owned(),
        "mostworn" => format!("Your most worn {kind}:"),
        "dearest" => format!("Your most expensive {kind}:"),
        "cheapest" => format!("Your cheapest {kind}:"),
        "newest" => "The latest you bought:".to_owned(),
        "oldest" => "What you've had longest:".to_owned(),
        "bestvalue" => "Your best value per wear:".to_owned(),
        _ => "These have cost most per wear so far:".to_owned(),
    };
    let most = if ask == "never" { MOST_LISTED } else { 5 };
    let lines: Vec<String> =
        items.iter().take(most).map(|item| format!("- your {}, {}", item.name(), note(item))).collect();
    Ok(format!("{head}\n{}", lines.join("\n")))
}

fn second(items: &[Item], note: &dyn Fn(&Item) -> String) -> String {
    items.get(1).map(|item| format!(" Next comes your {} ({}).", item.name(), note(item))).unwrap_or_default()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct History {
    wears: Vec<Wear>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wear {
    date: String,
    weekday: String,
    occasion: Option<String>,
    weather: Option<String>,
    items: Vec<Item>,
}

/// When a piece was worn last, and how often.
fn last_worn(turn: &Turn<'_>) -> Answer {
    let Some(named) = turn.asked.about() else { return worn(turn) };
    let owned = owned(turn, named)?;
    if owned.fitting.is_empty() {
        return Ok(not_owned(turn, named, &owned.close));
    }
    let shown_items = &owned.fitting[..owned.fitting.len().min(5)];
    let ids: Vec<&str> = shown_items.iter().map(|item| item.id.as_str()).collect();
    let history: History = turn.read("get_wear_history", json!({ "item_ids": ids }))?;
    let sentence = |item: &Item| {
        let name = item.name();
        let wears: Vec<&Wear> =
            history.wears.iter().filter(|wear| wear.items.iter().any(|worn| worn.id == item.id)).collect();
        let last = wears.first().map(|wear| wear.date.clone()).or_else(|| item.last_worn.clone());
        let Some(last) = last else {
            return if item.wear_count == 0 {
                format!("You haven't worn your {name} yet.")
            } else {
                format!("You've worn your {name} {}, but no date is on record.", times(item.wear_count))
            };
        };
        let circumstances = wears.first().filter(|wear| wear.date == last).map(|wear| {
            let occasion = wear
                .occasion
                .as_deref()
                .map(|occasion| format!(" ({})", shown(occasion).to_lowercase()))
                .unwrap_or_default();
            let weather = wear.weather.as_deref().map(|weather| format!(", at {}", clean(weather))).unwrap_or_default();
            format!("{occasion}{weather}")
        });
        format!(
            "You last wore your {name} {}{}; in all you've worn {} {}.",
            on(turn, &last),
            circumstances.unwrap_or_default(),
            if is_plural(&name) { "them" } else { "it" },
            times(item.wear_count)
        )
    };
    match shown_items {
        [one] => Ok(sentence(one)),
        several => Ok(several.iter().map(|item| format!("- {}", sentence(item))).collect::<Vec<_>>().join("\n")),
    }
}

/// What was worn on days gone by.
fn worn(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let occasion = asked.occasion.iter().rfind(|term| term.kind() == Kind::Occasion);
    let is_last_time = occasion.is_some() && asked.past.is_none();
    let span = asked.past.clone();
    let (first, last, label) = match (&span, is_last_time) {
        (Some(span), _) => (span.first, span.last, span.label.clone()),
        (None, true) => (turn.today - Duration::days(400), turn.today, "the last time".to_owned()),
        (None, false) => (turn.today - Duration::days(14), turn.today, "in the last two weeks".to_owned()),
    };
    let history: History =
        turn.read("get_wear_history", json!({ "from": first.to_string(), "to": last.to_string() }))?;
    let fits = |wear: &&Wear| {
        occasion.is_none_or(|occasion| {
            wear.occasion.as_deref().is_some_and(|name| thesaurus::terms(name).iter().any(|term| term.is_a(*occasion)))
        }) && asked.about().is_none_or(|named| {
            wear.items.iter().any(|item| {
                super::understand::named(&item.name)
                    .description
                    .garment
                    .is_some_and(|kind| named.description.garment.is_some_and(|wanted| kind.is_a(wanted)))
            })
        })
    };
    let wears: Vec<&Wear> = history.wears.iter().filter(fits).collect();
    let what_for = occasion.map(|occasion| format!(" for {}", with_article(*occasion))).unwrap_or_default();
    if wears.is_empty() {
        return Ok(format!(
            "I have no record of what you wore{what_for} {label}. Log your outfits in the app, and I can tell you next time."
        ));
    }
    let most = if is_last_time { 2 } else { 7 };
    let lines: Vec<String> = wears
        .iter()
        .take(most)
        .map(|wear| {
            let date = days::read(&wear.date);
            let day = date
                .map_or_else(String::new, |date| format!("{} {}", shown(&wear.weekday), days::shown(date, turn.today)));
            let occasion = wear
                .occasion
                .as_deref()
                .map(|occasion| format!(" ({})", shown(occasion).to_lowercase()))
                .unwrap_or_default();
            let names: Vec<String> =
                wear.items.iter().take(8).map(|item| format!("your {}", clean(&item.name))).collect();
            format!("- {day}{occasion}: {}.", list(&names))
        })
        .collect();
    let more = wears.len().saturating_sub(most);
    let more = if more > 0 && !is_last_time { format!("\nAnd {more} more days.") } else { String::new() };
    let head = if is_last_time {
        format!("You last wore this{what_for}:")
    } else {
        format!("{} you wore{what_for}:", sentence_case(&label))
    };
    Ok(format!("{head}\n{}{more}", lines.join("\n")))
}

fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
}

/// When a piece was bought, what it cost, or what each wearing has cost.
fn about_piece(turn: &Turn<'_>, ask: Ask) -> Answer {
    let Some(named) = turn.asked.about() else {
        return match ask {
            "bought" => ranking(turn, "newest"),
            "perwear" => ranking(turn, "bestvalue"),
            _ => spent(turn),
        };
    };
    let owned = owned(turn, named)?;
    if owned.fitting.is_empty() {
        return Ok(not_owned(turn, named, &owned.close));
    }
    let sentence = |item: &Item| {
        let name = item.name();
        let plural = is_plural(&name);
        let bought = item.bought.as_deref().map(|day| on(turn, day));
        match (ask, &item.price) {
            ("bought", _) => match bought {
                Some(day) => format!("You bought your {name} {day}."),
                None => format!("There's no purchase date on record for your {name}."),
            },
            (_, None) => format!("There's no price on record for your {name}."),
            ("perwear", Some(price)) if item.wear_count > 0 => format!(
                "Your {name} {} cost you {} per wear so far: {} over {} wears.",
                if plural { "have" } else { "has" },
                amount(price.amount / f64::from(item.wear_count), &price.currency),
                money(price),
                item.wear_count
            ),
            ("perwear", Some(price)) => format!(
                "You paid {} for your {name} and haven't worn {} yet, so there is no cost per wear.",
                money(price),
                if plural { "them" } else { "it" }
            ),
            (_, Some(price)) => format!(
                "Your {name} cost {}{}.",
                money(price),
                bought.map(|day| format!(", bought {day}")).unwrap_or_default()
            ),
        }
    };
    match &owned.fitting[..] {
        [one] => Ok(sentence(one)),
        several => {
            Ok(several.iter().take(6).map(|item| format!("- {}", sentence(item))).collect::<Vec<_>>().join("\n"))
        }
    }
}

/// What the wardrobe cost, or a part of it.
fn spent(turn: &Turn<'_>) -> Answer {
    let result: Value = turn.read("get_wardrobe_summary", json!({}))?;
    let spent = &result["spent"];
    let currency = spent["currency"].as_str().unwrap_or("USD").to_owned();
    let total = spent["total"].as_f64().unwrap_or_default();
    let priced = spent["items_with_price"].as_u64().unwrap_or_default();
    if priced == 0 {
        return Ok(
            "No prices are on record for your clothes, so I can't add them up. Add them in the app, and I will."
                .to_owned(),
        );
    }
    let by_category: Vec<(String, f64)> = {
        let entries = spent["by_category"].as_object().into_iter().flatten();
        let mut all: Vec<(String, f64)> =
            entries.filter_map(|(name, sum)| Some((shown(name), sum.as_f64()?))).collect();
        all.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        all
    };
    if let Some(named) = turn.asked.about() {
        let category = named.description.garment.map(|kind| match kind.group().name() {
            "top" => "tops",
            "dress" => "dresses",
            other => other,
        });
        let is_whole = named.description.colours.is_empty()
            && named.description.words.is_empty()
            && named.description.garment.is_some_and(|kind| kind == kind.group());
        let sum = by_category.iter().find(|(name, _)| Some(name.as_str()) == category);
        if let Some((_, sum)) = sum.filter(|_| is_whole) {
            return Ok(format!(
                "Your {} have cost about {} in all.",
                category.unwrap_or_default(),
                amount(*sum, &currency)
            ));
        }
        let owned = owned(turn, named)?;
        let prices: Vec<&Price> = owned.fitting.iter().filter_map(|item| item.price.as_ref()).collect();
        let Some(first) = prices.first() else { return Ok(not_owned(turn, named, &owned.close)) };
        let same: Vec<&&Price> = prices.iter().filter(|price| price.currency == first.currency).collect();
        let sum: f64 = same.iter().map(|price| price.amount).sum();
        return Ok(format!(
            "{} for {} {}.",
            amount(sum, &first.currency),
            spelled(same.len() as u64),
            collective(named, same.len() as u64)
        ));
    }
    let top: Vec<String> =
        by_category.iter().take(3).map(|(name, sum)| format!("{} for {name}", amount(*sum, &currency))).collect();
    let unpriced = spent["items_without_price"].as_u64().unwrap_or_default();
    let without = match unpriced {
        0 => String::new(),
        1 => " One more has no price on record.".to_owned(),
        count => format!(" {count} more have no price on record."),
    };
    let start = turn.pick(&["You've spent about", "All told, you've spent about", "It adds up to about"]);
    Ok(format!(
        "{start} {} on the {priced} pieces with a price, most of it {}.{without}",
        amount(total, &currency),
        list(&top)
    ))
}

// ---- Weather

fn weather(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let when = asked.when.clone();
    let first = when.as_ref().map_or(turn.today, |when| when.first);
    let ahead = (first - turn.today).whole_days();
    let length = when.as_ref().map_or(0, |when| (when.last - when.first).whole_days());
    let days = (ahead + length + 1).clamp(1, 7).max(if when.is_none() { 3 } else { 1 });
    let mut arguments = json!({ "days": days });
    if let Some(place) = &asked.place {
        arguments["city"] = json!(place);
    }
    let text = turn.call("get_weather", arguments)?;
    let Some(now) = text.lines().next().filter(|line| line.starts_with("Weather in ")) else {
        return Err(Unfinished::Sorry(no_weather(turn, text)));
    };
    if ahead > 6 {
        return Ok(format!(
            "Forecasts reach a week, so it's too early to say what it'll be like {}.",
            when.map(|when| when.label).unwrap_or_default()
        ));
    }
    let place = now.trim_start_matches("Weather in ").split(" now:").next().unwrap_or_default();
    let last = first + Duration::days(length);
    let lines: Vec<&str> =
        text.lines().skip(1).filter(|line| days::read(line).is_some_and(|day| first <= day && day <= last)).collect();
    let told = match (&when, lines.as_slice()) {
        (Some(when), [one]) if ahead > 0 => format!(
            "{} in {place}: {}",
            sentence_case(&when.label),
            one.split_once(": ").map_or(*one, |(_, rest)| rest)
        ),
        (Some(_), [_, _, ..]) => {
            let day = |line: &&str| {
                let (date, rest) = line.split_once(": ").unwrap_or(("", line));
                format!("- {}: {rest}", days::read(date).map_or_else(String::new, |date| date.weekday().to_string()))
            };
            format!("In {place}:\n{}", lines.iter().map(day).collect::<Vec<_>>().join("\n"))
        }
        _ => {
            let rest = lines
                .first()
                .map(|line| format!(" The day: {}", line.split_once(": ").map_or(*line, |(_, rest)| rest)))
                .unwrap_or_default();
            format!("In {place} it's {}{rest}", now.split_once(" now: ").map_or(now, |(_, rest)| rest))
        }
    };
    let about = if ahead == 0 || lines.is_empty() { now.to_owned() + &lines.join(" ") } else { lines.join(" ") };
    let dry = about.replace("rain 0.0 mm", "");
    let is_wet = ["rain", "drizzle", "snow", "thunderstorm", "hail"].iter().any(|word| dry.contains(word));
    let degrees: Vec<f64> = about.split(" \u{b0}C").filter_map(|part| part.rsplit(' ').next()?.parse().ok()).collect();
    let warmest = degrees.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let advice = match warmest {
        warmest if warmest < 6.0 => "Wear a proper coat and knitwear",
        warmest if warmest < 14.0 => "Take a coat or a warm jacket",
        warmest if warmest < 20.0 => "A light jacket will do",
        _ => "Keep it light",
    };
    let wet = if is_wet { ", and choose shoes that can stand getting wet" } else { "" };
    let rain = asked.says(&["rain", "raining", "umbrella", "rainy", "raincoat", "wet"]);
    let yes = match (rain, is_wet) {
        (true, true) => "Yes, it looks like rain. ",
        (true, false) => "No, it should stay dry. ",
        _ => "",
    };
    Ok(format!("{yes}{told} {advice}{wet}."))
}

/// Why there is no weather, in the tool's words made fit for the user.
fn no_weather(turn: &Turn<'_>, text: &str) -> String {
    if text.contains("No city is set") {
        return "I don't know where you are: there's no city in your profile. Tell me a city, as in \"weather in Oslo\", or add yours in the app.".to_owned();
    }
    if let Some(city) = text.split('"').nth(1) {
        return format!("The weather service doesn't know a city called {}. Is it spelt that way?", shown(city));
    }
    let city = text
        .strip_prefix("The weather for ")
        .and_then(|rest| rest.split_once(" is not available"))
        .map(|(city, _)| shown(city));
    let city = city.or_else(|| turn.asked.place.clone()).unwrap_or_else(|| "your city".to_owned());
    format!(
        "I couldn't reach the weather service for {city} just now, so I can't tell. Tell me what it's like, say \"8 degrees and rain\", and I'll dress you for it."
    )
}

// ---- Care

fn care(turn: &Turn<'_>) -> Answer {
    let general = advice::care(&turn.asked.words);
    let Some(named) = turn.asked.about() else { return Ok(general) };
    let owned = owned(turn, named)?;
    let mut lines = Vec::new();
    for item in owned.fitting.iter().take(3) {
        if !item.care.is_empty() {
            let care: Vec<String> = item.care.iter().map(|text| clean(text).to_lowercase()).collect();
            lines.push(format!("The care label of your {} says: {}.", item.name(), care.join(", ")));
        }
    }
    if lines.is_empty() && owned.fitting.is_empty() && named.is_claimed && named.description.garment.is_some() {
        lines.push(not_owned(turn, named, &[]));
    }
    if lines.is_empty() || advice::is_trouble(&turn.asked.words) {
        lines.insert(0, general);
    }
    Ok(lines.join(" "))
}

// ---- Memory

/// What a message wants remembered, in a few words.
fn subject(turn: &Turn<'_>, ask: Ask) -> Option<String> {
    let asked = &turn.asked;
    if ask == "dislike" {
        let rejected: Vec<String> = asked.rejected.clone();
        if !rejected.is_empty() {
            return Some(rejected.join(", "));
        }
        let named: Vec<String> = asked.named.iter().map(|named| named.text.clone()).collect();
        return (!named.is_empty()).then(|| named.join(", "));
    }
    if ask == "like" {
        let named: Vec<String> = asked.named.iter().map(|named| named.text.clone()).collect();
        let styles = asked.occasion.iter().filter(|term| term.kind() == Kind::Style).map(|term| term.name().to_owned());
        let all: Vec<String> = named.into_iter().chain(styles).collect();
        return (!all.is_empty()).then(|| all.join(", "));
    }
    let lead = [
        "please",
        "remember",
        "that",
        "note",
        "keep",
        "in",
        "mind",
        "just",
        "so",
        "you",
        "know",
        "fyi",
        "dont",
        "forget",
        "for",
        "future",
        "reference",
        "from",
        "now",
        "on",
        "make",
        "a",
        "of",
        "take",
        "bear",
        "to",
    ];
    let rest: Vec<&str> = asked.words.iter().map(String::as_str).skip_while(|word| lead.contains(word)).collect();
    (!rest.is_empty()).then(|| rest.iter().take(30).copied().collect::<Vec<_>>().join(" "))
}

fn remember(turn: &Turn<'_>, ask: Ask) -> Answer {
    let Some(text) = subject(turn, ask) else {
        return Ok("What exactly? Name a colour, a garment or a brand, and I'll remember it.".to_owned());
    };
    let kind = match ask {
        "dislike" => "dislike",
        "like" => "like",
        // "Remember that I hate wool": of its kind.
        _ if !turn.asked.rejected.is_empty() => "dislike",
        _ if turn.asked.says(&["love", "like", "prefer"]) && !turn.asked.named.is_empty() => "like",
        _ => "fact",
    };
    let text = if kind == "dislike" && ask != "dislike" { turn.asked.rejected.join(", ") } else { text };
    for part in if kind == "fact" { vec![text.as_str()] } else { text.split(", ").collect() } {
        turn.call("remember_preference", json!({ "text": part, "kind": kind }))?;
    }
    let told = list(&second_person(&text).split(", ").map(str::to_owned).collect::<Vec<_>>());
    Ok(match kind {
        "dislike" => match turn.pick(&["noted", "leave", "wont"]) {
            "noted" => format!("Noted: no more {told}. I'll leave that out from now on."),
            "leave" => format!("All right, I'll leave out {told} from now on, and remember it."),
            _ => format!("Understood. I won't suggest {told} again."),
        },
        "like" => format!("{} I'll remember that you like {told}.", turn.pick(&["Good to know.", "Noted.", "Lovely."])),
        _ => format!("{} I'll remember: {told}.", turn.pick(&["Noted.", "All right.", "Good to know."])),
    })
}

/// What the user says of themselves, said to them.
fn second_person(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    // "Carmina loafers": a word that nobody knows, right before a garment.
    let is_name = |pair: &[&str]| {
        thesaurus::lookup(pair[0]).is_none()
            && !vocabulary::is_stop_word(pair[0])
            && pair[0].len() > 3
            && thesaurus::lookup(pair[1]).is_some_and(|term| term.kind() == Kind::Garment)
            && words.len() <= 4
    };
    let names: Vec<&str> = words.windows(2).filter(|pair| is_name(pair)).map(|pair| pair[0]).collect();
    let word = |word: &str| match word {
        "i" => "you".to_owned(),
        "im" => "you're".to_owned(),
        "ive" => "you've".to_owned(),
        "my" => "your".to_owned(),
        "me" => "you".to_owned(),
        "am" => "are".to_owned(),
        "dont" => "don't".to_owned(),
        "cant" => "can't".to_owned(),
        // What the thesaurus does not know, or knows as one, is a maker.
        word if names.contains(&word) || thesaurus::lookup(word).is_some_and(|term| term.kind() == Kind::Brand) => {
            capital(word)
        }
        word => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn forget(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let named: Vec<String> =
        asked.named.iter().map(|named| named.text.clone()).chain(asked.rejected.iter().cloned()).collect();
    let text = if named.is_empty() { loose_query(turn) } else { named.join(" ") };
    if text.is_empty() {
        return Ok("What should I forget? Name it, or edit what I remember in the app.".to_owned());
    }
    let result: Value = turn.read("forget_preference", json!({ "text": text }))?;
    let gone: Vec<String> = result["forgotten"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|text| second_person(&clean(text)))
        .collect();
    Ok(if gone.is_empty() {
        format!("I had nothing noted about that ({}).", clean(&text))
    } else {
        format!("Forgotten: {}.", list(&gone))
    })
}

fn recall(turn: &Turn<'_>) -> String {
    let preferences = turn.preferences();
    let of = |wanted: PreferenceKind| -> Vec<String> {
        preferences.iter().filter(|(kind, _)| *kind == wanted).map(|(_, text)| second_person(&clean(text))).collect()
    };
    let (likes, dislikes, facts) = (of(PreferenceKind::Like), of(PreferenceKind::Dislike), of(PreferenceKind::Fact));
    let mut parts = Vec::new();
    if !likes.is_empty() {
        parts.push(format!("You like {}.", list(&likes)));
    }
    if !dislikes.is_empty() {
        parts.push(format!("You don't want {}.", list(&dislikes)));
    }
    if !facts.is_empty() {
        parts.push(format!("And: {}.", list(&facts)));
    }
    let memory = turn.memory();
    if !memory.is_empty() && memory != super::errands::NOTHING_SAID {
        parts.push(format!("From earlier conversations: {}", clean_long(memory)));
    }
    if parts.is_empty() {
        return "Nothing yet. Tell me what you like or never want to wear, as in \"never suggest brown shoes\", and I'll remember it.".to_owned();
    }
    format!("{} You can change all of it in the app.", parts.join(" "))
}

fn clean_long(text: &str) -> String {
    text.split_whitespace().filter(|word| !word.contains("://")).take(120).collect::<Vec<_>>().join(" ")
}

// ---- The wardrobe as a whole, and the world outside

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gap {
    category: String,
    current: u64,
    recommended: u64,
    example_items: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gaps {
    gaps: Vec<Gap>,
    styles_considered: Vec<String>,
}

fn gaps(turn: &Turn<'_>) -> Answer {
    let analysis: Gaps = turn.read("analyze_wardrobe_gaps", json!({}))?;
    let styles: Vec<String> =
        analysis.styles_considered.iter().map(|style| shown(style).to_lowercase()).take(3).collect();
    let styles = match styles.as_slice() {
        [] => "a well-rounded wardrobe".to_owned(),
        [only] if only == "default" => "a well-rounded wardrobe".to_owned(),
        styles => format!("your style ({})", list(styles)),
    };
    if analysis.gaps.is_empty() {
        return Ok(format!("Nothing essential: for {styles} you have enough of every kind."));
    }
    let mut lines = vec![format!("Measured against {styles}, you're short of:")];
    for gap in analysis.gaps.iter().take(4) {
        let examples: Vec<String> = gap
            .example_items
            .iter()
            .take(2)
            .map(|example| {
                let example = shown(example);
                if is_plural(&example) { example } else { format!("{} {example}", article(&example)) }
            })
            .collect();
        let examples = if examples.is_empty() {
            String::new()
        } else {
            format!("; {} would be a good start", list(&examples).replace(" and ", " or "))
        };
        let (category, current, recommended) = (shown(&gap.category), gap.current, gap.recommended);
        lines.push(format!("- {category}: {current} of {recommended}{examples}."));
    }
    Ok(lines.join("\n"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Mood {
    name: String,
    primary_mood: String,
    mood_signals: Signals,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Signals {
    color_palette: Vec<String>,
    key_pieces: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Moods {
    moods: Vec<Mood>,
}

fn trends(turn: &Turn<'_>) -> Answer {
    let said = format!(" {} ", turn.asked.words.join(" "));
    let mood = vocabulary::MOODS.into_iter().find(|mood| said.contains(&format!(" {} ", mood.to_lowercase())));
    let moods: Moods = turn.read("get_trending_moods", json!({ "primary_mood": mood.unwrap_or_default() }))?;
    if moods.moods.is_empty() {
        return Ok("I have no trends on file for that yet.".to_owned());
    }
    let head = turn.pick(&["This is what's trending:", "What I see most of at the moment:", "In fashion right now:"]);
    let mut lines = vec![head.to_owned()];
    for mood in moods.moods.iter().take(3) {
        let short =
            |entries: &[String]| entries.iter().take(3).map(|entry| shown(entry).to_lowercase()).collect::<Vec<_>>();
        let (pieces, colours) = (short(&mood.mood_signals.key_pieces), short(&mood.mood_signals.color_palette));
        let mut line = format!("- {} ({})", shown(&mood.name), shown(&mood.primary_mood).to_lowercase());
        if !pieces.is_empty() {
            line += &format!(": think {}", list(&pieces));
        }
        if !colours.is_empty() {
            line += &format!(" in {}", list(&colours));
        }
        lines.push(line + ".");
    }
    Ok(lines.join("\n"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Discoveries {
    items: Vec<Discovery>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Discovery {
    title: String,
    score_signal: i64,
}

fn shop(turn: &Turn<'_>) -> Answer {
    let named: Vec<String> = turn.asked.named.iter().map(|named| named.text.clone()).collect();
    let occasion = turn.asked.occasion_text();
    let query = match (named.is_empty(), occasion.is_empty()) {
        (false, _) => format!("{} {occasion}", named.join(" ")).trim().to_owned(),
        (true, false) => occasion,
        (true, true) => "everyday casual".to_owned(),
    };
    let found: Discoveries = turn.read("search_scraped_items", json!({ "query": query }))?;
    if found.items.is_empty() {
        return Ok(format!("I looked through the feeds for {query} but found nothing close to that yet."));
    }
    let mut lines = vec![
        turn.pick(&[
            "These came up in the feeds:",
            "From the feeds, these come closest:",
            "I found these in the feeds:",
        ])
        .to_owned(),
    ];
    for item in found.items.iter().take(5) {
        let title: Vec<String> =
            item.title.split_whitespace().map(shown).filter(|word| !word.is_empty()).take(12).collect();
        let votes =
            if item.score_signal > 1 { format!(" ({} people like it)", item.score_signal) } else { String::new() };
        lines.push(format!(
            "- {}{votes}",
            if title.is_empty() { "an untitled find".to_owned() } else { title.join(" ") }
        ));
    }
    Ok(lines.join("\n"))
}

fn profile(turn: &Turn<'_>, ask: Ask) -> Answer {
    let profile: ProfileFacts = turn.read("get_user_profile", json!({}))?;
    if ask == "size" {
        return size(turn, &profile);
    }
    let mut facts = Vec::new();
    let mut add = |label: &str, entries: &[String]| {
        let entries: Vec<String> = entries.iter().take(5).map(|entry| shown(entry)).collect();
        if !entries.is_empty() {
            facts.push(format!("{label} {}", list(&entries)));
        }
    };
    add("your styles are", &profile.style_preferences);
    add("your colours are", &profile.preferred_colours);
    add("your favourite brands are", &profile.favorite_brands);
    add("your city is", &profile.location_city.iter().cloned().collect::<Vec<_>>());
    if let Some(height) = profile.height_cm {
        facts.push(format!("you're {height:.0} cm tall"));
    }
    Ok(match facts.as_slice() {
        [] => "Your profile is still empty; add your styles, colours and city in the app, and my advice will fit you better.".to_owned(),
        facts => format!("From your profile I know that {}.", list(facts)),
    })
}

/// Sizes, by the clothes that are owned.
fn size(turn: &Turn<'_>, profile: &ProfileFacts) -> Answer {
    let query = turn.asked.about().map(|named| named.text.clone()).unwrap_or_default();
    let found = sorted(turn, &query, "wear_count", "desc")?;
    let mut sizes: Vec<(String, usize)> = Vec::new();
    for item in &found.items {
        let garment = item.garment();
        let Some(size) = &item.size else { continue };
        let number = |name: &str| size.get(name).and_then(Value::as_f64).map(|number| number.to_string());
        let kind = garment.kind().map(TermId::group).map_or("clothes", |group| {
            if matches!(group.name(), "shoes" | "bottoms" | "dress") { group.name() } else { "tops" }
        });
        let kind = match kind {
            "dress" => "dresses",
            kind => kind,
        };
        let Some(text) = number("shoe_size")
            .or_else(|| number("shoeSize"))
            .or_else(|| size.get("letter").and_then(Value::as_str).map(shown))
            .or_else(|| number("waist"))
        else {
            continue;
        };
        let entry = format!("{kind} {text}");
        match sizes.iter_mut().find(|(known, _)| *known == entry) {
            Some((_, count)) => *count += 1,
            None => sizes.push((entry, 1)),
        }
    }
    sizes.sort_by(|(_, one), (_, other)| other.cmp(one));
    let mut told: Vec<String> = Vec::new();
    for (entry, _) in &sizes {
        let kind = entry.split(' ').next().unwrap_or_default();
        if !told.iter().any(|known| known.starts_with(kind)) {
            told.push(entry.clone());
        }
    }
    let system = Some(shown(&profile.preferred_size_system)).filter(|system| !system.is_empty());
    let system = system.map(|system| format!(" ({system} sizes)")).unwrap_or_default();
    let height = profile.height_cm.map(|height| format!(" You're {height:.0} cm tall.")).unwrap_or_default();
    if told.is_empty() {
        return Ok(format!("None of your clothes have a size on record{system}.{height}"));
    }
    Ok(format!("Going by what you own{system}: {}.{height}", list(&told)))
}

/// "a", "a and b", "a, b and c".
pub fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
