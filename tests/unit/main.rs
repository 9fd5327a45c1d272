//! All tests that use the service as a whole or need more than one part of it, as one binary.

#![expect(clippy::unwrap_used, reason = "a test stops where its ground is missing; clippy knows only test functions")]

mod azure;
mod store;
