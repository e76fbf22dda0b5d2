//! The first start of a unit: its administrator.
//!
//! The administrator is an account of a cell of its own. What is done here goes through the API, with a master token
//! that exists only in this process and only for this.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use personium_api::ApiService;
use personium_types::Secret;
use serde_json::json;

use crate::keys::{self, KeysError};
use crate::wiring::{Foundation, RECORDS};

/// The administrator's cell and account.
pub const NAME: &str = "unitadmin";

/// Names the administrator's cell, once it is whole.
const DONE: &str = "administrator";
/// Is there while the administrator's cell is being made.
const STARTED: &str = "administrator.started";

/// Characters of a password that is made.
const PASSWORD_LENGTH: usize = 16;

/// What the administrator of a new unit logs in with. It is told once and not kept.
#[derive(Debug)]
pub struct Administrator {
    /// The URL of the unit.
    pub unit: String,
    /// The URL of the cell.
    pub cell: String,
    /// The name of the account.
    pub account: String,
    /// Its password.
    pub password: Secret<String>,
}

/// Why there is no administrator.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// A file in the data folder cannot be written.
    #[error("cannot note the state of the first start")]
    Note(#[from] KeysError),
    /// A file in the data folder cannot be removed.
    #[error("cannot finish the first start")]
    Finish(#[source] std::io::Error),
    /// A step failed.
    #[error("{step} was answered with {status}: {answer}")]
    Step {
        /// The method and URL.
        step: String,
        /// The status of the answer.
        status: StatusCode,
        /// The body of the answer.
        answer: String,
    },
}

/// Whether the data folder holds no unit yet, or one whose first start did not come to its end.
#[must_use]
pub fn is_due(data: &Path) -> bool {
    let unit = data.join(RECORDS).join("unit.db");
    // A unit that cannot be looked for is not a new one.
    data.join(STARTED).exists() || matches!(unit.try_exists(), Ok(false))
}

/// The cell of the administrator that a first start has made, as a URL that is relative to the unit.
#[must_use]
pub fn issuer(data: &Path) -> Option<String> {
    let cell = fs::read_to_string(data.join(DONE)).ok()?;
    let cell = cell.trim();
    (!cell.is_empty()).then(|| format!("personium-localunit:{cell}:/"))
}

/// Makes the administrator's cell, account and roles, and hands the password to `tell` before the start counts as
/// done.
///
/// # Errors
/// If a step fails. The next first start begins anew.
pub async fn make_administrator(
    foundation: &Foundation,
    tell: impl FnOnce(&Administrator),
) -> Result<(), FirstStartError> {
    let data = &foundation.config.store.data_dir;
    let path = |name: &str| -> PathBuf { data.join(name) };
    let again = path(STARTED).exists();
    keys::write_private(&path(STARTED), NAME.as_bytes())?;
    let master = keys::random_text(32)?;
    let unit =
        foundation.unit(|settings| settings.auth.master_token = Some(Secret::new(master.clone())));
    let cell = unit.urls().cell(NAME);
    let steps = Steps {
        service: ApiService::new(unit.clone()),
        unit: unit.urls().unit(),
        master,
    };
    if again {
        let removed = steps
            .send(
                Method::DELETE,
                &cell,
                &[("x-personium-recursive", "true")],
                None,
            )
            .await;
        removed.or_else(|error| match error {
            FirstStartError::Step {
                status: StatusCode::NOT_FOUND,
                ..
            } => Ok(()),
            other => Err(other),
        })?;
    }
    let administrator = Administrator {
        unit: unit.urls().unit(),
        account: NAME.to_owned(),
        password: Secret::new(keys::random_text(PASSWORD_LENGTH)?),
        cell,
    };
    steps.make(&administrator).await?;
    tell(&administrator);
    fs::rename(path(STARTED), path(DONE)).map_err(FirstStartError::Finish)
}

struct Steps {
    service: ApiService,
    unit: String,
    master: String,
}

impl Steps {
    async fn make(&self, administrator: &Administrator) -> Result<(), FirstStartError> {
        let Administrator {
            cell,
            account,
            password,
            ..
        } = administrator;
        let owner = format!("{cell}#{account}");
        let cells = format!("{}__ctl/Cell", self.unit);
        let named = |name: &str| Some(json!({"Name": name}));
        self.send(
            Method::POST,
            &cells,
            &[("x-personium-unit-user", &owner)],
            named(NAME),
        )
        .await?;
        let credential = [("x-personium-credential", password.reveal().as_str())];
        self.send(
            Method::POST,
            &format!("{cell}__ctl/Account"),
            &credential,
            named(account),
        )
        .await?;
        for role in ["UnitAdmin", "CellContentsAdmin"] {
            self.send(Method::POST, &format!("{cell}__ctl/Role"), &[], named(role))
                .await?;
        }
        let links = format!("{cell}__ctl/Account('{account}')/$links/_Role");
        let role = json!({"uri": format!("{cell}__ctl/Role('CellContentsAdmin')")});
        self.send(Method::POST, &links, &[], Some(role)).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<serde_json::Value>,
    ) -> Result<(), FirstStartError> {
        let step = format!("{method} {url}");
        let failed = |status, answer| FirstStartError::Step {
            step: step.clone(),
            status,
            answer,
        };
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.master))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Bytes::from(body.map(|body| body.to_string()).unwrap_or_default());
        let body = Full::new(body)
            .map_err(|never| match never {})
            .boxed_unsync();
        let request = request.body(body);
        let request =
            request.map_err(|error| failed(StatusCode::BAD_REQUEST, error.to_string()))?;
        let answer = self.service.handle(request, None).await;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let body = answer
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        Err(failed(status, String::from_utf8_lossy(&body).into_owned()))
    }
}

impl Administrator {
    /// What is told to whoever started the unit: where it is, the password, and how to go on.
    #[must_use]
    pub fn welcome(&self) -> String {
        let Self {
            unit,
            cell,
            account,
            password,
        } = self;
        let password = password.reveal();
        let token = r#"sed 's/.*"access_token":"\([^"]*\)".*/\1/'"#;
        format!(
            "This unit is new: {unit}\n\
             Its administrator (the password is told only this once):\n\
             \x20 cell      {cell}\n\
             \x20 account   {account}\n\
             \x20 password  {password}\n\
             To go on, log in, make a cell, and list all cells:\n\
             \x20 TOKEN=$(curl -sS {cell}__token -d 'grant_type=password&username={account}&password={password}&p_target={unit}' | {token})\n\
             \x20 curl -H \"Authorization: Bearer $TOKEN\" {unit}__ctl/Cell -d '{{\"Name\":\"alice\"}}'\n\
             \x20 curl -H \"Authorization: Bearer $TOKEN\" '{unit}__ctl/Cell?$format=json'\n"
        )
    }
}
