//! Outfits: which pieces of a wardrobe go together, for which occasion, and in which weather. [`compose`] creates one
//! outfit, [`plan()`] outfits for several days. Only the given pieces are used. `rules` scores the pieces, with a
//! function per rule.

mod plan;
mod rules;

use std::collections::BTreeMap;

use time::OffsetDateTime;

pub use self::plan::{Day, Suitcase, plan};
use self::rules::Role;
use crate::domain::wear;
use crate::model::conversation::{Conversation, PreferenceKind};
use crate::model::garment::{Description, Garment, Slot};
use crate::model::ids::ItemId;
use crate::model::profile::UserProfile;
use crate::model::thesaurus::{self, Kind, TermId};
use crate::model::wardrobe::WardrobeItem;

/// Number of best pieces of a slot that are combined with those of other slots.
const MOST_COMBINED: usize = 8;
/// Points below which an optional knit or accessory is left out.
const LEAST_POINTS: i32 = 4;
/// Points that a piece loses for each earlier day on which it is planned, unless it is packed anyway.
const REPEAT_PENALTY: i32 = 10;
/// Most colours, and most brands, of a profile that are considered.
const MAX_WORDS: usize = 30;
/// Degrees Celsius below which a knit goes over a top, and a jacket over everything.
const KNIT_BELOW: f64 = 14.0;
const JACKET_BELOW: f64 = 18.0;
/// Degrees Celsius below which a knit goes over a warm top, too.
const COLD_BELOW: f64 = 8.0;

/// An owned piece.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Item id.
    pub id: ItemId,
    /// Description of the piece.
    pub garment: Garment,
    /// Brand, in lower case.
    pub brand: String,
    /// Number of wears.
    pub wear_count: u32,
    /// Whole days since it was last worn.
    pub days_since_worn: Option<i64>,
    /// Number of its newest wears by occasion.
    pub occasions: BTreeMap<String, u32>,
}

impl Piece {
    /// Creates a piece from an item, as of `now`.
    pub fn new(item: &WardrobeItem, now: OffsetDateTime) -> Self {
        let mut occasions = BTreeMap::new();
        for occasion in item.wear_events.iter().filter_map(|wear| wear.occasion.as_deref()) {
            *occasions.entry(occasion.trim().to_lowercase()).or_default() += 1;
        }
        Self {
            id: item.id.clone(),
            garment: Garment::from(item),
            brand: item.brand.as_deref().unwrap_or_default().trim().to_lowercase(),
            wear_count: item.wear_count,
            days_since_worn: wear::days_since_worn(item, now),
            occasions,
        }
    }

    /// Whether a text refers to this piece, by its id or a matching description.
    pub fn is_named(&self, text: &str) -> bool {
        self.id.as_str() == text || named_description(text).fits(&self.garment)
    }
}

/// Parses a description; a text in the form of [`Garment::name`] must also match the brand.
fn named_description(text: &str) -> Description {
    let mut description = Description::of(text);
    // "brown Carmina loafers": a capitalised word within a name is the brand.
    for word in text.split_whitespace().skip(1).filter(|word| word.chars().next().is_some_and(char::is_uppercase)) {
        let word = word.to_lowercase();
        if thesaurus::lookup(&word).is_none() && !description.words.contains(&word) {
            description.words.push(word);
        }
    }
    description
}

/// The owner's likes and dislikes.
#[derive(Debug, Clone, Default)]
pub struct Taste {
    /// Colours they like, lower case.
    pub colours: Vec<String>,
    /// Brands they like, lower case.
    pub brands: Vec<String>,
    /// Stated likes.
    pub likes: Vec<Description>,
    /// Stated dislikes.
    pub dislikes: Vec<Description>,
}

impl Taste {
    /// Reads the taste from the user's profile and the stylist's memory.
    pub fn of(profile: Option<&UserProfile>, memory: Option<&Conversation>) -> Self {
        let mut taste = Self::default();
        if let Some(profile) = profile {
            let lower =
                |texts: &[String]| texts.iter().take(MAX_WORDS).map(|text| text.trim().to_lowercase()).collect();
            (taste.colours, taste.brands) = (lower(&profile.preferred_colours), lower(&profile.favorite_brands));
        }
        for preference in memory.into_iter().flat_map(|memory| &memory.preferences) {
            match preference.kind {
                PreferenceKind::Like => taste.likes.push(Description::of(&preference.text)),
                PreferenceKind::Dislike => taste.dislikes.push(Description::of(&preference.text)),
                PreferenceKind::Fact => {}
            }
        }
        taste
    }

    /// Whether the owner dislikes the garment.
    pub fn rejects(&self, garment: &Garment) -> bool {
        self.dislikes.iter().any(|dislike| dislike.fits(garment))
    }
}

