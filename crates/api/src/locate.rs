//! From host and path to the unit or a cell. The only place that knows both forms of cell URLs.

use http::HeaderMap;
use personium_model::Unit;
use personium_model::url::Addressee as HostAddressee;
use personium_types::{Code, Error, Result};

use crate::route::UNIT_SEGMENTS;

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Addressee {
    /// The unit, with the path below it.
    Unit(String),
    /// The cell of this name, with the path below it.
    Cell(String, String),
}

/// Finds out what a request is for.
///
/// # Errors
/// 400 if the host is not of this unit, or if the cell is addressed in the form that is switched off.
pub fn addressee(
    unit: &Unit,
    headers: &HeaderMap,
    uri_authority: Option<&str>,
    path: &str,
) -> Result<Addressee> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::trim)
            .filter(|v| !v.is_empty())
    };
    let authority = text("x-forwarded-host")
        .or(uri_authority)
        .or_else(|| text("host"))
        .unwrap_or("");
    let forwarded = text("x-forwarded-path").map(|p| p.split('?').next().unwrap_or(p));
    let path = forwarded.unwrap_or(path);
    match unit.urls().addressee(authority) {
        HostAddressee::Foreign => Err(Error::new(Code::UnknownHost)
            .with(authority)
            .with(unit.urls().authority())),
        HostAddressee::Cell(_) if unit.urls().path_based() => Err(Error::new(Code::UnknownHost)
            .with(authority)
            .with(unit.urls().authority())),
        HostAddressee::Cell(name) => Ok(Addressee::Cell(name, path.to_owned())),
        HostAddressee::Unit => of_unit(unit, path),
    }
}

fn of_unit(unit: &Unit, path: &str) -> Result<Addressee> {
    let inside = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = match inside.split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (inside, String::new()),
    };
    if first.is_empty() || UNIT_SEGMENTS.contains(&first) {
        return Ok(Addressee::Unit(path.to_owned()));
    }
    if !unit.urls().path_based() {
        return Err(Code::PathBasedDisabled.into());
    }
    Ok(Addressee::Cell(first.to_owned(), rest))
}
