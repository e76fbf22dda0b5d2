//! URLs of roles.
//!
//! | Kind | Form | Used in |
//! |---|---|---|
//! | instance | `{cell}__role/{box name or __}/{role}` | ACL entries, visitor access tokens |
//! | class | `{box schema or cell}__role/__/{role}` | trans-cell tokens, external roles |

use std::fmt;

/// The path segment before the box and the role.
const ROLE_SEGMENT: &str = "__role/";
/// The box segment in class URLs, and in instance URLs of roles without a box.
const NO_BOX: &str = "__";

/// A parsed role URL. Its `Display` form is the URL.
///
/// ```
/// use personium_token::role_url::RoleUrl;
///
/// let url = RoleUrl::parse("https://cell1.unit.example/__role/box1/reader").unwrap();
/// assert_eq!(url.base, "https://cell1.unit.example/");
/// assert_eq!(url.box_name.as_deref(), Some("box1"));
/// assert_eq!(url.role, "reader");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoleUrl {
    /// The URL before `__role/`: a cell URL or the schema of a box. Ends with `/`.
    pub base: String,
    /// The name of the box in an instance URL; `None` for `__`.
    pub box_name: Option<String>,
    /// The name of the role.
    pub role: String,
}

/// The text is not a role URL of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role URL")]
pub struct ParseRoleUrlError;

impl RoleUrl {
    /// Returns the instance URL of a role. `cell` is the URL of the cell and ends with `/`.
    pub fn instance(cell: &str, box_name: Option<&str>, role: &str) -> Self {
        Self {
            base: cell.to_owned(),
            box_name: box_name.map(str::to_owned),
            role: role.to_owned(),
        }
    }

    /// Returns the class URL of a role. `base` is the schema of its box, or the cell URL if the box has no schema.
    pub fn class(base: &str, role: &str) -> Self {
        Self::instance(base, None, role)
    }

    /// Parses an instance URL. Every class URL is also an instance URL.
    ///
    /// The last `/__role/` that is followed by two segments is used. The role may contain slashes; the existence of such a
    /// role is not checked. Nothing is percent-decoded.
    ///
    /// # Errors
    /// [`ParseRoleUrlError`] if the text has no `/__role/` with a box and a role, or contains control characters.
    pub fn parse(text: &str) -> Result<Self, ParseRoleUrlError> {
        if text.chars().any(char::is_control) {
            return Err(ParseRoleUrlError);
        }
        for (at, _) in text.rmatch_indices(ROLE_SEGMENT) {
            let (base, rest) = text.split_at(at);
            // The base has at least one character before its slash.
            if base.len() < 2 || !base.ends_with('/') {
                continue;
            }
            let Some((box_part, role)) = rest
                .strip_prefix(ROLE_SEGMENT)
                .and_then(|segments| segments.split_once('/'))
            else {
                continue;
            };
            if box_part.is_empty() || role.is_empty() {
                continue;
            }
            return Ok(Self {
                base: base.to_owned(),
                box_name: (box_part != NO_BOX).then(|| box_part.to_owned()),
                role: role.to_owned(),
            });
        }
        Err(ParseRoleUrlError)
    }

    /// Parses a class URL: an instance URL whose box segment is `__`.
    ///
    /// # Errors
    /// [`ParseRoleUrlError`] as for [`RoleUrl::parse`], and if the box segment is not `__`.
    pub fn parse_class(text: &str) -> Result<Self, ParseRoleUrlError> {
        Self::parse(text).and_then(|url| match url.box_name {
            None => Ok(url),
            Some(_) => Err(ParseRoleUrlError),
        })
    }
}

impl fmt::Display for RoleUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let box_part = self.box_name.as_deref().unwrap_or(NO_BOX);
        write!(f, "{}{ROLE_SEGMENT}{box_part}/{}", self.base, self.role)
    }
}
