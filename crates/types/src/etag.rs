//! Entity tags of files, collections and entities (RFC 9110, section 8.8.3).

use std::fmt;

/// The entity tag of one state of a resource: its version and the time of its last change.
///
/// ```
/// use personium_types::ETag;
///
/// let tag = ETag { version: 3, updated_ms: 1_706_692_530_123 };
/// assert_eq!(tag.strong().to_string(), "\"3-1706692530123\"");
/// assert_eq!(tag.weak().to_string(), "W/\"3-1706692530123\"");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag {
    /// The number of the version, from 1. Every change increments it.
    pub version: u64,
    /// The time of the last change, in milliseconds since 1970-01-01 UTC.
    pub updated_ms: i64,
}

impl ETag {
    /// The strong form, quotes included, for files and collections.
    #[must_use]
    pub const fn strong(self) -> impl fmt::Display + Copy {
        PrintedETag {
            tag: self,
            prefix: "",
        }
    }

    /// The weak form, quotes included, for entities.
    #[must_use]
    pub const fn weak(self) -> impl fmt::Display + Copy {
        PrintedETag {
            tag: self,
            prefix: "W/",
        }
    }
}

#[derive(Clone, Copy)]
struct PrintedETag {
    tag: ETag,
    prefix: &'static str,
}

impl fmt::Display for PrintedETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ETag {
            version,
            updated_ms,
        } = self.tag;
        write!(f, "{}\"{version}-{updated_ms}\"", self.prefix)
    }
}
