//! Uploads: one file, as a part of a form or as the whole body, with short text fields beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use percent_encoding::percent_decode_str;
use utoipa::ToSchema;

use super::{Gathered, announced_length, check_encoding, read_body};
use crate::domain::media::LARGEST_FILE;
use crate::http::error::ApiError;
use crate::http::layers::bodies::Account;

/// Longest text field beside a file, in bytes.
pub const LONGEST_FIELD: usize = 1024;
/// Overhead of a form, without the file, in bytes.
pub const FORM_OVERHEAD: usize = 64 * 1024;
/// Largest body with a file, in bytes: the file, or a form around it.
pub const LARGEST_UPLOAD: usize = LARGEST_FILE + FORM_OVERHEAD;
const NO_IMAGE: ApiError = ApiError::BadRequest("No image provided.");
const BAD_FORM: ApiError = ApiError::BadRequest("The form could not be read.");
const TOO_MANY_PARTS: ApiError = ApiError::BadRequest("A form may have at most 16 parts.");
/// Longest head of a part, in bytes. The parser scans all of it again with every chunk that arrives.
const LONGEST_PART_HEAD: usize = 16 * 1024;
/// Most parts of a form.
const MOST_PARTS: usize = 16;

/// A picture: JPEG, PNG, WebP, GIF, BMP, TIFF or HEIC, at most 20 MiB and 50 megapixels.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "used only for the OpenAPI document")]
pub struct PictureFile(Vec<u8>);

/// Role of a part of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The file.
    File,
    /// A text field.
    Text,
    /// A part that is skipped.
    Other,
}

/// A picture that was uploaded.
pub struct Upload {
    /// The picture, not empty, of at most [`LARGEST_FILE`] bytes. Its memory is charged to the caller while it is held.
    pub picture: Bytes,
    /// File name, if the caller gave one.
    pub file_name: Option<String>,
    /// Text fields, by name.
    texts: Vec<(String, String)>,
}

impl Upload {
    /// Reads an upload. `classify` gets name and file name of each part of a form; `bad_text` refuses a text field that
    /// is too long or not UTF-8.
    ///
    /// # Errors
    /// 400 for a form that cannot be read or has no picture, 413 for a picture that is too large.
    pub async fn read(
        request: Request,
        bad_text: &ApiError,
        classify: impl FnMut(Option<&str>, Option<&str>) -> Part + Send,
    ) -> Result<Self, ApiError> {
        let account = request.extensions().get::<Account>().cloned();
        let received = if is_form(request.headers()) {
            read_form(request, bad_text, classify).await?
        } else {
            let (parts, body) = request.into_parts();
            Self { picture: read_body(&parts.headers, body).await?, file_name: None, texts: Vec::new() }
        };
        if received.picture.is_empty() {
            return Err(NO_IMAGE);
        }
        if received.picture.len() > LARGEST_FILE {
            return Err(ApiError::TooLarge);
        }
        // Processing may outlive the request.
        match account {
            Some(account) => Ok(Self { picture: account.hold(received.picture), ..received }),
            None => Ok(received),
        }
    }

    /// Returns the last non-blank text field with one of these names, trimmed.
    pub fn text(&self, names: &[&str]) -> Option<&str> {
        let named = self.texts.iter().rev().filter(|(name, _)| names.contains(&name.as_str()));
        named.map(|(_, text)| text.trim()).find(|text| !text.is_empty())
    }
}

/// Reads the whole form, because a caller who is still sending would not see an early answer.
async fn read_form(
    request: Request,
    bad_text: &ApiError,
    mut classify: impl FnMut(Option<&str>, Option<&str>) -> Part + Send,
) -> Result<Upload, ApiError> {
    check_encoding(request.headers())?;
    let mut picture = Gathered::new(announced_length(request.headers()));
    let left = Arc::new(AtomicUsize::new(LONGEST_PART_HEAD));
    let request = request.map(|body| at_most(left.clone(), body));
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| BAD_FORM)?;
    let (mut file_name, mut texts) = (None, Vec::new());
    let mut parts = 0;
    while let Some(mut field) = form.next_field().await.map_err(|_| BAD_FORM)? {
        left.store(usize::MAX, Ordering::Relaxed);
        parts += 1;
        if parts > MOST_PARTS {
            return Err(TOO_MANY_PARTS);
        }
        let name_of_file = field.file_name().map(str::to_owned).or_else(|| extended_file_name(field.headers()));
        let part = classify(field.name(), name_of_file.as_deref());
        if part == Part::File {
            file_name = name_of_file;
        }
        let mut text = BytesMut::new();
        while let Some(piece) = field.chunk().await.map_err(|_| BAD_FORM)? {
            match part {
                Part::File => picture.push(&piece),
                Part::Text if text.len() + piece.len() > LONGEST_FIELD => return Err(bad_text.clone()),
                Part::Text => text.extend_from_slice(&piece),
                Part::Other => {}
            }
        }
        if part == Part::Text {
            let text = std::str::from_utf8(&text).map_err(|_| bad_text.clone())?;
            texts.push((field.name().unwrap_or_default().to_owned(), text.to_owned()));
        }
        drop(field);
        left.store(LONGEST_PART_HEAD, Ordering::Relaxed);
    }
    Ok(Upload { picture: picture.into(), file_name, texts })
}

/// Returns the file name of a part that has it only as `filename*=UTF-8''na%C3%AFve.jpg` (RFC 5987), which some clients
/// write for names that are not ASCII. The parser of forms knows only `filename=`.
fn extended_file_name(headers: &HeaderMap) -> Option<String> {
    let disposition = headers.get(CONTENT_DISPOSITION)?.to_str().ok()?;
    let parameter = disposition.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("filename*").then_some(value)
    })?;
    let encoded = parameter.trim().splitn(3, '\'').nth(2)?;
    Some(percent_decode_str(encoded).decode_utf8_lossy().into_owned())
}

/// Limits a body to the bytes that are left; reading more is an error.
fn at_most(left: Arc<AtomicUsize>, body: Body) -> Body {
    Body::from_stream(body.into_data_stream().map(move |piece| {
        let piece = piece?;
        // The chunk that reaches the limit has already arrived, and may extend beyond the head.
        let before =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(piece.len())));
        if before == Ok(0) { Err(axum::Error::new(PartHeadTooLong)) } else { Ok(piece) }
    }))
}

#[derive(Debug, thiserror::Error)]
#[error("the head of a part is too long")]
struct PartHeadTooLong;

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|content_type| content_type.to_str().ok());
    content_type
        .is_some_and(|content_type| content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
}
