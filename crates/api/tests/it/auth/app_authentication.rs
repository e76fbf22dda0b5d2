//! Authentication of applications at the token endpoint and at introspection.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_testkit::{
    PASSWORD, TestUnit, cell_url, encode_form, escape, refused, success, text_member,
};
use personium_token::role_url::RoleUrl;
use personium_token::saml::TransCellToken;

use super::{oauth_error, unit_with_accounts};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";

fn by_app(token: &mut TransCellToken) {
    token.issuer = cell_url("appcell");
    token.subject = cell_url("appcell") + "#me";
}

fn by_confidential_app(token: &mut TransCellToken) {
    by_app(token);
    token.roles = vec![RoleUrl::class(&cell_url("appcell"), "confidentialClient").to_string()];
}

async fn login_with_client(
    unit: &TestUnit,
    more: &[(&str, &str)],
) -> personium_testkit::TestResponse {
    let mut fields = vec![
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    fields.extend(more);
    unit.request_token("c", &fields).await
}

#[tokio::test]
async fn client_secret_must_be_an_assertion_of_the_app_cell_for_this_cell() {
    let unit = unit_with_accounts(|_| {}).await;
    let app = cell_url("appcell");
    let good = unit.assertion(by_app);
    let response = login_with_client(&unit, &[("client_id", &app), ("client_secret", &good)]).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let others = unit.assertion(|_| {});
    let elsewhere = unit.assertion(|t| {
        by_app(t);
        t.target = cell_url("d");
    });
    let old = unit.assertion(|t| {
        by_app(t);
        t.issued_at_ms -= t.lifespan_ms + 1_000;
    });
    let evil = personium_model::credentials::UnitKeys::self_signed(
        "evil.example",
        "a secret of somebody else",
        1_700_000_000_000,
    )
    .unwrap();
    let forged = unit.assertion_signed_by(&evil.certificates().signing, by_app);
    for (secret, error) in [
        ("", "invalid_client AN-0003"),
        ("x", "invalid_client AN-0003"),
        (others.as_str(), "invalid_client AN-0006"),
        (elsewhere.as_str(), "invalid_client AN-0007"),
        (old.as_str(), "invalid_client AN-0004"),
        (forged.as_str(), "invalid_grant AN-0011"),
    ] {
        let fields = [("client_id", app.as_str()), ("client_secret", secret)];
        assert_eq!(oauth_error(&login_with_client(&unit, &fields).await), error);
    }
}

#[tokio::test]
async fn client_id_in_the_unit_local_form_is_that_of_the_app_cell() {
    let unit = unit_with_accounts(|_| {}).await;
    let secret = unit.assertion(by_app);
    for id in [
        "personium-localunit:/appcell/",
        "personium-localunit:appcell:/",
    ] {
        let fields = [("client_id", id), ("client_secret", &*secret)];
        let response = login_with_client(&unit, &fields).await.expect(200);
        let token = text_member(&response.json(), "access_token");
        let fields = [
            ("client_id", id),
            ("client_secret", &*secret),
            ("token", &*token),
        ];
        let request = unit.request("POST", "c/__introspect").form(&fields);
        let shown = request.send().await.expect(200).json();
        assert_eq!(
            text_member(&shown, "client_id"),
            cell_url("appcell"),
            "{id}"
        );
    }
    let other = [
        ("client_id", "personium-localunit:/other/"),
        ("client_secret", &*secret),
    ];
    let refusal = login_with_client(&unit, &other).await;
    assert_eq!(oauth_error(&refusal), "invalid_client AN-0006");
}

#[tokio::test]
async fn client_id_is_accepted_only_with_a_matching_secret_or_assertion() {
    let unit = unit_with_accounts(|_| {}).await;
    let good = unit.assertion(by_app);
    let basic = |id: &str| {
        let id = escape(id);
        format!("Basic {}", STANDARD.encode(format!("{id}:{good}")))
    };
    let login = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    let request = async |value: &str| {
        let request = unit
            .request("POST", "c/__token")
            .header("authorization", value);
        request.body(encode_form(&login)).send().await
    };
    assert_eq!(request(&basic(&cell_url("appcell"))).await.status, 200);
    assert_eq!(
        oauth_error(&request(&basic(&cell_url("d"))).await),
        "invalid_client AN-0006"
    );
    assert_eq!(
        oauth_error(&request("Bearer x").await),
        "invalid_client AN-0018"
    );
    let app = cell_url("appcell");
    for (fields, error) in [
        (
            &[("client_assertion", good.as_str())][..],
            "invalid_client AN-0022",
        ),
        (
            &[("client_assertion_type", "x"), ("client_assertion", &good)],
            "invalid_client AN-0022",
        ),
        (
            &[
                ("client_assertion_type", ASSERTION),
                ("client_assertion", &good),
            ],
            "invalid_client AN-0006",
        ),
        (
            &[("client_assertion_type", ASSERTION), ("client_id", &app)],
            "invalid_client AN-0003",
        ),
    ] {
        assert_eq!(oauth_error(&login_with_client(&unit, fields).await), error);
    }
    let full = [
        ("client_assertion_type", ASSERTION),
        ("client_assertion", good.as_str()),
        ("client_id", app.as_str()),
    ];
    assert_eq!(login_with_client(&unit, &full).await.status, 200);
}

#[tokio::test]
async fn required_schema_level_of_a_box_admits_only_its_app() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.put_file("c/app/f", "x").await;
    let acl = |level: &str| {
        personium_testkit::acl_body(
            &format!("p:requireSchemaAuthz='{level}'"),
            "<D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:read/>\
             </D:privilege></D:grant></D:ace>",
        )
    };
    let app = cell_url("appcell");
    let public = unit.assertion(by_app);
    let confidential = unit.assertion(by_confidential_app);
    let not_theirs = unit.assertion(|t| {
        by_app(t);
        t.roles = vec![RoleUrl::class(&cell_url("d"), "confidentialClient").to_string()];
    });
    let token = async |id: &str, secret: &str| {
        let fields = [("client_id", id), ("client_secret", secret)];
        text_member(
            &login_with_client(&unit, &fields).await.json(),
            "access_token",
        )
    };
    let tokens = [
        unit.access_token("c").await,
        token(&cell_url("d"), &unit.assertion(|_| {})).await,
        token(&app, &public).await,
        token(&app, &not_theirs).await,
        token(&app, &confidential).await,
    ];
    let (other, low) = (refused(403, "AU-0005"), refused(403, "AU-0006"));
    for (level, outcomes) in [
        (
            "none",
            [
                success(200),
                success(200),
                success(200),
                success(200),
                success(200),
            ],
        ),
        (
            "public",
            [
                other.clone(),
                other.clone(),
                success(200),
                success(200),
                success(200),
            ],
        ),
        (
            "confidential",
            [other.clone(), other, low.clone(), low, success(200)],
        ),
    ] {
        let set = unit
            .admin_request("ACL", "c/app")
            .body(acl(level))
            .send()
            .await;
        assert_eq!(set.status, 200, "{}", set.text());
        for (token, outcome) in tokens.iter().zip(outcomes) {
            assert_eq!(
                unit.outcome_with_token("GET", "c/app/f", token).await,
                outcome,
                "{level}"
            );
        }
    }
}

