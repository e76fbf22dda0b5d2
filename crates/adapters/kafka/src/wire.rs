//! The primitive types of Kafka's protocol, as bytes: numbers are big-endian, texts and arrays have their length before them.
//!
//! Only versions of requests without tagged fields are used (<https://kafka.apache.org/protocol.html#protocol_types>).

/// A request or record as it is written.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

/// Bytes that are no answer of the expected form.
#[derive(Debug, thiserror::Error)]
#[error("the broker sent an answer that cannot be read")]
pub(crate) struct Malformed;

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn i8(&mut self, value: i8) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i16(&mut self, value: i16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// A text of at most 32,767 bytes; all that are written here are shorter.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.i16(length);
        let end = usize::try_from(length).unwrap_or(0);
        self.raw(text.as_bytes().get(..end).unwrap_or_default())
    }

    pub(crate) fn no_text(&mut self) -> &mut Self {
        self.i16(-1)
    }

    /// Bytes of less than 2 GiB.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.i32(length(bytes.len())).raw(bytes)
    }

    /// A number of a record: zigzag, in groups of seven bits, the lowest first.
    pub(crate) fn varint(&mut self, value: i64) -> &mut Self {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.0.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.0.push(rest.to_le_bytes()[0]);
        self
    }

    /// Bytes of a record.
    pub(crate) fn short_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(i64::from(length(bytes.len()))).raw(bytes)
    }
}

/// A length as the protocol writes it.
pub(crate) fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// An answer as it is read.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, Malformed> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// A text; `None` for null.
    pub(crate) fn text(&mut self) -> Result<Option<String>, Malformed> {
        let Ok(length) = usize::try_from(self.i16()?) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.take(length)?);
        text.map(|it| Some(it.to_owned())).map_err(|_| Malformed)
    }

    /// Bytes; none for null.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        match usize::try_from(self.i32()?) {
            Ok(length) => self.take(length),
            Err(_) => Ok(&[]),
        }
    }

    /// The items of an array; none for null. Their number is bounded by the bytes that are left, because each has at least one.
    pub(crate) fn items<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.i32()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_records_are_zigzag_in_groups_of_seven_bits() {
        for (value, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[126]),
            (64, &[128, 1]),
            (-65, &[129, 1]),
            (300, &[216, 4]),
            (i64::MIN, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut writer = Writer::default();
            writer.varint(value);
            assert_eq!(writer.into_bytes(), bytes, "{value}");
        }
    }

    #[test]
    fn truncated_and_endless_answers_are_refused() {
        let mut reader = Reader::new(&[0, 5, b'a']);
        assert!(reader.text().is_err());
        let mut reader = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0, 1]);
        assert!(reader.items(Reader::i16).is_err());
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff]);
        assert!(reader.bytes().is_ok_and(<[u8]>::is_empty));
        let mut reader = Reader::new(&[0, 1, 0xff]);
        assert!(reader.text().is_err());
    }
}
