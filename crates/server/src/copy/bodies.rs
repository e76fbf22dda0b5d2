//! The file bodies of a space that its records name.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use personium_model::keys;
use personium_store::{BlobReader, BlobStore, Direction, Limit, RecordStore, Space, StoreError};
use personium_types::BlobId;
use personium_types::error::chain;

use super::{CopyCounts, CopyResult};
use crate::progress::Progress;

/// The number of ids that are read at once.
const IDS_AT_ONCE: usize = 1_000;

/// The number of bodies that are copied at the same time.
const BODIES_AT_ONCE: usize = 8;

/// The bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// How it is found out that the target has a body. It has the id of the body of the source, which no other body ever has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyCheck {
    /// By its length.
    Length,
    /// All of it is read, and has its checksums.
    Content,
}

/// Copies the bodies that the target does not have. Returns how many there are, and how many were copied. Those that an incomplete
/// source does not have are left out.
///
/// # Errors
/// A text for the operator, which names a body that is missing or damaged.
pub(super) async fn copy(
    records: &dyn RecordStore,
    (source, target): (&dyn BlobStore, &dyn BlobStore),
    space: &Space,
    (check, is_incomplete): (BodyCheck, bool),
    progress: &Progress,
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
            match copy_body((source, target), space, id, check).await {
                Err(error) if is_incomplete && error.is_of_source() => Ok((0, false)),
                copied => copied.map_err(|error| format!("file body {id}: {error}")),
            }
        });
        let mut copies = stream::iter(copies).buffer_unordered(BODIES_AT_ONCE);
        while let Some((bytes, is_new)) = copies.try_next().await? {
            counts.bodies += 1;
            counts.body_bytes += bytes;
            counts.changed += u64::from(is_new);
            progress.set_bodies(counts.bodies, counts.body_bytes);
        }
    }
}

/// Why a body was not copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyCopyError {
    /// The source does not have it.
    #[error("the source: it is missing")]
    Missing,
    /// The source has only a part of it.
    #[error("the source: it ends too early")]
    TooShort,
    /// The source failed, or it is damaged there.
    #[error("the source: {}", chain(.0))]
    Source(StoreError),
    /// The target failed.
    #[error("the target: {}", chain(.0))]
    Target(StoreError),
}

impl BodyCopyError {
    /// Whether the body of the source is missing or damaged.
    fn is_of_source(&self) -> bool {
        matches!(
            self,
            Self::Missing | Self::TooShort | Self::Source(StoreError::Corrupt(_))
        )
    }
}

/// Copies a body of a space unless the target has it. Returns its length, and whether it was copied.
///
/// # Errors
/// [`BodyCopyError`]
pub(crate) async fn copy_body(
    (source, target): (&dyn BlobStore, &dyn BlobStore),
    space: &Space,
    id: BlobId,
    check: BodyCheck,
) -> Result<(u64, bool), BodyCopyError> {
    let opened = source.open(space, &id).await;
    let opened = opened.map_err(BodyCopyError::Source)?;
    let mut reader = opened.ok_or(BodyCopyError::Missing)?;
    let len = reader.len();
    let is_there = is_in(target, (space, &id), len, check).await;
    if is_there.map_err(BodyCopyError::Target)? {
        return Ok((len, false));
    }
    let writer = target.create_with_id(space, &id).await;
    let mut writer = writer.map_err(BodyCopyError::Target)?;
    if len == 0 {
        let empty = next(&mut *reader, 0).await;
        empty.map_err(BodyCopyError::Source)?;
    }
    let mut offset = 0;
    while offset < len {
        let chunk = next(&mut *reader, offset).await;
        let chunk = chunk.map_err(BodyCopyError::Source)?;
        if chunk.is_empty() {
            return Err(BodyCopyError::TooShort);
        }
        offset += chunk.len() as u64;
        writer.write(chunk).await.map_err(BodyCopyError::Target)?;
    }
    writer.finish().await.map_err(BodyCopyError::Target)?;
    Ok((len, true))
}

async fn is_in(
    target: &dyn BlobStore,
    (space, id): (&Space, &BlobId),
    len: u64,
    check: BodyCheck,
) -> Result<bool, StoreError> {
    let whole = match target.open(space, id).await {
        Ok(None) => Ok(false),
        Ok(Some(found)) if found.len() != len => Ok(false),
        Ok(Some(_)) if check == BodyCheck::Length => Ok(true),
        Ok(Some(mut found)) => is_readable(&mut *found).await,
        Err(error) => Err(error),
    };
    match whole {
        // It is copied again.
        Err(StoreError::Corrupt(_)) => Ok(false),
        other => other,
    }
}

async fn next(reader: &mut dyn BlobReader, offset: u64) -> Result<Bytes, StoreError> {
    reader.read_at(offset, CHUNK_BYTES).await
}

/// Whether the body can be read to its end. An empty one is read too: if it is encrypted, only that tells that nobody has altered it.
async fn is_readable(reader: &mut dyn BlobReader) -> Result<bool, StoreError> {
    if reader.is_empty() {
        next(reader, 0).await?;
    }
    let mut offset = 0;
    while offset < reader.len() {
        match next(reader, offset).await?.len() {
            0 => return Ok(false),
            bytes => offset += bytes as u64,
        }
    }
    Ok(true)
}

/// Reads a body to its end, with its checksums.
///
/// # Errors
/// A text that says what is wrong.
pub(crate) async fn read_whole(reader: &mut dyn BlobReader) -> Result<(), String> {
    match is_readable(reader).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("it ends too early".to_owned()),
        Err(error) => Err(chain(&error)),
    }
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
        let progress = Progress::new("copy", system::clock());
        let copied = async |check| {
            let sides: (&dyn BlobStore, &dyn BlobStore) = (&source, &target);
            copy(&records, sides, &space, (check, false), &progress).await
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
