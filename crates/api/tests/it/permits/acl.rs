//! Access control lists: principals, inheritance, visibility, required schema levels.

use personium_testkit::{cell_url, refused, success};
use personium_types::Privilege as P;

use super::callers::{Fixture, role_ace};

const EVERYBODY: &str = "<D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:all/></D:privilege></D:grant></D:ace>";

/// An entry with a literal role reference.
fn entry(href: &str, privilege: &str) -> String {
    format!(
        "<D:ace><D:principal><D:href>{href}</D:href></D:principal><D:grant><D:privilege><{privilege}/></D:privilege>\
         </D:grant></D:ace>"
    )
}

#[tokio::test]
async fn propfind_shows_acls_only_with_the_read_acl_privilege() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    let token = fixture.login("c", "exact", &[]).await;
    let find = async |path: &str| {
        let request = unit.request("PROPFIND", path).header("depth", "0");
        request.bearer(&token).send().await
    };
    for (path, read, also) in [
        ("c/b", P::ReadProperties, P::ReadAcl),
        ("c/b/col/file", P::ReadProperties, P::ReadAcl),
        ("c", P::Propfind, P::AclRead),
    ] {
        let others = P::ALL
            .iter()
            .copied()
            .filter(|p| !p.includes(also) && (path == "c" || !p.is_cell_level()));
        unit.set_acl(path, &role_ace("exact", &others.collect::<Vec<_>>()))
            .await;
        let response = find(path).await;
        assert!(
            response.status == 207 && !response.text().contains("<acl"),
            "{path}: {}",
            response.text()
        );
        unit.set_acl(path, &role_ace("exact", &[read, also])).await;
        let response = find(path).await;
        assert!(
            response.status == 207 && response.text().contains("<acl"),
            "{path}: {}",
            response.text()
        );
        unit.set_acl(path, &role_ace("exact", &[also])).await;
        assert_eq!(
            find(path).await.outcome(),
            refused(403, "AU-0002"),
            "{path}"
        );
        unit.set_acl(path, "").await;
    }
}

