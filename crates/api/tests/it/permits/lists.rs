//! Access control lists: who is meant by an entry, who sees entries, and what comes before them.

use personium_types::Privilege as P;

use super::callers::{Fixture, ace};
use crate::auth::cell_url;
use crate::harness::{done, refused};

const EVERYBODY: &str = "<D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:all/></D:privilege></D:grant></D:ace>";

/// An entry that names a role as it stands.
fn entry(href: &str, privilege: &str) -> String {
    format!(
        "<D:ace><D:principal><D:href>{href}</D:href></D:principal><D:grant><D:privilege><{privilege}/></D:privilege>\
         </D:grant></D:ace>"
    )
}

#[tokio::test]
async fn lists_are_shown_only_to_who_may_read_them() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    let token = fixture.login("c", "exact", &[]).await;
    let find = async |path: &str| {
        let ask = world.anybody("PROPFIND", path).with("depth", "0");
        ask.with("authorization", &format!("Bearer {token}"))
            .send()
            .await
    };
    for (path, read, also) in [
        ("c/b", P::ReadProperties, P::ReadAcl),
        ("c/b/col/file", P::ReadProperties, P::ReadAcl),
        ("c", P::Propfind, P::AclRead),
    ] {
        let others = P::EVERY
            .iter()
            .copied()
            .filter(|p| !p.includes(also) && (path == "c" || !p.is_cell_level()));
        world
            .set_acl(path, &ace("exact", &others.collect::<Vec<_>>()))
            .await;
        let reply = find(path).await;
        assert!(
            reply.status == 207 && !reply.text().contains("<acl"),
            "{path}: {}",
            reply.text()
        );
        world.set_acl(path, &ace("exact", &[read, also])).await;
        let reply = find(path).await;
        assert!(
            reply.status == 207 && reply.text().contains("<acl"),
            "{path}: {}",
            reply.text()
        );
        world.set_acl(path, &ace("exact", &[also])).await;
        assert_eq!(
            find(path).await.outcome(),
            refused(403, "AU-0002"),
            "{path}"
        );
        world.set_acl(path, "").await;
    }
}

