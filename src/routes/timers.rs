//! Timers: last and next runs, and running one now.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::future::try_join_all;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::data::lease::Leased;
use crate::http::error::ApiError;
use crate::http::extract::{AppJson, AppPath};
use crate::model::schedule::Schedule;
use crate::model::timer::TimerState;
use crate::model::timestamp::Timestamp;
use crate::state::{AppState, TimerStart};

/// Routes for administrators.
pub fn admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_timers)).routes(routes!(run_timer))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TimerResponse {
    /// Name of the function.
    name: &'static str,
    /// Six fields in UTC: second, minute, hour, day, month, weekday.
    schedule: String,
    is_running: bool,
    /// The next due time; null for a schedule that never fires.
    next_due: Option<Timestamp>,
    /// The newest due time that was handled.
    last_due: Option<Timestamp>,
    /// End of the last run that has ended, if it succeeded.
    completed_at: Option<Timestamp>,
    /// End of the last run that has ended, if it failed.
    failed_at: Option<Timestamp>,
    /// Reason of the last failure, if the last run failed.
    last_error: Option<String>,
}

impl TimerResponse {
    fn new(name: &'static str, schedule: &Schedule, state: Option<TimerState>, now: Timestamp) -> Self {
        let next_due = schedule.next(now.get()).map(Timestamp::from);
        let shown = Self {
            name,
            schedule: schedule.to_string(),
            is_running: false,
            next_due,
            last_due: None,
            completed_at: None,
            failed_at: None,
            last_error: None,
        };
        let Some(state) = state else { return shown };
        Self {
            is_running: state.lease().is_live(now, TimerState::LONGEST),
            last_due: Some(state.last_due),
            // A new timer counts as done without a run.
            completed_at: state.completed_at.filter(|_| state.attempts > 0),
            failed_at: state.failed_at,
            last_error: state.last_error.filter(|_| state.failed_at.is_some()),
            ..shown
        }
    }
}

#[derive(Serialize, ToSchema)]
struct ListTimersResponse {
    timers: Vec<TimerResponse>,
}

/// Lists the timers with their last and next run. Runs that the Functions host started are in its own records.
#[utoipa::path(get, path = "/api/admin/timers", responses((status = 200, body = ListTimersResponse)))]
async fn list_timers(State(app): State<AppState>) -> Result<AppJson<ListTimersResponse>, ApiError> {
    let now = app.clock.now().into();
    let (data, timers) = (&app.data, &app.timers.all);
    let timers = timers.iter().map(|(name, schedule)| async move {
        let state = data.timers.find(name).await?;
        Ok::<_, ApiError>(TimerResponse::new(name, schedule, state, now))
    });
    Ok(AppJson(ListTimersResponse { timers: try_join_all(timers).await? }))
}

#[derive(Serialize, ToSchema)]
struct RunTimerResponse {
    name: String,
    status: &'static str,
}

/// Runs a timer now.
///
/// It runs once, in the background, under the lease that its due times take.
#[utoipa::path(post, path = "/api/admin/timers/{name}/run", params(("name" = String, Path, example = "PluckItJobSweeper")), responses(
    (status = 202, body = RunTimerResponse, description = "The timer was started."),
    (status = 404, description = "Timer not found."),
    (status = 409, description = "The timer is running already.")
))]
async fn run_timer(State(app): State<AppState>, AppPath(name): AppPath<String>) -> Result<Response, ApiError> {
    match (app.timers.start)(&app, &name).await? {
        TimerStart::Started => {
            Ok((StatusCode::ACCEPTED, AppJson(RunTimerResponse { name, status: "started" })).into_response())
        }
        TimerStart::UnderWay(_) => Err(ApiError::Conflict("The timer is running already.")),
        TimerStart::Missing => Err(ApiError::NotFound("Timer not found.")),
    }
}
