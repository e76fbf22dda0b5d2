//! File bodies that are stored encrypted.

use bytes::Bytes;
use personium_store::{BlobStore, Direction, Key, KeyRange, Limit, RecordStore, Space};

use crate::harness::{World, done, refused};

/// A text that would be found in whatever holds it as it is.
const MARK: &str = "this is what nobody else may read";

async fn encrypted() -> World {
    World::with(|settings| settings.dav.encrypt = true).await
}

/// A large body that is marked everywhere.
fn large() -> String {
    MARK.repeat(10_000)
}

/// Everything that is stored for the cell, in records and as bodies.
async fn stored(world: &World) -> Vec<Bytes> {
    let space = Space::Cell(world.cell().await);
    let everything = KeyRange {
        start: Key::from_bytes(Vec::new()),
        end: None,
    };
    let records = world
        .records
        .scan(&space, &everything, Direction::Up, Limit::records(1 << 20))
        .await
        .unwrap();
    let mut stored: Vec<Bytes> = records
        .into_iter()
        .map(|(_, record)| record.value)
        .collect();
    for id in world.blobs.list(&space, None, 0, 1 << 20).await.unwrap() {
        let mut body = world.blobs.open(&space, &id).await.unwrap().unwrap();
        stored.push(body.read_at(0, 1 << 30).await.unwrap());
    }
    stored
}

async fn is_readable_in_store(world: &World) -> bool {
    let mark = MARK.as_bytes();
    let stored = stored(world).await;
    stored
        .iter()
        .any(|bytes| bytes.windows(mark.len()).any(|part| part == mark))
}

#[tokio::test]
async fn a_body_is_unreadable_where_it_is_stored_and_plain_to_its_reader() {
    let world = encrypted().await;
    let large = large();
    world.put("c/b/small", MARK).await;
    world.put("c/b/large", &large).await;
    world.put("c/b/empty", "").await;
    assert_eq!(world.bodies().await, 1, "one is large, two are records");
    assert!(!is_readable_in_store(&world).await);

    for (path, body) in [
        ("c/b/small", MARK),
        ("c/b/large", &large),
        ("c/b/empty", ""),
    ] {
        let reply = world.ask("GET", path).send().await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(
            reply.header("content-length"),
            Some(&*body.len().to_string())
        );
        assert!(reply.body == body, "{path}");
        let found = world
            .ask("PROPFIND", path)
            .with("depth", "0")
            .send()
            .await
            .text();
        let length = format!("<getcontentlength>{}</getcontentlength>", body.len());
        assert!(found.contains(&length), "{found}");
    }
    // The same after a start, when the key is read from the store.
    let again = world.again();
    assert!(again.ask("GET", "c/b/large").send().await.body == large);
    assert_eq!(again.ask("GET", "c/b/small").send().await.text(), MARK);
}

#[tokio::test]
async fn ranges_are_those_of_the_plain_body() {
    let world = encrypted().await;
    let large = large();
    world.put("c/b/a", &large).await;
    world.put("c/b/s", MARK).await;
    let chunk = 64 << 10;
    for (first, last) in [
        (0, 0),
        (5, 99),
        (chunk - 1, chunk),
        (chunk, 2 * chunk - 1),
        (70_000, large.len() - 1),
        (3, large.len() - 2),
    ] {
        let range = format!("bytes={first}-{last}");
        let reply = world.ask("GET", "c/b/a").with("range", &range).send().await;
        assert_eq!(reply.status, 206, "{range}");
        assert!(reply.body == large[first..=last], "{range}");
        let whole = format!("bytes {first}-{last}/{}", large.len());
        assert_eq!(reply.header("content-range"), Some(&*whole));
    }
    let reply = world
        .ask("GET", "c/b/s")
        .with("range", "bytes=5-8")
        .send()
        .await;
    assert_eq!(reply.text(), &MARK[5..=8]);
}

#[tokio::test]
async fn switching_it_concerns_new_bodies_only() {
    let off = World::new().await;
    let large = large();
    for path in ["c/b/old", "c/b/replaced"] {
        off.put(path, &large).await;
    }
    off.put("c/b/old-small", MARK).await;
    let mut settings = off.unit.settings().clone();
    settings.dav.encrypt = true;
    let on = off.set(settings.clone());
    on.put("c/b/replaced", &large).await;
    on.put("c/b/new-small", MARK).await;
    settings.dav.encrypt = false;
    let off = on.set(settings);
    off.put("c/b/last", MARK).await;
    for path in ["c/b/old", "c/b/replaced"] {
        assert!(off.ask("GET", path).send().await.body == large, "{path}");
    }
    for path in ["c/b/old-small", "c/b/new-small", "c/b/last"] {
        assert_eq!(off.ask("GET", path).send().await.text(), MARK, "{path}");
    }
    for path in ["c/b/old", "c/b/old-small", "c/b/last"] {
        assert_eq!(off.code("DELETE", path).await, done(204));
    }
    assert!(
        !is_readable_in_store(&off).await,
        "what is left was encrypted"
    );
}

#[tokio::test]
async fn a_moved_file_stays_readable() {
    let world = encrypted().await;
    let large = large();
    world.put("c/b/a", &large).await;
    let target = "http://unit.example/c/b/moved";
    let reply = world
        .ask("MOVE", "c/b/a")
        .with("destination", target)
        .send()
        .await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert!(world.ask("GET", "c/b/moved").send().await.body == large);
}

#[tokio::test]
async fn an_altered_body_is_refused() {
    let world = encrypted().await;
    world.put("c/b/small", MARK).await;
    let space = Space::Cell(world.cell().await);
    let small = world.keys(b"B").await;
    let mut found = world.records.get(&space, &small).await.unwrap();
    let mut altered = found.remove(0).unwrap().value.to_vec();
    altered[3] ^= 1;
    let mut batch = personium_store::Batch::new();
    batch.put(small[0].clone(), altered);
    world.records.commit(&space, batch).await.unwrap();
    assert_eq!(
        world.code("GET", "c/b/small").await,
        refused(500, "DV-0001")
    );
}
