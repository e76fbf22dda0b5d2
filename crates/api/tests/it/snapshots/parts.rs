//! Snapshots that are uploaded in parts.

use personium_testkit::{Outcome, TestResponse, TestUnit, ace, refused, success};

const PATH: &str = "c/__snapshot/s.zip";

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

const UPLOAD: &str = "x-personium-upload";

async fn put(unit: &TestUnit, upload: &str, range: &str, body: &[u8]) -> TestResponse {
    let request = unit.admin_request("PUT", PATH);
    let request = request
        .header("content-range", range)
        .header("content-type", "application/zip");
    let request = match upload {
        "" => request,
        upload => request.header(UPLOAD, upload),
    };
    request.body(body).send().await
}

/// Puts a part of a content.
async fn put_part(
    unit: &TestUnit,
    upload: &str,
    content: &[u8],
    (first, end): (usize, usize),
) -> TestResponse {
    let range = format!("bytes {first}-{}/{}", end - 1, content.len());
    put(unit, upload, &range, &content[first..end]).await
}

/// Puts the first part of a content. Returns the id of the upload.
async fn begin(unit: &TestUnit, content: &[u8], end: usize) -> String {
    let first = put_part(unit, "", content, (0, end)).await.expect(202);
    let range = format!("bytes=0-{}", end - 1);
    assert_eq!(first.header("range"), Some(&*range));
    first.header(UPLOAD).unwrap().to_owned()
}

/// The status and the range of the answer to a question about an upload.
async fn state(unit: &TestUnit, upload: &str, total: usize) -> (u16, Option<String>) {
    let asked = put(unit, upload, &format!("bytes */{total}"), b"").await;
    let range = asked.header("range").map(str::to_owned);
    (asked.status.as_u16(), range)
}

async fn names(unit: &TestUnit) -> String {
    let request = unit.admin_request("PROPFIND", "c/__snapshot");
    request.header("depth", "1").send().await.expect(207).text()
}

#[tokio::test]
async fn upload_goes_on_where_it_was_interrupted_and_becomes_one_file() {
    let unit = TestUnit::new().await;
    let whole = content(700_000);
    assert_eq!(state(&unit, "", whole.len()).await, (202, None));
    let upload = &begin(&unit, &whole, 300_000).await;
    // The connection ends in the middle of a part: what was sent of it is not kept.
    let request = unit.admin_request("PUT", PATH);
    let request = request.header("content-range", "bytes 300000-699999/700000");
    let request = request.header(UPLOAD, upload);
    let cut = request.body(&whole[300_000..400_000]).send().await;
    assert_eq!(cut.outcome(), refused(400, "DV-0009"));
    let shown = (202, Some("bytes=0-299999".to_owned()));
    assert_eq!(state(&unit, upload, whole.len()).await, shown);
    // Whoever has missed the first answer learns the id of the only upload that there is.
    let asked = put(&unit, "", "bytes */700000", b"").await;
    assert_eq!(asked.header(UPLOAD), Some(&**upload));
    assert_eq!(asked.header("range"), Some("bytes=0-299999"));
    assert_eq!(unit.admin_request("GET", PATH).send().await.status, 404);
    let part = format!("s.zip.part-{upload}-0-700000<");
    assert!(names(&unit).await.contains(&part));

    let next = put_part(&unit, upload, &whole, (300_000, 300_001)).await;
    assert_eq!(next.expect(202).header(UPLOAD), Some(&**upload));
    let last = put_part(&unit, upload, &whole, (300_001, 700_000)).await;
    let last = last.expect(201);
    let got = unit.admin_request("GET", PATH).send().await.expect(200);
    assert!(got.body == whole);
    assert_eq!(got.header("content-type"), Some("application/zip"));
    assert_eq!(got.header("etag"), last.header("etag"));
    assert!(!names(&unit).await.contains(".part-"));

    // Again, in place of the one that is there.
    let etag = got.header("etag").unwrap().to_owned();
    let shorter = content(10);
    let upload = &begin(&unit, &shorter, 5).await;
    let last = put_part(&unit, upload, &shorter, (5, 10)).await;
    last.expect(204);
    let got = unit.admin_request("GET", PATH).send().await.expect(200);
    assert!(got.body == shorter && got.header("etag") != Some(&etag));
}

