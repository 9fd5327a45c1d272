//! Client of a segmentation service, which takes a JPEG and answers with a PNG with a transparent background.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tracing::warn;
use url::Url;

use crate::base::chain::Chain;
use crate::base::deadline;
use crate::base::outage;
use crate::imaging::decode::Limits;
use crate::imaging::pool::PixelPool;
use crate::imaging::segment::{BuiltIn, CutOut, CutoutMode, CutoutOptions, Remover, Segmenter};
use crate::imaging::transform::{JPEG_QUALITY, from_segmentation, to_jpeg};
use crate::imaging::{Error, Picture, Result};
use crate::net::read_at_most;
use crate::telemetry::trace_context;

/// Longest answer, in bytes: more than a PNG of our picture size can have.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// How long requests are refused at once after the service did not answer.
const VERDICT_LIFE: Duration = Duration::from_secs(5);

/// Why there is no answer; the messages are for callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// There is no connection.
    #[error("the segmentation service cannot be reached")]
    Unreachable(#[source] Arc<reqwest::Error>),
    /// The segmentation service did not answer in time.
    #[error("the segmentation service did not answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// The segmentation service refused the picture or failed.
    #[error("the segmentation service answered with status {}", .0.as_u16())]
    Status(StatusCode),
    /// The connection broke.
    #[error("the segmentation service's answer ended early")]
    BrokeOff(#[source] Arc<reqwest::Error>),
    /// The answer is longer than a processed picture can be.
    #[error("the segmentation service's answer is too long")]
    TooLong,
}

impl Fault {
    /// Whether the service is down, rather than failing on this picture.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent(_) | Self::BrokeOff(_) => true,
            // 500 means that it failed on this picture, and would again.
            Self::Status(status) => *status != StatusCode::INTERNAL_SERVER_ERROR && outage::of_status(status.as_u16()),
            Self::TooLong => false,
        }
    }
}

/// How to reach the service.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// URL of the service.
    pub endpoint: Url,
    /// Bearer token for the service.
    pub token: Option<SecretString>,
    /// Time limit for a picture, including a retry.
    pub limit: Duration,
}

impl ServiceOptions {
    /// With the usual limit.
    pub fn new(endpoint: Url, token: Option<SecretString>) -> Self {
        Self { endpoint, token, limit: Duration::from_secs(85) }
    }
}

/// The service.
pub struct SegmentationService {
    options: ServiceOptions,
    http: reqwest::Client,
    pool: Arc<PixelPool>,
    /// Built-in removers, for requests that select one.
    built_in: BuiltIn,
    breaker: Breaker,
}

/// Circuit breaker: remembers for a while that the service does not answer, so that other requests need not wait. After
/// that, one picture is let through, and its result decides.
#[derive(Default)]
struct Breaker(Mutex<Option<(Instant, Fault)>>);

impl Breaker {
    /// Whether a picture may be tried.
    fn admit(&self) -> std::result::Result<(), Fault> {
        let mut verdict = self.0.lock();
        let Some((until, fault)) = &mut *verdict else { return Ok(()) };
        if *until > Instant::now() {
            return Err(fault.clone());
        }
        *until = Instant::now() + VERDICT_LIFE;
        Ok(())
    }

    /// Records the outcome. Any answer counts as reachable.
    fn note(&self, fault: Option<&Fault>) {
        let down = fault.filter(|fault| matches!(fault, Fault::Unreachable(_) | Fault::Silent(_)));
        let verdict = down.map(|fault| (Instant::now() + VERDICT_LIFE, fault.clone()));
        *self.0.lock() = verdict;
    }
}

impl SegmentationService {
    /// Creates a client that uses the service for [`CutoutMode::Auto`] and `built_in` for all other modes; pixel work
    /// runs on `pool`.
    pub fn new(options: ServiceOptions, http: reqwest::Client, pool: Arc<PixelPool>, built_in: BuiltIn) -> Self {
        Self { options, http, pool, built_in, breaker: Breaker::default() }
    }

    /// Sends the picture, retrying once if there was no connection or it closed without an answer; repeating is
    /// harmless.
    async fn ask(&self, jpeg: Bytes) -> std::result::Result<Bytes, Fault> {
        match self.ask_once(jpeg.clone()).await {
            Err(Fault::Unreachable(error)) => {
                warn!(error = %Chain(&error), "segmentation service not reached, trying again");
                self.ask_once(jpeg).await
            }
            done => done,
        }
    }

    async fn ask_once(&self, jpeg: Bytes) -> std::result::Result<Bytes, Fault> {
        let mut request = self.http.post(self.options.endpoint.clone()).header(CONTENT_TYPE, "image/jpeg").body(jpeg);
        if let Some(token) = &self.options.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(traceparent) = trace_context::current() {
            request = request.header(trace_context::TRACEPARENT, traceparent);
        }
        let response = request.send().await.map_err(|error| Fault::Unreachable(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(Fault::Status(response.status()));
        }
        let answer = read_at_most(response, LONGEST_ANSWER).await.map_err(|error| Fault::BrokeOff(error.into()))?;
        answer.ok_or(Fault::TooLong)
    }
}

#[async_trait]
impl Segmenter for SegmentationService {
    fn name(&self) -> &str {
        "service"
    }

    fn has_network(&self) -> bool {
        self.built_in.has_network()
    }

    async fn cut_out(&self, picture: Picture, options: CutoutOptions) -> Result<CutOut> {
        if options.mode != CutoutMode::Auto {
            return self.built_in.cut_out(picture, options).await;
        }
        let refused = |fault: Fault| Error::Segmentation(fault.into());
        self.breaker.admit().map_err(refused)?;
        let encode = move || {
            let jpeg = to_jpeg(picture.clone(), JPEG_QUALITY).map_err(|error| Error::Segmentation(error.into()))?;
            Ok((picture, Bytes::from(jpeg)))
        };
        let (picture, jpeg) = self.pool.run(encode).await?;
        let limit = self.options.limit;
        let answer = deadline::within(limit, self.ask(jpeg)).await.unwrap_or(Err(Fault::Silent(limit)));
        self.breaker.note(answer.as_ref().err());
        let answer = answer.map_err(refused)?;
        let read = move || from_segmentation(picture, &answer, &Limits::default());
        let picture = self.pool.run(read).await?;
        Ok(CutOut { picture, by: Some(Remover::Service), confidence: None, kept_whole: None })
    }
}
