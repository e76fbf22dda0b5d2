//! Concurrent and interrupted uploads and downloads.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use personium_api::{Body, BoxError};
use personium_testkit::{TestUnit, refused, success};

fn chunks(chunks: Vec<Result<Bytes, BoxError>>) -> Body {
    StreamBody::new(stream::iter(
        chunks.into_iter().map(|chunk| chunk.map(Frame::data)),
    ))
    .boxed_unsync()
}

#[tokio::test]
async fn interrupted_upload_leaves_nothing() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/old", "old").await;
    for size in [10, 300_000] {
        for path in ["c/b/new", "c/b/old"] {
            let body = chunks(vec![Ok(Bytes::from(vec![b'x'; size])), Err("gone".into())]);
            let response = unit.admin_request("PUT", path).stream(body).send().await;
            assert_eq!(response.outcome(), refused(400, "MC-0011"));
        }
    }
    assert_eq!(
        unit.admin_outcome("GET", "c/b/new").await,
        refused(404, "DV-0001")
    );
    assert_eq!(
        unit.admin_request("GET", "c/b/old").send().await.text(),
        "old"
    );
    assert_eq!(unit.blob_count().await, 0);
}

#[tokio::test]
async fn chunked_upload_is_stored_completely() {
    let unit = TestUnit::new().await;
    let mut all = Vec::new();
    let mut sent = Vec::new();
    for n in 0..40_u8 {
        let chunk = vec![n; 1 + usize::from(n) * 1_000];
        all.extend_from_slice(&chunk);
        sent.push(Ok(Bytes::from(chunk)));
    }
    let response = unit
        .admin_request("PUT", "c/b/a")
        .stream(chunks(sent))
        .send()
        .await;
    assert_eq!(response.status, 201);
    let response = unit.admin_request("GET", "c/b/a").send().await;
    assert_eq!(response.body, all);
    assert_eq!(unit.blob_count().await, 1);
}

#[tokio::test]
async fn upload_is_refused_by_size_and_by_a_removed_parent() {
    let unit = TestUnit::with_settings(|s| s.dav.file_max_bytes = Some(1_000)).await;
    let response = unit
        .admin_request("PUT", "c/b/a")
        .body("x".repeat(1_001))
        .send()
        .await;
    assert_eq!(response.outcome(), refused(413, "MC-0001"));
    let body = chunks(vec![
        Ok(Bytes::from(vec![0; 600])),
        Ok(Bytes::from(vec![0; 600])),
    ]);
    let response = unit.admin_request("PUT", "c/b/a").stream(body).send().await;
    assert_eq!(response.outcome(), refused(413, "MC-0001"));

    // The collection is deleted while the body is sent.
    unit.create_collection("c/b/col", "").await;
    let other = unit.clone();
    let body = StreamBody::new(stream::once(async move {
        assert_eq!(other.admin_outcome("DELETE", "c/b/col").await, success(204));
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"late")))
    }))
    .boxed_unsync();
    let response = unit
        .admin_request("PUT", "c/b/col/a")
        .stream(body)
        .send()
        .await;
    assert_eq!(response.outcome(), refused(409, "DV-0001"));
    assert!(unit.record_keys(b"BR").await.is_empty());
}

