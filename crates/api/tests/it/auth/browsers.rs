//! Authorization requests of browsers: cookies, origins, prompts, caches.

use personium_testkit::{PASSWORD, TestRequest, TestResponse, TestUnit, cell_url, encode_form};

use super::authorize::{authorization_request, encode, location_parameter, with_login};
use super::unit_with_accounts;

/// Headers of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// A top-level navigation.
const NAVIGATION: Headers<'_> = &[
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

fn with_headers(request: TestRequest, headers: Headers<'_>) -> TestRequest {
    headers.iter().fold(request, |request, (name, value)| {
        request.header(name, value)
    })
}

async fn login_response(unit: &TestUnit, headers: Headers<'_>) -> TestResponse {
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
        ("p_cookie", "true"),
    ];
    let request = with_headers(unit.request("POST", "c/__token"), headers);
    request.body(encode_form(&fields)).send().await.expect(200)
}

async fn login_cookie(unit: &TestUnit) -> String {
    let response = login_response(unit, &[]).await;
    let set = response.header("set-cookie").unwrap();
    set.split(';').next().unwrap().to_owned()
}

async fn authorize(
    unit: &TestUnit,
    method: &str,
    fields: &[(&'static str, String)],
    headers: Headers<'_>,
) -> TestResponse {
    let query = encode(fields);
    let (path, body) = match method {
        "GET" => (format!("c/__authz?{query}"), String::new()),
        _ => ("c/__authz".to_owned(), query),
    };
    with_headers(unit.request(method, &path), headers)
        .body(body)
        .send()
        .await
}

/// The code in a redirect; the notice's code if the redirect leads to the form.
fn code(response: &TestResponse) -> Option<String> {
    (response.status == 303).then(|| location_parameter(response, "code").unwrap_or_default())
}

#[tokio::test]
async fn form_of_a_browser_does_not_log_in_by_cookie_where_cells_share_an_origin() {
    let unit = unit_with_accounts(|_| {}).await;
    let cookie = login_cookie(&unit).await;
    let mut attack = authorization_request("code");
    attack[1].1 = cell_url("d");
    attack[2].1 = cell_url("d") + "__/x";
    for fields in [attack, authorization_request("code")] {
        for headers in [
            &[("origin", "http://unit.example")][..],
            &[("origin", "null")],
            &[("origin", "http://evil.example")],
            &[("sec-fetch-site", "same-origin")],
            &[
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
        ] {
            let mut headers = headers.to_vec();
            headers.push(("cookie", &cookie));
            let response = authorize(&unit, "POST", &fields, &headers).await;
            assert_eq!(
                code(&response).as_deref(),
                Some("PS-AU-0002"),
                "{headers:?}"
            );
        }
    }
    let (fields, cookie) = (authorization_request("code"), [("cookie", cookie.as_str())]);
    let response = authorize(&unit, "POST", &fields, &cookie).await;
    assert!(code(&response).unwrap().starts_with("GC~"), "not a browser");
}

#[tokio::test]
async fn cookie_logs_in_navigations_but_no_requests_of_scripts() {
    let unit = unit_with_accounts(|_| {}).await;
    let cookie = login_cookie(&unit).await;
    for (headers, logs_in) in [
        (NAVIGATION, true),
        (&[], true),
        (
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            false,
        ),
        (
            &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
            false,
        ),
        (
            &[
                ("sec-fetch-mode", "same-origin"),
                ("sec-fetch-dest", "empty"),
            ],
            false,
        ),
        (&[("origin", "null")], false),
        (&[("origin", "http://unit.example")], false),
    ] {
        let mut headers = headers.to_vec();
        headers.push(("cookie", &cookie));
        let response = authorize(&unit, "GET", &authorization_request("code"), &headers).await;
        let found = code(&response).is_some_and(|code| code.starts_with("GC~"));
        assert_eq!(found, logs_in, "{headers:?}");
    }
}

#[tokio::test]
async fn password_of_a_form_kept_apart_is_accepted_from_that_form_only() {
    for (has_own_form, origin, accepted) in [
        (false, "null", false),
        (true, "null", true),
        (true, "http://evil.example", false),
        (true, "http://unit.example", true),
    ] {
        let unit = unit_with_accounts(|_| {}).await;
        if has_own_form {
            super::login_page::set_form(&unit, "personium-localcell:/b/form.html").await;
        }
        let fields = with_login(authorization_request("code"));
        let response = authorize(&unit, "POST", &fields, &[("origin", origin)]).await;
        let found = code(&response).is_some_and(|code| code.starts_with("GC~"));
        assert_eq!(found, accepted, "{has_own_form} {origin}");
    }
}

#[tokio::test]
async fn prompt_none_never_shows_a_form() {
    let unit = unit_with_accounts(|_| {}).await;
    let cookie = login_cookie(&unit).await;
    let with = |extra: &[(&'static str, &str)]| {
        let mut fields = authorization_request("code");
        fields.extend(
            extra
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        fields
    };
    let none = ("prompt", "none");
    let mut unknown_app = with(&[none]);
    unknown_app[1].1 = cell_url("d");
    unknown_app[2].1 = cell_url("d") + "__/x";
    let must_change = ("password_change_required", "true");
    for (fields, cookie, error) in [
        (with(&[none]), None, Some("login_required")),
        (with(&[none]), Some("p_cookie=x"), Some("login_required")),
        (with(&[none]), Some(cookie.as_str()), None),
        (unknown_app, Some(&cookie), Some("interaction_required")),
        (
            with(&[none, must_change]),
            Some(&cookie),
            Some("interaction_required"),
        ),
        (
            with(&[("prompt", "none login")]),
            Some(&cookie),
            Some("invalid_request"),
        ),
    ] {
        let headers: Vec<_> = cookie
            .map(|cookie| ("cookie", cookie))
            .into_iter()
            .collect();
        let response = authorize(&unit, "GET", &fields, &headers).await;
        assert_eq!(response.status, 303, "{fields:?}");
        let found = location_parameter(&response, "error");
        assert_eq!(found.as_deref(), error, "{fields:?} {cookie:?}");
        assert_eq!(
            location_parameter(&response, "state").as_deref(),
            Some("s t&a=te")
        );
    }
    for extra in [
        &[none][..],
        &[none, ("username", "me"), ("password", "wrong1")],
    ] {
        let response = authorize(&unit, "POST", &with(extra), &[]).await;
        let found = location_parameter(&response, "error");
        assert_eq!(found.as_deref(), Some("login_required"), "{extra:?}");
    }
}

#[tokio::test]
async fn prompt_login_shows_the_form_to_who_is_logged_in() {
    let unit = unit_with_accounts(|_| {}).await;
    let cookie = login_cookie(&unit).await;
    for (prompt, status) in [
        ("login", 200),
        ("consent", 200),
        ("select_account", 200),
        ("x", 303),
    ] {
        let mut fields = authorization_request("code");
        fields.push(("prompt", prompt.to_owned()));
        let response = authorize(&unit, "GET", &fields, &[("cookie", &cookie)]).await;
        assert_eq!(response.status, status, "{prompt}");
    }
}

#[tokio::test]
async fn no_cache_stores_responses_with_secrets() {
    let unit = unit_with_accounts(|_| {}).await;
    let wrong = encode_form(&[
        ("grant_type", "password"),
        ("username", "me"),
        ("password", "x"),
    ]);
    let query = encode(&authorization_request("code"));
    let login = encode(&with_login(authorization_request("code")));
    for (method, path, body, status) in [
        ("POST", "c/__token", wrong.as_str(), 400),
        ("POST", "c/__token", "", 400),
        ("GET", "c/__token", "", 405),
        ("POST", "c/__introspect", "token=x", 401),
        ("PUT", "c/__mypassword", "", 401),
        ("GET", &format!("c/__authz?{query}"), "", 200),
        ("POST", "c/__authz", &login, 303),
        ("POST", "c/__authz", &query, 303),
        ("GET", "c/__authz", "", 303),
        ("DELETE", "c/__authz", "", 405),
    ] {
        let response = unit.request(method, path).body(body).send().await;
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(
            response.header("cache-control"),
            Some("no-store"),
            "{method} {path}"
        );
        assert_eq!(
            response.header("pragma"),
            Some("no-cache"),
            "{method} {path}"
        );
    }
    let with_tokens = login_response(&unit, &[]).await;
    assert_eq!(with_tokens.header("cache-control"), Some("no-store"));
    assert_eq!(with_tokens.header("pragma"), Some("no-cache"));
}

#[tokio::test]
async fn browsers_protect_the_cookie_also_over_http() {
    let unit = unit_with_accounts(|_| {}).await;
    for headers in [
        &[("origin", "http://unit.example")][..],
        &[("sec-fetch-site", "none")],
    ] {
        let response = login_response(&unit, headers).await;
        let set = response.header("set-cookie").unwrap();
        assert!(set.ends_with(";Path=/c/;HttpOnly;SameSite=Lax"), "{set}");
    }
}
