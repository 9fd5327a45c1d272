//! Answers that compare pieces: which is cheaper, warmer, newer or better in the rain.

use super::search::{fitting, name, owned};
use super::wording::{bullets, collective, list};
use crate::base::text::times;
use crate::llm::offline::turn::{Answer, Turn};
use crate::model::garment::Garment;
use crate::model::tool_results::CompactItem;

/// What pieces are compared by: words of the question, the word for the winner, and the value, of which the greatest
/// wins.
type Criterion = (&'static [&'static str], &'static str, fn(&CompactItem) -> Option<f64>);
const CRITERIA: [Criterion; 8] = [
    (&["cheaper", "cheapest", "less expensive"], "cheaper", |item| price(item).map(|price| -price)),
    (&["expensive", "dearer", "pricier", "costs"], "more expensive", price),
    (&["rain", "wet", "waterproof", "rainy"], "better in the rain", |item| Some(dryness(item))),
    (&["warmer", "warmest", "cold", "winter"], "warmer", |item| Some(f64::from(Garment::from(item).warmth))),
    (&["lighter", "lightest", "summer", "hot"], "lighter", |item| Some(-f64::from(Garment::from(item).warmth))),
    (&["smarter", "smartest", "dressier", "formal"], "smarter", |item| Some(formality(item))),
    (&["casual"], "more casual", |item| Some(-formality(item))),
    (&["worn", "wear", "used"], "worn more often", |item| Some(f64::from(item.wear_count))),
];

fn price(item: &CompactItem) -> Option<f64> {
    item.price.as_ref().map(|price| price.amount)
}

fn dryness(item: &CompactItem) -> f64 {
    let garment = Garment::from(item);
    f64::from(u8::from(garment.waterproof)) - f64::from(u8::from(garment.spoils))
}

fn formality(item: &CompactItem) -> f64 {
    let (least, most) = Garment::from(item).formality;
    f64::from(least) + f64::from(most)
}

/// Compares the pieces of a question, or their numbers.
pub fn compare(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    if asked.says(&["own", "have", "got"]) && asked.says(&["more", "fewer", "less"]) {
        let mut counts = Vec::new();
        for named in asked.named.iter().take(3) {
            let count = owned(turn, named)?.count;
            counts.push(format!("{count} {}", collective(named, count)));
        }
        return Ok(turn.say("counts compared", &[("counts", &list(&counts))]));
    }
    let mut items: Vec<CompactItem> = Vec::new();
    for named in asked.named.iter().take(3) {
        items.extend(fitting(turn, named)?.fitting.into_iter().take(1));
    }
    let line = |item: &CompactItem| {
        let garment = Garment::from(item);
        let price = item.price.as_ref().map_or_else(|| "no price on record".to_owned(), ToString::to_string);
        let worn =
            if item.wear_count == 0 { "not worn yet".to_owned() } else { format!("worn {}", times(item.wear_count)) };
        let warmth = ["for the heat", "for mild days", "warm", "very warm"][usize::from(garment.warmth.min(3))];
        let rain = match (garment.waterproof, garment.spoils) {
            (true, _) => ", keeps the rain out",
            (_, true) => ", not for rain",
            _ => "",
        };
        format!("your {}: {price}, {worn}, {warmth}{rain}", name(item))
    };
    let lines = bullets(items.iter().map(line));
    let criterion = CRITERIA.iter().find(|(words, ..)| asked.says(words));
    let Some((_, word, value)) = criterion else { return Ok(format!("{}\n{lines}", turn.say("compared", &[]))) };
    let values: Option<Vec<f64>> = items.iter().map(value).collect();
    let best = values.as_ref().map(|values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    let winners: Vec<&CompactItem> = match (&values, best) {
        (Some(values), Some(best)) => {
            items.iter().zip(values).filter(|(_, value)| **value >= best).map(|(item, _)| item).collect()
        }
        _ => Vec::new(),
    };
    let head = match winners[..] {
        [one] => turn.say("compared first", &[("name", &name(one)), ("word", word)]),
        [] => turn.say("compared", &[]),
        _ => turn.say("compared equal", &[("word", word)]),
    };
    Ok(format!("{head}\n{lines}"))
}
