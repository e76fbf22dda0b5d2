//! MKCOL of a box: installs the application in an archive.

use std::fs::File;

use http::{StatusCode, header};
use personium_install::{InstallRequest, Installer, Package};
use personium_model::concurrency_limiter::{LimiterPermit, StepPermits};
use personium_model::event::Event;
use personium_model::temp_file::TempFile;
use personium_model::url::LOCAL_CELL;
use personium_model::{Permit, Unit};
use personium_types::{Code, Error, Operation, Result};
use tokio::sync::oneshot;

use crate::body::{self, Body};
use crate::event_cause::{event_of, origin_of};
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// The media type of an archive.
const ZIP: &str = "application/zip";
/// The bytes of a megabyte.
const MEGABYTE_BYTES: u64 = 1 << 20;

/// A received archive, with its share of the concurrent installations.
struct ReceivedArchive {
    package: Package,
    limiter_permit: LimiterPermit,
}

/// Whether MKCOL of a box is a request to install one. On a box that exists, MKCOL without an archive is refused by the rules
/// of WebDAV.
///
/// # Errors
/// The error of the store.
pub(crate) async fn is_install_request(request: &CellRequest) -> Result<bool> {
    let path = &request.path.decoded;
    let ([name], "MKCOL") = (path.as_slice(), request.method.as_str()) else {
        return Ok(false);
    };
    let archive = request.header("content-type") == Some(ZIP);
    Ok(archive || request.context.find_box(name).await?.is_none())
}

/// Creates a box from an archive. Its content is installed after the response.
///
/// # Errors
/// [`Code::MethodNotAllowed`] for the main box, or the refusal of the installation.
pub(crate) async fn handle(mut request: CellRequest) -> Result<Response> {
    let name = request.path.decoded.first().cloned().unwrap_or_default();
    if name == "__" {
        return Err(Code::MethodNotAllowed.into());
    }
    // Requests without the privilege do not post an event.
    let permit = request.permit(Operation::InstallBox).await?;
    let url = format!("{}{name}", request.cell_url());
    let archive = match receive(&mut request).await {
        Ok(archive) => archive,
        Err(refusal) => {
            post_install_event(&request, &permit, &name, refusal.code().status()).await;
            return Err(refusal);
        }
    };
    // A task of its own: a box that was created is installed or removed again, also if the client goes away.
    let (sender, started) = oneshot::channel();
    let unit = request.unit.clone();
    let installing = async move {
        let start = start(&request, &permit, &name, archive.package).await;
        let status = match &start {
            Ok(_) => StatusCode::ACCEPTED.as_u16(),
            Err(refusal) => refusal.code().status(),
        };
        post_install_event(&request, &permit, &name, status).await;
        drop(request);
        match start {
            Ok(installer) => {
                let _ = sender.send(Ok(()));
                let span = personium_trace::work("box.install");
                span.scope(installer.run()).await;
            }
            Err(refusal) => {
                let _ = sender.send(Err(refusal));
            }
        }
        drop(archive.limiter_permit);
    };
    unit.background_work().spawn(installing);
    started.await.map_err(Error::internal)??;
    Ok(response::status(StatusCode::ACCEPTED).with_header(header::LOCATION, &url))
}

/// Receives the archive and checks its structure.
async fn receive(request: &mut CellRequest) -> Result<ReceivedArchive> {
    let unit = request.unit.clone();
    if request.header("content-type") != Some(ZIP) {
        return Err(Error::new(Code::ExportHeader).with("Content-Type"));
    }
    request.check_not_encoded()?;
    let cell = request.context.cell().id;
    let body = request.take_body();
    let permits = unit.limits().uploads.steps(cell);
    let archive = spool_to_temp_file(&unit, body, permits).await?;
    // Acquired only now, so that a slow upload does not block other installations.
    let limiter_permit = unit.limits().installs.acquire(&cell).await?;
    let package = Package::open(archive, &unit.settings().archives).await?;
    Ok(ReceivedArchive {
        package,
        limiter_permit,
    })
}

/// Whether the requester may do an operation to the cell.
///
/// # Errors
/// A failure of the store.
async fn is_permitted(request: &CellRequest, operation: Operation) -> Result<bool> {
    match request.permit(operation).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.code().is_server_error() => Err(failure),
        Err(_) => Ok(false),
    }
}

/// Creates the box.
async fn start(
    request: &CellRequest,
    permit: &Permit,
    name: &str,
    package: Package,
) -> Result<Installer> {
    let install_request = InstallRequest {
        box_name: name,
        origin: origin_of(request),
        package,
        may_write_rules: is_permitted(request, Operation::WriteRules).await?,
        may_write_accounts: is_permitted(request, Operation::WriteAccounts).await?,
    };
    request
        .install_authority
        .start(&request.unit, &request.context, permit, install_request)
        .await
}

/// Writes the archive to a temporary file. While it waits for the client, it has no permit.
async fn spool_to_temp_file(
    unit: &Unit,
    mut body: Body,
    mut permits: StepPermits<'_>,
) -> Result<File> {
    let settings = &unit.settings().archives;
    let max_bytes = settings
        .archive_max_megabytes
        .saturating_mul(MEGABYTE_BYTES);
    let mut file = {
        let _permit = permits.next().await?;
        TempFile::create(&settings.temp_dir).await?
    };
    while let Some(chunk) = body::next_chunk(&mut body).await? {
        if file.length().saturating_add(chunk.len() as u64) > max_bytes {
            let megabytes = settings.archive_max_megabytes.to_string();
            return Err(Error::new(Code::BarTooLarge).with(megabytes));
        }
        let _permit = permits.next().await?;
        file.append(chunk).await?;
    }
    file.into_file()
}

/// Posts the event `boxinstall`, with the status of the response.
async fn post_install_event(request: &CellRequest, permit: &Permit, name: &str, status: u16) {
    let event = Event {
        kind: Some("boxinstall".to_owned()),
        object: Some(format!("{LOCAL_CELL}/{name}")),
        info: Some(status.to_string()),
        ..event_of(request)
    };
    // Found again, because the cached rules are from before the box was created.
    let posted = match request.unit.find_cell(&request.context.cell().name).await {
        Ok(Some(context)) => {
            let (authority, unit) = (&request.install_authority, &request.unit);
            authority.post_event(unit, &context, permit, event).await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = posted {
        tracing::warn!(
            cell.id = %request.context.cell().id,
            box.name = name,
            %error,
            "failed to post boxinstall event"
        );
    }
}
