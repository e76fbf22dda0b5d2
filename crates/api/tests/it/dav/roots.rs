//! Roots of cells and boxes, `__box`, `__role`, `__html`.

use personium_testkit::{TestUnit, refused, success};

#[tokio::test]
async fn box_root_describes_the_box() {
    let unit = TestUnit::new().await;
    let response = unit.admin_request("GET", "c/app").send().await;
    assert_eq!(response.header("content-type"), Some("text/plain"));
    let response = unit
        .admin_request("GET", "c/app")
        .header("accept", "application/json")
        .send()
        .await;
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    assert_eq!(body["box"]["name"], "app");
    assert_eq!(body["box"]["url"], "http://unit.example/c/app/");
    assert_eq!(body["box"]["status"], "ready");
    assert_eq!(body["box"]["schema"], "http://unit.example/appcell/");
    assert_eq!(body["cell"]["url"], "http://unit.example/c/");
    assert_eq!(body["unit"]["path_based_cellurl_enabled"], true);
    let time = body["box"]["installed_at"].as_str().unwrap();
    assert!(
        time.starts_with("2023-11-14T22:13:2") && time.ends_with('Z'),
        "{time}"
    );
    assert!(unit.admin_request("GET", "c/b").send().await.json()["box"]["schema"].is_null());
    let main = unit.admin_request("GET", "c/__").send().await.json();
    assert_eq!(main["box"]["schema"], "http://unit.example/c/");
    assert_eq!(main["box"]["installed_at"], "1970-01-01T00:00:00.000Z");
    assert_eq!(
        unit.admin_outcome("GET", "c/none").await,
        refused(404, "DV-0002")
    );
    assert_eq!(
        unit.admin_outcome("GET", "c/b%0ax").await,
        refused(404, "DV-0002")
    );
}

#[tokio::test]
async fn cell_root_negotiates_the_media_type() {
    let unit = TestUnit::new().await;
    for (accept, status, media_type) in [
        ("application/json", 200, "application/json"),
        ("text/html, application/json", 200, "application/json"),
        ("application/xml", 200, "application/xml"),
        ("application/xml;q=0.9", 412, "application/json"),
        ("*/*", 412, "application/json"),
    ] {
        let response = unit
            .request("GET", "c")
            .header("accept", accept)
            .send()
            .await;
        assert_eq!(response.status, status, "{accept}");
        assert_eq!(
            response.header("content-type"),
            Some(media_type),
            "{accept}"
        );
    }
    let xml = unit
        .request("GET", "c/")
        .header("accept", "application/xml")
        .send()
        .await
        .text();
    assert!(
        xml.contains("<ctl>http://unit.example/c/__ctl/</ctl>"),
        "{xml}"
    );
    assert_eq!(
        unit.request("GET", "c").send().await.outcome(),
        refused(412, "UI-0001")
    );
    assert_eq!(
        unit.admin_outcome("POST", "c").await,
        refused(405, "MC-0001")
    );
    assert_eq!(
        unit.admin_outcome("PUT", "c").await,
        refused(405, "MC-0001")
    );
}

async fn set_page(unit: &TestUnit, url: &str) {
    let body = format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
         <p:relayhtmlurl>{url}</p:relayhtmlurl></D:prop></D:set></D:propertyupdate>"
    );
    assert_eq!(
        unit.admin_request("PROPPATCH", "c")
            .body(&body)
            .send()
            .await
            .status,
        207
    );
}

#[tokio::test]
async fn cell_root_serves_the_configured_html_page() {
    let unit = TestUnit::new().await;
    let page = "<html>hello</html>";
    let response = unit
        .admin_request("PUT", "c/b/page")
        .header("content-type", "text/html")
        .body(page)
        .send()
        .await;
    assert_eq!(response.status, 201);
    unit.put_file("c/b/text", "no page").await;
    unit.grant_to_everybody("c/b", &["D:read"]).await;
    for (url, outcome) in [
        ("personium-localcell:/b/page", success(200)),
        ("personium-localunit:/c/b/page", success(200)),
        ("http://unit.example/c/b/page", success(200)),
        ("personium-localcell:/b/text", refused(500, "NW-0002")),
        ("http://unit.example/c/", refused(500, "UI-0001")),
        ("ftp://unit.example/page", refused(412, "UI-0002")),
        ("http://unit.example/c/../page", refused(412, "UI-0002")),
        ("x", refused(412, "UI-0002")),
        ("http://localhost:1/page", refused(500, "UI-0002")),
    ] {
        set_page(&unit, url).await;
        let response = unit
            .request("GET", "c")
            .header("accept", "text/html")
            .send()
            .await;
        assert_eq!(response.outcome(), outcome, "{url}");
        if response.status == 200 {
            assert_eq!(response.text(), page);
            assert_eq!(response.header("content-type"), Some("text/html"));
        }
    }
}

