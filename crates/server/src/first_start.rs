//! The first start of a unit, which creates its administrator.
//!
//! The administrator is an account in a cell of its own. It is created through the API, with a master token that exists
//! in this process only and only for this purpose.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use personium_api::ApiService;
use personium_model::Settings;
use personium_types::Secret;
use serde_json::json;

use crate::components::{Components, RECORDS_DIR};
use crate::config::Config;
use crate::key_files::{self, KeyFileError};

/// The name of the administrator's cell and account.
pub const ADMIN_NAME: &str = "unitadmin";

/// The file that names the administrator's cell once it is complete, in the data folder.
const COMPLETED_FILE: &str = "administrator";
/// The file that exists while the administrator's cell is being created, in the data folder.
const STARTED_FILE: &str = "administrator.started";

/// The file of the unit's own records, in the folder of records. A unit without it is new.
const UNIT_RECORDS_FILE: &str = "unit.db";

/// The number of characters of a generated password.
const PASSWORD_CHARS: usize = 16;
/// The number of characters of the temporary master token.
const MASTER_TOKEN_CHARS: usize = 32;

/// The credentials of the administrator of a new unit. They are shown once and not stored.
#[derive(Debug)]
pub struct Administrator {
    /// The URL of the unit.
    pub unit: String,
    /// The URL of the administrator's cell.
    pub cell: String,
    /// The name of the account.
    pub account: String,
    /// The password.
    pub password: Secret<String>,
}

/// An administrator that could not be created.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// The state of the first start could not be written to the data folder.
    #[error("cannot write the state of the first start")]
    WriteState(#[from] KeyFileError),
    /// The state of the first start could not be changed to completed.
    #[error("cannot complete the first start")]
    Complete(#[source] std::io::Error),
    /// The API refused a request.
    #[error("{request} was refused with status {status}: {body}")]
    Refused {
        /// The method and URL of the request.
        request: String,
        /// The status of the response.
        status: StatusCode,
        /// The body of the response.
        body: String,
    },
}

/// Whether the data folder contains no unit, or one whose first start was interrupted.
#[must_use]
pub fn is_due(data_dir: &Path) -> bool {
    let unit = data_dir.join(RECORDS_DIR).join(UNIT_RECORDS_FILE);
    // A unit whose file cannot be accessed is not a new one.
    data_dir.join(STARTED_FILE).exists() || matches!(unit.try_exists(), Ok(false))
}

/// Returns the URL, relative to the unit, of the administrator's cell that a first start created.
#[must_use]
pub fn created_issuer(data_dir: &Path) -> Option<String> {
    let cell = fs::read_to_string(data_dir.join(COMPLETED_FILE)).ok()?;
    let cell = cell.trim();
    (!cell.is_empty()).then(|| format!("personium-localunit:{cell}:/"))
}

/// Makes the administrator's cell the issuer of unit user tokens, unless other issuers are configured or no first start
/// created it.
pub fn add_default_issuer(settings: &mut Settings, config: &Config) {
    let issuers = &mut settings.auth.unit_user_issuers;
    if issuers.is_empty() {
        issuers.extend(created_issuer(&config.store.data_dir));
    }
}

/// Creates the administrator's cell, account and roles. Passes the password to `show` before the first start counts as
/// completed.
///
/// # Errors
/// [`FirstStartError`] if a step fails. The next start deletes the cell and repeats all steps.
pub async fn create_administrator(
    components: &Components,
    show: impl FnOnce(&Administrator),
) -> Result<(), FirstStartError> {
    let data_dir = &components.config.store.data_dir;
    let path = |name: &str| -> PathBuf { data_dir.join(name) };
    let was_interrupted = path(STARTED_FILE).exists();
    key_files::write_private(&path(STARTED_FILE), ADMIN_NAME.as_bytes())?;
    let master_token = key_files::random_text(MASTER_TOKEN_CHARS, &components.random)?;
    let (unit, server) = components.unit(|settings| {
        settings.auth.master_token = Some(Secret::new(master_token.clone()));
    });
    let api = LocalApi {
        service: ApiService::new(unit.clone(), server),
        unit: unit.urls().unit(),
        master_token,
    };
    let administrator = Administrator {
        unit: unit.urls().unit(),
        account: ADMIN_NAME.to_owned(),
        password: Secret::new(key_files::random_text(PASSWORD_CHARS, &components.random)?),
        cell: unit.urls().cell(ADMIN_NAME),
    };
    if was_interrupted {
        api.delete_cell_if_exists(&administrator.cell).await?;
    }
    api.create(&administrator).await?;
    show(&administrator);
    fs::rename(path(STARTED_FILE), path(COMPLETED_FILE)).map_err(FirstStartError::Complete)
}

/// Sends requests to the API without a network, with the temporary master token.
struct LocalApi {
    service: ApiService,
    /// The URL of the unit.
    unit: String,
    master_token: String,
}

/// A request of the first start.
struct LocalRequest<'r> {
    method: Method,
    url: &'r str,
    headers: &'r [(&'r str, &'r str)],
    body: Option<serde_json::Value>,
}

