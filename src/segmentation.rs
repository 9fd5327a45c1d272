//! A segmentation service: takes a JPEG, answers with a PNG whose background is transparent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;
use url::Url;

use crate::imaging::decode::Limits;
use crate::imaging::pool::PixelPool;
use crate::imaging::segment::{CutOut, Segmenter};
use crate::imaging::transform::{JPEG_QUALITY, from_segmentation, to_jpeg};
use crate::imaging::{Error, Picture, Result};
use crate::telemetry::{Chain, trace_context};

/// Longest answer, in bytes: more than a PNG of the size that we send can have.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Why there is no answer, in the words that callers read.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the segmentation service cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the segmentation service did not answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
    #[error("the segmentation service answered with status {}", .0.as_u16())]
    Status(StatusCode),
    #[error("the segmentation service's answer broke off")]
    BrokeOff(#[source] reqwest::Error),
    #[error("the segmentation service's answer is too long")]
    TooLong,
}

/// How to reach the service.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Its address.
    pub endpoint: Url,
    /// What we show it, if it asks.
    pub token: Option<SecretString>,
    /// Longest time for a picture, both tries together.
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
}

impl SegmentationService {
    /// Asks the service; pixels are worked on by `pool`.
    pub fn new(options: ServiceOptions, http: reqwest::Client, pool: Arc<PixelPool>) -> Self {
        Self { options, http, pool }
    }

    /// Asks once more if there was no connection, or it was closed without an answer: the work is the same each time.
    async fn ask(&self, jpeg: Bytes) -> std::result::Result<Bytes, Fault> {
        match self.ask_once(jpeg.clone()).await {
            Err(Fault::Unreachable(error)) => {
                warn!(error = %Chain(&error), "segmentation service not reached, asked again");
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
        let mut response = request.send().await.map_err(Fault::Unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(Fault::Status(response.status()));
        }
        let mut answer = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(Fault::BrokeOff)? {
            if answer.len() + piece.len() > LONGEST_ANSWER {
                return Err(Fault::TooLong);
            }
            answer.extend_from_slice(&piece);
        }
        Ok(answer.freeze())
    }
}

#[async_trait]
impl Segmenter for SegmentationService {
    fn name(&self) -> &str {
        "service"
    }

    async fn cut_out(&self, picture: Picture) -> Result<CutOut> {
        let encode = move || {
            let jpeg = to_jpeg(picture.clone(), JPEG_QUALITY).map_err(|error| Error::Segmentation(error.into()))?;
            Ok((picture, Bytes::from(jpeg)))
        };
        let (picture, jpeg) = self.pool.run(encode).await?;
        let limit = self.options.limit;
        let answer = tokio::time::timeout(limit, self.ask(jpeg)).await.unwrap_or(Err(Fault::Silent(limit)));
        let answer = answer.map_err(|fault| Error::Segmentation(fault.into()))?;
        let read = move || from_segmentation(picture, &answer, &Limits::default());
        Ok(CutOut { picture: self.pool.run(read).await?, kept_whole: None })
    }
}
