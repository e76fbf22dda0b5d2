//! Roots of cells and boxes, `__box`, `__role`, `__html`.

use crate::harness::{World, done, refused};

#[tokio::test]
async fn a_box_describes_itself() {
    let world = World::new().await;
    let reply = world.ask("GET", "c/app").send().await;
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    let reply = world
        .ask("GET", "c/app")
        .with("accept", "application/json")
        .send()
        .await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let body = reply.json();
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
    assert!(world.ask("GET", "c/b").send().await.json()["box"]["schema"].is_null());
    let main = world.ask("GET", "c/__").send().await.json();
    assert_eq!(main["box"]["schema"], "http://unit.example/c/");
    assert_eq!(main["box"]["installed_at"], "1970-01-01T00:00:00.000Z");
    assert_eq!(world.code("GET", "c/none").await, refused(404, "DV-0002"));
    assert_eq!(world.code("GET", "c/b%0ax").await, refused(404, "DV-0002"));
}

#[tokio::test]
async fn a_cell_answers_by_what_is_accepted() {
    let world = World::new().await;
    for (accept, status, media_type) in [
        ("application/json", 200, "application/json"),
        ("text/html, application/json", 200, "application/json"),
        ("application/xml", 200, "application/xml"),
        ("application/xml;q=0.9", 412, "application/json"),
        ("*/*", 412, "application/json"),
    ] {
        let reply = world
            .anybody("GET", "c")
            .with("accept", accept)
            .send()
            .await;
        assert_eq!(reply.status, status, "{accept}");
        assert_eq!(reply.header("content-type"), Some(media_type), "{accept}");
    }
    let xml = world
        .anybody("GET", "c/")
        .with("accept", "application/xml")
        .send()
        .await
        .text();
    assert!(
        xml.contains("<ctl>http://unit.example/c/__ctl/</ctl>"),
        "{xml}"
    );
    assert_eq!(
        world.anybody("GET", "c").send().await.outcome(),
        refused(412, "UI-0001")
    );
    assert_eq!(world.code("POST", "c").await, refused(405, "MC-0001"));
    assert_eq!(world.code("PUT", "c").await, refused(405, "MC-0001"));
}

async fn set_page(world: &World, url: &str) {
    let body = format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
         <p:relayhtmlurl>{url}</p:relayhtmlurl></D:prop></D:set></D:propertyupdate>"
    );
    assert_eq!(
        world.ask("PROPPATCH", "c").text(&body).send().await.status,
        207
    );
}

#[tokio::test]
async fn a_browser_gets_the_page_of_the_cell() {
    let world = World::new().await;
    let page = "<html>hello</html>";
    let reply = world
        .ask("PUT", "c/b/page")
        .with("content-type", "text/html")
        .text(page)
        .send()
        .await;
    assert_eq!(reply.status, 201);
    world.put("c/b/text", "no page").await;
    world.grant_all("c/b", &["D:read"]).await;
    for (url, outcome) in [
        ("personium-localcell:/b/page", done(200)),
        ("personium-localunit:/c/b/page", done(200)),
        ("http://unit.example/c/b/page", done(200)),
        ("personium-localcell:/b/text", refused(500, "NW-0002")),
        ("http://unit.example/c/", refused(500, "UI-0001")),
        ("ftp://unit.example/page", refused(412, "UI-0002")),
        ("http://unit.example/c/../page", refused(412, "UI-0002")),
        ("x", refused(412, "UI-0002")),
        ("http://localhost:1/page", refused(500, "UI-0002")),
    ] {
        set_page(&world, url).await;
        let reply = world
            .anybody("GET", "c")
            .with("accept", "text/html")
            .send()
            .await;
        assert_eq!(reply.outcome(), outcome, "{url}");
        if reply.status == 200 {
            assert_eq!(reply.text(), page);
            assert_eq!(reply.header("content-type"), Some("text/html"));
        }
    }
}

#[tokio::test]
async fn the_box_of_an_app_is_found() {
    let world = World::new().await;
    for schema in [
        "http%3A%2F%2Funit.example%2Fappcell%2F",
        "personium-localunit:%2Fappcell%2F",
        "personium-localunit:appcell:%2F",
    ] {
        let reply = world
            .ask("GET", &format!("c/__box?schema={schema}"))
            .send()
            .await;
        assert_eq!(reply.status, 200, "{schema}: {}", reply.text());
        assert_eq!(reply.header("location"), Some("http://unit.example/c/app/"));
        assert_eq!(reply.json()["Url"], "http://unit.example/c/app/");
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
            world.code("GET", &format!("c/__box{query}")).await,
            outcome,
            "{query}"
        );
    }
    assert_eq!(world.code("POST", "c/__box").await, refused(405, "MC-0001"));
    let path = "c/__box?schema=http://unit.example/appcell/";
    assert_eq!(
        world.anybody("GET", path).send().await.outcome(),
        refused(401, "AU-0001")
    );
    let bad = world
        .anybody("GET", "c/__box")
        .with("authorization", "Bearer x");
    assert_eq!(bad.send().await.status, 401);
    world.grant_all("c/app", &["D:read"]).await;
    assert_eq!(world.anybody("GET", path).send().await.status, 200);
}

#[tokio::test]
async fn roles_are_resources() {
    let world = World::new().await;
    assert_eq!(
        world.ask("GET", "c/__role").send().await.text(),
        "__<br/>app<br/>b<br/>"
    );
    assert_eq!(world.ask("GET", "c/__role/b/r").send().await.text(), "br");
    assert_eq!(
        world.code("PUT", "c/__role/b/r").await,
        refused(405, "MC-0001")
    );
    assert_eq!(
        world.anybody("GET", "c/__role").send().await.outcome(),
        refused(401, "AU-0001")
    );
}

#[tokio::test]
async fn the_error_page_explains_codes() {
    let world = World::new().await;
    for (query, text) in [
        ("?code=PR404-DV-0003", "The cell does not exist."),
        ("?code=%3Cscript%3E", "undefined"),
        ("", "undefined"),
    ] {
        let reply = world
            .anybody("GET", &format!("c/__html/error{query}"))
            .send()
            .await;
        assert_eq!(
            reply.header("content-type"),
            Some("text/html;charset=UTF-8")
        );
        assert!(reply.text().contains(text), "{}", reply.text());
        assert!(!reply.text().contains("script"));
    }
    assert_eq!(
        world.code("POST", "c/__html/error").await,
        refused(405, "MC-0001")
    );
    assert_eq!(
        world.code("GET", "c/__html/other").await,
        refused(404, "MC-0001")
    );
}
