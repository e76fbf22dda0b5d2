//! Requests to a cell: dispatch to its endpoints.

use personium_types::{Code, Result};

use crate::error::Challenge;
use crate::request_context::CellRequest;
use crate::response::Response;
use crate::route::CellRoute;
use crate::{
    authorize, box_url, cell_root, dav, discovery, error_page, event, introspect, jwks, log,
    message, odata, password, role_list, rule, sign, token,
};

/// Answers a request to a cell.
///
/// # Errors
/// The refusal of the request.
pub async fn handle(request: CellRequest, challenge: &mut Challenge) -> Result<Response> {
    let Some(first) = request.path.decoded.first() else {
        return cell_root::handle(request).await;
    };
    let route = CellRoute::of(first);
    if is_endpoint(route) && request.path.decoded.len() > 1 {
        return Err(Code::NoSuchPath.into());
    }
    match route {
        CellRoute::Control => odata::cell_control(request).await,
        CellRoute::Token => token::handle(request).await,
        CellRoute::Box => dav::handle(request, challenge).await,
        CellRoute::BoxUrl => box_url::handle(request).await,
        CellRoute::Role => role_list::handle(request).await,
        CellRoute::Html => html(&request),
        CellRoute::Authorize => authorize::handle(request).await,
        CellRoute::MyPassword => password::handle(request).await,
        CellRoute::Introspect => introspect::handle(request, challenge).await,
        CellRoute::Certs => jwks::handle(request).await,
        CellRoute::Sign => sign::handle(request).await,
        CellRoute::WellKnown => discovery::handle(request).await,
        CellRoute::Message => message::handle(request).await,
        CellRoute::Event => event::handle(request).await,
        CellRoute::Rule => rule::handle(request).await,
        CellRoute::Log => log::handle(request).await,
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
            | CellRoute::Rule
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