#[tokio::test]
async fn refresh_token_of_an_app_needs_authentication_as_that_app() {
    let unit = unit_with_accounts(|_| {}).await;
    let app = cell_url("appcell");
    let secret = unit.assertion(by_app);
    let response =
        login_with_client(&unit, &[("client_id", &app), ("client_secret", &secret)]).await;
    let refresh = text_member(&response.json(), "refresh_token");
    let base = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let bare = unit.request_token("c", &base).await;
    assert_eq!(
        (bare.status.as_u16(), oauth_error(&bare)),
        (401, "invalid_client AN-0021".to_owned())
    );
    assert!(
        bare.header("www-authenticate")
            .unwrap()
            .starts_with("Basic realm=")
    );
    let (other_id, other) = (cell_url("d"), unit.assertion(|_| {}));
    let mut fields = base.to_vec();
    fields.extend([("client_id", other_id.as_str()), ("client_secret", &other)]);
    let response = unit.request_token("c", &fields).await;
    assert_eq!(
        (response.status.as_u16(), oauth_error(&response)),
        (401, "invalid_client AN-0020".to_owned())
    );
    assert!(response.header("www-authenticate").is_none());
    let mut fields = base.to_vec();
    fields.extend([("client_id", app.as_str()), ("client_secret", &secret)]);
    assert_eq!(unit.request_token("c", &fields).await.status, 200);
}

