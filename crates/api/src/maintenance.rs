//! Requests while the unit, or an owner of cells, is in maintenance.

use std::sync::Arc;

use http::Method;
use personium_model::Unit;
use personium_model::low_space::DiskContent;
use personium_model::maintenance::Maintenance;
use personium_types::{Code, Result};

use crate::full_storage;
use crate::locate::Addressee;
use crate::request_context::RequestContext;
use crate::route::MAINTENANCE_SEGMENT;

/// The modes that concern a request with this method and addressee: none for one that only reads.
///
/// # Errors
/// [`Code::StoreDown`] if the folder of the records is on another file system than at the start, and the request may store something;
/// [`Code::ReadDeleteOnly`] if the unit is only read and deleted from, or the disk of its records has little space left, and the request may
/// store something; a failure of the store.
pub(crate) async fn check(
    unit: &Unit,
    method: &Method,
    addressee: &Addressee,
) -> Result<Arc<Maintenance>> {
    let path = match addressee {
        Addressee::Unit { path } | Addressee::Cell { path, .. } => path,
    };
    let mut modes = match unit.known_modes() {
        Some(known) => known,
        // On a shared store only changes are worth a question. Another one is asked once.
        None if unit.store().is_shared() && full_storage::is_read(method) => Arc::default(),
        None => unit.maintenance().await?,
    };
    let is_change = *method == Method::DELETE || full_storage::may_store(method, path);
    if is_change && unit.low_space().is_displaced(DiskContent::Records) {
        // What is stored now would be missing when the file system of the records is back.
        return Err(Code::StoreDown.into());
    }
    if unit.low_space().is_low(DiskContent::Records) {
        // A mode that an administrator has set is stored, and stays as it is.
        Arc::make_mut(&mut modes).is_read_delete_only = true;
    }
    let is_refused = modes.is_read_delete_only
        && full_storage::may_store(method, path)
        && !is_checked_later(method, path)
        && !is_administration(method, addressee);
    match is_refused {
        true => Err(Code::ReadDeleteOnly.into()),
        false => Ok(modes),
    }
}

/// Whether each part of the request is checked.
fn is_checked_later(method: &Method, path: &str) -> bool {
    method == Method::POST && path.trim_matches('/').rsplit('/').next() == Some("$batch")
}

/// Whether the request reloads the settings of the unit, or changes its modes.
fn is_administration(method: &Method, addressee: &Addressee) -> bool {
    let Addressee::Unit { path } = addressee else {
        return false;
    };
    match path.trim_matches('/') {
        "__status" => method == Method::POST,
        MAINTENANCE_SEGMENT => method == Method::PUT,
        _ => false,
    }
}

/// Refuses a change at the level of the unit by an owner whose cells may only be read, but for that of the modes.
///
/// # Errors
/// [`Code::Maintenance`]
pub(crate) fn check_unit_user(request: &RequestContext) -> Result<()> {
    let is_of_modes =
        matches!(request.path.decoded.as_slice(), [only] if only == MAINTENANCE_SEGMENT);
    if full_storage::is_read(&request.method) || is_of_modes {
        return Ok(());
    }
    let Some(subject) = request.access.subject() else {
        return Ok(());
    };
    let local = request.unit.urls().localize(subject);
    let owner = local.as_deref().unwrap_or(subject);
    request.maintenance.check_owner(Some(owner))
}
