//! Endpoints that are decided by what the request proves. Their own tests know every way to fail; here stands who gets
//! in at all, and that whoever does not changes nothing.

use super::callers::{Fixture, ace};
use crate::auth::{PASSWORD, cell_url, form};
use crate::harness::{Reply, done, refused};
use personium_types::Privilege as P;

async fn post(
    fixture: &Fixture,
    path: &str,
    authorization: &str,
    fields: &[(&str, &str)],
) -> Reply {
    let mut ask = fixture.world.anybody("POST", path);
    if !authorization.is_empty() {
        ask = ask.with("authorization", authorization);
    }
    ask.text(&form(fields)).send().await
}

#[tokio::test]
async fn a_token_is_given_for_a_password_and_not_for_another_token() {
    let fixture = Fixture::new().await;
    let token = fixture.login("c", "exact", &[]).await;
    let right = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", PASSWORD),
    ];
    assert_eq!(post(&fixture, "c/__token", "", &right).await.status, 200);
    let before = fixture.everything().await;
    for (authorization, fields, status) in [
        (
            String::new(),
            &[("grant_type", "password"), ("username", "exact")][..],
            400,
        ),
        (format!("Bearer {token}"), &right[..], 400),
        (
            String::new(),
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", token.as_str()),
            ],
            400,
        ),
        (
            String::new(),
            &[
                ("grant_type", "authorization_code"),
                ("code", token.as_str()),
            ],
            400,
        ),
        (String::new(), &[("grant_type", "client_credentials")], 400),
    ] {
        let reply = post(&fixture, "c/__token", &authorization, fields).await;
        assert_eq!(reply.status, status, "{fields:?}: {}", reply.text());
        assert!(!reply.text().contains("access_token"), "{fields:?}");
    }
    assert_eq!(before, fixture.everything().await);
}

#[tokio::test]
async fn an_app_gets_a_code_for_who_logs_in_and_for_nobody_else() {
    let fixture = Fixture::new().await;
    let token = fixture.login("c", "exact", &[]).await;
    let (app, back) = (cell_url("appcell"), cell_url("appcell") + "back");
    let base = [
        ("response_type", "code"),
        ("client_id", app.as_str()),
        ("redirect_uri", back.as_str()),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    let location = |reply: &Reply| reply.header("location").unwrap_or_default().to_owned();
    let reply = post(
        &fixture,
        "c/__authz",
        "",
        &with(&[("username", "exact"), ("password", PASSWORD)]),
    )
    .await;
    assert!(
        location(&reply).starts_with(&format!("{back}?")),
        "{}",
        location(&reply)
    );
    let before = fixture.everything().await;
    for fields in [with(&[]), with(&[("username", "exact")])] {
        // A token in the header is no login here.
        let reply = post(&fixture, "c/__authz", &format!("Bearer {token}"), &fields).await;
        assert_eq!(reply.status, 303);
        assert!(
            location(&reply).starts_with("http://unit.example/c/__authz?"),
            "{}",
            location(&reply)
        );
        assert!(!location(&reply).contains("GC~"));
    }
    let page = fixture
        .world
        .anybody("GET", &format!("c/__authz?{}", form(&base)))
        .send()
        .await;
    assert!(
        page.status == 200 && page.text().contains("<form"),
        "{}",
        page.text()
    );
    assert_eq!(before, fixture.everything().await);
}

#[tokio::test]
async fn introspection_is_for_those_who_may_see_the_token() {
    let fixture = Fixture::new().await;
    let token = fixture.login("c", "exact", &[]).await;
    let fields = [("token", token.as_str())];
    fixture.world.set_acl("c", &ace("exact", &[P::Root])).await;
    let unit_user = fixture.world.trans_to_unit("d").await;
    for (authorization, outcome) in [
        (String::new(), refused(401, "AU-0001")),
        (format!("Bearer {token}"), refused(403, "AU-0002")),
        ("Bearer AR~nonsense".to_owned(), refused(403, "AU-0002")),
        (
            "Basic ZXhhY3Q6cGFzc3dvcmQx".to_owned(),
            refused(403, "AU-0002"),
        ),
        (
            format!("Bearer {}", fixture.world.access("d").await),
            refused(403, "AU-0002"),
        ),
        (format!("Bearer {unit_user}"), refused(403, "AU-0002")),
        ("Bearer master".to_owned(), done(200)),
    ] {
        let reply = post(&fixture, "c/__introspect", &authorization, &fields).await;
        assert_eq!(reply.outcome(), outcome, "{authorization}");
        if reply.status == 200 {
            assert_eq!(reply.json()["active"], true);
            assert_eq!(reply.json()["sub"], "http://unit.example/c/#exact");
        }
    }
}

#[tokio::test]
async fn a_password_is_changed_by_its_account_alone() {
    let fixture = Fixture::new().await;
    let world = &fixture.world;
    world.set_acl("c", &ace("exact", &[P::Root])).await;
    let token = fixture.login("c", "exact", &[]).await;
    let narrow = fixture
        .login("c", "exact", &[("scope", "root-read auth-read message")])
        .await;
    let before = fixture.everything().await;
    let change = async |authorization: &str| {
        let ask = world
            .anybody("PUT", "c/__mypassword")
            .with("x-personium-credential", "password2");
        let ask = match authorization {
            "" => ask,
            value => ask.with("authorization", value),
        };
        ask.send().await.outcome()
    };
    for (authorization, outcome) in [
        (String::new(), refused(401, "AU-0001")),
        (
            "Basic ZXhhY3Q6cGFzc3dvcmQx".to_owned(),
            refused(401, "AU-0001"),
        ),
        ("Bearer AR~nonsense".to_owned(), refused(401, "AU-0006")),
        ("Bearer master".to_owned(), refused(403, "AU-0002")),
        (
            format!("Bearer {}", world.trans("d", "c").await),
            refused(403, "AU-0002"),
        ),
        (
            format!("Bearer {}", world.trans_to_unit("d").await),
            refused(403, "AU-0002"),
        ),
        (
            format!("Bearer {}", world.access("d").await),
            refused(401, "AU-0006"),
        ),
        (format!("Bearer {narrow}"), refused(403, "AU-0007")),
    ] {
        assert_eq!(change(&authorization).await, outcome, "{authorization}");
    }
    assert_eq!(before, fixture.everything().await);
    assert_eq!(change(&format!("Bearer {token}")).await, done(204));
    let old = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", PASSWORD),
    ];
    let new = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", "password2"),
    ];
    assert_eq!(world.token("c", &old).await.status, 400);
    assert_eq!(world.token("c", &new).await.status, 200);
}
