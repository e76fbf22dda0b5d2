//! `__snapshot`: the snapshots of a cell, files in one folder without subfolders.

use personium_model::{Resource, keys};
use personium_types::{Code, Operation, Result};

use super::{delete, get, propfind, put, resource_of, snapshot_parts};
use crate::request_context::CellRequest;
use crate::response::Response;
use crate::{error, preflight};

/// The methods of the folder, for OPTIONS and for refusals.
const OF_FOLDER: [&str; 2] = ["OPTIONS, PROPFIND", "OPTIONS, PROPFIND"];
/// The methods of a file.
const OF_FILE: [&str; 2] = [
    "OPTIONS, GET, PUT, DELETE, PROPFIND",
    "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND",
];

/// Lists, sends, stores or removes snapshots.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle(request: CellRequest) -> Result<Response> {
    let methods = match request.path.decoded.len() {
        1 => OF_FOLDER,
        2 => OF_FILE,
        _ => return Err(Code::NoSuchPath.into()),
    };
    let method = request.method.clone();
    let outcome = by_method(request, methods[0]).await;
    outcome.map_err(|refusal| error::with_methods(refusal, &method, methods[1]))
}

async fn by_method(request: CellRequest, shown: &'static str) -> Result<Response> {
    let resource = Resource {
        box_id: Some(keys::SNAPSHOT_FOLDER),
        ..resource_of(&request)
    };
    let is_file = !resource.segments.is_empty();
    let target = resource.locate().await?;
    let method = request.method.clone();
    let request = *request.request;
    match method.as_str() {
        "OPTIONS" => {
            resource.permit(&target, Operation::Options)?;
            Ok(preflight::allow_webdav(shown))
        }
        "PROPFIND" => Box::pin(propfind::handle(request, resource, target)).await,
        "GET" if is_file => Box::pin(get::handle(&request, &resource, &target)).await,
        "PUT" if is_file => {
            let range = request.header("content-range").map(str::to_owned);
            match range {
                Some(range) => {
                    Box::pin(snapshot_parts::handle(request, resource, target, &range)).await
                }
                None => Box::pin(put::handle(request, resource, target)).await,
            }
        }
        "DELETE" if is_file => Box::pin(delete::handle(request, resource, target)).await,
        "REPORT" if is_file => {
            resource.permit(&target, Operation::Report)?;
            Err(match target.exists() {
                true => Code::NotImplementedMethod.into(),
                false => resource.not_found(),
            })
        }
        _ => Err(Code::MethodNotAllowed.into()),
    }
}
