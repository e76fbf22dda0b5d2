//! Tokens of other cells and units: what they give, and what they must not give.

use personium_model::auth::UnitKeys;
use personium_token::role_url::RoleUrl;

use super::{cell_url, oauth, text, world};
use crate::harness::{UNIT, World, done, refused};

const SAML: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";

/// A file that visitors from `d` may read, by a role of the cell `c`.
async fn visited(world: &World) {
    world.visited_from(&[&cell_url("d")]).await;
}

impl World {
    /// A file `c/b/f` that visitors from these cells may read, by a role of the cell `c`.
    pub async fn visited_from(&self, cells: &[&str]) {
        self.make("c/__ctl/Role", r#"{"Name":"visitor"}"#).await;
        let role = format!("{{\"uri\":\"{}__ctl/Role('visitor')\"}}", cell_url("c"));
        for cell in cells {
            self.make("c/__ctl/ExtCell", &format!("{{\"Url\":\"{cell}\"}}"))
                .await;
            let key: String = url::form_urlencoded::byte_serialize(cell.as_bytes()).collect();
            let links = format!("c/__ctl/ExtCell('{key}')/$links/_Role");
            let linked = self.ask("POST", &links).text(&role).send().await;
            assert_eq!(linked.status, 204);
        }
        self.put("c/b/f", "x").await;
        let ace = format!(
            "<D:ace><D:principal><D:href>{}__role/__/visitor</D:href></D:principal>\
             <D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>",
            cell_url("c")
        );
        self.set_acl("c/b", &ace).await;
    }
}

#[tokio::test]
async fn a_visitor_gets_its_roles_directly_and_by_exchange() {
    let world = world(|_| {}).await;
    visited(&world).await;
    let token = world.trans("d", "c").await;
    assert_eq!(world.with_token("GET", "c/b/f", &token).await, done(200));
    let fields = [("grant_type", SAML), ("assertion", token.as_str())];
    let reply = world.token("c", &fields).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (local, refresh) = (
        text(&reply.json(), "access_token"),
        text(&reply.json(), "refresh_token"),
    );
    assert!(local.starts_with("AV~") && refresh.starts_with("RV~"));
    assert_eq!(world.with_token("GET", "c/b/f", &local).await, done(200));
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let again = text(&world.token("c", &fields).await.json(), "access_token");
    assert_eq!(world.with_token("GET", "c/b/f", &again).await, done(200));
}

#[tokio::test]
async fn a_token_for_another_cell_is_no_use_here() {
    let world = world(|_| {}).await;
    visited(&world).await;
    let token = world.trans("d", "appcell").await;
    assert_eq!(
        world.with_token("GET", "c/b/f", &token).await,
        refused(401, "AU-0006")
    );
    let fields = [("grant_type", SAML), ("assertion", token.as_str())];
    assert_eq!(
        oauth(&world.token("c", &fields).await),
        "invalid_grant AN-0012"
    );
}

#[tokio::test]
async fn another_unit_cannot_speak_for_our_cells() {
    let world = world(|_| {}).await;
    visited(&world).await;
    let secret = "a secret of somebody else";
    for host in ["unit.example", "evil.example", "evilunit.example"] {
        let evil = UnitKeys::self_signed(host, secret, 1_700_000_000_000).unwrap();
        let token = world.signed_by(&evil.signing, |_| {});
        assert_eq!(
            world.with_token("GET", "c/b/f", &token).await,
            refused(401, "AU-0008"),
            "{host}"
        );
        let fields = [("grant_type", SAML), ("assertion", token.as_str())];
        assert_eq!(
            oauth(&world.token("c", &fields).await),
            "invalid_grant AN-0011"
        );
    }
}

#[tokio::test]
async fn an_expired_token_says_so() {
    let world = world(|_| {}).await;
    visited(&world).await;
    let token = world.signed(|t| t.issued_at -= t.lifespan + 1_000);
    assert_eq!(
        world.with_token("GET", "c/b/f", &token).await,
        refused(401, "AU-0002")
    );
    let fields = [("grant_type", SAML), ("assertion", token.as_str())];
    assert_eq!(
        oauth(&world.token("c", &fields).await),
        "invalid_grant AN-0010"
    );
}

#[tokio::test]
async fn who_came_by_a_third_cell_does_not_get_the_roles_of_the_first() {
    let world = world(|_| {}).await;
    visited(&world).await;
    let token = world.signed(|t| t.issuer = cell_url("appcell"));
    assert_eq!(
        world.with_token("GET", "c/b/f", &token).await,
        refused(403, "AU-0002")
    );
    let fields = [("grant_type", SAML), ("assertion", token.as_str())];
    let mut body = world.token("c", &fields).await.json();
    for _ in 0..2 {
        let local = text(&body, "access_token");
        assert_eq!(
            world.with_token("GET", "c/b/f", &local).await,
            refused(403, "AU-0002")
        );
        let refresh = text(&body, "refresh_token");
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
        ];
        body = world.token("c", &fields).await.json();
    }
}

