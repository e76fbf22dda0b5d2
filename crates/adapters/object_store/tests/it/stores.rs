//! Stores on the servers of tests, and bodies.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_object_store::{Addressing, S3BlobStore, S3Credentials, S3Settings};
use personium_store::{BlobStore, Result, Space};
use personium_testkit::{S3Server, SplitMix64};
use personium_types::{BlobId, CellId, Secret, SystemClock, SystemRandom};

/// Five MiB, the smallest part that servers accept.
pub const PART_BYTES: usize = 5 << 20;

pub fn settings(url: &str, prefix: &str) -> S3Settings {
    S3Settings {
        endpoint: Some(url.to_owned()),
        region: "us-east-1".to_owned(),
        bucket: S3Server::BUCKET.to_owned(),
        prefix: prefix.to_owned(),
        credentials: S3Credentials::Keys {
            access_key: S3Server::ACCESS_KEY.to_owned(),
            secret_key: Secret::new(S3Server::SECRET_KEY.to_owned()),
            session_token: None,
        },
        tls_roots: None,
        addressing: Addressing::Path,
        part_bytes: PART_BYTES,
        retries: 2,
        timeout: Duration::from_secs(20),
        removal_delay: Duration::from_secs(60),
        health: Arc::default(),
    }
}

pub fn open(settings: &S3Settings) -> S3BlobStore {
    let clock = Arc::new(SystemClock::new());
    S3BlobStore::new(settings, clock, Arc::new(SystemRandom::new())).unwrap()
}

pub fn new_space() -> Space {
    Space::Cell(CellId::random(&SystemRandom::new()))
}

pub fn random_body(len: usize) -> Bytes {
    let mut random = SplitMix64::new(len as u64);
    let words = std::iter::repeat_with(|| random.next_u64());
    let mut body: Vec<u8> = words
        .take(len.div_ceil(8))
        .flat_map(u64::to_le_bytes)
        .collect();
    body.truncate(len);
    body.into()
}

pub async fn write(store: &S3BlobStore, space: &Space, body: &Bytes) -> Result<BlobId> {
    let mut writer = store.create(space).await?;
    for start in (0..body.len()).step_by(300_000) {
        let end = (start + 300_000).min(body.len());
        writer.write(body.slice(start..end)).await?;
    }
    writer.finish().await
}

pub async fn read(store: &S3BlobStore, space: &Space, id: &BlobId) -> Result<Option<Vec<u8>>> {
    let Some(mut reader) = store.open(space, id).await? else {
        return Ok(None);
    };
    let mut body = Vec::new();
    while (body.len() as u64) < reader.len() {
        let chunk = reader.read_at(body.len() as u64, 256 << 10).await?;
        assert!(!chunk.is_empty());
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

pub async fn list(store: &S3BlobStore, space: &Space) -> Vec<BlobId> {
    let all = store.list(space, None, Duration::ZERO, 1_000).await;
    all.unwrap()
}
