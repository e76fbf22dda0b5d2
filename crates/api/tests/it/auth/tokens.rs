//! Tokens used at the wrong cell, at the wrong time or in the wrong form.

use personium_model::credentials::{UnitCertificates, UnitKeys};
use personium_testkit::{PASSWORD, TestUnit, cell_url, refused, success, text_member};
use personium_token::local::LocalToken;
use personium_token::trust::{TrustRoots, UnitKey, generate_self_signed};
use personium_types::SystemRandom;

use super::{oauth_error, unit_with_accounts};

/// Creates a file that only accounts with the role `reader` may read.
async fn readable_file(unit: &TestUnit) {
    unit.create("c/__ctl/Role", r#"{"Name":"reader"}"#).await;
    let link = format!("{{\"uri\":\"{}__ctl/Role('reader')\"}}", cell_url("c"));
    let links = unit.admin_request("POST", "c/__ctl/Account('me')/$links/_Role");
    assert_eq!(links.body(&link).send().await.status, 204);
    unit.put_file("c/b/f", "x").await;
    let ace = format!(
        "<D:ace><D:principal><D:href>{}__role/__/reader</D:href></D:principal>\
         <D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>",
        cell_url("c")
    );
    unit.set_acl("c/b", &ace).await;
}

#[tokio::test]
async fn access_token_is_accepted_by_its_own_cell_only() {
    let unit = unit_with_accounts(|_| {}).await;
    readable_file(&unit).await;
    let (own, other) = (unit.access_token("c").await, unit.access_token("d").await);
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &own).await,
        success(200)
    );
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &other).await,
        refused(401, "AU-0006")
    );
}

#[tokio::test]
async fn token_expires_at_the_exact_millisecond() {
    let unit = unit_with_accounts(|_| {}).await;
    readable_file(&unit).await;
    let keys = &unit.model.keys().local_tokens;
    let real = keys
        .open(&unit.access_token("c").await, &cell_url("c"))
        .unwrap();
    let made = |age: i64| {
        let token = LocalToken {
            issued_at_ms: unit.model.now_ms() - age,
            ..real.clone()
        };
        unit.model
            .keys()
            .local_tokens
            .seal(&token, &SystemRandom::new())
            .unwrap()
    };
    let (fresh, old) = (made(3_599_000), made(3_601_000));
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &fresh).await,
        success(200)
    );
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &old).await,
        refused(401, "AU-0002")
    );
}

#[tokio::test]
async fn token_kinds_are_not_interchangeable() {
    let unit = unit_with_accounts(|_| {}).await;
    readable_file(&unit).await;
    let login = unit.login("c", &[]).await;
    let (access, refresh) = (
        text_member(&login, "access_token"),
        text_member(&login, "refresh_token"),
    );
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &refresh).await,
        refused(401, "AU-0007")
    );
    let swapped = refresh.replacen("RR~", "AR~", 1);
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &swapped).await,
        refused(401, "AU-0006")
    );
    for (token, error) in [
        (access.as_str(), "invalid_grant AN-0013"),
        (&access.replacen("AR~", "RR~", 1), "invalid_grant AN-0009"),
        ("", "invalid_grant AN-0009"),
        ("RR~", "invalid_grant AN-0009"),
    ] {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        assert_eq!(
            oauth_error(&unit.request_token("c", &fields).await),
            error,
            "{token}"
        );
    }
    let other = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(
        oauth_error(&unit.request_token("d", &other).await),
        "invalid_grant AN-0009"
    );
}

#[tokio::test]
async fn altered_token_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    readable_file(&unit).await;
    let token = unit.access_token("c").await;
    for at in (3..token.len()).step_by(7) {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(
            unit.outcome_with_token("GET", "c/b/f", &changed).await,
            refused(401, "AU-0006"),
            "character {at}"
        );
    }
}

#[tokio::test]
async fn unsigned_jwt_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    readable_file(&unit).await;
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.";
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", none).await,
        refused(401, "AU-0006")
    );
}

#[tokio::test]
async fn invalid_token_is_ignored_on_public_resources_but_deleted_account_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.put_file("c/b/f", "x").await;
    unit.grant_to_everybody("c/b", &["D:read"]).await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", "AR~x").await,
        success(200)
    );
    let token = unit.access_token("c").await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &token).await,
        success(200)
    );
    assert_eq!(
        unit.admin_outcome("DELETE", "c/__ctl/Account('me')").await,
        success(204)
    );
    let response = unit.request("GET", "c/b/f").bearer(&token).send().await;
    assert_eq!(response.outcome(), refused(401, "AU-0001"));
    assert_eq!(
        response.header("www-authenticate"),
        Some(format!("Bearer realm=\"{}\"", cell_url("c")).as_str())
    );
}

