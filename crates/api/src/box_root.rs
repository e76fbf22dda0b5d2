//! The root of a box: its description, and its deletion with everything in it.

use http::StatusCode;
use personium_install::InstallationStatus;
use personium_model::locate::Target;
use personium_model::{Resource, odata};
use personium_types::preconditions::{Outcome, RequestKind, ResourceState};
use personium_types::time::iso_time;
use personium_types::{Code, Error, Operation, Result};
use serde_json::{Value, json};

use crate::headers::{RECURSIVE, refuse_erasure};
use crate::request_context::{CellRequest, RequestContext};
use crate::response::{self, Response};
use crate::{accept, box_export, describe, hrefs};

/// GET of a box: its name, its application, the state of its installation; or the archive, if the client accepts one.
///
/// # Errors
/// The refusal of the access check, or the error of the store.
pub(crate) async fn get(
    request: CellRequest,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    resource.permit(&target, Operation::Read)?;
    check_conditions(&resource, &target, RequestKind::Read)?;
    if accept::names(&request.headers, box_export::ARCHIVE) {
        return Box::pin(box_export::handle(request, resource, &target)).await;
    }
    let info = &target.target_box;
    let urls = resource.unit.urls();
    let url = hrefs::box_url(urls, &target.context, info) + "/";
    let schema = if info.is_main() {
        Some(request.cell_url())
    } else {
        info.schema
            .as_deref()
            .map(|schema| urls.resolve(schema).unwrap_or_else(|| schema.to_owned()))
    };
    let status = personium_install::status(&resource.unit, &target.context, info).await?;
    let described = DescribedBox {
        name: &info.name,
        url,
        schema,
        status,
    };
    Ok(document(&request, described))
}

/// GET of a box that was removed because its installation failed: why it failed, for those who may install boxes. Any other
/// request for a missing box is refused.
///
/// # Errors
/// The given refusal, or the error of the store.
pub(crate) async fn get_failed(request: CellRequest, missing: Error) -> Result<Response> {
    let path = request.path.decoded.clone();
    let ([name], "GET") = (path.as_slice(), request.method.as_str()) else {
        return Err(missing);
    };
    if request.permit(Operation::InstallBox).await.is_err() {
        return Err(missing);
    }
    let failure = personium_install::find_failure(&request.unit, &request.context, name).await?;
    let failure = failure.ok_or(missing)?;
    let urls = request.unit.urls();
    let schema = failure.schema;
    let described = DescribedBox {
        name,
        url: format!("{}{name}/", request.cell_url()),
        schema: schema.map(|schema| urls.resolve(&schema).unwrap_or(schema)),
        status: failure.status,
    };
    Ok(document(&request, described))
}

/// The content of the document about a box.
struct DescribedBox<'a> {
    name: &'a str,
    url: String,
    schema: Option<String>,
    status: InstallationStatus,
}

fn document(request: &CellRequest, described: DescribedBox<'_>) -> Response {
    let DescribedBox {
        name,
        url,
        schema,
        status,
    } = described;
    let mut description = json!({"name": name, "url": url, "schema": schema});
    if let (Some(members), Value::Object(more)) =
        (description.as_object_mut(), installation(status))
    {
        members.extend(more);
    }
    let body = json!({
        "box": description,
        "cell": {"name": request.context.cell().name, "url": request.cell_url()},
        "unit": describe::unit(request.unit.urls()),
    });
    let media_type = accept::json_or_text(&request.headers);
    response::content(StatusCode::OK, media_type, body.to_string())
}

/// Checks the conditions of a request to a box. Its description is always sent as a whole, because the state of an
/// installation is a part of it but not of its entity tag.
fn check_conditions(resource: &Resource, target: &Target, kind: RequestKind) -> Result<()> {
    let state = ResourceState::of_node(Some(target.node().value().etag()));
    match resource.conditions.evaluate(kind, state) {
        Outcome::Failed => Err(Code::DavTagMismatch.into()),
        Outcome::Proceed | Outcome::NotModified => Ok(()),
    }
}

/// The state of the installation of a box.
fn installation(status: InstallationStatus) -> Value {
    match status {
        InstallationStatus::Ready { since } => {
            json!({"status": "ready", "installed_at": iso_time(since)})
        }
        InstallationStatus::Running { started, percent } => json!({
            "status": "installation in progress",
            "started_at": iso_time(started),
            "progress": format!("{percent}%"),
        }),
        InstallationStatus::Failed {
            started,
            percent,
            code,
            text,
        } => json!({
            "status": "installation failed",
            "started_at": iso_time(started),
            "progress": format!("{percent}%"),
            "message": {"code": code, "message": {"lang": "en", "value": text}},
        }),
    }
}

/// DELETE of a box with everything in it.
///
/// # Errors
/// [`Code::RecursiveHeader`], the refusal of the access check, [`Code::MethodNotAllowed`] for the main box, or the error of
/// the store.
pub(crate) async fn delete(
    request: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    let confirmed = request
        .header(RECURSIVE)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !confirmed {
        return Err(Error::new(Code::RecursiveHeader).with(RECURSIVE));
    }
    let permit = resource.permit(&target, Operation::RemoveBox)?;
    refuse_erasure(&request.headers)?;
    drop(request);
    if target.target_box.is_main() {
        return Err(Code::MethodNotAllowed.into());
    }
    check_conditions(&resource, &target, RequestKind::Write)?;
    let id = target.target_box.id;
    let events = resource.events.as_ref();
    match odata::remove_box(&resource.unit, &resource.context, &permit, &id, events).await {
        // An installation that failed because of this removal has removed the box itself.
        Err(error) if error.code() == Code::NoSuchBox => {}
        removed => removed?,
    }
    personium_install::remove_failure(
        &resource.unit,
        &resource.context,
        &id,
        &target.target_box.name,
    )
    .await?;
    Ok(response::status(StatusCode::NO_CONTENT))
}
