//! Every operation with and without the privilege that the table of operations demands.
//!
//! `cases` lists requests, at least one for each operation; `callers` lists the callers of each request and the expected
//! refusal; `completeness` fails for a route, set, method or operation without a case. The other modules test rules that
//! apply to many operations.

mod acl;
mod box_resources;
mod callers;
mod cases;
mod cell_endpoints;
mod completeness;
mod control_objects;
mod effects;
mod hidden_resources;
mod revoked;
mod scopes;
mod self_authenticated;
mod unit_level;
mod unsupported_methods;

use callers::{Callers, Fixture};
use cases::{AS_MASTER, Case, Grant};
use personium_testkit::TestResponse;
use personium_types::{Need, TargetLevel};

/// Returns the cases of one level that need a privilege or a unit user.
fn decided(level: TargetLevel) -> Vec<Case> {
    let mut cases = cases::all();
    cases.retain(|c| c.operation.level() == level && !matches!(c.operation.need(), Need::Nothing));
    cases
}

/// Sends each case by every caller who must be refused, then by the allowed caller, with the privilege granted at each place
/// that `grants` returns. A refused request must not change any record.
async fn try_cases(cases: Vec<Case>, grants: impl Fn(&Case) -> Vec<Grant<'static>>) {
    let mut fixture = Fixture::new().await;
    for case in &cases {
        for grant in grants(case) {
            let callers = Callers::of(&fixture, case, grant).await;
            let before = fixture.all_records().await;
            for caller in &callers.refused {
                let response = fixture.send(case, caller).await;
                assert_eq!(
                    response.outcome(),
                    caller.outcome,
                    "{case} by {}",
                    caller.name
                );
                fixture.check_challenge(&response, case, caller);
            }
            assert!(
                before == fixture.all_records().await,
                "{case}: who was refused changed something"
            );
            let response = fixture.send(case, &callers.allowed).await;
            match case.status {
                AS_MASTER => check_as_master(case, &response).await,
                _ => case.check(&fixture, &response).await,
            }
            if before == fixture.all_records().await {
                fixture.revoke(case, grant).await;
            } else {
                fixture = Fixture::new().await;
            }
        }
    }
}

/// Checks that the allowed caller gets the same response as the master of an identical unit.
async fn check_as_master(case: &Case, response: &TestResponse) {
    let master = Fixture::new().await.outcome_as_master(case).await;
    assert!(
        ![401, 403, 405, 500].contains(&master.0),
        "{case}: {master:?}"
    );
    assert_eq!(response.outcome(), master, "{case}");
}

fn as_asked(_: &Case) -> Vec<Grant<'static>> {
    vec![Grant::AsAsked]
}

#[tokio::test]
async fn unit_level_operations_are_refused_to_all_but_unit_users() {
    try_cases(decided(TargetLevel::Unit), as_asked).await;
}

#[tokio::test]
async fn cell_level_operations_need_exactly_their_privilege() {
    try_cases(decided(TargetLevel::Cell), as_asked).await;
}

#[tokio::test]
async fn link_operations_need_the_privileges_of_both_sets() {
    try_cases(control_objects::link_cases(), as_asked).await;
}

#[tokio::test]
async fn box_level_operations_need_exactly_their_privilege() {
    try_cases(decided(TargetLevel::Box), as_asked).await;
}

#[tokio::test]
async fn grant_on_box_or_cell_is_inherited_below() {
    let above = |case: &Case| {
        let places = ["c/b", "c"].into_iter();
        let above = places.filter(|place| case.on.starts_with(place) && case.on != *place);
        above.map(Grant::Above).collect()
    };
    try_cases(decided(TargetLevel::Box), above).await;
}

#[tokio::test]
async fn public_operations_are_answered_to_every_caller() {
    let fixture = Fixture::new().await;
    for case in cases::all() {
        if case.operation.need() == Need::Nothing {
            for caller in fixture.all_callers(&case).await {
                let response = fixture.send(&case, &caller).await;
                case.check_response(&response, caller.name);
            }
        }
    }
}
