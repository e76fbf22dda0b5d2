//! An account that is logged in.

use personium_model::auth::account::Account;
use personium_model::auth::grant::{Grant, TokenSubject};
use personium_model::auth::login_history::LoginHistory;

/// An account that is logged in.
pub struct LoggedInAccount {
    /// The entity id of the account.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The generation of its tokens.
    pub token_generation: Option<String>,
    /// The history of its logins, after one with a password.
    pub history: Option<LoginHistory>,
    /// The scopes that can be granted; `None` for all.
    pub max_scopes: Option<Vec<String>>,
}

impl LoggedInAccount {
    /// An account after a login with its password.
    pub fn by_password(account: Account, history: LoginHistory) -> Self {
        Self {
            history: Some(history),
            ..Self::of(account)
        }
    }

    /// An account after a login with a cookie, whose token has these scopes.
    pub fn by_cookie(account: Account, scopes: Vec<String>) -> Self {
        Self {
            max_scopes: Some(scopes),
            ..Self::of(account)
        }
    }

    fn of(account: Account) -> Self {
        Self {
            id: account.id,
            name: account.name,
            token_generation: account.token_generation,
            history: None,
            max_scopes: None,
        }
    }

    /// A grant to an application.
    pub fn grant(&self, client_id: &str, scopes: Vec<String>) -> Grant {
        Grant {
            subject: TokenSubject::Resident {
                id: self.id.clone(),
                account: self.name.clone(),
                token_generation: self.token_generation.clone(),
            },
            schema: Some(client_id.to_owned()),
            scopes,
            lineage: None,
        }
    }
}
