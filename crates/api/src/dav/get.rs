//! GET of collections and files.

use bytes::Bytes;
use http::{StatusCode, header};
use personium_dav::headers::{SelectedRange, is_not_modified, select_range};
use personium_model::Resource;
use personium_model::file::{self, FileContent, OpenedFile};
use personium_model::locate::Target;
use personium_model::node::NodeKind;
use personium_types::{Code, Error, Operation, Result};

use crate::body;
use crate::hrefs;
use crate::request_context::RequestContext;
use crate::response::{self, Response, WithHeader};

/// GET of a collection or a file.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    request: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    resource.permit(&target, Operation::Read)?;
    if !target.exists() {
        return Err(resource.not_found());
    }
    if target.node().value().kind != NodeKind::File {
        let text = format!("URL : {}\n", hrefs::node_url(resource.unit.urls(), &target));
        return Ok(response::content(StatusCode::OK, "text/plain", text));
    }
    let if_none_match = request.header("if-none-match").map(str::to_owned);
    let range = request.header("range").map(str::to_owned);
    let etag = target.node().value().etag();
    if is_not_modified(if_none_match.as_deref(), etag) {
        return Ok(response::status(StatusCode::NOT_MODIFIED)
            .with_header(header::ETAG, &etag.strong().to_string()));
    }
    send(file::open(&resource, &target).await?, range.as_deref())
}

/// The response with the whole file, or with the part that a `Range` header selects.
fn send(opened: OpenedFile, range: Option<&str>) -> Result<Response> {
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
        FileContent::Chunks(reader) => body::of_blob(reader, first, length),
    };
    let mut out = response::with_body(status, body)
        .with_header(header::CONTENT_LENGTH, &length.to_string())
        .with_header(header::ETAG, &node.etag().strong().to_string())
        .with_header(header::ACCEPT_RANGES, "bytes");
    if let Some(media_type) = node.file.as_ref().and_then(|f| f.media_type.as_deref()) {
        out = out.with_header(header::CONTENT_TYPE, media_type);
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
