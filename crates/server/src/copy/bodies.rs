//! The file bodies of a space that its records name.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use personium_model::keys;
use personium_store::{BlobReader, BlobStore, Direction, Limit, RecordStore, Space, StoreError};
use personium_types::BlobId;
use personium_types::error::chain;

use super::progress::Progress;
use super::{CopyCounts, CopyResult};

/// The number of ids that are read at once.
const IDS_AT_ONCE: usize = 1_000;

/// The number of bodies that are copied at the same time.
const BODIES_AT_ONCE: usize = 8;

/// The bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// How it is found out that the target has a body. It has the id of the body of the source, which no other body ever has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyCheck {
    /// By its length.
    Length,
    /// All of it is read, and has its checksums.
    Content,
}

/// Copies the bodies that the target does not have. Returns how many there are, and how many were copied.
///
/// # Errors
/// A text for the operator, which names a body that is missing or damaged.
pub(super) async fn copy(
    records: &dyn RecordStore,
    (source, target): (&dyn BlobStore, &dyn BlobStore),
    space: &Space,
    (check, progress): (BodyCheck, &Progress),
) -> CopyResult<CopyCounts> {
    let mut counts = CopyCounts::default();
    let mut range = keys::blob_references();
    loop {
        let limit = Limit::records(IDS_AT_ONCE);
        let found = records.scan(space, &range, Direction::Up, limit).await;
        let found = found
            .map_err(|error| format!("the source: {}", chain(&error)))?
            .value;
        let Some((last, _)) = found.last() else {
            return Ok(counts);
        };
        range = range.after(last);
        let ids: Vec<BlobId> = found
            .iter()
            .filter_map(|(key, _)| keys::referenced_blob(key))
            .collect();
        let copies = ids.into_iter().map(|id| async move {
            let copied = Body { space, id }.copy((source, target), check).await;
            copied.map_err(|error| format!("file body {id}: {error}"))
        });
        let mut copies = stream::iter(copies).buffer_unordered(BODIES_AT_ONCE);
        while let Some((bytes, is_new)) = copies.try_next().await? {
            counts.bodies += 1;
            counts.body_bytes += bytes;
            counts.changed += u64::from(is_new);
            progress.set_bodies(&counts);
        }
    }
}

/// A body of a space.
#[derive(Clone, Copy)]
struct Body<'a> {
    space: &'a Space,
    id: BlobId,
}

impl Body<'_> {
    /// Copies the body unless the target has it. Returns its length, and whether it was copied.
    async fn copy(
        self,
        (source, target): (&dyn BlobStore, &dyn BlobStore),
        check: BodyCheck,
    ) -> CopyResult<(u64, bool)> {
        let opened = source.open(self.space, &self.id).await;
        let opened = opened.map_err(|error| of_source(&error))?;
        let mut reader = opened.ok_or("the source: it is missing")?;
        let len = reader.len();
        if self.is_in(target, len, check).await? {
            return Ok((len, false));
        }
        let of_target = |error: StoreError| format!("the target: {}", chain(&error));
        let writer = target.create_with_id(self.space, &self.id).await;
        let mut writer = writer.map_err(of_target)?;
        let mut offset = 0;
        while offset < len {
            let chunk = next(&mut *reader, offset).await;
            let chunk = chunk.map_err(|error| of_source(&error))?;
            if chunk.is_empty() {
                return Err("the source: it ends too early".to_owned());
            }
            offset += chunk.len() as u64;
            writer.write(chunk).await.map_err(of_target)?;
        }
        writer.finish().await.map_err(of_target)?;
        Ok((len, true))
    }

    async fn is_in(self, target: &dyn BlobStore, len: u64, check: BodyCheck) -> CopyResult<bool> {
        let whole = match target.open(self.space, &self.id).await {
            Ok(None) => Ok(false),
            Ok(Some(found)) if found.len() != len => Ok(false),
            Ok(Some(_)) if check == BodyCheck::Length => Ok(true),
            Ok(Some(mut found)) => is_readable(&mut *found).await,
            Err(error) => Err(error),
        };
        match whole {
            // It is copied again.
            Err(StoreError::Corrupt(_)) => Ok(false),
            other => other.map_err(|error| format!("the target: {}", chain(&error))),
        }
    }
}

fn of_source(error: &StoreError) -> String {
    format!("the source: {}", chain(error))
}

async fn next(reader: &mut dyn BlobReader, offset: u64) -> Result<Bytes, StoreError> {
    reader.read_at(offset, CHUNK_BYTES).await
}

/// Whether the body can be read to its end.
async fn is_readable(reader: &mut dyn BlobReader) -> Result<bool, StoreError> {
    let mut offset = 0;
    while offset < reader.len() {
        match next(reader, offset).await?.len() {
            0 => return Ok(false),
            bytes => offset += bytes as u64,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use personium_store::memory::{MemoryBlobs, MemoryRecords};
    use personium_store::{Batch, Space};
    use personium_types::CellId;

    use super::*;
    use crate::system;

    #[tokio::test]
    async fn bodies_that_records_name_are_copied_once_and_a_missing_one_is_named() {
        let (clock, random) = (system::clock(), system::random());
        let blobs = || MemoryBlobs::new(clock.clone(), random.clone());
        let (source, target) = (blobs(), blobs());
        let (records, space) = (MemoryRecords::new(), Space::Cell(CellId::random(&random)));
        let mut batch = Batch::new();
        for n in 0..20 {
            let mut writer = source.create(&space).await.unwrap();
            writer.write(Bytes::from(vec![1; n])).await.unwrap();
            let id = writer.finish().await.unwrap();
            batch.put(keys::blob_reference(&id), "");
        }
        records.commit(&space, batch).await.unwrap();
        let progress = Progress::new(system::clock());
        let copied = async |check| {
            let sides: (&dyn BlobStore, &dyn BlobStore) = (&source, &target);
            copy(&records, sides, &space, (check, &progress)).await
        };
        let first = copied(BodyCheck::Length).await.unwrap();
        assert_eq!(
            (first.bodies, first.body_bytes, first.changed),
            (20, 190, 20)
        );
        let again = copied(BodyCheck::Content).await.unwrap();
        assert_eq!((again.bodies, again.changed), (20, 0));
        let lost = source.list(&space, None, std::time::Duration::ZERO, 1);
        let lost = lost.await.unwrap()[0];
        source.remove(&space, &lost).await.unwrap();
        let error = copied(BodyCheck::Length).await.unwrap_err();
        assert!(
            error.contains(&lost.to_string()) && error.contains("missing"),
            "{error}"
        );
    }
}
