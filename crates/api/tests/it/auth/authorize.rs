//! Logging in for an application, in a browser.

use personium_token::jwt::JwkSet;
use personium_token::local::{Cookie, LocalKind};
use personium_token::random::SystemRandom;

use super::{PASSWORD, cell_url, form, oauth, text, world};
use crate::harness::{Reply, World, refused};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) fn asked(kind: &'static str) -> Vec<(&'static str, String)> {
    vec![
        ("response_type", kind.to_owned()),
        ("client_id", cell_url("appcell")),
        ("redirect_uri", cell_url("appcell") + "__/back"),
        ("state", "s t&a=te".to_owned()),
    ]
}

pub(super) fn body(fields: &[(&str, String)]) -> String {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    form(&fields)
}

pub(super) async fn post(world: &World, fields: &[(&str, String)]) -> Reply {
    world
        .anybody("POST", "c/__authz")
        .text(&body(fields))
        .send()
        .await
}

pub(super) async fn get(world: &World, fields: &[(&str, String)]) -> Reply {
    let path = format!("c/__authz?{}", body(fields));
    world.anybody("GET", &path).send().await
}

pub(super) fn with_login(mut fields: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    fields.push(("username", "me".to_owned()));
    fields.push(("password", PASSWORD.to_owned()));
    fields
}

fn location(reply: &Reply) -> &str {
    assert_eq!(reply.status, 303, "{}", reply.text());
    reply.header("location").unwrap()
}

/// A parameter of the URL in `Location`.
pub(super) fn told(reply: &Reply, name: &str) -> Option<String> {
    let url = location(reply);
    let parameters = url.split_once(['?', '#'])?.1;
    url::form_urlencoded::parse(parameters.as_bytes())
        .find(|(n, _)| n == name)
        .map(|(_, v)| v.into_owned())
}

pub(super) fn secret(world: &World) -> String {
    world.signed(|t| {
        t.issuer = cell_url("appcell");
        t.subject = cell_url("appcell") + "#me";
    })
}

pub(super) async fn redeem(world: &World, code: &str, more: &[(&str, &str)]) -> Reply {
    let (app, secret) = (cell_url("appcell"), secret(world));
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", app.as_str()),
        ("client_secret", secret.as_str()),
    ];
    fields.extend(more);
    world.token("c", &fields).await
}

#[tokio::test]
async fn the_form_cannot_be_framed_scripted_or_filled_with_foreign_text() {
    let world = world(|_| {}).await;
    let mut fields = asked("code");
    fields.push(("error_description", "<script>alert(1)</script>".to_owned()));
    fields.push(("code", "PS-AU-0004".to_owned()));
    fields[3].1 = "\"><script>alert(2)</script>".to_owned();
    let reply = get(&world, &fields).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        Some("text/html;charset=UTF-8")
    );
    let policy = reply.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains("script-src"),
        "{policy}"
    );
    assert_eq!(reply.header("x-frame-options"), Some("DENY"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let page = reply.text();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("role=\"alert\""));
    let escaped = "value=\"&quot;&gt;&lt;script&gt;alert(2)&lt;/script&gt;\"";
    assert!(page.contains(escaped), "{page}");
    for label in ["username", "password"] {
        assert!(page.contains(&format!("<label for=\"{label}\">")), "{page}");
    }
    let path = format!("c/__authz?{}", body(&asked("code")));
    let japanese = world
        .anybody("GET", &path)
        .with("accept-language", "fr, ja;q=0.9, en;q=0.8");
    assert!(japanese.send().await.text().contains("<html lang=\"ja\">"));
}

#[tokio::test]
async fn a_code_comes_back_with_the_state_and_is_redeemed_by_the_app() {
    let world = world(|_| {}).await;
    let mut fields = with_login(asked("code"));
    fields.push(("scope", "openid".to_owned()));
    fields.push(("nonce", "n1".to_owned()));
    let reply = post(&world, &fields).await;
    assert!(location(&reply).starts_with(&(cell_url("appcell") + "__/back?")));
    assert_eq!(told(&reply, "state").as_deref(), Some("s t&a=te"));
    assert_eq!(told(&reply, "last_authenticated").as_deref(), Some("null"));
    let code = told(&reply, "code").unwrap();
    assert!(code.starts_with("GC~"));
    let tokens = redeem(&world, &code, &[]).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let certs = world.anybody("GET", "c/__certs").send().await.text();
    let id_token = text(&tokens.json(), "id_token");
    let claims = JwkSet::from_json(&certs)
        .unwrap()
        .verify(&id_token)
        .unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    for (name, value) in [
        ("iss", cell_url("c")),
        ("sub", "me".to_owned()),
        ("aud", cell_url("appcell")),
        ("nonce", "n1".to_owned()),
    ] {
        assert_eq!(text(&claims, name), value);
    }
    let other = world.anybody("GET", "d/__certs").send().await.text();
    assert!(
        JwkSet::from_json(&other)
            .unwrap()
            .verify(&id_token)
            .is_err()
    );
}