#[tokio::test]
async fn box_lookup_finds_the_box_by_schema() {
    let unit = TestUnit::new().await;
    for schema in [
        "http%3A%2F%2Funit.example%2Fappcell%2F",
        "personium-localunit:%2Fappcell%2F",
        "personium-localunit:appcell:%2F",
    ] {
        let response = unit
            .admin_request("GET", &format!("c/__box?schema={schema}"))
            .send()
            .await;
        assert_eq!(response.status, 200, "{schema}: {}", response.text());
        assert_eq!(
            response.header("location"),
            Some("http://unit.example/c/app/")
        );
        assert_eq!(response.json()["Url"], "http://unit.example/c/app/");
    }
    for (query, outcome) in [
        (
            "?schema=http://unit.example/other/",
            refused(403, "AU-0002"),
        ),
        ("", refused(403, "AU-0002")),
        ("?schema=", refused(400, "OD-0029")),
        ("?schema=x", refused(400, "OD-0029")),
        (
            "?schema=http://unit.example/appcell",
            refused(400, "OD-0029"),
        ),
        ("/x", refused(404, "MC-0001")),
    ] {
        assert_eq!(
            unit.admin_outcome("GET", &format!("c/__box{query}")).await,
            outcome,
            "{query}"
        );
    }
    assert_eq!(
        unit.admin_outcome("POST", "c/__box").await,
        refused(405, "MC-0001")
    );
    let path = "c/__box?schema=http://unit.example/appcell/";
    assert_eq!(
        unit.request("GET", path).send().await.outcome(),
        refused(401, "AU-0001")
    );
    let bad = unit
        .request("GET", "c/__box")
        .header("authorization", "Bearer x");
    assert_eq!(bad.send().await.status, 401);
    unit.grant_to_everybody("c/app", &["D:read"]).await;
    assert_eq!(unit.request("GET", path).send().await.status, 200);
}

#[tokio::test]
async fn role_pages_list_boxes_and_roles() {
    let unit = TestUnit::new().await;
    assert_eq!(
        unit.admin_request("GET", "c/__role").send().await.text(),
        "__<br/>app<br/>b<br/>"
    );
    assert_eq!(
        unit.admin_request("GET", "c/__role/b/r")
            .send()
            .await
            .text(),
        "br"
    );
    assert_eq!(
        unit.admin_outcome("PUT", "c/__role/b/r").await,
        refused(405, "MC-0001")
    );
    assert_eq!(
        unit.request("GET", "c/__role").send().await.outcome(),
        refused(401, "AU-0001")
    );
}

#[tokio::test]
async fn error_page_explains_known_codes_and_escapes_others() {
    let unit = TestUnit::new().await;
    for (query, text) in [
        ("?code=PR404-DV-0003", "The cell does not exist."),
        ("?code=%3Cscript%3E", "undefined"),
        ("", "undefined"),
    ] {
        let response = unit
            .request("GET", &format!("c/__html/error{query}"))
            .send()
            .await;
        assert_eq!(
            response.header("content-type"),
            Some("text/html;charset=UTF-8")
        );
        assert!(response.text().contains(text), "{}", response.text());
        assert!(!response.text().contains("script"));
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
    }
    assert_eq!(
        unit.admin_outcome("POST", "c/__html/error").await,
        refused(405, "MC-0001")
    );
    assert_eq!(
        unit.admin_outcome("GET", "c/__html/other").await,
        refused(404, "MC-0001")
    );
}
