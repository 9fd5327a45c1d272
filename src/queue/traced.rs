//! A queue whose messages carry the trace context of their sender.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{JobQueue, MAX_MESSAGE_BYTES, Message, Result};
use crate::telemetry::trace_context;

/// Adds `traceparent` to each message that is a JSON object, if it fits.
pub struct TracedQueue(pub Arc<dyn JobQueue>);

#[async_trait]
impl JobQueue for TracedQueue {
    async fn send(&self, queue: &str, text: &str) -> Result<()> {
        self.0.send(queue, &traced(text)).await
    }

    async fn send_for(&self, queue: &str, user: &str, text: &str) -> Result<()> {
        self.0.send_for(queue, user, &traced(text)).await
    }

    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> Result<Vec<Message>> {
        self.0.receive(queue, most, visibility).await
    }

    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> Result<()> {
        self.0.renew(queue, message, visibility).await
    }

    async fn delete(&self, queue: &str, message: &Message) -> Result<()> {
        self.0.delete(queue, message).await
    }

    async fn move_to(&self, from: &str, message: &Message, to: &str) -> Result<()> {
        self.0.move_to(from, message, to).await
    }

    async fn length(&self, queue: &str) -> Result<usize> {
        self.0.length(queue).await
    }

    async fn ping(&self, queue: &str) -> Result<()> {
        self.0.ping(queue).await
    }

    async fn find_damage(&self) -> Result<Option<String>> {
        self.0.find_damage().await
    }

    async fn wait(&self, queue: &str, limit: Duration) {
        self.0.wait(queue, limit).await;
    }
}

/// Adds the context to a text, if it fits.
fn traced(text: &str) -> Cow<'_, str> {
    let traced = trace_context::into_message(text).filter(|text| text.len() <= MAX_MESSAGE_BYTES);
    traced.map_or(Cow::Borrowed(text), Cow::Owned)
}
