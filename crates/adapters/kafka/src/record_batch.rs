//! Records as the cluster stores them: a batch of the format 2, without compression
//! (<https://kafka.apache.org/documentation/#recordbatch>).

use crate::wire::{Writer, length};

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
}

impl Record {
    /// Its size without that of lengths and numbers, bytes.
    pub(crate) fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, it)| name.len() + it.len());
        self.key.len() + self.value.len() + headers.sum::<usize>()
    }
}

/// The bytes of a batch of records of this time, milliseconds since 1970.
pub(crate) fn encode(records: &[Record], time_ms: i64) -> Vec<u8> {
    let last = length(records.len()).saturating_sub(1);
    let mut checked = Writer::default();
    // No compression, the time of the writer, no transaction.
    checked.i16(0).i32(last).i64(time_ms).i64(time_ms);
    // No producer with a state.
    checked.i64(-1).i16(-1).i32(-1).i32(length(records.len()));
    for (number, record) in records.iter().enumerate() {
        let encoded = encode_record(record, number);
        checked.short_bytes(&encoded);
    }
    let checked = checked.into_bytes();
    let mut rest = Writer::default();
    // The epoch of the leader, which it sets itself, and the format.
    rest.i32(-1).i8(2).u32(crc32c(&checked)).raw(&checked);
    let mut batch = Writer::default();
    batch.i64(0).bytes(&rest.into_bytes());
    batch.into_bytes()
}

fn encode_record(record: &Record, number: usize) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.i8(0).varint(0).varint(i64::from(length(number)));
    writer.short_bytes(&record.key).short_bytes(&record.value);
    writer.varint(i64::from(length(record.headers.len())));
    for (name, value) in &record.headers {
        writer.short_bytes(name.as_bytes()).short_bytes(value);
    }
    writer.into_bytes()
}

/// The table of CRC-32C (Castagnoli), whose polynomial is 0x1EDC6F41, bits reversed.
#[expect(
    clippy::indexing_slicing,
    reason = "a constant: an index out of bounds is an error of the compiler"
)]
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ if value & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    let next = |crc: u32, byte: &u8| {
        let index = usize::from(crc.to_le_bytes()[0] ^ byte);
        (crc >> 8) ^ CRC_TABLE.get(index).copied().unwrap_or(0)
    };
    !bytes.iter().fold(u32::MAX, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
