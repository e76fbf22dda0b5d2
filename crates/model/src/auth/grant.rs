//! The grant of a client, and the subject of its tokens.

use personium_token::local::LocalToken;

use super::account::Account;
use super::claims;

/// The grant of a client. [`TokenIssuer`](super::token_issuer::TokenIssuer) issues its tokens.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The subject of the tokens.
    pub subject: TokenSubject,
    /// The client; see [`crate::credentials::client_id`].
    pub schema: Option<String>,
    /// The scopes.
    pub scopes: Vec<String>,
    /// The tokens that the grant descends from; `None` for a login.
    pub lineage: Option<TokenLineage>,
}

/// The descent of tokens that were exchanged for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLineage {
    /// The token family: the login or the code that all of them descend from.
    pub family: String,
    /// The digest of the refresh token that was exchanged; `None` for a code.
    pub parent: Option<String>,
    /// Whether they belong to a client without a secret.
    pub is_public: bool,
}

/// The subject of a token.
#[derive(Debug, Clone)]
pub enum TokenSubject {
    /// An account of the cell.
    Resident {
        /// Its entity id.
        id: String,
        /// Its name.
        account: String,
        /// Its token generation.
        token_generation: Option<String>,
    },
    /// A user of another cell.
    Visitor {
        /// The subject URL.
        subject: String,
        /// The cell that issued the assertion.
        issuer: String,
        /// The id of the assertion.
        assertion_id: String,
        /// The role class URLs of the assertion.
        roles: Vec<String>,
    },
}

impl From<Account> for TokenSubject {
    fn from(account: Account) -> Self {
        Self::Resident {
            id: account.id,
            account: account.name,
            token_generation: account.token_generation,
        }
    }
}

impl TokenSubject {
    /// The subject of a refresh token or a code.
    #[must_use]
    pub fn of_token(mut token: LocalToken) -> Self {
        match token.origin {
            Some(origin) => Self::Visitor {
                subject: token.subject,
                issuer: origin.issuer,
                assertion_id: origin.assertion_id,
                roles: token.roles,
            },
            None => Self::Resident {
                id: token.extra.remove(claims::ACCOUNT).unwrap_or_default(),
                account: token.subject,
                token_generation: token.extra.remove(claims::TOKEN_GENERATION),
            },
        }
    }
}
