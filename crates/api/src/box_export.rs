//! GET of a box as an archive.

use http::{StatusCode, header};
use personium_install::ExportedBox;
use personium_model::Resource;
use personium_model::locate::Target;
use personium_types::Result;

use crate::answer;
use crate::body;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// The media type of an application archive.
pub(crate) const ARCHIVE: &str = "application/zip+x-personium-bar";

/// The archive of a box that the caller may read.
///
/// # Errors
/// As [`ExportedBox::write`]; [`Code::ServerBusy`](personium_types::Code::ServerBusy) if too many boxes are installed or exported.
pub(crate) async fn handle(
    request: CellRequest,
    resource: Resource,
    target: &Target,
) -> Result<Response> {
    let memory = request.answers.clone();
    drop(request);
    let cell = resource.context.cell().id;
    let limits = resource.unit.limits();
    let limiter_permit = limits.installs.acquire(&cell).await?;
    let exported = ExportedBox {
        unit: resource.unit.clone(),
        context: resource.context.clone(),
        info: target.target_box.clone(),
        access: resource.access.clone(),
    };
    let work = resource.unit.background_work();
    let written = work.run(async move { Box::pin(exported.write()).await });
    let archive = written.await??;
    drop(limiter_permit);
    let length = archive.length();
    let body = body::of_blob(Box::new(archive), 0, length, memory).await?;
    let mut response = response::with_media_type(StatusCode::OK, ARCHIVE, body);
    answer::mark_counted(&mut response);
    Ok(response.with_header(header::CONTENT_LENGTH, &length.to_string()))
}
