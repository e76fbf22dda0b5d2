//! Log-ins to cells.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use personium_types::Secret;
use serde_json::Value;

use super::{OutsideClient, OutsideRequest, UnitFacts};

/// The authority of a command over a unit that runs.
#[derive(Debug)]
pub enum UnitAccess {
    /// A token of a unit user, or the master token.
    Token(Secret<String>),
    /// An account of a cell whose accounts administrate the unit.
    Account {
        /// The cell.
        cell: String,
        /// The account.
        account: String,
        /// The password.
        password: Secret<String>,
    },
}

impl UnitAccess {
    /// The token; an account logs in for it.
    ///
    /// # Errors
    /// A text if the account cannot log in.
    pub async fn token(
        self,
        client: &OutsideClient,
        facts: &UnitFacts,
    ) -> Result<Secret<String>, String> {
        match self {
            Self::Token(token) => Ok(token),
            Self::Account {
                cell,
                account,
                password,
            } => {
                let login = password_form(&account, password.reveal(), Some(&facts.url));
                log_in(client, &facts.cell_url(&cell), login).await
            }
        }
    }
}

/// The form of a log-in with a password; for a token for another URL with a target.
#[must_use]
pub fn password_form(account: &str, password: &str, target: Option<&str>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut form = format!(
        "grant_type=password&username={}&password={}",
        encoded(account),
        encoded(password)
    );
    if let Some(target) = target {
        form.push_str("&p_target=");
        form.push_str(&encoded(target));
    }
    form
}

/// The value of the header `Authorization` with a name and a password (RFC 7617).
#[must_use]
pub fn basic_authorization(name: &str, password: &Secret<String>) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{name}:{}", password.reveal()))
    )
}

/// Logs in to the cell with this URL, which ends with a slash; returns the access token.
///
/// # Errors
/// A text if the cell does not answer with a token.
pub async fn log_in(
    client: &OutsideClient,
    cell: &str,
    form: String,
) -> Result<Secret<String>, String> {
    let url = format!("{cell}__token");
    let request = OutsideRequest {
        method: Method::POST,
        url: url.clone(),
        headers: vec![(
            "content-type".into(),
            "application/x-www-form-urlencoded".to_owned(),
        )],
        body: form.into_bytes(),
    };
    let response = client.send(request).await;
    let response = response.map_err(|error| format!("{url}: {error}"))?;
    let json = response.json();
    let token = json.get("access_token").and_then(Value::as_str);
    let token = token.filter(|_| response.status == 200);
    token
        .map(|token| Secret::new(token.to_owned()))
        .ok_or_else(|| format!("{url} answers {}: {}", response.status, response.shown()))
}
