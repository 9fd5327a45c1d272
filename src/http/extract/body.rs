//! Reads whole bodies within the limits for requests.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures::TryStreamExt;

use crate::http::error::ApiError;
use crate::http::layers::bodies::Refusal;

/// Returns the announced length of the body, in bytes.
pub fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the whole body, within the limits of [`crate::http::layers::bodies`].
///
/// # Errors
/// 408, 413 or 503 when a limit is exceeded, 400 when the connection broke, 415 for a coded body such as gzip.
pub async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    check_encoding(headers)?;
    let mut pieces = body.into_data_stream();
    let mut next = async || {
        let unreadable = ApiError::BadRequest("The request body could not be read.");
        pieces.try_next().await.map_err(|error| Refusal::behind(&error).map_or(unreadable, ApiError::from))
    };
    let Some(first) = next().await? else { return Ok(Bytes::new()) };
    let Some(second) = next().await? else { return Ok(first) };
    let mut gathered = Gathered::new(announced_length(headers));
    gathered.push(&first);
    gathered.push(&second);
    drop((first, second));
    while let Some(piece) = next().await? {
        gathered.push(&piece);
    }
    Ok(gathered.into())
}

/// Refuses a body with a content coding: nothing here decodes any.
pub fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_plain = |value: &HeaderValue| {
        value.to_str().is_ok_and(|codings| codings.split(',').all(|one| one.trim().eq_ignore_ascii_case("identity")))
    };
    let are_plain = headers.get_all(CONTENT_ENCODING).iter().all(is_plain);
    are_plain.then_some(()).ok_or(ApiError::UnsupportedEncoding)
}

/// Collects the chunks of a body. Allocates for received bytes, not for the announced length, and shrinks to fit at the
/// end.
pub struct Gathered {
    bytes: Vec<u8>,
    announced: usize,
}

impl Gathered {
    /// Creates an empty buffer. The announced length limits its last growth.
    pub fn new(announced: Option<usize>) -> Self {
        Self { bytes: Vec::new(), announced: announced.unwrap_or(usize::MAX) }
    }

    /// Appends a chunk.
    pub fn push(&mut self, piece: &[u8]) {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            let wanted = needed.max(self.announced.min(2 * needed));
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl From<Gathered> for Bytes {
    fn from(gathered: Gathered) -> Self {
        gathered.bytes.into()
    }
}