#[tokio::test]
async fn damaged_assertions_are_refused() {
    let world = world(|_| {}).await;
    let token = world.signed(|_| {});
    for (bad, error) in [
        ("", "AN-0009"),
        ("x", "AN-0009"),
        (&token[..token.len() / 2], "AN-0009"),
    ] {
        let fields = [("grant_type", SAML), ("assertion", bad)];
        let reply = world.token("c", &fields).await;
        assert_eq!(oauth(&reply), format!("invalid_grant {error}"));
    }
}

#[tokio::test]
async fn a_token_used_directly_may_no_more_than_after_its_exchange() {
    for (most, accounts, relations) in [
        ("root", done(200), done(200)),
        ("social", refused(403, "AU-0007"), done(200)),
        ("message", refused(403, "AU-0007"), refused(403, "AU-0007")),
    ] {
        let world = world(|s| s.auth.scope_assertion = vec![most.to_owned()]).await;
        world.grant_all("c", &["p:root"]).await;
        let scopes = || vec!["root".to_owned(), "social".to_owned()];
        let direct = world.signed(|t| t.scopes = scopes());
        let fields = [("grant_type", SAML), ("assertion", direct.as_str())];
        let exchanged = text(&world.token("c", &fields).await.json(), "access_token");
        let no_role = "http://unit.example/c/__role/__/none".to_owned();
        let foreign = world.signed(|t| {
            t.scopes = scopes();
            t.scopes.push(no_role);
        });
        for token in [direct, exchanged, foreign] {
            for (set, outcome) in [("Account", &accounts), ("Relation", &relations)] {
                let found = world
                    .with_token("GET", &format!("c/__ctl/{set}"), &token)
                    .await;
                assert_eq!(found, *outcome, "{most} {set}");
            }
        }
    }
}

async fn unit_world() -> World {
    world(|s| {
        s.auth.unit_user_issuers = vec!["personium-localunit:/d/".to_owned()];
    })
    .await
}

#[tokio::test]
async fn unit_users_come_from_chosen_cells_with_tokens_for_the_unit() {
    let world = unit_world().await;
    let for_unit = |t: &mut personium_token::saml::TransCellToken| t.target = UNIT.to_owned();
    let user = world.signed(for_unit);
    assert_eq!(
        world.with_token("GET", "__ctl/Cell", &user).await,
        done(200)
    );
    for (name, token) in [
        ("for a cell", world.signed(|_| {})),
        (
            "of another cell",
            world.signed(|t| {
                for_unit(t);
                t.issuer = cell_url("appcell");
            }),
        ),
        (
            "for another unit",
            world.signed(|t| t.target = "http://other.example/".to_owned()),
        ),
    ] {
        assert_eq!(
            world.with_token("GET", "__ctl/Cell", &token).await,
            refused(403, "AU-0001"),
            "{name}"
        );
    }
    let local = world.access("d").await;
    assert_eq!(
        world.with_token("GET", "__ctl/Cell", &local).await,
        refused(401, "AU-0006")
    );
}

