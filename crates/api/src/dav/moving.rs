//! MOVE within a box.

use http::{StatusCode, header};
use personium_dav::headers::{Overwrite, check_move_depth};
use personium_model::Resource;
use personium_model::locate::Target;
use personium_model::relocation::{self, Destination};
use personium_types::{Code, Error, Result};

use crate::request_context::{Path, RequestContext};
use crate::response::{self, Response, WithHeader};

/// MOVE of a file or collection.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    request: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    relocation::check_source(&resource, &target)?;
    drop(target);
    let to = destination(&request, &resource)?;
    drop(request);
    let moved = relocation::relocate(&resource, &to).await?;
    let status = if moved.created {
        StatusCode::CREATED
    } else {
        StatusCode::NO_CONTENT
    };
    Ok(response::status(status)
        .with_header(header::LOCATION, &to.url)
        .with_header(header::ETAG, &moved.etag.strong().to_string()))
}

fn destination(request: &RequestContext, resource: &Resource) -> Result<Destination> {
    let depth = request.header("depth");
    check_move_depth(depth).map_err(|_| Error::new(Code::Depth).with(depth.unwrap_or_default()))?;
    let overwrite = request.header("overwrite");
    let overwrite = Overwrite::of_header(overwrite).map_err(|_| invalid("Overwrite", overwrite))?;
    let url = request
        .header("destination")
        .filter(|url| !url.is_empty())
        .ok_or_else(|| Error::new(Code::HeaderMissing).with("Destination"))?;
    let url = &absolute(request, url);
    if *url == request.url {
        return Err(Error::new(Code::DestinationIsSource).with(url));
    }
    let segments =
        segments(request, resource, url).ok_or_else(|| invalid("Destination", Some(url)))?;
    Ok(Destination {
        segments,
        url: url.to_owned(),
        overwrite: overwrite == Overwrite::Replace,
        names_collection: url.ends_with('/'),
    })
}

/// The absolute URL of a `Destination` (RFC 4918, section 10.3), which can be an absolute path on the host of the request.
fn absolute(request: &RequestContext, destination: &str) -> String {
    if !destination.starts_with('/') || destination.starts_with("//") {
        return destination.to_owned();
    }
    let authority = request.url.find("://").map_or(0, |at| at + 3);
    let host_end = request.url.get(authority..).and_then(|rest| rest.find('/'));
    let end = host_end.map_or(request.url.len(), |at| authority + at);
    format!(
        "{}{destination}",
        request.url.get(..end).unwrap_or_default()
    )
}

/// The decoded path of a URL below the box; `None` if it is outside the box, or the box itself.
fn segments(request: &RequestContext, resource: &Resource, url: &str) -> Option<Vec<String>> {
    let http = request.unit.urls().resolve(url)?;
    let (cell, path) = request.unit.urls().split(&http)?;
    if cell != resource.context.cell().name || path.contains(['?', '#']) {
        return None;
    }
    let mut path = Path::parse(path).ok()?.decoded.into_iter();
    if path.next()? != resource.box_name {
        return None;
    }
    let below: Vec<String> = path.collect();
    (!below.is_empty()).then_some(below)
}

fn invalid(name: &str, value: Option<&str>) -> Error {
    Error::new(Code::HeaderInvalid)
        .with(name)
        .with(value.unwrap_or_default())
}
