//! Name and password, or a cookie, instead of a token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{PASSWORD, cell_url, form, text, world};
use crate::harness::{World, done, refused};

async fn with_basic(world: &World, path: &str, pair: &str) -> (u16, String) {
    let value = format!("Basic {}", STANDARD.encode(pair));
    let ask = world.anybody("GET", path).with("authorization", &value);
    ask.send().await.outcome()
}

async fn readable(world: &World, path: &str) {
    world.make("c/__ctl/Role", r#"{"Name":"reader"}"#).await;
    let link = format!("{{\"uri\":\"{}__ctl/Role('reader')\"}}", cell_url("c"));
    let links = world.ask("POST", "c/__ctl/Account('me')/$links/_Role");
    assert_eq!(links.text(&link).send().await.status, 204);
    let ace = format!(
        "<D:ace><D:principal><D:href>{}__role/__/reader</D:href></D:principal>\
         <D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>",
        cell_url("c")
    );
    world.set_acl(path, &ace).await;
}

#[tokio::test]
async fn a_password_opens_boxes_without_an_app() {
    let world = world(|_| {}).await;
    world.put("c/b/f", "x").await;
    readable(&world, "c/b").await;
    let good = format!("me:{PASSWORD}");
    assert_eq!(with_basic(&world, "c/b/f", &good).await, done(200));
    for bad in ["me:wrong1", "nobody:password1", "me:"] {
        assert_eq!(
            with_basic(&world, "c/b/f", bad).await,
            refused(401, "AU-0011")
        );
    }
    assert_eq!(
        with_basic(&world, "c/__ctl/Role", &good).await,
        refused(401, "AU-0001")
    );
    assert_eq!(
        with_basic(&world, "__ctl/Cell", &good).await,
        refused(401, "AU-0011")
    );
}

#[tokio::test]
async fn a_password_does_not_open_the_box_of_an_app() {
    let world = world(|_| {}).await;
    world.put("c/app/f", "x").await;
    readable(&world, "c/app").await;
    let good = format!("me:{PASSWORD}");
    assert_eq!(
        with_basic(&world, "c/app/f", &good).await,
        refused(401, "AU-0001")
    );
    let token = world.access("c").await;
    assert_eq!(world.with_token("GET", "c/app/f", &token).await, done(200));
}

#[tokio::test]
async fn guessing_by_basic_locks_too() {
    let world = world(|s| {
        s.auth.lock_count = 3;
        s.auth.lock_seconds = 60;
    })
    .await;
    for _ in 0..3 {
        assert_eq!(
            with_basic(&world, "c/b/", "me:wrong1").await,
            refused(401, "AU-0011")
        );
    }
    let good = format!("me:{PASSWORD}");
    assert_eq!(
        with_basic(&world, "c/b/", &good).await,
        refused(401, "AU-0010")
    );
}

#[tokio::test]
async fn a_cookie_counts_only_with_its_peer() {
    let world = world(|_| {}).await;
    world.put("c/b/f", "x").await;
    readable(&world, "c/b").await;
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
        ("p_cookie", "true"),
    ];
    let reply = world.token("c", &fields).await;
    let set = reply.header("set-cookie").unwrap();
    assert!(
        set.ends_with(";Version=0;Comment=;Domain=unit.example;Path=/c/"),
        "{set}"
    );
    let cookie = set.split(';').next().unwrap().to_owned();
    let peer = text(&reply.json(), "p_cookie_peer");
    let get = async |query: &str, cookie: Option<&str>, authorization: Option<&str>| {
        let mut ask = world.anybody("GET", &format!("c/b/f{query}"));
        if let Some(cookie) = cookie {
            ask = ask.with("cookie", cookie);
        }
        if let Some(value) = authorization {
            ask = ask.with("authorization", value);
        }
        ask.send().await.outcome()
    };
    let query = format!("?p_cookie_peer={peer}");
    let cookie = Some(cookie.as_str());
    assert_eq!(get(&query, cookie, None).await, done(200));
    assert_eq!(get("", cookie, None).await, refused(401, "AU-0001"));
    assert_eq!(
        get("?p_cookie_peer=", cookie, None).await,
        refused(401, "AU-0001")
    );
    assert_eq!(
        get("?p_cookie_peer=x", cookie, None).await,
        refused(401, "AU-0009")
    );
    assert_eq!(get(&query, None, None).await, refused(401, "AU-0009"));
    assert_eq!(
        get(&query, Some("p_cookie=x"), None).await,
        refused(401, "AU-0009")
    );
    assert_eq!(
        get(&query, cookie, Some("Bearer x")).await,
        refused(401, "AU-0006")
    );
}

