//! The tests, one binary: each links the whole tree.

#![expect(clippy::unwrap_used, reason = "a test that meets an error shall fail, in its helpers too")]

mod llm;
mod support;
