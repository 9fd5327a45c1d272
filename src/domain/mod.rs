//! What the service does, apart from how it is asked: routes and workers translate, the work is here.
//!
//! Nothing in here knows HTTP. Everything ambient (time, models, the store) is handed in.

pub mod demo;
