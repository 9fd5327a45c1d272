//! Who a credential belongs to: session tokens, Google's ID tokens, keys and tokens of other services. The layers that ask
//! are in `http`.

pub mod google;
pub mod keys;
pub mod service;
pub mod session;
