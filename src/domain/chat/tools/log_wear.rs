//! Logs that a piece was worn.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::macros::time;
use time::{OffsetDateTime, Time, UtcOffset};
use utoipa::ToSchema;

use super::{Tool, ToolError, ToolParts, Traits, check_key, key_parameter, parameters, read_arguments};
use crate::base::local_offset::LocalOffset;
use crate::data::wardrobe::Worn;
use crate::domain::wardrobe::fields::LONGEST_ELEMENT;
use crate::domain::wardrobe::wears::{self, CLOCK_ERROR, NewWearFields, WeatherFields};
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::{ItemId, UserId};
use crate::model::timestamp::{Timestamp, Written};
use crate::model::tool_results::CompactItem;

/// Time of a wear of which only the day is known.
const NOON: Time = time!(12:00);
/// Source of wears logged by programs.
const SOURCE: &str = "assistant";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogWearArguments {
    item_id: ItemId,
    idempotency_key: String,
    worn_at: Option<String>,
    occasion: Option<String>,
    celsius: Option<f64>,
    conditions: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct LoggedWear {
    /// `false` if a wear with this key was already counted.
    counted: bool,
    item: CompactItem,
}

/// Counts a wear of an item.
pub struct LogWear(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for LogWear {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "log_wear",
            description: "Logs that the user wore a piece of their wardrobe. One call per piece and occasion. Use it when they \
                          say what they wore or will wear today, not for suggestions.",
            parameters: parameters(
                json!({
                    "item_id": { "type": "string", "description": "The piece, by the id that search_wardrobe returned." },
                    "idempotency_key": key_parameter("the wear, for example the day and the occasion"),
                    "worn_at": { "type": "string", "description": "When, as an ISO 8601 time or day, of the user's clock unless it has an offset; now without it." },
                    "occasion": { "type": "string", "maxLength": 200 },
                    "celsius": { "type": "number", "description": "The temperature, if the user named it." },
                    "conditions": { "type": "string", "maxLength": 200, "description": "The weather in a word or two." },
                }),
                &["item_id", "idempotency_key"],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::adds("Log a wear").result::<LoggedWear>()
    }

    async fn run(&self, user: &UserId, context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let base = &self.0.base;
        let now = base.clock.now();
        let LogWearArguments { item_id, idempotency_key, worn_at, occasion, celsius, conditions } =
            read_arguments(arguments)?;
        let occurred_at = worn_at.as_deref().map(|text| read_time(text, context.offset, now)).transpose()?;
        for (name, text) in [("occasion", &occasion), ("conditions", &conditions)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_ELEMENT) {
                return Err(ToolError::BadArguments(format!("{name} may have at most {LONGEST_ELEMENT} characters")));
            }
        }
        let fields = NewWearFields {
            client_event_id: Some(check_key(&idempotency_key)?),
            source: Some(SOURCE.to_owned()),
            occurred_at,
            occasion,
            styling_activity_id: None,
            weather_snapshot: WeatherFields::known(celsius, conditions),
        };
        let (counted, item) = match wears::log(&base.data, user, &item_id, fields, now).await? {
            Worn::Counted(item) => (true, item),
            Worn::Repeated(item) => (false, item),
            Worn::Draft => return Err(ToolError::Refused("Draft items cannot be worn.".to_owned())),
            Worn::Missing => return Err(ToolError::no_item()),
        };
        Ok(serde_json::to_string(&LoggedWear { counted, item: CompactItem::new(&item, context.offset) })?)
    }
}

/// Reads when it was worn, as a person writes it whose clock has this UTC offset. A day means its noon: so it stays the
/// same day for the same person with another offset, such as after the change to daylight saving time. All wears of a
/// day have the same time, so they count as worn together.
fn read_time(text: &str, offset: LocalOffset, now: OffsetDateTime) -> Result<Timestamp, ToolError> {
    let latest = now + CLOCK_ERROR;
    let at = match Written::parse(text) {
        Some(Written::Moment(at)) => at.checked_to_offset(UtcOffset::UTC),
        Some(Written::Zoneless(shown)) => offset.moment(shown),
        // The noon of the last day that is accepted may be too late.
        Some(Written::Day(day)) => offset
            .moment(day.with_time(NOON))
            .map(|noon| if day <= offset.day(latest) { noon.min(latest) } else { noon }),
        None => None,
    };
    let complaint = match at {
        Some(at) if at <= latest => return Ok(at.into()),
        Some(_) => "worn_at must not be in the future",
        None => "worn_at is a day such as 2026-03-10 or a time such as 2026-03-10T18:00:00Z",
    };
    Err(ToolError::BadArguments(complaint.to_owned()))
}
