//! Chat runs.

use std::time::Duration;

use super::Documents;
use super::reader::{Error, Reader};

/// Settings of chat runs.
#[derive(Debug, Clone)]
pub struct ChatRuns {
    /// Seconds that a run and its log are kept.
    pub ttl_seconds: i64,
    /// How long events wait for others before they are stored.
    pub flush: Duration,
}

impl ChatRuns {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>, documents: &Documents) -> Result<Self, Error> {
        let flush_ms = match documents {
            Documents::Embedded { .. } => 250,
            // A write costs money.
            Documents::Cosmos(_) => 1000,
        };
        Ok(Self {
            ttl_seconds: reader.number("CHAT_RUN_TTL_SECONDS", 86_400, 60, 31_536_000)?,
            flush: Duration::from_millis(reader.number("CHAT_RUN_FLUSH_MS", flush_ms, 10, 10_000)?),
        })
    }
}
