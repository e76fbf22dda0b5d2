//! Assertions of other cells and units, and unit users.

use personium_model::credentials::UnitKeys;
use personium_testkit::{
    SAML_GRANT, TestUnit, UNIT_URL, cell_url, escape, refused, success, text_member,
};
use personium_token::role_url::RoleUrl;

use super::{oauth_error, unit_with_accounts};

/// Creates a file that visitors from `d` may read, by a role of the cell `c`.
async fn allow_visitors(unit: &TestUnit) {
    allow_visitors_from(unit, &[&cell_url("d")]).await;
}

/// Creates the file `c/b/f`, which visitors from these cells may read, by a role of the cell `c`.
pub async fn allow_visitors_from(unit: &TestUnit, cells: &[&str]) {
    unit.create("c/__ctl/Role", r#"{"Name":"visitor"}"#).await;
    let role = format!("{{\"uri\":\"{}__ctl/Role('visitor')\"}}", cell_url("c"));
    for cell in cells {
        unit.create("c/__ctl/ExtCell", &format!("{{\"Url\":\"{cell}\"}}"))
            .await;
        let key = escape(cell);
        let links = format!("c/__ctl/ExtCell('{key}')/$links/_Role");
        let linked = unit.admin_request("POST", &links).body(&role).send().await;
        assert_eq!(linked.status, 204);
    }
    unit.put_file("c/b/f", "x").await;
    let ace = format!(
        "<D:ace><D:principal><D:href>{}__role/__/visitor</D:href></D:principal>\
         <D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>",
        cell_url("c")
    );
    unit.set_acl("c/b", &ace).await;
}

#[tokio::test]
async fn visitor_gets_its_roles_by_assertion_and_by_exchanged_token() {
    let unit = unit_with_accounts(|_| {}).await;
    allow_visitors(&unit).await;
    let token = unit.trans_cell_token("d", "c").await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &token).await,
        success(200)
    );
    let fields = [("grant_type", SAML_GRANT), ("assertion", token.as_str())];
    let response = unit.request_token("c", &fields).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let (local, refresh) = (
        text_member(&response.json(), "access_token"),
        text_member(&response.json(), "refresh_token"),
    );
    assert!(local.starts_with("AV~") && refresh.starts_with("RV~"));
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &local).await,
        success(200)
    );
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let again = text_member(
        &unit.request_token("c", &fields).await.json(),
        "access_token",
    );
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &again).await,
        success(200)
    );
}

#[tokio::test]
async fn assertion_for_another_cell_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    allow_visitors(&unit).await;
    let token = unit.trans_cell_token("d", "appcell").await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &token).await,
        refused(401, "AU-0006")
    );
    let fields = [("grant_type", SAML_GRANT), ("assertion", token.as_str())];
    assert_eq!(
        oauth_error(&unit.request_token("c", &fields).await),
        "invalid_grant AN-0012"
    );
}

#[tokio::test]
async fn assertion_signed_by_an_untrusted_unit_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    allow_visitors(&unit).await;
    let secret = "a secret of somebody else";
    for host in ["unit.example", "evil.example", "evilunit.example"] {
        let evil = UnitKeys::self_signed(host, secret, 1_700_000_000_000).unwrap();
        let token = unit.assertion_signed_by(&evil.certificates().signing, |_| {});
        assert_eq!(
            unit.outcome_with_token("GET", "c/b/f", &token).await,
            refused(401, "AU-0008"),
            "{host}"
        );
        let fields = [("grant_type", SAML_GRANT), ("assertion", token.as_str())];
        assert_eq!(
            oauth_error(&unit.request_token("c", &fields).await),
            "invalid_grant AN-0011"
        );
    }
}

#[tokio::test]
async fn expired_assertion_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    allow_visitors(&unit).await;
    let token = unit.assertion(|t| t.issued_at_ms -= t.lifespan_ms + 1_000);
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &token).await,
        refused(401, "AU-0002")
    );
    let fields = [("grant_type", SAML_GRANT), ("assertion", token.as_str())];
    assert_eq!(
        oauth_error(&unit.request_token("c", &fields).await),
        "invalid_grant AN-0010"
    );
}

#[tokio::test]
async fn assertion_issued_by_a_third_cell_does_not_give_roles_of_the_subject_cell() {
    let unit = unit_with_accounts(|_| {}).await;
    allow_visitors(&unit).await;
    let token = unit.assertion(|t| t.issuer = cell_url("appcell"));
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &token).await,
        refused(403, "AU-0002")
    );
    let fields = [("grant_type", SAML_GRANT), ("assertion", token.as_str())];
    let mut body = unit.request_token("c", &fields).await.json();
    for _ in 0..2 {
        let local = text_member(&body, "access_token");
        assert_eq!(
            unit.outcome_with_token("GET", "c/b/f", &local).await,
            refused(403, "AU-0002")
        );
        let refresh = text_member(&body, "refresh_token");
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
        ];
        body = unit.request_token("c", &fields).await.json();
    }
}