#[tokio::test]
async fn a_role_is_meant_by_its_whole_url_whatever_it_is_written_relative_to() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world.make("c/__ctl/Role", r#"{"Name":"twin"}"#).await;
    world
        .make("c/__ctl/Role", r#"{"Name":"twin","_Box.Name":"b"}"#)
        .await;
    world
        .make("c/__ctl/Role", r#"{"Name":"twin","_Box.Name":"app"}"#)
        .await;
    for (account, role) in [
        ("main", "Role('twin')"),
        ("inb", "Role(Name='twin',_Box.Name='b')"),
        ("inapp", "Role(Name='twin',_Box.Name='app')"),
    ] {
        world
            .account("c", &format!("{{\"Name\":\"{account}\"}}"))
            .await;
        world
            .link("c", &format!("Account('{account}')"), "_Role", role)
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
        world
            .set_acl_with("c/b", &attributes, &entry(href, "D:read"))
            .await;
        for account in ["main", "inb", "inapp"] {
            let token = fixture.login("c", account, &[]).await;
            let wanted = if account == who {
                done(200)
            } else {
                refused(403, "AU-0002")
            };
            let found = world.with_token("GET", "c/b/col/file", &token).await;
            assert_eq!(found, wanted, "{attributes} {href} for {account}");
        }
    }
}

#[tokio::test]
async fn roles_of_other_cells_and_roles_that_do_not_exist_cannot_be_named() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world.make("d/__ctl/Role", r#"{"Name":"exact"}"#).await;
    world.set_acl("c/b", &ace("exact", &[P::Read])).await;
    for (href, code) in [
        ("http://unit.example/d/__role/__/exact", "DV-0004"),
        ("https://else.example/c/__role/__/exact", "DV-0004"),
        ("../__/nobody", "DV-0004"),
        ("../nowhere/exact", "DV-0005"),
        ("../__/EXACT", "DV-0004"),
    ] {
        let body = crate::harness::acl_body("", &entry(href, "D:all"));
        let reply = world.ask("ACL", "c/b").text(&body).send().await;
        assert_eq!(reply.outcome(), refused(400, code), "{href}");
    }
    // A refused list leaves the one before it in force.
    let token = fixture.login("c", "exact", &[]).await;
    assert_eq!(
        world.with_token("GET", "c/b/col/file", &token).await,
        done(200)
    );
    assert_eq!(
        world.with_token("PUT", "c/b/col/file", &token).await,
        refused(403, "AU-0002")
    );
}

#[tokio::test]
async fn entries_add_up_and_stop_at_their_resource() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world.mkcol("c/b/col/deep", "").await;
    world.put("c/b/col/deep/file", "x").await;
    world.set_acl("c/b/col", &ace("exact", &[P::Read])).await;
    world
        .set_acl("c/b/col/deep", &ace("exact", &[P::WriteContent]))
        .await;
    let token = fixture.login("c", "exact", &[]).await;
    for (method, path, outcome) in [
        ("GET", "c/b/col/deep/file", done(200)),
        ("PUT", "c/b/col/deep/file", done(204)),
        ("GET", "c/b/col/file", done(200)),
        ("PUT", "c/b/col/file", refused(403, "AU-0002")),
        ("GET", "c/b/empty/taken", refused(403, "AU-0002")),
        ("GET", "c/b", refused(403, "AU-0002")),
        ("GET", "c/app", refused(403, "AU-0002")),
        ("GET", "c/__/x", refused(403, "AU-0002")),
    ] {
        assert_eq!(
            world.with_token(method, path, &token).await,
            outcome,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn root_of_a_role_is_everything_and_root_of_everybody_stays_at_the_cell() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world.set_acl("c", &ace("exact", &[P::Root])).await;
    let exact = fixture.login("c", "exact", &[]).await;
    let stranger = fixture.login("c", "stranger", &[]).await;
    for path in ["c/b/col/file", "c/__ctl/Account", "c/__ctl/Box", "c/__role"] {
        assert_eq!(
            world.with_token("GET", path, &exact).await,
            done(200),
            "{path}"
        );
        assert_eq!(
            world.with_token("GET", path, &stranger).await,
            refused(403, "AU-0002"),
            "{path}"
        );
    }
    world.grant_all("c", &["p:root"]).await;
    assert_eq!(
        world.with_token("GET", "c/__ctl/Account", &stranger).await,
        done(200)
    );
    assert_eq!(
        world.with_token("GET", "c/b/col/file", &stranger).await,
        refused(403, "AU-0002")
    );
    // Who has no token has no scope either.
    let reply = world.anybody("GET", "c/__ctl/Account").send().await;
    assert_eq!(reply.outcome(), refused(403, "AU-0007"));
}

/// A token of `exact`, issued to the app of this cell; `confidential` tells that the app proved to be so.
async fn by_app(fixture: &Fixture, app: &str, confidential: bool) -> String {
    let app_url = cell_url(app);
    let secret = fixture.world.signed(|t| {
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
async fn the_level_of_a_box_comes_before_its_list() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    for path in ["c/app/f", "c/b/f", "c/__/f"] {
        world.put(path, "x").await;
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
    let everywhere = [done(200), done(200), done(200), done(200), done(200)];
    for (place, level, outcomes) in [
        ("c/app", "", everywhere.clone()),
        ("c/app", "none", everywhere.clone()),
        (
            "c/app",
            "public",
            [mismatch(), done(200), done(200), mismatch(), mismatch()],
        ),
        (
            "c/app",
            "confidential",
            [mismatch(), low(), done(200), mismatch(), mismatch()],
        ),
        ("c/b", "none", everywhere),
        (
            "c/b",
            "public",
            [low(), done(200), done(200), done(200), done(200)],
        ),
        (
            "c/b",
            "confidential",
            [low(), low(), done(200), low(), done(200)],
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
        world
            .set_acl_with(place, &attribute, &(ace("exact", &[P::All]) + EVERYBODY))
            .await;
        for ((who, token), outcome) in tokens.iter().zip(outcomes) {
            for (method, success) in [("GET", 200), ("PUT", 204)] {
                let wanted = if outcome.0 == 200 {
                    done(success)
                } else {
                    outcome.clone()
                };
                let found = world.with_token(method, &format!("{place}/f"), token).await;
                assert_eq!(
                    found, wanted,
                    "{method} at {place} with {level} by an app: {who}"
                );
            }
        }
        let anonymous = world
            .anybody("GET", &format!("{place}/f"))
            .send()
            .await
            .outcome();
        let open = matches!(level, "" | "none");
        assert_eq!(
            anonymous,
            if open {
                done(200)
            } else {
                refused(401, "AU-0001")
            },
            "{place} {level}"
        );
        let bad = world
            .with_token("GET", &format!("{place}/f"), "AR~nonsense")
            .await;
        assert_eq!(
            bad,
            if open {
                done(200)
            } else {
                refused(401, "AU-0006")
            },
            "{place} {level}"
        );
    }
}

#[tokio::test]
async fn levels_come_from_the_nearest_list_that_has_one() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    let token = fixture.login("c", "exact", &[]).await;
    world.set_acl("c/b", &ace("exact", &[P::All])).await;
    let found = async || world.with_token("GET", "c/b/col/file", &token).await;
    assert_eq!(found().await, done(200));
    world
        .set_acl_with("c", "p:requireSchemaAuthz='public'", "")
        .await;
    assert_eq!(found().await, refused(403, "AU-0006"), "by the cell");
    world
        .set_acl_with(
            "c/b",
            "p:requireSchemaAuthz='none'",
            &ace("exact", &[P::All]),
        )
        .await;
    assert_eq!(found().await, done(200), "the box says none");
    world
        .set_acl_with("c/b/col", "p:requireSchemaAuthz='confidential'", "")
        .await;
    assert_eq!(
        found().await,
        refused(403, "AU-0006"),
        "the collection asks for more"
    );
    world
        .set_acl_with("c/b/col/file", "p:requireSchemaAuthz='none'", "")
        .await;
    assert_eq!(found().await, done(200), "the file says none");
}

#[tokio::test]
async fn a_grant_on_the_member_alone_does_not_bind_or_unbind() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world
        .set_acl("c/b/col/file", &ace("exact", &[P::All]))
        .await;
    let token = fixture.login("c", "exact", &[]).await;
    for (method, outcome) in [
        ("GET", done(200)),
        ("PUT", done(204)),
        ("DELETE", refused(403, "AU-0002")),
    ] {
        assert_eq!(
            world.with_token(method, "c/b/col/file", &token).await,
            outcome,
            "{method}"
        );
    }
    let ask = world
        .anybody("MOVE", "c/b/col/file")
        .with("authorization", &format!("Bearer {token}"));
    let reply = ask
        .with("destination", "http://unit.example/c/b/col/other")
        .send()
        .await;
    assert_eq!(reply.outcome(), refused(403, "AU-0002"));
}

#[tokio::test]
async fn an_overridden_method_needs_what_the_method_needs_that_it_stands_for() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world.set_acl("c/b/od", &ace("exact", &[P::Read])).await;
    let token = fixture.login("c", "exact", &[]).await;
    for (method, meant, outcome) in [
        ("POST", "GET", done(200)),
        ("POST", "DELETE", refused(403, "AU-0002")),
        ("GET", "DELETE", done(200)),
    ] {
        let ask = world
            .anybody(method, "c/b/od/T('e')")
            .with("authorization", &format!("Bearer {token}"));
        let reply = ask.with("x-http-method-override", meant).send().await;
        assert_eq!(reply.outcome(), outcome, "{method} as {meant}");
    }
}

#[tokio::test]
async fn each_part_of_a_batch_needs_its_own_privilege() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    let body = "--x\r\nContent-Type: application/http\r\n\r\nGET T('e') HTTP/1.1\r\n\r\n\r\n\
                --x\r\nContent-Type: multipart/mixed;boundary=y\r\n\r\n\
                --y\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
                DELETE T('e') HTTP/1.1\r\n\r\n\r\n--y--\r\n--x--";
    let token = fixture.login("c", "exact", &[]).await;
    for (granted, read, removed) in [(P::Read, "200 OK", "403"), (P::Write, "403", "204")] {
        world.set_acl("c/b/od", &ace("exact", &[granted])).await;
        let ask = world
            .anybody("POST", "c/b/od/$batch")
            .with("authorization", &format!("Bearer {token}"));
        let reply = ask
            .with("content-type", "multipart/mixed;boundary=x")
            .text(body)
            .send()
            .await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        let text = reply.text();
        let answers: Vec<&str> = text.split("HTTP/1.1 ").skip(1).collect();
        assert_eq!(answers.len(), 2, "{text}");
        assert!(
            answers[0].starts_with(read) && answers[1].starts_with(removed),
            "{granted}: {text}"
        );
    }
}

#[tokio::test]
async fn lists_of_members_are_shown_with_that_of_their_collection() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    for (granted, shown) in [
        (&["D:read-properties", "D:read-acl"][..], true),
        (&["D:read-properties"], false),
    ] {
        world.grant_all("c/b/col", granted).await;
        let reply = world
            .anybody("PROPFIND", "c/b/col")
            .with("depth", "1")
            .send()
            .await;
        let count = reply.text().matches("<acl ").count();
        assert_eq!(count, if shown { 2 } else { 0 }, "{}", reply.text());
    }
}

#[tokio::test]
async fn a_password_is_asked_for_where_it_would_be_taken() {
    let fixture = Fixture::new().await;
    for (path, basic) in [
        ("c/b/x", true),
        ("c/__/x", true),
        ("c/app/x", false),
        ("c/__ctl/Role", false),
    ] {
        let reply = fixture.world.anybody("GET", path).send().await;
        assert_eq!(reply.status, 401);
        let offers: Vec<&str> = reply
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
