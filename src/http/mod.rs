//! What all routes share: how a request is read and answered, and the layers around it.

pub mod error;
pub mod extract;
pub mod layers;
pub mod respond;
