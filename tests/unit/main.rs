//! All tests that use the service as a whole or need more than one part of it, as one binary.

mod azure;
mod llm;
mod store;
mod support;
