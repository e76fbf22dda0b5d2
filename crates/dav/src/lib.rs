//! The WebDAV language as this server speaks it: request bodies, multistatus answers and header values.
//!
//! Nothing here does I/O or knows HTTP types, statuses or error codes: bytes and strings come in, values and text go
//! out. Every reader is bounded, because its input comes from clients.

pub mod acl;
pub mod headers;
pub mod mkcol;
pub mod multistatus;
pub mod name;
pub mod propfind;
pub mod proppatch;
pub mod rootprops;
pub mod uri_reference;

/// The namespace of WebDAV's own names.
pub const DAV_NS: &str = "DAV:";
/// The namespace of Personium's extensions, conventional prefix `p`.
pub const PERSONIUM_NS: &str = "urn:x-personium:xmlns";
