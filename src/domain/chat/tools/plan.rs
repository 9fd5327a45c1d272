//! Plans outfits for coming days, by rules: weather, season, occasion, recent wears, and the user's taste.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::json;
use time::{Date, Duration};

use super::history::read_date;
use super::weather;
use super::{Tool, ToolError, ToolParts, Traits, parameters, read_arguments};
use crate::base::text::{cut, cut_each};
use crate::domain::best::Best;
use crate::domain::climate::{self, Basis, Season};
use crate::domain::outfit::{self, Choice, Day, Outfit, Piece, Situation, Taste};
use crate::llm::{CallContext, ToolSpec};
use crate::model::garment::{Description, Slot};
use crate::model::ids::UserId;
use crate::model::tool_results::{OutfitPlan, PackedPieces, PlannedOutfit, PlannedPiece};

/// Most pieces considered, newest first.
const MAX_PIECES: usize = 2_000;
/// Most texts in a list of arguments, and the longest of them, in characters.
const MAX_TEXTS: usize = 30;
const MAX_TEXT: usize = 200;
/// Default occasion.
const EVERYDAY: &str = "casual";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanArguments {
    days: Option<u16>,
    from: Option<String>,
    place: Option<String>,
    occasions: Option<Vec<String>>,
    include: Option<Vec<String>>,
    avoid: Option<Vec<String>>,
    unlike: Option<Vec<String>>,
    celsius: Option<f64>,
    wet: Option<bool>,
    warmer: Option<bool>,
    packing: Option<bool>,
    most_pieces: Option<usize>,
    most_of: Option<BTreeMap<Slot, usize>>,
}

impl PlanArguments {
    fn suitcase(&self) -> outfit::Suitcase {
        outfit::Suitcase {
            is_packed: self.packing.unwrap_or(false) || self.most_pieces.is_some(),
            most_pieces: self.most_pieces.unwrap_or(usize::MAX),
            most_of: self.most_of.clone().unwrap_or_default(),
        }
    }
}

/// Plans outfits.
pub struct PlanOutfits(pub(super) Arc<ToolParts>);

impl PlanOutfits {
    /// Reads the newest pieces of the wardrobe.
    async fn pieces(&self, user: &UserId) -> Result<Vec<Piece>, ToolError> {
        let now = self.0.base.clock.now();
        let mut best = Best::new(MAX_PIECES);
        let _turn = self.0.large_reads.wait(user).await;
        let mut items = pin!(self.0.base.data.wardrobe.owned(user));
        while let Some(item) = items.try_next().await? {
            best.offer((item.date_added, Reverse(item.id.clone())), || Piece::new(&item, now));
        }
        Ok(best.into_sorted().map(|(_, piece)| piece).collect())
    }
}