#[tokio::test]
async fn roles_say_what_a_unit_user_may() {
    let world = unit_world().await;
    world.put("c/b/f", "x").await;
    let owner = cell_url("d") + "#me";
    let ask = world
        .ask("POST", "__ctl/Cell")
        .with("x-personium-unit-user", &owner);
    let made = ask.text(r#"{"Name":"owned"}"#).send().await;
    assert_eq!(made.status, 201, "{}", made.text());
    world.put("owned/__/f", "x").await;
    let with = |roles: &[&str]| {
        let urls = roles
            .iter()
            .map(|r| RoleUrl::class(&cell_url("d"), r).to_string());
        let roles: Vec<String> = urls.collect();
        world.signed(|t| {
            t.target = UNIT.to_owned();
            t.roles = roles;
        })
    };
    let lacking = refused(403, "AU-0002");
    for (roles, own_read, own_write, foreign_read) in [
        (&[][..], &lacking, &lacking, &lacking),
        (&["CellContentsReader"], &done(200), &lacking, &lacking),
        (&["CellContentsAdmin"], &done(200), &done(204), &lacking),
        (&["UnitAdmin"], &lacking, &lacking, &lacking),
        (
            &["UnitAdmin", "CellContentsReader"],
            &done(200),
            &lacking,
            &done(200),
        ),
        (
            &["unitadmin", "cellcontentsadmin"],
            &lacking,
            &lacking,
            &lacking,
        ),
    ] {
        let token = with(roles);
        assert_eq!(
            world.with_token("GET", "owned/__/f", &token).await,
            *own_read,
            "{roles:?}"
        );
        assert_eq!(
            world.with_token("PUT", "owned/__/f", &token).await,
            *own_write,
            "{roles:?}"
        );
        assert_eq!(
            world.with_token("GET", "c/b/f", &token).await,
            *foreign_read,
            "{roles:?}"
        );
    }
    let foreign = RoleUrl::class(&cell_url("appcell"), "CellContentsAdmin").to_string();
    let token = world.signed(|t| {
        t.target = UNIT.to_owned();
        t.roles = vec![foreign];
    });
    assert_eq!(world.with_token("GET", "owned/__/f", &token).await, lacking);
}

#[tokio::test]
async fn only_an_administrator_acts_for_others() {
    let world = unit_world().await;
    let owner = "https://else.example/#somebody";
    let ask = world
        .ask("POST", "__ctl/Cell")
        .with("x-personium-unit-user", owner);
    assert_eq!(ask.text(r#"{"Name":"theirs"}"#).send().await.status, 201);
    let admin = RoleUrl::class(&cell_url("d"), "UnitAdmin").to_string();
    for (roles, outcome) in [
        (vec![admin], done(200)),
        (Vec::new(), refused(403, "AU-0003")),
    ] {
        let token = world.signed(|t| {
            t.target = UNIT.to_owned();
            t.roles = roles;
        });
        let reply = world
            .anybody("GET", "__ctl/Cell('theirs')")
            .with("authorization", &format!("Bearer {token}"))
            .with("x-personium-unit-user", owner)
            .send()
            .await;
        assert_eq!(reply.outcome(), outcome);
    }
}

#[tokio::test]
async fn only_the_accounts_of_the_chosen_cell_become_unit_users() {
    let world = unit_world().await;
    let to_unit = ("p_target", UNIT);
    let own = text(&world.login("d", &[to_unit]).await, "access_token");
    assert_eq!(world.with_token("GET", "__ctl/Cell", &own).await, done(200));
    let visiting = world.trans("c", "d").await;
    let exchange = [("grant_type", SAML), ("assertion", visiting.as_str())];
    let refresh = text(&world.token("d", &exchange).await.json(), "refresh_token");
    let again = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    for fields in [exchange, again] {
        let asking = async |target: &str| {
            let mut fields = fields.to_vec();
            fields.push(("p_target", target));
            world.token("d", &fields).await
        };
        for target in [UNIT, "personium-localunit:/"] {
            let refusal = oauth(&asking(target).await);
            assert_eq!(refusal, "invalid_request AN-0002", "{target}");
        }
        assert_eq!(asking(&cell_url("appcell")).await.status, 200);
    }
}

#[tokio::test]
async fn a_role_of_a_box_is_no_role_of_the_unit() {
    let world = unit_world().await;
    world.make("d/__ctl/Box", r#"{"Name":"b"}"#).await;
    let own = format!(r#"{{"Name":"app","Schema":"{}"}}"#, cell_url("d"));
    world.make("d/__ctl/Box", &own).await;
    let link = async |role: &str| {
        let body = format!("{{\"uri\":\"{}__ctl/{role}\"}}", cell_url("d"));
        let links = world.ask("POST", "d/__ctl/Account('me')/$links/_Role");
        assert_eq!(links.text(&body).send().await.status, 204, "{role}");
    };
    let status = async || {
        let login = world.login("d", &[("p_target", UNIT)]).await;
        let token = text(&login, "access_token");
        world.with_token("GET", "__status", &token).await.0
    };
    for in_box in ["b", "app"] {
        let role = format!(r#"{{"Name":"UnitAdmin","_Box.Name":"{in_box}"}}"#);
        world.make("d/__ctl/Role", &role).await;
        link(&format!("Role(Name='UnitAdmin',_Box.Name='{in_box}')")).await;
    }
    assert_eq!(status().await, 403);
    world.make("d/__ctl/Role", r#"{"Name":"UnitAdmin"}"#).await;
    link("Role('UnitAdmin')").await;
    assert_ne!(status().await, 403);
}

#[tokio::test]
async fn a_unit_user_introspects_at_its_own_cells() {
    let world = unit_world().await;
    let owner = cell_url("d") + "#me";
    let ask = world
        .ask("POST", "__ctl/Cell")
        .with("x-personium-unit-user", &owner);
    assert_eq!(ask.text(r#"{"Name":"owned"}"#).send().await.status, 201);
    let token = text(
        &world.login("d", &[("p_target", UNIT)]).await,
        "access_token",
    );
    for (cell, outcome) in [("owned", done(200)), ("c", refused(403, "AU-0002"))] {
        let ask = world
            .anybody("POST", &format!("{cell}/__introspect"))
            .with("authorization", &format!("Bearer {token}"));
        let reply = ask.text("token=x").send().await;
        assert_eq!(reply.outcome(), outcome, "{cell}");
    }
}
