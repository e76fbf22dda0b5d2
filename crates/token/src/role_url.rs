//! URLs that name a role.
//!
//! | Kind | Form | Where |
//! |---|---|---|
//! | instance | `{cell}__role/{box name or __}/{role}` | ACL entries, visitor access tokens |
//! | class | `{box schema or cell}__role/__/{role}` | trans-cell tokens, external roles |

use std::fmt;

/// The path segment that starts the naming part of a role URL.
const MARK: &str = "__role/";
/// The box segment of class URLs, and of instance URLs of roles without a box.
const NO_BOX: &str = "__";

/// A role URL taken apart. Displays as the URL it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoleUrl {
    /// What stands before `__role/`: a cell URL or a box schema. Ends with `/`.
    pub base: String,
    /// The box of an instance URL; `None` stands for `__`.
    pub box_name: Option<String>,
    /// The role's name.
    pub role: String,
}

/// The text is not a role URL of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role URL")]
pub struct ParseRoleUrlError;

impl RoleUrl {
    /// The instance URL of a role of `cell` (its URL, ending with `/`).
    pub fn instance(cell: &str, box_name: Option<&str>, role: &str) -> Self {
        Self {
            base: cell.to_owned(),
            box_name: box_name.map(str::to_owned),
            role: role.to_owned(),
        }
    }

    /// The class URL of a role: `base` is the schema of its box, or the cell URL if there is none.
    pub fn class(base: &str, role: &str) -> Self {
        Self::instance(base, None, role)
    }

    /// Reads an instance URL; a class URL is one too.
    ///
    /// The last `/__role/` that is followed by two parts counts. The role part may hold slashes:
    /// whether such a role can exist is not decided here. Nothing is percent-decoded. Texts with
    /// control characters are refused.
    pub fn parse(text: &str) -> Result<Self, ParseRoleUrlError> {
        if text.chars().any(char::is_control) {
            return Err(ParseRoleUrlError);
        }
        for (at, _) in text.rmatch_indices(MARK) {
            let (base, rest) = text.split_at(at);
            // at least one character before the slash
            if base.len() < 2 || !base.ends_with('/') {
                continue;
            }
            let Some((box_part, role)) = rest
                .strip_prefix(MARK)
                .and_then(|naming| naming.split_once('/'))
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

    /// Reads a class URL: as [`RoleUrl::parse`], and the middle must be `__`.
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
        write!(f, "{}{MARK}{box_part}/{}", self.base, self.role)
    }
}
