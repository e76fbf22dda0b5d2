//! Unit users from tokens of other cells.

use personium_token::role_url::RoleUrl;
use personium_token::saml::TransCellToken;

use crate::access::UnitRole;
use crate::{Access, Identity, Unit};

/// The role of administrators, who may manage all cells.
const ADMIN: &str = "UnitAdmin";
/// The role of unit users who may read and write the content of their cells.
const CONTENTS_ADMIN: &str = "CellContentsAdmin";
/// The role of unit users who may read the content of their cells.
const CONTENTS_READER: &str = "CellContentsReader";

/// The access of a unit user's token: one that a configured cell issued for this unit. Returns `None` for any other
/// token. `acting_for` is the unit user that an administrator names in `X-Personium-Unit-User`.
#[must_use]
pub fn access(unit: &Unit, token: &TransCellToken, acting_for: Option<&str>) -> Option<Access> {
    let urls = unit.urls();
    let trusted = unit
        .settings()
        .auth
        .unit_user_issuers
        .iter()
        .any(|issuer| urls.resolve(issuer).as_deref() == Some(token.issuer.as_str()));
    if !trusted || token.target != urls.unit() {
        return None;
    }
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
        },
        (false, _) => Identity::UnitUser {
            subject: token.subject.clone(),
            role,
        },
    };
    Some(Access::of(identity))
}
