//! The password of an account, which comes in a header and is kept as a hash.

use std::collections::BTreeMap;

use personium_model::keys::ControlSet;
use personium_model::odata::SetRef;
use personium_types::Result;

use super::service::Service;

/// The hidden values that the credential header of a request sets; none if there is no header or it is not about an
/// account.
///
/// # Errors
/// 400 if the password does not meet the rules, 503 if too many passwords are being hashed.
pub(super) async fn credential(
    service: &Service,
    set: &SetRef,
) -> Result<BTreeMap<String, String>> {
    if set.control != Some(ControlSet::Account) {
        return Ok(BTreeMap::new());
    }
    let (Some(header), Some(context)) = (
        service.call.headers.get("x-personium-credential"),
        service.root.context(),
    ) else {
        return Ok(BTreeMap::new());
    };
    let password = String::from_utf8_lossy(header.as_bytes()).into_owned();
    personium_model::auth::hash_password(&service.call.unit, context.cell(), password).await
}
