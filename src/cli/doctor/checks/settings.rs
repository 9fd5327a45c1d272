//! Checks of settings, certificates and sign-in.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use url::Url;

use super::{Report, Verdict};
use crate::app;
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::config::{self, Config, Documents, Environment, ServiceCredential, StorageAccount};
use crate::domain::rates::{self, Rates};
use crate::net;

/// Clock skew that is reported, and clock skew that breaks sign-in.
const SKEW: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// Reads the exchange rates once.
pub(super) async fn exchange_rates(config: &Config, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> Vec<Report> {
    let Some(feed) = &config.insights.feed else {
        return Report::skipped(format!("the built-in rates of {}", Rates::built_in().date));
    };
    match rates::fetch(feed, http, clock.now()).await {
        Ok(rates) => Report::good(format!("rates of {}", rates.date)),
        Err(error) => {
            let found = format!("{}: the last known or the built-in rates are used", Chain(&error));
            vec![Report::new(Verdict::Warning, found, "check FX_RATES_URL or FX_RATES_FILE")]
        }
    }
}

pub(super) fn settings(config: &Config) -> Vec<Report> {
    let mut reports = Report::good(format!("{} read", config.effective.len()));
    let mut warn = |found: &str, fix: &str| {
        reports.push(Report::new(Verdict::Warning, found, fix));
    };
    for setting in config.effective.iter().filter(|setting| !setting.shadowed.is_empty()) {
        let places: Vec<&str> = setting.shadowed.iter().map(|source| source.name()).collect();
        let found = format!("{} is also set in {}, without effect", setting.name, places.join(" and "));
        warn(&found, "remove one of them");
    }
    for warning in &config.warnings {
        warn(warning, "correct or remove it");
    }
    if config.environment == Environment::Development {
        warn(
            "development: every caller is the development user",
            "set AZURE_FUNCTIONS_ENVIRONMENT=Production for others",
        );
        return reports;
    }
    if config.identity.google_client_ids.is_empty() {
        warn(config::NO_SIGN_IN, "set GOOGLE_CLIENT_ID or GOOGLE_ALLOWED_CLIENT_IDS");
    }
    if config.identity.admins.is_empty() {
        warn("nobody can use admin routes", "set ADMIN_USER_IDS");
    }
    if config.server.allowed_origins.is_empty() {
        warn("web pages of other origins are refused", "set CORS_ALLOWED_ORIGINS if there is a web client");
    }
    if !config.limits.trusts_proxy && config.server.public_url.as_ref().is_some_and(|url| !config::is_loopback(url)) {
        warn(
            "the service has another public address than the one it listens on, and X-Forwarded-For is not trusted: \
             all callers behind the proxy share the quotas of one address",
            "set TRUST_X_FORWARDED_FOR=true if the service can be reached only through the proxy",
        );
    }
    if config.media.is_open {
        warn("anyone can have pictures processed", "set PROCESS_IMAGE_AUTH_MODE=user-or-service");
    }
    if matches!(config.media.service, ServiceCredential::ApiKey(None)) {
        warn("other services cannot have garments described", "set METADATA_EXTRACT_API_KEY");
    }
    if !config.limits.enabled {
        warn("there are no limits per caller", "set RATE_LIMITS=true");
    }
    reports
}

/// Checks the system's CA certificates.
pub(super) fn certificates() -> Vec<Report> {
    if !net::authorities().is_empty() {
        return Report::good("the system's certificate authorities are found");
    }
    let found = "no certificate authorities are found: no HTTPS server is trusted";
    vec![Report::new(Verdict::Warning, found, "install ca-certificates, or set SSL_CERT_FILE")]
}

/// Checks that the configured identities get tokens.
pub(super) async fn identity(config: &Config) -> Vec<Report> {
    let mut scopes = Vec::new();
    if matches!(&config.documents, Documents::Cosmos(cosmos) if cosmos.key.is_none()) {
        scopes.push("https://cosmos.azure.com/.default");
    }
    let storage = [&config.storage.blobs, &config.storage.queues];
    if storage.iter().any(|account| matches!(account, Some(StorageAccount::Identity { .. }))) {
        scopes.push("https://storage.azure.com/.default");
    }
    if config.model.as_ref().is_some_and(|server| server.azure_version.is_some() && server.key.is_none()) {
        scopes.push("https://cognitiveservices.azure.com/.default");
    }
    if scopes.is_empty() {
        return Report::skipped("no managed identity is used");
    }
    let credential = match app::credential(config) {
        Ok(credential) => credential,
        Err(error) => return Report::fault(format!("{error:#}"), "check AZURE_CLIENT_ID"),
    };
    let mut reports = Vec::new();
    for scope in scopes {
        reports.extend(match credential.get_token(&[scope], None).await {
            Ok(_) => Report::good(format!("a token for {scope}")),
            Err(error) => Report::fault(
                format!("no token for {scope}: {}", Chain(&error)),
                "assign the app an identity, and AZURE_CLIENT_ID if it is a user-assigned one",
            ),
        });
    }
    reports
}

/// Fetches Google's signing keys, and compares our clock with the server's.
pub(super) async fn keys(config: &Config, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> Vec<Report> {
    if config.environment == Environment::Development {
        return Report::skipped("not used in development");
    }
    let url = &config.identity.google_jwks_url;
    let (count, date) = match fetch_keys(http, url.clone()).await {
        Ok(found) => found,
        Err(fault) => {
            return Report::fault(format!("{url}: {fault}"), "let the service reach it, or set GOOGLE_JWKS_URL");
        }
    };
    let mut reports = if count > 0 {
        Report::good(format!("{count} signing keys at {url}"))
    } else {
        Report::fault(format!("no signing keys at {url}"), "check GOOGLE_JWKS_URL")
    };
    let Some(theirs) = date else { return reports };
    let skew = (clock.now() - theirs).unsigned_abs();
    let seconds = skew.as_secs();
    let off = format!("{seconds} s off");
    let of_clock = if skew > SKEW.1 {
        Report::new(Verdict::Fault, off, "set the clock: tokens are checked by it")
    } else if skew > SKEW.0 {
        Report::new(Verdict::Warning, off, "let the machine keep its time by NTP")
    } else {
        Report::new(Verdict::Good, format!("at most {} s off", seconds + 1), "")
    };
    reports.push(Report { check: "clock", ..of_clock });
    reports
}

async fn fetch_keys(http: &reqwest::Client, url: Url) -> Result<(usize, Option<OffsetDateTime>), String> {
    let answer = http.get(url).send().await.map_err(|error| Chain(&error.without_url()).to_string())?;
    if !answer.status().is_success() {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
    let keys: Value = answer.json().await.map_err(|error| Chain(&error.without_url()).to_string())?;
    Ok((keys["keys"].as_array().map_or(0, Vec::len), date))
}

pub(super) async fn service_tokens(config: &Config, http: &reqwest::Client) -> Vec<Report> {
    match &config.media.service {
        ServiceCredential::ApiKey(_) => Report::skipped("other services use an API key"),
        ServiceCredential::Unknown => {
            Report::fault("METADATA_EXTRACT_AUTH_MODE is not a known mode", "set it to api-key or azuread")
        }
        ServiceCredential::Entra { issuer: None, .. } | ServiceCredential::Entra { audience: None, .. } => {
            Report::fault(
                "METADATA_EXTRACT_AUTH_MODE=azuread needs an issuer and an audience",
                "set METADATA_EXTRACT_AZURE_AD_ISSUER and METADATA_EXTRACT_AZURE_AD_AUDIENCE",
            )
        }
        ServiceCredential::Entra { issuer: Some(issuer), .. } => {
            let url = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
            let found = async {
                let answer = http.get(&url).send().await.map_err(|error| Chain(&error.without_url()).to_string())?;
                let document: Value = answer.json().await.map_err(|error| Chain(&error.without_url()).to_string())?;
                let keys =
                    document["jwks_uri"].as_str().and_then(|uri| uri.parse().ok()).ok_or("it has no jwks_uri")?;
                fetch_keys(http, keys).await
            };
            match found.await {
                Ok((count, _)) if count > 0 => Report::good(format!("{count} signing keys of {issuer}")),
                Ok(_) => {
                    Report::fault(format!("{issuer} has no signing keys"), "check METADATA_EXTRACT_AZURE_AD_ISSUER")
                }
                Err(fault) => Report::fault(format!("{url}: {fault}"), "check METADATA_EXTRACT_AZURE_AD_ISSUER"),
            }
        }
    }
}
