//! The fixed names below the unit and below a cell.

/// The meaning of the first segment of a path below a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellRoute {
    /// `__ctl`: control objects.
    Control,
    /// `__token`: OAuth2 token endpoint.
    Token,
    /// `__authz`: OAuth2 authorization endpoint.
    Authorize,
    /// `__mypassword`: change of the own password.
    MyPassword,
    /// `__introspect`: token introspection.
    Introspect,
    /// `__certs`: public keys of the cell.
    Certs,
    /// `__sign`: signs a payload.
    Sign,
    /// `.well-known`: OpenID Connect discovery.
    WellKnown,
    /// `__html`: pages of the server.
    Html,
    /// `__role`: roles as resources.
    Role,
    /// `__box`: the box of an application.
    BoxUrl,
    /// `__event`: external events.
    Event,
    /// `__topic`: topics of stream collections.
    Topic,
    /// `__log`: event logs.
    Log,
    /// `__rule`: active rules.
    Rule,
    /// `__message`: sending and receiving messages.
    Message,
    /// `__export`: writes a snapshot of the cell.
    Export,
    /// `__import`: replaces the content of the cell by that of a snapshot.
    Import,
    /// `__snapshot`: the snapshots of the cell as files.
    Snapshot,
    /// Anything else is the name of a box.
    Box,
}

/// Every first segment below a cell that is not the name of a box.
pub const CELL_SEGMENTS: &[(&str, CellRoute)] = &[
    ("__ctl", CellRoute::Control),
    ("__token", CellRoute::Token),
    ("__authz", CellRoute::Authorize),
    ("__mypassword", CellRoute::MyPassword),
    ("__introspect", CellRoute::Introspect),
    ("__certs", CellRoute::Certs),
    ("__sign", CellRoute::Sign),
    (".well-known", CellRoute::WellKnown),
    ("__html", CellRoute::Html),
    ("__role", CellRoute::Role),
    ("__box", CellRoute::BoxUrl),
    ("__event", CellRoute::Event),
    ("__topic", CellRoute::Topic),
    ("__log", CellRoute::Log),
    ("__rule", CellRoute::Rule),
    ("__message", CellRoute::Message),
    ("__export", CellRoute::Export),
    ("__import", CellRoute::Import),
    (SNAPSHOT_SEGMENT, CellRoute::Snapshot),
];

/// The names of resources of the unit, which no cell can have.
pub const UNIT_SEGMENTS: &[&str] = &[
    "__ctl",
    MAINTENANCE_SEGMENT,
    "__quota",
    "__status",
    "crossdomain.xml",
];

/// The name of the folder with the snapshots of a cell.
pub(crate) const SNAPSHOT_SEGMENT: &str = "__snapshot";

/// The name of the modes of maintenance, which an administrator can end in each of them.
pub const MAINTENANCE_SEGMENT: &str = "__maintenance";

/// Whether a path below a cell, still encoded, can be one of a WebDAV resource: the cell itself, a box, or something in it.
#[must_use]
pub fn is_webdav(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    first.is_none_or(|first| CellRoute::of(first) == CellRoute::Box)
}

impl CellRoute {
    /// Whether responses are compressed. Those with tokens and forms never are, see there.
    #[must_use]
    pub fn is_compressible(self) -> bool {
        matches!(self, Self::Box | Self::Control | Self::Log | Self::Rule)
    }

    /// The methods of the endpoint, or of a path below it, separated by `, `. Those of resources in a box and of control objects
    /// depend on the resource.
    #[must_use]
    pub fn methods(self, below: &[String]) -> &'static str {
        match self {
            Self::Rule if matches!(below, [first] if first == "test") => "OPTIONS, POST",
            Self::Rule if matches!(below, [first, _] if first == "failed") => {
                "OPTIONS, GET, HEAD, POST, DELETE"
            }
            Self::Token | Self::Introspect | Self::Sign | Self::Event | Self::Message => {
                "OPTIONS, POST"
            }
            Self::Authorize => "OPTIONS, GET, HEAD, POST",
            Self::MyPassword => "OPTIONS, PUT",
            Self::Certs | Self::Rule => "OPTIONS, GET, HEAD",
            Self::Log => "OPTIONS, GET, HEAD, DELETE, PROPFIND",
            Self::WellKnown | Self::Html | Self::Role | Self::BoxUrl => "GET, HEAD",
            Self::Export | Self::Import => "OPTIONS, GET, HEAD, POST",
            Self::Topic => "GET",
            Self::Control | Self::Snapshot | Self::Box => "OPTIONS",
        }
    }

    /// The route of a first segment.
    #[must_use]
    pub fn of(segment: &str) -> Self {
        CELL_SEGMENTS
            .iter()
            .find(|(name, _)| *name == segment)
            .map_or(Self::Box, |(_, route)| *route)
    }
}
