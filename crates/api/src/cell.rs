//! What a cell answers: dispatch to its endpoints, and the cell root itself.

use http::{Method, StatusCode};
use personium_types::{Code, Result};
use serde_json::json;

use crate::answer::{self, Answer};
use crate::call::CellCall;
use crate::error::Challenge;
use crate::route::CellRoute;
use crate::{dav, odata, token, unit};

/// Answers a request to a cell.
pub async fn handle(call: CellCall, challenge: &mut Challenge) -> Result<Answer> {
    let Some(first) = call.call.path.decoded.first() else {
        return root(call).await;
    };
    match CellRoute::of(first) {
        CellRoute::Control => odata::cell_control(call).await,
        CellRoute::Token => token::handle(call).await,
        CellRoute::Box => dav::handle(call, challenge).await,
        _ => Err(Code::NoSuchPath.into()),
    }
}

async fn root(call: CellCall) -> Result<Answer> {
    match call.call.method {
        Method::GET => document(&call),
        _ => dav::cell_root(call).await,
    }
}

fn document(call: &CellCall) -> Result<Answer> {
    let cell = json!({"name": call.view.cell().name, "url": call.cell_url()});
    Ok(answer::json(
        StatusCode::OK,
        &json!({"cell": cell, "unit": unit::document(&call.call)}),
    ))
}
