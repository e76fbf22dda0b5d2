//! Change sets of `$batch`: all of their changes are stored, or none.

use std::sync::Arc;

use personium_testkit::{Outcome, TestUnit, refused, success};
use serde_json::json;

use super::batch::{get, outcomes, send, statuses};
use super::{create_all, get_json, ids, odata_unit, token_with, unit_with_entities};

/// A request of a change set.
fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    format!(
        "--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
         {method} {target} HTTP/1.1\r\nContent-Type: application/json\r\n{headers}\r\n{body}\r\n"
    )
}

/// A request of a change set with a name.
fn named(id: &str, method: &str, target: &str, body: &str) -> String {
    let plain = request(method, target, "", body);
    plain.replacen("\r\n\r\n", &format!("\r\nContent-ID: {id}\r\n\r\n"), 1)
}

fn post(target: &str, body: &str) -> String {
    request("POST", target, "", body)
}

fn change_set(requests: &[String]) -> String {
    format!(
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n{}--c--\r\n",
        requests.concat()
    )
}

async fn results(unit: &TestUnit, requests: &[String]) -> Vec<Outcome> {
    outcomes(&send(unit, "master", &[change_set(requests)]).await)
}

#[tokio::test]
async fn failed_change_set_changes_nothing_and_has_the_response_of_the_request_that_failed() {
    let unit = odata_unit(|s| s.odata.properties_max = 4).await;
    create_all(&unit, "A", json!([{"__id": "old", "n": 1}])).await;
    unit.create("c/b/od/A('old')/_B", r#"{"__id":"b"}"#).await;
    let before = get_json(&unit, "A('old')").await.text();
    for (failing, outcome) in [
        (post("A", r#"{"__id":"old"}"#), refused(409, "OD-0003")),
        (post("A", r#"{"__id":"new1"}"#), refused(409, "OD-0003")),
        (post("A", "{"), refused(400, "OD-0001")),
        (post("A", r#"{"n":"text"}"#), refused(400, "OD-0006")),
        (
            post("A", r#"{"a":1,"b":1,"c":1,"d":1}"#),
            refused(400, "OD-0032"),
        ),
        (post("None", "{}"), refused(404, "OD-0001")),
        (post("A('none')/_B", "{}"), refused(404, "OD-0000")),
        (post("A('old')/_None", "{}"), refused(404, "OD-0003")),
        (
            post("A('old')/_B", r#"{"__id":"b"}"#),
            refused(409, "OD-0003"),
        ),
        (
            post("A('old')/$links/_B", r#"{"uri":"B('none')"}"#),
            refused(400, "OD-0006"),
        ),
        (
            post("A('old')/$links/_B", r#"{"uri":"B('b')"}"#),
            refused(409, "OD-0002"),
        ),
        (
            request("PUT", "A('none')", "", "{}"),
            refused(404, "OD-0002"),
        ),
        (
            request("MERGE", "A('none')", "", "{}"),
            refused(404, "OD-0002"),
        ),
        (
            request("PUT", "A('old')", "If-Match: W/\"9-9\"\r\n", "{}"),
            refused(412, "OD-0002"),
        ),
        (
            request("DELETE", "A('old')", "", ""),
            refused(409, "OD-0001"),
        ),
        (
            request("DELETE", "A('none')", "", ""),
            refused(404, "OD-0002"),
        ),
        (request("GET", "A('old')", "", ""), refused(400, "OD-0035")),
    ] {
        let change = request("MERGE", "A('old')", "", r#"{"n":2}"#);
        let one = post("A", r#"{"__id":"new1","added":1}"#);
        let other = post("A('old')/_B", r#"{"__id":"new2"}"#);
        for at in 1..=3 {
            let mut requests = vec![one.clone(), change.clone(), other.clone()];
            requests.insert(at, failing.clone());
            let found = results(&unit, &requests).await;
            assert_eq!(found, std::slice::from_ref(&outcome), "{at}: {failing}");
            assert_eq!(ids(&unit, "A").await, ["old"], "{at}: {failing}");
            assert_eq!(ids(&unit, "B").await, ["b"], "{at}: {failing}");
            let after = get_json(&unit, "A('old')").await.text();
            assert_eq!(after, before, "{at}: {failing}");
        }
    }
}

#[tokio::test]
async fn parts_outside_a_failed_change_set_stand_alone() {
    let unit = odata_unit(|_| {}).await;
    let parts = [
        change_set(&[post("A", r#"{"__id":"1"}"#), post("A", r#"{"__id":"2"}"#)]),
        get("A('1')"),
        change_set(&[post("A", r#"{"__id":"3"}"#), post("A", r#"{"__id":"1"}"#)]),
        get("A('3')"),
        change_set(&[post("A", r#"{"__id":"3"}"#)]),
        get("A('none')"),
        change_set(&[
            request("DELETE", "A('2')", "", ""),
            post("A", r#"{"__id":"2"}"#),
        ]),
    ];
    let response = send(&unit, "master", &parts).await;
    let found = statuses(&outcomes(&response));
    assert_eq!(found, [201, 201, 200, 409, 404, 201, 404, 204, 201]);
    assert_eq!(ids(&unit, "A?$orderby=__id").await, ["1", "2", "3"]);
    // The response to the failed change set is no change set.
    let text = response.text();
    let failed = text.split("HTTP/1.1 409").next().unwrap();
    let opened = failed.matches("multipart/mixed").count();
    assert_eq!((opened, failed.matches("--c--").count()), (1, 1), "{text}");
    let head = "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    assert!(failed.ends_with(head), "{text}");
}

#[tokio::test]
async fn requests_of_a_change_set_see_the_changes_before_them() {
    let unit = unit_with_entities(json!([{"__id": "old", "n": 1}])).await;
    let found = results(
        &unit,
        &[
            post("A", r#"{"__id":"1","added":1}"#),
            request("MERGE", "A('1')", "", r#"{"added":2,"more":"x"}"#),
            post("A('1')/_B", r#"{"__id":"b"}"#),
            post("B", r#"{"__id":"c"}"#),
            post("A('1')/$links/_B", r#"{"uri":"B('c')"}"#),
            request("PUT", "B('b')", "", r#"{"m":1}"#),
            request("DELETE", "A('old')", "", ""),
            post("A", r#"{"__id":"old","added":3,"more":"y"}"#),
        ],
    )
    .await;
    assert_eq!(
        statuses(&found),
        [201, 204, 201, 201, 204, 204, 204, 201],
        "{found:?}"
    );
    let entity = get_json(&unit, "A('1')").await.results();
    assert_eq!(
        (&entity["added"], &entity["more"]),
        (&json!(2), &json!("x"))
    );
    assert_eq!(ids(&unit, "A('1')/_B?$orderby=__id").await, ["b", "c"]);
    assert_eq!(get_json(&unit, "B('b')").await.results()["m"], 1);
    assert_eq!(ids(&unit, "A?$filter=added eq 3").await, ["old"]);
    let list = get_json(&unit, "A?$inlinecount=allpages").await.json();
    assert_eq!(list["d"]["__count"], "2");
    // Each of the new properties is declared once.
    for name in ["added", "more"] {
        let path = format!("$metadata/Property?$filter=Name eq '{name}'");
        let found = get_json(&unit, &path).await.results();
        assert_eq!(found.as_array().unwrap().len(), 1, "{name}: {found}");
    }
}

#[tokio::test]
async fn content_ids_are_repeated_and_references_lead_to_the_entities_of_earlier_requests() {
    let unit = unit_with_entities(json!([{"__id": "it's old"}])).await;
    let set = change_set(&[
        named("1", "POST", "A", r#"{"__id":"a/b c'd","n":1}"#),
        named("id-2", "POST", "$1/_B", r#"{"__id":"x"}"#),
        named("3", "POST", "B", "{}"),
        post("$1/$links/_B", r#"{"uri":"$3"}"#),
        request("MERGE", "$1", "", r#"{"n":2}"#),
        named("7", "MERGE", "A('it''s%20old')", r#"{"n":7}"#),
        post("$7/_B", r#"{"__id":"y"}"#),
    ]);
    let response = send(&unit, "master", &[set]).await;
    let found = statuses(&outcomes(&response));
    let text = response.text();
    assert_eq!(found, [201, 201, 201, 204, 204, 204, 201], "{text}");
    for id in ["1", "id-2", "3", "7"] {
        let line = format!("\r\nContent-ID: {id}\r\n");
        assert_eq!(text.matches(&line).count(), 1, "{id}: {text}");
    }
    let path = "A('a%2Fb%20c''d')";
    assert_eq!(get_json(&unit, path).await.results()["n"], 2);
    assert_eq!(ids(&unit, &format!("{path}/_B")).await.len(), 2);
    assert_eq!(ids(&unit, "A('it''s%20old')/_B").await, ["y"]);
}

#[tokio::test]
async fn reference_to_no_earlier_request_is_refused() {
    let unit = odata_unit(|_| {}).await;
    let create = named("1", "POST", "A", r#"{"__id":"1"}"#);
    let refer = request("MERGE", "$1", "", "{}");
    let alone = |request: &String| change_set(std::slice::from_ref(request));
    let other = [alone(&create), alone(&refer)];
    for parts in [
        &other[..],
        &[change_set(&[refer.clone(), create.clone()])],
        &[change_set(&[create.clone(), post("$2/_B", "{}")])],
        &[change_set(&[create.clone(), create.clone()])],
    ] {
        let response = send(&unit, "master", parts).await;
        assert_eq!(response.status, 400, "{parts:?}");
        assert_eq!(ids(&unit, "A").await, Vec::<String>::new(), "{parts:?}");
    }
    // A path that the method does not support is found when the reference is followed.
    let found = results(&unit, &[create, post("$1", "{}")]).await;
    assert_eq!(found, [refused(400, "OD-0034")]);
    assert_eq!(ids(&unit, "A").await, Vec::<String>::new());
}

#[tokio::test]
async fn conditions_of_a_change_set_hold_for_each_request() {
    let unit = unit_with_entities(json!([{"__id": "1"}, {"__id": "2"}])).await;
    let tag = |id: &str| {
        let path = format!("A('{id}')");
        let unit = &unit;
        async move {
            let response = get_json(unit, &path).await;
            response.header("etag").unwrap().to_owned()
        }
    };
    let (one, two) = (tag("1").await, tag("2").await);
    let merge = |id: &str, tag: &str| {
        let header = format!("If-Match: {tag}\r\n");
        request("MERGE", &format!("A('{id}')"), &header, r#"{"n":1}"#)
    };
    let found = results(&unit, &[merge("1", &one), merge("2", &one)]).await;
    assert_eq!(found, [refused(412, "OD-0002")]);
    assert_eq!(tag("1").await, one);
    let found = results(&unit, &[merge("1", &one), merge("2", &two)]).await;
    assert_eq!(found, [success(204), success(204)]);
    // The first request of a change set changes the tag for the second.
    let one = tag("1").await;
    let found = results(&unit, &[merge("1", &one), merge("1", &one)]).await;
    assert_eq!(found, [refused(412, "OD-0002")]);
    assert_eq!(tag("1").await, one);
}

#[tokio::test]
async fn change_set_needs_the_privilege_to_write() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    let token = token_with(&unit, &[]).await;
    let set = change_set(&[
        post("A", r#"{"__id":"2"}"#),
        request("MERGE", "A('1')", "", "{}"),
        post("A('1')/_B", "{}"),
    ]);
    for (privilege, expected) in [("D:read", &[403][..]), ("D:write", &[201, 204, 201])] {
        unit.grant_to_role("c/b/od", "r", &[privilege]).await;
        let response = send(&unit, &token, std::slice::from_ref(&set)).await;
        assert_eq!(statuses(&outcomes(&response)), expected, "{privilege}");
    }
    assert_eq!(ids(&unit, "A?$orderby=__id").await, ["1", "2"]);
}

#[tokio::test]
async fn change_set_with_too_large_changes_is_refused_as_a_whole() {
    let unit = odata_unit(|s| s.odata.batch_body_max_bytes = 10_000).await;
    for id in 0..3 {
        let entity = json!({"__id": id.to_string(), "n": 0, "t": "x".repeat(4_000)});
        unit.create("c/b/od/A", &entity.to_string()).await;
    }
    let merges: Vec<String> = (0..3)
        .map(|id| request("MERGE", &format!("A('{id}')"), "", r#"{"n":1}"#))
        .collect();
    let found = results(&unit, &merges).await;
    assert_eq!((found.len(), found[0].0), (1, 413), "{found:?}");
    assert_eq!(ids(&unit, "A?$filter=n eq 1").await, Vec::<String>::new());
    assert_eq!(statuses(&results(&unit, &merges[..2]).await), [204, 204]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_change_sets_do_not_mix() {
    let unit = Arc::new(odata_unit(|_| {}).await);
    create_all(&unit, "A", json!([{"__id": "1"}, {"__id": "2"}])).await;
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let unit = Arc::clone(&unit);
            tokio::spawn(async move {
                let merge = |id: &str| {
                    let body = json!({"n": n}).to_string();
                    request("MERGE", &format!("A('{id}')"), "", &body)
                };
                let create = post("B", &json!({"__id": n.to_string()}).to_string());
                results(&unit, &[merge("1"), create, merge("2")]).await
            })
        })
        .collect();
    let mut stored = 0;
    for task in tasks {
        match statuses(&task.await.unwrap()).as_slice() {
            [204, 201, 204] => stored += 1,
            // Too many concurrent requests; nothing is stored.
            [503] => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(stored > 0);
    assert_eq!(ids(&unit, "B").await.len(), stored);
    let one = get_json(&unit, "A('1')").await.results();
    let two = get_json(&unit, "A('2')").await.results();
    assert_eq!(one["n"], two["n"]);
    let version = one["__metadata"]["etag"].as_str().unwrap().to_owned();
    assert!(version.contains(&format!("\"{}-", stored + 1)), "{version}");
}