#[tokio::test]
async fn a_code_is_for_its_app_its_cell_and_ten_minutes() {
    let world = world(|_| {}).await;
    let code = told(&post(&world, &with_login(asked("code"))).await, "code").unwrap();
    assert_eq!(
        world.with_token("GET", "c/__ctl/Role", &code).await,
        refused(401, "AU-0006")
    );
    let bare = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
    ];
    assert_eq!(
        oauth(&world.token("c", &bare).await),
        "invalid_client AN-0021"
    );
    assert_eq!(
        oauth(&world.token("d", &bare).await),
        "invalid_grant AN-0019"
    );
    let (other_id, other) = (cell_url("d"), world.signed(|_| {}));
    let mut fields = bare.to_vec();
    fields.extend([("client_id", other_id.as_str()), ("client_secret", &other)]);
    assert_eq!(
        oauth(&world.token("c", &fields).await),
        "invalid_client AN-0020"
    );
    for bad in ["", "GC~", "x"] {
        assert_eq!(
            oauth(&redeem(&world, bad, &[]).await),
            "invalid_grant AN-0019"
        );
    }
    let uri = cell_url("appcell") + "__/other";
    let elsewhere = redeem(&world, &code, &[("redirect_uri", &uri)]).await;
    assert_eq!(oauth(&elsewhere), "invalid_grant AN-0025");
    let uri = cell_url("appcell") + "__/back";
    assert_eq!(
        redeem(&world, &code, &[("redirect_uri", &uri)])
            .await
            .status,
        200
    );
    assert_eq!(redeem(&world, &code, &[]).await.status, 200);
    world.later(600_001);
    assert_eq!(
        oauth(&redeem(&world, &code, &[]).await),
        "invalid_grant AN-0010"
    );
}

#[tokio::test]
async fn a_code_is_good_for_one_use_where_that_is_set() {
    let world = world(|s| s.auth.single_use_codes = true).await;
    let code = told(&post(&world, &with_login(asked("code"))).await, "code").unwrap();
    assert_eq!(redeem(&world, &code, &[]).await.status, 200);
    assert_eq!(
        oauth(&redeem(&world, &code, &[]).await),
        "invalid_grant AN-0010"
    );
}

#[tokio::test]
async fn a_challenge_binds_the_code_to_its_verifier() {
    let world = world(|_| {}).await;
    let mut fields = with_login(asked("code"));
    fields.push(("code_challenge", CHALLENGE.to_owned()));
    fields.push(("code_challenge_method", "S256".to_owned()));
    let code = told(&post(&world, &fields).await, "code").unwrap();
    for more in [
        &[][..],
        &[("code_verifier", CHALLENGE)],
        &[("code_verifier", "x")],
    ] {
        assert_eq!(
            oauth(&redeem(&world, &code, more).await),
            "invalid_grant AN-0024"
        );
    }
    let good = redeem(&world, &code, &[("code_verifier", VERIFIER)]).await;
    assert_eq!(good.status, 200, "{}", good.text());
    // A verifier for a code without challenge: somebody removed the challenge on the way.
    let plain = told(&post(&world, &with_login(asked("code"))).await, "code").unwrap();
    let stripped = redeem(&world, &plain, &[("code_verifier", VERIFIER)]).await;
    assert_eq!(oauth(&stripped), "invalid_grant AN-0024");
}

/// Makes the cell `c` insist on something.
async fn insist(world: &World, property: &str) {
    let patch = format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
         <p:{property}>true</p:{property}></D:prop></D:set></D:propertyupdate>"
    );
    let reply = world.ask("PROPPATCH", "c").text(&patch).send().await;
    assert_eq!(reply.status, 207, "{}", reply.text());
}

