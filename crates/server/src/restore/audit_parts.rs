//! Files with entries of the audit log that are damaged in a store of back-ups. Many generations share them, and a unit without them is a unit still.

use personium_store::Space;
use personium_types::error::chain;

use crate::backup::BackupResult;
use crate::backup::manifest::{Manifest, RecordPart, is_damage};
use crate::backup::record_file::SpaceRecordReader;
use crate::backup::store::BackupStore;

/// Takes the files with entries of the audit log out of a generation that are damaged or missing. Returns what is left out, for people.
///
/// # Errors
/// A text for the operator if the store cannot be read.
pub(super) async fn leave_out_damaged(
    store: &BackupStore,
    manifest: &mut Manifest,
) -> BackupResult<Vec<String>> {
    let unit = &mut manifest.unit_space;
    let mut left_out = Vec::new();
    for part in std::mem::take(&mut unit.following) {
        let Some(span) = part.audit else {
            unit.following.push(part);
            continue;
        };
        match damage(store, &part).await? {
            None => unit.following.push(part),
            Some(damage) => {
                unit.sum.remove_sum(part.sum);
                left_out.push(format!(
                    "the entries {} to {} of the audit log are left out: their file {} is damaged: {damage}",
                    span.first, span.last, part.file
                ));
            }
        }
    }
    Ok(left_out)
}

/// The damage of a file.
async fn damage(store: &BackupStore, part: &RecordPart) -> BackupResult<Option<String>> {
    let ids = [part.file].into_iter();
    let mut reader = SpaceRecordReader::new(&store.files, &Space::Unit, ids);
    loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) if reader.sum() == part.sum => return Ok(None),
            Ok(None) => return Ok(Some("its records are others".to_owned())),
            Err(error) if is_damage(&error) => return Ok(Some(chain(&error))),
            Err(error) => return Err(format!("{}: {}", store.place, chain(&error))),
        }
    }
}
