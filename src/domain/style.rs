//! Typical wardrobes by style, and pieces that would fill a gap.
//!
//! Numbers and pieces are defined by the product, not measured.

use std::collections::BTreeMap;

use crate::model::vocabulary::{self, Category};

use Category::{Accessories, Activewear, Bottoms, Dresses, Knitwear, Outerwear, Shoes, Swimwear, Tops};

/// Number of pieces per category in a balanced wardrobe.
pub type Baseline = &'static [(Category, u32)];

/// Baseline for unknown styles, and for users without one.
const DEFAULT: Baseline = &[(Tops, 5), (Bottoms, 4), (Outerwear, 1), (Shoes, 2), (Accessories, 2)];

const BASELINES: &[(&str, Baseline)] = &[
    ("streetwear", &[(Tops, 6), (Bottoms, 4), (Outerwear, 2), (Shoes, 3), (Accessories, 2)]),
    ("minimalist", &[(Tops, 5), (Bottoms, 4), (Outerwear, 1), (Shoes, 2), (Accessories, 1)]),
    ("preppy", &[(Tops, 5), (Bottoms, 4), (Outerwear, 2), (Shoes, 3), (Accessories, 3)]),
    ("smart casual", &[(Tops, 6), (Bottoms, 4), (Outerwear, 2), (Shoes, 3), (Accessories, 2)]),
    ("athleisure", &[(Tops, 6), (Bottoms, 4), (Shoes, 3), (Accessories, 2), (Activewear, 3)]),
    ("bohemian", &[(Tops, 5), (Bottoms, 3), (Outerwear, 1), (Accessories, 4), (Dresses, 3)]),
    ("classic", &[(Tops, 5), (Bottoms, 4), (Outerwear, 2), (Shoes, 3), (Accessories, 3)]),
    ("techwear", &[(Tops, 5), (Bottoms, 4), (Outerwear, 3), (Shoes, 2), (Accessories, 3)]),
    ("y2k", &[(Tops, 6), (Bottoms, 4), (Shoes, 3), (Accessories, 4), (Dresses, 2)]),
];

/// Returns the baseline of a style, ignoring case and how its words are joined.
pub fn baseline(style: &str) -> Baseline {
    let wanted = vocabulary::words(style).join(" ");
    BASELINES.iter().find(|(name, _)| *name == wanted).map_or(DEFAULT, |(_, baseline)| baseline)
}

/// Returns pieces that would fill a gap in a category.
pub const fn example_pieces(category: Category) -> &'static [&'static str] {
    match category {
        Bottoms => &["cargo pants", "joggers", "slim jeans", "shorts", "chinos"],
        Shoes => &["low-top sneakers", "high-top sneakers", "boots", "slides", "loafers"],
        Outerwear => &["zip-up hoodie", "bomber jacket", "lightweight jacket", "puffer jacket"],
        Accessories => &["cap", "crossbody bag", "chain", "belt", "beanie"],
        Tops => &["graphic tee", "polo shirt", "long-sleeve tee", "hoodie"],
        Knitwear => &["crew-neck sweater", "cardigan", "knit vest"],
        Activewear => &["training shorts", "compression leggings", "athletic tee"],
        Dresses => &["midi dress", "slip dress", "shirt dress"],
        Swimwear => &["swim shorts", "bikini set", "one-piece"],
    }
}

/// Averages the baselines of `styles` (the default if there are none), rounding halves up. A category missing in a
/// style counts as zero.
pub fn mean_baseline<'a>(styles: impl IntoIterator<Item = &'a str>) -> Vec<(Category, u32)> {
    let mut baselines: Vec<Baseline> = styles.into_iter().map(baseline).collect();
    if baselines.is_empty() {
        baselines.push(DEFAULT);
    }
    let mut sums: BTreeMap<Category, u32> = BTreeMap::new();
    for (category, number) in baselines.iter().copied().flatten() {
        *sums.entry(*category).or_default() += number;
    }
    let count = u32::try_from(baselines.len()).unwrap_or(u32::MAX);
    let means = sums.into_iter().map(|(category, sum)| (category, (sum + count / 2) / count));
    means.filter(|(_, mean)| *mean > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_is_found_however_it_is_written() {
        assert_eq!(baseline("Smart-Casual"), baseline("smart casual"));
        assert_ne!(baseline("Y2K"), DEFAULT);
        assert_eq!(baseline("steampunk"), DEFAULT);
    }

    #[test]
    fn the_mean_counts_what_a_style_does_without_as_zero() {
        // Athleisure has no outerwear and techwear three; for activewear it is the reverse.
        let mean = mean_baseline(["athleisure", "techwear"]);
        assert_eq!(mean, [(Tops, 6), (Bottoms, 4), (Outerwear, 2), (Shoes, 3), (Accessories, 3), (Activewear, 2)]);
    }

    #[test]
    fn without_a_style_the_default_holds() {
        assert_eq!(mean_baseline([]), DEFAULT);
    }
}
