//! The checksum of a record.

use personium_store::CommitSeq;

/// Returns the CRC-32 of key, version and value.
pub(crate) fn of(key: &[u8], version: CommitSeq, value: &[u8]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&version.to_le_bytes());
    hasher.update(value);
    i64::from(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_record_changes_its_checksum() {
        let sum = of(b"key", 7, b"value");
        assert!((0..1 << 32).contains(&sum));
        for other in [
            of(b"kez", 7, b"value"),
            of(b"key", 8, b"value"),
            of(b"key", 7, b"valuf"),
            of(b"key", 7, b""),
        ] {
            assert_ne!(sum, other);
        }
    }
}
