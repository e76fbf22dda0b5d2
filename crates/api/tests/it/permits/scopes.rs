//! Scopes limit a token at cell level.

use personium_testkit::{PASSWORD, SAML_GRANT, refused, success, text_member};
use personium_types::Privilege;

use super::callers::{Caller, Fixture, role_ace};
use super::cases;

/// Returns the cell-level privileges that `keep` accepts, as a scope parameter.
fn scope(keep: impl Fn(Privilege) -> bool) -> String {
    let names = Privilege::ALL
        .iter()
        .filter(|p| p.is_cell_level() && keep(**p));
    names.map(|p| p.local_name()).collect::<Vec<_>>().join(" ")
}

fn caller(name: &'static str, token: &str) -> Caller {
    Caller {
        name,
        headers: vec![("authorization", format!("Bearer {token}"))],
        outcome: success(0),
    }
}

#[tokio::test]
async fn operation_outside_the_token_scope_is_refused() {
    for case in cases::all() {
        let Some(needed) = case.operation.privilege().filter(|p| p.is_cell_level()) else {
            continue;
        };
        let fixture = Fixture::new().await;
        fixture
            .unit
            .set_acl("c", &role_ace("exact", &[Privilege::Root]))
            .await;
        let without = scope(|p| !p.includes(needed));
        let narrow = fixture.login("c", "exact", &[("scope", &without)]).await;
        let also = |p: Privilege| case.also.contains(&p);
        let exact = scope(|p| p == needed || also(p));
        let exact = fixture.login("c", "exact", &[("scope", &exact)]).await;
        let before = fixture.all_records().await;
        let response = fixture
            .send(&case, &caller("a token of another scope", &narrow))
            .await;
        assert_eq!(response.outcome(), refused(403, "AU-0007"), "{case}");
        assert!(
            response
                .text()
                .contains(&format!("[{}]", needed.local_name())),
            "{case}: {}",
            response.text()
        );
        assert_eq!(before, fixture.all_records().await, "{case}");
        let response = fixture
            .send(&case, &caller("a token of this scope", &exact))
            .await;
        case.check(&fixture, &response).await;
    }
}

#[tokio::test]
async fn token_without_scope_is_limited_to_boxes() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.set_acl("c", &role_ace("exact", &[Privilege::Root]))
        .await;
    // Names that are no cell-level privileges are dropped, which leaves an empty scope.
    let token = fixture
        .login("c", "exact", &[("scope", "read all nonsense")])
        .await;
    for (method, path, outcome) in [
        ("GET", "c/__ctl/Account", refused(403, "AU-0007")),
        ("POST", "c/__sign", refused(403, "AU-0007")),
        ("PROPFIND", "c", refused(403, "AU-0007")),
        ("GET", "c/b/col/file", success(200)),
        ("PUT", "c/b/col/file", success(204)),
        ("DELETE", "c/b/col/file", success(204)),
    ] {
        assert_eq!(
            unit.outcome_with_token(method, path, &token).await,
            outcome,
            "{method} {path}"
        );
    }
    let request = unit.request("DELETE", "c/b").bearer(&token);
    let response = request.header("x-personium-recursive", "true").send().await;
    assert_eq!(
        response.outcome(),
        refused(403, "AU-0007"),
        "deleting a box is up to the cell"
    );
}

#[tokio::test]
async fn token_scope_is_limited_by_unit_settings_and_original_token() {
    let fixture = Fixture::with_settings(|s| {
        s.auth.default_scope_password = vec!["auth-read".to_owned()];
        s.auth.default_scope_assertion = vec!["social".to_owned()];
    })
    .await;
    let unit = &fixture.unit;
    unit.grant_to_everybody("c", &["p:root"]).await;
    let outcomes = async |token: &str| {
        let mut out = Vec::new();
        for path in ["c/__ctl/Account", "c/__ctl/Relation", "c/__ctl/Box"] {
            out.push(unit.outcome_with_token("GET", path, token).await.0);
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
        let body = unit.request_token("c", &fields).await.json();
        let expected = match wanted {
            // A requested scope beyond the allowed ones is dropped.
            "root" | "auth" => [403, 403, 403],
            _ => [200, 403, 403],
        };
        assert_eq!(
            outcomes(&text_member(&body, "access_token")).await,
            expected,
            "{wanted}"
        );
        // A refresh token does not give a larger scope.
        let refresh = text_member(&body, "refresh_token");
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
            ("scope", "root"),
        ];
        let body = unit.request_token("c", &fields).await.json();
        assert_eq!(
            outcomes(&text_member(&body, "access_token")).await,
            expected,
            "{wanted} again"
        );
    }
    let assertion =
        unit.assertion(|t| t.scopes = vec!["root".to_owned(), "social-read".to_owned()]);
    let fields = [
        ("grant_type", SAML_GRANT),
        ("assertion", assertion.as_str()),
    ];
    let body = unit.request_token("c", &fields).await.json();
    assert_eq!(
        outcomes(&text_member(&body, "access_token")).await,
        [403, 200, 403]
    );
    assert!(!text_member(&body, "scope").contains("root"), "{body}");
}
