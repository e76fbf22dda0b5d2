//! The largest records that every engine takes.

use crate::{Batch, ErrorDetail, Op, Result, StoreError};

/// The largest length of the key of a record in bytes. An entry of an index of PostgreSQL must fit on a third of a page.
pub const MAX_KEY_BYTES: usize = 2_600;

/// The largest size of the key and the value of a record together, in bytes.
pub const MAX_RECORD_BYTES: usize = 256 << 20;

/// The length of what follows the prefix in the key of a sequenced record.
const SEQUENCE_BYTES: usize = 12;

/// Refuses a batch that puts a record which is too large. Every engine calls it before anything else, so that all of them refuse
/// the same.
///
/// # Errors
/// [`StoreError::TooLarge`].
pub fn check_sizes(batch: &Batch) -> Result<()> {
    let too_large = |text: String| Err(StoreError::TooLarge(ErrorDetail::new(text)));
    for op in batch.ops() {
        let (key, value) = match op {
            Op::Put(key, value) => (key.len(), value.len()),
            Op::PutSequenced(prefix, value) => (prefix.len() + SEQUENCE_BYTES, value.len()),
            Op::Add(key, _) => (key.len(), 0),
            _ => continue,
        };
        if key > MAX_KEY_BYTES {
            return too_large(format!("a key is longer than {MAX_KEY_BYTES} bytes"));
        }
        if key.saturating_add(value) > MAX_RECORD_BYTES {
            return too_large(format!("a record is larger than {MAX_RECORD_BYTES} bytes"));
        }
    }
    Ok(())
}
