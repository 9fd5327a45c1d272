//! How much of the service one caller may have.

use super::reader::{Error, Reader};

/// How much of the service one caller may have. Zero requests or tokens mean no limit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether there are limits, but for that on tokens.
    pub enabled: bool,
    /// Sign-ins and refreshes per address and minute.
    pub auth_per_minute: u32,
    /// Refused credentials per address and minute.
    pub refusals_per_minute: u32,
    /// Requests that ask a model, per user and minute.
    pub model_per_minute: u32,
    /// Pictures per user and minute.
    pub uploads_per_minute: u32,
    /// Pictures per minute and address of services, and of callers without a credential.
    pub service_uploads_per_minute: u32,
    /// Submissions of posts per user and minute.
    pub ingest_per_minute: u32,
    /// Other requests per user or address and minute.
    pub requests_per_minute: u32,
    /// Long operations and scrapes for subscriptions that a user may have waiting at the same time.
    pub pending_jobs_per_user: usize,
    /// Chat streams that a user may have at the same time.
    pub streams_per_user: u32,
    /// Requests that may be under way at the same time.
    pub concurrent_requests: usize,
    /// Requests that a user, or an address where no user is known, may have under way at the same time.
    pub concurrent_requests_per_caller: u32,
    /// Memory for the bodies of all requests together, in bytes.
    pub body_memory: usize,
    /// Connections that may be open at the same time.
    pub connections: usize,
    /// Tokens of models that a user may spend in a day, by UTC.
    pub tokens_per_day: u64,
    /// Whether `X-Forwarded-For` is written by a proxy that is trusted.
    pub trusts_proxy: bool,
}

impl Limits {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>, under_functions_host: bool) -> Result<Self, Error> {
        Ok(Self {
            enabled: reader.flag("RATE_LIMITS", true)?,
            auth_per_minute: reader.number("RATE_LIMIT_AUTH_PER_MINUTE", 60, 0, 1_000_000)?,
            refusals_per_minute: reader.number("RATE_LIMIT_REFUSALS_PER_MINUTE", 60, 0, 1_000_000)?,
            model_per_minute: reader.number("RATE_LIMIT_MODEL_PER_MINUTE", 30, 0, 1_000_000)?,
            uploads_per_minute: reader.number("RATE_LIMIT_UPLOADS_PER_MINUTE", 60, 0, 1_000_000)?,
            service_uploads_per_minute: reader.number("RATE_LIMIT_SERVICE_UPLOADS_PER_MINUTE", 600, 0, 1_000_000)?,
            ingest_per_minute: reader.number("RATE_LIMIT_INGEST_PER_MINUTE", 6, 0, 1_000_000)?,
            requests_per_minute: reader.number("RATE_LIMIT_REQUESTS_PER_MINUTE", 600, 0, 1_000_000)?,
            pending_jobs_per_user: reader.number("PENDING_JOBS_PER_USER", 3, 0, 1_000_000)?,
            streams_per_user: reader.number("CHAT_STREAMS_PER_USER", 4, 1, 1000)?,
            concurrent_requests: reader.number("MAX_CONCURRENT_REQUESTS", 1024, 1, 100_000)?,
            concurrent_requests_per_caller: reader.number("MAX_CONCURRENT_REQUESTS_PER_CALLER", 32, 1, 100_000)?,
            body_memory: reader.number("BODY_MEMORY_MIB", 64, 40, 65_536)? * 1024 * 1024,
            connections: reader.number("MAX_CONNECTIONS", 4096, 16, 1_000_000)?,
            tokens_per_day: reader.number("MODEL_TOKENS_PER_USER_AND_DAY", 1_000_000, 0, u64::MAX)?,
            trusts_proxy: reader.flag("TRUST_X_FORWARDED_FOR", under_functions_host)?,
        })
    }
}