/// Occasion and weather of an outfit.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Occasions of the outfit, most formal first.
    pub occasions: Vec<TermId>,
    /// Range of formality, from 0 (sport) to 5 (black tie).
    pub formality: (u8, u8),
    /// Tags of suitable pieces.
    pub wants: Vec<&'static str>,
    /// Requested kinds, colours, materials and styles.
    pub asked: Description,
    /// Degrees Celsius.
    pub celsius: f64,
    /// Whether rain or snow is expected.
    pub wet: bool,
    /// Whether warmer (`true`) or lighter clothes are wanted than usual in this weather.
    pub warmer: Option<bool>,
    /// The weather or season that the request names.
    pub told: Option<TermId>,
    /// Name of the weather in a reason: "9 °C" or "November".
    pub weather: String,
}

impl Situation {
    /// Parses a request such as "casual dinner" or "office". Words about the weather override `celsius`.
    pub fn new(text: &str, celsius: f64, wet: bool, weather: String) -> Self {
        let terms = thesaurus::terms(text);
        let of = |kind| terms.iter().copied().filter(move |term| term.kind() == kind);
        let mut occasions: Vec<TermId> = of(Kind::Occasion).collect();
        occasions.sort_by_key(|term| std::cmp::Reverse(term.term().facts.formality.map(|(least, _)| least)));
        let style = of(Kind::Style).filter_map(|term| term.term().facts.formality).next_back();
        let formality = match (occasions.first().and_then(|occasion| occasion.term().facts.formality), style) {
            // "A casual dinner": the style modifies the occasion.
            (Some(_), Some(style)) => style,
            (Some(formality), None) | (None, Some(formality)) => formality,
            (None, None) => (1, 2),
        };
        let calls_for = terms.iter().flat_map(|term| term.called_for());
        let mut wants: Vec<&'static str> = calls_for.collect();
        wants.extend(terms.iter().filter(|term| matches!(term.kind(), Kind::Style)).map(|term| term.name()));
        let told = of(Kind::Weather).chain(of(Kind::Season)).find(|term| term.term().facts.celsius.is_some());
        Self {
            occasions,
            formality,
            wants,
            asked: Description::of(text),
            celsius: told.and_then(|weather| weather.term().facts.celsius).unwrap_or(celsius),
            wet: wet || of(Kind::Weather).any(|weather| weather.term().facts.wet),
            warmer: None,
            told,
            weather: told.map_or(weather, |told| told.name().to_owned()),
        }
    }

    /// Whether it is for sport.
    pub fn is_sport(&self) -> bool {
        self.occasions.iter().any(|occasion| occasion.term().facts.sport)
    }
}

/// A piece in an outfit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worn {
    /// Slot of the piece.
    pub slot: Slot,
    /// Index of the piece among the given ones.
    pub piece: usize,
    /// Reason for the choice, in a few words.
    pub why: String,
}

/// Clothes to wear together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outfit {
    /// The pieces, in the order of the slots.
    pub worn: Vec<Worn>,
    /// Required slots (for this weather) that could not be filled.
    pub missing: Vec<Slot>,
}

impl Outfit {
    /// Returns the indices of its pieces among the given ones.
    pub fn pieces(&self) -> impl Iterator<Item = usize> {
        self.worn.iter().map(|worn| worn.piece)
    }
}

/// Which pieces an outfit must and should not contain.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// Indices of pieces that it is built around.
    pub anchors: &'a [usize],
    /// Indices of pieces that it must not contain.
    pub avoided: &'a [usize],
    /// Indices of pieces to use only if there is no alternative.
    pub spared: &'a [usize],
    /// Indices of pieces that are already packed, and preferred.
    pub packed: &'a [usize],
    /// Indices of pieces planned for earlier days, for each day once.
    pub planned: &'a [usize],
}

/// A piece that may be added to an outfit, with its points.
#[derive(Clone, Copy)]
struct Candidate {
    piece: usize,
    points: i32,
}

