//! `{unit}__maintenance`: the modes of maintenance of the unit and of unit users.

use http::{Method, StatusCode};
use personium_model::Unit;
use personium_model::low_space::DiskContent;
use personium_model::maintenance::Maintenance;
use personium_types::{Code, Error, Operation, Result};
use serde_json::{Map, Value, json};

use crate::preflight;
use crate::quota::local_owner;
use crate::request_context::RequestContext;
use crate::response::{self, Response};

/// The methods of the resource.
pub(crate) const METHODS: &str = "OPTIONS, GET, HEAD, PUT, DELETE";

/// The largest request body in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The largest length of the URL of a unit user in bytes, which is that of a URL of a cell and an account.
const MAX_OWNER_BYTES: usize = 1024;

/// The parameter, and the field, with the URL of a unit user.
const UNIT_USER: &str = "unitUser";

const NORMAL: &str = "normal";
const READ_DELETE: &str = "readDelete";
const READ_ONLY: &str = "readOnly";

/// A mode that can be set.
enum Mode {
    /// The whole unit is read and deleted from only.
    ReadDelete,
    /// The cells of an owner, in unit-local form if it is of this unit, are read only.
    ReadOnly(String),
}

impl Mode {
    fn turn(&self, modes: &mut Maintenance, is_on: bool) {
        match (self, is_on) {
            (Self::ReadDelete, _) => modes.is_read_delete_only = is_on,
            (Self::ReadOnly(owner), true) => drop(modes.read_only_owners.insert(owner.clone())),
            (Self::ReadOnly(owner), false) => drop(modes.read_only_owners.remove(owner)),
        }
    }
}

/// Shows the modes, sets one, or ends one. In each mode.
///
/// # Errors
/// The refusal of the access check, [`Code::MethodNotAllowed`]; [`Code::RequestJson`], [`Code::RequestFieldRequired`] or
/// [`Code::RequestFieldFormat`] for a body or a query that cannot be read; a failure of the store.
pub(crate) async fn handle(mut request: RequestContext) -> Result<Response> {
    match request.method {
        Method::GET => {
            request.access.permit_unit(Operation::ReadMaintenance)?;
            let modes = request.unit.maintenance().await?;
            Ok(response::json(
                StatusCode::OK,
                &shown(&request.unit, &modes),
            ))
        }
        Method::PUT => {
            let permit = request.access.permit_unit(Operation::WriteMaintenance)?;
            let bytes = request.read_body(MAX_BODY_BYTES).await?;
            let mode = read(&request.unit, &bytes)?;
            let change = move |modes: &mut Maintenance| mode.turn(modes, true);
            request.unit.change_maintenance_by(&permit, change).await?;
            Ok(response::status(StatusCode::NO_CONTENT))
        }
        Method::DELETE => {
            let permit = request.access.permit_unit(Operation::WriteMaintenance)?;
            let mode = of_query(&request)?;
            let change = move |modes: &mut Maintenance| mode.turn(modes, false);
            request.unit.change_maintenance_by(&permit, change).await?;
            Ok(response::status(StatusCode::NO_CONTENT))
        }
        Method::OPTIONS => {
            request.access.permit_unit(Operation::ReadMaintenance)?;
            Ok(preflight::allow("OPTIONS, GET, PUT, DELETE"))
        }
        _ => Err(request.method_not_allowed()),
    }
}

/// Reads `{"mode": "readDelete"}` or `{"mode": "readOnly", "unitUser": URL}`.
fn read(unit: &Unit, bytes: &[u8]) -> Result<Mode> {
    let body: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|_| Error::new(Code::RequestJson))?;
    let format = |name: &str| Error::new(Code::RequestFieldFormat).with(name);
    let known = |name: &&String| matches!(name.as_str(), "mode" | UNIT_USER);
    if let Some(unknown) = body.keys().find(|name| !known(name)) {
        return Err(format(unknown));
    }
    let required = |name| Error::new(Code::RequestFieldRequired).with(name);
    let mode = body.get("mode").ok_or_else(|| required("mode"))?;
    match (mode.as_str(), body.get(UNIT_USER)) {
        (Some(READ_DELETE), None) => Ok(Mode::ReadDelete),
        (Some(READ_ONLY), Some(Value::String(owner))) => Ok(Mode::ReadOnly(owner_of(unit, owner)?)),
        (Some(READ_ONLY), None) => Err(required(UNIT_USER)),
        (Some(READ_ONLY | READ_DELETE), Some(_)) => Err(format(UNIT_USER)),
        _ => Err(format("mode")),
    }
}

/// The mode that a request ends: that of the unit user in its query, or that of the unit.
fn of_query(request: &RequestContext) -> Result<Mode> {
    // Another parameter may be a misspelled one: it must not end the mode of the unit.
    let pairs: Vec<_> = url::form_urlencoded::parse(request.query.as_bytes()).collect();
    match pairs.as_slice() {
        [] => Ok(Mode::ReadDelete),
        [(name, owner)] if name == UNIT_USER => Ok(Mode::ReadOnly(owner_of(&request.unit, owner)?)),
        [(name, _), ..] => Err(Error::new(Code::RequestFieldFormat).with(name.as_ref())),
    }
}

fn owner_of(unit: &Unit, owner: &str) -> Result<String> {
    match owner.len() <= MAX_OWNER_BYTES {
        true => local_owner(unit, owner),
        false => Err(Error::new(Code::RequestFieldFormat).with(UNIT_USER)),
    }
}

/// The modes that are set, and what holds at this server node.
fn shown(unit: &Unit, modes: &Maintenance) -> Value {
    let mode = |is_on| if is_on { READ_DELETE } else { NORMAL };
    let low_space = unit.low_space();
    let is_low = low_space.is_low(DiskContent::Records);
    let urls = unit.urls();
    let owners = modes.read_only_owners.iter().map(|owner| {
        let url = urls.resolve(owner).unwrap_or_else(|| owner.clone());
        (url, json!(READ_ONLY))
    });
    let owners: Map<String, Value> = owners.collect();
    let low: Vec<&str> = low_space
        .contents()
        .into_iter()
        .map(DiskContent::name)
        .collect();
    json!({
        "mode": mode(modes.is_read_delete_only),
        "unitUsers": owners,
        "thisNode": {"mode": mode(modes.is_read_delete_only || is_low), "lowSpace": low},
    })
}
