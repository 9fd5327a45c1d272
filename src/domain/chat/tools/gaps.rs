//! Gaps in the wardrobe, measured against the styles that the user likes.

use std::cmp::Reverse;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use serde::Serialize;
use utoipa::ToSchema;

use super::{NoArguments, Tally, Tool, ToolError, ToolParts, Traits, no_parameters, read_arguments};
use crate::base::text::{cut, cut_each};
use crate::domain::best::Best;
use crate::domain::style;
use crate::llm::{CallContext, ToolSpec};
use crate::model::garment::Garment;
use crate::model::ids::{ItemId, UserId};
use crate::model::vocabulary::Category;
use crate::model::wardrobe::WardrobeItem;

/// Owned pieces to build around.
const MAX_ANCHORS: usize = 3;

/// Most styles of the profile that are considered, favourite first.
const MAX_STYLES: usize = 10;

/// A category with too few items. Fields in this order.
#[derive(Debug, Serialize, ToSchema)]
struct Gap {
    category: &'static str,
    current: u32,
    recommended: u32,
    shortage: u32,
    example_items: Vec<String>,
    suggestion: String,
}

/// One of the most worn pieces. Fields in this order.
#[derive(Debug, Serialize, ToSchema)]
struct Anchor {
    id: ItemId,
    category: Option<String>,
    brand: Option<String>,
    colours: Vec<String>,
    /// Display name.
    name: String,
}

impl From<&WardrobeItem> for Anchor {
    fn from(item: &WardrobeItem) -> Self {
        Self {
            id: item.id.clone(),
            category: item.category.as_deref().map(|category| cut(category, 40)),
            brand: item.brand.as_deref().map(|brand| cut(brand, 60)),
            colours: cut_each(item.colours.iter().map(|colour| &colour.name), 30, 3),
            name: Garment::from(item).name,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Analysis {
    /// The largest shortage first.
    gaps: Vec<Gap>,
    styles_considered: Vec<String>,
    anchor_pieces: Vec<Anchor>,
}

/// Compares the wardrobe with the baselines of its owner's styles.
pub struct AnalyzeWardrobeGaps(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for AnalyzeWardrobeGaps {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "analyze_wardrobe_gaps",
            description: "Compares how many pieces of each category the user owns with what their styles call for. Returns the \
                          categories that fall short with example pieces. Use it for what is missing or worth buying.",
            parameters: no_parameters(),
        }
    }

    fn traits(&self) -> Traits {
        Traits::reads("Find gaps in the wardrobe").result::<Analysis>()
    }

    async fn run(&self, user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let NoArguments {} = read_arguments(arguments)?;
        let (mut styles, mut preferred_colour) = (Vec::new(), None);
        if let Some(profile) = self.0.base.data.profiles.find(user).await? {
            styles = cut_each(&profile.style_preferences, 60, MAX_STYLES);
            preferred_colour = cut_each(&profile.preferred_colours, 30, 1).pop();
        }
        let mut owned: Vec<(Category, u32)> = Vec::new();
        let mut colours = Tally::default();
        let mut anchors = Best::new(MAX_ANCHORS);
        let _turn = self.0.large_reads.wait(user).await;
        let mut items = pin!(self.0.base.data.wardrobe.owned(user));
        while let Some(item) = items.try_next().await? {
            if let Some(category) = item.category.as_deref().and_then(Category::of_text) {
                match owned.iter_mut().find(|(known, _)| *known == category) {
                    Some((_, count)) => *count += 1,
                    None => owned.push((category, 1)),
                }
            }
            item.colours.iter().for_each(|colour| colours.add(&colour.name));
            // Most worn first, then newest, then by id.
            anchors.offer((item.wear_count, item.date_added, Reverse(item.id.clone())), || Anchor::from(&item));
        }
        let colour = preferred_colour.or_else(|| colours.top(1).0.pop().map(|(name, _)| name));
        let analysis = Analysis {
            gaps: gaps(&styles, &owned, colour.as_deref()),
            styles_considered: if styles.is_empty() { vec!["default".to_owned()] } else { styles },
            anchor_pieces: anchors.into_sorted().map(|(_, anchor)| anchor).collect(),
        };
        Ok(serde_json::to_string(&analysis)?)
    }
}

/// Returns the categories with too few items, largest shortage first.
fn gaps(styles: &[String], owned: &[(Category, u32)], colour: Option<&str>) -> Vec<Gap> {
    let wanted = style::mean_baseline(styles.iter().map(String::as_str));
    let mut gaps: Vec<Gap> = wanted
        .into_iter()
        .filter_map(|(category, recommended)| {
            let current = owned.iter().find(|(known, _)| *known == category).map_or(0, |(_, count)| *count);
            let shortage = recommended.checked_sub(current).filter(|shortage| *shortage > 0)?;
            let example_items: Vec<String> = style::example_pieces(category)
                .iter()
                .map(|piece| match colour {
                    Some(colour) => format!("{} {piece}", colour.to_lowercase()),
                    None => (*piece).to_owned(),
                })
                .collect();
            let name = category.name();
            let pieces = if shortage == 1 { "piece" } else { "pieces" };
            let examples = example_items[..2].join(" or ");
            let suggestion = format!("Add {shortage} {pieces} of {name}, for example {examples}.");
            Some(Gap { category: name, current, recommended, shortage, example_items, suggestion })
        })
        .collect();
    gaps.sort_by_key(|gap| Reverse(gap.shortage));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_what_the_baseline_has_more_of() {
        let owned = [(Category::Tops, 9), (Category::Bottoms, 4), (Category::Shoes, 1)];
        let gaps = gaps(&["Minimalist".to_owned()], &owned, Some("Navy"));
        let numbers: Vec<_> =
            gaps.iter().map(|gap| (gap.category, gap.current, gap.recommended, gap.shortage)).collect();
        assert_eq!(numbers, [("outerwear", 0, 1, 1), ("shoes", 1, 2, 1), ("accessories", 0, 1, 1)]);
        assert_eq!(gaps[1].example_items[0], "navy low-top sneakers");
        assert_eq!(
            gaps[1].suggestion,
            "Add 1 piece of shoes, for example navy low-top sneakers or navy high-top sneakers."
        );
    }
}
