//! Events of the unit itself, as the code that makes a change describes them.

use std::borrow::Cow;

/// An event of the unit itself, without what its cause says of all events of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedEvent {
    /// Its type.
    pub kind: Cow<'static, str>,
    /// Its object, as a `personium-localcell:` URL.
    pub object: String,
    /// Details, mostly the status of the response.
    pub info: String,
}
