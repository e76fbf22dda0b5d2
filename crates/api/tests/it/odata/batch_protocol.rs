//! `$batch` as clients of OData 2.0 send it: addresses, methods, versions, framing of the response.

use personium_testkit::{TestUnit, refused};
use serde_json::{Value, json};

use super::batch::{change, get, outcomes, send, send_body, statuses};
use super::{get_json, ids, unit_with_entities};

/// A part with a GET request and headers.
fn get_with(target: &str, headers: &str) -> String {
    get(target).replacen("Host: unit.example\n", headers, 1)
}

async fn unit_with_linked_entities() -> TestUnit {
    let unit = unit_with_entities(json!([{"__id": "b1", "n": 1}])).await;
    unit.create("c/b/od/A('b1')/_B", r#"{"__id":"x"}"#).await;
    unit
}

#[tokio::test]
async fn addresses_of_parts_are_relative_or_absolute_and_encoded_or_not() {
    let unit = unit_with_linked_entities().await;
    for address in [
        "A('b1')",
        "A%28%27b1%27%29",
        "./A('b1')",
        "/c/b/od/A('b1')",
        "/c/b/od/A%28%27b1%27%29",
        "http://unit.example/c/b/od/A('b1')",
        "HTTP://UNIT.EXAMPLE/c/b/od/A('b1')",
        "A(__id='b1')",
    ] {
        let parts = [
            get(address),
            change("MERGE", address, "", r#"{"n":2}"#),
            change("PATCH", &format!("{address}?x=y"), "", r#"{"n":2}"#),
            change("PUT", address, "", r#"{"n":1}"#),
            get(&format!("{address}?$select=n")),
        ];
        let found = outcomes(&send(&unit, "master", &parts).await);
        assert_eq!(statuses(&found), [200, 204, 204, 204, 200], "{address}");
    }
    for address in ["/c/b/other/A", "http://other.example/c/b/od/A", "/c/b/od"] {
        let response = send(&unit, "master", &[get(address)]).await;
        assert_eq!(response.outcome(), refused(400, "OD-0034"), "{address}");
    }
}

#[tokio::test]
async fn parts_are_framed_by_crlf_with_length_and_binary_encoding() {
    let unit = unit_with_linked_entities().await;
    let parts = [get("A"), change("POST", "A", "", "{}"), get("A('none')")];
    let text = send(&unit, "master", &parts).await.text();
    assert!(!text.replace("\r\n", "").contains('\n'), "{text}");
    let head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    assert_eq!(text.matches(head).count(), 3, "{text}");
    for response in text.split("HTTP/1.1 ").skip(1) {
        let (head, rest) = response.split_once("\r\n\r\n").unwrap();
        let length = head.split("Content-Length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        let (body, tail) = rest.split_at(length);
        let _: Value = serde_json::from_str(body).unwrap();
        assert!(tail.starts_with("\r\n--"), "{response}");
    }
}

#[tokio::test]
async fn text_around_the_parts_is_ignored_unless_it_is_another_multipart_body() {
    let unit = unit_with_linked_entities().await;
    let part = get("A('b1')");
    for (body, status) in [
        (format!("A batch.\r\n\r\n{part}--b--\r\nThe end."), 202),
        (format!("\r\n{part}--b--\r\n\r\n"), 202),
        (format!("--a\r\n\r\n{part}--b--"), 400),
        (format!("{part}--b--\r\n--a--"), 400),
    ] {
        let response = send_body(&unit, "master", &body).await;
        assert_eq!(response.status, status, "{body}");
    }
}

#[tokio::test]
async fn batch_with_a_query_is_accepted() {
    let unit = unit_with_linked_entities().await;
    let request = unit.admin_request("POST", "c/b/od/$batch?sap-language=EN&$format=json");
    let request = request.header("content-type", "multipart/mixed; boundary=\"b:1\"");
    let body = get("A('b1')").replace("--b", "--b:1") + "--b:1--";
    let response = request.body(body).send().await;
    assert_eq!(statuses(&outcomes(&response)), [200]);
    let content_type = response.header("content-type");
    assert_eq!(content_type, Some("multipart/mixed; boundary=\"b:1\""));
}

#[tokio::test]
async fn reads_of_every_kind_are_served() {
    let unit = unit_with_linked_entities().await;
    for (target, text) in [
        ("A", "\"n\":1"),
        ("A('b1')?$expand=_B", "\"__id\":\"x\""),
        (
            "A('b1')/_B?$top=1&$inlinecount=allpages",
            "\"__count\":\"1\"",
        ),
        ("A('b1')/$links/_B", "\"uri\":"),
        ("A?$format=atom", "<feed"),
        ("$metadata", "EntityType"),
    ] {
        let response = send(&unit, "master", &[get(target)]).await;
        assert_eq!(statuses(&outcomes(&response)), [200], "{target}");
        assert!(
            response.text().contains(text),
            "{target}: {}",
            response.text()
        );
    }
    for (accept, media_type) in [
        ("application/atom+xml", "application/atom+xml"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("", "application/json"),
    ] {
        let part = get_with("A('b1')", &format!("Accept: {accept}\n"));
        let text = send(&unit, "master", &[part]).await.text();
        let header = format!("\r\nContent-Type: {media_type}");
        assert!(text.contains(&header), "{accept}: {text}");
    }
}

/// The clients of the first Personium units name no version. They are answered as those units did.
#[tokio::test]
async fn requests_that_name_a_version_are_answered_as_odata_2_says() {
    let unit = unit_with_linked_entities().await;
    let without_http_version = |target: &str| get(target).replacen(" HTTP/1.1", "", 1);
    let old = [
        without_http_version("A('b1')/_B"),
        without_http_version("A('b1')/$links/_B"),
        change("DELETE", "A('b1')/$links/_B('x')", "", ""),
        change("POST", "A", "", r#"{"__id":"2","n":3}"#),
    ];
    let response = send(&unit, "master", &old).await;
    assert_eq!(statuses(&outcomes(&response)), [501, 501, 501, 201]);
    assert!(
        response.text().contains("\"n\":null"),
        "{}",
        response.text()
    );
    for version in ["DataServiceVersion: 2.0\n", "MaxDataServiceVersion: 2.0\n"] {
        let new = [
            get_with("A('b1')/_B", version),
            get_with("A('b1')/$links/_B", version),
            change("DELETE", "A('b1')/$links/_B('x')", version, ""),
            change("POST", "A('b1')/$links/_B", version, r#"{"uri":"B('x')"}"#),
            change("POST", "A", version, r#"{"n":3}"#),
        ];
        let response = send(&unit, "master", &new).await;
        let found = statuses(&outcomes(&response));
        assert_eq!(found, [200, 200, 204, 204, 201], "{version}");
        assert!(response.text().contains("\"n\":3"), "{}", response.text());
    }
    assert_eq!(ids(&unit, "A('b1')/_B").await, ["x"]);
}

#[tokio::test]
async fn method_of_a_part_can_be_tunnelled() {
    let unit = unit_with_linked_entities().await;
    for name in ["X-HTTP-Method", "X-HTTP-Method-Override"] {
        let merge = change("POST", "A('b1')", &format!("{name}: MERGE\n"), r#"{"m":1}"#);
        let response = send(&unit, "master", &[merge]).await;
        assert_eq!(statuses(&outcomes(&response)), [204], "{name}");
    }
    let entity = get_json(&unit, "A('b1')").await.results();
    assert_eq!((&entity["n"], &entity["m"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn body_of_delimiters_is_refused_within_the_memory_of_the_body() {
    let unit = unit_with_linked_entities().await;
    for line in [
        "--b\n",
        "a:b\n",
        "--b\nContent-Type: application/http\n\nGET A\n",
    ] {
        let body = format!("--b\n{}--b--", line.repeat(200_000));
        let response = send_body(&unit, "master", &body).await;
        assert_eq!(response.status, 400, "{line}");
    }
}
