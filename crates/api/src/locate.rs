//! The addressee of a request: the unit or a cell. Only this module knows both forms of cell URLs.

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderName, header};
use personium_model::Unit;
use personium_model::url::Addressee as HostAddressee;
use personium_types::{Code, Error, Result};

use crate::headers::{FORWARDED_HOST, FORWARDED_PATH};
use crate::route::UNIT_SEGMENTS;

/// The addressee of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Addressee {
    /// The unit.
    Unit {
        /// The path below it.
        path: String,
    },
    /// A cell.
    Cell {
        /// Its name; percent-encoded where it is a part of the path.
        name: String,
        /// The path below it.
        path: String,
    },
}

/// Returns the addressee of a request.
///
/// # Errors
/// [`Code::UnknownHost`] if the host is not one of this unit; [`Code::PathBasedDisabled`] if cells are addressed by their hosts
/// only.
pub fn addressee(unit: &Unit, head: &Parts) -> Result<Addressee> {
    let text = |name: &HeaderName| {
        head.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::trim)
            .filter(|v| !v.is_empty())
    };
    let authority = text(&FORWARDED_HOST)
        .or_else(|| head.uri.authority().map(Authority::as_str))
        .or_else(|| text(&header::HOST))
        .unwrap_or("");
    let forwarded = text(&FORWARDED_PATH).map(|p| p.split('?').next().unwrap_or(p));
    let path = forwarded.unwrap_or(head.uri.path());
    let no_host = || {
        Error::new(Code::UnknownHost)
            .with(authority)
            .with(unit.urls().authority())
    };
    match unit.urls().addressee(authority) {
        HostAddressee::Foreign => Err(no_host()),
        HostAddressee::Cell(_) if unit.urls().path_based() => Err(no_host()),
        HostAddressee::Cell(name) => Ok(Addressee::Cell {
            name,
            path: path.to_owned(),
        }),
        HostAddressee::Unit => below_unit(unit, path),
    }
}

fn below_unit(unit: &Unit, path: &str) -> Result<Addressee> {
    let below = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = match below.split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (below, String::new()),
    };
    if first.is_empty() || UNIT_SEGMENTS.contains(&first) {
        return Ok(Addressee::Unit {
            path: path.to_owned(),
        });
    }
    if !unit.urls().path_based() {
        return Err(Code::PathBasedDisabled.into());
    }
    Ok(Addressee::Cell {
        name: first.to_owned(),
        path: rest,
    })
}
