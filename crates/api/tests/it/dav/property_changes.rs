//! Changes of properties by PROPPATCH and MKCOL: their order, live properties, nothing half done.

use personium_testkit::{TestUnit, refused};

use super::update;

async fn find(unit: &TestUnit, path: &str) -> String {
    unit.admin_request("PROPFIND", path)
        .header("depth", "0")
        .send()
        .await
        .text()
}

#[tokio::test]
async fn proppatch_of_a_protected_property_is_refused_and_changes_nothing() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
    unit.create_collection("c/b/col", "").await;
    for path in ["c/b/a", "c/b/col", "c/b", "c"] {
        let before = find(&unit, path).await;
        for protected in [
            "D:getcontentlength",
            "D:getetag",
            "D:resourcetype",
            "D:creationdate",
            "D:getlastmodified",
            "D:getcontenttype",
            "D:lockdiscovery",
            "D:supportedlock",
            "D:quota-used-bytes",
            "D:acl",
            "p:cellstatus",
        ] {
            for body in [
                format!(
                    "<D:set><D:prop><Z:new>1</Z:new><{protected}>9</{protected}></D:prop></D:set>"
                ),
                format!(
                    "<D:set><D:prop><Z:new>1</Z:new></D:prop></D:set><D:remove><D:prop><{protected}/></D:prop></D:remove>"
                ),
            ] {
                let request = unit.admin_request("PROPPATCH", path).body(update(&body));
                let response = request.send().await;
                let text = response.text();
                assert_eq!(response.status, 207, "{path} {text}");
                let (refused, failed) = text.split_once("424 Failed Dependency").unwrap();
                assert!(
                    refused.contains("403 Forbidden")
                        && refused.contains("<cannot-modify-protected-property/>")
                        && refused.contains("new"),
                    "{text}"
                );
                assert!(!failed.contains("200 OK") && !refused.contains("200 OK"));
            }
        }
        assert_eq!(find(&unit, path).await, before, "{path}");
    }
}

#[tokio::test]
async fn proppatch_is_carried_out_in_document_order() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
    let (set, remove) = (
        |n: &str| format!("<D:set><D:prop><Z:p>value-{n}</Z:p></D:prop></D:set>"),
        "<D:remove><D:prop><Z:p/></D:prop></D:remove>",
    );
    for (body, expected) in [
        (remove.to_owned() + &set("1"), Some("value-1")),
        (set("2") + remove, None),
        (set("3") + remove + &set("4"), Some("value-4")),
        (set("5") + &set("6"), Some("value-6")),
        (remove.to_owned() + remove, None),
    ] {
        let request = unit.admin_request("PROPPATCH", "c/b/a").body(update(&body));
        request.send().await.expect(207);
        let found = find(&unit, "c/b/a").await;
        match expected {
            Some(value) => assert!(found.contains(value), "{body}: {found}"),
            None => assert!(!found.contains("value-"), "{body}: {found}"),
        }
    }
}

#[tokio::test]
async fn displayname_is_stored() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
    let set = update("<D:set><D:prop><D:displayname>My file</D:displayname></D:prop></D:set>");
    let request = unit.admin_request("PROPPATCH", "c/b/a").body(set);
    let response = request.send().await.expect(207);
    assert!(response.text().contains("200 OK") && !response.text().contains("403"));
    assert!(find(&unit, "c/b/a").await.contains(">My file<"));
    let asked = unit
        .admin_request("PROPFIND", "c/b/a")
        .header("depth", "0")
        .body("<propfind xmlns='DAV:'><prop><displayname/></prop></propfind>");
    let text = asked.send().await.expect(207).text();
    assert!(
        text.contains(">My file<") && !text.contains(">a<"),
        "{text}"
    );
}

#[tokio::test]
async fn properties_of_an_extended_mkcol_are_stored_or_refused_with_the_collection() {
    let unit = TestUnit::with_settings(|s| s.dav.properties_max_bytes = 1_000).await;
    let body = |kind: &str, props: &str| {
        format!(
            "<D:mkcol xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' xmlns:Z='urn:z'><D:set><D:prop><D:resourcetype>\
             <D:collection/>{kind}</D:resourcetype></D:prop></D:set><D:set><D:prop>{props}</D:prop></D:set></D:mkcol>"
        )
    };
    for (n, kind) in ["", "<p:odata/>", "<p:service/>", "<p:stream/>"]
        .iter()
        .enumerate()
    {
        let path = format!("c/b/new{n}");
        let props = "<D:displayname>My name</D:displayname><Z:color>blue</Z:color>";
        let request = unit.admin_request("MKCOL", &path).body(body(kind, props));
        request.send().await.expect(201);
        let request = unit.admin_request("PROPFIND", &path).header("depth", "0");
        let found = request.send().await.text();
        assert!(
            found.contains(">My name<") && found.contains(">blue<"),
            "{found}"
        );
    }
    for protected in ["D:getetag", "D:creationdate", "D:acl", "p:cellstatus"] {
        let props = format!("<Z:color>blue</Z:color><{protected}>x</{protected}>");
        let request = unit
            .admin_request("MKCOL", "c/b/not")
            .body(body("", &props));
        let response = request.send().await;
        let text = response.text();
        assert_eq!(response.status, 403, "{text}");
        for part in [
            "<mkcol-response",
            "<cannot-modify-protected-property/>",
            "424 Failed Dependency",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(
            unit.admin_outcome("PROPFIND", "c/b/not").await,
            refused(404, "DV-0001")
        );
    }
    let long = format!("<Z:a>{}</Z:a>", "x".repeat(1_000));
    let request = unit.admin_request("MKCOL", "c/b/not").body(body("", &long));
    assert_eq!(request.send().await.outcome(), refused(413, "MC-0001"));
}
