//! `rayon`'s thread pool: runs jobs in order of arrival; its threads end after the last job once the pool is dropped.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

type Job = Box<dyn FnOnce() + Send>;
type OnPanic = Arc<dyn Fn(Box<dyn Any + Send>) + Send + Sync>;

/// `rayon::ThreadPoolBuilder`.
#[derive(Default)]
pub struct ThreadPoolBuilder {
    threads: usize,
    on_start: Option<Arc<dyn Fn(usize) + Send + Sync>>,
    on_panic: Option<OnPanic>,
}

/// `rayon::ThreadPoolBuildError`.
#[derive(Debug)]
pub struct ThreadPoolBuildError;

/// `rayon::ThreadPool`.
pub struct ThreadPool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    jobs: Mutex<Jobs>,
    /// Number of waiting jobs; reading it is not a scheduling point.
    waiting: AtomicUsize,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    is_closed: bool,
}

impl ThreadPoolBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn num_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    pub fn thread_name(self, _: impl FnMut(usize) -> String) -> Self {
        self
    }

    pub fn start_handler(self, handler: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self { on_start: Some(Arc::new(handler)), ..self }
    }

    pub fn panic_handler(self, handler: impl Fn(Box<dyn Any + Send>) + Send + Sync + 'static) -> Self {
        Self { on_panic: Some(Arc::new(handler)), ..self }
    }

    pub fn build(self) -> Result<ThreadPool, ThreadPoolBuildError> {
        let shared = Arc::<Shared>::default();
        for number in 0..self.threads {
            let (shared, on_start, on_panic) = (shared.clone(), self.on_start.clone(), self.on_panic.clone());
            thread::spawn(move || {
                if let Some(on_start) = on_start {
                    on_start(number);
                }
                while let Some(job) = shared.next() {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
                        on_panic.as_ref().unwrap()(panic);
                    }
                }
            });
        }
        Ok(ThreadPool(shared))
    }
}

impl ThreadPool {
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        {
            let mut jobs = self.0.jobs.lock().unwrap();
            jobs.waiting.push_back(Box::new(job));
            self.0.waiting.store(jobs.waiting.len(), Ordering::Relaxed);
        }
        self.0.changed.notify_one();
    }

    /// Returns the number of jobs that no thread has started.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.0.jobs.lock().unwrap().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock().unwrap();
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                self.waiting.store(jobs.waiting.len(), Ordering::Relaxed);
                return Some(job);
            }
            if jobs.is_closed {
                return None;
            }
            jobs = self.changed.wait(jobs).unwrap();
        }
    }
}
