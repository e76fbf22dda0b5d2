//! Local tokens of one cell. They are bound to the cell and the account themselves: one that is made later under the
//! same name is another, and tokens made before are not for it.

use std::collections::BTreeMap;

use personium_token::local::{LocalError, LocalKind, LocalToken};
use personium_token::random::SystemRandom;
use personium_types::{Error, Result};

use crate::{CellContext, Unit};

/// The claim that holds the id of the cell.
const CELL: &str = "cell";
/// The claim that holds the entity id of the account.
pub const ACCOUNT: &str = "account";

/// Seals a token of a cell.
///
/// # Errors
/// 500 if it cannot be sealed.
pub fn seal(unit: &Unit, context: &CellContext, mut token: LocalToken) -> Result<String> {
    let cell = context.cell().id.to_string();
    token.extra.insert(CELL.to_owned(), cell);
    let sealed = unit.keys().local_tokens.seal(&token, &mut SystemRandom);
    sealed.map_err(Error::internal)
}

/// Opens a token of a cell.
///
/// # Errors
/// What is wrong with it; [`LocalError::NotOurs`] also for one of a cell that had this name before.
pub fn open(unit: &Unit, context: &CellContext, text: &str) -> Result<LocalToken, LocalError> {
    let issuer = unit.urls().cell(&context.cell().name);
    check_cell(context, unit.keys().local_tokens.open(text, &issuer)?)
}

/// As [`open`], for a token of one kind.
///
/// # Errors
/// As [`open`]; [`LocalError::WrongKind`] for one of another kind.
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
    if token.extra.get(CELL) == Some(&context.cell().id.to_string()) {
        Ok(token)
    } else {
        Err(LocalError::NotOurs)
    }
}

/// The claims of a token of an account.
#[must_use]
pub fn account_claims(id: &str, epoch: Option<&str>) -> BTreeMap<String, String> {
    let mut claims = BTreeMap::from([(ACCOUNT.to_owned(), id.to_owned())]);
    claims.extend(epoch.map(|epoch| {
        (
            super::issue::TOKEN_GENERATION_CLAIM.to_owned(),
            epoch.to_owned(),
        )
    }));
    claims
}
