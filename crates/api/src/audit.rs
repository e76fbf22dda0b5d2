//! The audit log of requests with credentials of the level of the unit: what they are about to do, and what came of it.
//!
//! Only requests that administrate have entries: those that change the unit, cells, control objects, access control, boxes, snapshots and
//! settings, and those that take a cell or a box out. The content of boxes is not administration.
//!
//! Entries repeat neither headers nor bodies nor queries, so that passwords and tokens are in none; what looks like one in a path is masked.

use std::sync::Arc;

use http::{Method, header};
use personium_model::Unit;
use personium_model::audit::{AuditActor, AuditEvent, AuditEventKind};
use personium_types::Result;

use crate::accept;
use crate::box_export::ARCHIVE;
use crate::headers::ERASE;
use crate::masking;
use crate::request_context::RequestContext;
use crate::response::Response;
use crate::route::{CellRoute, MAINTENANCE_SEGMENT};

/// The outcome in the entry of a request that was given up.
const GIVEN_UP: &str = "given up: the client went away, or the unit ended";

/// The sets of control objects, by the names that operations have.
const SETS: &[(&str, &str)] = &[
    ("Cell", "cell"),
    ("Account", "account"),
    ("Role", "role"),
    ("ExtRole", "extRole"),
    ("Relation", "relation"),
    ("ExtCell", "extCell"),
    ("Box", "box"),
    ("Rule", "rule"),
    ("ReceivedMessage", "receivedMessage"),
    ("SentMessage", "sentMessage"),
];

/// The entries of one request. If it is dropped before the end, the request was given up.
pub(crate) struct AuditTrail {
    unit: Arc<Unit>,
    operation: String,
    request_key: String,
    /// The number of the first entry.
    begin: u64,
    has_ended: bool,
}

impl AuditTrail {
    /// Writes the entry of a request before it is carried out. `None` if it has none.
    ///
    /// # Errors
    /// A failure of the store: then the request must not be carried out.
    pub(crate) async fn begin(
        request: &RequestContext,
        operation: Option<String>,
    ) -> Result<Option<Self>> {
        let Some(operation) = operation else {
            return Ok(None);
        };
        let actor = AuditActor::of_access(&request.access);
        let Some(actor) = actor.filter(|_| request.unit.audit_log().has_requests()) else {
            return Ok(None);
        };
        let from = request.client_address.map(|address| address.to_string());
        let event = AuditEvent::new(AuditEventKind::Begin, &operation)
            .by(actor, from.as_deref())
            .with_request_key(&request.request_key)
            .with_method(request.method.as_str())
            .with_target(&masked(&request.url));
        let begin = request.unit.append_audit_entry(event).await?;
        Ok(Some(Self {
            unit: Arc::clone(&request.unit),
            operation,
            request_key: request.request_key.clone(),
            begin,
            has_ended: false,
        }))
    }

    /// Writes the outcome of a request before it is answered.
    ///
    /// # Errors
    /// The refusal of the request; a failure of the store, if the request was carried out.
    pub(crate) async fn end(trail: Option<Self>, outcome: Result<Response>) -> Result<Response> {
        let Some(mut trail) = trail else {
            return outcome;
        };
        trail.has_ended = true;
        let event = trail.event(AuditEventKind::End);
        match outcome {
            Ok(response) => {
                let created = response.headers().get(header::LOCATION);
                let created = created.and_then(|url| url.to_str().ok()).map(masked);
                let status = response.status().as_u16();
                let event = event.with_response(status, created.as_deref());
                trail.unit.append_audit_entry(event).await?;
                Ok(response)
            }
            Err(refusal) => {
                let status = crate::error::status(&refusal).as_u16();
                let event = event
                    .with_response(status, None)
                    .with_outcome(refusal.code().as_str());
                // The request is refused in any case; a failure is logged.
                let _ = trail.unit.append_audit_entry(event).await;
                Err(refusal)
            }
        }
    }

    fn event(&self, kind: AuditEventKind) -> AuditEvent {
        AuditEvent::new(kind, &self.operation)
            .with_request_key(&self.request_key)
            .of_begin(self.begin)
    }
}

impl Drop for AuditTrail {
    fn drop(&mut self) {
        if !self.has_ended {
            let event = self.event(AuditEventKind::End).with_outcome(GIVEN_UP);
            self.unit.append_audit_entry_later(event);
        }
    }
}

/// A URL with its secrets masked.
fn masked(url: &str) -> String {
    match url.split_once("://") {
        None => masking::path(url).into_owned(),
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{authority}{}", masking::path(path))
        }
    }
}

