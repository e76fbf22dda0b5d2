//! Compression of responses: what is compressed, what is not, and what it does to entity tags.

use std::io::Read;

use personium_testkit::{TestRequest, TestResponse, TestUnit};

const LONG: usize = 20_000;

fn text() -> String {
    "some words of a text, ".repeat(LONG / 22)
}

async fn put(unit: &TestUnit, path: &str, media_type: &str, content: &str) {
    let request = unit.admin_request("PUT", path);
    let response = request
        .header("content-type", media_type)
        .body(content)
        .send()
        .await;
    assert!(matches!(response.status.as_u16(), 201 | 204), "{path}");
}

fn get(unit: &TestUnit, path: &str) -> TestRequest {
    unit.admin_request("GET", path)
        .header("accept-encoding", "gzip")
}

fn encoding(response: &TestResponse) -> Option<&str> {
    response.header("content-encoding")
}

fn varies_by_encoding(response: &TestResponse) -> bool {
    let values = response.headers.get_all("vary").iter();
    values
        .filter_map(|v| v.to_str().ok())
        .any(|v| v.contains("Accept-Encoding"))
}

fn unpacked(response: &TestResponse) -> String {
    assert_eq!(encoding(response), Some("gzip"), "{}", response.request);
    let mut out = String::new();
    let mut decoder = flate2::read::GzDecoder::new(response.body.as_ref());
    decoder.read_to_string(&mut out).unwrap();
    out
}

