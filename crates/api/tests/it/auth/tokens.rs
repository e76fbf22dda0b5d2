//! Tokens used where, when and how they should not be.

use personium_model::auth::UnitKeys;
use personium_token::local::LocalToken;
use personium_token::random::SystemRandom;
use personium_token::trust::TrustRoots;

use super::{PASSWORD, cell_url, oauth, text, world};
use crate::harness::{World, done, refused};

/// A file that only accounts with the role `reader` may read.
async fn guarded(world: &World) {
    world.make("c/__ctl/Role", r#"{"Name":"reader"}"#).await;
    let link = format!("{{\"uri\":\"{}__ctl/Role('reader')\"}}", cell_url("c"));
    let links = world.ask("POST", "c/__ctl/Account('me')/$links/_Role");
    assert_eq!(links.text(&link).send().await.status, 204);
    world.put("c/b/f", "x").await;
    let ace = format!(
        "<D:ace><D:principal><D:href>{}__role/__/reader</D:href></D:principal>\
         <D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>",
        cell_url("c")
    );
    world.set_acl("c/b", &ace).await;
}

#[tokio::test]
async fn a_token_opens_its_own_cell_and_no_other() {
    let world = world(|_| {}).await;
    guarded(&world).await;
    let (own, other) = (world.access("c").await, world.access("d").await);
    assert_eq!(world.with_token("GET", "c/b/f", &own).await, done(200));
    assert_eq!(
        world.with_token("GET", "c/b/f", &other).await,
        refused(401, "AU-0006")
    );
}

#[tokio::test]
async fn a_token_lasts_to_the_last_millisecond_and_no_longer() {
    let world = world(|_| {}).await;
    guarded(&world).await;
    let keys = &world.unit.keys().local_tokens;
    let real = keys.open(&world.access("c").await, &cell_url("c")).unwrap();
    let made = |age: i64| {
        let token = LocalToken {
            issued_at: world.unit.now_ms() - age,
            ..real.clone()
        };
        world
            .unit
            .keys()
            .local_tokens
            .seal(&token, &mut SystemRandom)
            .unwrap()
    };
    let (fresh, old) = (made(3_599_000), made(3_601_000));
    assert_eq!(world.with_token("GET", "c/b/f", &fresh).await, done(200));
    assert_eq!(
        world.with_token("GET", "c/b/f", &old).await,
        refused(401, "AU-0002")
    );
}

#[tokio::test]
async fn no_kind_of_token_passes_for_another() {
    let world = world(|_| {}).await;
    guarded(&world).await;
    let login = world.login("c", &[]).await;
    let (access, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));
    assert_eq!(
        world.with_token("GET", "c/b/f", &refresh).await,
        refused(401, "AU-0007")
    );
    let swapped = refresh.replacen("RR~", "AR~", 1);
    assert_eq!(
        world.with_token("GET", "c/b/f", &swapped).await,
        refused(401, "AU-0006")
    );
    for (token, error) in [
        (access.as_str(), "invalid_grant AN-0013"),
        (&access.replacen("AR~", "RR~", 1), "invalid_grant AN-0009"),
        ("", "invalid_grant AN-0009"),
        ("RR~", "invalid_grant AN-0009"),
    ] {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        assert_eq!(oauth(&world.token("c", &fields).await), error, "{token}");
    }
    let other = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(
        oauth(&world.token("d", &other).await),
        "invalid_grant AN-0009"
    );
}

#[tokio::test]
async fn one_changed_character_makes_a_token_worthless() {
    let world = world(|_| {}).await;
    guarded(&world).await;
    let token = world.access("c").await;
    for at in (3..token.len()).step_by(7) {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(
            world.with_token("GET", "c/b/f", &changed).await,
            refused(401, "AU-0006"),
            "character {at}"
        );
    }
}

#[tokio::test]
async fn an_unsigned_jwt_is_no_token() {
    let world = world(|_| {}).await;
    guarded(&world).await;
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.";
    assert_eq!(
        world.with_token("GET", "c/b/f", none).await,
        refused(401, "AU-0006")
    );
}

#[tokio::test]
async fn a_bad_token_hurts_only_where_one_is_needed_but_one_of_a_gone_account_always() {
    let world = world(|_| {}).await;
    world.put("c/b/f", "x").await;
    world.grant_all("c/b", &["D:read"]).await;
    assert_eq!(world.with_token("GET", "c/b/f", "AR~x").await, done(200));
    let token = world.access("c").await;
    assert_eq!(world.with_token("GET", "c/b/f", &token).await, done(200));
    assert_eq!(
        world.code("DELETE", "c/__ctl/Account('me')").await,
        done(204)
    );
    let reply = world
        .anybody("GET", "c/b/f")
        .with("authorization", &format!("Bearer {token}"))
        .send()
        .await;
    assert_eq!(reply.outcome(), refused(401, "AU-0001"));
    assert_eq!(
        reply.header("www-authenticate"),
        Some(format!("Bearer realm=\"{}\"", cell_url("c")).as_str())
    );
}

#[tokio::test]
async fn a_role_taken_away_is_gone_at_once() {
    let world = world(|_| {}).await;
    guarded(&world).await;
    let token = world.access("c").await;
    assert_eq!(world.with_token("GET", "c/b/f", &token).await, done(200));
    let link = "c/__ctl/Account('me')/$links/_Role(Name='reader')";
    assert_eq!(world.code("DELETE", link).await, done(204));
    assert_eq!(
        world.with_token("GET", "c/b/f", &token).await,
        refused(403, "AU-0002")
    );
}

