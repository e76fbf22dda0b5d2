//! `__export` and `__import`: the content of a cell into a snapshot, and back. While one runs, the cell is not changed.

use http::{Method, StatusCode, header};
use personium_install::{CellExporter, CellImporter, CellProperties, ExportFormat};
use personium_model::Permit;
use personium_model::transfer::{self, TransferKind, TransferStatus};
use personium_types::privilege::AccessType;
use personium_types::time::iso_time;
use personium_types::{Code, Error, Operation, Result, TargetLevel};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::event_cause::origin_of;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};
use crate::route::CellRoute;
use crate::{accept, dav, preflight};

/// The largest body of a request.
const BODY_MAX_BYTES: usize = 64 << 10;
/// The largest length of the name of a snapshot.
const NAME_MAX_CHARS: usize = 192;

/// Refuses a request that changes the cell while it is exported or imported, or its owner is in maintenance. A cell whose records
/// cannot be read may be removed.
///
/// # Errors
/// [`Code::CellBusyWithJob`], [`Code::Maintenance`]; a failure of the store.
pub(crate) async fn check_writable(request: &CellRequest) -> Result<()> {
    let is_reading = matches!(
        request.method.as_str(),
        "GET" | "OPTIONS" | "PROPFIND" | "REPORT"
    );
    let first = request.path.decoded.first();
    let route = first.map_or(CellRoute::Box, |first| CellRoute::of(first));
    // These give credentials, and change nothing that a snapshot has.
    let is_for_login = matches!(
        route,
        CellRoute::Token | CellRoute::Authorize | CellRoute::Introspect | CellRoute::Sign
    );
    if is_reading || is_for_login {
        return Ok(());
    }
    let owner = request.context.cell().owner.as_deref();
    request.maintenance.check_owner(owner)?;
    match transfer::check_writable(&request.unit, &request.context).await {
        Err(error) if request.removes_the_cell() && error.code() != Code::CellBusyWithJob => Ok(()),
        outcome => outcome,
    }
}

/// Checks that the requester may change something where the request leads.
///
/// # Errors
/// The refusal of the access check; a failure of the store.
pub(crate) async fn check_may_change(request: &CellRequest) -> Result<()> {
    let (urls, cell) = (request.unit.urls(), request.context.cell());
    if request.access.manages(urls, cell) {
        return Ok(());
    }
    let first = request.path.decoded.first();
    match first.map(|first| CellRoute::of(first)) {
        Some(CellRoute::Export) => request.permit(Operation::ExportCell).await.map(drop),
        Some(CellRoute::Import) => request.permit(Operation::ImportCell).await.map(drop),
        Some(CellRoute::MyPassword) => request.access.permit_own_password(cell).map(drop),
        Some(CellRoute::Box) => {
            let resource = dav::resource_of(request);
            match resource.locate().await {
                Ok(target) => may_any(TargetLevel::Box, |it| resource.permit(&target, it)),
                // A box that would be installed.
                Err(error) if error.code() == Code::NoSuchBox => may_change_cell(request).await,
                Err(error) => Err(error),
            }
        }
        _ if request.access.permit_delivery(cell).is_ok() => Ok(()),
        _ => may_change_cell(request).await,
    }
}

async fn may_change_cell(request: &CellRequest) -> Result<()> {
    let node = request.context.cell_node().await?;
    let (urls, cell) = (request.unit.urls(), request.context.cell());
    let (access, acl) = (&request.access, &node.value.acl);
    may_any(TargetLevel::Cell, |it| {
        access.permit_cell(urls, cell, acl, it)
    })
}

/// Checks that one of the operations of a level that change something is permitted.
fn may_any(level: TargetLevel, permit: impl Fn(Operation) -> Result<Permit>) -> Result<()> {
    let changes = Operation::ALL.iter().filter(|operation| {
        let needed = operation.privilege();
        operation.level() == level && needed.is_some_and(|it| it.access_type() != AccessType::Read)
    });
    let mut refused = Code::AuthRequired.into();
    for operation in changes {
        match permit(*operation) {
            Ok(_) => return Ok(()),
            Err(refusal) => refused = refusal,
        }
    }
    Err(refused)
}

/// Answers a request to `__export` or `__import`.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle(request: CellRequest, kind: TransferKind) -> Result<Response> {
    match request.method.as_str() {
        "OPTIONS" => {
            request.permit(kind.operation()).await?;
            Ok(preflight::allow("OPTIONS, GET, POST"))
        }
        "GET" => {
            request.permit(kind.operation()).await?;
            let status = transfer::status(&request.unit, &request.context).await?;
            let body = describe(kind, status).to_string();
            let media_type = accept::json_or_text(&request.headers);
            Ok(response::content(StatusCode::OK, media_type, body))
        }
        "POST" => Box::pin(begin(request, kind)).await,
        _ => Err(request.method_not_allowed()),
    }
}

/// The state of exports or imports.
fn describe(kind: TransferKind, status: TransferStatus) -> Value {
    match (kind, status) {
        (TransferKind::Export, TransferStatus::Running(state)) if state.kind == kind => json!({
            "status": "exportation in progress",
            "started_at": iso_time(state.started_at),
            "progress": format!("{}%", state.percent),
            "exportation_name": state.name,
        }),
        (TransferKind::Import, TransferStatus::Running(state)) if state.kind == kind => json!({
            "status": "importation in progress",
            "started_at": iso_time(state.started_at),
            "progress": format!("{}%", state.percent),
            "importation_name": state.name,
        }),
        (TransferKind::Import, TransferStatus::ImportFailed(failure)) => json!({
            "status": "import failed",
            "message": {
                "code": failure.code,
                "message": {"lang": "en", "value": failure.text},
            },
        }),
        _ => json!({"status": "ready"}),
    }
}

