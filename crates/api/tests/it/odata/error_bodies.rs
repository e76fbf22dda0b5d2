//! The format of error bodies by the headers of the request.

use serde_json::Value;

use super::batch::get;
use super::odata_unit;

#[tokio::test]
async fn error_body_is_that_of_odata_if_the_request_names_a_version() {
    let unit = odata_unit(|_| {}).await;
    let (json, atom) = (
        ("accept", "application/json"),
        ("accept", "application/atom+xml"),
    );
    let (max, version) = (
        ("maxdataserviceversion", "2.0"),
        ("dataserviceversion", "2.0"),
    );
    let verbose = ("accept", "application/json;odata=verbose");
    for (headers, is_odata) in [
        (&[][..], false),
        (&[json], false),
        (&[atom], false),
        (&[max], true),
        (&[version], true),
        (&[max, json], true),
        (&[verbose], true),
    ] {
        for (method, path, code) in [
            ("GET", "c/b/od/A('none')", "PR404-OD-0002"),
            ("GET", "c/b/od/None", "PR404-OD-0001"),
            ("GET", "c/b/od/A?$filter=x", "PR400-OD-0006"),
            ("DELETE", "c/b/od/A('none')", "PR404-OD-0002"),
            ("POST", "c/b/od/A", "PR400-OD-0001"),
            ("GET", "c/__ctl/Role('none')", "PR404-OD-0002"),
        ] {
            let request = unit.admin_request(method, path).headers(headers);
            let response = request.send().await;
            let body = response.json();
            let error = if is_odata { &body["error"] } else { &body };
            if code != "PR400-OD-0006" {
                assert_eq!(error["code"], code, "{headers:?} {method} {path}: {body}");
            }
            assert!(error["code"].is_string(), "{headers:?} {path}: {body}");
            assert_eq!(error["message"]["lang"], "en", "{headers:?} {path}: {body}");
            assert!(error["message"]["value"].is_string(), "{headers:?} {path}");
            assert_eq!(
                body.as_object().unwrap().len(),
                if is_odata { 1 } else { 2 }
            );
        }
    }
    let anonymous = unit.request("GET", "c/b/od/A").headers(&[max]).send().await;
    assert_eq!(anonymous.status, 401);
    assert!(anonymous.json()["error"]["code"].is_string());
}

#[tokio::test]
async fn error_body_is_xml_if_the_request_names_a_version_and_accepts_atom() {
    let unit = odata_unit(|_| {}).await;
    for accept in ["application/atom+xml", "application/xml, application/json"] {
        let request = unit.admin_request("GET", "c/b/od/A('none')");
        let request = request.header("maxdataserviceversion", "2.0");
        let response = request.header("accept", accept).send().await;
        assert_eq!(response.status, 404);
        assert_eq!(response.header("content-type"), Some("application/xml"));
        let text = response.text();
        assert!(text.contains("<code>PR404-OD-0002</code>"), "{text}");
        assert!(text.contains("<message xml:lang=\"en\">"), "{text}");
    }
}

#[tokio::test]
async fn error_body_of_a_part_follows_the_headers_of_the_part_and_of_the_batch() {
    let unit = odata_unit(|_| {}).await;
    let plain = get("A('none')");
    let version = plain.replacen("Host:", "MaxDataServiceVersion: 2.0\nHost:", 1);
    for (of_batch, part, is_odata) in [
        (None, &plain, false),
        (None, &version, true),
        (Some(("dataserviceversion", "2.0")), &plain, true),
    ] {
        let request = unit.admin_request("POST", "c/b/od/$batch");
        let request = request.header("content-type", "multipart/mixed; boundary=b");
        let request = request.headers(of_batch.as_slice());
        let text = request.body(format!("{part}--b--")).send().await.text();
        let start = text.find('{').unwrap();
        let end = text.rfind('}').unwrap();
        let body: Value = serde_json::from_str(&text[start..=end]).unwrap();
        let error = if is_odata { &body["error"] } else { &body };
        assert_eq!(
            error["code"], "PR404-OD-0002",
            "{of_batch:?} {part}: {body}"
        );
    }
}
