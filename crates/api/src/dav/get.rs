//! GET of collections and files.

use bytes::Bytes;
use http::{StatusCode, header};
use personium_dav::headers::{SelectedRange, select_range};
use personium_dav::multistatus::http_date;
use personium_model::file::{self, FileContent, OpenedFile};
use personium_model::locate::Target;
use personium_model::node::NodeKind;
use personium_model::{AnswerShare, Resource};
use personium_types::preconditions::{Outcome, RequestKind, ResourceState, if_range_allows_part};
use personium_types::{Code, ETag, Error, Operation, Preconditions, Result};

use crate::body;
use crate::hrefs;
use crate::request_context::RequestContext;
use crate::response::{self, REVALIDATE, Response, WithHeader};

/// The media type of a file that was stored without one, so that no client guesses.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// GET of a collection or a file.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    request: &RequestContext,
    resource: &Resource,
    target: &Target,
) -> Result<Response> {
    resource.permit(target, Operation::Read)?;
    if !target.exists() {
        return Err(resource.not_found());
    }
    let etag = target.node().value().etag();
    if let Some(response) = answer_by_conditions(&resource.conditions, etag)? {
        return Ok(response);
    }
    if target.node().value().kind != NodeKind::File {
        let text = format!("URL : {}\n", hrefs::node_url(resource.unit.urls(), target));
        return Ok(response::content(StatusCode::OK, "text/plain", text));
    }
    let range = request.header(header::RANGE).map(str::to_owned);
    let if_range = request.header_lines(header::IF_RANGE);
    let opened = file::open(resource, target).await?;
    let opened_etag = opened.node.etag();
    // The file may have been replaced since it was found.
    if opened_etag != etag
        && let Some(response) = answer_by_conditions(&resource.conditions, opened_etag)?
    {
        return Ok(response);
    }
    let range = range.filter(|_| if_range_allows_part(if_range.as_deref(), opened_etag));
    send(opened, range.as_deref(), request.answers.clone()).await
}

/// The response to GET of a node if its conditions decide it.
fn answer_by_conditions(conditions: &Preconditions, etag: ETag) -> Result<Option<Response>> {
    match conditions.evaluate(RequestKind::Read, ResourceState::of_node(Some(etag))) {
        Outcome::Proceed => Ok(None),
        Outcome::NotModified => Ok(Some(
            response::status(StatusCode::NOT_MODIFIED)
                .with_header(header::CACHE_CONTROL, REVALIDATE)
                .with_header(header::ETAG, &etag.strong().to_string()),
        )),
        Outcome::Failed => Err(Code::DavTagMismatch.into()),
    }
}

/// The response with the whole file, or with the part that a `Range` header selects.
async fn send(opened: OpenedFile, range: Option<&str>, memory: AnswerShare) -> Result<Response> {
    let node = opened.node;
    let size = node.file.as_ref().map_or(0, |f| f.length);
    let selected = select_range(range, size);
    let (status, first, length) = match selected {
        SelectedRange::Whole => (StatusCode::OK, 0, size),
        SelectedRange::Part { first, last } => {
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
        SelectedRange::NotSatisfiable => return Err(Code::RangeUnsatisfiable.into()),
        SelectedRange::Multiple => {
            return Err(Error::new(Code::NotImplementedFeature).with("Range-MultiPart"));
        }
    };
    let body = match opened.content {
        FileContent::Whole(bytes) => body::full(part(&bytes, first, length)),
        FileContent::Chunks(reader) => body::of_blob(reader, first, length, memory).await?,
    };
    let mut out = response::with_body(status, body)
        .with_header(header::CONTENT_LENGTH, &length.to_string())
        .with_header(header::ETAG, &node.etag().strong().to_string())
        .with_header(header::CACHE_CONTROL, REVALIDATE)
        .with_header(header::LAST_MODIFIED, &http_date(node.updated))
        .with_header(header::ACCEPT_RANGES, "bytes");
    let media_type = node.file.as_ref().and_then(|f| f.media_type.as_deref());
    out = out.with_header(header::CONTENT_TYPE, media_type.unwrap_or(UNKNOWN_TYPE));
    if let Some(encoding) = node
        .file
        .as_ref()
        .and_then(|f| f.content_encoding.as_deref())
    {
        out = out.with_header(header::CONTENT_ENCODING, encoding);
    }
    if let SelectedRange::Part { first, last } = selected {
        let range = format!("bytes {first}-{last}/{size}");
        out = out.with_header(header::CONTENT_RANGE, &range);
    }
    Ok(out)
}

fn part(bytes: &Bytes, first: u64, length: u64) -> Bytes {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
    let start = at(first);
    bytes.slice(start..at(first.saturating_add(length)).max(start))
}
