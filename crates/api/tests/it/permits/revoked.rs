//! Revoked rights are refused on the next request, for tokens issued before.

use personium_testkit::{
    PASSWORD, SAML_GRANT, TestUnit, cell_url, escape, refused, success, text_member,
};
use personium_types::Privilege as P;

use super::callers::{Fixture, role_ace};
use crate::auth::oauth_error;

/// A request that revokes rights of `exact`, and the outcome for its token afterwards.
struct Removal {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    outcome: (u16, String),
}

async fn reads(unit: &TestUnit, token: &str) -> (u16, String) {
    unit.outcome_with_token("GET", "c/b/col/file", token).await
}

async fn carry_out(unit: &TestUnit, removal: &Removal) {
    let request = unit
        .admin_request(removal.method, removal.path)
        .header("if-match", "*");
    let response = request.body(removal.body).send().await;
    assert!(
        response.status.is_success(),
        "{} {}: {}",
        removal.method,
        removal.path,
        response.text()
    );
}

fn removals() -> Vec<Removal> {
    let lacking = || refused(403, "AU-0002");
    let removal = |method, path, body, outcome| Removal {
        method,
        path,
        body,
        outcome,
    };
    let nothing = "<D:acl xmlns:D='DAV:'/>";
    let other = "<D:acl xmlns:D='DAV:'><D:ace><D:principal><D:href>../__/lacks</D:href></D:principal>\
                 <D:grant><D:privilege><D:all/></D:privilege></D:grant></D:ace></D:acl>";
    let app =
        "<D:acl xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' p:requireSchemaAuthz='public'/>";
    vec![
        removal(
            "DELETE",
            "c/__ctl/Account('exact')/$links/_Role('exact')",
            "",
            lacking(),
        ),
        removal(
            "DELETE",
            "c/__ctl/Role('exact')/$links/_Account('exact')",
            "",
            lacking(),
        ),
        removal("DELETE", "c/__ctl/Role('exact')", "", lacking()),
        removal(
            "DELETE",
            "c/__ctl/Account('exact')",
            "",
            refused(401, "AU-0001"),
        ),
        removal(
            "PUT",
            "c/__ctl/Account('exact')",
            r#"{"Name":"renamed"}"#,
            refused(401, "AU-0001"),
        ),
        removal("ACL", "c/b", nothing, lacking()),
        removal("ACL", "c/b", other, lacking()),
        removal("ACL", "c/b/col", app, refused(403, "AU-0006")),
    ]
}

#[tokio::test]
async fn revoked_right_is_refused_on_the_next_request() {
    let on_two_nodes = removals().into_iter().map(|removal| (removal, 2));
    let on_one_node = removals().into_iter().map(|removal| (removal, 1));
    for (removal, nodes) in on_one_node.chain(on_two_nodes) {
        let mut fixture = Fixture::new().await;
        if nodes == 2 {
            fixture.unit = fixture.unit.with_two_nodes();
        }
        let unit = &fixture.unit;
        if removal.path.contains("Account") || removal.path.contains("Role") {
            unit.set_acl("c/b/col", &role_ace("exact", &[P::Read]))
                .await;
        } else {
            unit.set_acl("c/b", &role_ace("exact", &[P::Read])).await;
        }
        let token = fixture.login("c", "exact", &[]).await;
        assert_eq!(reads(unit, &token).await, success(200));
        carry_out(unit, &removal).await;
        assert_eq!(
            reads(unit, &token).await,
            removal.outcome,
            "{} {} on {nodes}",
            removal.method,
            removal.path
        );
    }
}