#[async_trait]
impl Tool for PlanOutfits {
    fn spec(&self) -> ToolSpec {
        let texts =
            |description: &str| json!({ "type": "array", "items": { "type": "string" }, "description": description });
        ToolSpec {
            name: "plan_outfits",
            description: "Puts outfits together from the user's clothes: one for each of up to 14 days, by weather, season, \
                          occasion, what was worn lately and what they like, with a packing list. No piece comes twice on \
                          following days. Use it for what to wear, for a week, and for packing.",
            parameters: parameters(
                json!({
                    "days": { "type": "integer", "minimum": 1, "maximum": OutfitPlan::MOST_DAYS, "description": "1 without it." },
                    "from": { "type": "string", "description": "First day, YYYY-MM-DD; today without it." },
                    "place": { "type": "string", "description": "Where; the city in the user's profile without it." },
                    "occasions": texts("What for, for example: office, casual dinner. One for all days, or one for each in turn."),
                    "include": texts("Pieces to build around: ids or descriptions, for example: camel coat."),
                    "avoid": texts("What must not be in it: ids or descriptions, for example: brown shoes."),
                    "unlike": texts("Pieces shown before, which should come again only if there is nothing else."),
                    "celsius": { "type": "number", "description": "The temperature, if the user named it." },
                    "wet": { "type": "boolean", "description": "Whether it rains, if the user said so." },
                    "warmer": { "type": "boolean", "description": "Warmer (true) or lighter (false) than usual in this weather." },
                    "packing": { "type": "boolean", "description": "For a suitcase: trousers, knits and shoes are worn again." },
                    "most_of": { "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 }, "description": "Most pieces of a slot of all outfits together, for example: {\"outerwear\": 1}." },
                    "most_pieces": { "type": "integer", "minimum": 1, "description": "Most pieces of all outfits together." },
                }),
                &[],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::reads("Plan outfits").outside().result::<OutfitPlan>()
    }

    async fn run(&self, user: &UserId, context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let arguments: PlanArguments = read_arguments(arguments)?;
        let days = arguments.days.unwrap_or(1);
        if !(1..=OutfitPlan::MOST_DAYS).contains(&days) {
            return Err(ToolError::BadArguments(format!("days is between 1 and {}", OutfitPlan::MOST_DAYS)));
        }
        let today = context.offset.day(self.0.base.clock.now());
        let first = first_day(arguments.from.as_deref(), today)?;
        let profile = self.0.base.data.profiles.find(user).await?;
        let home = profile.as_ref().and_then(|profile| profile.location_city.as_deref());
        let zone = profile.as_ref().and_then(|profile| profile.climate_zone.as_deref());
        let asked_place = arguments.place.as_deref().map(str::trim).filter(|place| !place.is_empty());
        let place = asked_place.or(home).map(|place| cut(place, 100));
        let zone = zone.filter(|_| asked_place.is_none());
        let memory = self.0.base.data.conversations.find(user).await?;
        let taste = Taste::of(profile.as_ref(), memory.as_ref());
        let pieces = self.pieces(user).await?;
        if pieces.is_empty() {
            let note = Some("The wardrobe is empty.".to_owned());
            return Ok(serde_json::to_string(&OutfitPlan { note, place, outfits: Vec::new(), packing: Vec::new() })?);
        }
        let forecast = match &place {
            // The user's own statement about the weather overrides the forecast.
            Some(place) if arguments.celsius.is_none() && (first - today).whole_days() < 7 => {
                self.0.forecasts.days(place).await
            }
            _ => Vec::new(),
        };
        let suitcase = arguments.suitcase();
        let texts = |list: Option<Vec<String>>| cut_each(list.unwrap_or_default(), MAX_TEXT, MAX_TEXTS);
        let occasions = texts(arguments.occasions);
        let occasion = |day: usize| occasions.get(day % occasions.len().max(1)).map_or(EVERYDAY, String::as_str);
        let told = (arguments.celsius, arguments.wet.unwrap_or(false));
        let dates: Vec<Date> = (0..days).filter_map(|day| first.checked_add(Duration::days(i64::from(day)))).collect();
        let planned: Vec<Day> = dates
            .iter()
            .enumerate()
            .map(|(day, date)| {
                let usual = situation(occasion(day), *date, &forecast, told, place.as_deref(), zone);
                Day { situation: Situation { warmer: arguments.warmer, ..usual } }
            })
            .collect();
        let named = |texts: &[String]| -> Vec<usize> {
            let is_named = |place: &usize| texts.iter().any(|text| pieces[*place].is_named(text));
            (0..pieces.len()).filter(is_named).collect()
        };
        let (include, avoid, unlike) = (texts(arguments.include), texts(arguments.avoid), texts(arguments.unlike));
        let avoided = named(&avoid);
        // A description may match several pieces; use the best one.
        let anchors: Vec<usize> = include
            .iter()
            .filter_map(|text| {
                let fits = named(std::slice::from_ref(text)).into_iter().filter(|place| !avoided.contains(place));
                fits.max_by_key(|place| {
                    let fit = Description::of(text).fit(&pieces[*place].garment);
                    (fit, pieces[*place].wear_count, Reverse(*place))
                })
            })
            .collect();
        let unfound: Vec<&String> =
            include.iter().filter(|text| named(std::slice::from_ref(*text)).is_empty()).collect();
        let note = (!unfound.is_empty()).then(|| {
            let names: Vec<&str> = unfound.iter().map(|text| text.as_str()).collect();
            format!("Not in the wardrobe: {}.", names.join("; "))
        });
        let choice = Choice { anchors: &anchors, avoided: &avoided, spared: &named(&unlike), ..Choice::default() };
        let outfits = outfit::plan(&pieces, &planned, &taste, choice, suitcase);
        let packing = if days > 1 { packing(&pieces, &outfits) } else { Vec::new() };
        let outfits = outfits.iter().zip(&planned).zip(&dates).enumerate().map(|(day, ((outfit, planned), date))| {
            PlannedOutfit {
                date: date.to_string(),
                weekday: date.weekday().to_string(),
                occasion: occasion(day).to_owned(),
                weather: described(&planned.situation, *date, &forecast, place.as_deref(), zone),
                pieces: told_pieces(&pieces, outfit),
                missing: outfit.missing.clone(),
            }
        });
        let outfits = outfits.collect();
        Ok(serde_json::to_string(&OutfitPlan { note, place, outfits, packing })?)
    }
}

/// Returns the conditions of a day: from the user's statement, the forecast, or the season.
fn situation(
    occasion: &str,
    date: Date,
    forecast: &[weather::Day],
    (celsius, wet): (Option<f64>, bool),
    place: Option<&str>,
    zone: Option<&str>,
) -> Situation {
    let expected = forecast.iter().find(|day| day.date == date.to_string());
    let usual = climate::usual_temperature(date.month(), place, zone);
    let (celsius, wet, name) = match (celsius, expected) {
        (Some(celsius), _) => (celsius.clamp(-60.0, 60.0), wet, None),
        (None, Some(day)) => (day.celsius, wet || day.is_wet, None),
        (None, None) => (usual, wet, Some(date.month().to_string())),
    };
    let name = name.unwrap_or_else(|| weather::degrees(celsius));
    Situation::new(occasion, celsius, wet, name)
}

/// Describes the weather of an outfit in words.
fn described(
    situation: &Situation,
    date: Date,
    forecast: &[weather::Day],
    place: Option<&str>,
    zone: Option<&str>,
) -> String {
    if let Some(told) = situation.told {
        return format!("{}, usually about {}", told.name(), weather::degrees(situation.celsius));
    }
    if let Some(day) = forecast.iter().find(|day| day.date == date.to_string()) {
        return format!("{}, {}", weather::degrees(day.celsius), day.condition);
    }
    if situation.weather.ends_with('C') {
        return if situation.wet { format!("{} and wet", situation.weather) } else { situation.weather.clone() };
    }
    let season =
        Season::of(date.month(), place).map_or_else(|| date.month().to_string(), |season| season.name().into());
    let wet = if situation.wet { " and wet" } else { "" };
    let celsius = weather::degrees(situation.celsius);
    match climate::usual(date.month(), place, zone).1 {
        Basis::Place => format!("no forecast: {season}, usually about {celsius}{wet}"),
        Basis::Zone(zone) => format!("no forecast: {season}, roughly {celsius}{wet}, going by a {zone} climate"),
        Basis::Guess => format!("no forecast: {season}, roughly {celsius}{wet}, climate not known"),
    }
}

/// Returns the first day to plan.
fn first_day(from: Option<&str>, today: Date) -> Result<Date, ToolError> {
    match read_date(from, "from")?.unwrap_or(today) {
        // Yesterday may still be today where the user is: their UTC offset may be unknown, and they may travel.
        from if today - from > Duration::DAY => {
            Err(ToolError::BadArguments(format!("from is in the past: today is {today}")))
        }
        from => Ok(from.max(today)),
    }
}

fn told_pieces(pieces: &[Piece], outfit: &Outfit) -> Vec<PlannedPiece> {
    let told = outfit.worn.iter().map(|worn| {
        let piece = &pieces[worn.piece];
        PlannedPiece { slot: worn.slot, id: piece.id.clone(), name: piece.garment.name.clone(), why: worn.why.clone() }
    });
    told.collect()
}

/// Returns the packing list of several outfits, each piece once.
fn packing(pieces: &[Piece], outfits: &[Outfit]) -> Vec<PackedPieces> {
    let mut by_slot: BTreeMap<Slot, Vec<usize>> = BTreeMap::new();
    for worn in outfits.iter().flat_map(|outfit| &outfit.worn) {
        let places = by_slot.entry(worn.slot).or_default();
        if !places.contains(&worn.piece) {
            places.push(worn.piece);
        }
    }
    let packed = by_slot.into_iter().map(|(slot, places)| PackedPieces {
        kind: slot,
        count: places.len(),
        names: places.iter().map(|place| pieces[*place].garment.name.clone()).collect(),
    });
    packed.collect()
}
