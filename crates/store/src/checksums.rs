//! The checksums of a body: one for each chunk, behind its bytes.
//!
//! What is stored of a body consists of its bytes, a CRC-32 of four bytes for each chunk of 64 KiB, and a footer of 24 bytes: a
//! name, the number of bytes, a CRC-32 of the checksums and one of the footer. Numbers are little-endian. Stored bytes without such a
//! footer are a body from before there were checksums.

use bytes::Bytes;
use crc32fast::Hasher;

/// The bytes of a body that one checksum covers.
pub const CHUNK_BYTES: u64 = 64 << 10;

/// The size of one checksum.
pub const SUM_BYTES: u64 = 4;

/// The size of the footer.
pub const FOOTER_BYTES: u64 = 24;

/// The beginning of a footer.
const NAME: &[u8; 8] = b"PrsmSum1";

/// Computes the checksums of a body while it is written.
#[derive(Debug, Default)]
pub struct Checksums {
    len: u64,
    chunk: Hasher,
    sums: Vec<u8>,
}

impl Checksums {
    /// Adds the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = CHUNK_BYTES - self.len % CHUNK_BYTES;
            let fitting = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at(fitting);
            self.chunk.update(now);
            self.len += now.len() as u64;
            if self.len.is_multiple_of(CHUNK_BYTES) {
                self.end_chunk();
            }
            rest = later;
        }
    }

    fn end_chunk(&mut self) {
        let sum = std::mem::take(&mut self.chunk).finalize();
        self.sums.extend_from_slice(&sum.to_le_bytes());
    }

    /// Returns what follows the bytes of the body where it is stored.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if !self.len.is_multiple_of(CHUNK_BYTES) {
            self.end_chunk();
        }
        let mut out = self.sums;
        let of_sums = crc32fast::hash(&out);
        let footer = out.len();
        out.extend_from_slice(NAME);
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&of_sums.to_le_bytes());
        let of_footer = crc32fast::hash(out.get(footer..).unwrap_or_default());
        out.extend_from_slice(&of_footer.to_le_bytes());
        out
    }
}

/// Returns the number of bytes of the body in `stored_len` stored bytes that end with this footer; `None` if that is not a
/// footer.
#[must_use]
pub fn body_len(footer: &[u8], stored_len: u64) -> Option<u64> {
    let (head, sum) = footer.split_last_chunk::<4>()?;
    if crc32fast::hash(head) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (len, _) = head.strip_prefix(NAME)?.split_first_chunk::<8>()?;
    let len = u64::from_le_bytes(*len);
    let tail = len
        .div_ceil(CHUNK_BYTES)
        .checked_mul(SUM_BYTES)?
        .checked_add(FOOTER_BYTES)?;
    (len.checked_add(tail)? == stored_len).then_some(len)
}

/// Whether each chunk has its checksum. The last one may be shorter than the others.
#[must_use]
pub fn are_intact(chunks: &Bytes, sums: &[u8]) -> bool {
    let chunk_bytes = usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX);
    let (sums, _) = sums.as_chunks::<4>();
    let chunks = chunks.chunks(chunk_bytes);
    chunks.len() == sums.len()
        && chunks
            .zip(sums)
            .all(|(chunk, sum)| crc32fast::hash(chunk) == u32::from_le_bytes(*sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(body: &[u8], piece: usize) -> Vec<u8> {
        let mut sums = Checksums::default();
        body.chunks(piece.max(1)).for_each(|part| sums.update(part));
        sums.finish()
    }

    #[test]
    fn checksums_are_independent_of_the_pieces_and_find_changed_bytes() {
        for len in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let body: Vec<u8> = (0..len).map(|n: u32| n.to_le_bytes()[0]).collect();
            let whole = tail(&body, usize::MAX);
            for piece in [1, 1_000, 65_536, 70_000] {
                assert_eq!(tail(&body, piece), whole, "{len} {piece}");
            }
            let (sums, footer) = whole.split_at(whole.len() - 24);
            let file_len = (body.len() + whole.len()) as u64;
            assert_eq!(body_len(footer, file_len), Some(u64::from(len)));
            assert_eq!(body_len(footer, file_len + 1), None);
            assert!(are_intact(&body.clone().into(), sums));
            if let Some(last) = body.len().checked_sub(1) {
                let mut changed = body;
                changed[last] ^= 1;
                assert!(!are_intact(&changed.into(), sums), "{len}");
            }
        }
        assert_eq!(body_len(&[0; 24], 24), None);
        assert_eq!(body_len(b"", 0), None);
    }
}
