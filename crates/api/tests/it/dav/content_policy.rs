//! Stored content in browsers: its media type is not guessed, and where cells share an origin, it gets one of its own.

use personium_model::settings::ContentSandbox;
use personium_testkit::{TestResponse, TestUnit};

/// Media types in which browsers run scripts, or that they show.
const MEDIA_TYPES: &[&str] = &[
    "text/html",
    "text/html;charset=utf-8",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/xml",
    "application/xml",
    "application/rdf+xml",
    "text/xsl",
    "multipart/x-mixed-replace",
    "text/plain",
    "application/octet-stream",
    "image/png",
    "no/application/pdf",
    "text/html;x=application/pdf",
];

async fn unit(sandbox: ContentSandbox) -> TestUnit {
    TestUnit::with_settings(|settings| settings.content_sandbox = sandbox).await
}

/// Stores a file of a media type and gets it.
async fn get_stored(unit: &TestUnit, media_type: &str) -> TestResponse {
    let put = unit
        .admin_request("PUT", "c/b/f")
        .header("content-type", media_type);
    put.body("<script>alert(1)</script>")
        .send()
        .await
        .expect_success();
    unit.admin_request("GET", "c/b/f").send().await.expect(200)
}

fn is_sandboxed(response: &TestResponse) -> bool {
    let policies = response.headers.get_all("content-security-policy");
    policies.iter().any(|policy| {
        let policy = policy.to_str().unwrap();
        let mut flags = policy.split(' ');
        flags.next() == Some("sandbox") && flags.all(|flag| flag != "allow-same-origin")
    })
}

#[tokio::test]
async fn stored_files_are_kept_apart_from_the_common_origin_unless_configured() {
    for (sandbox, expected) in [
        (ContentSandbox::PathBased, true),
        (ContentSandbox::Always, true),
        (ContentSandbox::Never, false),
    ] {
        let unit = unit(sandbox).await;
        for media_type in MEDIA_TYPES {
            let response = get_stored(&unit, media_type).await;
            assert_eq!(is_sandboxed(&response), expected, "{media_type}");
            assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        }
        for media_type in ["application/pdf", "Application/PDF; a=b"] {
            assert!(
                !is_sandboxed(&get_stored(&unit, media_type).await),
                "{media_type}"
            );
        }
    }
}

#[tokio::test]
async fn every_response_about_stored_content_is_kept_apart() {
    let unit = unit(ContentSandbox::PathBased).await;
    let etag = unit.put_file("c/b/f.html", "<p>").await;
    for (method, path, header, status) in [
        ("GET", "c/b/f.html", ("range", "bytes=0-1"), 206),
        ("GET", "c/b/f.html", ("if-none-match", etag.as_str()), 304),
        ("HEAD", "c/b/f.html", ("accept", "*/*"), 200),
    ] {
        let request = unit.admin_request(method, path).header(header.0, header.1);
        let response = request.send().await.expect(status);
        assert!(is_sandboxed(&response), "{method} {path} {header:?}");
    }
}

#[tokio::test]
async fn cells_with_an_origin_of_their_own_keep_it_unless_configured() {
    let unit = TestUnit::with_https(false);
    unit.create_cell("c").await;
    let send = async |method: &str, path: &str, body: &str| {
        let request = unit
            .admin_request(method, path)
            .header("x-forwarded-host", "c.unit.example");
        request.body(body).send().await.expect_success()
    };
    send("PUT", "__/f.html", "<p>").await;
    let response = send("GET", "__/f.html", "").await;
    assert!(!is_sandboxed(&response));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn page_that_a_cell_chooses_is_kept_apart_and_one_of_the_operator_is_not() {
    let own = "personium-localcell:/b/page.html";
    let of_operator = "personium-localunit:/c/b/page.html";
    for (of_cell, default, expected) in [
        (Some(own), None, true),
        (Some(of_operator), Some(of_operator), true),
        (None, Some(own), true),
        (None, Some(of_operator), false),
    ] {
        let unit = TestUnit::with_settings(|settings| {
            settings.home_page_url = default.map(str::to_owned);
            settings.login_page_url = default.map(str::to_owned);
        })
        .await;
        unit.create_cell("appcell").await;
        let put = unit
            .admin_request("PUT", "c/b/page.html")
            .header("content-type", "text/html");
        put.body("<form></form>").send().await.expect(201);
        unit.grant_to_everybody("c/b", &["D:read"]).await;
        if let Some(url) = of_cell {
            let patch = format!(
                "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                 <p:relayhtmlurl>{url}</p:relayhtmlurl>\
                 <p:authorizationhtmlurl>{url}</p:authorizationhtmlurl></D:prop></D:set></D:propertyupdate>"
            );
            unit.admin_request("PROPPATCH", "c")
                .body(patch)
                .send()
                .await
                .expect(207);
        }
        let form = "c/__authz?response_type=code&client_id=http://unit.example/appcell/\
                    &redirect_uri=http://unit.example/appcell/__/x";
        for path in ["c", form] {
            let response = unit.request("GET", path).send().await.expect(200);
            assert!(
                response.text().contains("<form></form>"),
                "{path} {}",
                response.text()
            );
            assert_eq!(
                is_sandboxed(&response),
                expected,
                "{path} {of_cell:?} {default:?}"
            );
        }
    }
}

#[tokio::test]
async fn every_response_forbids_to_guess_its_media_type() {
    let unit = TestUnit::new().await;
    for (method, path) in [
        ("GET", ""),
        ("GET", "crossdomain.xml"),
        ("GET", "none"),
        ("GET", "c/b"),
        ("GET", "c/__ctl/Role"),
        ("GET", "c/__ctl/Role?$callback=f"),
        ("GET", "c/__ctl/$metadata"),
        ("GET", "c/__html/error"),
        ("GET", "c/__certs"),
        ("PROPFIND", "c/b"),
        ("BAD", "c/b"),
    ] {
        let response = unit.admin_request(method, path).send().await;
        assert_eq!(
            response.header("x-content-type-options"),
            Some("nosniff"),
            "{method} {path}"
        );
    }
}
