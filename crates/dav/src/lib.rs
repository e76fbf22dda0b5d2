//! The WebDAV language of this server: request bodies, multistatus responses and header values.
//!
//! This crate does no I/O and knows no HTTP types, statuses or error codes. It parses bytes and strings into values and
//! prints values as text. All parsers have limits, because their input comes from clients.

pub mod acl;
pub mod headers;
pub mod mkcol;
pub mod multistatus;
pub mod propfind;
pub mod proppatch;
pub mod refused_properties;
pub mod rootprops;
pub mod uri_reference;

/// The XML namespace of WebDAV.
pub const DAV_NS: &str = "DAV:";
/// The XML namespace of the Personium extensions, with the conventional prefix `p`.
pub const PERSONIUM_NS: &str = "urn:x-personium:xmlns";
/// The namespace of the same elements in earlier releases. Archives may have it.
pub(crate) const FORMER_PERSONIUM_NS: &str = "urn:x-dc1:xmlns";
