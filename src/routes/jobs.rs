//! Jobs: list, progress, outputs, terminate, restart, delete.
//!
//! A job is visible to its owner and to administrators; for other users it does not exist.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::jobs::{Changed, OutputPath};
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::new_id::NewId;
use crate::http::extract::{AppJson, AppPath, AppQuery, Fields, Read};
use crate::http::layers::auth::CurrentUser;
use crate::http::respond::{AcceptedResponse, LOOK_AGAIN, accepted};
use crate::model::ids::{JobId, UserId};
use crate::model::job::{Change, Job, JobStatus, Output, Progress};
use crate::model::timestamp::Timestamp;
use crate::state::AppState;

const PAGE: usize = 50;
const LONGEST_REASON: usize = 500;
const LONGEST_STATUS: usize = 20;
const NO_JOB: ApiError = ApiError::NotFound("Job not found");
const NO_FILE: ApiError = ApiError::NotFound("File not found");
const BAD_PATH: ApiError = ApiError::BadRequest("Invalid path.");
/// Job outputs are private to their owner.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_jobs))
        .routes(routes!(find_job, purge_job))
        .routes(routes!(terminate_job))
        .routes(routes!(list_outputs))
        .routes(routes!(find_output))
}

/// Routes for users that run a job again.
pub fn user_restarts() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(restart_job))
}

/// Routes for administrators.
pub fn admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_all_jobs))
}

struct ListJobsRequest {
    status: Option<String>,
    after: Option<String>,
}

impl Read for ListJobsRequest {
    fn read(fields: &mut Fields) -> Self {
        let status = fields.filled_text("status", LONGEST_STATUS);
        fields.rule("status", || json!({ "enum": ["", "Pending", "Running", "Completed", "Failed", "Terminated"] }));
        Self { status, after: fields.continuation_token() }
    }
}

described!(ListJobsRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct JobResponse {
    id: JobId,
    /// Only in the list for administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    name: String,
    status: JobStatus,
    created_time: Timestamp,
    last_updated_time: Timestamp,
    custom_status: Option<Progress>,
    input: Value,
    result: Option<Value>,
    error: Option<String>,
    /// Only in the answer for a single job.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<Change>,
}

impl From<Job> for JobResponse {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            user_id: None,
            name: job.name,
            status: job.status,
            created_time: job.created_time,
            last_updated_time: job.last_updated_time,
            custom_status: job.custom_status,
            input: job.input,
            result: job.result,
            error: job.error,
            history: job.history,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListJobsResponse {
    jobs: Vec<JobResponse>,
    next_continuation_token: Option<String>,
}

/// Lists the caller's jobs, newest first.
#[utoipa::path(get, path = "/api/jobs", params(ListJobsRequest), responses(
    (status = 200, body = ListJobsResponse),
    (status = 400, description = "Unknown status.")
))]
async fn list_jobs(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppQuery(request): AppQuery<ListJobsRequest>,
) -> Result<AppJson<ListJobsResponse>, ApiError> {
    let status = request.status.as_deref().map(read_status).transpose()?;
    let (jobs, next_continuation_token) = app.data.jobs.page(Some(&user), status, request.after, PAGE).await?;
    let jobs = jobs.into_iter().map(JobResponse::from).collect();
    Ok(AppJson(ListJobsResponse { jobs, next_continuation_token }))
}

/// Lists the jobs of all users, newest first.
#[utoipa::path(get, path = "/api/admin/jobs", params(ListJobsRequest), responses(
    (status = 200, body = ListJobsResponse),
    (status = 400, description = "Unknown status.")
))]
async fn list_all_jobs(
    State(app): State<AppState>,
    AppQuery(request): AppQuery<ListJobsRequest>,
) -> Result<AppJson<ListJobsResponse>, ApiError> {
    let status = request.status.as_deref().map(read_status).transpose()?;
    let (jobs, next_continuation_token) = app.data.jobs.page(None, status, request.after, PAGE).await?;
    let owned = |job: Job| JobResponse { user_id: Some(job.user_id.clone()), ..job.into() };
    Ok(AppJson(ListJobsResponse { jobs: jobs.into_iter().map(owned).collect(), next_continuation_token }))
}

fn read_status(name: &str) -> Result<JobStatus, ApiError> {
    const EXPECTED: &str = "status must be 'Pending', 'Running', 'Completed', 'Failed' or 'Terminated'";
    JobStatus::parse(name).ok_or(ApiError::BadRequest(EXPECTED))
}

