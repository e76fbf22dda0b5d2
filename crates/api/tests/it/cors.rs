//! Requests of scripts of other origins (CORS).

use personium_testkit::TestUnit;

const ORIGIN: &str = "http://app.example";

#[tokio::test]
async fn scripts_of_other_origins_may_read_the_headers_of_responses() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "x").await;
    for (method, path) in [
        ("GET", "c/b/file"),
        ("GET", "c/b/none"),
        ("PROPFIND", "c/b"),
        ("LOCK", "c/b/file"),
        ("GET", "c/__ctl/Role"),
        ("POST", "c/__token"),
    ] {
        let request = unit.admin_request(method, path).header("origin", ORIGIN);
        let response = request.send().await;
        let exposed = response.header("access-control-expose-headers").unwrap();
        let exposed: Vec<&str> = exposed.split(", ").collect();
        for name in [
            "ETag",
            "Location",
            "X-Personium-RequestKey",
            "X-Personium-Version",
            "Retry-After",
            "Content-Range",
            "DAV",
            "Link",
            "WWW-Authenticate",
            "Allow",
            "Last-Modified",
        ] {
            assert!(
                exposed.contains(&name),
                "{name} of {method} {path}: {exposed:?}"
            );
        }
        let allowed = response.header("access-control-allow-origin");
        assert_eq!(allowed, Some(ORIGIN), "{method} {path}");
        // Without an origin there are none of these, and caches know that it matters.
        let response = unit.admin_request(method, path).send().await;
        assert_eq!(response.header("access-control-expose-headers"), None);
        let varies = response.headers.get_all("vary").iter();
        assert!(varies.into_iter().any(|v| v == "Origin"), "{method} {path}");
    }
}

#[tokio::test]
async fn preflight_allows_what_clients_send() {
    let unit = TestUnit::new().await;
    let headers =
        "authorization, content-type, depth, destination, if-match, x-personium-credential";
    for method in [
        "PUT",
        "MERGE",
        "PATCH",
        "MKCOL",
        "MOVE",
        "PROPFIND",
        "PROPPATCH",
        "ACL",
        "DELETE",
    ] {
        let response = unit
            .request("OPTIONS", "c/b/file")
            .header("origin", ORIGIN)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", headers)
            .send()
            .await;
        assert_eq!(response.status, 200);
        let allowed = response.header("access-control-allow-methods").unwrap();
        assert!(
            allowed.split(", ").any(|m| m == method),
            "{method}: {allowed}"
        );
        assert_eq!(
            response.header("access-control-allow-headers"),
            Some(headers)
        );
    }
}