#[tokio::test]
async fn an_empty_master_token_is_never_one() {
    let world = World::empty(|s| s.auth.master_token = Some(Default::default()));
    for value in [
        "Bearer ",
        "Bearer",
        "Bearer  ",
        "Bearer null",
        "Bearer \"\"",
    ] {
        let reply = world
            .anybody("GET", "__ctl/Cell")
            .with("authorization", value)
            .send()
            .await;
        assert_eq!(reply.outcome(), refused(401, "AU-0006"), "{value:?}");
    }
    let reply = world.anybody("GET", "__ctl/Cell").send().await;
    assert_eq!(reply.outcome(), refused(401, "AU-0001"));
}

#[tokio::test]
async fn other_schemes_are_told_so() {
    let world = world(|_| {}).await;
    for (value, code) in [
        ("Digest x", "AU-0003"),
        ("Basic !", "AU-0004"),
        ("Basic bm8gY29sb24=", "AU-0004"),
        ("Bearer", "AU-0006"),
    ] {
        let reply = world
            .anybody("GET", "c/__ctl/Role")
            .with("authorization", value)
            .send()
            .await;
        assert_eq!(reply.outcome(), refused(401, code), "{value}");
    }
}

#[tokio::test]
async fn a_changed_password_ends_tokens_only_where_that_is_set() {
    for revokes in [false, true] {
        let world = world(|s| s.auth.revoke_with_account = revokes).await;
        guarded(&world).await;
        let login = world.login("c", &[]).await;
        let (token, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));
        let reply = world
            .anybody("PUT", "c/__mypassword")
            .with("authorization", &format!("Bearer {token}"))
            .with("x-personium-credential", "password2")
            .send()
            .await;
        assert_eq!(reply.status, 204, "{}", reply.text());
        let seen = world.with_token("GET", "c/b/f", &token).await;
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
        ];
        let refreshed = world.token("c", &fields).await;
        if revokes {
            assert_eq!(seen, refused(401, "AU-0002"));
            assert_eq!(oauth(&refreshed), "invalid_grant AN-0010");
        } else {
            assert_eq!(seen, done(200));
            assert_eq!(refreshed.status, 200);
        }
        let old = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", PASSWORD),
        ];
        assert_eq!(
            oauth(&world.token("c", &old).await),
            "invalid_grant AN-0017"
        );
        let new = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", "password2"),
        ];
        let new = world.token("c", &new).await;
        assert_eq!(new.status, 200);
        let token = text(&new.json(), "access_token");
        assert_eq!(world.with_token("GET", "c/b/f", &token).await, done(200));
    }
}

#[tokio::test]
async fn a_deactivated_account_loses_its_tokens_where_that_is_set() {
    let world = world(|s| s.auth.revoke_with_account = true).await;
    guarded(&world).await;
    let token = world.access("c").await;
    let body = r#"{"Status":"deactivated"}"#;
    let merge = world.ask("MERGE", "c/__ctl/Account('me')").text(body);
    assert_eq!(merge.send().await.status, 204);
    assert_eq!(
        world.with_token("GET", "c/b/f", &token).await,
        refused(401, "AU-0002")
    );
}

#[tokio::test]
async fn refresh_tokens_are_reusable_unless_they_rotate() {
    let world = world(|_| {}).await;
    let refresh = text(&world.login("c", &[]).await, "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    for _ in 0..2 {
        assert_eq!(world.token("c", &fields).await.status, 200);
    }
}

#[tokio::test]
async fn a_stolen_refresh_token_ends_its_login_and_no_other() {
    let world = world(|s| s.auth.rotate_refresh = true).await;
    let first = text(&world.login("c", &[]).await, "refresh_token");
    let bystander = text(&world.login("c", &[]).await, "refresh_token");
    let refresh = async |token: &str| {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        world.token("c", &fields).await
    };
    let second = refresh(&first).await;
    assert_eq!(second.status, 200);
    let second = text(&second.json(), "refresh_token");
    let third = text(&refresh(&second).await.json(), "refresh_token");
    assert_eq!(oauth(&refresh(&first).await), "invalid_grant AN-0010");
    assert_eq!(oauth(&refresh(&third).await), "invalid_grant AN-0010");
    assert_eq!(refresh(&bystander).await.status, 200);
    world.later(3 * 86_400_000);
    let next = text(&world.login("c", &[]).await, "refresh_token");
    assert_eq!(refresh(&next).await.status, 200);
    let kept = world.keys(b"T").await.len();
    assert_eq!(kept, 1, "what is long over is swept");
}

#[tokio::test]
async fn who_trusts_nobody_believes_no_token_of_other_cells() {
    let secret = "another secret of these tests";
    let now = 1_700_000_000_000;
    let mut keys = UnitKeys::self_signed("unit.example", secret, now).unwrap();
    keys.trust_roots = TrustRoots::none();
    let world = World::empty_with(keys.into(), |_| {});
    world.make("__ctl/Cell", r#"{"Name":"c"}"#).await;
    let token = world.signed(|_| {});
    assert_eq!(
        world.with_token("GET", "c/__ctl/Role", &token).await,
        refused(401, "AU-0008")
    );
}
