//! A store of bodies whose bytes are encrypted in another store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use personium_model::file::encryption::{SealedReader, SealedWriter};
use personium_store::{
    BlobReader, BlobStore, BlobWriter, ErrorDetail, Result, Space, StorageUsage, StoreError,
};
use personium_token::at_rest::{BodyCipher, BodyKey, plain_len};
use personium_types::{BlobId, Random};

/// The bodies of a back-up, encrypted. The key of each body follows from its id and its space, so that it cannot be exchanged for
/// another one.
pub(super) struct SealedBodies {
    inner: Arc<dyn BlobStore>,
    key: BodyKey,
    random: Arc<dyn Random>,
}

impl SealedBodies {
    pub(super) fn new(inner: Arc<dyn BlobStore>, key: BodyKey, random: Arc<dyn Random>) -> Self {
        Self { inner, key, random }
    }

    fn cipher(&self, space: &Space, id: &BlobId) -> Result<BodyCipher> {
        let owner = match space {
            Space::Unit => Vec::new(),
            Space::Cell(cell) => cell.as_bytes().to_vec(),
        };
        self.key.cipher(&id.to_string(), &owner).map_err(|error| {
            let detail = ErrorDetail::new("cannot derive a key");
            StoreError::Down(detail.with_source(error))
        })
    }
}

#[warn(
    clippy::missing_trait_methods,
    reason = "a default would hide what the wrapped store does"
)]
#[async_trait]
impl BlobStore for SealedBodies {
    async fn create(&self, space: &Space) -> Result<Box<dyn BlobWriter>> {
        let id = BlobId::random(&self.random);
        self.create_with_id(space, &id).await
    }

    async fn create_with_id(&self, space: &Space, id: &BlobId) -> Result<Box<dyn BlobWriter>> {
        let cipher = self.cipher(space, id)?;
        let inner = self.inner.create_with_id(space, id).await?;
        Ok(Box::new(SealedWriter::new(inner, cipher)))
    }

    async fn open(&self, space: &Space, id: &BlobId) -> Result<Option<Box<dyn BlobReader>>> {
        let Some(inner) = self.inner.open(space, id).await? else {
            return Ok(None);
        };
        let cipher = self.cipher(space, id)?;
        let reader = plain_len(inner.len()).and_then(|len| SealedReader::new(inner, cipher, len));
        let reader = reader.ok_or_else(|| {
            StoreError::Corrupt(ErrorDetail::new(
                "an encrypted body has an impossible length",
            ))
        })?;
        Ok(Some(Box::new(reader)))
    }

    async fn remove(&self, space: &Space, id: &BlobId) -> Result<()> {
        self.inner.remove(space, id).await
    }

    async fn list(
        &self,
        space: &Space,
        after: Option<&BlobId>,
        min_age: Duration,
        limit: usize,
    ) -> Result<Vec<BlobId>> {
        self.inner.list(space, after, min_age, limit).await
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        self.inner.drop_space(space).await
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }

    async fn kept_bytes(&self, space: &Space) -> Result<u64> {
        self.inner.kept_bytes(space).await
    }

    async fn free_kept(&self) -> Result<()> {
        self.inner.free_kept().await
    }

    async fn usage(&self) -> Result<Option<StorageUsage>> {
        self.inner.usage().await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use personium_store::memory::MemoryBlobs;
    use personium_types::CellId;

    use super::*;
    use crate::system;

    #[tokio::test]
    async fn body_is_read_as_it_was_written_and_one_of_another_cell_or_key_is_refused() {
        let random = system::random();
        let inner = Arc::new(MemoryBlobs::new(system::clock(), random.clone()));
        let sealed = |secret: &str| {
            let key = BodyKey::derive(secret).unwrap();
            SealedBodies::new(inner.clone(), key, random.clone())
        };
        let (store, other) = (sealed(&"a".repeat(32)), sealed(&"b".repeat(32)));
        let space = Space::Cell(CellId::random(&random));
        for len in [0, 1, 65_535, 65_536, 65_537, 1_000_000] {
            let content = Bytes::from(vec![7; len]);
            let mut writer = store.create(&space).await.unwrap();
            writer.write(content.clone()).await.unwrap();
            let id = writer.finish().await.unwrap();
            let mut reader = store.open(&space, &id).await.unwrap().unwrap();
            assert_eq!(reader.len(), len as u64);
            assert_eq!(reader.read_at(0, 2_000_000).await.unwrap(), content);
            let end = reader.read_at(len as u64 + 200_000, 10).await.unwrap();
            assert!(end.is_empty());
            // An empty one is not altered or exchanged either.
            let mut wrong = other.open(&space, &id).await.unwrap().unwrap();
            let found = wrong.read_at(0, 10).await;
            assert!(matches!(found, Err(StoreError::Corrupt(_))), "{len}");
        }
    }
}
