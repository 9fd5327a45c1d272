//! Wears logged by owners.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tracing::warn;
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::LONGEST_ELEMENT;
use super::{Error, Unfit};
use crate::base::chain::Chain;
use crate::base::hash::sha256_hex_of;
use crate::base::json::object;
use crate::data::Data;
use crate::data::wardrobe::Worn;
use crate::data::wears::NewWear;
use crate::model::ids::{ItemId, UserId};
use crate::model::numbers::{Number, decimal};
use crate::model::styling::ActivityStatus;
use crate::model::timestamp::Timestamp;
use crate::store::Key;

/// Longest text of a wear, in characters.
const LONGEST_TEXT: usize = 200;
/// How far a client's clock may be ahead.
pub const CLOCK_ERROR: Duration = Duration::from_secs(24 * 60 * 60);
/// Source of a wear whose client names none.
const UNKNOWN_SOURCE: &str = "unknown";

/// The weather of a wear.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WeatherRequest)]
pub struct WeatherFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    temp_celsius: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    conditions: Option<String>,
}

impl WeatherFields {
    /// Creates weather from temperature and conditions; `None` if both are unknown.
    pub fn known(celsius: Option<f64>, conditions: Option<String>) -> Option<Self> {
        let temp_celsius = celsius.and_then(decimal).map(Number);
        (temp_celsius.is_some() || conditions.is_some()).then_some(Self { temp_celsius, conditions })
    }

    /// Whether its text is short enough.
    pub fn is_short(&self) -> bool {
        self.conditions.as_ref().is_none_or(|conditions| conditions.chars().count() <= LONGEST_ELEMENT)
    }
}

/// Returns a wear in the form in which an item lists it.
pub fn listed_wear(
    occurred_at: Option<Timestamp>,
    occasion: Option<&str>,
    weather: Option<&WeatherFields>,
) -> Map<String, Value> {
    let fields = json!({ "occurredAt": occurred_at, "occasion": occasion, "weatherSnapshot": weather });
    let fields = fields.as_object().cloned().unwrap_or_default();
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// A wear. All fields may be absent or null, and so may the body.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LogWearRequest)]
pub struct NewWearFields {
    /// The client's id of the wear: sent again, the wear counts once.
    #[schema(max_length = 200)]
    pub client_event_id: Option<String>,
    /// `vault_card`, `item_drawer`, `suggestion_prompt` or another place.
    #[schema(max_length = 200)]
    pub source: Option<String>,
    /// When it was worn; now, if absent.
    pub occurred_at: Option<Timestamp>,
    /// Occasion of the wear.
    #[schema(max_length = 200)]
    pub occasion: Option<String>,
    /// The styling activity that led to the wear.
    #[schema(max_length = 200)]
    pub styling_activity_id: Option<String>,
    /// The weather of that time.
    #[serde(default, deserialize_with = "object")]
    pub weather_snapshot: Option<WeatherFields>,
}

impl NewWearFields {
    fn check(&self, now: OffsetDateTime) -> Result<(), Unfit> {
        let texts = [&self.client_event_id, &self.source, &self.occasion, &self.styling_activity_id];
        let is_short = |text: &String| text.chars().count() <= LONGEST_TEXT;
        let weather = self.weather_snapshot.as_ref();
        if !texts.into_iter().flatten().all(is_short) || !weather.is_none_or(WeatherFields::is_short) {
            return Err(Unfit("A text may have at most 200 characters."));
        }
        if self.occurred_at.is_some_and(|at| at.get() > now + CLOCK_ERROR) {
            return Err(Unfit("occurredAt must not be in the future."));
        }
        Ok(())
    }

    /// Creates the wear to be counted.
    fn wear(self, user: &UserId, item: &ItemId, now: Timestamp) -> NewWear {
        let action = self.client_event_id.filter(|id| !id.trim().is_empty());
        let suffix = match &action {
            Some(action) => sha256_hex_of([item.as_str().as_bytes(), b"\n", action.as_bytes()])[..32].to_owned(),
            None => Uuid::new_v4().simple().to_string(),
        };
        let event_id = Key::composed_id(format!("wear-{item}-{suffix}"));
        let occurred_at = self.occurred_at.unwrap_or(now);
        let listed = listed_wear(Some(occurred_at), self.occasion.as_deref(), self.weather_snapshot.as_ref());
        let source = self.source.filter(|source| !source.trim().is_empty());
        let mut event = listed.clone();
        let more = json!({
            "id": event_id,
            "userId": user,
            "itemId": item,
            "source": source.as_deref().unwrap_or(UNKNOWN_SOURCE),
            "createdAt": now,
        });
        event.extend(more.as_object().cloned().unwrap_or_default());
        if let Some(activity) = self.styling_activity_id {
            event.insert("stylingActivityId".to_owned(), activity.into());
        }
        NewWear { action, occurred_at, listed: listed.into(), event_id, event: event.into() }
    }
}

/// Counts a wear of an item, once per client's id of the wear, and accepts the styling activity that led to it.
///
/// # Errors
/// When the fields break a rule, or the documents fail.
pub async fn log(
    data: &Data,
    user: &UserId,
    item: &ItemId,
    fields: NewWearFields,
    now: OffsetDateTime,
) -> Result<Worn, Error> {
    fields.check(now)?;
    let activity = fields.styling_activity_id.clone().filter(|activity| !activity.trim().is_empty());
    let wear = fields.wear(user, item, now.into());
    let worn = data.wardrobe.add_wear(user, item, &wear).await?;
    if let (Some(activity), Worn::Counted(_) | Worn::Repeated(_)) = (activity, &worn) {
        let accepted = ActivityStatus::Accepted;
        let linked = data.styling.set_status(user, &activity, accepted, Some(&wear.event_id), now.into()).await;
        // The wear is counted; repeating the request links the activity.
        if let Err(error) = linked {
            warn!(user.id = %user, error = %Chain(&error), "styling activity not linked to its wear");
        }
    }
    Ok(worn)
}