#[tokio::test]
async fn an_access_token_is_no_cookie() {
    let world = world(|_| {}).await;
    world.put("c/b/f", "x").await;
    let token = world.access("c").await;
    let ask = world.anybody("GET", "c/b/f?p_cookie_peer=x");
    let reply = ask
        .with("cookie", &format!("p_cookie={token}"))
        .send()
        .await;
    assert_eq!(reply.outcome(), refused(401, "AU-0009"));
}

#[tokio::test]
async fn a_changed_password_counts_at_once() {
    let world = world(|_| {}).await;
    world.put("c/b/f", "x").await;
    readable(&world, "c/b").await;
    let good = format!("me:{PASSWORD}");
    for _ in 0..2 {
        assert_eq!(with_basic(&world, "c/b/f", &good).await, done(200));
    }
    let merge = world.ask("MERGE", "c/__ctl/Account('me')");
    let merge = merge.with("x-personium-credential", "password2").text("{}");
    assert_eq!(merge.send().await.status, 204);
    assert_eq!(
        with_basic(&world, "c/b/f", &good).await,
        refused(401, "AU-0011")
    );
    assert_eq!(with_basic(&world, "c/b/f", "me:password2").await, done(200));
}

#[tokio::test]
async fn a_password_opens_nothing_for_an_account_that_may_not_log_in_here() {
    let world = world(|_| {}).await;
    world.put("c/b/f", "x").await;
    readable(&world, "c/b").await;
    let (good, bad) = (done(200), refused(401, "AU-0011"));
    for (change, address, outcome) in [
        (r#"{"Status":"active"}"#, "10.0.0.1", &good),
        (r#"{"Status":"deactivated"}"#, "10.0.0.1", &bad),
        (r#"{"Status":"passwordChangeRequired"}"#, "10.0.0.1", &bad),
        (
            r#"{"Status":"active","IPAddressRange":"10.0.0.0/24"}"#,
            "10.0.0.1",
            &good,
        ),
        (r#"{"IPAddressRange":"10.0.0.0/24"}"#, "10.0.1.1", &bad),
    ] {
        let merged = world
            .ask("MERGE", "c/__ctl/Account('me')")
            .with("if-match", "*")
            .text(change)
            .send()
            .await;
        assert_eq!(merged.status, 204, "{}", merged.text());
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{PASSWORD}"));
        let ask = world
            .anybody("GET", "c/b/f")
            .with("authorization", &format!("Basic {pair}"));
        let found = ask.with("x-forwarded-for", address).send().await.outcome();
        assert_eq!(found, *outcome, "{change} from {address}");
    }
}

#[tokio::test]
async fn over_https_a_cookie_is_for_its_cell_and_kept_from_scripts() {
    for (path_based, cell, host, domain, path) in [
        (true, "c/", "unit.example", "unit.example", "/c/"),
        (false, "", "c.unit.example", "c.unit.example", "/"),
    ] {
        let world = World::secure(path_based);
        world.make("__ctl/Cell", r#"{"Name":"c"}"#).await;
        let account = world
            .ask("POST", &format!("{cell}__ctl/Account"))
            .with("x-forwarded-host", host)
            .with("x-personium-credential", PASSWORD);
        let made = account.text(r#"{"Name":"me"}"#).send().await;
        assert_eq!(made.status, 201, "{}", made.text());
        let fields = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", PASSWORD),
            ("p_cookie", "true"),
        ];
        let ask = world
            .anybody("POST", &format!("{cell}__token"))
            .with("x-forwarded-host", host);
        let reply = ask.text(&form(&fields)).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies.len(), 1);
        let mut parts = reply.header("set-cookie").unwrap().split(';');
        assert!(parts.next().unwrap().starts_with("p_cookie="));
        let attributes: std::collections::BTreeSet<&str> = parts.collect();
        let (domain, path) = (format!("Domain={domain}"), format!("Path={path}"));
        let wanted = [
            "Secure",
            "HttpOnly",
            "SameSite=None",
            "Version=0",
            "Comment=",
            &domain,
            &path,
        ];
        assert_eq!(
            attributes,
            wanted.into_iter().collect(),
            "path based: {path_based}"
        );
    }
}
