//! File bodies in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;
use personium_types::{BlobId, Clock, Random};

use crate::{BlobReader, BlobStore, BlobWriter, Result, Space, StorageUsage};

/// A store of file bodies in the memory of this process. Nothing survives the process.
#[derive(Debug, Clone)]
pub struct MemoryBlobs {
    spaces: Arc<RwLock<Spaces>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

type Spaces = HashMap<Space, BTreeMap<BlobId, StoredBody>>;

#[derive(Debug)]
struct StoredBody {
    bytes: Bytes,
    finished: Instant,
}

impl MemoryBlobs {
    /// Creates an empty store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            spaces: Arc::default(),
            clock,
            random,
        }
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn create(&self, space: &Space) -> Result<Box<dyn BlobWriter>> {
        let id = BlobId::random(&self.random);
        self.create_with_id(space, &id).await
    }

    async fn create_with_id(&self, space: &Space, id: &BlobId) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(MemoryBlobWriter {
            store: self.clone(),
            space: *space,
            id: *id,
            bytes: BytesMut::new(),
        }))
    }

    async fn open(&self, space: &Space, id: &BlobId) -> Result<Option<Box<dyn BlobReader>>> {
        let spaces = self.spaces.read();
        let body = spaces.get(space).and_then(|bodies| bodies.get(id));
        Ok(body.map(|body| Box::new(MemoryBlobReader(body.bytes.clone())) as Box<dyn BlobReader>))
    }

    async fn remove(&self, space: &Space, id: &BlobId) -> Result<()> {
        if let Some(bodies) = self.spaces.write().get_mut(space) {
            bodies.remove(id);
        }
        Ok(())
    }

    async fn list(
        &self,
        space: &Space,
        after: Option<&BlobId>,
        min_age: Duration,
        limit: usize,
    ) -> Result<Vec<BlobId>> {
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(*id));
        let spaces = self.spaces.read();
        let Some(bodies) = spaces.get(space) else {
            return Ok(Vec::new());
        };
        let now = self.clock.monotonic();
        let is_old = |body: &StoredBody| now.saturating_duration_since(body.finished) >= min_age;
        let found = bodies
            .range((start, Bound::Unbounded))
            .filter(|(_, body)| is_old(body));
        Ok(found.take(limit).map(|(id, _)| *id).collect())
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        self.spaces.write().remove(space);
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn usage(&self) -> Result<Option<StorageUsage>> {
        let spaces = self.spaces.read();
        let bodies = spaces.values().flat_map(|bodies| bodies.values());
        let used_bytes = bodies.map(|body| body.bytes.len() as u64).sum();
        Ok(Some(StorageUsage {
            available_bytes: CAPACITY_BYTES.saturating_sub(used_bytes),
            used_bytes,
        }))
    }
}

/// The size that the storage pretends to have.
const CAPACITY_BYTES: u64 = 1 << 30;

struct MemoryBlobWriter {
    store: MemoryBlobs,
    space: Space,
    id: BlobId,
    bytes: BytesMut,
}

#[async_trait]
impl BlobWriter for MemoryBlobWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<BlobId> {
        let id = self.id;
        let body = StoredBody {
            bytes: self.bytes.freeze(),
            finished: self.store.clock.monotonic(),
        };
        self.store
            .spaces
            .write()
            .entry(self.space)
            .or_default()
            .insert(id, body);
        Ok(id)
    }
}

struct MemoryBlobReader(Bytes);

#[async_trait]
impl BlobReader for MemoryBlobReader {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Bytes> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        let end = start.saturating_add(max).min(self.0.len());
        Ok(self.0.slice(start..end))
    }
}