#[tokio::test]
async fn acl_role_references_are_resolved_against_the_base_url() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.create("c/__ctl/Role", r#"{"Name":"twin"}"#).await;
    unit.create("c/__ctl/Role", r#"{"Name":"twin","_Box.Name":"b"}"#)
        .await;
    unit.create("c/__ctl/Role", r#"{"Name":"twin","_Box.Name":"app"}"#)
        .await;
    for (account, role) in [
        ("main", "Role('twin')"),
        ("inb", "Role(Name='twin',_Box.Name='b')"),
        ("inapp", "Role(Name='twin',_Box.Name='app')"),
    ] {
        unit.create_account("c", &format!("{{\"Name\":\"{account}\"}}"))
            .await;
        unit.link("c", &format!("Account('{account}')"), "_Role", role)
            .await;
    }
    let base = |below: &str| format!("xml:base='{}__role/{below}'", cell_url("c"));
    for (attributes, href, who) in [
        (String::new(), "twin", "inb"),
        (base("b/"), "twin", "inb"),
        (base("__/"), "twin", "main"),
        (base("app/"), "twin", "inapp"),
        (base("app/"), "../b/twin", "inb"),
        (base("b/"), "../__/twin", "main"),
        (base("b/"), "http://unit.example/c/__role/app/twin", "inapp"),
    ] {
        unit.set_acl_with("c/b", &attributes, &entry(href, "D:read"))
            .await;
        for account in ["main", "inb", "inapp"] {
            let token = fixture.login("c", account, &[]).await;
            let wanted = if account == who {
                success(200)
            } else {
                refused(403, "AU-0002")
            };
            let found = unit.outcome_with_token("GET", "c/b/col/file", &token).await;
            assert_eq!(found, wanted, "{attributes} {href} for {account}");
        }
    }
}

#[tokio::test]
async fn acl_with_a_foreign_or_unknown_role_is_refused() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.create("d/__ctl/Role", r#"{"Name":"exact"}"#).await;
    unit.set_acl("c/b", &role_ace("exact", &[P::Read])).await;
    for (href, code) in [
        ("http://unit.example/d/__role/__/exact", "DV-0004"),
        ("https://else.example/c/__role/__/exact", "DV-0004"),
        ("../__/nobody", "DV-0004"),
        ("../nowhere/exact", "DV-0005"),
        ("../__/EXACT", "DV-0004"),
    ] {
        let body = personium_testkit::acl_body("", &entry(href, "D:all"));
        let response = unit.admin_request("ACL", "c/b").body(&body).send().await;
        assert_eq!(response.outcome(), refused(400, code), "{href}");
    }
    // A refused list leaves the former one in force.
    let token = fixture.login("c", "exact", &[]).await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/col/file", &token).await,
        success(200)
    );
    assert_eq!(
        unit.outcome_with_token("PUT", "c/b/col/file", &token).await,
        refused(403, "AU-0002")
    );
}

#[tokio::test]
async fn acl_entries_are_inherited_below_but_not_above() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.create_collection("c/b/col/deep", "").await;
    unit.put_file("c/b/col/deep/file", "x").await;
    unit.set_acl("c/b/col", &role_ace("exact", &[P::Read]))
        .await;
    unit.set_acl("c/b/col/deep", &role_ace("exact", &[P::WriteContent]))
        .await;
    let token = fixture.login("c", "exact", &[]).await;
    for (method, path, outcome) in [
        ("GET", "c/b/col/deep/file", success(200)),
        ("PUT", "c/b/col/deep/file", success(204)),
        ("GET", "c/b/col/file", success(200)),
        ("PUT", "c/b/col/file", refused(403, "AU-0002")),
        ("GET", "c/b/empty/taken", refused(403, "AU-0002")),
        ("GET", "c/b", refused(403, "AU-0002")),
        ("GET", "c/app", refused(403, "AU-0002")),
        ("GET", "c/__/x", refused(403, "AU-0002")),
    ] {
        assert_eq!(
            unit.outcome_with_token(method, path, &token).await,
            outcome,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn root_privilege_of_a_role_includes_boxes_but_not_for_everybody() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.set_acl("c", &role_ace("exact", &[P::Root])).await;
    let exact = fixture.login("c", "exact", &[]).await;
    let stranger = fixture.login("c", "stranger", &[]).await;
    for path in ["c/b/col/file", "c/__ctl/Account", "c/__ctl/Box", "c/__role"] {
        assert_eq!(
            unit.outcome_with_token("GET", path, &exact).await,
            success(200),
            "{path}"
        );
        assert_eq!(
            unit.outcome_with_token("GET", path, &stranger).await,
            refused(403, "AU-0002"),
            "{path}"
        );
    }
    unit.grant_to_everybody("c", &["p:root"]).await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/__ctl/Account", &stranger)
            .await,
        success(200)
    );
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/col/file", &stranger)
            .await,
        refused(403, "AU-0002")
    );
    // A request without token has no scope.
    let response = unit.request("GET", "c/__ctl/Account").send().await;
    assert_eq!(response.outcome(), refused(403, "AU-0007"));
}

/// Returns a token of `exact` that was issued to an app; `confidential` says whether the app is a confidential client.
async fn by_app(fixture: &Fixture, app: &str, confidential: bool) -> String {
    let app_url = cell_url(app);
    let secret = fixture.unit.assertion(|t| {
        t.issuer.clone_from(&app_url);
        t.subject.clone_from(&app_url);
        if confidential {
            t.roles = vec![format!("{app_url}__role/__/confidentialClient")];
        }
    });
    let client = [
        ("client_id", app_url.as_str()),
        ("client_secret", secret.as_str()),
    ];
    fixture.login("c", "exact", &client).await
}