async fn offered(world: &World, what: &str) -> Vec<String> {
    let path = "c/.well-known/openid-configuration";
    let document = world.anybody("GET", path).send().await.json();
    let list = document[what].as_array().unwrap().iter();
    list.map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_cell_can_refuse_tokens_in_redirects() {
    let world = world(|_| {}).await;
    let token = told(
        &post(&world, &with_login(asked("token"))).await,
        "access_token",
    );
    assert!(token.unwrap().starts_with("AR~"));
    assert!(
        offered(&world, "response_types_supported")
            .await
            .contains(&"token".to_owned())
    );
    insist(&world, "authorizationrefusesimplicit").await;
    for reply in [
        post(&world, &with_login(asked("token"))).await,
        get(&world, &asked("token")).await,
    ] {
        assert_eq!(
            told(&reply, "error").as_deref(),
            Some("unsupported_response_type")
        );
        assert_eq!(told(&reply, "access_token"), None);
    }
    let code = told(&post(&world, &with_login(asked("code"))).await, "code");
    assert!(code.unwrap().starts_with("GC~"));
    assert!(
        !offered(&world, "response_types_supported")
            .await
            .contains(&"token".to_owned())
    );
}

#[tokio::test]
async fn a_cell_can_name_itself_in_its_answers() {
    let world = world(|_| {}).await;
    let answers = async || {
        let mut cancelled = asked("code");
        cancelled.push(("cancel_flg", "true".to_owned()));
        let mut issuers = Vec::new();
        for fields in [
            with_login(asked("code")),
            with_login(asked("token")),
            cancelled,
        ] {
            let reply = post(&world, &fields).await;
            assert!(
                told(&reply, "code")
                    .or(told(&reply, "access_token"))
                    .is_some(),
                "{}",
                reply.text()
            );
            issuers.push(told(&reply, "iss"));
        }
        let path = "c/.well-known/openid-configuration";
        let document = world.anybody("GET", path).send().await.json();
        let offered = &document["authorization_response_iss_parameter_supported"];
        (
            issuers,
            offered.as_bool().unwrap(),
            document["issuer"].as_str().unwrap().to_owned(),
        )
    };
    let (issuers, offered, cell) = answers().await;
    assert_eq!((issuers, offered), (vec![None; 3], false));
    insist(&world, "authorizationnamesissuer").await;
    assert_eq!(answers().await, (vec![Some(cell.clone()); 3], true, cell));
}

#[tokio::test]
async fn a_cell_can_refuse_passwords_that_were_given_to_applications() {
    let world = world(|_| {}).await;
    let refresh = text(&world.login("c", &[]).await, "refresh_token");
    assert!(
        offered(&world, "grant_types_supported")
            .await
            .contains(&"password".to_owned())
    );
    insist(&world, "tokenrefusespassword").await;
    for password in [PASSWORD, "wrong1"] {
        let fields = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", password),
        ];
        let refused = oauth(&world.token("c", &fields).await);
        assert_eq!(refused, "unsupported_grant_type AN-0001");
    }
    assert!(
        !offered(&world, "grant_types_supported")
            .await
            .contains(&"password".to_owned())
    );
    // The cell's own form, and what was given before, go on.
    let code = told(&post(&world, &with_login(asked("code"))).await, "code").unwrap();
    assert_eq!(redeem(&world, &code, &[]).await.status, 200);
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(world.token("c", &fields).await.status, 200);
    world.login("d", &[]).await;
}

#[tokio::test]
async fn a_cell_can_insist_on_challenges() {
    let world = world(|_| {}).await;
    insist(&world, "authorizationrequirespkce").await;
    let reply = post(&world, &with_login(asked("code"))).await;
    assert_eq!(told(&reply, "code").as_deref(), Some("PR400-AZ-0009"));
    assert_eq!(told(&reply, "error").as_deref(), Some("invalid_request"));
    let mut fields = with_login(asked("code"));
    fields.push(("code_challenge", CHALLENGE.to_owned()));
    fields.push(("code_challenge_method", "S256".to_owned()));
    assert!(
        told(&post(&world, &fields).await, "code")
            .unwrap()
            .starts_with("GC~")
    );
}

