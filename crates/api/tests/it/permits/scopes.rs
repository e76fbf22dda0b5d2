//! Scopes limit what a token may do at cell level, whatever its holder may.

use personium_types::Privilege;

use super::callers::{Caller, Fixture, ace};
use super::cases;
use crate::auth::{PASSWORD, text};
use crate::harness::{done, refused};

/// The privileges of the cell as scopes spell them, for which `keep` holds.
fn scope(keep: impl Fn(Privilege) -> bool) -> String {
    let names = Privilege::EVERY
        .iter()
        .filter(|p| p.is_cell_level() && keep(**p));
    names.map(|p| p.local_name()).collect::<Vec<_>>().join(" ")
}

fn caller(name: &'static str, token: &str) -> Caller {
    Caller {
        name,
        headers: vec![("authorization", format!("Bearer {token}"))],
        outcome: done(0),
    }
}

#[tokio::test]
async fn what_is_not_in_the_scope_is_refused_whatever_the_list_says() {
    for case in cases::all() {
        let Some(needed) = case.operation.privilege().filter(|p| p.is_cell_level()) else {
            continue;
        };
        let fixture = Fixture::new().await;
        fixture
            .world
            .set_acl("c", &ace("exact", &[Privilege::Root]))
            .await;
        let without = scope(|p| !p.includes(needed));
        let narrow = fixture.login("c", "exact", &[("scope", &without)]).await;
        let also = |p: Privilege| case.also.contains(&p);
        let exact = scope(|p| p == needed || also(p));
        let exact = fixture.login("c", "exact", &[("scope", &exact)]).await;
        let before = fixture.everything().await;
        let reply = fixture
            .send(&case, &caller("a token of another scope", &narrow))
            .await;
        assert_eq!(reply.outcome(), refused(403, "AU-0007"), "{case}");
        assert!(
            reply.text().contains(&format!("[{}]", needed.local_name())),
            "{case}: {}",
            reply.text()
        );
        assert_eq!(before, fixture.everything().await, "{case}");
        let reply = fixture
            .send(&case, &caller("a token of this scope", &exact))
            .await;
        case.check(&fixture, &reply).await;
    }
}

#[tokio::test]
async fn a_token_without_scopes_does_nothing_to_the_cell_and_everything_granted_in_boxes() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world.set_acl("c", &ace("exact", &[Privilege::Root])).await;
    // What is no privilege of the cell is dropped, and nothing is left.
    let token = fixture
        .login("c", "exact", &[("scope", "read all nonsense")])
        .await;
    for (method, path, outcome) in [
        ("GET", "c/__ctl/Account", refused(403, "AU-0007")),
        ("POST", "c/__sign", refused(403, "AU-0007")),
        ("PROPFIND", "c", refused(403, "AU-0007")),
        ("GET", "c/b/col/file", done(200)),
        ("PUT", "c/b/col/file", done(204)),
        ("DELETE", "c/b/col/file", done(204)),
    ] {
        assert_eq!(
            world.with_token(method, path, &token).await,
            outcome,
            "{method} {path}"
        );
    }
    let ask = world
        .anybody("DELETE", "c/b")
        .with("authorization", &format!("Bearer {token}"));
    let reply = ask.with("x-personium-recursive", "true").send().await;
    assert_eq!(
        reply.outcome(),
        refused(403, "AU-0007"),
        "deleting a box is up to the cell"
    );
}

#[tokio::test]
async fn nobody_gets_more_scope_than_the_unit_allows_or_the_token_had() {
    let fixture = Fixture::with(|s| {
        s.auth.scope_ropc = vec!["auth-read".to_owned()];
        s.auth.scope_assertion = vec!["social".to_owned()];
    })
    .await;
    let world = &fixture.world;
    world.grant_all("c", &["p:root"]).await;
    let outcomes = async |token: &str| {
        let mut out = Vec::new();
        for path in ["c/__ctl/Account", "c/__ctl/Relation", "c/__ctl/Box"] {
            out.push(world.with_token("GET", path, token).await.0);
        }
        out
    };
    for wanted in ["", "root", "auth", "auth-read social box"] {
        let fields = [
            ("grant_type", "password"),
            ("username", "exact"),
            ("password", PASSWORD),
            ("scope", wanted),
        ];
        let body = world.token("c", &fields).await.json();
        let expected = match wanted {
            // More than the unit allows is no part of what it allows.
            "root" | "auth" => [403, 403, 403],
            _ => [200, 403, 403],
        };
        assert_eq!(
            outcomes(&text(&body, "access_token")).await,
            expected,
            "{wanted}"
        );
        // Asking for more with a refresh token does not help.
        let refresh = text(&body, "refresh_token");
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
            ("scope", "root"),
        ];
        let body = world.token("c", &fields).await.json();
        assert_eq!(
            outcomes(&text(&body, "access_token")).await,
            expected,
            "{wanted} again"
        );
    }
    let assertion = world.signed(|t| t.scopes = vec!["root".to_owned(), "social-read".to_owned()]);
    let grant = "urn:ietf:params:oauth:grant-type:saml2-bearer";
    let fields = [("grant_type", grant), ("assertion", assertion.as_str())];
    let body = world.token("c", &fields).await.json();
    assert_eq!(
        outcomes(&text(&body, "access_token")).await,
        [403, 200, 403]
    );
    assert!(!text(&body, "scope").contains("root"), "{body}");
}