#[tokio::test]
async fn damaged_assertions_are_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    let token = unit.assertion(|_| {});
    for (bad, error) in [
        ("", "AN-0009"),
        ("x", "AN-0009"),
        (&token[..token.len() / 2], "AN-0009"),
    ] {
        let fields = [("grant_type", SAML_GRANT), ("assertion", bad)];
        let response = unit.request_token("c", &fields).await;
        assert_eq!(oauth_error(&response), format!("invalid_grant {error}"));
    }
}

#[tokio::test]
async fn assertion_has_the_same_scope_directly_and_after_exchange() {
    for (most, accounts, relations) in [
        ("root", success(200), success(200)),
        ("social", refused(403, "AU-0007"), success(200)),
        ("message", refused(403, "AU-0007"), refused(403, "AU-0007")),
    ] {
        let unit =
            unit_with_accounts(|s| s.auth.default_scope_assertion = vec![most.to_owned()]).await;
        unit.grant_to_everybody("c", &["p:root"]).await;
        let scopes = || vec!["root".to_owned(), "social".to_owned()];
        let direct = unit.assertion(|t| t.scopes = scopes());
        let fields = [("grant_type", SAML_GRANT), ("assertion", direct.as_str())];
        let exchanged = text_member(
            &unit.request_token("c", &fields).await.json(),
            "access_token",
        );
        let no_role = "http://unit.example/c/__role/__/none".to_owned();
        let foreign = unit.assertion(|t| {
            t.scopes = scopes();
            t.scopes.push(no_role);
        });
        for token in [direct, exchanged, foreign] {
            for (set, outcome) in [("Account", &accounts), ("Relation", &relations)] {
                let found = unit
                    .outcome_with_token("GET", &format!("c/__ctl/{set}"), &token)
                    .await;
                assert_eq!(found, *outcome, "{most} {set}");
            }
        }
    }
}

async fn unit_with_unit_users() -> TestUnit {
    unit_with_accounts(|s| {
        s.auth.unit_user_issuers = vec!["personium-localunit:/d/".to_owned()];
    })
    .await
}

#[tokio::test]
async fn unit_user_tokens_come_from_configured_issuers_for_the_unit() {
    let unit = unit_with_unit_users().await;
    let for_unit = |t: &mut personium_token::saml::TransCellToken| t.target = UNIT_URL.to_owned();
    let user = unit.assertion(for_unit);
    assert_eq!(
        unit.outcome_with_token("GET", "__ctl/Cell", &user).await,
        success(200)
    );
    for (name, token) in [
        ("for a cell", unit.assertion(|_| {})),
        (
            "of another cell",
            unit.assertion(|t| {
                for_unit(t);
                t.issuer = cell_url("appcell");
            }),
        ),
        (
            "for another unit",
            unit.assertion(|t| t.target = "http://other.example/".to_owned()),
        ),
    ] {
        assert_eq!(
            unit.outcome_with_token("GET", "__ctl/Cell", &token).await,
            refused(403, "AU-0001"),
            "{name}"
        );
    }
    let local = unit.access_token("d").await;
    assert_eq!(
        unit.outcome_with_token("GET", "__ctl/Cell", &local).await,
        refused(401, "AU-0006")
    );
}

