//! Read-only connections to a database file.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::error::{Result, Stopped, WorkError, is_remembered};
use super::place::Place;

/// Read-only connections, opened on demand.
pub(super) struct Readers {
    pub place: Place,
    pub idle: Mutex<Vec<Connection>>,
    /// Read-locked while a connection is in use; the writer locks it to close them all.
    pub open: RwLock<()>,
    pub permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) async fn run<T, E>(
        self: Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: WorkError,
    {
        let stopped = || E::from(Stopped::Readers.into());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| stopped())?;
        let reading = tokio::task::spawn_blocking(move || {
            let _open = self.open.read();
            let idle = self.idle.lock().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => self.place.open_reader()?,
            };
            let outcome = work(&connection);
            let cause = outcome.as_ref().err().and_then(WorkError::outage);
            if !cause.is_some_and(is_remembered) {
                self.idle.lock().push(connection);
            }
            drop(permit);
            outcome
        });
        reading.await.map_err(|_| stopped())?
    }
}
