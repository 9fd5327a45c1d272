//! The effective settings.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::Environment;
use crate::http::extract::AppJson;
use crate::state::AppState;

/// Routes for administrators.
pub fn admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_settings))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SettingResponse {
    name: &'static str,
    /// Value; masked if it is a secret, empty if it is not set and has no default.
    value: String,
    is_secret: bool,
    /// Where the value comes from: `command line`, `environment`, `local.settings.json` or `default`.
    source: &'static str,
    /// Why the value has no effect, or which others it overrides.
    note: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListSettingsResponse {
    version: &'static str,
    /// `development` or `production`.
    environment: &'static str,
    settings: Vec<SettingResponse>,
    /// Names in the environment that look like settings but are not.
    warnings: Vec<String>,
}

/// Lists every setting with its value and where that comes from. Secrets are masked.
#[utoipa::path(get, path = "/api/admin/settings", responses((status = 200, body = ListSettingsResponse)))]
async fn list_settings(State(app): State<AppState>) -> AppJson<ListSettingsResponse> {
    let all = &app.config.effective;
    let settings = all.iter().map(|setting| SettingResponse {
        name: setting.name,
        value: setting.value.clone(),
        is_secret: setting.is_secret,
        source: setting.source.name(),
        note: setting.note(all),
    });
    AppJson(ListSettingsResponse {
        version: env!("CARGO_PKG_VERSION"),
        environment: match app.config.environment {
            Environment::Development => "development",
            Environment::Production => "production",
        },
        settings: settings.collect(),
        warnings: app.config.warnings.clone(),
    })
}
