//! `$batch`: many requests to a collection in one.
//!
//! A change set is stored as a whole or not at all. Every other request stands alone and has its own response; consecutive
//! creations among them are stored by one commit.

mod change_set;
mod creations;
mod executor;
mod part_request;
mod part_response;

use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use personium_odata::batch::{
    self, BatchError, BatchLimits, BatchMethod, BatchPart, BatchRoot, BatchTarget, BatchWriter,
};
use personium_types::{Code, Error, Result};

use self::executor::BatchExecutor;
use super::request::ODataRequest;
use super::response::version_2;
use crate::answer;
use crate::body;
use crate::response::{self, Response};

/// The number of creations that one commit stores at most.
const MAX_CREATIONS_PER_COMMIT: usize = 1_000;

/// Carries out a request to the collection with its path below the root.
pub(super) type Dispatch =
    for<'r> fn(&'r mut ODataRequest, &'r str) -> BoxFuture<'r, Result<Response>>;

/// `POST {collection}/$batch`. `dispatch` carries out the requests in it.
///
/// # Errors
/// The refusal of the batch as a whole. The refusal of a part is a part of the response.
pub(super) async fn batch(request: &mut ODataRequest, dispatch: Dispatch) -> Result<Response> {
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
    let host = request.header("host").map(str::to_owned);
    let base = request.base.clone();
    let body = request.read_body(max_bytes).await?;
    let root = BatchRoot {
        url: &base,
        host: host.as_deref(),
    };
    let parts = batch::parse(&content_type, &body, root, &limits).map_err(|e| refused(&e))?;
    let boundary = batch::boundary_of(&content_type).unwrap_or_default();
    let writer = BatchWriter::new(boundary);
    let mut executor = BatchExecutor::new(request, dispatch, &body, writer, deadline);
    let mut rest = parts.as_slice();
    while let Some(first) = rest.first() {
        let step = BatchStep::of(rest);
        let (now, later) = rest.split_at(step.length());
        rest = later;
        if executor.refuse_in_maintenance(now, step.length_of_refusal()) {
            continue;
        }
        executor.refresh_schema_if_stale().await;
        match step {
            BatchStep::ChangeSet(_) => executor.execute_change_set(now).await,
            BatchStep::Creations(_) => executor.create(now).await,
            BatchStep::Single => executor.execute(first).await,
        }
    }
    Ok(into_response(executor))
}

fn into_response(executor: BatchExecutor<'_>) -> Response {
    let (writer, reservation) = executor.finish();
    let content_type = HeaderValue::from_str(&writer.content_type());
    let body = body::reserved(writer.finish().into(), reservation);
    let mut response = version_2(response::with_body(StatusCode::ACCEPTED, body));
    answer::mark_counted(&mut response);
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
        BatchError::DuplicateContentId => Error::new(Code::BatchHeader).with("Content-ID"),
        BatchError::NestedChangeSet => Code::BatchNested.into(),
        BatchError::TooManyParts(count) => {
            Error::new(Code::BatchTooMany).with(batch::grouped_digits(*count))
        }
        BatchError::UnsupportedMethod(method) => Error::new(Code::BatchMethod).with(method),
        BatchError::MalformedRequestLine(line) => Error::new(Code::BatchPath).with(line),
        BatchError::TopSumTooLarge => Code::BatchTopSum.into(),
    }
}

/// The parts that are executed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchStep {
    /// A change set of so many parts, more than one.
    ChangeSet(usize),
    /// So many creations that do not depend on each other.
    Creations(usize),
    /// One part.
    Single,
}

impl BatchStep {
    /// The first step of a batch. A change set of one part is atomic as the part is.
    fn of(parts: &[BatchPart<'_>]) -> Self {
        let Some(first) = parts.first() else {
            return Self::Single;
        };
        match parts_of_change_set(parts) {
            0 | 1 => {}
            several => return Self::ChangeSet(several),
        }
        match CreationKind::of(first) {
            Some(kind) => Self::Creations(consecutive_creations(parts, kind)),
            None => Self::Single,
        }
    }

    /// The number of responses if all of them are refused: a change set has one.
    fn length_of_refusal(self) -> usize {
        match self {
            Self::ChangeSet(_) | Self::Single => 1,
            Self::Creations(count) => count,
        }
    }

    /// The number of parts.
    fn length(self) -> usize {
        match self {
            Self::ChangeSet(count) | Self::Creations(count) => count,
            Self::Single => 1,
        }
    }
}

/// The number of parts at the start that belong to one change set.
fn parts_of_change_set(parts: &[BatchPart<'_>]) -> usize {
    let number = |part: &BatchPart<'_>| part.change_set.map(|frame| frame.number);
    let Some(first) = parts.first().and_then(number) else {
        return 0;
    };
    let parts = parts.iter();
    parts.take_while(|part| number(part) == Some(first)).count()
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

/// The number of creations of this kind at the start, each in no change set or alone in one, up to
/// [`MAX_CREATIONS_PER_COMMIT`].
fn consecutive_creations(parts: &[BatchPart<'_>], kind: CreationKind) -> usize {
    let mut count = 0;
    while let Some(rest) = parts.get(count..)
        && let Some(next) = rest.first()
        && CreationKind::of(next) == Some(kind)
        && parts_of_change_set(rest) <= 1
        && count < MAX_CREATIONS_PER_COMMIT
    {
        count += 1;
    }
    count
}
