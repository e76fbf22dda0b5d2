//! The chain of rules that requests carry which another request causes.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use personium_model::event::{EVENT_ID, RULE_CHAIN, RULE_CHAIN_PROOF, VIA};

use crate::event_cause::{chain_of, header_of_unit, via};
use crate::request_context::CellRequest;

/// The headers about the chain of rules. Only the unit sets those of its own requests, so no script can begin the chain anew.
const CHAIN: [HeaderName; 4] = [
    HeaderName::from_static(EVENT_ID),
    HeaderName::from_static(RULE_CHAIN),
    HeaderName::from_static(RULE_CHAIN_PROOF),
    HeaderName::from_static(VIA),
];

/// The headers about the chain of rules that led to a request, for those that it causes.
#[derive(Debug, Clone, Default)]
pub(crate) struct CarriedChain {
    /// Those for all servers, which end loops.
    for_all: HeaderMap,
    /// Further ones for this unit.
    for_unit: HeaderMap,
}

impl CarriedChain {
    /// The chain that led to a request.
    pub(crate) fn of(request: &CellRequest) -> Self {
        let known = [
            (EVENT_ID, header_of_unit(request, EVENT_ID)),
            (VIA, via(request)),
        ];
        let known = known
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        Self {
            for_all: header_map(chain_of(request).headers()),
            for_unit: header_map(known),
        }
    }

    /// Puts the chain into the headers of a request, in place of what they say about it. `is_own` tells whether the request is for
    /// this unit.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap, is_own: bool) {
        for name in &CHAIN {
            headers.remove(name);
        }
        let for_unit = self.for_unit.iter().filter(|_| is_own);
        for (name, value) in self.for_all.iter().chain(for_unit) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

fn header_map(headers: impl IntoIterator<Item = (&'static str, String)>) -> HeaderMap {
    let headers = headers.into_iter().filter_map(|(name, value)| {
        let value = HeaderValue::from_str(&value).ok()?;
        Some((HeaderName::from_static(name), value))
    });
    headers.collect()
}