#[tokio::test]
async fn required_schema_level_is_checked_before_the_acl() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    for path in ["c/app/f", "c/b/f", "c/__/f"] {
        unit.put_file(path, "x").await;
    }
    let tokens = [
        ("none", fixture.login("c", "exact", &[]).await),
        ("own", by_app(&fixture, "appcell", false).await),
        ("own, confidential", by_app(&fixture, "appcell", true).await),
        ("foreign", by_app(&fixture, "d", false).await),
        ("foreign, confidential", by_app(&fixture, "d", true).await),
    ];
    let low = || refused(403, "AU-0006");
    let mismatch = || refused(403, "AU-0005");
    let everywhere = [
        success(200),
        success(200),
        success(200),
        success(200),
        success(200),
    ];
    for (place, level, outcomes) in [
        ("c/app", "", everywhere.clone()),
        ("c/app", "none", everywhere.clone()),
        (
            "c/app",
            "public",
            [
                mismatch(),
                success(200),
                success(200),
                mismatch(),
                mismatch(),
            ],
        ),
        (
            "c/app",
            "confidential",
            [mismatch(), low(), success(200), mismatch(), mismatch()],
        ),
        ("c/b", "none", everywhere),
        (
            "c/b",
            "public",
            [
                low(),
                success(200),
                success(200),
                success(200),
                success(200),
            ],
        ),
        (
            "c/b",
            "confidential",
            [low(), low(), success(200), low(), success(200)],
        ),
        // The main box belongs to the cell itself.
        (
            "c/__",
            "public",
            [mismatch(), mismatch(), mismatch(), mismatch(), mismatch()],
        ),
    ] {
        let attribute = match level {
            "" => String::new(),
            level => format!("p:requireSchemaAuthz='{level}'"),
        };
        unit.set_acl_with(
            place,
            &attribute,
            &(role_ace("exact", &[P::All]) + EVERYBODY),
        )
        .await;
        for ((who, token), outcome) in tokens.iter().zip(outcomes) {
            for (method, status) in [("GET", 200), ("PUT", 204)] {
                let wanted = if outcome.0 == 200 {
                    success(status)
                } else {
                    outcome.clone()
                };
                let found = unit
                    .outcome_with_token(method, &format!("{place}/f"), token)
                    .await;
                assert_eq!(
                    found, wanted,
                    "{method} at {place} with {level} by an app: {who}"
                );
            }
        }
        let anonymous = unit
            .request("GET", &format!("{place}/f"))
            .send()
            .await
            .outcome();
        let open = matches!(level, "" | "none");
        assert_eq!(
            anonymous,
            if open {
                success(200)
            } else {
                refused(401, "AU-0001")
            },
            "{place} {level}"
        );
        let bad = unit
            .outcome_with_token("GET", &format!("{place}/f"), "AR~nonsense")
            .await;
        assert_eq!(
            bad,
            if open {
                success(200)
            } else {
                refused(401, "AU-0006")
            },
            "{place} {level}"
        );
    }
}

#[tokio::test]
async fn required_schema_level_is_inherited_from_the_nearest_acl() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    let token = fixture.login("c", "exact", &[]).await;
    unit.set_acl("c/b", &role_ace("exact", &[P::All])).await;
    let found = async || unit.outcome_with_token("GET", "c/b/col/file", &token).await;
    assert_eq!(found().await, success(200));
    unit.set_acl_with("c", "p:requireSchemaAuthz='public'", "")
        .await;
    assert_eq!(found().await, refused(403, "AU-0006"), "by the cell");
    unit.set_acl_with(
        "c/b",
        "p:requireSchemaAuthz='none'",
        &role_ace("exact", &[P::All]),
    )
    .await;
    assert_eq!(found().await, success(200), "the box says none");
    unit.set_acl_with("c/b/col", "p:requireSchemaAuthz='confidential'", "")
        .await;
    assert_eq!(
        found().await,
        refused(403, "AU-0006"),
        "the collection asks for more"
    );
    unit.set_acl_with("c/b/col/file", "p:requireSchemaAuthz='none'", "")
        .await;
    assert_eq!(found().await, success(200), "the file says none");
}

#[tokio::test]
async fn infinite_depth_lists_nothing_that_requires_another_application() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.set_acl("c/b", &role_ace("exact", &[P::All])).await;
    let token = fixture.login("c", "exact", &[]).await;
    let listed = async || {
        let request = unit.request("PROPFIND", "c/b").bearer(&token);
        let response = request.header("depth", "infinity").send().await;
        assert_eq!(response.status, 207);
        response.text().contains("/c/b/col/file<")
    };
    assert!(listed().await);
    unit.set_acl_with("c/b/col", "p:requireSchemaAuthz='confidential'", "")
        .await;
    assert!(!listed().await);
    unit.set_acl_with("c/b/col", "p:requireSchemaAuthz='none'", "")
        .await;
    assert!(listed().await);
}

