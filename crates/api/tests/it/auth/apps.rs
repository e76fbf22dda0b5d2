//! Applications that prove themselves, and those that only say who they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_token::role_url::RoleUrl;
use personium_token::saml::TransCellToken;

use super::{PASSWORD, cell_url, form, oauth, text, world};
use crate::harness::{World, done, refused};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";

fn by_app(token: &mut TransCellToken) {
    token.issuer = cell_url("appcell");
    token.subject = cell_url("appcell") + "#me";
}

fn by_confidential_app(token: &mut TransCellToken) {
    by_app(token);
    token.roles = vec![RoleUrl::class(&cell_url("appcell"), "confidentialClient").to_string()];
}

async fn with_client(world: &World, more: &[(&str, &str)]) -> crate::harness::Reply {
    let mut fields = vec![
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    fields.extend(more);
    world.token("c", &fields).await
}

#[tokio::test]
async fn an_app_proves_itself_with_a_token_of_its_own_cell_for_this_one() {
    let world = world(|_| {}).await;
    let app = cell_url("appcell");
    let good = world.signed(by_app);
    let reply = with_client(&world, &[("client_id", &app), ("client_secret", &good)]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let others = world.signed(|_| {});
    let elsewhere = world.signed(|t| {
        by_app(t);
        t.target = cell_url("d");
    });
    let old = world.signed(|t| {
        by_app(t);
        t.issued_at -= t.lifespan + 1_000;
    });
    let evil = personium_model::auth::UnitKeys::self_signed(
        "evil.example",
        "a secret of somebody else",
        1_700_000_000_000,
    )
    .unwrap();
    let forged = world.signed_by(&evil.signing, by_app);
    for (secret, error) in [
        ("", "invalid_client AN-0003"),
        ("x", "invalid_client AN-0003"),
        (others.as_str(), "invalid_client AN-0006"),
        (elsewhere.as_str(), "invalid_client AN-0007"),
        (old.as_str(), "invalid_client AN-0004"),
        (forged.as_str(), "invalid_grant AN-0011"),
    ] {
        let fields = [("client_id", app.as_str()), ("client_secret", secret)];
        assert_eq!(oauth(&with_client(&world, &fields).await), error);
    }
}

#[tokio::test]
async fn who_an_app_says_it_is_counts_only_with_its_proof() {
    let world = world(|_| {}).await;
    let good = world.signed(by_app);
    let basic = |id: &str| {
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        format!("Basic {}", STANDARD.encode(format!("{id}:{good}")))
    };
    let login = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    let ask = async |value: &str| {
        let ask = world
            .anybody("POST", "c/__token")
            .with("authorization", value);
        ask.text(&form(&login)).send().await
    };
    assert_eq!(ask(&basic(&cell_url("appcell"))).await.status, 200);
    assert_eq!(
        oauth(&ask(&basic(&cell_url("d"))).await),
        "invalid_client AN-0006"
    );
    assert_eq!(oauth(&ask("Bearer x").await), "invalid_client AN-0018");
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
        assert_eq!(oauth(&with_client(&world, fields).await), error);
    }
    let full = [
        ("client_assertion_type", ASSERTION),
        ("client_assertion", good.as_str()),
        ("client_id", app.as_str()),
    ];
    assert_eq!(with_client(&world, &full).await.status, 200);
}

#[tokio::test]
async fn the_level_of_a_box_asks_for_the_right_app() {
    let world = world(|_| {}).await;
    world.put("c/app/f", "x").await;
    let acl = |level: &str| {
        crate::harness::acl_body(
            &format!("p:requireSchemaAuthz='{level}'"),
            "<D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:read/>\
             </D:privilege></D:grant></D:ace>",
        )
    };
    let app = cell_url("appcell");
    let public = world.signed(by_app);
    let confidential = world.signed(by_confidential_app);
    let not_theirs = world.signed(|t| {
        by_app(t);
        t.roles = vec![RoleUrl::class(&cell_url("d"), "confidentialClient").to_string()];
    });
    let token = async |id: &str, secret: &str| {
        let fields = [("client_id", id), ("client_secret", secret)];
        text(&with_client(&world, &fields).await.json(), "access_token")
    };
    let tokens = [
        world.access("c").await,
        token(&cell_url("d"), &world.signed(|_| {})).await,
        token(&app, &public).await,
        token(&app, &not_theirs).await,
        token(&app, &confidential).await,
    ];
    let (other, low) = (refused(403, "AU-0005"), refused(403, "AU-0006"));
    for (level, outcomes) in [
        (
            "none",
            [done(200), done(200), done(200), done(200), done(200)],
        ),
        (
            "public",
            [
                other.clone(),
                other.clone(),
                done(200),
                done(200),
                done(200),
            ],
        ),
        (
            "confidential",
            [other.clone(), other, low.clone(), low, done(200)],
        ),
    ] {
        let set = world.ask("ACL", "c/app").text(&acl(level)).send().await;
        assert_eq!(set.status, 200, "{}", set.text());
        for (token, outcome) in tokens.iter().zip(outcomes) {
            assert_eq!(
                world.with_token("GET", "c/app/f", token).await,
                outcome,
                "{level}"
            );
        }
    }
}

#[tokio::test]
async fn a_refresh_token_belongs_to_its_app() {
    let world = world(|_| {}).await;
    let app = cell_url("appcell");
    let secret = world.signed(by_app);
    let reply = with_client(&world, &[("client_id", &app), ("client_secret", &secret)]).await;
    let refresh = text(&reply.json(), "refresh_token");
    let base = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let bare = world.token("c", &base).await;
    assert_eq!(
        (bare.status.as_u16(), oauth(&bare)),
        (401, "invalid_client AN-0021".to_owned())
    );
    assert!(
        bare.header("www-authenticate")
            .unwrap()
            .starts_with("Basic realm=")
    );
    let (other_id, other) = (cell_url("d"), world.signed(|_| {}));
    let mut fields = base.to_vec();
    fields.extend([("client_id", other_id.as_str()), ("client_secret", &other)]);
    let reply = world.token("c", &fields).await;
    assert_eq!(
        (reply.status.as_u16(), oauth(&reply)),
        (401, "invalid_client AN-0020".to_owned())
    );
    assert!(reply.header("www-authenticate").is_none());
    let mut fields = base.to_vec();
    fields.extend([("client_id", app.as_str()), ("client_secret", &secret)]);
    assert_eq!(world.token("c", &fields).await.status, 200);
}

#[tokio::test]
async fn introspection_shows_an_app_its_own_tokens_only() {
    let world = world(|s| {
        let password = personium_types::Secret::new("introspector".to_owned());
        s.auth.introspect = Some(("inspector".to_owned(), password));
    })
    .await;
    let app = cell_url("appcell");
    let secret = world.signed(by_app);
    let of_app = with_client(&world, &[("client_id", &app), ("client_secret", &secret)]).await;
    let of_app = text(&of_app.json(), "access_token");
    let plain = world.access("c").await;
    let ask = async |authorization: Option<&str>, token: &str| {
        let mut ask = world.anybody("POST", "c/__introspect");
        if let Some(value) = authorization {
            ask = ask.with("authorization", value);
        }
        ask.text(&form(&[("token", token)])).send().await
    };
    let basic = |id: &str, secret: &str| {
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
    };
    let anonymous = ask(None, &plain).await;
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
            ask(Some(bad), &plain).await.outcome(),
            refused(403, "AU-0002"),
            "{bad}"
        );
    }
    let active = async |who: &str, token: &str| {
        let reply = ask(Some(who), token).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["active"].as_bool().unwrap()
    };
    let kept = world.signed(by_confidential_app);
    let of_kept = with_client(&world, &[("client_id", &app), ("client_secret", &kept)]).await;
    let of_kept = text(&of_kept.json(), "access_token");
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
        let ask = world
            .anybody("POST", "c/__introspect")
            .text(&form(&by_form));
        let reply = ask.send().await;
        let found = match reply.status.as_u16() {
            200 => Ok(reply.json()["active"].as_bool().unwrap()),
            _ => Err(reply.outcome()),
        };
        assert_eq!(found, expected);
    }
    for who in [
        basic("inspector", "introspector"),
        "Bearer master".to_owned(),
    ] {
        assert!(active(&who, &of_app).await && active(&who, &plain).await);
        for none in ["", "x", "AR~x", &world.access("d").await] {
            assert!(!active(&who, none).await, "{none}");
        }
    }
    let body = ask(Some("Bearer master"), &of_app).await.json();
    assert_eq!(text(&body, "sub"), cell_url("c") + "#me");
    assert_eq!(text(&body, "client_id"), app);
    assert_eq!(text(&body, "iss"), cell_url("c"));
}
