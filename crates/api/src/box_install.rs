//! MKCOL of a box: installs the application in an archive.

use std::fs::File;

use http::{StatusCode, header};
use http_body_util::BodyExt;
use personium_model::concurrency_limiter::LimiterPermit;
use personium_model::event;
use personium_model::install::{InstallRequest, Installer, Package};
use personium_model::url::LOCAL_CELL;
use personium_model::{Permit, Unit};
use personium_types::{Code, Error, Operation, Result};
use tokio::io::AsyncWriteExt;

use crate::body::Body;
use crate::event::about;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// The media type of an archive.
const ZIP: &str = "application/zip";
/// Bytes of a megabyte.
const MEGABYTE: u64 = 1 << 20;

/// Whether a request means to install a box: on a box that exists, MKCOL without an archive is refused as WebDAV has it.
pub(crate) async fn is_meant(request: &CellRequest) -> Result<bool> {
    let path = &request.path.decoded;
    let ([name], "MKCOL") = (path.as_slice(), request.method.as_str()) else {
        return Ok(false);
    };
    let archive = request.header("content-type") == Some(ZIP);
    Ok(archive || request.context.find_box(name).await?.is_none())
}

/// Makes a box of an archive. What it holds is installed after the answer.
pub(crate) async fn handle(mut request: CellRequest) -> Result<Response> {
    let name = request.path.decoded.first().cloned().unwrap_or_default();
    if name == "__" {
        return Err(Code::MethodNotAllowed.into());
    }
    // Who may not install leaves no trace in the log of the cell.
    let permit = request.permit(Operation::InstallBox).await?;
    let begun = begin(&mut request, &permit, &name).await;
    let status = match &begun {
        Ok(_) => StatusCode::ACCEPTED.as_u16(),
        Err(refusal) => refusal.code().status(),
    };
    tell(&request, &permit, &name, status).await;
    let (installer, place) = begun?;
    tokio::spawn(async move {
        installer.run().await;
        drop(place);
    });
    let url = format!("{}{name}", request.cell_url());
    Ok(response::status(StatusCode::ACCEPTED).with_header(header::LOCATION, &url))
}

/// The installation, and its place among those that run at once.
async fn begin(
    request: &mut CellRequest,
    permit: &Permit,
    name: &str,
) -> Result<(Installer, LimiterPermit)> {
    let unit = request.unit.clone();
    if request.header("content-type") != Some(ZIP) {
        return Err(Error::new(Code::ExportHeader).with("Content-Type"));
    }
    let cell = request.context.cell().id;
    let body = request.take_body();
    let file = {
        let _place = unit.uploads().enter(&cell).await?;
        receive(&unit, body).await?
    };
    // Only an archive that is here takes the place of an installation: a client may take its time to send one.
    let place = unit.installs().enter(&cell).await?;
    let package = Package::open(file, &unit.settings().bar).await?;
    let install_request = InstallRequest {
        box_name: name,
        request_key: request.request_key.as_str(),
        package,
    };
    let installer = request
        .installs
        .begin(&unit, &request.context, permit, install_request)
        .await?;
    Ok((installer, place))
}

/// Takes the archive into a file without a name, which goes with the installation or with the server.
async fn receive(unit: &Unit, mut body: Body) -> Result<File> {
    let limits = &unit.settings().bar;
    let max = limits.file_megabytes.saturating_mul(MEGABYTE);
    let folder = limits.folder.clone();
    let made = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        tempfile::tempfile_in(&folder)
    });
    let made = made.await.map_err(Error::internal)?;
    let mut file = tokio::fs::File::from_std(made.map_err(Error::internal)?);
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::new(Code::RequestTimeout).with_source(e))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        length = length.saturating_add(piece.len() as u64);
        if length > max {
            let megabytes = limits.file_megabytes.to_string();
            return Err(Error::new(Code::BarTooLarge).with(megabytes));
        }
        file.write_all(&piece).await.map_err(Error::internal)?;
    }
    file.flush().await.map_err(Error::internal)?;
    Ok(file.into_std().await)
}

/// Tells the rules of the cell that somebody wanted to install a box.
async fn tell(request: &CellRequest, permit: &Permit, name: &str, status: u16) {
    let happened = event::Event {
        kind: Some("boxinstall".to_owned()),
        object: Some(format!("{LOCAL_CELL}/{name}")),
        info: Some(status.to_string()),
        ..about(request)
    };
    // The box is new, so the rules are those of now.
    let told = match request.unit.find_cell(&request.context.cell().name).await {
        Ok(Some(context)) => {
            let (installs, unit) = (&request.installs, &request.unit);
            installs.post_event(unit, &context, permit, happened).await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = told {
        tracing::warn!("that a box was to be installed could not be told: {error}");
    }
}
