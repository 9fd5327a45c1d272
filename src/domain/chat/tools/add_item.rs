//! Adds a piece to the wardrobe, from a picture on the web. The picture becomes a draft, which a worker finishes; a
//! later call with the same key accepts it. The draft's id is derived from the key, so that concurrent calls, and calls
//! after a crash, find the same draft.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Tool, ToolError, ToolParts, Traits, check_key, key_parameter, parameters, read_arguments};
use crate::base::text::cut;
use crate::domain::drafts::{Accepted, Upload};
use crate::domain::quota::QuotaKind;
use crate::imaging::decode::Format;
use crate::llm::{CallContext, ToolSpec};
use crate::model::draft::{DraftItem, DraftStatus};
use crate::model::ids::{ItemId, UserId};
use crate::model::tool_results::CompactItem;
use crate::net::guarded::{Expect, FetchLimits};

/// Longest URL of a picture, in bytes.
const LONGEST_URL: usize = 2048;
/// Longest reason why there is no picture, in characters: it may quote the site.
const LONGEST_REASON: usize = 200;
/// Time limit for the picture's site: shorter than that of a tool.
const PATIENCE: Duration = Duration::from_secs(12);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddItemArguments {
    picture_url: String,
    idempotency_key: String,
    #[serde(default)]
    keep_background: bool,
    #[serde(default)]
    is_wishlisted: bool,
}

/// Progress of adding a piece.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Stage {
    /// The picture is being processed: call again in a few seconds.
    Processing,
    /// The piece is in the wardrobe.
    Added,
    /// The item's picture could not be used.
    Failed,
}

#[derive(Serialize, ToSchema)]
struct AddedItem {
    id: ItemId,
    status: Stage,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<CompactItem>,
}

/// Adds an item by the URL of its picture.
pub struct AddItem(pub(super) Arc<ToolParts>);

impl AddItem {
    /// Fetches the picture and creates a draft from it.
    async fn begin(&self, user: &UserId, key: &str, arguments: &AddItemArguments) -> Result<DraftItem, ToolError> {
        let limits = FetchLimits { time: PATIENCE, ..FetchLimits::default() };
        let fetched = self.0.base.web.get(&arguments.picture_url, Expect::Image, limits).await;
        let fetched = fetched.map_err(|error| {
            let reason = cut(&error.to_string(), LONGEST_REASON);
            ToolError::Refused(format!("No picture there: {reason}."))
        })?;
        if Format::of(&fetched.body).is_none() {
            return Err(ToolError::Refused("No picture there: unsupported or corrupt image.".to_owned()));
        }
        let upload = Upload {
            photo: fetched.body,
            skip_segmentation: arguments.keep_background,
            is_wishlisted: arguments.is_wishlisted,
        };
        Ok(self.0.drafts.upload_once(user, key, upload).await?)
    }
}

#[async_trait]
impl Tool for AddItem {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "add_item",
            description: "Adds a piece to the wardrobe from the URL of its picture. The background is removed and the piece is \
                          described, which takes some seconds: while the status is processing, call it again with the same \
                          arguments until it is added. Use it when the user wants to have a piece in their wardrobe.",
            parameters: parameters(
                json!({
                    "picture_url": {
                        "type": "string", "format": "uri", "maxLength": LONGEST_URL,
                        "description": "URL of the picture, https or http, which everybody can open.",
                    },
                    "idempotency_key": key_parameter("the piece"),
                    "keep_background": { "type": "boolean", "description": "Whether the picture stays as it is." },
                    "is_wishlisted": { "type": "boolean", "description": "Whether the piece is a wish, not owned yet." },
                }),
                &["picture_url", "idempotency_key"],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::adds("Add an item").outside().counts_as(QuotaKind::Upload).result::<AddedItem>()
    }

    async fn run(&self, user: &UserId, context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let arguments: AddItemArguments = read_arguments(arguments)?;
        let key = check_key(&arguments.idempotency_key)?;
        if arguments.picture_url.len() > LONGEST_URL {
            return Err(ToolError::BadArguments(format!("picture_url may have at most {LONGEST_URL} bytes")));
        }
        let drafts = &self.0.drafts;
        let mut draft = match drafts.find_by_key(user, &key).await? {
            Some(draft) => draft,
            None => self.begin(user, &key, &arguments).await?,
        };
        if draft.draft_status == Some(DraftStatus::Ready)
            && let Accepted::Item(item) = drafts.accept(user, &draft.id).await?
        {
            draft = *item;
        }
        let (status, note) = match draft.draft_status {
            None => (Stage::Added, None),
            Some(DraftStatus::Failed) => (Stage::Failed, draft.draft_error.clone()),
            Some(DraftStatus::Processing | DraftStatus::Ready) => {
                (Stage::Processing, Some("Call again in some seconds with the same arguments.".to_owned()))
            }
        };
        let id = draft.id.clone();
        let item = match status {
            Stage::Added => Some(CompactItem::new(&draft.into_item()?, context.offset)),
            Stage::Processing | Stage::Failed => None,
        };
        Ok(serde_json::to_string(&AddedItem { id, status, note, item })?)
    }
}
