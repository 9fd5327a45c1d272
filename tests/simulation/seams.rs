//! The services that an instance calls, behind a simulated network: with delays and faults.
//!
//! A call takes effect at one instant in the real store, queue or double; then its answer travels back. Giving up a
//! call does not cancel it: once sent, it takes effect. A dead process sends no calls and receives no answers.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::BoxFuture;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{DocumentStore, Key};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::checks;
use crate::doubles::between::{Between, Call, Cause, Effect};
use crate::world::{Fault, Life, World};

/// The connection of an instance to the services.
#[derive(Clone)]
pub struct Link {
    pub world: Arc<World>,
    pub life: Arc<Life>,
}

impl Link {
    /// Makes a call to `service`, shown as `what` in the trace. `effect` takes place at one instant, or twice.
    pub async fn call<R, E>(
        &self,
        service: &'static str,
        what: String,
        unavailable: fn(Cause) -> E,
        mut effect: impl FnMut() -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: Display + Send + 'static,
    {
        self.life.goes_on().await;
        let fate = self.world.fate(service);
        let (reply, answer) = oneshot::channel();
        let (world, who) = (self.world.clone(), self.life.name.clone());
        self.world.tasks.spawn(async move {
            tokio::time::sleep(fate.before).await;
            let outcome = if fate.fault == Some(Fault::Refused) {
                Err(unavailable("refused".into()))
            } else {
                world.set_server_clock();
                let outcome = effect();
                if fate.fault == Some(Fault::Twice) { effect() } else { outcome }
            };
            let result = outcome.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned());
            let fault = fate.fault.map_or_else(String::new, |fault| format!(" [{fault:?}]"));
            world.note(&who, &format!("{what}: {result}{fault}"));
            tokio::time::sleep(fate.after).await;
            let lost = fate.fault == Some(Fault::AnswerLost);
            let outcome = outcome.and_then(|done| if lost { Err(unavailable("answer lost".into())) } else { Ok(done) });
            // The caller may have given up.
            drop(reply.send(outcome));
        });
        let answer = answer.await.expect("every call is answered");
        self.life.goes_on().await;
        answer
    }
}

#[async_trait]
impl Between for Link {
    async fn carry<R, E>(&self, call: Call<'_>, unavailable: fn(Cause) -> E, effect: Effect<R, E>) -> Result<R, E>
    where
        R: Send + 'static,
        E: Display + Send + 'static,
    {
        self.call(service(&call), call.to_string(), unavailable, move || block_on(effect())).await
    }
}

/// The connection to the documents. The changes of each write are checked.
pub struct ToDocuments {
    pub link: Link,
    pub store: Arc<SqliteStore>,
}

#[async_trait]
impl Between for ToDocuments {
    async fn carry<R, E>(&self, call: Call<'_>, unavailable: fn(Cause) -> E, effect: Effect<R, E>) -> Result<R, E>
    where
        R: Send + 'static,
        E: Display + Send + 'static,
    {
        let (world, life, store) = (self.link.world.clone(), self.link.life.clone(), self.store.clone());
        let watched: Vec<_> = call.keys.iter().filter(|key| checks::is_watched(key.container)).cloned().collect();
        let write = move || {
            let look = |key: &Key| -> Option<Value> { block_on(store.read(key)).unwrap()?.parse().ok() };
            let before: Vec<_> = watched.iter().map(look).collect();
            let outcome = block_on(effect());
            if outcome.is_ok() {
                for (key, before) in watched.iter().zip(before) {
                    checks::written(&world, &life, key, before.as_ref(), look(key).as_ref());
                }
            }
            outcome
        };
        self.link.call(service(&call), call.to_string(), unavailable, write).await
    }
}

/// The connection to the queue. All instances are notified at once of a visible message.
pub struct ToQueue(pub Link);

#[async_trait]
impl Between for ToQueue {
    async fn carry<R, E>(&self, call: Call<'_>, unavailable: fn(Cause) -> E, effect: Effect<R, E>) -> Result<R, E>
    where
        R: Send + 'static,
        E: Display + Send + 'static,
    {
        let world = self.0.world.clone();
        let makes_visible = matches!(call.name, "queue.send" | "queue.renew");
        let effect = move || {
            let outcome = block_on(effect());
            if makes_visible && outcome.is_ok() {
                world.queued.notify_waiters();
            }
            outcome
        };
        self.0.call(service(&call), call.to_string(), unavailable, effect).await
    }

    fn wait(&self, limit: Duration) -> Option<BoxFuture<'_, ()>> {
        let wait = async move {
            tokio::select! {
                biased;
                () = self.0.world.queued.notified() => {}
                () = tokio::time::sleep(limit) => {}
            }
        };
        Some(wait.boxed())
    }
}

fn service(call: &Call<'_>) -> &'static str {
    call.name.split_once('.').map_or(call.name, |(service, _)| service)
}