/// Returns the best outfit of these pieces: all wearable anchors, completed with other pieces.
pub fn compose(pieces: &[Piece], situation: &Situation, taste: &Taste, choice: Choice<'_>) -> Outfit {
    let maker = Maker { pieces, situation, taste, choice };
    let mut chosen: Vec<(Slot, usize)> = Vec::new();
    for anchor in choice.anchors {
        if let Some(slot) = pieces[*anchor].garment.slot
            && !chosen.iter().any(|(_, piece)| piece == anchor)
        {
            chosen.push((slot, *anchor));
        }
    }
    maker.add_base(&mut chosen);
    let mut missing = Vec::new();
    let has = |chosen: &[(Slot, usize)], slot| chosen.iter().any(|(taken, _)| *taken == slot);
    let is_dressed = has(&chosen, Slot::Dress);
    for (slot, is_missing) in [
        (Slot::Top, !is_dressed && !has(&chosen, Slot::Top) && !maker.has_closed_knit(&chosen)),
        (Slot::Bottoms, !is_dressed && !has(&chosen, Slot::Bottoms)),
        (Slot::Shoes, !has(&chosen, Slot::Shoes)),
    ] {
        if is_missing {
            missing.push(slot);
        }
    }
    maker.add_layers(&mut chosen, &mut missing);
    chosen.sort_by_key(|(slot, _)| *slot);
    let mut said = Vec::new();
    let worn = chosen.iter().map(|(slot, piece)| {
        let others: Vec<&Piece> =
            chosen.iter().filter(|(_, other)| other != piece).map(|(_, other)| &pieces[*other]).collect();
        let role = Role { is_anchor: choice.anchors.contains(piece), is_planned: choice.planned.contains(piece) };
        let why = rules::reason(&pieces[*piece], &others, situation, taste, role, &mut said);
        Worn { slot: *slot, piece: *piece, why }
    });
    let worn = worn.collect();
    Outfit { worn, missing }
}

struct Maker<'a> {
    pieces: &'a [Piece],
    situation: &'a Situation,
    taste: &'a Taste,
    choice: Choice<'a>,
}

