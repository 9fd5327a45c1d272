//! `tokio::sync`: tokio's own types, with a scheduling point before each call.

pub use self::semaphore::{OwnedSemaphorePermit, Semaphore};

use real_tokio::sync::futures::Notified;

use crate::explore::point;

/// `tokio::sync::Notify`.
#[derive(Default)]
pub struct Notify(real_tokio::sync::Notify);

impl Notify {
    pub fn new() -> Self {
        Self(real_tokio::sync::Notify::new())
    }

    pub fn notified(&self) -> Notified<'_> {
        point();
        self.0.notified()
    }

    pub fn notify_one(&self) {
        point();
        self.0.notify_one();
    }

    pub fn notify_waiters(&self) {
        point();
        self.0.notify_waiters();
    }
}

/// `tokio::sync::oneshot`.
pub mod oneshot {
    pub use real_tokio::sync::oneshot::Receiver;

    use super::point;

    pub struct Sender<T>(real_tokio::sync::oneshot::Sender<T>);

    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = real_tokio::sync::oneshot::channel();
        (Sender(sender), receiver)
    }

    impl<T> Sender<T> {
        pub fn send(self, value: T) -> Result<(), T> {
            point();
            self.0.send(value)
        }

        pub fn is_closed(&self) -> bool {
            point();
            self.0.is_closed()
        }
    }
}

/// `tokio::sync::mpsc`, bounded.
pub mod mpsc {
    pub use real_tokio::sync::mpsc::error::{SendError, TryRecvError};

    use super::point;

    pub struct Sender<T>(real_tokio::sync::mpsc::Sender<T>);

    pub struct Receiver<T>(real_tokio::sync::mpsc::Receiver<T>);

    pub fn channel<T>(room: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = real_tokio::sync::mpsc::channel(room);
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Sender<T> {
        pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
            point();
            self.0.send(value).await
        }

        pub fn is_closed(&self) -> bool {
            point();
            self.0.is_closed()
        }
    }

    impl<T> Receiver<T> {
        pub async fn recv(&mut self) -> Option<T> {
            point();
            self.0.recv().await
        }

        /// Blocks only the current shuttle thread.
        pub fn blocking_recv(&mut self) -> Option<T> {
            point();
            shuttle::future::block_on(self.0.recv())
        }

        pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
            point();
            self.0.try_recv()
        }
    }
}

mod semaphore {
    use std::sync::Arc;

    use real_tokio::sync::AcquireError;

    use super::point;

    /// `tokio::sync::Semaphore`.
    pub struct Semaphore(Arc<real_tokio::sync::Semaphore>);

    /// `tokio::sync::OwnedSemaphorePermit`.
    #[derive(Debug)]
    pub struct OwnedSemaphorePermit(real_tokio::sync::OwnedSemaphorePermit);

    impl Semaphore {
        pub fn new(permits: usize) -> Self {
            Self(Arc::new(real_tokio::sync::Semaphore::new(permits)))
        }

        pub async fn acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
            self.acquire_many_owned(1).await
        }

        pub async fn acquire_many_owned(self: Arc<Self>, permits: u32) -> Result<OwnedSemaphorePermit, AcquireError> {
            point();
            self.0.clone().acquire_many_owned(permits).await.map(OwnedSemaphorePermit)
        }

        pub fn available_permits(&self) -> usize {
            point();
            self.0.available_permits()
        }
    }

    impl OwnedSemaphorePermit {
        pub fn num_permits(&self) -> usize {
            self.0.num_permits()
        }

        pub fn split(&mut self, permits: usize) -> Option<Self> {
            point();
            self.0.split(permits).map(Self)
        }
    }

    impl Drop for OwnedSemaphorePermit {
        fn drop(&mut self) {
            point();
        }
    }
}
