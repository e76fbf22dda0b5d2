//! Requests to a cell: dispatch to its endpoints.

use std::sync::Arc;

use personium_model::transfer::TransferKind;
use personium_types::{Code, Result};

use crate::error::{self, Challenge};
use crate::request_context::CellRequest;
use crate::response::{self, Response};
use crate::route::CellRoute;
use crate::{
    authorize, box_url, cell_root, compression, content_policy, dav, discovery, error_page, event,
    introspect, jwks, log, message, odata, password, role_list, rule, sign, token, topic, transfer,
};

/// Answers a request to a cell.
///
/// # Errors
/// The refusal of the request.
pub async fn handle(request: CellRequest, challenge: &mut Challenge) -> Result<Response> {
    let Some(first) = request.path.decoded.first() else {
        return Box::pin(cell_root::handle(request, challenge)).await;
    };
    let route = CellRoute::of(first);
    if is_endpoint(route) && request.path.decoded.len() > 1 {
        return Err(Code::NoSuchPath.into());
    }
    let method = request.method.clone();
    let methods = route.methods(request.path.decoded.get(1..).unwrap_or_default());
    if carries_secrets(route) {
        let request_key = request.request_key.clone();
        let outcome = Box::pin(authenticate(route, request, challenge)).await;
        let outcome = outcome.map_err(|e| error::with_methods(e, &method, methods));
        let response = outcome.unwrap_or_else(|e| error::render(&e, challenge, &request_key));
        return Ok(response::not_stored(response));
    }
    let mut response = answer(route, request, challenge)
        .await
        .map_err(|refusal| error::with_methods(refusal, &method, methods))?;
    if route.is_compressible() {
        compression::allow(&mut response);
    }
    Ok(response)
}

async fn answer(
    route: CellRoute,
    request: CellRequest,
    challenge: &mut Challenge,
) -> Result<Response> {
    // Each handler but the most frequent one is boxed: the future of every request has the size of the largest of the others.
    match route {
        CellRoute::Control => Box::pin(odata::cell_control(request)).await,
        CellRoute::Box => {
            let unit = Arc::clone(&request.unit);
            let response = dav::handle(request, challenge).await?;
            Ok(content_policy::sandbox(&unit, response))
        }
        CellRoute::BoxUrl => Box::pin(box_url::handle(request)).await,
        CellRoute::Role => Box::pin(role_list::handle(request)).await,
        CellRoute::Html => html(&request),
        CellRoute::Certs => Box::pin(jwks::handle(request)).await,
        CellRoute::Sign => Box::pin(sign::handle(request)).await,
        CellRoute::WellKnown => Box::pin(discovery::handle(request)).await,
        CellRoute::Message => Box::pin(message::handle(request)).await,
        CellRoute::Event => Box::pin(event::handle(request)).await,
        CellRoute::Topic => topic::handle(request),
        CellRoute::Rule => Box::pin(rule::handle(request)).await,
        CellRoute::Log => Box::pin(log::handle(request)).await,
        CellRoute::Snapshot => Box::pin(dav::snapshots(request)).await,
        CellRoute::Export => Box::pin(transfer::handle(request, TransferKind::Export)).await,
        CellRoute::Import => Box::pin(transfer::handle(request, TransferKind::Import)).await,
        CellRoute::Token | CellRoute::Authorize | CellRoute::MyPassword | CellRoute::Introspect => {
            Box::pin(authenticate(route, request, challenge)).await
        }
    }
}

/// Whether responses of a route contain tokens, codes, cookies or what is known about them, so that no cache may store them.
fn carries_secrets(route: CellRoute) -> bool {
    matches!(
        route,
        CellRoute::Token | CellRoute::Authorize | CellRoute::MyPassword | CellRoute::Introspect
    )
}

/// Answers a request to one of these routes.
async fn authenticate(
    route: CellRoute,
    request: CellRequest,
    challenge: &mut Challenge,
) -> Result<Response> {
    match route {
        CellRoute::Token => token::handle(request).await,
        CellRoute::Authorize => authorize::handle(request).await,
        CellRoute::MyPassword => password::handle(request).await,
        CellRoute::Introspect => introspect::handle(request, challenge).await,
        _ => Err(Code::NoSuchPath.into()),
    }
}

/// Whether a route has no paths below it.
fn is_endpoint(route: CellRoute) -> bool {
    matches!(
        route,
        CellRoute::Token
            | CellRoute::Authorize
            | CellRoute::MyPassword
            | CellRoute::Introspect
            | CellRoute::Certs
            | CellRoute::Sign
            | CellRoute::BoxUrl
            | CellRoute::Event
            | CellRoute::Export
            | CellRoute::Import
    )
}

fn html(request: &CellRequest) -> Result<Response> {
    match request.path.decoded.get(1..).unwrap_or_default() {
        [page] if page == "error" => {
            request.require_get()?;
            let code = request.query_value("code");
            error_page::show(code.as_deref())
        }
        _ => Err(Code::NoSuchPath.into()),
    }
}
