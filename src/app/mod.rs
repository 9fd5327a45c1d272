//! Builds the service from its settings, listens, and stops.
//!
//! `backends` opens the back ends, `wiring` builds the state from them, [`groups`] and [`router`] put the routes and
//! their layers together, and `serve` answers requests, with `connections` and `linger` for what hyper leaves to us.
//! [`openapi`] describes the routes. `storage` and [`backup`] are the commands of these names.

mod backends;
pub mod backup;
mod connections;
pub mod groups;
mod linger;
pub mod openapi;
pub mod router;
mod serve;
mod storage;
mod wiring;

pub use self::backends::{
    Backends, EachBackend, blobs_probe, check_exists, check_restored, credential, cutout_model, has_no_store, identity,
    media_url, open_empty_store, open_existing_store, open_removers, open_snapshot, open_storage, open_store,
    queue_probe,
};
pub use self::serve::{listen, look_for_damage, serve};
pub use self::storage::{Preparation, inspect_containers, prepare_storage};
pub use self::wiring::{open_rates, state};
