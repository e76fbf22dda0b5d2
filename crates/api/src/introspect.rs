//! `__introspect`: what a token says (RFC 7662).

use http::{Method, StatusCode, header};
use personium_model::Identity;
use personium_model::auth::client;
use personium_model::auth::introspect::{self, TokenInfo};
use personium_model::credentials::client_id;
use personium_types::{Code, Operation, Result};
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;

use crate::error::Challenge;
use crate::form::Form;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};
use crate::{access, preflight};

/// Largest body, in bytes.
const BODY_MAX: usize = 2 << 20;

/// Which tokens a caller may see.
enum Sight {
    /// All.
    Everything,
    /// Those that were issued to the app with this schema.
    App(String),
}

/// Answers a request to `__introspect`.
pub async fn handle(mut request: CellRequest, challenge: &mut Challenge) -> Result<Response> {
    *challenge = Challenge::BearerOrBasic(request.cell_url());
    match request.method {
        Method::POST => {}
        Method::OPTIONS => return options(&request).await,
        _ => return Err(request.method_not_allowed()),
    }
    let body = request.read_body(BODY_MAX).await?;
    let form = Form::parse(&body);
    let sight = sight(&request, &form)?;
    let token = form.get("token").unwrap_or_default();
    let facts = introspect::introspect(&request.unit, &request.context, token).await?;
    let seen = facts.filter(|facts| match &sight {
        Sight::Everything => true,
        Sight::App(app) => facts
            .schema
            .as_ref()
            .is_some_and(|s| client_id::may_introspect(app, s)),
    });
    let body = seen.map_or_else(|| json!({"active": false}), describe);
    Ok(response::json(StatusCode::OK, &body).with_header(header::CACHE_CONTROL, "no-store"))
}

async fn options(request: &CellRequest) -> Result<Response> {
    request.permit(Operation::OptionsIntrospect).await?;
    Ok(preflight::allow("OPTIONS, POST"))
}

/// # Errors
/// 401 without credentials, 403 with ones that give no sight.
fn sight(request: &CellRequest, form: &Form) -> Result<Sight> {
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
            let sight = manages.then_some(Sight::Everything);
            sight.ok_or_else(|| Code::PrivilegeLacking.into())
        }
        Identity::Invalid(_) | Identity::Basic { .. } | Identity::PasswordChange { .. } => {
            Err(Code::PrivilegeLacking.into())
        }
        Identity::Resident { .. } | Identity::Visitor { .. } | Identity::TransCell { .. } => {
            let app = access.schema.clone().filter(|schema| !schema.is_empty());
            app.map(Sight::App)
                .ok_or_else(|| Code::PrivilegeLacking.into())
        }
    }
}

fn by_secret(request: &CellRequest, id: &str, secret: &str) -> Result<Sight> {
    let unit = &request.unit;
    if let Some((name, password)) = &unit.settings().auth.introspect
        && !password.reveal().is_empty()
    {
        let same = name.as_bytes().ct_eq(id.as_bytes())
            & password.reveal().as_bytes().ct_eq(secret.as_bytes());
        if same.into() {
            return Ok(Sight::Everything);
        }
    }
    match client::authenticate(unit, &request.cell_url(), id, secret) {
        Ok(schema) => Ok(Sight::App(schema)),
        Err(failure) if failure.code().is_server_error() => Err(failure),
        Err(_) => Err(Code::PrivilegeLacking.into()),
    }
}

fn describe(facts: TokenInfo) -> Value {
    let mut body = Map::new();
    body.insert("active".to_owned(), true.into());
    if let Some(schema) = facts.schema.filter(|s| !s.is_empty()) {
        body.insert("client_id".to_owned(), schema.into());
    }
    body.insert("exp".to_owned(), (facts.expires_at / 1_000).into());
    body.insert("iat".to_owned(), (facts.issued_at / 1_000).into());
    body.insert("sub".to_owned(), facts.subject.into());
    body.insert("iss".to_owned(), facts.issuer.into());
    body.insert("p_roles".to_owned(), facts.roles.into());
    if let Some(audience) = facts.audience {
        body.insert("aud".to_owned(), audience.into());
    }
    Value::Object(body)
}
