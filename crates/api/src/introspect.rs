//! `__introspect`: token introspection (RFC 7662).

use http::{Method, StatusCode, header};
use personium_model::Identity;
use personium_model::auth::client;
use personium_model::auth::introspect::{self, TokenInfo};
use personium_model::credentials::client_id;
use personium_types::{Code, Error, Operation, Result};
use serde::Serialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::error::Challenge;
use crate::form::Form;
use crate::request_context::CellRequest;
use crate::response::{self, Response};
use crate::{access, preflight};

/// The largest body in bytes.
const MAX_BODY_BYTES: usize = 2 << 20;

/// The tokens that a caller may introspect.
enum IntrospectionScope {
    /// All tokens.
    All,
    /// The tokens that were issued to an application.
    App(String),
}

/// Answers a request to `__introspect`.
///
/// # Errors
/// The refusal of the request.
pub async fn handle(mut request: CellRequest, challenge: &mut Challenge) -> Result<Response> {
    *challenge = Challenge::BearerOrBasic(request.cell_url());
    match request.method {
        Method::POST => {}
        Method::OPTIONS => return options(&request).await,
        _ => return Err(request.method_not_allowed()),
    }
    let body = request.read_body(MAX_BODY_BYTES).await?;
    let form = Form::parse(&body);
    let scope = introspection_scope(&request, &form)?;
    let token = form.get("token").unwrap_or_default();
    let info = introspect::introspect(&request.unit, &request.context, token).await?;
    let visible = info.filter(|info| match &scope {
        IntrospectionScope::All => true,
        IntrospectionScope::App(app) => info
            .schema
            .as_ref()
            .is_some_and(|s| client_id::may_introspect(app, s)),
    });
    let body = match visible {
        Some(info) => {
            serde_json::to_value(IntrospectionResponse::from(info)).map_err(Error::internal)?
        }
        None => json!({"active": false}),
    };
    Ok(response::json(StatusCode::OK, &body))
}

async fn options(request: &CellRequest) -> Result<Response> {
    request.permit(Operation::OptionsIntrospect).await?;
    Ok(preflight::allow("OPTIONS, POST"))
}

/// # Errors
/// [`Code::AuthRequired`] without credentials, [`Code::PrivilegeLacking`] with credentials that permit no introspection.
fn introspection_scope(request: &CellRequest, form: &Form) -> Result<IntrospectionScope> {
    let header = request.headers.get(header::AUTHORIZATION);
    let basic = header
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Basic"));
    if let Some(basic) = basic {
        let pair = access::client_basic(basic).ok_or(Code::PrivilegeLacking)?;
        return by_secret(request, &pair.0, &pair.1);
    }
    if let (None, Some(id)) = (header, form.get("client_id")) {
        return by_secret(request, id, form.get("client_secret").unwrap_or_default());
    }
    let access = &request.access;
    match &access.identity {
        Identity::Anonymous => Err(Code::AuthRequired.into()),
        Identity::UnitMaster | Identity::UnitAdmin { .. } | Identity::UnitUser { .. } => {
            let manages = access.manages(request.unit.urls(), request.context.cell());
            let scope = manages.then_some(IntrospectionScope::All);
            scope.ok_or_else(|| Code::PrivilegeLacking.into())
        }
        Identity::Invalid(_) | Identity::Basic { .. } | Identity::PasswordChange { .. } => {
            Err(Code::PrivilegeLacking.into())
        }
        Identity::Resident { .. } | Identity::Visitor { .. } | Identity::TransCell { .. } => {
            let app = access.schema.clone().filter(|schema| !schema.is_empty());
            app.map(IntrospectionScope::App)
                .ok_or_else(|| Code::PrivilegeLacking.into())
        }
    }
}

fn by_secret(request: &CellRequest, id: &str, secret: &str) -> Result<IntrospectionScope> {
    let unit = &request.unit;
    if let Some((name, password)) = &unit.settings().auth.introspection_credential
        && !password.reveal().is_empty()
    {
        let same = name.as_bytes().ct_eq(id.as_bytes())
            & password.reveal().as_bytes().ct_eq(secret.as_bytes());
        if same.into() {
            return Ok(IntrospectionScope::All);
        }
    }
    match client::authenticate(unit, &request.cell_url(), id, secret) {
        Ok(schema) => Ok(IntrospectionScope::App(schema)),
        Err(failure) if failure.code().is_server_error() => Err(failure),
        Err(_) => Err(Code::PrivilegeLacking.into()),
    }
}

/// The response for an active token (RFC 7662 section 2.2).
#[derive(Serialize)]
struct IntrospectionResponse {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    exp: i64,
    iat: i64,
    sub: String,
    iss: String,
    p_roles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
}

impl From<TokenInfo> for IntrospectionResponse {
    fn from(info: TokenInfo) -> Self {
        Self {
            active: true,
            client_id: info.schema.filter(|schema| !schema.is_empty()),
            exp: info.expires_at / 1_000,
            iat: info.issued_at / 1_000,
            sub: info.subject,
            iss: info.issuer,
            p_roles: info.roles,
            aud: info.audience,
        }
    }
}