#[tokio::test]
async fn parts_that_do_not_follow_are_refused_and_change_nothing() {
    let unit = TestUnit::new().await;
    let whole = content(100);
    let upload = &begin(&unit, &whole, 40).await;
    let gap = put_part(&unit, upload, &whole, (41, 60)).await;
    assert_eq!(gap.outcome(), refused(416, "DV-0001"));
    let overlap = put_part(&unit, upload, &whole, (39, 60)).await;
    assert_eq!(overlap.outcome(), refused(416, "DV-0001"));
    let invalid: [(&str, usize); 10] = [
        // Another total.
        ("bytes 40-59/101", 20),
        ("bytes */99", 0),
        // Another length of the body.
        ("bytes 40-59/100", 19),
        ("bytes 40-59/100", 21),
        ("bytes */100", 5),
        // Not valid.
        ("bytes 59-40/100", 20),
        ("bytes 90-109/100", 20),
        ("bytes 40-59/*", 20),
        ("bytes 40-59", 20),
        ("chars 40-59/100", 20),
    ];
    for (range, length) in invalid {
        let response = put(&unit, upload, range, &whole[..length]).await;
        assert_eq!(response.outcome(), refused(400, "DV-0009"), "{range}");
    }
    let shown = (202, Some("bytes=0-39".to_owned()));
    assert_eq!(state(&unit, upload, 100).await, shown);
    let last = put_part(&unit, upload, &whole, (40, 100)).await;
    last.expect(201);
    let got = unit.admin_request("GET", PATH).send().await.expect(200);
    assert!(got.body == whole);

    // An upload that begins anew forgets the parts of the last one; one that is given up is removed as files are.
    begin(&unit, &whole, 60).await;
    let other = content(50);
    let upload = &begin(&unit, &other, 20).await;
    let shown = (202, Some("bytes=0-19".to_owned()));
    assert_eq!(state(&unit, upload, 50).await, shown);
    let part = format!("c/__snapshot/s.zip.part-{upload}-0-50");
    let part = unit.admin_request("DELETE", &part);
    part.send().await.expect(204);
    assert_eq!(state(&unit, upload, 50).await, (202, None));
    let got = unit.admin_request("GET", PATH).send().await.expect(200);
    assert!(got.body == whole);
}

#[tokio::test]
async fn part_of_an_earlier_upload_never_becomes_one_of_a_later_one() {
    let unit = TestUnit::new().await;
    let (old, new) = (vec![b'o'; 100], vec![b'n'; 100]);
    let earlier = &begin(&unit, &old, 40).await;
    let later = &begin(&unit, &new, 40).await;
    assert_ne!(earlier, later);
    // One that was sent before the later upload began, and arrives now: what it follows is gone.
    let stalled = put_part(&unit, earlier, &old, (40, 70)).await;
    assert_eq!(stalled.outcome(), refused(416, "DV-0001"));
    // One that was accepted before, and is stored now: its name is that of its upload.
    let path = format!("c/__snapshot/s.zip.part-{earlier}-40-100");
    unit.put_file(&path, &"o".repeat(30)).await;
    let shown = |end: usize| (202, Some(format!("bytes=0-{}", end - 1)));
    assert_eq!(state(&unit, later, 100).await, shown(40));
    let next = put_part(&unit, later, &new, (40, 70)).await;
    next.expect(202);
    assert_eq!(state(&unit, later, 100).await, shown(70));
    // A part that says nothing about its upload, or nonsense, could be one of any.
    for upload in ["", "x", &"0".repeat(31), &"G".repeat(32)] {
        let part = put_part(&unit, upload, &new, (70, 100)).await;
        assert_eq!(part.outcome(), refused(400, "DV-0009"), "{upload}");
    }
    let other = put_part(&unit, &"0".repeat(32), &new, (70, 100)).await;
    assert_eq!(other.outcome(), refused(416, "DV-0001"));
    // The first part of the earlier one, which was accepted before too: there are two uploads, and each is itself.
    let path = format!("c/__snapshot/s.zip.part-{earlier}-0-100");
    unit.put_file(&path, &"o".repeat(40)).await;
    assert_eq!(state(&unit, earlier, 100).await, shown(70));
    assert_eq!(state(&unit, later, 100).await, shown(70));
    assert_eq!(state(&unit, "", 100).await, (202, None));
    let last = put_part(&unit, later, &new, (70, 100)).await;
    last.expect(201);
    let got = unit.admin_request("GET", PATH).send().await.expect(200);
    assert!(got.body == new);
    assert!(!names(&unit).await.contains(".part-"));
}