impl Maker<'_> {
    /// Returns the candidates that satisfy `fits`, best first.
    fn candidates(&self, fits: impl Fn(&Piece) -> bool) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = (0..self.pieces.len())
            .filter(|place| fits(&self.pieces[*place]) && !self.choice.avoided.contains(place))
            .filter_map(|place| Some(Candidate { piece: place, points: self.points(place)? }))
            .collect();
        candidates.sort_by(|one, other| {
            let by_id = || self.pieces[one.piece].id.cmp(&self.pieces[other.piece].id);
            other.points.cmp(&one.points).then_with(by_id)
        });
        candidates
    }

    fn points(&self, place: usize) -> Option<i32> {
        let points = rules::points(&self.pieces[place], self.situation, self.taste)?;
        let spared = if self.choice.spared.contains(&place) { -40 } else { 0 };
        let times_planned = || self.choice.planned.iter().filter(|planned| **planned == place).count() as i32;
        let packed = if self.choice.packed.contains(&place) { 3 } else { -REPEAT_PENALTY * times_planned() };
        Some(points + spared + packed)
    }

    fn harmony(&self, piece: usize, chosen: &[(Slot, usize)]) -> i32 {
        chosen.iter().map(|(_, other)| rules::harmony(&self.pieces[piece].garment, &self.pieces[*other].garment)).sum()
    }

    /// Whether it contains a knit that needs nothing under it.
    fn has_closed_knit(&self, chosen: &[(Slot, usize)]) -> bool {
        chosen.iter().any(|(slot, piece)| *slot == Slot::Knit && !self.pieces[*piece].garment.layer)
    }

    /// Adds the best combination of top and bottoms, or a dress, and shoes.
    fn add_base(&self, chosen: &mut Vec<(Slot, usize)>) {
        let has = |slot| chosen.iter().any(|(taken, _)| *taken == slot);
        let of = |slot: Slot| {
            let taken = has(slot);
            let found = if taken { Vec::new() } else { self.candidates(|piece| piece.garment.slot == Some(slot)) };
            let mut found: Vec<Option<Candidate>> = found.into_iter().take(MOST_COMBINED).map(Some).collect();
            if found.is_empty() {
                found.push(None);
            }
            found
        };
        let asks_top = self.situation.asked.slot() == Some(Slot::Top);
        let needs_top = !has(Slot::Top) && (asks_top || !self.has_closed_knit(chosen));
        let tops = if needs_top {
            let is_top = |piece: &Piece| match piece.garment.slot {
                Some(Slot::Top) => true,
                Some(Slot::Knit) => !piece.garment.layer && !has(Slot::Knit) && !self.situation.is_sport(),
                _ => false,
            };
            let found: Vec<_> = self.candidates(is_top).into_iter().take(MOST_COMBINED).map(Some).collect();
            if found.is_empty() { vec![None] } else { found }
        } else {
            vec![None]
        };
        let (bottoms, shoes) = (of(Slot::Bottoms), of(Slot::Shoes));
        let can_be_dress = !has(Slot::Top) && !has(Slot::Bottoms) && !has(Slot::Knit) && !has(Slot::Dress);
        let dresses = if can_be_dress { of(Slot::Dress) } else { vec![None] };
        let mut best: Option<(i32, Vec<Candidate>)> = None;
        let mut consider = |parts: Vec<Candidate>, bonus: i32| {
            let mut points = bonus;
            let mut together = chosen.clone();
            for part in &parts {
                points += part.points + self.harmony(part.piece, &together);
                together.push((Slot::Accessory, part.piece));
            }
            if best.as_ref().is_none_or(|(most, _)| points > *most) {
                best = Some((points, parts));
            }
        };
        let has_dress = has(Slot::Dress);
        let asks_dress = self.situation.asked.slot() == Some(Slot::Dress);
        // Two layers are warmer than one.
        let without_top = if self.situation.warmer == Some(true) { 40 } else { 12 };
        for shoe in &shoes {
            if !has_dress {
                for top in &tops {
                    for bottom in &bottoms {
                        // A missing slot weighs heavily, so that a dress can win.
                        let lacks =
                            i32::from(needs_top && top.is_none()) + i32::from(bottom.is_none() && !has(Slot::Bottoms));
                        let is_knit = |top: &Candidate| self.pieces[top.piece].garment.slot == Some(Slot::Knit);
                        // A knit goes over a top rather than instead of one.
                        let bare = i32::from(top.as_ref().is_some_and(is_knit));
                        consider(
                            [*top, *bottom, *shoe].into_iter().flatten().collect(),
                            -60 * lacks - without_top * bare,
                        );
                    }
                }
            }
            if has_dress {
                consider(shoe.iter().copied().collect(), 0);
            }
            for dress in dresses.iter().flatten() {
                // A dress gets the points of two pieces.
                let bonus = dress.points.min(20) + if asks_dress { 60 } else { 0 };
                consider([Some(*dress), *shoe].into_iter().flatten().collect(), bonus);
            }
        }
        let parts = best.map(|(_, parts)| parts).unwrap_or_default();
        chosen.extend(parts.iter().filter_map(|part| Some((self.pieces[part.piece].garment.slot?, part.piece))));
    }

    /// Adds layers: a knit in the cold, a jacket or coat, an accessory.
    fn add_layers(&self, chosen: &mut Vec<(Slot, usize)>, missing: &mut Vec<Slot>) {
        let Situation { celsius, wet, formality, warmer, .. } = *self.situation;
        if chosen.is_empty() || self.situation.is_sport() {
            return;
        }
        let has = |chosen: &[(Slot, usize)], slot| chosen.iter().any(|(taken, _)| *taken == slot);
        // A turtleneck is warm enough by itself, unless it is really cold.
        let is_warm = chosen.iter().any(|(slot, piece)| *slot == Slot::Top && self.pieces[*piece].garment.warmth >= 2);
        let is_dressed = has(chosen, Slot::Dress);
        let is_cold = celsius < COLD_BELOW || warmer == Some(true);
        let needs_knit = (celsius < KNIT_BELOW && !is_warm) || is_cold;
        if needs_knit && warmer != Some(false) && !has(chosen, Slot::Knit) && formality.0 < 4 {
            self.add(chosen, Slot::Knit, LEAST_POINTS, |piece| piece.garment.layer || !is_dressed);
        }
        let asked = self.situation.asked.garment.is_some_and(|garment| garment.is("outerwear"));
        let is_needed = celsius < JACKET_BELOW || wet || asked;
        if !has(chosen, Slot::Outerwear) && (is_needed || (formality.0 >= 3 && !is_dressed)) {
            let least = if is_needed { i32::MIN } else { LEAST_POINTS };
            if !self.add(chosen, Slot::Outerwear, least, |_| true) && is_needed {
                missing.push(Slot::Outerwear);
            }
        }
        if !has(chosen, Slot::Accessory) {
            let with_belt = chosen.iter().any(|(_, piece)| {
                self.pieces[*piece].garment.kind().is_some_and(|kind| kind.is("trousers") || kind.is("jeans"))
            });
            self.add(chosen, Slot::Accessory, LEAST_POINTS, |piece| {
                with_belt || piece.garment.kind().is_none_or(|kind| !kind.is("belt"))
            });
        }
    }

    /// Adds the best piece for a slot, if it scores enough with the rest of the outfit. Returns whether it did.
    fn add(&self, chosen: &mut Vec<(Slot, usize)>, slot: Slot, least: i32, fits: impl Fn(&Piece) -> bool) -> bool {
        let candidates = self.candidates(|piece| piece.garment.slot == Some(slot) && fits(piece));
        let with_others = |candidate: &Candidate| candidate.points + self.harmony(candidate.piece, chosen);
        // Ties go to the first, because the pieces are sorted by id.
        let best = candidates.iter().rev().max_by_key(|candidate| with_others(candidate));
        match best.filter(|best| with_others(best) >= least) {
            Some(best) => {
                chosen.push((slot, best.piece));
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
