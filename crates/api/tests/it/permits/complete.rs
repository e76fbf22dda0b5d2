//! That nothing is left out: every operation has a case, and so has every method that some route answers.

use std::collections::BTreeSet;

use personium_api::route::{CELL_SEGMENTS, UNIT_SEGMENTS};
use personium_model::keys::ControlSet;
use personium_types::{Need, Operation};

use super::callers::Fixture;
use super::cases::{self, Case};
use super::control::{ASSOCIATIONS, link_cases};
use crate::harness::refused;

/// Operations that hide something instead of refusing a request: see `lists`.
const HIDING: &[Operation] = &[Operation::ReadAcl, Operation::ReadCellAcl];

/// Every method that is tried.
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

/// Endpoints that are decided by what the request proves: see `proofs`.
const PROVEN: &[(&str, &str)] = &[
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
        let elsewhere = operation.need() == Need::SelfAuthenticated || HIDING.contains(&operation);
        assert_ne!(
            known.contains(&operation),
            elsewhere,
            "{operation:?} has no case, or one too many"
        );
    }
}

/// A path as far as cases differ: without what is in parentheses and without query. The main box is a box like any
/// other, and one cell is like another.
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

/// Paths of every route: every fixed segment and what could be below it, every control set, every case.
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
async fn every_method_that_a_route_answers_has_a_case() {
    let mut cases = cases::all();
    cases.extend(link_cases());
    let known: BTreeSet<(&str, String)> =
        cases.iter().map(|c| (c.method, shape(&c.path))).collect();
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    let token = fixture.login("c", "stranger", &[]).await;
    let mut missing = Vec::new();
    for path in paths(&cases) {
        for method in METHODS {
            // A stranger changes nothing, and is told apart from who asks for what is not there.
            let ask = world.anybody(method, &path);
            let reply = ask
                .with("authorization", &format!("Bearer {token}"))
                .with("accept", "application/json")
                .with("x-personium-recursive", "true")
                .with("if-match", "*")
                .send()
                .await;
            let nothing = [405, 501].contains(&reply.status.as_u16())
                || [
                    refused(404, "MC-0001"),
                    refused(404, "OD-0001"),
                    refused(404, "DV-0002"),
                    refused(404, "DV-0003"),
                ]
                .contains(&reply.outcome());
            let proven = PROVEN
                .iter()
                .any(|(m, p)| m == method && path == format!("c/{p}"));
            if !nothing && !proven && !known.contains(&(*method, shape(&path))) {
                missing.push(format!("{method} {path} ({:?})", reply.outcome()));
            }
        }
    }
    assert!(missing.is_empty(), "without a case: {missing:#?}");
}

#[tokio::test]
async fn every_association_has_cases() {
    let fixture = Fixture::new().await;
    let schema = fixture
        .world
        .ask("GET", "c/__ctl/$metadata")
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