#[tokio::test]
async fn unit_user_roles_limit_access_to_cell_contents() {
    let unit = unit_with_unit_users().await;
    unit.put_file("c/b/f", "x").await;
    let owner = cell_url("d") + "#me";
    let request = unit
        .admin_request("POST", "__ctl/Cell")
        .header("x-personium-unit-user", &owner);
    let made = request.body(r#"{"Name":"owned"}"#).send().await;
    assert_eq!(made.status, 201, "{}", made.text());
    unit.put_file("owned/__/f", "x").await;
    let with = |roles: &[&str]| {
        let urls = roles
            .iter()
            .map(|r| RoleUrl::class(&cell_url("d"), r).to_string());
        let roles: Vec<String> = urls.collect();
        unit.assertion(|t| {
            t.target = UNIT_URL.to_owned();
            t.roles = roles;
        })
    };
    let lacking = refused(403, "AU-0002");
    for (roles, own_read, own_write, foreign_read) in [
        (&[][..], &lacking, &lacking, &lacking),
        (&["CellContentsReader"], &success(200), &lacking, &lacking),
        (
            &["CellContentsAdmin"],
            &success(200),
            &success(204),
            &lacking,
        ),
        (&["UnitAdmin"], &lacking, &lacking, &lacking),
        (
            &["UnitAdmin", "CellContentsReader"],
            &success(200),
            &lacking,
            &success(200),
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
            unit.outcome_with_token("GET", "owned/__/f", &token).await,
            *own_read,
            "{roles:?}"
        );
        assert_eq!(
            unit.outcome_with_token("PUT", "owned/__/f", &token).await,
            *own_write,
            "{roles:?}"
        );
        assert_eq!(
            unit.outcome_with_token("GET", "c/b/f", &token).await,
            *foreign_read,
            "{roles:?}"
        );
    }
    let foreign = RoleUrl::class(&cell_url("appcell"), "CellContentsAdmin").to_string();
    let token = unit.assertion(|t| {
        t.target = UNIT_URL.to_owned();
        t.roles = vec![foreign];
    });
    assert_eq!(
        unit.outcome_with_token("GET", "owned/__/f", &token).await,
        lacking
    );
}

#[tokio::test]
async fn only_a_unit_administrator_may_act_as_another_unit_user() {
    let unit = unit_with_unit_users().await;
    let owner = "https://else.example/#somebody";
    let request = unit
        .admin_request("POST", "__ctl/Cell")
        .header("x-personium-unit-user", owner);
    assert_eq!(
        request.body(r#"{"Name":"theirs"}"#).send().await.status,
        201
    );
    let admin = RoleUrl::class(&cell_url("d"), "UnitAdmin").to_string();
    for (roles, outcome) in [
        (vec![admin], success(200)),
        (Vec::new(), refused(403, "AU-0003")),
    ] {
        let token = unit.assertion(|t| {
            t.target = UNIT_URL.to_owned();
            t.roles = roles;
        });
        let response = unit
            .request("GET", "__ctl/Cell('theirs')")
            .bearer(&token)
            .header("x-personium-unit-user", owner)
            .send()
            .await;
        assert_eq!(response.outcome(), outcome);
    }
}

#[tokio::test]
async fn only_accounts_of_the_issuer_cell_get_unit_user_tokens() {
    let unit = unit_with_unit_users().await;
    let to_unit = ("p_target", UNIT_URL);
    let own = text_member(&unit.login("d", &[to_unit]).await, "access_token");
    assert_eq!(
        unit.outcome_with_token("GET", "__ctl/Cell", &own).await,
        success(200)
    );
    let visiting = unit.trans_cell_token("c", "d").await;
    let exchange = [("grant_type", SAML_GRANT), ("assertion", visiting.as_str())];
    let refresh = text_member(
        &unit.request_token("d", &exchange).await.json(),
        "refresh_token",
    );
    let again = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    for fields in [exchange, again] {
        let asking = async |target: &str| {
            let mut fields = fields.to_vec();
            fields.push(("p_target", target));
            unit.request_token("d", &fields).await
        };
        for target in [UNIT_URL, "personium-localunit:/"] {
            let refusal = oauth_error(&asking(target).await);
            assert_eq!(refusal, "invalid_request AN-0002", "{target}");
        }
        assert_eq!(asking(&cell_url("appcell")).await.status, 200);
    }
}

#[tokio::test]
async fn box_role_is_not_a_unit_user_role() {
    let unit = unit_with_unit_users().await;
    unit.create("d/__ctl/Box", r#"{"Name":"b"}"#).await;
    let own = format!(r#"{{"Name":"app","Schema":"{}"}}"#, cell_url("d"));
    unit.create("d/__ctl/Box", &own).await;
    let link = async |role: &str| {
        let body = format!("{{\"uri\":\"{}__ctl/{role}\"}}", cell_url("d"));
        let links = unit.admin_request("POST", "d/__ctl/Account('me')/$links/_Role");
        assert_eq!(links.body(&body).send().await.status, 204, "{role}");
    };
    let status = async || {
        let login = unit.login("d", &[("p_target", UNIT_URL)]).await;
        let token = text_member(&login, "access_token");
        unit.outcome_with_token("GET", "__status", &token).await.0
    };
    for in_box in ["b", "app"] {
        let role = format!(r#"{{"Name":"UnitAdmin","_Box.Name":"{in_box}"}}"#);
        unit.create("d/__ctl/Role", &role).await;
        link(&format!("Role(Name='UnitAdmin',_Box.Name='{in_box}')")).await;
    }
    assert_eq!(status().await, 403);
    unit.create("d/__ctl/Role", r#"{"Name":"UnitAdmin"}"#).await;
    link("Role('UnitAdmin')").await;
    assert_ne!(status().await, 403);
}

#[tokio::test]
async fn unit_user_may_introspect_at_its_own_cells_only() {
    let unit = unit_with_unit_users().await;
    let owner = cell_url("d") + "#me";
    let request = unit
        .admin_request("POST", "__ctl/Cell")
        .header("x-personium-unit-user", &owner);
    assert_eq!(request.body(r#"{"Name":"owned"}"#).send().await.status, 201);
    let token = text_member(
        &unit.login("d", &[("p_target", UNIT_URL)]).await,
        "access_token",
    );
    for (cell, outcome) in [("owned", success(200)), ("c", refused(403, "AU-0002"))] {
        let request = unit
            .request("POST", &format!("{cell}/__introspect"))
            .bearer(&token);
        let response = request.body("token=x").send().await;
        assert_eq!(response.outcome(), outcome, "{cell}");
    }
}