#[tokio::test]
async fn nobody_is_sent_to_a_url_that_is_not_the_apps() {
    let world = world(|_| {}).await;
    let evil = "http://evil.example/".to_owned();
    for (field, value, code) in [
        (1, evil.clone(), "PR400-AZ-0003"),
        (1, cell_url("c"), "PR400-AZ-0002"),
        (1, "x".to_owned(), "PR400-AZ-0002"),
        (2, evil, "PR400-AZ-0003"),
        (2, cell_url("appcell") + "../d/", "PR400-AZ-0003"),
        (2, cell_url("d"), "PR400-AZ-0003"),
    ] {
        let mut fields = with_login(asked("code"));
        fields[field].1 = value;
        let page = format!("{}__html/error?code={code}", cell_url("c"));
        assert_eq!(location(&post(&world, &fields).await), page);
        assert_eq!(location(&get(&world, &fields).await), page);
    }
}

#[tokio::test]
async fn failures_lead_back_to_the_form_and_look_the_same() {
    let world = world(|_| {}).await;
    let attempt = async |name: &str, password: &str| {
        let mut fields = asked("code");
        fields.push(("username", name.to_owned()));
        fields.push(("password", password.to_owned()));
        let reply = post(&world, &fields).await;
        location(&reply).to_owned()
    };
    let unknown = attempt("nobody", PASSWORD).await;
    assert!(unknown.starts_with(&(cell_url("c") + "__authz?response_type=code&")));
    assert!(unknown.ends_with("&code=PS-AU-0004"), "{unknown}");
    assert_eq!(attempt("me", "wrong1").await, unknown);
    assert!(attempt("me", "").await.ends_with("&code=PS-AU-0003"));
    assert!(attempt("", "").await.ends_with("&code=PS-AU-0003"));
}

#[tokio::test]
async fn a_form_of_another_site_logs_nobody_in() {
    let world = world(|_| {}).await;
    let send = async |origin: &str| {
        let ask = world.anybody("POST", "c/__authz").with("origin", origin);
        let reply = ask.text(&body(&with_login(asked("code")))).send().await;
        told(&reply, "code").unwrap()
    };
    for bad in [
        "http://evil.example",
        "null",
        "https://unit.example",
        "http://unit.example:81",
    ] {
        assert_eq!(send(bad).await, "PS-AU-0002", "{bad}");
    }
    assert!(send("http://unit.example").await.starts_with("GC~"));
}

#[tokio::test]
async fn a_cookie_logs_in_only_with_an_access_token_of_this_cell() {
    let world = world(|_| {}).await;
    let login = world.login("c", &[]).await;
    let local = &world.unit.keys().local_tokens;
    let sealed = |host: &str, token: &str| {
        let cookie = Cookie {
            peer: "p".to_owned(),
            token: token.to_owned(),
        };
        local.seal_cookie(host, &cookie, &mut SystemRandom).unwrap()
    };
    let send = async |value: &str| {
        let ask = world.anybody("POST", "c/__authz");
        let ask = ask.with("cookie", &format!("a=b; p_cookie={value}"));
        let reply = ask.text(&body(&asked("code"))).send().await;
        told(&reply, "code").unwrap()
    };
    let access = text(&login, "access_token");
    assert!(
        send(&sealed("unit.example", &access))
            .await
            .starts_with("GC~")
    );
    let other = world.access("d").await;
    for bad in [
        "x",
        &access,
        &sealed("evil.example", &access),
        &sealed("unit.example", &other),
        &sealed("unit.example", &text(&login, "refresh_token")),
        &sealed("unit.example", &world.trans("c", "d").await),
        &sealed("unit.example", "master"),
    ] {
        assert_eq!(send(bad).await, "PS-AU-0002");
    }
    let good = sealed("unit.example", &access);
    let path = format!("c/__authz?{}", body(&asked("token")));
    let ask = world
        .anybody("GET", &path)
        .with("cookie", &format!("p_cookie={good}"));
    let reply = ask.send().await;
    assert!(told(&reply, "access_token").unwrap().starts_with("AR~"));
    world.later(3_600_001);
    assert_eq!(send(&good).await, "PS-AU-0005");
    let ask = world
        .anybody("GET", &path)
        .with("cookie", &format!("p_cookie={good}"));
    assert_eq!(ask.send().await.status, 200, "the form again");
}

