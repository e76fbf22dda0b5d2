//! The partition of a key.
//!
//! It is that of the default partitioner of Kafka's own producer, so that whoever writes records with the same key puts them into the same
//! partition: the hash MurmurHash2 (32 bits) of the bytes of the key, without its highest bit, modulo the number of partitions.

/// The seed of Kafka's hash.
const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// The partition, from 0, of a key among so many; 0 if there are none.
#[must_use]
pub fn partition_of(key: &[u8], partitions: usize) -> usize {
    let hash = murmur2(key) & 0x7fff_ffff;
    usize::try_from(hash)
        .unwrap_or(0)
        .checked_rem(partitions)
        .unwrap_or(0)
}

fn murmur2(bytes: &[u8]) -> u32 {
    // A key is far shorter than 4 GiB.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = SEED ^ length;
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let bits = rest
            .iter()
            .rev()
            .fold(0, |bits, byte| (bits << 8) | u32::from(*byte));
        hash = (hash ^ bits).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `org.apache.kafka.common.utils.Utils.murmur2` of Kafka 4.3.
    #[test]
    fn hashes_are_those_of_kafka() {
        for (key, hash) in [
            ("", 275_646_681),
            ("a", 2_731_586_172),
            ("ab", 316_155_434),
            ("abc", 479_470_107),
            ("abcd", 2_971_317_748),
            ("https://unit.example/é/", 1_003_352_765),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
        assert_eq!(partition_of(b"a", 7), 5);
        assert_eq!(partition_of(b"a", 0), 0);
    }
}
