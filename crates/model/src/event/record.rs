//! Events.

use personium_types::Random;

use super::chain::RuleChain;
use crate::monotonic_ids::random_id;
use crate::url::LOCAL_CELL;

/// The header with the id of the first event of a chain.
pub const EVENT_ID: &str = "x-personium-eventid";
/// The header with the cells that relayed an event.
pub const VIA: &str = "x-personium-via";
/// The longest text of an event that a client posts, in UTF-16 code units.
pub const MAX_TEXT_UTF16_UNITS: usize = 51_200;

/// An event in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether a client posted it, rather than the unit itself.
    pub external: bool,
    /// The application of the request that caused it; empty for a token without an application, `None` without a token of
    /// a cell.
    pub schema: Option<String>,
    /// The URL of the user that caused it.
    pub subject: Option<String>,
    /// The entity id of the user that caused it, if that is an account of this cell. The subject alone does not identify an
    /// account: events that other cells relay have one too.
    pub account: Option<String>,
    /// Its type.
    pub kind: Option<String>,
    /// The URL of the resource that it is about. Rules compare `personium-localcell:` URLs; logs and requests show `http(s)`.
    pub object: Option<String>,
    /// Details.
    pub info: Option<String>,
    /// The key that identifies the request in logs and events.
    pub request_key: Option<String>,
    /// The id of the first event of a chain; `None` for the first one.
    pub id: Option<String>,
    /// The rules that led to it.
    pub chain: RuleChain,
    /// The cells that relayed it, separated by commas.
    pub via: Option<String>,
    /// The entity ids of the roles of the user that caused it, in the cell.
    pub roles: Vec<String>,
}

impl Event {
    /// An event of the unit itself, the first of its chain, without any values.
    #[must_use]
    pub fn internal() -> Self {
        Self {
            external: false,
            schema: None,
            subject: None,
            account: None,
            kind: None,
            object: None,
            info: None,
            request_key: None,
            id: None,
            chain: RuleChain::default(),
            via: None,
            roles: Vec::new(),
        }
    }

    /// The event as logs and requests of rules show it: the object as an `http(s)` URL, and with an id.
    pub(super) fn to_external(&self, cell_url: &str, random: &dyn Random) -> Self {
        let object = self.object.as_deref().map(|object| {
            object
                .strip_prefix(LOCAL_CELL)
                .and_then(|path| path.strip_prefix('/'))
                .map_or_else(|| object.to_owned(), |path| format!("{cell_url}{path}"))
        });
        let id = self.id.clone().or_else(|| Some(random_id(random)));
        Self {
            object,
            id,
            ..self.clone()
        }
    }
}
