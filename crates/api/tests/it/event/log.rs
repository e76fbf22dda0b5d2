//! The event log, `__log`.

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use personium_api::BoxError;
use personium_store::{Key, KeyRange, Space, StoreError};
use personium_testkit::{TestUnit, refused, success};
use serde_json::json;

use super::{LOG, longest_text, wait_until};
use crate::event::{create_rule, log_lines, post_event};

async fn propfind(unit: &TestUnit, path: &str, depth: &str) -> String {
    let response = unit
        .admin_request("PROPFIND", path)
        .header("depth", depth)
        .send()
        .await;
    assert_eq!(response.status, 207, "{}", response.text());
    response.text()
}

/// Lists the names of the archives.
async fn log_archives(unit: &TestUnit) -> Vec<String> {
    let listing = propfind(unit, "c/__log/archive", "1").await;
    let hrefs = listing.split("<href>").skip(2);
    hrefs
        .map(|rest| {
            let url = rest.split('<').next().unwrap();
            url.rsplit('/').next().unwrap().to_owned()
        })
        .collect()
}

/// Posts events until the log is archived.
async fn fill_log(unit: &TestUnit) {
    let last = log_archives(unit).await.last().cloned();
    for _ in 0..21 {
        assert_eq!(
            post_event(unit, json!({"Info": longest_text()}))
                .await
                .outcome(),
            success(200)
        );
    }
    wait_until("an archive", async || {
        log_archives(unit).await.last().cloned() != last
    })
    .await;
}

#[tokio::test]
async fn empty_event_log_is_served_and_listed() {
    let unit = TestUnit::new().await;
    let response = unit.admin_request("GET", LOG).send().await;
    assert_eq!(
        (response.status.as_u16(), response.text()),
        (200, String::new())
    );
    assert_eq!(response.header("content-type"), Some("text/csv"));
    for folder in ["current", "archive"] {
        let listing = propfind(&unit, &format!("c/__log/{folder}"), "1").await;
        assert_eq!(listing.matches("<response>").count(), 1, "{listing}");
        assert!(listing.contains(&format!(
            "<href>http://unit.example/c/__log/{folder}</href>"
        )));
    }
    let request = unit.admin_request("PROPFIND", LOG).header("depth", "0");
    assert_eq!(request.send().await.outcome(), refused(404, "DV-0001"));
}

#[tokio::test]
async fn event_log_has_line_levels_and_a_content_length() {
    let unit = TestUnit::new().await;
    for (kind, action) in [("i", "log.info"), ("w", "log.warn"), ("e", "log.error")] {
        create_rule(&unit, kind, json!({"Action": action, "EventType": kind})).await;
        post_event(&unit, json!({"Type": kind})).await;
    }
    let lines = log_lines(&unit, "c").await;
    for (line, level) in lines.iter().zip(["INFO ", "WARN ", "ERROR"]) {
        assert!(line.contains(&format!(",[{level}],")), "{line}");
    }
    let size = unit.admin_request("GET", LOG).send().await.body.len();
    for path in [LOG, "c/__log/current"] {
        let listing = propfind(&unit, path, "1").await;
        assert!(
            listing.contains(&format!("<getcontentlength>{size}</getcontentlength>")),
            "{listing}"
        );
        assert!(listing.contains("<getcontenttype>text/csv</getcontenttype>"));
    }
    let alone = propfind(&unit, "c/__log/current", "0").await;
    assert!(!alone.contains("default.log"), "{alone}");
}