#[tokio::test]
async fn texts_are_compressed_as_the_client_accepts_it() {
    let unit = TestUnit::new().await;
    for (name, media_type) in [
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.html", "text/html"),
        ("a.js", "application/javascript"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.xml", "application/atom+xml"),
    ] {
        let path = format!("c/b/{name}");
        put(&unit, &path, media_type, &text()).await;
        let plain = unit.admin_request("GET", &path).send().await;
        assert_eq!((encoding(&plain), plain.text()), (None, text()), "{name}");
        assert!(varies_by_encoding(&plain), "{name}");
        let response = get(&unit, &path).send().await;
        assert!(response.body.len() < LONG / 10, "{name}");
        assert_eq!(unpacked(&response), text(), "{name}");
        assert!(varies_by_encoding(&response), "{name}");
        assert_eq!(response.header("content-type"), Some(media_type));
        assert_eq!(response.header("content-length"), None);
    }
    for (accepted, expected) in [
        ("br", None),
        ("gzip, deflate, br", Some("gzip")),
        ("gzip;q=1, br;q=0.5", Some("gzip")),
        ("br;q=0, gzip", Some("gzip")),
        ("identity", None),
        ("deflate, zstd", None),
        ("", None),
        ("gzip;q=0", None),
    ] {
        let request = unit.admin_request("GET", "c/b/a.txt");
        let response = request.header("accept-encoding", accepted).send().await;
        assert_eq!(
            (response.status.as_u16(), encoding(&response)),
            (200, expected),
            "{accepted}"
        );
    }
}

#[tokio::test]
async fn lists_and_listings_are_compressed() {
    let unit = TestUnit::new().await;
    unit.create_odata_collection("c/b/od", "T").await;
    for number in 0..40 {
        unit.put_file(&format!("c/b/f{number}"), "x").await;
        unit.create("c/b/od/T", &format!(r#"{{"Name":"entity {number}"}}"#))
            .await;
    }
    let listing = |accepted: &str| {
        let request = unit.admin_request("PROPFIND", "c/b").header("depth", "1");
        request.header("accept-encoding", accepted)
    };
    let plain = listing("identity").send().await;
    assert_eq!(unpacked(&listing("gzip").send().await), plain.text());
    for path in ["c/b/od/T", "c/__ctl/$metadata"] {
        let plain = unit.admin_request("GET", path).send().await;
        assert_eq!(encoding(&plain), None);
        assert_eq!(
            unpacked(&get(&unit, path).send().await),
            plain.text(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn tag_of_a_compressed_response_is_weak_and_matches() {
    let unit = TestUnit::new().await;
    put(&unit, "c/b/a.txt", "text/plain", &text()).await;
    let plain = unit.admin_request("GET", "c/b/a.txt").send().await;
    let strong = plain.header("etag").unwrap().to_owned();
    let response = get(&unit, "c/b/a.txt").send().await;
    let weak = response.header("etag").unwrap().to_owned();
    assert_eq!(weak, format!("W/{strong}"));
    for tag in [&weak, &strong] {
        let response = get(&unit, "c/b/a.txt")
            .header("if-none-match", tag)
            .send()
            .await;
        assert_eq!(response.status, 304, "{tag}");
        assert_eq!(encoding(&response), None);
    }
    let put = |tag: &str| {
        let request = unit
            .admin_request("PUT", "c/b/a.txt")
            .header("if-match", tag);
        request.header("content-type", "text/plain").body(text())
    };
    assert_eq!(put("W/\"1-1\"").send().await.status, 412);
    assert_eq!(put(&weak).send().await.status, 204);
    assert_eq!(
        put(&weak).send().await.status,
        412,
        "it is another version now"
    );
}

#[tokio::test]
async fn what_would_not_gain_or_is_a_part_is_not_compressed() {
    let unit = TestUnit::new().await;
    put(&unit, "c/b/text", "text/plain", &text()).await;
    put(&unit, "c/b/short", "text/plain", "short").await;
    for media_type in [
        "image/png",
        "application/zip",
        "application/octet-stream",
        "video/mp4",
    ] {
        put(&unit, "c/b/other", media_type, &text()).await;
        let response = get(&unit, "c/b/other").send().await;
        assert_eq!(
            (encoding(&response), response.text()),
            (None, text()),
            "{media_type}"
        );
        assert!(!varies_by_encoding(&response), "{media_type}");
    }
    let short = get(&unit, "c/b/short").send().await;
    assert_eq!((encoding(&short), short.text().as_str()), (None, "short"));
    let part = get(&unit, "c/b/text")
        .header("range", "bytes=0-9999")
        .send()
        .await;
    assert_eq!((part.status.as_u16(), encoding(&part)), (206, None));
    assert_eq!(part.body.len(), 10_000);
    let head = unit
        .admin_request("HEAD", "c/b/text")
        .header("accept-encoding", "gzip");
    let head = head.send().await;
    assert_eq!(encoding(&head), None);
    assert_eq!(
        head.header("content-length"),
        Some(text().len().to_string().as_str())
    );
    let missing = get(&unit, "c/b/none").send().await;
    assert_eq!((missing.status.as_u16(), encoding(&missing)), (404, None));
}

#[tokio::test]
async fn pages_and_tokens_are_never_compressed() {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    put(&unit, "c/b/text", "text/html", &text()).await;
    let form = "c/__authz?response_type=token&client_id=http%3A%2F%2Funit.example%2Fappcell%2F&\
                redirect_uri=http%3A%2F%2Funit.example%2Fappcell%2F__%2Fredirect.html&state=x";
    for path in [
        form,
        "c/__html/error?code=PR400-AZ-0002",
        "c/__certs",
        "c/.well-known/openid-configuration",
    ] {
        let response = get(&unit, path).send().await;
        assert_eq!(
            (response.status.as_u16(), encoding(&response)),
            (200, None),
            "{path}"
        );
        assert!(!varies_by_encoding(&response), "{path}");
    }
    let login = unit
        .request("POST", "c/__token")
        .header("accept-encoding", "gzip");
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", "password1"),
    ];
    let login = login.form(&fields).send().await;
    assert_eq!((login.status.as_u16(), encoding(&login)), (200, None));
    // What a cookie opens can be asked for by every page that the browser shows.
    let response = get(&unit, "c/b/text")
        .header("cookie", "p_cookie=x")
        .send()
        .await;
    assert_eq!((response.status.as_u16(), encoding(&response)), (200, None));
}

/// The number of responses that are compressed at the same time.
const MAX_CONCURRENT: usize = 64;

#[tokio::test]
async fn readers_that_do_not_read_use_up_no_memory_for_compression() {
    let unit = TestUnit::new().await;
    put(&unit, "c/b/text", "text/plain", &text()).await;
    let mut unread = Vec::new();
    for number in 0..MAX_CONCURRENT + 2 {
        let response = get(&unit, "c/b/text").send_streaming().await.unwrap();
        let is_compressed = response.headers().contains_key("content-encoding");
        assert_eq!(is_compressed, number < MAX_CONCURRENT, "{number}");
        unread.push(response);
    }
    drop(unread);
    assert_eq!(unpacked(&get(&unit, "c/b/text").send().await), text());
}

#[tokio::test]
async fn compression_can_be_switched_off() {
    let unit = TestUnit::with_settings(|settings| settings.compress_responses = false).await;
    put(&unit, "c/b/text", "text/plain", &text()).await;
    let response = get(&unit, "c/b/text").send().await;
    assert_eq!((encoding(&response), response.text()), (None, text()));
    assert!(!varies_by_encoding(&response));
}
