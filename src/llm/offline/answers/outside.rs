//! Answers about trends, things to buy, the profile, and gaps in the wardrobe.

use serde_json::{Value, json};

use super::search::sorted;
use super::wording::{list, noun, several};
use crate::llm::offline::most_frequent;
use crate::llm::offline::phrases::Ask;
use crate::llm::offline::turn::{Answer, Turn};
use crate::model::garment::{Description, Garment, Slot, shown};
use crate::model::profile::ProfileFacts;
use crate::model::tool_results::CompactItem;
use crate::model::vocabulary;

/// Most words of a found item's title.
const MOST_WORDS: usize = 12;

/// Iterates over the elements of a list in a result.
fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns the first texts of a list in a result, sanitized for display.
fn texts(value: &Value, most: usize) -> Vec<String> {
    entries(value).filter_map(Value::as_str).take(most).map(|text| shown(text).to_lowercase()).collect()
}

fn text(value: &Value) -> String {
    shown(value.as_str().unwrap_or_default())
}

pub fn gaps(turn: &Turn<'_>) -> Answer {
    let analysis: Value = turn.read("analyze_wardrobe_gaps", json!({}))?;
    let styles = texts(&analysis["styles_considered"], 3);
    let styles = match &styles[..] {
        [] => "a well-rounded wardrobe".to_owned(),
        [only] if only == "default" => "a well-rounded wardrobe".to_owned(),
        styles => format!("your style ({})", list(styles)),
    };
    // "Only shoes"
    let asked: Vec<Slot> = turn.asked.named.iter().filter_map(|named| named.description.slot()).collect();
    let is_asked = |gap: &&Value| {
        let slot = Description::of(&text(&gap["category"])).slot();
        asked.is_empty() || slot.is_some_and(|slot| asked.contains(&slot))
    };
    let lines = entries(&analysis["gaps"]).filter(is_asked).take(4).map(|gap| {
        let examples = entries(&gap["example_items"]).filter_map(Value::as_str).take(2);
        let examples: Vec<String> = examples.map(|example| noun(&shown(example))).collect();
        let examples = match &examples[..] {
            [] => String::new(),
            examples => format!("; {} would be a good start", examples.join(" or ")),
        };
        format!("{}: {} of {}{examples}.", text(&gap["category"]), gap["current"], gap["recommended"])
    });
    let sentence = if asked.is_empty() { "gaps" } else { "gaps of kind" };
    let kind = turn.asked.about().map(several).unwrap_or_default();
    let found = turn.say_list(sentence, &[("styles", &styles), ("kind", &kind)], lines);
    let limits = &turn.asked.limits;
    Ok(match limits.price.is_given() {
        true => format!("{found}\n{}", turn.say("gaps no prices", &[("limits", &limits.label)])),
        false => found,
    })
}

pub fn trends(turn: &Turn<'_>) -> Answer {
    let said = format!(" {} ", turn.asked.words.join(" "));
    let mood = vocabulary::MOODS.into_iter().find(|mood| said.contains(&format!(" {} ", mood.to_lowercase())));
    let result: Value = turn.read("get_trending_moods", json!({ "primary_mood": mood.unwrap_or_default() }))?;
    let lines = entries(&result["moods"]).take(3).map(|mood| {
        let signals = &mood["moodSignals"];
        let with = |intro: &str, texts: Vec<String>| {
            if texts.is_empty() { String::new() } else { format!("{intro}{}", list(&texts)) }
        };
        let pieces = with(": think ", texts(&signals["keyPieces"], 3));
        let colours = with(" in ", texts(&signals["colorPalette"], 3));
        format!("{} ({}){pieces}{colours}.", text(&mood["name"]), text(&mood["primaryMood"]).to_lowercase())
    });
    Ok(turn.say_list("trends", &[], lines))
}

