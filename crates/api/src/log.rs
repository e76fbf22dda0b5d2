//! `__log`: the event log of a cell as files.

use http::{StatusCode, header};
use personium_dav::headers::Depth;
use personium_dav::multistatus::{
    AclProperty, DeadProperties, Multistatus, ResourceKind, ResponseProps, http_date,
};
use personium_dav::propfind::PropFind;
use personium_model::CellContext;
use personium_model::event::log::{self, CURRENT_LOG_NAME, EventLog, LogFile};
use personium_types::preconditions::ResourceState;
use personium_types::{Code, Error, Operation, Result};

use crate::request_context::{CellRequest, Freshness};
use crate::response::{self, REVALIDATE, Response, WithHeader};
use crate::{answer, preflight, propfind_request};

const XML: &str = "application/xml";
const CSV: &str = "text/csv";

/// A path below `__log`.
enum LogPath {
    Current,
    Archives,
    CurrentFile,
    Archive(String),
    /// A file that cannot exist, by its name.
    Unknown(String),
}

impl LogPath {
    /// Reads the segments below `__log`; `None` for other paths.
    fn parse(below: &[String]) -> Option<Self> {
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        Some(match below.as_slice() {
            ["current"] => Self::Current,
            ["archive"] => Self::Archives,
            ["current", CURRENT_LOG_NAME] => Self::CurrentFile,
            ["archive", name] if is_archive(name) => Self::Archive((*name).to_owned()),
            ["current" | "archive", name] => Self::Unknown((*name).to_owned()),
            _ => return None,
        })
    }
}

fn is_archive(name: &str) -> bool {
    let timestamp = name
        .strip_prefix(CURRENT_LOG_NAME)
        .and_then(|rest| rest.strip_prefix('.'));
    timestamp.is_some_and(|digits| digits.parse::<i64>().is_ok())
}

/// Lists, reads or removes logs.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle(request: CellRequest) -> Result<Response> {
    let below = request.path.decoded.get(1..).unwrap_or_default();
    let path = LogPath::parse(below).ok_or(Code::NoSuchPath)?;
    let is_file = !matches!(path, LogPath::Current | LogPath::Archives);
    match request.method.as_str() {
        "OPTIONS" if is_file => Ok(preflight::allow("OPTIONS, GET, DELETE, PROPFIND")),
        "OPTIONS" => Ok(preflight::allow("OPTIONS, PROPFIND")),
        "PROPFIND" => list(request, path).await,
        "GET" if is_file => read(request, path).await,
        "DELETE" if is_file => remove(request, path).await,
        _ => Err(request.method_not_allowed()),
    }
}

fn missing(name: &str) -> Error {
    Error::new(Code::NoSuchResource).with(name)
}

async fn read(request: CellRequest, path: LogPath) -> Result<Response> {
    request.permit(Operation::ReadLog).await?;
    let log = EventLog::open(&request.context).await?;
    let file = match path {
        LogPath::CurrentFile => log.find_current().await?,
        LogPath::Archive(name) => Some(log.get_archive(&name).await?),
        LogPath::Unknown(name) => return Err(missing(&name)),
        LogPath::Current | LogPath::Archives => return Err(request.method_not_allowed()),
    };
    let Some(file) = file else {
        // Nothing was logged yet.
        request.check_untagged(Code::DavTagMismatch)?;
        return Ok(response::content(StatusCode::OK, CSV, bytes::Bytes::new()));
    };
    let freshness = request.evaluate_conditions(state_of(&file), Code::DavTagMismatch)?;
    let response = match freshness {
        Freshness::Current => response::status(StatusCode::NOT_MODIFIED),
        Freshness::Unknown => {
            let length = usize::try_from(file.length).unwrap_or(usize::MAX);
            let memory = request.answers.reserve(length).await?;
            let lines = log.read(&file).await?;
            answer::bytes(StatusCode::OK, CSV, lines, memory)
        }
    };
    let response = response.with_header(header::CACHE_CONTROL, REVALIDATE);
    // A second that is not over may get another line, which a client that knows this second would never see.
    let seconds = |ms: i64| ms.div_euclid(1000);
    Ok(
        match seconds(file.updated) < seconds(request.unit.now_ms()) {
            true => response.with_header(header::LAST_MODIFIED, &http_date(file.updated)),
            false => response,
        },
    )
}