/// A transfer that was begun.
enum BegunTransfer {
    Export(Box<CellExporter>),
    Import(Box<CellImporter>),
}

/// Begins a transfer of a cell, which goes on after the response.
async fn begin(mut request: CellRequest, kind: TransferKind) -> Result<Response> {
    let permit = request.permit(kind.operation()).await?;
    let (name, format) = read_body(&mut request, kind).await?;
    let name = match (name, kind) {
        (Some(name), _) => name,
        (None, TransferKind::Export) => name_with_time(&request),
        (None, TransferKind::Import) => {
            return Err(Error::new(Code::RequestFieldRequired).with("Name"));
        }
    };
    let endpoint = match kind {
        TransferKind::Export => "__export",
        TransferKind::Import => "__import",
    };
    let location = format!("{}{endpoint}", request.cell_url());
    // A task of its own: a transfer that was begun goes on, also if the client goes away.
    let (sender, begun) = oneshot::channel();
    let unit = request.unit.clone();
    let transferring = async move {
        let (unit, cell) = (request.unit.clone(), request.context.cell().id);
        let _limiter_permit = match unit.limits().installs.acquire(&cell).await {
            Ok(permit) => permit,
            Err(refusal) => return drop(sender.send(Err(refusal))),
        };
        let started = start(&request, &permit, (kind, name.as_str(), format)).await;
        drop(request);
        let transfer = match started {
            Ok(transfer) => transfer,
            Err(refusal) => return drop(sender.send(Err(refusal))),
        };
        let _ = sender.send(Ok(()));
        match transfer {
            BegunTransfer::Export(exporter) => {
                let span = personium_trace::work("cell.export");
                span.scope(exporter.run()).await;
            }
            BegunTransfer::Import(importer) => {
                let span = personium_trace::work("cell.import");
                span.scope(importer.run()).await;
            }
        }
    };
    unit.background_work().spawn(transferring);
    begun.await.map_err(Error::internal)??;
    Ok(response::status(StatusCode::ACCEPTED).with_header(header::LOCATION, &location))
}

async fn start(
    request: &CellRequest,
    permit: &Permit,
    (kind, name, format): (TransferKind, &str, ExportFormat),
) -> Result<BegunTransfer> {
    let (unit, context) = (&request.unit, &request.context);
    let authority = &request.install_authority;
    let wanted = (permit, name, origin_of(request));
    Ok(match kind {
        TransferKind::Export => {
            let exporter = CellExporter::begin(unit, context, authority, wanted).await?;
            BegunTransfer::Export(Box::new(exporter.in_format(format)))
        }
        TransferKind::Import => {
            let importer = CellImporter::begin(unit, context, authority, wanted).await?;
            let may_set = request.access.manages(unit.urls(), context.cell());
            let properties = match may_set {
                true => CellProperties::Imported,
                false => CellProperties::Kept,
            };
            BegunTransfer::Import(Box::new(importer.with_properties(properties)))
        }
    })
}

/// The name of the cell and the time.
fn name_with_time(request: &CellRequest) -> String {
    let time = iso_time(request.unit.now_ms());
    let digits: String = time.chars().filter(char::is_ascii_digit).take(14).collect();
    let (date, time) = digits.split_at(digits.len().min(8));
    format!("{}_{date}_{time}", request.context.cell().name)
}

/// The name of the snapshot in the body, `None` if the body is empty or has none; and the form of an export.
async fn read_body(
    request: &mut CellRequest,
    kind: TransferKind,
) -> Result<(Option<String>, ExportFormat)> {
    let body = match request.method {
        Method::POST => request.read_body(BODY_MAX_BYTES).await?,
        _ => return Ok((None, ExportFormat::Snapshot)),
    };
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok((None, ExportFormat::Snapshot));
    }
    let body: Value = serde_json::from_slice(&body)
        .map_err(|error| Error::new(Code::RequestJson).with_source(error))?;
    let members = body.as_object().ok_or(Code::RequestJson)?;
    let invalid = |name: &str| Error::new(Code::RequestFieldFormat).with(name);
    let name = match members.get("Name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if is_name(name) => Some(name.clone()),
        Some(_) => return Err(invalid("Name")),
    };
    let format = match (members.get("Format").and_then(Value::as_str), kind) {
        (Some("snapshot"), TransferKind::Export) => ExportFormat::Snapshot,
        (Some("open"), TransferKind::Export) => ExportFormat::OpenData,
        (None, TransferKind::Export) if members.contains_key("Format") => {
            return Err(invalid("Format"));
        }
        (Some(_), TransferKind::Export) => return Err(invalid("Format")),
        // Other members mean nothing.
        (_, TransferKind::Import) | (None, TransferKind::Export) => ExportFormat::Snapshot,
    };
    Ok((name, format))
}

fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !name.is_empty() && name.len() <= NAME_MAX_CHARS && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_of_snapshots_have_letters_digits_and_lines_only() {
        for name in ["a", "A-z_9", &"n".repeat(192)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "a.zip",
            "../a",
            "a/b",
            "a b",
            "\u{e9}",
            "a\0",
            &"n".repeat(193),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
