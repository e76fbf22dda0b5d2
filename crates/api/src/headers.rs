//! Names of request and response headers that the HTTP library does not know. They are parsed once, not for each look at a
//! header.

use http::HeaderName;
use personium_types::{Code, Error, Result};

/// The password of an account that is created or changed.
pub(crate) const CREDENTIAL: &str = "x-personium-credential";
/// The confirmation that a box, cell or collection is to be deleted with its content. Error texts show this spelling.
pub(crate) const RECURSIVE: &str = "X-Personium-Recursive";
/// The id of an upload in parts.
pub(crate) static UPLOAD: HeaderName = HeaderName::from_static("x-personium-upload");
/// With `true`, a cell is removed for good: from back-ups too.
pub(crate) const ERASE: &str = "X-Personium-Erase";
/// The key of a request in logs and events.
pub(crate) static REQUEST_KEY: HeaderName = HeaderName::from_static("x-personium-requestkey");
/// The unit user on whose behalf an administrator sends a request.
pub(crate) const UNIT_USER: &str = "x-personium-unit-user";
/// The version of the API.
pub(crate) static VERSION: HeaderName = HeaderName::from_static("x-personium-version");
/// The version of the OData protocol of a message.
pub(crate) static ODATA_VERSION: HeaderName = HeaderName::from_static("dataserviceversion");
/// The newest version of the OData protocol that a client understands.
pub(crate) static ODATA_MAX_VERSION: HeaderName = HeaderName::from_static("maxdataserviceversion");
/// The conditions of RFC 4918, section 10.4.
pub(crate) static IF: HeaderName = HeaderName::from_static("if");
/// The header that replaces others.
pub(crate) static OVERRIDE: HeaderName = HeaderName::from_static("x-override");
/// The addresses of the client and of the proxies. Each proxy appends the address of its peer.
pub(crate) static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The host that the client addresses.
pub(crate) static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The path that the client addresses.
pub(crate) static FORWARDED_PATH: HeaderName = HeaderName::from_static("x-forwarded-path");

/// Refuses what would keep back-ups of something that was to be removed from them: only a cell as a whole is.
///
/// # Errors
/// [`Code::HeaderIllegal`]
pub(crate) fn refuse_erasure(headers: &http::HeaderMap) -> Result<()> {
    match headers.get(ERASE) {
        Some(value) if value != "false" => {
            let value = value.to_str().unwrap_or_default();
            Err(Error::new(Code::HeaderIllegal).with(ERASE).with(value))
        }
        _ => Ok(()),
    }
}