/// The state of a log for conditions.
fn state_of(file: &LogFile) -> ResourceState {
    ResourceState::Dated(file.updated)
}

async fn remove(request: CellRequest, path: LogPath) -> Result<Response> {
    let permit = request.permit(Operation::RemoveLog).await?;
    match path {
        LogPath::CurrentFile => Err(Code::CurrentLogDelete.into()),
        LogPath::Archive(name) => {
            let log = EventLog::open(&request.context).await?;
            let state = state_of(&log.get_archive(&name).await?);
            request.evaluate_conditions(state, Code::DavTagMismatch)?;
            log::remove_archive(&request.unit, &request.context, &permit, &name).await?;
            Ok(response::status(StatusCode::NO_CONTENT))
        }
        LogPath::Unknown(name) => Err(missing(&name)),
        LogPath::Current | LogPath::Archives => Err(request.method_not_allowed()),
    }
}

async fn list(mut request: CellRequest, path: LogPath) -> Result<Response> {
    request.permit(Operation::ReadLog).await?;
    let depth = propfind_request::finite_depth(request.header("depth"))?;
    let body = propfind_request::read_body(&mut request, Code::DavXmlContent).await?;
    if !matches!(body, PropFind::AllProp { .. }) {
        return Err(Code::DavXmlContent.into());
    }
    let log = EventLog::open(&request.context).await?;
    let base = format!("{}__log", request.cell_url());
    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    match path {
        LogPath::Current | LogPath::Archives => {
            request.check_untagged(Code::DavTagMismatch)?;
            let (name, files) = match path {
                LogPath::Current => ("current", log.find_current().await?.into_iter().collect()),
                _ => ("archive", log.list_archives().await?),
            };
            let href = format!("{base}/{name}");
            write_collection(&mut out, &document, &href, &request.context, &files);
            if depth == Depth::One {
                for file in &files {
                    write_file(&mut out, &document, &href, file);
                }
            }
        }
        LogPath::CurrentFile => {
            let file = log.find_current().await?;
            let file = file.ok_or_else(|| missing(CURRENT_LOG_NAME))?;
            request.evaluate_conditions(state_of(&file), Code::DavTagMismatch)?;
            write_file(&mut out, &document, &format!("{base}/current"), &file);
        }
        LogPath::Archive(name) => {
            let file = log.get_archive(&name).await?;
            request.evaluate_conditions(state_of(&file), Code::DavTagMismatch)?;
            write_file(&mut out, &document, &format!("{base}/archive"), &file);
        }
        LogPath::Unknown(name) => return Err(missing(&name)),
    }
    document.finish(&mut out);
    Ok(response::content(StatusCode::MULTI_STATUS, XML, out))
}

/// Writes a collection of logs, which was created with its cell and modified with its newest log.
fn write_collection(
    out: &mut String,
    document: &Multistatus,
    href: &str,
    context: &CellContext,
    files: &[LogFile],
) {
    let created = context.cell().published;
    let newest = files.iter().map(|file| file.updated).max();
    document.response(
        out,
        &PropFind::Unspecified,
        &ResponseProps {
            href,
            kind: ResourceKind::Collection,
            created_ms: Some(created),
            updated_ms: newest.or(Some(created)),
            length: None,
            content_type: None,
            display_name: None,
            etag: None,
            quota: None,
            cell_status: None,
            acl: AclProperty::None,
            dead: &DeadProperties::new(),
        },
    );
}

fn write_file(out: &mut String, document: &Multistatus, folder: &str, file: &LogFile) {
    document.response(
        out,
        &PropFind::Unspecified,
        &ResponseProps {
            href: &format!("{folder}/{}", file.name),
            kind: ResourceKind::File,
            created_ms: Some(file.created),
            updated_ms: Some(file.updated),
            length: Some(file.length),
            content_type: Some(CSV),
            display_name: None,
            etag: None,
            quota: None,
            cell_status: None,
            acl: AclProperty::None,
            dead: &DeadProperties::new(),
        },
    );
}