/// Returns a job with its progress and history.
#[utoipa::path(get, path = "/api/jobs/{job_id}", params(("job_id" = JobId, Path, example = "0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3d")), responses(
    (status = 200, body = JobResponse, headers(
        ("retry-after" = Option<u32>, description = "Seconds until the next poll; absent when the job has ended.")
    )),
    (status = 404, description = "Job not found.")
))]
async fn find_job(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<JobId>,
) -> Result<Response, ApiError> {
    let job = load(&app, &user, &id).await?;
    let is_final = job.status.is_final();
    let mut response = AppJson(JobResponse::from(job)).into_response();
    if !is_final {
        response.headers_mut().insert(RETRY_AFTER, LOOK_AGAIN);
    }
    Ok(response)
}

/// Loads a job that the caller may see.
async fn load(app: &AppState, user: &UserId, id: &JobId) -> Result<Job, ApiError> {
    let found = match app.jobs.find(user, id).await? {
        None if is_admin(app, user) => app.jobs.find_for_any_user(id).await?,
        found => found,
    };
    found.ok_or(NO_JOB)
}

fn is_admin(app: &AppState, user: &UserId) -> bool {
    app.config.identity.admins.contains(user)
}

struct TerminateJobRequest {
    reason: Option<String>,
}

impl Read for TerminateJobRequest {
    fn read(fields: &mut Fields) -> Self {
        Self { reason: fields.optional_text("reason", LONGEST_REASON) }
    }
}

described!(TerminateJobRequest);

/// Terminates a job.
#[utoipa::path(post, path = "/api/jobs/{job_id}/terminate", params(("job_id" = JobId, Path, example = "0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3e")), request_body(content = Option<TerminateJobRequest>, example = json!({"reason": "no longer needed"})), responses(
    (status = 202, body = AcceptedResponse, headers(
        ("location" = String, description = "URL of the job."),
        ("retry-after" = u32, description = "Seconds until the next poll.")
    )),
    (status = 404, description = "Job not found."),
    (status = 409, description = "The job has ended already.")
))]
async fn terminate_job(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<JobId>,
    body: Option<AppJson<TerminateJobRequest>>,
) -> Result<Response, ApiError> {
    let reason = body.and_then(|AppJson(body)| body.reason).filter(|reason| !reason.trim().is_empty());
    let job = load(&app, &user, &id).await?;
    match app.jobs.terminate(&job.user_id, &id, reason.as_deref().map(str::trim)).await? {
        Changed::Done => Ok(accepted(&id)),
        Changed::Refused => Err(ApiError::Conflict("Job has already ended.")),
        Changed::Missing => Err(NO_JOB),
    }
}

/// Restarts a job as a new one.
#[utoipa::path(post, path = "/api/jobs/{job_id}/restart", params(("job_id" = JobId, Path, example = "0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3d")), responses(
    (status = 202, body = AcceptedResponse, headers(
        ("location" = String, description = "URL of the job."),
        ("retry-after" = u32, description = "Seconds until the next poll.")
    )),
    (status = 403, description = "Only administrators may run jobs of this kind."),
    (status = 404, description = "Job not found."),
    (status = 429, description = "The owner's token budget is used up.")
))]
async fn restart_job(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<JobId>,
    new_id: NewId,
) -> Result<Response, ApiError> {
    let job = load(&app, &user, &id).await?;
    if app.jobs.kind(&job.name).is_some_and(|kind| kind.is_for_admins) && !is_admin(&app, &user) {
        return Err(ApiError::Forbidden("Admin access required."));
    }
    // A retry of this request finds the job that an earlier attempt accepted.
    let key = new_id.may_exist().then(|| format!("restart-{}", new_id.id()));
    let new = app.jobs.accept(&job.user_id, &job.name, job.input, key.as_deref()).await?;
    Ok(accepted(&new))
}

#[derive(Serialize, ToSchema)]
struct PurgeJobResponse {
    id: JobId,
    status: &'static str,
}

