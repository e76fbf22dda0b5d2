//! The `Depth` header and the body of PROPFIND requests.

use personium_dav::headers::{Depth, DepthError};
use personium_dav::propfind::{self, PropFind, PropFindError};
use personium_types::{Code, Error, Result};

use crate::request_context::RequestContext;

/// Reads the value of `Depth`, which is required.
///
/// # Errors
/// [`Code::PropfindInfinity`]; [`Code::Depth`] for other values that are not allowed, and without one.
pub(crate) fn depth(header: Option<&str>) -> Result<Depth> {
    Depth::of_propfind(header).map_err(|error| match error {
        DepthError::Infinity => Code::PropfindInfinity.into(),
        DepthError::Invalid => Error::new(Code::Depth).with(header.unwrap_or("null")),
    })
}

/// Reads the body; `None` without one. `wrong_root` is the code for XML of another kind.
///
/// # Errors
/// [`Code::DavXml`], `wrong_root`, or as [`RequestContext::read_body`].
pub(crate) async fn read_body(
    request: &mut RequestContext,
    wrong_root: Code,
) -> Result<Option<PropFind>> {
    if !request.has_body() {
        return Ok(None);
    }
    let limits = request.xml_limits();
    let body = request.read_body(limits.bytes).await?;
    match propfind::parse(&body, &limits) {
        Ok(parsed) => Ok(Some(parsed)),
        Err(PropFindError::WrongRoot) => Err(wrong_root.into()),
        Err(error) => Err(Error::new(Code::DavXml).with_source(error)),
    }
}
