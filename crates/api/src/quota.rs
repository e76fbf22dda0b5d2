//! `{unit}__quota`: what cells and unit users store, and their quotas.

use http::{Method, StatusCode};
use personium_model::quota::{CellUsage, NewQuota, QuotaSubject, SumAge};
use personium_model::{Cell, Unit};
use personium_types::{Code, Error, Operation, Result};
use serde_json::{Map, Value, json};

use crate::preflight;
use crate::request_context::RequestContext;
use crate::response::{self, Response};

/// The largest request body in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Shows the quotas, or those of one cell or unit user with what it stores, or sets one.
///
/// # Errors
/// The refusal of the access check, [`Code::MethodNotAllowed`]; [`Code::NoSuchEntity`] if there is no such cell;
/// [`Code::RequestJson`], [`Code::RequestFieldRequired`] or [`Code::RequestFieldFormat`] for a body that cannot be read.
pub(crate) async fn handle(mut request: RequestContext) -> Result<Response> {
    match request.method {
        Method::GET => {
            request.access.permit_unit(Operation::ReadQuotas)?;
            let body = if let Some(name) = request.query_value("cell") {
                of_cell(&request.unit, &get_cell(&request.unit, &name).await?).await?
            } else if let Some(owner) = request.query_value("unitUser") {
                of_owner(&request.unit, &local_owner(&request.unit, &owner)?).await?
            } else {
                all(&request.unit).await?
            };
            Ok(response::json(StatusCode::OK, &body))
        }
        Method::POST => {
            let permit = request.access.permit_unit(Operation::WriteQuotas)?;
            let bytes = request.read_body(MAX_BODY_BYTES).await?;
            let (subject, quota) = read(&request.unit, &bytes).await?;
            request.unit.set_quota(&permit, &subject, quota).await?;
            Ok(response::status(StatusCode::NO_CONTENT))
        }
        Method::OPTIONS => {
            request.access.permit_unit(Operation::ReadQuotas)?;
            Ok(preflight::allow("OPTIONS, GET, POST"))
        }
        _ => Err(request.method_not_allowed()),
    }
}

/// Reads `{"cell": NAME, "quota": BYTES}` or `{"unitUser": URL, "quota": BYTES}`. In place of the bytes there may be `"unlimited"` or
/// `"default"`.
async fn read(unit: &Unit, bytes: &[u8]) -> Result<(QuotaSubject, NewQuota)> {
    let body: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|_| Error::new(Code::RequestJson))?;
    let format = |name: &str| Error::new(Code::RequestFieldFormat).with(name);
    if let Some(unknown) = body
        .keys()
        .find(|name| !matches!(name.as_str(), "cell" | "unitUser" | "quota"))
    {
        return Err(format(unknown));
    }
    let text = |name: &str| match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format(name)),
    };
    let subject = match (text("cell")?, text("unitUser")?) {
        (Some(name), None) => QuotaSubject::Cell(get_cell(unit, name).await?.id),
        (None, Some(owner)) => QuotaSubject::Owner(local_owner(unit, owner)?),
        (None, None) => return Err(Error::new(Code::RequestFieldRequired).with("cell")),
        (Some(_), Some(_)) => return Err(format("unitUser")),
    };
    let quota = match body.get("quota") {
        None => return Err(Error::new(Code::RequestFieldRequired).with("quota")),
        Some(Value::String(text)) if text == "unlimited" => NewQuota::Unlimited,
        Some(Value::String(text)) if text == "default" => NewQuota::Default,
        Some(Value::Number(number)) => match number.as_u64() {
            Some(bytes) => NewQuota::Bytes(bytes),
            None => return Err(format("quota")),
        },
        Some(_) => return Err(format("quota")),
    };
    Ok((subject, quota))
}

async fn get_cell(unit: &Unit, name: &str) -> Result<Cell> {
    let found = unit.find_cell(name).await?;
    let found = found.ok_or_else(|| Error::new(Code::NoSuchEntity))?;
    Ok(found.cell().clone())
}

/// The unit-local form of the URL of a unit user.
///
/// # Errors
/// [`Code::RequestFieldFormat`] if it is no URL of an account.
pub(crate) fn local_owner(unit: &Unit, owner: &str) -> Result<String> {
    let urls = unit.urls();
    let resolved = urls.resolve(owner).filter(|url| url.contains('#'));
    let resolved = resolved.ok_or_else(|| Error::new(Code::RequestFieldFormat).with("unitUser"))?;
    Ok(urls.localize(&resolved).unwrap_or(resolved))
}

async fn all(unit: &Unit) -> Result<Value> {
    let set = unit.set_quotas().await?;
    let defaults = unit.settings().quotas;
    let mut cells = Map::new();
    for (id, quota) in &set.cells {
        if let Some(found) = unit.find_cell_by_id(id).await? {
            cells.insert(found.cell().name.clone(), shown(*quota));
        }
    }
    let urls = unit.urls();
    let owners = set.owners.iter().map(|(owner, quota)| {
        let url = urls.resolve(owner).unwrap_or_else(|| owner.clone());
        (url, shown(*quota))
    });
    let owners: Map<String, Value> = owners.collect();
    Ok(json!({
        "defaults": {
            "cell": shown(defaults.cell_max_bytes),
            "unitUser": shown(defaults.owner_max_bytes),
        },
        "cells": cells,
        "unitUsers": owners,
    }))
}

async fn of_cell(unit: &Unit, cell: &Cell) -> Result<Value> {
    let storage = unit.storage_of(cell, SumAge::Any).await?;
    let set = unit.set_quotas().await?;
    let quota = match set.cells.get(&cell.id) {
        Some(quota) => *quota,
        None => unit.settings().quotas.cell_max_bytes,
    };
    let CellUsage {
        files,
        entities,
        properties,
        links,
        indexes,
        messages,
        jobs,
        log,
    } = storage.usage;
    let owner = cell.owner.as_deref();
    Ok(json!({
        "cell": cell.name,
        "unitUser": owner.and_then(|owner| unit.urls().resolve(owner)),
        "usedBytes": storage.usage.total(),
        "fileBytes": files,
        "entityBytes": entities,
        "propertyBytes": properties,
        "linkBytes": links,
        "indexBytes": indexes,
        "messageBytes": messages,
        "jobBytes": jobs,
        "logBytes": log,
        "quota": shown(quota),
        "availableBytes": shown(storage.left),
    }))
}

async fn of_owner(unit: &Unit, owner: &str) -> Result<Value> {
    let used = unit.usage_of_owner(owner).await?;
    let set = unit.set_quotas().await?;
    let quota = match set.owners.get(owner) {
        Some(quota) => *quota,
        None => unit.settings().quotas.owner_max_bytes,
    };
    Ok(json!({
        "unitUser": unit.urls().resolve(owner),
        "usedBytes": used,
        "quota": shown(quota),
        "availableBytes": shown(quota.map(|max| max.saturating_sub(used))),
    }))
}

/// A number of bytes, or `unlimited`.
fn shown(quota: Option<u64>) -> Value {
    quota.map_or_else(|| json!("unlimited"), Value::from)
}
