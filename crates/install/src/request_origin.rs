//! The request that started work in the background.

use personium_model::event::{Event, RuleChain};

/// The request that started work in the background. The events of the work continue its chain of rules, so that rules which start
/// such work end.
#[derive(Debug, Clone)]
pub struct RequestOrigin {
    /// Its key in logs and events.
    pub key: String,
    /// The rules that led to it.
    pub chain: RuleChain,
}

impl RequestOrigin {
    /// An event of the work, without any values of its own.
    pub(crate) fn event(&self) -> Event {
        Event {
            request_key: Some(self.key.clone()),
            chain: self.chain.clone(),
            ..Event::internal()
        }
    }
}
