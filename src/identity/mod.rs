//! Identity: session tokens, Google ID tokens, and keys and tokens of other services. The layers that use it are in
//! `http`.

pub mod google;
pub mod keys;
pub mod service;
pub mod session;
