//! Answers about the weather and what to wear in it.

use serde_json::json;
use time::Duration;

use crate::base::text::capitalised;
use crate::llm::offline::time as days;
use crate::llm::offline::turn::{Answer, Turn, Unfinished};
use crate::model::garment::shown;

/// Days that a forecast covers after today.
const MOST_DAYS_AHEAD: i64 = 6;
/// Words for wet weather.
const WET: [&str; 5] = ["rain", "drizzle", "snow", "thunderstorm", "hail"];
/// What to wear, by the temperature in degrees Celsius below which it is needed.
const CLOTHES: [(f64, &str); 4] =
    [(6.0, "dress freezing"), (14.0, "dress cool"), (20.0, "dress mild"), (f64::INFINITY, "dress warm")];

pub fn weather(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let first = asked.when.as_ref().map_or(turn.today, |when| when.first);
    let length = asked.when.as_ref().map_or(0, |when| (when.last - when.first).whole_days());
    let ahead = (first - turn.today).whole_days();
    let days = (ahead + length + 1).clamp(1, 7).max(if asked.when.is_none() { 3 } else { 1 });
    let mut arguments = json!({ "days": days });
    if let Some(place) = &asked.place {
        arguments["city"] = json!(place);
    }
    let text = turn.call("get_weather", arguments)?;
    let now = text.lines().next().and_then(|line| line.strip_prefix("Weather in "));
    let Some((place, now)) = now.and_then(|line| line.split_once(" now: ")) else {
        return Err(Unfinished::Sorry(no_weather(turn, text)));
    };
    let label = asked.when.as_ref().map(|when| when.label.as_str()).unwrap_or_default();
    if ahead > MOST_DAYS_AHEAD {
        return Ok(turn.say("weather too early", &[("when", &label)]));
    }
    let last = first + Duration::days(length);
    let forecast: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let (date, weather) = line.split_once(": ")?;
            days::read(date).filter(|date| first <= *date && *date <= last).map(|date| (date, weather))
        })
        .collect();
    let told = match (asked.when.is_some(), &forecast[..]) {
        (true, [(_, day)]) if ahead > 0 => {
            turn.say("weather then", &[("Day", &capitalised(label)), ("place", &place), ("day", day)])
        }
        (true, [_, _, ..]) => {
            let lines = forecast.iter().map(|(date, weather)| format!("{}: {weather}", date.weekday()));
            turn.say_list("weather days", &[("place", &place)], lines)
        }
        (_, days) => {
            let day = days.first().map(|(_, weather)| format!(" The day: {weather}")).unwrap_or_default();
            turn.say("weather now", &[("place", &place), ("now", &now), ("day", &day)])
        }
    };
    let mut about: Vec<&str> = forecast.iter().map(|(_, weather)| *weather).collect();
    if ahead == 0 || about.is_empty() {
        about.push(now);
    }
    let about = about.join(" ");
    let dry = about.replace("rain 0.0 mm", "");
    let is_wet = WET.iter().any(|word| dry.contains(word));
    let degrees = about.split(" \u{b0}C").filter_map(|part| part.rsplit(' ').next()?.parse::<f64>().ok());
    let warmest = degrees.fold(f64::NEG_INFINITY, f64::max);
    let clothes = CLOTHES.iter().find(|(below, _)| warmest < *below).map_or("dress warm", |(_, clothes)| clothes);
    let wet = if is_wet { ", and choose shoes that can stand getting wet" } else { "" };
    let asks_rain = asked.says(&["rain", "raining", "umbrella", "rainy", "raincoat", "wet"]);
    let yes = turn.say(if is_wet { "rain yes" } else { "rain no" }, &[]) + " ";
    let yes = if asks_rain { yes.as_str() } else { "" };
    Ok(format!("{yes}{told} {}{wet}.", turn.say(clothes, &[])))
}

/// Explains to the user why there is no weather, from the tool's text.
fn no_weather(turn: &Turn<'_>, text: &str) -> String {
    if text.contains("No city is set") {
        return turn.say("no city", &[]);
    }
    if let Some(city) = text.split('"').nth(1) {
        return turn.say("unknown city", &[("city", &shown(city))]);
    }
    let city = text.strip_prefix("The weather for ").and_then(|rest| rest.split_once(" is not available"));
    let city = city.map(|(city, _)| shown(city)).or_else(|| turn.asked.place.clone());
    turn.say("no weather", &[("city", &city.unwrap_or_else(|| "your city".to_owned()))])
}
