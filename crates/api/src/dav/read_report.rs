//! Events about requests that read a file, or properties.

use http::StatusCode;
use personium_model::Resource;
use personium_model::locate::Target;
use personium_model::node::NodeKind;
use personium_model::url::LOCAL_CELL;

use crate::posting::EventPoster;
use crate::request_context::CellRequest;

/// The event about a request that reads, until its status is known.
pub(super) struct ReadReport {
    poster: EventPoster,
    about: Subject,
}

/// The subject of the event.
enum Subject {
    /// The properties of the cell.
    Cell,
    /// The script of a service, at this path below the cell.
    Service(String),
    /// A node, by one of these actions.
    Node {
        resource: Box<Resource>,
        kind: NodeKind,
        action: &'static str,
    },
}

impl ReadReport {
    /// The report of a request to a box or to something in it; `None` if nobody listens, or no event is posted about it.
    pub(super) fn of(request: &CellRequest, resource: &Resource, target: &Target) -> Option<Self> {
        let poster = EventPoster::of(request)?;
        let kind = target.node().value().kind;
        let action = match (request.method.as_str(), kind) {
            ("PROPFIND", _) => "propfind",
            ("GET", NodeKind::File) => "get",
            _ => return None,
        };
        if !target.exists() || target.is_service_source() || target.is_in_service_source() {
            return None;
        }
        Some(Self {
            poster,
            about: Subject::Node {
                resource: Box::new(resource.clone()),
                kind,
                action,
            },
        })
    }

    /// The report of a PROPFIND of the cell; `None` if nobody listens.
    pub(super) fn of_cell(request: &CellRequest) -> Option<Self> {
        Some(Self {
            poster: EventPoster::of(request)?,
            about: Subject::Cell,
        })
    }

    /// The report of a request to a path of a service; `None` if nobody listens.
    pub(super) fn of_service(request: &CellRequest) -> Option<Self> {
        Some(Self {
            poster: EventPoster::of(request)?,
            about: Subject::Service(request.path.decoded.join("/")),
        })
    }

    /// Posts the event about a script that was run, with the status of its response. There is none if the request was refused.
    pub(super) async fn post_executed(self, status: Option<StatusCode>) {
        let (Some(status), Subject::Service(path)) = (status, &self.about) else {
            return;
        };
        let object = || format!("{LOCAL_CELL}/{path}");
        let info = || status.as_u16().to_string();
        let event = self.poster.cause.event("service.exec", object, info);
        self.poster.post(event).await;
    }

    /// Posts the event. Failures are logged: the response does not depend on them.
    pub(super) async fn post(self, status: StatusCode) {
        if status.is_client_error() || status.is_server_error() {
            return;
        }
        let status = status.as_u16();
        let event = match &self.about {
            Subject::Cell => self.poster.cause.event(
                "cell.propfind",
                || format!("{LOCAL_CELL}/"),
                || status.to_string(),
            ),
            Subject::Node {
                resource,
                kind,
                action,
            } => resource.event(*kind, action, status),
            Subject::Service(_) => None,
        };
        self.poster.post(event).await;
    }
}
