//! Local tokens of one cell. A token is bound to the ids of cell and account: after a cell or an account was deleted,
//! another one of the same name does not accept it.

use std::collections::BTreeMap;

use personium_token::local::{LocalError, LocalKind, LocalToken};
use personium_types::{Error, Result};

use super::claims;
use crate::{CellContext, Unit};

/// Seals a token of a cell.
///
/// # Errors
/// [`Code::Unknown`](personium_types::Code::Unknown) if it cannot be sealed.
pub fn seal(unit: &Unit, context: &CellContext, mut token: LocalToken) -> Result<String> {
    let cell = context.cell().id.to_string();
    token.extra.insert(claims::CELL.to_owned(), cell);
    let sealed = unit.keys().local_tokens.seal(&token, unit.random());
    sealed.map_err(Error::internal)
}

/// Opens a token of a cell.
///
/// # Errors
/// [`LocalError`]; its variant `NotOurs` also for a token of an earlier cell of this name.
pub fn open(unit: &Unit, context: &CellContext, text: &str) -> Result<LocalToken, LocalError> {
    let issuer = unit.urls().cell(&context.cell().name);
    check_cell(context, unit.keys().local_tokens.open(text, &issuer)?)
}

/// Opens a token of a cell that must be of one kind.
///
/// # Errors
/// As [`open`]; [`LocalError::WrongKind`] for a token of another kind.
pub fn open_as(
    unit: &Unit,
    context: &CellContext,
    text: &str,
    kind: LocalKind,
) -> Result<LocalToken, LocalError> {
    let issuer = unit.urls().cell(&context.cell().name);
    check_cell(
        context,
        unit.keys().local_tokens.open_as(text, &issuer, kind)?,
    )
}

fn check_cell(context: &CellContext, token: LocalToken) -> Result<LocalToken, LocalError> {
    if token.extra.get(claims::CELL) == Some(&context.cell().id.to_string()) {
        Ok(token)
    } else {
        Err(LocalError::NotOurs)
    }
}

/// The claims that bind a token to an account.
#[must_use]
pub fn account_claims(id: &str, token_generation: Option<&str>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([(claims::ACCOUNT.to_owned(), id.to_owned())]);
    out.extend(
        token_generation
            .map(|generation| (claims::TOKEN_GENERATION.to_owned(), generation.to_owned())),
    );
    out
}
