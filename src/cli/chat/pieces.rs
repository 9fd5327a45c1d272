//! The pieces of the wardrobe that an answer names, as lines below it.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use crate::cli::client::Service;
use crate::cli::output::words as one_line;

/// Most pieces of the wardrobe that are read.
const MOST_READ: usize = 2000;
/// Most pieces shown below an answer.
const MOST_SHOWN: usize = 12;
/// Most words after "your" that can name a piece.
const LONGEST_NAME: usize = 7;

/// A piece of the wardrobe.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece {
    id: String,
    /// The name that the stylist uses.
    name: String,
    brand: Option<String>,
    category: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    colours: Vec<Colour>,
    wear_count: Option<u64>,
    price: Option<Price>,
}

#[derive(Deserialize)]
struct Colour {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Price {
    amount: Option<f64>,
    original_currency: Option<String>,
}

/// Reads the wardrobe of the service's user.
///
/// # Errors
/// When the service does not answer, or has no wardrobe.
pub async fn load(service: &Service) -> anyhow::Result<Vec<Piece>> {
    service.list("/api/wardrobe", vec![("pageSize", "100")]).take(MOST_READ).try_collect().await
}

impl Piece {
    /// Formats the piece as a line: name, number of wears, price.
    pub fn line(&self) -> String {
        let worn = match self.wear_count {
            None | Some(0) => "never worn".to_owned(),
            Some(1) => "worn once".to_owned(),
            Some(count) => format!("worn {count} times"),
        };
        let price = self.price.as_ref().and_then(|price| Some((price.amount?, price.original_currency.as_deref())));
        let price = price.map(|(amount, currency)| format!(", {} {amount:.2}", currency.unwrap_or("USD")));
        one_line(&format!("{}, {worn}{}", self.name, price.unwrap_or_default()))
    }

    /// Returns how well the words after "your" match the piece; 4 or more is a match.
    fn fits(&self, said: &[String]) -> u32 {
        let says = |word: &String| said.contains(word);
        let brand = words(self.brand.as_deref().unwrap_or_default());
        let kinds: HashSet<String> = self
            .tags
            .iter()
            .chain(&self.category)
            .flat_map(|text| words(text))
            .map(|word| singular(&word).to_owned())
            .collect();
        let mut points = 0;
        let name = words(&self.name);
        if !name.is_empty() && name.iter().all(says) {
            points += 4;
        }
        if !brand.is_empty() && brand.iter().all(says) {
            points += 3;
        }
        if self.colours.iter().flat_map(|colour| words(&colour.name)).any(|word| says(&word)) {
            points += 2;
        }
        if said.iter().any(|word| kinds.contains(singular(word))) {
            points += 2;
        }
        points
    }
}

/// Returns the pieces that a text names as the reader's ("your navy Uniqlo shirt"), each once, in the order of the
/// text.
pub fn named<'a>(text: &str, pieces: &'a [Piece]) -> Vec<&'a Piece> {
    let mut found: Vec<&Piece> = Vec::new();
    for (position, _) in text.match_indices("our ") {
        let mut before = text[..position].chars().rev();
        let is_your = matches!(before.next(), Some('y' | 'Y')) && !before.next().is_some_and(char::is_alphanumeric);
        if !is_your {
            continue;
        }
        let ends = |character| matches!(character, '\n' | '.' | ',' | ';' | ':' | '(' | ')' | '!' | '?');
        let phrase = text[position + "our ".len()..].split(ends).next().unwrap_or_default();
        let said: Vec<String> = words(phrase).into_iter().take(LONGEST_NAME).collect();
        // The first of the best ones.
        let best = pieces.iter().rev().max_by_key(|piece| piece.fits(&said)).filter(|piece| piece.fits(&said) >= 4);
        if let Some(best) = best
            && found.len() < MOST_SHOWN
            && found.iter().all(|known| known.id != best.id)
        {
            found.push(best);
        }
    }
    found
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn singular(word: &str) -> &str {
    word.strip_suffix('s').unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_are_found_by_how_they_are_called() {
        let pieces: Vec<Piece> = serde_json::from_value(json!([
            { "id": "a", "name": "navy Uniqlo button-down", "brand": "Uniqlo", "category": "Tops", "tags": ["button-down", "dinner"], "colours": [{ "name": "Navy" }],
              "wearCount": 4, "price": { "amount": 39.9, "originalCurrency": "EUR" } },
            { "id": "b", "name": "grey Uniqlo sweater", "brand": "Uniqlo", "category": "Knitwear", "tags": ["sweater"], "colours": [{ "name": "grey" }], "wearCount": 1 },
            { "id": "c", "name": "brown Carmina loafers", "brand": "Carmina", "category": "Shoes", "tags": ["loafers"],
              "colours": [{ "name": "brown" }] },
            { "id": "d", "name": "white top", "category": "Tops", "tags": ["gift from mum"] },
        ]))
        .unwrap();
        let text = "- Top: your navy Uniqlo button-down, a safe choice.\n- Shoes: Your brown loafers. Of your colour, our navy one.\n\
                    Your navy Uniqlo button-down again; four shoes. Your white top";
        let lines: Vec<String> = named(text, &pieces).into_iter().map(Piece::line).collect();
        assert_eq!(
            lines,
            [
                "navy Uniqlo button-down, worn 4 times, EUR 39.90",
                "brown Carmina loafers, never worn",
                "white top, never worn"
            ]
        );
        assert_eq!(pieces[1].line(), "grey Uniqlo sweater, worn once");
    }
}
