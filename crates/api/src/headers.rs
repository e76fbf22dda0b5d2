//! Names of request and response headers that only Personium has.

/// The password of an account that is created or changed.
pub(crate) const CREDENTIAL: &str = "x-personium-credential";
/// The confirmation that a box, cell or collection is to be deleted with its content. Error texts show this spelling.
pub(crate) const RECURSIVE: &str = "X-Personium-Recursive";
/// The key of a request in logs and events.
pub(crate) const REQUEST_KEY: &str = "x-personium-requestkey";
/// The unit user on whose behalf an administrator sends a request.
pub(crate) const UNIT_USER: &str = "x-personium-unit-user";
/// The version of the API.
pub(crate) const VERSION: &str = "x-personium-version";
