//! Pages of lists.

use personium_odata::skip_token::SkipToken;

use super::load::Entity;

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The entities.
    pub entities: Vec<Entity>,
    /// The number of entities on all pages, if the query asks for it.
    pub count: Option<u64>,
    /// The position after which the next page begins, if there are more entities and the query asks for it.
    pub next: Option<SkipToken>,
}

/// A filter on the entities that a client may see.
pub(super) type Visibility<'a> = Option<&'a (dyn Fn(&Entity) -> bool + Sync)>;