#[tokio::test]
async fn names_that_no_xml_can_have_are_refused() {
    let unit = TestUnit::new().await;
    for name in ["a%EF%BF%BE.zip", "%EF%BF%BF", "a%01", "a%EF%BF%BFb.zip"] {
        let path = format!("c/__snapshot/{name}");
        let put = unit.admin_request("PUT", &path).body("x").send().await;
        assert_eq!(put.outcome(), refused(403, "DV-0004"), "{name}");
        let part = unit.admin_request("PUT", &path);
        let part = part.header("content-range", "bytes 0-0/2").body("x");
        assert_eq!(part.send().await.outcome(), refused(403, "DV-0004"));
    }
    assert_eq!(names(&unit).await.matches("<response>").count(), 1);
    // U+FFFD is a character of XML.
    unit.put_file("c/__snapshot/a%EF%BF%BD.zip", "x").await;
}

#[tokio::test]
async fn each_part_needs_what_the_whole_needs() {
    let unit = TestUnit::with_settings(|settings| settings.dav.file_max_bytes = Some(1_000)).await;
    let whole = content(100);
    unit.create_role("c", "writer").await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.link("c", "Account('me')", "_Role", "Role('writer')")
        .await;
    let role = "http://unit.example/c/__role/__/writer";
    unit.set_acl("c", &ace(role, &["D:read", "D:write", "p:box"]))
        .await;
    let token = unit.access_token("c").await;
    let part = |token: &str| {
        let request = unit.request("PUT", PATH).bearer(token);
        let request = request.header("content-range", "bytes 0-49/100");
        request.body(&whole[..50])
    };
    assert_eq!(part(&token).send().await.outcome(), refused(403, "AU-0002"));
    assert_eq!(names(&unit).await.matches("<response>").count(), 1);
    // The length of the whole is known from the first part on.
    let large = put(&unit, "", "bytes 0-49/1001", &whole[..50]).await;
    assert_eq!(large.outcome().0, 413);
    assert_eq!(names(&unit).await.matches("<response>").count(), 1);
    unit.set_acl("c", &ace(role, &["p:root"])).await;
    assert_eq!(part(&token).send().await.outcome(), success(202));

    unit.put_file(PATH, "old").await;
    let matching = unit
        .admin_request("PUT", PATH)
        .header("if-match", "\"9-9\"");
    let matching = matching.header("content-range", "bytes 0-49/100");
    let matching = matching.body(&whole[..50]).send().await;
    assert_eq!(matching.outcome(), refused(412, "DV-0001"));

    // Elsewhere a part is never taken for the whole.
    let elsewhere: [(&str, Outcome); 3] = [
        ("c/b/s.zip", refused(400, "DV-0009")),
        ("c/b/__snapshot/s.zip", refused(400, "DV-0009")),
        ("c/__snapshot/a/s.zip", refused(400, "DV-0009")),
    ];
    for (path, outcome) in elsewhere {
        let request = unit.admin_request("PUT", path);
        let request = request.header("content-range", "bytes 0-49/100");
        let response = request.body(&whole[..50]).send().await;
        assert_eq!(response.outcome(), outcome, "{path}");
    }
}

#[tokio::test]
async fn upload_of_a_snapshot_in_parts_fits_into_a_quota_for_one() {
    let unit = TestUnit::new().await;
    let whole = content(600_000);
    let quota = serde_json::json!({"cell": "c", "quota": 900_000}).to_string();
    assert!(
        unit.admin()
            .post("__quota", &quota)
            .await
            .status
            .is_success()
    );
    let upload = &begin(&unit, &whole, 300_000).await;
    let last = put_part(&unit, upload, &whole, (300_000, 600_000)).await;
    last.expect(201);
    let larger = content(1_200_000);
    let refused = put_part(&unit, "", &larger, (0, 10)).await;
    assert_eq!(refused.status, 507);
}
