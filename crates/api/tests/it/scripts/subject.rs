//! Rights to let a service act as an account.

use personium_testkit::{TestResponse, TestUnit, refused, success};

use super::unit;

const KINDS: &str = "xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'";

/// A unit with the account `me`, whose role has these privileges on the box and on the cell.
async fn unit_where_me_may(on_box: &[&str], on_cell: &[&str]) -> (TestUnit, String) {
    let unit = unit().await;
    for name in ["me", "other"] {
        let account = format!("{{\"Name\":\"{name}\"}}");
        unit.create_account("c", &account).await;
    }
    unit.grant_by_new_role("c/b", ("me", "author"), on_box)
        .await;
    unit.grant_to_role("c", "author", on_cell).await;
    let token = unit.access_token("c").await;
    (unit, token)
}

async fn make_service(unit: &TestUnit, token: &str, (name, service): (&str, &str)) -> TestResponse {
    let body = format!(
        "<D:mkcol {KINDS}><D:set><D:prop><D:resourcetype><D:collection/><p:service/></D:resourcetype>{service}</D:prop></D:set></D:mkcol>"
    );
    let path = format!("c/b/{name}");
    unit.request("MKCOL", &path)
        .bearer(token)
        .body(body)
        .send()
        .await
}

async fn describe(unit: &TestUnit, token: &str, service: &str) -> TestResponse {
    let body = format!(
        "<D:propertyupdate {KINDS}><D:set><D:prop>{service}</D:prop></D:set></D:propertyupdate>"
    );
    let patch = unit.request("PROPPATCH", "c/b/svc").bearer(token);
    patch.body(body).send().await
}

#[tokio::test]
async fn who_may_not_change_accounts_cannot_name_the_subject_of_a_new_service() {
    let (unit, token) = unit_where_me_may(&["D:all"], &["p:auth-read"]).await;
    for (name, service, outcome) in [
        ("a", "<p:service subject='other'/>", refused(403, "AU-0002")),
        // With another prefix, and further content.
        (
            "a",
            "<q:service xmlns:q='urn:x-personium:xmlns' language='JavaScript' subject='me'><q:path name='x' src='x.js'/></q:service>",
            refused(403, "AU-0002"),
        ),
        ("a", "<p:service subject=''/>", success(201)),
        ("d", "<p:service language='JavaScript'/>", success(201)),
    ] {
        let made = make_service(&unit, &token, (name, service)).await;
        assert_eq!(made.outcome(), outcome, "{service}");
    }
    unit.grant_to_role("c", "author", &["p:auth"]).await;
    let made = make_service(&unit, &token, ("e", "<p:service subject='other'/>")).await;
    assert_eq!(made.outcome(), success(201));
}

#[tokio::test]
async fn who_may_not_change_accounts_cannot_change_the_subject_of_a_service() {
    let (unit, token) = unit_where_me_may(&["D:all"], &["p:auth-read"]).await;
    let taken = describe(&unit, &token, "<p:service subject='other'/>").await;
    assert_eq!(taken.outcome(), refused(403, "AU-0002"));

    unit.grant_to_role("c", "author", &["p:auth"]).await;
    let named = describe(&unit, &token, "<p:service subject='other'/>").await;
    assert_eq!(named.outcome(), success(207));

    // The paths may still change, and the subject may go.
    unit.grant_to_role("c", "author", &["p:auth-read"]).await;
    for (service, outcome) in [
        (
            "<p:service subject='other'><p:path name='t' src='t.js'/></p:service>",
            success(207),
        ),
        ("<p:service subject='me'/>", refused(403, "AU-0002")),
        ("<p:service/>", success(207)),
        ("<p:service subject='other'/>", refused(403, "AU-0002")),
    ] {
        let described = describe(&unit, &token, service).await;
        assert_eq!(described.outcome(), outcome, "{service}");
    }
}

#[tokio::test]
async fn properties_of_a_new_collection_need_the_privilege_of_properties() {
    let (unit, token) = unit_where_me_may(&["D:bind", "p:exec"], &["p:auth"]).await;
    for (name, property, outcome) in [
        (
            "a",
            "<p:service language='JavaScript'/>",
            refused(403, "AU-0002"),
        ),
        (
            "a",
            "<D:displayname>a</D:displayname>",
            refused(403, "AU-0002"),
        ),
        ("a", "", success(201)),
    ] {
        let made = make_service(&unit, &token, (name, property)).await;
        assert_eq!(made.outcome(), outcome, "{property}");
    }
    unit.grant_to_role("c/b", "author", &["D:bind", "D:write-properties"])
        .await;
    let made = make_service(&unit, &token, ("d", "<D:displayname>d</D:displayname>")).await;
    assert_eq!(made.outcome(), success(201));
}

#[tokio::test]
async fn what_looks_like_a_subject_elsewhere_needs_no_privilege_and_has_no_effect() {
    let (unit, token) = unit_where_me_may(&["D:all"], &["p:auth-read"]).await;
    let body = format!(
        "<D:mkcol {KINDS}><D:set><D:prop><D:resourcetype><D:collection/></D:resourcetype><p:service subject='other'/></D:prop></D:set></D:mkcol>"
    );
    let made = unit.request("MKCOL", "c/b/files").bearer(&token);
    assert_eq!(made.body(body).send().await.outcome(), success(201));
    let foreign = "<q:service xmlns:q='urn:other' subject='other'/><p:service q:subject='other' xmlns:q='urn:other'/>";
    let described = describe(&unit, &token, foreign).await;
    assert_eq!(described.outcome(), success(207));
}
