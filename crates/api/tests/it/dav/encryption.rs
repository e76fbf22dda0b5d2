//! Encryption of stored file bodies.

use bytes::Bytes;
use personium_store::{BlobStore, Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_testkit::{TestUnit, refused, success};

/// A text that is searched for in the stored bytes.
const MARK: &str = "this is what nobody else may read";

async fn encrypted() -> TestUnit {
    TestUnit::with_settings(|settings| settings.dav.encrypt_files = true).await
}

/// A large body that contains [`MARK`] everywhere.
fn large() -> String {
    MARK.repeat(10_000)
}

/// Returns every record value and every body of the cell.
async fn stored(unit: &TestUnit) -> Vec<Bytes> {
    let space = Space::Cell(unit.cell_id().await);
    let everything = KeyRange {
        start: Key::from_bytes(Vec::new()),
        end: None,
    };
    let records = unit
        .records
        .scan(&space, &everything, Direction::Up, Limit::records(1 << 20))
        .await
        .unwrap()
        .value;
    let mut stored: Vec<Bytes> = records
        .into_iter()
        .map(|(_, record)| record.value)
        .collect();
    for id in unit
        .blobs
        .list(&space, None, std::time::Duration::ZERO, 1 << 20)
        .await
        .unwrap()
    {
        let mut body = unit.blobs.open(&space, &id).await.unwrap().unwrap();
        stored.push(body.read_at(0, 1 << 30).await.unwrap());
    }
    stored
}

async fn is_readable_in_store(unit: &TestUnit) -> bool {
    let mark = MARK.as_bytes();
    let stored = stored(unit).await;
    stored
        .iter()
        .any(|bytes| bytes.windows(mark.len()).any(|part| part == mark))
}

#[tokio::test]
async fn encrypted_body_is_stored_unreadable_and_served_plain() {
    let unit = encrypted().await;
    let large = large();
    unit.put_file("c/b/small", MARK).await;
    unit.put_file("c/b/large", &large).await;
    unit.put_file("c/b/empty", "").await;
    assert_eq!(unit.blob_count().await, 1, "one is large, two are records");
    assert!(!is_readable_in_store(&unit).await);

    for (path, body) in [
        ("c/b/small", MARK),
        ("c/b/large", &large),
        ("c/b/empty", ""),
    ] {
        let response = unit.admin_request("GET", path).send().await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(
            response.header("content-length"),
            Some(&*body.len().to_string())
        );
        assert!(response.body == body, "{path}");
        let found = unit
            .admin_request("PROPFIND", path)
            .header("depth", "0")
            .send()
            .await
            .text();
        let length = format!("<getcontentlength>{}</getcontentlength>", body.len());
        assert!(found.contains(&length), "{found}");
    }
    // After a restart the key is read from the store.
    let again = unit.restart();
    assert!(again.admin_request("GET", "c/b/large").send().await.body == large);
    assert_eq!(
        again.admin_request("GET", "c/b/small").send().await.text(),
        MARK
    );
}

#[tokio::test]
async fn range_of_an_encrypted_body_refers_to_the_plain_bytes() {
    let unit = encrypted().await;
    let large = large();
    unit.put_file("c/b/a", &large).await;
    unit.put_file("c/b/s", MARK).await;
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
        let response = unit
            .admin_request("GET", "c/b/a")
            .header("range", &range)
            .send()
            .await;
        assert_eq!(response.status, 206, "{range}");
        assert!(response.body == large[first..=last], "{range}");
        let whole = format!("bytes {first}-{last}/{}", large.len());
        assert_eq!(response.header("content-range"), Some(&*whole));
    }
    let response = unit
        .admin_request("GET", "c/b/s")
        .header("range", "bytes=5-8")
        .send()
        .await;
    assert_eq!(response.text(), &MARK[5..=8]);
}

#[tokio::test]
async fn encryption_setting_applies_to_new_bodies_only() {
    let off = TestUnit::new().await;
    let large = large();
    for path in ["c/b/old", "c/b/replaced"] {
        off.put_file(path, &large).await;
    }
    off.put_file("c/b/old-small", MARK).await;
    let mut settings = off.model.settings().clone();
    settings.dav.encrypt_files = true;
    let on = off.change_settings(settings.clone());
    on.put_file("c/b/replaced", &large).await;
    on.put_file("c/b/new-small", MARK).await;
    settings.dav.encrypt_files = false;
    let off = on.change_settings(settings);
    off.put_file("c/b/last", MARK).await;
    for path in ["c/b/old", "c/b/replaced"] {
        assert!(
            off.admin_request("GET", path).send().await.body == large,
            "{path}"
        );
    }
    for path in ["c/b/old-small", "c/b/new-small", "c/b/last"] {
        assert_eq!(
            off.admin_request("GET", path).send().await.text(),
            MARK,
            "{path}"
        );
    }
    for path in ["c/b/old", "c/b/old-small", "c/b/last"] {
        assert_eq!(off.admin_outcome("DELETE", path).await, success(204));
    }
    assert!(
        !is_readable_in_store(&off).await,
        "what is left was encrypted"
    );
}

#[tokio::test]
async fn moved_encrypted_file_stays_readable() {
    let unit = encrypted().await;
    let large = large();
    unit.put_file("c/b/a", &large).await;
    let target = "http://unit.example/c/b/moved";
    let response = unit
        .admin_request("MOVE", "c/b/a")
        .header("destination", target)
        .send()
        .await;
    assert_eq!(response.status, 201, "{}", response.text());
    assert!(unit.admin_request("GET", "c/b/moved").send().await.body == large);
}

#[tokio::test]
async fn altered_encrypted_body_is_refused() {
    let unit = encrypted().await;
    unit.put_file("c/b/small", MARK).await;
    let space = Space::Cell(unit.cell_id().await);
    let small = unit.record_keys(b"B").await;
    let mut found = unit.records.get(&space, &small).await.unwrap().value;
    let mut altered = found.remove(0).unwrap().value.to_vec();
    altered[3] ^= 1;
    let mut batch = personium_store::Batch::new();
    batch.put(small[0].clone(), altered);
    unit.records.commit(&space, batch).await.unwrap();
    assert_eq!(
        unit.admin_outcome("GET", "c/b/small").await,
        refused(500, "DV-0001")
    );
}