#[tokio::test]
async fn invalid_event_log_requests_are_refused() {
    let unit = TestUnit::new().await;
    let body = |inside: &str| format!("<D:propfind xmlns:D='DAV:'>{inside}</D:propfind>");
    for (depth, body, outcome) in [
        (None, String::new(), refused(400, "DV-0003")),
        (Some("2"), String::new(), refused(400, "DV-0003")),
        (Some("infinity"), String::new(), refused(403, "DV-0001")),
        (Some("0"), body("<D:hoge/>"), refused(400, "DV-0002")),
        (Some("0"), body(""), refused(400, "DV-0002")),
        (
            Some("0"),
            "<D:allprop xmlns:D='DAV:'/>".to_owned(),
            refused(400, "DV-0002"),
        ),
        (Some("0"), "<D:propfind".to_owned(), refused(400, "DV-0001")),
        (Some("0"), body("<D:allprop/>"), success(207)),
        (Some("1"), String::new(), success(207)),
    ] {
        let mut request = unit.admin_request("PROPFIND", "c/__log/archive");
        if let Some(depth) = depth {
            request = request.header("depth", depth);
        }
        let response = request.body(&body).send().await;
        assert_eq!(response.outcome(), outcome, "{depth:?} {body}");
    }
    for (method, path, outcome) in [
        ("GET", "c/__log/current", refused(405, "MC-0001")),
        ("DELETE", "c/__log/archive", refused(405, "MC-0001")),
        ("PUT", LOG, refused(405, "MC-0001")),
        ("GET", "c/__log", refused(404, "MC-0001")),
        ("GET", "c/__log/other/default.log", refused(404, "MC-0001")),
        ("GET", "c/__log/current/other.log", refused(404, "DV-0001")),
        (
            "GET",
            "c/__log/archive/default.log",
            refused(404, "DV-0001"),
        ),
        (
            "GET",
            "c/__log/archive/default.log.",
            refused(404, "DV-0001"),
        ),
        (
            "DELETE",
            "c/__log/archive/default.log.5",
            refused(404, "DV-0001"),
        ),
        ("DELETE", LOG, refused(400, "EV-0005")),
    ] {
        assert_eq!(
            unit.admin_outcome(method, path).await,
            outcome,
            "{method} {path}"
        );
    }
}

/// A time that no log is changed after, and one that none is changed before.
const LONG_AGO: &str = "Sat, 01 Jan 2000 00:00:00 GMT";
const FAR: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

#[tokio::test]
async fn conditions_on_a_log_compare_the_time_of_its_last_line() {
    let unit = TestUnit::new().await;
    create_rule(&unit, "all", json!({"Action": "log"})).await;
    fill_log(&unit).await;
    post_event(&unit, json!({})).await;
    unit.advance_clock(1_000);
    let archive = format!("c/__log/archive/{}", log_archives(&unit).await[0]);
    for path in [LOG, &archive] {
        let response = unit.admin_request("GET", path).send().await;
        let modified = response.header("last-modified").unwrap();
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        for (name, value, get, propfind) in [
            ("if-modified-since", modified, 304, 207),
            ("if-modified-since", FAR, 304, 207),
            ("if-modified-since", LONG_AGO, 200, 207),
            ("if-unmodified-since", modified, 200, 207),
            ("if-unmodified-since", LONG_AGO, 412, 412),
            ("if-none-match", "\"9-9\"", 200, 207),
            ("if-none-match", "*", 200, 412),
            ("if-match", "\"9-9\"", 412, 412),
            ("if", "(<urn:x>)", 412, 412),
        ] {
            for (method, expected) in [("GET", get), ("HEAD", get), ("PROPFIND", propfind)] {
                let request = unit.admin_request(method, path).header("depth", "0");
                let response = request.header(name, value).send().await;
                assert_eq!(response.status, expected, "{method} {path} {name}: {value}");
                if expected == 304 {
                    assert!(response.body.is_empty());
                    assert_eq!(response.header("last-modified"), Some(modified));
                }
            }
        }
    }
    for path in ["c/__log/current", "c/__log/archive"] {
        let request = unit.admin_request("PROPFIND", path).header("depth", "0");
        let response = request.header("if-match", "\"9-9\"").send().await;
        assert_eq!(response.outcome(), refused(412, "DV-0001"), "{path}");
    }
    for (name, value, outcome) in [
        ("if-unmodified-since", LONG_AGO, refused(412, "DV-0001")),
        ("if-match", "\"9-9\"", refused(412, "DV-0001")),
        ("if-unmodified-since", FAR, success(204)),
    ] {
        let request = unit.admin_request("DELETE", &archive).header(name, value);
        assert_eq!(request.send().await.outcome(), outcome, "{name}: {value}");
    }
}

