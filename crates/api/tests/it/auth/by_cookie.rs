//! Applications that log in whoever has a cookie of the cell already.

use super::authorize::{asked, body, post, redeem, told, with_login};
use super::{PASSWORD, cell_url, text, world};
use crate::harness::{Reply, World};

/// The cookie that an answer of the token endpoint sets.
fn cookie(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let set = reply.header("set-cookie").unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// The cookie of `me` after a login in which no application had a part.
async fn own_cookie(world: &World, more: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
        ("p_cookie", "true"),
    ];
    fields.extend(more);
    cookie(&world.token("c", &fields).await)
}

/// The authorization endpoint, asked by a browser that has this cookie.
async fn ask(
    world: &World,
    method: &str,
    fields: &[(&'static str, String)],
    cookie: &str,
) -> Reply {
    let query = body(fields);
    let (path, body) = match method {
        "GET" => (format!("c/__authz?{query}"), String::new()),
        _ => ("c/__authz".to_owned(), query),
    };
    let ask = world.anybody(method, &path).with("cookie", cookie);
    ask.text(&body).send().await
}

/// The request of an application that has no box in the cell.
fn asked_by_stranger(kind: &'static str) -> Vec<(&'static str, String)> {
    let mut fields = asked(kind);
    fields[1].1 = cell_url("d");
    fields[2].1 = cell_url("d") + "__/back";
    fields
}

#[tokio::test]
async fn the_token_of_an_application_logs_in_no_application() {
    let world = world(|_| {}).await;
    let mut fields = with_login(asked("code"));
    fields.push(("scope", "message-read".to_owned()));
    let code = told(&post(&world, &fields).await, "code").unwrap();
    let with_cookie = [("p_cookie", "true")];
    let first = redeem(&world, &code, &with_cookie).await;
    let (app, secret) = (cell_url("appcell"), super::authorize::secret(&world));
    let refresh = text(&first.json(), "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
        ("client_id", app.as_str()),
        ("client_secret", secret.as_str()),
        ("p_cookie", "true"),
    ];
    let second = world.token("c", &fields).await;
    for narrow in [cookie(&first), cookie(&second)] {
        for request in [asked("code"), asked("token"), asked_by_stranger("token")] {
            let reply = ask(&world, "GET", &request, &narrow).await;
            assert_eq!(reply.status, 200, "the form: {}", reply.text());
            let reply = ask(&world, "POST", &request, &narrow).await;
            assert_eq!(told(&reply, "code").as_deref(), Some("PS-AU-0002"));
            assert_eq!(told(&reply, "access_token"), None);
        }
    }
    let own = own_cookie(&world, &[]).await;
    let reply = ask(&world, "GET", &asked("token"), &own).await;
    assert!(told(&reply, "access_token").unwrap().starts_with("AR~"));
}

#[tokio::test]
async fn a_cookie_gives_no_more_than_its_own_token_may() {
    let world = world(|_| {}).await;
    let narrow = own_cookie(&world, &[("scope", "message-read")]).await;
    let wide = own_cookie(&world, &[]).await;
    for (cookie, wanted, granted) in [
        (&narrow, "", None),
        (&narrow, "root", None),
        (
            &narrow,
            "openid message-read auth",
            Some("openid message-read"),
        ),
        (&wide, "", Some("root")),
        (&wide, "auth-read", Some("auth-read")),
    ] {
        for method in ["GET", "POST"] {
            let mut fields = asked("code");
            fields.push(("scope", wanted.to_owned()));
            let code = told(&ask(&world, method, &fields, cookie).await, "code").unwrap();
            let body = redeem(&world, &code, &[]).await.json();
            assert_eq!(body["scope"].as_str(), granted, "{wanted}");
        }
    }
}

#[tokio::test]
async fn a_link_logs_nobody_in_for_a_stranger() {
    let world = world(|_| {}).await;
    let cookie = own_cookie(&world, &[]).await;
    for kind in ["token", "code"] {
        let reply = ask(&world, "GET", &asked_by_stranger(kind), &cookie).await;
        assert_eq!(reply.status, 200, "the form: {:?}", reply.headers);
        assert!(reply.text().contains("<form"), "{}", reply.text());
        // Who wants to gets in from the form, and where the application is installed.
        for reply in [
            ask(&world, "POST", &asked_by_stranger(kind), &cookie).await,
            ask(&world, "GET", &asked(kind), &cookie).await,
        ] {
            assert!(
                told(&reply, "access_token")
                    .or(told(&reply, "code"))
                    .is_some_and(|it| it.contains('~'))
            );
        }
    }
}

#[tokio::test]
async fn which_roles_there_are_is_told_after_the_login() {
    let world = world(|_| {}).await;
    world.make("c/__ctl/Role", r#"{"Name":"known"}"#).await;
    for (role, logged_in) in [("known", 303), ("none", 400)] {
        let mut fields = asked("code");
        let url = format!("{}__role/__/{role}", cell_url("c"));
        fields.push(("scope", url));
        let form = super::authorize::get(&world, &fields).await;
        assert_eq!(form.status, 200, "{}", form.text());
        let mut wrong = fields.clone();
        wrong.push(("username", "me".to_owned()));
        wrong.push(("password", "wrong1".to_owned()));
        let again = post(&world, &wrong).await;
        assert_eq!(told(&again, "code").as_deref(), Some("PS-AU-0004"));
        let reply = post(&world, &with_login(fields)).await;
        assert_eq!(reply.status, logged_in, "{}", reply.text());
    }
}