#[tokio::test]
async fn removed_role_takes_effect_on_issued_tokens() {
    let unit = unit_with_accounts(|_| {}).await;
    readable_file(&unit).await;
    let token = unit.access_token("c").await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &token).await,
        success(200)
    );
    let link = "c/__ctl/Account('me')/$links/_Role(Name='reader')";
    assert_eq!(unit.admin_outcome("DELETE", link).await, success(204));
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &token).await,
        refused(403, "AU-0002")
    );
}

#[tokio::test]
async fn empty_master_token_is_never_accepted() {
    let unit = TestUnit::without_cells(|s| s.auth.master_token = Some(Default::default()));
    for value in [
        "Bearer ",
        "Bearer",
        "Bearer  ",
        "Bearer null",
        "Bearer \"\"",
    ] {
        let response = unit
            .request("GET", "__ctl/Cell")
            .header("authorization", value)
            .send()
            .await;
        assert_eq!(response.outcome(), refused(401, "AU-0006"), "{value:?}");
    }
    let response = unit.request("GET", "__ctl/Cell").send().await;
    assert_eq!(response.outcome(), refused(401, "AU-0001"));
}

#[tokio::test]
async fn unsupported_authorization_schemes_are_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    for (value, code) in [
        ("Digest x", "AU-0003"),
        ("Basic !", "AU-0004"),
        ("Basic bm8gY29sb24=", "AU-0004"),
        ("Bearer", "AU-0006"),
    ] {
        let response = unit
            .request("GET", "c/__ctl/Role")
            .header("authorization", value)
            .send()
            .await;
        assert_eq!(response.outcome(), refused(401, code), "{value}");
    }
}

#[tokio::test]
async fn password_change_revokes_access_tokens_only_if_configured() {
    for revokes in [false, true] {
        let unit = unit_with_accounts(|s| s.auth.revoke_access_with_account = revokes).await;
        readable_file(&unit).await;
        let login = unit.login("c", &[]).await;
        let (token, refresh) = (
            text_member(&login, "access_token"),
            text_member(&login, "refresh_token"),
        );
        let response = unit
            .request("PUT", "c/__mypassword")
            .bearer(&token)
            .header("x-personium-credential", "password2")
            .send()
            .await;
        assert_eq!(response.status, 204, "{}", response.text());
        let seen = unit.outcome_with_token("GET", "c/b/f", &token).await;
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
        ];
        let refreshed = unit.request_token("c", &fields).await;
        assert_eq!(oauth_error(&refreshed), "invalid_grant AN-0010");
        let expected = match revokes {
            true => refused(401, "AU-0002"),
            false => success(200),
        };
        assert_eq!(seen, expected);
        let old = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", PASSWORD),
        ];
        assert_eq!(
            oauth_error(&unit.request_token("c", &old).await),
            "invalid_grant AN-0017"
        );
        let new = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", "password2"),
        ];
        let new = unit.request_token("c", &new).await;
        assert_eq!(new.status, 200);
        let token = text_member(&new.json(), "access_token");
        assert_eq!(
            unit.outcome_with_token("GET", "c/b/f", &token).await,
            success(200)
        );
    }
}

#[tokio::test]
async fn account_deactivation_revokes_tokens_if_configured() {
    let unit = unit_with_accounts(|s| s.auth.revoke_access_with_account = true).await;
    readable_file(&unit).await;
    let token = unit.access_token("c").await;
    let body = r#"{"Status":"deactivated"}"#;
    let merge = unit
        .admin_request("MERGE", "c/__ctl/Account('me')")
        .body(body);
    assert_eq!(merge.send().await.status, 204);
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &token).await,
        refused(401, "AU-0002")
    );
}

#[tokio::test]
async fn assertions_are_refused_without_trust_roots() {
    let secret = "another secret of these tests";
    let now = 1_700_000_000_000;
    let keys = UnitKeys::self_signed("unit.example", secret, now).unwrap();
    let own = generate_self_signed("unit.example", now - 1_000, now + 1_000).unwrap();
    keys.replace_certificates(UnitCertificates {
        signing: UnitKey::load(own.key_pem.as_bytes(), own.certificate_pem.as_bytes()).unwrap(),
        trust_roots: TrustRoots::none(),
    });
    let unit = TestUnit::empty_with_keys(keys.into(), |_| {});
    unit.create("__ctl/Cell", r#"{"Name":"c"}"#).await;
    let token = unit.assertion(|_| {});
    assert_eq!(
        unit.outcome_with_token("GET", "c/__ctl/Role", &token).await,
        refused(401, "AU-0008")
    );
}
