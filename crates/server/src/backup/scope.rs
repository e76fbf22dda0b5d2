//! The part of a unit that the back-ups of a place have. It is the same for all of them, so `--keep` counts equals.

use std::fmt;

use personium_types::error::chain;
use serde_json::{Value, json};

use super::BackupResult;
use super::manifest::member;
use crate::config::LoadedConfig;
use crate::unit_url::{stored_owner, unit_urls};

/// The part of a unit that back-ups have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BackupScope {
    /// The whole unit.
    #[default]
    Unit,
    /// The cells of an owner, in the form in which owners are stored.
    Owner(String),
    /// The cell with this name.
    Cell(String),
}

impl BackupScope {
    /// Whether a cell belongs to it.
    pub(super) fn has(&self, name: &str, of: Option<&str>) -> bool {
        match self {
            Self::Unit => true,
            Self::Owner(owner) => of == Some(owner),
            Self::Cell(cell) => name == cell,
        }
    }

    /// Whether it is the whole unit.
    pub(crate) const fn is_unit(&self) -> bool {
        matches!(self, Self::Unit)
    }

    /// The member of the mark of a place; null for the whole unit.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Unit => Value::Null,
            Self::Owner(owner) => json!({"owner": owner}),
            Self::Cell(cell) => json!({"cell": cell}),
        }
    }

    /// Reads the member of a mark. `None` if it has another form.
    pub(super) fn from_json(scope: &Value) -> Option<Self> {
        if scope.is_null() {
            return Some(Self::Unit);
        }
        let text = |name| member(scope, name).as_str().map(str::to_owned);
        let owner = text("owner").map(Self::Owner);
        owner.or_else(|| text("cell").map(Self::Cell))
    }
}

impl fmt::Display for BackupScope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => write!(out, "the whole unit"),
            Self::Owner(owner) => write!(out, "the cells of {owner}"),
            Self::Cell(cell) => write!(out, "the cell {cell}"),
        }
    }
}

/// The form in which an owner is stored that is given as `personium admin list` shows it.
///
/// # Errors
/// A text for the operator if it is no URL of an account.
pub(crate) fn owner_of(loaded: &LoadedConfig, owner: &str) -> BackupResult<String> {
    let urls = unit_urls(loaded).map_err(|error| chain(&error))?;
    stored_owner(&urls, owner)
}