#[tokio::test]
async fn introspection_by_an_app_shows_only_its_own_tokens() {
    let unit = unit_with_accounts(|s| {
        let password = personium_types::Secret::new("introspector".to_owned());
        s.auth.introspection_credential = Some(("inspector".to_owned(), password));
    })
    .await;
    let app = cell_url("appcell");
    let secret = unit.assertion(by_app);
    let of_app = login_with_client(&unit, &[("client_id", &app), ("client_secret", &secret)]).await;
    let of_app = text_member(&of_app.json(), "access_token");
    let plain = unit.access_token("c").await;
    let request = async |authorization: Option<&str>, token: &str| {
        let mut request = unit.request("POST", "c/__introspect");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.body(encode_form(&[("token", token)])).send().await
    };
    let basic = |id: &str, secret: &str| {
        let id = escape(id);
        format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
    };
    let anonymous = request(None, &plain).await;
    assert_eq!(anonymous.outcome(), refused(401, "AU-0001"));
    assert_eq!(
        anonymous.headers.get_all("www-authenticate").iter().count(),
        2
    );
    for bad in [
        "Bearer x",
        "Basic !",
        &basic("inspector", "wrong"),
        &basic(&app, "wrong"),
        &format!("Bearer {plain}"),
    ] {
        assert_eq!(
            request(Some(bad), &plain).await.outcome(),
            refused(403, "AU-0002"),
            "{bad}"
        );
    }
    let active = async |who: &str, token: &str| {
        let response = request(Some(who), token).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["active"].as_bool().unwrap()
    };
    let kept = unit.assertion(by_confidential_app);
    let of_kept = login_with_client(&unit, &[("client_id", &app), ("client_secret", &kept)]).await;
    let of_kept = text_member(&of_kept.json(), "access_token");
    for (secret, own, sees_kept) in [(&secret, &of_app, false), (&kept, &of_kept, true)] {
        for who in [basic(&app, secret), format!("Bearer {own}")] {
            assert!(active(&who, &of_app).await);
            assert!(!active(&who, &plain).await);
            assert_eq!(
                active(&who, &of_kept).await,
                sees_kept,
                "{who:.12} {sees_kept}"
            );
        }
    }
    for (secret, token, expected) in [
        (secret.as_str(), &of_app, Ok(true)),
        (secret.as_str(), &plain, Ok(false)),
        ("wrong", &of_app, Err(refused(403, "AU-0002"))),
    ] {
        let by_form = [
            ("client_id", app.as_str()),
            ("client_secret", secret),
            ("token", token),
        ];
        let request = unit
            .request("POST", "c/__introspect")
            .body(encode_form(&by_form));
        let response = request.send().await;
        let found = match response.status.as_u16() {
            200 => Ok(response.json()["active"].as_bool().unwrap()),
            _ => Err(response.outcome()),
        };
        assert_eq!(found, expected);
    }
    for who in [
        basic("inspector", "introspector"),
        "Bearer master".to_owned(),
    ] {
        assert!(active(&who, &of_app).await && active(&who, &plain).await);
        for none in ["", "x", "AR~x", &unit.access_token("d").await] {
            assert!(!active(&who, none).await, "{none}");
        }
    }
    let body = request(Some("Bearer master"), &of_app).await.json();
    assert_eq!(text_member(&body, "sub"), cell_url("c") + "#me");
    assert_eq!(text_member(&body, "client_id"), app);
    assert_eq!(text_member(&body, "iss"), cell_url("c"));
}

#[tokio::test]
async fn what_is_moved_or_removed_requires_its_own_schema_level() {
    let unit = unit_with_accounts(|_| {}).await;
    let everybody = personium_testkit::everybody_ace(&["D:all"]);
    unit.set_acl("c/app", &everybody).await;
    let app = cell_url("appcell");
    let token = async |id: &str, secret: &str| {
        let fields = [("client_id", id), ("client_secret", secret)];
        text_member(
            &login_with_client(&unit, &fields).await.json(),
            "access_token",
        )
    };
    let plain = unit.access_token("c").await;
    let public = token(&app, &unit.assertion(by_app)).await;
    let confidential = token(&app, &unit.assertion(by_confidential_app)).await;
    let send = async |method: &str, from: &str, token: &str| {
        let request = unit.request(method, from).bearer(token);
        let request = request.header("destination", "http://unit.example/c/app/moved");
        request.send().await.outcome()
    };
    unit.create_collection("c/app/strict", "").await;
    unit.create_collection("c/app/free", "").await;
    let level = "p:requireSchemaAuthz='confidential'";
    unit.set_acl_with("c/app/strict", level, &everybody).await;
    let (other, low) = (refused(403, "AU-0005"), refused(403, "AU-0006"));
    for (token, outcome) in [(&plain, other), (&public, low)] {
        for method in ["MOVE", "DELETE", "PROPFIND"] {
            let sent = send(method, "c/app/strict", token).await;
            assert_eq!(sent, outcome, "{method}");
        }
    }
    let moved = send("MOVE", "c/app/strict", &confidential).await;
    assert_eq!(moved, success(201));
    let removed = send("DELETE", "c/app/moved", &confidential).await;
    assert_eq!(removed, success(204));
    // One without a level of its own asks for none.
    assert_eq!(send("MOVE", "c/app/free", &plain).await, success(201));
    assert_eq!(send("DELETE", "c/app/moved", &plain).await, success(204));
}
