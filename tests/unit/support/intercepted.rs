//! Store, queue, blobs and model behind an interceptor, which sees each call and may make it fail.

use std::fmt::Display;
use std::future::{Future, pending};
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use pluckit::llm::{self, CallContext, ChatRequest, Model, PartStream, Purpose, Reply};
use pluckit::store::{Container, Page, Query, Stored};
use tokio::task::yield_now;

pub use crate::doubles::between::Call;
use crate::doubles::between::{Between, Cause, Effect, Reached};

/// A dependency behind an interceptor.
pub type Intercepted<T> = Reached<T, Arc<dyn Interceptor>>;

/// Fate of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on.
    Passes,
    /// It is passed on after all other tasks had a chance to run, so that independent calls overlap.
    GivesWay,
    /// It fails without effect.
    Fails,
    /// It takes effect, and the answer is lost.
    LosesAnswer,
    /// It never ends.
    Hangs,
}

/// Sees each call.
pub trait Interceptor: Send + Sync {
    /// Decides the fate of the call.
    fn before(&self, call: &Call<'_>) -> Fate;

    /// Called when the call has completed or failed, before it is answered.
    fn after(&self, _call: &Call<'_>) {}

    /// Returns a page instead of the store's.
    fn query(&self, _query: &Query) -> Option<Page> {
        None
    }

    /// Returns a result of the vector index instead of the store's.
    fn nearest(&self, _query: &Query, _field: &'static str) -> Option<Vec<Stored>> {
        None
    }
}

impl<F: Fn(&Call<'_>) -> Fate + Send + Sync> Interceptor for F {
    fn before(&self, call: &Call<'_>) -> Fate {
        self(call)
    }
}

/// Answers one query of a container with a page that may be out of date.
pub struct OldPage {
    container: Container,
    page: Mutex<Option<Page>>,
}

impl OldPage {
    pub fn of(container: Container) -> Self {
        Self { container, page: Mutex::default() }
    }

    /// Answers the next query with this page.
    pub fn show(&self, page: Page) {
        *self.page.lock() = Some(page);
    }

    /// Whether the page was the answer to a query.
    pub fn was_seen(&self) -> bool {
        self.page.lock().is_none()
    }
}

impl Interceptor for OldPage {
    fn before(&self, _call: &Call<'_>) -> Fate {
        Fate::Passes
    }

    fn query(&self, query: &Query) -> Option<Page> {
        if query.container == self.container { self.page.lock().take() } else { None }
    }
}

#[async_trait]
impl Between for Arc<dyn Interceptor> {
    async fn carry<R, E>(&self, call: Call<'_>, unavailable: fn(Cause) -> E, effect: Effect<R, E>) -> Result<R, E>
    where
        R: Send + 'static,
        E: Display + Send + 'static,
    {
        through(&**self, &call, unavailable, effect()).await
    }

    fn query(&self, query: &Query) -> Option<Page> {
        Interceptor::query(&**self, query)
    }

    fn nearest(&self, query: &Query, field: &'static str) -> Option<Vec<Stored>> {
        Interceptor::nearest(&**self, query, field)
    }
}

async fn through<R, E>(
    interceptor: &dyn Interceptor,
    call: &Call<'_>,
    unavailable: fn(Cause) -> E,
    work: impl Future<Output = Result<R, E>>,
) -> Result<R, E> {
    match interceptor.before(call) {
        fate @ (Fate::Passes | Fate::GivesWay) => {
            if fate == Fate::GivesWay {
                yield_now().await;
            }
            let done = work.await;
            interceptor.after(call);
            done
        }
        Fate::Fails => Err(unavailable("intercepted before it was done".into())),
        Fate::LosesAnswer => {
            work.await?;
            Err(unavailable("intercepted after it was done".into()))
        }
        Fate::Hangs => pending().await,
    }
}

#[async_trait]
impl<T: Model + ?Sized> Model for Intercepted<T> {
    fn name(&self, purpose: Purpose) -> &str {
        self.inner.name(purpose)
    }

    /// A stream with a lost answer ends in an error after its first part.
    async fn stream(&self, context: &CallContext, request: ChatRequest) -> llm::Result<PartStream> {
        let call = Call::new("model.stream");
        match self.between.before(&call) {
            Fate::Passes | Fate::GivesWay => {
                let parts = self.inner.stream(context, request).await;
                self.between.after(&call);
                parts
            }
            Fate::Fails => Err(llm::Error::Unavailable("intercepted before it was done".into())),
            Fate::LosesAnswer => {
                let first = self.inner.stream(context, request).await?.take(1);
                let cut = stream::iter([Err(llm::Error::Interrupted("intercepted".into()))]);
                Ok(first.chain(cut).boxed())
            }
            Fate::Hangs => pending().await,
        }
    }

    async fn complete(&self, context: &CallContext, request: ChatRequest) -> llm::Result<Reply> {
        let (call, work) = (Call::new("model.complete"), self.inner.complete(context, request));
        through(&*self.between, &call, llm::Error::Unavailable, work).await
    }

    async fn embed(&self, context: &CallContext, texts: &[String]) -> llm::Result<Vec<Vec<f32>>> {
        let (call, work) = (Call::new("model.embed"), self.inner.embed(context, texts));
        through(&*self.between, &call, llm::Error::Unavailable, work).await
    }

    async fn ping(&self) -> llm::Result<()> {
        through(&*self.between, &Call::new("model.ping"), llm::Error::Unavailable, self.inner.ping()).await
    }
}