pub fn shop(turn: &Turn<'_>) -> Answer {
    let named = turn.asked.named.iter().map(|named| named.text.clone());
    let query = named.chain([turn.asked.occasion_text()]).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
    let query = if query.is_empty() { "everyday casual".to_owned() } else { query };
    let result: Value = turn.read("search_scraped_items", json!({ "query": query }))?;
    // "Where can I buy a cap?": say so if none of the finds is one.
    let kind = match &turn.asked.named[..] {
        [one] => one.description.garment,
        _ => None,
    };
    let is_it = |item: &Value| {
        kind.is_none_or(|kind| item["title"].as_str().is_some_and(|title| Garment::described(title).is(kind)))
    };
    let is_found = entries(&result["items"]).any(is_it);
    let lines = entries(&result["items"]).take(5).map(|item| {
        let title = item["title"].as_str().unwrap_or_default().split_whitespace().map(shown);
        let title: Vec<String> = title.filter(|word| !word.is_empty()).take(MOST_WORDS).collect();
        let title = if title.is_empty() { "an untitled find".to_owned() } else { title.join(" ") };
        match item["scoreSignal"].as_i64() {
            Some(votes @ 2..) => format!("{title} ({votes} people like it)"),
            _ => title,
        }
    });
    let told = if turn.asked.named.len() > 1 {
        turn.asked.named.iter().map(|named| named.text.as_str()).collect::<Vec<_>>().join(" or ")
    } else {
        query
    };
    let found = turn.say_list(if is_found { "shop" } else { "shop others" }, &[("query", &told)], lines);
    let limits = &turn.asked.limits;
    Ok(match limits.price.is_given() {
        true => format!("{found}\n{}", turn.say("shop no prices", &[("limits", &limits.label)])),
        false => found,
    })
}

pub fn profile(turn: &Turn<'_>, ask: Ask) -> Answer {
    let profile: ProfileFacts = turn.read("get_user_profile", json!({}))?;
    if ask == "size" {
        return sizes(turn, &profile);
    }
    let city: Vec<String> = profile.location_city.iter().cloned().collect();
    let lists = [
        ("your styles are", &profile.style_preferences),
        ("your colours are", &profile.preferred_colours),
        ("your favourite brands are", &profile.favorite_brands),
        ("your city is", &city),
    ];
    let lists = lists.into_iter().filter(|(_, entries)| !entries.is_empty()).map(|(label, entries)| {
        let entries: Vec<String> = entries.iter().take(5).map(|entry| shown(entry)).collect();
        format!("{label} {}", list(&entries))
    });
    let facts: Vec<String> =
        lists.chain(profile.height_cm.map(|height| format!("you're {height:.0} cm tall"))).collect();
    Ok(match &facts[..] {
        [] => turn.say("profile empty", &[]),
        facts => turn.say("profile", &[("facts", &list(facts))]),
    })
}

/// Answers sizes, from the owned clothes.
fn sizes(turn: &Turn<'_>, profile: &ProfileFacts) -> Answer {
    let items = sorted(turn, "wear_count", "desc")?.items;
    let mut sizes: Vec<(&str, String)> = Vec::new();
    for (kind, size) in most_frequent(items.iter().filter_map(size)) {
        if !sizes.iter().any(|(known, _)| *known == kind) {
            sizes.push((kind, size));
        }
    }
    let sizes: Vec<String> = sizes.into_iter().map(|(kind, size)| format!("{kind} {size}")).collect();
    let system = Some(shown(&profile.preferred_size_system)).filter(|system| !system.is_empty());
    let system = system.map(|system| format!(" ({system} sizes)")).unwrap_or_default();
    let height = profile.height_cm.map(|height| turn.say("height", &[("height", &format!("{height:.0}"))]));
    let height = height.map(|height| format!(" {height}")).unwrap_or_default();
    let sentence = if sizes.is_empty() { "sizes none" } else { "sizes" };
    Ok(turn.say(sentence, &[("system", &system), ("sizes", &list(&sizes)), ("height", &height)]))
}

/// Returns the size of a piece, and the kind of size.
fn size(item: &CompactItem) -> Option<(&'static str, String)> {
    let size = item.size.as_ref()?;
    let number = |number: Option<f64>| number.map(|number| number.to_string());
    let letter = || size.letter.as_deref().map(shown);
    let text = number(size.shoe_size).or_else(letter).or_else(|| number(size.waist))?;
    let kind = match Garment::from(item).slot {
        Some(Slot::Shoes) => "shoes",
        Some(Slot::Bottoms) => "bottoms",
        Some(Slot::Dress) => "dresses",
        Some(_) => "tops",
        None => "clothes",
    };
    Some((kind, text))
}
