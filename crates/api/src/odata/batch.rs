//! `$batch`: many requests to a collection in one. Parts are not atomic together; each has its own response.
//!
//! Consecutive creations are stored by one commit.

mod executor;
mod part_response;

use http::{HeaderValue, StatusCode, header};
use personium_odata::batch::{
    self, BatchError, BatchLimits, BatchMethod, BatchPart, BatchTarget, BatchWriter,
};
use personium_types::{Code, Error, Result};

use self::executor::BatchExecutor;
use super::request::ODataRequest;
use super::response::version_2;
use crate::body;
use crate::response::{self, Response};

/// The number of creations that one commit stores at most.
const MAX_CREATIONS_PER_COMMIT: usize = 1_000;

/// `POST {collection}/$batch`
///
/// # Errors
/// The refusal of the batch as a whole. The refusal of a part is a part of the response.
pub(super) async fn batch(request: &mut ODataRequest) -> Result<Response> {
    request.permit_use()?;
    let settings = &request.unit.settings().odata;
    let deadline = request.unit.clock().monotonic() + settings.batch_timeout;
    let limits = BatchLimits {
        max_parts: settings.batch_requests_max,
        max_top_sum: settings.top_max,
    };
    let max_bytes = settings.batch_body_max_bytes;
    let content_type = request.header("content-type").unwrap_or_default();
    let content_type = content_type.to_owned();
    let body = request.read_body(max_bytes).await?;
    let parts = batch::parse(&content_type, &body, &limits).map_err(|error| refused(&error))?;
    let boundary = batch::boundary_of(&content_type).unwrap_or_default();
    let mut executor = BatchExecutor::new(request, BatchWriter::new(boundary), deadline);
    let mut rest = parts.as_slice();
    while let Some(first) = rest.first() {
        let (now, later) = rest.split_at(consecutive_creations(rest).max(1));
        executor.refresh_schema_if_stale().await;
        if CreationKind::of(first).is_some() {
            executor.create(now).await;
        } else {
            executor.execute(first).await;
        }
        rest = later;
    }
    Ok(into_response(executor.into_writer()))
}

fn into_response(writer: BatchWriter) -> Response {
    let content_type = HeaderValue::from_str(&writer.content_type());
    let body = body::full(writer.finish());
    let mut response = version_2(response::with_body(StatusCode::ACCEPTED, body));
    if let Ok(content_type) = content_type {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
    }
    response
}

fn refused(error: &BatchError) -> Error {
    match error {
        BatchError::MalformedFraming => Code::BatchBody.into(),
        BatchError::UnsupportedContentType => Error::new(Code::BatchHeader).with("Content-Type"),
        BatchError::NestedChangeset => Code::BatchNested.into(),
        BatchError::TooManyParts(count) => {
            Error::new(Code::BatchTooMany).with(batch::grouped_digits(*count))
        }
        BatchError::UnsupportedMethod(method) => Error::new(Code::BatchMethod).with(method),
        BatchError::MalformedRequestLine(line) => Error::new(Code::BatchPath).with(line),
        BatchError::TopSumTooLarge => Code::BatchTopSum.into(),
    }
}

/// The kind of a creation. Creations of one kind can share a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CreationKind {
    /// In an entity set.
    Plain,
    /// Through a navigation property, which links the new entity.
    Linked,
}

impl CreationKind {
    /// The kind of creation that a part is; `None` if it creates no entity.
    fn of(part: &BatchPart<'_>) -> Option<Self> {
        match (part.method, &part.target) {
            (BatchMethod::Post, BatchTarget::Set(_)) => Some(Self::Plain),
            (BatchMethod::Post, BatchTarget::Navigation { target: None, .. }) => Some(Self::Linked),
            _ => None,
        }
    }
}

/// The number of creations of one kind at the start, up to [`MAX_CREATIONS_PER_COMMIT`].
fn consecutive_creations(parts: &[BatchPart<'_>]) -> usize {
    let Some(kind) = parts.first().and_then(CreationKind::of) else {
        return 0;
    };
    parts
        .iter()
        .take(MAX_CREATIONS_PER_COMMIT)
        .take_while(|part| CreationKind::of(part) == Some(kind))
        .count()
}
