//! Completeness: every operation, route, method and association has a case.

use std::collections::BTreeSet;

use personium_api::route::{CELL_SEGMENTS, UNIT_SEGMENTS};
use personium_model::keys::ControlSet;
use personium_testkit::refused;
use personium_types::{Need, Operation};

use super::callers::Fixture;
use super::cases::{self, Case};
use super::control_objects::{ASSOCIATIONS, link_cases};

/// Operations that hide a part of a response instead of refusing a request: see `acl`.
const HIDING_OPERATIONS: &[Operation] = &[
    Operation::ReadAcl,
    Operation::ReadQuota,
    Operation::ReadCellAcl,
];

/// The methods that are sent to every path.
pub(super) const METHODS: &[&str] = &[
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "MERGE",
    "PATCH",
    "MKCOL",
    "MOVE",
    "COPY",
    "LOCK",
    "UNLOCK",
    "PROPFIND",
    "PROPPATCH",
    "ACL",
    "REPORT",
    "SEARCH",
    "OPTIONS",
];

/// Endpoints that authenticate requests by themselves: see `self_authenticated`.
const SELF_AUTHENTICATED: &[(&str, &str)] = &[
    ("POST", "__token"),
    ("GET", "__authz"),
    ("POST", "__authz"),
    ("POST", "__introspect"),
    ("PUT", "__mypassword"),
    ("POST", "__message/port"),
];

#[test]
fn every_operation_has_a_case() {
    let known: BTreeSet<Operation> = cases::all().iter().map(|c| c.operation).collect();
    for &operation in Operation::ALL {
        let elsewhere =
            operation.need() == Need::SelfAuthenticated || HIDING_OPERATIONS.contains(&operation);
        assert_ne!(
            known.contains(&operation),
            elsewhere,
            "{operation:?} has no case, or one too many"
        );
    }
}

/// Normalizes a path: without the text in parentheses and without query. The main box is treated as the box `b`, the
/// cell `owned` as the cell `c`.
fn shape(path: &str) -> String {
    let path = match path {
        "owned" => "c",
        "c/__" => "c/b",
        "c/b/spare" => "c/b/od",
        other => other,
    };
    let mut out = String::new();
    let mut depth = 0;
    for c in path.split('?').next().unwrap_or_default().chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 => {}
            _ => continue,
        }
        if depth == 0 || c == '(' {
            out.push(c);
        }
    }
    match out.trim_end_matches('/').strip_prefix("c/__/") {
        Some(below) => format!("c/b/col/{below}"),
        None => out.trim_end_matches('/').to_owned(),
    }
}

/// Returns the paths of every route: every fixed segment with segments below it, every control set, every case.
fn paths(cases: &[Case]) -> BTreeSet<String> {
    let mut paths: BTreeSet<String> = cases.iter().map(|c| c.path.clone()).collect();
    for segment in UNIT_SEGMENTS {
        paths.extend([(*segment).to_owned(), format!("{segment}/x")]);
    }
    for (segment, _) in CELL_SEGMENTS {
        for below in ["", "/x", "/x/y"] {
            paths.insert(format!("c/{segment}{below}"));
        }
    }
    for (_, set) in ControlSet::ALL {
        for root in ["__ctl", "c/__ctl", "c/b/od/$metadata"] {
            paths.extend([format!("{root}/{set}"), format!("{root}/{set}('x')")]);
        }
    }
    for below in ["", "/none", "/none/none"] {
        paths.extend([format!("c/__{below}"), format!("c/b/col/file{below}")]);
    }
    paths
}

#[tokio::test]
async fn every_method_of_every_route_has_a_case() {
    let mut cases = cases::all();
    cases.extend(link_cases());
    let known: BTreeSet<(&str, String)> =
        cases.iter().map(|c| (c.method, shape(&c.path))).collect();
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    let token = fixture.login("c", "stranger", &[]).await;
    let mut missing = Vec::new();
    for path in paths(&cases) {
        for method in METHODS {
            // A caller without privileges changes nothing, and the refusal differs from that of a missing resource.
            let request = unit.request(method, &path);
            let response = request
                .bearer(&token)
                .header("accept", "application/json")
                .header("x-personium-recursive", "true")
                .header("if-match", "*")
                .send()
                .await;
            let nothing = [405, 501].contains(&response.status.as_u16())
                || [
                    refused(404, "MC-0001"),
                    refused(404, "OD-0001"),
                    refused(404, "DV-0002"),
                    refused(404, "DV-0003"),
                ]
                .contains(&response.outcome());
            let proven = SELF_AUTHENTICATED
                .iter()
                .any(|(m, p)| m == method && path == format!("c/{p}"));
            if !nothing && !proven && !known.contains(&(*method, shape(&path))) {
                missing.push(format!("{method} {path} ({:?})", response.outcome()));
            }
        }
    }
    assert!(missing.is_empty(), "without a case: {missing:#?}");
}

#[tokio::test]
async fn every_association_has_cases() {
    let fixture = Fixture::new().await;
    let schema = fixture
        .unit
        .admin_request("GET", "c/__ctl/$metadata")
        .send()
        .await
        .text();
    let mut found = BTreeSet::new();
    let mut set = "";
    for tag in schema.split('<') {
        let value = |name: &str| {
            let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
            tag[start..].split('"').next()
        };
        if tag.starts_with("EntityType ") {
            set = value("Name").unwrap();
        }
        if tag.starts_with("NavigationProperty ") {
            found.insert((set, value("Name").unwrap()));
        }
    }
    let known: BTreeSet<(&str, &str)> = ASSOCIATIONS
        .iter()
        .map(|(set, name, _)| (*set, *name))
        .collect();
    assert_eq!(found, known);
}