#[tokio::test]
async fn a_password_that_must_change_is_changed_on_the_way() {
    let world = world(|_| {}).await;
    let body = r#"{"Name":"new","Status":"passwordChangeRequired"}"#;
    world.account("c", body).await;
    let mut fields = asked("token");
    fields.push(("username", "new".to_owned()));
    fields.push(("password", PASSWORD.to_owned()));
    let reply = post(&world, &fields).await;
    assert_eq!(told(&reply, "code").as_deref(), Some("PS-AU-0006"));
    let token = told(&reply, "access_token").unwrap();
    let form_page = location(&reply)
        .strip_prefix(crate::harness::UNIT)
        .unwrap()
        .to_owned();
    let page = world.anybody("GET", &form_page).send().await.text();
    assert!(page.contains("autocomplete=\"new-password\""), "{page}");
    let change = async |token: &str, password: &str| {
        let mut fields = asked("token");
        fields.push(("access_token", token.to_owned()));
        fields.push(("password", password.to_owned()));
        post(&world, &fields).await
    };
    for (token, password, code) in [
        (token.as_str(), "", "PS-AU-0007"),
        (&token, "short", "PS-AU-0008"),
        ("AP~x", "password2", "PS-AU-0002"),
        (&world.access("c").await, "password2", "PS-AU-0002"),
    ] {
        let reply = change(token, password).await;
        assert_eq!(told(&reply, "code").as_deref(), Some(code));
    }
    let reply = change(&token, "password2").await;
    let access = told(&reply, "access_token").unwrap();
    assert_eq!(LocalKind::of(&access), Some(LocalKind::ResidentAccess));
}

#[tokio::test]
async fn implicit_tokens_have_no_rights_over_the_cell() {
    let world = world(|_| {}).await;
    let reply = post(&world, &with_login(asked("token"))).await;
    assert!(location(&reply).contains('#'));
    let token = told(&reply, "access_token").unwrap();
    world.grant_all("c", &["p:auth-read"]).await;
    assert_eq!(
        world.with_token("GET", "c/__ctl/Role", &token).await,
        refused(403, "AU-0007")
    );
}

#[tokio::test]
async fn refusals_are_told_to_the_app() {
    let world = world(|_| {}).await;
    for (name, value, error, code) in [
        ("response_type", "", "invalid_request", "PR400-AZ-0004"),
        (
            "response_type",
            "x",
            "unsupported_response_type",
            "PR400-AZ-0001",
        ),
        (
            "response_type",
            "id_token",
            "unsupported_response_type",
            "PR400-AZ-0001",
        ),
        ("expires_in", "0", "invalid_request", "PR400-AZ-0008"),
        ("expires_in", "x", "invalid_request", "PR400-AZ-0008"),
        ("cancel_flg", "true", "unauthorized_client", "PR401-AZ-0001"),
        ("code_challenge", "x", "invalid_request", "PR400-AZ-0009"),
    ] {
        let mut fields = with_login(asked("code"));
        fields.retain(|(n, _)| *n != name);
        fields.push((name, value.to_owned()));
        let reply = post(&world, &fields).await;
        assert_eq!(
            told(&reply, "error").as_deref(),
            Some(error),
            "{name}={value}"
        );
        assert_eq!(
            told(&reply, "code").as_deref(),
            Some(code),
            "{name}={value}"
        );
        assert_eq!(told(&reply, "state").as_deref(), Some("s t&a=te"));
    }
}

#[tokio::test]
async fn a_cell_tells_what_it_offers_and_signs_for_who_may() {
    let world = world(|_| {}).await;
    let reply = world
        .anybody("GET", "c/.well-known/openid-configuration")
        .send()
        .await;
    assert_eq!(text(&reply.json(), "issuer"), cell_url("c"));
    assert_eq!(text(&reply.json(), "jwks_uri"), cell_url("c") + "__certs");
    let signed = world.ask("POST", "c/__sign").text("payload").send().await;
    let certs = world.anybody("GET", "c/__certs").send().await.text();
    let payload = JwkSet::from_json(&certs)
        .unwrap()
        .verify(&signed.text())
        .unwrap();
    assert_eq!(payload, b"payload");
    let token = world.access("c").await;
    assert_eq!(
        world.with_token("POST", "c/__sign", &token).await,
        refused(403, "AU-0002")
    );
    assert_eq!(
        world.anybody("POST", "c/__sign").send().await.outcome(),
        refused(401, "AU-0001")
    );
    world.grant_all("c", &["p:sign"]).await;
    let ask = world
        .anybody("POST", "c/__sign")
        .with("authorization", &format!("Bearer {token}"));
    assert_eq!(
        ask.with("accept", "application/json").send().await.status,
        406
    );
    assert_eq!(world.with_token("POST", "c/__sign", &token).await.0, 200);
}
