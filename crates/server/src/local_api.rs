//! Requests to the API without a network, with a master token that exists in this process only and only for this purpose.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use personium_api::ApiService;
use personium_model::url::encode_segment;
use personium_model::{ServerAuthority, Unit};
use personium_types::Secret;
use serde_json::json;

use crate::components::Components;
use crate::first_start::{Administrator, FirstStartError};
use crate::key_files::{self, KeyFileError};

/// The roles of an administrator: of the unit, and of the content of its cells.
pub(crate) const ADMIN_ROLES: [&str; 2] = ["UnitAdmin", "CellContentsAdmin"];

/// The number of characters of the temporary master token.
const MASTER_TOKEN_CHARS: usize = 32;

/// The API of a unit that does not serve.
pub(crate) struct LocalApi {
    /// The unit.
    pub(crate) unit: Arc<Unit>,
    /// The authority over it.
    pub(crate) server: ServerAuthority,
    service: ApiService,
    master_token: String,
}

/// A request to the API.
pub(crate) struct LocalRequest<'r> {
    pub(crate) method: Method,
    pub(crate) url: &'r str,
    pub(crate) headers: &'r [(&'r str, &'r str)],
    pub(crate) body: Option<serde_json::Value>,
}

impl LocalApi {
    /// The API of the unit on these components. It has no issuers of unit users: nobody else sends requests.
    ///
    /// # Errors
    /// [`KeyFileError`] if the system provides no random bytes.
    pub(crate) fn new(components: &Components) -> Result<Self, KeyFileError> {
        let master_token = key_files::random_text(MASTER_TOKEN_CHARS, &components.random)?;
        let (unit, server) = components.unit(|settings| {
            settings.auth.master_token = Some(Secret::new(master_token.clone()));
            settings.auth.unit_user_issuers.clear();
        });
        Ok(Self {
            service: ApiService::new(Arc::clone(&unit), server.clone()),
            unit,
            server,
            master_token,
        })
    }

    /// Creates the cell of this name and in it the account and the roles of an administrator.
    ///
    /// # Errors
    /// [`FirstStartError::Refused`]
    pub(crate) async fn create_administrator(
        &self,
        cell_name: &str,
        administrator: &Administrator,
    ) -> Result<(), FirstStartError> {
        let Administrator {
            unit,
            cell,
            account,
            password,
        } = administrator;
        let owner = format!("{cell}#{account}");
        let cells = format!("{unit}__ctl/Cell");
        let named = |name: &str| json!({"Name": name});
        let owner_header = [("x-personium-unit-user", owner.as_str())];
        self.post(&cells, &owner_header, named(cell_name)).await?;
        let accounts = format!("{cell}__ctl/Account");
        let credential = [("x-personium-credential", password.reveal().as_str())];
        self.post(&accounts, &credential, named(account)).await?;
        for role in ADMIN_ROLES {
            self.grant_role(cell, account, role).await?;
        }
        Ok(())
    }

    /// Gives a role to an account. The role is made if it does not exist. `cell` is the URL of the cell.
    ///
    /// # Errors
    /// [`FirstStartError::Refused`]
    pub(crate) async fn grant_role(
        &self,
        cell: &str,
        account: &str,
        role: &str,
    ) -> Result<(), FirstStartError> {
        let roles = format!("{cell}__ctl/Role");
        accept(StatusCode::CONFLICT, self.post(&roles, &[], json!({"Name": role})).await)?;
        let account = encode_segment(&account.replace('\'', "''"));
        let links = format!("{cell}__ctl/Account('{account}')/$links/_Role");
        let role = json!({"uri": format!("{cell}__ctl/Role('{role}')")});
        accept(StatusCode::CONFLICT, self.post(&links, &[], role).await)
    }

    /// Deletes the cell at this URL with all that is in it.
    ///
    /// # Errors
    /// [`FirstStartError::Refused`]
    pub(crate) async fn delete_cell_if_exists(&self, cell: &str) -> Result<(), FirstStartError> {
        let deleted = self
            .send(LocalRequest {
                method: Method::DELETE,
                url: cell,
                headers: &[("x-personium-recursive", "true")],
                body: None,
            })
            .await;
        accept(StatusCode::NOT_FOUND, deleted)
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

    /// Sends a request.
    ///
    /// # Errors
    /// [`FirstStartError::Refused`] unless the response says that it succeeded.
    pub(crate) async fn send(&self, request: LocalRequest<'_>) -> Result<(), FirstStartError> {
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

/// Takes a refusal with this status for success.
fn accept(wanted: StatusCode, result: Result<(), FirstStartError>) -> Result<(), FirstStartError> {
    match result {
        Err(FirstStartError::Refused { status, .. }) if status == wanted => Ok(()),
        other => other,
    }
}
