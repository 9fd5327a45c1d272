//! Computation of one answer: items and wear events are added page by page, in any order, and reduced to a few numbers
//! each.

use std::collections::HashMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use time::{Duration, OffsetDateTime};

use super::Question;
use super::colour::Colour;
use super::formulas::{self, Rate};
use crate::domain::rates::Rates;
use crate::domain::wear;
use crate::model::insights::{BehavioralInsights, ColorShare, CpwIntel, Forecast, UnwornItem, VaultInsights};
use crate::model::numbers::{ItemNumbers, Number};
use crate::model::timestamp::Timestamp;
use crate::model::vocabulary::COLOURS;

/// Days after which an item counts as unworn. Defined by the product.
const UNWORN_DAYS: i64 = 90;
/// How far in the future a wear may be: clocks differ, and some clients write their local date.
const AHEAD: Duration = Duration::days(1);
/// Default currency of a price. Defined by the product.
const PRICE_CURRENCY: &str = "USD";
/// Approximate length of an item's entry in the answer, in bytes.
const ENTRY_BYTES: usize = 440;

/// Parameters of a computation.
pub struct Vault {
    question: Question,
    currency: String,
    rates: Arc<Rates>,
    now: OffsetDateTime,
    /// Start of the window.
    window: OffsetDateTime,
    /// Wears before this count as unworn.
    lately: OffsetDateTime,
    /// End of both periods.
    end: OffsetDateTime,
}

impl Vault {
    /// Creates a computation for `question`, as of `now`, in this currency.
    pub fn new(question: Question, currency: String, rates: Arc<Rates>, now: OffsetDateTime) -> Arc<Self> {
        let ago = |days: i64| now.saturating_sub(Duration::days(days));
        let (window, lately) = (ago(i64::from(question.window_days)), ago(UNWORN_DAYS));
        Arc::new(Self { question, currency, rates, now, window, lately, end: now.saturating_add(AHEAD) })
    }

    /// Returns the earliest relevant time of wears.
    pub fn earliest(&self) -> OffsetDateTime {
        self.window.min(self.lately)
    }

    fn is_since(&self, at: Timestamp, begin: OffsetDateTime) -> bool {
        (begin..=self.end).contains(&at.get())
    }

    /// Returns the answer as canonical JSON.
    ///
    /// # Errors
    /// When it cannot be serialized; a bug.
    pub fn finish(&self, mut pieces: Vec<Piece>, wears: &Wears) -> serde_json::Result<Vec<u8>> {
        pieces.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        for piece in &mut pieces {
            let worn = wears.of_items.get(&*piece.id).copied().unwrap_or_default();
            piece.recent_wears = piece.recent_wears.max(worn.in_window);
            piece.is_worn_lately |= worn.is_lately;
        }
        let insights = VaultInsights {
            behavioral_insights: self.behaviour(&pieces),
            conversion_status: self.rates.status(),
            currency: self.currency.clone(),
            fx_date: self.rates.date.to_string(),
            generated_at: self.now.into(),
            insufficient_data: pieces.is_empty(),
            cpw_intel: Entries { vault: self, pieces: &pieces },
        };
        let mut body = Vec::with_capacity(1024 + pieces.len() * ENTRY_BYTES);
        serde_json::to_writer(&mut body, &insights)?;
        Ok(body)
    }

    /// The parts of an item that are needed.
    pub fn piece(&self, item: &ItemNumbers) -> Piece {
        let cost = item.cost();
        let price = cost
            .and_then(|cost| self.rates.convert(cost.amount, cost.currency.unwrap_or(PRICE_CURRENCY), &self.currency));
        let last_worn = item.last_worn();
        let recent_wears = match last_worn {
            Some(at) if at.get() >= self.window => {
                u32::try_from(item.wears().filter(|at| self.is_since(*at, self.window)).count()).unwrap_or(u32::MAX)
            }
            Some(_) | None => 0,
        };
        Piece {
            id: item.id.as_str().into(),
            price,
            wears: item.wear_count(),
            recent_wears,
            months: item.date_added().map_or(1, |since| formulas::months_between(since.get(), self.now)),
            colour: Colour::of(item),
            is_worn_lately: last_worn.is_some_and(|at| at.get() >= self.lately),
        }
    }

