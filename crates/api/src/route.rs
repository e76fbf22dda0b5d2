//! The fixed names below a cell.

/// What the first segment of a path below a cell stands for.
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
    /// `.well-known`: what clients want to know.
    WellKnown,
    /// `__html`: pages of the server.
    Html,
    /// `__role`: roles as resources.
    Role,
    /// `__box`: finds the box of an app.
    BoxUrl,
    /// `__event`: external events.
    Event,
    /// `__log`: event logs.
    Log,
    /// `__rule`: the rules that are in force.
    Rule,
    /// `__message`: sending and receiving messages.
    Message,
    /// `__export`, `__import`, `__snapshot`: snapshots of the cell.
    Snapshot,
    /// Anything else is the name of a box.
    Box,
}

impl CellRoute {
    /// The route of a first segment.
    #[must_use]
    pub fn of(segment: &str) -> Self {
        match segment {
            "__ctl" => Self::Control,
            "__token" => Self::Token,
            "__authz" => Self::Authorize,
            "__mypassword" => Self::MyPassword,
            "__introspect" => Self::Introspect,
            "__certs" => Self::Certs,
            "__sign" => Self::Sign,
            ".well-known" => Self::WellKnown,
            "__html" => Self::Html,
            "__role" => Self::Role,
            "__box" => Self::BoxUrl,
            "__event" => Self::Event,
            "__log" => Self::Log,
            "__rule" => Self::Rule,
            "__message" => Self::Message,
            "__export" | "__import" | "__snapshot" => Self::Snapshot,
            _ => Self::Box,
        }
    }
}
