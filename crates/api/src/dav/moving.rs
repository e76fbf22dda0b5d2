//! MOVE within a box.

use http::{StatusCode, header};
use personium_dav::headers::{Overwrite, check_move_depth};
use personium_model::Resource;
use personium_model::locate::Target;
use personium_model::relocation::{self, Destination};
use personium_types::{Code, Error, Result};

use crate::answer::{self, Answer, WithHeader};
use crate::request_context::{Path, RequestContext};

/// MOVE of a file or collection.
pub(super) async fn handle(
    call: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Answer> {
    relocation::check_source(&resource, &target)?;
    drop(target);
    let to = destination(&call, &resource)?;
    drop(call);
    let moved = relocation::relocate(&resource, &to).await?;
    let status = if moved.created {
        StatusCode::CREATED
    } else {
        StatusCode::NO_CONTENT
    };
    Ok(answer::status(status)
        .with(header::LOCATION, &to.url)
        .with(header::ETAG, &moved.etag))
}

fn destination(call: &RequestContext, resource: &Resource) -> Result<Destination> {
    let depth = call.header("depth");
    check_move_depth(depth).map_err(|_| Error::new(Code::Depth).with(depth.unwrap_or_default()))?;
    let overwrite = call.header("overwrite");
    let overwrite = Overwrite::of_header(overwrite).map_err(|_| invalid("Overwrite", overwrite))?;
    let url = call
        .header("destination")
        .filter(|url| !url.is_empty())
        .ok_or_else(|| Error::new(Code::HeaderMissing).with("Destination"))?;
    if url == call.url {
        return Err(Error::new(Code::DestinationIsSource).with(url));
    }
    let segments =
        segments(call, resource, url).ok_or_else(|| invalid("Destination", Some(url)))?;
    Ok(Destination {
        segments,
        url: url.to_owned(),
        overwrite: overwrite == Overwrite::Replace,
        if_match: call.header("if-match").map(str::to_owned),
    })
}

/// The decoded path below the box that a URL names; `None` if it is not in this box, or the box itself.
fn segments(call: &RequestContext, resource: &Resource, url: &str) -> Option<Vec<String>> {
    let http = call.unit.urls().resolve(url)?;
    let (cell, path) = call.unit.urls().split(&http)?;
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