impl LocalApi {
    async fn create(&self, administrator: &Administrator) -> Result<(), FirstStartError> {
        let Administrator {
            cell,
            account,
            password,
            ..
        } = administrator;
        let owner = format!("{cell}#{account}");
        let cells = format!("{}__ctl/Cell", self.unit);
        let named = |name: &str| json!({"Name": name});
        let owner_header = [("x-personium-unit-user", owner.as_str())];
        self.post(&cells, &owner_header, named(ADMIN_NAME)).await?;
        let accounts = format!("{cell}__ctl/Account");
        let credential = [("x-personium-credential", password.reveal().as_str())];
        self.post(&accounts, &credential, named(account)).await?;
        for role in ["UnitAdmin", "CellContentsAdmin"] {
            let roles = format!("{cell}__ctl/Role");
            self.post(&roles, &[], named(role)).await?;
        }
        let links = format!("{cell}__ctl/Account('{account}')/$links/_Role");
        let role = json!({"uri": format!("{cell}__ctl/Role('CellContentsAdmin')")});
        self.post(&links, &[], role).await
    }

    async fn delete_cell_if_exists(&self, cell: &str) -> Result<(), FirstStartError> {
        let deleted = self
            .send(LocalRequest {
                method: Method::DELETE,
                url: cell,
                headers: &[("x-personium-recursive", "true")],
                body: None,
            })
            .await;
        match deleted {
            Err(FirstStartError::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }) => Ok(()),
            other => other,
        }
    }

    async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: serde_json::Value,
    ) -> Result<(), FirstStartError> {
        self.send(LocalRequest {
            method: Method::POST,
            url,
            headers,
            body: Some(body),
        })
        .await
    }

    async fn send(&self, request: LocalRequest<'_>) -> Result<(), FirstStartError> {
        let LocalRequest {
            method,
            url,
            headers,
            body,
        } = request;
        let request_line = format!("{method} {url}");
        let refused = |status, body| FirstStartError::Refused {
            request: request_line.clone(),
            status,
            body,
        };
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.master_token),
            )
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Bytes::from(body.map(|body| body.to_string()).unwrap_or_default());
        let body = Full::new(body)
            .map_err(|never| match never {})
            .boxed_unsync();
        let request = request
            .body(body)
            .map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))?;
        let response = self.service.handle(request, None).await;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let body = response
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        Err(refused(status, String::from_utf8_lossy(&body).into_owned()))
    }
}

impl Administrator {
    /// Returns the text for the person who started the unit: its URL, the credentials, and commands to begin with.
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
             Its administrator (the password is shown only once):\n\
             \x20 cell      {cell}\n\
             \x20 account   {account}\n\
             \x20 password  {password}\n\
             To begin, log in, create a cell, and list all cells:\n\
             \x20 TOKEN=$(curl -sS {cell}__token -d 'grant_type=password&username={account}&password={password}&p_target={unit}' | {token})\n\
             \x20 curl -H \"Authorization: Bearer $TOKEN\" {unit}__ctl/Cell -d '{{\"Name\":\"alice\"}}'\n\
             \x20 curl -H \"Authorization: Bearer $TOKEN\" '{unit}__ctl/Cell?$format=json'\n"
        )
    }
}