#[tokio::test]
async fn grant_on_a_member_does_not_allow_to_remove_or_move_it() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.set_acl("c/b/col/file", &role_ace("exact", &[P::All]))
        .await;
    let token = fixture.login("c", "exact", &[]).await;
    for (method, outcome) in [
        ("GET", success(200)),
        ("PUT", success(204)),
        ("DELETE", refused(403, "AU-0002")),
    ] {
        assert_eq!(
            unit.outcome_with_token(method, "c/b/col/file", &token)
                .await,
            outcome,
            "{method}"
        );
    }
    let request = unit.request("MOVE", "c/b/col/file").bearer(&token);
    let response = request
        .header("destination", "http://unit.example/c/b/col/other")
        .send()
        .await;
    assert_eq!(response.outcome(), refused(403, "AU-0002"));
}

#[tokio::test]
async fn method_override_needs_the_privilege_of_the_overriding_method() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.set_acl("c/b/od", &role_ace("exact", &[P::Read])).await;
    let token = fixture.login("c", "exact", &[]).await;
    for (method, meant, outcome) in [
        ("POST", "GET", success(200)),
        ("POST", "DELETE", refused(403, "AU-0002")),
        ("GET", "DELETE", success(200)),
    ] {
        for name in ["x-http-method-override", "x-http-method"] {
            let request = unit.request(method, "c/b/od/T('e')").bearer(&token);
            let response = request.header(name, meant).send().await;
            assert_eq!(response.outcome(), outcome, "{method} as {meant} by {name}");
        }
    }
}

#[tokio::test]
async fn batch_checks_the_privilege_of_each_operation() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    let body = "--x\r\nContent-Type: application/http\r\n\r\nGET T('e') HTTP/1.1\r\n\r\n\r\n\
                --x\r\nContent-Type: multipart/mixed;boundary=y\r\n\r\n\
                --y\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
                DELETE T('e') HTTP/1.1\r\n\r\n\r\n--y--\r\n--x--";
    let token = fixture.login("c", "exact", &[]).await;
    for (granted, read, removed) in [(P::Read, "200 OK", "403"), (P::Write, "403", "204")] {
        unit.set_acl("c/b/od", &role_ace("exact", &[granted])).await;
        let request = unit.request("POST", "c/b/od/$batch").bearer(&token);
        let response = request
            .header("content-type", "multipart/mixed;boundary=x")
            .body(body)
            .send()
            .await;
        assert_eq!(response.status, 202, "{}", response.text());
        let text = response.text();
        let answers: Vec<&str> = text.split("HTTP/1.1 ").skip(1).collect();
        assert_eq!(answers.len(), 2, "{text}");
        assert!(
            answers[0].starts_with(read) && answers[1].starts_with(removed),
            "{granted}: {text}"
        );
    }
}

#[tokio::test]
async fn propfind_shows_acls_of_members_with_that_of_the_collection() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    for (granted, shown) in [
        (&["D:read-properties", "D:read-acl"][..], true),
        (&["D:read-properties"], false),
    ] {
        unit.grant_to_everybody("c/b/col", granted).await;
        let response = unit
            .request("PROPFIND", "c/b/col")
            .header("depth", "1")
            .send()
            .await;
        let count = response.text().matches("<acl ").count();
        assert_eq!(count, if shown { 2 } else { 0 }, "{}", response.text());
    }
}

#[tokio::test]
async fn basic_challenge_is_offered_only_where_basic_is_accepted() {
    let fixture = Fixture::new().await;
    for (path, basic) in [
        ("c/b/x", true),
        ("c/__/x", true),
        ("c/app/x", false),
        ("c/__ctl/Role", false),
    ] {
        let response = fixture.unit.request("GET", path).send().await;
        assert_eq!(response.status, 401);
        let offers: Vec<&str> = response
            .headers
            .get_all("www-authenticate")
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect();
        assert_eq!(
            offers.len(),
            if basic { 2 } else { 1 },
            "{path}: {offers:?}"
        );
        assert_eq!(offers[0], "Bearer realm=\"http://unit.example/c/\"");
    }
}