/// The operation of a request to the unit; `None` if it does not administrate.
pub(crate) fn operation_on_unit(request: &RequestContext) -> Option<String> {
    let (method, path) = (&request.method, request.path.decoded.as_slice());
    match path {
        [first] if first == "__status" && *method == Method::POST => {
            Some("settings.reload".to_owned())
        }
        [first] if first == "__quota" && *method == Method::POST => Some("quota.change".to_owned()),
        [first] if first == MAINTENANCE_SEGMENT && *method == Method::PUT => {
            Some("maintenance.set".to_owned())
        }
        [first] if first == MAINTENANCE_SEGMENT && *method == Method::DELETE => {
            Some("maintenance.end".to_owned())
        }
        [first, rest @ ..] if first == "__ctl" => control_operation(method, rest),
        _ => None,
    }
}

/// The operation of a request to a cell; `None` if it does not administrate.
pub(crate) fn operation_on_cell(request: &RequestContext) -> Option<String> {
    let (method, path) = (&request.method, request.path.decoded.as_slice());
    let operation = match (path, method.as_str()) {
        ([], "DELETE") if request.header(ERASE) == Some("true") => "cell.erase",
        ([], "DELETE") => "cell.delete",
        ([], "PROPPATCH") => "cell.properties",
        ([], "ACL") => "cell.acl",
        ([], _) => return None,
        ([first, rest @ ..], name) => match (CellRoute::of(first), name, rest) {
            (CellRoute::Control, ..) => return control_operation(method, rest),
            (CellRoute::Export, "POST", _) => "cell.export",
            (CellRoute::Import, "POST", _) => "cell.import",
            (CellRoute::Snapshot, "PUT", _) => "snapshot.write",
            (CellRoute::Snapshot, "DELETE", _) => "snapshot.delete",
            (CellRoute::Snapshot, "GET", [_, ..]) => "snapshot.read",
            (CellRoute::Log, "DELETE", _) => "log.delete",
            // The approval of a request makes links, roles and rules.
            (CellRoute::Message, "POST", [first, _]) if first == "received" => {
                "receivedMessage.change"
            }
            (CellRoute::Message, "POST", [first]) if first == "send" => "sentMessage.create",
            (CellRoute::Rule, "POST", [first]) if first == "test" => "rule.test",
            (CellRoute::Rule, "POST", [first, _]) if first == "failed" => "failedRequest.send",
            (CellRoute::Rule, "DELETE", [first, _]) if first == "failed" => "failedRequest.delete",
            (CellRoute::Box, "MKCOL", []) => "box.install",
            (CellRoute::Box, "DELETE", []) => "box.delete",
            (CellRoute::Box, "ACL", []) => "box.acl",
            (CellRoute::Box, "ACL", _) => "resource.acl",
            (CellRoute::Box, "GET", []) if accept::lists(&request.headers, ARCHIVE) => "box.export",
            _ => return None,
        },
    };
    Some(operation.to_owned())
}

/// The operation of a request with this path below `__ctl`, such as `account.change`.
fn control_operation(method: &Method, path: &[String]) -> Option<String> {
    let first = path.first()?;
    let verb = match method.as_str() {
        "POST" => "create",
        "PUT" | "MERGE" | "PATCH" => "change",
        "DELETE" => "delete",
        _ => return None,
    };
    let set = first.split('(').next()?;
    let (_, noun) = SETS.iter().find(|(name, _)| *name == set)?;
    let verb = match (path.get(1).map(String::as_str), verb) {
        (Some("$links"), "delete") => "unlink",
        (Some("$links"), _) => "link",
        (Some(_), _) => "createLinked",
        (None, verb) => verb,
    };
    Some(format!("{noun}.{verb}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, path: &str) -> Option<String> {
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        control_operation(&Method::from_bytes(method.as_bytes()).unwrap(), &path)
    }

    #[test]
    fn operation_on_control_objects_has_the_name_of_set_and_change() {
        for (method, path, expected) in [
            ("POST", "Cell", Some("cell.create")),
            ("MERGE", "Account('me')", Some("account.change")),
            ("PUT", "Role(Name='r',_Box.Name='b')", Some("role.change")),
            ("PATCH", "Rule('r')", Some("rule.change")),
            ("DELETE", "Box('b')", Some("box.delete")),
            ("POST", "Account('me')/$links/_Role", Some("account.link")),
            (
                "DELETE",
                "Account('me')/$links/_Role('r')",
                Some("account.unlink"),
            ),
            ("POST", "Account('me')/_Role", Some("account.createLinked")),
            ("POST", "$batch", None),
            ("POST", "Unknown", None),
            ("GET", "Account('me')", None),
            ("OPTIONS", "Account", None),
        ] {
            assert_eq!(of(method, path).as_deref(), expected, "{method} {path}");
        }
    }

    #[test]
    fn secrets_in_targets_are_masked() {
        assert_eq!(
            masked("https://u.example:8443/c/__ctl/Account('me')"),
            "https://u.example:8443/c/__ctl/Account('me')"
        );
        assert_eq!(
            masked("https://u.example/c/b/password=abc"),
            "https://u.example/c/b/password=***"
        );
    }
}
