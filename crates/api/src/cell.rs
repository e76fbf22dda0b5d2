//! What a cell answers: dispatch to its endpoints, and the cell root itself.

use personium_types::{Code, Result};

use crate::answer::Answer;
use crate::error::Challenge;
use crate::request_context::CellRequest;
use crate::route::CellRoute;
use crate::{
    authorize, box_url, cell_root, dav, event, introspect, keys, log, message, odata, password,
    relay, role_list, rule, token,
};

/// Answers a request to a cell.
pub async fn handle(call: CellRequest, challenge: &mut Challenge) -> Result<Answer> {
    let Some(first) = call.call.path.decoded.first() else {
        return cell_root::handle(call).await;
    };
    let route = CellRoute::of(first);
    if is_endpoint(route) && call.call.path.decoded.len() > 1 {
        return Err(Code::NoSuchPath.into());
    }
    match route {
        CellRoute::Control => odata::cell_control(call).await,
        CellRoute::Token => token::handle(call).await,
        CellRoute::Box => dav::handle(call, challenge).await,
        CellRoute::BoxUrl => box_url::handle(call).await,
        CellRoute::Role => role_list::handle(call).await,
        CellRoute::Html => html(&call),
        CellRoute::Authorize => authorize::handle(call).await,
        CellRoute::MyPassword => password::handle(call).await,
        CellRoute::Introspect => introspect::handle(call, challenge).await,
        CellRoute::Certs => keys::certs(call).await,
        CellRoute::Sign => keys::sign(call).await,
        CellRoute::WellKnown => keys::discovery(call).await,
        CellRoute::Message => message::handle(call).await,
        CellRoute::Event => event::handle(call).await,
        CellRoute::Rule => rule::handle(call).await,
        CellRoute::Log => log::handle(call).await,
        _ => Err(Code::NoSuchPath.into()),
    }
}

/// Whether nothing lies below a route.
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

fn html(call: &CellRequest) -> Result<Answer> {
    match call.call.path.decoded.get(1..).unwrap_or_default() {
        [page] if page == "error" => {
            cell_root::only_get(&call.call.method)?;
            let code = call.call.query_value("code");
            Ok(relay::error_page(code.as_deref()))
        }
        _ => Err(Code::NoSuchPath.into()),
    }
}
