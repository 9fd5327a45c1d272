//! `tokio::task`: blocking work on a shuttle thread.

use crate::sync::oneshot;

/// `tokio::task::spawn_blocking`. Work that panics fails the test.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    // Fails if the caller has left meanwhile.
    shuttle::thread::spawn(move || drop(sender.send(work())));
    receiver
}
