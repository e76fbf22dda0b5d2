//! The checksum of a stored record, the same in every engine.

use crate::CommitSeq;

/// The bits of the sum of the key that are kept.
const KEY_BITS: u32 = 0xffff;

/// Returns the checksum of a record: 16 bits of the CRC-32 of its key, then the CRC-32 of key, version and value.
///
/// With the sum of the key alone, a damaged key can be told from a damaged value.
#[must_use]
pub fn of(key: &[u8], version: CommitSeq, value: &[u8]) -> i64 {
    let of_key = crc32fast::hash(key);
    let mut hasher = crc32fast::Hasher::new_with_initial(of_key);
    hasher.update(&version.to_le_bytes());
    hasher.update(value);
    i64::from(of_key & KEY_BITS) << 32 | i64::from(hasher.finalize())
}

/// Whether the checksum of a record says that its key is intact.
#[must_use]
pub fn is_of_key(sum: i64, key: &[u8]) -> bool {
    sum >> 32 == i64::from(crc32fast::hash(key) & KEY_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_record_changes_its_checksum() {
        let sum = of(b"key", 7, b"value");
        assert!((0..1 << 48).contains(&sum));
        for other in [
            of(b"kez", 7, b"value"),
            of(b"key", 8, b"value"),
            of(b"key", 7, b"valuf"),
            of(b"key", 7, b""),
        ] {
            assert_ne!(sum, other);
        }
        assert!(is_of_key(sum, b"key") && !is_of_key(sum, b"kez"));
    }

    #[test]
    fn checksum_has_the_form_of_stored_files() {
        assert_eq!(of(b"key", 7, b"value"), 0xaba91c87f373);
    }
}
