//! The pages that the web layer itself sends, and versions side by side.

use personium_testkit::{Nginx, StubBehaviour, StubNode, free_port};
use personium_types::Code;

#[tokio::test]
async fn error_pages_are_json_as_of_the_unit_or_html_for_browsers() {
    let port = free_port();
    let nginx = Nginx::builder(port).node(free_port()).start();
    for method in ["GET", "POST", "PUT", "MOVE"] {
        let answer = nginx
            .client()
            .request(method, "c/box/f")
            .header("x-personium-requestkey", "k");
        let answer = answer.send().await;
        let message = format!("{} (k)", Code::NodeUnreachable.message());
        let body = answer.clone().expect_error(502, "WL-0001").json();
        assert_eq!(body["message"]["value"], message.as_str(), "{method}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-personium-requestkey"), Some("k"));
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    let browser = nginx.client().request("GET", "c/box/f.json");
    let page = browser
        .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
        .send()
        .await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (502, Some("text/html"))
    );
    assert!(page.text().contains("PR502-WL-0001"), "{}", page.text());

    let version = nginx
        .client()
        .request("GET", "/")
        .header("x-personium-version", "0.1\"<b>");
    version.send().await.expect_error(412, "WL-0001");
    let heads = nginx
        .client()
        .request("GET", "/")
        .header("x-large", &"x".repeat(70_000));
    heads.send().await.expect_error(431, "MC-0001");
}

#[test]
fn error_pages_have_the_codes_and_messages_of_the_table() {
    let pages = include_str!("../../../../deploy/nginx/personium/error_pages.conf");
    let entry = |map: &str, status: u16| {
        let map = pages
            .split("map $status ")
            .find(|part| part.starts_with(map))
            .unwrap();
        let line = map
            .lines()
            .find(|line| line.trim_start().starts_with(&status.to_string()));
        let value = line.unwrap().trim().split_once(' ').unwrap().1;
        value
            .trim_end_matches(';')
            .trim_matches('"')
            .replace(" ($personium_request_key)", "")
    };
    for code in [
        Code::WebLayerVersion,
        Code::WebLayerBodySize,
        Code::WebLayerRate,
        Code::HeadersTooLarge,
        Code::NodeUnreachable,
        Code::WebLayerBusy,
        Code::NodeTimeout,
    ] {
        assert_eq!(entry("$personium_error_code", code.status()), code.as_str());
        assert_eq!(
            entry("$personium_error_message", code.status()),
            code.message()
        );
    }
}

#[tokio::test]
async fn version_of_a_request_chooses_the_nodes() {
    let (usual, other) = (
        StubNode::start(StubBehaviour::Answer).await,
        StubNode::start(StubBehaviour::Answer).await,
    );
    let nginx = Nginx::builder(free_port()).node(usual.port());
    let nginx = nginx.node_of_version("2.0.0", other.port()).start();
    for (version, expected) in [
        (None, (1, 0)),
        (Some(personium_api::API_VERSION), (1, 0)),
        (Some("2.0.0"), (0, 1)),
        (Some("3.0.0"), (0, 0)),
    ] {
        for method in ["GET", "POST", "PUT"] {
            let mut request = nginx.client().request(method, "a");
            if let Some(version) = version {
                request = request.header("x-personium-version", version);
            }
            let answer = request.send().await;
            let reached = (usual.take_heads().len(), other.take_heads().len());
            assert_eq!(reached, expected, "{version:?} {method}");
            assert_eq!(answer.status, if expected == (0, 0) { 412 } else { 200 });
        }
    }
}
