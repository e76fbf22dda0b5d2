//! The claims of local tokens.

use std::collections::BTreeMap;

/// The kind of a local token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalKind {
    /// `AR~`: access token of an account of the issuing cell.
    ResidentAccess,
    /// `AV~`: access token of a visitor.
    VisitorAccess,
    /// `RR~`: refresh token of an account of the issuing cell.
    ResidentRefresh,
    /// `RV~`: refresh token of a visitor.
    VisitorRefresh,
    /// `GC~`: authorization code.
    GrantCode,
    /// `AU~`: unit user token that is valid in this unit only.
    UnitLocal,
    /// `AP~`: token for a change of the password only.
    PasswordChange,
}

impl LocalKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::ResidentAccess,
        Self::VisitorAccess,
        Self::ResidentRefresh,
        Self::VisitorRefresh,
        Self::GrantCode,
        Self::UnitLocal,
        Self::PasswordChange,
    ];

    /// The first three characters of a token of this kind.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ResidentAccess => "AR~",
            Self::VisitorAccess => "AV~",
            Self::ResidentRefresh => "RR~",
            Self::VisitorRefresh => "RV~",
            Self::GrantCode => "GC~",
            Self::UnitLocal => "AU~",
            Self::PasswordChange => "AP~",
        }
    }

    /// The kind according to the prefix of a text.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| text.starts_with(kind.prefix()))
    }
}

/// The assertion that a refresh token of a visitor was issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertionOrigin {
    /// The issuer of the assertion.
    pub issuer: String,
    /// The id of the assertion.
    pub assertion_id: String,
}

/// The claims of a local token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalToken {
    /// The kind.
    pub kind: LocalKind,
    /// The issue time in milliseconds since 1970-01-01 UTC.
    pub issued_at_ms: i64,
    /// The lifespan in milliseconds.
    pub lifespan_ms: i64,
    /// The account name (AR, RR, GC, AP), the subject URL (AV, RV) or the owner URL (AU).
    pub subject: String,
    /// The URL of the application that the token was issued to.
    pub schema: Option<String>,
    /// The scopes, in order.
    pub scopes: Vec<String>,
    /// The URL of the issuing cell; for AU the URL of the unit.
    pub issuer: String,
    /// AV: role instance URLs. RV: role class URLs of the assertion. Empty for other kinds.
    pub roles: Vec<String>,
    /// The assertion, for RV only.
    pub origin: Option<AssertionOrigin>,
    /// Additional claims by name.
    pub extra: BTreeMap<String, String>,
}

impl LocalToken {
    /// Whether `now_ms` is later than issue time plus lifespan.
    pub fn is_expired_at(&self, now_ms: i64) -> bool {
        now_ms > self.expires_at_ms()
    }

    /// The last millisecond in which the token is valid.
    pub fn expires_at_ms(&self) -> i64 {
        self.issued_at_ms.saturating_add(self.lifespan_ms)
    }

    /// Whether origin and roles are present exactly for the kinds that have them.
    pub(super) fn matches_kind(&self) -> bool {
        let may_have_roles = matches!(
            self.kind,
            LocalKind::VisitorAccess | LocalKind::VisitorRefresh
        );
        (self.kind == LocalKind::VisitorRefresh) == self.origin.is_some()
            && (may_have_roles || self.roles.is_empty())
    }
}
