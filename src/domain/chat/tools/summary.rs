//! The tool that summarizes the wardrobe.

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use serde::Serialize;
use utoipa::ToSchema;

use super::spending::Spending;
use super::{NoArguments, Tally, Tool, ToolError, ToolParts, Traits, no_parameters, read_arguments};
use crate::base::text::cut;
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::UserId;
use crate::model::tool_results::Spent;

/// The wardrobe in numbers.
#[derive(Serialize, ToSchema)]
struct Summary {
    total_items: u64,
    /// The 15 largest categories.
    by_category: Tally,
    /// The 10 colours that most items have.
    top_colours: Tally,
    spent: Spent,
}

/// Counts the user's clothes.
pub struct GetWardrobeSummary(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for GetWardrobeSummary {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "get_wardrobe_summary",
            description: "Counts the clothes that the user owns: in all, by category, and by colour, and what they cost in \
                          the user's currency. Use it for questions about the wardrobe as a whole.",
            parameters: no_parameters(),
        }
    }

    fn traits(&self) -> Traits {
        Traits::reads("Summarise the wardrobe").result::<Summary>()
    }

    async fn run(&self, user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let NoArguments {} = read_arguments(arguments)?;
        let mut total_items = 0;
        let mut by_category = Tally::default();
        let mut colours = Tally::default();
        let profile = self.0.base.data.profiles.find(user).await?;
        let currency =
            profile.map_or_else(|| "USD".to_owned(), |profile| cut(&profile.currency_code, 12).to_uppercase());
        let rates = self.0.rates.current().await;
        let mut spent = Spending::default();
        let _turn = self.0.large_reads.wait(user).await;
        let mut items = pin!(self.0.base.data.wardrobe.owned(user));
        while let Some(item) = items.try_next().await? {
            total_items += 1;
            let category = item.category.as_deref().filter(|category| !category.trim().is_empty());
            by_category.add(category.unwrap_or("uncategorised"));
            spent.add(&item, &rates, &currency);
            let mut names: Vec<String> = item.colours.iter().map(|colour| colour.name.trim().to_lowercase()).collect();
            names.sort();
            names.dedup();
            names.iter().for_each(|name| colours.add(name));
        }
        let spent = spent.told(currency);
        let summary = Summary { total_items, by_category: by_category.top(15), top_colours: colours.top(10), spent };
        Ok(serde_json::to_string(&summary)?)
    }
}
