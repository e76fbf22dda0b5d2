//! Uploads and downloads that overlap, break off, or come in great numbers.

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use personium_api::{Body, BoxError};

use crate::harness::{World, done, refused};

fn pieces(pieces: Vec<Result<Bytes, BoxError>>) -> Body {
    StreamBody::new(stream::iter(
        pieces.into_iter().map(|piece| piece.map(Frame::data)),
    ))
    .boxed_unsync()
}

#[tokio::test]
async fn an_interrupted_upload_leaves_nothing() {
    let world = World::new().await;
    world.put("c/b/old", "old").await;
    for size in [10, 300_000] {
        for path in ["c/b/new", "c/b/old"] {
            let body = pieces(vec![Ok(Bytes::from(vec![b'x'; size])), Err("gone".into())]);
            let reply = world.ask("PUT", path).streamed(body).send().await;
            assert_eq!(reply.outcome(), refused(408, "MC-0001"));
        }
    }
    assert_eq!(world.code("GET", "c/b/new").await, refused(404, "DV-0001"));
    assert_eq!(world.ask("GET", "c/b/old").send().await.text(), "old");
    assert_eq!(world.bodies().await, 0);
}

#[tokio::test]
async fn pieces_add_up() {
    let world = World::new().await;
    let mut all = Vec::new();
    let mut sent = Vec::new();
    for n in 0..40_u8 {
        let piece = vec![n; 1 + usize::from(n) * 1_000];
        all.extend_from_slice(&piece);
        sent.push(Ok(Bytes::from(piece)));
    }
    let reply = world
        .ask("PUT", "c/b/a")
        .streamed(pieces(sent))
        .send()
        .await;
    assert_eq!(reply.status, 201);
    let reply = world.ask("GET", "c/b/a").send().await;
    assert_eq!(reply.body, all);
    assert_eq!(world.bodies().await, 1);
}

#[tokio::test]
async fn a_refused_upload_is_refused_before_and_after_its_body() {
    let world = World::with(|s| s.dav.file_max = Some(1_000)).await;
    let reply = world
        .ask("PUT", "c/b/a")
        .text(&"x".repeat(1_001))
        .send()
        .await;
    assert_eq!(reply.outcome(), refused(413, "MC-0001"));
    let body = pieces(vec![
        Ok(Bytes::from(vec![0; 600])),
        Ok(Bytes::from(vec![0; 600])),
    ]);
    let reply = world.ask("PUT", "c/b/a").streamed(body).send().await;
    assert_eq!(reply.outcome(), refused(413, "MC-0001"));

    // The collection goes while the body is on its way.
    world.mkcol("c/b/col", "").await;
    let other = world.clone();
    let body = StreamBody::new(stream::once(async move {
        assert_eq!(other.code("DELETE", "c/b/col").await, done(204));
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"late")))
    }))
    .boxed_unsync();
    let reply = world.ask("PUT", "c/b/col/a").streamed(body).send().await;
    assert_eq!(reply.outcome(), refused(409, "DV-0001"));
    assert!(world.keys(b"BR").await.is_empty());
}

#[tokio::test]
async fn a_reader_is_not_disturbed_by_a_change() {
    let world = World::new().await;
    let content = "a".repeat(3_000_000);
    world.put("c/b/a", &content).await;
    let mut reading = world.ask("GET", "c/b/a").start().await.into_body();
    let first = reading.frame().await.unwrap().unwrap().into_data().unwrap();
    world.put("c/b/a", &"b".repeat(2_000_000)).await;
    assert_eq!(world.code("DELETE", "c/b/a").await, done(204));
    let rest = reading.collect().await.unwrap().to_bytes();
    assert_eq!(first.len() + rest.len(), content.len());
    assert!(rest.iter().all(|byte| *byte == b'a'));
    assert_eq!(world.bodies().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_concurrent_creations_one_creates_and_none_is_lost() {
    let world = World::new().await;
    let writers: Vec<_> = (0..20)
        .map(|n| {
            let world = world.clone();
            tokio::spawn(async move {
                let text = "x".repeat(n * 2_000);
                world
                    .ask("PUT", "c/b/a")
                    .text(&text)
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
    // Twenty writes are twenty versions.
    let tag = world
        .ask("GET", "c/b/a")
        .send()
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    assert!(tag.starts_with("\"20-"), "{tag}");
    let kept = world.bodies().await + world.keys(b"B").await.len();
    assert_eq!(kept, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_limit_of_members_is_exact() {
    let world = World::with(|s| s.dav.children_max = 10).await;
    world.mkcol("c/b/col", "").await;
    let writers: Vec<_> = (0..40)
        .map(|n| {
            let world = world.clone();
            tokio::spawn(async move {
                let method = if n % 2 == 0 { "PUT" } else { "MKCOL" };
                world.code(method, &format!("c/b/col/{n}")).await
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
        world.code("PUT", "c/b/col/more").await,
        refused(400, "DV-0007")
    );
    // Replacing a file is possible in a full collection, and what goes makes room.
    let reply = world
        .ask("PROPFIND", "c/b/col")
        .with("depth", "1")
        .send()
        .await;
    let names: Vec<String> = (0..40)
        .map(|n| n.to_string())
        .filter(|n| reply.text().contains(&format!("/col/{n}</href>")))
        .collect();
    assert_eq!(names.len(), 10);
    let path = format!("c/b/col/{}", names[0]);
    assert_eq!(world.code("DELETE", &path).await, done(204));
    assert_eq!(world.code("PUT", "c/b/col/more").await, done(201));
    assert_eq!(world.code("PUT", "c/b/col/more").await, done(204));
    assert_eq!(
        world.code("PUT", "c/b/col/again").await,
        refused(400, "DV-0007")
    );
}

#[tokio::test]
async fn forgotten_bodies_are_swept_and_named_ones_stay() {
    let world = World::new().await;
    world.put("c/b/kept", &"x".repeat(100_000)).await;
    let cell = world.cell().await;
    let space = personium_store::Space::Cell(cell);
    for _ in 0..3 {
        let mut writer = personium_store::BlobStore::create(&*world.blobs, &space)
            .await
            .unwrap();
        writer.write(Bytes::from_static(b"lost")).await.unwrap();
        writer.finish().await.unwrap();
    }
    assert_eq!(world.unit.sweep_orphans_of(&cell, 60_000).await.unwrap(), 0);
    assert_eq!(world.unit.sweep_orphans_of(&cell, 0).await.unwrap(), 3);
    assert_eq!(world.bodies().await, 1);
    assert_eq!(world.code("GET", "c/b/kept").await, done(200));
    world
        .unit
        .sweep_orphans(std::time::Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(world.bodies().await, 1);
    // A cell without any record has lost them: then nothing says that its bodies are not used.
    let records = personium_store::RecordStore::drop_space(&*world.records, &space);
    records.await.unwrap();
    assert_eq!(world.unit.sweep_orphans_of(&cell, 0).await.unwrap(), 0);
    assert_eq!(world.bodies().await, 1);
}
