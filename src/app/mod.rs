//! Builds the service from its settings, listens, and stops.

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
