//! Limits of requests: memory, time, sizes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use personium_model::Settings;
use personium_testkit::{TestResponse, TestUnit, escape, refused, success};
use serde_json::{Value, json};

use super::{declare_property, odata_unit};

async fn get(unit: &TestUnit, query: &str) -> TestResponse {
    unit.admin_request("GET", &format!("c/b/od/{query}"))
        .send()
        .await
}

async fn ids(unit: &TestUnit, query: &str) -> Vec<String> {
    let response = get(unit, &format!("{query}&$format=json")).await;
    assert_eq!(response.status, 200, "{query}: {}", response.text());
    let list = response.json()["d"]["results"].clone();
    let id = |entity: &Value| entity["__id"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn entity_with_more_properties_than_allowed_is_refused() {
    let unit = odata_unit(|s| s.odata.properties_max = 20).await;
    let members = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("\"m{n}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    for (count, outcome) in [
        (10, success(201)),
        (50_000, refused(400, "OD-0032")),
        (100_001, refused(400, "OD-0001")),
    ] {
        let response = unit
            .admin_request("POST", "c/b/od/A")
            .body(members(count))
            .send()
            .await;
        assert_eq!(response.outcome(), outcome, "{count}");
    }
    let same = format!("{{{}\"m\":7}}", "\"m\":1,".repeat(50_000));
    let response = unit
        .admin_request("POST", "c/b/od/A")
        .body(&same)
        .send()
        .await;
    assert_eq!(
        response.json()["d"]["results"]["m"],
        7,
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn paging_options_of_links_are_checked_as_those_of_lists() {
    let unit = odata_unit(|_| {}).await;
    unit.create("c/b/od/A", r#"{"__id":"1"}"#).await;
    unit.create("c/__ctl/Role", r#"{"Name":"r"}"#).await;
    for (option, outcome) in [
        ("$top=-1", refused(400, "OD-0029")),
        ("$top=10001", refused(400, "OD-0029")),
        ("$top=a", refused(400, "OD-0036")),
        ("$top=", refused(400, "OD-0036")),
        ("$top=1.0", refused(400, "OD-0036")),
        ("$skip=-1", refused(400, "OD-0029")),
        ("$skip=100001", refused(400, "OD-0029")),
        ("$skip=x", refused(400, "OD-0036")),
        ("$top=1&$skip=1", success(200)),
    ] {
        for list in [
            "c/b/od/A",
            "c/b/od/A('1')/_B",
            "c/b/od/A('1')/$links/_B",
            "c/__ctl/Role('r')/$links/_Account",
        ] {
            let path = format!("{list}?{option}&$format=json");
            let found = unit.admin_outcome("GET", &path).await;
            assert_eq!(found, outcome, "{path}");
        }
    }
}

#[tokio::test]
async fn limit_of_properties_counts_those_of_complex_types() {
    // `T` has seven simple properties and a complex one of two members.
    let unit = super::typed_unit_with(|s| s.odata.properties_max = 12).await;
    for (body, outcome) in [
        (r#"{"x":1,"y":2}"#, success(201)),
        (r#"{"z":3}"#, refused(400, "OD-0032")),
        (r#"{"x":4}"#, success(201)),
    ] {
        let response = unit.post("c/b/od/T", body).await;
        assert_eq!(response.outcome(), outcome, "{body}");
    }
    let more = json!({"Name": "z", "_EntityType.Name": "T", "Type": "Edm.String"});
    let declared = unit
        .post("c/b/od/$metadata/Property", &more.to_string())
        .await;
    assert_eq!(declared.outcome(), refused(400, "OD-0032"));
}

#[tokio::test]
async fn entity_over_the_size_limit_is_refused() {
    let unit = odata_unit(|s| s.odata.entity_max_bytes = 3_000).await;
    let post = async |id: &str, text: usize| {
        let body = json!({"__id": id, "t": "x".repeat(text)}).to_string();
        let response = unit
            .admin_request("POST", "c/b/od/A")
            .body(&body)
            .send()
            .await;
        response.outcome()
    };
    assert_eq!(post("1", 2_900).await, success(201));
    assert_eq!(post("2", 3_001).await, refused(413, "MC-0001"));
    let merge = json!({"u": "x".repeat(200)}).to_string();
    let merged = unit
        .admin_request("MERGE", "c/b/od/A('1')")
        .body(&merge)
        .send()
        .await;
    assert_eq!(merged.outcome(), refused(413, "MC-0001"));
    assert_eq!(ids(&unit, "A?$top=5").await, ["1"]);
}

#[tokio::test]
async fn response_over_the_size_limit_is_refused() {
    let unit = odata_unit(|s| s.odata.response_max_bytes = 10_000).await;
    for n in 0..5 {
        let body = json!({"__id": n.to_string(), "t": "x".repeat(3_000)}).to_string();
        unit.create("c/b/od/A", &body).await;
        let child = json!({"t": "y".repeat(3_000)}).to_string();
        unit.create("c/b/od/A('0')/_B", &child).await;
    }
    for (query, outcome) in [
        ("A?$top=3", success(200)),
        ("A", refused(400, "OD-0051")),
        ("A?$top=3&$orderby=t", success(200)),
        ("A?$top=4&$orderby=t", refused(400, "OD-0051")),
        ("A('0')?$expand=_B", refused(400, "OD-0051")),
        ("A('1')?$expand=_B", success(200)),
        ("A('0')/_B?$top=3", success(200)),
        ("A('0')/_B", refused(400, "OD-0051")),
    ] {
        assert_eq!(get(&unit, query).await.outcome(), outcome, "{query}");
    }
    let part = "--b\nContent-Type: application/http\n\nGET A('1') HTTP/1.1\n\n\n";
    let batch = unit
        .admin_request("POST", "c/b/od/$batch")
        .header("content-type", "multipart/mixed; boundary=b")
        .body(format!("{}--b--", part.repeat(6)))
        .send()
        .await
        .text();
    assert_eq!(batch.matches("HTTP/1.1 200").count(), 3, "{batch}");
    assert_eq!(batch.matches("PR400-OD-0051").count(), 3, "{batch}");
}

#[tokio::test]
async fn request_bodies_share_a_memory_budget() {
    let unit = TestUnit::with_settings(|s| s.body_memory_max_bytes = 64 << 10).await;
    let role = |size: usize| {
        let name = json!({"Name": "r"}).to_string();
        format!("{name}{}", " ".repeat(size - name.len()))
    };
    let post = async |body: &str| {
        unit.admin_request("POST", "c/__ctl/Role")
            .body(body)
            .send()
            .await
    };
    assert_eq!(
        post(&role(70 << 10)).await.outcome(),
        refused(503, "SV-0002")
    );
    assert_eq!(post(&role(60 << 10)).await.status, 201);
    assert_eq!(
        post(&role(60 << 10)).await.outcome(),
        refused(409, "OD-0003")
    );
}

#[tokio::test]
async fn filter_with_too_many_full_text_terms_is_refused() {
    let unit = odata_unit(|_| {}).await;
    unit.create("c/b/od/A", r#"{"t":"some text"}"#).await;
    let filter = |count: usize| {
        let terms: Vec<String> = (0..count)
            .map(|n| format!("substringof('w{n}',t)"))
            .collect();
        format!("A?$filter={}", terms.join(" or ").replace(' ', "%20"))
    };
    assert_eq!(get(&unit, &filter(64)).await.status, 200);
    assert_eq!(
        get(&unit, &filter(65)).await.outcome(),
        refused(400, "OD-0051")
    );
}

/// A unit whose set `A` has texts that are slow to search.
async fn unit_with_long_texts(change: impl FnOnce(&mut Settings)) -> TestUnit {
    let unit = odata_unit(change).await;
    let text = "mot été ".repeat(2_000);
    for n in 0..40 {
        let body = json!({"__id": n.to_string(), "t": text}).to_string();
        unit.create("c/b/od/A", &body).await;
    }
    unit
}

const SEARCH: &str = "A?$filter=substringof('nowhere',t)";

#[tokio::test]
async fn long_query_yields_to_other_tasks() {
    let unit = unit_with_long_texts(|_| {}).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    tokio::task::yield_now().await;
    let before = turns.load(Ordering::Relaxed);
    assert_eq!(get(&unit, SEARCH).await.status, 200);
    let turns = turns.load(Ordering::Relaxed) - before;
    other.abort();
    assert!(turns >= 3, "{turns}");
}

#[tokio::test]
async fn query_over_the_time_limit_is_refused() {
    let unit = unit_with_long_texts(|s| s.odata.query_timeout = Duration::from_millis(1)).await;
    assert_eq!(get(&unit, SEARCH).await.outcome(), refused(400, "OD-0051"));
    assert_eq!(get(&unit, "A('1')").await.status, 200);
}

#[tokio::test]
async fn index_range_includes_values_longer_than_the_indexed_prefix() {
    let unit = odata_unit(|_| {}).await;
    declare_property(&unit, "A", "p", "Edm.String").await;
    let x = "x".repeat(510);
    for (id, text) in [
        ("1", format!("{x}ab")),
        ("2", format!("{x}いb")),
        ("3", "a".to_owned()),
    ] {
        let body = json!({"__id": id, "p": text}).to_string();
        unit.create("c/b/od/A", &body).await;
    }
    let bound = format!("{x}あ");
    for (operator, expected) in [("lt", ["1", "3"].as_slice()), ("gt", &["2"])] {
        let bound = escape(&bound);
        let mut found = ids(&unit, &format!("A?$filter=p%20{operator}%20'{bound}'")).await;
        found.sort();
        assert_eq!(found, expected, "{operator}");
    }
}

#[tokio::test]
async fn navigation_pages_through_linked_entities_of_a_to_one_association() {
    let unit = odata_unit(|s| s.odata.top_max = 3).await;
    unit.create("c/b/od/A", r#"{"__id":"1"}"#).await;
    for n in 0..5 {
        let body = json!({"__id": n.to_string()}).to_string();
        unit.create("c/b/od/A('1')/_B", &body).await;
    }
    let response = get(&unit, "A('1')/_B?$inlinecount=allpages&$top=1&$format=json").await;
    assert_eq!(response.json()["d"]["__count"], "5");
    assert_eq!(ids(&unit, "A('1')/_B?$skip=3&$top=3").await, ["3", "4"]);
}
