//! Limits per caller.

use super::reader::{Error, Reader};

/// Limits per caller. Zero requests or tokens means no limit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether limits are enabled; the token budget always is.
    pub enabled: bool,
    /// Sign-ins and refreshes per address and minute.
    pub auth_per_minute: u32,
    /// Rejected credentials per address and minute.
    pub refusals_per_minute: u32,
    /// Requests that call a model, per user and minute.
    pub model_per_minute: u32,
    /// Picture uploads per user and minute.
    pub uploads_per_minute: u32,
    /// Picture uploads per address and minute, for services and callers without a credential.
    pub service_uploads_per_minute: u32,
    /// Submissions to the feed per user and minute.
    pub ingest_per_minute: u32,
    /// Other requests per user or address and minute.
    pub requests_per_minute: u32,
    /// Waiting jobs and subscription scrapes per user.
    pub pending_jobs_per_user: usize,
    /// Open chat streams per user.
    pub streams_per_user: u32,
    /// Concurrent requests.
    pub concurrent_requests: usize,
    /// Concurrent requests per user, or per address without one.
    pub concurrent_requests_per_caller: u32,
    /// Memory for all request bodies together, in bytes.
    pub body_memory: usize,
    /// Open connections.
    pub connections: usize,
    /// Model tokens per user and UTC day.
    pub tokens_per_day: u64,
    /// Whether a trusted proxy sets `X-Forwarded-For`.
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
