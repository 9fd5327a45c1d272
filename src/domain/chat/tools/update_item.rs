//! Changes the fields of a piece.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{MAX_COMPLAINT, Tool, ToolError, ToolParts, Traits, parameters, read_arguments};
use crate::base::schema::schema_of;
use crate::base::text::cut;
use crate::data::wardrobe::OWN_FIELDS;
use crate::domain::transfer;
use crate::domain::wardrobe;
use crate::domain::wardrobe::fields::ItemFields;
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::{ItemId, UserId};
use crate::model::tool_results::CompactItem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateItemArguments {
    item_id: ItemId,
    changes: Map<String, Value>,
}

#[derive(Serialize, ToSchema)]
struct UpdatedItem {
    item: CompactItem,
}

/// Changes fields of an item.
pub struct UpdateItem(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for UpdateItem {
    fn spec(&self) -> ToolSpec {
        let mut changes = schema_of::<ItemFields>();
        // Move the referenced schemas to the top level.
        let definitions = changes.as_object_mut().and_then(|schema| schema.remove("$defs")).unwrap_or_default();
        changes["description"] = json!("The fields to change. Others stay as they are; null clears a field.");
        changes["additionalProperties"] = json!(false);
        let mut parameters = parameters(
            json!({
                "item_id": { "type": "string", "description": "The piece, by the id that search_wardrobe returned." },
                "changes": changes,
            }),
            &["item_id", "changes"],
        );
        parameters["$defs"] = definitions;
        ToolSpec {
            name: "update_item",
            description: "Changes what is known of a piece of the wardrobe: its tags, colours, brand, category, price, notes, \
                          size, condition or care, or whether it is a wish. Wears and the picture stay.",
            parameters,
        }
    }

    fn traits(&self) -> Traits {
        Traits::replaces("Update an item").result::<UpdatedItem>()
    }

    async fn run(&self, user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let UpdateItemArguments { item_id, changes } = read_arguments(arguments)?;
        let names: Vec<&str> = OWN_FIELDS.into_iter().filter(|name| changes.contains_key(*name)).collect();
        if names.is_empty() || names.len() < changes.len() {
            let known = OWN_FIELDS.join(", ");
            return Err(ToolError::BadArguments(format!("changes has one or more of {known}, and nothing else")));
        }
        // Nobody looks at a form here, so a mistake must be noticed.
        transfer::item_fields(&changes).map_err(|fault| ToolError::BadArguments(cut(&fault, MAX_COMPLAINT)))?;
        let fields: ItemFields = serde_json::from_value(changes.clone().into())
            .map_err(|error| ToolError::BadArguments(cut(&error.to_string(), MAX_COMPLAINT)))?;
        let changed = wardrobe::change(&self.0.base.data, user, &item_id, &names, fields).await?;
        let item = changed.ok_or_else(ToolError::no_item)?;
        Ok(serde_json::to_string(&UpdatedItem { item: CompactItem::from(&item) })?)
    }
}
