//! The signing key of a cell as it is stored.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_model::auth::cell_key;
use personium_model::{keys, records};
use personium_store::Batch;
use personium_testkit::ModelUnit;
use serde::Serialize;

/// The form in which former versions stored a key.
#[derive(Serialize)]
struct PlainKey<'k> {
    k: &'k str,
    p: String,
}

async fn stored(unit: &ModelUnit) -> Vec<u8> {
    let context = unit.context().await;
    let found = context.records().find_bytes(&keys::signing_key()).await;
    found.unwrap().unwrap().to_vec()
}

/// Whether stored bytes have the key as text or as bytes.
fn shows(stored: &[u8], der: &[u8]) -> bool {
    // The beginning of each key of the algorithm is the same.
    let tail = &der[der.len() / 2..];
    let text = STANDARD.encode(der);
    let text_tail = &text.as_bytes()[text.len() / 2..];
    let has = |part: &[u8]| stored.windows(part.len()).any(|found| found == part);
    has(tail) || has(text_tail)
}

async fn key(unit: &ModelUnit) -> (String, Vec<u8>) {
    let context = unit.context().await;
    let key = cell_key::get_or_create(&unit.model, &context)
        .await
        .unwrap();
    (key.kid().to_owned(), key.to_pkcs8().unwrap())
}

#[tokio::test]
async fn signing_key_is_stored_encrypted_and_read_by_another_process() {
    let unit = ModelUnit::new().await;
    let (kid, der) = key(&unit).await;
    assert!(!shows(&stored(&unit).await, &der));
    assert_eq!(key(&unit.restart()).await, (kid, der));
}

#[tokio::test]
async fn key_of_a_former_version_is_kept_and_then_stored_encrypted() {
    let unit = ModelUnit::new().await;
    let (kid, der) = key(&unit).await;
    let plain = PlainKey {
        k: &kid,
        p: STANDARD.encode(&der),
    };
    let mut batch = Batch::new();
    records::put(&mut batch, keys::signing_key(), &plain).unwrap();
    let context = unit.context().await;
    context.records().commit(batch).await.unwrap();
    assert!(shows(&stored(&unit).await, &der));
    let unit = unit.restart();
    assert_eq!(key(&unit).await, (kid.clone(), der.clone()));
    assert!(!shows(&stored(&unit).await, &der));
    assert_eq!(key(&unit.restart()).await, (kid, der));
}
