//! Unit users from tokens of other cells.

use personium_token::role_url::RoleUrl;
use personium_token::saml::TransCellToken;

use personium_types::Result;

use crate::access::{NamedBy, UnitRole};
use crate::{Access, Identity, Unit, administrator_cells};

/// The role of administrators, who may manage all cells.
const ADMIN: &str = "UnitAdmin";
/// The role of unit users who may read and write the content of their cells.
const CONTENTS_ADMIN: &str = "CellContentsAdmin";
/// The role of unit users who may read the content of their cells.
const CONTENTS_READER: &str = "CellContentsReader";

/// The access of a unit user's token: one that an issuer of unit users issued for this unit about a subject that it may name.
/// Returns `None` for any other token. `acting_for` is the unit user that an administrator names in `X-Personium-Unit-User`.
///
/// # Errors
/// A failure of the store.
pub async fn access(
    unit: &Unit,
    token: &TransCellToken,
    acting_for: Option<&str>,
) -> Result<Option<Access>> {
    if token.target != unit.urls().unit() || !may_name(unit, token) {
        return Ok(None);
    }
    let is_trusted = issuers(unit).await?.contains(&token.issuer);
    Ok(is_trusted.then(|| access_of(token, acting_for)))
}

/// The access of the token of an issuer that is trusted.
fn access_of(token: &TransCellToken, acting_for: Option<&str>) -> Access {
    let has = |name: &str| {
        let url = RoleUrl::class(&token.issuer, name).to_string();
        token.roles.contains(&url)
    };
    let role = if has(CONTENTS_ADMIN) {
        UnitRole::ContentsAdmin
    } else if has(CONTENTS_READER) {
        UnitRole::ContentsReader
    } else {
        UnitRole::None
    };
    let identity = match (has(ADMIN), acting_for) {
        (true, None) => Identity::UnitAdmin { role },
        (true, Some(named)) => Identity::UnitUser {
            subject: named.to_owned(),
            role,
            named_by: NamedBy::Administrator,
        },
        (false, _) => Identity::UnitUser {
            subject: token.subject.clone(),
            role,
            named_by: NamedBy::Token,
        },
    };
    Access {
        administrator: has(ADMIN).then(|| token.subject.clone()),
        ..Access::of(identity)
    }
}

/// The URLs of the cells whose accounts are unit users: those of the settings, or if they name none, those that are recorded.
async fn issuers(unit: &Unit) -> Result<Vec<String>> {
    let (urls, configured) = (unit.urls(), &unit.settings().auth.unit_user_issuers);
    if !configured.is_empty() {
        return Ok(configured.iter().filter_map(|i| urls.resolve(i)).collect());
    }
    let recorded = administrator_cells::find(&unit.records()).await?;
    let recorded = recorded.unwrap_or_default();
    Ok(recorded.iter().map(|cell| urls.cell(cell)).collect())
}

/// Whether the accounts of a cell of this name are unit users, also if there is no such cell yet. Host names are the same in any
/// case.
///
/// # Errors
/// A failure of the store.
pub async fn is_issuer_name(unit: &Unit, name: &str) -> Result<bool> {
    let issuers = issuers(unit).await?;
    let mut cells = issuers.iter().filter_map(|i| unit.urls().split(i));
    Ok(cells.any(|(cell, _)| cell.eq_ignore_ascii_case(name)))
}

/// Whether the issuer of a token may name its subject: an account of the issuer; a cell of this unit, whose tokens only this unit
/// signs, also subjects of other units.
fn may_name(unit: &Unit, token: &TransCellToken) -> bool {
    let urls = unit.urls();
    let Some((cell, account)) = token.subject.split_once('#') else {
        return false;
    };
    let is_own_account = cell == token.issuer && !account.is_empty();
    let is_ours = |url: &str| {
        urls.resolve(url)
            .is_none_or(|url| urls.split(&url).is_some())
    };
    is_own_account || (is_ours(&token.issuer) && !is_ours(&token.subject))
}
