//! Prices of models, as exact decimals.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

use super::usage::ModelUsage;

/// Number of tokens that a price refers to.
const TOKENS: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
/// Largest price, and most decimal places: within these limits no cost overflows or is rounded.
const LARGEST: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
const MOST_DIGITS: u32 = 6;

/// Price of a model per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Price of tokens in requests.
    pub input: Decimal,
    /// Price of tokens in answers.
    pub output: Decimal,
}

/// Prices by model, in one currency: `gpt-4.1-mini=0.40/1.60,text-embedding-3-small=0.02/0`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Price>);

/// The text is not a valid price list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of prices")]
pub struct BadPrices;

impl Prices {
    /// Returns what calls cost; `None` if their model has no price.
    pub fn cost(&self, usage: &ModelUsage) -> Option<Decimal> {
        let Price { input, output } = self.0.get(&usage.model)?;
        let input = Decimal::from(usage.input_tokens).checked_mul(*input)?;
        let output = Decimal::from(usage.output_tokens).checked_mul(*output)?;
        Some(input.checked_add(output)?.checked_div(TOKENS)?.normalize())
    }
}

impl FromStr for Prices {
    type Err = BadPrices;

    fn from_str(text: &str) -> Result<Self, BadPrices> {
        let mut prices = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (model, price) = entry.rsplit_once('=').ok_or(BadPrices)?;
            let (input, output) = price.split_once('/').ok_or(BadPrices)?;
            let price = Price { input: amount(input)?, output: amount(output)? };
            let model = model.trim();
            if model.is_empty() || prices.insert(model.to_owned(), price).is_some() {
                return Err(BadPrices);
            }
        }
        Ok(Self(prices))
    }
}

fn amount(text: &str) -> Result<Decimal, BadPrices> {
    let text = text.trim();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let amount = if is_plain { Decimal::from_str_exact(text).ok() } else { None };
    amount.filter(|amount| *amount <= LARGEST && amount.scale() <= MOST_DIGITS).ok_or(BadPrices)
}

impl fmt::Display for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (model, Price { input, output })) in self.0.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            write!(f, "{comma}{model}={input}/{output}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(model: &str, input_tokens: u64, output_tokens: u64) -> ModelUsage {
        ModelUsage { model: model.to_owned(), calls: 1, input_tokens, output_tokens }
    }

    #[test]
    fn costs_are_exact() {
        let prices: Prices = " gpt-4.1-mini=0.40/1.60, a/b:c=d=0/0.000001 ,".parse().unwrap();
        let cost = |model, input, output| prices.cost(&usage(model, input, output)).map(|cost| cost.to_string());
        assert_eq!(cost("gpt-4.1-mini", 3, 1).unwrap(), "0.0000028");
        assert_eq!(cost("gpt-4.1-mini", 1_000_000, 1_000_000).unwrap(), "2");
        assert_eq!(cost("gpt-4.1-mini", 0, 0).unwrap(), "0");
        assert_eq!(cost("a/b:c=d", 7, 1).unwrap(), "0.000000000001");
        assert_eq!(cost("other", 1, 1), None);
        assert_eq!(prices.to_string().parse::<Prices>().unwrap(), prices);
        // The tokens of a hundred thousand calls at a tenth of a cent cost exactly a hundred units.
        assert_eq!(cost("gpt-4.1-mini", 250_000_000, 0).unwrap(), "100");
        let dearest: Prices = "m=1000000/1000000".parse().unwrap();
        assert!(dearest.cost(&usage("m", u64::MAX, u64::MAX)).is_some());
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "x",
            "m=1",
            "m=1/",
            "m=/1",
            "=1/1",
            "m=1/-1",
            "m=1e3/1",
            "m=0.0000001/1",
            "m=1000001/0",
            "m=1/1,m=2/2",
            "m=$1/$1",
            "m=1/1/1",
            "m=./1",
        ] {
            assert_eq!(text.parse::<Prices>(), Err(BadPrices), "{text}");
        }
        assert_eq!("".parse(), Ok(Prices::default()));
    }
}
