//! Prices of clothes in one currency.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive, ToPrimitive};

use super::cut;
use crate::domain::{rates::Rates, wear};
use crate::model::tool_results::Spent;
use crate::model::vocabulary::Category;
use crate::model::wardrobe::{Price, WardrobeItem};

/// Categories in a result.
const MAX_CATEGORIES: usize = 15;

/// Returns the amount of a valid price.
fn amount(price: &Price) -> Option<Decimal> {
    Decimal::from_f64(price.amount).filter(|amount| *amount > Decimal::ZERO)
}

/// Converts a price to another currency; `None` without a rate or for an invalid price.
pub fn converted(price: &Price, rates: &Rates, currency: &str) -> Option<f64> {
    rates.convert_across(amount(price)?, &price.original_currency, currency)?.to_f64()
}

/// A sum that grows.
#[derive(Default)]
pub struct Spending {
    total: f64,
    priced: u64,
    unpriced: u64,
    without_rate: BTreeMap<String, u64>,
    by_category: BTreeMap<String, f64>,
}

impl Spending {
    /// Adds an item.
    pub fn add(&mut self, item: &WardrobeItem, rates: &Rates, currency: &str) {
        let Some(price) = item.price.as_ref().and_then(|price| converted(price, rates, currency)) else {
            if !self.add_unrated(item) {
                self.unpriced += 1;
            }
            return;
        };
        self.total += price;
        self.priced += 1;
        let text = item.category.as_deref().unwrap_or_default();
        let name =
            Category::of_text(text).map_or_else(|| cut(text, 40).to_lowercase(), |category| category.name().to_owned());
        *self.by_category.entry(if name.is_empty() { "uncategorised".to_owned() } else { name }).or_default() += price;
    }

    /// Adds an item whose price cannot be converted; returns `false` if it has none.
    pub fn add_unrated(&mut self, item: &WardrobeItem) -> bool {
        let Some(price) = item.price.as_ref().filter(|price| amount(price).is_some()) else { return false };
        self.unpriced += 1;
        *self.without_rate.entry(cut(&price.original_currency, 12).to_uppercase()).or_default() += 1;
        true
    }

    /// Whether any item has a price that cannot be converted.
    pub fn lacks_rates(&self) -> bool {
        !self.without_rate.is_empty()
    }

    /// Returns the sum as the model sees it.
    pub fn told(self, currency: String) -> Spent {
        let mut by_category: Vec<(String, f64)> = self.by_category.into_iter().collect();
        by_category.sort_by(|(one, more), (other, less)| less.total_cmp(more).then_with(|| one.cmp(other)));
        by_category.truncate(MAX_CATEGORIES);
        Spent {
            currency,
            total: wear::round(self.total),
            items_with_price: self.priced,
            items_without_price: self.unpriced,
            without_rate: self.without_rate,
            by_category: by_category.into_iter().map(|(name, sum)| (name, wear::round(sum))).collect(),
        }
    }
}
