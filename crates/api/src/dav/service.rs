//! Paths of services: requests to scripts.

mod host;
pub(super) mod job;
mod response_headers;
mod script_log;
mod script_request;
mod source;
mod streams;

use std::sync::Arc;

use http::{Method, StatusCode, header};
use personium_dav::PERSONIUM_NS;
use personium_model::locate::Target;
use personium_model::service_job::JobOutcome;
use personium_model::{Permit, Resource, Unit, service_subject};
use personium_script::{
    RouteTable, RouteTarget, ScriptBody, ScriptCall, ScriptFailure, ScriptResponse,
};
use personium_types::error::chain;
use personium_types::{Code, Error, Operation, Result};
use personium_xml::{Element, XmlLimits};

use self::host::ServiceHost;
use self::script_log::ScriptLog;
use self::source::Sources;
use self::streams::InputStream;
use crate::body;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// The media type of the answers of the engine.
const ERROR_TYPE: &str = "text/html";
/// The media type of a response of a script that names none.
const UNKNOWN_TYPE: &str = "application/octet-stream";
/// The content of the property `service` of a collection.
struct Registration {
    subject: Option<String>,
    routes: Vec<RegisteredPath>,
}

/// A path of a service.
struct RegisteredPath {
    name: String,
    source: String,
    /// Whether its requests become jobs.
    is_async: bool,
}

/// Whether a response is to a request that was accepted as a job.
pub(super) fn is_accepted_job(response: &Response) -> bool {
    response.extensions().get::<job::Accepted>().is_some()
}

/// Runs the script that is registered for a path of a service.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    request: CellRequest,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    if !matches!(request.method.as_str(), "GET" | "POST" | "PUT" | "DELETE") {
        return Err(Code::MethodNotAllowed.into());
    }
    let permit = resource.permit(&target, Operation::Execute)?;
    let Some(registration) = Registration::of(&target) else {
        // WebDAV clients take 404 for a file that is gone, as wanted.
        if request.method == Method::DELETE && property(&target).is_none() {
            return Err(Code::ServiceConnect.into());
        }
        return Ok(refusal(404, "404 Not Found (Service property invalid) "));
    };
    let routes = registration.routes.iter();
    let table = RouteTable::new(routes.map(|path| (path.name.as_str(), path.source.as_str())));
    let table = match table {
        Ok(table) => table,
        Err(invalid) => return Ok(refusal(503, &invalid.to_string())),
    };
    let mut path = target.rest.join("/");
    if request.url.ends_with('/') {
        path.push('/');
    }
    let Some(route) = table.find(&path) else {
        return Ok(refusal(404, "404 Not Found"));
    };
    if let Some(run) = &request.job {
        job::check_starter(run, &request.access)?;
    }
    let is_async = registration.routes.get(route.number);
    if is_async.is_some_and(|path| path.is_async) && request.job.is_none() {
        return Box::pin(job::accept(request, &target, &permit)).await;
    }
    let sources = Sources::of(&resource, &target);
    let Some(source) = sources.read(&route.source).await? else {
        return Ok(refusal(404, "404 Not Found"));
    };
    let script = Script {
        file: route.source.clone(),
        source,
        sources,
        subject: registration.subject,
        permit,
    };
    Box::pin(run(request, &target, route, script)).await
}

/// The script of a request.
struct Script {
    file: String,
    source: String,
    sources: Sources,
    subject: Option<String>,
    permit: Permit,
}

