//! What is taken away is gone with the next request, on tokens that were made before.

use personium_types::Privilege as P;

use super::callers::{Fixture, ace};
use crate::auth::{PASSWORD, cell_url, oauth, text};
use crate::harness::{World, done, refused};

/// What removes the rights of `exact`, and what its token gets then.
struct Removal {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    outcome: (u16, String),
}

async fn reads(world: &World, token: &str) -> (u16, String) {
    world.with_token("GET", "c/b/col/file", token).await
}

async fn carry_out(world: &World, removal: &Removal) {
    let ask = world
        .ask(removal.method, removal.path)
        .with("if-match", "*");
    let reply = ask.text(removal.body).send().await;
    assert!(
        reply.status.is_success(),
        "{} {}: {}",
        removal.method,
        removal.path,
        reply.text()
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
async fn a_right_taken_away_is_gone_with_the_next_request() {
    for removal in removals() {
        let fixture = Fixture::new().await;
        let world = &fixture.world;
        if removal.path.contains("Account") || removal.path.contains("Role") {
            world.set_acl("c/b/col", &ace("exact", &[P::Read])).await;
        } else {
            world.set_acl("c/b", &ace("exact", &[P::Read])).await;
        }
        let token = fixture.login("c", "exact", &[]).await;
        assert_eq!(reads(world, &token).await, done(200));
        carry_out(world, &removal).await;
        assert_eq!(
            reads(world, &token).await,
            removal.outcome,
            "{} {}",
            removal.method,
            removal.path
        );
    }
}

#[tokio::test]
async fn a_role_made_anew_does_not_revive_grants_and_an_account_made_anew_has_no_roles() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world.set_acl("c/b", &ace("exact", &[P::Read])).await;
    let token = fixture.login("c", "exact", &[]).await;
    assert_eq!(world.code("DELETE", "c/__ctl/Role('exact')").await.0, 204);
    world.make("c/__ctl/Role", r#"{"Name":"exact"}"#).await;
    world
        .link("c", "Account('exact')", "_Role", "Role('exact')")
        .await;
    assert_eq!(
        reads(world, &token).await,
        refused(403, "AU-0002"),
        "role made anew"
    );
    world.set_acl("c/b", &ace("exact", &[P::Read])).await;
    assert_eq!(reads(world, &token).await, done(200));
    assert_eq!(
        world.code("DELETE", "c/__ctl/Account('exact')").await.0,
        204
    );
    world.account("c", r#"{"Name":"exact"}"#).await;
    world
        .link("c", "Account('exact')", "_Role", "Role('exact')")
        .await;
    assert_eq!(
        reads(world, &token).await,
        refused(401, "AU-0001"),
        "account made anew"
    );
    let fresh = fixture.login("c", "exact", &[]).await;
    assert_eq!(reads(world, &fresh).await, done(200));
}

#[tokio::test]
async fn a_deactivated_account_ends_with_its_tokens_where_that_is_set_and_with_its_password_always()
{
    for revokes in [true, false] {
        let fixture = Fixture::with(|s| s.auth.revoke_with_account = revokes).await;
        let world = &fixture.world;
        world.set_acl("c/b", &ace("exact", &[P::Read])).await;
        let token = fixture.login("c", "exact", &[]).await;
        let ask = world
            .ask("MERGE", "c/__ctl/Account('exact')")
            .with("if-match", "*");
        assert_eq!(
            ask.text(r#"{"Status":"deactivated"}"#).send().await.status,
            204
        );
        let wanted = if revokes {
            refused(401, "AU-0002")
        } else {
            done(200)
        };
        assert_eq!(reads(world, &token).await, wanted, "{revokes}");
        let fields = [
            ("grant_type", "password"),
            ("username", "exact"),
            ("password", PASSWORD),
        ];
        assert_eq!(world.token("c", &fields).await.status, 400, "{revokes}");
    }
}

#[tokio::test]
async fn a_visitor_loses_what_came_by_a_link_that_is_gone() {
    let d = cell_url("d");
    let key: String = url::form_urlencoded::byte_serialize(d.as_bytes()).collect();
    let ext_cell = format!("ExtCell('{key}')");
    let direct = [(ext_cell.as_str(), "_Role", "Role('exact')")];
    let related = [
        (ext_cell.as_str(), "_Relation", "Relation('old')"),
        ("Relation('old')", "_Role", "Role('exact')"),
    ];
    for links in [&direct[..], &related[..]] {
        for (from, navigation, to) in links {
            let fixture = Fixture::new().await;
            let world = &fixture.world;
            world
                .make("c/__ctl/ExtCell", &format!("{{\"Url\":\"{d}\"}}"))
                .await;
            for (from, navigation, to) in links {
                world.link("c", from, navigation, to).await;
            }
            world.set_acl("c/b", &ace("exact", &[P::Read])).await;
            let token = world.trans("d", "c").await;
            assert_eq!(reads(world, &token).await, done(200), "{links:?}");
            let target = &to[to.find('(').unwrap()..];
            let path = format!("c/__ctl/{from}/$links/{navigation}{target}");
            assert_eq!(world.code("DELETE", &path).await.0, 204, "{path}");
            assert_eq!(
                reads(world, &token).await,
                refused(403, "AU-0002"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_cell_or_box_made_anew_knows_nothing_of_tokens_and_grants_before() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world.set_acl("c/b", &ace("exact", &[P::All])).await;
    let d = cell_url("d");
    let key: String = url::form_urlencoded::byte_serialize(d.as_bytes()).collect();
    world
        .make("c/__ctl/ExtCell", &format!("{{\"Url\":\"{d}\"}}"))
        .await;
    world
        .link("c", &format!("ExtCell('{key}')"), "_Role", "Role('exact')")
        .await;
    let token = fixture.login("c", "exact", &[]).await;
    let fields = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", PASSWORD),
    ];
    let refresh = text(&world.token("c", &fields).await.json(), "refresh_token");
    let assertion = world.trans("d", "c").await;
    let grant = "urn:ietf:params:oauth:grant-type:saml2-bearer";
    let fields = [("grant_type", grant), ("assertion", assertion.as_str())];
    let given = world.token("c", &fields).await.json();
    let (visitor, visitor_refresh) = (text(&given, "access_token"), text(&given, "refresh_token"));
    assert_eq!(world.with_token("GET", "c/b", &visitor).await, done(200));
    let removed = world
        .ask("DELETE", "c/b")
        .with("x-personium-recursive", "true")
        .send()
        .await;
    assert_eq!(removed.status, 204);
    world.make("c/__ctl/Box", r#"{"Name":"b"}"#).await;
    assert_eq!(
        world.with_token("GET", "c/b", &token).await,
        refused(403, "AU-0002")
    );
    let removed = world
        .ask("DELETE", "c")
        .with("x-personium-recursive", "true")
        .send()
        .await;
    assert_eq!(removed.status, 204);
    assert_eq!(world.with_token("GET", "c/b", &token).await.0, 404);
    // Another cell takes the name, and in it everything is called the same.
    world.make("__ctl/Cell", r#"{"Name":"c"}"#).await;
    world.make("c/__ctl/Box", r#"{"Name":"b"}"#).await;
    world.make("c/__ctl/Role", r#"{"Name":"exact"}"#).await;
    world.account("c", r#"{"Name":"exact"}"#).await;
    world
        .link("c", "Account('exact')", "_Role", "Role('exact')")
        .await;
    world.set_acl("c/b", &ace("exact", &[P::All])).await;
    for (kind, token) in [("AR", &token), ("AV", &visitor)] {
        assert_eq!(
            world.with_token("GET", "c/b", token).await,
            refused(401, "AU-0006"),
            "{kind}"
        );
    }
    for refresh in [&refresh, &visitor_refresh] {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
        ];
        let reply = world.token("c", &fields).await;
        assert_eq!(oauth(&reply), "invalid_grant AN-0009");
    }
}
