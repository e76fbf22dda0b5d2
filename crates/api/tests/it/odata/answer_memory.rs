//! The memory of answers, which all requests share.

use std::time::Duration;

use http_body_util::BodyExt;
use personium_api::Body;
use personium_testkit::{TestUnit, refused, success};
use serde_json::json;

use super::odata_unit;

const LIST: &str = "c/b/od/A?$top=30&$format=json";

/// A unit with a budget of 8 MiB, whose set `A` has 30 entities of 50 KB. The entity `0` has 30 linked ones of 50 KB.
async fn unit_with_large_entities() -> TestUnit {
    let unit = odata_unit(|s| s.answer_memory_max_bytes = 8 << 20).await;
    for n in 0..30 {
        let entity = json!({"__id": n.to_string(), "t": "x".repeat(50_000)}).to_string();
        unit.create("c/b/od/A", &entity).await;
        unit.create(
            "c/b/od/A('0')/_B",
            &json!({"t": "y".repeat(50_000)}).to_string(),
        )
        .await;
    }
    unit
}

/// The body of a successful response that is not read.
async fn unread(unit: &TestUnit, method: &str, path: &str) -> Body {
    let response = unit.admin_request(method, path).send_streaming().await;
    let response = response.unwrap();
    assert!(
        response.status().is_success(),
        "{path}: {}",
        response.status()
    );
    response.into_body()
}

/// Responses that are not read, until the cell `c` has no memory for more lists.
async fn exhaust(unit: &TestUnit) -> Vec<Body> {
    let mut unread_bodies = vec![unread(unit, "GET", LIST).await];
    loop {
        let request = unit.admin_request("GET", LIST);
        let next = request.send_streaming().await.unwrap();
        if next.status() == 503 {
            let retry = next.headers().get("retry-after").unwrap();
            assert_eq!(retry, "5");
            return unread_bodies;
        }
        unread_bodies.push(next.into_body());
        assert!(
            unread_bodies.len() < 20,
            "answers that nobody reads are not bounded"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn large_answers_of_one_cell_are_bounded_and_others_go_on() {
    let unit = unit_with_large_entities().await;
    unit.create_cell("other").await;
    unit.create_box("other", "b").await;
    unit.create_odata_collection("other/b/od", "A").await;
    for _ in 0..4 {
        let entity = json!({"t": "x".repeat(50_000)}).to_string();
        unit.create("other/b/od/A", &entity).await;
    }
    let unread_bodies = exhaust(&unit).await;
    // Each has 1.5 MB, a cell may have 2 MiB.
    assert_eq!(
        unread_bodies.len(),
        1 + usize::from(unread_bodies.len() > 1)
    );
    for (path, outcome) in [
        (LIST, refused(503, "SV-0002")),
        ("c/b/od/A?$top=30&$orderby=t", refused(503, "SV-0002")),
        ("c/b/od/A('0')?$expand=_B", refused(503, "SV-0002")),
        ("c/b/od/A('0')/_B", refused(503, "SV-0002")),
        ("c/b/od/A?$top=30&$format=atom", refused(503, "SV-0002")),
        ("c/b/od/A('0')/$links/_B", success(200)),
        ("c/b/od/$metadata", success(200)),
        ("c/b/od/A/$count", success(200)),
        ("other/b/od/A", success(200)),
    ] {
        assert_eq!(unit.admin_outcome("GET", path).await, outcome, "{path}");
    }
    drop(unread_bodies);
    for path in [LIST, "c/b/od/A('0')?$expand=_B", "c/b/od/A('0')/_B"] {
        assert_eq!(
            unit.admin_outcome("GET", path).await,
            success(200),
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn answer_that_waits_for_memory_is_whole() {
    let unit = unit_with_large_entities().await;
    let expected = unit.admin_request("GET", LIST).send().await.text();
    let mut unread_bodies = exhaust(&unit).await;
    let (waiting, received) = tokio::join!(unit.admin_request("GET", LIST).send(), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let first = unread_bodies.remove(0).collect().await.unwrap();
        unread_bodies.clear();
        first.to_bytes()
    });
    assert!(waiting.expect(200).text() == expected);
    assert!(received == expected);
}

#[tokio::test(start_paused = true)]
async fn entity_is_not_stored_if_there_is_no_memory_for_the_answer() {
    let unit = unit_with_large_entities().await;
    let unread_bodies = exhaust(&unit).await;
    let mut entity = json!({"__id": "new"});
    for n in 0..16 {
        entity[format!("t{n}")] = "x".repeat(50_000).into();
    }
    let entity = entity.to_string();
    let created = unit.post("c/b/od/A", &entity).await;
    assert_eq!(created.outcome(), refused(503, "SV-0002"));
    drop(unread_bodies);
    let found = unit.admin_outcome("GET", "c/b/od/A('new')").await;
    assert_eq!(found, refused(404, "OD-0002"));
    let created = unit.post("c/b/od/A", &entity).await;
    assert_eq!(created.expect(201).json()["d"]["results"]["__id"], "new");
}

#[tokio::test(start_paused = true)]
async fn large_answers_have_their_length_also_for_head() {
    let unit = unit_with_large_entities().await;
    let get = unit
        .admin_request("GET", LIST)
        .send_streaming()
        .await
        .unwrap();
    let size = http_body::Body::size_hint(get.body()).exact().unwrap();
    let bytes = get.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(size, bytes.len() as u64);
    let head = unit
        .admin_request("HEAD", LIST)
        .send_streaming()
        .await
        .unwrap();
    let length = head.headers().get("content-length").unwrap();
    assert_eq!(length.to_str().unwrap(), size.to_string());
}

#[tokio::test(start_paused = true)]
async fn files_and_listings_are_sent_in_small_chunks_when_memory_is_short() {
    let unit = unit_with_large_entities().await;
    unit.put_file("c/b/large", &"f".repeat(600_000)).await;
    unit.create_collection("c/b/many", "").await;
    for n in 0..100 {
        unit.put_file(&format!("c/b/many/{n}"), "x").await;
    }
    let whole = async |method: &str, path: &str| {
        let request = unit.admin_request(method, path).header("depth", "1");
        let response = request.send_streaming().await.unwrap();
        let (mut body, mut all, mut largest) = (response.into_body(), Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let chunk = frame.unwrap().into_data().unwrap();
            largest = largest.max(chunk.len());
            all.extend_from_slice(&chunk);
        }
        (all, largest)
    };
    // A cell may have 2 MiB. Each file that is not read has 256 KiB.
    for (method, path, readers) in [("GET", "c/b/large", 8), ("PROPFIND", "c/b/many", 7)] {
        let (expected, large) = whole(method, path).await;
        let mut unread_bodies = Vec::new();
        for _ in 0..readers {
            unread_bodies.push(unread(&unit, "GET", "c/b/large").await);
        }
        let (found, small) = whole(method, path).await;
        assert!(found == expected, "{method}");
        assert!(
            small < large && small < 20 << 10,
            "{method}: {small} of {large}"
        );
        drop(unread_bodies);
    }
}

#[tokio::test]
async fn error_message_repeats_only_the_begin_of_a_long_value() {
    let unit = odata_unit(|_| {}).await;
    let name = "n".repeat(500_000);
    let body = json!({"__id": "1", name: {}}).to_string();
    let refused = unit.post("c/b/od/A", &body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.len() < 10_000, "{}", refused.body.len());
}
