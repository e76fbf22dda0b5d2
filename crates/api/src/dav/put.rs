//! PUT of files.

use futures_util::FutureExt;
use http::{StatusCode, header};
use personium_model::Resource;
use personium_model::file::{self, FileHeaders, PutResult, Upload};
use personium_model::locate::Target;
use personium_types::{Code, Error, Result};

use crate::body;
use crate::request_context::RequestContext;
use crate::response::{self, Response, WithHeader};

/// PUT creates or replaces a file. Access and preconditions are checked before the body is received, and again when it is
/// stored.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    request: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    let stored = store(request, &resource, target, None).await?;
    Ok(answer(&stored))
}

/// The response to a PUT.
pub(super) fn answer(stored: &PutResult) -> Response {
    let status = match stored.created {
        true => StatusCode::CREATED,
        false => StatusCode::NO_CONTENT,
    };
    response::status(status).with_header(header::ETAG, &stored.etag.strong().to_string())
}

/// Stores the body of a request, which has this length if one is given.
///
/// # Errors
/// [`Code::HeaderInvalid`] if the body has another length; the refusal of the request.
pub(super) async fn store(
    mut request: RequestContext,
    resource: &Resource,
    target: Target,
    length: Option<u64>,
) -> Result<PutResult> {
    let mut checked = file::check_put(resource, target).await?;
    let headers = FileHeaders {
        media_type: request.header("content-type").map(str::to_owned),
        content_encoding: request.content_encoding()?,
    };
    let announced = request.announced_length();
    if let Some(max) = resource
        .unit
        .settings()
        .dav
        .file_max_bytes
        .filter(|max| announced > *max)
    {
        return Err(Error::new(Code::BodyTooLarge).with(max.to_string()));
    }
    let other_length = || Error::new(Code::HeaderInvalid).with("Content-Length");
    if length.is_some_and(|length| announced > length) {
        return Err(other_length().with(announced.to_string()));
    }
    let left = checked.quota_left(resource, announced).await?;
    // What was taken of the body cannot be received again.
    resource.check_current().await?;
    let mut body = request.take_body();
    let mut upload = Upload::new(&resource.unit, resource).within(left);
    upload.check_length(announced)?;
    let mut missing = length;
    loop {
        let received = match body::next_chunk(&mut body).now_or_never() {
            Some(received) => received,
            None => {
                checked.forget_located();
                body::next_chunk(&mut body).await
            }
        };
        let Some(chunk) = received? else {
            break;
        };
        if let Some(rest) = &mut missing {
            let after = rest.checked_sub(chunk.len() as u64);
            *rest = after.ok_or_else(|| other_length().with("too long"))?;
        }
        upload.write(chunk).await?;
    }
    if missing.is_some_and(|rest| rest > 0) {
        return Err(other_length().with("too short"));
    }
    if !upload.is_small() {
        checked.forget_located();
    }
    let received = upload.finish(headers).await?;
    file::put(resource, checked, received).await
}
