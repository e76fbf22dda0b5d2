//! Requests to asynchronous paths of services, and the progress documents of their jobs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use personium_model::locate::Target;
use personium_model::service_job::{
    self, JobDocument, JobOutcome, JobRequest, JobResponse, JobStatus,
};
use personium_model::{Access, Identity, Permit, Resource, transfer};
use personium_types::time::iso_time;
use personium_types::{Code, Error, NodeId, Operation, Result};
use serde_json::{Map, Value, json};

use crate::body;
use crate::headers::REQUEST_KEY;
use crate::job_queue::JobRun;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// The collection of the documents, below a service.
const JOBS: &str = "__jobs";
/// The length of an id of a job in a path, in characters.
const ID_CHARS: usize = 32;

/// A response to a request that was accepted as a job.
#[derive(Debug, Clone, Copy)]
pub(in crate::dav) struct Accepted;

/// The id of the job whose document a path below a service leads to.
pub(in crate::dav) fn id_in(rest: &[String]) -> Option<NodeId> {
    match rest {
        [jobs, id] if jobs == JOBS && id.len() == ID_CHARS => id.parse().ok(),
        _ => None,
    }
}

/// Accepts a request as a job.
///
/// # Errors
/// [`Code::ServerBusy`]; [`Code::BodyTooLarge`]; [`Code::UnsupportedMedia`] for an encoded body; as [`service_job::submit`].
pub(super) async fn accept(
    mut request: CellRequest,
    target: &Target,
    permit: &Permit,
) -> Result<Response> {
    check_may_store(&request).await?;
    request.scripts.jobs().check_space()?;
    let max_bytes = request.unit.settings().scripts.jobs.request_max_bytes;
    let body = request.read_body(max_bytes).await?;
    let url = match request.query.is_empty() {
        true => request.url.clone(),
        false => format!("{}?{}", request.url, request.query),
    };
    let new = JobRequest {
        starter: identity(&request.access),
        method: request.method.as_str().to_owned(),
        url,
        headers: kept_headers(&request.headers, &request.request_key),
        client_address: request.client_address,
        depth: request.http_client.depth(),
        body: body.to_vec(),
    };
    let queued = service_job::submit(&request.unit, target, permit, new).await?;
    let url = document_url(&request, target, &queued.job.id);
    request.scripts.jobs().enqueue(queued);
    let document = json!({"status": "queued"});
    let mut response = response::json(StatusCode::ACCEPTED, &document);
    response.extensions_mut().insert(Accepted);
    Ok(response::not_stored(response).with_header(header::LOCATION, &url))
}

/// Checks that a request may be stored now, whatever its method is.
async fn check_may_store(request: &CellRequest) -> Result<()> {
    if request.maintenance.is_read_delete_only {
        return Err(Code::ReadDeleteOnly.into());
    }
    let owner = request.context.cell().owner.as_deref();
    request.maintenance.check_owner(owner)?;
    transfer::check_writable(&request.unit, &request.context).await
}

/// Checks that the request of a job has the identity that started it: credentials that have expired meanwhile make it that of nobody.
///
/// # Errors
/// [`Code::AuthRequired`]
pub(super) fn check_starter(run: &JobRun, access: &Access) -> Result<()> {
    match run.starter == identity(access) {
        true => Ok(()),
        false => Err(Code::AuthRequired.into()),
    }
}

/// GET and DELETE of the document of a job. Only who started it, and may still execute the service, gets it.
///
/// # Errors
/// The refusal of the access check; [`Code::MethodNotAllowed`]; as [`service_job::find`].
pub(in crate::dav) async fn handle_document(
    request: CellRequest,
    resource: Resource,
    target: Target,
    id: NodeId,
) -> Result<Response> {
    if !matches!(request.method, Method::GET | Method::DELETE) {
        return Err(Code::MethodNotAllowed.into());
    }
    let permit = resource.permit(&target, Operation::Execute)?;
    let starter = identity(&request.access);
    let wanted = (&id, starter.as_str());
    if request.method == Method::DELETE {
        let job = service_job::remove(&request.unit, &target, &permit, wanted).await?;
        request.scripts.jobs().stop(&job);
        return Ok(response::status(StatusCode::NO_CONTENT));
    }
    let found = service_job::find(&target, &permit, wanted).await?;
    let document = response::json(StatusCode::OK, &render(found));
    Ok(response::not_stored(document))
}

