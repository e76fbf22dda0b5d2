//! The members of an event about the request that causes it.

use personium_install::RequestOrigin;
use personium_model::event::{
    ChainHeaders, EVENT_ID, Event, RULE_CHAIN, RULE_CHAIN_PROOF, RuleChain, VIA,
};
use personium_model::{Access, Identity};

use crate::request_context::CellRequest;

/// The largest header about the chain of events in bytes.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// An event with the members that describe the request that causes it.
pub(crate) fn event_of(request: &CellRequest) -> Event {
    let cell_url = request.cell_url();
    Event {
        request_key: Some(request.request_key.clone()),
        id: header_of_unit(request, EVENT_ID),
        chain: chain_of(request),
        via: via(request),
        ..event_by(&request.access, &cell_url)
    }
}

/// A request as the start of work in the background.
pub(crate) fn origin_of(request: &CellRequest) -> RequestOrigin {
    RequestOrigin {
        key: request.request_key.clone(),
        chain: chain_of(request),
    }
}

/// The chain of rules that led to a request.
pub(crate) fn chain_of(request: &CellRequest) -> RuleChain {
    let headers = ChainHeaders {
        number: request.header(RULE_CHAIN),
        proofs: bounded_header(request, RULE_CHAIN_PROOF),
        is_of_unit: request.http_client.is_nested(),
    };
    RuleChain::received(&request.unit, &request.context.cell().id, headers)
}

/// The cells that relayed what a request brings. Of those that another cell names, only this cell is known.
pub(crate) fn via(request: &CellRequest) -> Option<String> {
    match &request.access.identity {
        Identity::TransCell { issuer, .. } if !request.http_client.is_nested() => {
            request.header(VIA).map(|_| issuer.clone())
        }
        _ => header_of_unit(request, VIA),
    }
}

/// A header about the chain of events, if this unit sends the request itself, for a rule or a script. All others could make events pass
/// for others.
pub(crate) fn header_of_unit(request: &CellRequest, name: &str) -> Option<String> {
    let is_of_unit = request.http_client.is_nested();
    let value = bounded_header(request, name).filter(|_| is_of_unit);
    value.map(str::to_owned)
}

fn bounded_header<'a>(request: &'a CellRequest, name: &str) -> Option<&'a str> {
    let value = request.header(name)?;
    (value.len() <= MAX_HEADER_BYTES).then_some(value)
}

/// The first event of a chain with the members that describe who causes it in the cell with this URL.
pub(crate) fn event_by(access: &Access, cell_url: &str) -> Event {
    Event {
        schema: schema(access),
        subject: subject(access, cell_url),
        account: access.account_id().map(str::to_owned),
        roles: access.roles.clone(),
        ..Event::internal()
    }
}

fn subject(access: &Access, cell_url: &str) -> Option<String> {
    match &access.identity {
        Identity::Basic { account, .. } => Some(format!("{cell_url}#{account}")),
        _ => access.subject().map(str::to_owned),
    }
}

fn schema(access: &Access) -> Option<String> {
    match &access.identity {
        Identity::Resident { .. } | Identity::Visitor { .. } | Identity::TransCell { .. } => {
            Some(access.app().unwrap_or_default().to_owned())
        }
        _ => None,
    }
}
