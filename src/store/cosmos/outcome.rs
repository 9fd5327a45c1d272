//! Outcomes of calls: errors, conflicts and repeated writes.

use azure_data_cosmos::CosmosError;
use azure_data_cosmos::models::{ItemResponse, TransactionalBatchOperationResult};
use serde_json::Value;

use crate::base::outage;
use crate::store::{ETag, Error, Result};

pub(super) fn etag_of(response: &ItemResponse) -> Result<ETag> {
    let etag = response.headers().etag().ok_or_else(|| failed("the service answered a write without a version"))?;
    Ok(ETag(etag.to_string()))
}

/// Whether an earlier attempt of the same call may have taken effect: it was sent, and the response, if any, does not
/// rule this out.
pub(super) fn was_attempted_before(diagnostics: &azure_data_cosmos::diagnostics::DiagnosticsContext) -> bool {
    let requests = diagnostics.requests();
    let attempts: Vec<_> = requests.iter().filter(|request| request.pipeline_type().is_data_plane()).collect();
    let forgotten = diagnostics.request_count() > diagnostics.retained_request_count();
    let Some((_, earlier)) = attempts.split_last() else { return forgotten };
    forgotten
        || earlier.iter().any(|attempt| {
            let code = u16::from(attempt.status().status_code());
            attempt.request_sent().may_have_been_sent() && matches!(code, 408 | 410 | 500..)
        })
}

fn is_conflict(failure: &CosmosError) -> bool {
    let status = failure.status();
    status.is_conflict() || status.is_precondition_failed() || status.is_not_found()
}

pub(super) fn was_repeated(failure: &CosmosError) -> bool {
    is_conflict(failure) && failure.diagnostics().is_some_and(|diagnostics| was_attempted_before(&diagnostics))
}

/// Compares documents. The service stores numbers as doubles, so `1.0` is returned as `1`.
pub(super) fn same_content(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_content(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_content(a, b)))
        }
        _ => a == b,
    }
}

pub(super) fn batch_outcome(results: &[TransactionalBatchOperationResult], size_bytes: usize) -> Result<()> {
    // 424 only means that another write failed.
    let refused = results.iter().map(TransactionalBatchOperationResult::status_code).filter(|code| *code >= 400);
    match refused.min_by_key(|code| *code == 424) {
        None => Ok(()),
        Some(404 | 409 | 412) => Err(Error::Conflict),
        Some(413) => Err(Error::TooLarge { size_bytes }),
        Some(code) if outage::of_status(code) => {
            Err(Error::Unavailable(format!("the batch was answered with {code}").into()))
        }
        Some(code) => Err(failed(format!("the batch was answered with {code}"))),
    }
}

/// Converts the error of an operation that cannot conflict.
pub(super) fn error(failure: CosmosError) -> Error {
    let status = failure.status();
    match u16::from(status.status_code()) {
        code if outage::of_status(code) => Error::Unavailable(failure.into()),
        // The replica has not caught up yet.
        404 if status.is_read_session_not_available() => Error::Unavailable(failure.into()),
        _ => Error::Failed(failure.into()),
    }
}

/// Converts the error of a write of this size, which may be a conflict.
pub(super) fn write_error(failure: CosmosError, size_bytes: usize) -> Error {
    if is_conflict(&failure) {
        return Error::Conflict;
    }
    if u16::from(failure.status().status_code()) == 413 {
        return Error::TooLarge { size_bytes };
    }
    error(failure)
}

pub(super) fn failed(message: impl Into<String>) -> Error {
    Error::Failed(message.into().into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results(codes: &[u16]) -> Vec<TransactionalBatchOperationResult> {
        codes.iter().map(|code| serde_json::from_value(json!({ "statusCode": code })).unwrap()).collect()
    }

    #[test]
    fn a_batch_fails_for_the_reason_of_the_refused_write() {
        assert!(batch_outcome(&results(&[200, 201, 204]), 9).is_ok());
        for conflict in [404, 409, 412] {
            assert!(matches!(batch_outcome(&results(&[424, conflict, 424]), 9), Err(Error::Conflict)));
        }
        assert!(matches!(batch_outcome(&results(&[424, 429]), 9), Err(Error::Unavailable(_))));
        assert!(matches!(batch_outcome(&results(&[424, 413]), 9), Err(Error::TooLarge { size_bytes: 9 })));
        assert!(matches!(batch_outcome(&results(&[400, 424]), 9), Err(Error::Failed(_))));
        // Only 424: the service did not report the cause.
        assert!(matches!(batch_outcome(&results(&[424, 424]), 9), Err(Error::Failed(_))));
    }

    #[test]
    fn numbers_are_equal_by_value_and_all_else_by_form() {
        assert!(same_content(&json!({ "a": [1.0, { "b": null }] }), &json!({ "a": [1, { "b": null }] })));
        assert!(!same_content(&json!({ "a": 1 }), &json!({ "a": "1" })));
        assert!(!same_content(&json!({ "a": 1 }), &json!({ "a": 1, "b": null })));
        assert!(!same_content(&json!([1]), &json!([1, 2])));
    }
}