/// Deletes a finished job and its outputs.
#[utoipa::path(delete, path = "/api/jobs/{job_id}", params(("job_id" = JobId, Path, example = "0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3d")), responses(
    (status = 200, body = PurgeJobResponse),
    (status = 404, description = "Job not found."),
    (status = 409, description = "The job has not ended.")
))]
async fn purge_job(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<JobId>,
) -> Result<AppJson<PurgeJobResponse>, ApiError> {
    let job = load(&app, &user, &id).await?;
    match app.jobs.purge(&job.user_id, &id).await? {
        Changed::Done => Ok(AppJson(PurgeJobResponse { id, status: "deleted" })),
        Changed::Refused => Err(ApiError::Conflict("Job has not ended: terminate it first.")),
        Changed::Missing => Err(NO_JOB),
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OutputResponse {
    path: String,
    title: String,
    size: u64,
    media_type: String,
}

impl From<Output> for OutputResponse {
    fn from(output: Output) -> Self {
        let Output { path, title, size, media_type, blob: _ } = output;
        Self { path, title, size, media_type }
    }
}

#[derive(Serialize, ToSchema)]
struct ListOutputsResponse {
    files: Vec<OutputResponse>,
}

/// Lists the outputs of a job.
#[utoipa::path(get, path = "/api/jobs/{job_id}/outputs", params(("job_id" = JobId, Path, example = "0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3d")), responses(
    (status = 200, body = ListOutputsResponse),
    (status = 404, description = "Job not found.")
))]
async fn list_outputs(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<JobId>,
) -> Result<AppJson<ListOutputsResponse>, ApiError> {
    let job = load(&app, &user, &id).await?;
    Ok(AppJson(ListOutputsResponse { files: job.outputs.into_iter().map(OutputResponse::from).collect() }))
}

#[derive(Serialize, ToSchema)]
struct OutputContentResponse {
    content: String,
}

/// Returns an output of a job: as JSON, or with its own media type if that is preferred in `Accept`.
#[utoipa::path(get, path = "/api/jobs/{job_id}/outputs/{*path}", params(
    ("job_id" = JobId, Path, example = "0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3d"),
    ("path" = String, Path, description = "Path from the list of outputs.", example = "index.md"),
), responses(
    (status = 200, content(
        (OutputContentResponse = "application/json"),
        (String = "text/markdown"),
        (String = "application/x-ndjson")
    ), description = "The output as JSON, or with its own media type."),
    (status = 400, description = "Invalid path."),
    (status = 404, description = "Job or file not found.")
))]
async fn find_output(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    path: Result<AppPath<(JobId, String)>, ApiError>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // A path that is not UTF-8 once decoded names no file.
    let Ok(AppPath((id, path))) = path else { return Err(BAD_PATH) };
    let path = OutputPath::parse(&path).map_err(|_| BAD_PATH)?;
    let job = load(&app, &user, &id).await?;
    let (output, blob) = app.jobs.open_output(&job, &path).await?.ok_or(NO_FILE)?;
    if wants_json(&headers) {
        let bytes = blob.bytes().await?;
        let content = String::from_utf8_lossy(&bytes).into_owned();
        return Ok(([(CACHE_CONTROL, PRIVATE)], AppJson(OutputContentResponse { content })).into_response());
    }
    let media_type = HeaderValue::from_str(&output.media_type).map_err(ApiError::internal)?;
    let description = [
        (CONTENT_TYPE, media_type),
        (CONTENT_LENGTH, blob.properties.size.into()),
        (CACHE_CONTROL, PRIVATE),
        (X_CONTENT_TYPE_OPTIONS, NO_SNIFFING),
    ];
    Ok((description, Body::from_stream(blob.content)).into_response())
}

/// Whether the caller prefers JSON, or has no preference.
fn wants_json(headers: &HeaderMap) -> bool {
    let mut best: Option<(f32, String)> = None;
    let lists = headers.get_all(ACCEPT).into_iter().filter_map(|header| header.to_str().ok());
    for range in lists.flat_map(|list| list.split(',')) {
        let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
        let Some(name) = parts.next().filter(|name| name.contains('/')) else { continue };
        let quality = parts.find_map(|part| part.strip_prefix("q=").and_then(|quality| quality.parse().ok()));
        let quality = quality.unwrap_or(1.0);
        // Among equal preferences, the first.
        if quality > 0.0 && best.as_ref().is_none_or(|(known, _)| quality > *known) {
            best = Some((quality, name));
        }
    }
    best.is_none_or(|(_, name)| matches!(&*name, "*/*" | "application/*" | "application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concrete_type_asks_for_the_bytes() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            wants_json(&headers)
        };
        for json in
            ["*/*", "application/json", "", "nonsense", "text/markdown;q=0.5, application/json", "text/plain;q=0"]
        {
            assert!(wants(json), "{json}");
        }
        for raw in
            ["text/markdown", "text/*", "text/html, */*;q=0.8", "Application/X-NDJSON", "application/json;q=0.1, a/b"]
        {
            assert!(!wants(raw), "{raw}");
        }
        assert!(wants_json(&HeaderMap::new()));
    }
}
