//! Usage of models: the caller's and, for administrators, all users'.

use axum::extract::State;
use serde::Serialize;
use time::{Date, Duration};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::data::usage::KEPT_DAYS;
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppQuery, Fields, Read};
use crate::http::layers::auth::CurrentUser;
use crate::model::ids::UserId;
use crate::model::prices::Prices;
use crate::model::usage::{ModelUsage, UsageDay};
use crate::state::AppState;

/// Default number of listed days, including today.
const DEFAULT_DAYS: i64 = 30;
/// Entries (user and day) per page for administrators.
const PAGE: usize = 100;

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_usage))
}

/// Routes for administrators.
pub fn admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_all_usage))
}

/// Model calls of one day, by one model.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageResponse {
    /// The UTC day, as `2026-03-02`.
    #[schema(format = Date)]
    date: String,
    model: String,
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// Cost as an exact decimal, in the currency of `MODEL_PRICES`; absent if the model has no price.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<String>,
}

impl UsageResponse {
    fn new(date: &str, usage: ModelUsage, prices: &Prices) -> Self {
        Self {
            date: date.to_owned(),
            cost: prices.cost(&usage).map(|cost| cost.to_string()),
            model: usage.model,
            calls: usage.calls,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
        }
    }
}

/// Returns a user's day as the API shows it: an entry per model.
pub fn of_user(day: UsageDay, prices: &Prices) -> impl Iterator<Item = UsageResponse> {
    let UsageDay { date, models, .. } = day;
    models.into_iter().map(move |usage| UsageResponse::new(&date, usage, prices))
}

struct ListUsageRequest {
    days: i64,
}

impl Read for ListUsageRequest {
    fn read(fields: &mut Fields) -> Self {
        Self { days: read_days(fields) }
    }
}

described!(ListUsageRequest);

fn read_days(fields: &mut Fields) -> i64 {
    fields.integer_within("days", DEFAULT_DAYS, 1..=i64::from(KEPT_DAYS))
}

/// Returns the first of this many days up to today.
pub fn first_of(days: i64, today: Date) -> Date {
    today.saturating_sub(Duration::days(days - 1))
}

#[derive(Serialize, ToSchema)]
struct ListUsageResponse {
    days: Vec<UsageResponse>,
}

/// Lists the caller's model usage by day and model, newest first.
#[utoipa::path(get, path = "/api/usage", params(ListUsageRequest), responses((status = 200, body = ListUsageResponse)))]
async fn list_usage(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppQuery(request): AppQuery<ListUsageRequest>,
) -> Result<AppJson<ListUsageResponse>, ApiError> {
    let first = first_of(request.days, app.clock.now().date());
    let days = app.data.usage.days(&user, first).await?;
    let days = days.into_iter().flat_map(|day| of_user(day, &app.config.model_prices)).collect();
    Ok(AppJson(ListUsageResponse { days }))
}

struct ListAllUsageRequest {
    days: i64,
    after: Option<String>,
}

impl Read for ListAllUsageRequest {
    fn read(fields: &mut Fields) -> Self {
        Self { days: read_days(fields), after: fields.continuation_token() }
    }
}

described!(ListAllUsageRequest);

/// Model calls of one user and day, by one model.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserUsageResponse {
    /// The user who is charged; null for the service itself.
    user_id: Option<UserId>,
    #[serde(flatten)]
    usage: UsageResponse,
}

/// Returns a payer's day as the API shows it to administrators: an entry per model.
pub fn with_payer(day: UsageDay, prices: &Prices) -> impl Iterator<Item = UserUsageResponse> {
    let user_id = day.payer().cloned();
    of_user(day, prices).map(move |usage| UserUsageResponse { user_id: user_id.clone(), usage })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListAllUsageResponse {
    days: Vec<UserUsageResponse>,
    next_continuation_token: Option<String>,
}

/// Lists the model usage of all users by day, user and model, newest first.
#[utoipa::path(get, path = "/api/admin/usage", params(ListAllUsageRequest), responses(
    (status = 200, body = ListAllUsageResponse)
))]
async fn list_all_usage(
    State(app): State<AppState>,
    AppQuery(request): AppQuery<ListAllUsageRequest>,
) -> Result<AppJson<ListAllUsageResponse>, ApiError> {
    let first = first_of(request.days, app.clock.now().date());
    let (days, next_continuation_token) = app.data.usage.page(first, request.after, PAGE).await?;
    let days = days.into_iter().flat_map(|day| with_payer(day, &app.config.model_prices)).collect();
    Ok(AppJson(ListAllUsageResponse { days, next_continuation_token }))
}
