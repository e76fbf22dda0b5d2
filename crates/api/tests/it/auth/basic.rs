//! Basic credentials and cookies instead of an access token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_testkit::{PASSWORD, TestUnit, cell_url, encode_form, refused, success, text_member};

use super::unit_with_accounts;

async fn get_with_basic(unit: &TestUnit, path: &str, pair: &str) -> (u16, String) {
    let value = format!("Basic {}", STANDARD.encode(pair));
    let request = unit.request("GET", path).header("authorization", &value);
    request.send().await.outcome()
}

async fn grant_read(unit: &TestUnit, path: &str) {
    unit.create("c/__ctl/Role", r#"{"Name":"reader"}"#).await;
    let link = format!("{{\"uri\":\"{}__ctl/Role('reader')\"}}", cell_url("c"));
    let links = unit.admin_request("POST", "c/__ctl/Account('me')/$links/_Role");
    assert_eq!(links.body(&link).send().await.status, 204);
    let ace = format!(
        "<D:ace><D:principal><D:href>{}__role/__/reader</D:href></D:principal>\
         <D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>",
        cell_url("c")
    );
    unit.set_acl(path, &ace).await;
}

#[tokio::test]
async fn basic_credentials_are_accepted_in_boxes_without_schema() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.put_file("c/b/f", "x").await;
    grant_read(&unit, "c/b").await;
    let good = format!("me:{PASSWORD}");
    assert_eq!(get_with_basic(&unit, "c/b/f", &good).await, success(200));
    for bad in ["me:wrong1", "nobody:password1", "me:"] {
        assert_eq!(
            get_with_basic(&unit, "c/b/f", bad).await,
            refused(401, "AU-0011")
        );
    }
    assert_eq!(
        get_with_basic(&unit, "c/__ctl/Role", &good).await,
        refused(401, "AU-0001")
    );
    assert_eq!(
        get_with_basic(&unit, "__ctl/Cell", &good).await,
        refused(401, "AU-0011")
    );
}

#[tokio::test]
async fn basic_credentials_are_refused_in_boxes_with_schema() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.put_file("c/app/f", "x").await;
    grant_read(&unit, "c/app").await;
    let good = format!("me:{PASSWORD}");
    assert_eq!(
        get_with_basic(&unit, "c/app/f", &good).await,
        refused(401, "AU-0001")
    );
    let token = unit.access_token("c").await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/app/f", &token).await,
        success(200)
    );
}

#[tokio::test]
async fn failed_basic_logins_lock_the_account() {
    let unit = unit_with_accounts(|s| {
        s.auth.lock_after_failures = 3;
        s.auth.lock_secs = 60;
    })
    .await;
    for _ in 0..3 {
        assert_eq!(
            get_with_basic(&unit, "c/b/", "me:wrong1").await,
            refused(401, "AU-0011")
        );
    }
    let good = format!("me:{PASSWORD}");
    assert_eq!(
        get_with_basic(&unit, "c/b/", &good).await,
        refused(401, "AU-0010")
    );
}

#[tokio::test]
async fn cookie_is_accepted_only_with_its_peer() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.put_file("c/b/f", "x").await;
    grant_read(&unit, "c/b").await;
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
        ("p_cookie", "true"),
    ];
    let response = unit.request_token("c", &fields).await;
    let set = response.header("set-cookie").unwrap();
    assert!(
        set.ends_with(";Version=0;Comment=;Domain=unit.example;Path=/c/"),
        "{set}"
    );
    let cookie = set.split(';').next().unwrap().to_owned();
    let peer = text_member(&response.json(), "p_cookie_peer");
    let get = async |query: &str, cookie: Option<&str>, authorization: Option<&str>| {
        let mut request = unit.request("GET", &format!("c/b/f{query}"));
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.send().await.outcome()
    };
    let query = format!("?p_cookie_peer={peer}");
    let cookie = Some(cookie.as_str());
    assert_eq!(get(&query, cookie, None).await, success(200));
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
async fn access_token_is_refused_as_cookie() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.put_file("c/b/f", "x").await;
    let token = unit.access_token("c").await;
    let request = unit.request("GET", "c/b/f?p_cookie_peer=x");
    let response = request
        .header("cookie", &format!("p_cookie={token}"))
        .send()
        .await;
    assert_eq!(response.outcome(), refused(401, "AU-0009"));
}

#[tokio::test]
async fn changed_password_invalidates_cached_basic_credentials() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.put_file("c/b/f", "x").await;
    grant_read(&unit, "c/b").await;
    let good = format!("me:{PASSWORD}");
    for _ in 0..2 {
        assert_eq!(get_with_basic(&unit, "c/b/f", &good).await, success(200));
    }
    let merge = unit.admin_request("MERGE", "c/__ctl/Account('me')");
    let merge = merge
        .header("x-personium-credential", "password2")
        .body("{}");
    assert_eq!(merge.send().await.status, 204);
    assert_eq!(
        get_with_basic(&unit, "c/b/f", &good).await,
        refused(401, "AU-0011")
    );
    assert_eq!(
        get_with_basic(&unit, "c/b/f", "me:password2").await,
        success(200)
    );
}

#[tokio::test]
async fn basic_credentials_are_refused_by_account_status_and_address_range() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.put_file("c/b/f", "x").await;
    grant_read(&unit, "c/b").await;
    let (good, bad) = (success(200), refused(401, "AU-0011"));
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
        let merged = unit
            .admin_request("MERGE", "c/__ctl/Account('me')")
            .header("if-match", "*")
            .body(change)
            .send()
            .await;
        assert_eq!(merged.status, 204, "{}", merged.text());
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{PASSWORD}"));
        let request = unit
            .request("GET", "c/b/f")
            .header("authorization", &format!("Basic {pair}"));
        let found = request
            .header("x-forwarded-for", address)
            .send()
            .await
            .outcome();
        assert_eq!(found, *outcome, "{change} from {address}");
    }
}

#[tokio::test]
async fn cookie_over_https_is_secure_http_only_and_limited_to_its_cell() {
    for (path_based, cell, host, path) in [
        (true, "c/", "unit.example", "/c/"),
        (false, "", "c.unit.example", "/"),
    ] {
        let unit = TestUnit::with_https(path_based);
        unit.create("__ctl/Cell", r#"{"Name":"c"}"#).await;
        let account = unit
            .admin_request("POST", &format!("{cell}__ctl/Account"))
            .header("x-forwarded-host", host)
            .header("x-personium-credential", PASSWORD);
        let made = account.body(r#"{"Name":"me"}"#).send().await;
        assert_eq!(made.status, 201, "{}", made.text());
        let fields = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", PASSWORD),
            ("p_cookie", "true"),
        ];
        let request = unit
            .request("POST", &format!("{cell}__token"))
            .header("x-forwarded-host", host);
        let response = request.body(encode_form(&fields)).send().await;
        assert_eq!(response.status, 200, "{}", response.text());
        let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies.len(), 1);
        let mut parts = response.header("set-cookie").unwrap().split(';');
        assert!(parts.next().unwrap().starts_with("p_cookie="));
        let attributes: std::collections::BTreeSet<&str> = parts.collect();
        let path = format!("Path={path}");
        let wanted = ["Secure", "HttpOnly", "SameSite=Lax", &path];
        assert_eq!(
            attributes,
            wanted.into_iter().collect(),
            "path based: {path_based}"
        );
    }
}