    /// Adds a wear event to the others.
    pub fn add_wear(&self, wears: &mut Wears, item: String, at: Timestamp) {
        let (in_window, is_lately) = (self.is_since(at, self.window), self.is_since(at, self.lately));
        if in_window || is_lately {
            let worn = wears.of_items.entry(item).or_default();
            worn.in_window = worn.in_window.saturating_add(u32::from(in_window));
            worn.is_lately |= is_lately;
        }
    }

    fn behaviour(&self, pieces: &[Piece]) -> BehavioralInsights {
        let count = |holds: fn(&Piece) -> bool| pieces.iter().filter(|piece| holds(piece)).count() as u64;
        let unworn = count(|piece| piece.wears == 0 || !piece.is_worn_lately);
        let unworn_pieces = pieces.iter().filter(|piece| piece.wears == 0);
        let dearest = unworn_pieces.filter_map(|piece| Some((piece.price?, &piece.id)));
        // Ties go to the smallest id.
        let dearest = dearest.reduce(|first, next| if next.0 > first.0 { next } else { first });
        BehavioralInsights {
            most_expensive_unworn: dearest.map(|(price, id)| UnwornItem {
                amount: Number(formulas::money(price)),
                currency: self.currency.clone(),
                item_id: id.as_ref().into(),
            }),
            sparse_history: wear::is_sparse(count(|piece| piece.wears > 0)),
            top_color_wear_share: top_colour(pieces),
            unworn90d_pct: formulas::percent(unworn, pieces.len() as u64).map(Number),
        }
    }

    fn entry(&self, piece: &Piece) -> CpwIntel {
        let target = self.question.target;
        let recent = Rate::recent(piece.recent_wears, self.question.window_days);
        let historical = Rate::historical(piece.wears, piece.months);
        let (delta, trend) = recent.compared_with(historical);
        let [recent_rounded, historical_rounded] = [recent, historical].map(|rate| Number(rate.rounded()));
        let cpw = piece.price.and_then(|price| formulas::cost_per_wear(price, piece.wears));
        let forecast = piece.price.map(|price| {
            let needed = formulas::wears_needed(price, piece.wears, target);
            Forecast {
                historical_wear_rate: historical_rounded,
                projected_month: formulas::projected_month(self.now, needed, recent, historical),
                projected_wears_needed: needed,
                recent_wear_rate: recent_rounded,
                target_cpw: Number(target),
                wear_rate_trend: trend,
            }
        });
        CpwIntel {
            badge: formulas::badge(cpw, piece.wears, target),
            break_even_reached: cpw.is_some_and(|cpw| cpw <= target),
            break_even_target_cpw: Number(target),
            cpw: cpw.map(Number),
            forecast,
            historical_wear_rate: historical_rounded,
            item_id: piece.id.as_ref().into(),
            recent_wear_rate: recent_rounded,
            wear_rate_delta: Number(delta),
            wear_rate_trend: trend,
        }
    }
}

/// Returns the most worn colour in the window; ties go to the first in the list of names.
fn top_colour(pieces: &[Piece]) -> Option<ColorShare> {
    let mut wears = [0_u64; COLOURS.len()];
    for piece in pieces {
        if let Some(colour) = piece.colour {
            wears[colour.index()] += u64::from(piece.recent_wears);
        }
    }
    let (name, most) = COLOURS.iter().zip(wears).reduce(|first, next| if next.1 > first.1 { next } else { first })?;
    let pct = formulas::percent(most, wears.iter().sum())?;
    Some(ColorShare { color: (*name).to_owned(), pct: Number(pct) })
}

/// Serializes entries one by one, since together they would take more memory than the text.
struct Entries<'a> {
    vault: &'a Vault,
    pieces: &'a [Piece],
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.pieces.iter().map(|piece| self.vault.entry(piece)))
    }
}

/// The parts of an item that are needed.
pub struct Piece {
    id: Box<str>,
    /// Price in the currency of the answer.
    price: Option<Decimal>,
    wears: u32,
    /// Wears in the window.
    recent_wears: u32,
    /// Calendar months since it was added.
    months: u32,
    colour: Option<Colour>,
    is_worn_lately: bool,
}

/// The wear events so far, by item.
#[derive(Default)]
pub struct Wears {
    of_items: HashMap<String, Worn>,
}

/// Reduced wear events of an item.
#[derive(Clone, Copy, Default)]
struct Worn {
    in_window: u32,
    is_lately: bool,
}

#[cfg(test)]
mod tests;
