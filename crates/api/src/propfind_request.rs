//! The `Depth` header and the body of PROPFIND requests.

use personium_dav::headers::Depth;
use personium_dav::propfind::{self, PropFind, PropFindError};
use personium_types::{Code, Error, Result};

use crate::request_context::RequestContext;

/// Reads the value of `Depth`; `absent` is the depth without one.
///
/// # Errors
/// [`Code::Depth`] for other values than `0`, `1` and `infinity`.
pub(crate) fn depth(header: Option<&str>, absent: Depth) -> Result<Depth> {
    match header {
        None => Ok(absent),
        Some(value) => Depth::parse(value).map_err(|_| Error::new(Code::Depth).with(value)),
    }
}

/// Reads the value of `Depth` where it is required and may not be `infinity`.
///
/// # Errors
/// [`Code::PropfindInfinity`]; [`Code::Depth`] for other values that are not allowed, and without one.
pub(crate) fn finite_depth(header: Option<&str>) -> Result<Depth> {
    let header = header.ok_or_else(|| Error::new(Code::Depth).with("null"))?;
    match depth(Some(header), Depth::Infinity)? {
        Depth::Infinity => Err(Code::PropfindInfinity.into()),
        finite => Ok(finite),
    }
}

/// Reads the body. `wrong_root` is the code for XML of another kind.
///
/// # Errors
/// [`Code::DavXml`], `wrong_root`, or as [`RequestContext::read_body`].
pub(crate) async fn read_body(request: &mut RequestContext, wrong_root: Code) -> Result<PropFind> {
    if !request.has_body() {
        return Ok(PropFind::AllProp {
            include: Vec::new(),
        });
    }
    let limits = request.xml_limits();
    let body = request.read_body(limits.bytes).await?;
    match propfind::parse(&body, &limits) {
        Ok(parsed) => Ok(parsed),
        Err(PropFindError::WrongRoot) => Err(wrong_root.into()),
        Err(error) => Err(Error::new(Code::DavXml).with_source(error)),
    }
}