#[tokio::test]
async fn download_is_not_disturbed_by_a_concurrent_change() {
    let unit = TestUnit::new().await;
    let content = "a".repeat(3_000_000);
    unit.put_file("c/b/a", &content).await;
    let mut reading = unit
        .admin_request("GET", "c/b/a")
        .send_streaming()
        .await
        .unwrap()
        .into_body();
    let first = reading.frame().await.unwrap().unwrap().into_data().unwrap();
    unit.put_file("c/b/a", &"b".repeat(2_000_000)).await;
    assert_eq!(unit.admin_outcome("DELETE", "c/b/a").await, success(204));
    let rest = reading.collect().await.unwrap().to_bytes();
    assert_eq!(first.len() + rest.len(), content.len());
    assert!(rest.iter().all(|byte| *byte == b'a'));
    assert_eq!(unit.blob_count().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_puts_create_once_and_lose_no_version() {
    let unit = TestUnit::new().await;
    let writers: Vec<_> = (0..20)
        .map(|n| {
            let unit = unit.clone();
            tokio::spawn(async move {
                let text = "x".repeat(n * 2_000);
                unit.admin_request("PUT", "c/b/a")
                    .body(&text)
                    .send()
                    .await
                    .status
                    .as_u16()
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for writer in writers {
        outcomes.push(writer.await.unwrap());
    }
    outcomes.sort_unstable();
    assert_eq!((outcomes[0], outcomes[19]), (201, 204), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|s| **s == 201).count(), 1);
    // Twenty writes make twenty versions.
    let tag = unit
        .admin_request("GET", "c/b/a")
        .send()
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    assert!(tag.starts_with("\"20-"), "{tag}");
    let kept = unit.blob_count().await + unit.record_keys(b"B").await.len();
    assert_eq!(kept, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn member_limit_holds_under_concurrent_creations() {
    let unit = TestUnit::with_settings(|s| s.dav.children_max = 10).await;
    unit.create_collection("c/b/col", "").await;
    let writers: Vec<_> = (0..40)
        .map(|n| {
            let unit = unit.clone();
            tokio::spawn(async move {
                let method = if n % 2 == 0 { "PUT" } else { "MKCOL" };
                unit.admin_outcome(method, &format!("c/b/col/{n}")).await
            })
        })
        .collect();
    let mut made = 0;
    for writer in writers {
        match writer.await.unwrap() {
            (201, _) => made += 1,
            other => assert_eq!(other, refused(400, "DV-0007")),
        }
    }
    assert_eq!(made, 10);
    assert_eq!(
        unit.admin_outcome("PUT", "c/b/col/more").await,
        refused(400, "DV-0007")
    );
    // A file in a full collection can be replaced, and a deletion makes a new member possible.
    let response = unit
        .admin_request("PROPFIND", "c/b/col")
        .header("depth", "1")
        .send()
        .await;
    let names: Vec<String> = (0..40)
        .map(|n| n.to_string())
        .filter(|n| response.text().contains(&format!("/col/{n}</href>")))
        .collect();
    assert_eq!(names.len(), 10);
    let path = format!("c/b/col/{}", names[0]);
    assert_eq!(unit.admin_outcome("DELETE", &path).await, success(204));
    assert_eq!(
        unit.admin_outcome("PUT", "c/b/col/more").await,
        success(201)
    );
    assert_eq!(
        unit.admin_outcome("PUT", "c/b/col/more").await,
        success(204)
    );
    assert_eq!(
        unit.admin_outcome("PUT", "c/b/col/again").await,
        refused(400, "DV-0007")
    );
}

#[tokio::test]
async fn orphan_bodies_are_collected_and_referenced_ones_stay() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/kept", &"x".repeat(100_000)).await;
    let cell = unit.cell_id().await;
    let space = personium_store::Space::Cell(cell);
    for _ in 0..3 {
        let mut writer = personium_store::BlobStore::create(&*unit.blobs, &space)
            .await
            .unwrap();
        writer.write(Bytes::from_static(b"lost")).await.unwrap();
        writer.finish().await.unwrap();
    }
    assert_eq!(
        unit.model
            .collect_orphaned_blobs_of(&cell, Duration::from_secs(60))
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        unit.model
            .collect_orphaned_blobs_of(&cell, Duration::ZERO)
            .await
            .unwrap(),
        3
    );
    assert_eq!(unit.blob_count().await, 1);
    assert_eq!(unit.admin_outcome("GET", "c/b/kept").await, success(200));
    unit.model
        .collect_orphaned_blobs(
            std::time::Duration::ZERO,
            std::time::Duration::from_secs(3600),
        )
        .await
        .unwrap();
    assert_eq!(unit.blob_count().await, 1);
    // A cell without records has lost them, so that its bodies are not known to be orphans.
    let records = unit.model.cell_records(&cell);
    let everything = personium_store::KeyRange::all();
    records.remove_range(&everything).await.unwrap();
    assert_eq!(
        unit.model
            .collect_orphaned_blobs_of(&cell, Duration::ZERO)
            .await
            .unwrap(),
        0
    );
    assert_eq!(unit.blob_count().await, 1);
}
