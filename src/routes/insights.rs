//! Wardrobe statistics.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::insights::{DEFAULT_TARGET, DEFAULT_WINDOW, LONGEST_WINDOW, Question};
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppQuery, Fields, Read};
use crate::http::layers::auth::CurrentUser;
use crate::http::respond::{IfNoneMatch, conditional_text};
use crate::model::insights::{CpwIntel, VaultInsights};
use crate::state::AppState;

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(find_vault_insights))
}

struct VaultInsightsQuery {
    window_days: i64,
    target_cpw: f64,
}

impl Read for VaultInsightsQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            window_days: fields.integer_within("windowDays", DEFAULT_WINDOW.into(), 1..=LONGEST_WINDOW.into()),
            target_cpw: fields.positive_number("targetCpw", DEFAULT_TARGET),
        }
    }
}

described!(VaultInsightsQuery);

/// Returns wardrobe statistics.
#[utoipa::path(get, path = "/api/insights/vault", params(VaultInsightsQuery, IfNoneMatch), responses(
    (status = 200, body = VaultInsights<Vec<CpwIntel>>)
))]
async fn find_vault_insights(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    headers: HeaderMap,
    AppQuery(query): AppQuery<VaultInsightsQuery>,
) -> Result<Response, ApiError> {
    let question = Question::new(query.window_days, query.target_cpw);
    let question =
        question.ok_or(ApiError::BadRequest("windowDays must be 1 to 3650 and targetCpw greater than 0."))?;
    let found = app.insights.find(&user, question).await;
    let answer = found.map_err(|error| ApiError::failed("Could not compute vault insights.", error))?;
    Ok(conditional_text(&headers, answer.body, &answer.etag))
}
