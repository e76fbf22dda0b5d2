//! The members of an event about the request that causes it.

use personium_model::event::{EVENT_ID, Event, RULE_CHAIN, VIA};
use personium_model::{Access, Identity};

use crate::request_context::CellRequest;

/// The largest header about the chain of events in bytes.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// An event with the members that describe the request that causes it.
pub(crate) fn event_of(request: &CellRequest) -> Event {
    let cell_url = request.cell_url();
    let header = |name| {
        let value = request
            .header(name)
            .filter(|value| value.len() <= MAX_HEADER_BYTES);
        value.map(str::to_owned)
    };
    Event {
        request_key: Some(request.request_key.clone()),
        id: header(EVENT_ID),
        hops: hops(request.header(RULE_CHAIN)),
        via: header(VIA),
        ..event_by(&request.access, &cell_url)
    }
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

/// The number of rules that led to a request; `None` if the header is not a number. A negative number, which would extend the
/// limit of the operator, counts as zero.
fn hops(header: Option<&str>) -> Option<u32> {
    let Some(text) = header else { return Some(0) };
    let number = text.trim().parse::<i64>().ok()?;
    Some(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
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

#[cfg(test)]
mod tests {
    use super::hops;

    #[test]
    fn negative_hops_do_not_extend_the_rule_chain() {
        for (header, expected) in [
            (None, Some(0)),
            (Some("0"), Some(0)),
            (Some(" 2 "), Some(2)),
            (Some("-1000"), Some(0)),
            (Some("99999999999"), Some(u32::MAX)),
            (Some("99999999999999999999"), None),
            (Some("two"), None),
            (Some(""), None),
        ] {
            assert_eq!(hops(header), expected, "{header:?}");
        }
    }
}
