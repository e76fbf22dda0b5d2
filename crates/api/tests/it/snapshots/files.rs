//! `__snapshot`: uploading, listing, downloading and removing snapshots.

use personium_testkit::{TestUnit, ace, refused, success};

const FOLDER: &str = "c/__snapshot";

async fn list(unit: &TestUnit, path: &str) -> String {
    let request = unit.admin_request("PROPFIND", path).header("depth", "1");
    request.send().await.expect(207).text()
}

#[tokio::test]
async fn uploaded_snapshot_is_listed_downloaded_replaced_and_removed() {
    let unit = TestUnit::new().await;
    let path = "c/__snapshot/s.zip";
    let large = "0123456789".repeat(70_000);
    let put = unit.admin_request("PUT", path);
    let put = put
        .header("content-type", "application/zip")
        .body(large.clone());
    let created = put.send().await.expect(201);
    let etag = created.header("etag").unwrap().to_owned();
    let listed = list(&unit, FOLDER).await;
    for part in [
        "http://unit.example/c/__snapshot</href>",
        "http://unit.example/c/__snapshot/s.zip</href>",
        "700000</getcontentlength>",
        "application/zip</getcontenttype>",
    ] {
        assert!(listed.contains(part), "{part} in {listed}");
    }
    let got = unit.admin_request("GET", path).send().await.expect(200);
    assert_eq!(got.text(), large);
    assert_eq!(got.header("content-type"), Some("application/zip"));
    let part = unit
        .admin_request("GET", path)
        .header("range", "bytes=699995-");
    let part = part.send().await.expect(206);
    assert_eq!(part.text(), "56789");
    assert_eq!(
        part.header("content-range"),
        Some("bytes 699995-699999/700000")
    );
    let known = unit
        .admin_request("GET", path)
        .header("if-none-match", &etag);
    assert_eq!(known.send().await.outcome(), success(304));
    let wrong = unit
        .admin_request("PUT", path)
        .header("if-match", "\"9-9\"");
    let wrong = wrong.body("x").send().await;
    assert_eq!(wrong.outcome(), refused(412, "DV-0001"));
    let replaced = unit.admin_request("PUT", path).header("if-match", &etag);
    assert_eq!(replaced.body("small").send().await.outcome(), success(204));
    let got = unit.admin_request("GET", path).send().await.expect(200);
    assert_eq!(got.text(), "small");
    unit.admin_request("DELETE", path).send().await.expect(204);
    let gone = unit.admin_request("GET", path).send().await;
    assert_eq!(gone.outcome(), refused(404, "DV-0001"));
    assert!(!list(&unit, FOLDER).await.contains("s.zip"));
}

#[tokio::test]
async fn names_that_are_no_file_names_are_refused() {
    let unit = TestUnit::new().await;
    for (name, outcome) in [
        ("a%2Fb.zip", refused(403, "DV-0004")),
        ("a%5Cb.zip", refused(403, "DV-0004")),
        ("a%00b.zip", refused(403, "DV-0004")),
        ("%2E%2E", refused(400, "MC-0010")),
        ("..", refused(400, "MC-0010")),
        ("s.zip/x", refused(404, "MC-0001")),
    ] {
        let put = unit.admin_request("PUT", &format!("{FOLDER}/{name}"));
        assert_eq!(put.body("x").send().await.outcome(), outcome, "{name}");
    }
    let long = format!("{FOLDER}/{}", "n".repeat(256));
    let put = unit.admin_request("PUT", &long).body("x").send().await;
    assert_eq!(put.outcome(), refused(403, "DV-0004"));
    assert_eq!(list(&unit, FOLDER).await.matches("<response>").count(), 1);
}

#[tokio::test]
async fn folder_and_files_have_no_other_methods() {
    let unit = TestUnit::new().await;
    unit.put_file("c/__snapshot/s.zip", "x").await;
    for (path, methods) in [
        (
            FOLDER,
            &[
                "GET",
                "PUT",
                "DELETE",
                "MKCOL",
                "POST",
                "PROPPATCH",
                "ACL",
                "MOVE",
            ][..],
        ),
        (
            "c/__snapshot/s.zip",
            &["MKCOL", "POST", "PROPPATCH", "ACL", "MOVE"],
        ),
        ("c/__snapshot/new", &["MKCOL", "POST"]),
    ] {
        for method in methods {
            let request = unit.admin_request(method, path);
            let request = request.header("destination", "http://unit.example/c/b/moved");
            let response = request.send().await;
            assert_eq!(
                response.outcome(),
                refused(405, "MC-0001"),
                "{method} {path}"
            );
        }
    }
    for (path, methods) in [
        (FOLDER, "OPTIONS, PROPFIND"),
        ("c/__snapshot/s.zip", "OPTIONS, GET, PUT, DELETE, PROPFIND"),
    ] {
        let options = unit.admin_request("OPTIONS", path).send().await.expect(200);
        assert_eq!(options.header("allow"), Some(methods));
    }
}

#[tokio::test]
async fn nothing_is_moved_into_the_folder_from_a_box() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "x").await;
    let moved = unit.admin_request("MOVE", "c/b/file");
    let moved = moved.header("destination", "http://unit.example/c/__snapshot/s.zip");
    assert!(moved.send().await.status.is_client_error());
    assert!(!list(&unit, FOLDER).await.contains("s.zip"));
    unit.admin_request("GET", "c/b/file")
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn privileges_for_the_content_of_boxes_are_not_enough_for_snapshots() {
    let unit = TestUnit::new().await;
    unit.put_file("c/__snapshot/s.zip", "secret").await;
    unit.create_role("c", "reader").await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.link("c", "Account('me')", "_Role", "Role('reader')")
        .await;
    let role = "http://unit.example/c/__role/__/reader";
    unit.set_acl(
        "c",
        &ace(role, &["D:read", "D:write", "D:bind", "p:box", "p:auth"]),
    )
    .await;
    let token = unit.access_token("c").await;
    for (method, path) in [
        ("GET", "c/__snapshot/s.zip"),
        ("PROPFIND", FOLDER),
        ("PUT", "c/__snapshot/new.zip"),
        ("DELETE", "c/__snapshot/s.zip"),
    ] {
        let request = unit.request(method, path).bearer(&token);
        let response = request.header("depth", "1").send().await;
        assert_eq!(
            response.outcome(),
            refused(403, "AU-0002"),
            "{method} {path}"
        );
    }
    unit.set_acl("c", &ace(role, &["p:root"])).await;
    let request = unit.request("GET", "c/__snapshot/s.zip").bearer(&token);
    request.send().await.expect(200);
}

#[tokio::test]
async fn snapshots_of_a_removed_cell_are_not_those_of_its_successor() {
    let unit = TestUnit::new().await;
    unit.put_file("c/__snapshot/s.zip", "x").await;
    let remove = unit.admin_request("DELETE", "c");
    let remove = remove.header("x-personium-recursive", "true");
    remove.send().await.expect(204);
    unit.create("__ctl/Cell", r#"{"Name":"c"}"#).await;
    assert!(!list(&unit, FOLDER).await.contains("s.zip"));
}
