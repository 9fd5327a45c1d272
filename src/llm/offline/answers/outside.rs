//! The weather, trends, things to buy, and what the profile and the wardrobe as a whole lack.

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use time::Duration;

use super::search::{not_owned, owned, sorted};
use super::wording::{article, clean, list, sentence_case};
use crate::llm::offline::advice;
use crate::llm::offline::phrases::Ask;
use crate::llm::offline::time as days;
use crate::llm::offline::turn::{Answer, Turn, Unfinished};
use crate::model::garment::{is_plural, shown};
use crate::model::profile::ProfileFacts;
use crate::model::thesaurus::TermId;
use crate::model::vocabulary;

pub fn weather(turn: &Turn<'_>) -> Answer {
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

pub fn care(turn: &Turn<'_>) -> Answer {
    let (general, is_trouble) = advice::care(&turn.asked.words);
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
    if lines.is_empty() || is_trouble {
        lines.insert(0, general);
    }
    Ok(lines.join(" "))
}

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

pub fn gaps(turn: &Turn<'_>) -> Answer {
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

pub fn trends(turn: &Turn<'_>) -> Answer {
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

pub fn shop(turn: &Turn<'_>) -> Answer {
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

pub fn profile(turn: &Turn<'_>, ask: Ask) -> Answer {
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