/// The headers of a request that a job keeps: those of the connection are not.
fn kept_headers(headers: &HeaderMap, request_key: &str) -> Vec<(String, String)> {
    const OF_THE_CONNECTION: &[HeaderName] = &[
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::EXPECT,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
    ];
    let kept = headers
        .iter()
        .filter(|(name, _)| !OF_THE_CONNECTION.contains(name) && **name != REQUEST_KEY);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut kept: Vec<_> = kept
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect();
    kept.push((REQUEST_KEY.as_str().to_owned(), request_key.to_owned()));
    kept
}

fn document_url(request: &CellRequest, target: &Target, id: &NodeId) -> String {
    let segments = &request.path.raw;
    let service = segments.len().saturating_sub(target.rest.len());
    let service = segments.get(..service).unwrap_or_default().join("/");
    format!("{}{service}/{JOBS}/{id}", request.cell_url())
}

/// The identity of a requester, with the application: the same text means the same one. Whoever has no valid credentials is the same
/// identity as everybody without some; the random id of the job distinguishes them.
fn identity(access: &Access) -> String {
    let (kind, name) = match &access.identity {
        Identity::Anonymous | Identity::Invalid(_) => ("anonymous", ""),
        Identity::Basic { id, .. } | Identity::Resident { id, .. } => ("account", id.as_str()),
        Identity::PasswordChange { account } => ("password change", account.as_str()),
        Identity::Visitor { subject } | Identity::TransCell { subject, .. } => {
            ("visitor", subject.as_str())
        }
        Identity::UnitUser { subject, .. } => ("unit user", subject.as_str()),
        Identity::UnitAdmin { .. } => ("unit administrator", ""),
        Identity::UnitMaster => ("master", ""),
    };
    json!([kind, name, access.administrator, access.app()]).to_string()
}

fn render(found: JobDocument) -> Value {
    let mut out = Map::new();
    let mut add = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    let status = match &found.status {
        JobStatus::Queued => "queued",
        JobStatus::InProgress => "in progress",
        JobStatus::Completed(_) => "completed",
        JobStatus::Failed { .. } => "failed",
    };
    add("status", status.into());
    add("accepted_at", iso_time(found.accepted_at).into());
    if let Some(started_at) = found.started_at {
        add("started_at", iso_time(started_at).into());
    }
    if let Some((ended_at, expires_at)) = found.ended_at {
        add("ended_at", iso_time(ended_at).into());
        add("expires_at", iso_time(expires_at).into());
    }
    match found.status {
        JobStatus::Queued | JobStatus::InProgress => {}
        JobStatus::Completed(response) => add(
            "response",
            json!({
                "status": response.status,
                "headers": headers(&response.headers),
                "body": response.body,
                "encoding": if response.is_base64 { "base64" } else { "text" },
            }),
        ),
        JobStatus::Failed { code, text } => add(
            "message",
            json!({"code": code, "message": {"lang": "en", "value": text}}),
        ),
    }
    Value::Object(out)
}

/// An object with the headers; the values of one name are joined.
fn headers(headers: &[(String, String)]) -> Value {
    let mut out: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let joined = match out.get(name).and_then(Value::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value.clone(),
        };
        out.insert(name.clone(), joined.into());
    }
    Value::Object(out)
}

/// The outcome of a job whose script has answered.
pub(super) async fn outcome_of(response: &mut Response, max_bytes: usize) -> JobOutcome {
    let body = std::mem::replace(response.body_mut(), body::empty());
    let bytes = match body::read_all(body, max_bytes).await {
        Ok(bytes) => bytes,
        Err(error) if error.code() == Code::BodyTooLarge => {
            let refusal = Error::new(Code::JobResponseTooLarge).with(max_bytes.to_string());
            return JobOutcome::Failed(refusal);
        }
        Err(error) => {
            let refusal = Error::new(Code::JobFailed).with("its response was broken off");
            return JobOutcome::Failed(refusal.with_source(error));
        }
    };
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter();
    let (body, is_base64) = match String::from_utf8(bytes.to_vec()) {
        Ok(text) => (text, false),
        Err(_) => (STANDARD.encode(&bytes), true),
    };
    JobOutcome::Answered(JobResponse {
        status: response.status().as_u16(),
        headers: headers
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect(),
        body,
        is_base64,
    })
}
