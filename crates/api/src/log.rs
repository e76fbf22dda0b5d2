//! `__log`: the event log of a cell as files.

use http::StatusCode;
use personium_dav::headers::{Depth, DepthError};
use personium_dav::multistatus::{Multistatus, ResourceKind, ResponseProps};
use personium_dav::propfind::{self, PropFindError};
use personium_model::CellContext;
use personium_model::event::log::{self, CURRENT_NAME, Log, LogFile};
use personium_types::{Code, Error, Operation, Result};

use crate::request_context::CellRequest;
use crate::response::{self, Response};
use crate::{dav, preflight};

const XML: &str = "application/xml";
const CSV: &str = "text/csv";

/// What a path below `__log` names.
enum LogPath {
    Current,
    Archives,
    CurrentFile,
    Archive(String),
    /// A file of another name.
    Nothing(String),
}

impl LogPath {
    /// Reads the segments below `__log`; `None` for what can never exist.
    fn of(below: &[String]) -> Option<Self> {
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        Some(match below.as_slice() {
            ["current"] => Self::Current,
            ["archive"] => Self::Archives,
            ["current", CURRENT_NAME] => Self::CurrentFile,
            ["archive", name] if is_archive(name) => Self::Archive((*name).to_owned()),
            ["current" | "archive", name] => Self::Nothing((*name).to_owned()),
            _ => return None,
        })
    }
}

fn is_archive(name: &str) -> bool {
    let moment = name
        .strip_prefix(CURRENT_NAME)
        .and_then(|rest| rest.strip_prefix('.'));
    moment.is_some_and(|digits| digits.parse::<i64>().is_ok())
}

/// Lists, reads or removes logs.
pub(crate) async fn handle(request: CellRequest) -> Result<Response> {
    let below = request.path.decoded.get(1..).unwrap_or_default();
    let place = LogPath::of(below).ok_or(Code::NoSuchPath)?;
    let is_file = !matches!(place, LogPath::Current | LogPath::Archives);
    match request.method.as_str() {
        "OPTIONS" if is_file => Ok(preflight::allow("OPTIONS, GET, DELETE, PROPFIND")),
        "OPTIONS" => Ok(preflight::allow("OPTIONS, PROPFIND")),
        "PROPFIND" => list(request, place).await,
        "GET" if is_file => read(request, place).await,
        "DELETE" if is_file => remove(request, place).await,
        _ => Err(request.method_not_allowed()),
    }
}

fn missing(name: &str) -> Error {
    Error::new(Code::NoSuchResource).with(name)
}

async fn read(request: CellRequest, place: LogPath) -> Result<Response> {
    request.permit(Operation::ReadLog).await?;
    let log = Log::open(&request.context).await?;
    let file = match place {
        LogPath::CurrentFile => log.find_current().await?,
        LogPath::Archive(name) => Some(log.get_archive(&name).await?),
        LogPath::Nothing(name) => return Err(missing(&name)),
        LogPath::Current | LogPath::Archives => return Err(request.method_not_allowed()),
    };
    let lines = match file {
        Some(file) => log.read(&file).await?,
        // A log into which nothing was written yet.
        None => bytes::Bytes::new(),
    };
    Ok(response::content(StatusCode::OK, CSV, lines))
}

async fn remove(request: CellRequest, place: LogPath) -> Result<Response> {
    let permit = request.permit(Operation::RemoveLog).await?;
    match place {
        LogPath::CurrentFile => Err(Code::CurrentLogDelete.into()),
        LogPath::Archive(name) => {
            log::remove_archive(&request.unit, &request.context, &permit, &name).await?;
            Ok(response::status(StatusCode::NO_CONTENT))
        }
        LogPath::Nothing(name) => Err(missing(&name)),
        LogPath::Current | LogPath::Archives => Err(request.method_not_allowed()),
    }
}

async fn list(mut request: CellRequest, place: LogPath) -> Result<Response> {
    request.permit(Operation::ReadLog).await?;
    let depth = depth(request.header("depth"))?;
    check_body(&mut request).await?;
    let log = Log::open(&request.context).await?;
    let base = format!("{}__log", request.cell_url());
    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    match place {
        LogPath::Current | LogPath::Archives => {
            let (name, files) = match place {
                LogPath::Current => ("current", log.find_current().await?.into_iter().collect()),
                _ => ("archive", log.list_archives().await?),
            };
            let href = format!("{base}/{name}");
            print_collection(&mut out, &document, &href, &request.context, &files);
            if depth == Depth::One {
                for file in &files {
                    print_file(&mut out, &document, &href, file);
                }
            }
        }
        LogPath::CurrentFile => {
            let file = log.find_current().await?;
            let file = file.ok_or_else(|| missing(CURRENT_NAME))?;
            print_file(&mut out, &document, &format!("{base}/current"), &file);
        }
        LogPath::Archive(name) => {
            let file = log.get_archive(&name).await?;
            print_file(&mut out, &document, &format!("{base}/archive"), &file);
        }
        LogPath::Nothing(name) => return Err(missing(&name)),
    }
    document.finish(&mut out);
    Ok(response::content(StatusCode::MULTI_STATUS, XML, out))
}

/// A listing must say how deep it goes.
fn depth(header: Option<&str>) -> Result<Depth> {
    let wrong = || Error::new(Code::Depth).with(header.unwrap_or("null"));
    let given = header.ok_or_else(wrong)?;
    Depth::of_propfind(Some(given)).map_err(|refusal| match refusal {
        DepthError::Infinity => Code::PropfindInfinity.into(),
        DepthError::Invalid => wrong(),
    })
}

/// A body may only ask for all properties.
async fn check_body(request: &mut CellRequest) -> Result<()> {
    if !request.has_body() {
        return Ok(());
    }
    let limits = dav::xml_limits(&request);
    let body = request.read_body(limits.bytes).await?;
    match propfind::parse(&body, &limits) {
        Ok(asked) if asked.allprop => Ok(()),
        Ok(_) | Err(PropFindError::WrongRoot) => Err(Code::DavXmlContent.into()),
        Err(unreadable) => Err(Error::new(Code::DavXml).with_source(unreadable)),
    }
}

/// A collection of logs is as old as its cell, and as new as the newest of them.
fn print_collection(
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
        &ResponseProps {
            href,
            kind: ResourceKind::Collection,
            created_ms: created,
            updated_ms: newest.unwrap_or(created),
            length: None,
            content_type: None,
            cell_status: None,
            acl: None,
        },
    );
}

fn print_file(out: &mut String, document: &Multistatus, folder: &str, file: &LogFile) {
    document.response(
        out,
        &ResponseProps {
            href: &format!("{folder}/{}", file.name),
            kind: ResourceKind::File,
            created_ms: file.created,
            updated_ms: file.updated,
            length: Some(file.length),
            content_type: Some(CSV),
            cell_status: None,
            acl: None,
        },
    );
}
