//! The password of an account: sent in a header, stored as a hash.

use std::collections::BTreeMap;

use personium_model::keys::ControlSet;
use personium_model::odata::SetRef;
use personium_types::Result;

use super::request::ODataRequest;
use crate::headers::CREDENTIAL;

/// The hidden values of the credential header; none without the header, or if the set is not that of accounts.
///
/// # Errors
/// [`PasswordFormat`](personium_types::Code::PasswordFormat), or the error of hashing if too many passwords are being
/// hashed.
pub(super) async fn hash_credential(
    request: &ODataRequest,
    set: &SetRef,
) -> Result<BTreeMap<String, String>> {
    if set.control != Some(ControlSet::Account) {
        return Ok(BTreeMap::new());
    }
    let (Some(header), Some(context)) = (request.headers.get(CREDENTIAL), request.root.context())
    else {
        return Ok(BTreeMap::new());
    };
    let password = String::from_utf8_lossy(header.as_bytes()).into_owned();
    personium_model::auth::account::hash_password(&request.unit, context.cell(), password).await
}