async fn run(
    mut request: CellRequest,
    target: &Target,
    route: RouteTarget,
    script: Script,
) -> Result<Response> {
    if !request.unit.is_current(&request.context).await? {
        // The dispatcher answers the request again, with what another process has changed. From here on it does not: a script runs
        // once.
        return Err(Code::ServerBusy.into());
    }
    let plugins = request.unit.plugins().current();
    let subject = script.subject.as_deref();
    let described =
        script_request::describe(&request, target, &route, (subject, plugins.as_ref()))?;
    let body = request.take_body();
    let input = InputStream::new(match has_body(&request.method) {
        true => body,
        false => body::empty(),
    });
    let place = format!("{}/{}", target.target_box.name, script.file);
    let (key, cell) = (request.request_key.clone(), request.context.cell().id);
    let span = personium_trace::child("script.run");
    request.request.http_client.set_trace(span.as_scope());
    let scripts = Arc::clone(&request.scripts);
    let job = request.job.clone();
    let engine = scripts.engine();
    let unit = Arc::clone(&request.unit);
    let log = ScriptLog::new(&request, target, (script.permit, &script.file));
    let call = ScriptCall {
        cell: cell.to_string(),
        file: script.file,
        source: script.source,
        context: described.context,
        request: described.request,
        input: Box::new(input),
        timeout: job.as_ref().map(|_| unit.settings().scripts.jobs.timeout),
        stop: job.as_ref().map(|job| job.stop.clone()),
        host: Arc::new(ServiceHost::new(
            request,
            target,
            (script.sources, script.subject),
            (log, plugins),
        )),
    };
    let failure = match span.scope(engine.run(call)).await {
        Ok(response) => {
            let mut response = send(response, &unit);
            if let Some(job) = job {
                let max_bytes = unit.settings().scripts.jobs.response_max_bytes;
                let outcome = job::outcome_of(&mut response, max_bytes).await;
                *job.outcome.lock() = Some(outcome);
            }
            return Ok(response);
        }
        Err(failure) => failure,
    };
    if let Some(job) = job {
        *job.outcome.lock() = job_failure(&failure).map(JobOutcome::Failed);
    }
    span.fail(match &failure {
        ScriptFailure::Busy => "busy",
        ScriptFailure::Timeout => "timeout",
        ScriptFailure::Failed { .. } => "failed",
        ScriptFailure::Engine(_) => "engine",
    });
    // The stack is in the event log of the cell.
    tracing::warn!(cell.id = %cell, script = %place, request.key = %key, error = %failure, "script failed");
    match failure {
        ScriptFailure::Busy => Err(Code::ServerBusy.into()),
        ScriptFailure::Timeout => Ok(refusal(503, "Script TimeOut")),
        ScriptFailure::Failed { text, .. } => Ok(refusal(500, &format!("Server Error : {text}"))),
        ScriptFailure::Engine(_) => {
            Err(Error::new(Code::ServiceConnect).with_source(chain(&failure).to_string()))
        }
    }
}

/// Whether scripts get the bodies of requests with a method.
fn has_body(method: &Method) -> bool {
    matches!(method.as_str(), "POST" | "PUT")
}

/// The failure of a job. `None` if its script has not begun.
fn job_failure(failure: &ScriptFailure) -> Option<Error> {
    match failure {
        ScriptFailure::Busy => None,
        ScriptFailure::Timeout => Some(Code::JobTimeout.into()),
        ScriptFailure::Failed { text, .. } => Some(Error::new(Code::JobFailed).with(text.as_str())),
        ScriptFailure::Engine(_) => Some(Code::ServiceConnect.into()),
    }
}

fn property(target: &Target) -> Option<&str> {
    let key = service_subject::property_key();
    let properties = &target.node().value().properties;
    properties.get(&key).map(String::as_str)
}

impl Registration {
    /// `None` if the property is missing or is not valid.
    fn of(target: &Target) -> Option<Self> {
        let registered = property(target)?;
        let service = Element::parse(registered.as_bytes(), &XmlLimits::REQUEST).ok()?;
        let attribute = |element: &Element, name: &str| {
            let value = element.attribute("", name).unwrap_or_default();
            value.to_owned()
        };
        let subject = attribute(&service, "subject");
        let paths = service.elements_named(PERSONIUM_NS, "path");
        Some(Self {
            subject: (!subject.is_empty()).then_some(subject),
            routes: paths
                .map(|path| RegisteredPath {
                    name: attribute(path, "name"),
                    source: attribute(path, "src"),
                    is_async: attribute(path, "async").trim() == "true",
                })
                .collect(),
        })
    }
}

/// The answer of the engine itself. The text may repeat what the script or its client sent, so that it is no markup.
fn refusal(status: u16, text: &str) -> Response {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response::content(status, ERROR_TYPE, text)
}

/// The response of a script.
fn send(answer: ScriptResponse, unit: &Unit) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = match answer.body {
        ScriptBody::Whole(bytes) => body::full(bytes),
        ScriptBody::Stream(chunks) => streams::response_body(chunks),
    };
    let mut out = response::with_body(status, body);
    response_headers::add(out.headers_mut(), &answer.headers, unit);
    let has_type = out.headers().contains_key(header::CONTENT_TYPE);
    if !has_type && status != StatusCode::NOT_MODIFIED {
        out = out.with_header(header::CONTENT_TYPE, UNKNOWN_TYPE);
    }
    let has_no_body = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    if has_no_body {
        *out.body_mut() = body::empty();
    }
    out
}