#[tokio::test]
async fn log_that_may_still_change_in_the_same_second_has_no_date() {
    let unit = TestUnit::new().await;
    create_rule(&unit, "all", json!({"Action": "log"})).await;
    let get = async || unit.admin_request("GET", LOG).send().await;
    let empty = get().await;
    assert_eq!(empty.header("last-modified"), None);
    let stale = unit.admin_request("GET", LOG).header("if-match", "\"9-9\"");
    assert_eq!(stale.send().await.status, 412);
    // At the beginning of a second, so that the requests below are in it.
    unit.advance_clock(1_000 - unit.model.now_ms() % 1_000);
    post_event(&unit, json!({})).await;
    assert_eq!(get().await.header("last-modified"), None);
    unit.advance_clock(1_000);
    assert!(get().await.header("last-modified").is_some());
}

#[tokio::test]
async fn event_with_a_false_condition_is_not_posted() {
    let unit = TestUnit::new().await;
    create_rule(&unit, "all", json!({"Action": "log"})).await;
    for (name, value, outcome) in [
        ("if-match", "\"9-9\"", refused(412, "DV-0001")),
        ("if-none-match", "*", refused(412, "DV-0001")),
        ("if", "(<urn:x>)", refused(412, "DV-0001")),
        ("if-modified-since", FAR, success(200)),
        ("if-match", "*", success(200)),
    ] {
        let request = unit.admin_request("POST", "c/__event").header(name, value);
        let response = request.body("{}").send().await;
        assert_eq!(response.outcome(), outcome, "{name}: {value}");
    }
    assert_eq!(log_lines(&unit, "c").await.len(), 2);
}

#[tokio::test]
async fn full_event_log_is_archived_and_the_oldest_archive_removed() {
    let unit = TestUnit::new().await;
    create_rule(&unit, "all", json!({"Action": "log"})).await;
    post_event(&unit, json!({"Type": "first"})).await;
    fill_log(&unit).await;
    let archives = log_archives(&unit).await;
    assert_eq!(archives.len(), 1);
    let first = &archives[0];
    assert!(
        log_lines(&unit, "c").await.is_empty(),
        "the current log begins anew"
    );
    let path = format!("c/__log/archive/{first}");
    let content = unit.admin_request("GET", &path).send().await;
    assert_eq!(content.header("content-type"), Some("text/csv"));
    assert_eq!(content.text().lines().count(), 22);
    assert!(content.text().lines().next().unwrap().contains("\"first\""));
    let listing = propfind(&unit, &path, "0").await;
    let size = format!(
        "<getcontentlength>{}</getcontentlength>",
        content.body.len()
    );
    assert!(listing.contains(&size), "{listing}");

    for _ in 0..12 {
        fill_log(&unit).await;
    }
    let kept = log_archives(&unit).await;
    assert_eq!(kept.len(), 12);
    assert!(!kept.contains(first));
    assert_eq!(
        unit.admin_outcome("GET", &path).await,
        refused(404, "DV-0001")
    );

    let second = format!("c/__log/archive/{}", kept[0]);
    assert_eq!(unit.admin_outcome("DELETE", &second).await, success(204));
    assert_eq!(
        unit.admin_outcome("DELETE", &second).await,
        refused(404, "DV-0001")
    );
    assert_eq!(log_archives(&unit).await, kept[1..]);
    // Removed lines are deleted from the store: eleven archives of 21 lines are left.
    wait_until("nothing but eleven archives", async || {
        unit.record_keys(b"G").await.len() == 11 * 21
    })
    .await;
}

#[tokio::test]
async fn event_posted_during_cell_removal_leaves_no_records() {
    let unit = TestUnit::new().await;
    create_rule(&unit, "all", json!({"Action": "log"})).await;
    post_event(&unit, json!({})).await;
    let space = Space::Cell(unit.cell_id().await);
    let other = unit.clone();
    let body = StreamBody::new(stream::once(async move {
        let remove = other
            .admin_request("DELETE", "c")
            .header("x-personium-recursive", "true");
        assert_eq!(remove.send().await.outcome(), success(204));
        other.model.resume_garbage_collection().await.unwrap();
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"{}")))
    }))
    .boxed_unsync();
    let late = unit
        .admin_request("POST", "c/__event")
        .stream(body)
        .send()
        .await;
    assert_eq!(late.outcome(), refused(404, "DV-0003"));
    let everything = KeyRange {
        start: Key::from_bytes(Vec::new()),
        end: None,
    };
    let left = unit.model.store().count(&space, &everything).await;
    assert!(matches!(left, Err(StoreError::SpaceDropped)), "{left:?}");
}