#[tokio::test]
async fn recreated_role_and_account_do_not_regain_old_grants() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.set_acl("c/b", &role_ace("exact", &[P::Read])).await;
    let token = fixture.login("c", "exact", &[]).await;
    assert_eq!(
        unit.admin_outcome("DELETE", "c/__ctl/Role('exact')")
            .await
            .0,
        204
    );
    unit.create("c/__ctl/Role", r#"{"Name":"exact"}"#).await;
    unit.link("c", "Account('exact')", "_Role", "Role('exact')")
        .await;
    assert_eq!(
        reads(unit, &token).await,
        refused(403, "AU-0002"),
        "role made anew"
    );
    unit.set_acl("c/b", &role_ace("exact", &[P::Read])).await;
    assert_eq!(reads(unit, &token).await, success(200));
    assert_eq!(
        unit.admin_outcome("DELETE", "c/__ctl/Account('exact')")
            .await
            .0,
        204
    );
    unit.create_account("c", r#"{"Name":"exact"}"#).await;
    unit.link("c", "Account('exact')", "_Role", "Role('exact')")
        .await;
    assert_eq!(
        reads(unit, &token).await,
        refused(401, "AU-0001"),
        "account made anew"
    );
    let fresh = fixture.login("c", "exact", &[]).await;
    assert_eq!(reads(unit, &fresh).await, success(200));
}

#[tokio::test]
async fn deactivated_account_cannot_log_in_and_its_tokens_are_revoked_if_configured() {
    for revokes in [true, false] {
        let fixture = Fixture::with_settings(|s| s.auth.revoke_access_with_account = revokes).await;
        let unit = &fixture.unit;
        unit.set_acl("c/b", &role_ace("exact", &[P::Read])).await;
        let token = fixture.login("c", "exact", &[]).await;
        let request = unit
            .admin_request("MERGE", "c/__ctl/Account('exact')")
            .header("if-match", "*");
        assert_eq!(
            request
                .body(r#"{"Status":"deactivated"}"#)
                .send()
                .await
                .status,
            204
        );
        let wanted = if revokes {
            refused(401, "AU-0002")
        } else {
            success(200)
        };
        assert_eq!(reads(unit, &token).await, wanted, "{revokes}");
        let fields = [
            ("grant_type", "password"),
            ("username", "exact"),
            ("password", PASSWORD),
        ];
        assert_eq!(
            unit.request_token("c", &fields).await.status,
            400,
            "{revokes}"
        );
    }
}

#[tokio::test]
async fn visitor_loses_rights_of_a_removed_link() {
    let d = cell_url("d");
    let key = escape(&d);
    let ext_cell = format!("ExtCell('{key}')");
    let direct = [(ext_cell.as_str(), "_Role", "Role('exact')")];
    let related = [
        (ext_cell.as_str(), "_Relation", "Relation('old')"),
        ("Relation('old')", "_Role", "Role('exact')"),
    ];
    for links in [&direct[..], &related[..]] {
        for (from, navigation, to) in links {
            let fixture = Fixture::new().await;
            let unit = &fixture.unit;
            unit.create("c/__ctl/ExtCell", &format!("{{\"Url\":\"{d}\"}}"))
                .await;
            for (from, navigation, to) in links {
                unit.link("c", from, navigation, to).await;
            }
            unit.set_acl("c/b", &role_ace("exact", &[P::Read])).await;
            let token = unit.trans_cell_token("d", "c").await;
            assert_eq!(reads(unit, &token).await, success(200), "{links:?}");
            let target = &to[to.find('(').unwrap()..];
            let path = format!("c/__ctl/{from}/$links/{navigation}{target}");
            assert_eq!(unit.admin_outcome("DELETE", &path).await.0, 204, "{path}");
            assert_eq!(reads(unit, &token).await, refused(403, "AU-0002"), "{path}");
        }
    }
}

#[tokio::test]
async fn recreated_cell_or_box_does_not_accept_old_tokens_and_grants() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.set_acl("c/b", &role_ace("exact", &[P::All])).await;
    let d = cell_url("d");
    let key = escape(&d);
    unit.create("c/__ctl/ExtCell", &format!("{{\"Url\":\"{d}\"}}"))
        .await;
    unit.link("c", &format!("ExtCell('{key}')"), "_Role", "Role('exact')")
        .await;
    let token = fixture.login("c", "exact", &[]).await;
    let fields = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", PASSWORD),
    ];
    let refresh = text_member(
        &unit.request_token("c", &fields).await.json(),
        "refresh_token",
    );
    let assertion = unit.trans_cell_token("d", "c").await;
    let fields = [
        ("grant_type", SAML_GRANT),
        ("assertion", assertion.as_str()),
    ];
    let given = unit.request_token("c", &fields).await.json();
    let (visitor, visitor_refresh) = (
        text_member(&given, "access_token"),
        text_member(&given, "refresh_token"),
    );
    assert_eq!(
        unit.outcome_with_token("GET", "c/b", &visitor).await,
        success(200)
    );
    let removed = unit
        .admin_request("DELETE", "c/b")
        .header("x-personium-recursive", "true")
        .send()
        .await;
    assert_eq!(removed.status, 204);
    unit.create("c/__ctl/Box", r#"{"Name":"b"}"#).await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/b", &token).await,
        refused(403, "AU-0002")
    );
    let removed = unit
        .admin_request("DELETE", "c")
        .header("x-personium-recursive", "true")
        .send()
        .await;
    assert_eq!(removed.status, 204);
    assert_eq!(unit.outcome_with_token("GET", "c/b", &token).await.0, 404);
    // A new cell of the same name, with objects of the same names.
    unit.create("__ctl/Cell", r#"{"Name":"c"}"#).await;
    unit.create("c/__ctl/Box", r#"{"Name":"b"}"#).await;
    unit.create("c/__ctl/Role", r#"{"Name":"exact"}"#).await;
    unit.create_account("c", r#"{"Name":"exact"}"#).await;
    unit.link("c", "Account('exact')", "_Role", "Role('exact')")
        .await;
    unit.set_acl("c/b", &role_ace("exact", &[P::All])).await;
    for (kind, token) in [("AR", &token), ("AV", &visitor)] {
        assert_eq!(
            unit.outcome_with_token("GET", "c/b", token).await,
            refused(401, "AU-0006"),
            "{kind}"
        );
    }
    for refresh in [&refresh, &visitor_refresh] {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
        ];
        let response = unit.request_token("c", &fields).await;
        assert_eq!(oauth_error(&response), "invalid_grant AN-0009");
    }
}
