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
use crate::key_files::{self, KeyFileError};

/// The roles of an administrator: of the unit, and of the content of its cells.
pub(crate) const ADMIN_ROLES: [&str; 2] = ["UnitAdmin", "CellContentsAdmin"];

/// The number of characters of the temporary master token.
const MASTER_TOKEN_CHARS: usize = 32;

/// A request that the API refused.
#[derive(Debug, thiserror::Error)]
#[error("{request} was refused with status {status}: {body}")]
pub struct RefusedRequest {
    /// The method and URL of the request.
    request: String,
    /// The status of the response.
    status: StatusCode,
    /// The body of the response.
    body: String,
}

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
    pub(crate) body: Option<String>,
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
        // Each command has entries of its own.
        unit.audit_log().leave_out_requests();
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
    /// [`RefusedRequest`]
    pub(crate) async fn create_administrator(
        &self,
        cell_name: &str,
        administrator: &Administrator,
    ) -> Result<(), RefusedRequest> {
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
    /// [`RefusedRequest`]
    pub(crate) async fn grant_role(
        &self,
        cell: &str,
        account: &str,
        role: &str,
    ) -> Result<(), RefusedRequest> {
        let roles = format!("{cell}__ctl/Role");
        accept(
            StatusCode::CONFLICT,
            self.post(&roles, &[], json!({"Name": role})).await,
        )?;
        let account = encode_segment(&account.replace('\'', "''"));
        let links = format!("{cell}__ctl/Account('{account}')/$links/_Role");
        let role = json!({"uri": format!("{cell}__ctl/Role('{role}')")});
        accept(StatusCode::CONFLICT, self.post(&links, &[], role).await)
    }

    /// Deletes the cell at this URL with all that is in it.
    ///
    /// # Errors
    /// [`RefusedRequest`]
    pub(crate) async fn delete_cell_if_exists(&self, cell: &str) -> Result<(), RefusedRequest> {
        let deleted = self
            .send(LocalRequest {
                method: Method::DELETE,
                url: cell,
                headers: &[("x-personium-recursive", "true")],
                body: None,
            })
            .await;
        accept(StatusCode::NOT_FOUND, deleted.map(drop))
    }

    async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: serde_json::Value,
    ) -> Result<(), RefusedRequest> {
        self.send(LocalRequest {
            method: Method::POST,
            url,
            headers,
            body: Some(body.to_string()),
        })
        .await
        .map(drop)
    }

    /// Sends a request. Returns the body of the response.
    ///
    /// # Errors
    /// [`RefusedRequest`] unless the response says that it succeeded.
    pub(crate) async fn send(&self, request: LocalRequest<'_>) -> Result<Bytes, RefusedRequest> {
        let LocalRequest {
            method,
            url,
            headers,
            body,
        } = request;
        let request_line = format!("{method} {url}");
        let refused = |status, body| RefusedRequest {
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
        let body = Bytes::from(body.unwrap_or_default());
        let body = Full::new(body)
            .map_err(|never| match never {})
            .boxed_unsync();
        let request = request
            .body(body)
            .map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))?;
        let response = self.service.handle(request, None).await;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body
            .map(http_body_util::Collected::to_bytes)
            .map_err(|error| refused(status, error.to_string()))?;
        if status.is_success() {
            return Ok(body);
        }
        Err(refused(status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Takes a refusal with this status for success.
fn accept(wanted: StatusCode, result: Result<(), RefusedRequest>) -> Result<(), RefusedRequest> {
    match result {
        Err(RefusedRequest { status, .. }) if status == wanted => Ok(()),
        other => other,
    }
}
