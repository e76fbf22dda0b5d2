//! Every operation with and without what it needs, by the table that access control decides by.
//!
//! `cases` lists requests, at least one for each operation; `callers` says who sends them and how each is refused;
//! `complete` fails for a route, set, method or operation that no case knows. The other modules hold rules that
//! concern many operations alike.

mod callers;
mod cases;
mod complete;
mod control;
mod elsewhere;
mod hidden;
mod in_boxes;
mod lists;
mod proofs;
mod revoked;
mod scopes;
mod unanswered;
mod unit_level;

use callers::{Callers, Fixture};
use cases::{AS_MASTER, Case, Grant};
use personium_types::{Need, TargetLevel};

use crate::harness::Reply;

/// The cases of an access control list or of a unit user, of one level.
fn decided(level: TargetLevel) -> Vec<Case> {
    let mut cases = cases::all();
    cases.retain(|c| c.operation.level() == level && !matches!(c.operation.need(), Need::Nothing));
    cases
}

/// Sends cases as everybody who must not, then as who may, each where `grant` says that its privilege is granted.
/// Until the last, nothing may change.
async fn try_cases(cases: Vec<Case>, grants: impl Fn(&Case) -> Vec<Grant<'static>>) {
    let mut fixture = Fixture::new().await;
    for case in &cases {
        for grant in grants(case) {
            let callers = Callers::of(&fixture, case, grant).await;
            let before = fixture.everything().await;
            for caller in &callers.refused {
                let reply = fixture.send(case, caller).await;
                assert_eq!(reply.outcome(), caller.outcome, "{case} by {}", caller.name);
                fixture.check_challenge(&reply, case, caller);
            }
            assert!(
                before == fixture.everything().await,
                "{case}: who was refused changed something"
            );
            let reply = fixture.send(case, &callers.allowed).await;
            match case.status {
                AS_MASTER => check_as_master(case, &reply).await,
                _ => case.check(&fixture, &reply).await,
            }
            if before == fixture.everything().await {
                fixture.take_back(case, grant).await;
            } else {
                fixture = Fixture::new().await;
            }
        }
    }
}

/// Checks that who may is answered as the master of a unit just like this one.
async fn check_as_master(case: &Case, reply: &Reply) {
    let master = Fixture::new().await.as_master(case).await;
    assert!(
        ![401, 403, 405, 500].contains(&master.0),
        "{case}: {master:?}"
    );
    assert_eq!(reply.outcome(), master, "{case}");
}

fn as_asked(_: &Case) -> Vec<Grant<'static>> {
    vec![Grant::AsAsked]
}

#[tokio::test]
async fn at_unit_level_unit_users_only() {
    try_cases(decided(TargetLevel::Unit), as_asked).await;
}

#[tokio::test]
async fn at_cell_level_exactly_the_privilege_lets_pass() {
    try_cases(decided(TargetLevel::Cell), as_asked).await;
}

#[tokio::test]
async fn links_need_the_privileges_of_both_sets() {
    try_cases(control::link_cases(), as_asked).await;
}

#[tokio::test]
async fn in_boxes_exactly_the_privilege_lets_pass() {
    try_cases(decided(TargetLevel::Box), as_asked).await;
}

#[tokio::test]
async fn a_grant_on_the_box_or_on_the_cell_counts_below() {
    let above = |case: &Case| {
        let places = ["c/b", "c"].into_iter();
        let above = places.filter(|place| case.on.starts_with(place) && case.on != *place);
        above.map(Grant::Above).collect()
    };
    try_cases(decided(TargetLevel::Box), above).await;
}

#[tokio::test]
async fn what_needs_nothing_is_answered_whoever_asks() {
    let fixture = Fixture::new().await;
    for case in cases::all() {
        if case.operation.need() == Need::Nothing {
            for caller in fixture.anybody(&case).await {
                let reply = fixture.send(&case, &caller).await;
                case.check_reply(&reply, caller.name);
            }
        }
    }
}
