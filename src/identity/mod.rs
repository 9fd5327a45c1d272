//! Identity: session tokens, API tokens, Google ID tokens, and keys and tokens of other services. The layers that use
//! it are in `http`.

pub mod api_token;
mod credential_cache;
pub mod google;
pub mod keys;
pub mod service;
pub mod session;
